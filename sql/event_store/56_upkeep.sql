/* upkeep: what tenants and stores need is done by tasks */

CREATE TABLE event_store.tenant_pool_target (
	task pg_catalog.int8 NOT NULL,
	size pg_catalog.int4 NOT NULL,
	template pg_catalog.text,
	with_data pg_catalog.bool NOT NULL,
	CONSTRAINT tenant_pool_target_pkey PRIMARY KEY (task)
);
COMMENT ON TABLE event_store.tenant_pool_target
IS 'how many schemas like which the tasks of the kind pool keep ready';
SELECT pg_catalog.pg_extension_config_dump('event_store.tenant_pool_target', '');
REVOKE ALL ON TABLE event_store.tenant_pool_target FROM PUBLIC;

CREATE FUNCTION event_store.keep_tenant_pool(size integer, template text DEFAULT NULL, with_data boolean DEFAULT false)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_keep_tenant_pool'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.keep_tenant_pool(integer, text, boolean)
IS 'lets a background task keep so many schemas ready from which create_tenant takes one';
REVOKE ALL ON FUNCTION event_store.keep_tenant_pool(integer, text, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.keep_tenant_pool(integer, text, boolean) TO PUBLIC;

CREATE FUNCTION event_store.keep_store_tidy(tidy boolean DEFAULT true)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_keep_store_tidy'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.keep_store_tidy(boolean)
IS 'lets a background task take away what the limits of streams hide and forget the ids of old commands, again and again';
REVOKE ALL ON FUNCTION event_store.keep_store_tidy(boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.keep_store_tidy(boolean) TO PUBLIC;
