/*
 * horizon.h
 *		Positions: handing them out, and knowing which are final.
 */
#ifndef ES_HORIZON_H
#define ES_HORIZON_H

#include "access/xlogdefs.h"
#include "utils/timestamp.h"

#include "store/store.h"

extern int64 es_position_reserve(EsStore *store, int count, TimestampTz now);
extern bool es_position_held(EsStore *store);

extern int64 es_horizon(EsStore *store, XLogRecPtr *released);
extern int64 es_position_end(EsStore *store);
extern void es_position_check(EsStore *store, int64 after);
extern int64 es_position_sequence(EsStore *store, int64 *increment);

/* for the scheduler, which moves the durable marks */
extern int	es_store_slot(EsStore *store);

extern int64 es_slot_horizon(int number, Oid log);

extern void EsHorizonInit(void);

#endif							/* ES_HORIZON_H */
