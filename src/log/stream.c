/*
 * stream.c
 *		Streams: names, locks and rows.
 *
 * A stream is a row of event_streams, made by the first append to it.  Its id
 * is the position of that first event, so ids need no sequence of their own
 * and a stream's events lie near each other in the primary key.
 *
 * The lock on a stream is a heavyweight lock on a hash of its name, taken
 * before the name is looked up and held until the transaction ends, so that
 * creation, appends and deletion of one stream come one after the other.  Its
 * tag is of the class "userlock", which no SQL function of the server takes.
 * Two names with one hash share a lock, which costs a wait and nothing else.
 * A transaction that locks very many streams would fill the lock table of the
 * whole server; from event_store.max_stream_locks on it locks event_log itself
 * against all other appends instead.  Tags (log/tag) are locked in the same way,
 * in a space of their own, and count as streams.
 *
 * Ids and names are remembered with the store, limits and metadata are not.  A
 * deletion invalidates event_streams in every session when it commits, before
 * its locks go: so whoever looks after it has the stream's lock looks right.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_collation.h"
#include "common/hashfn.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "base/errors.h"
#include "base/settings.h"
#include "base/xact.h"
#include "log/admit.h"
#include "log/retention.h"
#include "log/scan.h"
#include "log/stream.h"

/* The names of the streams of a store, by name and by id. */

typedef struct NameKey
{
	const char *data;
	int			length;
} NameKey;

typedef struct NameEntry
{
	NameKey		name;
	int64		id;
	int64		version;		/* that it was seen at; a guess, may be rolled back */
	char		status;
} NameEntry;

#define SH_PREFIX			names
#define SH_ELEMENT_TYPE		NameEntry
#define SH_KEY_TYPE			NameKey
#define SH_KEY				name
#define SH_HASH_KEY(t, k)	hash_bytes((const unsigned char *) (k).data, (k).length)
#define SH_EQUAL(t, a, b)	((a).length == (b).length && memcmp((a).data, (b).data, (a).length) == 0)
#define SH_SCOPE			static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

typedef struct IdEntry
{
	int64		id;
	text	   *name;
	char		status;
} IdEntry;

#define SH_PREFIX			ids
#define SH_ELEMENT_TYPE		IdEntry
#define SH_KEY_TYPE			int64
#define SH_KEY				id
#define SH_HASH_KEY(t, k)	murmurhash32((uint32) (k) ^ (uint32) ((k) >> 32))
#define SH_EQUAL(t, a, b)	((a) == (b))
#define SH_SCOPE			static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

typedef struct EsStreamCache
{
	MemoryContext context;		/* child of the store's; NULL: empty */
	names_hash *by_name;
	ids_hash   *by_id;
} EsStreamCache;

/* Streams that this transaction has locked one by one. */
static int	stream_locks = 0;

/* The cache of a store, emptied if it has grown too large. */
static EsStreamCache *
cache_of(EsStore *store)
{
	EsStreamCache *cache = store->cache;

	if (cache == NULL)
		cache = store->cache = MemoryContextAllocZero(store->context, sizeof(EsStreamCache));
	if (cache->context != NULL &&
		(cache->by_name->members >= es_stream_cache_size || cache->by_id->members >= es_stream_cache_size))
	{
		MemoryContextDelete(cache->context);
		cache->context = NULL;
	}
	if (cache->context == NULL)
	{
		/* small at first: a session may use thousands of stores */
		cache->context = AllocSetContextCreate(store->context, "event_store streams", ALLOCSET_SMALL_SIZES);
		cache->by_name = names_create(cache->context, 8, NULL);
		cache->by_id = ids_create(cache->context, 8, NULL);
	}
	return cache;
}

/*
 * Refuse an empty or over-long name and one that begins with $, which is
 * reserved.  The error says whose name it is: what, of event number index
 * unless that is negative.
 */
void
es_name_check(text *name, const char *what, int index)
{
	int			length = VARSIZE_ANY_EXHDR(name);
	const char *data = VARDATA_ANY(name);

	if (likely(length > 0 && length <= es_max_name_length && data[0] != '$'))
		return;

	if (index >= 0)
		what = psprintf("%s of event %d", what, index);
	if (length == 0)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("argument", what)),
							"%s must not be empty", what),
				 errhint("A name has at least one character.")));
	if (length > es_max_name_length)
	{
		char	   *start = pnstrdup(data, pg_mbcliplen(data, length, 60));

		ereport(ERROR,
				(es_problem(ERRCODE_PROGRAM_LIMIT_EXCEEDED,
							ES_MEMBERS(ES_TEXT("argument", what), ES_INT("length", length),
									   ES_INT("limit", es_max_name_length)),
							"%s \"%s...\" has %d bytes, more than the limit of %d", what, start, length, es_max_name_length),
				 errhint("Use a shorter name, or raise event_store.max_name_length.")));
	}
	ereport(ERROR,
			(es_problem(ERRCODE_INVALID_PARAMETER_VALUE,
						ES_MEMBERS(ES_TEXT("argument", what), ES_TEXT("name", text_to_cstring(name))),
						"%s \"%s\" is reserved", what, text_to_cstring(name)),
			 errhint("Names that begin with $ belong to the system.")));
}

void
es_stream_check_name(text *name)
{
	es_name_check(name, "stream name", -1);
}

/* What of a stream's name is in the tag of its lock: who locks several goes by its order. */
uint64
es_stream_lock_key(text *name)
{
	return hash_bytes_extended((const unsigned char *) VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name), 0) &
		UINT64CONST(0xFFFFFFFFFFFF);
}

static inline void
set_tag_in(LOCKTAG *tag, Oid space, uint64 key)
{
	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, space, (uint32) key, (uint16) (key >> 32));
	tag->locktag_type = LOCKTAG_USERLOCK;
}

static void
set_tag(LOCKTAG *tag, const EsStore *store, uint64 key)
{
	set_tag_in(tag, store->log, key);
}

/* Take a lock, or in place of one too many that on the log. */
static inline void
lock_until_end(const LOCKTAG *tag, Relation log, LOCKMODE mode)
{
	if (stream_locks >= es_max_stream_locks)
	{
		if (es_lock_held_by_me(tag, mode))
			return;
		LockRelation(log, ShareRowExclusiveLock);
	}
	else if (LockAcquire(tag, mode, false, false) == LOCKACQUIRE_OK)
		stream_locks++;
}

/*
 * Lock a stream until the transaction (or the savepoint in which this is
 * called) ends.
 */
void
es_stream_lock(EsStore *store, Relation log, uint64 key)
{
	LOCKTAG		tag;

	set_tag(&tag, store, key);
	lock_until_end(&tag, log, ExclusiveLock);

	/* hear of a deletion by the transaction that held the lock before us */
	AcceptInvalidationMessages();
}

/* Lock a tag in the same way; log/tag tells the modes. */
void
es_tag_lock(EsStore *store, Relation log, uint64 key, LOCKMODE mode)
{
	LOCKTAG		tag;

	set_tag_in(&tag, store->tags, key);
	lock_until_end(&tag, log, mode);
}

/* Wait until nobody else holds a lock on a tag that conflicts with the mode. */
void
es_tag_wait(EsStore *store, uint64 key, LOCKMODE mode)
{
	LOCKTAG		tag;

	set_tag_in(&tag, store->tags, key);
	(void) LockAcquire(&tag, mode, false, false);
	LockRelease(&tag, mode, false);
}

bool
es_tag_lock_held(EsStore *store, uint64 key, LOCKMODE mode)
{
	LOCKTAG		tag;

	set_tag_in(&tag, store->tags, key);
	return es_lock_held_by_me(&tag, mode);
}

/* Can so many more streams and tags be locked one by one? */
bool
es_lock_count_fits(int count)
{
	return count <= es_max_stream_locks - stream_locks;
}

/*
 * The same if nobody else holds the lock; tells whether it is held now.  When
 * the transaction has locked so many streams that it would lock the store, it
 * waits.
 */
bool
es_stream_lock_if_free(EsStore *store, Relation log, uint64 key)
{
	LOCKTAG		tag;

	set_tag(&tag, store, key);
	if (stream_locks >= es_max_stream_locks)
	{
		es_stream_lock(store, log, key);
		return true;
	}
	switch (LockAcquire(&tag, ExclusiveLock, false, true))
	{
		case LOCKACQUIRE_NOT_AVAIL:
			return false;
		case LOCKACQUIRE_OK:
			stream_locks++;
			break;
		default:
			break;
	}
	AcceptInvalidationMessages();
	return true;
}

/* Can these streams be locked one by one without coming to event_store.max_stream_locks? */
bool
es_stream_locks_fit(EsStore *store, const uint64 *keys, int count)
{
	int			more = 0;

	if (es_lock_count_fits(count))
		return true;
	for (int i = 0; i < count; i++)
	{
		LOCKTAG		tag;

		set_tag(&tag, store, keys[i]);
		if (!es_lock_held_by_me(&tag, ExclusiveLock))
			more++;
	}
	return es_lock_count_fits(more);
}

/* Lock an event id in the same way, in a table with no index to keep ids unique. */
void
es_event_id_lock(EsStore *store, Relation log, const pg_uuid_t *id)
{
	es_stream_lock(store, log, hash_bytes_extended(id->data, UUID_LEN, 0));
}

/*
 * Look a stream up by name in a snapshot; stream->id is 0 if it is not there.
 */
void
es_stream_find(EsStore *store, text *name, Snapshot snapshot, EsStream *stream)
{
	Relation	streams = table_open(store->streams, AccessShareLock);
	Relation	index = index_open(es_store_with_indexes(store)->streams_by_name, AccessShareLock);
	TupleTableSlot *slot = table_slot_create(streams, NULL);
	IndexScanDesc scan = es_index_beginscan(streams, index, snapshot, 1);
	ScanKeyData key;

	memset(stream, 0, sizeof(EsStream));
	ScanKeyEntryInitialize(&key, 0, 1, BTEqualStrategyNumber, InvalidOid, C_COLLATION_OID,
						   F_TEXTEQ, PointerGetDatum(name));
	index_rescan(scan, &key, 1, NULL, 0);
	if (index_getnext_slot(scan, ForwardScanDirection, slot))
	{
		bool		isnull;
		TransactionId writer = DatumGetTransactionId(slot_getsysattr(slot, MinTransactionIdAttributeNumber, &isnull));

		slot_getallattrs(slot);
		stream->own = TransactionIdIsCurrentTransactionId(writer);
		stream->id = DatumGetInt64(slot->tts_values[STREAM_ID]);
		stream->deleted = !slot->tts_isnull[STREAM_DELETED_AT];
		stream->created_at = DatumGetTimestampTz(slot->tts_values[STREAM_CREATED_AT]);
		stream->deleted_at = stream->deleted ? DatumGetTimestampTz(slot->tts_values[STREAM_DELETED_AT]) : 0;
		stream->tid = slot->tts_tid;
		if (!slot->tts_isnull[STREAM_TRUNCATE_BEFORE])
			stream->truncate_before = DatumGetInt64(slot->tts_values[STREAM_TRUNCATE_BEFORE]);
		if (!slot->tts_isnull[STREAM_MAX_COUNT])
			stream->max_count = DatumGetInt64(slot->tts_values[STREAM_MAX_COUNT]);
		if (!slot->tts_isnull[STREAM_MAX_AGE])
		{
			stream->has_max_age = true;
			stream->max_age = *DatumGetIntervalP(slot->tts_values[STREAM_MAX_AGE]);
		}
		if (!slot->tts_isnull[STREAM_METADATA])
			stream->metadata = DatumGetJsonbPCopy(slot->tts_values[STREAM_METADATA]);
	}
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	index_close(index, AccessShareLock);
	table_close(streams, AccessShareLock);
}

/*
 * A stream has changed since the snapshot of a REPEATABLE READ or SERIALIZABLE
 * transaction.
 */
void
es_stream_serialization_failure(text *name)
{
	ereport(ERROR,
			(es_problem(ERRCODE_T_R_SERIALIZATION_FAILURE,
						ES_MEMBERS(ES_TEXT("stream", text_to_cstring(name))),
						"could not serialize access to stream \"%s\" due to a concurrent change",
						text_to_cstring(name)),
			 errhint("Retry the transaction.")));
}

void
es_stream_raise_deleted(text *name)
{
	ereport(ERROR,
			(es_problem(ERRCODE_ES_STREAM_DELETED,
						ES_MEMBERS(ES_TEXT("stream", text_to_cstring(name))),
						"stream \"%s\" is deleted", text_to_cstring(name)),
			 errhint("Use another stream: the name of a deleted one stays taken. Its events are still in event_store.read_all().")));
}

/* Raise VE004 if the stream is deleted. */
void
es_stream_check_open(const EsStream *stream, text *name)
{
	if (stream->deleted)
		es_stream_raise_deleted(name);
}

/*
 * The id of a stream as it stands now, whatever the transaction's snapshot; 0
 * if there is none.  The caller holds its lock.  *guess is set to the version
 * it was last seen at, 0 if not known; *deleted tells whether it is deleted.
 *
 * Under REPEATABLE READ and SERIALIZABLE a stream that was made or deleted
 * after the snapshot raises 40001.
 */
int64
es_stream_find_latest(EsStore *store, text *name, int64 *guess, bool *deleted)
{
	NameKey		key = {VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name)};
	EsStreamCache *cache;
	NameEntry  *entry;
	EsStream	stream;
	bool		found;

	*deleted = false;

	/* a store that was invalidated meanwhile remembers what may be wrong */
	if (store->valid && store->cache != NULL && store->cache->context != NULL)
	{
		entry = names_lookup(store->cache->by_name, key);
		if (entry != NULL)
		{
			*guess = entry->version;
			return entry->id;
		}
	}
	*guess = 0;

	es_stream_find(store, name, SnapshotSelf, &stream);
	if (IsolationUsesXactSnapshot() && !stream.own)
	{
		EsStream	seen;

		/* this look also takes the predicate lock of SERIALIZABLE */
		es_stream_find(store, name, GetTransactionSnapshot(), &seen);
		if (stream.id != seen.id || stream.deleted != seen.deleted)
			es_stream_serialization_failure(name);
	}
	*deleted = stream.deleted;

	/* Remember only what cannot be rolled back. */
	if (stream.id != 0 && !stream.deleted && store->valid && !stream.own)
	{
		cache = cache_of(store);
		entry = names_insert(cache->by_name, key, &found);
		if (!found)
		{
			char	   *copy = MemoryContextAlloc(cache->context, key.length);

			memcpy(copy, key.data, key.length);
			entry->name.data = copy;
		}
		entry->id = stream.id;
		entry->version = 0;
	}
	return stream.id;
}

/* Remember the version that a stream is at now, for the next append to it. */
void
es_stream_remember_version(EsStore *store, text *name, int64 version)
{
	NameKey		key = {VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name)};
	NameEntry  *entry = NULL;

	if (store->cache != NULL && store->cache->context != NULL)
		entry = names_lookup(store->cache->by_name, key);
	if (entry != NULL)
		entry->version = version;
}

/* The length of the category in a stream name: what comes before the first hyphen. */
int
es_stream_category_length(const char *name, int length)
{
	const char *hyphen = memchr(name, '-', length);

	return hyphen ? (int) (hyphen - name) : length;
}

/*
 * Enter a row of event_streams into its indexes.  Users may have added some
 * with expressions and predicates, which are evaluated as the caller, as by
 * any INSERT.
 */
static void
fill_indexes(Relation streams, TupleTableSlot *slot, bool update, bool only_summarizing)
{
	EState	   *estate = CreateExecutorState();
	ResultRelInfo *info = makeNode(ResultRelInfo);

	InitResultRelInfo(info, streams, 0, NULL, 0);
	ExecOpenIndices(info, false);
	es_insert_index_tuples(info, slot, estate, update, only_summarizing);
	ExecCloseIndices(info);
	FreeExecutorState(estate);
}

/* Make a stream's row.  The caller holds its lock and knows there is none. */
void
es_stream_create(EsStore *store, int64 id, text *name, TimestampTz now)
{
	Relation	streams;
	TupleTableSlot *slot;
	Datum	   *values;
	const char *data = VARDATA_ANY(name);

	es_admit_stream(store);
	streams = table_open(store->streams, RowExclusiveLock);
	slot = MakeSingleTupleTableSlot(RelationGetDescr(streams), &TTSOpsVirtual);
	values = slot->tts_values;

	/* there may be more columns, all of them dropped */
	ExecStoreAllNullTuple(slot);
	values[STREAM_ID] = Int64GetDatum(id);
	values[STREAM_NAME] = PointerGetDatum(name);
	values[STREAM_CATEGORY] =
		PointerGetDatum(cstring_to_text_with_len(data, es_stream_category_length(data, VARSIZE_ANY_EXHDR(name))));
	values[STREAM_CREATED_AT] = TimestampTzGetDatum(now);
	for (int i = STREAM_ID; i <= STREAM_CREATED_AT; i++)
		slot->tts_isnull[i] = false;
	table_tuple_insert(streams, slot, GetCurrentCommandId(true), 0, NULL);
	fill_indexes(streams, slot, false, false);
	ExecDropSingleTupleTableSlot(slot);

	/* the lock stays: REINDEX CONCURRENTLY must wait for this transaction */
	table_close(streams, NoLock);
}

/*
 * Change columns of a stream's row, those of which replaces says so.  The
 * caller holds the stream's lock.  Under REPEATABLE READ and SERIALIZABLE a row
 * that was changed after the snapshot raises 40001.
 */
void
es_stream_update(EsStore *store, text *name, const Datum *values, const bool *nulls, const bool *replaces)
{
	Relation	streams = table_open(store->streams, RowExclusiveLock);
	TupleTableSlot *old = table_slot_create(streams, NULL);
	TupleTableSlot *new = MakeSingleTupleTableSlot(RelationGetDescr(streams), &TTSOpsVirtual);
	EsStream	stream;
	bool		only_summarizing;

	es_stream_find(store, name, SnapshotSelf, &stream);
	if (stream.own)
		CommandCounterIncrement();	/* this very statement may have written it */
	else if (IsolationUsesXactSnapshot())
	{
		EsStream	seen;

		es_stream_find(store, name, GetTransactionSnapshot(), &seen);
		if (seen.id != stream.id || !ItemPointerEquals(&seen.tid, &stream.tid))
			es_stream_serialization_failure(name);
	}
	if (!table_tuple_fetch_row_version(streams, &stream.tid, SnapshotSelf, old))
		elog(ERROR, "row of stream %lld has gone", (long long) stream.id);
	ExecCopySlot(new, old);
	for (int i = 0; i < STREAM_NCOLUMNS; i++)
	{
		if (!replaces[i])
			continue;
		new->tts_values[i] = values[i];
		new->tts_isnull[i] = nulls[i];
	}
	if (es_table_tuple_update(streams, &stream.tid, new, &only_summarizing))
		fill_indexes(streams, new, true, only_summarizing);
	if (replaces[STREAM_DELETED_AT])
		CacheInvalidateRelcache(streams);
	ExecDropSingleTupleTableSlot(old);
	ExecDropSingleTupleTableSlot(new);
	table_close(streams, NoLock);
}

/*
 * Begin to change a stream: open event_log of the current store, check that the
 * caller may, lock the stream and look at it as it stands now.  Sets *stream and
 * its last version, both 0 if there is none.  Under REPEATABLE READ and
 * SERIALIZABLE a stream that was made, deleted or appended to after the snapshot
 * raises 40001.
 */
Relation
es_stream_take(EsStore **store, text *name, EsStream *stream, int64 *version)
{
	Relation	log = es_store_open_log(store, RowExclusiveLock, ACL_DELETE);
	int64		guess;
	int64		id;
	bool		deleted;
	bool		own;

	*version = 0;
	es_stream_lock(*store, log, es_stream_lock_key(name));
	id = es_stream_find_latest(*store, name, &guess, &deleted);
	es_stream_find(*store, name, SnapshotSelf, stream);
	if (id != 0)
	{
		Relation	by_version = (*store)->plain ? index_open((*store)->log_by_version, AccessShareLock) : NULL;

		*version = es_scan_latest_version(*store, log, by_version, id, guess, &own);
		if (by_version != NULL)
			index_close(by_version, AccessShareLock);
		if (IsolationUsesXactSnapshot() && !own &&
			es_scan_true_version(*store, log, id, GetTransactionSnapshot()) != *version)
			es_stream_serialization_failure(name);
	}
	return log;
}

/*
 * The name of the stream with an id.  The text belongs to the store's cache
 * and is good until the next call.
 */
text *
es_stream_name(EsStore *store, int64 id, Snapshot snapshot)
{
	EsStreamCache *cache = cache_of(store);
	IdEntry    *entry = ids_lookup(cache->by_id, id);
	Relation	streams;
	Relation	index;
	TupleTableSlot *slot;
	IndexScanDesc scan;
	ScanKeyData key;
	bool		found;

	if (entry != NULL)
		return entry->name;

	streams = table_open(store->streams, AccessShareLock);
	index = index_open(es_store_with_indexes(store)->streams_by_id, AccessShareLock);
	slot = table_slot_create(streams, NULL);
	scan = es_index_beginscan(streams, index, snapshot, 1);
	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(id));
	index_rescan(scan, &key, 1, NULL, 0);
	if (index_getnext_slot(scan, ForwardScanDirection, slot))
	{
		bool		isnull;
		struct varlena *name = PG_DETOAST_DATUM_PACKED(slot_getattr(slot, STREAM_NAME + 1, &isnull));
		text	   *copy = MemoryContextAlloc(cache->context, VARSIZE_ANY(name));

		memcpy(copy, name, VARSIZE_ANY(name));
		entry = ids_insert(cache->by_id, id, &found);
		entry->name = copy;
	}
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	index_close(index, AccessShareLock);
	table_close(streams, AccessShareLock);

	if (entry == NULL)
		ereport(ERROR,
				(es_problem(ERRCODE_DATA_CORRUPTED,
							ES_MEMBERS(ES_TEXT("store", NameStr(store->schema)), ES_INT("stream_id", id)),
							"event store \"%s\" has events of stream id %lld but no such row in event_streams",
							NameStr(store->schema), (long long) id),
				 errhint("Restore the row of event_streams from a backup.")));
	return entry->name;
}

PG_FUNCTION_INFO_V1(event_store_stream_version);
PG_FUNCTION_INFO_V1(event_store_stream_info);

Datum
event_store_stream_version(PG_FUNCTION_ARGS)
{
	text	   *name = PG_GETARG_TEXT_PP(0);
	EsStore    *store;
	Relation	log;
	EsStream	stream;
	int64		version = 0;

	es_stream_check_name(name);
	log = es_store_open_log(&store, AccessShareLock, ACL_SELECT);
	es_stream_find(store, name, GetActiveSnapshot(), &stream);
	if (stream.id != 0)
		version = es_scan_version(store, log, stream.id, GetActiveSnapshot());
	table_close(log, NoLock);
	PG_RETURN_INT64(version);
}

Datum
event_store_stream_info(PG_FUNCTION_ARGS)
{
	text	   *name = PG_GETARG_TEXT_PP(0);
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	EsStore    *store;
	Relation	log;
	EsStream	stream;
	EsScan		scan;
	Datum	   *row;
	bool	   *row_nulls;
	Datum		values[13];
	bool		nulls[13] = {0};
	int64		first;

	es_stream_check_name(name);
	InitMaterializedSRF(fcinfo, 0);
	log = es_store_open_log(&store, AccessShareLock, ACL_SELECT);
	es_stream_find(store, name, GetActiveSnapshot(), &stream);
	if (stream.id == 0)
	{
		table_close(log, NoLock);
		return (Datum) 0;
	}

	values[0] = PointerGetDatum(name);
	values[1] = PointerGetDatum(cstring_to_text_with_len(VARDATA_ANY(name),
														 es_stream_category_length(VARDATA_ANY(name),
																				   VARSIZE_ANY_EXHDR(name))));
	values[2] = CStringGetTextDatum(stream.deleted ? "deleted" : "open");
	values[3] = Int64GetDatum(0);
	values[5] = TimestampTzGetDatum(stream.created_at);
	values[7] = TimestampTzGetDatum(stream.deleted_at);
	nulls[7] = !stream.deleted;
	values[9] = Int64GetDatum(stream.truncate_before);
	nulls[9] = stream.truncate_before == 0;
	values[10] = IntervalPGetDatum(&stream.max_age);
	nulls[10] = !stream.has_max_age;
	values[11] = Int64GetDatum(stream.max_count);
	nulls[11] = stream.max_count == 0;
	values[12] = JsonbPGetDatum(stream.metadata);
	nulls[12] = stream.metadata == NULL;
	nulls[4] = nulls[6] = nulls[8] = true;
	es_scan_stream(&scan, store, log, stream.id, 1, PG_INT64_MAX, true, GetActiveSnapshot());
	if (es_scan_next(&scan, &row, &row_nulls))
	{
		values[3] = row[LOG_VERSION];
		values[4] = row[LOG_POSITION];
		values[6] = row[LOG_CREATED_AT];
		nulls[4] = nulls[6] = false;
	}
	es_scan_end(&scan);
	first = es_stream_first_version(store, log, &stream, GetActiveSnapshot());
	values[8] = Int64GetDatum(first);
	nulls[8] = stream.deleted || first > DatumGetInt64(values[3]);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	table_close(log, NoLock);
	return (Datum) 0;
}

static void
transaction_ended(bool committed)
{
	stream_locks = 0;
}

void
EsStreamInit(void)
{
	static const EsXactHook hook = {.end = transaction_ended};

	es_xact_register(&hook);
}
