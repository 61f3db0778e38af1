/*
 * session.h
 *		Sessions of applications: what is left of them when their time is over.
 */
#ifndef ES_SESSION_H
#define ES_SESSION_H

extern int	es_sessions_sweep(int most);

#endif							/* ES_SESSION_H */
