/* stores: the registry of schemas that hold an event log, and what is done with a whole store */

CREATE TABLE event_store.store_registry (
	store_number pg_catalog.int8 NOT NULL,
	owns_schema pg_catalog.bool NOT NULL,
	registered_at pg_catalog.timestamptz NOT NULL,
	CONSTRAINT store_registry_pkey PRIMARY KEY (store_number)
);
COMMENT ON TABLE event_store.store_registry
IS 'the stores of this database by the number that each keeps in its table event_mark, so that rename, dump and restore of a schema change nothing here';
SELECT pg_catalog.pg_extension_config_dump('event_store.store_registry', '');
REVOKE ALL ON TABLE event_store.store_registry FROM PUBLIC;
GRANT SELECT ON TABLE event_store.store_registry TO PUBLIC;

CREATE FUNCTION event_store.guard_store_table()
RETURNS trigger
AS 'MODULE_PATHNAME', 'event_store_guard_table'
LANGUAGE C;
COMMENT ON FUNCTION event_store.guard_store_table()
IS 'trigger: refuses changes to the tables of a store that do not come through the functions of this extension';
REVOKE ALL ON FUNCTION event_store.guard_store_table() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.guard_store_table() TO PUBLIC;

CREATE FUNCTION event_store.create_store(schema text, if_not_exists boolean DEFAULT false, payload text DEFAULT 'jsonb')
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_create_store'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.create_store(text, boolean, text)
IS 'makes an event store in the schema, creating the schema if it does not exist; payload is what it keeps data as: jsonb, json or bytea';
REVOKE ALL ON FUNCTION event_store.create_store(text, boolean, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.create_store(text, boolean, text) TO PUBLIC;

CREATE FUNCTION event_store.attach_store(schema text)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_attach_store'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.attach_store(text)
IS 'registers a schema that already holds the tables of an event store, after a restore or a rename of tables';
REVOKE ALL ON FUNCTION event_store.attach_store(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.attach_store(text) TO PUBLIC;

CREATE FUNCTION event_store.drop_store(schema text, confirm text)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_drop_store'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.drop_store(text, text)
IS 'drops the event store of a schema with all its events; confirm repeats the name of the schema';
REVOKE ALL ON FUNCTION event_store.drop_store(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.drop_store(text, text) TO PUBLIC;

CREATE FUNCTION event_store.grant_store(schema text, role text, access text)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_grant_store'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.grant_store(text, text, text)
IS 'grants a role the rights of a reader, writer or admin of a store';
REVOKE ALL ON FUNCTION event_store.grant_store(text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.grant_store(text, text, text) TO PUBLIC;

CREATE FUNCTION event_store.revoke_store(schema text, role text)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_revoke_store'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.revoke_store(text, text)
IS 'takes from a role every right that grant_store gave on a store';
REVOKE ALL ON FUNCTION event_store.revoke_store(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.revoke_store(text, text) TO PUBLIC;

CREATE PROCEDURE event_store.add_index(kind text, concurrently boolean DEFAULT true)
AS 'MODULE_PATHNAME', 'event_store_add_index'
LANGUAGE C;
COMMENT ON PROCEDURE event_store.add_index(text, boolean)
IS 'gives the current store one more index: type, correlation or time; appends go on meanwhile unless concurrently is false';
REVOKE ALL ON PROCEDURE event_store.add_index(text, boolean) FROM PUBLIC;
GRANT EXECUTE ON PROCEDURE event_store.add_index(text, boolean) TO PUBLIC;

CREATE PROCEDURE event_store.drop_index(kind text, concurrently boolean DEFAULT true)
AS 'MODULE_PATHNAME', 'event_store_drop_index'
LANGUAGE C;
COMMENT ON PROCEDURE event_store.drop_index(text, boolean)
IS 'takes from the current store an index that add_index gave it';
REVOKE ALL ON PROCEDURE event_store.drop_index(text, boolean) FROM PUBLIC;
GRANT EXECUTE ON PROCEDURE event_store.drop_index(text, boolean) TO PUBLIC;

CREATE FUNCTION event_store.current_store()
RETURNS text
AS 'MODULE_PATHNAME', 'event_store_current_store'
LANGUAGE C STRICT STABLE PARALLEL SAFE;
COMMENT ON FUNCTION event_store.current_store()
IS 'the schema of the event store that calls in this session go to, null if the search_path names none';
REVOKE ALL ON FUNCTION event_store.current_store() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.current_store() TO PUBLIC;

CREATE FUNCTION event_store.store_number(schema_oid oid)
RETURNS bigint
AS 'MODULE_PATHNAME', 'event_store_store_number'
LANGUAGE C STRICT STABLE PARALLEL RESTRICTED;
COMMENT ON FUNCTION event_store.store_number(oid)
IS 'the number of the store in a schema, null if the schema is no store';
REVOKE ALL ON FUNCTION event_store.store_number(oid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.store_number(oid) TO PUBLIC;

CREATE VIEW event_store.stores AS
SELECT n.nspname::pg_catalog.text AS schema,
	pg_catalog.pg_get_userbyid(c.relowner)::pg_catalog.text AS owner,
	r.registered_at,
	n.nspname::pg_catalog.text OPERATOR(pg_catalog.=) event_store.current_store() AS current,
	pg_catalog.pg_total_relation_size(c.oid) AS log_bytes,
	pg_catalog.format_type(a.atttypid, NULL) AS payload
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_attribute a
	ON a.attrelid OPERATOR(pg_catalog.=) c.oid AND a.attname OPERATOR(pg_catalog.=) 'data'
JOIN pg_catalog.pg_namespace n
	ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
JOIN event_store.store_registry r
	ON r.store_number OPERATOR(pg_catalog.=) event_store.store_number(n.oid)
WHERE c.relname OPERATOR(pg_catalog.=) 'event_log';
COMMENT ON VIEW event_store.stores
IS 'the event stores of this database';
REVOKE ALL ON TABLE event_store.stores FROM PUBLIC;
GRANT SELECT ON TABLE event_store.stores TO PUBLIC;
