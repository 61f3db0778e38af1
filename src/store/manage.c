/*
 * manage.c
 *		What is done with a whole store: create, attach, drop, grant.
 *
 * The tables belong to the caller and are made with the caller's rights.  The
 * registry belongs to the extension; its rows are written directly, past the
 * caller's rights, once the caller has proved to own the tables.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rls.h"
#include "utils/timestamp.h"

#include "base/arguments.h"
#include "base/attempt.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/extension.h"
#include "store/count.h"
#include "store/manage.h"
#include "store/payload.h"
#include "store/progress.h"
#include "store/statement.h"
#include "store/tenant.h"
#include "store/tenant_limit.h"

/* Columns of store_registry. */
enum RegistryColumn
{
	REGISTRY_STORE_NUMBER,
	REGISTRY_OWNS_SCHEMA,
	REGISTRY_REGISTERED_AT,
	REGISTRY_NCOLUMNS
};

static Relation
open_registry(LOCKMODE lockmode)
{
	return es_extension_open("store_registry", lockmode);
}

static void
register_store(int64 number, bool owns_schema)
{
	Relation	rel = open_registry(RowExclusiveLock);
	Datum		values[REGISTRY_NCOLUMNS];
	bool		nulls[REGISTRY_NCOLUMNS] = {0};

	values[REGISTRY_STORE_NUMBER] = Int64GetDatum(number);
	values[REGISTRY_OWNS_SCHEMA] = BoolGetDatum(owns_schema);
	values[REGISTRY_REGISTERED_AT] = TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());
	CatalogTupleInsert(rel, heap_form_tuple(RelationGetDescr(rel), values, nulls));
	table_close(rel, RowExclusiveLock);
	CommandCounterIncrement();
}

/* For what floors above keep of a store: it is dropped, in this transaction. */
void		(*es_store_gone_hook) (int64 number) = NULL;

/* Take a store off the registry, with the progress of its imports and its limits; tells whether create_store made its schema. */
bool
es_store_unregister(int64 number)
{
	Relation	rel = open_registry(RowExclusiveLock);
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple	tuple;
	bool		owns_schema = false;

	ScanKeyInit(&key, REGISTRY_STORE_NUMBER + 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(number));
	scan = systable_beginscan(rel, es_primary_key(rel), true, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;

		owns_schema = DatumGetBool(heap_getattr(tuple, REGISTRY_OWNS_SCHEMA + 1, RelationGetDescr(rel), &isnull));
		CatalogTupleDelete(rel, &tuple->t_self);
	}
	systable_endscan(scan);
	table_close(rel, RowExclusiveLock);
	es_progress_forget_all(number);
	es_tenant_limits_forget(number);
	CommandCounterIncrement();
	if (es_store_gone_hook != NULL)
		es_store_gone_hook(number);
	return owns_schema;
}

static bool
has_tags(Oid nspid)
{
	return OidIsValid(get_relname_relid("event_tags", nspid));
}

/*
 * Put the guard triggers on a table of a store, and let them go with the
 * extension: without this, DROP EXTENSION would ask for CASCADE.  (ALTER
 * TRIGGER ... DEPENDS ON EXTENSION records the same, but locks the extension
 * until commit, one create_store at a time.)
 */
void
es_store_guard_table(Oid nspid, const char *table)
{
	static const char *const triggers[] = {"event_store_no_insert", "event_store_no_change", "event_store_no_truncate"};
	ObjectAddress extension;

	es_statement_create_guards(get_namespace_name(nspid), table);
	ObjectAddressSet(extension, ExtensionRelationId, es_extension_oid());
	for (int i = 0; i < lengthof(triggers); i++)
	{
		ObjectAddress trigger;

		ObjectAddressSet(trigger, TriggerRelationId,
						 get_trigger_oid(get_relname_relid(table, nspid), triggers[i], false));
		recordDependencyOn(&trigger, &extension, DEPENDENCY_AUTO_EXTENSION);
	}
}

/* The same for all tables of a store that only we write, as far as they are there. */
void
es_store_guard_tables(Oid nspid)
{
	static const char *const tables[] = {"event_log", "event_streams", "event_tags", "event_subscriptions", "event_deliveries"};

	for (int i = 0; i < lengthof(tables); i++)
		if (OidIsValid(get_relname_relid(tables[i], nspid)))
			es_store_guard_table(nspid, tables[i]);
}

/* The number in event_mark of a schema, 0 if there is none. */
static int64
number_of_schema(Oid nspid)
{
	Oid			relid = get_relname_relid("event_mark", nspid);
	Relation	rel;
	SysScanDesc scan;
	HeapTuple	tuple;
	int64		number = 0;

	if (!OidIsValid(relid))
		return 0;
	rel = table_open(relid, AccessShareLock);
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple) && RelationGetDescr(rel)->natts == MARK_NCOLUMNS &&
		TupleDescAttr(RelationGetDescr(rel), MARK_STORE_NUMBER)->atttypid == INT8OID)
	{
		bool		isnull;
		Datum		value = heap_getattr(tuple, MARK_STORE_NUMBER + 1, RelationGetDescr(rel), &isnull);

		if (!isnull)
			number = DatumGetInt64(value);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return number;
}

static void
attach(Oid nspid, int64 number)
{
	es_store_guard_tables(nspid);
	if (es_store_of_schema(nspid) == NULL)
		register_store(number, false);
}

/*
 * Attach a schema that looks like a store; if that fails, say so and go on.
 * Whoever may create tables must not be able to make CREATE EXTENSION fail.
 */
static bool
try_attach(Oid nspid)
{
	EsAttempt	attempt;
	volatile bool attached = false;

	es_attempt_begin(&attempt);
	PG_TRY();
	{
		int64		number = number_of_schema(nspid);

		if (number != 0 && es_store_of_schema(nspid) == NULL)
		{
			attach(nspid, number);
			attached = true;
		}
		es_attempt_succeeded(&attempt);
	}
	PG_CATCH();
	{
		ErrorData  *error = es_attempt_failed(&attempt);
		char	   *schema;

		/* a cancelled statement is to end */
		if (error->sqlerrcode == ERRCODE_QUERY_CANCELED)
			ReThrowError(error);
		schema = get_namespace_name(nspid);
		ereport(WARNING,
				(errmsg("schema \"%s\" holds the tables of an event store but could not be attached: %s",
						schema ? schema : "?", error->message),
				 errhint("Once that is put right, call event_store.attach_store().")));
		attached = false;
	}
	PG_END_TRY();
	return attached;
}

/* A schema name from an argument, checked; palloc'd. */
static char *
schema_argument(text *argument)
{
	char	   *schema = text_to_cstring(argument);

	if (strlen(schema) == 0 || strlen(schema) >= NAMEDATALEN)
		ereport(ERROR,
				(es_problem(ERRCODE_NAME_TOO_LONG, ES_MEMBERS(ES_TEXT("schema", schema)),
							"a schema name has 1 to %d bytes, not %zu", NAMEDATALEN - 1, strlen(schema)),
				 errhint("Choose a shorter name, or any name at all.")));
	if (strncmp(schema, "pg_", 3) == 0 || strcmp(schema, "information_schema") == 0 ||
		strcmp(schema, ES_SCHEMA) == 0)
		ereport(ERROR,
				(es_problem(ERRCODE_RESERVED_NAME, ES_MEMBERS(ES_TEXT("schema", schema)),
							"schema \"%s\" is reserved and cannot be an event store", schema),
				 errhint("Choose a schema of your own.")));
	return schema;
}

/* The store of a named schema, or an error. */
EsStore *
es_store_named(text *schema_name)
{
	char	   *schema = text_to_cstring(schema_name);
	Oid			nspid = get_namespace_oid(schema, true);
	EsStore    *store = OidIsValid(nspid) ? es_store_of_schema(nspid) : NULL;

	if (store == NULL)
		ereport(ERROR,
				(es_problem(ERRCODE_ES_STORE_NOT_FOUND, ES_MEMBERS(ES_TEXT("schema", schema)),
							"schema \"%s\" is not an event store", schema),
				 errhint("The view event_store.stores lists the stores of this database.")));
	es_tenant_guard_named(nspid);
	return store;
}

/* A role name from an argument, palloc'd; public is one too.  *oid is InvalidOid then. */
char *
es_store_role(text *argument, Oid *oid)
{
	char	   *role = text_to_cstring(argument);

	*oid = InvalidOid;
	if (strcmp(role, "public") == 0)
		return role;
	*oid = get_role_oid(role, true);
	if (!OidIsValid(*oid))
		ereport(ERROR,
				(es_problem(ERRCODE_UNDEFINED_OBJECT, ES_MEMBERS(ES_TEXT("role", role)),
							"role \"%s\" does not exist", role),
				 errhint("Create it with CREATE ROLE.")));
	return role;
}

/* Refuse what is not a kind of access. */
void
es_store_check_access(const char *access)
{
	if (strcmp(access, "reader") != 0 && strcmp(access, "consumer") != 0 &&
		strcmp(access, "writer") != 0 && strcmp(access, "admin") != 0)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("access", access)),
							"access \"%s\" is unknown", access),
				 errhint("Use reader, consumer, writer or admin.")));
}

/* 60 random bits, not 0. */
static int64
random_number(void)
{
	uint64		number;

	do
	{
		if (!pg_strong_random(&number, sizeof(number)))
			ereport(ERROR,
					(es_problem(ERRCODE_INTERNAL_ERROR, NULL, "could not generate random values"),
					 errhint("Check the server's source of random numbers.")));
		number >>= 4;
	} while (number == 0);
	return (int64) number;
}

/*
 * Make a store in a schema, which is made too if it does not exist.  Returns
 * the number of the store.
 */
int64
es_store_create(const char *schema, EsPayload payload)
{
	bool		created = !OidIsValid(get_namespace_oid(schema, true));
	int64		number = random_number();

	if (created)
		es_statement_create_schema(schema);
	es_statement_create_tables(schema, number, payload);
	es_store_guard_tables(get_namespace_oid(schema, false));
	register_store(number, created);
	return number;
}

/*
 * Make the store of a number, which comes from elsewhere, in a schema: with its
 * tables, unless they are there already and empty, as pg_dump --schema-only
 * leaves them.  Tells whether the schema is new.
 */
bool
es_store_create_again(const char *schema, int64 number, EsPayload payload)
{
	Oid			nspid = get_namespace_oid(schema, true);
	bool		created = !OidIsValid(nspid);

	if (es_store_is_registered(number))
		ereport(ERROR,
				(es_problem(ERRCODE_ES_TENANT_EXISTS, ES_MEMBERS(ES_TEXT("schema", schema), ES_INT("store", number)),
							"the event store that this is a copy of is in this database"),
				 errhint("A store is once in a database; import into another one, or drop it first.")));
	if (!created && !es_owns_schema(nspid, GetUserId()))
		ereport(ERROR,
				(es_problem(ERRCODE_INSUFFICIENT_PRIVILEGE, ES_MEMBERS(ES_TEXT("schema", schema)),
							"must be owner of schema \"%s\"", schema),
				 errhint("Ask the owner, or become a member of the owning role.")));
	if (!created && number_of_schema(nspid) != 0)
		ereport(ERROR,
				(es_problem(ERRCODE_ES_TENANT_EXISTS, ES_MEMBERS(ES_TEXT("schema", schema)),
							"schema \"%s\" holds another event store", schema),
				 errhint("Rename or drop it first.")));

	if (created)
		es_statement_create_schema(schema);
	if (created || !OidIsValid(get_relname_relid("event_log", nspid)))
		es_statement_create_tables(schema, number, payload);
	else
		es_statement_insert_mark(schema, number);
	es_store_guard_tables(get_namespace_oid(schema, false));
	register_store(number, created);
	return created;
}

/* Tables that only some stores have, those that are made together. */
typedef struct OptionalTables
{
	const char *names[3];
	void		(*create) (const char *schema);
	bool		guarded;
} OptionalTables;

static const OptionalTables optional_tables[] = {
	{{"event_tags"}, es_statement_create_tags, true},
	{{"event_subscriptions", "event_deliveries"}, es_statement_create_subscription_tables, true},
	{{"event_handlers", "event_parked", "event_processes"}, es_statement_create_handler_tables, false},
};

/* The tables to which one of this name belongs, NULL if it is none of them. */
static const OptionalTables *
find_optional(const char *table)
{
	for (int i = 0; i < lengthof(optional_tables); i++)
		for (int k = 0; k < lengthof(optional_tables[i].names) && optional_tables[i].names[k] != NULL; k++)
			if (strcmp(optional_tables[i].names[k], table) == 0)
				return &optional_tables[i];
	return NULL;
}

/* Is it a table that only we write, past its guard? */
bool
es_store_table_is_guarded(const char *table)
{
	const OptionalTables *optional = find_optional(table);

	return strcmp(table, "event_log") == 0 || strcmp(table, "event_streams") == 0 || (optional != NULL && optional->guarded);
}

/*
 * Make a table of a store, if it is one that only some stores have and this one
 * has not got yet, along with those that belong to it; as the owner of the
 * store.  The caller has checked that the current role may cause that, and for
 * event_tags that nobody else appends.
 */
void
es_store_need_table(EsStore *store, const char *table)
{
	const OptionalTables *optional = find_optional(table);
	Oid			nspid = store->nspid;
	Oid			log = store->log;
	char	   *schema = pstrdup(NameStr(store->schema));
	Relation	mark;
	Oid			save_user;
	int			save_context;

	if (optional == NULL || OidIsValid(get_relname_relid(table, nspid)))
		return;

	/* whoever comes second waits here, and then finds them */
	mark = table_open(store->mark, ShareUpdateExclusiveLock);
	if (!OidIsValid(get_relname_relid(table, nspid)))
	{
		/* a tenant's store gets them from those who are set to no tenant, too */
		int			level = es_tenant_lift_guard();

		GetUserIdAndSecContext(&save_user, &save_context);
		SetUserIdAndSecContext(mark->rd_rel->relowner,
							   save_context | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
		optional->create(schema);
		for (int i = 0; optional->guarded && i < lengthof(optional->names) && optional->names[i] != NULL; i++)
			es_store_guard_table(nspid, optional->names[i]);
		SetUserIdAndSecContext(save_user, save_context);
		AtEOXact_GUC(true, level);

		/* sessions remember whether there are tags */
		if (optional->create == es_statement_create_tags)
			CacheInvalidateRelcacheByRelid(log);
		CommandCounterIncrement();
	}
	table_close(mark, NoLock);
}

/*
 * Make event_tags in the schema of a store, with the tags of the events in its
 * log.  The table is the owner's of that, whoever of his role asks; an error
 * puts the old identity back.
 */
void
es_store_create_tags(Oid nspid, Relation log)
{
	Oid			save_user;
	int			save_context;

	GetUserIdAndSecContext(&save_user, &save_context);
	SetUserIdAndSecContext(log->rd_rel->relowner, save_context | SECURITY_RESTRICTED_OPERATION);
	es_statement_create_tags(get_namespace_name(nspid));
	es_store_guard_table(nspid, "event_tags");
	SetUserIdAndSecContext(save_user, save_context);
}

PG_FUNCTION_INFO_V1(event_store_create_store);
PG_FUNCTION_INFO_V1(event_store_attach_store);
PG_FUNCTION_INFO_V1(event_store_attach_found_stores);
PG_FUNCTION_INFO_V1(event_store_drop_store);
PG_FUNCTION_INFO_V1(event_store_grant_store);
PG_FUNCTION_INFO_V1(event_store_revoke_store);
PG_FUNCTION_INFO_V1(event_store_enable_tags);
PG_FUNCTION_INFO_V1(event_store_disable_tags);

Datum
event_store_create_store(PG_FUNCTION_ARGS)
{
	char	   *schema = schema_argument(PG_GETARG_TEXT_PP(0));
	bool		if_not_exists = PG_GETARG_BOOL(1);
	EsPayload	payload = es_payload_argument(PG_GETARG_TEXT_PP(2));
	Oid			nspid;

	es_require_writable();
	es_extension_check_version();

	nspid = get_namespace_oid(schema, true);
	if (OidIsValid(nspid) && es_store_of_schema(nspid) != NULL)
	{
		if (!if_not_exists)
			ereport(ERROR,
					(es_problem(ERRCODE_DUPLICATE_OBJECT, ES_MEMBERS(ES_TEXT("schema", schema)),
								"schema \"%s\" is already an event store", schema),
					 errhint("Pass if_not_exists => true if that is what you want.")));
		ereport(NOTICE, (errmsg("schema \"%s\" is already an event store, skipping", schema)));
		PG_RETURN_VOID();
	}

	(void) es_store_create(schema, payload);
	PG_RETURN_VOID();
}

Datum
event_store_attach_store(PG_FUNCTION_ARGS)
{
	char	   *schema = schema_argument(PG_GETARG_TEXT_PP(0));
	Oid			nspid = get_namespace_oid(schema, true);
	Oid			log = OidIsValid(nspid) ? get_relname_relid("event_log", nspid) : InvalidOid;
	int64		number = OidIsValid(nspid) ? number_of_schema(nspid) : 0;

	es_require_writable();
	es_extension_check_version();
	if (!OidIsValid(log) || number == 0)
		ereport(ERROR,
				(es_problem(ERRCODE_ES_STORE_NOT_FOUND, ES_MEMBERS(ES_TEXT("schema", schema)),
							"schema \"%s\" does not hold the tables of an event store", schema),
				 errhint("Make a new store with event_store.create_store().")));
	if (!es_owns_relation(log, GetUserId()))
		ereport(ERROR,
				(es_problem(ERRCODE_INSUFFICIENT_PRIVILEGE, ES_MEMBERS(ES_TEXT("schema", schema)),
							"must be owner of the event_log in schema \"%s\"", schema),
				 errhint("Ask the owner, or become a member of the owning role.")));
	attach(nspid, number);
	PG_RETURN_VOID();
}

Datum
event_store_attach_found_stores(PG_FUNCTION_ARGS)
{
	int			attached = 0;
	ListCell   *lc;

	foreach(lc, es_statement_found_schemas())
	{
		CHECK_FOR_INTERRUPTS();
		if (try_attach(lfirst_oid(lc)))
			attached++;
	}
	PG_RETURN_INT32(attached);
}

Datum
event_store_drop_store(PG_FUNCTION_ARGS)
{
	EsStore    *store = es_store_named(PG_GETARG_TEXT_PP(0));
	char	   *schema = pstrdup(NameStr(store->schema));
	Oid			nspid = store->nspid;
	char	   *confirm = text_to_cstring(PG_GETARG_TEXT_PP(1));
	int64		number = store->number;
	bool		owns_schema;
	EsTenant	tenant;

	es_require_writable();
	if (es_tenant_of_schema(store->nspid, &tenant))
		ereport(ERROR,
				(es_problem(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, ES_MEMBERS(ES_TEXT("tenant", NameStr(tenant.name))),
							"event store \"%s\" is that of tenant \"%s\"", schema, NameStr(tenant.name)),
				 errhint("Drop the tenant with event_store.drop_tenant().")));
	if (strcmp(schema, confirm) != 0)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE,
							ES_MEMBERS(ES_TEXT("schema", schema), ES_TEXT("confirm", confirm)),
							"to drop event store \"%s\" with all its events, confirm must repeat its name", schema),
				 errhint("Call event_store.drop_store(%s, confirm => %s).",
						 quote_literal_cstr(schema), quote_literal_cstr(schema))));
	es_store_drop_series(store);
	if (has_tags(nspid))
		es_statement_drop_tags(schema);
	es_statement_drop_tables(schema);
	owns_schema = es_store_unregister(number);
	if (owns_schema)
		es_statement_drop_schema_if_empty(schema);
	PG_RETURN_VOID();
}

Datum
event_store_grant_store(PG_FUNCTION_ARGS)
{
	EsStore    *store = es_store_named(PG_GETARG_TEXT_PP(0));
	char	   *schema = pstrdup(NameStr(store->schema));
	Oid			nspid = store->nspid;
	char	   *access = text_to_cstring(PG_GETARG_TEXT_PP(2));
	Oid			roleid;
	char	   *role = es_store_role(PG_GETARG_TEXT_PP(1), &roleid);

	es_store_check_access(access);
	es_store_require_owner(store);
	if (strcmp(access, "consumer") == 0)
		es_store_need_table(store, "event_deliveries");
	es_statement_grant(schema, role, access);

	/* GRANT on a schema that is not one's own only warns */
	CommandCounterIncrement();
	if (OidIsValid(roleid) && !es_may_use_schema(nspid, roleid))
		ereport(ERROR,
				(es_problem(ERRCODE_INSUFFICIENT_PRIVILEGE,
							ES_MEMBERS(ES_TEXT("schema", schema), ES_TEXT("role", role)),
							"role \"%s\" would have rights on the store but not on its schema \"%s\"", role, schema),
				 errhint("The owner of the schema must grant USAGE on it first.")));
	PG_RETURN_VOID();
}

Datum
event_store_revoke_store(PG_FUNCTION_ARGS)
{
	EsStore    *store = es_store_named(PG_GETARG_TEXT_PP(0));
	Oid			roleid;
	char	   *role = es_store_role(PG_GETARG_TEXT_PP(1), &roleid);

	es_store_require_owner(store);
	es_statement_revoke(pstrdup(NameStr(store->schema)), role);
	PG_RETURN_VOID();
}

/*
 * Open event_log of the current store, which must be the caller's own, with a
 * lock that keeps appends out.
 */
static Relation
open_own_log(EsStore **store, LOCKMODE lockmode)
{
	es_require_writable();
	es_store_require_owner(es_store_current(false));
	return es_store_open_log(store, lockmode, ACL_INSERT);
}

/*
 * Whoever waits for the lock on event_log finds what was done to event_tags,
 * for it is an invalidation of event_log.
 */
Datum
event_store_enable_tags(PG_FUNCTION_ARGS)
{
	EsStore    *store;
	Relation	log = open_own_log(&store, ShareRowExclusiveLock);
	char	   *schema = pstrdup(NameStr(store->schema));
	Oid			nspid = store->nspid;

	if (OidIsValid(store->tags))
		ereport(ERROR,
				(es_problem(ERRCODE_DUPLICATE_OBJECT, ES_MEMBERS(ES_TEXT("store", schema)),
							"tags are already enabled in event store \"%s\"", schema),
				 errhint("Nothing has to be done.")));
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(es_problem(ERRCODE_ACTIVE_SQL_TRANSACTION, ES_MEMBERS(ES_TEXT("store", schema)),
							"cannot enable tags in a transaction whose snapshot is fixed"),
				 errhint("It would miss events: enable them in a READ COMMITTED transaction.")));
	if (check_enable_rls(store->log, InvalidOid, true) == RLS_ENABLED)
		ereport(ERROR,
				(es_problem(ERRCODE_INSUFFICIENT_PRIVILEGE, ES_MEMBERS(ES_TEXT("store", schema)),
							"cannot enable tags: row-level security on event_log decides which events you see"),
				 errhint("Let a role do it that has BYPASSRLS.")));

	es_store_create_tags(nspid, log);
	CacheInvalidateRelcache(log);
	CommandCounterIncrement();	/* this very statement is to know it too */
	table_close(log, NoLock);
	PG_RETURN_VOID();
}

Datum
event_store_disable_tags(PG_FUNCTION_ARGS)
{
	EsStore    *store;
	/* readers too: they would find the table gone that they are about to open */
	Relation	log = open_own_log(&store, AccessExclusiveLock);
	char	   *schema = pstrdup(NameStr(store->schema));

	if (!OidIsValid(store->tags))
		ereport(ERROR,
				(es_problem(ERRCODE_UNDEFINED_OBJECT, ES_MEMBERS(ES_TEXT("store", schema)),
							"tags are not enabled in event store \"%s\"", schema),
				 errhint("Nothing has to be done.")));
	es_statement_drop_tags(schema);
	CacheInvalidateRelcache(log);
	CommandCounterIncrement();	/* this very statement is to know it too */
	table_close(log, NoLock);
	PG_RETURN_VOID();
}
