/*
 * event_handler.c
 *		Registered event handlers, ready to be handed events.
 *
 * The functions of a handler take events as event_store.recorded_event:
 *
 *	event, inline		f(event recorded_event)
 *	batch				f(events recorded_event[])
 *	error_function		f(event recorded_event, problem jsonb) RETURNS text
 *	before_reset		f()
 *
 * and those of a process manager as deliver/process_manager says.  A handler
 * belongs to a store, or to the stores of all tenants.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "base/arguments.h"
#include "base/errors.h"
#include "deliver/event_handler.h"
#include "log/stream.h"
#include "model/apply.h"
#include "store/tenant.h"

static const char *const kind_names[] = {
	[ES_HANDLER_EVENT] = "event",
	[ES_HANDLER_BATCH] = "batch",
	[ES_HANDLER_INLINE] = "inline",
	[ES_HANDLER_LIVE] = "live",
	[ES_HANDLER_PROCESS] = "process_manager",
};

const char *
es_handler_kind_name(EsHandlerKind kind)
{
	return kind_names[kind];
}

/* --- what the functions look like --- */

EsFunctionShape
es_handler_shape(EsHandlerKind kind)
{
	Oid			event = es_apply_event_type();

	switch (kind)
	{
		case ES_HANDLER_BATCH:
			return (EsFunctionShape) {1, {get_array_type(event)}, InvalidOid,
				"A batch handler is f(events event_store.recorded_event[])."};
		case ES_HANDLER_PROCESS:
			return (EsFunctionShape) {2, {JSONBOID, event}, JSONBOID,
				"A handle function is f(state jsonb, event event_store.recorded_event) and returns jsonb, the commands to dispatch."};
		default:
			return (EsFunctionShape) {1, {event}, InvalidOid,
				"A handler is f(event event_store.recorded_event)."};
	}
}

EsFunctionShape
es_error_shape(EsHandlerKind kind)
{
	if (kind == ES_HANDLER_PROCESS)
		return (EsFunctionShape) {3, {es_apply_event_type(), JSONBOID, JSONBOID}, JSONBOID,
			"An error function of a process manager is f(event event_store.recorded_event, problem jsonb, command jsonb) and returns jsonb."};
	return (EsFunctionShape) {2, {es_apply_event_type(), JSONBOID}, TEXTOID,
		"An error function is f(event event_store.recorded_event, problem jsonb) and returns text."};
}

EsFunctionShape
es_reset_shape(void)
{
	return (EsFunctionShape) {0, {0}, InvalidOid, "A before_reset function takes no arguments."};
}

EsFunctionShape
es_interested_shape(void)
{
	return (EsFunctionShape) {1, {es_apply_event_type()}, JSONBOID,
		"An interested function is f(event event_store.recorded_event) and returns jsonb: {\"start\": id}, {\"continue\": id}, {\"stop\": id} or null."};
}

EsFunctionShape
es_process_apply_shape(void)
{
	return (EsFunctionShape) {2, {JSONBOID, es_apply_event_type()}, JSONBOID,
		"An apply function of a process manager is f(state jsonb, event event_store.recorded_event) and returns jsonb, the next state."};
}

EsFunctionShape
es_after_command_shape(void)
{
	return (EsFunctionShape) {2, {JSONBOID, JSONBOID}, TEXTOID,
		"An after_command function is f(state jsonb, command jsonb) and returns text: 'stop', or null to go on."};
}

static bool
fits(Oid function, const EsFunctionShape *shape)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Form_pg_proc proc;
	bool		result;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function);
	proc = (Form_pg_proc) GETSTRUCT(tuple);
	result = proc->prokind == PROKIND_FUNCTION && !proc->proretset && proc->pronargs == shape->nargs &&
		(!OidIsValid(shape->result) || proc->prorettype == shape->result);
	for (int i = 0; i < shape->nargs && result; i++)
		result = proc->proargtypes.values[i] == shape->arguments[i];
	ReleaseSysCache(tuple);
	return result;
}

/*
 * The function with a name (see es_function_find) and this shape: 42883 if
 * there is none.
 */
Oid
es_handler_function(const char *name, EsFunctionShape shape)
{
	Oid			function = es_function_find(name);

	if (!OidIsValid(function))
		ereport(ERROR,
				(es_problem(ERRCODE_UNDEFINED_FUNCTION, ES_MEMBERS(ES_TEXT("function", name)),
							"there is no such function, or several: %s", name),
				 errhint("%s", shape.hint)));
	if (!fits(function, &shape))
		ereport(ERROR,
				(es_problem(ERRCODE_UNDEFINED_FUNCTION, ES_MEMBERS(ES_TEXT("function", format_procedure(function))),
							"%s does not take or return what it should", format_procedure(function)),
				 errhint("%s", shape.hint)));
	return function;
}

/* --- loading --- */

static EsCall *
add_call(EsHandler *handler, const char *name, EsFunctionShape shape, const int *params)
{
	EsCall	   *call = palloc0(sizeof(EsCall));

	es_prepared_add(&handler->prepared, call, es_handler_function(name, shape), shape.nargs, params);
	return call;
}

/* Elements of a text array, in the current context. */
static EsNames
names_of(Datum array)
{
	EsNames		names = {0};
	bool	   *nulls;

	deconstruct_array(DatumGetArrayTypePCopy(array), TEXTOID, -1, false, TYPALIGN_INT, &names.data, &nulls, &names.count);
	return names;
}

/* A text member of the options, NULL if it is missing. */
static char *
option(Jsonb *options, const char *name)
{
	JsonbValue	buffer;
	JsonbValue *value = getKeyJsonValueFromContainer(&options->root, name, strlen(name), &buffer);

	return value != NULL && value->type == jbvString ? pnstrdup(value->val.string.val, value->val.string.len) : NULL;
}

static int64
option_ms(Jsonb *options, const char *name)
{
	char	   *value = option(options, name);

	if (value == NULL)
		return 0;
	return es_interval_ms(DatumGetIntervalP(DirectFunctionCall3(interval_in, CStringGetDatum(value),
																ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1))));
}

static void
load_process(EsHandler *handler, Jsonb *options)
{
	static const int handle[] = {ES_PARAM_SUBJECT, ES_PARAM_HANDLED};
	static const int event[] = {ES_PARAM_HANDLED};
	static const int command[] = {ES_PARAM_SUBJECT, ES_PARAM_CONTEXT};
	EsProcess  *process = &handler->process;
	JsonbValue	buffer;
	JsonbValue *initial;
	char	   *name;

	process->interested = add_call(handler, option(options, "interested"), es_interested_shape(), event);
	if ((name = option(options, "apply")) != NULL)
		process->apply = add_call(handler, name, es_process_apply_shape(), handle);
	if ((name = option(options, "after_command")) != NULL)
		process->after_command = add_call(handler, name, es_after_command_shape(), command);
	initial = getKeyJsonValueFromContainer(&options->root, "initial", strlen("initial"), &buffer);
	process->initial = JsonbValueToJsonb(initial);
	process->idle_timeout = option_ms(options, "idle_timeout");
	process->event_timeout = option_ms(options, "event_timeout");
}

static EsVerdict
verdict_of(const char *name)
{
	return strcmp(name, "park") == 0 ? ES_VERDICT_PARK : strcmp(name, "skip") == 0 ? ES_VERDICT_SKIP : ES_VERDICT_STOP;
}

/* Fill in a handler from its row; its context is current. */
static void
load(EsPrepared *prepared, const Datum *values, const bool *nulls)
{
	static const int error[] = {ES_PARAM_HANDLED, ES_PARAM_PROBLEM, ES_PARAM_CONTEXT};
	static const int subject[] = {ES_PARAM_SUBJECT, ES_PARAM_HANDLED};
	static const int event[] = {ES_PARAM_HANDLED};
	EsHandler  *handler = (EsHandler *) prepared;
	ParamExternData *params = prepared->parameters->params;
	char	   *kind = TextDatumGetCString(values[HANDLER_KIND]);
	Oid			recorded = es_apply_event_type();
	EsNames		types = {0};

	while (strcmp(kind, kind_names[handler->kind]) != 0)
		if (++handler->kind == lengthof(kind_names))
			elog(ERROR, "handler \"%s\" is of unknown kind \"%s\"", prepared->name, kind);
	handler->event_desc = lookup_rowtype_tupdesc_copy(recorded, -1);
	handler->store_number = nulls[HANDLER_STORE_NUMBER] ? 0 : DatumGetInt64(values[HANDLER_STORE_NUMBER]);
	if (!nulls[HANDLER_TYPES])
		types = names_of(values[HANDLER_TYPES]);
	handler->source = es_source_make(nulls[HANDLER_STREAM] ? NULL : DatumGetTextPCopy(values[HANDLER_STREAM]),
									 nulls[HANDLER_CATEGORY] ? NULL : DatumGetTextPCopy(values[HANDLER_CATEGORY]), types,
									 nulls[HANDLER_FILTER] ? NULL : DatumGetJsonPathPCopy(values[HANDLER_FILTER]));
	handler->start_from = TextDatumGetCString(values[HANDLER_START_FROM]);
	handler->strong = strcmp(TextDatumGetCString(values[HANDLER_CONSISTENCY]), "strong") == 0;
	handler->concurrency = DatumGetInt32(values[HANDLER_CONCURRENCY]);
	handler->batch_size = DatumGetInt32(values[HANDLER_BATCH_SIZE]);
	handler->batch_timeout = nulls[HANDLER_BATCH_TIMEOUT] ? -1 : es_interval_ms(DatumGetIntervalP(values[HANDLER_BATCH_TIMEOUT]));
	handler->max_attempts = DatumGetInt32(values[HANDLER_MAX_ATTEMPTS]);
	handler->backoff = es_interval_ms(DatumGetIntervalP(values[HANDLER_BACKOFF]));
	handler->on_exhausted = verdict_of(TextDatumGetCString(values[HANDLER_ON_EXHAUSTED]));
	handler->registered_at = DatumGetTimestampTz(values[HANDLER_REGISTERED_AT]);
	if (!nulls[HANDLER_TABLES])
	{
		EsNames		tables = names_of(values[HANDLER_TABLES]);

		for (int i = 0; i < tables.count; i++)
			handler->tables = lappend(handler->tables, TextDatumGetCString(tables.data[i]));
	}

	params[ES_PARAM_HANDLED].ptype = recorded;
	params[ES_PARAM_SUBJECT].ptype = handler->kind == ES_HANDLER_BATCH ? get_array_type(recorded) : JSONBOID;
	params[ES_PARAM_PROBLEM].ptype = JSONBOID;
	params[ES_PARAM_CONTEXT].ptype = JSONBOID;
	handler->partition_by = es_key_parse(nulls[HANDLER_PARTITION_BY] ? "stream" : TextDatumGetCString(values[HANDLER_PARTITION_BY]));
	if (!nulls[HANDLER_ERROR_FUNCTION])
		handler->error_function = add_call(handler, TextDatumGetCString(values[HANDLER_ERROR_FUNCTION]),
										   es_error_shape(handler->kind), error);
	if (!nulls[HANDLER_BEFORE_RESET])
		handler->before_reset = add_call(handler, TextDatumGetCString(values[HANDLER_BEFORE_RESET]), es_reset_shape(), NULL);
	if (handler->kind == ES_HANDLER_PROCESS)
		load_process(handler, DatumGetJsonbP(values[HANDLER_OPTIONS]));

	handler->function = add_call(handler, TextDatumGetCString(values[HANDLER_FUNCTION]), es_handler_shape(handler->kind),
								 handler->kind == ES_HANDLER_PROCESS || handler->kind == ES_HANDLER_BATCH ? subject : event);
}

/* A registered handler for the caller alone, as es_prepared_take; 42704 if there is none of this name. */
EsHandler *
es_handler_take(const char *name, const EsStore *store, Relation log)
{
	static const EsPreparedKind kind = {
		.what = "handler",
		.registry = "handler_registry",
		.missing = ERRCODE_UNDEFINED_OBJECT,
		.hint = "Register it with event_store.register_handler(); the view event_store.handlers lists those there are.",
		.owner = HANDLER_OWNER,
		.size = sizeof(EsHandler),
		.load = load
	};

	return (EsHandler *) es_prepared_take(&kind, name, store, log);
}

/* Give a handler back, after a use that went well. */
void
es_handler_give(EsHandler *handler)
{
	es_prepared_give(&handler->prepared);
}

/* --- events --- */

/* Is a handler of this store number (0: of all tenants) one of the store? */
bool
es_handler_applies(int64 store_number, const EsStore *store)
{
	EsTenant	tenant;

	if (store_number != 0)
		return store_number == store->number;
	return es_tenant_of_schema(store->nspid, &tenant);
}

/* Is the handler to get an event, a row of event_log? */
bool
es_handler_wants(const EsHandler *handler, const EsStore *store, text *stream, const Datum *row, const bool *nulls)
{
	const EsEventSource *source = handler->source;
	text	   *type = DatumGetTextPP(row[LOG_EVENT_TYPE]);
	const char *name = VARDATA_ANY(stream);
	int			length = VARSIZE_ANY_EXHDR(stream);

	if (source->stream != NULL &&
		(VARSIZE_ANY_EXHDR(source->stream) != length || memcmp(VARDATA_ANY(source->stream), name, length) != 0))
		return false;
	if (source->category != NULL &&
		(VARSIZE_ANY_EXHDR(source->category) != es_stream_category_length(name, length) ||
		 memcmp(VARDATA_ANY(source->category), name, VARSIZE_ANY_EXHDR(source->category)) != 0))
		return false;
	return es_name_matches(&source->types, VARDATA_ANY(type), VARSIZE_ANY_EXHDR(type)) &&
		(source->filter == NULL || es_path_holds(source->filter, store, stream, row, nulls));
}

/* Copy a row of event_log into the current context. */
void
es_handled_fill(EsHandled *handled, const EsHandler *handler, const EsStore *store,
				text *stream, const Datum *row, const bool *row_nulls)
{
	Datum		values[RECORDED_NFIELDS];
	bool		nulls[RECORDED_NFIELDS];

	es_recorded_event(store, stream, row, row_nulls, values, nulls);
	handled->position = DatumGetInt64(row[LOG_POSITION]);
	handled->created_at = DatumGetTimestampTz(row[LOG_CREATED_AT]);
	handled->event = HeapTupleGetDatum(heap_form_tuple(handler->event_desc, values, nulls));
	handled->event_id = *DatumGetUUIDP(row[LOG_EVENT_ID]);
	handled->has_correlation_id = !row_nulls[LOG_CORRELATION_ID];
	if (handled->has_correlation_id)
		handled->correlation_id = *DatumGetUUIDP(row[LOG_CORRELATION_ID]);
	handled->metadata = row_nulls[LOG_METADATA] ? NULL : DatumGetJsonbPCopy(row[LOG_METADATA]);
}

/* The partition that an event, a row of event_log, belongs to, from 0. */
int
es_handler_partition(const EsHandler *handler, const EsStore *store, text *stream, const Datum *row, const bool *nulls)
{
	if (handler->concurrency == 1)
		return 0;
	return (int) ((uint64) es_key_of(handler->partition_by, store, stream, row, nulls) % handler->concurrency);
}
