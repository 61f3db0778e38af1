/* condition: tags of events, and reads by the queries that conditional appends take */

CREATE FUNCTION event_store.enable_tags()
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_enable_tags'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.enable_tags()
IS 'lets the tags in the metadata of events count in the current store, so that appends can be made on a condition; keeps appends out until the transaction ends';

CREATE FUNCTION event_store.disable_tags()
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_disable_tags'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.disable_tags()
IS 'takes the index of tags from the current store; the tags stay in the metadata of events';

CREATE FUNCTION event_store.read_by_query(query jsonb, after_position bigint DEFAULT NULL, max_count bigint DEFAULT 1000,
	OUT head bigint, OUT "position" bigint, OUT stream text, OUT version bigint, OUT event_id uuid,
	OUT type text, OUT data jsonb, OUT metadata jsonb, OUT correlation_id uuid, OUT causation_id uuid, OUT created_at timestamptz)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'event_store_read_by_query'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 100;
COMMENT ON FUNCTION event_store.read_by_query(jsonb, bigint, bigint)
IS 'events that match a query over types and tags in the order of their positions, at least one row; max(head) is what a conditional append takes as after';

REVOKE ALL ON FUNCTION
	event_store.enable_tags(),
	event_store.disable_tags(),
	event_store.read_by_query(jsonb, bigint, bigint)
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
	event_store.enable_tags(),
	event_store.disable_tags(),
	event_store.read_by_query(jsonb, bigint, bigint)
TO PUBLIC;
