/*
 * mark.c
 *		The durable mark: the horizon as a table row.
 *
 * Readers whose snapshot is older than their call (REPEATABLE READ), and those
 * that do not share memory with the writers (standbys, logical copies, dumps),
 * cannot use the horizon.  The row in event_mark serves them: whoever sees it
 * at position p sees every event up to p, since the transactions of all those
 * events had ended before the mark was written.
 *
 * Only the scheduler of the database moves the mark.
 *
 * The row also keeps the epochs of the store.  A promoted standby, a restored
 * dump, a copy of the database have all events up to the mark as they found it,
 * and of those above it perhaps some; so before the mark moves for the first
 * time somewhere else than before, it is written down as where that epoch began.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/errors.h"
#include "log/horizon.h"
#include "log/mark.h"

/* The durable mark as the snapshot sees it, 0 if it sees none. */
int64
es_mark_read(EsStore *store, Snapshot snapshot)
{
	Relation	rel;
	TupleTableSlot *slot;
	TableScanDesc scan;
	int64		position = 0;

	if (store->copying)
		ereport(ERROR,
				(es_problem(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
							ES_MEMBERS(ES_TEXT("store", NameStr(store->schema))),
							"event store \"%s\" is still being copied by a subscription", NameStr(store->schema)),
				 errhint("Wait until pg_subscription_rel says that its tables are ready.")));

	rel = table_open(store->mark, AccessShareLock);
	slot = table_slot_create(rel, NULL);
	scan = table_beginscan(rel, snapshot, 0, NULL);
	if (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		bool		isnull;
		Datum		value = slot_getattr(slot, MARK_POSITION + 1, &isnull);

		if (!isnull)
			position = DatumGetInt64(value);
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	table_close(rel, AccessShareLock);
	return position;
}

#define EPOCH_FIELDS	4		/* numbers of an epoch in the array */
#define MAX_EPOCHS		32		/* kept in the row; what is older is forgotten */

/* The epochs in the array, oldest first, palloc'd; NIL if it is not as we write it. */
static List *
epochs_from_array(ArrayType *array)
{
	List	   *epochs = NIL;
	int64	   *numbers = (int64 *) ARR_DATA_PTR(array);

	if (ARR_NDIM(array) != 1 || ARR_ELEMTYPE(array) != INT8OID || ARR_HASNULL(array))
		return NIL;
	for (int i = 0; i + EPOCH_FIELDS <= ARR_DIMS(array)[0]; i += EPOCH_FIELDS)
	{
		EsEpoch    *epoch = palloc(sizeof(EsEpoch));

		*epoch = (EsEpoch) {numbers[i], numbers[i + 1], numbers[i + 2], numbers[i + 3]};
		epochs = lappend(epochs, epoch);
	}
	return epochs;
}

static ArrayType *
epochs_to_array(List *epochs)
{
	Datum	   *numbers = palloc(list_length(epochs) * EPOCH_FIELDS * sizeof(Datum));
	int			n = 0;
	ListCell   *lc;

	foreach(lc, epochs)
	{
		EsEpoch    *epoch = lfirst(lc);

		numbers[n++] = Int64GetDatum(epoch->system);
		numbers[n++] = Int64GetDatum(epoch->timeline);
		numbers[n++] = Int64GetDatum(epoch->place);
		numbers[n++] = Int64GetDatum(epoch->after);
	}
	return construct_array(numbers, n, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE);
}

/* The epoch that this server writes, not for one in recovery; `after` is not known here. */
void
es_epoch_here(const EsStore *store, EsEpoch *epoch)
{
	epoch->system = (int64) GetSystemIdentifier();
	epoch->timeline = GetWALInsertionTimeLine();
	epoch->place = (int64) ((uint64) MyDatabaseId << 32 | store->mark);
	epoch->after = 0;
}

/* Are they the same stretch of history? */
bool
es_epoch_equal(const EsEpoch *a, const EsEpoch *b)
{
	return a->system == b->system && a->timeline == b->timeline && a->place == b->place;
}

/*
 * The epochs of a store, oldest first, palloc'd.  Where this server writes, the
 * last is its own, also before its scheduler has written that down.
 */
List *
es_mark_epochs(EsStore *store)
{
	Relation	rel = table_open(store->mark, AccessShareLock);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	TableScanDesc scan = table_beginscan(rel, snapshot, 0, NULL);
	List	   *epochs = NIL;
	int64		mark = 0;

	if (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		slot_getallattrs(slot);
		if (!slot->tts_isnull[MARK_EPOCHS])
			epochs = epochs_from_array(DatumGetArrayTypeP(slot->tts_values[MARK_EPOCHS]));
		mark = DatumGetInt64(slot->tts_values[MARK_POSITION]);
	}
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	ExecDropSingleTupleTableSlot(slot);
	table_close(rel, AccessShareLock);

	if (!RecoveryInProgress() && !store->copy)
	{
		EsEpoch    *here = palloc(sizeof(EsEpoch));

		es_epoch_here(store, here);
		here->after = mark;
		if (epochs == NIL || !es_epoch_equal(llast(epochs), here))
			epochs = lappend(epochs, here);
	}
	return epochs;
}

/*
 * Move the mark up to the horizon, which is read first: that is what makes the
 * mark safe.  Returns false, having done nothing, if the table is locked, as
 * while the store is being dropped: the scheduler must not wait for that.
 */
bool
es_mark_advance(EsStore *store)
{
	int64		mark;
	Relation	rel;
	TupleTableSlot *slot;
	Snapshot	snapshot;
	TableScanDesc scan;

	/* the mark of a logical copy comes from its publisher, like the events */
	if (store->copy || store->defect != NULL)
		return true;

	mark = es_horizon(store, NULL) - 1;
	if (!ConditionalLockRelationOid(store->mark, RowExclusiveLock))
		return false;
	rel = try_relation_open(store->mark, NoLock);
	if (rel == NULL)
		return false;
	if (RelationGetDescr(rel)->natts != MARK_NCOLUMNS)
	{
		relation_close(rel, NoLock);
		return true;
	}
	slot = table_slot_create(rel, NULL);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	scan = table_beginscan(rel, snapshot, 0, NULL);

	if (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		EsEpoch		here;
		List	   *epochs;
		int64		old;
		bool		begins;

		slot_getallattrs(slot);
		old = DatumGetInt64(slot->tts_values[MARK_POSITION]);
		epochs = epochs_from_array(DatumGetArrayTypeP(slot->tts_values[MARK_EPOCHS]));
		es_epoch_here(store, &here);
		here.after = old;
		begins = epochs == NIL || !es_epoch_equal(llast(epochs), &here);
		if (old < mark || begins)
		{
			ItemPointerData tid = slot->tts_tid;
			TupleTableSlot *changed = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsHeapTuple);
			Datum		values[MARK_NCOLUMNS];
			bool		nulls[MARK_NCOLUMNS] = {0};
			bool		only_summarizing;

			memcpy(values, slot->tts_values, sizeof(values));
			values[MARK_POSITION] = Int64GetDatum(Max(old, mark));
			if (begins)
			{
				epochs = lappend(epochs, &here);
				if (list_length(epochs) > MAX_EPOCHS)
					epochs = list_delete_first(epochs);
				values[MARK_EPOCHS] = PointerGetDatum(epochs_to_array(epochs));
			}
			values[MARK_CHANGED_AT] = TimestampTzGetDatum(GetCurrentTimestamp());
			ExecForceStoreHeapTuple(heap_form_tuple(RelationGetDescr(rel), values, nulls), changed, true);
			(void) es_table_tuple_update(rel, &tid, changed, &only_summarizing);
			ExecDropSingleTupleTableSlot(changed);
		}
	}
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	ExecDropSingleTupleTableSlot(slot);
	relation_close(rel, NoLock);
	return true;
}

PG_FUNCTION_INFO_V1(event_store_durable_mark);

Datum
event_store_durable_mark(PG_FUNCTION_ARGS)
{
	EsStore    *store;
	Relation	log = es_store_open_log(&store, AccessShareLock, ACL_SELECT);
	int64		mark = es_mark_read(store, GetActiveSnapshot());

	table_close(log, AccessShareLock);
	PG_RETURN_INT64(mark);
}
