/*
 * retention.c
 *		Limits of a stream: how far back it is read.
 *
 * A stream has a first version that is read of it.  What is before is hidden
 * from reads of the stream at once and taken away by scavenge_store (log/scavenge)
 * later; readers of all streams see it until then.  Three limits decide, and the
 * strictest of them holds:
 *
 *	truncate_before		a version, which only ever rises;
 *	max_count			so many of the last versions;
 *	max_age				events that are older at the start of the statement, up to
 *						the first that is not, so that what is left has no holes.
 *
 * Limits take the beginning of a stream and never its last row, from which its
 * version is known.  Whatever is taken away, truncate_before is raised to in the
 * same transaction: versions below it may be gone, those from it on are there.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "base/arguments.h"
#include "base/errors.h"
#include "log/retention.h"
#include "log/scan.h"

/* As es_scan_stream from a version on, past row-level security where that can be. */
static void
scan_from(EsScan *scan, EsStore *store, Relation log, int64 stream_id, int64 low, Snapshot snapshot)
{
	if (store->plain)
		es_scan_true_stream(scan, store, log, stream_id, low, snapshot);
	else
		es_scan_stream(scan, store, log, stream_id, low, PG_INT64_MAX, false, snapshot);
}

/* The first version that has a row, 0 if none has. */
int64
es_stream_first_stored(EsStore *store, Relation log, int64 stream_id, Snapshot snapshot)
{
	EsScan		scan;
	Datum	   *values;
	bool	   *nulls;
	int64		first = 0;

	scan_from(&scan, store, log, stream_id, 1, snapshot);
	if (es_scan_next(&scan, &values, &nulls))
		first = DatumGetInt64(values[LOG_VERSION]);
	es_scan_end(&scan);
	return first;
}

/* The first version not below `first` that is not too old, or the one after the last. */
static int64
first_young(EsStore *store, Relation log, const EsStream *stream, int64 first, Snapshot snapshot)
{
	TimestampTz oldest = GetCurrentStatementStartTimestamp() - es_interval_ms(&stream->max_age) * 1000;
	EsScan		scan;
	Datum	   *values;
	bool	   *nulls;

	scan_from(&scan, store, log, stream->id, first, snapshot);
	while (es_scan_next(&scan, &values, &nulls) && DatumGetTimestampTz(values[LOG_CREATED_AT]) < oldest)
		first = DatumGetInt64(values[LOG_VERSION]) + 1;
	es_scan_end(&scan);
	return first;
}

/*
 * The first version of a stream that is to be read; above its last version if
 * all of it is hidden.  The stream is there in the snapshot.
 */
int64
es_stream_first_version(EsStore *store, Relation log, const EsStream *stream, Snapshot snapshot)
{
	int64		first = Max(stream->truncate_before, 1);

	if (stream->max_count > 0)
		first = Max(first, es_scan_true_version(store, log, stream->id, snapshot) - stream->max_count + 1);
	if (stream->has_max_age)
		first = first_young(store, log, stream, first, snapshot);
	return first;
}

/* Take a stream that is there and open; otherwise as es_stream_take. */
static Relation
take_open_stream(EsStore **store, text *name, EsStream *stream, int64 *version)
{
	Relation	log = es_stream_take(store, name, stream, version);

	if (stream->id == 0)
		ereport(ERROR,
				(es_problem(ERRCODE_ES_STREAM_NOT_FOUND, ES_MEMBERS(ES_TEXT("stream", text_to_cstring(name))),
							"stream \"%s\" does not exist", text_to_cstring(name)),
				 errhint("The first append makes a stream.")));
	es_stream_check_open(stream, name);
	return log;
}

static void
bad_limit(const char *name, const char *what, const char *hint)
{
	ereport(ERROR,
			(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("argument", name)), "%s %s", name, what),
			 errhint("%s", hint)));
}

PG_FUNCTION_INFO_V1(event_store_truncate_stream);
PG_FUNCTION_INFO_V1(event_store_set_stream_metadata);
PG_FUNCTION_INFO_V1(event_store_stream_metadata);

Datum
event_store_truncate_stream(PG_FUNCTION_ARGS)
{
	text	   *name = PG_GETARG_TEXT_PP(0);
	int64		before = PG_GETARG_INT64(1);
	EsStore    *store;
	Relation	log;
	EsStream	stream;
	int64		version;

	es_stream_check_name(name);
	if (before < 1)
		bad_limit("before_version", "is not a version", "Versions begin at 1; to hide nothing, do not truncate.");
	log = take_open_stream(&store, name, &stream, &version);
	if (before > version + 1)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE,
							ES_MEMBERS(ES_TEXT("stream", text_to_cstring(name)), ES_INT("before_version", before),
									   ES_INT("actual", version)),
							"cannot truncate stream \"%s\" before version %lld: it ends at version %lld",
							text_to_cstring(name), (long long) before, (long long) version),
				 errhint("To hide all of it, truncate before the version after its last.")));
	if (before > stream.truncate_before)
	{
		Datum		values[STREAM_NCOLUMNS] = {0};
		bool		nulls[STREAM_NCOLUMNS] = {0};
		bool		replaces[STREAM_NCOLUMNS] = {0};

		values[STREAM_TRUNCATE_BEFORE] = Int64GetDatum(before);
		replaces[STREAM_TRUNCATE_BEFORE] = true;
		es_stream_update(store, name, values, nulls, replaces);
	}
	table_close(log, NoLock);
	PG_RETURN_INT64(Max(before, stream.truncate_before));
}

Datum
event_store_set_stream_metadata(PG_FUNCTION_ARGS)
{
	text	   *name;
	EsStore    *store;
	Relation	log;
	EsStream	stream;
	int64		version;
	Datum		values[STREAM_NCOLUMNS] = {0};
	bool		nulls[STREAM_NCOLUMNS] = {0};
	bool		replaces[STREAM_NCOLUMNS] = {0};

	es_require_argument(fcinfo, 0, "stream");
	name = PG_GETARG_TEXT_PP(0);
	es_stream_check_name(name);
	if (!PG_ARGISNULL(1) && !JB_ROOT_IS_OBJECT(PG_GETARG_JSONB_P(1)))
		bad_limit("metadata", "is not a JSON object", "Pass an object, or null for no metadata.");
	if (!PG_ARGISNULL(2) &&
		(es_interval_ms(PG_GETARG_INTERVAL_P(2)) <= 0 ||
		 es_interval_ms(PG_GETARG_INTERVAL_P(2)) > INT64CONST(3600000) * SECS_PER_DAY * 1000))
		bad_limit("max_age", "is not positive or longer than 10000 years", "Pass null for no limit.");
	if (!PG_ARGISNULL(3) && PG_GETARG_INT64(3) < 1)
		bad_limit("max_count", "is not positive", "Pass null for no limit. To hide all of a stream, truncate it.");

	log = take_open_stream(&store, name, &stream, &version);
	for (int i = 0; i < 3; i++)
	{
		static const int columns[] = {STREAM_METADATA, STREAM_MAX_AGE, STREAM_MAX_COUNT};

		replaces[columns[i]] = true;
		nulls[columns[i]] = PG_ARGISNULL(i + 1);
		values[columns[i]] = PG_GETARG_DATUM(i + 1);
	}
	if (!nulls[STREAM_METADATA])
		values[STREAM_METADATA] = JsonbPGetDatum(PG_GETARG_JSONB_P(1));
	es_stream_update(store, name, values, nulls, replaces);
	table_close(log, NoLock);
	PG_RETURN_VOID();
}

Datum
event_store_stream_metadata(PG_FUNCTION_ARGS)
{
	text	   *name = PG_GETARG_TEXT_PP(0);
	EsStore    *store;
	Relation	log;
	EsStream	stream;

	es_stream_check_name(name);
	log = es_store_open_log(&store, AccessShareLock, ACL_SELECT);
	es_stream_find(store, name, GetActiveSnapshot(), &stream);
	table_close(log, NoLock);
	if (stream.metadata == NULL)
		PG_RETURN_NULL();
	PG_RETURN_JSONB_P(stream.metadata);
}
