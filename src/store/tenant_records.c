/*
 * tenant_records.c
 *		What is recorded of tenants besides the registry: hosts, ready-made schemas, migrations, rollouts.
 *
 * These are tables of the extension, keyed by the names of tenants.  They are
 * read and written by the statements here, as the owner of the extension: who
 * may have it done, the callers check.  Every name is qualified and every value
 * a parameter.  A statement sees what is committed when it begins, also in a
 * transaction with a fixed snapshot: who waits for a lock must not act on what
 * was there before.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "store/tenant.h"
#include "store/tenant_records.h"

#define MAX_PARAMETERS	6

#define EQ " OPERATOR(pg_catalog.=) "
#define NE " OPERATOR(pg_catalog.<>) "

static const struct
{
	const char *text;
	int			nparameters;
	Oid			parameters[MAX_PARAMETERS];
}			statements[ES_RECORDS] = {
	/* host, tenant, is it the primary: a tenant's first is */
	[ES_RECORD_DOMAIN_ADD] = {"INSERT INTO event_store.tenant_domain (host, tenant, is_primary)"
		" SELECT $1, $2, $3 OR NOT EXISTS (SELECT FROM event_store.tenant_domain WHERE tenant" EQ "$2)"
		" ON CONFLICT (host) DO NOTHING",
	3, {TEXTOID, TEXTOID, BOOLOID}},
	[ES_RECORD_DOMAIN_DEMOTE] = {"UPDATE event_store.tenant_domain SET is_primary = false WHERE tenant" EQ "$1 AND is_primary",
	1, {TEXTOID}},
	/* host, tenant */
	[ES_RECORD_DOMAIN_REMOVE] = {"DELETE FROM event_store.tenant_domain WHERE host" EQ "$1 AND tenant" EQ "$2",
	2, {TEXTOID, TEXTOID}},

	/* schema, template or null, with its rows */
	[ES_RECORD_POOL_ADD] = {"INSERT INTO event_store.tenant_pool (schema, template, with_data, created_at)"
		" VALUES ($1, $2, $3, pg_catalog.clock_timestamp())", 3, {TEXTOID, TEXTOID, BOOLOID}},
	/* of those like that which the role $3 owns the oldest that nobody else is taking: its schema */
	[ES_RECORD_POOL_TAKE] = {"DELETE FROM event_store.tenant_pool WHERE schema" EQ "("
		"SELECT p.schema FROM event_store.tenant_pool p JOIN pg_catalog.pg_namespace n ON n.nspname" EQ "p.schema"
		" WHERE COALESCE(p.template, '')" EQ "COALESCE($1, '') AND p.with_data" EQ "$2 AND n.nspowner" EQ "$3"
		" ORDER BY p.created_at USING OPERATOR(pg_catalog.<) LIMIT 1 FOR UPDATE OF p SKIP LOCKED) RETURNING schema",
	3, {TEXTOID, BOOLOID, OIDOID}},
	[ES_RECORD_POOL_COUNT] = {"SELECT pg_catalog.count(*) FROM event_store.tenant_pool p"
		" JOIN pg_catalog.pg_namespace n ON n.nspname" EQ "p.schema"
		" WHERE COALESCE(p.template, '')" EQ "COALESCE($1, '') AND p.with_data" EQ "$2 AND n.nspowner" EQ "$3",
	3, {TEXTOID, BOOLOID, OIDOID}},
	/* those that somebody has dropped or renamed, and what is recorded of them */
	[ES_RECORD_POOL_CLEAN] = {"WITH p AS (DELETE FROM event_store.tenant_pool p"
		"  WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_namespace n WHERE n.nspname" EQ "p.schema) RETURNING p.schema)"
		" DELETE FROM event_store.tenant_migrated m USING p WHERE m.tenant" EQ "p.schema"
		" AND NOT EXISTS (SELECT FROM event_store.tenant_registry r WHERE r.tenant_name" EQ "m.tenant)"},
	[ES_RECORD_POOL_LEAVE] = {"DELETE FROM event_store.tenant_pool WHERE schema" EQ "$1", 1, {TEXTOID}},
	/* is it the template of schemas in the pool: one of them, with its rows */
	[ES_RECORD_POOL_OF_TEMPLATE] = {"SELECT schema, with_data FROM event_store.tenant_pool p WHERE template" EQ "$1"
		" AND EXISTS (SELECT FROM pg_catalog.pg_namespace n WHERE n.nspname" EQ "p.schema) LIMIT 1", 1, {TEXTOID}},
	/* template or null, with its rows, role: the task that keeps a pool like that */
	[ES_RECORD_POOL_TARGET_FIND] = {"SELECT t.task FROM event_store.tenant_pool_target t"
		" JOIN event_store.task k ON k.number" EQ "t.task"
		" WHERE COALESCE(t.template, '')" EQ "COALESCE($1, '') AND t.with_data" EQ "$2 AND k.owner::pg_catalog.oid" EQ "$3",
	3, {TEXTOID, BOOLOID, OIDOID}},
	/* of a task: size, template, with its rows */
	[ES_RECORD_POOL_TARGET_GET] = {"SELECT size, template, with_data FROM event_store.tenant_pool_target WHERE task" EQ "$1",
	1, {INT8OID}},
	[ES_RECORD_POOL_TARGET_SET] = {"INSERT INTO event_store.tenant_pool_target (task, size, template, with_data)"
		" VALUES ($1, $2, $3, $4) ON CONFLICT (task) DO UPDATE SET size = excluded.size", 4, {INT8OID, INT4OID, TEXTOID, BOOLOID}},
	[ES_RECORD_POOL_TARGET_REMOVE] = {"DELETE FROM event_store.tenant_pool_target WHERE task" EQ "$1", 1, {INT8OID}},

	/* a tenant's name, its new one */
	[ES_RECORD_RENAME] = {"WITH d AS (UPDATE event_store.tenant_domain SET tenant = $2 WHERE tenant" EQ "$1),"
		" p AS (UPDATE event_store.tenant_pool SET template = $2 WHERE template" EQ "$1),"
		" t AS (UPDATE event_store.tenant_pool_target SET template = $2 WHERE template" EQ "$1),"
		" m AS (UPDATE event_store.tenant_migrated SET tenant = $2 WHERE tenant" EQ "$1)"
		" UPDATE event_store.rollout_tenant SET tenant = $2 WHERE tenant" EQ "$1", 2, {TEXTOID, TEXTOID}},
	[ES_RECORD_FORGET] = {"WITH d AS (DELETE FROM event_store.tenant_domain WHERE tenant" EQ "$1),"
		" m AS (DELETE FROM event_store.tenant_migrated WHERE tenant" EQ "$1)"
		" DELETE FROM event_store.rollout_tenant WHERE tenant" EQ "$1", 1, {TEXTOID}},
	[ES_RECORD_LIST] = {"SELECT 'domain', host FROM event_store.tenant_domain WHERE tenant" EQ "$1"
		" UNION ALL SELECT 'migration', version::pg_catalog.text FROM event_store.tenant_migrated WHERE tenant" EQ "$1"
		" UNION ALL SELECT 'rollout', rollout::pg_catalog.text FROM event_store.rollout_tenant WHERE tenant" EQ "$1",
	1, {TEXTOID}},
	[ES_RECORD_COPY] = {"INSERT INTO event_store.tenant_migrated (tenant, version, checksum, applied_at)"
		" SELECT $2, version, checksum, applied_at FROM event_store.tenant_migrated WHERE tenant" EQ "$1",
	2, {TEXTOID, TEXTOID}},
	/* the migrations of a tenant as JSON, and such for another one */
	[ES_RECORD_EXPORT] = {"SELECT COALESCE(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(version, checksum, applied_at)"
		" ORDER BY version USING OPERATOR(pg_catalog.<)), '[]')::pg_catalog.text"
		" FROM event_store.tenant_migrated WHERE tenant" EQ "$1", 1, {TEXTOID}},
	[ES_RECORD_IMPORT] = {"INSERT INTO event_store.tenant_migrated (tenant, version, checksum, applied_at)"
		" SELECT $1, (m.row OPERATOR(pg_catalog.->>) 0)::pg_catalog.int8, m.row OPERATOR(pg_catalog.->>) 1,"
		" (m.row OPERATOR(pg_catalog.->>) 2)::pg_catalog.timestamptz"
		" FROM pg_catalog.jsonb_array_elements($2) m (row) ON CONFLICT DO NOTHING", 2, {TEXTOID, JSONBOID}},
	/* dropped tenants, one of a name or with null all whose time has come */
	[ES_RECORD_TO_PURGE] = {"SELECT tenant_name FROM event_store.tenant_registry"
		" WHERE state" EQ "ANY ('{dropping,purging}') AND tenant_name" EQ "COALESCE($1, tenant_name)"
		" AND ($1 IS NOT NULL OR purge_after OPERATOR(pg_catalog.<=) pg_catalog.clock_timestamp())"
		" ORDER BY tenant_name USING OPERATOR(pg_catalog.<)", 1, {TEXTOID}},

	/* version, name, up, down, checksum, role */
	[ES_RECORD_MIGRATION_ADD] = {"INSERT INTO event_store.tenant_migration"
		" (version, name, up, down, checksum, registered_by, registered_at)"
		" VALUES ($1, $2, $3, $4, $5, $6, pg_catalog.clock_timestamp()) ON CONFLICT (version) DO NOTHING",
	6, {INT8OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, REGROLEOID}},
	/* is it the same: version, checksum, down */
	[ES_RECORD_MIGRATION_SAME] = {"SELECT checksum" EQ "$2, down IS NOT DISTINCT FROM $3, registered_by::pg_catalog.oid"
		" FROM event_store.tenant_migration WHERE version" EQ "$1", 3, {INT8OID, TEXTOID, TEXTOID}},
	/* version, role */
	[ES_RECORD_MIGRATION_ANSWER] = {"UPDATE event_store.tenant_migration SET registered_by = $2 WHERE version" EQ "$1",
	2, {INT8OID, REGROLEOID}},
	[ES_RECORD_MIGRATION_REMOVE] = {"DELETE FROM event_store.tenant_migration WHERE version" EQ "$1", 1, {INT8OID}},
	/* of a tenant, up to a version: those it has not got, and those it has got in another form */
	[ES_RECORD_MIGRATIONS_TO_APPLY] = {"SELECT m.version, m.name, m.up, m.checksum, m.registered_by::pg_catalog.oid, a.version IS NOT NULL"
		" FROM event_store.tenant_migration m"
		" LEFT JOIN event_store.tenant_migrated a ON a.tenant" EQ "$1 AND a.version" EQ "m.version"
		" WHERE ($2 IS NULL OR m.version OPERATOR(pg_catalog.<=) $2)"
		" AND COALESCE(a.checksum" NE "m.checksum, true)"
		" ORDER BY m.version USING OPERATOR(pg_catalog.<)", 2, {TEXTOID, INT8OID}},
	/* of a tenant, above a version: those it has, the last first */
	[ES_RECORD_MIGRATIONS_TO_REVERT] = {"SELECT a.version, m.name, m.down, m.checksum, m.registered_by::pg_catalog.oid, a.checksum" NE "m.checksum"
		" FROM event_store.tenant_migrated a"
		" LEFT JOIN event_store.tenant_migration m ON m.version" EQ "a.version"
		" WHERE a.tenant" EQ "$1 AND a.version OPERATOR(pg_catalog.>) $2"
		" ORDER BY a.version USING OPERATOR(pg_catalog.>)", 2, {TEXTOID, INT8OID}},
	[ES_RECORD_MIGRATED] = {"INSERT INTO event_store.tenant_migrated (tenant, version, checksum, applied_at)"
		" VALUES ($1, $2, $3, pg_catalog.clock_timestamp())", 3, {TEXTOID, INT8OID, TEXTOID}},
	[ES_RECORD_REVERTED] = {"DELETE FROM event_store.tenant_migrated WHERE tenant" EQ "$1 AND version" EQ "$2",
	2, {TEXTOID, INT8OID}},
	[ES_RECORD_BASELINE] = {"INSERT INTO event_store.tenant_migrated AS a (tenant, version, checksum, applied_at)"
		" SELECT $1, version, checksum, pg_catalog.clock_timestamp() FROM event_store.tenant_migration"
		" WHERE version OPERATOR(pg_catalog.<=) $2 ORDER BY version USING OPERATOR(pg_catalog.<)"
		" ON CONFLICT (tenant, version) DO UPDATE SET checksum = excluded.checksum, applied_at = excluded.applied_at"
		" WHERE a.checksum" NE "excluded.checksum RETURNING a.version", 2, {TEXTOID, INT8OID}},
	/* the tenants, and whether they have all migrations up to a version as they are registered */
	[ES_RECORD_TENANTS] = {"SELECT tenant_name, NOT EXISTS (SELECT FROM event_store.tenant_migration m"
		"  WHERE ($1 IS NULL OR m.version OPERATOR(pg_catalog.<=) $1)"
		"  AND NOT EXISTS (SELECT FROM event_store.tenant_migrated a WHERE a.tenant" EQ "g.tenant_name"
		"   AND a.version" EQ "m.version AND a.checksum" EQ "m.checksum))"
		" FROM event_store.tenant_registry g WHERE state" NE "ALL ('{dropping,purging}')"
		" ORDER BY tenant_name USING OPERATOR(pg_catalog.<)", 1, {INT8OID}},

	/* of the stages, one that is none: its number; of the tenants they name, one that does not exist */
	[ES_RECORD_ROLLOUT_CHECK] = {"SELECT s.n, t.name FROM pg_catalog.jsonb_array_elements($1) WITH ORDINALITY s (stage, n)"
		" LEFT JOIN LATERAL pg_catalog.jsonb_array_elements_text(CASE pg_catalog.jsonb_typeof(s.stage OPERATOR(pg_catalog.->) 'tenants')"
		"  WHEN 'array' THEN s.stage OPERATOR(pg_catalog.->) 'tenants' ELSE '[]' END) t (name)"
		"  ON NOT EXISTS (SELECT FROM event_store.tenant_registry WHERE tenant_name" EQ "t.name)"
		" WHERE t.name IS NOT NULL OR pg_catalog.jsonb_typeof(s.stage)" NE "'object'"
		" OR NOT COALESCE(CASE pg_catalog.jsonb_typeof(s.stage OPERATOR(pg_catalog.->) 'percent')"
		"  WHEN 'number' THEN (s.stage OPERATOR(pg_catalog.->>) 'percent')::pg_catalog.float8 BETWEEN 0 AND 100 ELSE false END"
		"  OR pg_catalog.jsonb_typeof(s.stage OPERATOR(pg_catalog.->) 'tenants')" EQ "'array', false)"
		" OR (s.stage OPERATOR(pg_catalog.->>) 'pause')::pg_catalog.interval OPERATOR(pg_catalog.<) '0'::pg_catalog.interval"
		" OR (s.stage OPERATOR(pg_catalog.->>) 'hold')::pg_catalog.bool IS NULL AND s.stage OPERATOR(pg_catalog.?) 'hold'"
		" LIMIT 1", 1, {JSONBOID}},
	/* target, stages, max_failures, max_attempts, lock_timeout in ms: the number */
	[ES_RECORD_ROLLOUT_START] = {"INSERT INTO event_store.rollout_registry (rollout, target, state, stage, stages, max_failures,"
		" max_attempts, lock_timeout, started_at)"
		" SELECT 1 OPERATOR(pg_catalog.+) COALESCE(pg_catalog.max(rollout), 0),"
		" COALESCE($1, (SELECT pg_catalog.max(version) FROM event_store.tenant_migration), 0), 'running', 1, $2, $3, $4, $5,"
		" pg_catalog.clock_timestamp() FROM event_store.rollout_registry RETURNING rollout",
	5, {INT8OID, JSONBOID, INT4OID, INT4OID, INT4OID}},
	/*
	 * Give each tenant that lacks a migration the first stage that names it or
	 * whose percentage it falls under.  Stores' numbers are random, and so is
	 * the order of tenants by them, which does not change.
	 */
	[ES_RECORD_ROLLOUT_PLAN] = {"INSERT INTO event_store.rollout_tenant (rollout, tenant, stage, state, attempts)"
		" SELECT r.rollout, t.tenant_name, pg_catalog.min(s.n), 'pending', 0"
		" FROM event_store.rollout_registry r"
		" CROSS JOIN LATERAL (SELECT tenant_name, pg_catalog.row_number() OVER (ORDER BY store_number USING OPERATOR(pg_catalog.<)) AS n,"
		"  pg_catalog.count(*) OVER () AS total FROM event_store.tenant_registry g"
		"  WHERE state" NE "ALL ('{dropping,purging}')"
		"  AND EXISTS (SELECT FROM event_store.tenant_migration m WHERE m.version OPERATOR(pg_catalog.<=) r.target"
		"   AND NOT EXISTS (SELECT FROM event_store.tenant_migrated a WHERE a.tenant" EQ "g.tenant_name"
		"    AND a.version" EQ "m.version AND a.checksum" EQ "m.checksum))) t"
		" CROSS JOIN LATERAL pg_catalog.jsonb_array_elements(r.stages) WITH ORDINALITY s (stage, n)"
		" WHERE r.rollout" EQ "$1 AND (s.stage OPERATOR(pg_catalog.->) 'tenants' OPERATOR(pg_catalog.?) t.tenant_name"
		"  OR ((t.n OPERATOR(pg_catalog.-) 1) OPERATOR(pg_catalog.*) 100)::pg_catalog.float8 OPERATOR(pg_catalog.<)"
		"   ((s.stage OPERATOR(pg_catalog.->>) 'percent')::pg_catalog.float8 OPERATOR(pg_catalog.*) t.total::pg_catalog.float8))"
		" GROUP BY r.rollout, t.tenant_name", 1, {INT8OID}},
	/* state, stage, target, max_attempts, lock_timeout in ms, may it go on now, when it may */
	[ES_RECORD_ROLLOUT_GET] = {"SELECT state, stage, target, max_attempts, lock_timeout,"
		" COALESCE(continue_at OPERATOR(pg_catalog.<=) pg_catalog.clock_timestamp(), true), continue_at"
		" FROM event_store.rollout_registry WHERE rollout" EQ "$1", 1, {INT8OID}},
	/* a tenant of a stage that is to be done and that nobody else is doing: its name, attempts until now */
	[ES_RECORD_ROLLOUT_NEXT] = {"SELECT tenant, attempts FROM event_store.rollout_tenant"
		" WHERE rollout" EQ "$1 AND stage" EQ "$2 AND state" EQ "'pending'"
		" ORDER BY attempts USING OPERATOR(pg_catalog.<), tenant USING OPERATOR(pg_catalog.<) LIMIT 1 FOR UPDATE SKIP LOCKED",
	2, {INT8OID, INT4OID}},
	/* rollout, tenant, state, migrations, ms, problem */
	[ES_RECORD_ROLLOUT_RESULT] = {"UPDATE event_store.rollout_tenant SET state = $3, attempts = attempts OPERATOR(pg_catalog.+) 1,"
		" applied = $4, duration = pg_catalog.make_interval(secs => $5 OPERATOR(pg_catalog./) 1000), problem = $6"
		" WHERE rollout" EQ "$1 AND tenant" EQ "$2",
	6, {INT8OID, TEXTOID, TEXTOID, INT8ARRAYOID, FLOAT8OID, JSONBOID}},
	/* state, done, failed, pending, pending in the stage it is in, have too many failed */
	[ES_RECORD_ROLLOUT_COUNT] = {"SELECT r.state, pg_catalog.count(*) FILTER (WHERE t.state" EQ "'done'),"
		" pg_catalog.count(*) FILTER (WHERE t.state" EQ "'failed'), pg_catalog.count(*) FILTER (WHERE t.state" EQ "'pending'),"
		" pg_catalog.count(*) FILTER (WHERE t.state" EQ "'pending' AND t.stage" EQ "r.stage),"
		" pg_catalog.count(*) FILTER (WHERE t.state" EQ "'failed') OPERATOR(pg_catalog.>) r.max_failures"
		" FROM event_store.rollout_registry r LEFT JOIN event_store.rollout_tenant t ON t.rollout" EQ "r.rollout"
		" WHERE r.rollout" EQ "$1 GROUP BY r.rollout", 1, {INT8OID}},
	/* rollout, the states it may be in, the one it gets */
	[ES_RECORD_ROLLOUT_STATE] = {"UPDATE event_store.rollout_registry SET state = $3 WHERE rollout" EQ "$1 AND state" EQ "ANY ($2)",
	3, {INT8OID, TEXTARRAYOID, TEXTOID}},
	/* go from stage $2 to the next, or come to the end */
	[ES_RECORD_ROLLOUT_ADVANCE] = {"UPDATE event_store.rollout_registry SET stage = stage OPERATOR(pg_catalog.+) 1,"
		" state = CASE WHEN stage" EQ "pg_catalog.jsonb_array_length(stages) THEN 'finished'"
		"  WHEN (stages OPERATOR(pg_catalog.->) (stage OPERATOR(pg_catalog.-) 1) OPERATOR(pg_catalog.->>) 'hold')::pg_catalog.bool THEN 'paused'"
		"  ELSE state END,"
		" continue_at = pg_catalog.clock_timestamp() OPERATOR(pg_catalog.+)"
		"  (stages OPERATOR(pg_catalog.->) (stage OPERATOR(pg_catalog.-) 1) OPERATOR(pg_catalog.->>) 'pause')::pg_catalog.interval"
		" WHERE rollout" EQ "$1 AND stage" EQ "$2 AND state" EQ "'running'", 2, {INT8OID, INT4OID}},
	[ES_RECORD_ROLLOUT_RESUME] = {"UPDATE event_store.rollout_registry SET state = 'running', continue_at = NULL,"
		" stage = COALESCE((SELECT pg_catalog.min(t.stage) FROM event_store.rollout_tenant t WHERE t.rollout" EQ "$1 AND t.state" EQ "'pending'),"
		"  CASE state WHEN 'finished' THEN pg_catalog.jsonb_array_length(stages) ELSE stage END)"
		" WHERE rollout" EQ "$1", 1, {INT8OID}},
	/* a tenant is dropped: nothing is to be done for it any more */
	[ES_RECORD_ROLLOUT_LEAVE] = {"DELETE FROM event_store.rollout_tenant WHERE tenant" EQ "$1 AND state" NE "'done'", 1, {TEXTOID}},
	[ES_RECORD_ROLLOUT_RETRY] = {"UPDATE event_store.rollout_tenant SET state = 'pending', attempts = 0"
		" WHERE rollout" EQ "$1 AND state" EQ "'failed'", 1, {INT8OID}},
};

/* The role that owns the extension's tables. */
Oid
es_records_owner(void)
{
	Relation	registry = es_tenant_open_registry(AccessShareLock);
	Oid			owner = registry->rd_rel->relowner;

	table_close(registry, AccessShareLock);
	return owner;
}

/*
 * Run a statement; returns the number of rows, which are those of SPI_tuptable.
 * The caller is connected to SPI.  nulls as SPI has it, NULL if nothing is null.
 */
uint64
es_record(EsRecord which, Datum *values, const char *nulls)
{
	Oid			user;
	int			security;
	SPIPlanPtr	plan;
	Snapshot	snapshot;
	int			level;
	int			result;

	GetUserIdAndSecContext(&user, &security);
	level = NewGUCNestLevel();
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	SetUserIdAndSecContext(es_records_owner(), security | SECURITY_LOCAL_USERID_CHANGE);
	plan = SPI_prepare(statements[which].text, statements[which].nparameters, (Oid *) statements[which].parameters);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	result = SPI_execute_snapshot(plan, values, nulls, snapshot, InvalidSnapshot, false, true, 0);
	if (result < 0)
		elog(ERROR, "SPI_execute_snapshot failed: %s", SPI_result_code_string(result));
	UnregisterSnapshot(snapshot);
	SPI_freeplan(plan);
	SetUserIdAndSecContext(user, security);
	AtEOXact_GUC(true, level);
	return SPI_processed;
}

/* Run a statement whose parameters are names, without looking at its rows. */
static void
with_names(EsRecord which, const char *first, const char *second)
{
	Datum		values[2];

	values[0] = CStringGetTextDatum(first);
	values[1] = second != NULL ? CStringGetTextDatum(second) : (Datum) 0;
	SPI_connect();
	(void) es_record(which, values, NULL);
	SPI_finish();
}

void
es_tenant_records_rename(const char *name, const char *new_name)
{
	with_names(ES_RECORD_RENAME, name, new_name);
}

void
es_tenant_records_forget(const char *name)
{
	with_names(ES_RECORD_FORGET, name, NULL);
}

/* A tenant is like another one: it has the same migrations. */
void
es_tenant_records_copy(const char *from, const char *to)
{
	with_names(ES_RECORD_COPY, from, to);
}

/* The migrations of a tenant as JSON, for es_tenant_records_import; palloc'd. */
char *
es_tenant_records_export(const char *name)
{
	MemoryContext caller = CurrentMemoryContext;
	Datum		parameter = CStringGetTextDatum(name);
	char	   *json;

	SPI_connect();
	(void) es_record(ES_RECORD_EXPORT, &parameter, NULL);
	json = MemoryContextStrdup(caller, SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1));
	SPI_finish();
	return json;
}

/* A tenant has the migrations of an array, a jsonb. */
void
es_tenant_records_import(const char *name, Datum migrations)
{
	Datum		values[2];

	values[0] = CStringGetTextDatum(name);
	values[1] = migrations;
	SPI_connect();
	(void) es_record(ES_RECORD_IMPORT, values, NULL);
	SPI_finish();
}

/* What is recorded of a tenant, as rows of tenant_residue. */
void
es_tenant_records_list(const char *name, ReturnSetInfo *rsinfo)
{
	Datum		parameter = CStringGetTextDatum(name);
	uint64		count;

	SPI_connect();
	count = es_record(ES_RECORD_LIST, &parameter, NULL);
	for (uint64 i = 0; i < count; i++)
		tuplestore_puttuple(rsinfo->setResult, SPI_tuptable->vals[i]);
	SPI_finish();
}
