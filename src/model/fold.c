/*
 * fold.c
 *		Folding the events of a stream into a state.
 *
 * Each event costs one evaluation of a prepared expression, in a memory context
 * that is reset afterwards.  The state lies in one of two contexts by turns:
 * the next one is copied into the other, then the old one is reset.  A state
 * that comes as an expanded object (an array in PL/pgSQL) changes hands
 * without a copy, and the function gets it for changing in place.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/tupdesc.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "nodes/makefuncs.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/expandeddatum.h"
#include "utils/fmgroids.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/typcache.h"

#include "base/errors.h"
#include "log/read.h"
#include "model/apply.h"
#include "model/fold.h"
#include "store/payload.h"

/* What is known of the event being applied, for the context of errors. */
typedef struct Applying
{
	const EsFold *fold;
	int64		version;
	const char *type;
	int			type_length;
} Applying;

static void
error_context(void *arg)
{
	Applying   *applying = arg;

	errcontext("event %lld of stream \"%s\", type \"%.*s\", applied to aggregate \"%s\"",
			   (long long) applying->version, text_to_cstring(applying->fold->stream),
			   applying->type_length, applying->type, applying->fold->aggregate->prepared.name);
}

/*
 * Begin to fold a stream's events, from the initial state.  The fold lives in
 * a context of its own below the current one; stream must stay.  The store's
 * upcasters are those of now until the end of the fold.
 */
EsFold *
es_fold_begin(EsAggregate *aggregate, text *stream, const EsStore *store, Relation log)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "event_store fold", ALLOCSET_SMALL_SIZES);
	EsFold	   *fold = MemoryContextAllocZero(context, sizeof(EsFold));
	MemoryContext caller = MemoryContextSwitchTo(context);

	fold->context = context;
	fold->aggregate = aggregate;
	fold->stream = stream;
	fold->payload = store->payload;
	fold->upcasters = es_upcasters_take(store, log);
	fold->definition = fold->upcasters == NULL ? aggregate->definition :
		(int64) hash_combine64(aggregate->definition, fold->upcasters->definition);
	fold->states[0] = AllocSetContextCreate(context, "event_store state", ALLOCSET_START_SMALL_SIZES);
	fold->states[1] = AllocSetContextCreate(context, "event_store state", ALLOCSET_START_SMALL_SIZES);
	fold->event = AllocSetContextCreate(context, "event_store event", ALLOCSET_START_SMALL_SIZES);

	fold->state_isnull = aggregate->initial == NULL;
	if (!fold->state_isnull)
	{
		MemoryContextSwitchTo(fold->states[0]);
		fold->state = InputFunctionCall(&aggregate->state_input, aggregate->initial, aggregate->state_parameter, -1);
	}
	MemoryContextSwitchTo(caller);
	return fold;
}

/* Go on from a state that was reached before; it is copied. */
void
es_fold_start_from(EsFold *fold, int64 version, Datum state, bool isnull)
{
	MemoryContext caller = MemoryContextSwitchTo(fold->states[fold->turn]);

	fold->version = version;
	fold->state_isnull = isnull;
	if (!isnull)
		fold->state = datumCopy(state, fold->aggregate->state_by_value, fold->aggregate->state_length);
	MemoryContextSwitchTo(caller);
}

/* The row as a recorded_event with this body, in the current context. */
static Datum
recorded_event(EsFold *fold, const Datum *row, const bool *row_nulls, const EsEventBody *body)
{
	Datum		values[RECORDED_NFIELDS];
	bool		nulls[RECORDED_NFIELDS];

	/* a copy: the fold may outlive the resource owner of now, which is a subtransaction's if there is a time limit */
	if (fold->event_type == NULL)
	{
		MemoryContext caller = MemoryContextSwitchTo(fold->context);

		fold->event_type = lookup_rowtype_tupdesc_copy(es_apply_event_type(), -1);
		MemoryContextSwitchTo(caller);
	}
	es_event_fields(fold->stream, row, row_nulls, body, values, nulls);
	return HeapTupleGetDatum(heap_form_tuple(fold->event_type, values, nulls));
}

/* Put what an apply function has returned in the place of the state. */
static void
keep_state(EsFold *fold, Datum result)
{
	MemoryContext next = fold->states[1 - fold->turn];

	if (fold->aggregate->state_by_value)
	{
		fold->state = result;
		return;
	}
	if (DatumIsReadWriteExpandedObject(result, false, fold->aggregate->state_length))
		result = TransferExpandedObject(result, next);
	else if (DatumGetPointer(result) == DatumGetPointer(fold->state))
		return;
	else
	{
		MemoryContext caller = MemoryContextSwitchTo(next);

		result = datumCopy(result, false, fold->aggregate->state_length);
		MemoryContextSwitchTo(caller);
	}
	fold->state = result;
	MemoryContextReset(fold->states[fold->turn]);
	fold->turn = 1 - fold->turn;
}

/* Put the body of an event into its form of today; returns its type. */
static text *
upcast_body(EsFold *fold, const Datum *row, EsEventBody *body)
{
	if (fold->upcasters != NULL)
	{
		body->data = es_payload_of_row(row, fold->payload, ES_PAYLOAD_JSONB);
		(void) es_upcast(fold->upcasters, row, body);
	}
	return DatumGetTextPP(body->type);
}

/* Apply one event, a row of event_log with the next version. */
void
es_fold_event(EsFold *fold, const Datum *values, const bool *nulls)
{
	EsAggregate *aggregate = fold->aggregate;
	MemoryContext caller = MemoryContextSwitchTo(fold->event);
	EsEventBody body = es_event_body(values, nulls);
	text	   *type = upcast_body(fold, values, &body);
	Applying	applying = {fold, DatumGetInt64(values[LOG_VERSION]), VARDATA_ANY(type), VARSIZE_ANY_EXHDR(type)};
	ErrorContextCallback callback = {.previous = error_context_stack, .callback = error_context, .arg = &applying};
	EsApply    *apply = es_aggregate_apply(aggregate, applying.type, applying.type_length);
	Datum		result;

	error_context_stack = &callback;
	if (apply == NULL && !aggregate->ignore_unknown)
		ereport(ERROR,
				(es_problem(ERRCODE_UNDEFINED_FUNCTION,
							ES_MEMBERS(ES_TEXT("aggregate", aggregate->prepared.name),
									   ES_TEXT("event_type", pnstrdup(applying.type, applying.type_length)),
									   ES_INT("version", applying.version)),
							"aggregate \"%s\" has no apply function for events of type \"%.*s\"",
							aggregate->prepared.name, applying.type_length, applying.type),
				 errhint("Register one in apply_by_type, or pass unknown_events => 'ignore' to event_store.register_aggregate().")));
	if (apply != NULL)
	{
		ParamExternData *params = aggregate->prepared.parameters->params;
		bool		isnull;

		/* an expression may use the state twice: only a function of its own may change it in place */
		params[ES_PARAM_STATE].value = apply->call.inlined ?
			MakeExpandedObjectReadOnly(fold->state, fold->state_isnull, aggregate->state_length) : fold->state;
		params[ES_PARAM_STATE].isnull = fold->state_isnull;
		params[ES_PARAM_TYPE].value = PointerGetDatum(type);
		if (fold->upcasters == NULL)
			body.data = es_payload_of_row(values, fold->payload, ES_PAYLOAD_JSONB);
		params[ES_PARAM_DATA].value = body.data;
		if (apply->form == ES_APPLY_EVENT)
			params[ES_PARAM_EVENT].value = recorded_event(fold, values, nulls, &body);

		result = es_prepared_call(&aggregate->prepared, &apply->call, &isnull);
		if (isnull)
			ereport(ERROR,
					(es_problem(ERRCODE_NULL_VALUE_NOT_ALLOWED,
								ES_MEMBERS(ES_TEXT("aggregate", aggregate->prepared.name),
										   ES_TEXT("event_type", pnstrdup(applying.type, applying.type_length)),
										   ES_INT("version", applying.version)),
								"the apply function of aggregate \"%s\" returned null for an event of type \"%.*s\"",
								aggregate->prepared.name, applying.type_length, applying.type),
					 errhint("An apply function returns the next state: the unchanged one for events that do not matter.")));
		keep_state(fold, result);
		fold->state_isnull = false;
	}
	fold->version = applying.version;
	error_context_stack = callback.previous;
	MemoryContextSwitchTo(caller);
	MemoryContextReset(fold->event);
}

/* Free the fold, its state too. */
void
es_fold_end(EsFold *fold)
{
	if (fold->upcasters != NULL)
		es_upcasters_give(fold->upcasters);
	MemoryContextDelete(fold->context);
}

/* A state, not null, as jsonb, in the current context. */
Jsonb *
es_state_to_jsonb(const EsAggregate *aggregate, Datum state)
{
	FmgrInfo	function;
	Param	   *param;

	if (aggregate->state_is_jsonb)
		return DatumGetJsonbPCopy(state);

	param = makeNode(Param);
	param->paramkind = PARAM_EXTERN;
	param->paramtype = aggregate->state_type;
	param->paramtypmod = -1;
	fmgr_info(F_TO_JSONB, &function);
	fmgr_info_set_expr((Node *) makeFuncExpr(F_TO_JSONB, JSONBOID, list_make1(param), InvalidOid, InvalidOid,
											 COERCE_EXPLICIT_CALL), &function);
	return DatumGetJsonbP(FunctionCall1(&function, state));
}
