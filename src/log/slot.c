/*
 * slot.c
 *		The shared memory of stores in use.
 *
 * Each store in use has a slot, with the positions it hands out and the list
 * of transactions in flight (log/horizon says what they mean).  A slot belongs
 * to the store whose (database, event_log) it names; this changes under
 * ES_LWLOCK_STORES, exclusively, and under the slot's spinlock, and only while
 * nothing is in flight.  Backends remember the slot of a store and check the
 * name under the spinlock whenever they use it.
 *
 * An entry of an in-flight list is one of two kinds: each backend has one of
 * its own, for the first store a transaction appends to, and there is a common
 * pool for transactions over several stores.
 *
 * When the server is shut down, what is left of the blocks of positions is
 * kept in a file, so that counting goes on without a gap.  The file is removed
 * for good before the first position is handed out, so a crash never finds it;
 * and a kept block counts only on the timeline it was kept on and as long as
 * the sequence stands where it stood.
 */
#include "postgres.h"

#include <unistd.h>

#include "access/xlog.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "storage/shmem.h"
#include "utils/hsearch.h"

#include "base/compat.h"
#include "base/errors.h"
#include "base/settings.h"
#include "base/shmem.h"
#include "log/slot.h"
#include "log/wake.h"

#define KEPT_FILE		"pg_stat/event_store.positions"
#define KEPT_MAGIC		0x45531001

typedef struct SlotName
{
	Oid			dbid;
	Oid			log;
} SlotName;

typedef struct SlotNameEntry
{
	SlotName	name;			/* hash key */
	int			slot;
} SlotNameEntry;

typedef struct SlotsShared
{
	slock_t		pool_mutex;
	int			pool;			/* first free entry of the common pool */
	int			hand;			/* where the search for a slot to reuse goes on */
	int			used;			/* slots from here on were never claimed */
	TimeLineID	kept_timeline;	/* of the kept positions */
	XLogRecPtr	released;		/* at least that of every store that lost its slot */
	EsStoreSlot slots[FLEXIBLE_ARRAY_MEMBER];
} SlotsShared;

/* What the file says of a store. */
typedef struct Kept
{
	SlotName	name;
	int64		next;
	int64		end;
} Kept;

typedef struct KeptHeader
{
	uint32		magic;
	TimeLineID	timeline;
	uint64		system;
	int			count;
} KeptHeader;

EsInFlight *es_in_flight = NULL;	/* MaxBackends own ones, then the pool */

static SlotsShared *shared = NULL;
static HTAB *slot_names = NULL;

static int
entry_count(void)
{
	return MaxBackends + es_max_stores;
}

static Size
slots_size(void)
{
	return MAXALIGN(add_size(offsetof(SlotsShared, slots),
							 mul_size(es_max_stores, sizeof(EsStoreSlot))));
}

static Size
area_size(void)
{
	return add_size(slots_size(), mul_size(entry_count(), sizeof(EsInFlight)));
}

static Size
total_size(void)
{
	return add_size(area_size(), hash_estimate_size(es_max_stores, sizeof(SlotNameEntry)));
}

/* --- over a restart --- */

/*
 * Take the kept positions over into slots, and remove the file.  Runs in the
 * postmaster.  A file that cannot be read costs gaps, nothing else; one that
 * cannot be removed must not be there at the next start.
 */
static void
load_kept(void)
{
	KeptHeader	header;
	FILE	   *file = AllocateFile(KEPT_FILE, PG_BINARY_R);

	if (file == NULL)
		return;
	if (fread(&header, sizeof(header), 1, file) == 1 && header.magic == KEPT_MAGIC &&
		header.system == GetSystemIdentifier())
	{
		Kept		kept;

		shared->kept_timeline = header.timeline;
		while (shared->used < Min(header.count, es_max_stores) && fread(&kept, sizeof(kept), 1, file) == 1)
		{
			EsStoreSlot *slot = &shared->slots[shared->used];
			SlotNameEntry *entry = hash_search(slot_names, &kept.name, HASH_ENTER_NULL, NULL);

			if (entry == NULL)
				break;
			entry->slot = shared->used++;
			slot->dbid = kept.name.dbid;
			slot->log = kept.name.log;
			slot->kept_next = kept.next;
			slot->kept_end = kept.end;
		}
	}
	FreeFile(file);
	if (durable_unlink(KEPT_FILE, LOG) != 0)
		ereport(FATAL,
				(es_problem(ERRCODE_IO_ERROR, ES_MEMBERS(ES_TEXT("file", KEPT_FILE)),
							"could not remove file \"%s\"", KEPT_FILE),
				 errhint("Remove it by hand: positions it speaks of must not be handed out twice.")));
}

/* Keep what is left of the blocks.  Runs in the postmaster, as the last process. */
static void
save_kept(int code, Datum argument)
{
	KeptHeader	header = {.magic = KEPT_MAGIC};
	FILE	   *file;
	bool		failed;

	if (code != 0 || shared == NULL || RecoveryInProgress())
		return;
	header.system = GetSystemIdentifier();
	header.timeline = GetWALInsertionTimeLine();
	for (int i = 0; i < shared->used; i++)
		if (shared->slots[i].next != 0)
			header.count++;
	if (header.count == 0)
		return;

	file = AllocateFile(KEPT_FILE ".tmp", PG_BINARY_W);
	failed = file == NULL || fwrite(&header, sizeof(header), 1, file) != 1;
	for (int i = 0; i < shared->used && !failed; i++)
	{
		EsStoreSlot *slot = &shared->slots[i];
		Kept		kept = {{slot->dbid, slot->log}, slot->next, slot->end};

		if (slot->next != 0)
			failed = fwrite(&kept, sizeof(kept), 1, file) != 1;
	}
	if (file != NULL && FreeFile(file) != 0)
		failed = true;
	if (failed || durable_rename(KEPT_FILE ".tmp", KEPT_FILE, LOG) != 0)
	{
		ereport(LOG,
				(errcode_for_file_access(),
				 errmsg("could not write file \"%s\": %m", KEPT_FILE),
				 errdetail("The positions of event stores will have a gap.")));
		unlink(KEPT_FILE ".tmp");
	}
}

static void
attach(void)
{
	HASHCTL		ctl = {.keysize = sizeof(SlotName), .entrysize = sizeof(SlotNameEntry)};
	bool		found;
	void	   *area = ShmemInitStruct("event_store slots", area_size(), &found);

	shared = area;
	es_in_flight = (EsInFlight *) ((char *) area + slots_size());
	slot_names = ShmemInitHash("event_store slots by store", es_max_stores, es_max_stores, &ctl,
							   HASH_ELEM | HASH_BLOBS);
	if (!IsUnderPostmaster)
		on_shmem_exit(save_kept, (Datum) 0);
	if (found)
		return;

	memset(area, 0, area_size());
	SpinLockInit(&shared->pool_mutex);
	for (int i = 0; i < es_max_stores; i++)
	{
		SpinLockInit(&shared->slots[i].mutex);
		shared->slots[i].first = shared->slots[i].last = ES_NONE;
	}
	for (int i = MaxBackends; i < entry_count(); i++)
		es_in_flight[i].following = i + 1 < entry_count() ? i + 1 : ES_NONE;
	shared->pool = MaxBackends;
	load_kept();
}

/* --- slots --- */

/*
 * Find a free slot, or free one that has nothing in flight.  The caller holds
 * ES_LWLOCK_STORES exclusively.  Returns ES_NONE if every slot is in use.
 *
 * What is left of the block of a slot that is freed is lost, a gap.
 */
static int
claim(const SlotName *name)
{
	for (int i = 0; i < es_max_stores; i++)
	{
		int			number = shared->used < es_max_stores ? shared->used : shared->hand;
		EsStoreSlot *slot = &shared->slots[number];
		SlotName	old;
		bool		claimed = false;

		shared->hand = (number + 1) % es_max_stores;
		SpinLockAcquire(&slot->mutex);
		if (slot->first == ES_NONE)
		{
			old.dbid = slot->dbid;
			old.log = slot->log;
			slot->dbid = name->dbid;
			slot->log = name->log;
			slot->next = slot->end = slot->kept_next = slot->kept_end = 0;
			slot->series_generation = 0;
			shared->released = slot->released = Max(shared->released, slot->released);
			claimed = true;
		}
		SpinLockRelease(&slot->mutex);
		if (claimed)
		{
			shared->used = Max(shared->used, number + 1);
			if (OidIsValid(old.dbid))
				hash_search(slot_names, &old, HASH_REMOVE, NULL);
			return number;
		}
	}
	return ES_NONE;
}

/* Set store->slot: look it up by name, or claim one. */
void
es_slot_find(EsStore *store)
{
	SlotName	name = {.dbid = MyDatabaseId, .log = store->log};
	SlotNameEntry *entry;
	int			number = ES_NONE;

	LWLockAcquire(es_lwlock(ES_LWLOCK_STORES), LW_SHARED);
	entry = hash_search(slot_names, &name, HASH_FIND, NULL);
	if (entry != NULL)
		number = entry->slot;
	LWLockRelease(es_lwlock(ES_LWLOCK_STORES));

	if (number == ES_NONE)
	{
		LWLockAcquire(es_lwlock(ES_LWLOCK_STORES), LW_EXCLUSIVE);
		entry = hash_search(slot_names, &name, HASH_FIND, NULL);
		if (entry != NULL)
			number = entry->slot;
		else if ((number = claim(&name)) != ES_NONE)
		{
			/* as many entries as slots, so there is room */
			entry = hash_search(slot_names, &name, HASH_ENTER_NULL, NULL);
			if (entry != NULL)
				entry->slot = number;
		}
		if (number != ES_NONE)
			es_wake_new_slot(number, MyDatabaseId);
		LWLockRelease(es_lwlock(ES_LWLOCK_STORES));
	}
	if (number == ES_NONE)
		ereport(ERROR,
				(es_problem(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
							ES_MEMBERS(ES_INT("max_stores", es_max_stores)),
							"all %d slots for stores are taken by transactions in progress", es_max_stores),
				 errhint("Raise event_store.max_stores and restart the server.")));
	store->slot = &shared->slots[number];
}

/* Do the positions kept at shutdown count, as far as the timeline tells? */
bool
es_slot_kept_here(void)
{
	return !RecoveryInProgress() && shared->kept_timeline == GetWALInsertionTimeLine();
}

int
es_slot_number(const EsStoreSlot *slot)
{
	return (int) (slot - shared->slots);
}

EsStoreSlot *
es_slot(int number)
{
	return &shared->slots[number];
}

/* Slots with this number or a higher one were never in use. */
int
es_slots_used(void)
{
	return shared->used;
}

/*
 * The next slot after `after` (ES_NONE to begin) that is a store of the
 * database; sets its event_log.  Returns ES_NONE at the end.
 */
int
es_slot_next_in_use(int after, Oid dbid, Oid *log)
{
	for (int i = after + 1; i < shared->used; i++)
	{
		EsStoreSlot *slot = &shared->slots[i];
		bool		match;

		/* a stale look only delays a new slot to the next round */
		if (slot->dbid != dbid)
			continue;
		SpinLockAcquire(&slot->mutex);
		match = slot->dbid == dbid;
		*log = slot->log;
		SpinLockRelease(&slot->mutex);
		if (match)
			return i;
	}
	return ES_NONE;
}

/* --- entries of in-flight lists --- */

/* A free entry: the backend's own one, or one of the pool. */
int
es_in_flight_take(bool own)
{
	int			entry;

	if (own)
		return ES_MY_PROC_NUMBER;

	SpinLockAcquire(&shared->pool_mutex);
	entry = shared->pool;
	if (entry != ES_NONE)
		shared->pool = es_in_flight[entry].following;
	SpinLockRelease(&shared->pool_mutex);
	if (entry == ES_NONE)
		ereport(ERROR,
				(es_problem(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
							ES_MEMBERS(ES_INT("max_stores", es_max_stores)),
							"too many transactions append to several stores at once"),
				 errhint("Raise event_store.max_stores and restart the server, or append to fewer stores in a transaction.")));
	return entry;
}

/* Give an entry back that is on no list any more.  Must not fail. */
void
es_in_flight_give(int entry)
{
	if (entry < MaxBackends)
		return;
	SpinLockAcquire(&shared->pool_mutex);
	es_in_flight[entry].following = shared->pool;
	shared->pool = entry;
	SpinLockRelease(&shared->pool_mutex);
}

void
EsSlotInit(void)
{
	static const EsShmemPart part = {total_size, attach};

	es_shmem_register(&part);
}
