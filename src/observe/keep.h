/*
 * keep.h
 *		Counts over a clean restart of the server.
 */
#ifndef ES_KEEP_H
#define ES_KEEP_H

extern void EsKeepInit(void);

#endif							/* ES_KEEP_H */
