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
 * Only the worker of the database moves the mark.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "fmgr.h"
#include "storage/lmgr.h"
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

/*
 * Move the mark up to the horizon, which is read first: that is what makes the
 * mark safe.  Returns false, having done nothing, if the table is locked, as
 * while the store is being dropped: the worker must not wait for that.
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
		slot_getallattrs(slot);
		if (DatumGetInt64(slot->tts_values[MARK_POSITION]) < mark)
		{
			ItemPointerData tid = slot->tts_tid;
			TupleTableSlot *changed = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsHeapTuple);
			Datum		values[MARK_NCOLUMNS];
			bool		nulls[MARK_NCOLUMNS] = {0};
			bool		only_summarizing;

			memcpy(values, slot->tts_values, sizeof(values));
			values[MARK_POSITION] = Int64GetDatum(mark);
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
