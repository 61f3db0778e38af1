/* tenants: registered schemas, each with its own event store; which of them a call is for, and the guard between them */

CREATE TABLE event_store.tenant_registry (
	tenant_name pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
	folded_name pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
	schema_name pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
	schema_oid pg_catalog.oid NOT NULL,
	store_number pg_catalog.int8 NOT NULL,
	state pg_catalog.text NOT NULL,
	reason pg_catalog.text,
	attributes pg_catalog.jsonb NOT NULL,
	created_at pg_catalog.timestamptz NOT NULL,
	purge_after pg_catalog.timestamptz,
	CONSTRAINT tenant_registry_pkey PRIMARY KEY (tenant_name),
	CONSTRAINT tenant_registry_folded_name UNIQUE (folded_name)
);
CREATE INDEX tenant_registry_schema_oid ON event_store.tenant_registry (schema_oid);
CREATE INDEX tenant_registry_schema_name ON event_store.tenant_registry (schema_name);
COMMENT ON TABLE event_store.tenant_registry
IS 'the tenants of this database; a schema is found by its OID, after a restore by its name and the number of its store';
SELECT pg_catalog.pg_extension_config_dump('event_store.tenant_registry', '');
REVOKE ALL ON TABLE event_store.tenant_registry FROM PUBLIC;

CREATE FUNCTION event_store.create_tenant(name text, attributes jsonb DEFAULT '{}', template text DEFAULT NULL, with_data boolean DEFAULT false,
	payload text DEFAULT NULL)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_create_tenant'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.create_tenant(text, jsonb, text, boolean, text)
IS 'makes a tenant: a schema of this name with an event store of its own, like that of another tenant if there is a template; payload is what it keeps data as';
REVOKE ALL ON FUNCTION event_store.create_tenant(text, jsonb, text, boolean, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.create_tenant(text, jsonb, text, boolean, text) TO PUBLIC;

CREATE FUNCTION event_store.attach_tenant(schema text, name text DEFAULT NULL, attributes jsonb DEFAULT '{}')
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_attach_tenant'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.attach_tenant(text, text, jsonb)
IS 'makes a schema that is an event store already a tenant''s';
REVOKE ALL ON FUNCTION event_store.attach_tenant(text, text, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.attach_tenant(text, text, jsonb) TO PUBLIC;

CREATE FUNCTION event_store.rename_tenant(name text, new_name text)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_rename_tenant'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.rename_tenant(text, text)
IS 'gives a tenant and its schema another name';
REVOKE ALL ON FUNCTION event_store.rename_tenant(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.rename_tenant(text, text) TO PUBLIC;

CREATE FUNCTION event_store.suspend_tenant(name text, reads boolean DEFAULT false, reason text DEFAULT NULL)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_suspend_tenant'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.suspend_tenant(text, boolean, text)
IS 'refuses all calls for a tenant, or with reads only those that write';
REVOKE ALL ON FUNCTION event_store.suspend_tenant(text, boolean, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.suspend_tenant(text, boolean, text) TO PUBLIC;

CREATE FUNCTION event_store.resume_tenant(name text)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_resume_tenant'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.resume_tenant(text)
IS 'ends the suspension of a tenant';
REVOKE ALL ON FUNCTION event_store.resume_tenant(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.resume_tenant(text) TO PUBLIC;

CREATE FUNCTION event_store.drop_tenant(name text, confirm text, keep interval DEFAULT NULL)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_drop_tenant'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.drop_tenant(text, text, interval)
IS 'drops a tenant, its schema and everything in it, with keep not before that time has passed; confirm repeats the name';
REVOKE ALL ON FUNCTION event_store.drop_tenant(text, text, interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.drop_tenant(text, text, interval) TO PUBLIC;

CREATE FUNCTION event_store.grant_tenant(name text, role text, access text DEFAULT 'writer')
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_grant_tenant'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.grant_tenant(text, text, text)
IS 'lets a role use a tenant: its store as a reader, writer or admin, and the other tables of its schema';
REVOKE ALL ON FUNCTION event_store.grant_tenant(text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.grant_tenant(text, text, text) TO PUBLIC;

CREATE FUNCTION event_store.revoke_tenant(name text, role text)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_revoke_tenant'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.revoke_tenant(text, text)
IS 'takes from a role every right on a tenant''s schema and what is in it';
REVOKE ALL ON FUNCTION event_store.revoke_tenant(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.revoke_tenant(text, text) TO PUBLIC;

CREATE FUNCTION event_store.tenant_residue(name text)
RETURNS TABLE (kind text, identity text)
AS 'MODULE_PATHNAME', 'event_store_tenant_residue'
LANGUAGE C STABLE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.tenant_residue(text)
IS 'what is there of a tenant; nothing, once it is dropped';
REVOKE ALL ON FUNCTION event_store.tenant_residue(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.tenant_residue(text) TO PUBLIC;

CREATE FUNCTION event_store.tenant_use(tenant text)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_tenant_use'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.tenant_use(text)
IS 'switches to a tenant for the rest of the transaction';
REVOKE ALL ON FUNCTION event_store.tenant_use(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.tenant_use(text) TO PUBLIC;

CREATE FUNCTION event_store.tenant_use_session(tenant text)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_tenant_use_session'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.tenant_use_session(text)
IS 'switches to a tenant for the rest of the session';
REVOKE ALL ON FUNCTION event_store.tenant_use_session(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.tenant_use_session(text) TO PUBLIC;

CREATE FUNCTION event_store.with_tenant(tenant text, query text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'event_store_with_tenant'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.with_tenant(text, text)
IS 'runs a query for a tenant, and only that';
REVOKE ALL ON FUNCTION event_store.with_tenant(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.with_tenant(text, text) TO PUBLIC;

CREATE FUNCTION event_store.with_tenant(tenant text, query text, VARIADIC params "any")
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'event_store_with_tenant'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.with_tenant(text, text, "any")
IS 'runs a query with parameters for a tenant, and only that';
REVOKE ALL ON FUNCTION event_store.with_tenant(text, text, "any") FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.with_tenant(text, text, "any") TO PUBLIC;

CREATE FUNCTION event_store.each_tenant(query text, parallel integer DEFAULT 1)
RETURNS TABLE (tenant text, result jsonb, problem jsonb)
AS 'MODULE_PATHNAME', 'event_store_each_tenant'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.each_tenant(text, integer)
IS 'runs a query for every tenant, one after the other or several at once; a failure is an answer and undoes only its own tenant''s part';
REVOKE ALL ON FUNCTION event_store.each_tenant(text, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.each_tenant(text, integer) TO PUBLIC;

CREATE FUNCTION event_store.pooler_check(previous text DEFAULT NULL, OUT token text, OUT pooler text)
AS 'MODULE_PATHNAME', 'event_store_pooler_check'
LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION event_store.pooler_check(text)
IS 'called twice by a client, with the token of the first call, tells which value of event_store.pooler is true';
REVOKE ALL ON FUNCTION event_store.pooler_check(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.pooler_check(text) TO PUBLIC;

CREATE FUNCTION event_store.current_tenant()
RETURNS text
AS 'MODULE_PATHNAME', 'event_store_current_tenant'
LANGUAGE C STRICT STABLE PARALLEL RESTRICTED;
COMMENT ON FUNCTION event_store.current_tenant()
IS 'the tenant that calls are for, null if for none';
REVOKE ALL ON FUNCTION event_store.current_tenant() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.current_tenant() TO PUBLIC;

CREATE FUNCTION event_store.require_tenant()
RETURNS text
AS 'MODULE_PATHNAME', 'event_store_require_tenant'
LANGUAGE C STRICT STABLE PARALLEL RESTRICTED;
COMMENT ON FUNCTION event_store.require_tenant()
IS 'the tenant that calls are for, an error if for none';
REVOKE ALL ON FUNCTION event_store.require_tenant() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.require_tenant() TO PUBLIC;

CREATE FUNCTION event_store.tenant_schema(name text)
RETURNS oid
AS 'MODULE_PATHNAME', 'event_store_tenant_schema'
LANGUAGE C STRICT STABLE PARALLEL RESTRICTED;
COMMENT ON FUNCTION event_store.tenant_schema(text)
IS 'the schema of a tenant, null if there is no such tenant or its schema is gone';
REVOKE ALL ON FUNCTION event_store.tenant_schema(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.tenant_schema(text) TO PUBLIC;

CREATE FUNCTION event_store.guard_counts(OUT refused bigint, OUT warned bigint)
AS 'MODULE_PATHNAME', 'event_store_guard_counts'
LANGUAGE C STRICT VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION event_store.guard_counts()
IS 'statements that the guard between tenants has met since the server was started';
REVOKE ALL ON FUNCTION event_store.guard_counts() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.guard_counts() TO pg_monitor;

CREATE VIEW event_store.tenants AS
SELECT r.tenant_name AS name,
	n.nspname::pg_catalog.text AS schema,
	CASE WHEN c.oid IS NULL AND r.state OPERATOR(pg_catalog.<>) 'purging' THEN 'broken' ELSE r.state END AS state,
	r.reason,
	r.attributes,
	r.created_at,
	pg_catalog.pg_get_userbyid(n.nspowner)::pg_catalog.text AS owner,
	r.tenant_name::pg_catalog.text OPERATOR(pg_catalog.=) event_store.current_tenant() AS current,
	NULLIF(c.reltuples, -1)::pg_catalog.int8 AS events,
	NULLIF(s.reltuples, -1)::pg_catalog.int8 AS streams,
	c.relpages::pg_catalog.int8 OPERATOR(pg_catalog.*) pg_catalog.current_setting('block_size')::pg_catalog.int8 AS log_bytes,
	r.purge_after
FROM event_store.tenant_registry r
LEFT JOIN pg_catalog.pg_namespace n
	ON n.oid OPERATOR(pg_catalog.=) event_store.tenant_schema(r.tenant_name)
LEFT JOIN pg_catalog.pg_class c
	ON c.relnamespace OPERATOR(pg_catalog.=) n.oid AND c.relname OPERATOR(pg_catalog.=) 'event_log'
LEFT JOIN pg_catalog.pg_class s
	ON s.relnamespace OPERATOR(pg_catalog.=) n.oid AND s.relname OPERATOR(pg_catalog.=) 'event_streams';
COMMENT ON VIEW event_store.tenants
IS 'the tenants of this database; numbers of events and streams, and the size, are those that VACUUM or ANALYZE last saw';
REVOKE ALL ON TABLE event_store.tenants FROM PUBLIC;
