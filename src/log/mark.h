/*
 * mark.h
 *		The durable mark: the horizon as a table row.
 */
#ifndef ES_MARK_H
#define ES_MARK_H

#include "store/store.h"
#include "utils/snapshot.h"

extern int64 es_mark_read(EsStore *store, Snapshot snapshot);
extern bool es_mark_advance(EsStore *store);

#endif							/* ES_MARK_H */
