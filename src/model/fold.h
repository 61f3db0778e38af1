/*
 * fold.h
 *		Folding the events of a stream into a state.
 */
#ifndef ES_FOLD_H
#define ES_FOLD_H

#include "utils/jsonb.h"

#include "model/aggregate.h"
#include "model/upcast.h"

/* A fold in progress. */
typedef struct EsFold
{
	EsAggregate *aggregate;
	EsUpcasters *upcasters;		/* that events go through first, or NULL */
	int64		definition;		/* hash of all that the state depends on */
	text	   *stream;
	int64		version;		/* of the state, 0: no event yet */
	int64		kept_version;	/* of the kept state it began with, 0: none */
	Datum		state;
	bool		state_isnull;

	EsPayload	payload;		/* what the store of the events keeps */

	MemoryContext context;		/* holds the state and what follows */
	MemoryContext states[2];	/* where it lies, by turns */
	int			turn;
	MemoryContext event;		/* reset for each event */
	TupleDesc	event_type;		/* recorded_event, looked up when needed */
} EsFold;

extern EsFold *es_fold_begin(EsAggregate *aggregate, text *stream, const EsStore *store, Relation log);
extern void es_fold_start_from(EsFold *fold, int64 version, Datum state, bool isnull);
extern void es_fold_event(EsFold *fold, const Datum *values, const bool *nulls);
extern void es_fold_end(EsFold *fold);

extern Jsonb *es_state_to_jsonb(const EsAggregate *aggregate, Datum state);

#endif							/* ES_FOLD_H */
