/*
 * append.c
 *		Appending events to a stream.
 *
 * The order of steps, each of which relies on those before:
 *
 *	1. everything that can be checked without the store is checked;
 *	2. the store is resolved, event_log locked as by any INSERT, rights checked;
 *	3. the stream is locked until the transaction ends (log/stream);
 *	4. its version, the last entry of the primary key, is compared with the
 *	   expected one;
 *	5. positions are reserved (log/horizon), so they rise with the versions;
 *	6. the rows are written, past the executor if the table is as we made it,
 *	   with an INSERT statement if it has triggers, constraints or row-level
 *	   security that must have their say.
 *
 * The unique keys stay the last line of defence in both cases.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/typcache.h"

#include "base/arguments.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/json.h"
#include "log/append.h"
#include "log/event.h"
#include "log/expected.h"
#include "log/horizon.h"
#include "log/scan.h"
#include "log/stream.h"
#include "store/event_id.h"
#include "store/guard.h"
#include "store/statement.h"

#define CHUNK	500				/* rows of one multi-insert */

/* What the rows of an append have in common, and the place of the first. */
typedef struct Batch
{
	EsStore    *store;
	Relation	log;
	Relation   *indexes;		/* as in store->indexes, of a plain table; NULL: not needed */
	Relation	by_version;		/* one of them */
	EsEvent    *events;
	int			count;
	int64		stream_id;
	int64		version;
	int64		position;
	TimestampTz now;
	pg_uuid_t	made_id;		/* room for the id of the row being formed */
} Batch;

static char *
uuid_string(const pg_uuid_t *id)
{
	return DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(id)));
}

static void
duplicate_event(const Batch *batch, int index)
{
	char	   *id = uuid_string(batch->events[index].event_id);

	ereport(ERROR,
			(es_problem(ERRCODE_ES_DUPLICATE_EVENT,
						ES_MEMBERS(ES_TEXT("event_id", id), ES_INT("index", index)),
						"event id %s is already in event store \"%s\"", id, NameStr(batch->store->schema)),
			 errhint("If this is a retry, append with the expected version of the first try: then it is recognised.")));
}

/* The columns of row i.  What they point to is good until the next call. */
static void
form_row(Batch *batch, int i, Datum *values, bool *nulls)
{
	EsEvent    *event = &batch->events[i];

	if (event->event_id == NULL)
		es_event_id_make(batch->store, batch->position + i, &batch->made_id);

	memset(nulls, false, LOG_NCOLUMNS * sizeof(bool));
	values[LOG_POSITION] = Int64GetDatum(batch->position + i);
	values[LOG_STREAM_ID] = Int64GetDatum(batch->stream_id);
	values[LOG_VERSION] = Int64GetDatum(batch->version + i);
	values[LOG_CREATED_AT] = TimestampTzGetDatum(event->has_created_at ? event->created_at : batch->now);
	values[LOG_EVENT_ID] = UUIDPGetDatum(event->event_id ? event->event_id : &batch->made_id);
	values[LOG_CORRELATION_ID] = UUIDPGetDatum(event->correlation_id);
	values[LOG_CAUSATION_ID] = UUIDPGetDatum(event->causation_id);
	values[LOG_EVENT_TYPE] = PointerGetDatum(event->type);
	values[LOG_DATA] = JsonbPGetDatum(event->data);
	values[LOG_METADATA] = PointerGetDatum(event->metadata);
	nulls[LOG_CORRELATION_ID] = event->correlation_id == NULL;
	nulls[LOG_CAUSATION_ID] = event->causation_id == NULL;
	nulls[LOG_METADATA] = event->metadata == NULL;
}

/* Enter one row into an index; a duplicate of a caller's id becomes VE005. */
static void
insert_into_index(Batch *batch, int i, Relation index, const EsLogIndex *which, TupleTableSlot *slot)
{
	IndexInfo  *info = which->info;
	Datum		values[INDEX_MAX_KEYS];
	bool		nulls[INDEX_MAX_KEYS];
	IndexUniqueCheck check = index->rd_index->indisunique ? UNIQUE_CHECK_YES : UNIQUE_CHECK_NO;
	MemoryContext caller = CurrentMemoryContext;

	for (int k = 0; k < info->ii_NumIndexAttrs; k++)
		values[k] = slot_getattr(slot, info->ii_IndexAttrNumbers[k], &nulls[k]);

	if (!which->given_ids_only)
	{
		index_insert(index, values, nulls, &slot->tts_tid, batch->log, check, false, info);
		return;
	}
	if (batch->events[i].event_id == NULL)
		return;
	PG_TRY();
	{
		index_insert(index, values, nulls, &slot->tts_tid, batch->log, check, false, info);
	}
	PG_CATCH();
	{
		if (geterrcode() == ERRCODE_UNIQUE_VIOLATION)
		{
			MemoryContextSwitchTo(caller);
			FlushErrorState();
			duplicate_event(batch, i);
		}
		PG_RE_THROW();
	}
	PG_END_TRY();
}

/*
 * Open the indexes of a plain event_log, which the search and the inserts
 * share; the one over the caller's ids only if there are any.
 */
static void
open_indexes(Batch *batch)
{
	EsStore    *store = batch->store;
	bool		ids = false;

	for (int i = 0; i < batch->count && !ids; i++)
		ids = batch->events[i].event_id != NULL;
	batch->indexes = palloc(Max(store->nindexes, 1) * sizeof(Relation));
	for (int x = 0; x < store->nindexes; x++)
	{
		if (store->indexes[x].given_ids_only && !ids)
		{
			batch->indexes[x] = NULL;
			continue;
		}
		batch->indexes[x] = index_open(store->indexes[x].oid, RowExclusiveLock);
		if (store->indexes[x].oid == store->log_by_version)
			batch->by_version = batch->indexes[x];
	}
}

/* The locks stay until the transaction ends. */
static void
close_relations(Batch *batch)
{
	for (int x = 0; x < batch->store->nindexes; x++)
		if (batch->indexes[x] != NULL)
			index_close(batch->indexes[x], NoLock);
	table_close(batch->log, NoLock);
}

/* Write the rows past the executor, as ordinary WAL-logged inserts. */
static void
insert_direct(Batch *batch)
{
	EsStore    *store = batch->store;
	/* a copy is not counted: a resource owner that holds many references is slow */
	TupleDesc	desc = CreateTupleDescCopy(RelationGetDescr(batch->log));
	int			nslots = Min(batch->count, CHUNK);
	TupleTableSlot **slots = palloc(nslots * sizeof(TupleTableSlot *));
	CommandId	command = GetCurrentCommandId(true);
	MemoryContext rows = AllocSetContextCreate(CurrentMemoryContext, "event_store rows", ALLOCSET_DEFAULT_SIZES);

	for (int i = 0; i < nslots; i++)
		slots[i] = MakeSingleTupleTableSlot(desc, &TTSOpsHeapTuple);

	for (int start = 0; start < batch->count; start += nslots)
	{
		int			n = Min(nslots, batch->count - start);
		MemoryContext caller = MemoryContextSwitchTo(rows);

		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < n; i++)
		{
			Datum		values[LOG_NCOLUMNS];
			bool		nulls[LOG_NCOLUMNS];

			form_row(batch, start + i, values, nulls);
			ExecStoreHeapTuple(heap_form_tuple(desc, values, nulls), slots[i], false);
		}
		if (n == 1)
			table_tuple_insert(batch->log, slots[0], command, 0, NULL);
		else
			table_multi_insert(batch->log, slots, n, command, 0, NULL);
		for (int x = 0; x < store->nindexes; x++)
			for (int i = 0; i < n && batch->indexes[x] != NULL; i++)
				insert_into_index(batch, start + i, batch->indexes[x], &store->indexes[x], slots[i]);
		for (int i = 0; i < n; i++)
			ExecClearTuple(slots[i]);
		MemoryContextSwitchTo(caller);
		MemoryContextReset(rows);
	}

	for (int i = 0; i < nslots; i++)
		ExecDropSingleTupleTableSlot(slots[i]);
	FreeTupleDesc(desc);
	MemoryContextDelete(rows);
}

/* Is the error being handled a violation of the named unique index? */
static bool
error_is_duplicate_in(const char *index)
{
	ErrorData  *error;
	bool		result;

	if (geterrcode() != ERRCODE_UNIQUE_VIOLATION || index == NULL)
		return false;
	error = CopyErrorData();
	result = error->constraint_name != NULL && strcmp(error->constraint_name, index) == 0;
	FreeErrorData(error);
	return result;
}

/* Write the rows with an INSERT statement each, as the caller. */
static void
insert_sql(Batch *batch)
{
	MemoryContext caller = CurrentMemoryContext;
	char	   *id_index = get_rel_name(batch->store->log_by_event_id);

	SPI_connect();
	for (int i = 0; i < batch->count; i++)
	{
		Datum		values[LOG_NCOLUMNS];
		bool		nulls[LOG_NCOLUMNS];
		char		spi_nulls[LOG_NCOLUMNS];

		CHECK_FOR_INTERRUPTS();
		form_row(batch, i, values, nulls);
		for (int k = 0; k < LOG_NCOLUMNS; k++)
			spi_nulls[k] = nulls[k] ? 'n' : ' ';

		es_guard_let_insert(batch->store->log);
		PG_TRY();
		{
			int			result = SPI_execute_plan(es_statement_plan(batch->store, ES_STMT_INSERT),
												  values, spi_nulls, false, 0);

			if (result != SPI_OK_INSERT)
				elog(ERROR, "SPI_execute_plan failed: %s", SPI_result_code_string(result));
		}
		PG_CATCH();
		{
			es_guard_close();
			MemoryContextSwitchTo(caller);
			if (batch->events[i].event_id != NULL && error_is_duplicate_in(id_index))
			{
				FlushErrorState();
				duplicate_event(batch, i);
			}
			PG_RE_THROW();
		}
		PG_END_TRY();
		es_guard_close();
		if (SPI_processed != 1)
			ereport(ERROR,
					(es_problem(ERRCODE_FEATURE_NOT_SUPPORTED,
								ES_MEMBERS(ES_TEXT("store", NameStr(batch->store->schema)), ES_INT("index", i)),
								"a trigger or rule on event_log has suppressed event %d", i),
					 errhint("An event is stored or refused with an error, not suppressed; change the trigger or rule.")));
	}
	SPI_finish();
}

/*
 * A trigger may change what a row says, but not where it stands: the stream
 * must now end with just our versions, at our positions, with our ids.  The
 * unique keys cover the rest.
 */
static void
check_written(Batch *batch)
{
	EsScan		scan;
	Datum	   *values;
	bool	   *nulls;
	int			i = 0;

	if (!batch->store->plain)
		return;
	es_scan_true_stream(&scan, batch->store, batch->log, batch->stream_id, batch->version, SnapshotSelf);
	while (es_scan_next(&scan, &values, &nulls))
	{
		if (i == batch->count ||
			DatumGetInt64(values[LOG_VERSION]) != batch->version + i ||
			DatumGetInt64(values[LOG_POSITION]) != batch->position + i ||
			(batch->events[i].event_id != NULL &&
			 memcmp(DatumGetUUIDP(values[LOG_EVENT_ID]), batch->events[i].event_id, UUID_LEN) != 0))
			break;
		i++;
	}
	es_scan_end(&scan);
	if (i != batch->count)
		ereport(ERROR,
				(es_problem(ERRCODE_FEATURE_NOT_SUPPORTED,
							ES_MEMBERS(ES_TEXT("store", NameStr(batch->store->schema)), ES_INT("index", i)),
							"a trigger or rule on event_log has changed where event %d stands", i),
				 errhint("A trigger may not change stream_id, version, position or event_id.")));
}

/*
 * Do the events stand already at exactly the versions that the caller expects
 * to give them?  Then the append is a retry of one that has happened.
 */
static bool
already_appended(Batch *batch, int64 base, int64 actual, EsAppended *result)
{
	Snapshot	snapshot;
	EsScan		scan;
	Datum	   *values;
	bool	   *nulls;
	int			matched = 0;

	if (batch->stream_id == 0 || actual - base < batch->count)
		return false;
	for (int i = 0; i < batch->count; i++)
		if (batch->events[i].event_id == NULL)
			return false;

	snapshot = RegisterSnapshot(IsolationUsesXactSnapshot() ? GetTransactionSnapshot() : GetLatestSnapshot());
	es_scan_stream(&scan, batch->store, batch->log, batch->stream_id, base + 1, base + batch->count, false, snapshot);
	while (es_scan_next(&scan, &values, &nulls) &&
		   memcmp(DatumGetUUIDP(values[LOG_EVENT_ID]), batch->events[matched].event_id, UUID_LEN) == 0)
	{
		result->last_version = DatumGetInt64(values[LOG_VERSION]);
		result->last_position = DatumGetInt64(values[LOG_POSITION]);
		if (matched++ == 0)
		{
			result->first_version = result->last_version;
			result->first_position = result->last_position;
		}
	}
	es_scan_end(&scan);
	UnregisterSnapshot(snapshot);
	return matched == batch->count;
}

/* Refuse ids that look like those this store makes itself. */
static void
check_given_ids(const Batch *batch)
{
	int64		position;

	for (int i = 0; i < batch->count; i++)
		if (batch->events[i].event_id != NULL &&
			es_event_id_made_here(batch->store, batch->events[i].event_id, &position))
		{
			char	   *id = uuid_string(batch->events[i].event_id);

			ereport(ERROR,
					(es_problem(ERRCODE_INVALID_PARAMETER_VALUE,
								ES_MEMBERS(ES_TEXT("event_id", id), ES_INT("index", i), ES_TEXT("member", "event_id")),
								"event_id %s of event %d is reserved: this store makes such ids itself", id, i),
					 errhint("Give a random UUID, or none.")));
		}
}

/*
 * Append events to a stream of the current store that must be at the expected
 * version.  All or nothing, like any statement.
 */
void
es_append(text *stream, EsEvent *events, int count, int64 expected, EsAppended *result)
{
	Batch		batch = {.events = events, .count = count};
	int64		actual = 0;
	int64		guess;
	bool		own = false;

	es_stream_check_name(stream);
	es_events_check(events, count);

	batch.log = es_store_open_log(&batch.store, RowExclusiveLock, ACL_INSERT);
	open_indexes(&batch);
	check_given_ids(&batch);

	es_stream_lock(batch.store, batch.log, stream);
	batch.stream_id = es_stream_find_latest(batch.store, stream, &guess);
	if (batch.stream_id != 0)
	{
		actual = es_scan_latest_version(batch.store, batch.log, batch.by_version, batch.stream_id,
										Max(expected, guess), &own);
		if (IsolationUsesXactSnapshot() && !own &&
			es_scan_true_version(batch.store, batch.log, batch.stream_id, GetTransactionSnapshot()) != actual)
			es_stream_serialization_failure(stream);
	}

	if (!es_expected_met(expected, actual))
	{
		int64		base = expected == ES_EXPECTED_NO_STREAM ? 0 : expected;

		if (base >= 0 && already_appended(&batch, base, actual, result))
		{
			close_relations(&batch);
			return;
		}
		es_expected_check(expected, actual, text_to_cstring(stream));
	}

	batch.now = GetCurrentTimestamp();
	batch.version = actual + 1;
	batch.position = es_position_reserve(batch.store, count);
	if (batch.stream_id == 0)
	{
		batch.stream_id = batch.position;
		es_stream_create(batch.store, batch.stream_id, stream, batch.now);
	}

	if (batch.store->plain_insert && !es_store_use_sql(batch.store, batch.log))
		insert_direct(&batch);
	else
	{
		insert_sql(&batch);
		check_written(&batch);
	}
	close_relations(&batch);

	es_stream_remember_version(batch.store, stream, actual + count);
	result->first_version = batch.version;
	result->last_version = actual + count;
	result->first_position = batch.position;
	result->last_position = batch.position + count - 1;
}

/* The row that an append returns. */
static Datum
result_datum(FunctionCallInfo fcinfo, const EsAppended *result)
{
	Oid			type = get_fn_expr_rettype(fcinfo->flinfo);
	TupleDesc	desc = lookup_rowtype_tupdesc(OidIsValid(type) ? type : get_func_rettype(fcinfo->flinfo->fn_oid), -1);
	Datum		values[4];
	bool		nulls[4] = {0};
	HeapTuple	tuple;

	values[0] = Int64GetDatum(result->first_version);
	values[1] = Int64GetDatum(result->last_version);
	values[2] = Int64GetDatum(result->first_position);
	values[3] = Int64GetDatum(result->last_position);
	tuple = heap_form_tuple(desc, values, nulls);
	ReleaseTupleDesc(desc);
	return HeapTupleGetDatum(tuple);
}

static void
check_append_arguments(FunctionCallInfo fcinfo)
{
	es_require_argument(fcinfo, 0, "stream");
	es_require_argument(fcinfo, 1, "events");
	es_require_argument(fcinfo, 2, "expected");
}

PG_FUNCTION_INFO_V1(event_store_append_jsonb);
PG_FUNCTION_INFO_V1(event_store_append_text);
PG_FUNCTION_INFO_V1(event_store_append_array);
PG_FUNCTION_INFO_V1(event_store_append_event);
PG_FUNCTION_INFO_V1(event_store_append_event_text);

Datum
event_store_append_jsonb(PG_FUNCTION_ARGS)
{
	EsAppended	result;
	EsEvent    *events;
	int			count;

	check_append_arguments(fcinfo);
	events = es_events_from_jsonb(PG_GETARG_JSONB_P(1), &count);
	es_append(PG_GETARG_TEXT_PP(0), events, count, PG_GETARG_INT64(2), &result);
	return result_datum(fcinfo, &result);
}

Datum
event_store_append_text(PG_FUNCTION_ARGS)
{
	EsAppended	result;
	EsEvent    *events;
	int			count;

	check_append_arguments(fcinfo);
	events = es_events_from_text(PG_GETARG_TEXT_PP(1), &count);
	es_append(PG_GETARG_TEXT_PP(0), events, count, PG_GETARG_INT64(2), &result);
	return result_datum(fcinfo, &result);
}

Datum
event_store_append_array(PG_FUNCTION_ARGS)
{
	EsAppended	result;
	EsEvent    *events;
	int			count;

	check_append_arguments(fcinfo);
	events = es_events_from_array(PG_GETARG_ARRAYTYPE_P(1), &count);
	es_append(PG_GETARG_TEXT_PP(0), events, count, PG_GETARG_INT64(2), &result);
	return result_datum(fcinfo, &result);
}

/* append_event, with data and metadata as its caller has read them from arguments 2 and 3. */
static Datum
append_event(FunctionCallInfo fcinfo, EsEvent *event)
{
	EsAppended	result;

	event->type = PG_GETARG_TEXT_PP(1);
	if (!PG_ARGISNULL(5))
		event->event_id = PG_GETARG_UUID_P(5);
	if (!PG_ARGISNULL(6))
		event->correlation_id = PG_GETARG_UUID_P(6);
	if (!PG_ARGISNULL(7))
		event->causation_id = PG_GETARG_UUID_P(7);
	event->has_created_at = !PG_ARGISNULL(8);
	if (event->has_created_at)
		event->created_at = PG_GETARG_TIMESTAMPTZ(8);
	es_append(PG_GETARG_TEXT_PP(0), event, 1, PG_GETARG_INT64(4), &result);
	return result_datum(fcinfo, &result);
}

static void
check_append_event_arguments(FunctionCallInfo fcinfo)
{
	es_require_argument(fcinfo, 0, "stream");
	es_require_argument(fcinfo, 1, "type");
	es_require_argument(fcinfo, 2, "data");
	es_require_argument(fcinfo, 4, "expected");
}

Datum
event_store_append_event(PG_FUNCTION_ARGS)
{
	EsEvent		event = {0};

	check_append_event_arguments(fcinfo);
	event.data = PG_GETARG_JSONB_P(2);
	if (!PG_ARGISNULL(3))
		event.metadata = PG_GETARG_JSONB_P(3);
	return append_event(fcinfo, &event);
}

Datum
event_store_append_event_text(PG_FUNCTION_ARGS)
{
	EsEvent		event = {0};

	check_append_event_arguments(fcinfo);
	event.data = es_jsonb_in(PG_GETARG_TEXT_PP(2));
	if (!PG_ARGISNULL(3))
		event.metadata = es_jsonb_in(PG_GETARG_TEXT_PP(3));
	return append_event(fcinfo, &event);
}
