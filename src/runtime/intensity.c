/*
 * intensity.c
 *		How often supervisors have restarted their children.
 *
 * A supervisor has an entry here from its first restart until its last child
 * is gone, or if it has failed until the scheduler has written that into its
 * row.  Until then the entry refuses new children.  ES_LWLOCK_CHILDREN is over
 * all of it.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/lwlock.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/shmem.h"
#include "runtime/intensity.h"

#define RING			(ES_MAX_RESTARTS + 1)
#define WRITE_INTERVAL	1000	/* ms between two tries to write that one has failed */

typedef struct Entry
{
	Oid			dbid;			/* InvalidOid: free */
	bool		has_failed;
	TimestampTz write_at;		/* has failed: not before */
	EsFailedSupervisor supervisor;
	int64		count;			/* of all restarts */
	TimestampTz times[RING];	/* of the latest */
} Entry;

static Entry *entries = NULL;

/* One for each supervisor that can have a child, and as many that have failed. */
static int
entry_count(void)
{
	return 2 * max_worker_processes;
}

Size
es_intensity_size(void)
{
	return mul_size(entry_count(), sizeof(Entry));
}

/* The area is zeroed. */
void
es_intensity_attach(void *area)
{
	entries = area;
}

static Entry *
find(Oid dbid, const char *supervisor)
{
	for (int i = 0; i < entry_count(); i++)
		if (entries[i].dbid == dbid && strcmp(NameStr(entries[i].supervisor.name), supervisor) == 0)
			return &entries[i];
	return NULL;
}

static Entry *
find_or_make(Oid dbid, const char *supervisor)
{
	Entry	   *entry = find(dbid, supervisor);

	for (int i = 0; i < entry_count() && entry == NULL; i++)
		if (!OidIsValid(entries[i].dbid))
		{
			entry = &entries[i];
			memset(entry, 0, sizeof(Entry));
			entry->dbid = dbid;
			namestrcpy(&entry->supervisor.name, supervisor);
		}
	return entry;
}

/*
 * Count a restart of a child; false if that is one too many, and its supervisor
 * has failed.
 */
bool
es_intensity_count(const EsChild *child, TimestampTz now)
{
	Entry	   *entry = find_or_make(child->dbid, NameStr(child->supervisor));
	TimestampTz first;

	/* no entry: more supervisors have failed than schedulers could write down, and the child rather ends */
	if (entry == NULL || entry->has_failed)
		return false;
	entry->times[entry->count++ % RING] = now;
	if (entry->count <= child->max_restarts)
		return true;
	first = entry->times[(entry->count - 1 - child->max_restarts) % RING];
	if (first <= TimestampTzPlusMilliseconds(now, -(int64) child->max_seconds * 1000))
		return true;

	entry->has_failed = true;
	entry->write_at = now;
	entry->supervisor.max_restarts = child->max_restarts;
	entry->supervisor.max_seconds = child->max_seconds;
	entry->supervisor.sqlstate = child->sqlstate;
	strlcpy(entry->supervisor.message, child->message, ES_CHILD_MESSAGE);
	return false;
}

bool
es_intensity_has_failed(Oid dbid, const char *supervisor)
{
	Entry	   *entry = find(dbid, supervisor);

	return entry != NULL && entry->has_failed;
}

/* Has any supervisor of a database failed?  May be called without the lock. */
bool
es_intensity_any_failed(Oid dbid)
{
	for (int i = 0; i < entry_count(); i++)
	{
		volatile Entry *entry = &entries[i];

		if (entry->dbid == dbid && entry->has_failed)
			return true;
	}
	return false;
}

void
es_intensity_last_child_gone(Oid dbid, const char *supervisor)
{
	Entry	   *entry = find(dbid, supervisor);

	if (entry != NULL && !entry->has_failed)
		entry->dbid = InvalidOid;
}

/* Forget a supervisor's restarts, or with NULL those of all of a database, and that it has failed. */
void
es_intensity_forget(Oid dbid, const char *supervisor)
{
	for (int i = 0; i < entry_count(); i++)
		if (entries[i].dbid == dbid && (supervisor == NULL || strcmp(NameStr(entries[i].supervisor.name), supervisor) == 0))
			entries[i].dbid = InvalidOid;
}

/*
 * A supervisor of this database that has failed, which is to be written; it
 * comes again after a while unless it is forgotten.  False if there is none.
 */
bool
es_intensity_take_failed(EsFailedSupervisor *failed)
{
	TimestampTz now = GetCurrentTimestamp();
	bool		found = false;

	LWLockAcquire(es_lwlock(ES_LWLOCK_CHILDREN), LW_EXCLUSIVE);
	for (int i = 0; i < entry_count() && !found; i++)
	{
		Entry	   *entry = &entries[i];

		if (entry->dbid != MyDatabaseId || !entry->has_failed || entry->write_at > now)
			continue;
		found = true;
		entry->write_at = TimestampTzPlusMilliseconds(now, WRITE_INTERVAL);
		*failed = entry->supervisor;
	}
	LWLockRelease(es_lwlock(ES_LWLOCK_CHILDREN));
	return found;
}
