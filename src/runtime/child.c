/*
 * child.c
 *		Children of supervisors: their processes.
 *
 * A child is a function of a user's that is called again and again in a
 * background worker of its own.  It returns how long to wait before the next
 * call, or null when it is done; each call is a transaction, as the role of
 * the supervisor.  An error of a call ends the child, and where its supervisor
 * restarts it, that happens in the same process.  A process that dies without
 * a word is noticed by the scheduler of the database, which starts another
 * one.  Either way the supervisor's limit of restarts counts; a supervisor that
 * reaches it has failed, and its other children are asked to end.
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
#include "runtime/supervisor.h"
#include "runtime/transact.h"
#include "runtime/vacate.h"

#define LONGEST_SLEEP	(INT64CONST(1000) * SECS_PER_DAY)	/* ms; after that it looks and sleeps on */
#define RESTART_EVENT	"event_store.supervisor.restart"

typedef enum Ending
{
	GOES_ON,
	IS_DONE,					/* it has returned null */
	HAS_FAILED,					/* it has raised an error */
	IS_STOPPED					/* it was asked to end, or there is nothing left that it belongs to */
} Ending;

static EsChild me;

PGDLLEXPORT void es_child_main(Datum argument);

static void
child_exit(int code, Datum argument)
{
	es_child_died(&me);
}

/* --- a call --- */

/* Call the function, in the transaction in progress: GOES_ON and after how many ms again, or IS_DONE. */
static Ending
call(int64 *pause)
{
	EsIdentity	own;
	Oid			function;
	FmgrInfo	flinfo;
	LOCAL_FCINFO(fcinfo, 1);
	Datum		result;
	Ending		ending;

	if (!SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(me.role)))
		ereport(ERROR,
				(es_problem(ERRCODE_UNDEFINED_OBJECT, ES_MEMBERS(ES_INT("role", me.role)),
							"the role that the child runs as does not exist any more"),
				 errhint("Make a supervisor that runs its children as another role.")));
	es_identity_take(&own, me.role, me.nspid);
	function = DatumGetObjectId(DirectFunctionCall1(regprocedurein, CStringGetDatum(me.function)));
	if (!es_may_execute(function, me.role))
		ereport(ERROR,
				(es_problem(ERRCODE_INSUFFICIENT_PRIVILEGE, ES_MEMBERS(ES_TEXT("function", me.function)),
							"permission denied for function %s", me.function),
				 errhint("Grant EXECUTE on it to the role that the supervisor runs its children as.")));
	fmgr_info(function, &flinfo);
	InitFunctionCallInfoData(*fcinfo, &flinfo, 1, InvalidOid, NULL, NULL);
	fcinfo->args[0] = (NullableDatum) {JsonbPGetDatum(me.args), false};
	result = FunctionCallInvoke(fcinfo);
	ending = fcinfo->isnull ? IS_DONE : GOES_ON;
	if (ending == GOES_ON)
		*pause = Max(0, es_interval_ms(DatumGetIntervalP(result)));
	es_identity_give_back(&own);
	return ending;
}

/* A call in a transaction of its own; an error is noted, and goes no further than the log. */
static Ending
call_safely(int64 *pause)
{
	MemoryContext caller = CurrentMemoryContext;
	volatile Ending ending = IS_STOPPED;

	es_child_calls(&me);
	pgstat_report_activity(STATE_RUNNING, psprintf("event_store child %s of %s", me.function, NameStr(me.supervisor)));
	PG_TRY();
	{
		SetCurrentStatementStartTimestamp();
		StartTransactionCommand();
		PushActiveSnapshot(GetTransactionSnapshot());
		if (OidIsValid(es_extension_oid()))
			ending = call(pause);
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
		ending = HAS_FAILED;
		es_child_note_error(&me, error->sqlerrcode, error->message);
		ereport(LOG,
				(errcode(error->sqlerrcode),
				 errmsg("child of supervisor \"%s\" has failed: %s", NameStr(me.supervisor), error->message),
				 error->context != NULL ? errcontext("%s", error->context) : 0));
	}
	PG_END_TRY();
	pgstat_report_stat(false);
	pgstat_report_activity(STATE_IDLE, NULL);
	return ending;
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

		CHECK_FOR_INTERRUPTS();
		if (left <= 0 || es_child_is_stopping(&me))
			return;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, (long) left, wait_event);
		ResetLatch(MyLatch);
	}
}

/* Call the function until that ends. */
static Ending
run(MemoryContext context)
{
	bool		ready = false;

	for (;;)
	{
		int64		pause = 0;
		Ending		ending;

		MemoryContextReset(context);
		MemoryContextSwitchTo(context);
		if (es_child_is_stopping(&me))
			return IS_STOPPED;
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
		ending = call_safely(&pause);
		if (!ready && (ending == GOES_ON || ending == IS_DONE))
			es_child_ready(&me);
		ready = true;
		if (ending != GOES_ON)
			return ending;
		pause_for(pause);
	}
}

/* --- restarts --- */

/* What telemetry is told of a restart. */
static void
tell_restart(void *child)
{
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfo(&json, "{\"supervisor\":\"%s\"}", NameStr(((EsChild *) child)->supervisor));
	es_telemetry_execute(cstring_to_text(RESTART_EVENT),
						 DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum("{\"count\":1}"))),
						 DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data))));
}

/*
 * May a child that has ended so be started again?  If its supervisor has
 * restarted too often, that has failed.
 */
static bool
may_go_on(EsChild *child, Ending ending)
{
	if (child->restart == ES_RESTART_TEMPORARY || (child->restart == ES_RESTART_TRANSIENT && ending == IS_DONE))
		return false;
	if (es_child_may_restart(child))
	{
		(void) es_transact(tell_restart, child);
		return true;
	}
	(void) es_children_stop(NameStr(child->supervisor));
	(void) es_transact(es_supervisor_failed, child);
	return false;
}

static void
set(const char *name, const char *value)
{
	SetConfigOption(name, value, PGC_SUSET, PGC_S_OVERRIDE);
}

/* May there be such a process in this database? */
static bool
may_stay(void)
{
	bool		free;

	StartTransactionCommand();
	free = es_database_is_free(MyDatabaseId);
	CommitTransactionCommand();
	return free;
}

void
es_child_main(Datum argument)
{
	EsChildStart start;
	MemoryContext context;
	Ending		ending;

	memcpy(&start, MyBgworkerEntry->bgw_extra, sizeof(start));
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	MemoryContextSwitchTo(TopMemoryContext);
	if (!es_child_begin(start.place, start.generation, &me))
		proc_exit(0);
	before_shmem_exit(child_exit, (Datum) 0);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(start.dbid, InvalidOid, 0);

	/* whatever the database sets for its sessions */
	set("default_transaction_isolation", "read committed");
	set("default_transaction_read_only", "off");
	set("statement_timeout", "0");
	set("idle_in_transaction_session_timeout", "0");
	if (!may_stay())
		proc_exit(0);

	context = AllocSetContextCreate(TopMemoryContext, "event_store child", ALLOCSET_DEFAULT_SIZES);
	for (;;)
	{
		ending = run(context);
		/* one that has never been ready is the business of whoever started it */
		if (ending == HAS_FAILED && es_child_is_awaited(&me))
		{
			es_child_set_state(&me, ES_CHILD_FAILED);
			break;
		}
		if (ending == IS_STOPPED || !may_go_on(&me, ending))
		{
			es_child_free(&me);
			break;
		}
		es_child_begin_again(&me);
	}
	pgstat_report_stat(true);
	proc_exit(0);
}

/* --- the scheduler's part --- */

/* Give a child a process; if there is none, it waits in its state. */
static bool
start(const EsChild *child, EsChildState waiting)
{
	void	   *handle;

	if (es_child_register(child, &handle))
		return true;
	es_child_put_back(child, waiting);
	return false;
}

void
es_children_turn(void)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "event_store children", ALLOCSET_SMALL_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	EsChild		child;
	bool		counts;

	es_children_kill_overdue();
	while (es_child_take_died(&child, &counts))
	{
		CHECK_FOR_INTERRUPTS();
		if (counts && !may_go_on(&child, HAS_FAILED))
			es_child_free(&child);
		else if (!start(&child, ES_CHILD_DIED))
			break;
	}
	while (es_child_take_queued(&child) && start(&child, ES_CHILD_QUEUED))
		CHECK_FOR_INTERRUPTS();
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
}
