/*
 * tag.h
 *		Tags of events: what they are, their index, their locks.
 */
#ifndef ES_TAG_H
#define ES_TAG_H

#include "utils/jsonb.h"

#include "log/batch.h"
#include "log/query.h"

extern int	es_tags_count(Jsonb *metadata);
extern bool es_tags_include(Jsonb *metadata, text **tags, int count);
extern bool es_tags_prepare(EsBatch *batch);
extern void es_tags_lock(EsBatch *batch);
extern void es_tags_insert(EsBatch *batch);
extern void es_tags_delete(EsStore *store, int64 stream_id, int64 first, int64 before);
extern void es_tags_wait(EsStore *store, Relation log, const EsQuery *query);

#endif							/* ES_TAG_H */
