/*
 * worker.c
 *		A worker: runs the tasks of a database that its scheduler gives it.
 *
 * A worker is started by the scheduler when tasks are due and there is nobody
 * to run them.  It runs a task, step by step, until that has to wait or others
 * wait for the worker, hands in the outcome and sleeps until it gets the next
 * one.  When nothing has come for a while it leaves, and earlier if it is asked
 * to, or if another database has no worker while this one has had its turn.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "base/compat.h"
#include "base/settings.h"
#include "runtime/board.h"
#include "runtime/identity.h"
#include "runtime/run.h"
#include "runtime/vacate.h"
#include "runtime/worker.h"

#define IDLE_TIMEOUT	30000	/* ms that a worker without work stays */
#define LEAVE_INTERVAL	10		/* ms until one that may not leave yet tries again */
#define TURN			1000	/* ms that a database keeps a worker that another one needs */

static bool in_worker = false;
static TimestampTz arrived;

PGDLLEXPORT void es_task_worker_main(Datum argument);

/* Has this database had its turn with this worker, and another one needs it? */
static bool
turn_is_over(void)
{
	return es_board_database_starves() && TimestampDifferenceExceeds(arrived, GetCurrentTimestamp(), TURN);
}

/* For a step: is somebody waiting for this worker? */
bool
es_task_should_yield(void)
{
	return in_worker && (es_pool_stopping() || es_board_others_wait() || turn_is_over());
}

/* Run a task until it has to wait, has failed, or should make way. */
static void
run_task(const EsAssignment *given, MemoryContext context)
{
	EsAssignment assignment = *given;
	EsRunOutcome	outcome = {.task = given->task};

	do
	{
		MemoryContextReset(context);
		MemoryContextSwitchTo(context);
		es_run_step(&assignment, &outcome);
		if (outcome.kind == ES_RUN_NEXT)
			assignment.failures = 0;
	} while (outcome.kind == ES_RUN_NEXT && outcome.next.when == ES_TASK_AGAIN && !es_task_should_yield());
	es_pool_done(&outcome, turn_is_over());
}

/* Should the worker leave, that has been idle for so long? */
static bool
should_leave(TimestampTz idle_since)
{
	return es_pool_stopping() || es_board_database_starves() ||
		TimestampDifferenceExceeds(idle_since, GetCurrentTimestamp(), IDLE_TIMEOUT);
}

static void
rest(long timeout)
{
	static uint32 wait_event = 0;

	if (wait_event == 0)
		wait_event = es_wait_event("EventStoreWorker");
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, timeout, wait_event);
}

void
es_task_worker_main(Datum argument)
{
	EsWorkerStart start;
	MemoryContext context;
	TimestampTz idle_since;

	memcpy(&start, MyBgworkerEntry->bgw_extra, sizeof(start));
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	if (!es_pool_begin(start.place, start.generation))
		proc_exit(0);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(start.dbid, InvalidOid, 0);

	es_identity_begin_session();
	if (!es_worker_may_stay())
		proc_exit(0);

	in_worker = true;
	arrived = idle_since = GetCurrentTimestamp();
	context = AllocSetContextCreate(TopMemoryContext, "event_store step", ALLOCSET_DEFAULT_SIZES);
	es_pool_ready();
	for (;;)
	{
		EsAssignment assignment;

		ResetLatch(MyLatch);
		/* a cancel that came too late must not hit what comes next */
		QueryCancelPending = false;
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
		if (es_pool_get(&assignment))
		{
			run_task(&assignment, context);
			MemoryContextSwitchTo(TopMemoryContext);
			MemoryContextReset(context);
			pgstat_report_stat(false);
			pgstat_report_activity(STATE_IDLE, NULL);
			idle_since = GetCurrentTimestamp();
			continue;
		}
		if (!should_leave(idle_since))
			rest(IDLE_TIMEOUT);
		else if (es_pool_leave())
			break;
		else
			rest(LEAVE_INTERVAL);
	}
	pgstat_report_stat(true);
	proc_exit(0);
}

/* Register the worker of a place; false if the server has no room for one. */
bool
es_worker_register(const EsWorkerStart *start, BackgroundWorkerHandle **handle)
{
	BackgroundWorker worker = {0};

	StaticAssertStmt(sizeof(EsWorkerStart) <= BGW_EXTRALEN, "what a worker is told fits");
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	snprintf(worker.bgw_library_name, BGW_MAXLEN, "event_store");
	snprintf(worker.bgw_function_name, BGW_MAXLEN, "es_task_worker_main");
	snprintf(worker.bgw_name, BGW_MAXLEN, "event_store worker");
	snprintf(worker.bgw_type, BGW_MAXLEN, "event_store worker");
	memcpy(worker.bgw_extra, start, sizeof(*start));
	worker.bgw_notify_pid = MyProcPid;
	return RegisterDynamicBackgroundWorker(&worker, handle);
}
