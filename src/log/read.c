/*
 * read.c
 *		Events back, of one stream or of all streams in order.
 *
 * A stream is read in the caller's snapshot, like a table.  Everything in
 * order is read up to the horizon, which is taken first and the snapshot
 * second; a reader that cannot do that (its snapshot is fixed, or it does not
 * share memory with the writers) reads up to the durable mark.  Both ways what
 * a reader has passed can never change.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/arguments.h"
#include "base/errors.h"
#include "log/horizon.h"
#include "log/mark.h"
#include "log/meter.h"
#include "log/scan.h"
#include "log/stream.h"
#include "log/wake.h"

/* How often a reader that goes by the mark looks for a new one, in ms. */
#define MARK_INTERVAL	50

/* A hundred years in ms: for ever, and no overflow of a timestamp. */
#define MAX_TIMEOUT		(INT64CONST(36525) * SECS_PER_DAY * 1000)

/* Fields of the type recorded_event. */
enum RecordedField
{
	FIELD_POSITION,
	FIELD_STREAM,
	FIELD_VERSION,
	FIELD_EVENT_ID,
	FIELD_TYPE,
	FIELD_DATA,
	FIELD_METADATA,
	FIELD_CORRELATION_ID,
	FIELD_CAUSATION_ID,
	FIELD_CREATED_AT,
	NFIELDS
};

/* A list of names to filter by; NULL data: no filter. */
typedef struct Names
{
	int			count;
	Datum	   *data;
} Names;

/* What a reader of all streams asked for. */
typedef struct ReadQuery
{
	int64		after;
	int64		max_count;
	bool		backward;
	Names		types;
	Names		categories;
} ReadQuery;

static bool
name_matches(const Names *names, const char *data, int length)
{
	if (names->data == NULL)
		return true;
	for (int i = 0; i < names->count; i++)
		if (VARSIZE_ANY_EXHDR(names->data[i]) == length &&
			memcmp(VARDATA_ANY(names->data[i]), data, length) == 0)
			return true;
	return false;
}

/* Give one row of event_log back as a recorded_event. */
static void
put_event(ReturnSetInfo *result, text *stream, const Datum *row, const bool *row_nulls)
{
	Datum		values[NFIELDS];
	bool		nulls[NFIELDS] = {0};

	values[FIELD_POSITION] = row[LOG_POSITION];
	values[FIELD_STREAM] = PointerGetDatum(stream);
	values[FIELD_VERSION] = row[LOG_VERSION];
	values[FIELD_EVENT_ID] = row[LOG_EVENT_ID];
	values[FIELD_TYPE] = row[LOG_EVENT_TYPE];
	values[FIELD_DATA] = row[LOG_DATA];
	values[FIELD_METADATA] = row[LOG_METADATA];
	values[FIELD_CORRELATION_ID] = row[LOG_CORRELATION_ID];
	values[FIELD_CAUSATION_ID] = row[LOG_CAUSATION_ID];
	values[FIELD_CREATED_AT] = row[LOG_CREATED_AT];
	nulls[FIELD_METADATA] = row_nulls[LOG_METADATA];
	nulls[FIELD_CORRELATION_ID] = row_nulls[LOG_CORRELATION_ID];
	nulls[FIELD_CAUSATION_ID] = row_nulls[LOG_CAUSATION_ID];
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/* Does this reader have to go by the durable mark? */
static bool
reads_by_mark(const EsStore *store)
{
	return RecoveryInProgress() || store->copy || IsolationUsesXactSnapshot();
}

/* Put the rows with low <= position <= high that match; returns their number. */
static int64
read_range(ReturnSetInfo *result, EsStore *store, Relation log, const ReadQuery *query,
		   int64 low, int64 high, Snapshot snapshot)
{
	EsScan		scan;
	Datum	   *values;
	bool	   *nulls;
	int64		count = 0;

	if (low > high || query->max_count == 0)
		return 0;
	es_scan_log(&scan, store, log, low, high, query->backward, snapshot);
	while (count < query->max_count && es_scan_next(&scan, &values, &nulls))
	{
		text	   *stream;

		if (query->types.data != NULL)
		{
			/* in a wide row even a short type may have been compressed */
			text	   *type = DatumGetTextPP(values[LOG_EVENT_TYPE]);

			if (!name_matches(&query->types, VARDATA_ANY(type), VARSIZE_ANY_EXHDR(type)))
				continue;
		}
		stream = es_stream_name(store, DatumGetInt64(values[LOG_STREAM_ID]), snapshot);
		if (!name_matches(&query->categories, VARDATA_ANY(stream),
						  es_stream_category_length(VARDATA_ANY(stream), VARSIZE_ANY_EXHDR(stream))))
			continue;
		put_event(result, stream, values, nulls);
		count++;
	}
	es_scan_end(&scan);
	return count;
}

/*
 * Refuse to read after a position that was never handed out: the reader's
 * checkpoint is of another store, or of a server that has since been set back.
 */
static void
check_not_ahead(EsStore *store, int64 after)
{
	int64		end = es_position_end(store);

	if (after >= end)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE,
							ES_MEMBERS(ES_TEXT("store", NameStr(store->schema)),
									   ES_INT("after_position", after), ES_INT("last_position", end - 1)),
							"position %lld lies ahead of event store \"%s\", whose last position is %lld",
							(long long) after, NameStr(store->schema), (long long) (end - 1)),
				 errhint("The checkpoint is of another store, or the server was restored to an earlier state; read from a position that exists.")));
}

/*
 * Put the events in order that the query asks for and that are final now;
 * returns their number.  *passed is set to the highest position that a forward
 * reader who got less than max_count has passed for good.
 */
static int64
read_in_order(ReturnSetInfo *result, EsStore *store, Relation log, const ReadQuery *query, int64 *passed)
{
	XLogRecPtr	released = InvalidXLogRecPtr;
	Snapshot	snapshot;
	int64		last;
	int64		count;

	if (reads_by_mark(store))
	{
		snapshot = RegisterSnapshot(GetTransactionSnapshot());
		last = es_mark_read(store, snapshot);
		if (!RecoveryInProgress() && !store->copy)
			(void) es_horizon(store, &released);
	}
	else
	{
		/* The horizon first, the snapshot second: never the other way round. */
		last = es_horizon(store, &released) - 1;
		snapshot = RegisterSnapshot(GetLatestSnapshot());
		if (!query->backward && query->after > last)
			check_not_ahead(store, query->after);
	}

	/* What is read here leaves the server, so a crash must not undo it. */
	XLogFlush(released);

	if (query->backward)
		count = read_range(result, store, log, query, 1, Min(query->after - 1, last), snapshot);
	else if (query->after < last)
		count = read_range(result, store, log, query, query->after + 1, last, snapshot);
	else
		count = 0;
	UnregisterSnapshot(snapshot);
	*passed = Max(query->after, last);
	return count;
}

/* --- arguments --- */

static void
bad_argument(const char *name, int64 value, const char *what, const char *hint)
{
	ereport(ERROR,
			(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("argument", name), ES_INT("value", value)),
						"%s %lld %s", name, (long long) value, what),
			 errhint("%s", hint)));
}

static bool
direction_argument(FunctionCallInfo fcinfo, int argument)
{
	char	   *direction;

	es_require_argument(fcinfo, argument, "direction");
	direction = text_to_cstring(PG_GETARG_TEXT_PP(argument));
	if (strcmp(direction, "backward") == 0)
		return true;
	if (strcmp(direction, "forward") != 0)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("direction", direction)),
							"direction \"%s\" is unknown", direction),
				 errhint("Use forward or backward.")));
	return false;
}

/* Null means no limit. */
static int64
count_argument(FunctionCallInfo fcinfo, int argument)
{
	int64		count;

	if (PG_ARGISNULL(argument))
		return PG_INT64_MAX;
	count = PG_GETARG_INT64(argument);
	if (count < 0)
		bad_argument("max_count", count, "is negative", "Pass 0 or more, or null for no limit.");
	return count;
}

/* Null means from the beginning or, backward, from the end. */
static int64
position_argument(FunctionCallInfo fcinfo, int argument, bool backward)
{
	int64		position;

	if (PG_ARGISNULL(argument))
		return backward ? PG_INT64_MAX : 0;
	position = PG_GETARG_INT64(argument);
	if (position < 0)
		bad_argument("after_position", position, "is negative",
					 "Positions begin at 1; read after 0 for everything.");
	return position;
}

/* Null means no filter. */
static Names
names_argument(FunctionCallInfo fcinfo, int argument, const char *name)
{
	Names		names = {0};
	bool	   *nulls;

	if (PG_ARGISNULL(argument))
		return names;
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(argument), TEXTOID, -1, false, TYPALIGN_INT,
					  &names.data, &nulls, &names.count);
	if (names.data == NULL)
		names.data = palloc(sizeof(Datum));
	for (int i = 0; i < names.count; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(es_problem(ERRCODE_NULL_VALUE_NOT_ALLOWED, ES_MEMBERS(ES_TEXT("argument", name), ES_INT("index", i)),
								"element %d of %s is null", i, name),
					 errhint("Leave it out, or pass null for the whole array to read without this filter.")));
		names.data[i] = PointerGetDatum(PG_DETOAST_DATUM_PACKED(names.data[i]));
	}
	return names;
}

/* In milliseconds. */
static int64
timeout_argument(FunctionCallInfo fcinfo, int argument)
{
	Interval   *interval;
	int64		timeout;

	es_require_argument(fcinfo, argument, "timeout");
	interval = PG_GETARG_INTERVAL_P(argument);
	timeout = interval->time / 1000 +
		((int64) interval->month * DAYS_PER_MONTH + interval->day) * (SECS_PER_DAY * 1000);
	if (timeout < 0)
		bad_argument("timeout", timeout, "ms is negative", "Pass an interval of 0 or more.");
	return Min(timeout, MAX_TIMEOUT);
}

PG_FUNCTION_INFO_V1(event_store_read_stream);
PG_FUNCTION_INFO_V1(event_store_read_all);
PG_FUNCTION_INFO_V1(event_store_read_category);
PG_FUNCTION_INFO_V1(event_store_poll);
PG_FUNCTION_INFO_V1(event_store_event);
PG_FUNCTION_INFO_V1(event_store_head);

Datum
event_store_read_stream(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	text	   *name;
	int64		max_count = count_argument(fcinfo, 2);
	bool		backward = direction_argument(fcinfo, 3);
	int64		from = backward ? PG_INT64_MAX : 1;
	Snapshot	snapshot = GetActiveSnapshot();
	EsStore    *store;
	Relation	log;
	EsStream	stream;
	EsReadMeter meter;
	int64		count = 0;

	es_meter_read_begin(&meter);
	es_require_argument(fcinfo, 0, "stream");
	name = PG_GETARG_TEXT_PP(0);
	es_stream_check_name(name);
	if (!PG_ARGISNULL(1))
		from = PG_GETARG_INT64(1);
	if (from < 0)
		bad_argument("from_version", from, "is negative", "Versions begin at 1.");

	InitMaterializedSRF(fcinfo, 0);
	log = es_store_open_log(&store, AccessShareLock, ACL_SELECT);
	es_stream_find(store, name, snapshot, &stream);
	es_stream_check_open(&stream, name);
	if (stream.id != 0 && max_count > 0)
	{
		EsScan		scan;
		Datum	   *values;
		bool	   *nulls;

		if (backward)
			es_scan_stream(&scan, store, log, stream.id, 1, from, true, snapshot);
		else
			es_scan_stream(&scan, store, log, stream.id, from, PG_INT64_MAX, false, snapshot);
		for (; count < max_count && es_scan_next(&scan, &values, &nulls); count++)
			put_event(result, name, values, nulls);
		es_scan_end(&scan);
	}
	table_close(log, NoLock);
	es_meter_read_done(&meter, ES_READ_STREAM, count);
	return (Datum) 0;
}

static void
read_all(FunctionCallInfo fcinfo, const ReadQuery *query, int kind)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	EsStore    *store;
	Relation	log;
	int64		passed;
	int64		count;
	EsReadMeter meter;

	es_meter_read_begin(&meter);
	InitMaterializedSRF(fcinfo, 0);
	log = es_store_open_log(&store, AccessShareLock, ACL_SELECT);
	count = read_in_order(result, store, log, query, &passed);
	table_close(log, NoLock);
	es_meter_read_done(&meter, kind, count);
}

Datum
event_store_read_all(PG_FUNCTION_ARGS)
{
	ReadQuery		query;

	query.backward = direction_argument(fcinfo, 4);
	query.after = position_argument(fcinfo, 0, query.backward);
	query.max_count = count_argument(fcinfo, 1);
	query.types = names_argument(fcinfo, 2, "types");
	query.categories = names_argument(fcinfo, 3, "categories");
	read_all(fcinfo, &query, ES_READ_ALL);
	return (Datum) 0;
}

Datum
event_store_read_category(PG_FUNCTION_ARGS)
{
	ReadQuery		query;
	Datum		category;

	es_require_argument(fcinfo, 0, "category");
	category = PointerGetDatum(PG_GETARG_TEXT_PP(0));
	query.backward = direction_argument(fcinfo, 4);
	query.after = position_argument(fcinfo, 1, query.backward);
	query.max_count = count_argument(fcinfo, 2);
	query.types = names_argument(fcinfo, 3, "types");
	query.categories = (Names) {.count = 1, .data = &category};
	read_all(fcinfo, &query, ES_READ_CATEGORY);
	return (Datum) 0;
}

Datum
event_store_poll(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	ReadQuery		query = {0};
	EsStore    *store;
	Relation	log;
	TimestampTz deadline;
	EsReadMeter meter;
	int64		count;

	es_meter_read_begin(&meter);
	es_require_argument(fcinfo, 0, "after_position");
	query.after = position_argument(fcinfo, 0, false);
	query.max_count = count_argument(fcinfo, 1);
	deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), timeout_argument(fcinfo, 2));
	query.types = names_argument(fcinfo, 3, "types");
	query.categories = names_argument(fcinfo, 4, "categories");

	InitMaterializedSRF(fcinfo, 0);
	log = es_store_open_log(&store, AccessShareLock, ACL_SELECT);
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(es_problem(ERRCODE_ACTIVE_SQL_TRANSACTION, NULL,
							"cannot wait for new events in a transaction whose snapshot is fixed"),
				 errhint("Call event_store.poll() in a READ COMMITTED transaction, or read with event_store.read_all().")));
	if (es_position_held(store))
		ereport(ERROR,
				(es_problem(ERRCODE_ACTIVE_SQL_TRANSACTION, NULL,
							"cannot wait for new events in a transaction that has appended to the same store"),
				 errhint("Commit first: until then the events of this transaction keep every reader back, itself too.")));

	for (;;)
	{
		long		remaining;
		instr_time	sleep;

		if (!reads_by_mark(store))
			es_wake_prepare(es_store_slot(store));
		count = read_in_order(result, store, log, &query, &query.after);
		remaining = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), deadline);
		if (count > 0 || query.max_count == 0 || remaining <= 0)
			break;
		INSTR_TIME_SET_CURRENT(sleep);
		es_wake_sleep(reads_by_mark(store) ? Min(remaining, MARK_INTERVAL) : remaining);
		meter.asleep += es_meter_seconds_since(sleep);
	}
	es_wake_cancel();
	table_close(log, NoLock);
	es_meter_read_done(&meter, ES_READ_POLL, count);
	return (Datum) 0;
}

Datum
event_store_event(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Snapshot	snapshot = GetActiveSnapshot();
	EsStore    *store;
	Relation	log;
	EsScan		scan;
	Datum	   *values;
	bool	   *nulls;
	EsReadMeter meter;
	bool		found;

	es_meter_read_begin(&meter);
	InitMaterializedSRF(fcinfo, 0);
	log = es_store_open_log(&store, AccessShareLock, ACL_SELECT);
	es_scan_event_id(&scan, store, log, PG_GETARG_UUID_P(0), snapshot);
	found = es_scan_next(&scan, &values, &nulls);
	if (found)
		put_event(result, es_stream_name(store, DatumGetInt64(values[LOG_STREAM_ID]), snapshot), values, nulls);
	es_scan_end(&scan);
	table_close(log, NoLock);
	es_meter_read_done(&meter, ES_READ_EVENT, found);
	return (Datum) 0;
}

Datum
event_store_head(PG_FUNCTION_ARGS)
{
	EsStore    *store;
	Relation	log = es_store_open_log(&store, AccessShareLock, ACL_SELECT);
	Snapshot	snapshot;
	EsScan		scan;
	Datum	   *values;
	bool	   *nulls;
	int64		last;
	int64		head = 0;

	if (reads_by_mark(store))
	{
		snapshot = RegisterSnapshot(GetTransactionSnapshot());
		last = es_mark_read(store, snapshot);
	}
	else
	{
		last = es_horizon(store, NULL) - 1;
		snapshot = RegisterSnapshot(GetLatestSnapshot());
	}
	es_scan_log(&scan, store, log, 1, last, true, snapshot);
	if (es_scan_next(&scan, &values, &nulls))
		head = DatumGetInt64(values[LOG_POSITION]);
	es_scan_end(&scan);
	UnregisterSnapshot(snapshot);
	table_close(log, NoLock);
	PG_RETURN_INT64(head);
}
