/*
 * snapshot.h
 *		States kept so that a fold need not begin at the first event.
 */
#ifndef ES_SNAPSHOT_H
#define ES_SNAPSHOT_H

#include "utils/snapshot.h"

#include "model/fold.h"

extern bool es_snapshot_load(EsFold *fold, EsStore *store, int64 stream_id, int64 up_to, Snapshot snapshot);
extern void es_snapshot_save(EsFold *fold, EsStore *store, int64 stream_id);

#endif							/* ES_SNAPSHOT_H */
