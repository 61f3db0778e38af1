/*
 * handler_wait.c
 *		Waiting until handlers have got over an event: strong consistency.
 *
 * Who waits sleeps in the queue of the store (log/wake); a step that moves a
 * handler on wakes it at commit.  It waits for what is committed: in the
 * transaction that has yet to commit the events, waiting could not end, so that
 * is refused.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/arguments.h"
#include "base/errors.h"
#include "base/extension.h"
#include "base/xact.h"
#include "deliver/handler_use.h"
#include "log/horizon.h"
#include "log/scan.h"
#include "log/stream.h"
#include "log/wake.h"
#include "model/dispatch.h"
#include "store/statement.h"

#define MAX_MOVED	16			/* stores whose waiters a transaction remembers to wake; the others look again by themselves */

static int	moved[MAX_MOVED];	/* slots */
static int	nmoved = 0;

/* A handler of the store has got on, as from the commit of this transaction. */
void
es_handler_moved(EsStore *store)
{
	int			slot = es_store_slot(store);

	for (int i = 0; i < nmoved; i++)
		if (moved[i] == slot)
			return;
	if (nmoved < MAX_MOVED)
		moved[nmoved++] = slot;
}

static void
transaction_ended(bool committed)
{
	for (int i = 0; i < nmoved && committed; i++)
		es_wake_waiters(moved[i]);
	nmoved = 0;
}

/* What becomes of the transaction, this session is not told: who waits looks again by itself. */
static void
transaction_prepared(void)
{
	nmoved = 0;
}

/* A handler that is waited for. */
typedef struct Awaited
{
	char	   *name;
	int			concurrency;
} Awaited;

static Awaited *
awaited(const char *name, const Datum *values)
{
	Awaited    *result = palloc(sizeof(Awaited));

	result->name = pstrdup(name);
	result->concurrency = DatumGetInt32(values[HANDLER_CONCURRENCY]);
	return result;
}

/* The background handlers of a store with strong consistency, or those named: a list of Awaited. */
static List *
handlers_of(EsStore *store, const EsNames *names)
{
	Relation	registry = es_extension_open("handler_registry", AccessShareLock);
	List	   *result = NIL;
	Datum		values[HANDLER_NCOLUMNS];
	bool		nulls[HANDLER_NCOLUMNS];
	SysScanDesc scan;
	HeapTuple	row;

	for (int i = 0; i < names->count; i++)
	{
		char	   *name = TextDatumGetCString(names->data[i]);

		row = strlen(name) < ES_PREPARED_NAME ? es_prepared_find_row(registry, name) : NULL;
		if (row != NULL)
			heap_deform_tuple(row, RelationGetDescr(registry), values, nulls);
		if (row == NULL || !es_handler_applies(nulls[HANDLER_STORE_NUMBER] ? 0 : DatumGetInt64(values[HANDLER_STORE_NUMBER]), store))
			ereport(ERROR,
					(es_problem(ERRCODE_UNDEFINED_OBJECT, ES_MEMBERS(ES_TEXT("handler", name)),
								"event store \"%s\" has no handler \"%s\"", NameStr(store->schema), name),
					 errhint("The view event_store.handlers lists those there are.")));
		/* an inline handler has got over the event before it was committed */
		if (strcmp(TextDatumGetCString(values[HANDLER_KIND]), es_handler_kind_name(ES_HANDLER_INLINE)) != 0)
			result = lappend(result, awaited(name, values));
	}
	if (names->data == NULL)
	{
		scan = systable_beginscan(registry, InvalidOid, false, NULL, 0, NULL);
		while (HeapTupleIsValid(row = systable_getnext(scan)))
		{
			heap_deform_tuple(row, RelationGetDescr(registry), values, nulls);
			if (strcmp(TextDatumGetCString(values[HANDLER_CONSISTENCY]), "strong") == 0 &&
				strcmp(TextDatumGetCString(values[HANDLER_KIND]), es_handler_kind_name(ES_HANDLER_INLINE)) != 0 &&
				es_handler_applies(nulls[HANDLER_STORE_NUMBER] ? 0 : DatumGetInt64(values[HANDLER_STORE_NUMBER]), store))
				result = lappend(result, awaited(TextDatumGetCString(values[HANDLER_NAME]), values));
		}
		systable_endscan(scan);
	}
	table_close(registry, AccessShareLock);
	return result;
}

/* The first handler that has not got over the position, NULL if all have. */
static const char *
behind(EsStore *store, List *handlers, int64 position)
{
	Relation	rel = es_handlers_open(store, AccessShareLock, false);
	const char *result = NULL;
	ListCell   *lc;

	foreach(lc, handlers)
	{
		Awaited    *handler = lfirst(lc);

		for (int partition = 0; partition < handler->concurrency && result == NULL; partition++)
		{
			EsHandlerState state;

			if (rel == NULL || !es_handlers_read(rel, handler->name, partition, &state) || state.position < position)
				result = handler->name;
		}
		if (result != NULL)
			break;
	}
	if (rel != NULL)
		table_close(rel, AccessShareLock);
	return result;
}

static void
refuse_to_wait(EsStore *store)
{
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(es_problem(ERRCODE_ACTIVE_SQL_TRANSACTION, NULL,
							"cannot wait for handlers in a transaction whose snapshot is fixed"),
				 errhint("Wait in a READ COMMITTED transaction: this one would not see what they have done.")));
	if (es_position_held(store))
		ereport(ERROR,
				(es_problem(ERRCODE_ACTIVE_SQL_TRANSACTION, NULL,
							"cannot wait for handlers in a transaction that has appended to the same store"),
				 errhint("Commit first: handlers see events once they are committed.")));
}

/* Wait until the handlers have got over a position: VE016 after a time in ms. */
static void
wait_for(EsStore *store, List *handlers, int64 position, int64 timeout)
{
	TimestampTz deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), timeout);
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext look = AllocSetContextCreate(caller, "event_store wait", ALLOCSET_SMALL_SIZES);
	const char *late;

	for (;;)
	{
		long		remaining;

		CHECK_FOR_INTERRUPTS();
		es_wake_prepare(es_store_slot(store));
		MemoryContextReset(look);
		MemoryContextSwitchTo(look);
		late = behind(store, handlers, position);
		MemoryContextSwitchTo(caller);
		if (late == NULL)
			break;
		remaining = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), deadline);
		if (remaining <= 0)
			ereport(ERROR,
					(es_problem(ERRCODE_ES_CONSISTENCY_TIMEOUT,
								ES_MEMBERS(ES_TEXT("handler", late), ES_INT("position", position), ES_JSON("committed", "true")),
								"handler \"%s\" has not got over position %lld within %lld ms", late,
								(long long) position, (long long) timeout),
						 errhint("The events are committed, and the handler will get to them: the view event_store.handlers tells what keeps it back.")));
		es_wake_sleep(remaining);
	}
	es_wake_cancel();
	MemoryContextDelete(look);
}

/* The position of an event; of the last of its stream if version is 0. */
static int64
position_of(EsStore *store, Relation log, text *name, int64 version)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	EsStream	stream;
	EsScan		scan;
	Datum	   *values;
	bool	   *nulls;
	int64		position = 0;

	es_stream_check_name(name);
	es_stream_find(store, name, snapshot, &stream);
	if (stream.id != 0)
	{
		if (version == 0)
			es_scan_stream(&scan, store, log, stream.id, 1, PG_INT64_MAX, true, snapshot);
		else
			es_scan_stream(&scan, store, log, stream.id, version, version, false, snapshot);
		if (es_scan_next(&scan, &values, &nulls))
			position = DatumGetInt64(values[LOG_POSITION]);
		es_scan_end(&scan);
	}
	UnregisterSnapshot(snapshot);
	if (position == 0)
	{
		char	   *n = text_to_cstring(name);

		ereport(ERROR,
				(es_problem(ERRCODE_ES_STREAM_NOT_FOUND, ES_MEMBERS(ES_TEXT("stream", n), ES_INT("version", version)),
							"there is no committed event %lld of stream \"%s\" to wait for", (long long) version, n),
				 errhint("Wait for an event once the transaction that appends it has committed.")));
	}
	return position;
}

/* Refuse a dispatch that is to be seen by background handlers before it can commit. */
static void
check_strong(EsStore *store)
{
	EsNames		all = {0};
	List	   *handlers = handlers_of(store, &all);

	if (handlers != NIL)
		ereport(ERROR,
				(es_problem(ERRCODE_ACTIVE_SQL_TRANSACTION, ES_MEMBERS(ES_TEXT("handler", ((Awaited *) linitial(handlers))->name)),
							"handler \"%s\" works in the background and sees no event before it is committed",
							((Awaited *) linitial(handlers))->name),
				 errhint("Use CALL event_store.dispatch_and_wait(), which commits and then waits, or event_store.wait_for() afterwards.")));
}

PG_FUNCTION_INFO_V1(event_store_wait_for);
PG_FUNCTION_INFO_V1(event_store_dispatch_and_wait);

static int64
timeout_argument(FunctionCallInfo fcinfo, int argument)
{
	int64		timeout;

	es_require_argument(fcinfo, argument, "timeout");
	timeout = es_interval_ms(PG_GETARG_INTERVAL_P(argument));
	if (timeout < 0)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("argument", "timeout")), "timeout is negative"),
				 errhint("Pass an interval of 0 or more.")));
	return Min(timeout, INT64CONST(1000) * 3600 * 24 * 365);
}

Datum
event_store_wait_for(PG_FUNCTION_ARGS)
{
	EsStore    *store;
	Relation	log;
	EsNames		names = es_names_argument(fcinfo, 3, "handlers");
	int64		timeout = timeout_argument(fcinfo, 4);
	int64		position;

	if (!PG_ARGISNULL(0) && !PG_ARGISNULL(2))
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("argument", "position")),
							"stream and position are both given"),
				 errhint("Wait for a version of a stream, or for a position.")));
	log = es_store_open_log(&store, AccessShareLock, ACL_SELECT);
	refuse_to_wait(store);
	if (!PG_ARGISNULL(0))
		position = position_of(store, log, PG_GETARG_TEXT_PP(0), PG_ARGISNULL(1) ? 0 : PG_GETARG_INT64(1));
	else if (!PG_ARGISNULL(2))
	{
		position = es_position_argument(fcinfo, 2, false);
		es_position_check(store, position);
	}
	else
		position = es_horizon(store, NULL) - 1;
	wait_for(store, handlers_of(store, &names), position, timeout);
	table_close(log, NoLock);
	PG_RETURN_VOID();
}

Datum
event_store_dispatch_and_wait(PG_FUNCTION_ARGS)
{
	Oid			types[] = {TEXTOID, JSONBOID, UUIDOID, UUIDOID, UUIDOID, JSONBOID, get_fn_expr_argtype(fcinfo->flinfo, 6)};
	Datum		values[lengthof(types)];
	char		nulls[lengthof(types)];
	EsNames		names = es_names_argument(fcinfo, 7, "handlers");
	int64		timeout = timeout_argument(fcinfo, 8);
	EsStore    *store;
	Oid			nspid;
	TupleDesc	desc;
	Datum		result;
	bool		isnull;
	int64		position = 0;

	es_require_argument(fcinfo, 6, "expected");
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (fcinfo->context == NULL || !IsA(fcinfo->context, CallContext) || castNode(CallContext, fcinfo->context)->atomic)
		ereport(ERROR,
				(es_problem(ERRCODE_ACTIVE_SQL_TRANSACTION, NULL, "dispatch_and_wait cannot run in a transaction block"),
				 errhint("It commits and then waits: call it outside of BEGIN, or use event_store.dispatch() and, after COMMIT, event_store.wait_for().")));

	/* what is wrong with the names is told before anything is done */
	nspid = es_store_current(false)->nspid;
	(void) handlers_of(es_store_current(false), &names);
	for (int i = 0; i < lengthof(types); i++)
	{
		values[i] = PG_GETARG_DATUM(i);
		nulls[i] = PG_ARGISNULL(i) ? 'n' : ' ';
	}
	SPI_connect_ext(SPI_OPT_NONATOMIC);
	if (SPI_execute_with_args(es_statement_dispatch, lengthof(types), types, values, nulls, false, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not dispatch");
	result = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	result = SPI_datumTransfer(result, false, -1);
	position = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull));
	if (isnull)
		position = 0;
	SPI_commit();
	SPI_finish();

	if (position > 0)
	{
		store = es_store_of_schema(nspid);
		if (store != NULL)
			wait_for(store, handlers_of(store, &names), position, timeout);
	}
	isnull = false;
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, &result, &isnull)));
}

void
EsHandlerWaitInit(void)
{
	static const EsXactHook hook = {.prepared = transaction_prepared, .end = transaction_ended};

	es_xact_register(&hook);
	es_strong_hook = check_strong;
}
