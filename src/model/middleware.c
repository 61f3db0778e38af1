/*
 * middleware.c
 *		Functions that every command passes on its way.
 *
 * Owns the table middleware_registry.  A function is f(pipeline jsonb) RETURNS
 * jsonb: it is given what is known of a command, as an object, and returns it,
 * perhaps changed.  What the members mean is in model/dispatch, which builds
 * the pipeline and reads it; here are the stages and the members that
 * functions change with assign, assign_metadata, respond and halt.
 *
 * A function that is gone fails the dispatch: it may have been there to refuse.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/regproc.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "base/arguments.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/extension.h"
#include "model/apply.h"
#include "model/middleware.h"
#include "model/registry.h"

#define MIDDLEWARE_HINT	"A middleware function is f(pipeline jsonb) and returns jsonb, the pipeline for the next one."
#define PARAM_PIPELINE	0

/* One function of a stage. */
typedef struct Step
{
	char	   *name;
	int			ordinal;
	EsCall		call;
} Step;

static const char *const stage_names[ES_STAGE_COUNT] = {
	[ES_STAGE_BEFORE_DISPATCH] = "before_dispatch",
	[ES_STAGE_AFTER_DISPATCH] = "after_dispatch",
	[ES_STAGE_AFTER_FAILURE] = "after_failure",
};

/* --- members of a pipeline --- */

/* A pipeline without members, palloc'd. */
Jsonb *
es_pipeline_new(void)
{
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum("{}")));
}

/* The pipeline with a member set, palloc'd. */
Jsonb *
es_pipeline_set(const Jsonb *pipeline, const char *member, Jsonb *value)
{
	JsonbParseState *parse = NULL;
	JsonbValue	key = {.type = jbvString};
	JsonbValue	element;
	Jsonb	   *addition;

	key.val.string.val = unconstify(char *, member);
	key.val.string.len = strlen(member);
	(void) pushJsonbValue(&parse, WJB_BEGIN_OBJECT, NULL);
	(void) pushJsonbValue(&parse, WJB_KEY, &key);
	if (!JB_ROOT_IS_SCALAR(value) || !JsonbExtractScalar(&value->root, &element))
	{
		element.type = jbvBinary;
		element.val.binary.data = &value->root;
		element.val.binary.len = VARSIZE_ANY_EXHDR(value);
	}
	(void) pushJsonbValue(&parse, WJB_VALUE, &element);
	addition = JsonbValueToJsonb(pushJsonbValue(&parse, WJB_END_OBJECT, NULL));
	return DatumGetJsonbP(DirectFunctionCall2(jsonb_concat, JsonbPGetDatum(pipeline), JsonbPGetDatum(addition)));
}

Jsonb *
es_pipeline_set_text(const Jsonb *pipeline, const char *member, const char *value)
{
	JsonbValue	string = {.type = jbvString};

	string.val.string.val = unconstify(char *, value);
	string.val.string.len = strlen(value);
	return es_pipeline_set(pipeline, member, JsonbValueToJsonb(&string));
}

Jsonb *
es_pipeline_set_number(const Jsonb *pipeline, const char *member, int64 value)
{
	JsonbValue	number = {.type = jbvNumeric};

	number.val.numeric = int64_to_numeric(value);
	return es_pipeline_set(pipeline, member, JsonbValueToJsonb(&number));
}

/* A member of the pipeline, palloc'd; NULL if it is not there or null. */
Jsonb *
es_pipeline_get(const Jsonb *pipeline, const char *member)
{
	JsonbValue	buffer;
	JsonbValue *value = getKeyJsonValueFromContainer(unconstify(JsonbContainer *, &pipeline->root),
													 member, strlen(member), &buffer);

	return value == NULL || value->type == jbvNull ? NULL : JsonbValueToJsonb(value);
}

/* --- running --- */

static int
compare_steps(const ListCell *a, const ListCell *b)
{
	const Step *left = lfirst(a);
	const Step *right = lfirst(b);

	if (left->ordinal != right->ordinal)
		return left->ordinal < right->ordinal ? -1 : 1;
	return strcmp(left->name, right->name);
}

static void
check_function(Oid function)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Form_pg_proc proc;
	bool		fits;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function);
	proc = (Form_pg_proc) GETSTRUCT(tuple);
	fits = proc->prokind == PROKIND_FUNCTION && !proc->proretset && proc->pronargs == 1 &&
		proc->proargtypes.values[0] == JSONBOID && proc->prorettype == JSONBOID;
	ReleaseSysCache(tuple);
	if (!fits)
		ereport(ERROR,
				(es_problem(ERRCODE_UNDEFINED_FUNCTION, ES_MEMBERS(ES_TEXT("function", format_procedure(function))),
							"%s is no middleware function", format_procedure(function)),
				 errhint(MIDDLEWARE_HINT)));
}

static Oid
find_function(const char *name)
{
	Oid			function = es_function_find(name);

	if (!OidIsValid(function))
		ereport(ERROR,
				(es_problem(ERRCODE_UNDEFINED_FUNCTION, ES_MEMBERS(ES_TEXT("function", name)),
							"there is no such middleware function, or several: %s", name),
				 errhint(MIDDLEWARE_HINT)));
	check_function(function);
	return function;
}

static EsStage
stage_of(const char *name)
{
	for (int i = 0; i < ES_STAGE_COUNT; i++)
		if (strcmp(stage_names[i], name) == 0)
			return i;
	ereport(ERROR,
			(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("stage", name)), "stage \"%s\" is unknown", name),
			 errhint("Use before_dispatch, after_dispatch or after_failure.")));
}

/* Fill in the middleware that counts; the context is current. */
static void
load(EsPrepared *prepared, const Datum *no_values, const bool *no_nulls)
{
	static const int param = PARAM_PIPELINE;
	EsMiddleware *middleware = (EsMiddleware *) prepared;
	Relation	rel = es_extension_open("middleware_registry", AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;

	prepared->parameters->params[PARAM_PIPELINE].ptype = JSONBOID;
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Datum		values[MIDDLEWARE_NCOLUMNS];
		bool		nulls[MIDDLEWARE_NCOLUMNS];
		EsStage		stage;
		Step	   *step;

		heap_deform_tuple(tuple, RelationGetDescr(rel), values, nulls);
		if (!es_prepared_trusts(prepared, DatumGetObjectId(values[MIDDLEWARE_OWNER])))
			continue;
		stage = stage_of(TextDatumGetCString(values[MIDDLEWARE_STAGE]));
		step = palloc0(sizeof(Step));
		step->name = TextDatumGetCString(values[MIDDLEWARE_NAME]);
		step->ordinal = DatumGetInt32(values[MIDDLEWARE_ORDINAL]);
		es_prepared_add(prepared, &step->call, find_function(TextDatumGetCString(values[MIDDLEWARE_FUNCTION])), 1, &param);
		middleware->stages[stage] = lappend(middleware->stages[stage], step);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	for (int i = 0; i < ES_STAGE_COUNT; i++)
		list_sort(middleware->stages[i], compare_steps);
}

/* The middleware that counts in a store, for the caller alone, as es_prepared_take_all; NULL if there is none. */
EsMiddleware *
es_middleware_take(const EsStore *store, Relation log)
{
	static const EsPreparedKind kind = {
		.what = "middleware",
		.registry = "middleware_registry",
		.size = sizeof(EsMiddleware),
		.load = load
	};
	EsMiddleware *middleware = (EsMiddleware *) es_prepared_take_all(&kind, store, log);

	if (middleware->prepared.calls != NIL)
		return middleware;
	es_middleware_give(middleware);
	return NULL;
}

/* Give it back, after a use that went well. */
void
es_middleware_give(EsMiddleware *middleware)
{
	es_prepared_give(&middleware->prepared);
}

/* Refuse what is no pipeline. */
static void
check_pipeline(const char *name, EsStage stage, bool isnull, Datum result)
{
	if (isnull || !JB_ROOT_IS_OBJECT(DatumGetJsonbP(result)))
		ereport(ERROR,
				(es_problem(isnull ? ERRCODE_NULL_VALUE_NOT_ALLOWED : ERRCODE_INVALID_PARAMETER_VALUE,
							ES_MEMBERS(ES_TEXT("middleware", name), ES_TEXT("stage", stage_names[stage])),
							"middleware \"%s\" did not return a pipeline in stage %s", name, stage_names[stage]),
				 errhint(MIDDLEWARE_HINT)));
}

static void
raise_halted(const char *name, EsStage stage, const Jsonb *pipeline)
{
	Jsonb	   *response = es_pipeline_get(pipeline, "response");

	ereport(ERROR,
			(es_problem(ERRCODE_ES_DISPATCH_HALTED,
						ES_MEMBERS(ES_TEXT("middleware", name), ES_TEXT("stage", stage_names[stage]),
								   ES_JSON(response ? "response" : NULL, response ? JsonbToCString(NULL, &response->root, VARSIZE(response)) : NULL)),
						"the command was halted by middleware \"%s\"", name),
			 errhint("The response says why, if there is one. Nothing of the command was done.")));
}

/*
 * Give the pipeline to the functions of a stage, one after the other; returns
 * what came of it, palloc'd.  VE014 if one of them halts the command, unless it
 * has failed already.
 */
Jsonb *
es_middleware_run(EsMiddleware *middleware, EsStage stage, Jsonb *pipeline)
{
	ListCell   *lc;

	foreach(lc, middleware->stages[stage])
	{
		Step	   *step = lfirst(lc);
		ParamExternData *param = &middleware->prepared.parameters->params[PARAM_PIPELINE];
		Jsonb	   *halted;
		JsonbValue	value;
		Datum		result;
		bool		isnull;

		CHECK_FOR_INTERRUPTS();
		param->value = JsonbPGetDatum(pipeline);
		param->isnull = false;
		result = es_prepared_call(&middleware->prepared, &step->call, &isnull);
		check_pipeline(step->name, stage, isnull, result);
		pipeline = DatumGetJsonbPCopy(result);
		halted = es_pipeline_get(pipeline, "halted");
		if (stage != ES_STAGE_AFTER_FAILURE && halted != NULL && JB_ROOT_IS_SCALAR(halted) &&
			JsonbExtractScalar(&halted->root, &value) && value.type == jbvBool && value.val.boolean)
			raise_halted(step->name, stage, pipeline);
	}
	return pipeline;
}

/* --- registration --- */

/* The row of a middleware in a stage, palloc'd, which is the caller's to change; NULL if there is none. */
static HeapTuple
row_to_change(Relation rel, const char *name, const char *stage)
{
	ScanKeyData key;
	HeapTuple	tuple;

	ScanKeyEntryInitialize(&key, 0, MIDDLEWARE_STAGE + 1, BTEqualStrategyNumber, InvalidOid, C_COLLATION_OID,
						   F_TEXTEQ, CStringGetTextDatum(stage));
	tuple = es_registry_find_pair(rel, name, &key);
	if (HeapTupleIsValid(tuple))
		es_registry_check_owner(rel, "middleware", name, tuple, MIDDLEWARE_OWNER);
	return tuple;
}

PG_FUNCTION_INFO_V1(event_store_register_middleware);
PG_FUNCTION_INFO_V1(event_store_unregister_middleware);
PG_FUNCTION_INFO_V1(event_store_assign);
PG_FUNCTION_INFO_V1(event_store_assign_metadata);
PG_FUNCTION_INFO_V1(event_store_respond);
PG_FUNCTION_INFO_V1(event_store_halt);

Datum
event_store_register_middleware(PG_FUNCTION_ARGS)
{
	Datum		values[MIDDLEWARE_NCOLUMNS];
	bool		nulls[MIDDLEWARE_NCOLUMNS] = {0};
	char	   *name;
	char	   *stage;
	Oid			function;
	Relation	rel;
	HeapTuple	old;

	es_require_argument(fcinfo, 0, "name");
	es_require_argument(fcinfo, 1, "stage");
	es_require_argument(fcinfo, 2, "function");
	es_require_argument(fcinfo, 3, "ordinal");
	es_require_argument(fcinfo, 4, "replace");
	es_require_writable();
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	stage = text_to_cstring(PG_GETARG_TEXT_PP(1));
	es_registry_check_name("middleware", name);
	(void) stage_of(stage);
	es_registry_check_rights("middleware", name);
	function = find_function(text_to_cstring(PG_GETARG_TEXT_PP(2)));
	if (!es_may_execute(function, GetUserId()))
		ereport(ERROR,
				(es_problem(ERRCODE_INSUFFICIENT_PRIVILEGE, ES_MEMBERS(ES_TEXT("function", format_procedure(function))),
							"permission denied for function %s", format_procedure(function)),
				 errhint("Its owner must grant EXECUTE on it.")));

	values[MIDDLEWARE_NAME] = PG_GETARG_DATUM(0);
	values[MIDDLEWARE_STAGE] = PG_GETARG_DATUM(1);
	values[MIDDLEWARE_ORDINAL] = PG_GETARG_DATUM(3);
	values[MIDDLEWARE_FUNCTION] = CStringGetTextDatum(es_apply_signature(function));
	values[MIDDLEWARE_OWNER] = ObjectIdGetDatum(GetUserId());
	values[MIDDLEWARE_REGISTERED_AT] = TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());

	rel = es_extension_open("middleware_registry", ShareRowExclusiveLock);
	old = row_to_change(rel, name, stage);
	if (old != NULL && !PG_GETARG_BOOL(4))
		ereport(ERROR,
				(es_problem(ERRCODE_DUPLICATE_OBJECT, ES_MEMBERS(ES_TEXT("middleware", name), ES_TEXT("stage", stage)),
							"middleware \"%s\" is already registered in stage %s", name, stage),
				 errhint("Pass replace => true to change it.")));
	es_registry_write(rel, old, values, nulls);
	PG_RETURN_VOID();
}

Datum
event_store_unregister_middleware(PG_FUNCTION_ARGS)
{
	char	   *name;
	const char *only = NULL;
	Relation	rel;
	int			count = 0;

	es_require_argument(fcinfo, 0, "name");
	es_require_writable();
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	if (!PG_ARGISNULL(1))
		only = stage_names[stage_of(text_to_cstring(PG_GETARG_TEXT_PP(1)))];
	rel = es_extension_open("middleware_registry", ShareRowExclusiveLock);
	for (int i = 0; i < ES_STAGE_COUNT; i++)
	{
		HeapTuple	old = only == NULL || only == stage_names[i] ? row_to_change(rel, name, stage_names[i]) : NULL;

		if (old == NULL)
			continue;
		CatalogTupleDelete(rel, &old->t_self);
		count++;
	}
	if (count == 0)
		ereport(ERROR,
				(es_problem(ERRCODE_UNDEFINED_OBJECT, ES_MEMBERS(ES_TEXT("middleware", name)),
							"middleware \"%s\" is not registered", name),
				 errhint("The table event_store.middleware_registry lists the middleware.")));
	CacheInvalidateRelcache(rel);
	table_close(rel, NoLock);
	CommandCounterIncrement();
	PG_RETURN_VOID();
}

/* The pipeline that a function was given to change. */
static Jsonb *
pipeline_argument(FunctionCallInfo fcinfo)
{
	Jsonb	   *pipeline;

	es_require_argument(fcinfo, 0, "pipeline");
	pipeline = PG_GETARG_JSONB_P(0);
	if (!JB_ROOT_IS_OBJECT(pipeline))
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("argument", "pipeline")),
							"the pipeline is not a JSON object"),
				 errhint("Pass what the middleware function was given.")));
	return pipeline;
}

/* The pipeline with a member set in an object that is one of its members. */
static Datum
set_below(FunctionCallInfo fcinfo, const char *member)
{
	Jsonb	   *pipeline = pipeline_argument(fcinfo);
	Jsonb	   *object;

	es_require_argument(fcinfo, 1, "key");
	es_require_argument(fcinfo, 2, "value");
	object = es_pipeline_get(pipeline, member);
	if (object == NULL || !JB_ROOT_IS_OBJECT(object))
		object = es_pipeline_new();
	object = es_pipeline_set(object, text_to_cstring(PG_GETARG_TEXT_PP(1)), PG_GETARG_JSONB_P(2));
	return JsonbPGetDatum(es_pipeline_set(pipeline, member, object));
}

Datum
event_store_assign(PG_FUNCTION_ARGS)
{
	return set_below(fcinfo, "assigns");
}

Datum
event_store_assign_metadata(PG_FUNCTION_ARGS)
{
	return set_below(fcinfo, "metadata");
}

Datum
event_store_respond(PG_FUNCTION_ARGS)
{
	Jsonb	   *pipeline = pipeline_argument(fcinfo);

	es_require_argument(fcinfo, 1, "response");
	/* the first response counts */
	if (es_pipeline_get(pipeline, "response") != NULL)
		PG_RETURN_JSONB_P(pipeline);
	PG_RETURN_JSONB_P(es_pipeline_set(pipeline, "response", PG_GETARG_JSONB_P(1)));
}

Datum
event_store_halt(PG_FUNCTION_ARGS)
{
	PG_RETURN_JSONB_P(es_pipeline_set(pipeline_argument(fcinfo), "halted",
									  DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum("true")))));
}
