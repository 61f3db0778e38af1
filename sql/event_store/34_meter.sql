/* meter: what the log has counted */

CREATE FUNCTION event_store.telemetry_verify(OUT metric text, OUT counted bigint, OUT stored bigint)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'event_store_telemetry_verify'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE ROWS 3;
COMMENT ON FUNCTION event_store.telemetry_verify()
IS 'what the current store has counted beside what its tables hold of the same time; reads the whole log';
REVOKE ALL ON FUNCTION event_store.telemetry_verify() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.telemetry_verify() TO PUBLIC;
