/*
 * board.c
 *		What the schedulers and everybody else tell each other of tasks.
 *
 * There are two arrays, and a hash table from a task to its entry:
 *
 *	databases	one place a scheduler, max_worker_processes of them
 *	entries		one a task, event_store.max_tasks of them, over all databases
 *
 * ES_LWLOCK_TASKS is over all of it, but for the atomics, which a commit
 * callback may touch: that tasks have been registered or poked.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "port/atomics.h"
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
#include "runtime/board.h"

#define MAX_POKES		16		/* of one transaction; more poke every task of the database */

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

static int *first_free = NULL;	/* entry */
static SharedDatabase *databases = NULL;
static Entry *entries = NULL;
static HTAB *names = NULL;

static SharedDatabase *mine = NULL;		/* of the scheduler */

/* of the transaction in progress */
static bool changed = false;
static int	npokes = 0;
static int	pokes[MAX_POKES];
static int64 poked_numbers[MAX_POKES];

static Size
databases_size(void)
{
	return MAXALIGN(mul_size(max_worker_processes, sizeof(SharedDatabase)));
}

static Size
area_size(void)
{
	return add_size(add_size(MAXALIGN(sizeof(int)), databases_size()), mul_size(es_max_tasks, sizeof(Entry)));
}

static Size
board_size(void)
{
	return add_size(area_size(), hash_estimate_size(es_max_tasks, sizeof(EntryNameEntry)));
}

static void
board_attach(void)
{
	HASHCTL		ctl = {.keysize = sizeof(EntryName), .entrysize = sizeof(EntryNameEntry)};
	bool		found;
	char	   *area = ShmemInitStruct("event_store tasks", area_size(), &found);

	first_free = (int *) area;
	databases = (SharedDatabase *) (area + MAXALIGN(sizeof(int)));
	entries = (Entry *) ((char *) databases + databases_size());
	names = ShmemInitHash("event_store tasks by number", es_max_tasks, es_max_tasks, &ctl, HASH_ELEM | HASH_BLOBS);
	if (found)
		return;

	memset(area, 0, area_size());
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

/* The place of a database's scheduler, NULL if none runs.  May be called anywhere. */
static SharedDatabase *
find_database(Oid dbid)
{
	for (int i = 0; i < max_worker_processes; i++)
		if (((volatile SharedDatabase *) &databases[i])->dbid == dbid)
			return &databases[i];
	return NULL;
}

static void
set_latch_of(int proc)
{
	SetLatch(&GetPGProcByNumber(proc)->procLatch);
}

bool
es_board_has_scheduler(Oid dbid)
{
	return find_database(dbid) != NULL;
}

/* Let the scheduler of a database look; if it has none, ask for one.  May be called anywhere. */
void
es_board_wake(Oid dbid)
{
	SharedDatabase *database = find_database(dbid);

	if (database != NULL)
		set_latch_of(database->proc);
	else
		es_wake_ask_for_watcher(dbid);
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
			entries[i].following = *first_free;
			*first_free = i;
		}
}

/*
 * This process is the scheduler of a database; false if there is one already
 * or too many databases have one.
 */
bool
es_board_open(Oid dbid)
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
es_board_close(void)
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
es_board_take_changed(void)
{
	return pg_atomic_read_u32(&mine->changed) != 0 && pg_atomic_exchange_u32(&mine->changed, 0) != 0;
}

/* Have tasks been poked?  Then ask for each with es_board_entry_poked. */
bool
es_board_take_pokes(void)
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
es_board_entry_take(int64 number)
{
	EntryName	name = {.number = number, .dbid = MyDatabaseId};
	EntryNameEntry *found;
	int			entry;

	lock(LW_EXCLUSIVE);
	entry = *first_free;
	if (entry != ES_NONE)
	{
		found = hash_search(names, &name, HASH_ENTER_NULL, NULL);
		if (found != NULL)
		{
			*first_free = entries[entry].following;
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
es_board_entry_give(int entry, int64 number)
{
	EntryName	name = {.number = number, .dbid = MyDatabaseId};

	lock(LW_EXCLUSIVE);
	hash_search(names, &name, HASH_REMOVE, NULL);
	entries[entry].dbid = InvalidOid;
	entries[entry].following = *first_free;
	*first_free = entry;
	unlock();
}

void
es_board_entry_set(int entry, const EsTaskStatus *status)
{
	lock(LW_EXCLUSIVE);
	entries[entry].status = *status;
	unlock();
}

/* Has the task been poked since the last call? */
bool
es_board_entry_poked(int entry)
{
	return pg_atomic_read_u32(&entries[entry].poked) != 0 && pg_atomic_exchange_u32(&entries[entry].poked, 0) != 0;
}

/*
 * Tell the workers how many tasks wait for one, and those of other databases
 * whether ours has none for them.
 */
void
es_board_set_ready(int count, bool starving)
{
	pg_atomic_write_u32(&mine->ready, count);
	pg_atomic_write_u32(&mine->starving, starving ? 1 : 0);
}

/* --- workers --- */

/* Do tasks of this database wait for a worker? */
bool
es_board_others_wait(void)
{
	SharedDatabase *database = find_database(MyDatabaseId);

	return database != NULL && pg_atomic_read_u32(&database->ready) != 0;
}

/* Does another database wait for a worker, there being too few? */
bool
es_board_database_starves(void)
{
	for (int i = 0; i < max_worker_processes; i++)
		if (OidIsValid(databases[i].dbid) && databases[i].dbid != MyDatabaseId &&
			pg_atomic_read_u32(&databases[i].starving) != 0)
			return true;
	return false;
}

/* A place for a worker has become free: let the schedulers look that have none. */
void
es_board_wake_starving(void)
{
	for (int i = 0; i < max_worker_processes; i++)
		if (OidIsValid(databases[i].dbid) && pg_atomic_read_u32(&databases[i].starving) != 0)
			set_latch_of(databases[i].proc);
}

/* --- sessions --- */

/* From its commit on, the scheduler looks at the registrations anew. */
void
es_board_changed_at_commit(void)
{
	changed = true;
}

/* From its commit on, a task is due; false if it is not known (yet). */
bool
es_board_poke_at_commit(int64 number)
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
es_board_status(int64 number, EsTaskStatus *status)
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
EsBoardInit(void)
{
	static const EsShmemPart part = {board_size, board_attach};
	static const EsXactHook hook = {.end = transaction_ended};

	es_shmem_register(&part);
	es_xact_register(&hook);
}
