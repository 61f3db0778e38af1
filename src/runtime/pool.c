/*
 * pool.c
 *		The shared memory of scheduler, workers and sessions.
 *
 * There are three arrays, and a hash table from a task to its entry:
 *
 *	databases	one place a scheduler
 *	workers		one place a worker, max_worker_processes of them; how many may be
 *				in use, over all databases, says event_store.max_workers
 *	entries		one a task, event_store.max_tasks of them, over all databases
 *
 * ES_LWLOCK_TASKS is over all of it, but for the atomics, which a commit
 * callback may touch: that tasks have been registered or poked.
 *
 * The life of a worker's place:
 *
 *	FREE -> STARTING		scheduler, before it registers the worker
 *	STARTING -> IDLE		worker, once it is connected
 *	IDLE -> ASSIGNED		scheduler, gives it a task
 *	ASSIGNED -> RUNNING		worker, takes the task
 *	RUNNING -> DONE			worker, has run it
 *	DONE -> IDLE			scheduler, has taken the outcome
 *	IDLE -> LEAVING			worker
 *	any with a task -> LOST	worker, in its exit callback
 *	any other -> FREE		worker, in its exit callback
 *	LOST -> FREE			scheduler, has taken the outcome
 *	STARTING -> FREE		scheduler, if the worker did not start
 *
 * Each use of a place has a generation, so that a worker that starts late, when
 * its place was given up already, knows that it is not for it.
 */
#include "postgres.h"

#include <signal.h>

#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/hsearch.h"

#include "base/compat.h"
#include "base/settings.h"
#include "base/shmem.h"
#include "base/xact.h"
#include "log/slot.h"
#include "log/wake.h"
#include "runtime/pool.h"

#define START_TIMEOUT	60000	/* ms until a worker that has not come is given up */
#define MAX_POKES		16		/* of one transaction; more poke every task of the database */

typedef enum PlaceState
{
	PLACE_FREE = 0,
	PLACE_STARTING,
	PLACE_IDLE,
	PLACE_ASSIGNED,
	PLACE_RUNNING,
	PLACE_DONE,
	PLACE_LEAVING,
	PLACE_LOST
} PlaceState;

typedef struct Place
{
	PlaceState	state;
	Oid			dbid;
	uint64		generation;
	int			pid;
	int			proc;			/* process number, ES_NONE until it runs */
	bool		stop;			/* it is asked to leave */
	TimestampTz started_at;
	TimestampTz since;			/* in this state */
	EsAssignment assignment;
	EsRunOutcome	outcome;
} Place;

typedef struct SharedDatabase
{
	Oid			dbid;			/* InvalidOid: free; atomic enough to be looked at */
	int			proc;			/* process number of the scheduler */
	pg_atomic_uint32 changed;	/* tasks have been registered or removed */
	pg_atomic_uint32 pokes;		/* 1: entries are poked, 2: all are */
	pg_atomic_uint32 ready;		/* tasks without a worker */
	pg_atomic_uint32 starving;	/* ... because other databases have all of them */
} SharedDatabase;

typedef struct Entry
{
	Oid			dbid;
	int64		number;
	pg_atomic_uint32 poked;
	int			following;		/* of the free ones */
	EsTaskStatus status;
} Entry;

typedef struct EntryName
{
	int64		number;
	Oid			dbid;
	uint32		padding;
} EntryName;

typedef struct EntryNameEntry
{
	EntryName	name;			/* hash key */
	int			entry;
} EntryNameEntry;

typedef struct PoolShared
{
	uint64		generation;		/* last one given to a place or a run */
	int			free;			/* first free entry */
} PoolShared;

static PoolShared *shared = NULL;
static SharedDatabase *databases = NULL;
static Place *places = NULL;
static Entry *entries = NULL;
static HTAB *names = NULL;

static SharedDatabase *mine = NULL;		/* of the scheduler */
static Place *my_place = NULL;			/* of the worker */

/* of the transaction in progress */
static bool changed = false;
static int	npokes = 0;
static int	pokes[MAX_POKES];
static int64 poked_numbers[MAX_POKES];

static Size
places_size(void)
{
	return MAXALIGN(mul_size(max_worker_processes, sizeof(Place)));
}

static Size
databases_size(void)
{
	return MAXALIGN(mul_size(max_worker_processes, sizeof(SharedDatabase)));
}

static Size
area_size(void)
{
	Size		size = MAXALIGN(sizeof(PoolShared));

	size = add_size(size, places_size());
	size = add_size(size, databases_size());
	return add_size(size, mul_size(es_max_tasks, sizeof(Entry)));
}

static Size
pool_size(void)
{
	return add_size(area_size(), hash_estimate_size(es_max_tasks, sizeof(EntryNameEntry)));
}

static void
pool_attach(void)
{
	HASHCTL		ctl = {.keysize = sizeof(EntryName), .entrysize = sizeof(EntryNameEntry)};
	bool		found;
	char	   *area = ShmemInitStruct("event_store tasks", area_size(), &found);

	shared = (PoolShared *) area;
	area += MAXALIGN(sizeof(PoolShared));
	places = (Place *) area;
	area += places_size();
	databases = (SharedDatabase *) area;
	area += databases_size();
	entries = (Entry *) area;
	names = ShmemInitHash("event_store tasks by number", es_max_tasks, es_max_tasks, &ctl, HASH_ELEM | HASH_BLOBS);
	if (found)
		return;

	memset(shared, 0, area_size());
	for (int i = 0; i < max_worker_processes; i++)
	{
		pg_atomic_init_u32(&databases[i].changed, 0);
		pg_atomic_init_u32(&databases[i].pokes, 0);
		pg_atomic_init_u32(&databases[i].ready, 0);
		pg_atomic_init_u32(&databases[i].starving, 0);
	}
	for (int i = 0; i < es_max_tasks; i++)
	{
		pg_atomic_init_u32(&entries[i].poked, 0);
		entries[i].following = i + 1 < es_max_tasks ? i + 1 : ES_NONE;
	}
}

static void
lock(LWLockMode mode)
{
	LWLockAcquire(es_lwlock(ES_LWLOCK_TASKS), mode);
}

static void
unlock(void)
{
	LWLockRelease(es_lwlock(ES_LWLOCK_TASKS));
}

static void
set_latch_of(int proc)
{
	if (proc != ES_NONE)
		SetLatch(&GetPGProcByNumber(proc)->procLatch);
}

/* The place of a database's scheduler, NULL if none runs.  May be called anywhere. */
static SharedDatabase *
find_database(Oid dbid)
{
	for (int i = 0; i < max_worker_processes; i++)
		if (((volatile SharedDatabase *) &databases[i])->dbid == dbid)
			return &databases[i];
	return NULL;
}

/* Let the scheduler of a database look.  May be called anywhere. */
void
es_pool_wake_scheduler(Oid dbid)
{
	SharedDatabase *database = find_database(dbid);

	if (database != NULL)
		set_latch_of(database->proc);
}

/* --- the scheduler --- */

/* Remove the entries of a database.  The caller holds the lock. */
static void
free_entries(Oid dbid)
{
	for (int i = 0; i < es_max_tasks; i++)
		if (entries[i].dbid == dbid)
		{
			EntryName	name = {.number = entries[i].number, .dbid = dbid};

			hash_search(names, &name, HASH_REMOVE, NULL);
			entries[i].dbid = InvalidOid;
			entries[i].following = shared->free;
			shared->free = i;
		}
}

/*
 * This process is the scheduler of a database; false if there is one already
 * or too many databases have one.
 */
bool
es_pool_open(Oid dbid)
{
	SharedDatabase *database = NULL;

	lock(LW_EXCLUSIVE);
	if (find_database(dbid) == NULL)
		database = find_database(InvalidOid);
	if (database != NULL)
	{
		/* those of a scheduler that had no time to remove them */
		free_entries(dbid);
		database->proc = ES_MY_PROC_NUMBER;
		pg_atomic_write_u32(&database->changed, 1);
		pg_atomic_write_u32(&database->pokes, 0);
		pg_atomic_write_u32(&database->ready, 0);
		pg_atomic_write_u32(&database->starving, 0);
		pg_write_barrier();
		database->dbid = dbid;
		mine = database;
	}
	unlock();
	return database != NULL;
}

/* This process is a scheduler no more; its workers leave when they notice. */
void
es_pool_close(void)
{
	if (mine == NULL)
		return;
	lock(LW_EXCLUSIVE);
	free_entries(mine->dbid);
	mine->dbid = InvalidOid;
	mine = NULL;
	unlock();
}

/* Have tasks been registered or removed since the last call? */
bool
es_pool_take_changed(void)
{
	return pg_atomic_read_u32(&mine->changed) != 0 && pg_atomic_exchange_u32(&mine->changed, 0) != 0;
}

/* Have tasks been poked?  Then ask for each with es_pool_entry_poked. */
bool
es_pool_take_pokes(void)
{
	uint32		which = pg_atomic_read_u32(&mine->pokes) != 0 ? pg_atomic_exchange_u32(&mine->pokes, 0) : 0;

	if (which < 2)
		return which != 0;
	lock(LW_SHARED);
	for (int i = 0; i < es_max_tasks; i++)
		if (entries[i].dbid == mine->dbid)
			pg_atomic_write_u32(&entries[i].poked, 1);
	unlock();
	return true;
}

/* An entry for a task, ES_NONE if all are taken. */
int
es_pool_entry_take(int64 number)
{
	EntryName	name = {.number = number, .dbid = MyDatabaseId};
	EntryNameEntry *found;
	int			entry;

	lock(LW_EXCLUSIVE);
	entry = shared->free;
	if (entry != ES_NONE)
	{
		found = hash_search(names, &name, HASH_ENTER_NULL, NULL);
		if (found != NULL)
		{
			shared->free = entries[entry].following;
			found->entry = entry;
			entries[entry].dbid = MyDatabaseId;
			entries[entry].number = number;
			pg_atomic_write_u32(&entries[entry].poked, 0);
		}
		else
			entry = ES_NONE;
	}
	unlock();
	return entry;
}

void
es_pool_entry_give(int entry, int64 number)
{
	EntryName	name = {.number = number, .dbid = MyDatabaseId};

	lock(LW_EXCLUSIVE);
	hash_search(names, &name, HASH_REMOVE, NULL);
	entries[entry].dbid = InvalidOid;
	entries[entry].following = shared->free;
	shared->free = entry;
	unlock();
}

void
es_pool_entry_set(int entry, const EsTaskStatus *status)
{
	lock(LW_EXCLUSIVE);
	entries[entry].status = *status;
	unlock();
}

/* Has the task been poked since the last call? */
bool
es_pool_entry_poked(int entry)
{
	return pg_atomic_read_u32(&entries[entry].poked) != 0 && pg_atomic_exchange_u32(&entries[entry].poked, 0) != 0;
}

/*
 * Is the place one that nobody will ever give back?  Its worker has never come,
 * or it has died and no scheduler asks for its outcome.
 */
static bool
is_abandoned(const Place *place, TimestampTz now)
{
	if (place->state == PLACE_STARTING && place->pid == 0)
		return TimestampDifferenceExceeds(place->started_at, now, START_TIMEOUT);
	return place->state == PLACE_LOST && find_database(place->dbid) == NULL;
}

/*
 * Take a free place for a worker, for the caller to register it; ES_NONE if
 * there is none.
 */
int
es_pool_place_take(uint64 *generation, bool *has_one)
{
	TimestampTz now = GetCurrentTimestamp();
	int			used = 0;
	int			number = ES_NONE;

	*has_one = false;
	lock(LW_EXCLUSIVE);
	for (int i = 0; i < max_worker_processes; i++)
	{
		if (is_abandoned(&places[i], now))
			places[i].state = PLACE_FREE;
		if (places[i].state != PLACE_FREE)
		{
			used++;
			*has_one = *has_one || places[i].dbid == MyDatabaseId;
		}
		else if (number == ES_NONE)
			number = i;
	}
	if (used >= es_max_workers)
		number = ES_NONE;
	if (number != ES_NONE)
	{
		*generation = ++shared->generation;
		places[number] = (Place) {
			.state = PLACE_STARTING, .dbid = MyDatabaseId, .proc = ES_NONE, .generation = *generation,
				.started_at = now, .since = now
		};
	}
	unlock();
	return number;
}

/* Give up a place whose worker has not started or is no more. */
void
es_pool_place_give(int number, uint64 generation)
{
	Place	   *place = &places[number];

	lock(LW_EXCLUSIVE);
	if (place->generation == generation && place->state == PLACE_STARTING)
		place->state = PLACE_FREE;
	unlock();
}

/* A worker of this database that has nothing to do, ES_NONE if there is none. */
int
es_pool_idle_worker(void)
{
	int			number = ES_NONE;

	lock(LW_SHARED);
	for (int i = 0; i < max_worker_processes && number == ES_NONE; i++)
		if (places[i].state == PLACE_IDLE && places[i].dbid == MyDatabaseId && !places[i].stop)
			number = i;
	unlock();
	return number;
}

/* How many workers of this database are starting? */
int
es_pool_starting(void)
{
	int			count = 0;

	lock(LW_SHARED);
	for (int i = 0; i < max_worker_processes; i++)
		if (places[i].state == PLACE_STARTING && places[i].dbid == MyDatabaseId)
			count++;
	unlock();
	return count;
}

/* Give an idle worker a task; false if it is idle no more.  Sets *pid and the run of the assignment. */
bool
es_pool_assign(int number, EsAssignment *assignment, int *pid)
{
	Place	   *place = &places[number];
	bool		done;
	int			proc;

	lock(LW_EXCLUSIVE);
	done = place->state == PLACE_IDLE && place->dbid == MyDatabaseId && !place->stop;
	proc = place->proc;
	*pid = place->pid;
	if (done)
	{
		place->state = PLACE_ASSIGNED;
		place->since = GetCurrentTimestamp();
		assignment->run = ++shared->generation;
		place->assignment = *assignment;
		place->outcome = (EsRunOutcome) {.task = assignment->task, .run = assignment->run, .kind = ES_RUN_LOST};
	}
	unlock();
	if (done)
		set_latch_of(proc);
	return done;
}

/* Take the outcome of a worker of this database that has one; false if none has. */
bool
es_pool_collect(EsRunOutcome *outcome)
{
	bool		found = false;

	lock(LW_EXCLUSIVE);
	for (int i = 0; i < max_worker_processes && !found; i++)
	{
		Place	   *place = &places[i];

		if (place->dbid != MyDatabaseId || (place->state != PLACE_DONE && place->state != PLACE_LOST))
			continue;
		*outcome = place->outcome;
		place->since = GetCurrentTimestamp();
		if (place->state == PLACE_DONE)
			place->state = PLACE_IDLE;
		else
			place->state = PLACE_FREE;
		found = true;
	}
	unlock();
	return found;
}

/*
 * Tell the workers how many tasks wait for one, and those of other databases
 * whether ours has none for them.
 */
void
es_pool_set_ready(int count, bool starving)
{
	pg_atomic_write_u32(&mine->ready, count);
	pg_atomic_write_u32(&mine->starving, starving ? 1 : 0);
	if (!starving)
		return;
	lock(LW_SHARED);
	for (int i = 0; i < max_worker_processes; i++)
		if (places[i].state == PLACE_IDLE && places[i].dbid != MyDatabaseId)
			set_latch_of(places[i].proc);
	unlock();
}

/* The workers of all databases, up to max_worker_processes of them; returns how many. */
int
es_pool_workers(EsWorkerStatus *workers)
{
	int			count = 0;

	lock(LW_SHARED);
	for (int i = 0; i < max_worker_processes; i++)
	{
		Place	   *place = &places[i];

		if (place->state == PLACE_FREE || place->state == PLACE_LOST)
			continue;
		workers[count++] = (EsWorkerStatus) {
			.dbid = place->dbid, .pid = place->pid, .started_at = place->started_at, .since = place->since,
				.busy = place->state == PLACE_ASSIGNED || place->state == PLACE_RUNNING,
				.task = place->assignment.task, .run = place->assignment.run
		};
	}
	unlock();
	return count;
}

/* --- a worker --- */

/* Give the place back, or leave word of the task that was lost. */
static void
worker_exit(int code, Datum argument)
{
	Oid			dbid = my_place->dbid;

	lock(LW_EXCLUSIVE);
	my_place->outcome.started = my_place->state == PLACE_RUNNING;
	if (my_place->state == PLACE_ASSIGNED || my_place->state == PLACE_RUNNING || my_place->state == PLACE_DONE)
		my_place->state = PLACE_LOST;
	else
		my_place->state = PLACE_FREE;
	my_place->pid = 0;
	my_place->proc = ES_NONE;
	my_place->since = GetCurrentTimestamp();
	unlock();
	my_place = NULL;
	es_pool_wake_scheduler(dbid);
}

/* This process is the worker of a place; false if the place is not meant for it any more. */
bool
es_pool_begin(int number, uint64 generation)
{
	Place	   *place = &places[number];
	bool		ours;

	lock(LW_EXCLUSIVE);
	ours = place->generation == generation && place->state == PLACE_STARTING;
	if (ours)
	{
		place->pid = MyProcPid;
		place->proc = ES_MY_PROC_NUMBER;
		my_place = place;
	}
	unlock();
	if (ours)
		before_shmem_exit(worker_exit, (Datum) 0);
	return ours;
}

/* The worker takes tasks from now on. */
void
es_pool_ready(void)
{
	lock(LW_EXCLUSIVE);
	my_place->state = PLACE_IDLE;
	my_place->since = GetCurrentTimestamp();
	unlock();
	es_pool_wake_scheduler(my_place->dbid);
}

/* Take what there is to do; false if there is nothing. */
bool
es_pool_get(EsAssignment *assignment)
{
	bool		found;

	/* a stale look is corrected at the latch that comes with the task */
	if (((volatile Place *) my_place)->state != PLACE_ASSIGNED)
		return false;
	lock(LW_EXCLUSIVE);
	found = my_place->state == PLACE_ASSIGNED && !my_place->stop;
	if (found)
	{
		my_place->state = PLACE_RUNNING;
		*assignment = my_place->assignment;
	}
	unlock();
	return found;
}

/* Hand in how the task went. */
void
es_pool_done(const EsRunOutcome *outcome)
{
	lock(LW_EXCLUSIVE);
	my_place->state = PLACE_DONE;
	my_place->outcome = *outcome;
	my_place->since = GetCurrentTimestamp();
	unlock();
	es_pool_wake_scheduler(my_place->dbid);
}

/* Is the worker asked to leave? */
bool
es_pool_stopping(void)
{
	return ((volatile Place *) my_place)->stop;
}

/* Do tasks of this database wait for a worker? */
bool
es_pool_others_wait(void)
{
	SharedDatabase *database = my_place != NULL ? find_database(my_place->dbid) : NULL;

	return database != NULL && pg_atomic_read_u32(&database->ready) != 0;
}

/* Does another database wait for a worker, there being too few? */
bool
es_pool_database_starves(void)
{
	for (int i = 0; i < max_worker_processes; i++)
		if (OidIsValid(databases[i].dbid) && databases[i].dbid != my_place->dbid &&
			pg_atomic_read_u32(&databases[i].starving) != 0)
			return true;
	return false;
}

/*
 * May the worker leave?  Not while it has a task or an outcome that the
 * scheduler has not seen, unless it is asked to or there is no scheduler.
 * Once it may, it gets no more tasks.
 */
bool
es_pool_leave(void)
{
	bool		may;

	lock(LW_EXCLUSIVE);
	may = my_place->stop || my_place->state == PLACE_IDLE || find_database(my_place->dbid) == NULL;
	if (my_place->state == PLACE_IDLE && may)
		my_place->state = PLACE_LEAVING;
	unlock();
	return may;
}

/* --- sessions --- */

/* From its commit on, the scheduler looks at the registrations anew. */
void
es_pool_changed_at_commit(void)
{
	changed = true;
}

/* From its commit on, a task is due; false if it is not known (yet). */
bool
es_pool_poke_at_commit(int64 number)
{
	EntryName	name = {.number = number, .dbid = MyDatabaseId};
	EntryNameEntry *found;
	int			entry = ES_NONE;

	lock(LW_SHARED);
	found = hash_search(names, &name, HASH_FIND, NULL);
	if (found != NULL)
		entry = found->entry;
	unlock();
	if (entry == ES_NONE)
		return false;
	for (int i = 0; i < Min(npokes, MAX_POKES); i++)
		if (poked_numbers[i] == number)
			return true;
	if (npokes < MAX_POKES)
	{
		pokes[npokes] = entry;
		poked_numbers[npokes] = number;
	}
	npokes = Min(npokes + 1, MAX_POKES + 1);
	return true;
}

/* What is known of a task of this database; false if nothing is. */
bool
es_pool_status(int64 number, EsTaskStatus *status)
{
	EntryName	name = {.number = number, .dbid = MyDatabaseId};
	EntryNameEntry *found;

	lock(LW_SHARED);
	found = hash_search(names, &name, HASH_FIND, NULL);
	if (found != NULL)
		*status = entries[found->entry].status;
	unlock();
	return found != NULL;
}

/*
 * Ask the workers of a database to leave, those that run a task with the
 * signal too unless it is 0; returns how many are still there.
 */
int
es_pool_ask_to_leave(Oid dbid, int signal)
{
	int			count = 0;

	lock(LW_EXCLUSIVE);
	for (int i = 0; i < max_worker_processes; i++)
	{
		Place	   *place = &places[i];

		if (place->state == PLACE_FREE || place->state == PLACE_LOST || place->dbid != dbid)
			continue;
		place->stop = true;
		if (place->pid != 0 && signal != 0)
			(void) kill(place->pid, signal);
		set_latch_of(place->proc);
		count++;
	}
	unlock();
	return count;
}

/* Runs in the COMMIT callback: must not fail. */
static void
transaction_ended(bool committed)
{
	SharedDatabase *database;

	if (!changed && npokes == 0)
		return;
	if (committed)
	{
		/* a poke may meet another task that has got the entry since; it runs once for nothing */
		for (int i = 0; i < Min(npokes, MAX_POKES); i++)
			pg_atomic_write_u32(&entries[pokes[i]].poked, 1);
		database = find_database(MyDatabaseId);
		if (database == NULL)
			es_wake_ask_for_watcher(MyDatabaseId);
		else
		{
			if (npokes > 0)
				(void) pg_atomic_fetch_or_u32(&database->pokes, npokes > MAX_POKES ? 3 : 1);
			if (changed)
				pg_atomic_write_u32(&database->changed, 1);
			set_latch_of(database->proc);
		}
	}
	changed = false;
	npokes = 0;
}

void
EsPoolInit(void)
{
	static const EsShmemPart part = {pool_size, pool_attach};
	static const EsXactHook hook = {.end = transaction_ended};

	es_shmem_register(&part);
	es_xact_register(&hook);
}
