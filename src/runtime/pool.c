/*
 * pool.c
 *		The workers, of all databases, and what each of them does.
 *
 * There are max_worker_processes places; how many may be in use says
 * event_store.max_workers.  ES_LWLOCK_TASKS is over all of it.
 *
 * The life of a worker's place:
 *
 *	FREE -> STARTING		scheduler, before it registers the worker
 *	STARTING -> IDLE		worker, once it is connected
 *	IDLE -> ASSIGNED		scheduler, gives it a task
 *	ASSIGNED -> RUNNING		worker, takes the task
 *	RUNNING -> DONE			worker, has run it
 *	DONE -> IDLE			scheduler, has taken the outcome
 *	DONE -> LEAVING			the same, of a worker that takes no more
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
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/shmem.h"

#include "base/compat.h"
#include "base/settings.h"
#include "base/shmem.h"
#include "log/slot.h"
#include "runtime/board.h"
#include "runtime/pool.h"

#define START_TIMEOUT	60000	/* ms until a worker that has not come is given up */

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
	bool		cancelled;		/* its task is gone */
	bool		leaving;		/* DONE: it will take no more */
	TimestampTz started_at;
	TimestampTz since;			/* in this state */
	EsAssignment assignment;
	EsRunOutcome	outcome;
} Place;

typedef struct PoolShared
{
	uint64		generation;		/* last one given to a place or a run */
	Place		places[FLEXIBLE_ARRAY_MEMBER];
} PoolShared;

static PoolShared *shared = NULL;
static Place *places = NULL;
static Place *my_place = NULL;			/* of the worker */

static Size
pool_size(void)
{
	return add_size(offsetof(PoolShared, places), mul_size(max_worker_processes, sizeof(Place)));
}

static void
pool_attach(void)
{
	bool		found;

	shared = ShmemInitStruct("event_store workers", pool_size(), &found);
	places = shared->places;
	if (!found)
		memset(shared, 0, pool_size());
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

/* --- the scheduler --- */

/*
 * Is the place one that nobody will ever give back?  Its worker has never come,
 * or it has died and no scheduler asks for its outcome.
 */
static bool
is_abandoned(const Place *place, TimestampTz now)
{
	if (place->state == PLACE_STARTING && place->pid == 0)
		return TimestampDifferenceExceeds(place->started_at, now, START_TIMEOUT);
	return place->state == PLACE_LOST && !es_board_has_scheduler(place->dbid);
}

/*
 * Take a free place for a worker, for the caller to register it; ES_NONE if
 * there is none, or if it is for a database that has no worker while this one
 * has.  *has_one tells whether it has.
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
	if (used >= es_max_workers || (*has_one && es_board_database_starves()))
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
		place->cancelled = false;
		assignment->run = ++shared->generation;
		place->assignment = *assignment;
		place->outcome = (EsRunOutcome) {.task = assignment->task, .run = assignment->run, .kind = ES_RUN_LOST};
	}
	unlock();
	if (done)
		set_latch_of(proc);
	return done;
}

/* Cancel a run, whose task is gone, if it has not ended. */
void
es_pool_cancel(uint64 run)
{
	lock(LW_EXCLUSIVE);
	for (int i = 0; i < max_worker_processes; i++)
		if (places[i].dbid == MyDatabaseId && places[i].state == PLACE_RUNNING && places[i].assignment.run == run)
		{
			places[i].cancelled = true;
			(void) kill(places[i].pid, SIGINT);
		}
	unlock();
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
		if (place->state == PLACE_LOST)
			place->state = PLACE_FREE;
		else
			place->state = place->leaving ? PLACE_LEAVING : PLACE_IDLE;
		found = true;
	}
	unlock();
	return found;
}

/* Wake the idle workers of other databases: they leave if they are needed elsewhere. */
void
es_pool_wake_others(void)
{
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
	es_board_wake(dbid);
	es_board_wake_starving();
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
	es_board_wake(my_place->dbid);
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

/* Hand in how the task went; leaving: and take no more tasks. */
void
es_pool_done(const EsRunOutcome *outcome, bool leaving)
{
	lock(LW_EXCLUSIVE);
	my_place->state = PLACE_DONE;
	my_place->outcome = *outcome;
	my_place->leaving = leaving;
	my_place->since = GetCurrentTimestamp();
	unlock();
	es_board_wake(my_place->dbid);
}

/* Is the worker asked to leave? */
bool
es_pool_stopping(void)
{
	return ((volatile Place *) my_place)->stop;
}

/* Is the task that it runs to be broken off, without being to blame? */
bool
es_pool_cancelled(void)
{
	return es_pool_stopping() || ((volatile Place *) my_place)->cancelled;
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
	may = my_place->stop || my_place->state == PLACE_IDLE || my_place->state == PLACE_LEAVING ||
		!es_board_has_scheduler(my_place->dbid);
	if (my_place->state == PLACE_IDLE && may)
		my_place->state = PLACE_LEAVING;
	unlock();
	return may;
}

/* --- sessions --- */

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

void
EsPoolInit(void)
{
	static const EsShmemPart part = {pool_size, pool_attach};

	es_shmem_register(&part);
}
