/*
 * session.h
 *		Sessions of applications: what is done when their time is over.
 */
#ifndef ES_SESSION_H
#define ES_SESSION_H

extern void EsSessionInit(void);

#endif							/* ES_SESSION_H */
