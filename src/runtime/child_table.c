/*
 * child_table.c
 *		Children of supervisors, in shared memory.
 *
 * There are as many places as the server has background workers.  A place is
 * taken by whoever starts a child, stays taken while the child waits for a
 * worker or is to be restarted, and is freed when it has ended for good.  The
 * generation of a place changes with each process, so a process that comes
 * late finds that it is not wanted any more.  The states are those of
 * doc/supervisors.md, one function a transition.
 *
 * ES_LWLOCK_CHILDREN is over all of it but the wishes that a child stop, which
 * the end of a transaction may express: atomics.
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/shared.h"
#include "base/shmem.h"
#include "base/xact.h"
#include "runtime/board.h"
#include "runtime/child_table.h"
#include "runtime/intensity.h"

#define NONE			(-1)
#define COME_TIMEOUT	60000	/* ms after which a process that did not come is given up */

typedef struct SharedChild
{
	EsChild		child;			/* but for pointers, place and stopping */
	EsSharedValue content;		/* args, function and name, each with its NUL */
	int			function_length;
	uint32		birth;			/* counts the children of the place */
	pg_atomic_uint32 stop;		/* birth of the one that is to end */
	TimestampTz stop_at;		/* when it will be ended by force, 0: not set yet */
	int			proc;			/* of its process, NONE: none */
	int			starter;		/* process that waits for its first call, NONE: none */
	TimestampTz since;			/* of the state */
	bool		makes_way;		/* its process was asked to leave for DROP DATABASE or the like */
} SharedChild;

/* A child that this transaction has started, and that ends with it if that is undone. */
typedef struct Started
{
	int			place;
	uint32		birth;
	int			level;
} Started;

static SharedChild *children = NULL;	/* max_worker_processes of them */
static Started *started = NULL;
static int	nstarted = 0;
static int	started_room = 0;

static Size
places_size(void)
{
	return MAXALIGN(mul_size(max_worker_processes, sizeof(SharedChild)));
}

static Size
children_size(void)
{
	return add_size(places_size(), es_intensity_size());
}

static void
children_attach(void)
{
	bool		found;
	char	   *area = ShmemInitStruct("event_store children", children_size(), &found);

	children = (SharedChild *) area;
	es_intensity_attach(area + places_size());
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

/* Is this a child of a supervisor, with the id if one is given? */
static bool
is_of(const SharedChild *c, Oid dbid, const char *supervisor, const pg_uuid_t *id)
{
	return c->child.state != ES_CHILD_FREE && c->child.dbid == dbid &&
		strcmp(NameStr(c->child.supervisor), supervisor) == 0 &&
		(id == NULL || memcmp(&c->child.id, id, sizeof(pg_uuid_t)) == 0);
}

/* The shared child, if it is still in this generation; else NULL. */
static SharedChild *
same(const EsChild *child)
{
	SharedChild *c = &children[child->place];

	return c->child.state != ES_CHILD_FREE && c->child.generation == child->generation ? c : NULL;
}

static bool
is_stopping(SharedChild *c)
{
	return pg_atomic_read_u32(&c->stop) == c->birth;
}

/* Has it a process, or will it have one soon? */
static bool
has_process(const SharedChild *c)
{
	return c->child.state == ES_CHILD_STARTING || c->child.state == ES_CHILD_RUNNING;
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
	c->child.generation++;
	c->child.pid = 0;
	c->proc = c->starter = NONE;
	set_state(c, ES_CHILD_FREE);
	for (int i = 0; i < max_worker_processes; i++)
		last = last && !is_of(&children[i], c->child.dbid, NameStr(c->child.supervisor), NULL);
	if (last)
		es_intensity_last_child_gone(c->child.dbid, NameStr(c->child.supervisor));
}

/* Ask a child to end; one without a process is gone at once. */
static void
stop(SharedChild *c)
{
	if (!has_process(c))
	{
		free_place(c);
		return;
	}
	if (pg_atomic_exchange_u32(&c->stop, c->birth) != c->birth)
		c->stop_at = c->child.shutdown < 0 ? DT_NOEND :
			TimestampTzPlusMilliseconds(GetCurrentTimestamp(), c->child.shutdown);
	wake(c->proc);
}

static int
stop_all(Oid dbid, const char *supervisor, const pg_uuid_t *id)
{
	int			count = 0;

	for (int i = 0; i < max_worker_processes; i++)
		if (is_of(&children[i], dbid, supervisor, id))
		{
			count++;
			stop(&children[i]);
		}
	return count;
}

/* The bytes that the copy of a child's content takes. */
static Size
content_size(const SharedChild *c)
{
	return MAXALIGN(c->content.length);
}

/* A copy, with its content in a buffer that is large enough, and aligned. */
static void
copy_child(int place, EsChild *copy, char *buffer)
{
	SharedChild *c = &children[place];

	*copy = c->child;
	copy->place = place;
	copy->stopping = is_stopping(c);
	es_shared_get(&c->content, buffer);
	copy->args = (Jsonb *) buffer;
	copy->function = buffer + VARSIZE(copy->args);
	copy->name = copy->function + c->function_length;
}

/* Room for the content of any child. */
static char *
content_buffer(void)
{
	return palloc(MAXALIGN(ES_CHILD_ARGS_MAX + MAXPGPATH + ES_CHILD_NAME_MAX + 2));
}

/* Take the lock; the shared child if it is still in this generation, else NULL. */
static SharedChild *
hold(const EsChild *child)
{
	lock(LW_EXCLUSIVE);
	return same(child);
}

/* --- whoever starts a child --- */

static void
make_room_to_note(void)
{
	if (nstarted < started_room)
		return;
	started_room = Max(2 * started_room, 16);
	started = started == NULL ? MemoryContextAlloc(TopMemoryContext, started_room * sizeof(Started)) :
		repalloc(started, started_room * sizeof(Started));
}

/* A free place, or why there is none.  The caller holds the lock. */
static EsPlaced
find_place(const EsChild *child, int max_children, char *buffer, int *place)
{
	int			siblings = 0;

	*place = NONE;
	for (int i = 0; i < max_worker_processes; i++)
	{
		EsChild		copy;

		if (children[i].child.state == ES_CHILD_FREE)
			*place = *place == NONE ? i : *place;
		else if (is_of(&children[i], MyDatabaseId, NameStr(child->supervisor), NULL))
		{
			siblings++;
			copy_child(i, &copy, buffer);
			if (child->name[0] != '\0' && strcmp(copy.name, child->name) == 0)
				return ES_PLACED_TAKEN;
		}
	}
	if (es_intensity_has_failed(MyDatabaseId, NameStr(child->supervisor)))
		return ES_PLACED_SUPERVISOR_FAILED;
	if (siblings >= max_children)
		return ES_PLACED_TOO_MANY;
	return *place == NONE ? ES_PLACED_NO_ROOM : ES_PLACED;
}

/*
 * FREE -> STARTING, or with queue QUEUED: take a place for a new child, of this
 * database; fills in place and generation.  The caller has its process
 * registered, or with queue the scheduler does.
 */
EsPlaced
es_child_place(EsChild *child, int max_children, bool queue)
{
	int			function_length = strlen(child->function) + 1;
	int			name_length = strlen(child->name) + 1;
	int			args_length = VARSIZE(child->args);
	char	   *content = palloc(args_length + function_length + name_length);
	char	   *buffer = content_buffer();
	EsSharedValue value;
	EsPlaced	placed;
	int			place;

	make_room_to_note();
	memcpy(content, child->args, args_length);
	memcpy(content + args_length, child->function, function_length);
	memcpy(content + args_length + function_length, child->name, name_length);
	if (!es_shared_put(&value, content, args_length + function_length + name_length))
		return ES_PLACED_POOL_FULL;

	lock(LW_EXCLUSIVE);
	placed = find_place(child, max_children, buffer, &place);
	if (placed == ES_PLACED)
	{
		SharedChild *c = &children[place];

		child->place = place;
		child->generation = c->child.generation + 1;
		c->child = *child;
		c->content = value;
		c->function_length = function_length;
		c->birth++;
		c->stop_at = 0;
		c->proc = NONE;
		c->starter = queue ? NONE : ES_MY_PROC_NUMBER;
		c->makes_way = false;
		set_state(c, queue ? ES_CHILD_QUEUED : ES_CHILD_STARTING);
	}
	unlock();

	es_board_wake(MyDatabaseId);
	if (placed == ES_PLACED)
		started[nstarted++] = (Started) {place, children[place].birth, GetCurrentTransactionNestLevel()};
	else
		es_shared_free(&value);
	pfree(content);
	pfree(buffer);
	return placed;
}

/* Bring a copy up to date, but for its content; false if the child is gone, or has another process by now. */
bool
es_child_look(EsChild *child)
{
	SharedChild *c;

	lock(LW_SHARED);
	c = same(child);
	if (c != NULL)
	{
		child->state = c->child.state;
		child->sqlstate = c->child.sqlstate;
		memcpy(child->message, c->child.message, ES_CHILD_MESSAGE);
	}
	unlock();
	return c != NULL;
}

/* any -> FREE: a child that never ran, or ends for good. */
void
es_child_free(const EsChild *child)
{
	SharedChild *c = hold(child);

	if (c != NULL)
		free_place(c);
	unlock();
}

/* Nobody waits for the child's first call any more. */
void
es_child_keep(const EsChild *child)
{
	SharedChild *c = hold(child);

	if (c != NULL)
		c->starter = NONE;
	unlock();
}

/* --- anybody --- */

/* Bytes for the contents of the children of this database.  The caller holds the lock. */
static Size
contents_size(void)
{
	Size		size = 0;

	for (int i = 0; i < max_worker_processes; i++)
		if (children[i].child.state != ES_CHILD_FREE && children[i].child.dbid == MyDatabaseId)
			size += content_size(&children[i]);
	return size;
}

/* The children of this database, palloc'd. */
EsChild *
es_children_copy(int *count)
{
	EsChild    *copies = palloc(max_worker_processes * sizeof(EsChild));
	char	   *buffer = NULL;
	Size		room = 0;

	lock(LW_SHARED);
	for (Size size = contents_size(); size > room; size = contents_size())
	{
		unlock();
		buffer = palloc(size);
		room = size;
		lock(LW_SHARED);
	}
	*count = 0;
	for (int i = 0; i < max_worker_processes; i++)
		if (children[i].child.state != ES_CHILD_FREE && children[i].child.dbid == MyDatabaseId)
		{
			copy_child(i, &copies[(*count)++], buffer);
			buffer += content_size(&children[i]);
		}
	unlock();
	return copies;
}

/*
 * Ask a child of a supervisor of this database to end, or with NULL all; returns
 * how many there were.
 */
int
es_children_stop(const char *supervisor, const pg_uuid_t *id)
{
	int			count;

	lock(LW_EXCLUSIVE);
	count = stop_all(MyDatabaseId, supervisor, id);
	unlock();
	if (count > 0)
		es_board_wake(MyDatabaseId);
	return count;
}

/* How many of them are still there, but for this process itself?  With force their processes are ended. */
int
es_children_left(const char *supervisor, const pg_uuid_t *id, bool force)
{
	int			count = 0;

	lock(LW_SHARED);
	for (int i = 0; i < max_worker_processes; i++)
	{
		SharedChild *c = &children[i];

		if (!is_of(c, MyDatabaseId, supervisor, id) || c->child.pid == MyProcPid)
			continue;
		count++;
		if (force && c->child.pid != 0)
			(void) kill(c->child.pid, SIGTERM);
	}
	unlock();
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
		c->makes_way = true;
		if (signal != 0)
			(void) kill(c->child.pid, signal);
		count++;
	}
	unlock();
	return count;
}

/* A supervisor of this database has never restarted a child. */
void
es_supervisor_forget(const char *supervisor)
{
	lock(LW_EXCLUSIVE);
	es_intensity_forget(MyDatabaseId, supervisor);
	unlock();
}

/* --- its process --- */

/* The process of a place has come; false if it is not wanted any more. */
bool
es_child_begin(int place, uint64 generation, EsChild *child)
{
	EsChild		wanted = {.place = place, .generation = generation};
	char	   *buffer = content_buffer();
	SharedChild *c = hold(&wanted);

	if (c != NULL)
	{
		copy_child(place, child, buffer);
		c->child.pid = MyProcPid;
		c->child.started_at = GetCurrentTimestamp();
		c->child.restarted = false;
		c->proc = ES_MY_PROC_NUMBER;
		c->makes_way = false;
	}
	unlock();
	return c != NULL;
}

void
es_child_calls(const EsChild *child)
{
	SharedChild *c = hold(child);

	if (c != NULL)
		c->child.next_at = 0;
	unlock();
}

/* STARTING -> RUNNING: its first call has returned. */
void
es_child_ready(const EsChild *child)
{
	SharedChild *c = hold(child);

	if (c != NULL)
	{
		set_state(c, ES_CHILD_RUNNING);
		wake(c->starter);
		c->starter = NONE;
	}
	unlock();
}

void
es_child_sleeps(const EsChild *child, TimestampTz until)
{
	SharedChild *c = hold(child);

	if (c != NULL)
	{
		c->child.next_at = until;
		c->child.calls++;
	}
	unlock();
}

void
es_child_note_error(const EsChild *child, int sqlstate, const char *message)
{
	SharedChild *c = hold(child);

	if (c != NULL)
	{
		c->child.sqlstate = sqlstate;
		strlcpy(c->child.message, message, pg_mbcliplen(message, strlen(message), ES_CHILD_MESSAGE - 1) + 1);
	}
	unlock();
}

bool
es_child_is_stopping(const EsChild *child)
{
	return is_stopping(&children[child->place]);
}

/* STARTING, RUNNING -> FREE, FAILED or ENDED: its process ends. */
void
es_child_ended(const EsChild *child, EsChildEnd end)
{
	SharedChild *c = hold(child);

	if (c != NULL)
	{
		c->child.pid = 0;
		c->proc = NONE;
		if (end == ES_END_STOPPED || is_stopping(c))
			free_place(c);
		else if (c->starter != NONE)
		{
			if (end != ES_END_ERROR)
			{
				c->child.sqlstate = ERRCODE_ADMIN_SHUTDOWN;
				strlcpy(c->child.message, "its process has ended", ES_CHILD_MESSAGE);
			}
			set_state(c, ES_CHILD_FAILED);
			wake(c->starter);
		}
		else
		{
			c->child.how = end == ES_END_DIED && c->makes_way ? ES_END_MADE_WAY : end;
			set_state(c, ES_CHILD_ENDED);
		}
	}
	unlock();
	es_board_wake(child->dbid);
}

/* --- the scheduler of the database, and the launcher --- */

/*
 * Has a database children, or supervisors that have failed?  A look without the
 * lock: what it misses comes with a latch, or at the next look.
 */
bool
es_children_in(Oid dbid)
{
	for (int i = 0; i < max_worker_processes; i++)
	{
		volatile EsChild *child = &children[i].child;

		if (child->state != ES_CHILD_FREE && child->dbid == dbid)
			return true;
	}
	return es_intensity_any_failed(dbid);
}

/* End a child by force that has not ended by itself in time, and give up a process that did not come. */
static void
tidy(SharedChild *c, TimestampTz now)
{
	if (is_stopping(c) && !has_process(c))
	{
		free_place(c);
		return;
	}
	if (is_stopping(c) && c->stop_at == 0)
		c->stop_at = c->child.shutdown < 0 ? DT_NOEND : TimestampTzPlusMilliseconds(now, c->child.shutdown);
	if (c->child.pid != 0)
	{
		if (c->stop_at != 0 && c->stop_at <= now)
			(void) kill(c->child.pid, SIGTERM);
	}
	else if (c->child.state == ES_CHILD_STARTING && TimestampDifferenceExceeds(c->since, now, COME_TIMEOUT))
	{
		if (is_stopping(c))
			free_place(c);
		else if (c->starter == NONE)
		{
			/* should it come after all, it is one too many */
			c->child.generation++;
			set_state(c, ES_CHILD_QUEUED);
		}
	}
}

void
es_children_tidy(void)
{
	TimestampTz now = GetCurrentTimestamp();

	lock(LW_EXCLUSIVE);
	for (int i = 0; i < max_worker_processes; i++)
		if (children[i].child.state != ES_CHILD_FREE && children[i].child.dbid == MyDatabaseId)
			tidy(&children[i], now);
	unlock();
}

/* A child of this database in a state, which becomes STARTING, in a new generation; false if there is none. */
static bool
take(EsChildState state, EsChild *child)
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
		copy_child(i, child, buffer);
	}
	unlock();
	return found;
}

/* ENDED -> STARTING; the caller decides whether it goes on, and has its process registered or frees it. */
bool
es_child_take_ended(EsChild *child)
{
	return take(ES_CHILD_ENDED, child);
}

/* QUEUED -> STARTING; the caller has its process registered. */
bool
es_child_take_queued(EsChild *child)
{
	return take(ES_CHILD_QUEUED, child);
}

/* STARTING -> QUEUED: there is no worker for it now. */
void
es_child_queue(const EsChild *child)
{
	SharedChild *c = hold(child);

	if (c != NULL)
		set_state(c, ES_CHILD_QUEUED);
	unlock();
}

/* Count a restart of a child; false if that is one too many: its siblings are asked to end. */
bool
es_child_count_restart(const EsChild *child)
{
	bool		may = true;
	SharedChild *c = hold(child);

	if (c != NULL)
	{
		may = es_intensity_count(&c->child, GetCurrentTimestamp());
		c->child.restarts++;
		c->child.restarted = true;
		if (!may)
			(void) stop_all(c->child.dbid, NameStr(c->child.supervisor), NULL);
	}
	unlock();
	return may;
}

/* A database is gone, or has the extension no more: its children have nothing that they belong to. */
void
es_children_forget(Oid dbid)
{
	lock(LW_EXCLUSIVE);
	for (int i = 0; i < max_worker_processes; i++)
		if (children[i].child.state != ES_CHILD_FREE && children[i].child.dbid == dbid)
			stop(&children[i]);
	es_intensity_forget(dbid, NULL);
	unlock();
}

/* --- the ends of transactions: children that were started in one that is undone are to stop --- */

/* Without the lock: what is written means nothing to another child that has the place by now. */
static void
undo(const Started *s)
{
	SharedChild *c = &children[s->place];
	int			proc = c->proc;
	uint32		before = pg_atomic_read_u32(&c->stop);

	while ((int32) (s->birth - before) > 0 && !pg_atomic_compare_exchange_u32(&c->stop, &before, s->birth))
		;
	wake(proc);
	es_board_wake(MyDatabaseId);
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
