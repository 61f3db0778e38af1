/*
 * scan.c
 *		Reading the rows of event_log, directly or through SQL.
 *
 * A plain table is read along its index, with no plan to go stale.  A table
 * that is partitioned, or on which row-level security holds for the caller, is
 * read with a saved query, in the same order and with the same snapshot.
 */
#include "postgres.h"

#include "access/relscan.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "log/scan.h"
#include "store/event_id.h"
#include "store/statement.h"

#define SQL_BATCH	100

static void
begin_direct(EsScan *scan, Relation log, Relation index, Snapshot snapshot, ScanKey keys, int nkeys, bool backward)
{
	scan->backward = backward;
	scan->portal = NULL;
	scan->index = NULL;
	scan->slot = table_slot_create(log, NULL);
	scan->desc = es_index_beginscan(log, index, snapshot, nkeys);
	index_rescan(scan->desc, keys, nkeys, NULL, 0);
}

/* The same with an index that the scan opens, and closes at its end. */
static void
begin_index(EsScan *scan, Relation log, Oid indexid, Snapshot snapshot, ScanKey keys, int nkeys, bool backward)
{
	Relation	index = index_open(indexid, AccessShareLock);

	begin_direct(scan, log, index, snapshot, keys, nkeys, backward);
	scan->index = index;
}

static void
begin_sql(EsScan *scan, EsStore *store, EsStatement which, Datum *parameters, Snapshot snapshot, bool backward)
{
	MemoryContext caller = CurrentMemoryContext;

	scan->backward = backward;
	SPI_connect();
	PushActiveSnapshot(snapshot);
	scan->portal = SPI_cursor_open(NULL, es_statement_plan(store, which), parameters, NULL, true);
	PopActiveSnapshot();
	scan->batch = NULL;
	scan->batch_size = scan->batch_next = 0;
	MemoryContextSwitchTo(caller);
}

/*
 * Begin to read the events of a stream with low <= version <= high, in the
 * order of versions.  The caller holds a lock on log and keeps the snapshot
 * registered.  Between begin and end the caller must not leave the SPI level,
 * that is, it ends what it began.
 */
void
es_scan_stream(EsScan *scan, EsStore *store, Relation log, int64 stream_id,
			   int64 low, int64 high, bool backward, Snapshot snapshot)
{
	ScanKeyData keys[3];
	int			nkeys = 1;

	if (es_store_use_sql(store, log))
	{
		Datum		parameters[] = {Int64GetDatum(stream_id), Int64GetDatum(low), Int64GetDatum(high)};

		begin_sql(scan, store, backward ? ES_STMT_READ_STREAM_BACK : ES_STMT_READ_STREAM,
				  parameters, snapshot, backward);
		return;
	}

	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(stream_id));
	if (low > 1)
		ScanKeyInit(&keys[nkeys++], 2, BTGreaterEqualStrategyNumber, F_INT8GE, Int64GetDatum(low));
	if (high < PG_INT64_MAX)
		ScanKeyInit(&keys[nkeys++], 2, BTLessEqualStrategyNumber, F_INT8LE, Int64GetDatum(high));
	begin_index(scan, log, store->log_by_version, snapshot, keys, nkeys, backward);
}

/*
 * Begin to read the events of all streams with low <= position <= high, in the
 * order of positions; otherwise as es_scan_stream.
 */
void
es_scan_log(EsScan *scan, EsStore *store, Relation log, int64 low, int64 high, bool backward, Snapshot snapshot)
{
	ScanKeyData keys[2];

	if (es_store_use_sql(store, log))
	{
		Datum		parameters[] = {Int64GetDatum(low), Int64GetDatum(high)};

		begin_sql(scan, store, backward ? ES_STMT_READ_LOG_BACK : ES_STMT_READ_LOG,
				  parameters, snapshot, backward);
		return;
	}

	ScanKeyInit(&keys[0], 1, BTGreaterEqualStrategyNumber, F_INT8GE, Int64GetDatum(low));
	ScanKeyInit(&keys[1], 1, BTLessEqualStrategyNumber, F_INT8LE, Int64GetDatum(high));
	begin_index(scan, log, store->log_by_position, snapshot, keys, 2, backward);
}

/* Turn a scan that es_scan_log has begun to the event at one position. */
void
es_scan_log_at(EsScan *scan, EsStore *store, Relation log, int64 position, Snapshot snapshot)
{
	ScanKeyData keys[2];

	if (scan->portal != NULL)
	{
		es_scan_end(scan);
		es_scan_log(scan, store, log, position, position, false, snapshot);
		return;
	}
	ScanKeyInit(&keys[0], 1, BTGreaterEqualStrategyNumber, F_INT8GE, Int64GetDatum(position));
	ScanKeyInit(&keys[1], 1, BTLessEqualStrategyNumber, F_INT8LE, Int64GetDatum(position));
	index_rescan(scan->desc, keys, 2, NULL, 0);
}

/* Begin to read the event with an id, at most one row; otherwise as es_scan_stream. */
void
es_scan_event_id(EsScan *scan, EsStore *store, Relation log, const pg_uuid_t *id, Snapshot snapshot)
{
	ScanKeyData key;
	int64		position;

	if (es_store_use_sql(store, log))
	{
		Datum		parameter = UUIDPGetDatum(id);

		begin_sql(scan, store, ES_STMT_READ_EVENT_ID, &parameter, snapshot, false);
	}
	else if (es_event_id_made_here(store, id, &position))
		es_scan_log(scan, store, log, position, position, false, snapshot);
	else
	{
		ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(id));
		begin_index(scan, log, store->log_by_event_id, snapshot, &key, 1, false);
	}
}

/*
 * Begin to read the events with a key and low <= position <= high, in the order
 * of positions, along an index over (the key's column, position) of a table
 * that is read directly; otherwise as es_scan_stream.
 */
void
es_scan_key(EsScan *scan, Relation log, Oid index, RegProcedure equal, Oid collation, Datum key,
			int64 low, int64 high, bool backward, Snapshot snapshot)
{
	ScanKeyData keys[3];

	ScanKeyEntryInitialize(&keys[0], 0, 1, BTEqualStrategyNumber, InvalidOid, collation, equal, key);
	ScanKeyInit(&keys[1], 2, BTGreaterEqualStrategyNumber, F_INT8GE, Int64GetDatum(low));
	ScanKeyInit(&keys[2], 2, BTLessEqualStrategyNumber, F_INT8LE, Int64GetDatum(high));
	begin_index(scan, log, index, snapshot, keys, 3, backward);
}

/*
 * The same for the events whose column compares so with the key (strategy and
 * compare say how), forward in the order of the column and then of positions.
 */
void
es_scan_column(EsScan *scan, Relation log, Oid index, StrategyNumber strategy, RegProcedure compare,
			   Oid collation, Datum key, Snapshot snapshot)
{
	ScanKeyData scankey;

	ScanKeyEntryInitialize(&scankey, 0, 1, strategy, InvalidOid, collation, compare, key);
	begin_index(scan, log, index, snapshot, &scankey, 1, false);
}

/*
 * The next row, in the columns of event_log; false at the end.  What it points
 * to is good until the next call.
 */
bool
es_scan_next(EsScan *scan, Datum **values, bool **nulls)
{
	CHECK_FOR_INTERRUPTS();

	if (scan->portal == NULL)
	{
		if (!index_getnext_slot(scan->desc, scan->backward ? BackwardScanDirection : ForwardScanDirection,
								scan->slot))
			return false;
		slot_getallattrs(scan->slot);
		*values = scan->slot->tts_values;
		*nulls = scan->slot->tts_isnull;
		return true;
	}

	if (scan->batch_next == scan->batch_size)
	{
		MemoryContext caller = CurrentMemoryContext;

		if (scan->batch != NULL)
			SPI_freetuptable(scan->batch);
		SPI_cursor_fetch(scan->portal, true, SQL_BATCH);
		scan->batch = SPI_tuptable;
		scan->batch_size = SPI_processed;
		scan->batch_next = 0;
		MemoryContextSwitchTo(caller);
		if (scan->batch_size == 0)
			return false;
	}
	heap_deform_tuple(scan->batch->vals[scan->batch_next++], scan->batch->tupdesc, scan->values, scan->nulls);
	*values = scan->values;
	*nulls = scan->nulls;
	return true;
}

/* Who has written the row that a scan that reads directly has returned. */
TransactionId
es_scan_xmin(const EsScan *scan)
{
	return HeapTupleHeaderGetXmin(ExecFetchSlotHeapTuple(scan->slot, false, NULL)->t_data);
}

void
es_scan_end(EsScan *scan)
{
	if (scan->portal != NULL)
	{
		SPI_cursor_close(scan->portal);
		SPI_finish();
		return;
	}
	index_endscan(scan->desc);
	ExecDropSingleTupleTableSlot(scan->slot);
	if (scan->index != NULL)
		index_close(scan->index, AccessShareLock);
}

/* The last version of a stream in the snapshot, 0 if it has no events there. */
int64
es_scan_version(EsStore *store, Relation log, int64 stream_id, Snapshot snapshot)
{
	EsScan		scan;
	Datum	   *values;
	bool	   *nulls;
	int64		version = 0;

	es_scan_stream(&scan, store, log, stream_id, 1, PG_INT64_MAX, true, snapshot);
	if (es_scan_next(&scan, &values, &nulls))
		version = DatumGetInt64(values[LOG_VERSION]);
	es_scan_end(&scan);
	return version;
}

/* Begin to read what there really is of a stream from a version on; for plain tables. */
void
es_scan_true_stream(EsScan *scan, EsStore *store, Relation log, int64 stream_id, int64 low, Snapshot snapshot)
{
	ScanKeyData keys[2];

	Assert(store->plain);
	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(stream_id));
	ScanKeyInit(&keys[1], 2, BTGreaterEqualStrategyNumber, F_INT8GE, Int64GetDatum(low));
	begin_index(scan, log, store->log_by_version, snapshot, keys, 2, false);
}

/* The same of what there is, not of what row-level security lets the caller see. */
int64
es_scan_true_version(EsStore *store, Relation log, int64 stream_id, Snapshot snapshot)
{
	ScanKeyData key;
	EsScan		scan;
	Datum	   *values;
	bool	   *nulls;
	int64		version = 0;

	if (!store->plain)
		return es_scan_version(store, log, stream_id, snapshot);

	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(stream_id));
	begin_index(&scan, log, store->log_by_version, snapshot, &key, 1, true);
	if (es_scan_next(&scan, &values, &nulls))
		version = DatumGetInt64(values[LOG_VERSION]);
	es_scan_end(&scan);
	return version;
}

/*
 * The last version of a stream whatever the snapshot, for a caller that holds
 * the lock on the stream; *own tells whether this transaction wrote it.  Should
 * somebody write past that lock all the same, this waits for the end of that
 * transaction.  by_version is the open index of a plain table.
 *
 * at_least is the caller's guess that the version is not lower.  A b-tree scan
 * collects all matching entries of a leaf page before it returns the first, so
 * the guess saves looking at the whole end of the stream; a wrong one costs a
 * second scan.
 */
int64
es_scan_latest_version(EsStore *store, Relation log, Relation by_version, int64 stream_id, int64 at_least, bool *own)
{
	ScanKeyData keys[2];
	int			nkeys = 1;
	int64		version;

	if (!store->plain)
	{
		Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());

		version = es_scan_version(store, log, stream_id, snapshot);
		UnregisterSnapshot(snapshot);
		*own = false;
		return version;
	}

	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(stream_id));
	if (at_least > 1)
		ScanKeyInit(&keys[nkeys++], 2, BTGreaterEqualStrategyNumber, F_INT8GE, Int64GetDatum(at_least));
	for (;;)
	{
		SnapshotData dirty;
		EsScan		scan;
		TransactionId wait_for = InvalidTransactionId;

		InitDirtySnapshot(dirty);
		begin_direct(&scan, log, by_version, &dirty, keys, nkeys, true);
		version = 0;
		*own = false;
		if (index_getnext_slot(scan.desc, BackwardScanDirection, scan.slot))
		{
			bool		isnull;

			*own = TransactionIdIsCurrentTransactionId(
					   DatumGetTransactionId(slot_getsysattr(scan.slot, MinTransactionIdAttributeNumber, &isnull)));
			version = DatumGetInt64(slot_getattr(scan.slot, LOG_VERSION + 1, &isnull));
			wait_for = TransactionIdIsValid(dirty.xmin) ? dirty.xmin : dirty.xmax;
		}
		es_scan_end(&scan);
		if (version == 0 && nkeys > 1)
		{
			nkeys = 1;
			continue;
		}
		if (!TransactionIdIsValid(wait_for))
			return version;
		XactLockTableWait(wait_for, NULL, NULL, XLTW_None);
	}
}

/* The highest position in the table, of dead rows too, 0 if it is empty. */
int64
es_scan_last_position(EsStore *store)
{
	Relation	log = table_open(store->log, AccessShareLock);
	EsScan		scan;
	Datum	   *values;
	bool	   *nulls;
	int64		position = 0;

	if (store->plain)
	{
		begin_index(&scan, log, es_store_with_indexes(store)->log_by_position, SnapshotAny, NULL, 0, true);
		if (es_scan_next(&scan, &values, &nulls))
			position = DatumGetInt64(values[LOG_POSITION]);
		es_scan_end(&scan);
	}
	else
	{
		Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
		Oid			save_user;
		int			save_context;

		/*
		 * Planning evaluates functions of the owner's, and this also runs in
		 * the worker: as the owner, then, and with nothing to gain.  An error
		 * puts the old identity back.
		 */
		GetUserIdAndSecContext(&save_user, &save_context);
		SetUserIdAndSecContext(log->rd_rel->relowner, save_context | SECURITY_RESTRICTED_OPERATION);
		es_scan_log(&scan, store, log, 1, PG_INT64_MAX, true, snapshot);
		if (es_scan_next(&scan, &values, &nulls))
			position = DatumGetInt64(values[LOG_POSITION]);
		es_scan_end(&scan);
		SetUserIdAndSecContext(save_user, save_context);
		UnregisterSnapshot(snapshot);
	}
	table_close(log, AccessShareLock);
	return position;
}
