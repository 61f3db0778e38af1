/*
 * import.c
 *		import_events: events by the million from the lines of a table.
 *
 * A source is a table or view with a column "line", which numbers its rows, and
 * the columns of an event.  Its lines are appended in their order, in batches.
 * Outside a transaction block each batch is a transaction: it ends where its
 * streams and tags would no longer be locked one by one (event_store.max_stream_locks),
 * so an import never locks the store and nobody waits longer than for a batch.
 * In a block all is one transaction, as everything there is.
 *
 * How far an import has come stands in import_progress (store/progress), in the
 * transaction of the events.  So another call goes on where the last one ended,
 * however that was, and two calls at once take turns: a batch begins with the
 * lock on that row.
 *
 * What is between two batches is kept in a context that outlives a transaction;
 * the store is looked up for each batch, since nothing of it may be kept.
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/shmem.h"
#include "tcop/pquery.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/ruleutils.h"
#include "utils/timestamp.h"

#include "base/arguments.h"
#include "base/errors.h"
#include "base/json.h"
#include "base/settings.h"
#include "log/append.h"
#include "log/expected.h"
#include "log/stream.h"
#include "log/tag.h"
#include "store/progress.h"
#include "store/statement.h"

#define FETCH		100			/* lines that are taken from the source at once */
#define BATCH_BYTES	(16 * 1024 * 1024)	/* of the lines of a batch */

/* The kinds of types that a column may have. */
typedef enum ColumnKind
{
	KIND_NUMBER,
	KIND_TEXT,
	KIND_DATA,
	KIND_JSON,
	KIND_UUID,
	KIND_TIME
} ColumnKind;

static const struct
{
	ColumnKind	kind;
	bool		required;
}			column_specs[IMPORT_NCOLUMNS] = {
	[IMPORT_LINE] = {KIND_NUMBER, true},
	[IMPORT_STREAM] = {KIND_TEXT, true},
	[IMPORT_VERSION] = {KIND_NUMBER},
	[IMPORT_TYPE] = {KIND_TEXT, true},
	[IMPORT_DATA] = {KIND_DATA, true},
	[IMPORT_METADATA] = {KIND_JSON},
	[IMPORT_EVENT_ID] = {KIND_UUID},
	[IMPORT_CORRELATION_ID] = {KIND_UUID},
	[IMPORT_CAUSATION_ID] = {KIND_UUID},
	[IMPORT_CREATED_AT] = {KIND_TIME},
};

/* A call of import_events. */
typedef struct Import
{
	Oid			relid;
	const char *types[IMPORT_NCOLUMNS]; /* to cast to; NULL: the source has no such column */
	int			batch_size;
	bool		atomic;			/* in a transaction of the caller's */
	int64		store_number;
	EsPayload	payload;		/* of the store */
	bool		tagged;			/* tags count in the store */
	text	   *name;
	const char *source;			/* its name as it is now, quoted and qualified */
	int64		events_before;	/* by earlier calls */
	int64		todo;			/* lines that were there when it began */
	int64		imported;		/* by this call */
} Import;

/* The streams of a batch, by name. */
typedef struct StreamEntry
{
	const text *name;
	int			part;
	char		status;
} StreamEntry;

#define SH_PREFIX			streams
#define SH_ELEMENT_TYPE		StreamEntry
#define SH_KEY_TYPE			const text *
#define SH_KEY				name
#define SH_HASH_KEY(t, k)	hash_bytes((const unsigned char *) VARDATA_ANY(k), VARSIZE_ANY_EXHDR(k))
#define SH_EQUAL(t, a, b)	(VARSIZE_ANY_EXHDR(a) == VARSIZE_ANY_EXHDR(b) && \
							 memcmp(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a)) == 0)
#define SH_SCOPE			static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

/* The lines of a batch, in their order. */
typedef struct Batch
{
	int			count;
	int64		bytes;			/* of the events */
	EsEvent    *events;
	int64	   *lines;
	int		   *part;			/* of each */
	streams_hash *streams;
	EsAppend   *parts;
	int			nparts;
	int			max_parts;
	int			tags;			/* of the events, if they count, each that is given twice too */
	List	   *tables;			/* of SPI, in which they lie */
} Batch;

/* The name of a source, quoted and qualified, as it is now; palloc'd. */
static char *
source_name(Oid relid)
{
	char	   *name = get_rel_name(relid);

	if (name == NULL)
		ereport(ERROR,
				(es_problem(ERRCODE_UNDEFINED_TABLE, ES_MEMBERS(ES_TEXT("argument", "source")),
							"the source with OID %u does not exist", relid),
				 errhint("It was dropped meanwhile.")));
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)), name);
}

#define SOURCE_HINT \
	errhint("A source has the columns line, stream, type and data, and may have version, metadata, event_id, correlation_id, causation_id and created_at. A view can give it this shape.")

/* The type in pg_catalog to cast a column to, NULL if it cannot be what it shall be. */
static const char *
cast_type(ColumnKind kind, Oid type)
{
	switch (kind)
	{
		case KIND_NUMBER:
			return type == INT8OID || type == INT4OID || type == INT2OID ? "int8" : NULL;
		case KIND_TEXT:
			return type == TEXTOID || type == VARCHAROID ? "text" : NULL;
		case KIND_DATA:
			if (type == BYTEAOID)
				return "bytea";
			/* FALLTHROUGH */
		case KIND_JSON:
			return type == JSONBOID ? "jsonb" :
				type == JSONOID || type == TEXTOID || type == VARCHAROID ? "text" : NULL;
		case KIND_UUID:
			return type == UUIDOID ? "uuid" : NULL;
		case KIND_TIME:
			return type == TIMESTAMPTZOID ? "timestamptz" : NULL;
	}
	return NULL;
}

/* Learn the columns of the source. */
static void
learn_columns(Import *import)
{
	Relation	rel = relation_open(import->relid, AccessShareLock);
	TupleDesc	desc = RelationGetDescr(rel);
	const char *source = import->source;

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		const char *column = NameStr(att->attname);
		int			c = 0;

		if (att->attisdropped)
			continue;
		while (c < IMPORT_NCOLUMNS && strcmp(column, es_import_columns[c]) != 0)
			c++;
		if (c == IMPORT_NCOLUMNS)
			ereport(ERROR,
					(es_problem(ERRCODE_INVALID_PARAMETER_VALUE,
								ES_MEMBERS(ES_TEXT("source", source), ES_TEXT("column", column)),
								"column \"%s\" of %s is not a known one", column, source),
					 SOURCE_HINT));
		import->types[c] = cast_type(column_specs[c].kind, getBaseType(att->atttypid));
		if (import->types[c] == NULL)
			ereport(ERROR,
					(es_problem(ERRCODE_DATATYPE_MISMATCH,
								ES_MEMBERS(ES_TEXT("source", source), ES_TEXT("column", column)),
								"column \"%s\" of %s has the type %s", column, source, format_type_be(att->atttypid)),
					 errhint("line and version are integers, stream and type text, data and metadata jsonb, json or text, data also bytea, ids uuid, created_at timestamptz. A view can give it this shape.")));
	}
	for (int c = 0; c < IMPORT_NCOLUMNS; c++)
		if (column_specs[c].required && import->types[c] == NULL)
			ereport(ERROR,
					(es_problem(ERRCODE_UNDEFINED_COLUMN,
								ES_MEMBERS(ES_TEXT("source", source), ES_TEXT("column", es_import_columns[c])),
								"%s has no column \"%s\"", source, es_import_columns[c]),
					 SOURCE_HINT));
	relation_close(rel, NoLock);
}

static void
bad_line(const char *member, const char *what)
{
	ereport(ERROR,
			(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("member", member)), "%s %s", member, what),
			 errhint("Correct the line and call import_events again: what was imported before it stays.")));
}

/* Take the version that a line gives as what is expected of its stream. */
static void
check_version(EsAppend *part, int64 version)
{
	/* what the stream is at before this batch, if the line is right */
	int64		base = version - 1 - part->count;

	if (version < 1)
		bad_line("version", "is less than 1");
	if (part->expected == ES_EXPECTED_ANY && base >= 0)
		part->expected = base;
	if (base < 0 || part->expected != base)
	{
		char	   *stream = text_to_cstring(part->stream);
		int64		follows = part->count + 1 + Max(part->expected, 0);

		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE,
							ES_MEMBERS(ES_TEXT("member", "version"), ES_TEXT("stream", stream),
									   ES_INT("version", version)),
							part->expected == ES_EXPECTED_ANY ?
							"version %lld of stream \"%s\" is given where %lld or more must follow" :
							"version %lld of stream \"%s\" is given where %lld follows",
							(long long) version, stream, (long long) follows),
				 errhint("The versions of a stream have no gaps and rise with the lines; leave the column out to have them counted.")));
	}
}

static Jsonb *
metadata_column(Datum value, const char *type)
{
	return strcmp(type, "jsonb") == 0 ? DatumGetJsonbP(value) : es_jsonb_in(DatumGetTextPP(value));
}

/* Take the data of a line: text as it stands there if that is what the store keeps. */
static void
data_column(EsEvent *event, Datum value, const char *type, EsPayload payload)
{
	if (strcmp(type, "jsonb") == 0)
		event->data = DatumGetJsonbP(value);
	else if (strcmp(type, "bytea") == 0)
	{
		event->payload = ES_PAYLOAD_BYTEA;
		event->data = DatumGetByteaPP(value);
	}
	else
	{
		event->payload = payload == ES_PAYLOAD_JSON ? ES_PAYLOAD_JSON : ES_PAYLOAD_JSONB;
		event->data = es_event_data_in(DatumGetTextPP(value), event->payload);
	}
}

/*
 * Take a line into the batch, or tell that it does not fit.  It is checked by
 * itself; errors name it.
 */
static bool
add_line(Import *import, Batch *batch, int64 line, Datum *values, bool *nulls)
{
	EsMember	member[2] = {ES_INT("line", line)};
	EsProblemContext context = {.members = member, .of = import->source};
	ErrorContextCallback callback = {.callback = es_problem_context, .arg = &context, .previous = error_context_stack};
	EsEvent    *event = &batch->events[batch->count];
	EsAppend   *part;
	text	   *stream;
	StreamEntry *entry;
	Jsonb	   *metadata = NULL;
	int			tags = 0;
	bool		found;

	error_context_stack = &callback;
	if (batch->count > 0 && batch->lines[batch->count - 1] == line)
		bad_line("line", "stands more than once");
	if (nulls[IMPORT_STREAM])
		bad_line("stream", "is null");

	stream = DatumGetTextPP(values[IMPORT_STREAM]);
	entry = streams_lookup(batch->streams, stream);
	if (!nulls[IMPORT_METADATA])
		metadata = metadata_column(values[IMPORT_METADATA], import->types[IMPORT_METADATA]);
	if (metadata != NULL && import->tagged)
		tags = es_tags_count(metadata);
	if (batch->count == import->batch_size || batch->bytes >= BATCH_BYTES ||
		(entry == NULL && batch->nparts + batch->tags >= batch->max_parts && batch->count > 0) ||
		(tags > 0 && batch->count > 0 && batch->nparts + batch->tags + tags >= es_max_stream_locks))
	{
		error_context_stack = callback.previous;
		return false;
	}

	if (nulls[IMPORT_TYPE])
		bad_line("type", "is null");
	if (nulls[IMPORT_DATA])
		bad_line("data", "is null");
	memset(event, 0, sizeof(EsEvent));
	event->type = DatumGetTextPP(values[IMPORT_TYPE]);
	data_column(event, values[IMPORT_DATA], import->types[IMPORT_DATA], import->payload);
	event->metadata = metadata;
	if (!nulls[IMPORT_EVENT_ID])
		event->event_id = DatumGetUUIDP(values[IMPORT_EVENT_ID]);
	if (!nulls[IMPORT_CORRELATION_ID])
		event->correlation_id = DatumGetUUIDP(values[IMPORT_CORRELATION_ID]);
	if (!nulls[IMPORT_CAUSATION_ID])
		event->causation_id = DatumGetUUIDP(values[IMPORT_CAUSATION_ID]);
	event->has_created_at = !nulls[IMPORT_CREATED_AT];
	if (event->has_created_at)
		event->created_at = DatumGetTimestampTz(values[IMPORT_CREATED_AT]);
	batch->bytes += es_events_check(event, 1);

	if (entry == NULL)
	{
		entry = streams_insert(batch->streams, stream, &found);
		entry->part = batch->nparts++;
		batch->parts[entry->part] = (EsAppend) {.stream = stream, .expected = ES_EXPECTED_ANY};
	}
	part = &batch->parts[entry->part];
	if (!nulls[IMPORT_VERSION])
		check_version(part, DatumGetInt64(values[IMPORT_VERSION]));
	part->count++;
	batch->tags += tags;
	batch->lines[batch->count] = line;
	batch->part[batch->count] = entry->part;
	batch->count++;
	error_context_stack = callback.previous;
	return true;
}

/*
 * Read the lines of a batch, those after a number.  What they are made of lies
 * in CurrentMemoryContext and until free_tables() with SPI.
 */
static Batch *
read_batch(Import *import, int64 after)
{
	Batch	   *batch = palloc0(sizeof(Batch));
	MemoryContext caller = CurrentMemoryContext;

	/* one line more than fits, so that it is seen whether its number is that of the last */
	Portal		portal = es_statement_open_import(import->source, import->types, after,
												  (int64) import->batch_size + 1);
	SPITupleTable *table;
	bool		fits = true;

	/* a call of SPI leaves its own context as the current one */
	MemoryContextSwitchTo(caller);
	batch->max_parts = Min(import->batch_size, es_max_stream_locks);
	batch->events = palloc(mul_size(sizeof(EsEvent), import->batch_size + 1));
	batch->lines = palloc(mul_size(sizeof(int64), import->batch_size + 1));
	batch->part = palloc(mul_size(sizeof(int), import->batch_size));
	batch->parts = palloc(mul_size(sizeof(EsAppend), batch->max_parts));
	batch->streams = streams_create(caller, 64, NULL);
	do
	{
		SPI_cursor_fetch(portal, true, FETCH);
		table = SPI_tuptable;
		MemoryContextSwitchTo(caller);
		batch->tables = lappend(batch->tables, table);
		for (uint64 i = 0; i < table->numvals && fits; i++)
		{
			Datum		values[IMPORT_NCOLUMNS];
			bool		nulls[IMPORT_NCOLUMNS];

			CHECK_FOR_INTERRUPTS();
			heap_deform_tuple(table->vals[i], table->tupdesc, values, nulls);
			fits = add_line(import, batch, DatumGetInt64(values[IMPORT_LINE]), values, nulls);
		}
	} while (fits && table->numvals > 0);
	SPI_cursor_close(portal);
	return batch;
}

static void
free_tables(Batch *batch)
{
	ListCell   *lc;

	foreach(lc, batch->tables)
		SPI_freetuptable(lfirst(lc));
}

/* Append the lines of a batch. */
static void
append_batch(Import *import, Batch *batch)
{
	EsEvent    *events = palloc(mul_size(sizeof(EsEvent), batch->count));
	int64	   *lines = palloc(mul_size(sizeof(int64), batch->count));
	int		   *event = palloc(mul_size(sizeof(int), batch->count));
	int		   *row = palloc(mul_size(sizeof(int), batch->count));
	int		   *next = palloc(mul_size(sizeof(int), batch->nparts));	/* place for an event of each part */
	int			start = 0;
	EsOrder		order = {.event = event, .part = batch->part, .row = row, .line = lines, .source = import->source,
		.bytes = batch->bytes};

	for (int p = 0; p < batch->nparts; p++)
	{
		next[p] = start;
		start += batch->parts[p].count;
	}
	for (int i = 0; i < batch->count; i++)
	{
		int			e = next[batch->part[i]]++;

		events[e] = batch->events[i];
		lines[e] = batch->lines[i];
		event[i] = e;
		row[e] = i;
	}
	es_append_lines(batch->parts, batch->nparts, events, &order);
}

/* What stands in line i of a batch, so that it is known again. */
static int64
hash_of_line(const Batch *batch, int i)
{
	const text *stream = batch->parts[batch->part[i]].stream;
	const EsEvent *event = &batch->events[i];
	uint64		hash = hash_bytes_extended((const unsigned char *) VARDATA_ANY(stream), VARSIZE_ANY_EXHDR(stream), 0);

	hash = hash_bytes_extended((const unsigned char *) VARDATA_ANY(event->type), VARSIZE_ANY_EXHDR(event->type), hash);
	return (int64) hash_bytes_extended((const unsigned char *) VARDATA_ANY(event->data), VARSIZE_ANY_EXHDR(event->data), hash);
}

/* This cannot be the source whose lines are in the store, or not all of it. */
static void
source_changed(Import *import, const char *problem)
{
	char	   *name = text_to_cstring(import->name);

	ereport(ERROR,
			(es_problem(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
						ES_MEMBERS(ES_TEXT("import", name), ES_TEXT("source", import->source)),
						"import \"%s\" cannot go on: %s", name, problem),
			 errhint("Give other events another name, or call event_store.forget_import() to begin anew.")));
}

/* Is the line that was imported last what it was? */
static bool
last_line_is_same(Import *import, const EsProgress *progress)
{
	Import		one = *import;
	Batch	   *batch;
	bool		same;

	one.batch_size = 1;
	batch = read_batch(&one, progress->last_line - 1);
	same = batch->count == 1 && batch->lines[0] == progress->last_line && hash_of_line(batch, 0) == progress->last_hash;
	free_tables(batch);
	return same;
}

/*
 * Refuse lines that would never be read; returns how many there are after those
 * that have been.
 */
static int64
check_source(Import *import, const EsProgress *progress, int64 *before)
{
	MemoryContext caller = CurrentMemoryContext;
	int64		after;
	int64		bad;

	es_statement_count_import(import->source, progress->last_line, before, &after, &bad);
	MemoryContextSwitchTo(caller);
	if (bad > 0)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE,
							ES_MEMBERS(ES_TEXT("source", import->source), ES_TEXT("column", "line"), ES_INT("rows", bad)),
							"column \"line\" of %s is null or less than 1 (rows: %lld)", import->source, (long long) bad),
				 errhint("Number the lines from 1, for instance with GENERATED ALWAYS AS IDENTITY.")));
	if (*before > progress->events)
		source_changed(import,
					   psprintf("lines of %s up to %lld, which has been imported, were not there before (rows: %lld)",
								import->source, (long long) progress->last_line, (long long) (*before - progress->events)));
	return after;
}

/* The first batch of a call: is this the source whose lines are in the store? */
static void
begin_call(Import *import, EsProgress *progress)
{
	int64		before;

	learn_columns(import);
	import->todo = check_source(import, progress, &before);
	import->events_before = progress->events;

	/* lines may go once they are imported, and bad ones before, but not all; what is left must be the same */
	if (before == 0 && import->todo == 0 && progress->remaining > 0)
		source_changed(import, psprintf("%s is empty now, with lines that were not yet read (rows: %lld)",
										import->source, (long long) progress->remaining));
	if (before > 0 && !last_line_is_same(import, progress))
		source_changed(import, psprintf("line %lld of %s is not what was imported last",
										(long long) progress->last_line, import->source));
	progress->called_at = GetCurrentTimestamp();
	progress->call_events = 0;
}

/* There are no more lines: have all that there were at the begin been imported, by us or by a call beside ours? */
static void
end_call(Import *import, const EsProgress *progress)
{
	int64		before;
	int64		missing = import->todo - (progress->events - import->events_before);

	(void) check_source(import, progress, &before);
	if (missing > 0)
		source_changed(import, psprintf("lines of %s have gone that were not yet read (rows: %lld)",
										import->source, (long long) missing));
}

/* The number of the store in use, which the caller may append to, and which stays the same for a call. */
static int64
number_of_store(Import *import)
{
	EsStore    *store;
	Relation	log = es_store_open_log(&store, AccessShareLock, ACL_INSERT);
	int64		number = store->number;

	if (import->store_number != 0 && number != import->store_number)
		ereport(ERROR,
				(es_problem(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, ES_MEMBERS(ES_TEXT("store", NameStr(store->schema))),
							"the store in use has changed to \"%s\" in the middle of an import", NameStr(store->schema)),
				 errhint("The import commits, which ends SET LOCAL: use SET search_path.")));
	import->payload = store->payload;
	import->tagged = OidIsValid(store->tags);
	table_close(log, NoLock);
	return number;
}

/* Import the lines of one batch; false if there were none.  The caller is connected to SPI. */
static bool
import_batch(Import *import)
{
	bool		first = import->store_number == 0;
	EsProgress	progress = {.name = import->name};
	Batch	   *batch;

	import->source = source_name(import->relid);
	import->store_number = number_of_store(import);
	es_progress_lock(import->store_number, import->name);
	if (!es_progress_find(import->store_number, import->name, &progress))
	{
		progress.store_number = import->store_number;
		progress.started_at = GetCurrentTimestamp();
	}
	if (first)
		begin_call(import, &progress);

	batch = read_batch(import, progress.last_line);
	if (batch->count > 0)
		append_batch(import, batch);
	else
		end_call(import, &progress);

	progress.source = cstring_to_text(import->source);
	if (batch->count > 0)
	{
		progress.last_line = batch->lines[batch->count - 1];
		progress.last_hash = hash_of_line(batch, batch->count - 1);
	}
	progress.events += batch->count;
	progress.call_events += batch->count;
	progress.remaining = Max(import->todo - (progress.events - import->events_before), 0);
	progress.changed_at = GetCurrentTimestamp();
	if (batch->count > 0 || first)
		es_progress_save(&progress);
	import->imported += batch->count;
	free_tables(batch);
	return batch->count > 0;
}

/* Do all of a call. */
static void
import_all(Import *import)
{
	MemoryContext context;
	bool		more;

	SPI_connect_ext(import->atomic ? 0 : SPI_OPT_NONATOMIC);
	context = AllocSetContextCreate(CurrentMemoryContext, "event_store import", ALLOCSET_DEFAULT_SIZES);
	do
	{
		MemoryContext spi = MemoryContextSwitchTo(context);

		CHECK_FOR_INTERRUPTS();
		EnsurePortalSnapshotExists();
		more = import_batch(import);
		MemoryContextSwitchTo(spi);
		MemoryContextReset(context);
		if (!import->atomic)
			SPI_commit();
	} while (more);
	SPI_finish();
}

PG_FUNCTION_INFO_V1(event_store_import_events);
PG_FUNCTION_INFO_V1(event_store_forget_import);

Datum
event_store_import_events(PG_FUNCTION_ARGS)
{
	Import		import = {.relid = PG_GETARG_OID(0), .batch_size = PG_GETARG_INT32(2)};
	TupleDesc	desc;
	Datum		value;
	bool		isnull = false;

	es_require_argument(fcinfo, 0, "source");
	es_require_argument(fcinfo, 2, "batch_size");
	if (import.batch_size < 1 || import.batch_size > es_max_batch_events)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE,
							ES_MEMBERS(ES_TEXT("argument", "batch_size"), ES_INT("limit", es_max_batch_events)),
							"batch_size is not between 1 and %d", es_max_batch_events),
				 errhint("Choose another, or change event_store.max_batch_events.")));
	import.atomic = fcinfo->context == NULL || !IsA(fcinfo->context, CallContext) || ((CallContext *) fcinfo->context)->atomic;
	import.name = PG_ARGISNULL(1) ? cstring_to_text(source_name(import.relid)) : PG_GETARG_TEXT_P_COPY(1);
	es_name_check(import.name, "name of the import", -1);

	import_all(&import);

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "import_events must return a row");
	value = Int64GetDatum(import.imported);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), &value, &isnull)));
}

Datum
event_store_forget_import(PG_FUNCTION_ARGS)
{
	EsStore    *store;

	es_require_writable();
	store = es_store_current(false);
	es_store_require_owner(store);
	PG_RETURN_BOOL(es_progress_forget(store->number, PG_GETARG_TEXT_PP(0)));
}
