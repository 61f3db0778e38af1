/* prometheus: all metrics as text */

CREATE FUNCTION event_store.prometheus()
RETURNS text
AS 'MODULE_PATHNAME', 'event_store_prometheus'
LANGUAGE C STRICT VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION event_store.prometheus()
IS 'all metrics of the server in the text format of Prometheus, version 0.0.4';

CREATE FUNCTION event_store.openmetrics()
RETURNS text
AS 'MODULE_PATHNAME', 'event_store_openmetrics'
LANGUAGE C STRICT VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION event_store.openmetrics()
IS 'all metrics of the server in the text format of OpenMetrics 1.0';

REVOKE ALL ON FUNCTION
	event_store.prometheus(),
	event_store.openmetrics()
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
	event_store.prometheus(),
	event_store.openmetrics()
TO pg_monitor;
