/*
 * scheduler.c
 *		The scheduler of a database: moves the durable marks of its stores, hands
 *		its tasks to workers (runtime/queue), restarts children (runtime/child)
 *		and notifies those who listen (runtime/notify).
 *
 * The scheduler sleeps until a commit moves the horizon of a store (log/wake),
 * a task is registered or poked, or a worker is done (runtime/pool).  Tasks
 * that are due get a worker at once.  Marks are moved at most once an interval
 * (event_store.mark_interval).  Each mark is a transaction of its own, so a
 * store with damaged tables does not keep the others back.  Between two
 * transactions the scheduler holds nothing that could stand in anybody's way,
 * and it runs no code of users.
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
#include "runtime/child.h"
#include "runtime/child_table.h"
#include "runtime/launcher.h"
#include "runtime/notify.h"
#include "runtime/queue.h"
#include "runtime/transact.h"
#include "runtime/vacate.h"
#include "store/statement.h"
#include "store/store.h"

#define SAFETY_INTERVAL		1000	/* ms between two looks at all stores in use */
#define FAILURE_INTERVAL	10000	/* ms before a mark that could not be moved is tried again */

/* The horizon at which a store's mark was last moved. */
typedef struct Done
{
	int			slot;			/* hash key */
	Oid			log;
	int64		horizon;
	TimestampTz not_before;		/* after a failure */
} Done;

static int	place;				/* in the launcher's table */
static EsSchedulerEnd how = ES_SCHEDULER_STOPPED;
static HTAB *done = NULL;
static bool moved = true;		/* has a horizon moved since the marks were? */

PGDLLEXPORT void es_scheduler_main(Datum argument);

static void
scheduler_exit(int code, Datum argument)
{
	Oid			log;

	es_queue_close();

	es_wake_watch_database(InvalidOid);
	for (int slot = es_slot_next_in_use(ES_NONE, MyDatabaseId, &log); slot != ES_NONE;
		 slot = es_slot_next_in_use(slot, MyDatabaseId, &log))
		es_wake_watch(slot, false);
	es_scheduler_end(place, how);
}

static void
advance(void *argument)
{
	EsStore    *store = es_store_of_schema(*(Oid *) argument);

	/* one that is being dropped needs no mark */
	if (store != NULL && !es_mark_advance(store))
		ereport(ERROR, (errcode(ERRCODE_LOCK_NOT_AVAILABLE), errmsg_internal("the table of the mark is locked")));
}

/* Hand tasks to workers; `all` looks at every store, told or not that its horizon has moved. */
static void
serve_tasks(bool all)
{
	if (es_queue_look(all))
		moved = true;
	es_queue_turn();
	es_children_turn();
}

static void
list_schemas(void *argument)
{
	List	   *schemas = es_statement_found_schemas();
	MemoryContext transaction = MemoryContextSwitchTo(TopMemoryContext);

	*(List **) argument = list_copy(schemas);
	MemoryContextSwitchTo(transaction);
}

/* Move the marks of all stores; after a start none is known to be up to date. */
static void
move_all_marks(void)
{
	List	   *schemas = NIL;
	ListCell   *lc;

	(void) es_transact(list_schemas, &schemas);
	foreach(lc, schemas)
	{
		Oid			nspid = lfirst_oid(lc);

		CHECK_FOR_INTERRUPTS();
		if (es_scheduler_should_stop(place))
			break;
		(void) es_transact(advance, &nspid);
		serve_tasks(false);
	}
	list_free(schemas);
}

/* Move the marks of the stores in use whose horizon has moved. */
static void
move_marks(void)
{
	Oid			log;

	moved = false;
	for (int slot = es_slot_next_in_use(ES_NONE, MyDatabaseId, &log); slot != ES_NONE;
		 slot = es_slot_next_in_use(slot, MyDatabaseId, &log))
	{
		Done	   *d;
		bool		found;
		int64		horizon;
		Oid			nspid;
		EsTransacted result = ES_TRANSACT_DONE;

		CHECK_FOR_INTERRUPTS();
		horizon = es_slot_horizon(slot, log);
		d = hash_search(done, &slot, HASH_ENTER, &found);
		if (!found || d->log != log)
			*d = (Done) {.slot = slot, .log = log};
		if (horizon == 0 || d->horizon == horizon || d->not_before > GetCurrentTimestamp())
			continue;

		StartTransactionCommand();
		nspid = get_rel_namespace(log);
		CommitTransactionCommand();
		if (OidIsValid(nspid))
			result = es_transact(advance, &nspid);
		if (result == ES_TRANSACT_DONE)
			d->horizon = horizon;
		else if (result == ES_TRANSACT_FAILED)
			d->not_before = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), FAILURE_INTERVAL);

		/* tasks do not wait for the marks of many stores */
		if (MyLatch->is_set)
		{
			ResetLatch(MyLatch);
			serve_tasks(false);
		}
	}
}

/* Sleep until something happens or there is something to do. */
static void
rest(TimestampTz last_move, TimestampTz last_look)
{
	static uint32 wait_event = 0;
	TimestampTz until = TimestampTzPlusMilliseconds(last_look, SAFETY_INTERVAL);
	long		timeout;

	if (wait_event == 0)
		wait_event = es_wait_event("EventStoreScheduler");
	if (moved)
		until = Min(until, TimestampTzPlusMilliseconds(last_move, es_mark_interval));
	until = Min(until, es_queue_next_time());
	until = Min(until, es_notify_next_time());
	timeout = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until);
	if (timeout > 0)
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, timeout, wait_event);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
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
	{
		how = ES_SCHEDULER_ABSENT;
		es_children_forget(MyDatabaseId);
		es_children_tidy();
	}
	return installed && free;
}

void
es_scheduler_main(Datum argument)
{
	HASHCTL		ctl = {.keysize = sizeof(int), .entrysize = sizeof(Done)};
	Oid			dbid;
	TimestampTz last_move = 0;
	TimestampTz last_look = 0;

	place = DatumGetInt32(argument);
	memcpy(&dbid, MyBgworkerEntry->bgw_extra, sizeof(Oid));

	/* before anything that could fail, so that the place is freed */
	before_shmem_exit(scheduler_exit, (Datum) 0);
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

	if (!has_work() || !es_scheduler_begin(place) || !es_queue_open())
		proc_exit(0);
	done = hash_create("event_store marks", 64, &ctl, HASH_ELEM | HASH_BLOBS);
	es_wake_watch_database(MyDatabaseId);
	pgstat_report_appname("event_store scheduler");
	move_all_marks();

	while (!es_scheduler_should_stop(place))
	{
		TimestampTz now = GetCurrentTimestamp();
		bool		look = TimestampDifferenceExceeds(last_look, now, SAFETY_INTERVAL);

		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
		if (look)
		{
			if (!has_work())
				break;
			last_look = now;
		}
		serve_tasks(look);
		if (look || (moved && TimestampDifferenceExceeds(last_move, now, es_mark_interval)))
		{
			last_move = now;
			move_marks();
			pgstat_report_stat(true);
			pgstat_report_activity(STATE_IDLE, NULL);
			es_notify_turn();
		}
		else if (es_notify_next_time() <= now)
			es_notify_turn();
		rest(last_move, last_look);
	}
	if (how == ES_SCHEDULER_ABSENT)
		es_series_forget_database(MyDatabaseId);
	proc_exit(0);
}
