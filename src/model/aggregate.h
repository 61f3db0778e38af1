/*
 * aggregate.h
 *		Registered aggregates: how events become state.
 */
#ifndef ES_AGGREGATE_H
#define ES_AGGREGATE_H

#include "fmgr.h"

#include "model/prepared.h"

/* Columns of aggregate_registry. */
enum EsAggregateColumn
{
	AGGREGATE_NAME,
	AGGREGATE_PREFIX,
	AGGREGATE_APPLY,
	AGGREGATE_INITIAL,
	AGGREGATE_UNKNOWN_EVENTS,
	AGGREGATE_SNAPSHOT_EVERY,
	AGGREGATE_SNAPSHOT_VERSION,
	AGGREGATE_OWNER,
	AGGREGATE_REGISTERED_AT,
	AGGREGATE_NCOLUMNS
};

/* Columns of aggregate_apply. */
enum EsApplyColumn
{
	APPLY_AGGREGATE,
	APPLY_EVENT_TYPE,
	APPLY_FUNCTION,
	APPLY_NCOLUMNS
};

/* What an apply function takes besides the state. */
typedef enum EsApplyForm
{
	ES_APPLY_EVENT,				/* (state, event recorded_event) */
	ES_APPLY_TYPE_DATA,			/* (state, type text, data jsonb) */
	ES_APPLY_DATA				/* (state, data jsonb) */
} EsApplyForm;

/* The parameters of apply functions. */
enum EsApplyParameter
{
	ES_PARAM_STATE,
	ES_PARAM_TYPE,
	ES_PARAM_DATA,
	ES_PARAM_EVENT
};

/* A function that turns a state and an event into the next state. */
typedef struct EsApply
{
	EsCall		call;
	EsApplyForm form;
} EsApply;

/* A registered aggregate, ready to fold. */
typedef struct EsAggregate
{
	EsPrepared	prepared;
	char	   *prefix;			/* of its streams' names; the identity follows */
	int			snapshot_every; /* events between snapshots, 0: none */
	int64		definition;		/* hash of all of it that the state depends on */
	bool		ignore_unknown; /* events that no function takes are passed over */

	Oid			state_type;
	int16		state_length;
	bool		state_by_value;
	bool		state_is_jsonb;
	FmgrInfo	state_input;
	Oid			state_parameter;	/* for the input function */
	char	   *initial;		/* in the state type's text form, NULL: null */

	EsApply    *apply;			/* for types without a function of their own, or NULL */
	struct HTAB *by_type;		/* functions by event type, or NULL */
	struct EsTypeApply *last;	/* entry of by_type that was used last, or NULL */
} EsAggregate;

extern EsAggregate *es_aggregate_take(const char *name, const EsStore *store, Relation log);
extern void es_aggregate_give(EsAggregate *aggregate);
extern EsApply *es_aggregate_apply(EsAggregate *aggregate, const char *type, int length);

#endif							/* ES_AGGREGATE_H */
