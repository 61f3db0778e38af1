/* partitions: a stable number for each key */

CREATE TABLE event_store.partition_sets (
	name pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
	partitions pg_catalog.int4 NOT NULL,
	owner pg_catalog.regrole NOT NULL,
	created_at pg_catalog.timestamptz NOT NULL,
	CONSTRAINT partition_sets_pkey PRIMARY KEY (name)
);
COMMENT ON TABLE event_store.partition_sets
IS 'the sets of partitions, and how many there are in each';
SELECT pg_catalog.pg_extension_config_dump('event_store.partition_sets', '');
REVOKE ALL ON TABLE event_store.partition_sets FROM PUBLIC;
GRANT SELECT ON TABLE event_store.partition_sets TO PUBLIC;

CREATE FUNCTION event_store.partition_create(name text, partitions integer)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_partition_create'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.partition_create(text, integer)
IS 'names a number of partitions, for partition_for';

CREATE FUNCTION event_store.partition_resize(name text, partitions integer)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_partition_resize'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.partition_resize(text, integer)
IS 'changes the number of partitions, and with it where most keys belong';

CREATE FUNCTION event_store.partition_drop(name text)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_partition_drop'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.partition_drop(text)
IS 'forgets a number of partitions';

CREATE FUNCTION event_store.partition_for(name text, key text)
RETURNS integer
AS 'MODULE_PATHNAME', 'event_store_partition_for_text'
LANGUAGE C STABLE PARALLEL RESTRICTED;
COMMENT ON FUNCTION event_store.partition_for(text, text)
IS 'the partition of a key, from 0: the same on every server, as long as their number is';

CREATE FUNCTION event_store.partition_for(name text, key bigint)
RETURNS integer
AS 'MODULE_PATHNAME', 'event_store_partition_for_bigint'
LANGUAGE C STABLE PARALLEL RESTRICTED;
COMMENT ON FUNCTION event_store.partition_for(text, bigint)
IS 'the partition of a number, from 0: its remainder, without the sign';

REVOKE ALL ON FUNCTION
	event_store.partition_create(text, integer),
	event_store.partition_resize(text, integer),
	event_store.partition_drop(text),
	event_store.partition_for(text, text),
	event_store.partition_for(text, bigint)
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
	event_store.partition_create(text, integer),
	event_store.partition_resize(text, integer),
	event_store.partition_drop(text),
	event_store.partition_for(text, text),
	event_store.partition_for(text, bigint)
TO PUBLIC;
