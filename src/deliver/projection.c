/*
 * projection.c
 *		Projections: tables that a handler fills, built beside themselves.
 *
 * A rebuild makes empty tables like those of the handler in a schema of its
 * own and hands the handler all events again, with that schema first on the
 * search_path, in partitions with numbers below 0; the tables in use are read
 * and kept up meanwhile.  Whoever comes to the end of the log stops the handler
 * for the moment that it takes to hand the last events over, puts the new
 * tables in the place of the old ones, and lets the handler go on from there:
 * all in one transaction.  Until then nothing that anybody sees has changed, so
 * a rebuild can be given up at any time.
 *
 * A live read does the same for one query and takes everything back.
 *
 * The functions must therefore name their tables without a schema.  Those that
 * are bound to tables are refused, and a step that has written the tables in
 * use fails.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/syscache.h"
#include "utils/varlena.h"

#include "base/arguments.h"
#include "base/attempt.h"
#include "base/compat.h"
#include "base/errors.h"
#include "deliver/handler_operate.h"
#include "deliver/handler_task.h"
#include "deliver/projection.h"
#include "log/horizon.h"
#include "observe/problem.h"
#include "store/statement.h"
#include "store/tenant.h"
#include "store/tenant_clone.h"

#define REBUILD_PREFIX	"event_rebuild_"
#define LIVE_PREFIX		"event_live_"
#define NEAR			10000	/* positions that a rebuild may be behind when it begins to end */

/* A table of a projection, and how often this transaction has written it. */
typedef struct Table
{
	Oid			oid;
	char	   *schema;
	char	   *name;
	int64		writes;
} Table;

/* --- the schema beside --- */

static char *
rebuild_schema(int64 store_number, const char *name)
{
	return psprintf(REBUILD_PREFIX "%llx_%08x", (unsigned long long) store_number, es_handler_lock_key(name, 0));
}

/* Its name, palloc'd; it follows from the store, the handler and the partition. */
char *
es_shadow_schema(const EsStore *store, const char *name, int partition)
{
	if (partition <= ES_LIVE_READ)
		return psprintf(LIVE_PREFIX "%d", MyProcPid);
	return rebuild_schema(store->number, name);
}

/* Put it first on the search_path, on a level of settings that is returned. */
int
es_shadow_enter(const char *name, int partition)
{
	int			level = NewGUCNestLevel();
	char	   *path = psprintf("%s%s%s", quote_identifier(es_shadow_schema(es_store_current(false), name, partition)),
								namespace_search_path[0] == '\0' ? "" : ", ", namespace_search_path);

	(void) set_config_option("search_path", path, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	return level;
}

void
es_shadow_leave(int level)
{
	AtEOXact_GUC(false, level);
}

/* --- the tables --- */

static int64
writes_of(Oid table)
{
	return DatumGetInt64(DirectFunctionCall1(pg_stat_get_xact_tuples_inserted, ObjectIdGetDatum(table))) +
		DatumGetInt64(DirectFunctionCall1(pg_stat_get_xact_tuples_updated, ObjectIdGetDatum(table))) +
		DatumGetInt64(DirectFunctionCall1(pg_stat_get_xact_tuples_deleted, ObjectIdGetDatum(table)));
}

/* The tables that a handler fills, as the search_path has them now: a list of Table. */
List *
es_projection_writes(EsHandler *handler)
{
	List	   *tables = NIL;
	ListCell   *lc;

	foreach(lc, handler->tables)
	{
		Table	   *table = palloc(sizeof(Table));

		table->oid = RangeVarGetRelid(makeRangeVarFromNameList(textToQualifiedNameList(cstring_to_text(lfirst(lc)))), NoLock, false);
		table->schema = get_namespace_name(get_rel_namespace(table->oid));
		table->name = get_rel_name(table->oid);
		table->writes = writes_of(table->oid);
		tables = lappend(tables, table);
	}
	return tables;
}

/* Refuse to have written tables that are in use. */
void
es_projection_check_writes(EsHandler *handler, List *before)
{
	ListCell   *lc;

	foreach(lc, before)
	{
		Table	   *table = lfirst(lc);

		if (writes_of(table->oid) != table->writes)
			ereport(ERROR,
					(es_problem(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
								ES_MEMBERS(ES_TEXT("handler", handler->prepared.name), ES_TEXT("table", table->name)),
								"handler \"%s\" has written table \"%s\" of schema \"%s\", which is in use, and not the one that is built",
								handler->prepared.name, table->name, table->schema),
					 errhint("Its function must name the table without a schema.")));
	}
}

static void
not_ready(const char *name, const char *problem, const char *hint)
{
	ereport(ERROR,
			(es_problem(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, ES_MEMBERS(ES_TEXT("handler", name)),
						"projection \"%s\" %s", name, problem),
			 errhint("%s", hint)));
}

/* Refuse a function whose tables are settled already. */
static void
check_function(EsHandler *handler)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(handler->function->function));
	bool		bound;
	bool		configured;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", handler->function->function);
	(void) SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_prosqlbody, &bound);
	(void) SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_proconfig, &configured);
	ReleaseSysCache(tuple);
	if (!bound || !configured)
		not_ready(handler->prepared.name, psprintf("cannot be built beside itself: its function %s",
												   !bound ? "has a body that is bound to its tables" : "has settings of its own"),
				  "Write its body as a string, without SET, and name the tables without a schema.");
}

/* Refuse tables that others cannot take the place of. */
static void
check_tables(EsHandler *handler, List *tables)
{
	ListCell   *lc;

	if (tables == NIL)
		not_ready(handler->prepared.name, "declares no tables", "Register it with the tables that it fills.");
	foreach(lc, tables)
	{
		Table	   *table = lfirst(lc);
		Relation	rel = table_open(table->oid, AccessShareLock);
		bool		mine = rel->rd_rel->relowner == GetUserId();
		bool		plain = rel->rd_rel->relkind == RELKIND_RELATION && !rel->rd_rel->relispartition && !rel->rd_rel->relhassubclass;
		char	   *obstacle;

		table_close(rel, NoLock);
		if (!mine)
			ereport(ERROR,
					(es_problem(ERRCODE_INSUFFICIENT_PRIVILEGE, ES_MEMBERS(ES_TEXT("table", table->name)),
								"table \"%s\" belongs to another role than that of the projection", table->name),
					 errhint("Give it the table with ALTER TABLE ... OWNER TO.")));
		if (!plain)
			not_ready(handler->prepared.name, psprintf("cannot be built beside itself: table \"%s\" is not a plain one", table->name),
					  "Partitions and inheritance are not copied.");
		obstacle = es_statement_table_obstacle(table->oid);
		if (obstacle != NULL)
			not_ready(handler->prepared.name,
					  psprintf("cannot be built beside itself: %s depends on table \"%s\"", obstacle, table->name),
					  "Views, foreign keys, triggers, policies and sequences would stay with the old table: drop them for the time of the rebuild, and use identity columns.");
	}
}

/* Make the schema beside with an empty table for each. */
static void
create_shadow(EsHandlerUse *use, int partition, List *tables)
{
	char	   *schema = es_shadow_schema(use->store, use->handler->prepared.name, partition);
	ListCell   *lc;

	if (!es_may_create_in_database(GetUserId()))
		ereport(ERROR,
				(es_problem(ERRCODE_INSUFFICIENT_PRIVILEGE, ES_MEMBERS(ES_TEXT("handler", use->handler->prepared.name)),
							"permission denied to build tables beside those of projection \"%s\"", use->handler->prepared.name),
				 errhint("They need a schema of their own, which takes CREATE on the database.")));
	es_statement_create_schema(schema);
	foreach(lc, tables)
	{
		Table	   *table = lfirst(lc);

		es_statement_create_like(schema, table->name, quote_qualified_identifier(table->schema, table->name));
	}
	CommandCounterIncrement();
}

/* Use a handler of the caller's as a projection, to write its tables or to read only. */
static List *
use_projection(EsHandlerUse *use, const char *name, bool write)
{
	int			concurrency;
	EsTenant	tenant;

	es_require_writable();
	(void) es_handler_require_owner(name, &concurrency);
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(es_problem(ERRCODE_ACTIVE_SQL_TRANSACTION, NULL,
							"cannot build a projection in a transaction whose snapshot is fixed"),
				 errhint("Do it in a READ COMMITTED transaction.")));
	es_handler_use(use, name, true);
	if (write && es_tenant_of_schema(use->store->nspid, &tenant))
		es_tenant_require_state(&tenant, true);
	if (use->handler->kind == ES_HANDLER_PROCESS)
		not_ready(name, "is a process manager", "Its commands would be dispatched again.");
	return es_projection_writes(use->handler);
}

/* Is the projection being rebuilt? */
static bool
is_rebuilt(EsHandlerUse *use)
{
	EsHandlerState state;

	return es_handlers_read(use->handlers, use->handler->prepared.name, ES_SHADOW(0), &state);
}

static void
new_state(EsHandlerUse *use, int partition)
{
	EsHandlerState state = {.partition = partition, .partitions = use->handler->concurrency};
	const char *start_from = use->handler->start_from;

	ItemPointerSetInvalid(&state.tid);
	/* where `current` was then, nobody knows any more: everything */
	if (strcmp(start_from, "current") != 0)
		state.position = es_handler_start_position(use, start_from, false);
	es_handlers_write(use->handlers, use->handler->prepared.name, &state);
}

/* --- the end of a rebuild --- */

/* Is the rebuild so far that it can be ended?  Then its partitions are locked. */
static bool
may_finish(EsHandlerUse *use)
{
	const char *name = use->handler->prepared.name;
	int64		end = es_horizon(use->store, NULL) - 1;

	for (int partition = 0; partition < use->handler->concurrency; partition++)
	{
		EsHandlerState state;

		if (!es_handler_lock(use->handlers, name, ES_SHADOW(partition), false) ||
			!es_handlers_read(use->handlers, name, ES_SHADOW(partition), &state) ||
			state.runs != ES_HANDLER_RUNNING || state.position < end - NEAR)
			return false;
	}
	return true;
}

/* Let the handler rest until this transaction ends, and so the appends if it is a part of them. */
static void
hold_live(EsHandlerUse *use)
{
	if (use->handler->kind == ES_HANDLER_INLINE)
		LockRelation(use->log, ShareRowExclusiveLock);
	for (int partition = 0; partition < use->handler->concurrency && use->handler->kind != ES_HANDLER_INLINE; partition++)
		(void) es_handler_lock(use->handlers, use->handler->prepared.name, partition, true);
}

/*
 * Hand over what is still missing; false if that cannot be done now.  An inline
 * handler is ahead of the horizon, with the events of this transaction and of
 * those that are committed and not yet safe (log/hot).
 */
static bool
catch_up(EsHandlerUse *use)
{
	int64		handled = 0;

	if (use->handler->kind == ES_HANDLER_INLINE && es_horizon(use->store, NULL) < es_position_end(use->store))
		return false;
	for (int partition = 0; partition < use->handler->concurrency; partition++)
		if (es_handler_steps(use->handler->prepared.name, ES_SHADOW(partition), PG_INT64_MAX, &handled) != ES_STEP_DONE)
			return false;
	return true;
}

/* The handler goes on where the rebuild has come to. */
static void
take_over(EsHandlerUse *use)
{
	const char *name = use->handler->prepared.name;

	for (int partition = 0; partition < use->handler->concurrency; partition++)
	{
		EsHandlerState built;
		EsHandlerState state;

		if (!es_handlers_read(use->handlers, name, ES_SHADOW(partition), &built))
			elog(ERROR, "the rebuild of projection \"%s\" is gone", name);
		if (use->handler->kind != ES_HANDLER_INLINE && use->handler->kind != ES_HANDLER_LIVE)
		{
			es_handler_state(use, partition, &state);
			state.position = built.position;
			state.handled = built.handled;
			state.skipped = built.skipped;
			state.failures = 0;
			state.failed_position = 0;
			state.retry_at = 0;
			es_handlers_write(use->handlers, name, &state);
		}
		es_handlers_delete(use->handlers, &built);
	}
}

/*
 * End the rebuild of a projection if it has come to the end of the log: put
 * its tables in the place of those in use.  Tells whether that was done.
 */
bool
es_projection_finish(const char *name)
{
	EsHandlerUse use;
	List	   *tables;
	char	   *schema;
	ListCell   *lc;
	bool		finished = false;

	es_handler_use(&use, name, true);
	tables = es_projection_writes(use.handler);
	schema = es_shadow_schema(use.store, name, ES_SHADOW(0));
	if (may_finish(&use))
	{
		hold_live(&use);
		finished = catch_up(&use);
	}
	if (finished)
	{
		take_over(&use);
		foreach(lc, tables)
		{
			Table	   *table = lfirst(lc);

			es_statement_replace_table(table->oid, table->schema, schema, table->name);
		}
		es_statement_drop_shadow(schema);
		es_handler_tasks_remove_shadow(name, use.handler->concurrency, use.store);
		es_handler_moved(use.store);
		CommandCounterIncrement();
	}
	es_handler_leave(&use);
	return finished;
}

/* Give up the rebuild of a projection in a store, if there is one; its partitions are locked. */
void
es_projection_forget(EsStore *store, const char *name)
{
	char	   *schema = es_shadow_schema(store, name, ES_SHADOW(0));

	if (OidIsValid(get_namespace_oid(schema, true)))
		es_statement_drop_shadow(schema);
}

/* The same for a store that is gone, whoever had begun the rebuild. */
void
es_projection_forget_gone(int64 store_number, const char *name)
{
	char	   *schema = rebuild_schema(store_number, name);
	Oid			nspid = get_namespace_oid(schema, true);
	Oid			user;
	int			context;

	if (!OidIsValid(nspid))
		return;
	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(es_schema_owner(nspid), context | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
	es_statement_drop_shadow(schema);
	SetUserIdAndSecContext(user, context);
}

PG_FUNCTION_INFO_V1(event_store_projection_rebuild);
PG_FUNCTION_INFO_V1(event_store_projection_build);
PG_FUNCTION_INFO_V1(event_store_projection_cancel);
PG_FUNCTION_INFO_V1(event_store_projection_read);
PG_FUNCTION_INFO_V1(event_store_is_rebuilding);

Datum
event_store_projection_rebuild(PG_FUNCTION_ARGS)
{
	char	   *name;
	EsHandlerUse use;
	List	   *tables;

	es_require_argument(fcinfo, 0, "name");
	es_require_argument(fcinfo, 1, "background");
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	tables = use_projection(&use, name, true);
	(void) es_handler_lock(use.handlers, name, ES_SHADOW(0), true);
	if (is_rebuilt(&use))
		not_ready(name, "is being rebuilt already", "Wait for the end, or give it up with event_store.projection_cancel().");
	check_function(use.handler);
	check_tables(use.handler, tables);
	create_shadow(&use, ES_SHADOW(0), tables);
	for (int partition = 0; partition < use.handler->concurrency; partition++)
	{
		(void) es_handler_lock(use.handlers, name, ES_SHADOW(partition), true);
		new_state(&use, ES_SHADOW(partition));
	}
	if (PG_GETARG_BOOL(1))
		es_handler_tasks_add_shadow(name, use.handler->concurrency, use.store, GetUserId());
	es_handler_leave(&use);
	PG_RETURN_VOID();
}

Datum
event_store_projection_build(PG_FUNCTION_ARGS)
{
	char	   *name;
	EsHandlerUse use;
	int64		max_events = PG_ARGISNULL(1) ? PG_INT64_MAX : PG_GETARG_INT64(1);
	int64		handled = 0;
	int			concurrency;

	es_require_argument(fcinfo, 0, "name");
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	(void) use_projection(&use, name, true);
	if (!is_rebuilt(&use))
		not_ready(name, "is not being rebuilt", "Begin with event_store.projection_rebuild().");
	concurrency = use.handler->concurrency;
	es_handler_leave(&use);

	for (int partition = 0; partition < concurrency; partition++)
		(void) es_handler_steps(name, ES_SHADOW(partition), max_events - handled, &handled);
	if (handled < max_events)
		(void) es_projection_finish(name);
	PG_RETURN_INT64(handled);
}

Datum
event_store_projection_cancel(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	EsHandlerUse use;
	bool		found;

	(void) use_projection(&use, name, true);
	for (int partition = 0; partition < use.handler->concurrency; partition++)
		(void) es_handler_lock(use.handlers, name, ES_SHADOW(partition), true);
	found = is_rebuilt(&use);
	for (int partition = 0; partition < use.handler->concurrency && found; partition++)
	{
		EsHandlerState state;

		if (es_handlers_read(use.handlers, name, ES_SHADOW(partition), &state))
			es_handlers_delete(use.handlers, &state);
	}
	if (found)
	{
		es_statement_drop_shadow(es_shadow_schema(use.store, name, ES_SHADOW(0)));
		es_handler_tasks_remove_shadow(name, use.handler->concurrency, use.store);
	}
	es_handler_leave(&use);
	PG_RETURN_BOOL(found);
}

/* The rows of the last SPI query, as jsonb, into a tuplestore. */
static void
return_rows(ReturnSetInfo *result)
{
	TupleDesc	desc = BlessTupleDesc(SPI_tuptable->tupdesc);

	for (uint64 i = 0; i < SPI_tuptable->numvals; i++)
	{
		Datum		row = heap_copy_tuple_as_datum(SPI_tuptable->vals[i], desc);
		Datum		json = es_document_jsonb(TextDatumGetCString(DirectFunctionCall1(row_to_json, row)));
		bool		isnull = false;

		CHECK_FOR_INTERRUPTS();
		tuplestore_putvalues(result->setResult, result->setDesc, &json, &isnull);
	}
}

/* Hand a projection all events in tables of its own, and run a query over them. */
static void
read_live(EsHandlerUse *use, List *tables, const char *query, ReturnSetInfo *result)
{
	const char *name = use->handler->prepared.name;
	int			partition = ES_LIVE_READ - MyProcPid;
	int64		handled = 0;
	int			level;

	create_shadow(use, partition, tables);
	new_state(use, partition);
	if (es_handler_steps(name, partition, PG_INT64_MAX, &handled) != ES_STEP_DONE)
	{
		EsHandlerState state;

		if (!es_handlers_read(use->handlers, name, partition, &state) || state.problem == NULL)
			elog(ERROR, "projection \"%s\" could not be computed", name);
		not_ready(name, psprintf("cannot be computed: it fails at position %lld", (long long) state.failed_position),
				  "Let its function take that event, or register it with on_exhausted => 'skip'.");
	}

	level = es_shadow_enter(name, partition);
	PushActiveSnapshot(GetTransactionSnapshot());
	SPI_connect();
	if (SPI_execute(query, true, 0) != SPI_OK_SELECT)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("argument", "query")), "the query returns no rows"),
				 errhint("Pass a SELECT over the tables of the projection.")));
	return_rows(result);
	SPI_finish();
	PopActiveSnapshot();
	es_shadow_leave(level);
}

Datum
event_store_projection_read(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *query = text_to_cstring(PG_GETARG_TEXT_PP(1));
	EsHandlerUse use;
	List	   *tables;
	EsAttempt	attempt;
	ErrorData  *volatile error = NULL;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	tables = use_projection(&use, name, false);
	check_function(use.handler);
	check_tables(use.handler, tables);

	/* in a subtransaction that is taken back, whatever comes of it */
	es_attempt_begin(&attempt);
	PG_TRY();
	{
		read_live(&use, tables, query, result);
	}
	PG_CATCH();
	{
		error = es_attempt_failed(&attempt);
	}
	PG_END_TRY();
	if (error != NULL)
		ReThrowError(error);
	es_attempt_undo(&attempt);
	es_handler_leave(&use);
	return (Datum) 0;
}

Datum
event_store_is_rebuilding(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(strncmp(namespace_search_path, REBUILD_PREFIX, strlen(REBUILD_PREFIX)) == 0 ||
				   strncmp(namespace_search_path, LIVE_PREFIX, strlen(LIVE_PREFIX)) == 0);
}
