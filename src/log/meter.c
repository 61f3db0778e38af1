/*
 * meter.c
 *		What the log counts and measures.
 *
 * An append is on a stack while it runs.  Whatever is still on it when its
 * (sub)transaction aborts has failed, and is counted then: so the path of
 * those that succeed needs no handler for errors.  What has succeeded is
 * counted when it commits (observe/pending).
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/table.h"
#include "access/xact.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/spin.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/xact.h"
#include "log/meter.h"
#include "log/scan.h"
#include "log/slot.h"
#include "observe/telemetry.h"
#include "store/count.h"

#define MAX_ATTEMPTS	8		/* appends inside triggers of appends; deeper ones are not measured */
#define NOT_MEASURED	(-1)

typedef struct Attempt
{
	int			level;			/* of nesting of the transaction */
	instr_time	start;
	EsSeries   *series;
} Attempt;

static Attempt attempts[MAX_ATTEMPTS];
static int	nattempts = 0;

/* An append begins, to be measured or not; returns its place on the stack. */
int
es_meter_append_begin(bool measured)
{
	Attempt    *a = &attempts[nattempts];

	if (!measured || !es_telemetry || nattempts == MAX_ATTEMPTS)
		return NOT_MEASURED;
	a->level = GetCurrentTransactionNestLevel();
	a->series = es_store_series(NULL);
	INSTR_TIME_SET_CURRENT(a->start);
	return nattempts++;
}

/* It knows its store. */
void
es_meter_append_store(int attempt, EsStore *store)
{
	if (attempt != NOT_MEASURED)
		attempts[attempt].series = es_store_series(store);
}

/* Take an append off the stack, and how long it took into the histogram; returns that, in seconds. */
static double
end_attempt(int attempt, int outcome)
{
	double		duration = es_meter_seconds_since(attempts[attempt].start);

	es_observe(ES_APPEND_DURATION + outcome, ES_APPEND_DURATION_LOWEST, duration);
	nattempts = attempt;
	return duration;
}

/* It is about to be refused for the expected version. */
void
es_meter_append_refused(int attempt, EsStore *store)
{
	double		duration;

	if (attempt == NOT_MEASURED)
		return;
	duration = end_attempt(attempt, ES_OUTCOME_CONFLICT);
	es_series_count(attempts[attempt].series, ES_APPEND_CALLS + ES_OUTCOME_CONFLICT, 1);
	if (es_event_is_wanted(ES_EVENT_CONFLICT))
		es_event_execute(ES_EVENT_CONFLICT, 0, 0, duration, "store", NameStr(store->schema));
}

/* It has happened before. */
void
es_meter_append_repeated(int attempt)
{
	int64	   *cells;

	if (attempt == NOT_MEASURED)
		return;
	end_attempt(attempt, ES_OUTCOME_OK);
	cells = es_pending_cells(attempts[attempt].series);
	cells[ES_APPEND_CALLS + ES_OUTCOME_OK]++;
	cells[ES_APPEND_RETRIES]++;
}

/*
 * Tell collectors which series names the store of a slot, and which of the
 * slots of stores that had the same name, one after the other.
 */
static void
name_slot(EsStoreSlot *slot, const EsSeries *series)
{
	es_series_set_owner(series, es_slot_number(slot));
	SpinLockAcquire(&slot->mutex);
	slot->series = series->index;
	slot->series_generation = series->generation;
	SpinLockRelease(&slot->mutex);
}

/* It has written its events. */
void
es_meter_append_done(int attempt, EsStore *store, int events, int64 bytes, int new_streams)
{
	EsSeries   *series;
	int64	   *cells;
	double		duration;

	if (attempt == NOT_MEASURED)
		return;
	duration = end_attempt(attempt, ES_OUTCOME_OK);
	es_observe(ES_APPEND_BATCH, ES_APPEND_BATCH_LOWEST, events);
	series = attempts[attempt].series;
	cells = es_pending_cells(series);
	cells[ES_APPEND_CALLS + ES_OUTCOME_OK]++;
	cells[ES_EVENTS_APPENDED] += events;
	cells[ES_EVENT_BYTES_APPENDED] += bytes;
	cells[ES_STREAMS_CREATED] += new_streams;
	if (store->slot->series != series->index || store->slot->series_generation != series->generation)
		name_slot(store->slot, series);
	if (es_event_is_wanted(ES_EVENT_APPEND))
		es_event_execute(ES_EVENT_APPEND, events, bytes, duration, "store", NameStr(store->schema));
}

/* A read has returned its events. */
void
es_meter_read_done(const EsReadMeter *meter, int kind, int64 events)
{
	static const char *const kinds[] = {
		[ES_READ_STREAM] = "stream",
		[ES_READ_CATEGORY] = "category",
		[ES_READ_ALL] = "all",
		[ES_READ_POLL] = "poll",
		[ES_READ_EVENT] = "event",
		[ES_READ_TYPE] = "type",
		[ES_READ_CORRELATION] = "correlation",
		[ES_READ_QUERY] = "query",
	};
	double		duration;

	if (!meter->on)
		return;
	duration = Max(0, es_meter_seconds_since(meter->start) - meter->asleep);
	es_count(ES_READ_CALLS + kind, 1);
	es_count(ES_EVENTS_READ + kind, events);
	es_observe(ES_READ_DURATION + kind, ES_READ_DURATION_LOWEST, duration);
	if (meter->asleep > 0)
	{
		es_count(ES_POLL_WAITS, 1);
		es_observe(ES_POLL_WAIT, ES_POLL_WAIT_LOWEST, meter->asleep);
	}
	if (es_event_is_wanted(ES_EVENT_READ))
		es_event_execute(ES_EVENT_READ, events, 0, duration, "kind", kinds[kind]);
}

/* Count what failed in a (sub)transaction of this level or deeper. */
static void
fail_attempts(int level)
{
	while (nattempts > 0 && attempts[nattempts - 1].level >= level)
	{
		int			attempt = nattempts - 1;

		end_attempt(attempt, ES_OUTCOME_ERROR);
		es_series_count(attempts[attempt].series, ES_APPEND_CALLS + ES_OUTCOME_ERROR, 1);
	}
}

static void
subtransaction_ended(bool committed, int level)
{
	if (!committed)
		fail_attempts(level);
}

static void
transaction_ended(bool committed)
{
	/* nothing is running at commit */
	if (!committed)
		fail_attempts(0);
}

/* --- gauges, of every store with a slot that a session has named --- */

static void
put_gauges(EsGauges *gauges)
{
	TimestampTz now = GetCurrentTimestamp();

	for (int i = 0; i < es_slots_used(); i++)
	{
		EsStoreSlot *slot = es_slot(i);
		EsStoreSlot copy;
		EsInFlight	first = {0};
		EsSeriesCopy *series;
		EsLabel    *labels;
		int64		horizon;

		SpinLockAcquire(&slot->mutex);
		copy = *slot;
		if (slot->first != ES_NONE)
			first = es_in_flight[slot->first];
		SpinLockRelease(&slot->mutex);
		if (!OidIsValid(copy.dbid) || copy.next == 0 ||
			(series = es_series_copy_store(copy.series, copy.series_generation)) == NULL ||
			series->owner != i)
			continue;

		labels = palloc(3 * sizeof(EsLabel));
		labels[0] = (EsLabel) {"database", series->values[0]};
		labels[1] = (EsLabel) {"store", series->values[1]};
		horizon = first.pid != 0 ? first.position : copy.next;
		es_gauge_put(gauges, ES_FAMILY_HEAD_POSITION, copy.dbid, copy.next - 1, 2, labels);
		es_gauge_put(gauges, ES_FAMILY_HORIZON_LAG, copy.dbid, copy.next - horizon, 2, labels);
		es_gauge_put(gauges, ES_FAMILY_HORIZON_AGE, copy.dbid,
					 first.pid != 0 ? Max(0, now - first.since) / (double) USECS_PER_SEC : 0, 2, labels);
		if (first.pid != 0)
		{
			labels[2] = (EsLabel) {"pid", psprintf("%d", first.pid)};
			es_gauge_put(gauges, ES_FAMILY_HORIZON_HOLDER, copy.dbid, 1, 3, labels);
		}
	}
}

void
EsMeterInit(void)
{
	static const EsXactHook hook = {.end = transaction_ended, .sub_end = subtransaction_ended};

	es_xact_register(&hook);
	es_gauge_source(put_gauges);
}

PG_FUNCTION_INFO_V1(event_store_telemetry_verify);

/*
 * What the current store has counted, beside what its tables hold of the time
 * since counting began.
 */
Datum
event_store_telemetry_verify(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	static const struct
	{
		int			family;
		int			cell;
		const char *name;
	}			checked[] = {
		{ES_FAMILY_EVENTS_APPENDED, ES_EVENTS_APPENDED, "event_store_events_appended"},
		{ES_FAMILY_EVENT_BYTES_APPENDED, ES_EVENT_BYTES_APPENDED, "event_store_event_bytes_appended"},
		{ES_FAMILY_STREAMS_CREATED, ES_STREAMS_CREATED, "event_store_streams_created"},
	};
	int64		stored[lengthof(checked)] = {0};
	EsStore    *store;
	Relation	log;
	Snapshot	snapshot;
	EsScan		scan;
	EsSeries   *series;
	EsSeriesCopy *copy;
	Datum	   *values;
	bool	   *nulls;

	InitMaterializedSRF(fcinfo, 0);
	log = es_store_open_log(&store, AccessShareLock, ACL_SELECT);
	series = es_store_series(store);
	copy = es_series_copy_store(series->index, series->generation);
	snapshot = RegisterSnapshot(IsolationUsesXactSnapshot() ? GetTransactionSnapshot() : GetLatestSnapshot());
	es_scan_log(&scan, store, log, 1, PG_INT64_MAX, false, snapshot);
	while (es_scan_next(&scan, &values, &nulls))
	{
		int64		amounts[lengthof(checked)];

		CHECK_FOR_INTERRUPTS();
		amounts[0] = 1;
		amounts[1] = toast_raw_datum_size(values[LOG_EVENT_TYPE]) - VARHDRSZ + toast_raw_datum_size(values[LOG_DATA]) +
			(nulls[LOG_METADATA] ? 0 : toast_raw_datum_size(values[LOG_METADATA]));
		amounts[2] = DatumGetInt64(values[LOG_VERSION]) == 1;
		for (int i = 0; i < lengthof(checked); i++)
			if (DatumGetTimestampTz(values[LOG_CREATED_AT]) >= es_counters_reset_at(checked[i].family))
				stored[i] += amounts[i];
	}
	es_scan_end(&scan);
	UnregisterSnapshot(snapshot);
	table_close(log, NoLock);

	for (int i = 0; i < lengthof(checked); i++)
	{
		Datum		row[3];
		bool		row_nulls[3] = {false, copy == NULL, false};

		row[0] = CStringGetTextDatum(checked[i].name);
		if (copy != NULL)
			row[1] = Int64GetDatum(copy->cells[checked[i].cell]);
		row[2] = Int64GetDatum(stored[i]);
		tuplestore_putvalues(result->setResult, result->setDesc, row, row_nulls);
	}
	return (Datum) 0;
}
