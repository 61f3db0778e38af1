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
 *	- A transaction leaves the list in the COMMIT or ABORT callback (or later,
 *	  log/hot), when it has left the proc array: whoever takes a snapshot
 *	  afterwards sees its rows, or they are dead.
 *	- So the first entry of the list, or else the next position, is the
 *	  horizon; a reader takes it BEFORE its snapshot.
 *
 * Positions come in blocks from the store's sequence.  A block's WAL record is
 * flushed before a position of it is used, so no position is handed out twice
 * even if a crash loses the transaction that used it.
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
#include "storage/spin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "base/errors.h"
#include "base/xact.h"
#include "log/horizon.h"
#include "log/hot.h"
#include "log/mark.h"
#include "log/scan.h"
#include "log/slot.h"
#include "log/wake.h"
#include "store/store.h"

/* Last word of the lock tag that serialises the refill of a store. */
#define REFILL_LOCK		0xE500

/* A store that the current transaction has appended to. */
typedef struct Held
{
	EsStoreSlot *slot;
	int			entry;
	bool		linked;			/* on the slot's list */
} Held;

static Held *held = NULL;
static int	nheld = 0;
static int	held_size = 0;

static void
refill_lock(EsStore *store, LOCKTAG *tag)
{
	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, store->log, 0, REFILL_LOCK);
	tag->locktag_type = LOCKTAG_USERLOCK;
	(void) LockAcquire(tag, ExclusiveLock, false, false);
}

/*
 * What nextval would return, and the increment, as the sequence stands: all
 * positions handed out so far are lower, unless the store was a logical copy.
 */
int64
es_position_sequence(EsStore *store, int64 *increment)
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
 *
 * If the rest of a block was kept at shutdown and nothing speaks against it,
 * counting goes on there.
 */
static void
open_slot(EsStore *store)
{
	int64		increment;
	int64		end = es_position_sequence(store, &increment);
	int64		last = es_scan_last_position(store);
	bool		same_timeline = es_slot_kept_here();
	EsStoreSlot *slot = store->slot;

	SpinLockAcquire(&slot->mutex);
	if (es_slot_is(slot, store) && slot->next == 0)
	{
		if (same_timeline && slot->kept_end == end && slot->kept_next > last)
			slot->next = slot->kept_next;
		else
			slot->next = end = Max(end, last + 1);
		slot->end = end;
	}
	SpinLockRelease(&slot->mutex);
}

/*
 * Flush what WAL says of the sequence, whoever wrote it, so that no crash can
 * set it back.
 */
static void
flush_sequence(EsStore *store)
{
	Relation	rel = relation_open(store->sequence, AccessShareLock);
	Buffer		buffer = ReadBuffer(rel, 0);
	XLogRecPtr	logged;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	logged = PageGetLSN(BufferGetPage(buffer));
	UnlockReleaseBuffer(buffer);
	relation_close(rel, AccessShareLock);
	XLogFlush(logged);
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
 * Find the store's slot, for the first time since the store was loaded.  Rows
 * may have come into the table past us since the slot was opened, through a
 * subscription or a restore, so the next position must lie above the last row.
 */
static void
attach_slot(EsStore *store)
{
	EsStoreSlot *slot;
	int64		last;
	LOCKTAG		tag;

	es_slot_find(store);
	slot = store->slot;

	refill_lock(store, &tag);
	last = es_scan_last_position(store);
	SpinLockAcquire(&slot->mutex);
	if (es_slot_is(slot, store) && slot->next != 0 && slot->next <= last)
		slot->next = slot->end = Max(slot->end, last + 1);
	SpinLockRelease(&slot->mutex);
	LockRelease(&tag, ExclusiveLock, false);
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
		ours = es_slot_is(slot, store);
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

		if (es_position_sequence(store, &increment) < end)
			set_sequence(store, end);
		block = nextval_internal(store->sequence, false);
		flush_sequence(store);

		SpinLockAcquire(&slot->mutex);
		if (es_slot_is(slot, store))
		{
			if (block > slot->end)
				slot->next = block;
			/* a lower one can only come from somebody's setval: try again */
			if (block >= slot->end)
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
	if (nheld == held_size)
	{
		int			size = Max(held_size * 2, 8);

		if (held == NULL)
			held = MemoryContextAlloc(TopMemoryContext, size * sizeof(Held));
		else
			held = repalloc(held, size * sizeof(Held));
		held_size = size;
	}
	held[nheld] = (Held) {.slot = slot, .entry = es_in_flight_take(nheld == 0), .linked = false};
	return &held[nheld++];
}

/* Put the transaction at the end of the slot's list.  The caller holds the spinlock. */
static void
link_entry(EsStoreSlot *slot, int entry, int64 position, TimestampTz now)
{
	es_in_flight[entry].position = position;
	es_in_flight[entry].since = now;
	es_in_flight[entry].previous = slot->last;
	es_in_flight[entry].following = ES_NONE;
	es_in_flight[entry].pid = MyProcPid;
	if (slot->last == ES_NONE)
		slot->first = entry;
	else
		es_in_flight[slot->last].following = entry;
	slot->last = entry;
}

/*
 * Hand out `count` positions in a row for the current transaction; returns the
 * first.  From here on until the transaction ends, readers in order wait for
 * it.  The caller holds the lock on the stream, so that the positions of a
 * stream rise with its versions.
 */
int64
es_position_reserve(EsStore *store, int count, TimestampTz now)
{
	for (;;)
	{
		EsStoreSlot *slot;
		Held	   *mine;
		int64		position = 0;
		bool		ours;

		if (store->slot == NULL)
			attach_slot(store);
		slot = store->slot;
		mine = find_held(slot);
		if (mine == NULL)
			mine = add_held(slot);

		SpinLockAcquire(&slot->mutex);
		ours = es_slot_is(slot, store);
		if (ours && slot->next != 0 && slot->end - slot->next >= count)
		{
			position = slot->next;
			slot->next += count;
			if (!mine->linked)
			{
				link_entry(slot, mine->entry, position, now);
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

/* Has the current transaction appended to any store? */
bool
es_positions_held(void)
{
	return nheld > 0;
}

/* Leave the in-flight lists.  Runs in the COMMIT callback: must not fail. */
static void
release_positions(bool committed)
{
	for (int i = 0; i < nheld; i++)
	{
		EsStoreSlot *slot = held[i].slot;
		EsInFlight *entry = &es_in_flight[held[i].entry];
		bool		moved = false;

		if (held[i].linked)
		{
			SpinLockAcquire(&slot->mutex);
			moved = entry->previous == ES_NONE;
			if (entry->previous == ES_NONE)
				slot->first = entry->following;
			else
				es_in_flight[entry->previous].following = entry->following;
			if (entry->following == ES_NONE)
				slot->last = entry->previous;
			else
				es_in_flight[entry->following].previous = entry->previous;
			if (committed && XactLastCommitEnd > slot->released)
				slot->released = XactLastCommitEnd;
			SpinLockRelease(&slot->mutex);
		}
		es_in_flight_give(held[i].entry);
		if (moved)
			es_wake_slot(es_slot_number(slot), MyDatabaseId);
	}
	nheld = 0;
}

/* Leave them after a commit, now that it is safe. */
void
es_positions_release(void)
{
	release_positions(true);
}

/* A transaction that is visible and not yet safe stays on the lists. */
static void
transaction_ended(bool committed)
{
	if (!committed || !es_hot_commit())
		release_positions(committed);
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
			attach_slot(store);
		slot = store->slot;

		SpinLockAcquire(&slot->mutex);
		ours = es_slot_is(slot, store);
		if (ours)
		{
			horizon = slot->first != ES_NONE ? es_in_flight[slot->first].position : slot->next;
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

	do
	{
		(void) es_horizon(store, NULL);
		SpinLockAcquire(&store->slot->mutex);
		end = es_slot_is(store->slot, store) ? store->slot->next : 0;
		SpinLockRelease(&store->slot->mutex);
	} while (end == 0);
	return end;
}

/*
 * Refuse to read after a position that was never handed out: the reader's
 * checkpoint is of another store, or of a server that has since been set back.
 */
void
es_position_check(EsStore *store, int64 after)
{
	int64		end = es_position_end(store);

	if (after >= end)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE,
							ES_MEMBERS(ES_TEXT("store", NameStr(store->schema)),
									   ES_INT("after_position", after), ES_INT("last_position", end - 1)),
							"position %lld lies ahead of event store \"%s\", whose last position is %lld",
							(long long) after, NameStr(store->schema), (long long) (end - 1)),
				 errhint("The checkpoint is of another store, or the server was restored to an earlier state; read from a position that exists.")));
}

/*
 * The horizon of a slot that es_slot_next_in_use has found; 0 if it is not yet
 * known or the slot now belongs to another store.
 */
int64
es_slot_horizon(int number, Oid log)
{
	EsStoreSlot *slot = es_slot(number);
	int64		horizon = 0;

	SpinLockAcquire(&slot->mutex);
	if (slot->dbid == MyDatabaseId && slot->log == log)
		horizon = slot->first != ES_NONE ? es_in_flight[slot->first].position : slot->next;
	SpinLockRelease(&slot->mutex);
	return horizon;
}

/* The number of the store's slot, by which others wait for its horizon. */
int
es_store_slot(EsStore *store)
{
	(void) es_horizon(store, NULL);
	return es_slot_number(store->slot);
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
	EsInFlight *copies = palloc(MaxBackends * sizeof(EsInFlight));
	Oid			log;

	InitMaterializedSRF(fcinfo, 0);
	for (int number = es_slot_next_in_use(ES_NONE, MyDatabaseId, &log); number != ES_NONE;
		 number = es_slot_next_in_use(number, MyDatabaseId, &log))
	{
		EsStoreSlot *slot = es_slot(number);
		int			count = 0;

		/* a backend is at most once on a list */
		SpinLockAcquire(&slot->mutex);
		for (int i = slot->first; i != ES_NONE && count < MaxBackends; i = es_in_flight[i].following)
			copies[count++] = es_in_flight[i];
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
	static const EsXactHook hook = {.pre_prepare = refuse_prepare, .end = transaction_ended};

	es_xact_register(&hook);
}
