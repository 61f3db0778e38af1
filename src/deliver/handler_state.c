/*
 * handler_state.c
 *		How far handlers have come in a store, and what they have put aside.
 *
 * Owns the tables event_handlers, a row for each partition of each handler
 * (numbers below 0 are those of a projection that is built beside itself), and event_parked, a row for each event that was put aside.  A store gets
 * them when its first handler needs them, from its owner.
 *
 * Whoever reads a row to change it holds the lock of that handler's partition
 * until its transaction ends (es_handler_lock); so the rows are written past
 * the executor and past the caller's rights: what a handler does and how far
 * it has come belong together, and its own role may change neither apart.
 *
 * Rows are read with a catalog snapshot, as they stand, whatever the isolation
 * level of the transaction.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"

#include "base/compat.h"
#include "base/errors.h"
#include "deliver/handler_state.h"
#include "store/manage.h"

#define PARTITION_LOCK	0xE502	/* last word of the lock tag of a partition */

/* Columns of event_handlers. */
enum StateColumn
{
	STATE_HANDLER,
	STATE_PARTITION,
	STATE_PARTITIONS,
	STATE_POSITION,
	STATE_STATE,
	STATE_FAILURES,
	STATE_FAILED_POSITION,
	STATE_RETRY_AT,
	STATE_HANDLED,
	STATE_SKIPPED,
	STATE_PARKED,
	STATE_STARTED_AT,
	STATE_CHANGED_AT,
	STATE_PROBLEM,
	STATE_NCOLUMNS
};

static const Oid state_types[] = {
	[STATE_HANDLER] = TEXTOID,
	[STATE_PARTITION] = INT4OID,
	[STATE_PARTITIONS] = INT4OID,
	[STATE_POSITION] = INT8OID,
	[STATE_STATE] = TEXTOID,
	[STATE_FAILURES] = INT4OID,
	[STATE_FAILED_POSITION] = INT8OID,
	[STATE_RETRY_AT] = TIMESTAMPTZOID,
	[STATE_HANDLED] = INT8OID,
	[STATE_SKIPPED] = INT8OID,
	[STATE_PARKED] = INT8OID,
	[STATE_STARTED_AT] = TIMESTAMPTZOID,
	[STATE_CHANGED_AT] = TIMESTAMPTZOID,
	[STATE_PROBLEM] = JSONBOID,
};

/* Columns of event_parked. */
enum ParkedColumn
{
	PARKED_HANDLER,
	PARKED_POSITION,
	PARKED_PARTITION,
	PARKED_ATTEMPTS,
	PARKED_PARKED_AT,
	PARKED_PROBLEM,
	PARKED_NCOLUMNS
};

static const Oid parked_types[] = {
	[PARKED_HANDLER] = TEXTOID,
	[PARKED_POSITION] = INT8OID,
	[PARKED_PARTITION] = INT4OID,
	[PARKED_ATTEMPTS] = INT4OID,
	[PARKED_PARKED_AT] = TIMESTAMPTZOID,
	[PARKED_PROBLEM] = JSONBOID,
};

static const char *const runs_names[] = {
	[ES_HANDLER_RUNNING] = "running",
	[ES_HANDLER_PAUSED] = "paused",
	[ES_HANDLER_STOPPED] = "stopped",
};

const char *
es_handler_runs_name(EsHandlerRuns runs)
{
	return runs_names[runs];
}

/* --- the tables --- */

/* A table of the store as we make it, opened; NULL if it is not there. */
static Relation
open_table(EsStore *store, const char *name, const Oid *types, int ntypes, LOCKMODE lockmode)
{
	Oid			relid = get_relname_relid(name, store->nspid);
	Relation	rel = OidIsValid(relid) ? try_table_open(relid, lockmode) : NULL;
	bool		usable;

	if (rel == NULL)
		return NULL;
	usable = rel->rd_rel->relkind == RELKIND_RELATION && RelationGetDescr(rel)->natts == ntypes &&
		OidIsValid(es_primary_key(rel));
	for (int i = 0; i < ntypes && usable; i++)
		usable = TupleDescAttr(RelationGetDescr(rel), i)->atttypid == types[i];
	if (!usable)
		ereport(ERROR,
				(es_problem(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, ES_MEMBERS(ES_TEXT("store", NameStr(store->schema))),
							"event store \"%s\" cannot keep handlers: table %s is altered", NameStr(store->schema), name),
				 errhint("The tables of a store must stay as event_store made them; undo the change.")));
	return rel;
}

/* event_handlers of a store; if it is not there it is made, or else NULL. */
Relation
es_handlers_open(EsStore *store, LOCKMODE lockmode, bool create)
{
	Relation	rel;

	while ((rel = open_table(store, "event_handlers", state_types, STATE_NCOLUMNS, lockmode)) == NULL && create)
		es_store_need_table(store, "event_handlers");
	return rel;
}

/* event_parked of a store; NULL if it is not there. */
Relation
es_parked_open(EsStore *store, LOCKMODE lockmode)
{
	return open_table(store, "event_parked", parked_types, PARKED_NCOLUMNS, lockmode);
}

/* --- the lock --- */

uint32
es_handler_lock_key(const char *name, int partition)
{
	return hash_combine(hash_bytes((const unsigned char *) name, strlen(name)), hash_bytes_uint32(partition));
}

/*
 * Lock a partition of a handler until the transaction ends, if it is free or
 * wait is true; tells whether it is locked now.
 */
bool
es_handler_lock(Relation handlers, const char *name, int partition, bool wait)
{
	LOCKTAG		tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, RelationGetRelid(handlers), es_handler_lock_key(name, partition), PARTITION_LOCK);
	tag.locktag_type = LOCKTAG_USERLOCK;
	return LockAcquire(&tag, ExclusiveLock, false, !wait) != LOCKACQUIRE_NOT_AVAIL;
}

/* --- rows --- */

static void
begin_scan(Relation rel, const char *name, const int64 *second, SysScanDesc *scan)
{
	ScanKeyData keys[2];

	/* the scan copies the keys */
	ScanKeyEntryInitialize(&keys[0], 0, 1, BTEqualStrategyNumber, InvalidOid, C_COLLATION_OID, F_TEXTEQ,
						   CStringGetTextDatum(name));
	if (second != NULL)
		ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum((int32) *second));
	*scan = systable_beginscan(rel, es_primary_key(rel), true, NULL, second != NULL ? 2 : 1, keys);
}

static Jsonb *
copy_jsonb(Datum value, bool isnull)
{
	return isnull ? NULL : DatumGetJsonbPCopy(value);
}

static void
read_state(Relation handlers, HeapTuple tuple, EsHandlerState *state)
{
	Datum		values[STATE_NCOLUMNS];
	bool		nulls[STATE_NCOLUMNS];
	char	   *runs;

	heap_deform_tuple(tuple, RelationGetDescr(handlers), values, nulls);
	state->partition = DatumGetInt32(values[STATE_PARTITION]);
	state->partitions = DatumGetInt32(values[STATE_PARTITIONS]);
	state->position = DatumGetInt64(values[STATE_POSITION]);
	runs = TextDatumGetCString(values[STATE_STATE]);
	state->runs = strcmp(runs, "paused") == 0 ? ES_HANDLER_PAUSED :
		strcmp(runs, "stopped") == 0 ? ES_HANDLER_STOPPED : ES_HANDLER_RUNNING;
	state->failures = DatumGetInt32(values[STATE_FAILURES]);
	state->failed_position = nulls[STATE_FAILED_POSITION] ? 0 : DatumGetInt64(values[STATE_FAILED_POSITION]);
	state->retry_at = nulls[STATE_RETRY_AT] ? 0 : DatumGetTimestampTz(values[STATE_RETRY_AT]);
	state->handled = DatumGetInt64(values[STATE_HANDLED]);
	state->skipped = DatumGetInt64(values[STATE_SKIPPED]);
	state->parked = DatumGetInt64(values[STATE_PARKED]);
	state->started_at = DatumGetTimestampTz(values[STATE_STARTED_AT]);
	state->changed_at = DatumGetTimestampTz(values[STATE_CHANGED_AT]);
	state->problem = copy_jsonb(values[STATE_PROBLEM], nulls[STATE_PROBLEM]);
	state->tid = tuple->t_self;
}

/* The state of a partition; false if it has none yet. */
bool
es_handlers_read(Relation handlers, const char *name, int partition, EsHandlerState *state)
{
	int64		second = partition;
	SysScanDesc scan;
	HeapTuple	tuple;

	begin_scan(handlers, name, &second, &scan);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		read_state(handlers, tuple, state);
	systable_endscan(scan);
	return HeapTupleIsValid(tuple);
}

/* The states of all partitions of a handler that have one: a list of EsHandlerState. */
List *
es_handlers_read_all(Relation handlers, const char *name)
{
	SysScanDesc scan;
	HeapTuple	tuple;
	List	   *states = NIL;

	begin_scan(handlers, name, NULL, &scan);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		EsHandlerState *state = palloc(sizeof(EsHandlerState));

		read_state(handlers, tuple, state);
		states = lappend(states, state);
	}
	systable_endscan(scan);
	return states;
}

/* Write the state of a partition, which the caller has locked. */
void
es_handlers_write(Relation handlers, const char *name, EsHandlerState *state)
{
	Datum		values[STATE_NCOLUMNS];
	bool		nulls[STATE_NCOLUMNS] = {0};
	HeapTuple	tuple;

	state->changed_at = GetCurrentTimestamp();
	values[STATE_HANDLER] = CStringGetTextDatum(name);
	values[STATE_PARTITION] = Int32GetDatum(state->partition);
	values[STATE_PARTITIONS] = Int32GetDatum(state->partitions);
	values[STATE_POSITION] = Int64GetDatum(state->position);
	values[STATE_STATE] = CStringGetTextDatum(runs_names[state->runs]);
	values[STATE_FAILURES] = Int32GetDatum(state->failures);
	values[STATE_FAILED_POSITION] = Int64GetDatum(state->failed_position);
	nulls[STATE_FAILED_POSITION] = state->failed_position == 0;
	values[STATE_RETRY_AT] = TimestampTzGetDatum(state->retry_at);
	nulls[STATE_RETRY_AT] = state->retry_at == 0;
	values[STATE_HANDLED] = Int64GetDatum(state->handled);
	values[STATE_SKIPPED] = Int64GetDatum(state->skipped);
	values[STATE_PARKED] = Int64GetDatum(state->parked);
	if (state->started_at == 0)
		state->started_at = state->changed_at;
	values[STATE_STARTED_AT] = TimestampTzGetDatum(state->started_at);
	values[STATE_CHANGED_AT] = TimestampTzGetDatum(state->changed_at);
	values[STATE_PROBLEM] = JsonbPGetDatum(state->problem);
	nulls[STATE_PROBLEM] = state->problem == NULL;

	tuple = heap_form_tuple(RelationGetDescr(handlers), values, nulls);
	if (ItemPointerIsValid(&state->tid))
		CatalogTupleUpdate(handlers, &state->tid, tuple);
	else
		CatalogTupleInsert(handlers, tuple);
	state->tid = tuple->t_self;
	CommandCounterIncrement();
}

void
es_handlers_delete(Relation handlers, EsHandlerState *state)
{
	CatalogTupleDelete(handlers, &state->tid);
	CommandCounterIncrement();
}

/* Put an event aside; if it is there already, its problem is the newer one. */
void
es_parked_write(Relation parked, const char *name, EsParked *event)
{
	Datum		values[PARKED_NCOLUMNS];
	bool		nulls[PARKED_NCOLUMNS] = {0};
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	old;
	HeapTuple	tuple;

	event->parked_at = GetCurrentTimestamp();
	values[PARKED_HANDLER] = CStringGetTextDatum(name);
	values[PARKED_POSITION] = Int64GetDatum(event->position);
	values[PARKED_PARTITION] = Int32GetDatum(event->partition);
	values[PARKED_ATTEMPTS] = Int32GetDatum(event->attempts);
	values[PARKED_PARKED_AT] = TimestampTzGetDatum(event->parked_at);
	values[PARKED_PROBLEM] = JsonbPGetDatum(event->problem);
	nulls[PARKED_PROBLEM] = event->problem == NULL;
	tuple = heap_form_tuple(RelationGetDescr(parked), values, nulls);

	ScanKeyEntryInitialize(&keys[0], 0, PARKED_HANDLER + 1, BTEqualStrategyNumber, InvalidOid, C_COLLATION_OID, F_TEXTEQ,
						   values[PARKED_HANDLER]);
	ScanKeyInit(&keys[1], PARKED_POSITION + 1, BTEqualStrategyNumber, F_INT8EQ, values[PARKED_POSITION]);
	scan = systable_beginscan(parked, es_primary_key(parked), true, NULL, 2, keys);
	old = systable_getnext(scan);
	if (HeapTupleIsValid(old))
		CatalogTupleUpdate(parked, &old->t_self, tuple);
	else
		CatalogTupleInsert(parked, tuple);
	systable_endscan(scan);
	CommandCounterIncrement();
}

/* The first events that a handler has put aside, in their order: a list of EsParked. */
List *
es_parked_read(Relation parked, const char *name, int64 max_count)
{
	Relation	index = index_open(es_primary_key(parked), AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	List	   *events = NIL;

	ScanKeyEntryInitialize(&key, 0, PARKED_HANDLER + 1, BTEqualStrategyNumber, InvalidOid, C_COLLATION_OID, F_TEXTEQ,
						   CStringGetTextDatum(name));
	scan = systable_beginscan_ordered(parked, index, NULL, 1, &key);
	while (list_length(events) < max_count &&
		   HeapTupleIsValid(tuple = systable_getnext_ordered(scan, ForwardScanDirection)))
	{
		Datum		values[PARKED_NCOLUMNS];
		bool		nulls[PARKED_NCOLUMNS];
		EsParked   *event = palloc(sizeof(EsParked));

		heap_deform_tuple(tuple, RelationGetDescr(parked), values, nulls);
		event->position = DatumGetInt64(values[PARKED_POSITION]);
		event->partition = DatumGetInt32(values[PARKED_PARTITION]);
		event->attempts = DatumGetInt32(values[PARKED_ATTEMPTS]);
		event->parked_at = DatumGetTimestampTz(values[PARKED_PARKED_AT]);
		event->problem = copy_jsonb(values[PARKED_PROBLEM], nulls[PARKED_PROBLEM]);
		event->tid = tuple->t_self;
		events = lappend(events, event);
	}
	systable_endscan_ordered(scan);
	index_close(index, AccessShareLock);
	return events;
}

void
es_parked_delete(Relation parked, const EsParked *event)
{
	CatalogTupleDelete(parked, unconstify(ItemPointerData *, &event->tid));
	CommandCounterIncrement();
}
