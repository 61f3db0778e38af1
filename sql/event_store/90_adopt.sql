/* stores that an earlier installation of this extension left behind are found again */

CREATE FUNCTION event_store.attach_found_stores()
RETURNS integer
AS 'MODULE_PATHNAME', 'event_store_attach_found_stores'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.attach_found_stores()
IS 'registers every schema that holds the tables of an event store and is not registered; returns their number';
REVOKE ALL ON FUNCTION event_store.attach_found_stores() FROM PUBLIC;

SELECT event_store.attach_found_stores();
