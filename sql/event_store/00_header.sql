/* event_store 1.0: install script, joined from sql/event_store/ in name order */

-- complain if the script is sourced in psql rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION event_store" to load this file. \quit

REVOKE ALL ON SCHEMA event_store FROM PUBLIC;
GRANT USAGE ON SCHEMA event_store TO PUBLIC;
COMMENT ON SCHEMA event_store IS 'the event_store extension: functions, types and registrations';
