/*
 * message.c
 *		Messages between sessions, to the holders of names.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "base/arguments.h"
#include "base/errors.h"
#include "base/shared.h"
#include "base/settings.h"
#include "observe/try.h"
#include "runtime/registry.h"

PG_FUNCTION_INFO_V1(event_store_registry_listen);
PG_FUNCTION_INFO_V1(event_store_registry_send);
PG_FUNCTION_INFO_V1(event_store_receive);
PG_FUNCTION_INFO_V1(event_store_registry_dispatch);

/* (registry): its names are told to this session's mailbox from now on */
Datum
event_store_registry_listen(PG_FUNCTION_ARGS)
{
	EsRegistry	registry = es_registry_argument(fcinfo, 0);
	EsNamespace space = es_registry_space(&registry);

	es_registry_claimed(es_name_listen(&space), &registry, "", 0);
	PG_RETURN_VOID();
}

/* (registry, key, payload): how many sessions were sent it */
Datum
event_store_registry_send(PG_FUNCTION_ARGS)
{
	EsRegistry	registry = es_registry_argument(fcinfo, 0);
	EsNamespace space = es_registry_space(&registry);
	char	   *key = es_registry_key(fcinfo, 1);
	Jsonb	   *payload = es_registry_value(fcinfo, 2, "payload");
	int			count;
	EsName	   *names = es_names_find(&space, &(EsNameFilter) {.key = key}, &count);
	int			sent = 0;

	for (int i = 0; i < count; i++)
		switch (es_mailbox_send(&names[i].owner, payload))
		{
			case ES_SENT:
				sent++;
				break;
			case ES_SENT_GONE:
				break;
			case ES_SENT_POOL_FULL:
				es_shared_full("another message");
				break;
			case ES_SENT_MAILBOX_FULL:
				ereport(ERROR,
						(es_problem(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
									ES_MEMBERS(ES_TEXT("key", key), ES_INT("pid", names[i].pid), ES_INT("sent", sent)),
									"the mailbox of process %d is full", names[i].pid),
						 errhint("It takes %d messages (event_store.mailbox_size); let it receive some first.", es_mailbox_size)));
		}
	PG_RETURN_INT32(sent);
}

/* (timeout): the next message, NULL if there is none in time */
Datum
event_store_receive(PG_FUNCTION_ARGS)
{
	int64		timeout;
	Jsonb	   *payload;

	es_require_argument(fcinfo, 0, "timeout");
	timeout = es_interval_ms(PG_GETARG_INTERVAL_P(0));
	if (timeout < 0)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_INT("timeout_ms", timeout)),
							"timeout must not be negative"),
				 errhint("0 asks without waiting.")));
	payload = es_mailbox_receive(timeout);
	if (payload == NULL)
		PG_RETURN_NULL();
	PG_RETURN_JSONB_P(payload);
}

/* (registry, key, payload, fn): fn(pid, value, payload) of each holder; pid, ok, result, problem */
Datum
event_store_registry_dispatch(PG_FUNCTION_ARGS)
{
	static const Oid types[] = {INT4OID, JSONBOID, JSONBOID};
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	EsRegistry	registry = es_registry_argument(fcinfo, 0);
	EsNamespace space = es_registry_space(&registry);
	char	   *key = es_registry_key(fcinfo, 1);
	char	   *query;
	FmgrInfo	function;
	int			count;
	EsName	   *names;
	Datum		path[] = {CStringGetTextDatum("ok"), CStringGetTextDatum("0"), CStringGetTextDatum("result")};

	es_require_argument(fcinfo, 2, "payload");
	es_registry_function(fcinfo, 3, 3, types, "f(pid integer, value jsonb, payload jsonb) RETURNS jsonb", &function);
	query = psprintf("SELECT %s.%s($1, $2, $3) AS result",
					 quote_identifier(get_namespace_name(get_func_namespace(function.fn_oid))),
					 quote_identifier(get_func_name(function.fn_oid)));
	InitMaterializedSRF(fcinfo, 0);
	names = es_names_find(&space, &(EsNameFilter) {.key = key}, &count);
	for (int i = 0; i < count; i++)
	{
		Datum		parameters[] = {Int32GetDatum(names[i].pid), JsonbPGetDatum(names[i].value), PG_GETARG_DATUM(2)};
		Oid			parameter_types[] = {INT4OID, JSONBOID, JSONBOID};
		bool		parameter_nulls[3] = {0};
		EsParameters p = {3, parameters, parameter_types, parameter_nulls};
		bool		failed;
		Datum		answer = es_try(query, &p, &failed);
		Datum		values[4] = {Int32GetDatum(names[i].pid), BoolGetDatum(!failed), answer, answer};
		bool		nulls[4] = {[2] = failed, [3] = !failed};

		CHECK_FOR_INTERRUPTS();
		if (!failed)
		{
			LOCAL_FCINFO(extract, 2);

			InitFunctionCallInfoData(*extract, NULL, 2, InvalidOid, NULL, NULL);
			extract->args[0] = (NullableDatum) {answer, false};
			extract->args[1] = (NullableDatum) {
				PointerGetDatum(construct_array(path, lengthof(path), TEXTOID, -1, false, TYPALIGN_INT)), false
			};
			values[2] = jsonb_extract_path(extract);
			nulls[2] = extract->isnull;
		}
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}
