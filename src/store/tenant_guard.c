/*
 * tenant_guard.c
 *		The leak guard: no statement touches a table of another tenant.
 *
 * It looks at the relations of every plan before it runs, whatever way their
 * names came into it: qualified names, views, plans and functions made under
 * another tenant, COPY.  Owners and superusers are no exception; they lift it
 * with event_store.guard, or name a tenant.  Utility statements that work on a
 * whole relation are looked at too.  A schema that is renamed by hand is noted
 * in the registry on this occasion.
 *
 * It stops mistakes.  What keeps a hostile role out are the rights on the
 * schema.
 *
 * Who empties the search_path names every schema outright, as pg_dump and the
 * other tools of the server do: where no tenant is named either, the guard
 * lets them through.  So it does what replicates.
 *
 * Not covered: C code that opens tables itself, logical decoding, files.
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "commands/defrem.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "port/atomics.h"
#include "replication/logicalworker.h"
#include "storage/shmem.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"

#include "base/compat.h"
#include "base/errors.h"
#include "base/settings.h"
#include "base/shmem.h"
#include "store/count.h"
#include "store/tenant.h"

/* Since the server was started, over all databases. */
typedef struct Counters
{
	pg_atomic_uint64 refused;
	pg_atomic_uint64 warned;
} Counters;

static Counters *counters = NULL;

static ExecutorCheckPerms_hook_type prev_check_perms = NULL;
static ProcessUtility_hook_type prev_process_utility = NULL;

/*
 * Set the guard off, and notices too, for what we do to a tenant's schema
 * ourselves.  The caller ends that with AtEOXact_GUC(true, result); an error
 * ends it by itself.
 */
int
es_tenant_lift_guard(void)
{
	int			level = NewGUCNestLevel();

	(void) set_config_option("event_store.guard", "off", PGC_SUSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	(void) set_config_option("client_min_messages", "warning", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
							 false);
	return level;
}

/* Nothing is on the path, and on purpose: by a tool, or by the server for maintenance. */
static bool
is_path_empty(void)
{
	if (strcmp(namespace_search_path, "pg_catalog, pg_temp") == 0)
		return true;
	for (const char *c = namespace_search_path; *c != '\0'; c++)
		if (*c != ' ' && *c != '"')
			return false;
	return true;
}

static void
violation(const EsTenant *touched, const EsTenant *current)
{
	const char *name = NameStr(touched->name);

	if (es_guard == ES_GUARD_WARN)
	{
		pg_atomic_fetch_add_u64(&counters->warned, 1);
		ereport(WARNING,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 current != NULL ? errmsg("statement of tenant \"%s\" touches tenant \"%s\"", NameStr(current->name), name) :
				 errmsg("statement of no tenant touches tenant \"%s\"", name)));
		return;
	}
	pg_atomic_fetch_add_u64(&counters->refused, 1);
	if (current == NULL)
		ereport(ERROR,
				(es_problem(ERRCODE_INSUFFICIENT_PRIVILEGE, ES_MEMBERS(ES_TEXT("tenant", name)),
							"statement of no tenant touches tenant \"%s\"", name),
				 errhint("Name the tenant with event_store.tenant_use(); an administrator may set event_store.guard = off.")));
	ereport(ERROR,
			(es_problem(ERRCODE_INSUFFICIENT_PRIVILEGE,
						ES_MEMBERS(ES_TEXT("tenant", name), ES_TEXT("current_tenant", NameStr(current->name))),
						"statement of tenant \"%s\" touches tenant \"%s\"", NameStr(current->name), name),
			 errhint("Switch with event_store.tenant_use(); an administrator may set event_store.guard = off.")));
}

/* Look at a schema that a statement touches, if it is a tenant's. */
static void
check_schema(Oid nspid, bool write)
{
	EsTenant	touched;
	EsTenant	current;

	if (!es_tenant_of_schema(nspid, &touched))
		return;
	if (!es_tenant_current(&current))
	{
		if (!is_path_empty())
			violation(&touched, NULL);
	}
	else if (current.nspid != nspid)
		violation(&touched, &current);
	else if (es_guard == ES_GUARD_ENFORCE)
		es_tenant_require_state(&current, write);
}

/* May there be anything to look at? */
static bool
is_on(void)
{
	return es_guard != ES_GUARD_OFF && es_tenants_exist() && !IsLogicalWorker() && !IsBootstrapProcessingMode();
}

/*
 * For functions that take the name of a schema: inside of a tenant it must be
 * that tenant's.  Outside, whoever names it means it.
 */
void
es_tenant_guard_named(Oid nspid)
{
	EsTenant	current;

	if (is_on() && es_tenant_current(&current))
		check_schema(nspid, false);
}

/* Raises its errors also where it may only tell: the caller would go on and meet them for each row. */
static bool
check_perms(ES_CHECK_PERMS_ARGS)
{
	Oid			passed = InvalidOid;	/* the schema looked at last */
	bool		passed_write = false;
	ListCell   *lc;

	if (es_guard != ES_GUARD_OFF)
		foreach(lc, range_table)
		{
			RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);
			bool		write;
			Oid			nspid;

			/* queries on the catalogues alone must never wait for the registry */
			if (rte->rtekind != RTE_RELATION || rte->relid < FirstNormalObjectId)
				continue;
			if (!is_on())
				break;
			write = rte->rellockmode > AccessShareLock;
			nspid = get_rel_namespace(rte->relid);
			if (nspid == passed && (passed_write || !write))
				continue;
			check_schema(nspid, write);
			passed = nspid;
			passed_write = write;
		}
	return prev_check_perms == NULL || prev_check_perms(ES_CHECK_PERMS_PASS);
}

static void
check_relation(const RangeVar *relation)
{
	Oid			relid = relation == NULL || !is_on() ? InvalidOid : RangeVarGetRelid(relation, NoLock, true);

	if (OidIsValid(relid))
		check_schema(get_rel_namespace(relid), true);
}

static void
check_relations(List *relations)
{
	ListCell   *lc;

	foreach(lc, relations)
		check_relation(lfirst_node(RangeVar, lc));
}

static void
check_named_schema(const char *name)
{
	Oid			nspid = name == NULL || !is_on() ? InvalidOid : get_namespace_oid(name, true);

	if (OidIsValid(nspid))
		check_schema(nspid, true);
}

/* The names that DROP takes, of relations or of things that belong to one. */
static void
check_drop(DropStmt *drop)
{
	ListCell   *lc;

	foreach(lc, drop->objects)
	{
		Node	   *object = lfirst(lc);

		switch (drop->removeType)
		{
			case OBJECT_SCHEMA:
				check_named_schema(strVal(object));
				break;
			case OBJECT_TABLE:
			case OBJECT_FOREIGN_TABLE:
			case OBJECT_VIEW:
			case OBJECT_MATVIEW:
			case OBJECT_SEQUENCE:
			case OBJECT_INDEX:
				check_relation(makeRangeVarFromNameList(castNode(List, object)));
				break;
			case OBJECT_TRIGGER:
			case OBJECT_RULE:
			case OBJECT_POLICY:
				if (list_length(castNode(List, object)) > 1)
					check_relation(makeRangeVarFromNameList(list_truncate(list_copy(castNode(List, object)),
																		  list_length(castNode(List, object)) - 1)));
				break;
			default:
				break;
		}
	}
}

/* Utility statements that the executor's check does not see. */
static void
check_utility(Node *statement)
{
	switch (nodeTag(statement))
	{
		case T_TruncateStmt:
			check_relations(castNode(TruncateStmt, statement)->relations);
			break;
		case T_LockStmt:
			check_relations(castNode(LockStmt, statement)->relations);
			break;
		case T_AlterTableStmt:
			check_relation(castNode(AlterTableStmt, statement)->relation);
			break;
		case T_ClusterStmt:
			check_relation(castNode(ClusterStmt, statement)->relation);
			break;
		case T_IndexStmt:
			check_relation(castNode(IndexStmt, statement)->relation);
			break;
		case T_CreateTrigStmt:
			check_relation(castNode(CreateTrigStmt, statement)->relation);
			break;
		case T_RuleStmt:
			check_relation(castNode(RuleStmt, statement)->relation);
			break;
		case T_RefreshMatViewStmt:
			check_relation(castNode(RefreshMatViewStmt, statement)->relation);
			break;
		case T_AlterObjectSchemaStmt:
			check_relation(castNode(AlterObjectSchemaStmt, statement)->relation);
			break;
		case T_ReindexStmt:
			check_relation(castNode(ReindexStmt, statement)->relation);
			if (castNode(ReindexStmt, statement)->kind == REINDEX_OBJECT_SCHEMA)
				check_named_schema(castNode(ReindexStmt, statement)->name);
			break;
		case T_RenameStmt:
			check_relation(castNode(RenameStmt, statement)->relation);
			if (castNode(RenameStmt, statement)->renameType == OBJECT_SCHEMA)
				check_named_schema(castNode(RenameStmt, statement)->subname);
			break;
		case T_DropStmt:
			check_drop(castNode(DropStmt, statement));
			break;
		default:
			break;
	}
}

/* The tenant whose schema a statement is to rename; false if it does not do that. */
static bool
renames_tenant(Node *statement, EsTenant *tenant)
{
	RenameStmt *rename = (RenameStmt *) statement;
	Oid			nspid;

	if (!IsA(statement, RenameStmt) || rename->renameType != OBJECT_SCHEMA || !es_tenants_exist())
		return false;
	nspid = get_namespace_oid(rename->subname, true);
	return OidIsValid(nspid) && es_tenant_of_schema(nspid, tenant);
}

static void
process_utility(PlannedStmt *pstmt, const char *query, bool read_only_tree, ProcessUtilityContext context,
				ParamListInfo params, QueryEnvironment *environment, DestReceiver *dest, QueryCompletion *qc)
{
	EsTenant	tenant;
	EsStore    *store;
	bool		renamed = false;

	/* in a transaction that has failed the only statements are those that end it */
	if (IsTransactionState())
	{
		if (es_guard != ES_GUARD_OFF)
			check_utility(pstmt->utilityStmt);
		renamed = renames_tenant(pstmt->utilityStmt, &tenant);

		/* it is counted under its new name from now on, and nothing is to stay under the old one */
		if (renamed && (store = es_store_of_schema(tenant.nspid)) != NULL)
			es_store_drop_series(store);
	}
	if (prev_process_utility)
		prev_process_utility(pstmt, query, read_only_tree, context, params, environment, dest, qc);
	else
		standard_ProcessUtility(pstmt, query, read_only_tree, context, params, environment, dest, qc);

	/* so that a dump knows where the tenant is */
	if (renamed)
		es_tenant_note_schema(NameStr(tenant.name), castNode(RenameStmt, pstmt->utilityStmt)->newname);
}

static Size
counters_size(void)
{
	return sizeof(Counters);
}

static void
attach_counters(void)
{
	bool		found;

	counters = ShmemInitStruct("event_store tenant guard", sizeof(Counters), &found);
	if (!found)
	{
		pg_atomic_init_u64(&counters->refused, 0);
		pg_atomic_init_u64(&counters->warned, 0);
	}
}

void
EsTenantGuardInit(void)
{
	static const EsShmemPart part = {.size = counters_size, .attach = attach_counters};

	es_shmem_register(&part);
	prev_check_perms = ExecutorCheckPerms_hook;
	ExecutorCheckPerms_hook = check_perms;
	prev_process_utility = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
}

PG_FUNCTION_INFO_V1(event_store_guard_counts);

/* What the guard has met since the server was started. */
Datum
event_store_guard_counts(PG_FUNCTION_ARGS)
{
	Datum		values[2];
	bool		nulls[2] = {false, false};
	TupleDesc	desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "guard_counts must return a row");
	values[0] = Int64GetDatum(pg_atomic_read_u64(&counters->refused));
	values[1] = Int64GetDatum(pg_atomic_read_u64(&counters->warned));
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}
