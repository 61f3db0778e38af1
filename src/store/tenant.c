/*
 * tenant.c
 *		Which tenant a call is for, and what is known of tenants.
 *
 * A tenant is a row of event_store.tenant_registry and a schema with a store.
 * The row knows the schema by its OID and its name.  After a restore OIDs are
 * others: then it is the schema of that name, if its store has the recorded
 * number.  A schema that is renamed keeps its OID, and the name is noted (see
 * store/tenant_guard).  No schema becomes a tenant's by its name alone.
 *
 * What was looked up is remembered by schema and by name, the negative answers
 * too, for the guard asks about every table of every statement.  A change of
 * the registry or of any schema makes all of it stale (`generation`): it is
 * looked up again when it is asked for.  In a database without tenants the
 * answer to everything is one comparison.
 *
 * The registry is read with catalog snapshots: a tenant that was suspended is
 * suspended at once also in a transaction with a fixed snapshot.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/parallel.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_collation.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "base/errors.h"
#include "base/extension.h"
#include "base/settings.h"
#include "base/xact.h"
#include "store/store.h"
#include "store/tenant.h"

#define PATH_LENGTH		16		/* schemas of a search_path handled without allocation */
#define CACHE_SIZE		8192	/* remembered schemas; beyond it all are forgotten */

typedef struct SchemaEntry
{
	Oid			nspid;			/* hash key */
	bool		is_tenant;
	uint64		generation;
	EsTenant	tenant;
} SchemaEntry;

typedef struct NameEntry
{
	NameData	name;			/* hash key */
	bool		found;
	uint64		generation;
	EsTenant	tenant;
} NameEntry;

static HTAB *by_schema = NULL;
static HTAB *by_name = NULL;
static uint64 generation = 1;	/* of the registry and the schemas, as far as this session has heard */
static uint64 counted = 0;		/* generation of the two below */
static Oid	registry_oid = InvalidOid;
static bool any_tenants = false;
static Oid	let_pass = InvalidOid;	/* its tenant's state does not count */

static void
relcache_callback(Datum arg, Oid relid)
{
	if (!OidIsValid(relid) || relid == registry_oid || !OidIsValid(registry_oid))
		generation++;
}

static void
namespace_callback(Datum arg, int cacheid, uint32 hashvalue)
{
	generation++;
}

/* Has this database any tenants? */
bool
es_tenants_exist(void)
{
	uint64		before;
	Oid			relid;
	bool		found = false;

	if (counted == generation)
		return any_tenants;

	if (by_schema == NULL)
	{
		HASHCTL		schema_ctl = {.keysize = sizeof(Oid), .entrysize = sizeof(SchemaEntry)};
		HASHCTL		name_ctl = {.keysize = NAMEDATALEN, .entrysize = sizeof(NameEntry)};

		by_name = hash_create("event_store tenants by name", 16, &name_ctl, HASH_ELEM | HASH_STRINGS);
		by_schema = hash_create("event_store tenants by schema", 16, &schema_ctl, HASH_ELEM | HASH_BLOBS);
		CacheRegisterRelcacheCallback(relcache_callback, (Datum) 0);
		CacheRegisterSyscacheCallback(NAMESPACEOID, namespace_callback, (Datum) 0);
	}
	before = generation;
	relid = es_extension_relation("tenant_registry");
	if (OidIsValid(relid))
	{
		Relation	rel = try_table_open(relid, AccessShareLock);

		if (rel != NULL)
		{
			SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);

			found = HeapTupleIsValid(systable_getnext(scan));
			systable_endscan(scan);
			table_close(rel, AccessShareLock);
		}
	}
	registry_oid = relid;
	any_tenants = found;
	counted = before;
	return found;
}

/*
 * The state of the registry and the schemas that answers are remembered for;
 * after es_tenants_exist.  It only grows.
 */
uint64
es_tenant_generation(void)
{
	return generation;
}

Relation
es_tenant_open_registry(LOCKMODE lockmode)
{
	return es_extension_open("tenant_registry", lockmode);
}

/* The row of a tenant, palloc'd, NULL if there is none. */
HeapTuple
es_tenant_row(Relation registry, const char *name)
{
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyEntryInitialize(&key, 0, TENANT_NAME + 1, BTEqualStrategyNumber, InvalidOid, C_COLLATION_OID,
						   F_TEXTEQ, CStringGetTextDatum(name));
	scan = systable_beginscan(registry, es_primary_key(registry), true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		tuple = heap_copytuple(tuple);
	systable_endscan(scan);
	return tuple;
}

/* The attributes of a tenant that exists, a jsonb, palloc'd. */
Datum
es_tenant_attributes(const char *name)
{
	Relation	registry = es_tenant_open_registry(AccessShareLock);
	HeapTuple	tuple = es_tenant_row(registry, name);
	bool		isnull;
	Datum		result;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "tenant \"%s\" has no row", name);
	result = PointerGetDatum(PG_DETOAST_DATUM_COPY(heap_getattr(tuple, TENANT_ATTRIBUTES + 1, RelationGetDescr(registry),
																 &isnull)));
	table_close(registry, AccessShareLock);
	return result;
}

/* What a row says; its schema is looked for and may be gone. */
static void
read_row(HeapTuple tuple, TupleDesc desc, EsTenant *tenant)
{
	Datum		values[TENANT_NCOLUMNS];
	bool		nulls[TENANT_NCOLUMNS];
	char	   *state;
	char	   *schema;
	char	   *actual;
	Oid			oid;
	EsStore    *store;

	heap_deform_tuple(tuple, desc, values, nulls);
	namestrcpy(&tenant->name, TextDatumGetCString(values[TENANT_NAME]));
	tenant->number = DatumGetInt64(values[TENANT_STORE_NUMBER]);
	state = TextDatumGetCString(values[TENANT_STATE]);
	tenant->dropping = strcmp(state, "dropping") == 0 || strcmp(state, "purging") == 0;
	tenant->state = strcmp(state, "active") == 0 ? ES_TENANT_ACTIVE :
		strcmp(state, "read_only") == 0 ? ES_TENANT_READ_ONLY : ES_TENANT_SUSPENDED;

	schema = TextDatumGetCString(values[TENANT_SCHEMA_NAME]);
	oid = DatumGetObjectId(values[TENANT_SCHEMA_OID]);
	actual = get_namespace_name(oid);
	tenant->nspid = oid;
	if (actual != NULL && strcmp(actual, schema) == 0)
		return;

	/* renamed by hand, or restored */
	for (int i = 0; i < 2; i++)
	{
		tenant->nspid = i == 0 ? oid : get_namespace_oid(schema, true);
		if (OidIsValid(tenant->nspid) && (i == 1 || actual != NULL) &&
			(store = es_store_of_schema(tenant->nspid)) != NULL &&
			store->number == tenant->number)
			return;
	}
	tenant->nspid = InvalidOid;
}

/* Look in the registry for the tenant of a schema, by one column. */
static bool
load_by(Relation registry, const char *index, ScanKey key, Oid nspid, EsTenant *tenant)
{
	SysScanDesc scan = systable_beginscan(registry, es_extension_relation(index), true, NULL, 1, key);
	HeapTuple	tuple;
	bool		found = false;

	while (!found && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		read_row(tuple, RelationGetDescr(registry), tenant);
		found = tenant->nspid == nspid;
	}
	systable_endscan(scan);
	return found;
}

static bool
load_of_schema(Oid nspid, EsTenant *tenant)
{
	Relation	registry = es_tenant_open_registry(AccessShareLock);
	char	   *schema = get_namespace_name(nspid);
	ScanKeyData key;
	bool		found;

	ScanKeyInit(&key, TENANT_SCHEMA_OID + 1, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(nspid));
	found = load_by(registry, "tenant_registry_schema_oid", &key, nspid, tenant);
	if (!found && schema != NULL)
	{
		ScanKeyEntryInitialize(&key, 0, TENANT_SCHEMA_NAME + 1, BTEqualStrategyNumber, InvalidOid, C_COLLATION_OID,
							   F_TEXTEQ, CStringGetTextDatum(schema));
		found = load_by(registry, "tenant_registry_schema_name", &key, nspid, tenant);
	}
	table_close(registry, AccessShareLock);
	return found;
}

static bool
load_by_name(const char *name, EsTenant *tenant)
{
	Relation	registry = es_tenant_open_registry(AccessShareLock);
	HeapTuple	tuple = es_tenant_row(registry, name);

	if (HeapTupleIsValid(tuple))
		read_row(tuple, RelationGetDescr(registry), tenant);
	table_close(registry, AccessShareLock);
	return HeapTupleIsValid(tuple);
}

/* Forget everything once it is too much.  Nobody holds pointers into the tables. */
static void
limit(HTAB *table)
{
	HASH_SEQ_STATUS status;
	void	   *entry;

	if (hash_get_num_entries(table) < CACHE_SIZE)
		return;
	hash_seq_init(&status, table);
	while ((entry = hash_seq_search(&status)) != NULL)
		(void) hash_search(table, entry, HASH_REMOVE, NULL);
}

/* The tenant of a schema; false if the schema is no tenant's. */
bool
es_tenant_of_schema(Oid nspid, EsTenant *tenant)
{
	SchemaEntry *entry;
	SchemaEntry loaded = {.nspid = nspid};

	if (!es_tenants_exist())
		return false;
	entry = hash_search(by_schema, &nspid, HASH_FIND, NULL);
	if (entry == NULL || entry->generation != generation)
	{
		loaded.generation = generation;
		loaded.is_tenant = load_of_schema(nspid, &loaded.tenant);
		limit(by_schema);
		entry = hash_search(by_schema, &nspid, HASH_ENTER, NULL);
		*entry = loaded;
	}
	if (entry->is_tenant)
		*tenant = entry->tenant;
	return entry->is_tenant;
}

/* The tenant of a name, also one whose schema is gone; false if there is none. */
bool
es_tenant_find(const char *name, EsTenant *tenant)
{
	NameEntry  *entry;
	NameEntry	loaded = {.found = false};

	if (!es_tenants_exist() || strlen(name) >= NAMEDATALEN)
		return false;
	namestrcpy(&loaded.name, name);
	entry = hash_search(by_name, &loaded.name, HASH_FIND, NULL);
	if (entry == NULL || entry->generation != generation)
	{
		loaded.generation = generation;
		loaded.found = load_by_name(name, &loaded.tenant);
		limit(by_name);
		entry = hash_search(by_name, &loaded.name, HASH_ENTER, NULL);
		*entry = loaded;
	}
	if (entry->found)
		*tenant = entry->tenant;
	return entry->found;
}

/* Raise the error of a tenant whose schema or store is gone. */
void
es_tenant_broken(const EsTenant *tenant)
{
	ereport(ERROR,
			(es_problem(ERRCODE_ES_TENANT_NOT_FOUND, ES_MEMBERS(ES_TEXT("tenant", NameStr(tenant->name))),
						"tenant \"%s\" has lost its schema or its event store", NameStr(tenant->name)),
			 errhint("Restore its schema, or remove what is left of it with event_store.drop_tenant().")));
}

/*
 * A tenant that the caller may use, by name; otherwise an error.  Rights on
 * its schema decide who may: a role of another tenant has none.
 */
void
es_tenant_get(const char *name, EsTenant *tenant)
{
	if (!es_tenant_find(name, tenant))
	{
		es_tenant_check_name(name);
		ereport(ERROR,
				(es_problem(ERRCODE_ES_TENANT_NOT_FOUND, ES_MEMBERS(ES_TEXT("tenant", name)),
							"tenant \"%s\" does not exist", name),
				 errhint("Make it with event_store.create_tenant(), or check the name.")));
	}
	if (!OidIsValid(tenant->nspid))
		es_tenant_broken(tenant);
	if (!es_may_use_schema(tenant->nspid, GetUserId()))
		ereport(ERROR,
				(es_problem(ERRCODE_INSUFFICIENT_PRIVILEGE, ES_MEMBERS(ES_TEXT("tenant", name)),
							"permission denied for tenant \"%s\"", name),
				 errhint("Its owner gives rights with event_store.grant_tenant().")));
}

/*
 * Does the setting event_store.tenant name a tenant?  Behind a pooler that
 * hands the server connection to somebody else after each transaction, only if
 * it was set in this transaction or by the configuration of role or database.
 */
bool
es_tenant_is_set(void)
{
	if (es_tenant[0] == '\0')
		return false;
	return es_pooler != ES_POOLER_TRANSACTION || es_tenant_set_in == ES_SET_BY_CONFIGURATION ||
		es_tenant_set_in == es_xact_number() || IsParallelWorker();
}

/*
 * The tenant that calls of this session are for; false if they are for none.
 *
 * The setting names it, or else the first schema of the search_path that is a
 * tenant's or a store.  If both name one they must agree.  Behind a pooler the
 * path alone names nobody: who knows which client has set it.
 */
bool
es_tenant_current(EsTenant *tenant)
{
	Oid			buffer[PATH_LENGTH];
	Oid		   *path = buffer;
	int			length;
	bool		named;
	bool		found = false;

	/* so that a suspension is seen at once, also by a transaction that has all its locks */
	if (es_tenants_exist())
		AcceptInvalidationMessages();
	named = es_tenant_is_set();
	if (named)
		es_tenant_get(es_tenant, tenant);
	else if (!es_tenants_exist())
		return false;

	length = fetch_search_path_array(buffer, PATH_LENGTH);
	if (length > PATH_LENGTH)
	{
		path = palloc(length * sizeof(Oid));
		length = fetch_search_path_array(path, length);
	}
	for (int i = 0; i < length && !found; i++)
	{
		EsTenant	on_path;

		if (es_tenant_of_schema(path[i], &on_path))
		{
			if (named && on_path.nspid != tenant->nspid)
				ereport(ERROR,
						(es_problem(ERRCODE_ES_TENANT_MISMATCH,
									ES_MEMBERS(ES_TEXT("tenant", NameStr(tenant->name)),
											   ES_TEXT("search_path_tenant", NameStr(on_path.name))),
									"event_store.tenant names tenant \"%s\", the search_path tenant \"%s\"",
									NameStr(tenant->name), NameStr(on_path.name)),
						 errhint("Set both with event_store.tenant_use(), or only one of them.")));
			if (!named && es_pooler == ES_POOLER_TRANSACTION)
				ereport(ERROR,
						(es_problem(ERRCODE_ES_TENANT_REQUIRED, ES_MEMBERS(ES_TEXT("search_path", namespace_search_path)),
									"the search_path names tenant \"%s\", but no tenant was set in this transaction",
									NameStr(on_path.name)),
						 errhint("With event_store.pooler = transaction, begin each transaction with event_store.tenant_use().")));
			*tenant = on_path;
			found = true;
		}
		else if (!named && es_store_of_schema(path[i]) != NULL)
			break;
	}
	if (path != buffer)
		pfree(path);
	return named || found;
}

/* Raise the error of a call that has to be for a tenant and is for none. */
void
es_tenant_missing(void)
{
	ereport(ERROR,
			(es_problem(ERRCODE_ES_TENANT_REQUIRED, ES_MEMBERS(ES_TEXT("search_path", namespace_search_path)),
						"no tenant is named: event_store.tenant is %s and no schema on the search_path is a tenant's",
						es_tenant[0] == '\0' ? "empty" : "of another transaction"),
			 errhint("Name one with event_store.tenant_use() or event_store.with_tenant().")));
}

/*
 * Let statements pass that work on the tenant of a schema, whatever its state;
 * InvalidOid ends that.  Returns what it was before, which the caller must set
 * again, also on error.
 */
Oid
es_tenant_let_pass(Oid nspid)
{
	Oid			before = let_pass;

	let_pass = nspid;
	return before;
}

/* Refuse to use a tenant that is dropped or suspended, or to write one that is read-only. */
void
es_tenant_require_state(const EsTenant *tenant, bool write)
{
	if (tenant->state == ES_TENANT_ACTIVE || (OidIsValid(let_pass) && tenant->nspid == let_pass))
		return;
	if (tenant->dropping)
		ereport(ERROR,
				(es_problem(ERRCODE_ES_TENANT_SUSPENDED,
							ES_MEMBERS(ES_TEXT("tenant", NameStr(tenant->name)), ES_TEXT("state", "dropping")),
							"tenant \"%s\" is dropped and waits to be purged", NameStr(tenant->name)),
				 errhint("Until then its owner takes that back with event_store.restore_tenant().")));
	if (tenant->state == ES_TENANT_SUSPENDED || (write && tenant->state == ES_TENANT_READ_ONLY))
		ereport(ERROR,
				(es_problem(ERRCODE_ES_TENANT_SUSPENDED,
							ES_MEMBERS(ES_TEXT("tenant", NameStr(tenant->name)),
									   ES_TEXT("state", tenant->state == ES_TENANT_SUSPENDED ? "suspended" : "read_only")),
							tenant->state == ES_TENANT_SUSPENDED ? "tenant \"%s\" is suspended" :
							"tenant \"%s\" is suspended: it can only be read", NameStr(tenant->name)),
				 errhint("Its owner lets it go on with event_store.resume_tenant().")));
}

PG_FUNCTION_INFO_V1(event_store_current_tenant);
PG_FUNCTION_INFO_V1(event_store_require_tenant);
PG_FUNCTION_INFO_V1(event_store_tenant_schema);

Datum
event_store_current_tenant(PG_FUNCTION_ARGS)
{
	EsTenant	tenant;

	if (!es_tenant_current(&tenant))
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(NameStr(tenant.name)));
}

Datum
event_store_require_tenant(PG_FUNCTION_ARGS)
{
	EsTenant	tenant;

	if (!es_tenant_current(&tenant))
		es_tenant_missing();
	es_tenant_require_state(&tenant, false);
	PG_RETURN_TEXT_P(cstring_to_text(NameStr(tenant.name)));
}

Datum
event_store_tenant_schema(PG_FUNCTION_ARGS)
{
	EsTenant	tenant;

	if (!es_tenant_find(text_to_cstring(PG_GETARG_TEXT_PP(0)), &tenant) || !OidIsValid(tenant.nspid))
		PG_RETURN_NULL();
	PG_RETURN_OID(tenant.nspid);
}
