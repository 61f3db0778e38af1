/*
 * backoff.h
 *		How long to wait before what has failed is tried again.
 */
#ifndef ES_BACKOFF_H
#define ES_BACKOFF_H

extern int64 es_backoff(int failures, double random);

#endif							/* ES_BACKOFF_H */
