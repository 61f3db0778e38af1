/* migrations: changes to the schemas of all tenants, kept as data, and rollouts that bring them there in stages */

CREATE TABLE event_store.tenant_migration (
	version pg_catalog.int8 NOT NULL,
	name pg_catalog.text NOT NULL,
	up pg_catalog.text NOT NULL,
	down pg_catalog.text,
	checksum pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
	registered_by pg_catalog.regrole NOT NULL,
	registered_at pg_catalog.timestamptz NOT NULL,
	CONSTRAINT tenant_migration_pkey PRIMARY KEY (version)
);
COMMENT ON TABLE event_store.tenant_migration
IS 'the migrations that tenants are to have, in the order of their versions';
SELECT pg_catalog.pg_extension_config_dump('event_store.tenant_migration', '');
REVOKE ALL ON TABLE event_store.tenant_migration FROM PUBLIC;

CREATE TABLE event_store.tenant_migrated (
	tenant pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
	version pg_catalog.int8 NOT NULL,
	checksum pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
	applied_at pg_catalog.timestamptz NOT NULL,
	CONSTRAINT tenant_migrated_pkey PRIMARY KEY (tenant, version)
);
COMMENT ON TABLE event_store.tenant_migrated
IS 'which tenant has which migration, written in the transaction of the migration';
SELECT pg_catalog.pg_extension_config_dump('event_store.tenant_migrated', '');
REVOKE ALL ON TABLE event_store.tenant_migrated FROM PUBLIC;

CREATE TABLE event_store.rollout_registry (
	rollout pg_catalog.int8 NOT NULL,
	target pg_catalog.int8 NOT NULL,
	state pg_catalog.text NOT NULL,
	stage pg_catalog.int4 NOT NULL,
	stages pg_catalog.jsonb NOT NULL,
	max_failures pg_catalog.int4 NOT NULL,
	max_attempts pg_catalog.int4 NOT NULL,
	lock_timeout pg_catalog.int4 NOT NULL,
	continue_at pg_catalog.timestamptz,
	started_at pg_catalog.timestamptz NOT NULL,
	CONSTRAINT rollout_registry_pkey PRIMARY KEY (rollout)
);
COMMENT ON TABLE event_store.rollout_registry
IS 'rollouts: a version, and the stages in which tenants get to it';
SELECT pg_catalog.pg_extension_config_dump('event_store.rollout_registry', '');
REVOKE ALL ON TABLE event_store.rollout_registry FROM PUBLIC;

CREATE TABLE event_store.rollout_tenant (
	rollout pg_catalog.int8 NOT NULL,
	tenant pg_catalog.text COLLATE pg_catalog."C" NOT NULL,
	stage pg_catalog.int4 NOT NULL,
	state pg_catalog.text NOT NULL,
	attempts pg_catalog.int4 NOT NULL,
	applied pg_catalog.int8[],
	duration pg_catalog.interval,
	problem pg_catalog.jsonb,
	CONSTRAINT rollout_tenant_pkey PRIMARY KEY (rollout, tenant)
);
COMMENT ON TABLE event_store.rollout_tenant
IS 'what a rollout has done, and has to do, for each of its tenants';
SELECT pg_catalog.pg_extension_config_dump('event_store.rollout_tenant', '');
REVOKE ALL ON TABLE event_store.rollout_tenant FROM PUBLIC;

CREATE FUNCTION event_store.register_migration(version bigint, name text, up text, down text DEFAULT NULL, checksum text DEFAULT NULL)
RETURNS text
AS 'MODULE_PATHNAME', 'event_store_register_migration'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.register_migration(bigint, text, text, text, text)
IS 'makes known a change that the schema of every tenant is to get; returns its checksum';
REVOKE ALL ON FUNCTION event_store.register_migration(bigint, text, text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.register_migration(bigint, text, text, text, text) TO PUBLIC;

CREATE FUNCTION event_store.unregister_migration(version bigint)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_unregister_migration'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.unregister_migration(bigint)
IS 'forgets a migration; tenants that have it keep what it did';
REVOKE ALL ON FUNCTION event_store.unregister_migration(bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.unregister_migration(bigint) TO PUBLIC;

CREATE FUNCTION event_store.migrate_tenant(tenant text, target bigint DEFAULT NULL)
RETURNS bigint[]
AS 'MODULE_PATHNAME', 'event_store_migrate_tenant'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.migrate_tenant(text, bigint)
IS 'brings a tenant to a version, the newest by default; returns the migrations it has got';
REVOKE ALL ON FUNCTION event_store.migrate_tenant(text, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.migrate_tenant(text, bigint) TO PUBLIC;

CREATE FUNCTION event_store.migrate_tenants(target bigint DEFAULT NULL)
RETURNS TABLE (tenant text, applied bigint[], problem jsonb)
AS 'MODULE_PATHNAME', 'event_store_migrate_tenants'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.migrate_tenants(bigint)
IS 'brings all tenants to a version, in one transaction; a failure is an answer and undoes only its own tenant''s part';
REVOKE ALL ON FUNCTION event_store.migrate_tenants(bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.migrate_tenants(bigint) TO PUBLIC;

CREATE FUNCTION event_store.revert_tenant(tenant text, target bigint)
RETURNS bigint[]
AS 'MODULE_PATHNAME', 'event_store_revert_tenant'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.revert_tenant(text, bigint)
IS 'takes a tenant back to a version, by what its later migrations say of their way down; returns those it has lost';
REVOKE ALL ON FUNCTION event_store.revert_tenant(text, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.revert_tenant(text, bigint) TO PUBLIC;

CREATE FUNCTION event_store.baseline_tenant(tenant text, version bigint)
RETURNS bigint[]
AS 'MODULE_PATHNAME', 'event_store_baseline_tenant'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.baseline_tenant(text, bigint)
IS 'notes that a tenant has the migrations up to a version as they are registered, without running them';
REVOKE ALL ON FUNCTION event_store.baseline_tenant(text, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.baseline_tenant(text, bigint) TO PUBLIC;

CREATE FUNCTION event_store.start_rollout(target bigint DEFAULT NULL, stages jsonb DEFAULT '[{"percent": 100}]', max_failures integer DEFAULT 0,
	max_attempts integer DEFAULT 3, lock_timeout interval DEFAULT '2 s')
RETURNS bigint
AS 'MODULE_PATHNAME', 'event_store_start_rollout'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.start_rollout(bigint, jsonb, integer, integer, interval)
IS 'plans to bring all tenants to a version, in stages; returns the number of the rollout';
REVOKE ALL ON FUNCTION event_store.start_rollout(bigint, jsonb, integer, integer, interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.start_rollout(bigint, jsonb, integer, integer, interval) TO PUBLIC;

CREATE PROCEDURE event_store.run_rollout(rollout bigint, INOUT state text DEFAULT NULL, INOUT done bigint DEFAULT NULL,
	INOUT failed bigint DEFAULT NULL, INOUT pending bigint DEFAULT NULL)
AS 'MODULE_PATHNAME', 'event_store_run_rollout'
LANGUAGE C;
COMMENT ON PROCEDURE event_store.run_rollout(bigint, text, bigint, bigint, bigint)
IS 'goes on with a rollout as far as it may, a transaction for each tenant; several sessions may do so at once';
REVOKE ALL ON PROCEDURE event_store.run_rollout(bigint, text, bigint, bigint, bigint) FROM PUBLIC;
GRANT EXECUTE ON PROCEDURE event_store.run_rollout(bigint, text, bigint, bigint, bigint) TO PUBLIC;

CREATE FUNCTION event_store.pause_rollout(rollout bigint)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_pause_rollout'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.pause_rollout(bigint)
IS 'stops a rollout after the tenants that are being worked on';
REVOKE ALL ON FUNCTION event_store.pause_rollout(bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.pause_rollout(bigint) TO PUBLIC;

CREATE FUNCTION event_store.resume_rollout(rollout bigint, retry boolean DEFAULT false)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_resume_rollout'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.resume_rollout(bigint, boolean)
IS 'lets a rollout go on that was paused, waits, or has stopped, with retry also for the tenants that have failed';
REVOKE ALL ON FUNCTION event_store.resume_rollout(bigint, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION event_store.resume_rollout(bigint, boolean) TO PUBLIC;

CREATE VIEW event_store.rollouts AS
SELECT r.rollout, r.target, r.state, r.stage, pg_catalog.jsonb_array_length(r.stages) AS stages, r.continue_at, r.started_at,
	pg_catalog.count(*) FILTER (WHERE t.state OPERATOR(pg_catalog.=) 'done') AS done,
	pg_catalog.count(*) FILTER (WHERE t.state OPERATOR(pg_catalog.=) 'failed') AS failed,
	pg_catalog.count(*) FILTER (WHERE t.state OPERATOR(pg_catalog.=) 'pending') AS pending,
	pg_catalog.avg(t.duration) OPERATOR(pg_catalog.*)
		pg_catalog.count(*) FILTER (WHERE t.state OPERATOR(pg_catalog.=) 'pending')::pg_catalog.float8 AS work_left
FROM event_store.rollout_registry r
LEFT JOIN event_store.rollout_tenant t
	ON t.rollout OPERATOR(pg_catalog.=) r.rollout
GROUP BY r.rollout;
COMMENT ON VIEW event_store.rollouts
IS 'how far rollouts have come; work_left is what one session would need at the pace until now';
REVOKE ALL ON TABLE event_store.rollouts FROM PUBLIC;

CREATE VIEW event_store.tenant_drift AS
SELECT COALESCE(p.tenant, a.tenant) AS tenant, COALESCE(p.version, a.version) AS version, p.name,
	CASE WHEN a.version IS NULL THEN 'pending' WHEN p.version IS NULL THEN 'unknown' ELSE 'changed' END AS drift, a.applied_at
FROM (
	SELECT t.tenant_name AS tenant, m.version, m.name, m.checksum
	FROM event_store.tenant_registry t
	CROSS JOIN event_store.tenant_migration m
	WHERE t.state OPERATOR(pg_catalog.<>) ALL ('{dropping,purging}')
) p
FULL JOIN (
	SELECT m.tenant, m.version, m.checksum, m.applied_at
	FROM event_store.tenant_migrated m
	JOIN event_store.tenant_registry t
		ON t.tenant_name OPERATOR(pg_catalog.=) m.tenant
	WHERE t.state OPERATOR(pg_catalog.<>) ALL ('{dropping,purging}')
) a
	ON a.tenant OPERATOR(pg_catalog.=) p.tenant AND a.version OPERATOR(pg_catalog.=) p.version
WHERE COALESCE(a.checksum OPERATOR(pg_catalog.<>) p.checksum, true);
COMMENT ON VIEW event_store.tenant_drift
IS 'where tenants that are not dropped are not as the migrations have it: pending, applied but unknown, changed since it was applied';
REVOKE ALL ON TABLE event_store.tenant_drift FROM PUBLIC;

CREATE VIEW event_store.tenant_versions AS
SELECT t.tenant_name AS tenant,
	(SELECT pg_catalog.max(a.version) FROM event_store.tenant_migrated a
		WHERE a.tenant OPERATOR(pg_catalog.=) t.tenant_name) AS version,
	(SELECT pg_catalog.max(a.applied_at) FROM event_store.tenant_migrated a
		WHERE a.tenant OPERATOR(pg_catalog.=) t.tenant_name) AS migrated_at,
	pg_catalog.count(d.tenant) FILTER (WHERE d.drift OPERATOR(pg_catalog.=) 'pending') AS pending,
	pg_catalog.count(d.tenant) FILTER (WHERE d.drift OPERATOR(pg_catalog.<>) 'pending') AS drifted
FROM event_store.tenant_registry t
LEFT JOIN event_store.tenant_drift d
	ON d.tenant OPERATOR(pg_catalog.=) t.tenant_name
GROUP BY t.tenant_name;
COMMENT ON VIEW event_store.tenant_versions
IS 'the version that each tenant is at';
REVOKE ALL ON TABLE event_store.tenant_versions FROM PUBLIC;
