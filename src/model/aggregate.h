/*
 * aggregate.h
 *		Registered aggregates: how events become state.
 */
#ifndef ES_AGGREGATE_H
#define ES_AGGREGATE_H

#include "access/htup.h"
#include "fmgr.h"
#include "nodes/execnodes.h"
#include "utils/plancache.h"

#include "store/store.h"

/* Columns of aggregate_registry. */
enum RegistryColumn
{
	REGISTRY_NAME,
	REGISTRY_PREFIX,
	REGISTRY_APPLY,
	REGISTRY_INITIAL,
	REGISTRY_UNKNOWN_EVENTS,
	REGISTRY_SNAPSHOT_EVERY,
	REGISTRY_SNAPSHOT_VERSION,
	REGISTRY_OWNER,
	REGISTRY_REGISTERED_AT,
	REGISTRY_NCOLUMNS
};

/* Columns of aggregate_apply. */
enum ApplyColumn
{
	APPLY_AGGREGATE,
	APPLY_EVENT_TYPE,
	APPLY_FUNCTION,
	APPLY_NCOLUMNS
};

#define ES_AGGREGATE_NAME	128 /* bytes of an aggregate's name, with the terminator */

/* What an apply function takes besides the state. */
typedef enum EsApplyForm
{
	ES_APPLY_EVENT,				/* (state, event recorded_event) */
	ES_APPLY_TYPE_DATA,			/* (state, type text, data jsonb) */
	ES_APPLY_DATA				/* (state, data jsonb) */
} EsApplyForm;

/* The parameters of the expressions that call apply functions. */
typedef enum EsApplyParameter
{
	ES_PARAM_STATE,
	ES_PARAM_TYPE,
	ES_PARAM_DATA,
	ES_PARAM_EVENT,
	ES_NPARAMS
} EsApplyParameter;

/* A function that turns a state and an event into the next state. */
typedef struct EsApply
{
	EsApplyForm form;
	bool		inlined;		/* what is evaluated is no more a call of the function */
	CachedExpression *planned;
	ExprState  *expression;
} EsApply;

/*
 * A registered aggregate, ready to fold.  One fold uses it at a time: it is
 * taken from the cache and given back.
 */
typedef struct EsAggregate
{
	char	   *name;
	char	   *prefix;			/* of its streams' names; the identity follows */
	Oid			owner;			/* who registered it */
	int			snapshot_every; /* events between snapshots, 0: none */
	int64		definition;		/* hash of all that the state depends on */
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
	List	   *functions;		/* all EsApply */
	ParamListInfo parameters;	/* of their expressions */
	ExprContext *expressions;

	/* what it was prepared under */
	uint64		generation;		/* of its cache entry */
	Oid			role;
	bool		follows_path;	/* a function's meaning depends on the search_path */
	int			path_length;
	Oid		   *path;
	MemoryContext context;		/* holds all of this, and what the functions remember */
} EsAggregate;

extern EsAggregate *es_aggregate_take(const char *name, const EsStore *store, Relation log);
extern void es_aggregate_give(EsAggregate *aggregate);
extern HeapTuple es_aggregate_find_row(Relation rel, const char *name);
extern EsApply *es_aggregate_apply(EsAggregate *aggregate, const char *type, int length);

#endif							/* ES_AGGREGATE_H */
