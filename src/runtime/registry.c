/*
 * registry.c
 *		Registries: names that sessions hold, as SQL sees them.
 *
 * A registry is a row of event_store.registry_definitions; the names in it are
 * in shared memory (runtime/names), for each tenant apart.  A session
 * remembers the registries it has used until an invalidation of that table.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"

#include "base/arguments.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/extension.h"
#include "base/shared.h"
#include "base/settings.h"
#include "model/prepared.h"
#include "model/registry.h"
#include "runtime/registry.h"
#include "store/tenant.h"

#define DEFINITIONS		"registry_definitions"

/* Columns of registry_definitions. */
enum RegistryColumn
{
	REGISTRY_NAME,
	REGISTRY_NUMBER,
	REGISTRY_KEYS,
	REGISTRY_META,
	REGISTRY_OWNER,
	REGISTRY_CREATED_AT,
	REGISTRY_NCOLUMNS
};

static HTAB *known = NULL;		/* EsRegistry */
static Oid	definitions = InvalidOid;

/* --- definitions --- */

static void
forget_known(Datum argument, Oid relid)
{
	if (known != NULL && (!OidIsValid(relid) || relid == definitions))
	{
		hash_destroy(known);
		known = NULL;
	}
}

static void
check_name(const char *name)
{
	if (name[0] == '\0' || strlen(name) >= NAMEDATALEN)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("registry", name)),
							"the name of the registry has %zu bytes", strlen(name)),
				 errhint("A name has 1 to %d bytes.", NAMEDATALEN - 1)));
}

static void
no_such_registry(const char *name)
{
	ereport(ERROR,
			(es_problem(ERRCODE_UNDEFINED_OBJECT, ES_MEMBERS(ES_TEXT("registry", name)),
						"registry \"%s\" does not exist", name),
			 errhint("Make it with event_store.registry_create().")));
}

/* The registry that an argument names, copied. */
EsRegistry
es_registry_argument(FunctionCallInfo fcinfo, int argument)
{
	static bool watching = false;
	HASHCTL		ctl = {.keysize = NAMEDATALEN, .entrysize = sizeof(EsRegistry)};
	char	   *name;
	Relation	rel;
	HeapTuple	tuple;
	Datum		values[REGISTRY_NCOLUMNS];
	bool		nulls[REGISTRY_NCOLUMNS];
	EsRegistry	result = {""};
	EsRegistry *entry;
	bool		found;

	es_require_argument(fcinfo, argument, "registry");
	name = text_to_cstring(PG_GETARG_TEXT_PP(argument));
	check_name(name);
	if (!watching)
	{
		CacheRegisterRelcacheCallback(forget_known, (Datum) 0);
		watching = true;
	}
	AcceptInvalidationMessages();
	strlcpy(result.name, name, NAMEDATALEN);
	entry = known ? hash_search(known, result.name, HASH_FIND, NULL) : NULL;
	if (entry != NULL)
		return *entry;

	rel = es_extension_open(DEFINITIONS, AccessShareLock);
	tuple = es_prepared_find_row(rel, name);
	if (!HeapTupleIsValid(tuple))
		no_such_registry(name);
	heap_deform_tuple(tuple, RelationGetDescr(rel), values, nulls);
	result.number = DatumGetInt64(values[REGISTRY_NUMBER]);
	result.unique = strcmp(TextDatumGetCString(values[REGISTRY_KEYS]), "unique") == 0;
	/* what this transaction has made may yet be undone */
	if (!TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetXmin(tuple->t_data)))
	{
		definitions = RelationGetRelid(rel);
		if (known == NULL)
			known = hash_create("event_store registries", 16, &ctl, HASH_ELEM | HASH_STRINGS);
		entry = hash_search(known, result.name, HASH_ENTER, &found);
		*entry = result;
	}
	table_close(rel, AccessShareLock);
	return result;
}

/* Where the caller's names of a registry are: those of the tenant, if the call is for one. */
EsNamespace
es_registry_space(const EsRegistry *registry)
{
	EsNamespace space = {.registry = registry->number, .nspid = InvalidOid};
	EsTenant	tenant;

	if (es_tenant_current(&tenant))
		space.nspid = tenant.nspid;
	return space;
}

/* --- arguments --- */

char *
es_registry_key(FunctionCallInfo fcinfo, int argument)
{
	char	   *key;

	es_require_argument(fcinfo, argument, "key");
	key = text_to_cstring(PG_GETARG_TEXT_PP(argument));
	if (key[0] == '\0' || strlen(key) > ES_NAME_KEY_MAX)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_INT("bytes", strlen(key))),
							"the key has %zu bytes", strlen(key)),
				 errhint("A key has 1 to %d bytes.", ES_NAME_KEY_MAX)));
	return key;
}

void
es_registry_check_size(const char *what, const Jsonb *value)
{
	if (VARSIZE(value) > ES_NAME_VALUE_MAX)
		ereport(ERROR,
				(es_problem(ERRCODE_PROGRAM_LIMIT_EXCEEDED, ES_MEMBERS(ES_INT("bytes", VARSIZE(value))),
							"the %s has %u bytes", what, (unsigned) VARSIZE(value)),
				 errhint("At most %d bytes fit into shared memory; keep the rest in a table.", ES_NAME_VALUE_MAX)));
}

/* A jsonb that is to go into shared memory: not compressed, with a long header. */
Jsonb *
es_registry_value(FunctionCallInfo fcinfo, int argument, const char *name)
{
	Jsonb	   *value;

	es_require_argument(fcinfo, argument, name);
	value = PG_GETARG_JSONB_P(argument);
	es_registry_check_size(name, value);
	return value;
}

/* The function of an argument, ready to be called with these types by the caller. */
void
es_registry_function(FunctionCallInfo fcinfo, int argument, int nargs, const Oid *types, const char *signature, FmgrInfo *function)
{
	Oid			oid;
	Oid		   *argtypes;
	int			n;

	es_require_argument(fcinfo, argument, "fn");
	oid = PG_GETARG_OID(argument);
	es_require_function(oid);
	if (get_func_rettype(oid) != JSONBOID || get_func_retset(oid))
		n = -1;
	else
		(void) get_func_signature(oid, &argtypes, &n);
	if (n != nargs || memcmp(argtypes, types, n * sizeof(Oid)) != 0)
		ereport(ERROR,
				(es_problem(ERRCODE_UNDEFINED_FUNCTION, NULL, "function %s does not fit", format_procedure_qualified(oid)),
				 errhint("It is to be %s.", signature)));
	if (!es_may_execute(oid, GetUserId()))
		ereport(ERROR,
				(es_problem(ERRCODE_INSUFFICIENT_PRIVILEGE, NULL, "permission denied for function %s", format_procedure_qualified(oid)),
				 errhint("Its owner gives rights with GRANT EXECUTE.")));
	fmgr_info(oid, function);
}

/* Raise the error for a name that could not be taken, if it could not. */
void
es_registry_claimed(EsClaim claimed, const EsRegistry *registry, const char *key, int holder)
{
	switch (claimed)
	{
		case ES_CLAIMED:
			break;
		case ES_CLAIM_TAKEN:
			ereport(ERROR,
					(es_problem(ERRCODE_ES_ALREADY_REGISTERED,
								ES_MEMBERS(ES_TEXT("registry", registry->name), ES_TEXT("key", key), ES_INT("pid", holder)),
								"key \"%s\" of registry \"%s\" is held by process %d", key, registry->name, holder),
					 errhint("It is free when that session gives it up or ends.")));
			break;
		case ES_CLAIM_TABLE_FULL:
			ereport(ERROR,
					(es_problem(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED, ES_MEMBERS(ES_INT("max_registered", es_max_registered)),
								"there are %d names in the registries of the server already", es_max_registered),
					 errhint("Raise event_store.max_registered and restart the server, or give names up.")));
			break;
		case ES_CLAIM_POOL_FULL:
			es_shared_full("another name");
			break;
	}
}

PG_FUNCTION_INFO_V1(event_store_registry_create);
PG_FUNCTION_INFO_V1(event_store_registry_drop);
PG_FUNCTION_INFO_V1(event_store_registry_meta);
PG_FUNCTION_INFO_V1(event_store_registry_put_meta);
PG_FUNCTION_INFO_V1(event_store_registry_lock);

/* --- registries --- */

/* (name, keys) */
Datum
event_store_registry_create(PG_FUNCTION_ARGS)
{
	char	   *name;
	char	   *keys;
	Relation	rel;
	Datum		values[REGISTRY_NCOLUMNS];
	bool		nulls[REGISTRY_NCOLUMNS] = {0};
	uint64		number;

	es_require_writable();
	es_require_argument(fcinfo, 0, "name");
	es_require_argument(fcinfo, 1, "keys");
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	keys = text_to_cstring(PG_GETARG_TEXT_PP(1));
	check_name(name);
	if (strcmp(keys, "unique") != 0 && strcmp(keys, "duplicate") != 0)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("keys", keys)),
							"keys cannot be \"%s\"", keys),
				 errhint("Keys are unique, one holder each, or duplicate, any number.")));
	es_registry_check_rights("registry", name);
	if (!pg_strong_random(&number, sizeof(number)))
		elog(ERROR, "could not generate a random number");

	rel = es_extension_open(DEFINITIONS, ShareRowExclusiveLock);
	if (HeapTupleIsValid(es_prepared_find_row(rel, name)))
		ereport(ERROR,
				(es_problem(ERRCODE_DUPLICATE_OBJECT, ES_MEMBERS(ES_TEXT("registry", name)),
							"registry \"%s\" already exists", name),
				 errhint("Choose another name, or drop it with event_store.registry_drop().")));
	values[REGISTRY_NAME] = CStringGetTextDatum(name);
	values[REGISTRY_NUMBER] = Int64GetDatum((int64) (number >> 1) | 1);
	values[REGISTRY_KEYS] = CStringGetTextDatum(keys);
	values[REGISTRY_META] = DirectFunctionCall1(jsonb_in, CStringGetDatum("{}"));
	values[REGISTRY_OWNER] = ObjectIdGetDatum(GetUserId());
	values[REGISTRY_CREATED_AT] = TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());
	CatalogTupleInsert(rel, heap_form_tuple(RelationGetDescr(rel), values, nulls));
	CacheInvalidateRelcache(rel);
	table_close(rel, NoLock);
	CommandCounterIncrement();
	PG_RETURN_VOID();
}

/* The row of a registry that the caller may change, in the table opened and locked. */
static HeapTuple
row_to_change(Relation *rel, const char *name)
{
	HeapTuple	tuple;

	es_require_writable();
	*rel = es_extension_open(DEFINITIONS, ShareRowExclusiveLock);
	tuple = es_registry_row_to_change(*rel, "registry", name, REGISTRY_OWNER);
	if (!HeapTupleIsValid(tuple))
		no_such_registry(name);
	return tuple;
}

/* (name): what sessions hold in it is found by nobody any more */
Datum
event_store_registry_drop(PG_FUNCTION_ARGS)
{
	EsRegistry	registry = es_registry_argument(fcinfo, 0);
	Relation	rel;
	HeapTuple	tuple = row_to_change(&rel, registry.name);

	CatalogTupleDelete(rel, &tuple->t_self);
	CacheInvalidateRelcache(rel);
	table_close(rel, NoLock);
	CommandCounterIncrement();
	PG_RETURN_VOID();
}

/* (registry, key): NULL if there is none */
Datum
event_store_registry_meta(PG_FUNCTION_ARGS)
{
	EsRegistry	registry = es_registry_argument(fcinfo, 0);
	char	   *key = es_registry_key(fcinfo, 1);
	Relation	rel = es_extension_open(DEFINITIONS, AccessShareLock);
	HeapTuple	tuple = es_prepared_find_row(rel, registry.name);
	JsonbValue *value = NULL;
	bool		isnull;

	if (HeapTupleIsValid(tuple))
	{
		Jsonb	   *meta = DatumGetJsonbP(heap_getattr(tuple, REGISTRY_META + 1, RelationGetDescr(rel), &isnull));

		value = getKeyJsonValueFromContainer(&meta->root, key, strlen(key), NULL);
	}
	table_close(rel, AccessShareLock);
	if (value == NULL)
		PG_RETURN_NULL();
	PG_RETURN_JSONB_P(JsonbValueToJsonb(value));
}

/* (registry, key, value): null takes it away */
Datum
event_store_registry_put_meta(PG_FUNCTION_ARGS)
{
	EsRegistry	registry = es_registry_argument(fcinfo, 0);
	char	   *key = es_registry_key(fcinfo, 1);
	Relation	rel;
	HeapTuple	tuple = row_to_change(&rel, registry.name);
	Datum		values[REGISTRY_NCOLUMNS];
	bool		nulls[REGISTRY_NCOLUMNS];
	bool		replace[REGISTRY_NCOLUMNS] = {[REGISTRY_META] = true};
	Datum		meta;

	heap_deform_tuple(tuple, RelationGetDescr(rel), values, nulls);
	meta = DirectFunctionCall2(jsonb_delete, values[REGISTRY_META], CStringGetTextDatum(key));
	if (!PG_ARGISNULL(2))
	{
		StringInfoData json;

		initStringInfo(&json);
		appendStringInfoChar(&json, '{');
		escape_json(&json, key);
		appendStringInfo(&json, ":%s}", DatumGetCString(DirectFunctionCall1(jsonb_out, PG_GETARG_DATUM(2))));
		meta = DirectFunctionCall2(jsonb_concat, meta, DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data)));
	}
	es_registry_check_size("metadata", DatumGetJsonbP(meta));
	values[REGISTRY_META] = meta;
	CatalogTupleUpdate(rel, &tuple->t_self, heap_modify_tuple(tuple, RelationGetDescr(rel), values, nulls, replace));
	table_close(rel, NoLock);
	CommandCounterIncrement();
	PG_RETURN_VOID();
}

/* (registry, key): held until the transaction ends */
Datum
event_store_registry_lock(PG_FUNCTION_ARGS)
{
	EsRegistry	registry = es_registry_argument(fcinfo, 0);
	EsNamespace space = es_registry_space(&registry);
	char	   *key = es_registry_key(fcinfo, 1);
	uint64		hash = hash_bytes_extended((const unsigned char *) key, strlen(key),
										   (uint64) space.registry ^ ((uint64) space.nspid << 32));
	LOCKTAG		tag;

	/* in the class of our own locks, where the relation is no store's log */
	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, es_extension_relation(DEFINITIONS), (uint32) hash, (uint16) (hash >> 32));
	tag.locktag_type = LOCKTAG_USERLOCK;
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
	PG_RETURN_VOID();
}
