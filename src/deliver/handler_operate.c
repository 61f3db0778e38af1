/*
 * handler_operate.c
 *		Operating event handlers: let them rest, go on, begin anew.
 *
 * All of this waits for the steps that are at work on the handler, and is for
 * the role that registered it.  What is done applies to the store in use; a
 * deletion to all stores.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/regproc.h"
#include "utils/snapmgr.h"
#include "utils/varlena.h"

#include "base/arguments.h"
#include "base/errors.h"
#include "base/extension.h"
#include "deliver/handler_operate.h"
#include "deliver/handler_register.h"
#include "deliver/handler_task.h"
#include "deliver/process_manager.h"
#include "deliver/projection.h"
#include "model/registry.h"
#include "store/statement.h"

/* The row of a handler of the caller's; 42704 if there is none of this name. */
static HeapTuple
own_row(Relation registry, const char *name)
{
	HeapTuple	row = es_registry_row_to_change(registry, "handler", name, HANDLER_OWNER);

	if (row == NULL)
		ereport(ERROR,
				(es_problem(ERRCODE_UNDEFINED_OBJECT, ES_MEMBERS(ES_TEXT("handler", name)),
							"handler \"%s\" is not registered", name),
				 errhint("Register it with event_store.register_handler(); the view event_store.handlers lists those there are.")));
	return row;
}

/* Refuse a caller that may not act for the role that registered the handler; returns that role. */
Oid
es_handler_require_owner(const char *name, int *concurrency)
{
	Relation	registry = es_extension_open("handler_registry", AccessShareLock);
	HeapTuple	row = own_row(registry, name);
	bool		isnull;
	Oid			owner = DatumGetObjectId(heap_getattr(row, HANDLER_OWNER + 1, RelationGetDescr(registry), &isnull));

	*concurrency = DatumGetInt32(heap_getattr(row, HANDLER_CONCURRENCY + 1, RelationGetDescr(registry), &isnull));
	table_close(registry, AccessShareLock);
	return owner;
}

/*
 * Give every partition of a handler its place in the store in use.  Places
 * that are there already were left by a DROP EXTENSION, and are good if the
 * partitions are the same.
 */
void
es_handler_begin(const char *name)
{
	EsHandlerUse use;
	EsHandlerState state;
	List	   *left;
	ListCell   *lc;

	es_handler_use(&use, name, false);
	for (int partition = 0; partition < use.handler->concurrency; partition++)
		(void) es_handler_lock(use.handlers, name, partition, true);
	left = es_handlers_read_all(use.handlers, name);
	foreach(lc, left)
		if (((EsHandlerState *) linitial(left))->partitions != use.handler->concurrency)
			es_handlers_delete(use.handlers, lfirst(lc));
	for (int partition = 0; partition < use.handler->concurrency; partition++)
		es_handler_state(&use, partition, &state);
	es_handler_leave(&use);
}

/* The states of all partitions of a handler of the caller's, locked; a list of EsHandlerState. */
static List *
take_states(EsHandlerUse *use, const char *name)
{
	List	   *states = NIL;
	int			concurrency;

	es_require_writable();
	(void) es_handler_require_owner(name, &concurrency);
	es_handler_use(use, name, false);
	for (int partition = 0; partition < concurrency; partition++)
	{
		EsHandlerState *state = palloc(sizeof(EsHandlerState));

		(void) es_handler_lock(use->handlers, name, partition, true);
		es_handler_state(use, partition, state);
		states = lappend(states, state);
	}
	return states;
}

/* Leave a handler that has something to do now. */
static void
leave_and_wake(EsHandlerUse *use)
{
	es_handler_tasks_poke(use->handler->prepared.name, use->handler->concurrency, use->store);
	es_handler_leave(use);
}

static void
forget_failure(EsHandlerState *state)
{
	state->failures = 0;
	state->failed_position = 0;
	state->retry_at = 0;
}

/* Empty the tables of a handler, as the caller. */
static void
empty_tables(List *tables)
{
	StringInfoData names;
	ListCell   *lc;

	initStringInfo(&names);
	foreach(lc, tables)
	{
		Oid			relid = RangeVarGetRelid(makeRangeVarFromNameList(textToQualifiedNameList(cstring_to_text(lfirst(lc)))), NoLock, false);

		appendStringInfo(&names, "%s%s", names.len > 0 ? ", " : "",
						 quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)), get_rel_name(relid)));
	}
	if (names.len > 0)
		es_statement_truncate(names.data);
}

static void
forget_parked(EsStore *store, const char *name)
{
	Relation	parked = es_parked_open(store, RowExclusiveLock);
	ListCell   *lc;

	if (parked == NULL)
		return;
	foreach(lc, es_parked_read(parked, name, PG_INT64_MAX))
		es_parked_delete(parked, lfirst(lc));
	table_close(parked, NoLock);
}

/* Forget how far a handler has come in a store. */
static void
forget_states(EsStore *store, const char *name, int concurrency)
{
	Relation	handlers = es_handlers_open(store, RowExclusiveLock, false);
	ListCell   *lc;

	if (handlers == NULL)
		return;
	/* in the order in which the end of a rebuild takes them */
	for (int partition = 0; partition < concurrency; partition++)
		(void) es_handler_lock(handlers, name, ES_SHADOW(partition), true);
	for (int partition = 0; partition < concurrency; partition++)
		(void) es_handler_lock(handlers, name, partition, true);
	foreach(lc, es_handlers_read_all(handlers, name))
		es_handlers_delete(handlers, lfirst(lc));
	table_close(handlers, NoLock);
	forget_parked(store, name);
	es_process_forget(store, name);
	es_projection_forget(store, name);
}

/* --- parked events --- */

typedef struct Found
{
	const EsHandlerUse *use;
	EsHandled	event;
	MemoryContext context;
} Found;

static void
keep_event(void *target, text *stream, const Datum *row, const bool *nulls)
{
	Found	   *found = target;
	MemoryContext caller = MemoryContextSwitchTo(found->context);

	es_handled_fill(&found->event, found->use->handler, found->use->store, stream, row, nulls);
	MemoryContextSwitchTo(caller);
}

/* Try a parked event again; tells whether it is one no more. */
static bool
replay(EsHandlerUse *use, Relation parked, EsParked *event)
{
	Found		found = {.use = use, .context = CurrentMemoryContext};
	Snapshot	snapshot = RegisterSnapshot(GetTransactionSnapshot());
	bool		there = es_read_position(use->store, use->log, event->position, snapshot, keep_event, &found);
	ErrorData  *error;

	UnregisterSnapshot(snapshot);
	error = there ? es_handler_attempt(use, &found.event) : NULL;
	if (error == NULL)
	{
		es_parked_delete(parked, event);
		return true;
	}
	event->attempts++;
	event->problem = es_handler_problem(use->handler->prepared.name, error, event->position, event->attempts);
	es_parked_write(parked, use->handler->prepared.name, event);
	return false;
}

PG_FUNCTION_INFO_V1(event_store_handler_pause);
PG_FUNCTION_INFO_V1(event_store_handler_resume);
PG_FUNCTION_INFO_V1(event_store_handler_retry);
PG_FUNCTION_INFO_V1(event_store_handler_skip);
PG_FUNCTION_INFO_V1(event_store_handler_reset);
PG_FUNCTION_INFO_V1(event_store_handler_replay);
PG_FUNCTION_INFO_V1(event_store_handler_delete);

Datum
event_store_handler_pause(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	EsHandlerUse use;
	ListCell   *lc;

	foreach(lc, take_states(&use, name))
	{
		EsHandlerState *state = lfirst(lc);

		state->runs = ES_HANDLER_PAUSED;
		es_handlers_write(use.handlers, name, state);
	}
	es_handler_leave(&use);
	PG_RETURN_VOID();
}

Datum
event_store_handler_resume(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	EsHandlerUse use;
	ListCell   *lc;

	foreach(lc, take_states(&use, name))
	{
		EsHandlerState *state = lfirst(lc);

		/* it gets all of its attempts again */
		state->runs = ES_HANDLER_RUNNING;
		forget_failure(state);
		es_handlers_write(use.handlers, name, state);
	}
	leave_and_wake(&use);
	PG_RETURN_VOID();
}

Datum
event_store_handler_retry(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	EsHandlerUse use;
	ListCell   *lc;

	foreach(lc, take_states(&use, name))
	{
		EsHandlerState *state = lfirst(lc);

		if (state->retry_at == 0)
			continue;
		state->retry_at = 0;
		es_handlers_write(use.handlers, name, state);
	}
	leave_and_wake(&use);
	PG_RETURN_VOID();
}

Datum
event_store_handler_skip(PG_FUNCTION_ARGS)
{
	char	   *name;
	int64		position = PG_ARGISNULL(1) ? 0 : PG_GETARG_INT64(1);
	EsHandlerUse use;
	ListCell   *lc;
	int64		skipped = 0;

	es_require_argument(fcinfo, 0, "name");
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	foreach(lc, take_states(&use, name))
	{
		EsHandlerState *state = lfirst(lc);

		if (state->failed_position == 0 || (!PG_ARGISNULL(1) && state->failed_position != position))
			continue;
		state->position = Max(state->position, state->failed_position);
		state->skipped++;
		if (state->runs == ES_HANDLER_STOPPED)
			state->runs = ES_HANDLER_RUNNING;
		forget_failure(state);
		es_handlers_write(use.handlers, name, state);
		skipped++;
	}
	if (!PG_ARGISNULL(1) && skipped == 0)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("handler", name), ES_INT("position", position)),
							"handler \"%s\" has not failed at position %lld", name, (long long) position),
				 errhint("The view event_store.handlers tells at which position it has.")));
	if (skipped > 0)
		es_handler_moved(use.store);
	leave_and_wake(&use);
	PG_RETURN_INT64(skipped);
}

Datum
event_store_handler_reset(PG_FUNCTION_ARGS)
{
	char	   *name;
	char	   *start_from;
	EsHandlerUse use;
	List	   *states;
	ListCell   *lc;
	int64		position;

	es_require_argument(fcinfo, 0, "name");
	es_require_argument(fcinfo, 1, "start_from");
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	start_from = text_to_cstring(PG_GETARG_TEXT_PP(1));
	es_handler_check_start(start_from);

	states = take_states(&use, name);
	if (use.handler->before_reset != NULL)
	{
		bool		isnull;

		(void) es_prepared_call(&use.handler->prepared, use.handler->before_reset, &isnull);
		CommandCounterIncrement();
	}
	empty_tables(use.handler->tables);
	forget_parked(use.store, name);
	es_process_forget(use.store, name);
	position = es_handler_start_position(&use, start_from, false);
	foreach(lc, states)
	{
		EsHandlerState *state = lfirst(lc);

		state->position = position;
		state->runs = ES_HANDLER_RUNNING;
		state->handled = state->skipped = state->parked = 0;
		state->problem = NULL;
		forget_failure(state);
		es_handlers_write(use.handlers, name, state);
	}
	leave_and_wake(&use);
	PG_RETURN_VOID();
}

Datum
event_store_handler_replay(PG_FUNCTION_ARGS)
{
	char	   *name;
	int64		max_events = PG_ARGISNULL(1) ? PG_INT64_MAX : PG_GETARG_INT64(1);
	EsHandlerUse use;
	List	   *states;
	Relation	parked;
	ListCell   *lc;
	int64		replayed = 0;

	es_require_argument(fcinfo, 0, "name");
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	states = take_states(&use, name);
	parked = es_parked_open(use.store, RowExclusiveLock);
	foreach(lc, parked != NULL ? es_parked_read(parked, name, max_events) : NIL)
	{
		EsParked   *event = lfirst(lc);
		EsHandlerState *state = list_nth(states, Min(event->partition, list_length(states) - 1));

		CHECK_FOR_INTERRUPTS();
		if (!replay(&use, parked, event))
			continue;
		state->parked--;
		state->handled++;
		replayed++;
	}
	foreach(lc, replayed > 0 ? states : NIL)
		es_handlers_write(use.handlers, name, lfirst(lc));
	if (parked != NULL)
		table_close(parked, NoLock);
	es_handler_leave(&use);
	PG_RETURN_INT64(replayed);
}

Datum
event_store_handler_delete(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	Relation	registry;
	HeapTuple	row;
	int			concurrency;
	bool		isnull;
	ListCell   *lc;

	es_require_writable();
	registry = es_extension_open("handler_registry", ShareRowExclusiveLock);
	row = own_row(registry, name);
	concurrency = DatumGetInt32(heap_getattr(row, HANDLER_CONCURRENCY + 1, RelationGetDescr(registry), &isnull));
	CatalogTupleDelete(registry, &row->t_self);
	CacheInvalidateRelcache(registry);
	table_close(registry, NoLock);
	es_handler_tasks_remove(name);
	foreach(lc, es_statement_found_schemas())
	{
		Oid			nspid = lfirst_oid(lc);
		EsStore    *store;

		CHECK_FOR_INTERRUPTS();
		if (OidIsValid(get_relname_relid("event_handlers", nspid)) && (store = es_store_of_schema(nspid)) != NULL)
			forget_states(store, name, concurrency);
	}
	PG_RETURN_VOID();
}
