/* verify: does what must hold of a store hold? */

CREATE FUNCTION event_store.verify_store(schema text DEFAULT NULL,
	OUT invariant text, OUT violations bigint, OUT example text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'event_store_verify_store'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 14;
COMMENT ON FUNCTION event_store.verify_store(text)
IS 'checks what must hold of a store, the current one by default: a row for each invariant with the number of its violations and an example';
REVOKE ALL ON FUNCTION event_store.verify_store(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.verify_store(text) TO PUBLIC;
