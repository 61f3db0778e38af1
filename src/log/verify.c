/*
 * verify.c
 *		verify_store: does what must hold of a store hold?
 *
 * The streams and their events are read once, in the order of streams and
 * versions, through SQL: as the caller, and also where the tables are no longer
 * as they should be.  Each index is read once more, without the rows, and its
 * entries counted against those of the table; whether an entry leads to the
 * right row is a question for amcheck.
 *
 * All of it sees one snapshot.  A writer at work is no fault: the lock on a
 * stream lets no transaction see a version without those before it.  The mark
 * is read in the snapshot and the horizon afterwards, for both only rise.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relation.h"
#include "access/tableam.h"
#include "access/visibilitymap.h"
#include "access/xlog.h"
#include "catalog/index.h"
#include "catalog/pg_am.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/latch.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"
#include "utils/wait_event.h"

#include "base/compat.h"
#include "base/errors.h"
#include "log/horizon.h"
#include "log/mark.h"
#include "log/wake.h"
#include "store/event_id.h"
#include "store/guard.h"
#include "store/manage.h"
#include "store/statement.h"

#define BATCH			1000	/* rows fetched at a time */
#define MARK_TIMEOUT	5000	/* ms in which the mark has to reach the horizon */

enum Invariant
{
	SOUND,
	GUARDED,
	DENSE,
	RISING,
	KNOWN_STREAM,
	STREAM_HAS_EVENTS,
	UNIQUE_NAME,
	UNIQUE_POSITION,
	UNIQUE_ID,
	ID_FITS,
	BELOW_SEQUENCE,
	INDEXED,
	MARK_SAFE,
	MARK_FOLLOWS,
	NINVARIANTS
};

static const char *const invariants[NINVARIANTS] = {
	[SOUND] = "the tables are as create_store made them",
	[GUARDED] = "the guards are on the tables",
	[DENSE] = "versions of a stream run from its beginning without a gap",
	[RISING] = "positions rise with the versions of a stream",
	[KNOWN_STREAM] = "every event belongs to a stream",
	[STREAM_HAS_EVENTS] = "every stream has events",
	[UNIQUE_NAME] = "stream names are unique",
	[UNIQUE_POSITION] = "no position stands for two events",
	[UNIQUE_ID] = "event ids are unique",
	[ID_FITS] = "event ids made here name the position of their event",
	[BELOW_SEQUENCE] = "positions have come from the sequence",
	[INDEXED] = "indexes have an entry for each row",
	[MARK_SAFE] = "the durable mark is below the horizon",
	[MARK_FOLLOWS] = "the durable mark follows the horizon",
};

/* What was found of an invariant. */
typedef struct Finding
{
	bool		checked;
	int64		violations;
	char	   *example;		/* of the first */
} Finding;

typedef struct Verification
{
	EsStore    *store;
	Relation	log;
	Relation	streams;
	Snapshot	snapshot;
	MemoryContext context;		/* for the examples */
	int64		sequence;		/* positions are below, 0 if it says nothing */
	int64		horizon;		/* taken before the snapshot, 0 if it is not known here */
	int64		last;			/* highest position below the horizon */
	Finding		findings[NINVARIANTS];
} Verification;

static void violation(Verification *v, enum Invariant which, const char *fmt,...) pg_attribute_printf(3, 4);

static void
checked(Verification *v, enum Invariant which)
{
	v->findings[which].checked = true;
}

static void
violation(Verification *v, enum Invariant which, const char *fmt,...)
{
	Finding    *f = &v->findings[which];

	if (f->violations++ == 0)
	{
		MemoryContext caller = MemoryContextSwitchTo(v->context);
		StringInfoData text;

		initStringInfo(&text);
		for (;;)
		{
			va_list		args;
			int			needed;

			va_start(args, fmt);
			needed = appendStringInfoVA(&text, fmt, args);
			va_end(args);
			if (needed == 0)
				break;
			enlargeStringInfo(&text, needed);
		}
		f->example = text.data;
		MemoryContextSwitchTo(caller);
	}
}

/* The stream whose rows are being read. */
typedef struct StreamState
{
	int64		id;
	bool		known;			/* has a row in event_streams */
	int64		truncate_before;	/* the versions before may be gone; 1: none */
	int64		events;
	int64		version;		/* of the last event */
	int64		position;
} StreamState;

static void
stream_ends(Verification *v, const StreamState *stream)
{
	if (!stream->known)
		return;
	if (stream->events == 0)
		violation(v, STREAM_HAS_EVENTS, "stream_id " INT64_FORMAT, stream->id);
	else if (stream->truncate_before > stream->version + 1)
		violation(v, DENSE, "stream_id " INT64_FORMAT ": truncated before " INT64_FORMAT ", its last version is " INT64_FORMAT,
				  stream->id, stream->truncate_before, stream->version);
}

static void
verify_event(Verification *v, StreamState *stream, int64 version, int64 position, const pg_uuid_t *id)
{
	int64		named;

	if (stream->events == 0 && !stream->known)
		violation(v, KNOWN_STREAM, "stream_id " INT64_FORMAT ", position " INT64_FORMAT, stream->id, position);
	if (version != stream->version + 1 &&
		!(stream->events == 0 && version > 1 && version <= stream->truncate_before))
		violation(v, DENSE, "stream_id " INT64_FORMAT ": version " INT64_FORMAT " follows " INT64_FORMAT,
				  stream->id, version, stream->version);
	if (stream->events > 0 && position <= stream->position)
		violation(v, RISING, "stream_id " INT64_FORMAT ": version " INT64_FORMAT " is at " INT64_FORMAT
				  ", the version before it at " INT64_FORMAT, stream->id, version, position, stream->position);
	if (es_event_id_made_here(v->store, id, &named) && named != position)
		violation(v, ID_FITS, "position " INT64_FORMAT ": its id names " INT64_FORMAT, position, named);
	if (v->sequence > 0 && (position < 1 || position >= v->sequence))
		violation(v, BELOW_SEQUENCE, "position " INT64_FORMAT ": the sequence stands at " INT64_FORMAT,
				  position, v->sequence);
	if (position < v->horizon)
		v->last = Max(v->last, position);
	stream->events++;
	stream->version = version;
	stream->position = position;
}

/* Read all streams and their events. */
static void
verify_streams(Verification *v)
{
	StreamState stream = {0};
	bool		any = false;
	Portal		portal;

	SPI_connect();
	PushActiveSnapshot(v->snapshot);
	portal = SPI_cursor_open(NULL, es_statement_plan(v->store, ES_STMT_VERIFY_STREAMS), NULL, NULL, true);
	PopActiveSnapshot();
	for (;;)
	{
		SPI_cursor_fetch(portal, true, BATCH);
		if (SPI_processed == 0)
			break;
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			Datum		values[7];
			bool		nulls[7];

			CHECK_FOR_INTERRUPTS();
			heap_deform_tuple(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, values, nulls);
			if (!any || DatumGetInt64(values[0]) != stream.id)
			{
				if (any)
					stream_ends(v, &stream);
				stream = (StreamState) {.id = DatumGetInt64(values[0])};
				any = true;
			}
			if (DatumGetInt32(values[1]) == 0)
			{
				stream.known = true;
				stream.truncate_before = DatumGetInt64(values[6]);
			}
			else
				verify_event(v, &stream, DatumGetInt64(values[2]), DatumGetInt64(values[3]),
							 DatumGetUUIDP(values[4]));
		}
		SPI_freetuptable(SPI_tuptable);
	}
	if (any)
		stream_ends(v, &stream);
	SPI_cursor_close(portal);
	SPI_finish();
}

/* Look for values that are there more than once. */
static void
verify_unique(Verification *v, enum Invariant which, EsStatement statement, Datum *parameters)
{
	bool		isnull;
	int64		count;

	SPI_connect();
	if (SPI_execute_snapshot(es_statement_plan(v->store, statement), parameters, NULL,
							 v->snapshot, InvalidSnapshot, true, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not look for duplicates");
	count = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	if (count > 0)
		violation(v, which, "%s is there more than once", SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2));
	v->findings[which].violations = count;
	checked(v, which);
	SPI_finish();
}

/* Count the rows of a plain table, and those whose event id is not made here. */
static void
count_rows(Verification *v, Relation rel, int64 *rows, int64 *given_ids)
{
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	TableScanDesc scan = table_beginscan(rel, v->snapshot, 0, NULL);
	bool		count_ids = rel == v->log;

	*rows = *given_ids = 0;
	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		int64		position;
		bool		isnull;

		CHECK_FOR_INTERRUPTS();
		(*rows)++;
		if (count_ids && !es_event_id_made_here(v->store, DatumGetUUIDP(slot_getattr(slot, LOG_EVENT_ID + 1, &isnull)),
												&position))
			(*given_ids)++;
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
}

/* Count the entries of an index whose rows the snapshot sees. */
static int64
count_entries(Verification *v, Relation rel, Relation index)
{
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	IndexScanDesc scan = es_index_beginscan(rel, index, v->snapshot, 0);
	Buffer		map = InvalidBuffer;
	int64		count = 0;
	ItemPointer tid;

	index_rescan(scan, NULL, 0, NULL, 0);
	while ((tid = index_getnext_tid(scan, ForwardScanDirection)) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		/* as in an index-only scan: the rows of such a page need not be looked at */
		if (VM_ALL_VISIBLE(rel, ItemPointerGetBlockNumber(tid), &map) || index_fetch_heap(scan, slot))
			count++;
	}
	if (BufferIsValid(map))
		ReleaseBuffer(map);
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	return count;
}

/*
 * Compare the indexes of a plain table with its rows.  Those with an expression
 * or a predicate of the owner's are left alone.
 */
static void
verify_indexes(Verification *v, Relation rel)
{
	List	   *oids = RelationGetIndexList(rel);
	ListCell   *lc;
	int64		rows;
	int64		given_ids;

	count_rows(v, rel, &rows, &given_ids);
	foreach(lc, oids)
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);
		bool		partial = RelationGetRelid(index) == v->store->log_by_event_id;
		int64		due = partial ? given_ids : rows;

		if (index->rd_index->indisvalid && index->rd_rel->relam == BTREE_AM_OID &&
			heap_attisnull(index->rd_indextuple, Anum_pg_index_indexprs, NULL) &&
			(partial || heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL)))
		{
			int64		entries = count_entries(v, rel, index);

			if (entries != due)
				violation(v, INDEXED, "%s has " INT64_FORMAT " entries for " INT64_FORMAT " rows",
						  RelationGetRelationName(index), entries, due);
		}
		index_close(index, AccessShareLock);
	}
	list_free(oids);
}

/*
 * The mark must not be above what was final when it was written, and must come
 * to what was final when the verification began.
 */
static void
verify_mark(Verification *v)
{
	int64		mark = es_mark_read(v->store, v->snapshot);
	int64		horizon = es_horizon(v->store, NULL);
	TimestampTz deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), MARK_TIMEOUT);

	checked(v, MARK_SAFE);
	if (mark >= horizon)
		violation(v, MARK_SAFE, "the mark is " INT64_FORMAT ", the horizon " INT64_FORMAT, mark, horizon);

	checked(v, MARK_FOLLOWS);
	/* a database that was restored or not used for long may have no scheduler yet */
	if (mark < v->last)
		es_wake_slot(es_store_slot(v->store), MyDatabaseId);
	while (mark < v->last)
	{
		Snapshot	now;

		if (GetCurrentTimestamp() >= deadline)
		{
			violation(v, MARK_FOLLOWS, "the mark stays at " INT64_FORMAT ", position " INT64_FORMAT " is final",
					  mark, v->last);
			break;
		}
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 10, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		now = RegisterSnapshot(GetLatestSnapshot());
		mark = es_mark_read(v->store, now);
		UnregisterSnapshot(now);
	}
}

/* Are the columns there that the queries need? */
static bool
has_columns(const EsStore *store)
{
	static const char *const log_columns[] = {"stream_id", "version", "position", "event_id"};
	static const char *const stream_columns[] = {
		"stream_id", "stream_name", "truncate_before", "max_age", "max_count", "deleted_at"
	};

	for (int i = 0; i < lengthof(log_columns); i++)
		if (get_attnum(store->log, log_columns[i]) == InvalidAttrNumber)
			return false;
	for (int i = 0; i < lengthof(stream_columns); i++)
		if (get_attnum(store->streams, stream_columns[i]) == InvalidAttrNumber)
			return false;
	return true;
}

static void
verify_guards(Verification *v, Relation rel)
{
	const char *missing = es_guard_missing(rel);

	if (missing != NULL)
		violation(v, GUARDED, "table %s has no trigger %s that fires", RelationGetRelationName(rel), missing);
}

static void
verify(Verification *v)
{
	EsStore    *store = v->store;
	int64		increment;
	pg_uuid_t	range[2];
	Datum		parameters[] = {UUIDPGetDatum(&range[0]), UUIDPGetDatum(&range[1])};

	checked(v, SOUND);
	if (store->defect != NULL)
		violation(v, SOUND, "%s", store->defect);
	checked(v, GUARDED);
	verify_guards(v, v->log);
	verify_guards(v, v->streams);
	if (!has_columns(store))
		return;

	/* only a sequence that was used says anything: that of a copy never was */
	v->sequence = es_position_sequence(store, &increment);
	if (store->copy || v->sequence == 1)
		v->sequence = 0;
	else
		checked(v, BELOW_SEQUENCE);

	verify_streams(v);
	checked(v, DENSE);
	checked(v, RISING);
	checked(v, KNOWN_STREAM);
	checked(v, STREAM_HAS_EVENTS);
	checked(v, ID_FITS);
	verify_unique(v, UNIQUE_NAME, ES_STMT_VERIFY_NAMES, NULL);
	verify_unique(v, UNIQUE_POSITION, ES_STMT_VERIFY_POSITIONS, NULL);
	es_event_id_range(store->number, &range[0], &range[1]);
	verify_unique(v, UNIQUE_ID, ES_STMT_VERIFY_EVENT_IDS, parameters);

	if (store->plain)
	{
		checked(v, INDEXED);
		verify_indexes(v, v->log);
		verify_indexes(v, v->streams);
	}
	if (v->horizon > 0)
		verify_mark(v);
}

/* Refuse a caller from whom rows are hidden, or who may not read the table. */
static void
require_all_rows(const EsStore *store, Relation rel)
{
	if (pg_class_aclcheck(RelationGetRelid(rel), GetUserId(), ACL_SELECT) != ACLCHECK_OK)
		ereport(ERROR,
				(es_problem(ERRCODE_INSUFFICIENT_PRIVILEGE, ES_MEMBERS(ES_TEXT("store", NameStr(store->schema))),
							"permission denied to read event store \"%s\"", NameStr(store->schema)),
				 errhint("The owner of the store gives rights with event_store.grant_store().")));
	if (check_enable_rls(RelationGetRelid(rel), InvalidOid, true) == RLS_ENABLED)
		ereport(ERROR,
				(es_problem(ERRCODE_INSUFFICIENT_PRIVILEGE, ES_MEMBERS(ES_TEXT("store", NameStr(store->schema))),
							"row-level security hides events of event store \"%s\"", NameStr(store->schema)),
				 errhint("Let a role verify it that has BYPASSRLS.")));
}

PG_FUNCTION_INFO_V1(event_store_verify_store);

Datum
event_store_verify_store(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Verification v = {.context = CurrentMemoryContext};

	InitMaterializedSRF(fcinfo, 0);
	for (;;)
	{
		v.store = PG_ARGISNULL(0) ? es_store_current(false) : es_store_named(PG_GETARG_TEXT_PP(0));
		v.log = try_relation_open(v.store->log, AccessShareLock);
		v.streams = try_relation_open(v.store->streams, AccessShareLock);
		if (v.log != NULL && v.streams != NULL && v.store->valid)
			break;
		if (v.log != NULL)
			relation_close(v.log, AccessShareLock);
		if (v.streams != NULL)
			relation_close(v.streams, AccessShareLock);
	}
	require_all_rows(v.store, v.log);
	require_all_rows(v.store, v.streams);

	/* the horizon is a matter of the server that writes, and of tables that can be written */
	if (!RecoveryInProgress() && !v.store->copy && v.store->defect == NULL)
		v.horizon = es_horizon(v.store, NULL);
	v.snapshot = RegisterSnapshot(IsolationUsesXactSnapshot() ? GetTransactionSnapshot() : GetLatestSnapshot());
	verify(&v);
	UnregisterSnapshot(v.snapshot);
	relation_close(v.streams, NoLock);
	relation_close(v.log, NoLock);

	for (int i = 0; i < NINVARIANTS; i++)
	{
		Finding    *f = &v.findings[i];
		Datum		values[] = {CStringGetTextDatum(invariants[i]), Int64GetDatum(f->violations), (Datum) 0};
		bool		nulls[] = {false, false, f->example == NULL};

		if (!f->checked)
			continue;
		if (f->example != NULL)
			values[2] = CStringGetTextDatum(f->example);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}
