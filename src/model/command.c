/*
 * command.c
 *		Registered commands: what decides on which events.
 *
 * Owns the table command_registry.
 *
 * The functions of a command take the state of its aggregate and the command:
 *
 *	handler, steps		(state, command jsonb) RETURNS jsonb, new_event or new_event[]
 *	before				(state, command jsonb) RETURNS jsonb, the command to execute
 *	identity_function	(command jsonb) RETURNS text
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "base/arguments.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/extension.h"
#include "model/apply.h"
#include "model/command.h"
#include "model/registry.h"
#include "observe/schema.h"

#define HANDLER_HINT \
	"A handler is f(state, command jsonb) and returns events: jsonb, event_store.new_event or event_store.new_event[]."
#define BEFORE_HINT		"A before function is f(state, command jsonb) and returns jsonb, the command to execute."
#define IDENTITY_HINT	"An identity function is f(command jsonb) and returns text."

/* The types that a handler may return. */
static bool
returns_events(Oid type)
{
	Oid			nspid = get_namespace_oid(ES_SCHEMA, false);
	Oid			event = GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum("new_event"), ObjectIdGetDatum(nspid));

	return type == JSONBOID || type == event || get_element_type(type) == event;
}

static Oid
find_function(const char *name, const char *hint)
{
	Oid			function = es_function_find(name);

	if (!OidIsValid(function))
		ereport(ERROR,
				(es_problem(ERRCODE_UNDEFINED_FUNCTION, ES_MEMBERS(ES_TEXT("function", name)),
							"there is no such function, or several: %s", name),
				 errhint("%s", hint)));
	return function;
}

/* Raise 42883 unless the function has this shape; InvalidOid for the state: any. */
static void
check_function(Oid function, Oid state, bool fits_result, int nargs, const char *hint)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Form_pg_proc proc;
	bool		fits;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function);
	proc = (Form_pg_proc) GETSTRUCT(tuple);
	fits = fits_result && proc->prokind == PROKIND_FUNCTION && !proc->proretset && proc->pronargs == nargs &&
		proc->proargtypes.values[nargs - 1] == JSONBOID &&
		(nargs == 1 || proc->proargtypes.values[0] == state);
	ReleaseSysCache(tuple);
	if (!fits)
		ereport(ERROR,
				(es_problem(ERRCODE_UNDEFINED_FUNCTION, ES_MEMBERS(ES_TEXT("function", format_procedure(function))),
							"%s does not take or return what it should", format_procedure(function)),
				 errhint("%s", hint)));
}

static void
check_handler(Oid function, Oid state)
{
	check_function(function, state, returns_events(get_func_rettype(function)), 2, HANDLER_HINT);
}

static void
check_before(Oid function, Oid state)
{
	check_function(function, state, get_func_rettype(function) == JSONBOID, 2, BEFORE_HINT);
}

static void
check_identity(Oid function)
{
	check_function(function, InvalidOid, get_func_rettype(function) == TEXTOID, 1, IDENTITY_HINT);
}

/* --- loading --- */

static EsCall *
add_call(EsCommand *command, Oid function, bool with_state)
{
	static const int params[] = {ES_PARAM_HANDLER_STATE, ES_PARAM_COMMAND};
	EsCall	   *call = palloc0(sizeof(EsCall));

	es_prepared_add(&command->prepared, call, function, with_state ? 2 : 1, with_state ? params : params + 1);
	return call;
}

/* The type of the state that a function takes. */
static Oid
state_argument(Oid function)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Oid			type;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function);
	type = ((Form_pg_proc) GETSTRUCT(tuple))->pronargs > 0 ? ((Form_pg_proc) GETSTRUCT(tuple))->proargtypes.values[0] : InvalidOid;
	ReleaseSysCache(tuple);
	return type;
}

/* Fill in a command from its row; its context is current. */
static void
load(EsPrepared *prepared, const Datum *values, const bool *nulls)
{
	EsCommand  *command = (EsCommand *) prepared;
	Datum	   *handlers;
	bool	   *handler_nulls;
	int			count;
	Oid			function;

	command->aggregate = TextDatumGetCString(values[COMMAND_AGGREGATE]);
	command->identity = TextDatumGetCString(values[COMMAND_IDENTITY]);
	if (!nulls[COMMAND_TIMEOUT])
		command->timeout = es_interval_ms(DatumGetIntervalP(values[COMMAND_TIMEOUT]));
	if (!nulls[COMMAND_SCHEMA])
		command->schema = DatumGetJsonbPCopy(values[COMMAND_SCHEMA]);

	prepared->parameters->params[ES_PARAM_COMMAND].ptype = JSONBOID;
	deconstruct_array(DatumGetArrayTypeP(values[COMMAND_HANDLERS]), TEXTOID, -1, false, TYPALIGN_INT,
					  &handlers, &handler_nulls, &count);
	for (int i = 0; i < count; i++)
	{
		function = find_function(TextDatumGetCString(handlers[i]), HANDLER_HINT);
		if (i == 0)
		{
			command->state_type = state_argument(function);
			prepared->parameters->params[ES_PARAM_HANDLER_STATE].ptype = command->state_type;
			es_prepared_watch_type(prepared, command->state_type);
		}
		check_handler(function, command->state_type);
		command->handlers = lappend(command->handlers, add_call(command, function, true));
	}
	if (!nulls[COMMAND_BEFORE])
	{
		function = find_function(TextDatumGetCString(values[COMMAND_BEFORE]), BEFORE_HINT);
		check_before(function, command->state_type);
		command->before = add_call(command, function, true);
	}
	if (!nulls[COMMAND_IDENTITY_FUNCTION])
	{
		function = find_function(TextDatumGetCString(values[COMMAND_IDENTITY_FUNCTION]), IDENTITY_HINT);
		check_identity(function);
		command->identity_function = add_call(command, function, false);
	}
}

/* A registered command for the caller alone, as es_prepared_take; VE010 if there is none of this type. */
EsCommand *
es_command_take(const char *type, const EsStore *store, Relation log)
{
	static const EsPreparedKind kind = {
		.what = "command",
		.registry = "command_registry",
		.missing = ERRCODE_ES_UNREGISTERED_COMMAND,
		.hint = "Register it with event_store.register_command().",
		.owner = COMMAND_OWNER,
		.size = sizeof(EsCommand),
		.load = load
	};

	return (EsCommand *) es_prepared_take(&kind, type, store, log);
}

/* Give a command back, after a use that went well. */
void
es_command_give(EsCommand *command)
{
	es_prepared_give(&command->prepared);
}

/* --- registration --- */

/* The signature of a function that fits, to be stored. */
static Datum
signature_datum(Oid function)
{
	if (!es_may_execute(function, GetUserId()))
		ereport(ERROR,
				(es_problem(ERRCODE_INSUFFICIENT_PRIVILEGE, ES_MEMBERS(ES_TEXT("function", format_procedure(function))),
							"permission denied for function %s", format_procedure(function)),
				 errhint("Its owner must grant EXECUTE on it.")));
	return CStringGetTextDatum(es_apply_signature(function));
}

/* The state type of a registered aggregate. */
static Oid
aggregate_state_type(text *name)
{
	EsStore    *store;
	Relation	log = es_store_open_log(&store, AccessShareLock, ACL_SELECT);
	EsAggregate *aggregate = es_aggregate_take(text_to_cstring(name), store, log);
	Oid			type = aggregate->state_type;

	es_aggregate_give(aggregate);
	table_close(log, NoLock);
	return type;
}

/* The handler and the further steps, as an array of signatures. */
static Datum
handlers_datum(text *handler, ArrayType *steps, Oid state)
{
	Datum	   *elements = NULL;
	bool	   *nulls = NULL;
	int			count = 0;
	Datum	   *signatures;

	if (steps != NULL)
		deconstruct_array(steps, TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &count);
	signatures = palloc((count + 1) * sizeof(Datum));
	for (int i = 0; i <= count; i++)
	{
		Oid			function;

		if (i > 0 && nulls[i - 1])
			ereport(ERROR,
					(es_problem(ERRCODE_NULL_VALUE_NOT_ALLOWED, ES_MEMBERS(ES_TEXT("argument", "steps"), ES_INT("index", i - 1)),
								"element %d of steps is null", i - 1),
					 errhint("Leave it out.")));
		function = find_function(text_to_cstring(i == 0 ? handler : DatumGetTextPP(elements[i - 1])), HANDLER_HINT);
		check_handler(function, state);
		signatures[i] = signature_datum(function);
	}
	return PointerGetDatum(construct_array(signatures, count + 1, TEXTOID, -1, false, TYPALIGN_INT));
}

PG_FUNCTION_INFO_V1(event_store_register_command);
PG_FUNCTION_INFO_V1(event_store_unregister_command);

Datum
event_store_register_command(PG_FUNCTION_ARGS)
{
	Datum		values[COMMAND_NCOLUMNS];
	bool		nulls[COMMAND_NCOLUMNS] = {0};
	char	   *type;
	Oid			state;
	Oid			function;
	Relation	rel;
	HeapTuple	old;

	es_require_argument(fcinfo, 0, "type");
	es_require_argument(fcinfo, 1, "aggregate");
	es_require_argument(fcinfo, 2, "handler");
	es_require_argument(fcinfo, 3, "identity");
	es_require_argument(fcinfo, 9, "replace");
	es_require_writable();
	type = text_to_cstring(PG_GETARG_TEXT_PP(0));
	es_registry_check_name("command", type);
	es_registry_check_rights("command", type);

	state = aggregate_state_type(PG_GETARG_TEXT_PP(1));
	values[COMMAND_TYPE] = PG_GETARG_DATUM(0);
	values[COMMAND_AGGREGATE] = PG_GETARG_DATUM(1);
	values[COMMAND_HANDLERS] = handlers_datum(PG_GETARG_TEXT_PP(2), PG_ARGISNULL(6) ? NULL : PG_GETARG_ARRAYTYPE_P(6), state);
	values[COMMAND_IDENTITY] = PG_GETARG_DATUM(3);
	nulls[COMMAND_IDENTITY_FUNCTION] = PG_ARGISNULL(4);
	if (!PG_ARGISNULL(4))
	{
		function = find_function(text_to_cstring(PG_GETARG_TEXT_PP(4)), IDENTITY_HINT);
		check_identity(function);
		values[COMMAND_IDENTITY_FUNCTION] = signature_datum(function);
	}
	nulls[COMMAND_BEFORE] = PG_ARGISNULL(5);
	if (!PG_ARGISNULL(5))
	{
		function = find_function(text_to_cstring(PG_GETARG_TEXT_PP(5)), BEFORE_HINT);
		check_before(function, state);
		values[COMMAND_BEFORE] = signature_datum(function);
	}
	nulls[COMMAND_TIMEOUT] = PG_ARGISNULL(7);
	if (!PG_ARGISNULL(7))
	{
		if (es_interval_ms(PG_GETARG_INTERVAL_P(7)) <= 0)
			ereport(ERROR,
					(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("argument", "timeout")),
								"timeout is not positive"),
					 errhint("Pass null for no limit.")));
		values[COMMAND_TIMEOUT] = PG_GETARG_DATUM(7);
	}
	nulls[COMMAND_SCHEMA] = PG_ARGISNULL(8);
	if (!PG_ARGISNULL(8))
	{
		/* so that a schema that cannot be obeyed is refused here */
		(void) es_schema_is_valid(PG_GETARG_JSONB_P(8), PG_GETARG_JSONB_P(8));
		values[COMMAND_SCHEMA] = PG_GETARG_DATUM(8);
	}
	values[COMMAND_OWNER] = ObjectIdGetDatum(GetUserId());
	values[COMMAND_REGISTERED_AT] = TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());

	rel = es_extension_open("command_registry", ShareRowExclusiveLock);
	old = es_registry_row_to_change(rel, "command", type, COMMAND_OWNER);
	if (old != NULL && !PG_GETARG_BOOL(9))
		ereport(ERROR,
				(es_problem(ERRCODE_DUPLICATE_OBJECT, ES_MEMBERS(ES_TEXT("command", type)),
							"command \"%s\" is already registered", type),
				 errhint("Pass replace => true to change it.")));
	es_registry_write(rel, old, values, nulls);
	PG_RETURN_VOID();
}

Datum
event_store_unregister_command(PG_FUNCTION_ARGS)
{
	char	   *type = text_to_cstring(PG_GETARG_TEXT_PP(0));
	Relation	rel;
	HeapTuple	old;

	es_require_writable();
	rel = es_extension_open("command_registry", ShareRowExclusiveLock);
	old = es_registry_row_to_change(rel, "command", type, COMMAND_OWNER);
	if (old == NULL)
		ereport(ERROR,
				(es_problem(ERRCODE_ES_UNREGISTERED_COMMAND, ES_MEMBERS(ES_TEXT("command", type)),
							"command \"%s\" is not registered", type),
				 errhint("The table event_store.command_registry lists the commands.")));
	CatalogTupleDelete(rel, &old->t_self);
	CacheInvalidateRelcache(rel);
	table_close(rel, NoLock);
	PG_RETURN_VOID();
}
