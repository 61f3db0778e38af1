/*
 * register.c
 *		Taking names in a registry, finding who holds them, giving them up.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonpath.h"
#include "utils/timestamp.h"

#include "base/arguments.h"
#include "base/errors.h"
#include "base/shared.h"
#include "runtime/registry.h"

/* Does a predicate hold of a value?  Errors and what is no boolean count as no. */
static bool
matches(JsonPath *predicate, Jsonb *value)
{
	LOCAL_FCINFO(call, 2);
	Datum		result;

	InitFunctionCallInfoData(*call, NULL, 2, InvalidOid, NULL, NULL);
	call->args[0] = (NullableDatum) {JsonbPGetDatum(value), false};
	call->args[1] = (NullableDatum) {PointerGetDatum(predicate), false};
	result = jsonb_path_match_opr(call);
	return !call->isnull && DatumGetBool(result);
}

/* What listeners are told of a name. */
static Jsonb *
message(const char *event, const EsRegistry *registry, const char *key)
{
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfo(&json, "{\"event\":\"%s\",\"registry\":", event);
	escape_json(&json, registry->name);
	appendStringInfoString(&json, ",\"key\":");
	escape_json(&json, key);
	appendStringInfo(&json, ",\"pid\":%d}", MyProcPid);
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data)));
}

PG_FUNCTION_INFO_V1(event_store_register);
PG_FUNCTION_INFO_V1(event_store_unregister);
PG_FUNCTION_INFO_V1(event_store_unregister_match);
PG_FUNCTION_INFO_V1(event_store_lookup);
PG_FUNCTION_INFO_V1(event_store_whereis);
PG_FUNCTION_INFO_V1(event_store_keys_of);
PG_FUNCTION_INFO_V1(event_store_registry_select);
PG_FUNCTION_INFO_V1(event_store_registry_count);
PG_FUNCTION_INFO_V1(event_store_update_value);

/* (registry, key, value, scope) */
Datum
event_store_register(PG_FUNCTION_ARGS)
{
	EsRegistry	registry = es_registry_argument(fcinfo, 0);
	char	   *key = es_registry_key(fcinfo, 1);
	Jsonb	   *value = es_registry_value(fcinfo, 2, "value");
	char	   *scope;
	bool		transaction;
	EsNamespace space;
	EsClaim		claimed;
	int			holder = 0;

	es_require_argument(fcinfo, 3, "scope");
	scope = text_to_cstring(PG_GETARG_TEXT_PP(3));
	transaction = strcmp(scope, "transaction") == 0;
	if (!transaction && strcmp(scope, "session") != 0)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("scope", scope)),
							"the scope cannot be \"%s\"", scope),
				 errhint("A name is held by the session or by the transaction.")));
	space = es_registry_space(&registry);
	claimed = es_name_claim(&space, key, value, registry.unique, transaction,
							message("unregistered", &registry, key), &holder);
	es_registry_claimed(claimed, &registry, key, holder);
	if (!transaction)
		es_names_tell(&space, message("registered", &registry, key));
	PG_RETURN_VOID();
}

/* Give up the names of this session that fit; with a predicate, those whose value it holds of. */
static int
release(const EsRegistry *registry, const char *key, JsonPath *predicate)
{
	EsNamespace space = es_registry_space(registry);
	int			count;
	EsName	   *names = es_names_find(&space, &(EsNameFilter) {.key = key, .mine = true}, &count);
	int			released = 0;

	for (int i = 0; i < count; i++)
		if ((predicate == NULL || matches(predicate, names[i].value)) && es_name_release(&names[i]))
			released++;
	return released;
}

/* (registry, key) */
Datum
event_store_unregister(PG_FUNCTION_ARGS)
{
	EsRegistry	registry = es_registry_argument(fcinfo, 0);

	PG_RETURN_BOOL(release(&registry, es_registry_key(fcinfo, 1), NULL) > 0);
}

/* (registry, key, predicate) */
Datum
event_store_unregister_match(PG_FUNCTION_ARGS)
{
	EsRegistry	registry = es_registry_argument(fcinfo, 0);
	char	   *key = es_registry_key(fcinfo, 1);

	es_require_argument(fcinfo, 2, "predicate");
	PG_RETURN_INT32(release(&registry, key, PG_GETARG_JSONPATH_P(2)));
}

/* (registry, key): the processes and their values */
Datum
event_store_lookup(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	EsRegistry	registry = es_registry_argument(fcinfo, 0);
	EsNamespace space = es_registry_space(&registry);
	char	   *key = es_registry_key(fcinfo, 1);
	int			count;
	EsName	   *names;

	InitMaterializedSRF(fcinfo, 0);
	names = es_names_find(&space, &(EsNameFilter) {.key = key}, &count);
	for (int i = 0; i < count; i++)
	{
		Datum		values[2] = {Int32GetDatum(names[i].pid), JsonbPGetDatum(names[i].value)};
		bool		nulls[2] = {0};

		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* (registry, key): the process that holds a unique key, or NULL */
Datum
event_store_whereis(PG_FUNCTION_ARGS)
{
	EsRegistry	registry = es_registry_argument(fcinfo, 0);
	EsNamespace space = es_registry_space(&registry);
	char	   *key = es_registry_key(fcinfo, 1);
	int			count;
	EsName	   *names;

	if (!registry.unique)
		ereport(ERROR,
				(es_problem(ERRCODE_WRONG_OBJECT_TYPE, ES_MEMBERS(ES_TEXT("registry", registry.name)),
							"a key of registry \"%s\" may have several holders", registry.name),
				 errhint("Use event_store.lookup().")));
	names = es_names_find(&space, &(EsNameFilter) {.key = key}, &count);
	if (count == 0)
		PG_RETURN_NULL();
	PG_RETURN_INT32(names[0].pid);
}

/* (registry, pid) */
Datum
event_store_keys_of(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	EsRegistry	registry = es_registry_argument(fcinfo, 0);
	EsNamespace space = es_registry_space(&registry);
	int			count;
	EsName	   *names;

	es_require_argument(fcinfo, 1, "pid");
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	names = es_names_find(&space, &(EsNameFilter) {.pid = PG_GETARG_INT32(1)}, &count);
	for (int i = 0; i < count && PG_GETARG_INT32(1) != 0; i++)
	{
		Datum		key = CStringGetTextDatum(names[i].key);
		bool		isnull = false;

		tuplestore_putvalues(result->setResult, result->setDesc, &key, &isnull);
	}
	return (Datum) 0;
}

/* (registry, key, predicate), the last two NULL for any: key, pid, value, since */
Datum
event_store_registry_select(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	EsRegistry	registry = es_registry_argument(fcinfo, 0);
	EsNamespace space = es_registry_space(&registry);
	EsNameFilter filter = {.key = PG_ARGISNULL(1) ? NULL : es_registry_key(fcinfo, 1)};
	int			count;
	EsName	   *names;

	InitMaterializedSRF(fcinfo, 0);
	names = es_names_find(&space, &filter, &count);
	for (int i = 0; i < count; i++)
	{
		Datum		values[4];
		bool		nulls[4] = {0};

		CHECK_FOR_INTERRUPTS();
		if (!PG_ARGISNULL(2) && !matches(PG_GETARG_JSONPATH_P(2), names[i].value))
			continue;
		values[0] = CStringGetTextDatum(names[i].key);
		values[1] = Int32GetDatum(names[i].pid);
		values[2] = JsonbPGetDatum(names[i].value);
		values[3] = TimestampTzGetDatum(names[i].since);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* (registry, key), NULL for all keys */
Datum
event_store_registry_count(PG_FUNCTION_ARGS)
{
	EsRegistry	registry = es_registry_argument(fcinfo, 0);
	EsNamespace space = es_registry_space(&registry);
	EsNameFilter filter = {.key = PG_ARGISNULL(1) ? NULL : es_registry_key(fcinfo, 1)};
	int			count;

	(void) es_names_find(&space, &filter, &count);
	PG_RETURN_INT64(count);
}

/* (registry, key, fn): the value that fn(value) has returned */
Datum
event_store_update_value(PG_FUNCTION_ARGS)
{
	static const Oid types[] = {JSONBOID};
	EsRegistry	registry = es_registry_argument(fcinfo, 0);
	EsNamespace space = es_registry_space(&registry);
	char	   *key = es_registry_key(fcinfo, 1);
	FmgrInfo	function;
	LOCAL_FCINFO(call, 1);
	Datum		returned;
	int			count;
	EsName	   *names;
	Jsonb	   *value;
	bool		pool_full;

	es_registry_function(fcinfo, 2, 1, types, "f(value jsonb) RETURNS jsonb", &function);
	if (!registry.unique)
		ereport(ERROR,
				(es_problem(ERRCODE_WRONG_OBJECT_TYPE, ES_MEMBERS(ES_TEXT("registry", registry.name)),
							"a key of registry \"%s\" may have several values", registry.name),
				 errhint("Give the name up and take it again with the new value.")));
	names = es_names_find(&space, &(EsNameFilter) {.key = key}, &count);
	if (count == 0 || !es_owner_is_me(&names[0].owner))
		ereport(ERROR,
				(es_problem(ERRCODE_INSUFFICIENT_PRIVILEGE, ES_MEMBERS(ES_TEXT("registry", registry.name), ES_TEXT("key", key)),
							"key \"%s\" of registry \"%s\" is not held by this session", key, registry.name),
				 errhint("Only who holds a name may change its value.")));
	InitFunctionCallInfoData(*call, &function, 1, InvalidOid, NULL, NULL);
	call->args[0] = (NullableDatum) {JsonbPGetDatum(names[0].value), false};
	returned = FunctionCallInvoke(call);
	if (call->isnull)
		ereport(ERROR,
				(es_problem(ERRCODE_NULL_VALUE_NOT_ALLOWED, ES_MEMBERS(ES_TEXT("key", key)),
							"the function for the value of key \"%s\" returned null", key),
				 errhint("Let it return the JSON null, or give the name up.")));
	value = DatumGetJsonbP(returned);
	es_registry_check_size("value", value);
	if (!es_name_set_value(&names[0], value, &pool_full))
	{
		if (pool_full)
			es_shared_full("another value");
		ereport(ERROR,
				(es_problem(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, ES_MEMBERS(ES_TEXT("key", key)),
							"key \"%s\" was given up by the function that was to change its value", key)));
	}
	PG_RETURN_JSONB_P(value);
}
