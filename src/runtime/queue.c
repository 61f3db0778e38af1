/*
 * queue.c
 *		The scheduler's tasks: which are due, and which worker gets one next.
 *
 * All of this is memory of the scheduler; what others may see of a task is
 * copied into its entry in shared memory (runtime/board).  A task is in one of
 * the states of EsTaskState, and each change of it is one function below:
 *
 *	make_ready		it is due: into the ready tasks of its group
 *	make_running	a worker gets it
 *	make_sleeping	until a time, or until it is poked
 *	make_waiting	until the horizon of its store has moved, or until it is poked
 *	make_backing_off	after a failure: until a time, whatever happens
 *	make_stopped	after a failure for good: until it is resumed
 *
 * A group is what shares are fair over: the tasks of a store, or of a role
 * where there is no store.  Groups with ready tasks take turns, and in each
 * of them its tasks.
 *
 * No wake-up is lost: a task begins to wait first, then looks at the horizon
 * and at whether it was poked; whoever commits moves the horizon, or pokes,
 * first and sets the scheduler's latch afterwards.
 */
#include "postgres.h"

#include "lib/ilist.h"
#include "lib/pairingheap.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"

#include "base/extension.h"
#include "base/settings.h"
#include "log/horizon.h"
#include "log/slot.h"
#include "log/wake.h"
#include "runtime/board.h"
#include "runtime/pool.h"
#include "runtime/queue.h"
#include "runtime/registration.h"
#include "runtime/run.h"
#include "runtime/transact.h"
#include "runtime/worker.h"

#define RELOAD_INTERVAL		60000	/* ms between two looks at the registrations, whatever is heard of them */
#define FAILURE_INTERVAL	1000	/* ms before they are read again when they could not be */
#define NO_WORKER_INTERVAL	5000	/* ms before the next try when the server had no worker */
#define COMPLAINT_INTERVAL	60000	/* ms between two lines in the log about the same */

typedef struct GroupKey
{
	int64		store;			/* number of the store, 0: none */
	Oid			owner;			/* InvalidOid for that of a store */
	uint32		padding;
} GroupKey;

typedef struct TaskGroup
{
	GroupKey	key;			/* hash key */
	dlist_head	ready;			/* of tasks */
	dlist_node	turn;			/* in ready_groups, if `ready` is not empty */
	int			ntasks;
} TaskGroup;

typedef struct Log
{
	Oid			log;			/* hash key */
	dlist_head	waiting;		/* tasks */
	int			count;
} Log;

typedef struct Task
{
	int64		number;			/* hash key */
	TaskGroup  *group;
	int			entry;			/* in the pool, ES_NONE: there was none */
	bool		seen;			/* in the current reload */
	bool		gone;			/* unregistered while it ran */
	bool		poked;			/* while it ran */
	uint64		run;			/* running: tells it from earlier ones */
	EsTaskStatus status;
	dlist_node	node;			/* ready: in the group; waiting: at the log */
	pairingheap_node timer;		/* sleeping, backing off, if status.at is a time */
	bool		in_timers;
} Task;

/* A worker that we have registered. */
typedef struct Started
{
	struct Started *following;
	int			place;
	uint64		generation;
	BackgroundWorkerHandle *handle;
} Started;

static MemoryContext context = NULL;
static MemoryContext scratch = NULL;	/* emptied after each use */
static HTAB *tasks = NULL;
static HTAB *groups = NULL;
static HTAB *logs = NULL;
static dlist_head ready_groups;
static pairingheap *timers = NULL;
static int	nready = 0;
static Started *started = NULL;
static bool changed = true;		/* the registrations have to be read */
static HTAB *failed = NULL;		/* while they are: the tasks that have failed; others have been resumed */
static Oid	relation = InvalidOid;	/* that they are in */
static TimestampTz read_at = 0;
static TimestampTz read_after = 0;	/* no earlier, however much changes */
static bool adopted = false;	/* has it been seen what an earlier scheduler's workers do? */
static TimestampTz no_worker_until = 0;
static TimestampTz complained_at = 0;

static int
compare_timers(const pairingheap_node *a, const pairingheap_node *b, void *arg)
{
	TimestampTz at_a = pairingheap_const_container(Task, timer, a)->status.at;
	TimestampTz at_b = pairingheap_const_container(Task, timer, b)->status.at;

	/* the first is the largest */
	return at_a < at_b ? 1 : at_a > at_b ? -1 : 0;
}

/* --- the states --- */

/* Take a task out of the state it is in. */
static void
leave_state(Task *task)
{
	switch (task->status.state)
	{
		case ES_STATE_READY:
			dlist_delete(&task->node);
			if (dlist_is_empty(&task->group->ready))
				dlist_delete(&task->group->turn);
			nready--;
			break;
		case ES_STATE_WAITING:
			{
				Log		   *log = hash_search(logs, &task->status.log, HASH_FIND, NULL);

				dlist_delete(&task->node);
				if (--log->count == 0)
					hash_search(logs, &task->status.log, HASH_REMOVE, NULL);
			}
			break;
		default:
			if (task->in_timers)
				pairingheap_remove(timers, &task->timer);
			task->in_timers = false;
	}
}

/* Tell everybody of the state that a task has come into. */
static void
enter_state(Task *task, EsTaskState state, TimestampTz at)
{
	task->status.state = state;
	task->status.since = GetCurrentTimestamp();
	task->status.at = at;
	if (task->entry != ES_NONE)
		es_board_entry_set(task->entry, &task->status);
}

static void
make_ready(Task *task)
{
	TaskGroup  *group = task->group;

	leave_state(task);
	if (dlist_is_empty(&group->ready))
		dlist_push_tail(&ready_groups, &group->turn);
	dlist_push_tail(&group->ready, &task->node);
	nready++;
	enter_state(task, ES_STATE_READY, DT_NOEND);
}

static void
make_running(Task *task, int pid)
{
	leave_state(task);
	task->status.pid = pid;
	task->poked = false;
	enter_state(task, ES_STATE_RUNNING, DT_NOEND);
}

/* Set the timer of a task whose state is to end at a time. */
static void
set_timer(Task *task, TimestampTz at)
{
	if (at == DT_NOEND)
		return;
	task->status.at = at;
	pairingheap_add(timers, &task->timer);
	task->in_timers = true;
}

static void
make_sleeping(Task *task, TimestampTz until)
{
	leave_state(task);
	enter_state(task, ES_STATE_SLEEPING, until);
	set_timer(task, until);
}

static void
make_waiting(Task *task, Oid log, int64 horizon)
{
	Log		   *l;
	bool		found;

	leave_state(task);
	l = hash_search(logs, &log, HASH_ENTER, &found);
	if (!found)
	{
		dlist_init(&l->waiting);
		l->count = 0;
	}
	dlist_push_tail(&l->waiting, &task->node);
	l->count++;
	task->status.log = log;
	task->status.horizon = horizon;
	enter_state(task, ES_STATE_WAITING, DT_NOEND);
}

static void
make_backing_off(Task *task, TimestampTz until)
{
	leave_state(task);
	enter_state(task, ES_STATE_BACKING_OFF, until);
	set_timer(task, until);
}

static void
make_stopped(Task *task)
{
	leave_state(task);
	enter_state(task, ES_STATE_STOPPED, DT_NOEND);
}

/* A task that has been poked; not one that failed. */
static void
poke(Task *task)
{
	if (task->status.state == ES_STATE_RUNNING)
		task->poked = true;
	else if (task->status.state == ES_STATE_SLEEPING || task->status.state == ES_STATE_WAITING)
		make_ready(task);
}

/* --- the registrations --- */

static TaskGroup *
find_group(const EsRegistration *registration)
{
	GroupKey	key = {.store = registration->store_number,
	.owner = registration->store_number == 0 ? registration->owner : InvalidOid};
	bool		found;
	TaskGroup  *group = hash_search(groups, &key, HASH_ENTER, &found);

	if (!found)
	{
		dlist_init(&group->ready);
		group->ntasks = 0;
	}
	return group;
}

/* A row of the table: a task that is there already, or a new one. */
static void
take_registration(const EsRegistration *registration)
{
	bool		found;
	Task	   *task = hash_search(tasks, &registration->number, HASH_ENTER, &found);

	if (!found)
	{
		memset((char *) task + sizeof(task->number), 0, sizeof(Task) - sizeof(task->number));
		task->group = find_group(registration);
		task->group->ntasks++;
		task->entry = ES_NONE;
		task->status.state = ES_STATE_STOPPED;
	}
	task->seen = true;
	if (task->entry == ES_NONE)
	{
		task->entry = es_board_entry_take(task->number);
		/* without an entry it would run unseen; it waits until there is one */
		if (task->entry != ES_NONE)
		{
			task->status.failures = 0;
			make_ready(task);
		}
	}
}

/* A row about a failure: of a task that is new to us, for one that we know is known better. */
static void
take_failure(int64 number, int failures, TimestampTz next_try)
{
	Task	   *task = hash_search(tasks, &number, HASH_FIND, NULL);

	if (task == NULL || task->status.failures > 0 || task->status.state != ES_STATE_READY)
		return;
	task->status.failures = failures;
	if (next_try == DT_NOEND)
		make_stopped(task);
	else if (next_try > GetCurrentTimestamp())
		make_backing_off(task, next_try);
}

static void
remove_task(Task *task)
{
	leave_state(task);
	if (task->entry != ES_NONE)
		es_board_entry_give(task->entry, task->number);
	if (--task->group->ntasks == 0)
		hash_search(groups, &task->group->key, HASH_REMOVE, NULL);
	hash_search(tasks, &task->number, HASH_REMOVE, NULL);
}

static void
note_failed(int64 number, int failures, TimestampTz next_try)
{
	(void) hash_search(failed, &number, HASH_ENTER, NULL);
}

/* Tasks that the workers of an earlier scheduler still run. */
static void
adopt_running(void)
{
	EsWorkerStatus *workers = palloc(max_worker_processes * sizeof(EsWorkerStatus));
	int			count = es_pool_workers(workers);

	for (int i = 0; i < count; i++)
	{
		Task	   *task = hash_search(tasks, &workers[i].task, HASH_FIND, NULL);

		if (workers[i].dbid != MyDatabaseId || !workers[i].busy || task == NULL || task->status.state == ES_STATE_RUNNING)
			continue;
		task->run = workers[i].run;
		make_running(task, workers[i].pid);
		task->poked = true;		/* perhaps; nobody remembers */
	}
	pfree(workers);
}

static void
read_tables(void *argument)
{
	HASHCTL		ctl = {.keysize = sizeof(int64), .entrysize = sizeof(int64)};
	HASH_SEQ_STATUS status;
	Task	   *task;

	/* as long as the SQL is older than this library it may have no tasks */
	relation = OidIsValid(es_extension_oid()) ? es_extension_relation("task") : InvalidOid;
	if (!OidIsValid(relation))
		return;
	hash_seq_init(&status, tasks);
	while ((task = hash_seq_search(&status)) != NULL)
		task->seen = false;
	ctl.hcxt = CurTransactionContext;
	failed = hash_create("event_store failures", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	es_registration_each(take_registration);
	es_failure_each(take_failure);
	es_failure_each(note_failed);

	hash_seq_init(&status, tasks);
	while ((task = hash_seq_search(&status)) != NULL)
	{
		if (!task->seen && task->status.state == ES_STATE_RUNNING)
		{
			task->gone = true;
			es_pool_cancel(task->run);
		}
		else if (!task->seen)
			remove_task(task);
		else if ((task->status.state == ES_STATE_STOPPED || task->status.state == ES_STATE_BACKING_OFF) &&
				 task->entry != ES_NONE && hash_search(failed, &task->number, HASH_FIND, NULL) == NULL)
		{
			task->status.failures = 0;
			make_ready(task);
		}
	}
}

/* Read the registrations, and what was noted about failures. */
static void
read_registrations(void)
{
	TimestampTz now = GetCurrentTimestamp();
	bool		done;

	/* what changes from here on is read again */
	changed = false;
	done = es_transact(read_tables, NULL) == ES_TRANSACT_DONE;
	if (!adopted && done)
		adopt_running();
	adopted = adopted || done;
	changed = changed || !done;
	read_at = GetCurrentTimestamp();
	read_after = TimestampTzPlusMilliseconds(read_at, done ? 4 * TimestampDifferenceMilliseconds(now, read_at) : FAILURE_INTERVAL);
}

/* Heard of by the scheduler once a second; for what comes without a callback, as from COMMIT PREPARED. */
static void
relcache_callback(Datum arg, Oid relid)
{
	if (!OidIsValid(relid) || relid == relation)
		changed = true;
}

/* Is it time to read the registrations?  Many changes in a row are read together. */
static bool
should_read(void)
{
	TimestampTz now = GetCurrentTimestamp();

	if (es_board_take_changed())
		changed = true;
	return changed ? now >= read_after : TimestampDifferenceExceeds(read_at, now, RELOAD_INTERVAL);
}

/* --- what makes tasks ready --- */

/* A store's horizon stands at a position: its tasks that wait for that are ready. */
static void
horizon_moved(Oid log, int64 horizon)
{
	Log		   *l = hash_search(logs, &log, HASH_FIND, NULL);
	dlist_mutable_iter iter;
	int			left;

	if (l == NULL)
		return;
	left = l->count;

	/* the last one takes the list with it */
	dlist_foreach_modify(iter, &l->waiting)
	{
		Task	   *task = dlist_container(Task, node, iter.cur);

		if (task->status.horizon < horizon)
			make_ready(task);
		if (--left == 0)
			break;
	}
}

/*
 * Look at the horizons of the stores, of those that are known to have moved or
 * of all; tells whether any is known to have.
 */
bool
es_queue_look(bool all)
{
	Oid			log;
	bool		any = false;

	for (int slot = es_slot_next_in_use(ES_NONE, MyDatabaseId, &log); slot != ES_NONE;
		 slot = es_slot_next_in_use(slot, MyDatabaseId, &log))
	{
		bool		told;

		es_wake_watch(slot, true);
		told = es_wake_take(slot);
		any = any || told;
		if ((told || all) && hash_get_num_entries(logs) > 0)
			horizon_moved(log, es_slot_horizon(slot, log));
	}
	return any;
}

static void
look_at_pokes(void)
{
	HASH_SEQ_STATUS status;
	Task	   *task;

	hash_seq_init(&status, tasks);
	while ((task = hash_seq_search(&status)) != NULL)
		if (task->entry != ES_NONE && es_board_entry_poked(task->entry))
			poke(task);
}

static void
look_at_timers(void)
{
	TimestampTz now = GetCurrentTimestamp();

	while (!pairingheap_is_empty(timers))
	{
		Task	   *task = pairingheap_container(Task, timer, pairingheap_first(timers));

		if (task->status.at > now)
			break;
		make_ready(task);
	}
}

/* --- workers --- */

/* The current horizon of a log in use, 0 if it is not in use. */
static int64
current_horizon(Oid wanted)
{
	Oid			log;

	for (int slot = es_slot_next_in_use(ES_NONE, MyDatabaseId, &log); slot != ES_NONE;
		 slot = es_slot_next_in_use(slot, MyDatabaseId, &log))
		if (log == wanted)
			return es_slot_horizon(slot, log);
	return 0;
}

/* What becomes of a task whose worker has ended. */
static void
take_outcome(const EsRunOutcome *outcome)
{
	Task	   *task = hash_search(tasks, &outcome->task, HASH_FIND, NULL);
	EsRunOutcome	result = *outcome;

	if (task == NULL || task->status.state != ES_STATE_RUNNING || task->run != result.run)
		return;
	task->status.pid = 0;
	task->status.steps += result.steps;
	if (result.kind == ES_RUN_LOST && result.started)
	{
		EsAssignment assignment = {.task = task->number, .failures = task->status.failures};

		MemoryContext caller = MemoryContextSwitchTo(scratch);

		es_run_note_lost(&assignment, &result);
		MemoryContextSwitchTo(caller);
		MemoryContextReset(scratch);
	}
	if (task->gone || (result.kind == ES_RUN_NEXT && result.next.when == ES_TASK_ENDED))
	{
		remove_task(task);
		return;
	}
	switch (result.kind)
	{
		case ES_RUN_LOST:
			make_ready(task);
			break;
		case ES_RUN_FAILED:
			task->status.failures++;
			make_backing_off(task, result.next.at);
			break;
		case ES_RUN_STOPPED:
			task->status.failures++;
			make_stopped(task);
			break;
		case ES_RUN_POSTPONED:
			make_sleeping(task, result.next.at);
			break;
		case ES_RUN_NEXT:
			task->status.failures = 0;
			if (result.next.when == ES_TASK_AGAIN || task->poked)
				make_ready(task);
			else if (result.next.when == ES_TASK_AT)
				make_sleeping(task, result.next.at);
			else
			{
				make_waiting(task, result.log, result.next.horizon);
				horizon_moved(result.log, current_horizon(result.log));
			}
	}
	if (task->entry != ES_NONE && es_board_entry_poked(task->entry))
		poke(task);
}

static void
complain(const char *message, const char *hint)
{
	TimestampTz now = GetCurrentTimestamp();

	if (!TimestampDifferenceExceeds(complained_at, now, COMPLAINT_INTERVAL))
		return;
	complained_at = now;
	ereport(LOG, (errmsg("%s", message), errhint("%s", hint)));
}

/* Forget the workers that have come and gone; give back the places of those that never came. */
static void
reap(void)
{
	Started   **link = &started;

	while (*link != NULL)
	{
		Started    *s = *link;
		pid_t		pid;

		if (GetBackgroundWorkerPid(s->handle, &pid) != BGWH_STOPPED)
		{
			link = &s->following;
			continue;
		}
		es_pool_place_give(s->place, s->generation);
		*link = s->following;
		pfree(s->handle);
		pfree(s);
	}
}

/* Start one more worker; false if there can be none now. */
static bool
start_worker(bool *has_one)
{
	EsWorkerStart start = {.dbid = MyDatabaseId};
	BackgroundWorkerHandle *handle;
	MemoryContext caller;
	bool		done;

	start.place = es_pool_place_take(&start.generation, has_one);
	if (start.place == ES_NONE)
		return false;
	caller = MemoryContextSwitchTo(context);
	done = es_worker_register(&start, &handle);
	if (done)
	{
		Started    *s = palloc(sizeof(Started));

		*s = (Started) {.following = started, .place = start.place, .generation = start.generation, .handle = handle};
		started = s;
	}
	MemoryContextSwitchTo(caller);
	if (!done)
	{
		es_pool_place_give(start.place, start.generation);
		no_worker_until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), NO_WORKER_INTERVAL);
		complain("event_store has no free background worker for its tasks",
				 "Raise max_worker_processes, or lower event_store.max_workers.");
	}
	return done;
}

/* Give ready tasks to idle workers, and start workers for those that are left. */
static void
assign(void)
{
	bool		has_one = true;
	bool		refused = false;
	bool		starving;
	int			worker;

	while (es_max_workers > 0 && !dlist_is_empty(&ready_groups) && (worker = es_pool_idle_worker()) != ES_NONE)
	{
		TaskGroup  *group = dlist_container(TaskGroup, turn, dlist_head_node(&ready_groups));
		Task	   *task = dlist_container(Task, node, dlist_head_node(&group->ready));
		EsAssignment assignment = {.task = task->number, .failures = task->status.failures};
		int			pid;

		if (!es_pool_assign(worker, &assignment, &pid))
			continue;
		task->run = assignment.run;
		make_running(task, pid);
		if (!dlist_is_empty(&group->ready))
			dlist_move_tail(&ready_groups, &group->turn);
	}
	if (nready > 0 && es_max_workers > 0 && no_worker_until <= GetCurrentTimestamp())
		for (int missing = nready - es_pool_starting(); missing > 0 && !refused; missing--)
			refused = !start_worker(&has_one);
	starving = nready > 0 && refused && !has_one;
	es_board_set_ready(nready, starving);
	if (starving)
		es_pool_wake_others();
}

/* --- for the scheduler --- */

/*
 * Begin; false if another process is still this database's scheduler.  Tasks
 * that the workers of an earlier one still run are taken as they hand them in.
 */
bool
es_queue_open(void)
{
	HASHCTL		of_tasks = {.keysize = sizeof(int64), .entrysize = sizeof(Task)};
	HASHCTL		of_groups = {.keysize = sizeof(GroupKey), .entrysize = sizeof(TaskGroup)};
	HASHCTL		of_logs = {.keysize = sizeof(Oid), .entrysize = sizeof(Log)};
	MemoryContext caller;

	if (!es_board_open(MyDatabaseId))
		return false;
	context = AllocSetContextCreate(TopMemoryContext, "event_store tasks", ALLOCSET_DEFAULT_SIZES);
	of_tasks.hcxt = of_groups.hcxt = of_logs.hcxt = context;
	tasks = hash_create("event_store tasks", 64, &of_tasks, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	groups = hash_create("event_store groups", 16, &of_groups, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	logs = hash_create("event_store logs", 16, &of_logs, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	dlist_init(&ready_groups);
	scratch = AllocSetContextCreate(context, "event_store outcome", ALLOCSET_DEFAULT_SIZES);
	caller = MemoryContextSwitchTo(context);
	timers = pairingheap_allocate(compare_timers, NULL);
	MemoryContextSwitchTo(caller);
	CacheRegisterRelcacheCallback(relcache_callback, (Datum) 0);
	return true;
}

void
es_queue_close(void)
{
	es_board_close();
}

/* Do all that can be done now. */
void
es_queue_turn(void)
{
	EsRunOutcome	outcome;

	while (es_pool_collect(&outcome))
		take_outcome(&outcome);
	if (should_read())
		read_registrations();
	if (es_board_take_pokes())
		look_at_pokes();
	look_at_timers();
	reap();
	assign();
}

/* When the next turn is due if nothing happens before, DT_NOEND if never. */
TimestampTz
es_queue_next_time(void)
{
	TimestampTz next = DT_NOEND;

	if (!pairingheap_is_empty(timers))
		next = pairingheap_container(Task, timer, pairingheap_first(timers))->status.at;
	if (changed)
		next = Min(next, read_after);
	return next;
}
