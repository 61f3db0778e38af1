/*
 * insert.c
 *		Writing the rows of an append.
 *
 * The streams are locked and every event has its place; what is left is to
 * store the rows and to enter them into the indexes.  A plain table is written
 * past the executor, one that has something to say about its rows (triggers,
 * constraints, row-level security, partitions) with INSERT statements.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "storage/shmem.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/errors.h"
#include "log/batch.h"
#include "log/scan.h"
#include "log/stream.h"
#include "store/event_id.h"
#include "store/guard.h"
#include "store/statement.h"

#define CHUNK		500			/* rows of one multi-insert */

/* A caller's id that is not yet in its index. */
typedef struct GivenId
{
	const pg_uuid_t *id;
	int			event;
	ItemPointerData tid;
} GivenId;

/* From here on errors are those of an event of a part, until another begins or es_batch_leave_parts. */
void
es_batch_enter_event(EsBatch *batch, const EsAppend *part, int event)
{
	if (batch->order != NULL)
		batch->member[0] = (EsMember) ES_INT("line", batch->order->line[event]);
	else if (batch->many)
		batch->member[0] = (EsMember) ES_INT("append", part - batch->parts);
	else
		return;
	if (error_context_stack != &batch->callback)
	{
		batch->context.members = batch->member;
		batch->context.of = batch->order ? batch->order->source : NULL;
		batch->callback.callback = es_problem_context;
		batch->callback.arg = &batch->context;
		batch->callback.previous = error_context_stack;
		error_context_stack = &batch->callback;
	}
}

/* The same for a part as such, which begins with its first event. */
void
es_batch_enter_part(EsBatch *batch, const EsAppend *part)
{
	es_batch_enter_event(batch, part, part->start);
}

void
es_batch_leave_parts(EsBatch *batch)
{
	if (error_context_stack == &batch->callback)
		error_context_stack = batch->callback.previous;
}

/* The part to which an event belongs, looked for from the part of an event before it on. */
EsAppend *
es_batch_part(EsAppend *part, int event)
{
	while (event >= part->start + part->count)
		part++;
	return part;
}

/* The event of a row. */
static int
event_of_row(const EsBatch *batch, int row)
{
	return batch->order ? batch->order->event[row] : row;
}

static void
duplicate_event(EsBatch *batch, int event)
{
	char	   *id = es_event_id_to_string(batch->events[event].event_id);
	EsAppend   *part = es_batch_part(batch->parts, event);

	es_batch_enter_event(batch, part, event);
	ereport(ERROR,
			(es_problem(ERRCODE_ES_DUPLICATE_EVENT,
						ES_MEMBERS(ES_TEXT("event_id", id), ES_INT("index", event - part->start)),
						"event id %s is already in event store \"%s\"", id, NameStr(batch->store->schema)),
			 errhint("If this is a retry, append with the expected version of the first try: then it is recognised.")));
}

/*
 * The columns of row i; rows are formed in their order.  What the columns point
 * to is good until the next call.
 */
static void
form_row(EsBatch *batch, int i, Datum *values, bool *nulls)
{
	int			e = event_of_row(batch, i);
	EsEvent    *event = &batch->events[e];
	EsAppend   *part = batch->part = batch->order ? &batch->parts[batch->order->part[i]] : es_batch_part(batch->part, e);

	if (event->event_id == NULL)
		es_event_id_make(batch->store, batch->position + i, &batch->made_id);

	memset(nulls, false, LOG_NCOLUMNS * sizeof(bool));
	values[LOG_POSITION] = Int64GetDatum(batch->position + i);
	values[LOG_STREAM_ID] = Int64GetDatum(part->stream_id);
	values[LOG_VERSION] = Int64GetDatum(part->result.first_version + e - part->start);
	values[LOG_CREATED_AT] = TimestampTzGetDatum(event->has_created_at ? event->created_at : batch->now);
	values[LOG_EVENT_ID] = UUIDPGetDatum(event->event_id ? event->event_id : &batch->made_id);
	values[LOG_CORRELATION_ID] = UUIDPGetDatum(event->correlation_id);
	values[LOG_CAUSATION_ID] = UUIDPGetDatum(event->causation_id);
	values[LOG_EVENT_TYPE] = PointerGetDatum(event->type);
	values[LOG_DATA] = PointerGetDatum(event->data);
	values[LOG_METADATA] = PointerGetDatum(event->metadata);
	nulls[LOG_CORRELATION_ID] = event->correlation_id == NULL;
	nulls[LOG_CAUSATION_ID] = event->causation_id == NULL;
	nulls[LOG_METADATA] = event->metadata == NULL;
}

/* Enter the id of an event, which the caller gave; a duplicate becomes VE005. */
static void
insert_id(EsBatch *batch, int event, Relation index, IndexInfo *info, ItemPointer tid)
{
	Datum		value = UUIDPGetDatum(batch->events[event].event_id);
	bool		isnull = false;
	MemoryContext caller = CurrentMemoryContext;

	PG_TRY();
	{
		index_insert(index, &value, &isnull, tid, batch->log, UNIQUE_CHECK_YES, false, info);
	}
	PG_CATCH();
	{
		if (geterrcode() == ERRCODE_UNIQUE_VIOLATION)
		{
			MemoryContextSwitchTo(caller);
			FlushErrorState();
			duplicate_event(batch, event);
		}
		PG_RE_THROW();
	}
	PG_END_TRY();
}

static void
insert_into_index(EsBatch *batch, Relation index, const EsLogIndex *which, TupleTableSlot *slot)
{
	IndexInfo  *info = which->info;
	Datum		values[INDEX_MAX_KEYS];
	bool		nulls[INDEX_MAX_KEYS];
	IndexUniqueCheck check = index->rd_index->indisunique ? UNIQUE_CHECK_YES : UNIQUE_CHECK_NO;

	for (int k = 0; k < info->ii_NumIndexAttrs; k++)
		values[k] = slot_getattr(slot, info->ii_IndexAttrNumbers[k], &nulls[k]);
	if (which->not_null_only && nulls[0])
		return;
	index_insert(index, values, nulls, &slot->tts_tid, batch->log, check, false, info);
}

static int
compare_ids(const void *a, const void *b)
{
	return memcmp(((const GivenId *) a)->id, ((const GivenId *) b)->id, UUID_LEN);
}

/*
 * Enter ids that the caller gave, in their order: two appends that give the
 * same ones wait for each other at the first of them.
 */
static void
insert_ids(EsBatch *batch, GivenId *ids, int nids)
{
	EsStore    *store = batch->store;

	qsort(ids, nids, sizeof(GivenId), compare_ids);
	for (int x = 0; x < store->nindexes; x++)
		for (int i = 0; i < nids && store->indexes[x].given_ids_only; i++)
		{
			CHECK_FOR_INTERRUPTS();
			insert_id(batch, ids[i].event, batch->indexes[x], store->indexes[x].info, &ids[i].tid);
		}
}

/*
 * Open the indexes of a plain event_log, which the search and the inserts
 * share; the one over the caller's ids only if there are any.
 */
void
es_batch_open_indexes(EsBatch *batch)
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
void
es_batch_close(EsBatch *batch)
{
	for (int x = 0; x < batch->store->nindexes; x++)
		if (batch->indexes[x] != NULL)
			index_close(batch->indexes[x], NoLock);
	table_close(batch->log, NoLock);
}

/* Write the rows past the executor, as ordinary WAL-logged inserts. */
static void
insert_direct(EsBatch *batch)
{
	EsStore    *store = batch->store;
	/* a copy is not counted: a resource owner that holds many references is slow */
	TupleDesc	desc = CreateTupleDescCopy(RelationGetDescr(batch->log));
	int			nslots = Min(batch->count, CHUNK);
	TupleTableSlot **slots = palloc(nslots * sizeof(TupleTableSlot *));
	GivenId    *ids = NULL;
	int			nids = 0;
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
			for (int i = 0; i < n && !store->indexes[x].given_ids_only; i++)
				insert_into_index(batch, batch->indexes[x], &store->indexes[x], slots[i]);
		MemoryContextSwitchTo(caller);
		for (int i = 0; i < n; i++)
		{
			int			e = event_of_row(batch, start + i);

			if (batch->events[e].event_id != NULL)
			{
				if (ids == NULL)
					ids = palloc(mul_size(sizeof(GivenId), batch->count));
				ids[nids++] = (GivenId) {batch->events[e].event_id, e, slots[i]->tts_tid};
			}
			ExecClearTuple(slots[i]);
		}
		MemoryContextReset(rows);
	}
	insert_ids(batch, ids, nids);

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

/*
 * A partitioned table has no unique index on ids: look for each of the
 * caller's, under a lock of its own.
 */
static void
check_unique_ids(EsBatch *batch)
{
	if (batch->store->plain)
		return;
	for (int i = 0; i < batch->count; i++)
	{
		Snapshot	snapshot;
		EsScan		scan;
		Datum	   *values;
		bool	   *nulls;
		bool		found;

		if (batch->events[i].event_id == NULL)
			continue;
		es_event_id_lock(batch->store, batch->log, batch->events[i].event_id);
		snapshot = RegisterSnapshot(GetLatestSnapshot());
		es_scan_event_id(&scan, batch->store, batch->log, batch->events[i].event_id, snapshot);
		found = es_scan_next(&scan, &values, &nulls);
		es_scan_end(&scan);
		UnregisterSnapshot(snapshot);
		if (found)
			duplicate_event(batch, i);
	}
}

/* Write the rows with an INSERT statement each, as the caller. */
static void
insert_sql(EsBatch *batch)
{
	MemoryContext caller = CurrentMemoryContext;
	char	   *id_index = get_rel_name(batch->store->log_by_event_id);
	volatile bool inserted;

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

		es_batch_enter_event(batch, batch->part, event_of_row(batch, i));
		es_guard_let_insert(batch->store->log);
		PG_TRY();
		{
			int			result = SPI_execute_plan(es_statement_plan(batch->store, ES_STMT_INSERT),
												  values, spi_nulls, false, 0);

			if (result < 0)
				elog(ERROR, "SPI_execute_plan failed: %s", SPI_result_code_string(result));
			/* a rule may have made another command of it */
			inserted = result == SPI_OK_INSERT && SPI_processed == 1;
		}
		PG_CATCH();
		{
			es_guard_close();
			MemoryContextSwitchTo(caller);
			if (batch->events[event_of_row(batch, i)].event_id != NULL && error_is_duplicate_in(id_index))
			{
				FlushErrorState();
				duplicate_event(batch, event_of_row(batch, i));
			}
			PG_RE_THROW();
		}
		PG_END_TRY();
		es_guard_close();
		if (!inserted)
		{
			int			index = event_of_row(batch, i) - batch->part->start;

			ereport(ERROR,
					(es_problem(ERRCODE_FEATURE_NOT_SUPPORTED,
								ES_MEMBERS(ES_TEXT("store", NameStr(batch->store->schema)), ES_INT("index", index)),
								"a trigger or rule on event_log has suppressed event %d", index),
					 errhint("An event is stored or refused with an error, not suppressed; change the trigger or rule.")));
		}
	}
	es_batch_leave_parts(batch);
	SPI_finish();
}

/*
 * A trigger may change what a row says, but not where it stands: the stream
 * must now end with just our versions, at our positions, with our ids.  The
 * unique keys cover the rest.
 */
static void
check_written(EsBatch *batch, const EsAppend *part)
{
	EsEvent    *events = batch->events + part->start;
	EsScan		scan;
	Datum	   *values;
	bool	   *nulls;
	int			i = 0;

	es_scan_true_stream(&scan, batch->store, batch->log, part->stream_id, part->result.first_version, SnapshotSelf);
	while (es_scan_next(&scan, &values, &nulls))
	{
		if (i == part->count ||
			DatumGetInt64(values[LOG_VERSION]) != part->result.first_version + i ||
			DatumGetInt64(values[LOG_POSITION]) != es_batch_position(batch, part->start + i) ||
			(events[i].event_id != NULL &&
			 memcmp(DatumGetUUIDP(values[LOG_EVENT_ID]), events[i].event_id, UUID_LEN) != 0))
			break;
		i++;
	}
	es_scan_end(&scan);
	if (i != part->count)
	{
		es_batch_enter_part(batch, part);
		ereport(ERROR,
				(es_problem(ERRCODE_FEATURE_NOT_SUPPORTED,
							ES_MEMBERS(ES_TEXT("store", NameStr(batch->store->schema)), ES_INT("index", i)),
							"a trigger or rule on event_log has changed where event %d stands", i),
				 errhint("A trigger may not change stream_id, version, position or event_id.")));
	}
}

/* Write the rows of all events, which have their places. */
void
es_batch_insert(EsBatch *batch)
{
	batch->part = batch->parts;
	if (batch->store->plain_insert && !es_store_use_sql(batch->store, batch->log))
	{
		insert_direct(batch);
		return;
	}
	check_unique_ids(batch);
	insert_sql(batch);
	for (int p = 0; p < batch->nparts && batch->store->plain; p++)
		if (batch->parts[p].count > 0)
			check_written(batch, &batch->parts[p]);
}
