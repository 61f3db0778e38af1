/*
 * progress.c
 *		How far imports have come: the table import_progress.
 *
 * A row is an import into a store, by a name.  It is written in the transaction
 * of the events that it counts, so it is right after any crash.  Like those of
 * store_registry the rows are written directly, past the caller's rights, which
 * those who call this have checked.
 *
 * Whoever reads a row in order to change it takes its lock first, an object lock
 * on a hash of its key, held until the transaction ends.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_collation.h"
#include "common/hashfn.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"

#include "base/compat.h"
#include "base/extension.h"
#include "store/progress.h"

/* Columns of import_progress. */
enum ProgressColumn
{
	PROGRESS_STORE_NUMBER,
	PROGRESS_NAME,
	PROGRESS_SOURCE,
	PROGRESS_LAST_LINE,
	PROGRESS_LAST_HASH,
	PROGRESS_EVENTS,
	PROGRESS_REMAINING,
	PROGRESS_CALL_EVENTS,
	PROGRESS_STARTED_AT,
	PROGRESS_CALLED_AT,
	PROGRESS_CHANGED_AT,
	PROGRESS_NCOLUMNS
};

static Relation
open_progress(LOCKMODE lockmode)
{
	return es_extension_open("import_progress", lockmode);
}

/* Begin a scan of the rows of a store, or (name not NULL) of one of them. */
static SysScanDesc
begin_scan(Relation rel, int64 store_number, text *name)
{
	ScanKeyData keys[2];

	ScanKeyInit(&keys[0], PROGRESS_STORE_NUMBER + 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(store_number));
	if (name != NULL)
		ScanKeyEntryInitialize(&keys[1], 0, PROGRESS_NAME + 1, BTEqualStrategyNumber, InvalidOid, C_COLLATION_OID,
							   F_TEXTEQ, PointerGetDatum(name));
	return systable_beginscan(rel, es_primary_key(rel), true, NULL, name ? 2 : 1, keys);
}

/* Keep others from the row until the transaction ends. */
void
es_progress_lock(int64 store_number, text *name)
{
	uint64		hash = hash_bytes_extended((const unsigned char *) VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name), store_number);

	LockDatabaseObject(es_extension_relation("import_progress"), (Oid) (hash ^ hash >> 32), 0, ExclusiveLock);
}

/* Read a row; false if there is none.  Texts are palloc'd. */
bool
es_progress_find(int64 store_number, text *name, EsProgress *progress)
{
	Relation	rel = open_progress(AccessShareLock);
	SysScanDesc scan = begin_scan(rel, store_number, name);
	HeapTuple	tuple = systable_getnext(scan);
	bool		found = HeapTupleIsValid(tuple);

	if (found)
	{
		Datum		values[PROGRESS_NCOLUMNS];
		bool		nulls[PROGRESS_NCOLUMNS];

		heap_deform_tuple(tuple, RelationGetDescr(rel), values, nulls);
		progress->store_number = store_number;
		progress->name = DatumGetTextPCopy(values[PROGRESS_NAME]);
		progress->source = DatumGetTextPCopy(values[PROGRESS_SOURCE]);
		progress->last_line = DatumGetInt64(values[PROGRESS_LAST_LINE]);
		progress->last_hash = DatumGetInt64(values[PROGRESS_LAST_HASH]);
		progress->events = DatumGetInt64(values[PROGRESS_EVENTS]);
		progress->remaining = DatumGetInt64(values[PROGRESS_REMAINING]);
		progress->call_events = DatumGetInt64(values[PROGRESS_CALL_EVENTS]);
		progress->started_at = DatumGetTimestampTz(values[PROGRESS_STARTED_AT]);
		progress->called_at = DatumGetTimestampTz(values[PROGRESS_CALLED_AT]);
		progress->changed_at = DatumGetTimestampTz(values[PROGRESS_CHANGED_AT]);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}

/* Write a row, in place of the one that may be there.  The caller holds its lock. */
void
es_progress_save(const EsProgress *progress)
{
	Relation	rel = open_progress(RowExclusiveLock);
	SysScanDesc scan = begin_scan(rel, progress->store_number, progress->name);
	HeapTuple	old = systable_getnext(scan);
	Datum		values[PROGRESS_NCOLUMNS];
	bool		nulls[PROGRESS_NCOLUMNS] = {0};
	HeapTuple	tuple;

	values[PROGRESS_STORE_NUMBER] = Int64GetDatum(progress->store_number);
	values[PROGRESS_NAME] = PointerGetDatum(progress->name);
	values[PROGRESS_SOURCE] = PointerGetDatum(progress->source);
	values[PROGRESS_LAST_LINE] = Int64GetDatum(progress->last_line);
	values[PROGRESS_LAST_HASH] = Int64GetDatum(progress->last_hash);
	values[PROGRESS_EVENTS] = Int64GetDatum(progress->events);
	values[PROGRESS_REMAINING] = Int64GetDatum(progress->remaining);
	values[PROGRESS_CALL_EVENTS] = Int64GetDatum(progress->call_events);
	values[PROGRESS_STARTED_AT] = TimestampTzGetDatum(progress->started_at);
	values[PROGRESS_CALLED_AT] = TimestampTzGetDatum(progress->called_at);
	values[PROGRESS_CHANGED_AT] = TimestampTzGetDatum(progress->changed_at);
	tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);
	if (HeapTupleIsValid(old))
		CatalogTupleUpdate(rel, &old->t_self, tuple);
	else
		CatalogTupleInsert(rel, tuple);
	systable_endscan(scan);
	table_close(rel, RowExclusiveLock);
	CommandCounterIncrement();
}

/* Delete one row, or (name NULL) all of a store; tells whether there was any. */
static bool
forget(int64 store_number, text *name)
{
	Relation	rel = open_progress(RowExclusiveLock);
	SysScanDesc scan = begin_scan(rel, store_number, name);
	HeapTuple	tuple;
	bool		found = false;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		CatalogTupleDelete(rel, &tuple->t_self);
		found = true;
	}
	systable_endscan(scan);
	table_close(rel, RowExclusiveLock);
	CommandCounterIncrement();
	return found;
}

bool
es_progress_forget(int64 store_number, text *name)
{
	es_progress_lock(store_number, name);
	return forget(store_number, name);
}

/* For a store that is dropped: its tables are locked against imports already. */
void
es_progress_forget_all(int64 store_number)
{
	(void) forget(store_number, NULL);
}
