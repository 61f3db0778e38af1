/*
 * status.c
 *		Subscriptions: looking at them.
 *
 * Nothing here locks or writes, so it works on a standby too.  What is shown is
 * as of one moment for each subscription, not for all of them together.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "base/arguments.h"
#include "deliver/delivery.h"
#include "deliver/subscription.h"
#include "log/read.h"
#include "log/scan.h"

/* Columns of subscription_status. */
enum StatusField
{
	STATUS_NAME,
	STATUS_STREAM,
	STATUS_CATEGORY,
	STATUS_TYPES,
	STATUS_FILTER,
	STATUS_PARTITION_BY,
	STATUS_STATE,
	STATUS_CHECKPOINT,
	STATUS_READ_POSITION,
	STATUS_LAG_EVENTS,
	STATUS_LAG_SECONDS,
	STATUS_CONSUMERS,
	STATUS_IN_FLIGHT,
	STATUS_WAITING,
	STATUS_PARKED,
	STATUS_PARKED_SINCE,
	STATUS_PROCESSED,
	STATUS_GIVEN,
	STATUS_MAX_ATTEMPTS,
	STATUS_LEASE,
	STATUS_RETRY_DELAY,
	STATUS_MAX_IN_FLIGHT,
	STATUS_BUFFER_SIZE,
	STATUS_MAX_PARKED,
	STATUS_PARK_KEY,
	STATUS_CREATED_AT,
	STATUS_CHANGED_AT,
	STATUS_LAST_PROBLEM,
	STATUS_NFIELDS
};

/* Position and time of the first event in a range, or of the last one; 0 if there is none. */
static int64
event_in(EsStore *store, Relation log, const EsFinal *final, int64 low, bool last, TimestampTz *created_at)
{
	EsScan		scan;
	Datum	   *values;
	bool	   *nulls;
	int64		position = 0;

	es_scan_log(&scan, store, log, low, final->last, last, final->snapshot);
	if (es_scan_next(&scan, &values, &nulls))
	{
		position = DatumGetInt64(values[LOG_POSITION]);
		*created_at = DatumGetTimestampTz(values[LOG_CREATED_AT]);
	}
	es_scan_end(&scan);
	return position;
}

static Datum
interval_datum(int64 ms)
{
	Interval   *interval = palloc0(sizeof(Interval));

	interval->time = ms * 1000;
	return IntervalPGetDatum(interval);
}

/* Count the deliveries of a subscription; sets its checkpoint to what it is now. */
static void
count_deliveries(EsDeliveryTables *tables, EsSubscription *s, Datum *values, bool *nulls)
{
	int64		in_flight = 0;
	int64		waiting = 0;
	int64		parked = 0;
	List	   *consumers = NIL;
	TimestampTz since = DT_NOEND;
	int64		checkpoint = s->read_position;
	int64		total = 0;

	for (int lane = ES_LANE_LIVE; lane <= ES_LANE_PARKED; lane++)
	{
		int			count;
		EsDelivery *deliveries = es_deliveries_load(tables, s, lane, &count);

		for (int i = 0; i < count; i++)
		{
			EsDelivery *d = &deliveries[i];
			bool		known = false;
			ListCell   *lc;

			total++;
			if (lane == ES_LANE_LIVE)
				checkpoint = Min(checkpoint, d->position - 1);
			if (d->state == ES_WAITING)
				waiting++;
			if (d->state == ES_PARKED)
			{
				parked++;
				since = Min(since, d->due_at);
			}
			if (d->state != ES_GIVEN)
				continue;
			in_flight++;
			foreach(lc, consumers)
				known = known || es_text_equal(lfirst(lc), d->consumer);
			if (!known)
				consumers = lappend(consumers, d->consumer);
		}
	}
	s->checkpoint = checkpoint;
	values[STATUS_CONSUMERS] = Int64GetDatum(list_length(consumers));
	values[STATUS_IN_FLIGHT] = Int64GetDatum(in_flight);
	values[STATUS_WAITING] = Int64GetDatum(waiting);
	values[STATUS_PARKED] = Int64GetDatum(parked);
	values[STATUS_PARKED_SINCE] = TimestampTzGetDatum(since);
	nulls[STATUS_PARKED_SINCE] = parked == 0;
	values[STATUS_PROCESSED] = Int64GetDatum(Max(s->taken - total, 0));
}

static void
put_status(ReturnSetInfo *result, EsDeliveryTables *tables, EsSubscription *s, const EsFinal *final)
{
	Datum		values[STATUS_NFIELDS];
	bool		nulls[STATUS_NFIELDS] = {0};
	TimestampTz created_at = 0;
	TimestampTz now = GetCurrentTimestamp();
	int64		head = event_in(tables->store, tables->log, final, 1, true, &created_at);

	count_deliveries(tables, s, values, nulls);
	values[STATUS_NAME] = PointerGetDatum(s->name);
	values[STATUS_STREAM] = PointerGetDatum(s->stream);
	nulls[STATUS_STREAM] = s->stream == NULL;
	values[STATUS_CATEGORY] = PointerGetDatum(s->category);
	nulls[STATUS_CATEGORY] = s->category == NULL;
	values[STATUS_TYPES] = PointerGetDatum(s->types);
	nulls[STATUS_TYPES] = s->types == NULL;
	values[STATUS_FILTER] = PointerGetDatum(s->filter);
	nulls[STATUS_FILTER] = s->filter == NULL;
	values[STATUS_PARTITION_BY] = PointerGetDatum(s->partition_by);
	values[STATUS_STATE] = CStringGetTextDatum(s->stopped ? "stopped" : "active");
	values[STATUS_CHECKPOINT] = Int64GetDatum(s->checkpoint);
	values[STATUS_READ_POSITION] = Int64GetDatum(s->read_position);
	values[STATUS_LAG_EVENTS] = Int64GetDatum(Max(head - s->checkpoint, 0));
	values[STATUS_LAG_SECONDS] = Float8GetDatum(0);
	if (head > s->checkpoint && event_in(tables->store, tables->log, final, s->checkpoint + 1, false, &created_at) != 0)
		values[STATUS_LAG_SECONDS] = Float8GetDatum(Max(now - created_at, 0) / (double) USECS_PER_SEC);
	values[STATUS_GIVEN] = Int64GetDatum(s->given);
	values[STATUS_MAX_ATTEMPTS] = Int32GetDatum(s->max_attempts);
	values[STATUS_LEASE] = interval_datum(s->lease);
	values[STATUS_RETRY_DELAY] = interval_datum(s->retry_delay);
	values[STATUS_MAX_IN_FLIGHT] = Int32GetDatum(s->max_in_flight);
	values[STATUS_BUFFER_SIZE] = Int32GetDatum(s->buffer_size);
	values[STATUS_MAX_PARKED] = Int32GetDatum(s->max_parked);
	values[STATUS_PARK_KEY] = BoolGetDatum(s->park_key);
	values[STATUS_CREATED_AT] = TimestampTzGetDatum(s->created_at);
	values[STATUS_CHANGED_AT] = TimestampTzGetDatum(s->changed_at);
	values[STATUS_LAST_PROBLEM] = JsonbPGetDatum(s->last_problem);
	nulls[STATUS_LAST_PROBLEM] = s->last_problem == NULL;
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/* Columns of parked_events after those of recorded_event. */
enum ParkedField
{
	PARKED_ATTEMPTS = RECORDED_NFIELDS,
	PARKED_CAUSE,
	PARKED_REASON,
	PARKED_AT,
	PARKED_NFIELDS
};

typedef struct ParkedTarget
{
	ReturnSetInfo *result;
	EsStore    *store;
	const EsDelivery *delivery;
} ParkedTarget;

static void
put_parked(void *arg, text *stream, const Datum *row, const bool *row_nulls)
{
	ParkedTarget *target = arg;
	const EsDelivery *d = target->delivery;
	Datum		values[PARKED_NFIELDS];
	bool		nulls[PARKED_NFIELDS] = {0};

	es_recorded_event(target->store, stream, row, row_nulls, values, nulls);
	values[PARKED_ATTEMPTS] = Int32GetDatum(d->attempts);
	values[PARKED_CAUSE] = CStringGetTextDatum(d->cause);
	values[PARKED_REASON] = PointerGetDatum(d->reason);
	nulls[PARKED_REASON] = d->reason == NULL;
	values[PARKED_AT] = TimestampTzGetDatum(d->due_at);
	tuplestore_putvalues(target->result->setResult, target->result->setDesc, values, nulls);
}

PG_FUNCTION_INFO_V1(event_store_subscription_status);
PG_FUNCTION_INFO_V1(event_store_parked_events);

Datum
event_store_subscription_status(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	EsDeliveryTables tables;
	EsFinal		final;
	ListCell   *lc;

	InitMaterializedSRF(fcinfo, 0);
	es_delivery_open(&tables, ES_USE_LOOK);
	if (tables.subscriptions != NULL)
	{
		List	   *subscriptions = es_subscriptions_load(&tables);

		es_final_begin(&final, tables.store);
		foreach(lc, subscriptions)
			put_status(result, &tables, lfirst(lc), &final);
		es_final_end(&final);
	}
	es_delivery_close(&tables);
	return (Datum) 0;
}

Datum
event_store_parked_events(PG_FUNCTION_ARGS)
{
	text	   *name = es_subscription_name_argument(fcinfo, 0);
	int64		max_count = es_count_argument(fcinfo, 1);
	ParkedTarget target = {.result = (ReturnSetInfo *) fcinfo->resultinfo};
	EsDeliveryTables tables;
	EsSubscription s;
	EsDelivery *deliveries;
	int			count;
	int64		done = 0;
	Snapshot	snapshot;

	InitMaterializedSRF(fcinfo, 0);
	es_delivery_open(&tables, ES_USE_LOOK);
	target.store = tables.store;
	es_subscription_get(&tables, name, &s);
	deliveries = es_deliveries_load(&tables, &s, ES_LANE_PARKED, &count);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	for (int i = 0; i < count && done < max_count; i++)
	{
		if (deliveries[i].state != ES_PARKED)
			continue;
		target.delivery = &deliveries[i];
		if (es_read_position(tables.store, tables.log, deliveries[i].position, snapshot, put_parked, &target))
			done++;
	}
	UnregisterSnapshot(snapshot);
	es_delivery_close(&tables);
	return (Datum) 0;
}
