/*
 * prepared.c
 *		Registered things with functions of users, cached ready to call.
 *
 * A registered aggregate or command names functions.  They are looked up and
 * planned once a session: a call is an expression over parameters, so a
 * function in SQL that is one expression costs no call at all.
 *
 * A thing in use is out of the cache and belongs to the memory context of
 * whoever uses it; es_prepared_give puts it back.  So an error frees it along
 * with everything that the functions' languages remember of an interrupted
 * call, and a function that leads back to the same thing gets a copy of its
 * own.
 *
 * The entry of a thing that was there stays for the session and counts, in its
 * generation, the changes to anything that was looked up for it: the registry,
 * the functions, the types.  What planning has assumed beyond that is watched by the
 * CachedExpression; the role and the search_path are compared.
 *
 * The functions run as whoever calls, like triggers; so only somebody who
 * could put a trigger on the store's tables, or a superuser, may have
 * registered them, or else the caller.
 *
 * What is called by no name but always, as upcasters and middleware, is one
 * thing made of all rows of its registry.  There the rows of others are passed
 * over, the caller's too: a read must not depend on who reads.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
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
#include "model/prepared.h"

#define MAX_WATCHED		8
#define PATH_LENGTH		16		/* schemas of a search_path handled without allocation */

/* Something whose change makes an entry stale. */
typedef struct Watched
{
	int			cacheid;		/* PROCOID or TYPEOID */
	uint32		hash;
} Watched;

typedef struct EntryKey
{
	const EsPreparedKind *kind;
	char		name[ES_PREPARED_NAME];
} EntryKey;

typedef struct EsPreparedEntry
{
	EntryKey	key;			/* hash key */
	EsPrepared *prepared;		/* NULL: in use, or not loaded */
	uint64		generation;
	Oid			registry;
	Oid			relation;		/* of a composite type, or InvalidOid */
	bool		watch_all;		/* more than fit in watched */
	int			nwatched;
	Watched		watched[MAX_WATCHED];
} EsPreparedEntry;

static HTAB *cache = NULL;

static void
syscache_callback(Datum arg, int cacheid, uint32 hashvalue)
{
	HASH_SEQ_STATUS status;
	EsPreparedEntry *entry;

	hash_seq_init(&status, cache);
	while ((entry = hash_seq_search(&status)) != NULL)
	{
		bool		hit = hashvalue == 0 || entry->watch_all || cacheid == AUTHMEMROLEMEM || cacheid == AUTHOID;

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
	EsPreparedEntry *entry;

	hash_seq_init(&status, cache);
	while ((entry = hash_seq_search(&status)) != NULL)
		if (!OidIsValid(relid) || relid == entry->registry || relid == entry->relation)
			entry->generation++;
}

static void
watch(EsPreparedEntry *entry, int cacheid, Oid oid)
{
	if (entry->nwatched == MAX_WATCHED)
		entry->watch_all = true;
	else
		entry->watched[entry->nwatched++] = (Watched) {cacheid, GetSysCacheHashValue1(cacheid, ObjectIdGetDatum(oid))};
}

/* Make the thing stale when the definition of a type changes. */
void
es_prepared_watch_type(EsPrepared *prepared, Oid type)
{
	watch(prepared->entry, TYPEOID, type);
	prepared->entry->relation = get_typ_typrelid(type);
}

/* Make the thing stale when any function changes, for one that was looked for and not found. */
void
es_prepared_watch_functions(EsPrepared *prepared)
{
	prepared->entry->watch_all = true;
}

/* The row of a registry with a name, palloc'd; NULL if there is none. */
HeapTuple
es_prepared_find_row(Relation registry, const char *name)
{
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyEntryInitialize(&key, 0, 1, BTEqualStrategyNumber, InvalidOid, C_COLLATION_OID,
						   F_TEXTEQ, CStringGetTextDatum(name));
	scan = systable_beginscan(registry, es_primary_key(registry), true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		tuple = heap_copytuple(tuple);
	systable_endscan(scan);
	return tuple;
}

/*
 * Remember the search_path, which a function in SQL, or one that it calls, may
 * depend on when it is prepared.
 */
static void
remember_path(EsPrepared *prepared)
{
	prepared->path_length = fetch_search_path_array(NULL, 0);
	prepared->path = palloc(Max(prepared->path_length, 1) * sizeof(Oid));
	(void) fetch_search_path_array(prepared->path, prepared->path_length);
}

static bool
path_is_same(const EsPrepared *prepared)
{
	Oid			buffer[PATH_LENGTH];
	Oid		   *path = buffer;
	int			length = fetch_search_path_array(buffer, PATH_LENGTH);

	if (length != prepared->path_length)
		return false;
	if (length > PATH_LENGTH)
	{
		path = palloc(length * sizeof(Oid));
		(void) fetch_search_path_array(path, length);
	}
	return memcmp(path, prepared->path, length * sizeof(Oid)) == 0;
}

/* Is a thing from the cache still what preparing it anew would give? */
static bool
is_current(const EsPrepared *prepared)
{
	ListCell   *lc;

	if (prepared->generation != prepared->entry->generation || prepared->role != GetUserId() ||
		(prepared->follows_path && !path_is_same(prepared)))
		return false;
	foreach(lc, prepared->calls)
		if (!((EsCall *) lfirst(lc))->planned->is_valid)
			return false;
	return true;
}

/* Does a thing made of all rows take in the row of a role? */
bool
es_prepared_trusts(const EsPrepared *prepared, Oid registered_by)
{
	return superuser_arg(registered_by) || has_privs_of_role(registered_by, prepared->owner);
}

static void
check_trust(const EsPrepared *prepared, const EsStore *store, Relation log)
{
	if (prepared->owner == GetUserId() || superuser_arg(prepared->owner) ||
		has_privs_of_role(prepared->owner, log->rd_rel->relowner))
		return;
	ereport(ERROR,
			(es_problem(ERRCODE_INSUFFICIENT_PRIVILEGE,
						ES_MEMBERS(ES_TEXT(prepared->kind->what, prepared->name),
								   ES_TEXT("store", NameStr(store->schema))),
						"%s \"%s\" was registered by a role that does not own event store \"%s\"",
						prepared->kind->what, prepared->name, NameStr(store->schema)),
			 errhint("Its functions would run with your rights: the owner of the store must register it.")));
}

static void
free_planned(void *arg)
{
	FreeCachedExpression(arg);
}

/*
 * Prepare a call of a function whose arguments are the parameters with these
 * numbers; their types must be set.  It stays with the thing, in its context.
 * The caller's right to execute the function is checked here.
 */
void
es_prepared_add(EsPrepared *prepared, EsCall *call, Oid function, int nargs, const int *params)
{
	MemoryContext caller = MemoryContextSwitchTo(prepared->context);
	MemoryContextCallback *callback = palloc(sizeof(MemoryContextCallback));
	HeapTuple	tuple;
	List	   *arguments = NIL;
	Expr	   *planned;

	/* watch first, then look: a change in between must count */
	watch(prepared->entry, PROCOID, function);
	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function);
	call->function = function;
	call->result = ((Form_pg_proc) GETSTRUCT(tuple))->prorettype;
	if (((Form_pg_proc) GETSTRUCT(tuple))->prolang == SQLlanguageId)
		prepared->follows_path = true;
	ReleaseSysCache(tuple);

	for (int i = 0; i < nargs; i++)
	{
		Param	   *param = makeNode(Param);

		param->paramkind = PARAM_EXTERN;
		param->paramid = params[i] + 1;
		param->paramtype = prepared->parameters->params[params[i]].ptype;
		param->paramtypmod = -1;
		param->paramcollid = get_typcollation(param->paramtype);
		param->location = -1;
		arguments = lappend(arguments, param);
	}
	call->planned = GetCachedExpression((Node *) makeFuncExpr(function, call->result, arguments,
															  get_typcollation(call->result),
															  DEFAULT_COLLATION_OID, COERCE_EXPLICIT_CALL));
	callback->func = free_planned;
	callback->arg = call->planned;
	MemoryContextRegisterResetCallback(prepared->context, callback);

	planned = (Expr *) call->planned->expr;
	call->inlined = !IsA(planned, FuncExpr) || ((FuncExpr *) planned)->funcid != function;
	call->expression = ExecInitExprWithParams(planned, prepared->parameters);
	prepared->calls = lappend(prepared->calls, call);
	MemoryContextSwitchTo(caller);
}

static void
raise_missing(const EsPreparedKind *kind, const char *name)
{
	ereport(ERROR,
			(es_problem(kind->missing, ES_MEMBERS(ES_TEXT(kind->what, name)), "%s \"%s\" is not registered", kind->what, name),
			 errhint("%s", kind->hint)));
}

/* Read a thing from its registry, or from all of it, into a context below the current one. */
static EsPrepared *
load(EsPreparedEntry *entry, bool all, const EsStore *store, Relation log)
{
	const EsPreparedKind *kind = entry->key.kind;
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "event_store prepared", ALLOCSET_SMALL_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);
	EsPrepared *prepared = palloc0(kind->size);
	Relation	rel;
	HeapTuple	tuple;
	Datum	   *values = NULL;
	bool	   *nulls = NULL;

	entry->nwatched = 0;
	entry->watch_all = false;
	entry->registry = es_extension_relation(kind->registry);
	prepared->kind = kind;
	prepared->entry = entry;
	/* what is watched for a copy in use is forgotten here, so that one is not kept */
	prepared->generation = ++entry->generation;
	prepared->context = context;
	prepared->name = pstrdup(entry->key.name);
	prepared->role = GetUserId();
	remember_path(prepared);
	prepared->parameters = makeParamList(ES_MAX_PARAMS);
	memset(prepared->parameters->params, 0, ES_MAX_PARAMS * sizeof(ParamExternData));
	prepared->expressions = CreateStandaloneExprContext();
	prepared->expressions->ecxt_param_list_info = prepared->parameters;

	if (all)
		prepared->owner = log->rd_rel->relowner;
	else
	{
		rel = table_open(entry->registry, AccessShareLock);
		tuple = es_prepared_find_row(rel, prepared->name);
		if (!HeapTupleIsValid(tuple))
		{
			/* names that never were shall not pile up in the session */
			if (entry->generation == 1)
				hash_search(cache, &entry->key, HASH_REMOVE, NULL);
			raise_missing(kind, prepared->name);
		}
		values = palloc(RelationGetDescr(rel)->natts * sizeof(Datum));
		nulls = palloc(RelationGetDescr(rel)->natts * sizeof(bool));
		heap_deform_tuple(tuple, RelationGetDescr(rel), values, nulls);
		table_close(rel, AccessShareLock);

		/* before anything of the registering role's is looked at: planning may evaluate it */
		prepared->owner = DatumGetObjectId(values[kind->owner]);
		check_trust(prepared, store, log);
	}
	kind->load(prepared, values, nulls);
	MemoryContextSwitchTo(caller);
	return prepared;
}

/* The thing of a name, or the one of all rows, from the cache or loaded. */
static EsPrepared *
take(const EsPreparedKind *kind, const char *name, bool all, const EsStore *store, Relation log)
{
	EntryKey	key;
	EsPreparedEntry *entry;
	EsPrepared *prepared;
	bool		found;

	if (cache == NULL)
	{
		HASHCTL		ctl = {.keysize = sizeof(EntryKey), .entrysize = sizeof(EsPreparedEntry)};

		cache = hash_create("event_store prepared", 16, &ctl, HASH_ELEM | HASH_BLOBS);
		CacheRegisterRelcacheCallback(relcache_callback, (Datum) 0);
		CacheRegisterSyscacheCallback(PROCOID, syscache_callback, (Datum) 0);
		CacheRegisterSyscacheCallback(TYPEOID, syscache_callback, (Datum) 0);
		/* the right to execute a function may come with a role */
		CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, syscache_callback, (Datum) 0);
		CacheRegisterSyscacheCallback(AUTHOID, syscache_callback, (Datum) 0);
	}

	memset(&key, 0, sizeof(key));
	key.kind = kind;
	strlcpy(key.name, name, ES_PREPARED_NAME);
	entry = hash_search(cache, &key, HASH_ENTER, &found);
	if (!found)
		memset((char *) entry + sizeof(EntryKey), 0, sizeof(EsPreparedEntry) - sizeof(EntryKey));

	prepared = entry->prepared;
	entry->prepared = NULL;
	if (prepared != NULL && !is_current(prepared))
	{
		MemoryContextDelete(prepared->context);
		prepared = NULL;
	}
	if (prepared == NULL)
		return load(entry, all, store, log);
	MemoryContextSetParent(prepared->context, CurrentMemoryContext);
	if (!all)
		check_trust(prepared, store, log);
	return prepared;
}

/*
 * A registered thing for the caller alone, below the current memory context:
 * kind->missing if there is none of this name, 42501 if whoever registered it may not
 * run functions in the store, whose open event_log is log.
 */
EsPrepared *
es_prepared_take(const EsPreparedKind *kind, const char *name, const EsStore *store, Relation log)
{
	/* no such name can be registered, and what is left of it might be */
	if (strlen(name) >= ES_PREPARED_NAME)
		raise_missing(kind, name);
	return take(kind, name, false, store, log);
}

/*
 * The thing that is made of all rows of a registry that es_prepared_trusts lets
 * in, likewise.  Stores of one owner share it.
 */
EsPrepared *
es_prepared_take_all(const EsPreparedKind *kind, const EsStore *store, Relation log)
{
	char		owner[12];

	snprintf(owner, sizeof(owner), "%u", log->rd_rel->relowner);
	return take(kind, owner, true, store, log);
}

/* Give a thing back, after a use that went well. */
void
es_prepared_give(EsPrepared *prepared)
{
	EsPreparedEntry *entry = prepared->entry;

	if (entry->prepared != NULL || prepared->generation != entry->generation)
		MemoryContextDelete(prepared->context);
	else
	{
		MemoryContextSetParent(prepared->context, CacheMemoryContext);
		entry->prepared = prepared;
	}
}
