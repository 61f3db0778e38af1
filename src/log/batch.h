/*
 * batch.h
 *		An append under way: what append.c has decided and insert.c writes.
 */
#ifndef ES_BATCH_H
#define ES_BATCH_H

#include "utils/rel.h"

#include "base/errors.h"
#include "log/append.h"
#include "store/store.h"

/* All that is appended in one call. */
typedef struct EsBatch
{
	EsStore    *store;
	Relation	log;
	Relation   *indexes;		/* as in store->indexes, of a plain table; NULL: not needed */
	Relation	by_version;		/* one of them */
	EsAppend   *parts;
	int			nparts;
	bool		many;			/* errors name the part */
	EsEvent    *events;			/* of all parts, one after the other */
	int			count;
	int64		bytes;			/* of the events, once checked */
	const EsOrder *order;		/* NULL: rows are in the order of events */
	const EsCondition *condition;	/* NULL: none */
	struct EsTagSet *tags;		/* owned by log/tag; NULL: it has nothing to do */
	int64		position;		/* of the first row */
	TimestampTz now;
	int			attempt;		/* of log/meter */
	EsAppend   *part;			/* of the row being formed */
	pg_uuid_t	made_id;		/* room for its id */

	/* for the errors of a part */
	EsMember	member[2];
	EsProblemContext context;
	ErrorContextCallback callback;
} EsBatch;

extern void es_batch_open_indexes(EsBatch *batch);
extern void es_batch_close(EsBatch *batch);
extern void es_batch_insert(EsBatch *batch);

extern void es_batch_enter_part(EsBatch *batch, const EsAppend *part);
extern void es_batch_enter_event(EsBatch *batch, const EsAppend *part, int event);
extern void es_batch_leave_parts(EsBatch *batch);
extern EsAppend *es_batch_part(EsAppend *part, int event);

/* The position of an event, by its index among those of all parts. */
static inline int64
es_batch_position(const EsBatch *batch, int event)
{
	return batch->position + (batch->order ? batch->order->row[event] : event);
}

#endif							/* ES_BATCH_H */
