/*
 * vacate.h
 *		Workers out of a database that a command needs for itself.
 */
#ifndef ES_VACATE_H
#define ES_VACATE_H

extern bool es_database_is_free(Oid dbid);
extern bool es_worker_may_stay(void);

extern void EsVacateInit(void);

#endif							/* ES_VACATE_H */
