/* event_store 1.0: install script, joined from sql/event_store/ in name order */

-- complain if the script is sourced in psql rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION event_store" to load this file. \quit

CREATE FUNCTION event_store.check_schema()
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_check_schema'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.check_schema()
IS 'for the install script: the schema must belong to the installing role';
REVOKE ALL ON FUNCTION event_store.check_schema() FROM PUBLIC;
SELECT event_store.check_schema();

REVOKE ALL ON SCHEMA event_store FROM PUBLIC;
GRANT USAGE ON SCHEMA event_store TO PUBLIC;
COMMENT ON SCHEMA event_store IS 'the event_store extension: functions, types and registrations';
