/*
 * append.c
 *		Appending events to one or more streams.
 *
 * The order of steps, each of which relies on those before:
 *
 *	1. everything that can be checked without the store is checked;
 *	2. the store is resolved, its tenant's limits looked at (log/admit),
 *	   event_log locked as by any INSERT, rights checked;
 *	3. the streams are locked until the transaction ends (log/stream), several
 *	   of them in the order of their keys, and after them the tags (log/tag);
 *	4. the version of each, the last entry of the primary key, is compared with
 *	   the expected one, and the condition is checked (log/condition);
 *	5. positions are reserved (log/horizon), so they rise with the versions;
 *	6. the rows are written (log/insert), and the index of tags;
 *	7. a floor above is told, for those who want to see each event at once.
 *
 * The unique keys stay the last line of defence.
 *
 * Two calls, each in a transaction of its own, cannot deadlock: both lock
 * their streams and then their tags in one order, or the whole log before any stream, and whoever
 * waits for another's event id, which is after that, enters its own ids in one
 * order too.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_collation.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/typcache.h"
#include "utils/varlena.h"

#include "base/arguments.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/json.h"
#include "log/admit.h"
#include "log/append.h"
#include "log/batch.h"
#include "log/event.h"
#include "log/expected.h"
#include "log/horizon.h"
#include "log/hot.h"
#include "log/meter.h"
#include "log/scan.h"
#include "log/stream.h"
#include "log/tag.h"
#include "store/event_id.h"

#define MAX_ERRORS	1000		/* streams not as expected that one error tells of */

EsAppendHook es_append_hook = NULL;

/* The place of a stream in the order in which streams are locked. */
typedef struct LockPlace
{
	uint64		key;
	const EsAppend *part;
} LockPlace;

/* The version before that of the event with an id in a stream, -1 if there is none. */
static int64
version_before_event(EsBatch *batch, int64 stream_id, const pg_uuid_t *id, Snapshot snapshot)
{
	EsScan		scan;
	Datum	   *values;
	bool	   *nulls;
	int64		version = -1;

	es_scan_event_id(&scan, batch->store, batch->log, id, snapshot);
	if (es_scan_next(&scan, &values, &nulls) && DatumGetInt64(values[LOG_STREAM_ID]) == stream_id)
		version = DatumGetInt64(values[LOG_VERSION]) - 1;
	es_scan_end(&scan);
	return version;
}

/*
 * Do the events of a part stand already at exactly the versions that the caller
 * expects to give them?  Then it is a retry of an append that has happened, and
 * its result is what that one's was.  Of a caller with a condition it is enough
 * that they stand one after the other: the condition says what he expects.
 */
static bool
already_appended(EsBatch *batch, EsAppend *part)
{
	EsEvent    *events = batch->events + part->start;
	EsAppended *result = &part->result;
	int64		base = part->expected == ES_EXPECTED_NO_STREAM ? 0 : part->expected;
	bool		anywhere = batch->condition != NULL && base < 0;
	Snapshot	snapshot;
	EsScan		scan;
	Datum	   *values;
	bool	   *nulls;
	int			matched = 0;

	if ((base < 0 && !anywhere) || part->stream_id == 0 || part->deleted || part->actual - base < part->count)
		return false;
	for (int i = 0; i < part->count; i++)
		if (events[i].event_id == NULL)
			return false;

	snapshot = RegisterSnapshot(IsolationUsesXactSnapshot() ? GetTransactionSnapshot() : GetLatestSnapshot());
	if (anywhere)
		base = version_before_event(batch, part->stream_id, events[0].event_id, snapshot);
	if (base < 0)
	{
		UnregisterSnapshot(snapshot);
		return false;
	}
	es_scan_stream(&scan, batch->store, batch->log, part->stream_id, base + 1, base + part->count, false, snapshot);
	while (es_scan_next(&scan, &values, &nulls) &&
		   memcmp(DatumGetUUIDP(values[LOG_EVENT_ID]), events[matched].event_id, UUID_LEN) == 0)
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
	return matched == part->count;
}

/* Have all parts that are to be written been appended already? */
static bool
all_appended(EsBatch *batch)
{
	for (int p = 0; p < batch->nparts; p++)
		if (batch->parts[p].count > 0 && !already_appended(batch, &batch->parts[p]))
			return false;
	return batch->count > 0;
}

/* Refuse ids that look like those this store makes itself. */
static void
check_given_ids(EsBatch *batch)
{
	int64		position;

	for (int i = 0; i < batch->count; i++)
		if (batch->events[i].event_id != NULL &&
			es_event_id_made_here(batch->store, batch->events[i].event_id, &position))
		{
			char	   *id = es_event_id_to_string(batch->events[i].event_id);
			EsAppend   *part = es_batch_part(batch->parts, i);
			int			index = i - part->start;

			es_batch_enter_event(batch, part, i);
			ereport(ERROR,
					(es_problem(ERRCODE_INVALID_PARAMETER_VALUE,
								ES_MEMBERS(ES_TEXT("event_id", id), ES_INT("index", index), ES_TEXT("member", "event_id")),
								"event_id %s of event %d is reserved: this store makes such ids itself", id, index),
					 errhint("Give a random UUID, or none.")));
		}
}

/* Turn the events into what the store, which is open now, keeps. */
static void
fit_events(EsBatch *batch)
{
	EsAppend   *part = batch->parts;

	for (int i = 0; i < batch->count; i++)
	{
		if (batch->events[i].payload == batch->store->payload)
			continue;
		CHECK_FOR_INTERRUPTS();
		part = es_batch_part(part, i);
		es_batch_enter_event(batch, part, i);
		batch->bytes += es_event_fit(&batch->events[i], i - part->start, batch->store);
	}
	es_batch_leave_parts(batch);
}

/*
 * Check all that can be checked without the store.  Events that come in lines
 * have been checked one by one.
 */
static void
check_events(EsBatch *batch)
{
	int			duplicate;

	if (batch->order != NULL)
		batch->bytes = batch->order->bytes;

	for (int p = 0; p < batch->nparts; p++)
	{
		EsAppend   *part = &batch->parts[p];

		es_batch_enter_part(batch, part);
		es_stream_check_name(part->stream);
		if (batch->order == NULL && !part->system)
			batch->bytes += es_events_check(batch->events + part->start, part->count);
	}
	duplicate = batch->count > 1 ? es_events_find_duplicate(batch->events, batch->count) : -1;
	if (duplicate >= 0)
	{
		char	   *id = es_event_id_to_string(batch->events[duplicate].event_id);
		EsAppend   *part = es_batch_part(batch->parts, duplicate);

		es_batch_enter_event(batch, part, duplicate);
		ereport(ERROR,
				(es_problem(ERRCODE_ES_DUPLICATE_EVENT,
							ES_MEMBERS(ES_TEXT("event_id", id), ES_INT("index", duplicate - part->start)),
							"event id %s is given twice in one append", id),
				 errhint("Give each event an id of its own, or none.")));
	}
	es_batch_leave_parts(batch);
}

static int
compare_places(const void *a, const void *b)
{
	const LockPlace *x = a;
	const LockPlace *y = b;
	int			result;

	if (x->key != y->key)
		return x->key < y->key ? -1 : 1;
	result = varstr_cmp(VARDATA_ANY(x->part->stream), VARSIZE_ANY_EXHDR(x->part->stream),
						VARDATA_ANY(y->part->stream), VARSIZE_ANY_EXHDR(y->part->stream), C_COLLATION_OID);
	return result != 0 ? result : x->part < y->part ? -1 : 1;
}

/* The keys of the streams' locks in ascending order.  Refuses a stream that is named twice. */
static uint64 *
sorted_keys(EsBatch *batch)
{
	LockPlace  *places = palloc(mul_size(sizeof(LockPlace), batch->nparts));
	uint64	   *keys = palloc(mul_size(sizeof(uint64), batch->nparts));

	for (int p = 0; p < batch->nparts; p++)
		places[p] = (LockPlace) {es_stream_lock_key(batch->parts[p].stream), &batch->parts[p]};
	qsort(places, batch->nparts, sizeof(LockPlace), compare_places);
	for (int p = 0; p < batch->nparts; p++)
	{
		keys[p] = places[p].key;
		if (p > 0 && keys[p] == keys[p - 1] &&
			VARSIZE_ANY_EXHDR(places[p].part->stream) == VARSIZE_ANY_EXHDR(places[p - 1].part->stream) &&
			memcmp(VARDATA_ANY(places[p].part->stream), VARDATA_ANY(places[p - 1].part->stream),
				   VARSIZE_ANY_EXHDR(places[p].part->stream)) == 0)
		{
			char	   *stream = text_to_cstring(places[p].part->stream);

			es_batch_enter_part(batch, places[p].part);
			ereport(ERROR,
					(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("stream", stream)),
								"stream \"%s\" is named twice, in appends %d and %d", stream,
								(int) (places[p - 1].part - batch->parts), (int) (places[p].part - batch->parts)),
					 errhint("Name each stream once, with all of its events.")));
		}
	}
	pfree(places);
	return keys;
}

/*
 * Open event_log of the current store and lock all streams.  If they are too
 * many, event_log is locked against other appends before anything else is, for
 * to come to it from locked streams is the way into a deadlock.
 */
static void
open_and_lock(EsBatch *batch)
{
	EsLoad		load = {.events = batch->count, .bytes = batch->bytes};
	uint64	   *keys;
	bool		fit;

	if (batch->nparts == 1)
	{
		batch->log = es_store_open_log_admitted(&batch->store, RowExclusiveLock, ACL_INSERT, es_admit, &load);
		es_meter_append_store(batch->attempt, batch->store);
		check_given_ids(batch);
		fit_events(batch);
		if (es_tags_prepare(batch))
		{
			es_stream_lock(batch->store, batch->log, es_stream_lock_key(batch->parts[0].stream));
			es_tags_lock(batch);
			return;
		}
		table_close(batch->log, RowExclusiveLock);
	}

	keys = sorted_keys(batch);
	for (;;)
	{
		batch->log = es_store_open_log_admitted(&batch->store, AccessShareLock, ACL_INSERT, es_admit, &load);
		load.events = 0;		/* it has passed */
		es_meter_append_store(batch->attempt, batch->store);
		check_given_ids(batch);
		fit_events(batch);
		fit = es_tags_prepare(batch) && es_stream_locks_fit(batch->store, keys, batch->nparts);
		LockRelation(batch->log, fit ? RowExclusiveLock : ShareRowExclusiveLock);
		if (batch->store->valid)
			break;
		table_close(batch->log, NoLock);
	}
	for (int p = 0; p < batch->nparts && fit; p++)
	{
		CHECK_FOR_INTERRUPTS();
		es_stream_lock(batch->store, batch->log, keys[p]);
	}
	if (fit)
		es_tags_lock(batch);
	pfree(keys);
}

/* Learn the version of each stream; returns how many are not as expected. */
static int
look_at_streams(EsBatch *batch)
{
	EsStore    *store = batch->store;
	int			failed = 0;

	for (int p = 0; p < batch->nparts; p++)
	{
		EsAppend   *part = &batch->parts[p];
		int64		guess;
		bool		own = false;

		CHECK_FOR_INTERRUPTS();
		part->stream_id = es_stream_find_latest(store, part->stream, &guess, &part->deleted);
		if (part->stream_id != 0)
		{
			part->actual = es_scan_latest_version(store, batch->log, batch->by_version, part->stream_id,
												  Max(part->expected, guess), &own);
			if (IsolationUsesXactSnapshot() && !own &&
				es_scan_true_version(store, batch->log, part->stream_id, GetTransactionSnapshot()) != part->actual)
			{
				es_meter_append_refused(batch->attempt, store);
				es_stream_serialization_failure(part->stream);
			}
		}
		if (part->deleted || !es_expected_met(part->expected, part->actual))
			failed++;
	}
	return failed;
}

/*
 * The streams that are not as expected, as a JSON array.  A call may name a
 * hundred thousand: no more than the first MAX_ERRORS are told.
 */
static char *
errors_json(EsBatch *batch)
{
	StringInfoData json;
	int			n = 0;

	initStringInfo(&json);
	for (int p = 0; p < batch->nparts && n < MAX_ERRORS; p++)
	{
		EsAppend   *part = &batch->parts[p];

		if (!part->deleted && es_expected_met(part->expected, part->actual))
			continue;
		appendStringInfo(&json, "%s{\"index\":%d,\"stream\":", n++ == 0 ? "[" : ",", p);
		escape_json(&json, text_to_cstring(part->stream));
		appendStringInfo(&json, part->expected < 0 ? ",\"expected\":\"%s\"" : ",\"expected\":%s",
						 es_expected_to_string(part->expected));
		appendStringInfo(&json, ",\"actual\":" INT64_FORMAT ",\"code\":\"%s\"}", part->actual,
						 unpack_sql_state(part->deleted ? ERRCODE_ES_STREAM_DELETED :
										  es_expected_sqlstate(part->expected)));
	}
	appendStringInfoChar(&json, ']');
	return json.data;
}

/* Raise the error of the first stream that is not as expected; of several parts it tells all. */
static void
raise_failed(EsBatch *batch, int failed)
{
	EsAppend   *part = batch->parts;
	EsProblemContext context = {0};
	ErrorContextCallback callback = {.callback = es_problem_context, .arg = &context, .previous = error_context_stack};

	while (!part->deleted && es_expected_met(part->expected, part->actual))
		part++;
	if (batch->many)
	{
		context.members = ES_MEMBERS(ES_INT("failed", failed), ES_JSON("errors", errors_json(batch)));
		context.line = psprintf("%d of %d streams not as expected, the first is append %d",
								failed, batch->nparts, (int) (part - batch->parts));
		error_context_stack = &callback;
	}
	else
		es_batch_enter_part(batch, part);
	if (part->deleted)
		es_stream_raise_deleted(part->stream);
	es_expected_check(part->expected, part->actual, text_to_cstring(part->stream));
}

/* Give the events their places; make the streams that are not there, and return how many. */
static int
place_events(EsBatch *batch)
{
	int			new_streams = 0;

	batch->position = es_position_reserve(batch->store, batch->count, batch->now);
	for (int p = 0; p < batch->nparts; p++)
	{
		EsAppend   *part = &batch->parts[p];

		if (part->count == 0)
			continue;
		part->result.first_version = part->actual + 1;
		part->result.last_version = part->actual + part->count;
		part->result.first_position = es_batch_position(batch, part->start);
		part->result.last_position = es_batch_position(batch, part->start + part->count - 1);
		if (part->stream_id == 0)
		{
			CHECK_FOR_INTERRUPTS();
			part->stream_id = part->result.first_position;
			es_stream_create(batch->store, part->stream_id, part->stream, batch->now);
			new_streams++;
		}
	}
	return new_streams;
}

/* Do the steps above; order is NULL unless the events come in lines, condition if there is none. */
static void
append_parts(EsAppend *parts, int nparts, EsEvent *events, const EsOrder *order, bool many, const EsCondition *condition)
{
	EsBatch		batch = {.parts = parts, .nparts = nparts, .many = many, .events = events, .order = order, .condition = condition};
	int			new_streams;
	int			failed;
	EsConditionMatch match;
	bool		matched;

	for (int p = 0; p < nparts; p++)
	{
		parts[p].start = batch.count;
		batch.count += parts[p].count;
	}
	batch.attempt = es_meter_append_begin(batch.count > 0);
	if (order == NULL)
		es_events_add_trace(events, batch.count);
	check_events(&batch);
	open_and_lock(&batch);
	es_batch_open_indexes(&batch);

	failed = look_at_streams(&batch);
	matched = failed == 0 && condition != NULL && es_condition_failed(condition, batch.store, batch.log, &match);
	if ((failed > 0 || matched) && all_appended(&batch))
	{
		es_batch_close(&batch);
		es_hot_confirm_all();
		es_meter_append_repeated(batch.attempt);
		return;
	}
	if (failed > 0)
	{
		es_meter_append_refused(batch.attempt, batch.store);
		raise_failed(&batch, failed);
	}
	if (matched)
	{
		es_meter_append_refused(batch.attempt, batch.store);
		es_condition_raise(condition, &match);
	}

	if (batch.count > 0)
	{
		batch.now = GetCurrentTimestamp();
		new_streams = place_events(&batch);
		es_batch_insert(&batch);
		es_tags_insert(&batch);
		for (int p = 0; p < nparts; p++)
			if (parts[p].count > 0)
				es_stream_remember_version(batch.store, parts[p].stream, parts[p].result.last_version);
		es_meter_append_done(batch.attempt, batch.store, batch.count, batch.bytes, new_streams);
	}
	es_batch_close(&batch);
	if (batch.count > 0 && es_append_hook != NULL)
		es_append_hook(batch.store, batch.position, batch.count);
}

/*
 * Append events to streams of the current store, each of which must be at the
 * version expected of it, also those that get no events.  All or nothing, like
 * any statement.  The parts name different streams; events holds those of the
 * first part, then those of the second, and so on.  many says that errors shall
 * name the part.
 */
void
es_append(EsAppend *parts, int nparts, EsEvent *events, bool many)
{
	append_parts(parts, nparts, events, NULL, many, NULL);
}

/* The same, unless an event matches the condition (NULL: none). */
void
es_append_if(EsAppend *parts, int nparts, EsEvent *events, bool many, const EsCondition *condition)
{
	append_parts(parts, nparts, events, NULL, many, condition);
}

/*
 * The same for events that the caller has in lines, in which those of many
 * streams alternate: they get their positions in the order of the lines, and
 * errors name the line.  Every part has events, each checked already with
 * es_events_check.
 */
void
es_append_lines(EsAppend *parts, int nparts, EsEvent *events, const EsOrder *order)
{
	append_parts(parts, nparts, events, order, false, NULL);
}

/*
 * What the store keeps that an append will most likely go to.  For those who can
 * read their argument as one or the other; what it really is, fit_events sees to.
 */
EsPayload
es_append_payload(void)
{
	EsStore    *store = es_store_current(true);

	return store != NULL ? store->payload : ES_PAYLOAD_JSONB;
}

/* Append to one stream, and return the append_result that tells where. */
Datum
es_append_one(FunctionCallInfo fcinfo, EsAppend *part, EsEvent *events, const EsCondition *condition)
{
	Oid			type = get_fn_expr_rettype(fcinfo->flinfo);
	TupleDesc	desc = lookup_rowtype_tupdesc(OidIsValid(type) ? type : get_func_rettype(fcinfo->flinfo->fn_oid), -1);
	Datum		values[4];
	bool		nulls[4] = {0};
	HeapTuple	tuple;

	es_append_if(part, 1, events, false, condition);
	values[0] = Int64GetDatum(part->result.first_version);
	values[1] = Int64GetDatum(part->result.last_version);
	values[2] = Int64GetDatum(part->result.first_position);
	values[3] = Int64GetDatum(part->result.last_position);
	tuple = heap_form_tuple(desc, values, nulls);
	ReleaseTupleDesc(desc);
	return HeapTupleGetDatum(tuple);
}

/* The arguments expected and condition stand at these places, and after follows. */
static Datum
append_to(FunctionCallInfo fcinfo, EsEvent *events, int count, int expected, int condition)
{
	EsAppend	part = {.stream = PG_GETARG_TEXT_PP(0), .expected = PG_GETARG_INT64(expected), .count = count};

	return es_append_one(fcinfo, &part, events, es_condition_argument(fcinfo, condition));
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
PG_FUNCTION_INFO_V1(event_store_append_bytes);

Datum
event_store_append_jsonb(PG_FUNCTION_ARGS)
{
	EsEvent    *events;
	int			count;

	check_append_arguments(fcinfo);
	events = es_events_from_jsonb(PG_GETARG_JSONB_P(1), &count);
	return append_to(fcinfo, events, count, 2, 3);
}

Datum
event_store_append_text(PG_FUNCTION_ARGS)
{
	EsEvent    *events;
	int			count;

	check_append_arguments(fcinfo);
	events = es_events_from_text(PG_GETARG_TEXT_PP(1), es_append_payload(), &count);
	return append_to(fcinfo, events, count, 2, 3);
}

Datum
event_store_append_array(PG_FUNCTION_ARGS)
{
	EsEvent    *events;
	int			count;

	check_append_arguments(fcinfo);
	events = es_events_from_array(PG_GETARG_ARRAYTYPE_P(1), &count);
	return append_to(fcinfo, events, count, 2, 3);
}

/* append_event, with data and metadata as its caller has read them from arguments 2 and 3. */
static Datum
append_event(FunctionCallInfo fcinfo, EsEvent *event)
{
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
	return append_to(fcinfo, event, 1, 4, 9);
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
	event.payload = es_append_payload() == ES_PAYLOAD_JSON ? ES_PAYLOAD_JSON : ES_PAYLOAD_JSONB;
	event.data = es_event_data_in(PG_GETARG_TEXT_PP(2), event.payload);
	if (!PG_ARGISNULL(3))
		event.metadata = es_jsonb_in(PG_GETARG_TEXT_PP(3));
	return append_event(fcinfo, &event);
}

Datum
event_store_append_bytes(PG_FUNCTION_ARGS)
{
	EsEvent		event = {.payload = ES_PAYLOAD_BYTEA};

	check_append_event_arguments(fcinfo);
	event.data = PG_GETARG_BYTEA_PP(2);
	if (!PG_ARGISNULL(3))
		event.metadata = PG_GETARG_JSONB_P(3);
	return append_event(fcinfo, &event);
}
