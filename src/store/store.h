/*
 * store.h
 *		Which store a call goes to, and what is known of it.
 */
#ifndef ES_STORE_H
#define ES_STORE_H

#include "executor/spi.h"
#include "nodes/execnodes.h"
#include "utils/acl.h"
#include "utils/rel.h"

/* Columns of event_log, in the order of the table. */
enum EsLogColumn
{
	LOG_POSITION,
	LOG_STREAM_ID,
	LOG_VERSION,
	LOG_CREATED_AT,
	LOG_EVENT_ID,
	LOG_CORRELATION_ID,
	LOG_CAUSATION_ID,
	LOG_EVENT_TYPE,
	LOG_DATA,
	LOG_METADATA,
	LOG_NCOLUMNS
};

/* Columns of event_streams. */
enum EsStreamColumn
{
	STREAM_ID,
	STREAM_NAME,
	STREAM_CATEGORY,
	STREAM_CREATED_AT,
	STREAM_DELETED_AT,
	STREAM_TRUNCATE_BEFORE,
	STREAM_MAX_AGE,
	STREAM_MAX_COUNT,
	STREAM_METADATA,
	STREAM_NCOLUMNS
};

/* Columns of event_mark, a table of one row. */
enum EsMarkColumn
{
	MARK_STORE_NUMBER,
	MARK_POSITION,
	MARK_LAYOUT,
	MARK_CHANGED_AT,
	MARK_EPOCHS,
	MARK_NCOLUMNS
};

/* Columns of event_snapshots. */
enum EsSnapshotColumn
{
	SNAPSHOT_STREAM_ID,
	SNAPSHOT_VERSION,
	SNAPSHOT_DEFINITION,
	SNAPSHOT_CREATED_AT,
	SNAPSHOT_AGGREGATE,
	SNAPSHOT_STATE,
	SNAPSHOT_NCOLUMNS
};

/* Columns of event_commands. */
enum EsCommandsColumn
{
	COMMANDS_COMMAND_ID,
	COMMANDS_REQUEST,
	COMMANDS_DISPATCHED_AT,
	COMMANDS_RESULT,
	COMMANDS_NCOLUMNS
};

/* What event_log.data is (store/payload). */
typedef enum EsPayload
{
	ES_PAYLOAD_JSONB,
	ES_PAYLOAD_JSON,
	ES_PAYLOAD_BYTEA
} EsPayload;

/* Columns of event_tags, which a store may have. */
enum EsTagsColumn
{
	TAGS_TAG,
	TAGS_POSITION,
	TAGS_NCOLUMNS
};

#define ES_LAYOUT			1	/* of the tables of a store */
#define ES_POSITION_BLOCK	128 /* positions that one nextval reserves */

/* An index of event_log that an append has to fill by hand. */
typedef struct EsLogIndex
{
	Oid			oid;
	bool		given_ids_only; /* the partial index over event_id */
	bool		not_null_only;	/* partial: only rows in which its first column is not null */
	IndexInfo  *info;
} EsLogIndex;

/* Queries for tables that cannot be accessed directly. */
typedef enum EsStatement
{
	ES_STMT_INSERT,
	ES_STMT_READ_STREAM,
	ES_STMT_READ_STREAM_BACK,
	ES_STMT_READ_LOG,
	ES_STMT_READ_LOG_BACK,
	ES_STMT_READ_EVENT_ID,
	ES_STMT_VERIFY_STREAMS,
	ES_STMT_VERIFY_POSITIONS,
	ES_STMT_VERIFY_EVENT_IDS,
	ES_STMT_VERIFY_NAMES,
	ES_STMT_VERIFY_TAGS,
	ES_STMT_DELETE_EVENTS,
	ES_STMT_LIMITED_STREAMS,
	ES_STMT_SAVE_SNAPSHOT,
	ES_STMT_DELETE_SNAPSHOTS,
	ES_STMT_SAVE_COMMAND,
	ES_STMT_FORGET_COMMANDS,
	ES_STMT_COUNT
} EsStatement;

/*
 * A store, as cached by this backend.  The pointer is good until the end of
 * the transaction; `valid` turns false when anything here may have changed.
 */
typedef struct EsStore
{
	Oid			nspid;
	uint32		nsphash;		/* of its entry in the system cache */
	bool		valid;
	uint64		used;			/* when it was last looked up, in look-ups */
	NameData	schema;
	int64		number;			/* 60 random bits, in the ids made here */

	Oid			log;
	Oid			streams;
	Oid			mark;
	Oid			sequence;
	Oid			log_by_version; /* indexes; InvalidOid if not plain */
	Oid			log_by_position;
	Oid			log_by_event_id;
	Oid			log_by_type;	/* those that a store may have; InvalidOid if not */
	Oid			log_by_correlation;
	Oid			log_by_time;
	Oid			streams_by_id;
	Oid			streams_by_name;
	Oid			tags;			/* event_tags, InvalidOid: events of this store have no tags */
	Oid			tags_by_tag;
	Oid			former_tags;	/* that was there before: its drop may be rolled back */

	EsPayload	payload;
	bool		copy;			/* event_log is filled by a subscription */
	bool		copying;		/* ... which has not yet copied all of it */
	bool		plain;			/* event_log can be read directly */
	bool		plain_insert;	/* ... and written */
	char	   *defect;			/* what is wrong with the tables, or NULL */
	int			nindexes;
	EsLogIndex *indexes;
	int			ntag_indexes;
	EsLogIndex *tag_indexes;	/* of event_tags */

	struct EsStoreSlot *slot;	/* owned by log/horizon */
	struct EsSeries *series;	/* owned by store/count */
	struct EsLimits *limits;	/* owned by store/tenant_limit */
	struct EsStreamCache *cache;	/* owned by log/stream */
	SPIPlanPtr	plans[ES_STMT_COUNT];	/* owned by store/statement */

	MemoryContext context;		/* holds all of this */
} EsStore;

/* Decides about what the caller is going to do to a store, before any lock is taken; refuses with an error. */
typedef void (*EsAdmission) (EsStore *store, void *load);

extern EsStore *es_store_current(bool missing_ok);
extern EsStore *es_store_of_schema(Oid nspid);
extern bool es_store_is_registered(int64 number);
extern Relation es_store_open_log(EsStore **store, LOCKMODE lockmode, AclMode rights);
extern Relation es_store_open_log_admitted(EsStore **store, LOCKMODE lockmode, AclMode rights, EsAdmission admit, void *load);
extern void es_store_require_owner(const EsStore *store);
extern bool es_store_use_sql(EsStore *store, Relation log);

/*
 * The store with its indexes as they stand, for a caller that has just locked
 * the table they are on: REINDEX CONCURRENTLY may have replaced one before.
 * From here on it waits with dropping the old one until the lock is released.
 */
static inline EsStore *
es_store_with_indexes(EsStore *store)
{
	EsStore    *now;

	if (likely(store->valid))
		return store;
	now = es_store_of_schema(store->nspid);
	return now != NULL && now->log == store->log && now->streams == store->streams ? now : store;
}

#endif							/* ES_STORE_H */
