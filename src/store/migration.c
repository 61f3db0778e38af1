/*
 * migration.c
 *		Migrations: changes to the schemas of tenants, kept as data.
 *
 * A migration is a version, SQL for the way up and perhaps for the way down,
 * and a checksum of the first.  Which tenant has which is recorded in the
 * transaction of the migration, so it is right after any failure or crash.
 *
 * A tenant is locked while it is migrated, with the lock that everybody takes
 * who changes a tenant: of two runs the second waits, and then finds nothing to
 * do.
 *
 * The SQL runs as the owner of the tenant's schema, with the tenant switched
 * to; what it sets for the session ends with it.  If that is not the caller,
 * in the restricted way in which the server runs code of a table's owner.  Who
 * registered a migration must have had the rights of the role that runs it:
 * otherwise a tenant of a superuser would run anybody's code as superuser.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "common/cryptohash.h"
#include "common/sha2.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "base/arguments.h"
#include "base/attempt.h"
#include "base/compat.h"
#include "base/errors.h"
#include "observe/try.h"
#include "store/migration.h"
#include "store/tenant.h"
#include "store/tenant_clone.h"
#include "store/tenant_records.h"

/* A migration that a tenant is to get or to lose. */
typedef struct Migration
{
	int64		version;
	char	   *name;			/* NULL: it is not registered */
	char	   *text;			/* up or down; NULL: there is no way down */
	char	   *checksum;
	Oid			registered_by;
	bool		changed;		/* the tenant has it in another form */
} Migration;

/* SHA-256 of a text, in hexadecimal digits, palloc'd. */
static char *
checksum_of(const char *text)
{
	pg_cryptohash_ctx *context = pg_cryptohash_create(PG_SHA256);
	uint8		digest[PG_SHA256_DIGEST_LENGTH];
	char	   *hex = palloc(2 * PG_SHA256_DIGEST_LENGTH + 1);

	if (context == NULL || pg_cryptohash_init(context) < 0 ||
		pg_cryptohash_update(context, (const uint8 *) text, strlen(text)) < 0 ||
		pg_cryptohash_final(context, digest, sizeof(digest)) < 0)
		elog(ERROR, "could not compute a checksum");
	pg_cryptohash_free(context);
	hex_encode((const char *) digest, sizeof(digest), hex);
	hex[2 * PG_SHA256_DIGEST_LENGTH] = '\0';
	return hex;
}

/* Migrations and rollouts are for all tenants, and so for the owner of the database. */
void
es_migration_require_administrator(void)
{
	if (!es_owns_database(MyDatabaseId, GetUserId()))
		ereport(ERROR,
				(es_problem(ERRCODE_INSUFFICIENT_PRIVILEGE, NULL, "permission denied for the migrations of all tenants"),
				 errhint("This is for the owner of the database.")));
}

/* The migrations that a statement finds for a tenant and a version, palloc'd. */
static Migration *
find_migrations(EsRecord which, const char *tenant, const int64 *version, int *count)
{
	MemoryContext caller = CurrentMemoryContext;
	Datum		values[2];
	char		nulls[] = "  ";
	Migration  *migrations;
	MemoryContext spi;

	values[0] = CStringGetTextDatum(tenant);
	values[1] = version == NULL ? (Datum) 0 : Int64GetDatum(*version);
	nulls[1] = version == NULL ? 'n' : ' ';
	SPI_connect();
	*count = (int) es_record(which, values, nulls);
	spi = MemoryContextSwitchTo(caller);
	migrations = palloc0(sizeof(Migration) * Max(*count, 1));
	for (int i = 0; i < *count; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		bool		isnull;

		migrations[i].version = DatumGetInt64(SPI_getbinval(row, desc, 1, &isnull));
		migrations[i].name = SPI_getvalue(row, desc, 2);
		migrations[i].text = SPI_getvalue(row, desc, 3);
		migrations[i].checksum = SPI_getvalue(row, desc, 4);
		migrations[i].registered_by = DatumGetObjectId(SPI_getbinval(row, desc, 5, &isnull));
		migrations[i].changed = DatumGetBool(SPI_getbinval(row, desc, 6, &isnull)) && !isnull;
	}
	MemoryContextSwitchTo(spi);
	SPI_finish();
	return migrations;
}

/* Refuse to run what was registered by a role without the rights of the one that is to run it. */
static void
require_registrant(const Migration *migration, Oid role)
{
	if (!SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(migration->registered_by)) ||
		!has_privs_of_role(migration->registered_by, role))
		ereport(ERROR,
				(es_problem(ERRCODE_INSUFFICIENT_PRIVILEGE, ES_MEMBERS(ES_INT("migration", migration->version)),
							"the role that registered it has not the rights of role \"%s\", which would run it",
							GetUserNameFromId(role, false)),
				 errhint("Let a member of that role, or a superuser, register it.")));
}

/* Run the SQL of a migration in the schema of a tenant, or of one that is to be a tenant's. */
static void
run(const Migration *migration, const char *tenant, Oid nspid)
{
	Oid			owner = es_schema_owner(nspid);
	Oid			user;
	int			security;
	int			level;
	int			result;

	require_registrant(migration, owner);
	GetUserIdAndSecContext(&user, &security);
	level = NewGUCNestLevel();
	es_tenant_switch(tenant, nspid, GUC_ACTION_SAVE);
	if (owner != user)
		SetUserIdAndSecContext(owner, security | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
	SPI_connect();
	result = SPI_execute(migration->text, false, 0);
	if (result < 0)
		ereport(ERROR,
				(es_problem(ERRCODE_FEATURE_NOT_SUPPORTED, NULL, "a migration cannot run a statement of this kind: %s",
							SPI_result_code_string(result)),
				 errhint("Transactions cannot be begun or ended and data cannot be copied inside of it.")));
	SPI_finish();
	SetUserIdAndSecContext(user, security);
	AtEOXact_GUC(false, level);
	CommandCounterIncrement();
}

/* Run a migration whatever state the tenant is in; its error names it and the tenant. */
static void
run_named(const Migration *migration, const char *name, bool is_tenant, Oid nspid)
{
	MemoryContext caller = CurrentMemoryContext;
	Oid			passed = es_tenant_let_pass(nspid);

	PG_TRY();
	{
		run(migration, is_tenant ? name : "", nspid);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		es_tenant_let_pass(passed);
		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		if (error->sqlerrcode == ERRCODE_QUERY_CANCELED)
			PG_RE_THROW();
		FlushErrorState();
		ereport(ERROR,
				(es_problem(error->sqlerrcode,
							ES_MEMBERS(ES_TEXT("tenant", name), ES_INT("migration", migration->version),
									   ES_TEXT("migration_name", migration->name)),
							"migration %lld \"%s\" of tenant \"%s\" failed: %s",
							(long long) migration->version, migration->name, name, error->message),
				 error->hint != NULL ? errhint("%s", error->hint) : 0));
	}
	PG_END_TRY();
	es_tenant_let_pass(passed);
}

static void
record(EsRecord which, const char *tenant, const Migration *migration)
{
	Datum		values[3];

	values[0] = CStringGetTextDatum(tenant);
	values[1] = Int64GetDatum(migration->version);
	values[2] = CStringGetTextDatum(migration->checksum);
	SPI_connect();
	(void) es_record(which, values, NULL);
	SPI_finish();
}

static Datum
versions_of(const Migration *migrations, int count)
{
	Datum	   *versions = palloc(sizeof(Datum) * Max(count, 1));

	for (int i = 0; i < count; i++)
		versions[i] = Int64GetDatum(migrations[i].version);
	return PointerGetDatum(construct_array(versions, count, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

/*
 * Bring a schema to a version, the newest if target is NULL.  The name is that
 * of its tenant, which the caller has locked, or (not is_tenant) of itself.
 * Returns an array of the versions that it has got.
 */
Datum
es_migrate(const char *name, Oid nspid, bool is_tenant, const int64 *target)
{
	int			count;
	Migration  *migrations = find_migrations(ES_RECORD_MIGRATIONS_TO_APPLY, name, target, &count);

	for (int i = 0; i < count; i++)
		if (migrations[i].changed)
			ereport(ERROR,
					(es_problem(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
								ES_MEMBERS(ES_TEXT("tenant", name), ES_INT("migration", migrations[i].version)),
								"migration %lld \"%s\" is not the one of this version that tenant \"%s\" has",
								(long long) migrations[i].version, migrations[i].name, name),
					 errhint("Register it as it was, or accept it as it is with event_store.baseline_tenant().")));
	for (int i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		run_named(&migrations[i], name, is_tenant, nspid);
		record(ES_RECORD_MIGRATED, name, &migrations[i]);
	}
	return versions_of(migrations, count);
}

/* Lock the tenant that the first argument names, which must be the caller's and not be dropped; returns its schema. */
static Oid
lock_tenant(const char *name)
{
	Relation	registry;
	EsTenant	tenant;

	es_require_writable();
	registry = es_tenant_open_registry(RowExclusiveLock);
	(void) es_tenant_own_row(registry, name, &tenant);
	table_close(registry, NoLock);
	if (!OidIsValid(tenant.nspid))
		es_tenant_broken(&tenant);
	if (tenant.dropping)
		es_tenant_require_state(&tenant, true);
	return tenant.nspid;
}

/*
 * Bring a tenant to a version; if that fails, nothing of it is done, and
 * *problem says why.
 */
bool
es_migrate_try(const char *name, const int64 *target, Datum *versions, Datum *problem, int *sqlstate)
{
	EsAttempt	attempt;
	ErrorData  *volatile error = NULL;

	es_attempt_begin(&attempt);
	PG_TRY();
	{
		*versions = es_migrate(name, lock_tenant(name), true, target);
		es_attempt_succeeded(&attempt);
	}
	PG_CATCH();
	{
		error = es_attempt_failed(&attempt);
	}
	PG_END_TRY();
	if (error == NULL)
		return true;
	if (error->sqlerrcode == ERRCODE_QUERY_CANCELED || error->sqlerrcode == ERRCODE_ASSERT_FAILURE)
		ReThrowError(error);
	*problem = es_try_answer(error, NULL);
	*sqlstate = error->sqlerrcode;
	return false;
}

PG_FUNCTION_INFO_V1(event_store_register_migration);
PG_FUNCTION_INFO_V1(event_store_unregister_migration);
PG_FUNCTION_INFO_V1(event_store_migrate_tenant);
PG_FUNCTION_INFO_V1(event_store_migrate_tenants);
PG_FUNCTION_INFO_V1(event_store_revert_tenant);
PG_FUNCTION_INFO_V1(event_store_baseline_tenant);

/* register_migration(version, name, up, down, checksum) */
Datum
event_store_register_migration(PG_FUNCTION_ARGS)
{
	int64		version;
	char	   *up;
	char	   *checksum;
	char	   *registered = NULL;
	Datum		values[6];
	char		nulls[] = "      ";

	es_require_argument(fcinfo, 0, "version");
	es_require_argument(fcinfo, 1, "name");
	es_require_argument(fcinfo, 2, "up");
	es_migration_require_administrator();
	es_require_writable();
	version = PG_GETARG_INT64(0);
	up = text_to_cstring(PG_GETARG_TEXT_PP(2));
	checksum = checksum_of(up);
	if (version < 1)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_INT("version", version)), "a version is positive"),
				 errhint("Number migrations 1, 2, 3 or by the time they were written.")));
	if (!PG_ARGISNULL(4) && strcmp(checksum, text_to_cstring(PG_GETARG_TEXT_PP(4))) != 0)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE,
							ES_MEMBERS(ES_INT("migration", version), ES_TEXT("checksum", checksum)),
							"the checksum of migration %lld is another one", (long long) version),
				 errhint("It is the SHA-256 of up, in small hexadecimal digits.")));

	values[0] = Int64GetDatum(version);
	values[1] = PG_GETARG_DATUM(1);
	values[2] = PG_GETARG_DATUM(2);
	values[3] = PG_GETARG_DATUM(3);
	nulls[3] = PG_ARGISNULL(3) ? 'n' : ' ';
	values[4] = CStringGetTextDatum(checksum);
	values[5] = ObjectIdGetDatum(GetUserId());
	SPI_connect();
	if (es_record(ES_RECORD_MIGRATION_ADD, values, nulls) == 0 &&
		es_record(ES_RECORD_MIGRATION_GET, values, NULL) > 0)
	{
		registered = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
		if (strcmp(registered, checksum) != 0)
			ereport(ERROR,
					(es_problem(ERRCODE_DUPLICATE_OBJECT, ES_MEMBERS(ES_INT("migration", version)),
								"migration %lld is registered already, with other SQL", (long long) version),
					 errhint("What tenants may have does not change: register the difference as a new version.")));
	}
	SPI_finish();
	PG_RETURN_TEXT_P(cstring_to_text(checksum));
}

Datum
event_store_unregister_migration(PG_FUNCTION_ARGS)
{
	Datum		version;
	uint64		count;

	es_require_argument(fcinfo, 0, "version");
	es_migration_require_administrator();
	es_require_writable();
	version = PG_GETARG_DATUM(0);
	SPI_connect();
	count = es_record(ES_RECORD_MIGRATION_REMOVE, &version, NULL);
	SPI_finish();
	if (count == 0)
		ereport(ERROR,
				(es_problem(ERRCODE_UNDEFINED_OBJECT, ES_MEMBERS(ES_INT("migration", DatumGetInt64(version))),
							"there is no migration %lld", (long long) DatumGetInt64(version)),
				 errhint("The table event_store.tenant_migration lists them.")));
	PG_RETURN_VOID();
}

/* migrate_tenant(tenant, target) */
Datum
event_store_migrate_tenant(PG_FUNCTION_ARGS)
{
	char	   *name = es_tenant_name_argument(fcinfo, 0, "tenant");
	int64		target = PG_ARGISNULL(1) ? 0 : PG_GETARG_INT64(1);

	PG_RETURN_DATUM(es_migrate(name, lock_tenant(name), true, PG_ARGISNULL(1) ? NULL : &target));
}

/* migrate_tenants(target) */
Datum
event_store_migrate_tenants(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext per_tenant;
	int64		target = PG_ARGISNULL(0) ? 0 : PG_GETARG_INT64(0);
	Datum		parameter = Int64GetDatum(target);
	uint64		count;
	SPITupleTable *tenants;

	es_migration_require_administrator();
	es_require_writable();
	InitMaterializedSRF(fcinfo, 0);
	per_tenant = AllocSetContextCreate(caller, "event_store migrate", ALLOCSET_DEFAULT_SIZES);
	SPI_connect();
	count = es_record(ES_RECORD_TENANTS, &parameter, PG_ARGISNULL(0) ? "n" : " ");
	tenants = SPI_tuptable;
	for (uint64 i = 0; i < count; i++)
	{
		Datum		values[3];
		bool		nulls[3] = {false, false, false};
		bool		failed = false;
		bool		isnull;
		int			sqlstate;
		char	   *name;
		MemoryContext spi = MemoryContextSwitchTo(per_tenant);

		CHECK_FOR_INTERRUPTS();
		name = SPI_getvalue(tenants->vals[i], tenants->tupdesc, 1);
		if (DatumGetBool(SPI_getbinval(tenants->vals[i], tenants->tupdesc, 2, &isnull)))
			values[1] = versions_of(NULL, 0);
		else
			failed = !es_migrate_try(name, PG_ARGISNULL(0) ? NULL : &target, &values[1], &values[2], &sqlstate);
		values[0] = CStringGetTextDatum(name);
		nulls[failed ? 1 : 2] = true;
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
		MemoryContextSwitchTo(spi);
		MemoryContextReset(per_tenant);
	}
	SPI_finish();
	MemoryContextDelete(per_tenant);
	return (Datum) 0;
}

/* revert_tenant(tenant, target) */
Datum
event_store_revert_tenant(PG_FUNCTION_ARGS)
{
	char	   *name = es_tenant_name_argument(fcinfo, 0, "tenant");
	int64		target;
	Oid			nspid;
	int			count;
	Migration  *migrations;

	es_require_argument(fcinfo, 1, "target");
	target = PG_GETARG_INT64(1);
	nspid = lock_tenant(name);
	migrations = find_migrations(ES_RECORD_MIGRATIONS_TO_REVERT, name, &target, &count);
	for (int i = 0; i < count; i++)
	{
		const Migration *migration = &migrations[i];

		if (migration->name == NULL || migration->changed || migration->text == NULL)
			ereport(ERROR,
					(es_problem(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
								ES_MEMBERS(ES_TEXT("tenant", name), ES_INT("migration", migration->version)),
								"migration %lld of tenant \"%s\" cannot be undone: %s",
								(long long) migration->version, name,
								migration->name == NULL ? "it is not registered" :
								migration->changed ? "it is not the one that is registered" : "it has no way down"),
					 errhint("Register a later migration that undoes it.")));
	}
	for (int i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		run_named(&migrations[i], name, true, nspid);
		record(ES_RECORD_REVERTED, name, &migrations[i]);
	}
	PG_RETURN_DATUM(versions_of(migrations, count));
}

/* baseline_tenant(tenant, version) */
Datum
event_store_baseline_tenant(PG_FUNCTION_ARGS)
{
	char	   *name = es_tenant_name_argument(fcinfo, 0, "tenant");
	MemoryContext caller = CurrentMemoryContext;
	Migration  *migrations;
	int			count;
	Datum		values[2];

	es_require_argument(fcinfo, 1, "version");
	(void) lock_tenant(name);
	values[0] = CStringGetTextDatum(name);
	values[1] = PG_GETARG_DATUM(1);
	SPI_connect();
	count = (int) es_record(ES_RECORD_BASELINE, values, NULL);
	migrations = MemoryContextAllocZero(caller, sizeof(Migration) * Max(count, 1));
	for (int i = 0; i < count; i++)
	{
		bool		isnull;

		migrations[i].version = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull));
	}
	SPI_finish();
	PG_RETURN_DATUM(versions_of(migrations, count));
}
