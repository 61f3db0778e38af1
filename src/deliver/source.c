/*
 * source.c
 *		What a subscriber follows: some of the events of a store, in order.
 *
 * A source is all events, those of a stream or those of a category, of them
 * perhaps only some types, and of these perhaps only those for which a jsonpath
 * holds.  It is read up to what is final (log/read), along the index that knows
 * most of what is asked for.
 *
 * A reader is told how far it has got also where it was given nothing, so a
 * filter that matches one event in a million costs each reading once.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "base/errors.h"
#include "deliver/source.h"
#include "log/merge.h"
#include "log/retention.h"
#include "log/scan.h"
#include "log/stream.h"

/*
 * Check what is asked for and put it together, palloc'd; the arguments are kept.
 * NULL (of types: NULL data) means no such limit.
 */
EsEventSource *
es_source_make(text *stream, text *category, EsNames types, JsonPath *filter)
{
	EsEventSource *source = palloc0(sizeof(EsEventSource));

	if (stream != NULL && category != NULL)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, NULL, "stream and category are both given"),
				 errhint("A stream belongs to one category: name the stream, or the category for all of its streams.")));
	if (stream != NULL)
		es_stream_check_name(stream);
	if (category != NULL)
	{
		es_name_check(category, "category", -1);
		if (memchr(VARDATA_ANY(category), '-', VARSIZE_ANY_EXHDR(category)) != NULL)
			ereport(ERROR,
					(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, NULL, "a category has no hyphen in it"),
					 errhint("The category of a stream is the part of its name before the first hyphen.")));
	}
	if (types.data != NULL && types.count == 0)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, NULL, "types is empty, so no event would match"),
				 errhint("Pass null for events of every type.")));
	for (int i = 0; i < types.count; i++)
		es_name_check(DatumGetTextPP(types.data[i]), "event type", -1);

	source->stream = stream;
	source->category = category;
	source->types = types;
	if (filter != NULL)
		source->filter = es_path_make(filter);
	return source;
}

/* VE004 if the source is a stream that was deleted.  One that does not exist yet may come. */
void
es_source_check(const EsEventSource *source, EsStore *store, Snapshot snapshot)
{
	EsStream	stream;

	if (source->stream == NULL)
		return;
	es_stream_find(store, source->stream, snapshot, &stream);
	es_stream_check_open(&stream, source->stream);
}

static bool
type_matches(const EsEventSource *source, const Datum *row)
{
	text	   *type;

	if (source->types.data == NULL)
		return true;
	/* in a wide row even a short type may have been compressed */
	type = DatumGetTextPP(row[LOG_EVENT_TYPE]);
	return es_name_matches(&source->types, VARDATA_ANY(type), VARSIZE_ANY_EXHDR(type));
}

/* The position of the first event of a stream from a version on, 0 if there is none; *version is set to its version. */
static int64
position_from(EsStore *store, Relation log, int64 stream_id, int64 low, Snapshot snapshot, int64 *version)
{
	EsScan		scan;
	Datum	   *values;
	bool	   *nulls;
	int64		position = 0;

	es_scan_stream(&scan, store, log, stream_id, low, PG_INT64_MAX, false, snapshot);
	if (es_scan_next(&scan, &values, &nulls))
	{
		position = DatumGetInt64(values[LOG_POSITION]);
		*version = DatumGetInt64(values[LOG_VERSION]);
	}
	es_scan_end(&scan);
	return position;
}

/*
 * The lowest version, from `first` on, of the events of a stream above a
 * position; one after the last if there is none.  Positions rise with versions,
 * so the place is found by halves.
 */
static int64
version_after(EsStore *store, Relation log, int64 stream_id, int64 first, int64 after, Snapshot snapshot)
{
	int64		low = first;
	int64		high = es_scan_version(store, log, stream_id, snapshot) + 1;

	/* who follows a stream is mostly at its end or its beginning */
	if (after == 0)
		return low;
	for (int64 middle = high - 1; low < high; middle = low + (high - low) / 2)
	{
		int64		version;
		int64		position = position_from(store, log, stream_id, middle, snapshot, &version);

		if (position != 0 && position <= after)
			low = version + 1;
		else
			high = middle;
	}
	return low;
}

/*
 * Read the events of the source after a position, as far as they are final, and
 * hand each to `take` with target.  Ends where that says so, or after max_rows
 * rows were looked at.  Returns the position up to which every event of the source
 * has been taken: whoever reads on after it misses nothing.
 *
 * VE004 if the source is a deleted stream; 22023 if the position is ahead of the
 * store.  The caller holds a lock on log.  Between es_final_begin and
 * es_final_end it must not leave the SPI level.
 */
int64
es_source_read(const EsEventSource *source, EsStore *store, Relation log, const EsFinal *final,
			   int64 after, int64 max_rows, EsTake take, void *target)
{
	EsReadQuery query = {.after = after,.types = source->types,.by_type = true};
	EsNames		categories = {0};
	Datum		category;
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext event_context;
	EsMerge		merge;
	EsScan		scan;
	Datum	   *values;
	bool	   *nulls;
	int64		low;
	int64		high;
	int64		passed = after;
	bool		at_end = true;

	es_final_range(final, store, &query, &low, &high);
	if (source->stream != NULL)
	{
		EsStream	stream;

		es_stream_find(store, source->stream, final->snapshot, &stream);
		es_stream_check_open(&stream, source->stream);
		if (low > high)
			return passed;
		if (stream.id == 0)
			return Max(after, high);
		es_scan_stream(&scan, store, log, stream.id,
					   version_after(store, log, stream.id,
									 es_stream_first_version(store, log, &stream, final->snapshot),
									 after, final->snapshot),
					   PG_INT64_MAX, false, final->snapshot);
	}
	else
	{
		if (low > high)
			return passed;
		es_merge_begin(&merge, store, log, &query, low, high, final->snapshot);
	}
	if (source->category != NULL)
	{
		category = PointerGetDatum(source->category);
		categories = (EsNames) {.count = 1,.data = &category};
	}

	event_context = AllocSetContextCreate(caller, "event_store event", ALLOCSET_DEFAULT_SIZES);
	while (source->stream != NULL ? es_scan_next(&scan, &values, &nulls) : es_merge_next(&merge, &values, &nulls))
	{
		int64		position = DatumGetInt64(values[LOG_POSITION]);
		text	   *stream;

		if (position > high)
			break;
		MemoryContextSwitchTo(event_context);
		stream = source->stream;
		if (stream == NULL)
			stream = es_stream_name(store, DatumGetInt64(values[LOG_STREAM_ID]), final->snapshot);
		if (type_matches(source, values) &&
			es_name_matches(&categories, VARDATA_ANY(stream),
							es_stream_category_length(VARDATA_ANY(stream), VARSIZE_ANY_EXHDR(stream))) &&
			(source->filter == NULL || es_path_holds(source->filter, store->payload, stream, values, nulls)) &&
			!take(target, stream, values, nulls))
			at_end = false;
		MemoryContextSwitchTo(caller);
		MemoryContextReset(event_context);
		if (!at_end)
			break;
		passed = position;
		if (--max_rows <= 0)
		{
			at_end = false;
			break;
		}
	}
	if (source->stream != NULL)
		es_scan_end(&scan);
	else
		es_merge_end(&merge);
	MemoryContextDelete(event_context);
	return at_end ? Max(after, high) : passed;
}
