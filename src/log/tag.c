/*
 * tag.c
 *		Tags of events: what they are, their index, their locks.
 *
 * The tags of an event are the strings in the member "tags" of its metadata.
 * They mean something once the owner of a store has enabled them, which made
 * the table event_tags: an index of (tag, position) over them, which is read and
 * written here only and past all rights, like an index.
 *
 * The locks make conditional appends (log/condition) safe.  They are heavyweight
 * locks on a hash of the tag, held until the transaction ends:
 *
 *	RowExclusiveLock	by who appends an event with the tag
 *	ExclusiveLock		by who appends on condition of a query, on the first tag
 *						of each item: whatever matches an item has this tag, so
 *						whoever appends it has locked it
 *	ShareLock			by who reads by a query, for a moment, to wait for those
 *						who are appending what may match
 *
 * They are taken before positions are handed out.  So an event that matches the
 * query of somebody who holds the lock is either visible to him, or it will get
 * a position after his.  A condition with an item that has no tags locks
 * event_log against all other appends, and so does who locks too many tags.
 *
 * Lock order: after the streams, by the hashes, each with the strongest mode
 * that the call needs.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_collation.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/shmem.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "base/errors.h"
#include "base/settings.h"
#include "log/condition.h"
#include "log/scan.h"
#include "log/stream.h"
#include "log/tag.h"

#define MEMBER		"tags"
#define CHUNK		500			/* rows of one multi-insert */

/* A tag of an event that is to be appended. */
typedef struct GivenTag
{
	text	   *tag;
	int			event;
} GivenTag;

typedef struct TagLock
{
	uint64		key;
	LOCKMODE	mode;
} TagLock;

/* What an append has to do with tags. */
typedef struct EsTagSet
{
	GivenTag   *tags;
	int			count;
	int			size;
	TagLock    *locks;
	int			nlocks;
} EsTagSet;

/* --- what they are --- */

/* The list of tags in the metadata of an event; NULL if there is none, or something else. */
static JsonbContainer *
list_of_tags(Jsonb *metadata, JsonbValue *room)
{
	JsonbValue *value;

	if (!JB_ROOT_IS_OBJECT(metadata))
		return NULL;
	value = getKeyJsonValueFromContainer(&metadata->root, MEMBER, strlen(MEMBER), room);
	if (value == NULL || value->type != jbvBinary || !JsonContainerIsArray(value->val.binary.data))
		return NULL;
	return value->val.binary.data;
}

/* How many tags an event with this metadata has, at most. */
int
es_tags_count(Jsonb *metadata)
{
	JsonbValue	room;
	JsonbContainer *list = list_of_tags(metadata, &room);

	return list == NULL ? 0 : (int) JsonContainerSize(list);
}

/* Has an event with this metadata all of the tags? */
bool
es_tags_include(Jsonb *metadata, text **tags, int count)
{
	JsonbValue	room;
	JsonbContainer *list = list_of_tags(metadata, &room);

	if (list == NULL)
		return count == 0;
	for (int i = 0; i < count; i++)
	{
		JsonbValue	key = {.type = jbvString};
		JsonbValue *found;

		key.val.string.val = VARDATA_ANY(tags[i]);
		key.val.string.len = VARSIZE_ANY_EXHDR(tags[i]);
		found = findJsonbValueFromContainer(list, JB_FARRAY, &key);
		if (found == NULL)
			return false;
		pfree(found);
	}
	return true;
}

static void
bad_tags(EsBatch *batch, EsAppend *part, int event, const char *what)
{
	int			index = event - part->start;

	es_batch_enter_event(batch, part, event);
	ereport(ERROR,
			(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_INT("index", index), ES_TEXT("member", MEMBER)),
						"tags of event %d %s", index, what),
			 errhint("In a store with tags, the member tags of the metadata is an array of strings, such as [\"course:c1\"].")));
}

/* Add the tags of an event to the set, each once. */
static void
add_tags(EsBatch *batch, EsAppend *part, int event, EsTagSet *set)
{
	int			first = set->count;
	JsonbIterator *iterator;
	JsonbValue	room;
	JsonbValue *value;

	value = getKeyJsonValueFromContainer(&batch->events[event].metadata->root, MEMBER, strlen(MEMBER), &room);
	if (value == NULL || value->type == jbvNull)
		return;
	if (value->type != jbvBinary || !JsonContainerIsArray(value->val.binary.data))
		bad_tags(batch, part, event, "are not an array");
	if (JsonContainerSize(value->val.binary.data) > es_max_event_tags)
	{
		es_batch_enter_event(batch, part, event);
		ereport(ERROR,
				(es_problem(ERRCODE_PROGRAM_LIMIT_EXCEEDED,
							ES_MEMBERS(ES_INT("index", event - part->start), ES_INT("limit", es_max_event_tags)),
							"event %d has more than the limit of %d tags", event - part->start, es_max_event_tags),
				 errhint("A tag is for what decisions are about; or raise event_store.max_event_tags.")));
	}
	iterator = JsonbIteratorInit(value->val.binary.data);
	(void) JsonbIteratorNext(&iterator, &room, true);
	while (JsonbIteratorNext(&iterator, &room, true) == WJB_ELEM)
	{
		text	   *tag;
		int			i = first;

		if (room.type != jbvString)
			bad_tags(batch, part, event, "hold something else than a string");
		tag = cstring_to_text_with_len(room.val.string.val, room.val.string.len);
		es_batch_enter_event(batch, part, event);
		es_name_check(tag, "tag", event - part->start);
		es_batch_leave_parts(batch);
		while (i < set->count &&
			   (VARSIZE(set->tags[i].tag) != VARSIZE(tag) || memcmp(set->tags[i].tag, tag, VARSIZE(tag)) != 0))
			i++;
		if (i < set->count)
			continue;
		if (set->count == set->size)
		{
			set->size = Max(set->size * 2, 8);
			set->tags = set->tags == NULL ? palloc(mul_size(sizeof(GivenTag), set->size)) :
				repalloc_huge(set->tags, mul_size(sizeof(GivenTag), set->size));
		}
		set->tags[set->count++] = (GivenTag) {tag, event};
	}
}

/* --- their locks --- */

static int
compare_locks(const void *a, const void *b)
{
	const TagLock *x = a;
	const TagLock *y = b;

	if (x->key != y->key)
		return x->key < y->key ? -1 : 1;
	return y->mode - x->mode;
}

/* The locks that the set and the query (or NULL) need, in their order. */
static void
choose_locks(EsTagSet *set, const EsQuery *query)
{
	int			n = 0;

	set->locks = palloc(mul_size(sizeof(TagLock), set->count + (query ? query->nitems : 0)));
	for (int i = 0; i < set->count; i++)
		set->locks[n++] = (TagLock) {es_stream_lock_key(set->tags[i].tag), RowExclusiveLock};
	for (int i = 0; query != NULL && i < query->nitems; i++)
		set->locks[n++] = (TagLock) {es_stream_lock_key(query->items[i].tags[0]), ExclusiveLock};
	qsort(set->locks, n, sizeof(TagLock), compare_locks);
	for (int i = 0; i < n; i++)
		if (set->nlocks == 0 || set->locks[set->nlocks - 1].key != set->locks[i].key)
			set->locks[set->nlocks++] = set->locks[i];
}

/* Can the locks be taken one by one, besides those on the streams? */
static bool
locks_fit(EsStore *store, const EsTagSet *set, int streams)
{
	int			more = 0;

	if (es_lock_count_fits(set->nlocks + streams))
		return true;
	for (int i = 0; i < set->nlocks; i++)
		if (!es_tag_lock_held(store, set->locks[i].key, set->locks[i].mode))
			more++;
	return es_lock_count_fits(more + streams);
}

/* Refuse a condition that could not be checked. */
static void
check_conditional(EsStore *store)
{
	if (!OidIsValid(store->tags))
		ereport(ERROR,
				(es_problem(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, ES_MEMBERS(ES_TEXT("store", NameStr(store->schema))),
							"tags are not enabled in event store \"%s\"", NameStr(store->schema)),
				 errhint("Its owner enables them with event_store.enable_tags().")));
	if (pg_class_aclcheck(store->log, GetUserId(), ACL_SELECT) != ACLCHECK_OK)
		ereport(ERROR,
				(es_problem(ERRCODE_INSUFFICIENT_PRIVILEGE, ES_MEMBERS(ES_TEXT("store", NameStr(store->schema))),
							"permission denied to read event store \"%s\"", NameStr(store->schema)),
				 errhint("A condition tells of events, so it takes the right to read them.")));
	if (check_enable_rls(store->log, InvalidOid, true) == RLS_ENABLED)
		ereport(ERROR,
				(es_problem(ERRCODE_INSUFFICIENT_PRIVILEGE, ES_MEMBERS(ES_TEXT("store", NameStr(store->schema))),
							"cannot check a condition: row-level security on event_log decides which events you see"),
				 errhint("Let the owner of the store do it, or a role that has BYPASSRLS.")));
}

/*
 * Find out what an append whose store is known has to do with tags, and check
 * them.  Returns false if its locks cannot be taken one by one: then event_log
 * is to be locked against all other appends.
 */
bool
es_tags_prepare(EsBatch *batch)
{
	const EsQuery *query = batch->condition ? batch->condition->query : NULL;
	EsTagSet   *set;

	if (query != NULL)
		check_conditional(batch->store);
	if (!OidIsValid(batch->store->tags))
		return true;

	set = palloc0(sizeof(EsTagSet));
	for (int e = 0, p = 0; e < batch->count; e++)
	{
		while (e >= batch->parts[p].start + batch->parts[p].count)
			p++;
		CHECK_FOR_INTERRUPTS();
		if (batch->events[e].metadata != NULL)
			add_tags(batch, &batch->parts[p], e, set);
	}
	if (set->count == 0 && query == NULL)
		return true;
	batch->tags = set;
	if (query != NULL && !query->tagged)
		return false;
	choose_locks(set, query);
	return locks_fit(batch->store, set, batch->nparts);
}

/* Take the locks, one by one. */
void
es_tags_lock(EsBatch *batch)
{
	const EsTagSet *set = batch->tags;

	for (int i = 0; set != NULL && i < set->nlocks; i++)
	{
		CHECK_FOR_INTERRUPTS();
		es_tag_lock(batch->store, batch->log, set->locks[i].key, set->locks[i].mode);
	}
}

/*
 * Wait until whoever is appending what may match a query, all of whose items
 * have tags, has ended.  The caller has noted the last position before.
 */
void
es_tags_wait(EsStore *store, Relation log, const EsQuery *query)
{
	/* for those who have locked the log in place of tags */
	LockRelation(log, RowExclusiveLock);
	UnlockRelation(log, RowExclusiveLock);
	for (int i = 0; i < query->nitems; i++)
	{
		CHECK_FOR_INTERRUPTS();
		es_tag_wait(store, es_stream_lock_key(query->items[i].tags[0]), ShareLock);
	}
}

/* --- their index --- */

/* Enter the tags of the events, which have their positions, into event_tags. */
void
es_tags_insert(EsBatch *batch)
{
	const EsTagSet *set = batch->tags;
	EsStore    *store;
	Relation	rel;
	Relation   *indexes;
	TupleTableSlot **slots;
	CommandId	command = GetCurrentCommandId(true);
	int			nslots;

	if (set == NULL || set->count == 0)
		return;
	rel = table_open(batch->store->tags, RowExclusiveLock);
	store = es_store_with_indexes(batch->store);
	indexes = palloc(sizeof(Relation) * store->ntag_indexes);
	for (int x = 0; x < store->ntag_indexes; x++)
		indexes[x] = index_open(store->tag_indexes[x].oid, RowExclusiveLock);
	nslots = Min(set->count, CHUNK);
	slots = palloc(sizeof(TupleTableSlot *) * nslots);
	for (int i = 0; i < nslots; i++)
		slots[i] = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsHeapTuple);

	for (int start = 0; start < set->count; start += nslots)
	{
		int			n = Min(nslots, set->count - start);

		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < n; i++)
		{
			const GivenTag *given = &set->tags[start + i];
			Datum		values[TAGS_NCOLUMNS] = {
				[TAGS_TAG] = PointerGetDatum(given->tag),
				[TAGS_POSITION] = Int64GetDatum(es_batch_position(batch, given->event))
			};
			bool		nulls[TAGS_NCOLUMNS] = {0};

			ExecStoreHeapTuple(heap_form_tuple(RelationGetDescr(rel), values, nulls), slots[i], true);
		}
		if (n == 1)
			table_tuple_insert(rel, slots[0], command, 0, NULL);
		else
			table_multi_insert(rel, slots, n, command, 0, NULL);
		for (int x = 0; x < store->ntag_indexes; x++)
			for (int i = 0; i < n; i++)
			{
				IndexInfo  *info = store->tag_indexes[x].info;
				Datum		values[INDEX_MAX_KEYS];
				bool		nulls[INDEX_MAX_KEYS];

				for (int k = 0; k < info->ii_NumIndexAttrs; k++)
					values[k] = slot_getattr(slots[i], info->ii_IndexAttrNumbers[k], &nulls[k]);
				index_insert(indexes[x], values, nulls, &slots[i]->tts_tid, rel,
							 indexes[x]->rd_index->indisunique ? UNIQUE_CHECK_YES : UNIQUE_CHECK_NO, false, info);
			}
		for (int i = 0; i < n; i++)
			ExecClearTuple(slots[i]);
	}

	for (int i = 0; i < nslots; i++)
		ExecDropSingleTupleTableSlot(slots[i]);
	for (int x = 0; x < store->ntag_indexes; x++)
		index_close(indexes[x], NoLock);
	/* the lock stays: REINDEX CONCURRENTLY must wait for this transaction */
	table_close(rel, NoLock);
}

/* Take the entry of one tag of an event out of event_tags. */
static void
delete_entry(Relation rel, Relation by_tag, TupleTableSlot *slot, text *tag, int64 position)
{
	IndexScanDesc desc = es_index_beginscan(rel, by_tag, SnapshotSelf, 2);
	ScanKeyData keys[2];

	ScanKeyEntryInitialize(&keys[0], 0, 1, BTEqualStrategyNumber, InvalidOid, C_COLLATION_OID,
						   F_TEXTEQ, PointerGetDatum(tag));
	ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(position));
	index_rescan(desc, keys, 2, NULL, 0);
	if (index_getnext_slot(desc, ForwardScanDirection, slot))
		simple_table_tuple_delete(rel, &slot->tts_tid, SnapshotSelf);
	index_endscan(desc);
}

/*
 * Take the tags of the versions first to before - 1 of a stream out of
 * event_tags.  The caller holds the lock on the stream and deletes the events.
 */
void
es_tags_delete(EsStore *store, int64 stream_id, int64 first, int64 before)
{
	MemoryContext rows;
	Snapshot	snapshot;
	Relation	log;
	Relation	rel;
	Relation	by_tag;
	TupleTableSlot *slot;
	EsScan		scan;
	Datum	   *values;
	bool	   *nulls;

	if (!OidIsValid(store->tags))
		return;
	rows = AllocSetContextCreate(CurrentMemoryContext, "event_store tags", ALLOCSET_DEFAULT_SIZES);
	CommandCounterIncrement();	/* what this very statement has appended may go too */
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	log = table_open(store->log, NoLock);
	rel = table_open(store->tags, RowExclusiveLock);
	by_tag = index_open(es_store_with_indexes(store)->tags_by_tag, RowExclusiveLock);
	slot = table_slot_create(rel, NULL);
	es_scan_stream(&scan, store, log, stream_id, first, before - 1, false, snapshot);
	while (es_scan_next(&scan, &values, &nulls))
	{
		MemoryContext caller = MemoryContextSwitchTo(rows);
		JsonbValue	value;
		JsonbContainer *list = nulls[LOG_METADATA] ? NULL : list_of_tags(DatumGetJsonbP(values[LOG_METADATA]), &value);

		if (list != NULL)
		{
			JsonbIterator *iterator = JsonbIteratorInit(list);

			(void) JsonbIteratorNext(&iterator, &value, true);
			while (JsonbIteratorNext(&iterator, &value, true) == WJB_ELEM)
				if (value.type == jbvString)
					delete_entry(rel, by_tag, slot,
								 cstring_to_text_with_len(value.val.string.val, value.val.string.len),
								 DatumGetInt64(values[LOG_POSITION]));
		}
		MemoryContextSwitchTo(caller);
		MemoryContextReset(rows);
	}
	es_scan_end(&scan);
	ExecDropSingleTupleTableSlot(slot);
	index_close(by_tag, NoLock);
	table_close(rel, NoLock);
	table_close(log, NoLock);
	UnregisterSnapshot(snapshot);
	MemoryContextDelete(rows);
}
