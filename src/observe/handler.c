/*
 * handler.c
 *		Functions that run when a telemetry event happens.
 *
 * Attachments are rows of event_store.telemetry_attachments, cached here until
 * an invalidation of that table.  A handler runs in a subtransaction of
 * whoever executes the event, as the role that attached it, in a restricted
 * security context and with a search_path of the system's schemas alone: so
 * neither of the two can make the other run something of his.
 *
 * A handler that fails, or takes longer than event_store.handler_timeout, is
 * detached: its number goes into a list in shared memory, which no rollback
 * undoes and every session looks at.  The list is a ring under a spinlock;
 * one that falls out of it is attached again until it fails the next time.
 *
 * Events that a handler executes feed metrics but run no handlers.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "storage/shmem.h"
#include "storage/spin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/regproc.h"
#include "utils/syscache.h"

#include "base/arguments.h"
#include "base/attempt.h"
#include "base/compat.h"
#include "base/deadline.h"
#include "base/errors.h"
#include "base/extension.h"
#include "base/settings.h"
#include "base/shmem.h"
#include "observe/counters.h"
#include "observe/execute.h"
#include "observe/handler.h"

#define RING_SIZE		256
#define FAILURE_EVENT	"event_store.telemetry.handler.failure"

/* Columns of telemetry_attachments. */
enum AttachmentColumn
{
	ATTACHMENT_NUMBER,
	ATTACHMENT_ID,
	ATTACHMENT_EVENTS,
	ATTACHMENT_FN,
	ATTACHMENT_CONFIG,
	ATTACHMENT_ROLE,
	ATTACHMENT_AT,
	ATTACHMENT_NCOLUMNS
};

typedef struct Handler
{
	int64		number;
	char	   *id;
	List	   *events;			/* of C strings */
	char	   *fn;				/* with its schema and argument types */
	Jsonb	   *config;
	Oid			role;
	bool		detached;
} Handler;

typedef struct Detached
{
	Oid			dbid;
	int64		number;
	TimestampTz at;
} Detached;

typedef struct HandlersShared
{
	slock_t		mutex;
	uint64		count;			/* ever detached; the ring holds the latest */
	Detached	ring[RING_SIZE];
} HandlersShared;

static HandlersShared *shared = NULL;

static List *handlers = NIL;
static MemoryContext context = NULL;
static bool loaded = false;
static uint64 invalidations = 0;
static uint64 seen = 0;			/* of shared->count, when `detached` was set */
static Oid	attachments = InvalidOid;

static bool running = false;

static Size
handlers_size(void)
{
	return sizeof(HandlersShared);
}

static void
handlers_attach(void)
{
	bool		found;

	shared = ShmemInitStruct("event_store handlers", handlers_size(), &found);
	if (found)
		return;
	memset(shared, 0, sizeof(*shared));
	SpinLockInit(&shared->mutex);
}

/* --- what is detached --- */

/* Detach a handler everywhere; false if another session has done so. */
static bool
detach_failed(int64 number)
{
	TimestampTz now = GetCurrentTimestamp();
	bool		known = false;

	SpinLockAcquire(&shared->mutex);
	for (int i = 0; i < RING_SIZE && !known; i++)
		known = shared->ring[i].dbid == MyDatabaseId && shared->ring[i].number == number;
	if (!known)
	{
		shared->ring[shared->count % RING_SIZE] = (Detached) {MyDatabaseId, number, now};
		shared->count++;
	}
	SpinLockRelease(&shared->mutex);
	return !known;
}

/* A copy of the ring; returns how many of it are in use. */
static int
copy_detached(Detached *copy)
{
	uint64		count;

	SpinLockAcquire(&shared->mutex);
	count = shared->count;
	memcpy(copy, shared->ring, sizeof(shared->ring));
	SpinLockRelease(&shared->mutex);
	return Min(count, RING_SIZE);
}

/* Mark the handlers that are detached, if there are more than when last looked. */
static void
look_at_detached(void)
{
	uint64		count = ((volatile HandlersShared *) shared)->count;
	Detached	copy[RING_SIZE];
	ListCell   *lc;
	int			n;

	if (count == seen)
		return;
	n = copy_detached(copy);
	seen = count;
	foreach(lc, handlers)
	{
		Handler    *handler = lfirst(lc);

		handler->detached = false;
		for (int i = 0; i < n; i++)
			if (copy[i].dbid == MyDatabaseId && copy[i].number == handler->number)
				handler->detached = true;
	}
}

/* --- the cache --- */

static void
relcache_callback(Datum arg, Oid relid)
{
	if (OidIsValid(relid) && relid != attachments)
		return;
	invalidations++;
	loaded = false;
}

/* An array of texts as a list of C strings. */
static List *
strings_of(Datum array)
{
	Datum	   *elements;
	bool	   *nulls;
	int			n;
	List	   *result = NIL;

	deconstruct_array(DatumGetArrayTypeP(array), TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &n);
	for (int i = 0; i < n; i++)
		if (!nulls[i])
			result = lappend(result, TextDatumGetCString(elements[i]));
	return result;
}

/* Load the attachments, if they are not; returns a number that changes with each time. */
uint64
es_handlers_load(void)
{
	static uint64 loads = 0;
	static bool registered = false;
	MemoryContext caller;
	Relation	rel;
	SysScanDesc scan;
	HeapTuple	tuple;
	uint64		before = invalidations;

	if (loaded)
		return loads;
	loads++;
	if (!registered)
	{
		CacheRegisterRelcacheCallback(relcache_callback, (Datum) 0);
		registered = true;
	}
	if (context != NULL)
		MemoryContextDelete(context);
	context = NULL;
	handlers = NIL;
	seen = 0;
	attachments = es_extension_relation("telemetry_attachments");
	if (!OidIsValid(attachments))
		return loads;

	context = AllocSetContextCreate(CacheMemoryContext, "event_store handlers", ALLOCSET_SMALL_SIZES);
	rel = table_open(attachments, AccessShareLock);
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Datum		values[ATTACHMENT_NCOLUMNS];
		bool		nulls[ATTACHMENT_NCOLUMNS];
		Handler    *handler;

		heap_deform_tuple(tuple, RelationGetDescr(rel), values, nulls);
		caller = MemoryContextSwitchTo(context);
		handler = palloc0(sizeof(Handler));
		handler->number = DatumGetInt64(values[ATTACHMENT_NUMBER]);
		handler->id = TextDatumGetCString(values[ATTACHMENT_ID]);
		handler->events = strings_of(values[ATTACHMENT_EVENTS]);
		handler->fn = TextDatumGetCString(values[ATTACHMENT_FN]);
		handler->config = DatumGetJsonbPCopy(values[ATTACHMENT_CONFIG]);
		handler->role = DatumGetObjectId(values[ATTACHMENT_ROLE]);
		handlers = lappend(handlers, handler);
		MemoryContextSwitchTo(caller);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	loaded = before == invalidations;
	return loads;
}

/* --- running --- */

/* Call the function of a handler as the role that attached it. */
static void
call(const Handler *handler, text *event, Jsonb *measurements, Jsonb *metadata)
{
	Oid			fn;
	Oid			user;
	int			security;
	int			nest;
	FmgrInfo	flinfo;
	LOCAL_FCINFO(fcinfo, 4);

	/* the caller may have no rights on the function, nor on its schema */
	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(handler->role, security | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
	nest = NewGUCNestLevel();
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	fn = DatumGetObjectId(DirectFunctionCall1(regprocedurein, CStringGetDatum(handler->fn)));
	if (!SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(handler->role)) ||
		!es_may_execute(fn, handler->role))
		ereport(ERROR,
				(es_problem(ERRCODE_INSUFFICIENT_PRIVILEGE, ES_MEMBERS(ES_TEXT("handler", handler->id)),
							"the role that attached telemetry handler \"%s\" may not execute its function", handler->id)));
	fmgr_info(fn, &flinfo);
	InitFunctionCallInfoData(*fcinfo, &flinfo, 4, InvalidOid, NULL, NULL);
	fcinfo->args[0] = (NullableDatum) {PointerGetDatum(event), false};
	fcinfo->args[1] = (NullableDatum) {JsonbPGetDatum(measurements), false};
	fcinfo->args[2] = (NullableDatum) {JsonbPGetDatum(metadata), false};
	fcinfo->args[3] = (NullableDatum) {JsonbPGetDatum(handler->config), false};
	/* what it returns, null or not, is nobody's business */
	(void) FunctionCallInvoke(fcinfo);
	AtEOXact_GUC(false, nest);
	SetUserIdAndSecContext(user, security);
}

/* Tell of a handler that has failed. */
static void
tell_failure(const Handler *handler, text *event, const ErrorData *error)
{
	StringInfoData json;

	es_count(ES_HANDLER_FAILURES, 1);
	ereport(LOG,
			(errmsg("telemetry handler \"%s\" failed and is detached: %s", handler->id, error->message),
			 errhint("Attach it again with event_store.telemetry_attach() when it is mended.")));

	initStringInfo(&json);
	appendStringInfoString(&json, "{\"id\":");
	escape_json(&json, handler->id);
	appendStringInfoString(&json, ",\"event\":");
	escape_json(&json, text_to_cstring(event));
	appendStringInfoString(&json, ",\"sqlstate\":");
	escape_json(&json, unpack_sql_state(error->sqlerrcode));
	appendStringInfoChar(&json, '}');
	es_telemetry_execute(cstring_to_text(FAILURE_EVENT),
						 DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum("{\"count\":1}"))),
						 DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data))));
}

/* Is the error the caller's, who has to do with it himself: a cancel, a deadlock, a serialization failure? */
static bool
is_of_caller(int sqlstate, bool timed_out)
{
	return (sqlstate == ERRCODE_QUERY_CANCELED && !timed_out) ||
		ERRCODE_TO_CATEGORY(sqlstate) == ERRCODE_TRANSACTION_ROLLBACK;
}

/* Run one handler; an error of it goes no further. */
static void
run_handler(const Handler *handler, text *event, Jsonb *measurements, Jsonb *metadata)
{
	EsAttempt	attempt;
	EsDeadline	deadline;

	es_attempt_begin(&attempt);
	es_deadline_begin(&deadline, es_handler_timeout);
	PG_TRY();
	{
		call(handler, event, measurements, metadata);
		(void) es_deadline_end(&deadline);
		es_attempt_succeeded(&attempt);
	}
	PG_CATCH();
	{
		bool		timed_out = es_deadline_end(&deadline);
		ErrorData  *error = es_attempt_failed(&attempt);

		if (is_of_caller(error->sqlerrcode, timed_out))
			ReThrowError(error);
		/* that the transaction is read-only is no fault of the handler's */
		if (error->sqlerrcode != ERRCODE_READ_ONLY_SQL_TRANSACTION && detach_failed(handler->number))
			tell_failure(handler, event, error);
		FreeErrorData(error);
	}
	PG_END_TRY();
}

static bool
is_for(const Handler *handler, const char *event, int length)
{
	ListCell   *lc;

	foreach(lc, handler->events)
		if (strlen(lfirst(lc)) == length && memcmp(lfirst(lc), event, length) == 0)
			return true;
	return false;
}

/* Is a handler attached to the event? */
bool
es_handlers_want(const char *event)
{
	ListCell   *lc;

	foreach(lc, handlers)
		if (is_for(lfirst(lc), event, strlen(event)))
			return true;
	return false;
}

/* The handlers of an event, copied: the cache may be loaded anew while they run. */
static List *
handlers_of(text *event)
{
	ListCell   *lc;
	List	   *result = NIL;

	foreach(lc, handlers)
	{
		Handler    *handler = lfirst(lc);
		Handler    *copy;

		if (handler->detached || !is_for(handler, VARDATA_ANY(event), VARSIZE_ANY_EXHDR(event)))
			continue;
		copy = palloc(sizeof(Handler));
		*copy = *handler;
		copy->id = pstrdup(handler->id);
		copy->fn = pstrdup(handler->fn);
		copy->config = DatumGetJsonbPCopy(JsonbPGetDatum(handler->config));
		result = lappend(result, copy);
	}
	return result;
}

static void
run_list(List *list, text *event, Jsonb *measurements, Jsonb *metadata)
{
	running = true;
	PG_TRY();
	{
		ListCell   *lc;

		foreach(lc, list)
			run_handler(lfirst(lc), event, measurements, metadata);
	}
	PG_FINALLY();
	{
		running = false;
	}
	PG_END_TRY();
}

/* Run what is attached to an event. */
void
es_handlers_run(text *event, Jsonb *measurements, Jsonb *metadata)
{
	List	   *list;

	(void) es_handlers_load();
	/* beside parallel workers, as a read may run, there can be no subtransaction */
	if (running || handlers == NIL || IsInParallelMode())
		return;
	look_at_detached();
	list = handlers_of(event);
	if (list != NIL)
		run_list(list, event, measurements, metadata);
}

void
EsHandlerInit(void)
{
	static const EsShmemPart part = {handlers_size, handlers_attach};

	es_shmem_register(&part);
}

/* --- attaching --- */

static Relation
open_attachments(void)
{
	return es_extension_open("telemetry_attachments", ShareRowExclusiveLock);
}

/* The row of a handler, as a copy; NULL if there is none. */
static HeapTuple
find_attachment(Relation rel, const char *id)
{
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;
	HeapTuple	result = NULL;

	while (result == NULL && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;
		Datum		value = heap_getattr(tuple, ATTACHMENT_ID + 1, RelationGetDescr(rel), &isnull);

		if (strcmp(TextDatumGetCString(value), id) == 0)
			result = heap_copytuple(tuple);
	}
	systable_endscan(scan);
	return result;
}

/* Check that the function can be called as a handler. */
static void
check_function(Oid fn)
{
	static const Oid wanted[] = {TEXTOID, JSONBOID, JSONBOID, JSONBOID};
	Oid		   *types;
	int			count;

	es_require_function(fn);
	(void) get_func_signature(fn, &types, &count);
	if (count != lengthof(wanted) || memcmp(types, wanted, sizeof(wanted)) != 0 || get_func_retset(fn))
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("function", format_procedure(fn))),
							"function %s is no telemetry handler", format_procedure(fn)),
				 errhint("A handler takes (event text, measurements jsonb, metadata jsonb, config jsonb).")));
	if (!es_may_execute(fn, GetUserId()))
		ereport(ERROR,
				(es_problem(ERRCODE_INSUFFICIENT_PRIVILEGE, ES_MEMBERS(ES_TEXT("function", format_procedure(fn))),
							"permission denied for function %s", format_procedure(fn)),
				 errhint("A handler runs as the role that attaches it, which needs EXECUTE on the function.")));
}

PG_FUNCTION_INFO_V1(event_store_telemetry_attach);
PG_FUNCTION_INFO_V1(event_store_telemetry_detach);
PG_FUNCTION_INFO_V1(event_store_telemetry_detached);

Datum
event_store_telemetry_attach(PG_FUNCTION_ARGS)
{
	char	   *id = text_to_cstring(PG_GETARG_TEXT_PP(0));
	Oid			fn = PG_GETARG_OID(2);
	Datum		values[ATTACHMENT_NCOLUMNS];
	bool		nulls[ATTACHMENT_NCOLUMNS] = {0};
	Relation	rel;
	uint64		number;

	es_require_writable();
	if (id[0] == '\0' || strings_of(PG_GETARG_DATUM(1)) == NIL)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, NULL, "a telemetry handler needs an id and at least one event"),
				 errhint("Name the events it is to run for.")));
	check_function(fn);
	if (!pg_strong_random(&number, sizeof(number)))
		elog(ERROR, "could not get random bits");

	values[ATTACHMENT_NUMBER] = Int64GetDatum(number >> 1);
	values[ATTACHMENT_ID] = CStringGetTextDatum(id);
	values[ATTACHMENT_EVENTS] = PG_GETARG_DATUM(1);
	values[ATTACHMENT_FN] = CStringGetTextDatum(format_procedure_qualified(fn));
	values[ATTACHMENT_CONFIG] = PG_GETARG_DATUM(3);
	values[ATTACHMENT_ROLE] = ObjectIdGetDatum(GetUserId());
	values[ATTACHMENT_AT] = TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());

	rel = open_attachments();
	if (find_attachment(rel, id) != NULL)
		ereport(ERROR,
				(es_problem(ERRCODE_DUPLICATE_OBJECT, ES_MEMBERS(ES_TEXT("handler", id)),
							"telemetry handler \"%s\" already exists", id),
				 errhint("Detach it first with event_store.telemetry_detach().")));
	CatalogTupleInsert(rel, heap_form_tuple(RelationGetDescr(rel), values, nulls));
	CacheInvalidateRelcache(rel);
	table_close(rel, NoLock);
	CommandCounterIncrement();
	PG_RETURN_VOID();
}

Datum
event_store_telemetry_detach(PG_FUNCTION_ARGS)
{
	char	   *id = text_to_cstring(PG_GETARG_TEXT_PP(0));
	Relation	rel;
	HeapTuple	tuple;

	es_require_writable();
	rel = open_attachments();
	tuple = find_attachment(rel, id);
	if (tuple == NULL)
		ereport(ERROR,
				(es_problem(ERRCODE_UNDEFINED_OBJECT, ES_MEMBERS(ES_TEXT("handler", id)),
							"telemetry handler \"%s\" does not exist", id),
				 errhint("The view event_store.telemetry_handlers lists them.")));
	CatalogTupleDelete(rel, &tuple->t_self);
	CacheInvalidateRelcache(rel);
	table_close(rel, NoLock);
	CommandCounterIncrement();
	PG_RETURN_VOID();
}

/* For the view: the numbers of the handlers of this database that are detached because they failed. */
Datum
event_store_telemetry_detached(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Detached	copy[RING_SIZE];
	int			n = copy_detached(copy);

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < n; i++)
	{
		Datum		values[2] = {Int64GetDatum(copy[i].number), TimestampTzGetDatum(copy[i].at)};
		bool		nulls[2] = {0};

		if (copy[i].dbid == MyDatabaseId)
			tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}
