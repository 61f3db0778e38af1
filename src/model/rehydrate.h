/*
 * rehydrate.h
 *		The state of aggregates, now or as it was.
 */
#ifndef ES_REHYDRATE_H
#define ES_REHYDRATE_H

#include "utils/timestamp.h"

#include "model/fold.h"

/* How far to fold. */
typedef struct EsBound
{
	int64		version;
	int64		position;
	bool		by_time;
	TimestampTz time;
} EsBound;

extern const EsBound es_unbounded;

extern text *es_aggregate_stream(const EsAggregate *aggregate, text *id);
extern bool es_events_are_hidden(const EsStore *store);
extern EsFold *es_rehydrate(EsAggregate *aggregate, EsStore *store, Relation log, text *name,
							const EsBound *bound, int64 *stream_id);
extern void es_fold_forward(EsFold *fold, EsStore *store, Relation log, int64 stream_id, const EsBound *bound);

#endif							/* ES_REHYDRATE_H */
