/*
 * store.c
 *		Which store a call goes to, and what is known of it.
 *
 * A store is a schema with the tables event_log, event_streams and event_mark
 * and the sequence event_position; event_tags is there if its owner has enabled
 * tags.  Its identity is the number in event_mark;
 * it is registered when that number stands in event_store.store_registry.  So
 * rename, dump, restore and DROP EXTENSION need no bookkeeping.
 *
 * The store in use is that of the current tenant (store/tenant) or the first
 * one on the search_path.  What is known of a
 * store is cached by the OID of its schema.  An invalidation of its relations,
 * of schemas or of subscriptions clears `valid`, and the next look-up loads
 * anew; what was replaced is freed in a later transaction, since callers up the stack may
 * still hold the pointer.  So is the store that was not used for longest, once
 * there are more than event_store.store_cache_size.  Schemas that are no store are not cached here: the
 * system caches answer for them.
 *
 * Whoever opens a table of the store must look at `valid` again once it has
 * the lock (es_store_open_log does).
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relation.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_subscription_rel.h"
#include "catalog/pg_trigger.h"
#include "miscadmin.h"
#include "parser/parse_func.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "base/arguments.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/extension.h"
#include "base/settings.h"
#include "base/xact.h"
#include "store/columns.h"
#include "store/index.h"
#include "store/payload.h"
#include "store/store.h"
#include "store/tenant.h"
#include "store/tenant_limit.h"

#define PATH_LENGTH		16		/* schemas of a search_path handled without allocation */

typedef struct CacheEntry
{
	Oid			nspid;			/* hash key */
	EsStore    *store;
} CacheEntry;

typedef struct Replaced
{
	struct Replaced *next;
	uint64		transaction;	/* in which it was replaced */
	bool		evicted;		/* it made room, nothing has changed */
	EsStore    *store;
} Replaced;

static HTAB *cache = NULL;
static Replaced *replaced = NULL;
static uint64 uses = 0;			/* of stores in the cache */
static uint64 vanished = 0;		/* relations that went while they were looked at */

static void
relation_changed(EsStore *s, Oid relid)
{
	if (!OidIsValid(relid) || relid == s->log || relid == s->streams || relid == s->mark || relid == s->sequence ||
		relid == s->tags || relid == s->former_tags)
		s->valid = false;
}

static void
relcache_callback(Datum arg, Oid relid)
{
	HASH_SEQ_STATUS status;
	CacheEntry *entry;

	hash_seq_init(&status, cache);
	while ((entry = hash_seq_search(&status)) != NULL)
		if (entry->store != NULL)
			relation_changed(entry->store, relid);
	for (Replaced *r = replaced; r != NULL; r = r->next)
		relation_changed(r->store, relid);
}

/* A schema has changed, or (hash value 0) anything. */
static void
namespace_callback(Datum arg, int cacheid, uint32 hashvalue)
{
	HASH_SEQ_STATUS status;
	CacheEntry *entry;

	hash_seq_init(&status, cache);
	while ((entry = hash_seq_search(&status)) != NULL)
		if (entry->store != NULL && (hashvalue == 0 || entry->store->nsphash == hashvalue))
			entry->store->valid = false;
	for (Replaced *r = replaced; r != NULL; r = r->next)
		if (hashvalue == 0 || r->store->nsphash == hashvalue)
			r->store->valid = false;
}

/* Subscriptions change rarely: look at every store anew. */
static void
subscription_callback(Datum arg, int cacheid, uint32 hashvalue)
{
	namespace_callback(arg, cacheid, 0);
}

/* Free a store that is out of the cache, but not while this transaction lasts. */
static void
replace(EsStore *store, bool evicted)
{
	Replaced   *r = MemoryContextAlloc(TopMemoryContext, sizeof(Replaced));

	r->next = replaced;
	r->transaction = es_xact_number();
	r->evicted = evicted;
	r->store = store;
	replaced = r;
}

/*
 * Let this session forget what the server knows of the relations of a store.
 * The server itself never does; with thousands of stores it is most of the
 * memory of a session.
 */
static void
forget_relations(const EsStore *store)
{
	const Oid	relations[] = {store->log, store->streams, store->mark, store->sequence,
	store->streams_by_id, store->streams_by_name, store->tags};

	for (int i = 0; i < lengthof(relations); i++)
		if (OidIsValid(relations[i]))
			RelationCacheInvalidateEntry(relations[i]);
	for (int i = 0; i < store->nindexes; i++)
		RelationCacheInvalidateEntry(store->indexes[i].oid);
	for (int i = 0; i < store->ntag_indexes; i++)
		RelationCacheInvalidateEntry(store->tag_indexes[i].oid);
}

/* Take the store that was not used for longest out of the cache if that is over its size. */
static void
make_room(void)
{
	HASH_SEQ_STATUS status;
	CacheEntry *entry;
	CacheEntry *oldest = NULL;

	if (hash_get_num_entries(cache) <= es_store_cache_size)
		return;
	hash_seq_init(&status, cache);
	while ((entry = hash_seq_search(&status)) != NULL)
		if (oldest == NULL || entry->store == NULL ||
			(oldest->store != NULL && entry->store->used < oldest->store->used))
			oldest = entry;
	if (oldest->store != NULL)
		replace(oldest->store, true);
	(void) hash_search(cache, &oldest->nspid, HASH_REMOVE, NULL);
}

/* Free the stores that no caller can hold any more. */
static void
free_replaced(void)
{
	Replaced  **link = &replaced;

	while (*link != NULL)
	{
		Replaced   *r = *link;

		if (r->transaction == es_xact_number())
		{
			link = &r->next;
			continue;
		}
		*link = r->next;
		for (int i = 0; i < ES_STMT_COUNT; i++)
			if (r->store->plans[i] != NULL)
				SPI_freeplan(r->store->plans[i]);
		if (r->evicted)
			forget_relations(r->store);
		MemoryContextDelete(r->store->context);
		pfree(r);
	}
}

/* Does the number stand in the registry? */
bool
es_store_is_registered(int64 number)
{
	Oid			relid = es_extension_relation("store_registry");
	Relation	rel;
	SysScanDesc scan;
	ScanKeyData key;
	bool		found;

	if (!OidIsValid(relid))
		return false;

	rel = table_open(relid, AccessShareLock);
	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(number));
	scan = systable_beginscan(rel, es_primary_key(rel), true, NULL, 1, &key);
	found = HeapTupleIsValid(systable_getnext(scan));
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}

/* Read the one row of event_mark; false if the table is not as we make it or empty. */
static bool
read_mark(Oid relid, Datum *values, bool *nulls, bool *has_index)
{
	Relation	rel = try_relation_open(relid, AccessShareLock);
	bool		found = false;

	if (rel == NULL)
	{
		vanished++;
		return false;
	}
	if (rel->rd_rel->relkind == RELKIND_RELATION && RelationGetDescr(rel)->natts == MARK_NCOLUMNS &&
		es_columns_defect(rel, ES_COLUMNS_MARK) == NULL)
	{
		SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
		HeapTuple	tuple = systable_getnext(scan);

		if (HeapTupleIsValid(tuple))
		{
			heap_deform_tuple(tuple, RelationGetDescr(rel), values, nulls);
			found = !nulls[MARK_STORE_NUMBER] && !nulls[MARK_LAYOUT];
			/* the columns that a store is known by are passed by value, so the row may go */
		}
		systable_endscan(scan);
		*has_index = RelationGetIndexList(rel) != NIL;
	}
	relation_close(rel, AccessShareLock);
	return found;
}

/*
 * Does a subscription of this database write the table?  Sets *copying if it
 * has not yet got over all rows that were there before.
 */
static bool
is_subscribed(Oid relid, bool *copying)
{
	Relation	rel = table_open(SubscriptionRelRelationId, AccessShareLock);
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple	tuple;
	bool		found = false;

	ScanKeyInit(&key, Anum_pg_subscription_rel_srrelid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(relid));
	scan = systable_beginscan(rel, SubscriptionRelSrrelidSrsubidIndexId, true, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		found = true;
		if (((Form_pg_subscription_rel) GETSTRUCT(tuple))->srsubstate != SUBREL_STATE_READY)
			*copying = true;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}

/*
 * Fill in what event_tags says, if the store has it.  Whoever else may make
 * tables in the schema must not have one of his own filled with the tags.
 */
static void
load_tags(EsStore *store, Relation log)
{
	Relation	tags;

	if (!OidIsValid(store->tags))
		return;
	tags = try_relation_open(store->tags, AccessShareLock);
	if (tags == NULL)
	{
		vanished++;
		store->valid = false;
		return;
	}
	if (tags->rd_rel->relkind != RELKIND_RELATION || tags->rd_rel->relam != HEAP_TABLE_AM_OID ||
		tags->rd_rel->relpersistence != RELPERSISTENCE_PERMANENT ||
		tags->rd_rel->relowner != log->rd_rel->relowner)
		store->defect = pstrdup("event_tags is not a plain table of the same owner");
	else if ((store->defect = es_columns_defect(tags, ES_COLUMNS_TAGS)) == NULL)
	{
		es_store_load_tag_indexes(store, tags);
		if (!OidIsValid(store->tags_by_tag))
			store->defect = pstrdup("table event_tags has no unique index on (tag, position)");
		else if (!es_columns_are_plain(tags, ES_COLUMNS_TAGS))
			store->defect = pstrdup("table event_tags has got constraints or columns of another kind");
		else if (es_has_foreign_trigger(tags, TRIGGER_TYPE_INSERT | TRIGGER_TYPE_DELETE))
			store->defect = pstrdup("table event_tags has got a trigger, which appends would not fire");
	}
	relation_close(tags, AccessShareLock);

	/* a copy has the rows of what was copied only */
	if (store->copy && !is_subscribed(store->tags, &store->copying))
		store->tags = InvalidOid;
}

/* Fill in what the tables say. */
static void
load_tables(EsStore *store)
{
	Relation	log = try_relation_open(store->log, AccessShareLock);
	Relation	streams = try_relation_open(store->streams, AccessShareLock);

	if (log == NULL || streams == NULL)
	{
		vanished++;
		store->valid = false;
	}
	else if (log->rd_rel->relkind != RELKIND_RELATION && log->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		store->defect = psprintf("event_log is a %s",
								 log->rd_rel->relkind == RELKIND_FOREIGN_TABLE ? "foreign table" :
								 log->rd_rel->relkind == RELKIND_VIEW ? "view" :
								 log->rd_rel->relkind == RELKIND_MATVIEW ? "materialized view" : "relation of another kind");
	else if (streams->rd_rel->relkind != RELKIND_RELATION || streams->rd_rel->relam != HEAP_TABLE_AM_OID)
		store->defect = pstrdup("event_streams is not a plain table");
	else if (log->rd_rel->relpersistence != RELPERSISTENCE_PERMANENT ||
			 streams->rd_rel->relpersistence != RELPERSISTENCE_PERMANENT)
		store->defect = pstrdup("its tables are not logged, a crash would empty them");
	else if ((store->defect = es_columns_defect(log, ES_COLUMNS_LOG)) == NULL &&
			 (store->defect = es_columns_defect(streams, ES_COLUMNS_STREAMS)) == NULL)
	{
		(void) es_payload_of_type(TupleDescAttr(RelationGetDescr(log), LOG_DATA)->atttypid, &store->payload);
		store->copy = is_subscribed(store->log, &store->copying);
		if (store->copy)
			(void) is_subscribed(store->streams, &store->copying);
		if (store->copy)
			(void) is_subscribed(store->mark, &store->copying);
		store->plain = log->rd_rel->relkind == RELKIND_RELATION &&
			log->rd_rel->relam == HEAP_TABLE_AM_OID;
		store->plain_insert = store->plain && !log->rd_rel->relhasrules &&
			!es_has_foreign_trigger(log, TRIGGER_TYPE_INSERT) &&
			RelationGetDescr(log)->natts == LOG_NCOLUMNS && es_columns_are_plain(log, ES_COLUMNS_LOG);
		if (store->plain)
		{
			es_store_load_log_indexes(store, log);
			if (!OidIsValid(store->log_by_version))
				store->defect = pstrdup("table event_log has no unique index on (stream_id, version)");
			else if (!OidIsValid(store->log_by_position))
				store->defect = pstrdup("table event_log has no unique index on (position)");
			else if (!OidIsValid(store->log_by_event_id))
				store->defect = pstrdup("table event_log has no partial unique index on (event_id)");
		}
		if (!es_columns_are_plain(streams, ES_COLUMNS_STREAMS))
			store->defect = pstrdup("table event_streams has got constraints or columns of another kind");
		else if (es_has_foreign_trigger(streams, TRIGGER_TYPE_INSERT | TRIGGER_TYPE_UPDATE))
			store->defect = pstrdup("table event_streams has got a trigger, which appends would not fire");
		es_store_load_stream_indexes(store, streams);
		if (!OidIsValid(store->streams_by_id))
			store->defect = pstrdup("table event_streams has no unique index on (stream_id)");
		else if (!OidIsValid(store->streams_by_name))
			store->defect = pstrdup("table event_streams has no unique index on (stream_name)");
		if (store->defect == NULL)
			load_tags(store, log);
	}
	if (log != NULL)
		relation_close(log, AccessShareLock);
	if (streams != NULL)
		relation_close(streams, AccessShareLock);
}

/* load_tables for a store in the cache, which an error leaves invalid. */
static void
fill(EsStore *store)
{
	PG_TRY();
	{
		if (store->defect == NULL)
		{
			load_tables(store);
			if (store->defect != NULL)
				store->defect = MemoryContextStrdup(store->context, store->defect);
		}
	}
	PG_CATCH();
	{
		store->valid = false;
		PG_RE_THROW();
	}
	PG_END_TRY();
}

/* Find a schema's store and what tells that it is one; NULL if there is none. */
static EsStore *
load(Oid nspid)
{
	EsStore    *store;
	Oid			log = get_relname_relid("event_log", nspid);
	Oid			streams;
	Oid			mark;
	Oid			sequence;
	Datum		values[MARK_NCOLUMNS];
	bool		nulls[MARK_NCOLUMNS];
	bool		has_index = false;
	MemoryContext context;
	MemoryContext caller;
	char	   *schema;

	if (!OidIsValid(log) || isAnyTempNamespace(nspid))
		return NULL;
	streams = get_relname_relid("event_streams", nspid);
	mark = get_relname_relid("event_mark", nspid);
	sequence = get_relname_relid("event_position", nspid);
	schema = get_namespace_name(nspid);
	if (!OidIsValid(streams) || !OidIsValid(mark) || !OidIsValid(sequence) || schema == NULL)
		return NULL;
	if (!read_mark(mark, values, nulls, &has_index) ||
		!es_store_is_registered(DatumGetInt64(values[MARK_STORE_NUMBER])))
		return NULL;
	es_extension_check_version();

	/* Only a complete store moves to the long-lived parent. */
	context = AllocSetContextCreate(CurrentMemoryContext, "event_store store", ALLOCSET_SMALL_SIZES);
	caller = MemoryContextSwitchTo(context);
	store = palloc0(sizeof(EsStore));
	store->context = context;
	store->nspid = nspid;
	store->nsphash = GetSysCacheHashValue1(NAMESPACEOID, ObjectIdGetDatum(nspid));
	namestrcpy(&store->schema, schema);
	store->number = DatumGetInt64(values[MARK_STORE_NUMBER]);
	store->log = log;
	store->streams = streams;
	store->mark = mark;
	store->sequence = sequence;
	store->tags = get_relname_relid("event_tags", nspid);
	if (has_index)
		store->defect = pstrdup("table event_mark has an index, which the moves of the mark would not keep up");
	if (DatumGetInt32(values[MARK_LAYOUT]) != ES_LAYOUT)
		store->defect = psprintf("its tables are of layout %d, this library knows layout %d",
								 DatumGetInt32(values[MARK_LAYOUT]), ES_LAYOUT);
	MemoryContextSwitchTo(caller);
	return store;
}

/*
 * The store in a schema, NULL if the schema is no store.
 */
EsStore *
es_store_of_schema(Oid nspid)
{
	CacheEntry *entry;
	EsStore    *store;

	if (cache == NULL)
	{
		HASHCTL		ctl = {.keysize = sizeof(Oid), .entrysize = sizeof(CacheEntry)};

		cache = hash_create("event_store stores", 16, &ctl, HASH_ELEM | HASH_BLOBS);
		CacheRegisterRelcacheCallback(relcache_callback, (Datum) 0);
		CacheRegisterSyscacheCallback(NAMESPACEOID, namespace_callback, (Datum) 0);
		CacheRegisterSyscacheCallback(SUBSCRIPTIONRELMAP, subscription_callback, (Datum) 0);
	}

	entry = hash_search(cache, &nspid, HASH_FIND, NULL);
	if (entry != NULL && entry->store != NULL && entry->store->valid)
	{
		entry->store->used = ++uses;
		return entry->store;
	}

	for (;;)
	{
		store = load(nspid);
		if (store == NULL)
			break;

		/*
		 * An invalidation that arrives while the tables are read must not be
		 * lost, so the store is in the cache and valid before that begins.
		 */
		if (replaced != NULL)
			free_replaced();
		entry = hash_search(cache, &nspid, HASH_FIND, NULL);
		if (entry == NULL)
		{
			entry = hash_search(cache, &nspid, HASH_ENTER, NULL);
			entry->store = NULL;
		}
		if (entry->store != NULL)
		{
			store->former_tags = OidIsValid(entry->store->tags) ? entry->store->tags : entry->store->former_tags;
			replace(entry->store, false);
		}
		entry->store = store;
		MemoryContextSetParent(store->context, CacheMemoryContext);
		store->valid = true;
		store->used = ++uses;
		make_room();

		fill(store);
		if (store->valid)
			return store;
	}
	return NULL;
}

/* The first store on the search_path, NULL if there is none.  pg_temp never counts. */
static EsStore *
store_on_path(void)
{
	Oid			buffer[PATH_LENGTH];
	Oid		   *path = buffer;
	int			length = fetch_search_path_array(buffer, PATH_LENGTH);

	if (length > PATH_LENGTH)
	{
		path = palloc(length * sizeof(Oid));
		length = fetch_search_path_array(path, length);
	}
	for (int i = 0; i < length; i++)
	{
		EsStore    *store = es_store_of_schema(path[i]);

		if (store != NULL)
			return store;
	}
	return NULL;
}

/*
 * The store that calls go to: that of the current tenant, or else the first
 * one on the search_path.  If there is none, NULL or an error.
 */
EsStore *
es_store_current(bool missing_ok)
{
	uint64		vanished_before;
	EsTenant	tenant;

	do
	{
		EsStore    *store;

		vanished_before = vanished;
		if (es_tenant_current(&tenant))
		{
			/* a tenant that has lost its store does not fall through to another one */
			store = es_store_of_schema(tenant.nspid);
			if (store == NULL && vanished == vanished_before)
				es_tenant_broken(&tenant);
		}
		else if (es_require_tenant && !missing_ok)
			es_tenant_missing();
		else
			store = store_on_path();
		if (store != NULL)
			return store;

		/* a store that was dropped under our hands may have been made anew */
	} while (vanished != vanished_before);

	if (missing_ok)
		return NULL;
	ereport(ERROR,
			(es_problem(ERRCODE_ES_STORE_NOT_FOUND,
						ES_MEMBERS(ES_TEXT("search_path", namespace_search_path)),
						"no schema on the search_path is an event store"),
			 errhint("Make one with SELECT event_store.create_store('name'), and use it with SET search_path = name, public.")));
}

/*
 * Open event_log of the current store with the given lock, having checked
 * that the caller has the rights on it (ACL_SELECT, ACL_INSERT, ...) and that
 * its tables are sound.  *store is good for the rest of the transaction.
 */
Relation
es_store_open_log(EsStore **store, LOCKMODE lockmode, AclMode rights)
{
	return es_store_open_log_admitted(store, lockmode, rights, NULL, NULL);
}

/*
 * The same, but before anything is locked, admit decides if the store is one
 * of a tenant with limits, and the caller has the rights.  It may wait.
 */
Relation
es_store_open_log_admitted(EsStore **store, LOCKMODE lockmode, AclMode rights, EsAdmission admit, void *load)
{
	EsTenant	tenant;

	if (rights != ACL_SELECT)
		es_require_writable();
	for (;;)
	{
		EsStore    *s = es_store_current(false);
		Relation	log;

		if (admit != NULL && es_tenant_limits(s) != NULL && es_tenant_of_schema(s->nspid, &tenant) &&
			tenant.state == ES_TENANT_ACTIVE && pg_class_aclcheck(s->log, GetUserId(), rights) == ACLCHECK_OK)
		{
			admit(s, load);
			admit = NULL;
			continue;			/* it may have waited */
		}
		log = try_relation_open(s->log, lockmode);
		if (log != NULL && s->valid)
		{
			if (s->defect != NULL)
				ereport(ERROR,
						(es_problem(log->rd_rel->relkind != RELKIND_RELATION &&
									log->rd_rel->relkind != RELKIND_PARTITIONED_TABLE ?
									ERRCODE_FEATURE_NOT_SUPPORTED : ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
									ES_MEMBERS(ES_TEXT("store", NameStr(s->schema)), ES_TEXT("defect", s->defect)),
									"event store \"%s\" cannot be used: %s", NameStr(s->schema), s->defect),
						 errhint("The tables of a store must stay as event_store.create_store made them; undo the change.")));
			if (pg_class_aclcheck(s->log, GetUserId(), rights) != ACLCHECK_OK)
				ereport(ERROR,
						(es_problem(ERRCODE_INSUFFICIENT_PRIVILEGE,
									ES_MEMBERS(ES_TEXT("store", NameStr(s->schema))),
									"permission denied to %s event store \"%s\"",
									rights == ACL_SELECT ? "read" : rights == ACL_INSERT ? "append to" : "change",
									NameStr(s->schema)),
						 errhint("The owner of the store gives rights with event_store.grant_store().")));
			if (s->copy && rights != ACL_SELECT)
				ereport(ERROR,
						(es_problem(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
									ES_MEMBERS(ES_TEXT("store", NameStr(s->schema))),
									"event store \"%s\" cannot be changed here: a subscription fills it",
									NameStr(s->schema)),
						 errhint("Append on the publisher. To make the copy a store of its own, drop the subscription.")));
			if (es_tenant_of_schema(s->nspid, &tenant))
				es_tenant_require_state(&tenant, rights != ACL_SELECT);
			*store = s;
			return log;
		}
		if (log != NULL)
			relation_close(log, lockmode);
	}
}

/* Refuse to change a store as such to anybody but its owner. */
void
es_store_require_owner(const EsStore *store)
{
	if (!es_owns_relation(store->log, GetUserId()))
		ereport(ERROR,
				(es_problem(ERRCODE_INSUFFICIENT_PRIVILEGE, ES_MEMBERS(ES_TEXT("store", NameStr(store->schema))),
							"must be owner of event store \"%s\"", NameStr(store->schema)),
				 errhint("Ask the owner, or become a member of the owning role.")));
}

/*
 * Must this caller's access to event_log go through SQL, because the table is
 * not a plain one or row-level security holds for the caller?
 */
bool
es_store_use_sql(EsStore *store, Relation log)
{
	if (!store->plain)
		return true;
	return log->rd_rel->relrowsecurity &&
		check_enable_rls(store->log, InvalidOid, false) == RLS_ENABLED;
}

PG_FUNCTION_INFO_V1(event_store_current_store);
PG_FUNCTION_INFO_V1(event_store_store_number);

Datum
event_store_current_store(PG_FUNCTION_ARGS)
{
	EsStore    *store = es_store_current(true);

	if (store == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(NameStr(store->schema)));
}

Datum
event_store_store_number(PG_FUNCTION_ARGS)
{
	EsStore    *store = es_store_of_schema(PG_GETARG_OID(0));

	if (store == NULL)
		PG_RETURN_NULL();
	PG_RETURN_INT64(store->number);
}
