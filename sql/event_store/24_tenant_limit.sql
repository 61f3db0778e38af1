/* limits of tenants: how much they may append, and have */

CREATE TABLE event_store.tenant_limit (
	store_number pg_catalog.int8 NOT NULL,
	what pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
	amount pg_catalog.int8 NOT NULL,
	burst pg_catalog.int8 NOT NULL,
	action pg_catalog.text NOT NULL,
	max_delay pg_catalog.int8 NOT NULL,
	CONSTRAINT tenant_limit_pkey PRIMARY KEY (store_number, what)
);
COMMENT ON TABLE event_store.tenant_limit
IS 'the limits of tenants, by the number of their store; max_delay is in milliseconds';
SELECT pg_catalog.pg_extension_config_dump('event_store.tenant_limit', '');
REVOKE ALL ON TABLE event_store.tenant_limit FROM PUBLIC;

CREATE FUNCTION event_store.set_tenant_limit(name text, what text, amount bigint, burst bigint DEFAULT NULL,
	action text DEFAULT 'refuse', max_delay interval DEFAULT '10 s')
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_set_tenant_limit'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.set_tenant_limit(text, text, bigint, bigint, text, interval)
IS 'limits what a tenant appends in a second, or has in streams or storage, in place of such a limit that it has';
REVOKE ALL ON FUNCTION event_store.set_tenant_limit(text, text, bigint, bigint, text, interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.set_tenant_limit(text, text, bigint, bigint, text, interval) TO PUBLIC;

CREATE FUNCTION event_store.clear_tenant_limit(name text, what text DEFAULT NULL)
RETURNS integer
AS 'MODULE_PATHNAME', 'event_store_clear_tenant_limit'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.clear_tenant_limit(text, text)
IS 'takes a limit from a tenant, without what all of them; returns how many it had';
REVOKE ALL ON FUNCTION event_store.clear_tenant_limit(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.clear_tenant_limit(text, text) TO PUBLIC;

CREATE FUNCTION event_store.tenant_usage(name text)
RETURNS TABLE (what text, used bigint, amount bigint, burst bigint, action text, refused bigint, delayed bigint)
AS 'MODULE_PATHNAME', 'event_store_tenant_usage'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 5;
COMMENT ON FUNCTION event_store.tenant_usage(text)
IS 'what a tenant uses of what can be limited, its limits, and how many appends they have refused and delayed since the server was started';
REVOKE ALL ON FUNCTION event_store.tenant_usage(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.tenant_usage(text) TO PUBLIC;

CREATE VIEW event_store.tenant_limits AS
SELECT r.tenant_name AS name,
	l.what,
	l.amount,
	CASE WHEN l.what OPERATOR(pg_catalog.~~) '%per\_second' THEN l.burst END AS burst,
	l.action,
	CASE WHEN l.action OPERATOR(pg_catalog.=) 'delay' THEN
		pg_catalog.make_interval(secs => l.max_delay::pg_catalog.float8 OPERATOR(pg_catalog./) 1000) END AS max_delay
FROM event_store.tenant_limit l
JOIN event_store.tenant_registry r
	ON r.store_number OPERATOR(pg_catalog.=) l.store_number;
COMMENT ON VIEW event_store.tenant_limits
IS 'the limits of the tenants of this database';
REVOKE ALL ON TABLE event_store.tenant_limits FROM PUBLIC;
