/*
 * handler_view.c
 *		What there is to see of event handlers.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/extension.h"
#include "deliver/projection.h"
#include "log/scan.h"
#include "store/tenant.h"

/* Columns of handler_states. */
enum ViewColumn
{
	VIEW_TENANT,
	VIEW_PARTITION,
	VIEW_POSITION,
	VIEW_LAG,
	VIEW_LAG_SECONDS,
	VIEW_STATE,
	VIEW_FAILURES,
	VIEW_FAILED_POSITION,
	VIEW_RETRY_AT,
	VIEW_HANDLED,
	VIEW_SKIPPED,
	VIEW_PARKED,
	VIEW_PROBLEM,
	VIEW_STARTED_AT,
	VIEW_CHANGED_AT,
	VIEW_LOCK_CLASS,
	VIEW_LOCK_OBJECT,
	VIEW_NCOLUMNS
};

/* What is looked at. */
typedef struct View
{
	EsStore    *store;
	Relation	log;
	EsFinal		final;
	int64		head;			/* the last position with an event */
	const char *name;
	const char *stateless;		/* inline or live; else NULL */
	int			concurrency;
} View;

/* The store and the handler that the arguments name; false if the caller is to see nothing of them. */
static bool
open_view(FunctionCallInfo fcinfo, View *view)
{
	EsStore    *store = es_store_of_schema(PG_GETARG_OID(0));
	Relation	registry;
	HeapTuple	row;
	char	   *kind;
	Datum		values[HANDLER_NCOLUMNS];
	bool		nulls[HANDLER_NCOLUMNS];

	view->store = store;
	view->name = text_to_cstring(PG_GETARG_TEXT_PP(1));
	if (store == NULL || store->defect != NULL || strlen(view->name) >= ES_PREPARED_NAME ||
		pg_class_aclcheck(store->log, GetUserId(), ACL_SELECT) != ACLCHECK_OK)
		return false;
	registry = es_extension_open("handler_registry", AccessShareLock);
	row = es_prepared_find_row(registry, view->name);
	if (row != NULL)
		heap_deform_tuple(row, RelationGetDescr(registry), values, nulls);
	table_close(registry, AccessShareLock);
	if (row == NULL || !es_handler_applies(nulls[HANDLER_STORE_NUMBER] ? 0 : DatumGetInt64(values[HANDLER_STORE_NUMBER]), store))
		return false;
	kind = TextDatumGetCString(values[HANDLER_KIND]);
	view->stateless = strcmp(kind, es_handler_kind_name(ES_HANDLER_INLINE)) == 0 ||
		strcmp(kind, es_handler_kind_name(ES_HANDLER_LIVE)) == 0 ? kind : NULL;
	view->concurrency = DatumGetInt32(values[HANDLER_CONCURRENCY]);
	view->log = table_open(store->log, AccessShareLock);
	return true;
}

/* The position and the time of an event: the first after a position, or the last of all. */
static int64
find_event(View *view, int64 after, bool last, TimestampTz *created_at)
{
	EsScan		scan;
	Datum	   *values;
	bool	   *nulls;
	int64		position = 0;

	es_scan_log(&scan, view->store, view->log, after + 1, view->final.last, last, view->final.snapshot);
	if (es_scan_next(&scan, &values, &nulls))
	{
		position = DatumGetInt64(values[LOG_POSITION]);
		*created_at = DatumGetTimestampTz(values[LOG_CREATED_AT]);
	}
	es_scan_end(&scan);
	return position;
}

/* What a partition is doing. */
static const char *
state_name(const EsHandlerState *state)
{
	return state->runs == ES_HANDLER_RUNNING && state->failures > 0 ? "retrying" : es_handler_runs_name(state->runs);
}

static void
fill_row(View *view, Relation handlers, const EsHandlerState *state, Datum *values, bool *nulls)
{
	EsTenant	tenant;
	TimestampTz created_at = 0;

	memset(nulls, false, VIEW_NCOLUMNS * sizeof(bool));
	nulls[VIEW_TENANT] = !es_tenant_of_schema(view->store->nspid, &tenant);
	if (!nulls[VIEW_TENANT])
		values[VIEW_TENANT] = CStringGetTextDatum(NameStr(tenant.name));
	values[VIEW_PARTITION] = Int32GetDatum(state->partition);
	values[VIEW_POSITION] = Int64GetDatum(state->position);
	values[VIEW_LAG] = Int64GetDatum(Max(view->head - state->position, 0));
	values[VIEW_LAG_SECONDS] = Float8GetDatum(0);
	if (view->head > state->position && find_event(view, state->position, false, &created_at) != 0)
		values[VIEW_LAG_SECONDS] = Float8GetDatum(Max(GetCurrentTimestamp() - created_at, 0) / (double) USECS_PER_SEC);
	values[VIEW_STATE] = CStringGetTextDatum(view->stateless != NULL && state->partition >= 0 ? view->stateless : state_name(state));
	values[VIEW_FAILURES] = Int32GetDatum(state->failures);
	values[VIEW_FAILED_POSITION] = Int64GetDatum(state->failed_position);
	nulls[VIEW_FAILED_POSITION] = state->failed_position == 0;
	values[VIEW_RETRY_AT] = TimestampTzGetDatum(state->retry_at);
	nulls[VIEW_RETRY_AT] = state->retry_at == 0;
	values[VIEW_HANDLED] = Int64GetDatum(state->handled);
	values[VIEW_SKIPPED] = Int64GetDatum(state->skipped);
	values[VIEW_PARKED] = Int64GetDatum(state->parked);
	values[VIEW_PROBLEM] = JsonbPGetDatum(state->problem);
	nulls[VIEW_PROBLEM] = state->problem == NULL;
	values[VIEW_STARTED_AT] = TimestampTzGetDatum(state->started_at);
	nulls[VIEW_STARTED_AT] = state->started_at == 0;
	values[VIEW_CHANGED_AT] = TimestampTzGetDatum(state->changed_at);
	nulls[VIEW_CHANGED_AT] = state->changed_at == 0;
	nulls[VIEW_LOCK_CLASS] = nulls[VIEW_LOCK_OBJECT] = handlers == NULL;
	if (handlers != NULL)
	{
		values[VIEW_LOCK_CLASS] = ObjectIdGetDatum(RelationGetRelid(handlers));
		values[VIEW_LOCK_OBJECT] = ObjectIdGetDatum(es_handler_lock_key(view->name, state->partition));
	}
}

PG_FUNCTION_INFO_V1(event_store_handler_states);
PG_FUNCTION_INFO_V1(event_store_handler_parked_events);
PG_FUNCTION_INFO_V1(event_store_projection_states);

/* The states of a handler in a store, or of its rebuild if there is one. */
static void
put_states(FunctionCallInfo fcinfo, bool rebuild)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	View		view;
	Relation	handlers;
	TimestampTz created_at;

	InitMaterializedSRF(fcinfo, 0);
	if (!open_view(fcinfo, &view))
		return;
	es_final_begin(&view.final, view.store);
	view.head = find_event(&view, 0, true, &created_at);
	handlers = view.stateless != NULL && !rebuild ? NULL : es_handlers_open(view.store, AccessShareLock, false);
	for (int partition = 0; partition < view.concurrency; partition++)
	{
		EsHandlerState state = {.partition = partition};
		Datum		values[VIEW_NCOLUMNS];
		bool		nulls[VIEW_NCOLUMNS];

		CHECK_FOR_INTERRUPTS();
		if (rebuild)
		{
			if (handlers == NULL || !es_handlers_read(handlers, view.name, ES_SHADOW(partition), &state))
				continue;
		}
		else if (view.stateless != NULL)
			state.position = view.head; /* never behind */
		else if (handlers != NULL)
			(void) es_handlers_read(handlers, view.name, partition, &state);
		fill_row(&view, handlers, &state, values, nulls);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	if (handlers != NULL)
		table_close(handlers, AccessShareLock);
	es_final_end(&view.final);
	table_close(view.log, AccessShareLock);
}

Datum
event_store_handler_states(PG_FUNCTION_ARGS)
{
	put_states(fcinfo, false);
	return (Datum) 0;
}

Datum
event_store_projection_states(PG_FUNCTION_ARGS)
{
	put_states(fcinfo, true);
	return (Datum) 0;
}

Datum
event_store_handler_parked_events(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	View		view;
	Relation	parked;
	ListCell   *lc;

	InitMaterializedSRF(fcinfo, 0);
	if (!open_view(fcinfo, &view))
		return (Datum) 0;
	parked = es_parked_open(view.store, AccessShareLock);
	foreach(lc, parked != NULL ? es_parked_read(parked, view.name, PG_INT64_MAX) : NIL)
	{
		EsParked   *event = lfirst(lc);
		Datum		values[5];
		bool		nulls[5] = {0};

		values[0] = Int64GetDatum(event->position);
		values[1] = Int32GetDatum(event->partition);
		values[2] = Int32GetDatum(event->attempts);
		values[3] = TimestampTzGetDatum(event->parked_at);
		values[4] = JsonbPGetDatum(event->problem);
		nulls[4] = event->problem == NULL;
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	if (parked != NULL)
		table_close(parked, AccessShareLock);
	table_close(view.log, AccessShareLock);
	return (Datum) 0;
}
