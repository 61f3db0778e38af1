/*
 * aggregate.c
 *		Registered aggregates: how events become state.
 *
 * Owns the cache of what is registered (model/register), ready to fold.
 *
 * An aggregate in use is out of the cache and belongs to the memory context of
 * whoever uses it; es_aggregate_give puts it back.  So an error frees it along
 * with everything that the apply functions' languages remember of an
 * interrupted call, and an apply function may itself rehydrate: it gets a copy
 * of its own.
 *
 * A cache entry stays for the session and counts, in its generation, the
 * changes to anything that was looked up for it: the registry, the functions,
 * the type of the state.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "catalog/namespace.h"
#include "common/hashfn.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/params.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "base/errors.h"
#include "base/extension.h"
#include "model/aggregate.h"
#include "model/apply.h"

#define MAX_WATCHED		8
#define PATH_LENGTH		16		/* schemas of a search_path handled without allocation */

/* Something whose change makes an entry stale. */
typedef struct Watched
{
	int			cacheid;		/* PROCOID or TYPEOID */
	uint32		hash;
} Watched;

typedef struct CacheEntry
{
	char		name[ES_AGGREGATE_NAME]; /* hash key */
	EsAggregate *aggregate;		/* NULL: in use, or not loaded */
	uint64		generation;
	bool		watch_all;		/* more than fit in watched */
	int			nwatched;
	Watched		watched[MAX_WATCHED];
	Oid			state_relation; /* of a composite state, or InvalidOid */
} CacheEntry;

/* An entry of by_type. */
typedef struct TypeKey
{
	const char *type;
	int			length;
} TypeKey;

typedef struct TypeEntry
{
	TypeKey		key;			/* hash key */
	EsApply		apply;
} TypeEntry;

static HTAB *cache = NULL;
static Oid	registry = InvalidOid;	/* table OIDs, as last seen */
static Oid	apply_table = InvalidOid;

/* --- the cache --- */

static void
syscache_callback(Datum arg, int cacheid, uint32 hashvalue)
{
	HASH_SEQ_STATUS status;
	CacheEntry *entry;

	hash_seq_init(&status, cache);
	while ((entry = hash_seq_search(&status)) != NULL)
	{
		bool		hit = hashvalue == 0 || entry->watch_all;

		for (int i = 0; i < entry->nwatched && !hit; i++)
			hit = entry->watched[i].cacheid == cacheid && entry->watched[i].hash == hashvalue;
		if (hit)
			entry->generation++;
	}
}

static void
relcache_callback(Datum arg, Oid relid)
{
	HASH_SEQ_STATUS status;
	CacheEntry *entry;

	hash_seq_init(&status, cache);
	while ((entry = hash_seq_search(&status)) != NULL)
		if (!OidIsValid(relid) || relid == registry || relid == apply_table || relid == entry->state_relation)
			entry->generation++;
}

static void
watch(CacheEntry *entry, int cacheid, Oid oid)
{
	if (entry->nwatched == MAX_WATCHED)
		entry->watch_all = true;
	else
		entry->watched[entry->nwatched++] = (Watched) {cacheid, GetSysCacheHashValue1(cacheid, ObjectIdGetDatum(oid))};
}

static uint32
type_key_hash(const void *key, Size size)
{
	const TypeKey *type = key;

	return hash_bytes((const unsigned char *) type->type, type->length);
}

static int
type_key_match(const void *a, const void *b, Size size)
{
	const TypeKey *left = a;
	const TypeKey *right = b;

	return left->length == right->length && memcmp(left->type, right->type, left->length) == 0 ? 0 : 1;
}

/*
 * Remember the search_path, which a function in SQL, or one that it calls, may
 * depend on when it is prepared.
 */
static void
remember_path(EsAggregate *aggregate)
{
	aggregate->path_length = fetch_search_path_array(NULL, 0);
	aggregate->path = palloc(Max(aggregate->path_length, 1) * sizeof(Oid));
	(void) fetch_search_path_array(aggregate->path, aggregate->path_length);
}

static bool
path_is_same(const EsAggregate *aggregate)
{
	Oid			buffer[PATH_LENGTH];
	Oid		   *path = buffer;
	int			length = fetch_search_path_array(buffer, PATH_LENGTH);

	if (length != aggregate->path_length)
		return false;
	if (length > PATH_LENGTH)
	{
		path = palloc(length * sizeof(Oid));
		(void) fetch_search_path_array(path, length);
	}
	return memcmp(path, aggregate->path, length * sizeof(Oid)) == 0;
}

/* Is an aggregate from the cache still what preparing it anew would give? */
static bool
is_current(const EsAggregate *aggregate, const CacheEntry *entry)
{
	ListCell   *lc;

	if (aggregate->generation != entry->generation || aggregate->role != GetUserId() ||
		(aggregate->follows_path && !path_is_same(aggregate)))
		return false;
	foreach(lc, aggregate->functions)
		if (!((EsApply *) lfirst(lc))->planned->is_valid)
			return false;
	return true;
}

/*
 * The apply functions run as whoever calls, like triggers; so only somebody
 * who could put a trigger on the store's tables, or a superuser, may have
 * registered them, or else the caller.
 */
static void
check_trust(const EsAggregate *aggregate, const EsStore *store, Relation log)
{
	if (aggregate->owner == GetUserId() || superuser_arg(aggregate->owner) ||
		has_privs_of_role(aggregate->owner, log->rd_rel->relowner))
		return;
	ereport(ERROR,
			(es_problem(ERRCODE_INSUFFICIENT_PRIVILEGE,
						ES_MEMBERS(ES_TEXT("aggregate", aggregate->name), ES_TEXT("store", NameStr(store->schema))),
						"aggregate \"%s\" was registered by a role that does not own event store \"%s\"",
						aggregate->name, NameStr(store->schema)),
			 errhint("Its functions would run with your rights: the owner of the store must register it.")));
}

static bool
is_sql_function(Oid function)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	bool		result = HeapTupleIsValid(tuple) && ((Form_pg_proc) GETSTRUCT(tuple))->prolang == SQLlanguageId;

	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
	return result;
}

/* Prepare a function for use and fold it into what is known of the aggregate. */
static void
add_function(EsAggregate *aggregate, CacheEntry *entry, const char *signature, EsApply *apply)
{
	Oid			function = es_apply_find(signature);
	Oid			state_type;

	/* watch first, then look: a change in between must count */
	watch(entry, PROCOID, function);
	es_apply_inspect(function, &apply->form, &state_type);
	if (OidIsValid(aggregate->state_type) && aggregate->state_type != state_type)
		ereport(ERROR,
				(es_problem(ERRCODE_DATATYPE_MISMATCH,
							ES_MEMBERS(ES_TEXT("aggregate", aggregate->name), ES_TEXT("function", signature)),
							"the apply functions of aggregate \"%s\" have different states: %s and %s", aggregate->name,
							format_type_be(aggregate->state_type), format_type_be(state_type)),
				 errhint("All apply functions of an aggregate take and return one type.")));
	aggregate->state_type = state_type;
	aggregate->parameters->params[ES_PARAM_STATE].ptype = state_type;
	aggregate->definition = es_apply_hash(function, aggregate->definition);
	es_apply_prepare(apply, function, aggregate);
	aggregate->functions = lappend(aggregate->functions, apply);
	if (is_sql_function(function))
		aggregate->follows_path = true;
}

/* Read the functions for single event types. */
static void
load_functions_by_type(EsAggregate *aggregate, CacheEntry *entry)
{
	Relation	rel = table_open(apply_table, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyEntryInitialize(&key, 0, APPLY_AGGREGATE + 1, BTEqualStrategyNumber, InvalidOid, C_COLLATION_OID,
						   F_TEXTEQ, CStringGetTextDatum(aggregate->name));
	scan = systable_beginscan(rel, es_primary_key(rel), true, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Datum		values[APPLY_NCOLUMNS];
		bool		nulls[APPLY_NCOLUMNS];
		TypeKey		type;
		TypeEntry  *added;

		heap_deform_tuple(tuple, RelationGetDescr(rel), values, nulls);
		if (aggregate->by_type == NULL)
		{
			HASHCTL		ctl = {
				.keysize = sizeof(TypeKey), .entrysize = sizeof(TypeEntry),
				.hash = type_key_hash, .match = type_key_match, .hcxt = aggregate->context
			};

			aggregate->by_type = hash_create("event_store apply functions", 16, &ctl,
											 HASH_ELEM | HASH_FUNCTION | HASH_COMPARE | HASH_CONTEXT);
		}
		type.type = MemoryContextStrdup(aggregate->context, TextDatumGetCString(values[APPLY_EVENT_TYPE]));
		type.length = strlen(type.type);
		added = hash_search(aggregate->by_type, &type, HASH_ENTER, NULL);
		aggregate->definition = hash_bytes_extended((const unsigned char *) type.type, type.length, aggregate->definition);
		add_function(aggregate, entry, TextDatumGetCString(values[APPLY_FUNCTION]), &added->apply);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

/* The row of aggregate_registry with a name, palloc'd; NULL if there is none. */
HeapTuple
es_aggregate_find_row(Relation rel, const char *name)
{
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyEntryInitialize(&key, 0, REGISTRY_NAME + 1, BTEqualStrategyNumber, InvalidOid, C_COLLATION_OID,
						   F_TEXTEQ, CStringGetTextDatum(name));
	scan = systable_beginscan(rel, es_primary_key(rel), true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		tuple = heap_copytuple(tuple);
	systable_endscan(scan);
	return tuple;
}

static char *
text_or_null(Datum value, bool isnull)
{
	return isnull ? NULL : TextDatumGetCString(value);
}

/* Read an aggregate from the registry, into a context below the current one. */
static EsAggregate *
load(CacheEntry *entry, const EsStore *store, Relation log)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "event_store aggregate", ALLOCSET_SMALL_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	EsAggregate *aggregate = palloc0(sizeof(EsAggregate));
	Relation	rel;
	HeapTuple	tuple;
	Datum		values[REGISTRY_NCOLUMNS];
	bool		nulls[REGISTRY_NCOLUMNS];
	Oid			input;
	char	   *apply;

	aggregate->context = context;
	aggregate->generation = entry->generation;
	aggregate->role = GetUserId();
	remember_path(aggregate);
	aggregate->parameters = makeParamList(ES_NPARAMS);
	memset(aggregate->parameters->params, 0, ES_NPARAMS * sizeof(ParamExternData));
	aggregate->parameters->params[ES_PARAM_TYPE].ptype = TEXTOID;
	aggregate->parameters->params[ES_PARAM_DATA].ptype = JSONBOID;
	aggregate->parameters->params[ES_PARAM_EVENT].ptype = es_apply_event_type();
	aggregate->expressions = CreateStandaloneExprContext();
	aggregate->expressions->ecxt_param_list_info = aggregate->parameters;
	entry->nwatched = 0;
	entry->watch_all = false;

	rel = table_open(registry, AccessShareLock);
	tuple = es_aggregate_find_row(rel, entry->name);
	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(es_problem(ERRCODE_UNDEFINED_OBJECT, ES_MEMBERS(ES_TEXT("aggregate", entry->name)),
							"aggregate \"%s\" is not registered", entry->name),
				 errhint("Register it with event_store.register_aggregate().")));
	heap_deform_tuple(tuple, RelationGetDescr(rel), values, nulls);
	table_close(rel, AccessShareLock);

	aggregate->name = pstrdup(entry->name);
	aggregate->prefix = TextDatumGetCString(values[REGISTRY_PREFIX]);
	aggregate->owner = DatumGetObjectId(values[REGISTRY_OWNER]);
	check_trust(aggregate, store, log);
	aggregate->snapshot_every = DatumGetInt32(values[REGISTRY_SNAPSHOT_EVERY]);
	aggregate->ignore_unknown = strcmp(TextDatumGetCString(values[REGISTRY_UNKNOWN_EVENTS]), "ignore") == 0;
	aggregate->initial = text_or_null(values[REGISTRY_INITIAL], nulls[REGISTRY_INITIAL]);
	aggregate->definition = hash_bytes_uint32_extended(DatumGetInt32(values[REGISTRY_SNAPSHOT_VERSION]),
													   aggregate->ignore_unknown);
	aggregate->definition = hash_bytes_extended((const unsigned char *) aggregate->prefix,
												strlen(aggregate->prefix) + 1, aggregate->definition);
	if (aggregate->initial != NULL)
		aggregate->definition = hash_bytes_extended((const unsigned char *) aggregate->initial,
													strlen(aggregate->initial) + 1, aggregate->definition);

	apply = text_or_null(values[REGISTRY_APPLY], nulls[REGISTRY_APPLY]);
	if (apply != NULL)
	{
		aggregate->apply = palloc0(sizeof(EsApply));
		add_function(aggregate, entry, apply, aggregate->apply);
	}
	load_functions_by_type(aggregate, entry);

	watch(entry, TYPEOID, aggregate->state_type);
	entry->state_relation = get_typ_typrelid(aggregate->state_type);
	get_typlenbyval(aggregate->state_type, &aggregate->state_length, &aggregate->state_by_value);
	aggregate->state_is_jsonb = getBaseType(aggregate->state_type) == JSONBOID;
	getTypeInputInfo(aggregate->state_type, &input, &aggregate->state_parameter);
	fmgr_info_cxt(input, &aggregate->state_input, context);
	aggregate->definition = es_type_hash(aggregate->state_type, aggregate->definition);

	MemoryContextSwitchTo(caller);
	return aggregate;
}

/*
 * A registered aggregate for the caller alone, below the current memory
 * context: 42704 if there is none of this name, 42501 if whoever registered it
 * may not run functions in the store, whose open event_log is log.
 */
EsAggregate *
es_aggregate_take(const char *name, const EsStore *store, Relation log)
{
	char		key[ES_AGGREGATE_NAME] = {0};
	CacheEntry *entry;
	EsAggregate *aggregate;
	bool		found;

	if (cache == NULL)
	{
		HASHCTL		ctl = {.keysize = ES_AGGREGATE_NAME, .entrysize = sizeof(CacheEntry)};

		cache = hash_create("event_store aggregates", 16, &ctl, HASH_ELEM | HASH_BLOBS);
		CacheRegisterRelcacheCallback(relcache_callback, (Datum) 0);
		CacheRegisterSyscacheCallback(PROCOID, syscache_callback, (Datum) 0);
		CacheRegisterSyscacheCallback(TYPEOID, syscache_callback, (Datum) 0);
	}

	strlcpy(key, name, ES_AGGREGATE_NAME);
	entry = hash_search(cache, key, HASH_ENTER, &found);
	if (!found)
		memset((char *) entry + ES_AGGREGATE_NAME, 0, sizeof(CacheEntry) - ES_AGGREGATE_NAME);

	aggregate = entry->aggregate;
	entry->aggregate = NULL;
	if (aggregate != NULL && !is_current(aggregate, entry))
	{
		MemoryContextDelete(aggregate->context);
		aggregate = NULL;
	}
	if (aggregate == NULL)
	{
		registry = es_extension_relation("aggregate_registry");
		apply_table = es_extension_relation("aggregate_apply");
		aggregate = load(entry, store, log);
	}
	else
	{
		MemoryContextSetParent(aggregate->context, CurrentMemoryContext);
		check_trust(aggregate, store, log);
	}
	return aggregate;
}

/* Give an aggregate back, after a use that went well. */
void
es_aggregate_give(EsAggregate *aggregate)
{
	char		key[ES_AGGREGATE_NAME] = {0};
	CacheEntry *entry;

	strlcpy(key, aggregate->name, ES_AGGREGATE_NAME);
	entry = hash_search(cache, key, HASH_FIND, NULL);
	if (entry->aggregate != NULL || aggregate->generation != entry->generation)
		MemoryContextDelete(aggregate->context);
	else
	{
		MemoryContextSetParent(aggregate->context, CacheMemoryContext);
		entry->aggregate = aggregate;
	}
}

/* The function for an event type, NULL if there is none. */
EsApply *
es_aggregate_apply(EsAggregate *aggregate, const char *type, int length)
{
	if (aggregate->by_type != NULL)
	{
		TypeKey		key = {type, length};
		TypeEntry  *entry = hash_search(aggregate->by_type, &key, HASH_FIND, NULL);

		if (entry != NULL)
			return &entry->apply;
	}
	return aggregate->apply;
}
