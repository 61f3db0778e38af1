/*
 * launcher.c
 *		The launcher, and where it and the schedulers meet.
 *
 * One launcher a server, connected to no database, starts one scheduler in each
 * database that has the extension.  Only a scheduler can see whether its database
 * has it, so the launcher starts one in each database in turn, and a scheduler
 * that finds no extension leaves at once.  Then the launcher waits until a
 * store of that database comes into use, or it has children of supervisors,
 * which happens in a session after CREATE EXTENSION.
 *
 * The life of a place in the shared table:
 *
 *	FREE -> STARTING	launcher, before it registers the scheduler
 *	STARTING -> RUNNING	scheduler, once it has seen the extension
 *	STARTING -> FREE	scheduler without work, or launcher if it did not start
 *	RUNNING -> FREE		scheduler, in its exit callback
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/shmem.h"
#include "tcop/tcopprot.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/shmem.h"
#include "log/wake.h"
#include "observe/series.h"
#include "runtime/child_table.h"
#include "runtime/launcher.h"
#include "runtime/vacate.h"

#define NONE				(-1)
#define SCAN_INTERVAL		5000	/* ms between two looks at pg_database */
#define RETRY_INTERVAL		1000	/* ms before a scheduler that ended is started again */
#define NO_SLOT_INTERVAL	60000	/* ms before the next try when no background worker was free */

typedef enum SchedulerState
{
	SCHEDULER_FREE = 0,
	SCHEDULER_STARTING,
	SCHEDULER_RUNNING
} SchedulerState;

typedef struct SchedulerPlace
{
	SchedulerState state;
	Oid			dbid;
	int			proc;			/* process number, NONE until it runs */
	bool		stop;			/* it is asked to leave */
	EsSchedulerEnd end;			/* how the last one left */
} SchedulerPlace;

/* What the launcher knows of a database. */
typedef struct Database
{
	Oid			dbid;			/* hash key */
	int			place;			/* NONE: no scheduler */
	BackgroundWorkerHandle *handle;
	bool		absent;			/* had no extension when last looked */
	bool		exists;			/* seen in the current scan */
	TimestampTz not_before;
} Database;

static SchedulerPlace *places = NULL;	/* max_worker_processes of them, under ES_LWLOCK_WORKERS */
static HTAB *databases = NULL;

PGDLLEXPORT void es_launcher_main(Datum argument);

static Size
launcher_size(void)
{
	return mul_size(max_worker_processes, sizeof(SchedulerPlace));
}

static void
launcher_attach(void)
{
	bool		found;

	places = ShmemInitStruct("event_store launcher", launcher_size(), &found);
	if (!found)
		memset(places, 0, launcher_size());
}

/* --- the scheduler's side --- */

/* The scheduler of a place runs; false if it has been asked to leave. */
bool
es_scheduler_begin(int number)
{
	SchedulerPlace *place = &places[number];
	bool		go_on;

	LWLockAcquire(es_lwlock(ES_LWLOCK_WORKERS), LW_EXCLUSIVE);
	place->proc = ES_MY_PROC_NUMBER;
	go_on = !place->stop;
	if (go_on)
		place->state = SCHEDULER_RUNNING;
	LWLockRelease(es_lwlock(ES_LWLOCK_WORKERS));
	return go_on;
}

bool
es_scheduler_should_stop(int number)
{
	/* a stale look is corrected at the latch that comes with the request */
	return ((volatile SchedulerPlace *) &places[number])->stop;
}

static void
set_latch_of(int proc)
{
	if (proc != NONE)
		SetLatch(&GetPGProcByNumber(proc)->procLatch);
}

/* The scheduler of a place has ended. */
void
es_scheduler_end(int number, EsSchedulerEnd how)
{
	SchedulerPlace *place = &places[number];

	LWLockAcquire(es_lwlock(ES_LWLOCK_WORKERS), LW_EXCLUSIVE);
	place->state = SCHEDULER_FREE;
	place->proc = NONE;
	place->end = how;
	LWLockRelease(es_lwlock(ES_LWLOCK_WORKERS));
}

/* --- the side of sessions --- */

/* Ask the schedulers of a database to leave; returns how many are still there. */
int
es_schedulers_ask_to_leave(Oid dbid)
{
	int			count = 0;

	LWLockAcquire(es_lwlock(ES_LWLOCK_WORKERS), LW_EXCLUSIVE);
	for (int i = 0; i < max_worker_processes; i++)
	{
		SchedulerPlace *place = &places[i];

		if (place->state == SCHEDULER_FREE || place->dbid != dbid)
			continue;
		place->stop = true;
		if (place->proc != NONE)
			set_latch_of(place->proc);
		count++;
	}
	LWLockRelease(es_lwlock(ES_LWLOCK_WORKERS));
	return count;
}

/* --- the launcher --- */

static void
launcher_exit(int code, Datum argument)
{
	es_wake_set_launcher(false);
}

/* Bring the list of databases up to date. */
static void
scan_databases(void)
{
	Relation	rel;
	TableScanDesc scan;
	HeapTuple	tuple;
	HASH_SEQ_STATUS status;
	Database   *database;

	hash_seq_init(&status, databases);
	while ((database = hash_seq_search(&status)) != NULL)
		database->exists = false;

	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while (HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection)))
	{
		Form_pg_database form = (Form_pg_database) GETSTRUCT(tuple);
		bool		found;

		/* a template must stay free of connections; -2 is a half-dropped one */
		if (!form->datallowconn || form->datistemplate || form->datconnlimit == -2)
			continue;
		database = hash_search(databases, &form->oid, HASH_ENTER, &found);
		if (!found)
		{
			database->place = NONE;
			database->handle = NULL;
			database->absent = false;
			database->not_before = 0;
		}
		database->exists = true;
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	CommitTransactionCommand();

	hash_seq_init(&status, databases);
	while ((database = hash_seq_search(&status)) != NULL)
		if (database->exists)
			database->absent = database->absent && !es_children_in(database->dbid);
		else if (database->place == NONE)
		{
			es_children_forget(database->dbid);
			es_series_forget_database(database->dbid);
			hash_search(databases, &database->dbid, HASH_REMOVE, NULL);
		}
}

/* Take a free place in the table for a database; NONE if there is none. */
static int
take_place(Oid dbid)
{
	int			number = NONE;

	LWLockAcquire(es_lwlock(ES_LWLOCK_WORKERS), LW_EXCLUSIVE);
	for (int i = 0; i < max_worker_processes && number == NONE; i++)
		if (places[i].state == SCHEDULER_FREE)
		{
			places[i] = (SchedulerPlace) {.state = SCHEDULER_STARTING, .dbid = dbid, .proc = NONE};
			number = i;
		}
	LWLockRelease(es_lwlock(ES_LWLOCK_WORKERS));
	return number;
}

/* Say it, and try again after a longer while. */
static void
no_slot_free(Database *database)
{
	database->not_before = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), NO_SLOT_INTERVAL);
	ereport(LOG,
			(errmsg("event_store has no free background worker for database %u", database->dbid),
			 errdetail("The durable marks of its stores stand still until there is one."),
			 errhint("Raise max_worker_processes.")));
}

static void
start_scheduler(Database *database)
{
	BackgroundWorker worker = {0};
	MemoryContext caller;
	bool		may_start;

	database->not_before = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), RETRY_INTERVAL);
	database->place = take_place(database->dbid);
	if (database->place == NONE)
	{
		no_slot_free(database);
		return;
	}

	StartTransactionCommand();
	may_start = es_database_is_free(database->dbid);
	CommitTransactionCommand();
	if (may_start)
	{
		worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
		worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
		worker.bgw_restart_time = BGW_NEVER_RESTART;
		snprintf(worker.bgw_library_name, BGW_MAXLEN, "event_store");
		snprintf(worker.bgw_function_name, BGW_MAXLEN, "es_scheduler_main");
		snprintf(worker.bgw_name, BGW_MAXLEN, "event_store scheduler");
		snprintf(worker.bgw_type, BGW_MAXLEN, "event_store scheduler");
		worker.bgw_main_arg = Int32GetDatum(database->place);
		worker.bgw_notify_pid = MyProcPid;
		memcpy(worker.bgw_extra, &database->dbid, sizeof(Oid));

		caller = MemoryContextSwitchTo(TopMemoryContext);
		may_start = RegisterDynamicBackgroundWorker(&worker, &database->handle);
		MemoryContextSwitchTo(caller);
		if (!may_start)
			no_slot_free(database);
	}
	if (!may_start)
	{
		es_scheduler_end(database->place, ES_SCHEDULER_STOPPED);
		database->place = NONE;
	}
}

/* Notice schedulers that have ended; is one of the others still starting? */
static bool
reap_schedulers(void)
{
	HASH_SEQ_STATUS status;
	Database   *database;
	bool		starting = false;

	hash_seq_init(&status, databases);
	while ((database = hash_seq_search(&status)) != NULL)
	{
		SchedulerPlace *place;
		pid_t		pid;

		if (database->place == NONE)
			continue;
		place = &places[database->place];
		if (GetBackgroundWorkerPid(database->handle, &pid) != BGWH_STOPPED)
		{
			LWLockAcquire(es_lwlock(ES_LWLOCK_WORKERS), LW_SHARED);
			starting = starting || place->state == SCHEDULER_STARTING;
			LWLockRelease(es_lwlock(ES_LWLOCK_WORKERS));
			continue;
		}

		LWLockAcquire(es_lwlock(ES_LWLOCK_WORKERS), LW_EXCLUSIVE);
		if (place->state != SCHEDULER_FREE)
		{
			/* it died before it could say anything */
			place->state = SCHEDULER_FREE;
			place->end = ES_SCHEDULER_STOPPED;
		}
		database->absent = place->end == ES_SCHEDULER_ABSENT;
		LWLockRelease(es_lwlock(ES_LWLOCK_WORKERS));
		pfree(database->handle);
		database->handle = NULL;
		database->place = NONE;
	}
	return starting;
}

/*
 * Look again at a database whose sessions ask for a scheduler; it may be new, or
 * without the extension when last looked at.
 */
static void
take_request(void)
{
	Oid			dbid = es_wake_take_database();
	Database   *database;

	if (!OidIsValid(dbid))
		return;
	scan_databases();
	database = hash_search(databases, &dbid, HASH_FIND, NULL);
	if (database != NULL)
		database->absent = false;
}

/* A database that has no scheduler and is to have one now, or NULL. */
static Database *
next_due(void)
{
	HASH_SEQ_STATUS status;
	Database   *database;
	TimestampTz now = GetCurrentTimestamp();

	hash_seq_init(&status, databases);
	while ((database = hash_seq_search(&status)) != NULL)
		if (database->exists && database->place == NONE && !database->absent && database->not_before <= now)
		{
			hash_seq_term(&status);
			return database;
		}
	return NULL;
}

/*
 * Start the next scheduler that is due.  One at a time, so that looking into many
 * databases takes one place.
 */
static void
start_next_scheduler(void)
{
	Database   *due = next_due();

	if (due == NULL)
		return;

	/* it may have been dropped since */
	scan_databases();
	due = next_due();
	if (due != NULL)
		start_scheduler(due);
}

void
es_launcher_main(Datum argument)
{
	HASHCTL		ctl = {.keysize = sizeof(Oid), .entrysize = sizeof(Database)};
	TimestampTz next_scan = 0;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	databases = hash_create("event_store databases", 64, &ctl, HASH_ELEM | HASH_BLOBS);

	before_shmem_exit(launcher_exit, (Datum) 0);
	es_wake_set_launcher(true);

	for (;;)
	{
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}

		if (GetCurrentTimestamp() >= next_scan)
		{
			scan_databases();
			next_scan = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), SCAN_INTERVAL);
		}
		take_request();
		if (!reap_schedulers())
			start_next_scheduler();

		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 RETRY_INTERVAL, PG_WAIT_EXTENSION);
	}
}

void
EsLauncherInit(void)
{
	static const EsShmemPart part = {launcher_size, launcher_attach};
	BackgroundWorker worker = {0};

	es_shmem_register(&part);

	/* pg_upgrade wants nobody to write behind its back */
	if (IsBinaryUpgrade)
		return;
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = 1;
	snprintf(worker.bgw_library_name, BGW_MAXLEN, "event_store");
	snprintf(worker.bgw_function_name, BGW_MAXLEN, "es_launcher_main");
	snprintf(worker.bgw_name, BGW_MAXLEN, "event_store launcher");
	snprintf(worker.bgw_type, BGW_MAXLEN, "event_store launcher");
	RegisterBackgroundWorker(&worker);
}
