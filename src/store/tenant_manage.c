/*
 * tenant_manage.c
 *		The life of a tenant: create, attach, rename, suspend, resume, drop, grant.
 *
 * Schemas and tables are made and dropped as the caller, whose rights decide.
 * The rows of tenant_registry are written directly, past them, once the caller
 * has proved to own the schema.  Everything is one transaction: what fails
 * leaves nothing.
 *
 * Whoever changes a tenant holds a lock on its name, as compared with others,
 * until the transaction ends.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_collation.h"
#include "common/hashfn.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "base/arguments.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/extension.h"
#include "store/count.h"
#include "store/manage.h"
#include "store/payload.h"
#include "store/statement.h"
#include "store/tenant.h"
#include "store/tenant_life.h"
#include "store/tenant_records.h"
#include "store/upkeep.h"
#include "store/migration.h"

EsTenantMadeHook es_tenant_made_hook = NULL;

/* Nobody else makes, changes or drops a tenant of this name until we are done. */
void
es_tenant_lock_name(Relation registry, const char *folded)
{
	LockDatabaseObject(RelationGetRelid(registry), hash_bytes((const unsigned char *) folded, strlen(folded)), 0,
					   ExclusiveLock);
}

/* Nobody changes or drops the tenant of this name until we and all who do the same are done. */
void
es_tenant_share_name(Relation registry, const char *folded)
{
	LockDatabaseObject(RelationGetRelid(registry), hash_bytes((const unsigned char *) folded, strlen(folded)), 0,
					   ShareLock);
}

/* Refuse a name that a tenant has, or differs from it in case only. */
static void
require_free(Relation registry, const char *name, const char *folded)
{
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyEntryInitialize(&key, 0, TENANT_FOLDED_NAME + 1, BTEqualStrategyNumber, InvalidOid, C_COLLATION_OID,
						   F_TEXTEQ, CStringGetTextDatum(folded));
	scan = systable_beginscan(registry, es_extension_relation("tenant_registry_folded_name"), true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		bool		isnull;
		char	   *other = TextDatumGetCString(heap_getattr(tuple, TENANT_NAME + 1, RelationGetDescr(registry), &isnull));

		ereport(ERROR,
				(es_problem(ERRCODE_ES_TENANT_EXISTS, ES_MEMBERS(ES_TEXT("tenant", name), ES_TEXT("existing", other)),
							"tenant \"%s\" exists already", other),
				 errhint("Names that differ only in case count as the same.")));
	}
	systable_endscan(scan);
}

static void
require_free_schema(const char *name)
{
	if (OidIsValid(get_namespace_oid(name, true)))
		ereport(ERROR,
				(es_problem(ERRCODE_ES_TENANT_EXISTS, ES_MEMBERS(ES_TEXT("tenant", name)),
							"there is a schema \"%s\" already", name),
				 errhint("If it holds an event store, make it a tenant's with event_store.attach_tenant().")));
}

static void
insert_row(Relation registry, const char *name, const char *folded, const char *schema, Oid nspid, int64 number,
		   Datum attributes)
{
	Datum		values[TENANT_NCOLUMNS] = {0};
	bool		nulls[TENANT_NCOLUMNS] = {0};

	if (!JB_ROOT_IS_OBJECT(DatumGetJsonbP(attributes)))
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("argument", "attributes")),
							"attributes are not an object"),
				 errhint("Pass {\"name\": value, ...}.")));
	values[TENANT_NAME] = CStringGetTextDatum(name);
	values[TENANT_FOLDED_NAME] = CStringGetTextDatum(folded);
	values[TENANT_SCHEMA_NAME] = CStringGetTextDatum(schema);
	values[TENANT_SCHEMA_OID] = ObjectIdGetDatum(nspid);
	values[TENANT_STORE_NUMBER] = Int64GetDatum(number);
	values[TENANT_STATE] = CStringGetTextDatum("active");
	nulls[TENANT_REASON] = true;
	values[TENANT_ATTRIBUTES] = attributes;
	values[TENANT_CREATED_AT] = TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());
	nulls[TENANT_PURGE_AFTER] = true;
	CatalogTupleInsert(registry, heap_form_tuple(RelationGetDescr(registry), values, nulls));
	CacheInvalidateRelcache(registry);
	CommandCounterIncrement();
	if (es_tenant_made_hook != NULL)
		es_tenant_made_hook();
}

/* Change the columns of a row that values and replace say. */
void
es_tenant_update_row(Relation registry, HeapTuple old, Datum *values, bool *nulls, bool *replace)
{
	HeapTuple	tuple = heap_modify_tuple(old, RelationGetDescr(registry), values, nulls, replace);

	CatalogTupleUpdate(registry, &tuple->t_self, tuple);
	CacheInvalidateRelcache(registry);
	CommandCounterIncrement();
}

/* Is it the caller's: is the caller the owner of its schema, or where that is gone of the database? */
bool
es_tenant_is_owned(const EsTenant *tenant)
{
	return OidIsValid(tenant->nspid) ? es_owns_schema(tenant->nspid, GetUserId()) :
		es_owns_database(MyDatabaseId, GetUserId());
}

/* Refuse to anybody but the owner. */
void
es_tenant_require_owner(const EsTenant *tenant)
{
	const char *name = NameStr(tenant->name);

	if (!es_tenant_is_owned(tenant))
		ereport(ERROR,
				(es_problem(ERRCODE_INSUFFICIENT_PRIVILEGE, ES_MEMBERS(ES_TEXT("tenant", name)),
							"must be owner of tenant \"%s\"", name),
				 errhint("Ask the owner of its schema, or become a member of the owning role.")));
}

/*
 * Lock a tenant and return its row, an error if there is none or the caller
 * does not own its schema.  If that is gone, the owner of the database may do.
 */
HeapTuple
es_tenant_own_row(Relation registry, const char *name, EsTenant *tenant)
{
	es_tenant_lock_name(registry, es_tenant_fold(name));
	if (!es_tenant_find(name, tenant))
		es_tenant_get(name, tenant);	/* raises the error */
	es_tenant_require_owner(tenant);
	return es_tenant_row(registry, name);
}

/* The schema of a tenant, which is known by its OID, has got another name. */
void
es_tenant_note_schema(const char *name, const char *schema)
{
	Relation	registry = es_tenant_open_registry(RowExclusiveLock);
	HeapTuple	row = es_tenant_row(registry, name);
	Datum		values[TENANT_NCOLUMNS] = {0};
	bool		nulls[TENANT_NCOLUMNS] = {0};
	bool		replace[TENANT_NCOLUMNS] = {0};

	if (HeapTupleIsValid(row))
	{
		values[TENANT_SCHEMA_NAME] = CStringGetTextDatum(schema);
		values[TENANT_SCHEMA_OID] = ObjectIdGetDatum(get_namespace_oid(schema, false));
		replace[TENANT_SCHEMA_NAME] = replace[TENANT_SCHEMA_OID] = true;
		es_tenant_update_row(registry, row, values, nulls, replace);
	}
	table_close(registry, NoLock);
}

/* Remove a tenant, the caller's, with everything it has. */
void
es_tenant_remove(Relation registry, HeapTuple row, const EsTenant *tenant)
{
	int64		number = tenant->number;

	if (OidIsValid(tenant->nspid))
	{
		EsStore    *store = es_store_of_schema(tenant->nspid);
		int			level;

		if (store != NULL)
		{
			number = store->number;
			es_store_drop_series(store);
		}
		level = es_tenant_lift_guard();
		es_statement_drop_schema(get_namespace_name(tenant->nspid));
		AtEOXact_GUC(true, level);
	}
	es_store_unregister(number);
	/* its owner may have made another store in its place */
	if (number != tenant->number)
		es_store_unregister(tenant->number);
	es_tenant_records_forget(NameStr(tenant->name));
	es_upkeep_hooks->tenant_dropped(NameStr(tenant->name), false);
	CatalogTupleDelete(registry, &row->t_self);
	CacheInvalidateRelcache(registry);
	CommandCounterIncrement();
}

static void
set_state(const char *name, const char *state, Datum reason, bool no_reason)
{
	Relation	registry;
	EsTenant	tenant;
	HeapTuple	row;
	Datum		values[TENANT_NCOLUMNS] = {0};
	bool		nulls[TENANT_NCOLUMNS] = {0};
	bool		replace[TENANT_NCOLUMNS] = {0};

	es_require_writable();
	registry = es_tenant_open_registry(RowExclusiveLock);
	row = es_tenant_own_row(registry, name, &tenant);
	if (tenant.dropping)
		es_tenant_require_state(&tenant, false);
	values[TENANT_STATE] = CStringGetTextDatum(state);
	values[TENANT_REASON] = reason;
	nulls[TENANT_REASON] = no_reason;
	replace[TENANT_STATE] = replace[TENANT_REASON] = true;
	es_tenant_update_row(registry, row, values, nulls, replace);
	table_close(registry, NoLock);
}

/* Make a tenant, like another one if template is not NULL, with the migrations that there are. */
static void
create(const char *name, const char *template, const EsPayload *payload, bool with_data, bool with_grants, Datum attributes)
{
	char	   *folded = es_tenant_fold(name);
	Relation	registry;
	int64		number;

	es_tenant_check_name(name);
	es_require_writable();

	registry = es_tenant_open_registry(RowExclusiveLock);
	es_tenant_lock_name(registry, folded);
	require_free(registry, name, folded);
	require_free_schema(name);
	number = es_tenant_make_schema(name, template, payload, with_data, with_grants);
	insert_row(registry, name, folded, name, get_namespace_oid(name, false), number, attributes);
	(void) es_migrate(name, get_namespace_oid(name, false), true, NULL);
	table_close(registry, NoLock);
}

/* Make a tenant whose store comes from elsewhere; tells whether its schema is new. */
bool
es_tenant_create_again(const char *name, int64 number, EsPayload payload, Datum attributes)
{
	char	   *folded = es_tenant_fold(name);
	Relation	registry;
	bool		created;

	es_tenant_check_name(name);
	registry = es_tenant_open_registry(RowExclusiveLock);
	es_tenant_lock_name(registry, folded);
	require_free(registry, name, folded);
	created = es_store_create_again(name, number, payload);
	insert_row(registry, name, folded, name, get_namespace_oid(name, false), number, attributes);
	table_close(registry, NoLock);
	return created;
}

/* Change the state of a tenant, as its owner. */
void
es_tenant_set_state(const char *name, EsTenantState state, const char *reason)
{
	set_state(name, state == ES_TENANT_ACTIVE ? "active" : state == ES_TENANT_READ_ONLY ? "read_only" : "suspended",
			  reason != NULL ? CStringGetTextDatum(reason) : (Datum) 0, reason == NULL);
}

PG_FUNCTION_INFO_V1(event_store_create_tenant);
PG_FUNCTION_INFO_V1(event_store_clone_tenant);
PG_FUNCTION_INFO_V1(event_store_attach_tenant);
PG_FUNCTION_INFO_V1(event_store_rename_tenant);
PG_FUNCTION_INFO_V1(event_store_suspend_tenant);
PG_FUNCTION_INFO_V1(event_store_resume_tenant);
PG_FUNCTION_INFO_V1(event_store_drop_tenant);
PG_FUNCTION_INFO_V1(event_store_grant_tenant);
PG_FUNCTION_INFO_V1(event_store_revoke_tenant);
PG_FUNCTION_INFO_V1(event_store_tenant_residue);

/* create_tenant(name, attributes, template, with_data, payload) */
Datum
event_store_create_tenant(PG_FUNCTION_ARGS)
{
	char	   *name = es_tenant_name_argument(fcinfo, 0, "name");
	EsPayload	payload = ES_PAYLOAD_JSONB;

	es_require_argument(fcinfo, 1, "attributes");
	es_require_argument(fcinfo, 3, "with_data");
	if (!PG_ARGISNULL(4))
		payload = es_payload_argument(PG_GETARG_TEXT_PP(4));
	create(name, PG_ARGISNULL(2) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(2)), PG_ARGISNULL(4) ? NULL : &payload,
		   PG_GETARG_BOOL(3), false, PG_GETARG_DATUM(1));
	PG_RETURN_VOID();
}

/* clone_tenant(template, name, with_data, with_grants, attributes) */
Datum
event_store_clone_tenant(PG_FUNCTION_ARGS)
{
	char	   *template = es_tenant_name_argument(fcinfo, 0, "template");
	char	   *name = es_tenant_name_argument(fcinfo, 1, "name");

	es_require_argument(fcinfo, 2, "with_data");
	es_require_argument(fcinfo, 3, "with_grants");
	es_require_argument(fcinfo, 4, "attributes");
	create(name, template, NULL, PG_GETARG_BOOL(2), PG_GETARG_BOOL(3), PG_GETARG_DATUM(4));
	PG_RETURN_VOID();
}

Datum
event_store_attach_tenant(PG_FUNCTION_ARGS)
{
	EsStore    *store;
	char	   *schema;
	char	   *name;
	char	   *folded;
	Oid			nspid;
	int64		number;
	Relation	registry;
	EsTenant	tenant;

	es_require_argument(fcinfo, 0, "schema");
	es_require_argument(fcinfo, 2, "attributes");
	es_require_writable();
	store = es_store_named(PG_GETARG_TEXT_PP(0));
	schema = pstrdup(NameStr(store->schema));
	name = PG_ARGISNULL(1) ? schema : text_to_cstring(PG_GETARG_TEXT_PP(1));
	nspid = store->nspid;
	number = store->number;
	es_tenant_check_name(name);
	if (!es_owns_schema(nspid, GetUserId()))
		ereport(ERROR,
				(es_problem(ERRCODE_INSUFFICIENT_PRIVILEGE, ES_MEMBERS(ES_TEXT("schema", schema)),
							"must be owner of schema \"%s\"", schema),
				 errhint("Ask the owner, or become a member of the owning role.")));

	if (es_tenant_is_reserved(schema))
		ereport(ERROR,
				(es_problem(ERRCODE_ES_INVALID_TENANT_NAME, ES_MEMBERS(ES_TEXT("schema", schema)),
							"schema \"%s\" cannot be a tenant's: it is everybody's", schema),
				 errhint("Move the tables of the tenant to a schema of its own.")));

	/* rare enough to let one at a time through, so that no schema gets two tenants */
	registry = es_tenant_open_registry(ShareRowExclusiveLock);
	folded = es_tenant_fold(name);
	require_free(registry, name, folded);
	if (es_tenant_of_schema(nspid, &tenant))
		ereport(ERROR,
				(es_problem(ERRCODE_ES_TENANT_EXISTS,
							ES_MEMBERS(ES_TEXT("schema", schema), ES_TEXT("existing", NameStr(tenant.name))),
							"schema \"%s\" is that of tenant \"%s\" already", schema, NameStr(tenant.name)),
				 errhint("To call it otherwise, use event_store.rename_tenant().")));
	insert_row(registry, name, folded, schema, nspid, number, PG_GETARG_DATUM(2));
	es_tenant_leave_pool(schema, name);
	table_close(registry, NoLock);
	PG_RETURN_VOID();
}

Datum
event_store_rename_tenant(PG_FUNCTION_ARGS)
{
	char	   *name = es_tenant_name_argument(fcinfo, 0, "name");
	char	   *new_name = es_tenant_name_argument(fcinfo, 1, "new_name");
	char	   *new_folded = es_tenant_fold(new_name);
	char	   *schema;
	Relation	registry;
	EsTenant	tenant;
	HeapTuple	row;
	Datum		values[TENANT_NCOLUMNS] = {0};
	bool		nulls[TENANT_NCOLUMNS] = {0};
	bool		replace[TENANT_NCOLUMNS] = {0};
	int			level;

	es_tenant_check_name(new_name);
	es_require_writable();
	registry = es_tenant_open_registry(RowExclusiveLock);
	row = es_tenant_own_row(registry, name, &tenant);
	if (!OidIsValid(tenant.nspid))
		es_tenant_broken(&tenant);
	if (strcmp(es_tenant_fold(name), new_folded) != 0)
	{
		es_tenant_lock_name(registry, new_folded);
		require_free(registry, new_name, new_folded);
	}
	schema = get_namespace_name(tenant.nspid);
	if (strcmp(schema, new_name) != 0)
	{
		require_free_schema(new_name);
		level = es_tenant_lift_guard();
		es_statement_rename_schema(schema, new_name);
		AtEOXact_GUC(true, level);
		row = es_tenant_row(registry, name);	/* the schema was noted in it */
	}
	if (strcmp(name, new_name) != 0)
		es_tenant_records_rename(name, new_name);
	values[TENANT_NAME] = CStringGetTextDatum(new_name);
	values[TENANT_FOLDED_NAME] = CStringGetTextDatum(new_folded);
	replace[TENANT_NAME] = replace[TENANT_FOLDED_NAME] = true;
	es_tenant_update_row(registry, row, values, nulls, replace);
	table_close(registry, NoLock);
	PG_RETURN_VOID();
}

Datum
event_store_suspend_tenant(PG_FUNCTION_ARGS)
{
	char	   *name = es_tenant_name_argument(fcinfo, 0, "name");

	es_require_argument(fcinfo, 1, "reads");
	set_state(name, PG_GETARG_BOOL(1) ? "read_only" : "suspended", PG_GETARG_DATUM(2), PG_ARGISNULL(2));
	PG_RETURN_VOID();
}

Datum
event_store_resume_tenant(PG_FUNCTION_ARGS)
{
	set_state(es_tenant_name_argument(fcinfo, 0, "name"), "active", (Datum) 0, true);
	PG_RETURN_VOID();
}

/* drop_tenant(name, confirm, keep) */
Datum
event_store_drop_tenant(PG_FUNCTION_ARGS)
{
	char	   *name = es_tenant_name_argument(fcinfo, 0, "name");
	char	   *confirm = PG_ARGISNULL(1) ? "" : text_to_cstring(PG_GETARG_TEXT_PP(1));
	Relation	registry;
	EsTenant	tenant;
	HeapTuple	row;

	es_require_writable();
	registry = es_tenant_open_registry(RowExclusiveLock);
	row = es_tenant_own_row(registry, name, &tenant);
	if (strcmp(name, confirm) != 0)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE,
							ES_MEMBERS(ES_TEXT("tenant", name), ES_TEXT("confirm", confirm)),
							"to drop tenant \"%s\" with everything it has, confirm must repeat its name", name),
				 errhint("Call event_store.drop_tenant(%s, confirm => %s).",
						 quote_literal_cstr(name), quote_literal_cstr(name))));
	es_tenant_require_no_pool(name);
	if (PG_ARGISNULL(2))
		es_tenant_remove(registry, row, &tenant);
	else
		es_tenant_drop_later(registry, row, &tenant, PG_GETARG_INTERVAL_P(2));
	table_close(registry, NoLock);
	PG_RETURN_VOID();
}

Datum
event_store_grant_tenant(PG_FUNCTION_ARGS)
{
	char	   *name = es_tenant_name_argument(fcinfo, 0, "name");
	EsTenant	tenant;
	char	   *role;
	Oid			roleid;
	char	   *access;
	Relation	registry;

	es_require_argument(fcinfo, 1, "role");
	es_require_argument(fcinfo, 2, "access");
	access = text_to_cstring(PG_GETARG_TEXT_PP(2));
	role = es_store_role(PG_GETARG_TEXT_PP(1), &roleid);
	es_store_check_access(access);
	registry = es_tenant_open_registry(RowExclusiveLock);
	(void) es_tenant_own_row(registry, name, &tenant);
	if (!OidIsValid(tenant.nspid))
		es_tenant_broken(&tenant);
	if (strcmp(access, "consumer") == 0)
	{
		EsStore    *store = es_store_of_schema(tenant.nspid);

		if (store == NULL)
			es_tenant_broken(&tenant);
		es_store_need_table(store, "event_deliveries");
	}
	es_statement_grant(get_namespace_name(tenant.nspid), role, access);
	es_statement_grant_others(get_namespace_name(tenant.nspid), role, strcmp(access, "reader") != 0);
	table_close(registry, NoLock);
	PG_RETURN_VOID();
}

Datum
event_store_revoke_tenant(PG_FUNCTION_ARGS)
{
	char	   *name = es_tenant_name_argument(fcinfo, 0, "name");
	EsTenant	tenant;
	char	   *role;
	Oid			roleid;
	Relation	registry;

	es_require_argument(fcinfo, 1, "role");
	role = es_store_role(PG_GETARG_TEXT_PP(1), &roleid);
	registry = es_tenant_open_registry(RowExclusiveLock);
	(void) es_tenant_own_row(registry, name, &tenant);
	if (!OidIsValid(tenant.nspid))
		es_tenant_broken(&tenant);
	es_statement_revoke_all(get_namespace_name(tenant.nspid), role);
	table_close(registry, NoLock);
	PG_RETURN_VOID();
}

/* A row of tenant_residue. */
static void
put_residue(ReturnSetInfo *rsinfo, const char *kind, const char *identity)
{
	Datum		values[2] = {CStringGetTextDatum(kind), CStringGetTextDatum(identity)};
	bool		nulls[2] = {false, false};

	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/* What is there of a tenant, or of one that was dropped: registration, schema, registration of its store, records. */
Datum
event_store_tenant_residue(PG_FUNCTION_ARGS)
{
	char	   *name = es_tenant_name_argument(fcinfo, 0, "name");
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Relation	registry;
	HeapTuple	row;
	EsTenant	tenant;
	char	   *schema = name;

	InitMaterializedSRF(fcinfo, 0);
	registry = es_tenant_open_registry(AccessShareLock);
	row = es_tenant_row(registry, name);
	if (HeapTupleIsValid(row))
	{
		bool		isnull;
		int64		number = DatumGetInt64(heap_getattr(row, TENANT_STORE_NUMBER + 1, RelationGetDescr(registry), &isnull));

		put_residue(rsinfo, "tenant", name);
		if (es_store_is_registered(number))
			put_residue(rsinfo, "store", psprintf(INT64_FORMAT, number));
		if (es_tenant_find(name, &tenant) && OidIsValid(tenant.nspid))
			schema = get_namespace_name(tenant.nspid);
	}
	if (schema != NULL && OidIsValid(get_namespace_oid(schema, true)))
		put_residue(rsinfo, "schema", schema);
	es_tenant_records_list(name, rsinfo);
	table_close(registry, AccessShareLock);
	return (Datum) 0;
}
