/*
 * horizon.c
 *		Positions: handing them out, and knowing which are final.
 *
 * A position is handed out when an event is appended, so a lower one may be
 * committed after a higher one.  Readers in order therefore stop at the
 * horizon: the lowest position that a transaction still in progress may yet
 * commit.  doc/ordering.md argues why this is exact; in short:
 *
 *	- Each store in use has a slot in shared memory with the next position and
 *	  a list of the transactions in flight, in the order of the first position
 *	  each of them got.  A position is taken and the transaction put on the
 *	  list in one critical section of the slot's spinlock.
 *	- A transaction leaves the list in the COMMIT or ABORT callback, when it
 *	  has left the proc array: whoever takes a snapshot afterwards sees its
 *	  rows, or they are dead.
 *	- So the first entry of the list, or else the next position, is the
 *	  horizon; a reader takes it BEFORE its snapshot.
 *
 * Positions come in blocks from the store's sequence.  A block's WAL record is
 * flushed before a position of it is used, so no position is handed out twice
 * even if a crash loses the transaction that used it.
 *
 * A slot belongs to the store whose (database, event_log) it names; this
 * changes under ES_LWLOCK_STORES, exclusively, and under the spinlock, and only
 * while nothing is in flight.  Backends remember the slot of a store and check
 * the name under the spinlock whenever they use it.
 *
 * An entry of the in-flight list is one of two kinds: each backend has one of
 * its own, for the first store a transaction appends to, and there is a common
 * pool for transactions over several stores.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_sequence.h"
#include "commands/sequence.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "storage/procarray.h"
#include "storage/shmem.h"
#include "storage/spin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "base/errors.h"
#include "base/settings.h"
#include "base/shmem.h"
#include "base/xact.h"
#include "log/horizon.h"
#include "log/mark.h"
#include "log/scan.h"
#include "log/wake.h"
#include "store/store.h"

#define NONE	(-1)

/* Last word of the lock tag that serialises the refill of a store. */
#define REFILL_LOCK		0xE500

typedef struct EsStoreSlot
{
	slock_t		mutex;			/* over everything below */
	Oid			dbid;			/* InvalidOid: slot is free */
	Oid			log;
	int			first;			/* in-flight list, indexes into entries */
	int			last;
	int64		next;			/* next position; 0: not yet known */
	int64		end;			/* end of the reserved block, exclusive */
	XLogRecPtr	released;		/* end of the latest commit record that left the list */
} EsStoreSlot;

typedef struct InFlight
{
	int64		position;		/* the first that the transaction got in this store */
	int			previous;
	int			following;		/* also links the free entries of the pool */
	int			slot;
	int			pid;
} InFlight;

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

typedef struct HorizonShared
{
	slock_t		pool_mutex;
	int			pool;			/* first free entry of the common pool */
	int			hand;			/* where the search for a slot to reuse goes on */
	int			used;			/* slots from here on were never claimed */
	EsStoreSlot slots[FLEXIBLE_ARRAY_MEMBER];
} HorizonShared;

/* A store that the current transaction has appended to. */
typedef struct Held
{
	EsStoreSlot *slot;
	int			entry;
	bool		linked;			/* on the slot's list */
} Held;

static HorizonShared *shared = NULL;
static InFlight *entries = NULL;	/* MaxBackends own ones, then the pool */
static HTAB *slot_names = NULL;

static Held *held = NULL;
static int	nheld = 0;
static int	held_size = 0;

static int
slot_number(const EsStoreSlot *slot)
{
	return (int) (slot - shared->slots);
}

static int
entry_count(void)
{
	return MaxBackends + es_max_stores;
}

static Size
slots_size(void)
{
	return MAXALIGN(add_size(offsetof(HorizonShared, slots),
							 mul_size(es_max_stores, sizeof(EsStoreSlot))));
}

static Size
area_size(void)
{
	return add_size(slots_size(), mul_size(entry_count(), sizeof(InFlight)));
}

static Size
horizon_size(void)
{
	return add_size(area_size(), hash_estimate_size(es_max_stores, sizeof(SlotNameEntry)));
}

static void
horizon_attach(void)
{
	HASHCTL		ctl = {.keysize = sizeof(SlotName), .entrysize = sizeof(SlotNameEntry)};
	bool		found;
	void	   *area = ShmemInitStruct("event_store horizon", area_size(), &found);

	shared = area;
	entries = (InFlight *) ((char *) area + slots_size());
	slot_names = ShmemInitHash("event_store slots by store", es_max_stores, es_max_stores, &ctl,
							   HASH_ELEM | HASH_BLOBS);
	if (found)
		return;

	memset(area, 0, area_size());
	SpinLockInit(&shared->pool_mutex);
	for (int i = 0; i < es_max_stores; i++)
	{
		SpinLockInit(&shared->slots[i].mutex);
		shared->slots[i].first = shared->slots[i].last = NONE;
	}
	for (int i = MaxBackends; i < entry_count(); i++)
		entries[i].following = i + 1 < entry_count() ? i + 1 : NONE;
	shared->pool = MaxBackends;
}

/*
 * Find a free slot, or free one that has nothing in flight.  The caller holds
 * ES_LWLOCK_STORES exclusively.  Returns NONE if every slot is in use.
 *
 * What is left of the block of a slot that is freed is lost, a gap.
 */
static int
claim_slot(const SlotName *name)
{
	for (int i = 0; i < es_max_stores; i++)
	{
		int			number = shared->hand;
		EsStoreSlot *slot = &shared->slots[number];
		SlotName	old;
		bool		claimed = false;

		shared->hand = (number + 1) % es_max_stores;
		SpinLockAcquire(&slot->mutex);
		if (slot->first == NONE)
		{
			old.dbid = slot->dbid;
			old.log = slot->log;
			slot->dbid = name->dbid;
			slot->log = name->log;
			slot->next = slot->end = 0;
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
	return NONE;
}

/* Look the store's slot up by name, or claim one. */
static void
find_slot(EsStore *store)
{
	SlotName	name = {.dbid = MyDatabaseId, .log = store->log};
	SlotNameEntry *entry;
	int			number = NONE;
	bool		watched = true;

	LWLockAcquire(es_lwlock(ES_LWLOCK_STORES), LW_SHARED);
	entry = hash_search(slot_names, &name, HASH_FIND, NULL);
	if (entry != NULL)
		number = entry->slot;
	LWLockRelease(es_lwlock(ES_LWLOCK_STORES));

	if (number == NONE)
	{
		LWLockAcquire(es_lwlock(ES_LWLOCK_STORES), LW_EXCLUSIVE);
		entry = hash_search(slot_names, &name, HASH_FIND, NULL);
		if (entry != NULL)
			number = entry->slot;
		else if ((number = claim_slot(&name)) != NONE)
		{
			/* as many entries as slots, so there is room */
			entry = hash_search(slot_names, &name, HASH_ENTER_NULL, NULL);
			if (entry != NULL)
				entry->slot = number;
			watched = es_wake_new_slot(number, MyDatabaseId);
		}
		LWLockRelease(es_lwlock(ES_LWLOCK_STORES));
	}
	if (!watched && es_unwatched_hook != NULL)
		es_unwatched_hook(MyDatabaseId);
	if (number == NONE)
		ereport(ERROR,
				(es_problem(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
							ES_MEMBERS(ES_INT("max_stores", es_max_stores)),
							"all %d slots for stores are taken by transactions in progress", es_max_stores),
				 errhint("Raise event_store.max_stores and restart the server.")));
	store->slot = &shared->slots[number];
}

/* Is the slot still the store's?  The caller holds the spinlock. */
static bool
slot_is(const EsStoreSlot *slot, const EsStore *store)
{
	return slot->dbid == MyDatabaseId && slot->log == store->log;
}

static void
refill_lock(EsStore *store, LOCKTAG *tag)
{
	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, store->log, 0, REFILL_LOCK);
	tag->locktag_type = LOCKTAG_USERLOCK;
	(void) LockAcquire(tag, ExclusiveLock, false, false);
}

/* What nextval would return, and the increment, as the sequence stands. */
static int64
sequence_next(EsStore *store, int64 *increment)
{
	Relation	rel = relation_open(store->sequence, AccessShareLock);
	HeapTuple	tuple = SearchSysCache1(SEQRELID, ObjectIdGetDatum(store->sequence));
	Buffer		buffer;
	Page		page;
	Form_pg_sequence_data data;
	int64		result;

	if (rel->rd_rel->relkind != RELKIND_SEQUENCE || !HeapTupleIsValid(tuple))
		ereport(ERROR,
				(es_problem(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
							ES_MEMBERS(ES_TEXT("store", NameStr(store->schema))),
							"event store \"%s\" cannot be used: event_position is not a sequence", NameStr(store->schema)),
				 errhint("The tables of a store must stay as event_store.create_store made them; undo the change.")));
	*increment = ((Form_pg_sequence) GETSTRUCT(tuple))->seqincrement;
	ReleaseSysCache(tuple);

	buffer = ReadBuffer(rel, 0);
	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	page = BufferGetPage(buffer);
	data = (Form_pg_sequence_data) ((char *) PageGetItem(page, PageGetItemId(page, FirstOffsetNumber)) +
									((HeapTupleHeader) PageGetItem(page, PageGetItemId(page, FirstOffsetNumber)))->t_hoff);
	result = data->is_called ? data->last_value + *increment : data->last_value;
	UnlockReleaseBuffer(buffer);
	relation_close(rel, AccessShareLock);
	return result;
}

/*
 * Learn the next position of a store that is used for the first time since
 * the server started, under the refill lock.  Nothing is in flight then, so it
 * lies above every position in the table: above the sequence, and, where the
 * sequence was left behind (on a former logical copy), above the last row.
 */
static void
open_slot(EsStore *store)
{
	int64		increment;
	int64		next = sequence_next(store, &increment);
	int64		last = es_scan_last_position(store);
	EsStoreSlot *slot = store->slot;

	next = Max(next, last + 1);
	SpinLockAcquire(&slot->mutex);
	if (slot_is(slot, store) && slot->next == 0)
		slot->next = slot->end = next;
	SpinLockRelease(&slot->mutex);
}

static void
set_sequence(EsStore *store, int64 value)
{
	Oid			save_user;
	int			save_context;
	Relation	rel = relation_open(store->sequence, AccessShareLock);

	/* The caller of append needs no rights on the sequence. */
	GetUserIdAndSecContext(&save_user, &save_context);
	SetUserIdAndSecContext(rel->rd_rel->relowner, save_context | SECURITY_LOCAL_USERID_CHANGE);
	DirectFunctionCall3(setval3_oid, ObjectIdGetDatum(store->sequence), Int64GetDatum(value), BoolGetDatum(false));
	SetUserIdAndSecContext(save_user, save_context);
	relation_close(rel, AccessShareLock);
}

/*
 * Reserve blocks until `count` positions in a row are at hand.  On return they
 * were; another backend may have taken them, so the caller tries again.
 */
static void
refill(EsStore *store, int count)
{
	EsStoreSlot *slot = store->slot;
	LOCKTAG		tag;

	refill_lock(store, &tag);
	for (;;)
	{
		int64		next;
		int64		end;
		int64		block;
		int64		increment;
		bool		ours;

		CHECK_FOR_INTERRUPTS();
		SpinLockAcquire(&slot->mutex);
		ours = slot_is(slot, store);
		next = slot->next;
		end = slot->end;
		SpinLockRelease(&slot->mutex);
		if (!ours || (next != 0 && end - next >= count))
			break;
		if (next == 0)
		{
			open_slot(store);
			continue;
		}

		if (sequence_next(store, &increment) < end)
			set_sequence(store, end);
		block = nextval_internal(store->sequence, false);
		XLogFlush(XactLastRecEnd);

		SpinLockAcquire(&slot->mutex);
		if (slot_is(slot, store))
		{
			if (block != slot->end)
				slot->next = block;
			slot->end = block + Max(increment, 1);
		}
		SpinLockRelease(&slot->mutex);
	}
	LockRelease(&tag, ExclusiveLock, false);
}

static Held *
find_held(EsStoreSlot *slot)
{
	for (int i = nheld - 1; i >= 0; i--)
		if (held[i].slot == slot)
			return &held[i];
	return NULL;
}

/* Remember one more store in this transaction, before its slot's lock is taken. */
static Held *
add_held(EsStoreSlot *slot)
{
	int			entry = ES_MY_PROC_NUMBER;

	if (nheld == held_size)
	{
		int			size = Max(held_size * 2, 8);

		if (held == NULL)
			held = MemoryContextAlloc(TopMemoryContext, size * sizeof(Held));
		else
			held = repalloc(held, size * sizeof(Held));
		held_size = size;
	}
	if (nheld > 0)
	{
		SpinLockAcquire(&shared->pool_mutex);
		entry = shared->pool;
		if (entry != NONE)
			shared->pool = entries[entry].following;
		SpinLockRelease(&shared->pool_mutex);
		if (entry == NONE)
			ereport(ERROR,
					(es_problem(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
								ES_MEMBERS(ES_INT("max_stores", es_max_stores)),
								"too many transactions append to several stores at once"),
					 errhint("Raise event_store.max_stores and restart the server, or append to fewer stores in a transaction.")));
	}
	held[nheld] = (Held) {.slot = slot, .entry = entry, .linked = false};
	return &held[nheld++];
}

/* Put the transaction at the end of the slot's list.  The caller holds the spinlock. */
static void
link_entry(EsStoreSlot *slot, int entry, int64 position)
{
	entries[entry].position = position;
	entries[entry].previous = slot->last;
	entries[entry].following = NONE;
	entries[entry].slot = slot_number(slot);
	entries[entry].pid = MyProcPid;
	if (slot->last == NONE)
		slot->first = entry;
	else
		entries[slot->last].following = entry;
	slot->last = entry;
}

/*
 * Hand out `count` positions in a row for the current transaction; returns the
 * first.  From here on until the transaction ends, readers in order wait for
 * it.  The caller holds the lock on the stream, so that the positions of a
 * stream rise with its versions.
 */
int64
es_position_reserve(EsStore *store, int count)
{
	for (;;)
	{
		EsStoreSlot *slot;
		Held	   *mine;
		int64		position = 0;
		bool		ours;

		if (store->slot == NULL)
			find_slot(store);
		slot = store->slot;
		mine = find_held(slot);
		if (mine == NULL)
			mine = add_held(slot);

		SpinLockAcquire(&slot->mutex);
		ours = slot_is(slot, store);
		if (ours && slot->next != 0 && slot->end - slot->next >= count)
		{
			position = slot->next;
			slot->next += count;
			if (!mine->linked)
			{
				link_entry(slot, mine->entry, position);
				mine->linked = true;
			}
		}
		SpinLockRelease(&slot->mutex);

		if (position != 0)
			return position;
		if (ours)
			refill(store, count);
		else
			store->slot = NULL;
	}
}

/* Has the current transaction appended to the store? */
bool
es_position_held(EsStore *store)
{
	Held	   *mine = store->slot != NULL ? find_held(store->slot) : NULL;

	return mine != NULL && mine->linked;
}

/* Leave the in-flight lists.  Runs in the COMMIT callback: must not fail. */
static void
release_positions(bool committed)
{
	for (int i = 0; i < nheld; i++)
	{
		EsStoreSlot *slot = held[i].slot;
		InFlight   *entry = &entries[held[i].entry];
		bool		moved = false;

		if (held[i].linked)
		{
			SpinLockAcquire(&slot->mutex);
			moved = entry->previous == NONE;
			if (entry->previous == NONE)
				slot->first = entry->following;
			else
				entries[entry->previous].following = entry->following;
			if (entry->following == NONE)
				slot->last = entry->previous;
			else
				entries[entry->following].previous = entry->previous;
			if (committed && XactLastCommitEnd > slot->released)
				slot->released = XactLastCommitEnd;
			SpinLockRelease(&slot->mutex);
		}
		if (held[i].entry >= MaxBackends)
		{
			SpinLockAcquire(&shared->pool_mutex);
			entry->following = shared->pool;
			shared->pool = held[i].entry;
			SpinLockRelease(&shared->pool_mutex);
		}
		if (moved)
			es_wake_slot(slot_number(slot));
	}
	nheld = 0;
}

/*
 * COMMIT PREPARED gives an extension no callback, so nobody would take a
 * prepared transaction off the lists.
 */
static void
refuse_prepare(void)
{
	if (nheld > 0)
		ereport(ERROR,
				(es_problem(ERRCODE_FEATURE_NOT_SUPPORTED, NULL,
							"cannot prepare a transaction that has appended events"),
				 errhint("Commit it with COMMIT.")));
}

/*
 * The lowest position that may yet be committed.  If released is given, it is
 * set to the end of the latest commit below: what leaves the server must be
 * flushed up to there.
 *
 * To read in order take the horizon first and the snapshot afterwards.
 */
int64
es_horizon(EsStore *store, XLogRecPtr *released)
{
	for (;;)
	{
		EsStoreSlot *slot;
		int64		horizon = 0;
		bool		ours;
		LOCKTAG		tag;

		if (store->slot == NULL)
			find_slot(store);
		slot = store->slot;

		SpinLockAcquire(&slot->mutex);
		ours = slot_is(slot, store);
		if (ours)
		{
			horizon = slot->first != NONE ? entries[slot->first].position : slot->next;
			if (released)
				*released = slot->released;
		}
		SpinLockRelease(&slot->mutex);

		if (horizon != 0)
			return horizon;
		if (ours)
		{
			refill_lock(store, &tag);
			open_slot(store);
			LockRelease(&tag, ExclusiveLock, false);
		}
		else
			store->slot = NULL;
	}
}

/* The position that the next append will get: no event has it or a higher one. */
int64
es_position_end(EsStore *store)
{
	int64		end;

	(void) es_horizon(store, NULL);
	SpinLockAcquire(&store->slot->mutex);
	end = store->slot->next;
	SpinLockRelease(&store->slot->mutex);
	return end;
}

/*
 * The horizon of a slot that es_next_slot_in_use has found; 0 if it is not yet
 * known or the slot now belongs to another store.
 */
int64
es_slot_horizon(int number, Oid log)
{
	EsStoreSlot *slot = &shared->slots[number];
	int64		horizon = 0;

	SpinLockAcquire(&slot->mutex);
	if (slot->dbid == MyDatabaseId && slot->log == log)
		horizon = slot->first != NONE ? entries[slot->first].position : slot->next;
	SpinLockRelease(&slot->mutex);
	return horizon;
}

/* The number of the store's slot, by which others wait for its horizon. */
int
es_store_slot(EsStore *store)
{
	(void) es_horizon(store, NULL);
	return slot_number(store->slot);
}

/*
 * The next slot after `after` (NONE to begin) that is a store of the database;
 * sets its event_log.  Returns NONE at the end.
 */
int
es_next_slot_in_use(int after, Oid dbid, Oid *log)
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
	return NONE;
}

PG_FUNCTION_INFO_V1(event_store_horizon);
PG_FUNCTION_INFO_V1(event_store_in_flight);

Datum
event_store_horizon(PG_FUNCTION_ARGS)
{
	EsStore    *store;
	Relation	log = es_store_open_log(&store, AccessShareLock, ACL_SELECT);
	int64		horizon;

	horizon = RecoveryInProgress() || store->copy ? es_mark_read(store, GetActiveSnapshot()) + 1 : es_horizon(store, NULL);
	table_close(log, AccessShareLock);
	PG_RETURN_INT64(horizon);
}

Datum
event_store_in_flight(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	InFlight   *copies = palloc(MaxBackends * sizeof(InFlight));
	Oid			log;

	InitMaterializedSRF(fcinfo, 0);
	for (int number = es_next_slot_in_use(NONE, MyDatabaseId, &log); number != NONE;
		 number = es_next_slot_in_use(number, MyDatabaseId, &log))
	{
		EsStoreSlot *slot = &shared->slots[number];
		int			count = 0;

		/* a backend is at most once on a list */
		SpinLockAcquire(&slot->mutex);
		for (int i = slot->first; i != NONE && count < MaxBackends; i = entries[i].following)
			copies[count++] = entries[i];
		SpinLockRelease(&slot->mutex);

		for (int i = 0; i < count; i++)
		{
			PGPROC	   *proc = BackendPidGetProc(copies[i].pid);
			char	   *schema = get_namespace_name(get_rel_namespace(log));
			char	   *role = proc ? GetUserNameFromId(proc->roleId, true) : NULL;
			Datum		values[4];
			bool		nulls[4] = {schema == NULL, false, false, role == NULL};

			if (schema)
				values[0] = CStringGetTextDatum(schema);
			values[1] = Int64GetDatum(copies[i].position);
			values[2] = Int32GetDatum(copies[i].pid);
			if (role)
				values[3] = CStringGetTextDatum(role);
			tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
		}
	}
	return (Datum) 0;
}

void
EsHorizonInit(void)
{
	static const EsShmemPart part = {horizon_size, horizon_attach};
	static const EsXactHook hook = {.pre_prepare = refuse_prepare, .end = release_positions};

	es_shmem_register(&part);
	es_xact_register(&hook);
}
