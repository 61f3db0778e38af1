/*
 * compat.h
 *		The differences between the server versions we build on.
 *
 * This is the only file that looks at PG_VERSION_NUM.  Each entry says which
 * release changed what; the rest of the code is written for the newest form.
 */
#ifndef ES_COMPAT_H
#define ES_COMPAT_H

#include "access/genam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_class.h"
#include "catalog/pg_database.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/wait_event.h"

#if PG_VERSION_NUM < 150000
#error "event_store needs PostgreSQL 15 or newer"
#endif

/* 16 declares _PG_init in fmgr.h. */
#if PG_VERSION_NUM < 160000
extern PGDLLEXPORT void _PG_init(void);
#endif

/* 18 lets a module tell its name and version. */
#if PG_VERSION_NUM >= 180000
#define ES_MODULE_MAGIC(module) PG_MODULE_MAGIC_EXT(.name = (module), .version = ES_VERSION)
#else
#define ES_MODULE_MAGIC(module) PG_MODULE_MAGIC
#endif

/* 18 took the attribute's place. */
#if PG_VERSION_NUM < 180000
#define pg_noreturn pg_attribute_noreturn()
#endif

/* 17 replaced MyProc->pgprocno by MyProcNumber. */
#if PG_VERSION_NUM >= 170000
#define ES_MY_PROC_NUMBER ((int) MyProcNumber)
#else
#define ES_MY_PROC_NUMBER ((int) MyProc->pgprocno)
#endif

/* 17 gave LockHeldByMe a third argument. */
static inline bool
es_lock_held_by_me(const LOCKTAG *tag, LOCKMODE mode)
{
#if PG_VERSION_NUM >= 170000
	return LockHeldByMe(tag, mode, false);
#else
	return LockHeldByMe(tag, mode);
#endif
}

/* 16 folded the checks of ownership and rights into one each. */
static inline bool
es_owns_relation(Oid relid, Oid role)
{
#if PG_VERSION_NUM >= 160000
	return object_ownercheck(RelationRelationId, relid, role);
#else
	return pg_class_ownercheck(relid, role);
#endif
}

static inline bool
es_may_use_schema(Oid nspid, Oid role)
{
#if PG_VERSION_NUM >= 160000
	return object_aclcheck(NamespaceRelationId, nspid, role, ACL_USAGE) == ACLCHECK_OK;
#else
	return pg_namespace_aclcheck(nspid, role, ACL_USAGE) == ACLCHECK_OK;
#endif
}

/* 16 made check_is_member_of_role a matter of SET ROLE. */
static inline void
es_check_can_set_role(Oid member, Oid role)
{
#if PG_VERSION_NUM >= 160000
	check_can_set_role(member, role);
#else
	check_is_member_of_role(member, role);
#endif
}

static inline bool
es_owns_database(Oid dbid, Oid role)
{
#if PG_VERSION_NUM >= 160000
	return object_ownercheck(DatabaseRelationId, dbid, role);
#else
	return pg_database_ownercheck(dbid, role);
#endif
}

static inline bool
es_may_execute(Oid function, Oid role)
{
#if PG_VERSION_NUM >= 160000
	return object_aclcheck(ProcedureRelationId, function, role, ACL_EXECUTE) == ACLCHECK_OK;
#else
	return pg_proc_aclcheck(function, role, ACL_EXECUTE) == ACLCHECK_OK;
#endif
}

static inline bool
es_may_create_in_database(Oid role)
{
#if PG_VERSION_NUM >= 160000
	return object_aclcheck(DatabaseRelationId, MyDatabaseId, role, ACL_CREATE) == ACLCHECK_OK;
#else
	return pg_database_aclcheck(MyDatabaseId, role, ACL_CREATE) == ACLCHECK_OK;
#endif
}

/* 18 gave RelationGetPrimaryKeyIndex a second argument. */
static inline Oid
es_primary_key(Relation rel)
{
#if PG_VERSION_NUM >= 180000
	return RelationGetPrimaryKeyIndex(rel, false);
#else
	return RelationGetPrimaryKeyIndex(rel);
#endif
}

/* 18 added instrumentation to index_beginscan. */
static inline IndexScanDesc
es_index_beginscan(Relation heap, Relation index, Snapshot snapshot, int nkeys)
{
#if PG_VERSION_NUM >= 180000
	return index_beginscan(heap, index, snapshot, NULL, nkeys, 0);
#else
	return index_beginscan(heap, index, snapshot, nkeys, 0);
#endif
}

/*
 * 16 lets an update that matters to summarizing indexes (BRIN) alone pass the
 * others by.  Tells whether the new row has to be entered into any index.
 */
static inline bool
es_table_tuple_update(Relation rel, ItemPointer tid, TupleTableSlot *slot, bool *only_summarizing)
{
#if PG_VERSION_NUM >= 160000
	TU_UpdateIndexes update_indexes;

	simple_table_tuple_update(rel, tid, slot, SnapshotSelf, &update_indexes);
	*only_summarizing = update_indexes == TU_Summarizing;
	return update_indexes != TU_None;
#else
	bool		update_indexes;

	simple_table_tuple_update(rel, tid, slot, SnapshotSelf, &update_indexes);
	*only_summarizing = false;
	return update_indexes;
#endif
}

static inline void
es_insert_index_tuples(ResultRelInfo *rel, TupleTableSlot *slot, EState *estate, bool update, bool only_summarizing)
{
#if PG_VERSION_NUM >= 160000
	ExecInsertIndexTuples(rel, slot, estate, update, false, NULL, NIL, only_summarizing);
#else
	ExecInsertIndexTuples(rel, slot, estate, update, false, NULL, NIL);
#endif
}

/* 16 gave the extra data of settings an allocator of their own. */
static inline void *
es_guc_malloc(size_t size)
{
#if PG_VERSION_NUM >= 160000
	return guc_malloc(LOG, size);
#else
	return malloc(size);
#endif
}

static inline bool
es_owns_schema(Oid nspid, Oid role)
{
#if PG_VERSION_NUM >= 160000
	return object_ownercheck(NamespaceRelationId, nspid, role);
#else
	return pg_namespace_ownercheck(nspid, role);
#endif
}

/* 16 took the rights out of the range table, into a list of their own. */
#if PG_VERSION_NUM >= 160000
#define ES_CHECK_PERMS_ARGS			List *range_table, List *permissions, bool raise
#define ES_CHECK_PERMS_PASS			range_table, permissions, raise
#else
#define ES_CHECK_PERMS_ARGS			List *range_table, bool raise
#define ES_CHECK_PERMS_PASS			range_table, raise
#endif

/* 17 lets an extension name its wait events; before, all read "Extension". */
static inline uint32
es_wait_event(const char *name)
{
#if PG_VERSION_NUM >= 170000
	return WaitEventExtensionNew(name);
#else
	return PG_WAIT_EXTENSION;
#endif
}

#endif							/* ES_COMPAT_H */
