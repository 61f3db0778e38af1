/*
 * worker.c
 *		The worker of a database: moves the durable marks of its stores.
 *
 * The worker sleeps until a commit moves the horizon of a store (log/wake),
 * then moves the marks of the stores concerned, at most once an interval
 * (event_store.mark_interval).  Each mark is a transaction of its own, so a
 * store with damaged tables does not keep the others back.  Between two
 * transactions the worker holds nothing that could stand in anybody's way.
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
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/extension.h"
#include "base/settings.h"
#include "log/horizon.h"
#include "log/mark.h"
#include "log/slot.h"
#include "log/wake.h"
#include "observe/series.h"
#include "runtime/launcher.h"
#include "runtime/vacate.h"
#include "store/statement.h"
#include "store/store.h"

#define SAFETY_INTERVAL		1000	/* ms between two looks at all stores in use */
#define FAILURE_INTERVAL	10000	/* ms before a mark that could not be moved is tried again */
#define LOCK_WAIT			"200ms" /* for a table; less than any sensible deadlock_timeout */

/* The horizon at which a store's mark was last moved. */
typedef struct Done
{
	int			slot;			/* hash key */
	Oid			log;
	int64		horizon;
	TimestampTz not_before;		/* after a failure */
} Done;

static int	place;				/* in the launcher's table */
static EsWorkerEnd how = ES_WORKER_STOPPED;
static HTAB *done = NULL;

PGDLLEXPORT void es_worker_main(Datum argument);

static void
worker_exit(int code, Datum argument)
{
	Oid			log;

	es_wake_watch_database(InvalidOid);
	for (int slot = es_slot_next_in_use(ES_NONE, MyDatabaseId, &log); slot != ES_NONE;
		 slot = es_slot_next_in_use(slot, MyDatabaseId, &log))
		es_wake_watch(slot, false);
	es_worker_end(place, how);
}

/*
 * Move the mark of the store in a schema, in a transaction; false to try again.
 * *failed is set if that met with an error, which stands in the log.
 *
 * Who locks the tables, to drop them perhaps, takes the lock that the worker
 * waits for and wants one that it holds (of a partitioned event_log, say).
 * The worker gives way before the server looks for a deadlock.
 */
static bool
move_mark(Oid nspid, bool *failed)
{
	MemoryContext caller = CurrentMemoryContext;
	volatile bool moved = true;

	PG_TRY();
	{
		EsStore    *store;

		SetCurrentStatementStartTimestamp();
		StartTransactionCommand();
		(void) set_config_option("lock_timeout", LOCK_WAIT, PGC_SUSET, PGC_S_OVERRIDE, GUC_ACTION_LOCAL, true, 0, false);
		PushActiveSnapshot(GetTransactionSnapshot());
		store = es_store_of_schema(nspid);
		if (store != NULL)
			moved = es_mark_advance(store);
		PopActiveSnapshot();
		CommitTransactionCommand();
		MemoryContextSwitchTo(caller);
	}
	PG_CATCH();
	{
		moved = false;
		MemoryContextSwitchTo(caller);
		HOLD_INTERRUPTS();
		if (geterrcode() != ERRCODE_LOCK_NOT_AVAILABLE)
		{
			*failed = true;
			EmitErrorReport();
		}
		FlushErrorState();
		AbortCurrentTransaction();
		RESUME_INTERRUPTS();
		MemoryContextSwitchTo(caller);
	}
	PG_END_TRY();
	return moved;
}

/* Move the marks of all stores; after a start none is known to be up to date. */
static void
move_all_marks(void)
{
	List	   *schemas;
	ListCell   *lc;
	MemoryContext caller = CurrentMemoryContext;
	List	   *copy;
	bool		failed = false;

	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	schemas = es_statement_found_schemas();
	MemoryContextSwitchTo(caller);
	copy = list_copy(schemas);
	PopActiveSnapshot();
	CommitTransactionCommand();
	MemoryContextSwitchTo(caller);

	foreach(lc, copy)
	{
		CHECK_FOR_INTERRUPTS();
		if (es_worker_should_stop(place))
			break;
		(void) move_mark(lfirst_oid(lc), &failed);
	}
	list_free(copy);
}

/* Move the marks of the stores in use whose horizon has moved. */
static void
move_marks(void)
{
	Oid			log;

	for (int slot = es_slot_next_in_use(ES_NONE, MyDatabaseId, &log); slot != ES_NONE;
		 slot = es_slot_next_in_use(slot, MyDatabaseId, &log))
	{
		Done	   *d;
		bool		found;
		int64		horizon;
		Oid			nspid;
		bool		failed = false;

		CHECK_FOR_INTERRUPTS();
		es_wake_watch(slot, true);
		(void) es_wake_take(slot);
		horizon = es_slot_horizon(slot, log);
		d = hash_search(done, &slot, HASH_ENTER, &found);
		if (!found || d->log != log)
			*d = (Done) {.slot = slot, .log = log};
		if (horizon == 0 || d->horizon == horizon || d->not_before > GetCurrentTimestamp())
			continue;

		StartTransactionCommand();
		nspid = get_rel_namespace(log);
		CommitTransactionCommand();
		if (!OidIsValid(nspid) || move_mark(nspid, &failed))
			d->horizon = horizon;
		else if (failed)
			d->not_before = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), FAILURE_INTERVAL);
	}
}

/* Sleep until something happens, and not less than the interval between marks. */
static void
rest(TimestampTz last_move)
{
	static uint32 wait_event = 0;

	if (wait_event == 0)
		wait_event = es_wait_event("EventStoreWorker");
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, SAFETY_INTERVAL, wait_event);
	for (;;)
	{
		long		left = es_mark_interval - TimestampDifferenceMilliseconds(last_move, GetCurrentTimestamp());

		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (left <= 0 || es_worker_should_stop(place))
			break;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, left, wait_event);
	}
}

/* Is the extension here, and may a worker be? */
static bool
has_work(void)
{
	bool		installed;
	bool		free;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	installed = OidIsValid(es_extension_oid());
	free = es_database_is_free(MyDatabaseId);
	CommitTransactionCommand();
	if (!installed)
		how = ES_WORKER_ABSENT;
	return installed && free;
}

void
es_worker_main(Datum argument)
{
	HASHCTL		ctl = {.keysize = sizeof(int), .entrysize = sizeof(Done)};
	Oid			dbid;

	place = DatumGetInt32(argument);
	memcpy(&dbid, MyBgworkerEntry->bgw_extra, sizeof(Oid));

	/* before anything that could fail, so that the place is freed */
	before_shmem_exit(worker_exit, (Datum) 0);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(dbid, InvalidOid, 0);

	/* nobody waits for a mark, and it may be lost: the next one is higher */
	SetConfigOption("synchronous_commit", "off", PGC_SUSET, PGC_S_OVERRIDE);

	/* whatever the database sets for its sessions */
	SetConfigOption("default_transaction_isolation", "read committed", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("default_transaction_read_only", "off", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("lock_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("statement_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);

	if (!has_work() || !es_worker_begin(place))
		proc_exit(0);
	done = hash_create("event_store marks", 64, &ctl, HASH_ELEM | HASH_BLOBS);
	es_wake_watch_database(MyDatabaseId);
	pgstat_report_appname("event_store worker");
	move_all_marks();

	while (!es_worker_should_stop(place) && has_work())
	{
		TimestampTz now = GetCurrentTimestamp();

		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
		move_marks();
		pgstat_report_stat(true);
		pgstat_report_activity(STATE_IDLE, NULL);
		rest(now);
	}
	if (how == ES_WORKER_ABSENT)
		es_series_forget_database(MyDatabaseId);
	proc_exit(0);
}
