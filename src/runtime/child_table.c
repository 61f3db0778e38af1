/*
 * child_table.c
 *		Children of supervisors, in shared memory.
 *
 * There are as many places as the server has background workers.  A place is
 * taken by whoever starts a child, or stays taken while the child waits for a
 * worker or its process is to be started anew, and is freed when the child has
 * ended for good.  The generation of a place changes with each process, so a
 * process that comes late finds that it is not wanted any more.
 *
 * ES_LWLOCK_CHILDREN is over all of it but the wishes that a child stop, which
 * the end of a transaction may express: atomics.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "port/atomics.h"
#include "postmaster/bgworker.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "access/xact.h"
#include "base/compat.h"
#include "base/settings.h"
#include "base/shared.h"
#include "base/shmem.h"
#include "base/xact.h"
#include "runtime/child.h"
#include "runtime/child_table.h"
#include "runtime/board.h"

#define NONE			(-1)
#define START_TIMEOUT	60000	/* ms after which a process that did not come is given up */

typedef struct SharedChild
{
	EsChild		child;			/* but for pointers, place and stopping */
	EsSharedValue content;		/* function, name, each with its NUL, then args */
	int			function_length;
	int			name_length;
	pg_atomic_uint32 stop;		/* 0, or 1 + when it was asked: see stop_at */
	TimestampTz stop_at;		/* when it will be ended by force, 0: not set yet */
	int			proc;			/* of its process, NONE: none */
	int			starter;		/* process that waits for its first call, NONE: none */
	TimestampTz since;			/* of the state */
	bool		left;			/* its process was asked to make way for DROP DATABASE or the like */
} SharedChild;

/* The restarts of a supervisor. */
typedef struct Window
{
	Oid			dbid;			/* InvalidOid: free */
	NameData	supervisor;
	int			count;			/* of all restarts */
	TimestampTz times[ES_MAX_RESTARTS + 1]; /* of the latest, in a ring */
} Window;

/* A child that this transaction has started, and that ends with it if that is undone. */
typedef struct Started
{
	int			place;
	pg_uuid_t	id;
	int			level;
} Started;

static SharedChild *children = NULL;	/* max_worker_processes of them */
static Window *windows = NULL;	/* likewise */
static Started *started = NULL;
static int	nstarted = 0;
static int	started_room = 0;

static Size
children_size(void)
{
	return add_size(MAXALIGN(mul_size(max_worker_processes, sizeof(SharedChild))),
					mul_size(max_worker_processes, sizeof(Window)));
}

static void
children_attach(void)
{
	bool		found;
	char	   *area = ShmemInitStruct("event_store children", children_size(), &found);

	children = (SharedChild *) area;
	windows = (Window *) (area + MAXALIGN(mul_size(max_worker_processes, sizeof(SharedChild))));
	if (found)
		return;
	memset(area, 0, children_size());
	for (int i = 0; i < max_worker_processes; i++)
	{
		children[i].proc = children[i].starter = NONE;
		pg_atomic_init_u32(&children[i].stop, 0);
	}
}

static void
lock(LWLockMode mode)
{
	LWLockAcquire(es_lwlock(ES_LWLOCK_CHILDREN), mode);
}

static void
unlock(void)
{
	LWLockRelease(es_lwlock(ES_LWLOCK_CHILDREN));
}

static void
wake(int proc)
{
	if (proc != NONE)
		SetLatch(&GetPGProcByNumber(proc)->procLatch);
}

/* --- places: the caller holds the lock --- */

static bool
is_of(const SharedChild *c, Oid dbid, const char *supervisor)
{
	return c->child.state != ES_CHILD_FREE && c->child.dbid == dbid && strcmp(NameStr(c->child.supervisor), supervisor) == 0;
}

/* The shared child, if it is still in this generation; else NULL. */
static SharedChild *
same(const EsChild *child)
{
	SharedChild *c = &children[child->place];

	return c->child.state != ES_CHILD_FREE && c->child.generation == child->generation ? c : NULL;
}

static void
set_state(SharedChild *c, EsChildState state)
{
	c->child.state = state;
	c->since = GetCurrentTimestamp();
}

static void
free_place(SharedChild *c)
{
	bool		last = true;

	es_shared_free(&c->content);
	for (int i = 0; i < max_worker_processes; i++)
		if (&children[i] != c && is_of(&children[i], c->child.dbid, NameStr(c->child.supervisor)))
			last = false;
	for (int i = 0; i < max_worker_processes && last; i++)
		if (windows[i].dbid == c->child.dbid && strcmp(NameStr(windows[i].supervisor), NameStr(c->child.supervisor)) == 0)
			windows[i].dbid = InvalidOid;
	c->child.generation++;
	c->child.pid = 0;
	c->proc = c->starter = NONE;
	set_state(c, ES_CHILD_FREE);
}

static Window *
find_window(const EsChild *child)
{
	Window	   *unused = NULL;

	for (int i = 0; i < max_worker_processes; i++)
	{
		if (windows[i].dbid == child->dbid && strcmp(NameStr(windows[i].supervisor), NameStr(child->supervisor)) == 0)
			return &windows[i];
		if (!OidIsValid(windows[i].dbid) && unused == NULL)
			unused = &windows[i];
	}
	/* there are no more supervisors with children than children */
	Assert(unused != NULL);
	memset(unused, 0, sizeof(Window));
	unused->dbid = child->dbid;
	unused->supervisor = child->supervisor;
	return unused;
}

/* A copy, with its content in the buffer, which is large enough. */
static void
copy_child(int place, EsChild *copy, char *buffer)
{
	SharedChild *c = &children[place];

	*copy = c->child;
	copy->place = place;
	copy->stopping = pg_atomic_read_u32(&c->stop) != 0;
	es_shared_get(&c->content, buffer);
	copy->function = buffer;
	copy->name = buffer + c->function_length;
	/* align() moves it to where a jsonb may lie */
	copy->args = (Jsonb *) (buffer + c->function_length + c->name_length);
}

static char *
content_buffer(void)
{
	return palloc(2 * MAXPGPATH + ES_CHILD_NAME_MAX + ES_CHILD_ARGS_MAX + MAXIMUM_ALIGNOF);
}

static void
align(EsChild *copy)
{
	uint32		header;
	Jsonb	   *args;

	memcpy(&header, copy->args, sizeof(header));
	args = palloc(VARSIZE(&header));
	memcpy(args, copy->args, VARSIZE(&header));
	copy->args = args;
}

/* --- whoever starts a child --- */

/*
 * Take a place for a new child, of this database; fills in place and
 * generation, or if the name is taken the id.  The child is to be registered, or
 * with queue waits for the scheduler to do that.
 */
EsPlaced
es_child_place(EsChild *child, int max_children, bool queue)
{
	int			function_length = strlen(child->function) + 1;
	int			name_length = strlen(child->name) + 1;
	char	   *buffer = palloc(function_length + name_length + VARSIZE(child->args));
	char	   *other = content_buffer();
	EsSharedValue content;
	EsPlaced	placed = ES_PLACED_NO_ROOM;
	int			siblings = 0;
	int			place = NONE;

	memcpy(buffer, child->function, function_length);
	memcpy(buffer + function_length, child->name, name_length);
	memcpy(buffer + function_length + name_length, child->args, VARSIZE(child->args));
	if (!es_shared_put(&content, buffer, function_length + name_length + VARSIZE(child->args)))
		return ES_PLACED_POOL_FULL;
	if (nstarted == started_room)
	{
		started_room = Max(2 * started_room, 16);
		started = started == NULL ? MemoryContextAlloc(TopMemoryContext, started_room * sizeof(Started)) :
			repalloc(started, started_room * sizeof(Started));
	}

	lock(LW_EXCLUSIVE);
	for (int i = 0; i < max_worker_processes; i++)
	{
		EsChild		copy;

		if (children[i].child.state == ES_CHILD_FREE)
			place = place == NONE ? i : place;
		else if (is_of(&children[i], MyDatabaseId, NameStr(child->supervisor)))
		{
			siblings++;
			copy_child(i, &copy, other);
			if (name_length > 1 && strcmp(copy.name, child->name) == 0)
			{
				child->id = copy.id;
				placed = ES_PLACED_TAKEN;
			}
		}
	}
	if (placed != ES_PLACED_TAKEN && siblings >= max_children)
		placed = ES_PLACED_TOO_MANY;
	else if (placed != ES_PLACED_TAKEN && place != NONE)
	{
		SharedChild *c = &children[place];

		child->place = place;
		child->generation = c->child.generation + 1;
		c->child = *child;
		c->child.dbid = MyDatabaseId;
		c->content = content;
		c->function_length = function_length;
		c->name_length = name_length;
		pg_atomic_write_u32(&c->stop, 0);
		c->stop_at = 0;
		c->proc = NONE;
		c->starter = queue ? NONE : ES_MY_PROC_NUMBER;
		c->left = false;
		set_state(c, queue ? ES_CHILD_QUEUED : ES_CHILD_STARTING);
		placed = ES_PLACED;
	}
	unlock();

	if (placed == ES_PLACED)
		started[nstarted++] = (Started) {place, child->id, GetCurrentTransactionNestLevel()};
	else
		es_shared_free(&content);
	pfree(buffer);
	pfree(other);
	return placed;
}

/* Register the process of a child; false if the server has no room for one. */
bool
es_child_register(const EsChild *child, void **handle)
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
	return RegisterDynamicBackgroundWorker(&worker, (BackgroundWorkerHandle **) handle);
}

/* Free the place of a child that never ran or has ended. */
void
es_child_free(const EsChild *child)
{
	SharedChild *c;

	lock(LW_EXCLUSIVE);
	if ((c = same(child)) != NULL)
		free_place(c);
	unlock();
}

/* Nobody waits for the child's first call any more. */
void
es_child_keep(const EsChild *child)
{
	SharedChild *c;

	lock(LW_EXCLUSIVE);
	if ((c = same(child)) != NULL)
		c->starter = NONE;
	unlock();
}

/* Bring a copy up to date, but for its content; false if the child is gone. */
bool
es_child_look(EsChild *child)
{
	SharedChild *c;

	lock(LW_SHARED);
	c = same(child);
	if (c != NULL)
	{
		child->state = c->child.state;
		child->pid = c->child.pid;
		child->sqlstate = c->child.sqlstate;
		memcpy(child->message, c->child.message, ES_CHILD_MESSAGE);
		child->stopping = pg_atomic_read_u32(&c->stop) != 0;
	}
	unlock();
	return c != NULL;
}

/* The children of this database, palloc'd. */
EsChild *
es_children_copy(int *count)
{
	EsChild    *copies = palloc(max_worker_processes * sizeof(EsChild));
	char	  **buffers = palloc(max_worker_processes * sizeof(char *));

	for (int i = 0; i < max_worker_processes; i++)
		buffers[i] = content_buffer();
	*count = 0;
	lock(LW_SHARED);
	for (int i = 0; i < max_worker_processes; i++)
		if (children[i].child.state != ES_CHILD_FREE && children[i].child.dbid == MyDatabaseId)
		{
			copy_child(i, &copies[*count], buffers[*count]);
			(*count)++;
		}
	unlock();
	for (int i = 0; i < *count; i++)
		align(&copies[i]);
	return copies;
}

/* --- stopping --- */

static void
ask_to_stop(SharedChild *c)
{
	if (pg_atomic_exchange_u32(&c->stop, 1) == 0)
		c->stop_at = c->child.shutdown < 0 ? DT_NOEND :
			TimestampTzPlusMilliseconds(GetCurrentTimestamp(), c->child.shutdown);
	wake(c->proc);
}

/* Ask a child to end; false if it is gone.  One without a process is gone at once. */
bool
es_child_ask_to_stop(const EsChild *child)
{
	SharedChild *c;

	lock(LW_EXCLUSIVE);
	c = same(child);
	if (c != NULL && (c->child.state == ES_CHILD_QUEUED || c->child.state == ES_CHILD_DIED))
		free_place(c);
	else if (c != NULL)
		ask_to_stop(c);
	unlock();
	es_board_wake(MyDatabaseId);
	return c != NULL;
}

/* End the process of a child. */
void
es_child_kill(const EsChild *child)
{
	SharedChild *c;

	lock(LW_EXCLUSIVE);
	c = same(child);
	if (c != NULL && c->child.pid != 0)
		(void) kill(c->child.pid, SIGTERM);
	unlock();
}

/* Ask all children of a supervisor of this database to end; returns how many there are. */
int
es_children_stop(const char *supervisor)
{
	int			count = 0;

	lock(LW_EXCLUSIVE);
	for (int i = 0; i < max_worker_processes; i++)
	{
		SharedChild *c = &children[i];

		if (!is_of(c, MyDatabaseId, supervisor))
			continue;
		if (c->child.state == ES_CHILD_QUEUED || c->child.state == ES_CHILD_DIED)
		{
			free_place(c);
			continue;
		}
		ask_to_stop(c);
		count++;
	}
	unlock();
	es_board_wake(MyDatabaseId);
	return count;
}

/* For DROP DATABASE and the like: have the processes of a database leave, by a signal if it is given; how many are there? */
int
es_children_ask_to_leave(Oid dbid, int signal)
{
	int			count = 0;

	lock(LW_EXCLUSIVE);
	for (int i = 0; i < max_worker_processes; i++)
	{
		SharedChild *c = &children[i];

		if (c->child.state == ES_CHILD_FREE || c->child.dbid != dbid || c->child.pid == 0)
			continue;
		c->left = true;
		if (signal != 0)
			(void) kill(c->child.pid, signal);
		count++;
	}
	unlock();
	return count;
}

/* --- the child's process --- */

/* The process of a place has come; false if it is not wanted any more. */
bool
es_child_begin(int place, uint64 generation, EsChild *child)
{
	EsChild		wanted = {.place = place, .generation = generation};
	char	   *buffer = content_buffer();
	SharedChild *c;

	lock(LW_EXCLUSIVE);
	c = same(&wanted);
	if (c != NULL)
	{
		c->child.pid = MyProcPid;
		c->child.started_at = GetCurrentTimestamp();
		c->proc = ES_MY_PROC_NUMBER;
		c->left = false;
		copy_child(place, child, buffer);
	}
	unlock();
	if (c != NULL)
		align(child);
	return c != NULL;
}

/* Take the lock; the shared child if it is still that of this process, else NULL. */
static SharedChild *
hold(const EsChild *child)
{
	lock(LW_EXCLUSIVE);
	return same(child);
}

/* Its first call has returned. */
void
es_child_ready(const EsChild *child)
{
	SharedChild *c;

	c = hold(child);
	if (c != NULL)
	{
		set_state(c, ES_CHILD_RUNNING);
		wake(c->starter);
	}
	unlock();
}

void
es_child_sleeps(const EsChild *child, TimestampTz until)
{
	SharedChild *c;

	c = hold(child);
	if (c != NULL)
	{
		c->child.next_at = until;
		c->child.calls++;
	}
	unlock();
}

void
es_child_calls(const EsChild *child)
{
	SharedChild *c;

	c = hold(child);
	if (c != NULL)
		c->child.next_at = 0;
	unlock();
}

void
es_child_note_error(const EsChild *child, int sqlstate, const char *message)
{
	SharedChild *c;

	c = hold(child);
	if (c != NULL)
	{
		c->child.sqlstate = sqlstate;
		strlcpy(c->child.message, message, ES_CHILD_MESSAGE);
	}
	unlock();
}

/* Does a session wait for its first call? */
bool
es_child_is_awaited(const EsChild *child)
{
	SharedChild *c = hold(child);
	bool		awaited = c != NULL && c->child.state == ES_CHILD_STARTING && c->starter != NONE;

	unlock();
	return awaited;
}

bool
es_child_is_stopping(const EsChild *child)
{
	return pg_atomic_read_u32(&children[child->place].stop) != 0;
}

void
es_child_set_state(const EsChild *child, EsChildState state)
{
	SharedChild *c;

	c = hold(child);
	if (c != NULL)
	{
		set_state(c, state);
		wake(c->starter);
	}
	unlock();
}

/* Its process ends, and has not said why. */
void
es_child_died(const EsChild *child)
{
	SharedChild *c;

	c = hold(child);
	if (c != NULL)
	{
		c->child.pid = 0;
		c->proc = NONE;
		if (pg_atomic_read_u32(&c->stop) != 0)
			free_place(c);
		else if (c->child.state == ES_CHILD_STARTING && c->starter != NONE)
		{
			c->child.sqlstate = ERRCODE_ADMIN_SHUTDOWN;
			strlcpy(c->child.message, "its process has ended", ES_CHILD_MESSAGE);
			set_state(c, ES_CHILD_FAILED);
			wake(c->starter);
		}
		else if (c->child.state != ES_CHILD_FAILED)
			set_state(c, ES_CHILD_DIED);
	}
	unlock();
	es_board_wake(child->dbid);
}

/* Count a restart; false if that is one too many for the supervisor. */
bool
es_child_may_restart(const EsChild *child)
{
	SharedChild *c;
	TimestampTz now = GetCurrentTimestamp();
	bool		may = true;

	c = hold(child);
	if (c != NULL)
	{
		Window	   *window = find_window(&c->child);
		int			size = ES_MAX_RESTARTS + 1;

		window->times[window->count++ % size] = now;
		/* the one that is max_restarts before this one */
		if (window->count > child->max_restarts &&
			window->times[(window->count - 1 - child->max_restarts) % size] >
			TimestampTzPlusMilliseconds(now, -(int64) child->max_seconds * 1000))
			may = false;
		c->child.restarts++;
	}
	unlock();
	return may;
}

/* It begins anew, in the same process. */
void
es_child_begin_again(const EsChild *child)
{
	SharedChild *c;

	c = hold(child);
	if (c != NULL)
	{
		c->child.started_at = GetCurrentTimestamp();
		c->child.next_at = 0;
	}
	unlock();
}

/* --- the scheduler --- */

/* Move a child of this database from a state to STARTING, in a new generation, and copy it; false if there is none. */
static bool
take(EsChildState state, EsChild *child, bool *left)
{
	char	   *buffer = content_buffer();
	bool		found = false;

	lock(LW_EXCLUSIVE);
	for (int i = 0; i < max_worker_processes && !found; i++)
	{
		SharedChild *c = &children[i];

		if (c->child.dbid != MyDatabaseId || c->child.state != state)
			continue;
		found = true;
		c->child.generation++;
		set_state(c, ES_CHILD_STARTING);
		*left = c->left;
		copy_child(i, child, buffer);
	}
	unlock();
	if (found)
		align(child);
	return found;
}

bool
es_child_take_queued(EsChild *child)
{
	bool		left;

	return take(ES_CHILD_QUEUED, child, &left);
}

/* *counts: it has died by itself, and was not asked to make way. */
bool
es_child_take_died(EsChild *child, bool *counts)
{
	bool		left;
	bool		found = take(ES_CHILD_DIED, child, &left);

	*counts = !left;
	return found;
}

/* There is no worker for it now. */
void
es_child_put_back(const EsChild *child, EsChildState state)
{
	es_child_set_state(child, state);
}

/* End children by force that have not ended by themselves in time, and give up processes that did not come. */
void
es_children_kill_overdue(void)
{
	TimestampTz now = GetCurrentTimestamp();

	lock(LW_EXCLUSIVE);
	for (int i = 0; i < max_worker_processes; i++)
	{
		SharedChild *c = &children[i];

		if (c->child.state == ES_CHILD_FREE || c->child.dbid != MyDatabaseId)
			continue;
		if (pg_atomic_read_u32(&c->stop) != 0 && c->stop_at == 0)
			c->stop_at = c->child.shutdown < 0 ? DT_NOEND : TimestampTzPlusMilliseconds(now, c->child.shutdown);
		if (c->stop_at != 0 && c->stop_at <= now && c->child.pid != 0)
			(void) kill(c->child.pid, SIGTERM);
		else if (c->child.state == ES_CHILD_STARTING && c->child.pid == 0 && c->starter == NONE &&
				 TimestampDifferenceExceeds(c->since, now, START_TIMEOUT))
		{
			c->child.generation++;
			set_state(c, pg_atomic_read_u32(&c->stop) != 0 ? ES_CHILD_FREE : ES_CHILD_DIED);
		}
	}
	unlock();
}

/* --- the ends of transactions: children that were started in one that is undone are to stop --- */

static void
undo(const Started *s)
{
	SharedChild *c = &children[s->place];
	int			proc = c->proc;

	/* if the place changes hands within these lines, another child ends; it is started again as one that died */
	if (memcmp(&c->child.id, &s->id, sizeof(pg_uuid_t)) != 0)
		return;
	pg_atomic_write_u32(&c->stop, 1);
	wake(proc);
}

static void
subtransaction_ended(bool committed, int level)
{
	int			kept = 0;

	for (int i = 0; i < nstarted; i++)
	{
		Started    *s = &started[i];

		if (s->level >= level && !committed)
		{
			undo(s);
			continue;
		}
		if (s->level >= level)
			s->level = level - 1;
		started[kept++] = *s;
	}
	nstarted = kept;
}

static void
transaction_ended(bool committed)
{
	for (int i = 0; i < nstarted && !committed; i++)
		undo(&started[i]);
	nstarted = 0;
}

static void
transaction_prepared(void)
{
	nstarted = 0;
}

void
EsChildTableInit(void)
{
	static const EsShmemPart part = {children_size, children_attach};
	static const EsXactHook hook = {.end = transaction_ended, .prepared = transaction_prepared, .sub_end = subtransaction_ended};

	es_shmem_register(&part);
	es_xact_register(&hook);
}
