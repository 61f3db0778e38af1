/*
 * hot.h
 *		Hot streams: the next append does not wait for the flush of this one.
 */
#ifndef ES_HOT_H
#define ES_HOT_H

#include "utils/snapshot.h"

#include "store/store.h"

extern bool es_hot_commit(void);
extern void es_hot_confirm(EsStore *store, Relation log, int64 stream_id, int64 version, Snapshot snapshot);
extern void es_hot_confirm_all(void);

extern void EsHotInit(void);

#endif							/* ES_HOT_H */
