/*
 * process_register.c
 *		Registering process managers.
 *
 * A process manager is a row of handler_registry; the functions that other
 * handlers have not got stand in its options, an object.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"

#include "base/arguments.h"
#include "base/errors.h"
#include "deliver/handler_register.h"

#define PROCESS_BATCH	20		/* events of a step, each of which has subtransactions */

enum Argument
{
	ARG_NAME,
	ARG_INTERESTED,
	ARG_HANDLE,
	ARG_APPLY,
	ARG_INITIAL,
	ARG_AFTER_COMMAND,
	ARG_ERROR_FUNCTION,
	ARG_IDLE_TIMEOUT,
	ARG_EVENT_TIMEOUT,
	ARG_START_FROM,
	ARG_STREAM,
	ARG_CATEGORY,
	ARG_TYPES,
	ARG_FILTER,
	ARG_CONSISTENCY,
	ARG_MAX_ATTEMPTS,
	ARG_BACKOFF,
	ARG_ON_EXHAUSTED,
	ARG_TENANT,
	ARG_BACKGROUND,
	ARG_REPLACE
};

static void
push_option(JsonbParseState **parse, const char *name, JsonbValue *value)
{
	JsonbValue	key = {.type = jbvString};

	key.val.string.val = unconstify(char *, name);
	key.val.string.len = strlen(name);
	(void) pushJsonbValue(parse, WJB_KEY, &key);
	(void) pushJsonbValue(parse, WJB_VALUE, value);
}

static void
push_option_text(JsonbParseState **parse, const char *name, char *string)
{
	JsonbValue	value = {.type = jbvString};

	value.val.string.val = string;
	value.val.string.len = strlen(string);
	push_option(parse, name, &value);
}

static void
push_function(JsonbParseState **parse, const char *name, FunctionCallInfo fcinfo, int argument, EsFunctionShape shape)
{
	if (!PG_ARGISNULL(argument))
		push_option_text(parse, name, TextDatumGetCString(es_handler_signature(text_to_cstring(PG_GETARG_TEXT_PP(argument)), shape)));
}

static void
push_interval(JsonbParseState **parse, const char *name, FunctionCallInfo fcinfo, int argument)
{
	if (PG_ARGISNULL(argument))
		return;
	if (es_interval_ms(PG_GETARG_INTERVAL_P(argument)) <= 0)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("argument", name)), "%s is not positive", name),
				 errhint("Pass null for no limit.")));
	push_option_text(parse, name, psprintf("%lld ms", (long long) es_interval_ms(PG_GETARG_INTERVAL_P(argument))));
}

PG_FUNCTION_INFO_V1(event_store_register_process_manager);

Datum
event_store_register_process_manager(PG_FUNCTION_ARGS)
{
	static const EsHandlerArguments places = {
		.name = ARG_NAME, .start_from = ARG_START_FROM, .stream = ARG_STREAM, .category = ARG_CATEGORY,
		.types = ARG_TYPES, .filter = ARG_FILTER, .consistency = ARG_CONSISTENCY, .max_attempts = ARG_MAX_ATTEMPTS,
		.backoff = ARG_BACKOFF, .on_exhausted = ARG_ON_EXHAUSTED, .tenant = ARG_TENANT, .background = ARG_BACKGROUND, .replace = ARG_REPLACE
	};
	Datum		values[HANDLER_NCOLUMNS];
	bool		nulls[HANDLER_NCOLUMNS];
	JsonbParseState *parse = NULL;
	JsonbValue	initial = {.type = jbvNull};

	es_require_argument(fcinfo, ARG_INTERESTED, "interested");
	es_require_argument(fcinfo, ARG_HANDLE, "handle");
	es_handler_common_arguments(fcinfo, &places, values, nulls);
	values[HANDLER_KIND] = CStringGetTextDatum(es_handler_kind_name(ES_HANDLER_PROCESS));
	values[HANDLER_FUNCTION] = es_handler_signature(text_to_cstring(PG_GETARG_TEXT_PP(ARG_HANDLE)),
													es_handler_shape(ES_HANDLER_PROCESS));
	values[HANDLER_CONCURRENCY] = Int32GetDatum(1);
	values[HANDLER_BATCH_SIZE] = Int32GetDatum(PROCESS_BATCH);
	if (!PG_ARGISNULL(ARG_ERROR_FUNCTION))
	{
		nulls[HANDLER_ERROR_FUNCTION] = false;
		values[HANDLER_ERROR_FUNCTION] = es_handler_signature(text_to_cstring(PG_GETARG_TEXT_PP(ARG_ERROR_FUNCTION)),
															  es_error_shape(ES_HANDLER_PROCESS));
	}
	(void) pushJsonbValue(&parse, WJB_BEGIN_OBJECT, NULL);
	push_function(&parse, "interested", fcinfo, ARG_INTERESTED, es_interested_shape());
	push_function(&parse, "apply", fcinfo, ARG_APPLY, es_process_apply_shape());
	push_function(&parse, "after_command", fcinfo, ARG_AFTER_COMMAND, es_after_command_shape());
	push_interval(&parse, "idle_timeout", fcinfo, ARG_IDLE_TIMEOUT);
	push_interval(&parse, "event_timeout", fcinfo, ARG_EVENT_TIMEOUT);
	if (!PG_ARGISNULL(ARG_INITIAL))
	{
		Jsonb	   *json = PG_GETARG_JSONB_P(ARG_INITIAL);

		if (!JB_ROOT_IS_SCALAR(json))
		{
			initial.type = jbvBinary;
			initial.val.binary.data = &json->root;
			initial.val.binary.len = VARSIZE(json) - VARHDRSZ;
		}
		else
			(void) JsonbExtractScalar(&json->root, &initial);
	}
	push_option(&parse, "initial", &initial);
	nulls[HANDLER_OPTIONS] = false;
	values[HANDLER_OPTIONS] = JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&parse, WJB_END_OBJECT, NULL)));
	es_handler_register(text_to_cstring(PG_GETARG_TEXT_PP(ARG_NAME)), values, nulls, PG_GETARG_BOOL(ARG_REPLACE),
						PG_GETARG_BOOL(ARG_BACKGROUND));
	PG_RETURN_VOID();
}
