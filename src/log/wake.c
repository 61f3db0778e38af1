/*
 * wake.c
 *		Waiting for the horizon of a store to move.
 *
 * Each slot of log/horizon has a queue of sessions that wait for its store,
 * and the scheduler of its database if there is one.  The transaction callback
 * that moves the horizon empties the queue and sets the latches; a session
 * queues anew for each wait, so a burst of commits wakes it once.
 *
 * No wake-up is lost: a waiter queues before it looks at the horizon, the
 * callback looks at the queue after it has moved the horizon.  Should one be
 * lost all the same, nobody sleeps longer than SAFETY_INTERVAL.
 *
 * What runs in the callback does spinlocks, atomics and SetLatch only.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "storage/spin.h"

#include "base/compat.h"
#include "base/settings.h"
#include "base/shmem.h"
#include "base/xact.h"
#include "log/wake.h"

#define NONE				(-1)
#define SAFETY_INTERVAL		1000	/* ms */
#define WAKE_BATCH			16

typedef struct WakeSlot
{
	slock_t		mutex;			/* over the queue */
	int			first;			/* waiting backends, by process number */
	int			last;
	uint64		rounds;			/* times that the queue was emptied */
	pg_atomic_uint32 watcher;	/* process number + 1 of the scheduler, 0: none */
	pg_atomic_uint32 dirty;		/* the scheduler has been told and has not looked yet */
} WakeSlot;

typedef struct Waiter
{
	int			slot;			/* NONE: not queued */
	int			previous;
	int			following;
	uint64		round;			/* queued in this round */
} Waiter;

typedef struct Watcher
{
	Oid			dbid;			/* InvalidOid: free */
	int			proc;
} Watcher;

typedef struct WakeShared
{
	pg_atomic_uint32 launcher;	/* process number + 1, 0: none */
	pg_atomic_uint32 unwatched; /* a database that asks for a watcher, 0: none */
	slock_t		watchers_mutex;
	WakeSlot	slots[FLEXIBLE_ARRAY_MEMBER];
} WakeShared;

static WakeShared *shared = NULL;
static Waiter *waiters = NULL;	/* by process number */
static Watcher *watchers = NULL;	/* max_worker_processes of them */
static bool queued = false;		/* may this backend be in a queue? */

static Size
slots_size(void)
{
	return MAXALIGN(add_size(offsetof(WakeShared, slots), mul_size(es_max_stores, sizeof(WakeSlot))));
}

static Size
waiters_size(void)
{
	return MAXALIGN(mul_size(MaxBackends, sizeof(Waiter)));
}

static Size
wake_size(void)
{
	return add_size(add_size(slots_size(), waiters_size()),
					mul_size(max_worker_processes, sizeof(Watcher)));
}

static void
wake_attach(void)
{
	bool		found;
	char	   *area = ShmemInitStruct("event_store wake", wake_size(), &found);

	shared = (WakeShared *) area;
	waiters = (Waiter *) (area + slots_size());
	watchers = (Watcher *) (area + slots_size() + waiters_size());
	if (found)
		return;

	memset(area, 0, wake_size());
	pg_atomic_init_u32(&shared->launcher, 0);
	pg_atomic_init_u32(&shared->unwatched, InvalidOid);
	SpinLockInit(&shared->watchers_mutex);
	for (int i = 0; i < es_max_stores; i++)
	{
		SpinLockInit(&shared->slots[i].mutex);
		shared->slots[i].first = shared->slots[i].last = NONE;
		pg_atomic_init_u32(&shared->slots[i].watcher, 0);
		pg_atomic_init_u32(&shared->slots[i].dirty, 0);
	}
	for (int i = 0; i < MaxBackends; i++)
		waiters[i].slot = NONE;
}

/* Take a waiter out of its queue.  The caller holds the slot's spinlock. */
static void
unlink_waiter(WakeSlot *slot, int proc)
{
	Waiter	   *w = &waiters[proc];

	if (w->previous == NONE)
		slot->first = w->following;
	else
		waiters[w->previous].following = w->following;
	if (w->following == NONE)
		slot->last = w->previous;
	else
		waiters[w->following].previous = w->previous;
	w->slot = NONE;
}

/*
 * Queue for the slot's horizon to move; whoever calls looks at the horizon
 * afterwards and then either sleeps or cancels.
 */
void
es_wake_prepare(int slot)
{
	WakeSlot   *s = &shared->slots[slot];
	int			proc = ES_MY_PROC_NUMBER;
	Waiter	   *w = &waiters[proc];

	es_wake_cancel();
	queued = true;
	SpinLockAcquire(&s->mutex);
	w->slot = slot;
	w->round = s->rounds;
	w->previous = s->last;
	w->following = NONE;
	if (s->last == NONE)
		s->first = proc;
	else
		waiters[s->last].following = proc;
	s->last = proc;
	SpinLockRelease(&s->mutex);

	/* queue first, then look at the horizon */
	pg_memory_barrier();
}

/*
 * Sleep until the horizon moves, the latch is set for another reason, or the
 * time (in ms) is over.  Interrupts are served.
 */
void
es_wake_sleep(long timeout)
{
	static uint32 wait_event = 0;

	if (wait_event == 0)
		wait_event = es_wait_event("EventStorePoll");
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 Min(timeout, SAFETY_INTERVAL), wait_event);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

/* Leave the queue, if still in it. */
void
es_wake_cancel(void)
{
	int			proc = ES_MY_PROC_NUMBER;
	int			number;

	if (!queued)
		return;
	queued = false;

	/* only we put ourselves into a queue; others only take us out */
	number = waiters[proc].slot;
	if (number != NONE)
	{
		WakeSlot   *s = &shared->slots[number];

		SpinLockAcquire(&s->mutex);
		if (waiters[proc].slot == number)
			unlink_waiter(s, proc);
		SpinLockRelease(&s->mutex);
	}
}

static void
set_latch_of(int proc)
{
	SetLatch(&GetPGProcByNumber(proc)->procLatch);
}

/*
 * Ask the launcher for a scheduler.  Should another database ask at the same
 * time, one of them has to ask again, at its next commit.  Must not fail.
 */
void
es_wake_ask_for_watcher(Oid dbid)
{
	uint32		launcher = pg_atomic_read_u32(&shared->launcher);

	if (launcher != 0 && pg_atomic_exchange_u32(&shared->unwatched, dbid) == InvalidOid)
		set_latch_of(launcher - 1);
}

/*
 * The horizon of a slot, of a store of the database, has moved: wake who
 * waits.  Must not fail.
 */
void
es_wake_slot(int slot, Oid dbid)
{
	WakeSlot   *s = &shared->slots[slot];
	uint32		watcher;
	uint64		round;

	/* the horizon has moved first, now look at the queue */
	pg_memory_barrier();

	watcher = pg_atomic_read_u32(&s->watcher);
	if (watcher == 0)
		es_wake_ask_for_watcher(dbid);
	else if (pg_atomic_exchange_u32(&s->dirty, 1) == 0)
		set_latch_of(watcher - 1);
	if (s->first == NONE)
		return;

	SpinLockAcquire(&s->mutex);
	round = s->rounds++;
	SpinLockRelease(&s->mutex);
	for (;;)
	{
		int			procs[WAKE_BATCH];
		int			count = 0;

		SpinLockAcquire(&s->mutex);
		while (count < WAKE_BATCH && s->first != NONE && waiters[s->first].round <= round)
		{
			procs[count++] = s->first;
			unlink_waiter(s, s->first);
		}
		SpinLockRelease(&s->mutex);
		for (int i = 0; i < count; i++)
			set_latch_of(procs[i]);
		if (count < WAKE_BATCH)
			break;
	}
}

/*
 * Make this process the watcher of a database, to be told of every slot of it
 * that is claimed from now on; with InvalidOid, no watcher any more.
 */
void
es_wake_watch_database(Oid dbid)
{
	SpinLockAcquire(&shared->watchers_mutex);
	for (int i = 0; i < max_worker_processes; i++)
		if (OidIsValid(watchers[i].dbid) && watchers[i].proc == ES_MY_PROC_NUMBER)
			watchers[i].dbid = InvalidOid;
	for (int i = 0; i < max_worker_processes && OidIsValid(dbid); i++)
		if (!OidIsValid(watchers[i].dbid))
		{
			watchers[i].dbid = dbid;
			watchers[i].proc = ES_MY_PROC_NUMBER;
			break;
		}
	SpinLockRelease(&shared->watchers_mutex);
}

/* Make this process the watcher of a slot, or leave the slot without one. */
void
es_wake_watch(int slot, bool watch)
{
	pg_atomic_write_u32(&shared->slots[slot].watcher, watch ? ES_MY_PROC_NUMBER + 1 : 0);
}

/* Has the slot's horizon moved since the last call?  Look at it afterwards. */
bool
es_wake_take(int slot)
{
	return pg_atomic_exchange_u32(&shared->slots[slot].dirty, 0) != 0;
}

/* A slot now belongs to a store of this database: find its watcher, if any. */
void
es_wake_new_slot(int slot, Oid dbid)
{
	uint32		watcher = 0;

	SpinLockAcquire(&shared->watchers_mutex);
	for (int i = 0; i < max_worker_processes; i++)
		if (watchers[i].dbid == dbid)
			watcher = watchers[i].proc + 1;
	SpinLockRelease(&shared->watchers_mutex);
	pg_atomic_write_u32(&shared->slots[slot].watcher, watcher);
	pg_atomic_write_u32(&shared->slots[slot].dirty, 0);
}

bool
es_wake_launcher_runs(void)
{
	return pg_atomic_read_u32(&shared->launcher) != 0;
}

/* This process is the launcher, or is it no more. */
void
es_wake_set_launcher(bool present)
{
	if (present)
		pg_atomic_write_u32(&shared->launcher, ES_MY_PROC_NUMBER + 1);
	else
	{
		uint32		mine = ES_MY_PROC_NUMBER + 1;

		(void) pg_atomic_compare_exchange_u32(&shared->launcher, &mine, 0);
	}
}

/* The database that asks for a watcher, InvalidOid if none does. */
Oid
es_wake_take_database(void)
{
	return pg_atomic_exchange_u32(&shared->unwatched, InvalidOid);
}

static void
transaction_ended(bool committed)
{
	es_wake_cancel();
}

void
EsWakeInit(void)
{
	static const EsShmemPart part = {wake_size, wake_attach};
	static const EsXactHook hook = {.end = transaction_ended};

	es_shmem_register(&part);
	es_xact_register(&hook);
}
