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
#include "log/hot.h"
#include "log/link.h"
#include "log/mark.h"
#include "log/merge.h"
#include "log/meter.h"
#include "log/read.h"
#include "log/retention.h"
#include "log/scan.h"
#include "log/stream.h"
#include "log/wake.h"
#include "store/payload.h"

/* How often a reader that goes by the mark looks for a new one, in ms. */
#define MARK_INTERVAL	50

/* A hundred years in ms: for ever, and no overflow of a timestamp. */
#define MAX_TIMEOUT		(INT64CONST(36525) * SECS_PER_DAY * 1000)

bool
es_name_matches(const EsNames *names, const char *data, int length)
{
	if (names->data == NULL)
		return true;
	for (int i = 0; i < names->count; i++)
		if (VARSIZE_ANY_EXHDR(names->data[i]) == length &&
			memcmp(VARDATA_ANY(names->data[i]), data, length) == 0)
			return true;
	return false;
}

EsBodyHook	es_body_hook = NULL;

/* The body of an event as it is stored. */
EsEventBody
es_event_body(const Datum *row, const bool *row_nulls)
{
	return (EsEventBody) {row[LOG_EVENT_TYPE], row[LOG_DATA], row[LOG_METADATA], row_nulls[LOG_METADATA]};
}

/* The fields of a recorded_event from a row of event_log and the body to show. */
void
es_event_fields(text *stream, const Datum *row, const bool *row_nulls, const EsEventBody *body,
				Datum *values, bool *nulls)
{
	memset(nulls, false, RECORDED_NFIELDS * sizeof(bool));
	values[FIELD_POSITION] = row[LOG_POSITION];
	values[FIELD_STREAM] = PointerGetDatum(stream);
	values[FIELD_VERSION] = row[LOG_VERSION];
	values[FIELD_EVENT_ID] = row[LOG_EVENT_ID];
	values[FIELD_TYPE] = body->type;
	values[FIELD_DATA] = body->data;
	values[FIELD_METADATA] = body->metadata;
	values[FIELD_CORRELATION_ID] = row[LOG_CORRELATION_ID];
	values[FIELD_CAUSATION_ID] = row[LOG_CAUSATION_ID];
	values[FIELD_CREATED_AT] = row[LOG_CREATED_AT];
	nulls[FIELD_METADATA] = body->metadata_isnull;
	nulls[FIELD_CORRELATION_ID] = row_nulls[LOG_CORRELATION_ID];
	nulls[FIELD_CAUSATION_ID] = row_nulls[LOG_CAUSATION_ID];
}

/* The fields of a recorded_event as its readers get it, data as jsonb, from a row of event_log of the store in use. */
void
es_recorded_event(const EsStore *store, text *stream, const Datum *row, const bool *row_nulls, Datum *values, bool *nulls)
{
	EsEventBody body = es_event_body(row, row_nulls);

	if (es_body_hook == NULL || !es_body_hook(row, &body))
		body.data = es_payload_of_row(row, store->payload, ES_PAYLOAD_JSONB);
	es_event_fields(stream, row, row_nulls, &body, values, nulls);
}

/*
 * Begin to put events into the result of a function that returns recorded_events,
 * or rows like them in which data is of another type.
 */
void
es_put_begin(EsPut *put, FunctionCallInfo fcinfo, const EsStore *store)
{
	Oid			type;

	*put = (EsPut) {.result = (ReturnSetInfo *) fcinfo->resultinfo, .kept = store->payload};
	type = TupleDescAttr(put->result->setDesc, FIELD_DATA)->atttypid;
	if (type == TEXTOID)
		put->wanted = ES_PAYLOAD_JSON;
	else if (!es_payload_of_type(type, &put->wanted))
		ereport(ERROR,
				(es_problem(ERRCODE_DATATYPE_MISMATCH, ES_MEMBERS(ES_TEXT("type", format_type_be(type))),
							"data cannot be read as %s", format_type_be(type)),
				 errhint("Pass null::json, null::text, null::jsonb or null::bytea.")));
	put->row = AllocSetContextCreate(CurrentMemoryContext, "event_store payload", ALLOCSET_DEFAULT_SIZES);
}

/* The sink of such a function; target is its EsPut. */
void
es_put_event(void *target, text *stream, const Datum *row, const bool *row_nulls)
{
	EsPut	   *put = target;
	EsEventBody body = es_event_body(row, row_nulls);
	MemoryContext caller = MemoryContextSwitchTo(put->row);
	Datum		values[RECORDED_NFIELDS];
	bool		nulls[RECORDED_NFIELDS];

	body.data = es_body_hook != NULL && es_body_hook(row, &body) ?
		es_payload_convert(body.data, ES_PAYLOAD_JSONB, put->wanted, false) :
		es_payload_of_row(row, put->kept, put->wanted);
	es_event_fields(stream, row, row_nulls, &body, values, nulls);
	tuplestore_putvalues(put->result->setResult, put->result->setDesc, values, nulls);
	MemoryContextSwitchTo(caller);
	MemoryContextReset(put->row);
}

/* Does this reader have to go by the durable mark? */
static bool
reads_by_mark(const EsStore *store)
{
	return RecoveryInProgress() || store->copy || IsolationUsesXactSnapshot();
}

/* Read the rows with low <= position <= high that match; returns their number. */
static int64
read_range(EsStore *store, Relation log, const EsReadQuery *query,
		   int64 low, int64 high, Snapshot snapshot, EsEventSink sink, void *target)
{
	EsMerge		merge;
	Datum	   *values;
	bool	   *nulls;
	int64		count = 0;

	if (low > high || query->max_count == 0)
		return 0;
	es_merge_begin(&merge, store, log, query, low, high, snapshot);
	while (count < query->max_count && es_merge_next(&merge, &values, &nulls))
	{
		text	   *stream;

		if (query->correlation != NULL &&
			(nulls[LOG_CORRELATION_ID] ||
			 memcmp(DatumGetUUIDP(values[LOG_CORRELATION_ID]), query->correlation, UUID_LEN) != 0))
			continue;
		if (query->types.data != NULL)
		{
			/* in a wide row even a short type may have been compressed */
			text	   *type = DatumGetTextPP(values[LOG_EVENT_TYPE]);

			if (!es_name_matches(&query->types, VARDATA_ANY(type), VARSIZE_ANY_EXHDR(type)))
				continue;
		}
		stream = es_stream_name(store, DatumGetInt64(values[LOG_STREAM_ID]), snapshot);
		if (!es_name_matches(&query->categories, VARDATA_ANY(stream),
						  es_stream_category_length(VARDATA_ANY(stream), VARSIZE_ANY_EXHDR(stream))))
			continue;
		sink(target, stream, values, nulls);
		count++;
	}
	es_merge_end(&merge);
	return count;
}

/*
 * Learn what is final now.  The horizon is taken first and the snapshot second;
 * a reader that cannot do that goes by the durable mark.  What is read leaves
 * the server, so it is flushed here: a crash must not undo it.
 */
void
es_final_begin(EsFinal *final, EsStore *store)
{
	XLogRecPtr	released = InvalidXLogRecPtr;

	final->by_mark = reads_by_mark(store);
	if (final->by_mark)
	{
		final->snapshot = RegisterSnapshot(GetTransactionSnapshot());
		final->last = es_mark_read(store, final->snapshot);
		if (!RecoveryInProgress() && !store->copy)
			(void) es_horizon(store, &released);
	}
	else
	{
		/* The horizon first, the snapshot second: never the other way round. */
		final->last = es_horizon(store, &released) - 1;
		final->snapshot = RegisterSnapshot(GetLatestSnapshot());
	}
	XLogFlush(released);
}

void
es_final_end(EsFinal *final)
{
	UnregisterSnapshot(final->snapshot);
}

/* The lowest and the highest position that the query is about; none if low > high. */
void
es_final_range(const EsFinal *final, EsStore *store, const EsReadQuery *query, int64 *low, int64 *high)
{
	if (query->backward)
	{
		*low = 1;
		*high = Min(query->after - 1, final->last);
		return;
	}
	if (!final->by_mark && query->after > final->last)
		es_position_check(store, query->after);
	*low = query->after < final->last ? query->after + 1 : 1;
	*high = query->after < final->last ? final->last : 0;
}

/*
 * Read the events in order that the query asks for and that are final now;
 * returns their number.  *passed is set to the highest position that a forward
 * reader who got less than max_count has passed for good.
 */
int64
es_read_in_order(EsStore *store, Relation log, const EsReadQuery *query, EsEventSink sink, void *target, int64 *passed)
{
	EsFinal		final;
	int64		low;
	int64		high;
	int64		count;

	es_final_begin(&final, store);
	es_final_range(&final, store, query, &low, &high);
	count = read_range(store, log, query, low, high, final.snapshot, sink, target);
	es_final_end(&final);
	*passed = Max(query->after, final.last);
	return count;
}

/* Read the event at a position, if the snapshot sees one; tells whether it does. */
bool
es_read_position(EsStore *store, Relation log, int64 position, Snapshot snapshot, EsEventSink sink, void *target)
{
	EsScan		scan;
	Datum	   *values;
	bool	   *nulls;
	bool		found;

	es_scan_log(&scan, store, log, position, position, false, snapshot);
	found = es_scan_next(&scan, &values, &nulls);
	if (found)
		sink(target, es_stream_name(store, DatumGetInt64(values[LOG_STREAM_ID]), snapshot), values, nulls);
	es_scan_end(&scan);
	return found;
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

bool
es_direction_argument(FunctionCallInfo fcinfo, int argument)
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
int64
es_count_argument(FunctionCallInfo fcinfo, int argument)
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
int64
es_position_argument(FunctionCallInfo fcinfo, int argument, bool backward)
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
EsNames
es_names_argument(FunctionCallInfo fcinfo, int argument, const char *name)
{
	EsNames		names = {0};
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

/* In milliseconds, at most a hundred years. */
int64
es_timeout_argument(FunctionCallInfo fcinfo, int argument, const char *name)
{
	Interval   *interval;
	int64		timeout;

	es_require_argument(fcinfo, argument, name);
	interval = PG_GETARG_INTERVAL_P(argument);
	timeout = es_interval_ms(interval);
	if (timeout < 0)
		bad_argument(name, timeout, "ms is negative", "Pass an interval of 0 or more.");
	return Min(timeout, MAX_TIMEOUT);
}

PG_FUNCTION_INFO_V1(event_store_read_stream);
PG_FUNCTION_INFO_V1(event_store_read_stream_as);
PG_FUNCTION_INFO_V1(event_store_read_all);
PG_FUNCTION_INFO_V1(event_store_read_all_as);
PG_FUNCTION_INFO_V1(event_store_read_category);
PG_FUNCTION_INFO_V1(event_store_read_by_type);
PG_FUNCTION_INFO_V1(event_store_read_by_correlation);
PG_FUNCTION_INFO_V1(event_store_poll);
PG_FUNCTION_INFO_V1(event_store_poll_as);
PG_FUNCTION_INFO_V1(event_store_event);
PG_FUNCTION_INFO_V1(event_store_head);

/* read_stream and read_stream_as: first is the number of the argument stream. */
static Datum
read_stream(FunctionCallInfo fcinfo, int first)
{
	EsPut		put;
	text	   *name;
	int64		max_count = es_count_argument(fcinfo, first + 2);
	bool		backward = es_direction_argument(fcinfo, first + 3);
	int64		from = backward ? PG_INT64_MAX : 1;
	bool		resolve_links;
	Snapshot	snapshot = GetActiveSnapshot();
	EsStore    *store;
	Relation	log;
	EsStream	stream;
	EsReadMeter meter;
	int64		count = 0;
	int64		last = 0;		/* version that is returned */

	es_meter_read_begin(&meter);
	es_require_argument(fcinfo, first, "stream");
	es_require_argument(fcinfo, first + 4, "resolve_links");
	name = PG_GETARG_TEXT_PP(first);
	resolve_links = PG_GETARG_BOOL(first + 4);
	es_stream_check_name(name);
	if (!PG_ARGISNULL(first + 1))
		from = PG_GETARG_INT64(first + 1);
	if (from < 0)
		bad_argument("from_version", from, "is negative", "Versions begin at 1.");

	InitMaterializedSRF(fcinfo, 0);
	log = es_store_open_log(&store, AccessShareLock, ACL_SELECT);
	es_put_begin(&put, fcinfo, store);
	es_stream_find(store, name, snapshot, &stream);
	es_stream_check_open(&stream, name);
	if (stream.id != 0 && max_count > 0)
	{
		int64		begin = es_stream_first_version(store, log, &stream, snapshot);
		EsScan		scan;
		Datum	   *values;
		bool	   *nulls;

		if (backward)
			es_scan_stream(&scan, store, log, stream.id, begin, from, true, snapshot);
		else
			es_scan_stream(&scan, store, log, stream.id, Max(from, begin), PG_INT64_MAX, false, snapshot);
		for (; count < max_count && es_scan_next(&scan, &values, &nulls); count++)
		{
			last = Max(last, DatumGetInt64(values[LOG_VERSION]));
			if (!resolve_links || !es_link_resolve(store, log, values, snapshot, es_put_event, &put))
				es_put_event(&put, name, values, nulls);
		}
		es_scan_end(&scan);
		es_hot_confirm(store, log, stream.id, last, snapshot);
	}
	table_close(log, NoLock);
	es_meter_read_done(&meter, ES_READ_STREAM, count);
	return (Datum) 0;
}

Datum
event_store_read_stream(PG_FUNCTION_ARGS)
{
	return read_stream(fcinfo, 0);
}

Datum
event_store_read_stream_as(PG_FUNCTION_ARGS)
{
	return read_stream(fcinfo, 1);
}

static void
read_all(FunctionCallInfo fcinfo, const EsReadQuery *query, int kind)
{
	EsPut		put;
	EsStore    *store;
	Relation	log;
	int64		passed;
	int64		count;
	EsReadMeter meter;

	es_meter_read_begin(&meter);
	InitMaterializedSRF(fcinfo, 0);
	log = es_store_open_log(&store, AccessShareLock, ACL_SELECT);
	es_put_begin(&put, fcinfo, store);
	count = es_read_in_order(store, log, query, es_put_event, &put, &passed);
	table_close(log, NoLock);
	es_meter_read_done(&meter, kind, count);
}

/* read_all and read_all_as: first is the number of the argument after_position. */
static void
read_every(FunctionCallInfo fcinfo, int first)
{
	EsReadQuery query = {0};

	query.backward = es_direction_argument(fcinfo, first + 4);
	query.after = es_position_argument(fcinfo, first, query.backward);
	query.max_count = es_count_argument(fcinfo, first + 1);
	query.types = es_names_argument(fcinfo, first + 2, "types");
	query.categories = es_names_argument(fcinfo, first + 3, "categories");
	read_all(fcinfo, &query, ES_READ_ALL);
}

Datum
event_store_read_all(PG_FUNCTION_ARGS)
{
	read_every(fcinfo, 0);
	return (Datum) 0;
}

Datum
event_store_read_all_as(PG_FUNCTION_ARGS)
{
	read_every(fcinfo, 1);
	return (Datum) 0;
}

Datum
event_store_read_category(PG_FUNCTION_ARGS)
{
	EsReadQuery query = {0};
	Datum		category;

	es_require_argument(fcinfo, 0, "category");
	category = PointerGetDatum(PG_GETARG_TEXT_PP(0));
	query.backward = es_direction_argument(fcinfo, 4);
	query.after = es_position_argument(fcinfo, 1, query.backward);
	query.max_count = es_count_argument(fcinfo, 2);
	query.types = es_names_argument(fcinfo, 3, "types");
	query.categories = (EsNames) {.count = 1, .data = &category};
	read_all(fcinfo, &query, ES_READ_CATEGORY);
	return (Datum) 0;
}

Datum
event_store_read_by_type(PG_FUNCTION_ARGS)
{
	EsReadQuery query = {.by_type = true};

	es_require_argument(fcinfo, 0, "types");
	query.backward = es_direction_argument(fcinfo, 3);
	query.types = es_names_argument(fcinfo, 0, "types");
	query.after = es_position_argument(fcinfo, 1, query.backward);
	query.max_count = es_count_argument(fcinfo, 2);
	read_all(fcinfo, &query, ES_READ_TYPE);
	return (Datum) 0;
}

Datum
event_store_read_by_correlation(PG_FUNCTION_ARGS)
{
	EsReadQuery query = {0};

	es_require_argument(fcinfo, 0, "correlation_id");
	query.correlation = PG_GETARG_UUID_P(0);
	query.backward = es_direction_argument(fcinfo, 3);
	query.after = es_position_argument(fcinfo, 1, query.backward);
	query.max_count = es_count_argument(fcinfo, 2);
	read_all(fcinfo, &query, ES_READ_CORRELATION);
	return (Datum) 0;
}

/* poll and poll_as: first is the number of the argument after_position. */
static Datum
read_or_wait(FunctionCallInfo fcinfo, int first)
{
	EsReadQuery query = {0};
	EsPut		put;
	EsStore    *store;
	Relation	log;
	TimestampTz deadline;
	EsReadMeter meter;
	int64		count;

	es_meter_read_begin(&meter);
	es_require_argument(fcinfo, first, "after_position");
	query.after = es_position_argument(fcinfo, first, false);
	query.max_count = es_count_argument(fcinfo, first + 1);
	deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), es_timeout_argument(fcinfo, first + 2, "timeout"));
	query.types = es_names_argument(fcinfo, first + 3, "types");
	query.categories = es_names_argument(fcinfo, first + 4, "categories");

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

	es_put_begin(&put, fcinfo, store);
	for (;;)
	{
		long		remaining;
		instr_time	sleep;

		if (!reads_by_mark(store))
			es_wake_prepare(es_store_slot(store));
		count = es_read_in_order(store, log, &query, es_put_event, &put, &query.after);
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
event_store_poll(PG_FUNCTION_ARGS)
{
	return read_or_wait(fcinfo, 0);
}

Datum
event_store_poll_as(PG_FUNCTION_ARGS)
{
	return read_or_wait(fcinfo, 1);
}

Datum
event_store_event(PG_FUNCTION_ARGS)
{
	Snapshot	snapshot = GetActiveSnapshot();
	EsPut		put;
	EsStore    *store;
	Relation	log;
	EsScan		scan;
	Datum	   *values;
	bool	   *nulls;
	EsReadMeter meter;
	int64		stream_id = 0;
	int64		version = 0;
	bool		found;

	es_meter_read_begin(&meter);
	InitMaterializedSRF(fcinfo, 0);
	log = es_store_open_log(&store, AccessShareLock, ACL_SELECT);
	es_put_begin(&put, fcinfo, store);
	es_scan_event_id(&scan, store, log, PG_GETARG_UUID_P(0), snapshot);
	found = es_scan_next(&scan, &values, &nulls);
	if (found)
	{
		stream_id = DatumGetInt64(values[LOG_STREAM_ID]);
		version = DatumGetInt64(values[LOG_VERSION]);
		es_put_event(&put, es_stream_name(store, stream_id, snapshot), values, nulls);
	}
	es_scan_end(&scan);
	es_hot_confirm(store, log, stream_id, version, snapshot);
	table_close(log, NoLock);
	es_meter_read_done(&meter, ES_READ_EVENT, found);
	return (Datum) 0;
}

Datum
event_store_head(PG_FUNCTION_ARGS)
{
	EsStore    *store;
	Relation	log = es_store_open_log(&store, AccessShareLock, ACL_SELECT);
	EsFinal		final;
	EsScan		scan;
	Datum	   *values;
	bool	   *nulls;
	int64		head = 0;

	es_final_begin(&final, store);
	es_scan_log(&scan, store, log, 1, final.last, true, final.snapshot);
	if (es_scan_next(&scan, &values, &nulls))
		head = DatumGetInt64(values[LOG_POSITION]);
	es_scan_end(&scan);
	es_final_end(&final);
	table_close(log, NoLock);
	PG_RETURN_INT64(head);
}
