/*
 * execute.c
 *		Telemetry events: what is done with each.
 *
 * An event feeds the metrics that name it, then the handlers attached to it
 * run.  Neither raises an error to the caller.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/arguments.h"
#include "base/attempt.h"
#include "base/settings.h"
#include "observe/execute.h"
#include "observe/handler.h"
#include "observe/metric.h"

static void
feed_metrics(text *event, Jsonb *measurements, Jsonb *metadata)
{
	ListCell   *lc;

	foreach(lc, es_metrics_of(VARDATA_ANY(event), VARSIZE_ANY_EXHDR(event)))
		es_metric_record(lfirst(lc), measurements, metadata);
}

/* Feed the metrics of an event and run its handlers. */
void
es_telemetry_execute(text *event, Jsonb *measurements, Jsonb *metadata)
{
	if (!es_telemetry)
		return;
	feed_metrics(event, measurements, metadata);
	es_handlers_run(event, measurements, metadata);
}

/* --- events of the extension itself --- */

static const char *const own_events[ES_NEVENTS] = {
	[ES_EVENT_APPEND] = "event_store.append",
	[ES_EVENT_CONFLICT] = "event_store.append.conflict",
	[ES_EVENT_READ] = "event_store.read",
	[ES_EVENT_HANDLE] = "event_store.handler.handle",
	[ES_EVENT_HANDLE_BATCH] = "event_store.handler.batch",
	[ES_EVENT_PROCESS] = "event_store.process_manager.handle",
};

const char *
es_event_name(EsOwnEvent event)
{
	return own_events[event];
}

/* Does a metric or a handler want the event?  Cheap, for it is asked at each append. */
bool
es_event_is_wanted(EsOwnEvent event)
{
	static bool wanted[ES_NEVENTS];
	static uint64 metrics_seen = 0;
	static uint64 handlers_seen = 0;
	uint64		metrics = es_metrics_load();
	uint64		handlers = es_handlers_load();

	if (metrics != metrics_seen || handlers != handlers_seen)
	{
		for (int i = 0; i < ES_NEVENTS; i++)
			wanted[i] = es_metrics_of(own_events[i], strlen(own_events[i])) != NIL ||
				es_handlers_want(own_events[i]);
		metrics_seen = metrics;
		handlers_seen = handlers;
	}
	return wanted[event];
}

/*
 * Execute an event, with one member of metadata.  That of a conflict feeds
 * metrics only: its transaction is about to fail, and would take along what a
 * handler does.
 */
void
es_event_execute(EsOwnEvent event, int64 events, int64 bytes, double duration, const char *label, const char *value)
{
	StringInfoData json;
	Datum		measurements;
	Datum		metadata;
	text	   *name = cstring_to_text(own_events[event]);

	initStringInfo(&json);
	appendStringInfo(&json, "{\"events\":" INT64_FORMAT ",\"duration\":%.9f", events, duration);
	if (event != ES_EVENT_READ)
		appendStringInfo(&json, ",\"bytes\":" INT64_FORMAT, bytes);
	appendStringInfoChar(&json, '}');
	measurements = DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data));
	resetStringInfo(&json);
	appendStringInfo(&json, "{\"%s\":", label);
	escape_json(&json, value);
	appendStringInfoChar(&json, '}');
	metadata = DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data));

	if (event == ES_EVENT_CONFLICT)
		feed_metrics(name, DatumGetJsonbP(measurements), DatumGetJsonbP(metadata));
	else
		es_telemetry_execute(name, DatumGetJsonbP(measurements), DatumGetJsonbP(metadata));
}

/* --- of users --- */

static Jsonb *
empty_object(void)
{
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum("{}")));
}

static Jsonb *
object_argument(FunctionCallInfo fcinfo, int argument)
{
	return PG_ARGISNULL(argument) ? empty_object() : PG_GETARG_JSONB_P(argument);
}

/* The metadata of a span's end: those given, and what the error was. */
static Jsonb *
with_error(Jsonb *metadata, const ErrorData *error)
{
	StringInfoData json;
	Datum		added;

	initStringInfo(&json);
	appendStringInfoString(&json, "{\"sqlstate\":");
	escape_json(&json, unpack_sql_state(error->sqlerrcode));
	appendStringInfoString(&json, ",\"message\":");
	escape_json(&json, error->message != NULL ? error->message : "");
	appendStringInfoChar(&json, '}');
	added = DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data));
	if (!JB_ROOT_IS_OBJECT(metadata))
		return DatumGetJsonbP(added);
	return DatumGetJsonbP(DirectFunctionCall2(jsonb_concat, JsonbPGetDatum(metadata), added));
}

static void
execute_part(const char *prefix, const char *part, const char *measurement, double value, Jsonb *metadata)
{
	char	   *json = psprintf("{\"%s\":%.9f}", measurement, value);

	es_telemetry_execute(cstring_to_text(psprintf("%s.%s", prefix, part)),
						 DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(json))), metadata);
}

static double
seconds_since(instr_time start)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_SUBTRACT(now, start);
	return INSTR_TIME_GET_DOUBLE(now);
}

/*
 * Run a query between the events prefix.start and prefix.stop, or
 * prefix.exception if it fails; returns the number of its rows.  The query is
 * a subtransaction, so that a failure can be told before it is raised again.
 */
static int64
run_span(const char *prefix, const char *query, Jsonb *metadata)
{
	EsAttempt	attempt;
	instr_time	start;
	volatile uint64 rows = 0;

	execute_part(prefix, "start", "system_time",
				 GetCurrentTimestamp() / (double) USECS_PER_SEC +
				 (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * (double) SECS_PER_DAY, metadata);
	INSTR_TIME_SET_CURRENT(start);
	es_attempt_begin(&attempt);
	PG_TRY();
	{
		int			result;

		SPI_connect();
		result = SPI_execute(query, false, 0);
		if (result < 0)
			elog(ERROR, "SPI_execute failed: %s", SPI_result_code_string(result));
		rows = SPI_processed;
		SPI_finish();
		es_attempt_succeeded(&attempt);
	}
	PG_CATCH();
	{
		ErrorData  *error = es_attempt_failed(&attempt);

		execute_part(prefix, "exception", "duration", seconds_since(start), with_error(metadata, error));
		ReThrowError(error);
	}
	PG_END_TRY();
	execute_part(prefix, "stop", "duration", seconds_since(start), metadata);
	return rows;
}

PG_FUNCTION_INFO_V1(event_store_telemetry_execute);
PG_FUNCTION_INFO_V1(event_store_telemetry_span);

Datum
event_store_telemetry_execute(PG_FUNCTION_ARGS)
{
	es_require_argument(fcinfo, 0, "event");
	es_telemetry_execute(PG_GETARG_TEXT_PP(0), object_argument(fcinfo, 1), object_argument(fcinfo, 2));
	PG_RETURN_VOID();
}

Datum
event_store_telemetry_span(PG_FUNCTION_ARGS)
{
	es_require_argument(fcinfo, 0, "prefix");
	es_require_argument(fcinfo, 1, "query");
	PG_RETURN_INT64(run_span(text_to_cstring(PG_GETARG_TEXT_PP(0)), text_to_cstring(PG_GETARG_TEXT_PP(1)),
							 object_argument(fcinfo, 2)));
}
