/*
 * child.c
 *		Children of supervisors: their processes.
 *
 * A child is a function of a user's that is called again and again in a
 * background worker of its own.  It returns how long to wait before the next
 * call, or null when it is done; each call is a transaction, as the role of
 * the supervisor.  Whatever ends a child ends its process: an error, null, a
 * signal.  The scheduler of the database decides whether it gets another one.
 * The supervisor's limit of restarts counts; a supervisor that reaches it has
 * failed, and its other children are asked to end.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "base/arguments.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/extension.h"
#include "observe/execute.h"
#include "runtime/child.h"
#include "runtime/child_table.h"
#include "runtime/identity.h"
#include "runtime/intensity.h"
#include "runtime/supervisor.h"
#include "runtime/transact.h"
#include "runtime/vacate.h"
#include "store/store.h"
#include "store/tenant.h"

#define LONGEST_SLEEP		(INT64CONST(1000) * SECS_PER_DAY)	/* ms; after that it looks and sleeps on */
#define SUSPENDED_INTERVAL	10000	/* ms until a child of a suspended tenant looks again */
#define RESTART_EVENT		"event_store.supervisor.restart"

typedef enum Outcome
{
	GOES_ON,
	IS_DONE,					/* it has returned null */
	HAS_FAILED,					/* it has raised an error */
	IS_STOPPED					/* it was asked to end, or there is nothing left that it belongs to */
} Outcome;

static EsChild me;
static EsChildEnd my_end = ES_END_DIED;

PGDLLEXPORT void es_child_main(Datum argument);

static void
child_exit(int code, Datum argument)
{
	es_child_ended(&me, my_end);
}

/* --- a call --- */

/* The function, which the role may have lost by now. */
static Oid
function_to_call(void)
{
	Oid			function = DatumGetObjectId(DirectFunctionCall1(regprocedurein, CStringGetDatum(me.function)));

	if (!es_may_execute(function, me.role))
		ereport(ERROR,
				(es_problem(ERRCODE_INSUFFICIENT_PRIVILEGE, ES_MEMBERS(ES_TEXT("function", me.function)),
							"permission denied for function %s", me.function),
				 errhint("Grant EXECUTE on it to the role that the supervisor runs its children as.")));
	return function;
}

/* Call the function, in the transaction in progress; *pause is after how many ms again. */
static Outcome
call_function(int64 *pause)
{
	EsIdentity	own;
	FmgrInfo	flinfo;
	LOCAL_FCINFO(fcinfo, 1);
	Datum		result;

	if (!SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(me.role)))
		ereport(ERROR,
				(es_problem(ERRCODE_UNDEFINED_OBJECT, ES_MEMBERS(ES_INT("role", me.role)),
							"the role that the child runs as does not exist any more"),
				 errhint("Make a supervisor that runs its children as another role.")));
	es_identity_take(&own, me.role, me.nspid);
	fmgr_info(function_to_call(), &flinfo);
	InitFunctionCallInfoData(*fcinfo, &flinfo, 1, InvalidOid, NULL, NULL);
	fcinfo->args[0] = (NullableDatum) {JsonbPGetDatum(me.args), false};
	result = FunctionCallInvoke(fcinfo);
	if (!fcinfo->isnull)
		*pause = Max(0, es_interval_ms(DatumGetIntervalP(result)));
	es_identity_give_back(&own);
	return fcinfo->isnull ? IS_DONE : GOES_ON;
}

/* Call the function unless the extension, the store or its tenant have something against it. */
static Outcome
call(int64 *pause)
{
	EsTenant	tenant;

	if (!OidIsValid(es_extension_oid()) || (OidIsValid(me.nspid) && es_store_of_schema(me.nspid) == NULL))
		return IS_STOPPED;
	if (OidIsValid(me.nspid) && es_tenant_of_schema(me.nspid, &tenant) && tenant.state == ES_TENANT_SUSPENDED)
	{
		*pause = SUSPENDED_INTERVAL;
		return GOES_ON;
	}
	return call_function(pause);
}

/* A call in a transaction of its own; an error is noted, and goes no further than the log. */
static Outcome
call_safely(int64 *pause)
{
	MemoryContext caller = CurrentMemoryContext;
	volatile Outcome outcome = IS_STOPPED;

	es_child_calls(&me);
	pgstat_report_activity(STATE_RUNNING, psprintf("event_store child %s of %s", me.function, NameStr(me.supervisor)));
	PG_TRY();
	{
		SetCurrentStatementStartTimestamp();
		StartTransactionCommand();
		PushActiveSnapshot(GetTransactionSnapshot());
		outcome = call(pause);
		if (ActiveSnapshotSet())
			PopActiveSnapshot();
		CommitTransactionCommand();
		MemoryContextSwitchTo(caller);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(caller);
		HOLD_INTERRUPTS();
		error = CopyErrorData();
		FlushErrorState();
		AbortCurrentTransaction();
		RESUME_INTERRUPTS();
		MemoryContextSwitchTo(caller);
		outcome = HAS_FAILED;
		es_child_note_error(&me, error->sqlerrcode, error->message);
		ereport(LOG,
				(errcode(error->sqlerrcode),
				 errmsg("child of supervisor \"%s\" has failed: %s", NameStr(me.supervisor), error->message),
				 error->context != NULL ? errcontext("%s", error->context) : 0));
	}
	PG_END_TRY();
	pgstat_report_stat(false);
	pgstat_report_activity(STATE_IDLE, NULL);
	return outcome;
}

/* Wait for the next call, or the wish that this end. */
static void
pause_for(int64 ms)
{
	static uint32 wait_event = 0;
	TimestampTz until = ms > LONGEST_SLEEP ? DT_NOEND : TimestampTzPlusMilliseconds(GetCurrentTimestamp(), ms);

	if (wait_event == 0)
		wait_event = es_wait_event("EventStoreChild");
	es_child_sleeps(&me, until);
	for (;;)
	{
		int64		left = until == DT_NOEND ? LONGEST_SLEEP : TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until);

		/* a cancel that came too late must not hit what comes next */
		QueryCancelPending = false;
		CHECK_FOR_INTERRUPTS();
		if (left <= 0 || es_child_is_stopping(&me))
			return;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, (long) left, wait_event);
		ResetLatch(MyLatch);
	}
}

/* Call the function until that ends. */
static EsChildEnd
run(void)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "event_store child", ALLOCSET_DEFAULT_SIZES);
	bool		ready = false;

	for (;;)
	{
		int64		pause = 0;
		Outcome		outcome;

		MemoryContextReset(context);
		MemoryContextSwitchTo(context);
		if (es_child_is_stopping(&me))
			return ES_END_STOPPED;
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
		outcome = call_safely(&pause);
		if (outcome == HAS_FAILED)
			return ES_END_ERROR;
		if (outcome == IS_STOPPED)
			return ES_END_STOPPED;
		if (!ready)
			es_child_ready(&me);
		ready = true;
		if (outcome == IS_DONE)
			return ES_END_DONE;
		pause_for(pause);
	}
}

/* --- the process --- */

/* Tell telemetry of a restart; what listens to it runs as the child does. */
static void
tell_restart(void *argument)
{
	EsIdentity	own;
	StringInfoData json;

	if (!OidIsValid(es_extension_oid()) || !SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(me.role)))
		return;
	initStringInfo(&json);
	appendStringInfoString(&json, "{\"supervisor\":");
	escape_json(&json, NameStr(me.supervisor));
	if (me.name[0] != '\0')
	{
		appendStringInfoString(&json, ",\"child\":");
		escape_json(&json, me.name);
	}
	appendStringInfoChar(&json, '}');
	es_identity_take(&own, me.role, me.nspid);
	es_telemetry_execute(cstring_to_text(RESTART_EVENT),
						 DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum("{\"count\":1}"))),
						 DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data))));
	es_identity_give_back(&own);
}

void
es_child_main(Datum argument)
{
	EsChildStart start;

	memcpy(&start, MyBgworkerEntry->bgw_extra, sizeof(start));
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	MemoryContextSwitchTo(TopMemoryContext);
	if (!es_child_begin(start.place, start.generation, &me))
		proc_exit(0);
	before_shmem_exit(child_exit, (Datum) 0);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(start.dbid, InvalidOid, 0);

	es_identity_begin_session();
	if (es_worker_may_stay())
	{
		if (me.restarted)
			(void) es_transact(tell_restart, NULL);
		my_end = run();
	}
	else
		my_end = ES_END_MADE_WAY;
	pgstat_report_stat(true);
	proc_exit(0);
}

/* Register the process of a child; false if the server has no room for one. */
bool
es_child_register(const EsChild *child, BackgroundWorkerHandle **handle)
{
	BackgroundWorker worker = {0};
	EsChildStart start = {child->place, child->generation, child->dbid};

	StaticAssertStmt(sizeof(EsChildStart) <= BGW_EXTRALEN, "what a child is told fits");
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	snprintf(worker.bgw_library_name, BGW_MAXLEN, "event_store");
	snprintf(worker.bgw_function_name, BGW_MAXLEN, "es_child_main");
	snprintf(worker.bgw_name, BGW_MAXLEN, "event_store child of %s", NameStr(child->supervisor));
	snprintf(worker.bgw_type, BGW_MAXLEN, "event_store child");
	memcpy(worker.bgw_extra, &start, sizeof(start));
	worker.bgw_notify_pid = MyProcPid;
	return RegisterDynamicBackgroundWorker(&worker, handle);
}

/* --- the scheduler's part --- */

/* Does a child that has ended get another process? */
static bool
goes_on(const EsChild *child)
{
	if (child->how == ES_END_MADE_WAY)
		return true;
	if (child->restart == ES_RESTART_TEMPORARY || (child->restart == ES_RESTART_TRANSIENT && child->how == ES_END_DONE))
		return false;
	return es_child_count_restart(child);
}

/* Give a child a process; if there is none, it waits. */
static bool
start(const EsChild *child)
{
	BackgroundWorkerHandle *handle;

	if (es_child_register(child, &handle))
		return true;
	es_child_queue(child);
	return false;
}

void
es_children_turn(void)
{
	MemoryContext context;
	MemoryContext caller;
	EsFailedSupervisor failed;
	EsChild		child;

	if (!es_children_in(MyDatabaseId))
		return;
	context = AllocSetContextCreate(CurrentMemoryContext, "event_store children", ALLOCSET_SMALL_SIZES);
	caller = MemoryContextSwitchTo(context);
	es_children_tidy();
	while (es_child_take_ended(&child))
		if (goes_on(&child))
			(void) start(&child);
		else
			es_child_free(&child);
	while (es_child_take_queued(&child) && start(&child))
		 /* the next one */ ;
	while (es_intensity_take_failed(&failed))
		if (es_transact(es_supervisor_failed, &failed) == ES_TRANSACT_DONE)
			es_supervisor_forget(NameStr(failed.name));
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
}
