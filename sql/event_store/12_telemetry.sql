/* telemetry: what is counted, events, metrics that users define */

CREATE FUNCTION event_store.metric_samples(
	OUT name text, OUT type text, OUT tags jsonb, OUT value float8, OUT count bigint, OUT sum float8, OUT min float8, OUT max float8,
	OUT buckets jsonb, OUT updated_at timestamptz, OUT reset_at timestamptz)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'event_store_metric_samples'
LANGUAGE C STRICT VOLATILE PARALLEL RESTRICTED ROWS 200;
COMMENT ON FUNCTION event_store.metric_samples()
IS 'the rows of the view metrics';

CREATE VIEW event_store.metrics AS
SELECT s.name, s.type, s.tags, s.value, s.count, s.sum, s.min, s.max, s.buckets, s.updated_at, s.reset_at
FROM event_store.metric_samples() s;
COMMENT ON VIEW event_store.metrics
IS 'all metrics of this database and of the server, a row for each set of tags';

CREATE VIEW event_store.counters AS
SELECT s.name, s.tags, s.value::pg_catalog.int8 AS value
FROM event_store.metric_samples() s
WHERE s.type OPERATOR(pg_catalog.=) 'counter';
COMMENT ON VIEW event_store.counters
IS 'the counters among the metrics';

CREATE FUNCTION event_store.histogram_quantiles(metric text, tags jsonb DEFAULT NULL, quantiles float8[] DEFAULT '{0.5,0.9,0.99}')
RETURNS TABLE (sample_tags jsonb, quantile float8, value float8)
AS 'MODULE_PATHNAME', 'event_store_histogram_quantiles'
LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 10;
COMMENT ON FUNCTION event_store.histogram_quantiles(text, jsonb, float8[])
IS 'estimates of quantiles of a distribution or summary, of each set of tags that contains those given';

CREATE FUNCTION event_store.telemetry_top(metric text DEFAULT 'event_store_events_appended', max_count integer DEFAULT 10)
RETURNS TABLE (sample_tags jsonb, value float8, share float8)
AS 'MODULE_PATHNAME', 'event_store_telemetry_top'
LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 10;
COMMENT ON FUNCTION event_store.telemetry_top(text, integer)
IS 'the sets of tags of a metric with the greatest values, and their shares of the sum: which stores append most, say';

CREATE FUNCTION event_store.telemetry_info(
	OUT enabled boolean, OUT started_at timestamptz, OUT reset_at timestamptz, OUT series integer, OUT max_series integer,
	OUT dropped bigint)
RETURNS record
AS 'MODULE_PATHNAME', 'event_store_telemetry_info'
LANGUAGE C STRICT VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION event_store.telemetry_info()
IS 'whether the server counts, since when, with how many series, and how many measurements were dropped';

CREATE FUNCTION event_store.telemetry_reset(name text DEFAULT NULL)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_telemetry_reset'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION event_store.telemetry_reset(text)
IS 'lets a metric begin at zero, or with null all metrics of this database and of the server';

REVOKE ALL ON TABLE event_store.metrics, event_store.counters FROM PUBLIC;
GRANT SELECT ON TABLE event_store.metrics, event_store.counters TO pg_monitor;
REVOKE ALL ON FUNCTION
	event_store.metric_samples(),
	event_store.histogram_quantiles(text, jsonb, float8[]),
	event_store.telemetry_top(text, integer),
	event_store.telemetry_info(),
	event_store.telemetry_reset(text)
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
	event_store.metric_samples(),
	event_store.histogram_quantiles(text, jsonb, float8[]),
	event_store.telemetry_top(text, integer),
	event_store.telemetry_info()
TO pg_monitor;

/* events */

CREATE FUNCTION event_store.telemetry_execute(event text, measurements jsonb DEFAULT '{}', metadata jsonb DEFAULT '{}')
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_telemetry_execute'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.telemetry_execute(text, jsonb, jsonb)
IS 'tells that something has happened: feeds the metrics and runs the handlers of the event';

CREATE FUNCTION event_store.telemetry_span(prefix text, query text, metadata jsonb DEFAULT '{}')
RETURNS bigint
AS 'MODULE_PATHNAME', 'event_store_telemetry_span'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.telemetry_span(text, text, jsonb)
IS 'runs a query between the events <prefix>.start and <prefix>.stop, or <prefix>.exception, and returns how many rows it had';

REVOKE ALL ON FUNCTION
	event_store.telemetry_execute(text, jsonb, jsonb),
	event_store.telemetry_span(text, text, jsonb)
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
	event_store.telemetry_execute(text, jsonb, jsonb),
	event_store.telemetry_span(text, text, jsonb)
TO PUBLIC;
