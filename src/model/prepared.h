/*
 * prepared.h
 *		Registered things with functions of users, cached ready to call.
 */
#ifndef ES_PREPARED_H
#define ES_PREPARED_H

#include "access/htup.h"
#include "nodes/execnodes.h"
#include "utils/plancache.h"

#include "store/store.h"

#define ES_PREPARED_NAME	128 /* bytes of a name, with the terminator */
#define ES_MAX_PARAMS		4

/* A prepared call of a function. */
typedef struct EsCall
{
	Oid			function;
	Oid			result;			/* its type */
	bool		inlined;		/* what is evaluated is no more a call of the function */
	CachedExpression *planned;
	ExprState  *expression;
} EsCall;

struct EsPrepared;

/* A kind of registered thing. */
typedef struct EsPreparedKind
{
	const char *what;			/* as errors call it */
	const char *registry;		/* table of event_store, whose first column is the key */
	int			missing;		/* SQLSTATE if there is none of a name */
	const char *hint;			/* how to register one */
	int			owner;			/* column of the registry, from 0: the role that registered it */
	Size		size;			/* of the struct that begins with EsPrepared */

	/*
	 * Fill in the rest from the row of the registry; the context is current.
	 * Of a thing made of all rows (es_prepared_take_all) there is no row.
	 */
	void		(*load) (struct EsPrepared *prepared, const Datum *values, const bool *nulls);
} EsPreparedKind;

/*
 * What every registered thing has.  One user uses it at a time: it is taken
 * from the cache and given back.
 */
typedef struct EsPrepared
{
	const EsPreparedKind *kind;
	char	   *name;
	Oid			owner;			/* who registered it; of a thing made of all rows, the store's owner */
	List	   *calls;			/* all EsCall */
	ParamListInfo parameters;	/* ES_MAX_PARAMS, of the calls */
	ExprContext *expressions;

	/* what it was prepared under */
	struct EsPreparedEntry *entry;
	uint64		generation;
	Oid			role;
	bool		follows_path;	/* a function's meaning depends on the search_path */
	int			path_length;
	Oid		   *path;
	MemoryContext context;		/* holds all of this, and what the functions remember */
} EsPrepared;

extern EsPrepared *es_prepared_take(const EsPreparedKind *kind, const char *name, const EsStore *store, Relation log);
extern EsPrepared *es_prepared_take_all(const EsPreparedKind *kind, const EsStore *store, Relation log);
extern void es_prepared_give(EsPrepared *prepared);
extern bool es_prepared_trusts(const EsPrepared *prepared, Oid registered_by);

extern HeapTuple es_prepared_find_row(Relation registry, const char *name);
extern void es_prepared_watch_type(EsPrepared *prepared, Oid type);
extern void es_prepared_watch_functions(EsPrepared *prepared);
extern void es_prepared_add(EsPrepared *prepared, EsCall *call, Oid function, int nargs, const int *params);

/* Evaluate a call with the parameters as they are set, in the current context. */
static inline Datum
es_prepared_call(EsPrepared *prepared, EsCall *call, bool *isnull)
{
	return call->expression->evalfunc(call->expression, prepared->expressions, isnull);
}

#endif							/* ES_PREPARED_H */
