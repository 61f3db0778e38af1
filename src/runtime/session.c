/*
 * session.c
 *		Sessions of applications, as SQL sees them.
 *
 * A session is what an application knows of a user between two requests.  It
 * is in shared memory (runtime/session_table), where a crash or a restart ends
 * it and no transaction undoes it, or, if it is durable, a row of a table
 * (runtime/session_store), which is part of the transaction.  Whoever started
 * one, and the members of that role, can see it; for all others it is not
 * there.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "base/arguments.h"
#include "base/attempt.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/shared.h"
#include "base/settings.h"
#include "observe/execute.h"
#include "runtime/identity.h"
#include "runtime/names.h"
#include "runtime/session.h"
#include "runtime/session_store.h"
#include "runtime/task.h"
#include "store/tenant.h"

#define LONGEST_MS		(INT64CONST(1000) * SECS_PER_DAY * 366 * 100)
#define MAX_SIGNATURE	1000	/* bytes of on_expire */
#define SWEEP_BATCH		64		/* functions that one transaction runs, each in a subtransaction */
#define LONGEST_SLEEP	60000	/* ms; a session whose start was rolled back has woken nobody */
#define EXPIRED_EVENT	"event_store.session.expired"

/* --- the end of a session --- */

/* Call the function of a session as the role that started it. */
static void
call_on_expire(const EsSession *session)
{
	EsIdentity	own;
	Oid			function;
	FmgrInfo	flinfo;
	LOCAL_FCINFO(fcinfo, 2);

	es_identity_take(&own, session->owner, session->nspid);
	function = DatumGetObjectId(DirectFunctionCall1(regprocedurein, CStringGetDatum(session->on_expire)));
	if (!SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(session->owner)) || !es_may_execute(function, session->owner))
		ereport(ERROR,
				(es_problem(ERRCODE_INSUFFICIENT_PRIVILEGE, ES_MEMBERS(ES_TEXT("session", session->id)),
							"the role that started session \"%s\" may not execute its function", session->id),
				 errhint("Grant it EXECUTE on the function.")));
	fmgr_info(function, &flinfo);
	InitFunctionCallInfoData(*fcinfo, &flinfo, 2, InvalidOid, NULL, NULL);
	fcinfo->args[0] = (NullableDatum) {CStringGetTextDatum(session->id), false};
	fcinfo->args[1] = (NullableDatum) {JsonbPGetDatum(session->data), false};
	/* what it returns, null or not, is nobody's business */
	(void) FunctionCallInvoke(fcinfo);
	es_identity_give_back(&own);
}

static void
tell_expired(const EsSession *session, const char *outcome)
{
	es_telemetry_execute(cstring_to_text(EXPIRED_EVENT),
						 DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum("{\"count\":1}"))),
						 DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(psprintf("{\"outcome\":\"%s\"}", outcome)))));
}

/* Run what is to run when a session's time is over, once; an error of it stands in the server log. */
static void
expire(const EsSession *session)
{
	EsAttempt	attempt;
	const char *volatile outcome = "ok";

	if (session->on_expire[0] == '\0')
		return;
	es_attempt_begin(&attempt);
	PG_TRY();
	{
		call_on_expire(session);
		es_attempt_succeeded(&attempt);
	}
	PG_CATCH();
	{
		ErrorData  *error = es_attempt_failed(&attempt);

		if (error->sqlerrcode == ERRCODE_QUERY_CANCELED || ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_TRANSACTION_ROLLBACK)
			ReThrowError(error);
		outcome = "error";
		ereport(LOG,
				(errmsg("function %s of session \"%s\" failed: %s", session->on_expire, session->id, error->message),
				 errdetail("The session has expired; its function is not run again.")));
		FreeErrorData(error);
	}
	PG_END_TRY();
	tell_expired(session, outcome);
}

/* End at most so many sessions of this database whose time is over; returns how many of them had a function to run. */
static int
sweep(int most)
{
	int			from = 0;
	int			swept = 0;
	int			count;
	EsSession  *session;
	EsSession **rows;

	while (swept < most && (session = es_session_take_expired(&from)) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		expire(session);
		swept++;
	}
	if (XactReadOnly)
		return swept;
	rows = es_durable_sessions_find(true, most - swept, &count);
	for (int i = 0; i < count; i++)
	{
		es_durable_session_lock(rows[i]->nspid, rows[i]->id);
		session = es_durable_session_find(rows[i]->nspid, rows[i]->id);
		if (session == NULL || es_session_ends(session) > GetCurrentTimestamp())
			continue;
		(void) es_durable_session_remove(session);
		expire(session);
		swept += session->on_expire[0] != '\0';
	}
	return swept;
}

/* A step of the task that sweeps this database: it runs as the superuser, and each function as who started the session. */
static EsTaskNext
step(EsTask *task)
{
	TimestampTz next;
	int			count;
	EsSession **rows;

	if (sweep(SWEEP_BATCH) == SWEEP_BATCH)
		return es_task_again();
	next = Min(es_sessions_next_end(), TimestampTzPlusMilliseconds(task->now, LONGEST_SLEEP));
	rows = es_durable_sessions_find(false, INT_MAX, &count);
	for (int i = 0; i < count; i++)
		if (rows[i]->on_expire[0] != '\0')
			next = Min(next, es_session_ends(rows[i]));
	return es_task_at(next);
}

static const EsTaskKind sweep_kind = {"session", step};

/*
 * Let a session with a function have it run when its time is over: register
 * the task, if this is the first such session of the database, or wake it.
 */
static void
arrange_end(void)
{
	int64		number = es_task_find(&sweep_kind, "sweep", NULL);

	if (number != 0)
	{
		es_task_poke(number);
		return;
	}
	es_require_writable();
	es_durable_session_lock(InvalidOid, "");
	if (es_task_find(&sweep_kind, "sweep", NULL) == 0)
		(void) es_task_add(&sweep_kind, "sweep", NULL, BOOTSTRAP_SUPERUSERID);
}

void
EsSessionInit(void)
{
	EsSessionTableInit();
	es_task_kind_register(&sweep_kind);
}

/* --- finding --- */

/* The schema of the tenant that the call is for, or none. */
static Oid
tenant_schema(void)
{
	EsTenant	tenant;

	return es_tenant_current(&tenant) ? tenant.nspid : InvalidOid;
}

/* Note that a durable session is used, often enough that it does not count as idle. */
static void
use_durable(EsSession *session)
{
	TimestampTz now = GetCurrentTimestamp();

	if (session->idle_timeout == 0 || XactReadOnly ||
		TimestampDifferenceMilliseconds(session->used_at, now) < session->idle_timeout / 10)
		return;
	es_durable_session_lock(session->nspid, session->id);
	session = es_durable_session_find(session->nspid, session->id);
	if (session == NULL || es_session_ends(session) <= now)
		return;
	session->used_at = now;
	es_durable_session_update(session);
}

/* The session with an id that the caller may see, NULL if there is none. */
static EsSession *
find(Oid nspid, const char *id, bool use)
{
	EsSession  *session = es_session_find(nspid, id, false);

	if (session == NULL)
	{
		session = es_durable_session_find(nspid, id);
		if (session != NULL && es_session_ends(session) <= GetCurrentTimestamp())
			session = NULL;
	}
	if (session == NULL || !has_privs_of_role(GetUserId(), session->owner))
		return NULL;
	if (use && session->durable)
		use_durable(session);
	else if (use)
		session = es_session_find(nspid, id, true);
	return session;
}

static void
no_such_session(const char *id)
{
	ereport(ERROR,
			(es_problem(ERRCODE_ES_SESSION_NOT_FOUND, ES_MEMBERS(ES_TEXT("session", id)),
						"session \"%s\" does not exist", id),
			 errhint("It was stopped, its time is over, or it was never started here.")));
}

/* Change the data of a session: to data, or with merge to what there is with data's members over it. */
static Jsonb *
change(const char *id, Jsonb *data, bool merge)
{
	Oid			nspid = tenant_schema();

	for (;;)
	{
		EsSession  *session = find(nspid, id, true);
		Jsonb	   *result = data;
		bool		pool_full = false;

		CHECK_FOR_INTERRUPTS();
		if (session != NULL && session->durable)
		{
			es_require_writable();
			es_durable_session_lock(nspid, id);
			session = find(nspid, id, false);
		}
		if (session == NULL)
			no_such_session(id);
		if (merge)
			result = DatumGetJsonbP(DirectFunctionCall2(jsonb_concat, JsonbPGetDatum(session->data), JsonbPGetDatum(data)));
		if (VARSIZE(result) > es_session_max_bytes)
			ereport(ERROR,
					(es_problem(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED, ES_MEMBERS(ES_TEXT("session", id), ES_INT("bytes", VARSIZE(result))),
								"the data of session \"%s\" would have %u bytes", id, (unsigned) VARSIZE(result)),
					 errhint("event_store.session_max_bytes allows %d. Keep the rest in a table.", es_session_max_bytes)));
		if (session->durable)
		{
			session->data = result;
			es_durable_session_update(session);
			return result;
		}
		if (es_session_replace(session, result, &pool_full))
			return result;
		if (pool_full)
			es_shared_full("the data of a session");
	}
}

/* --- arguments --- */

static char *
id_argument(FunctionCallInfo fcinfo, int argument)
{
	char	   *id;

	es_require_argument(fcinfo, argument, "id");
	id = text_to_cstring(PG_GETARG_TEXT_PP(argument));
	if (id[0] == '\0' || strlen(id) > ES_SESSION_ID_MAX)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_INT("bytes", strlen(id))),
							"the id of the session has %zu bytes", strlen(id)),
				 errhint("An id has 1 to %d bytes.", ES_SESSION_ID_MAX)));
	return id;
}

/* An interval in ms, 0 for NULL. */
static int64
time_argument(FunctionCallInfo fcinfo, int argument, const char *name)
{
	int64		ms;

	if (PG_ARGISNULL(argument))
		return 0;
	ms = es_interval_ms(PG_GETARG_INTERVAL_P(argument));
	if (ms <= 0 || ms > LONGEST_MS)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("argument", name)),
							"%s must be more than zero and at most 100 years", name)));
	return ms;
}

/* The signature of the function of an argument, "" for NULL. */
static const char *
function_argument(FunctionCallInfo fcinfo, int argument)
{
	Oid			oid;
	Oid		   *argtypes;
	int			n;
	char	   *signature;

	if (PG_ARGISNULL(argument))
		return "";
	oid = PG_GETARG_OID(argument);
	es_require_function(oid);
	signature = format_procedure_qualified(oid);
	(void) get_func_signature(oid, &argtypes, &n);
	if (n != 2 || argtypes[0] != TEXTOID || argtypes[1] != JSONBOID || strlen(signature) > MAX_SIGNATURE)
		ereport(ERROR,
				(es_problem(ERRCODE_UNDEFINED_FUNCTION, NULL, "function %s does not fit", signature),
				 errhint("on_expire is to be f(id text, data jsonb).")));
	if (!es_may_execute(oid, GetUserId()))
		ereport(ERROR,
				(es_problem(ERRCODE_INSUFFICIENT_PRIVILEGE, NULL, "permission denied for function %s", signature),
				 errhint("Its owner gives rights with GRANT EXECUTE.")));
	return signature;
}

static void
check_started(EsStarted started, const char *id)
{
	switch (started)
	{
		case ES_STARTED:
			break;
		case ES_START_TAKEN:
			ereport(ERROR,
					(es_problem(ERRCODE_ES_ALREADY_REGISTERED, ES_MEMBERS(ES_TEXT("session", id)),
								"session \"%s\" is started already", id),
					 errhint("Choose another id, or leave it out to get one.")));
			break;
		case ES_START_TABLE_FULL:
			ereport(ERROR,
					(es_problem(ERRCODE_ES_MAX_CHILDREN, ES_MEMBERS(ES_INT("session_max", es_session_max)),
								"there are %d sessions on the server already", es_session_max),
					 errhint("Raise event_store.session_max and restart the server, or let sessions expire sooner.")));
			break;
		case ES_START_POOL_FULL:
			es_shared_full("another session");
			break;
	}
}

PG_FUNCTION_INFO_V1(event_store_session_start);
PG_FUNCTION_INFO_V1(event_store_session_get);
PG_FUNCTION_INFO_V1(event_store_session_put);
PG_FUNCTION_INFO_V1(event_store_session_merge);
PG_FUNCTION_INFO_V1(event_store_session_touch);
PG_FUNCTION_INFO_V1(event_store_session_stop);
PG_FUNCTION_INFO_V1(event_store_session_rows_seen);
PG_FUNCTION_INFO_V1(event_store_session_sweep);
PG_FUNCTION_INFO_V1(event_store_shared_pool);

/* --- SQL --- */

/* (id, data, ttl, idle_timeout, on_expire, durable) */
Datum
event_store_session_start(PG_FUNCTION_ARGS)
{
	EsSession	session = {.owner = GetUserId(), .started_at = GetCurrentTimestamp()};
	int64		ttl = time_argument(fcinfo, 2, "ttl");
	EsSession  *durable;

	if (PG_ARGISNULL(0))
		session.id = DatumGetCString(DirectFunctionCall1(uuid_out, DirectFunctionCall1(gen_random_uuid, (Datum) 0)));
	else
		session.id = id_argument(fcinfo, 0);
	es_require_argument(fcinfo, 1, "data");
	es_require_argument(fcinfo, 5, "durable");
	session.data = PG_GETARG_JSONB_P(1);
	session.durable = PG_GETARG_BOOL(5);
	session.idle_timeout = time_argument(fcinfo, 3, "idle_timeout");
	session.on_expire = function_argument(fcinfo, 4);
	session.used_at = session.started_at;
	session.expires_at = ttl == 0 ? DT_NOEND : TimestampTzPlusMilliseconds(session.started_at, ttl);
	if (ttl == 0 && session.idle_timeout == 0)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("argument", "ttl")),
							"ttl and idle_timeout cannot both be null"),
				 errhint("A session that never expires would stay for ever: use a table for what is to be kept.")));
	if (VARSIZE(session.data) > es_session_max_bytes)
		ereport(ERROR,
				(es_problem(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED, ES_MEMBERS(ES_INT("bytes", VARSIZE(session.data))),
							"the data of the session has %u bytes", (unsigned) VARSIZE(session.data)),
				 errhint("event_store.session_max_bytes allows %d. Keep the rest in a table.", es_session_max_bytes)));
	session.nspid = tenant_schema();
	if (session.on_expire[0] != '\0')
		arrange_end();

	if (!session.durable)
	{
		durable = es_durable_session_find(session.nspid, session.id);
		if (durable != NULL && es_session_ends(durable) > session.started_at)
			check_started(ES_START_TAKEN, session.id);
		check_started(es_session_add(&session), session.id);
		PG_RETURN_TEXT_P(cstring_to_text(session.id));
	}

	es_require_writable();
	es_durable_session_lock(session.nspid, session.id);
	durable = es_durable_session_find(session.nspid, session.id);
	if (es_session_find(session.nspid, session.id, false) != NULL ||
		(durable != NULL && es_session_ends(durable) > session.started_at))
		check_started(ES_START_TAKEN, session.id);
	if (durable != NULL)
	{
		(void) es_durable_session_remove(durable);
		expire(durable);
	}
	es_durable_session_add(&session);
	PG_RETURN_TEXT_P(cstring_to_text(session.id));
}

/* (id, touch): its data, NULL if there is none */
Datum
event_store_session_get(PG_FUNCTION_ARGS)
{
	char	   *id = id_argument(fcinfo, 0);
	EsSession  *session;

	es_require_argument(fcinfo, 1, "touch");
	session = find(tenant_schema(), id, PG_GETARG_BOOL(1));
	if (session == NULL)
		PG_RETURN_NULL();
	PG_RETURN_JSONB_P(session->data);
}

/* (id, data) */
Datum
event_store_session_put(PG_FUNCTION_ARGS)
{
	char	   *id = id_argument(fcinfo, 0);

	es_require_argument(fcinfo, 1, "data");
	(void) change(id, PG_GETARG_JSONB_P(1), false);
	PG_RETURN_VOID();
}

/* (id, data): what the data is then */
Datum
event_store_session_merge(PG_FUNCTION_ARGS)
{
	char	   *id = id_argument(fcinfo, 0);

	es_require_argument(fcinfo, 1, "data");
	PG_RETURN_JSONB_P(change(id, PG_GETARG_JSONB_P(1), true));
}

/* (id): when it ends now */
Datum
event_store_session_touch(PG_FUNCTION_ARGS)
{
	char	   *id = id_argument(fcinfo, 0);
	EsSession  *session = find(tenant_schema(), id, true);

	if (session == NULL)
		no_such_session(id);
	session = find(tenant_schema(), id, false);
	if (session == NULL)
		no_such_session(id);
	PG_RETURN_TIMESTAMPTZ(es_session_ends(session));
}

/* (id): was there one? */
Datum
event_store_session_stop(PG_FUNCTION_ARGS)
{
	char	   *id = id_argument(fcinfo, 0);
	Oid			nspid = tenant_schema();
	EsSession  *session;

	while ((session = find(nspid, id, false)) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		if (!session->durable && es_session_remove(session))
			PG_RETURN_BOOL(true);
		if (session->durable)
		{
			es_require_writable();
			es_durable_session_lock(nspid, id);
			PG_RETURN_BOOL(es_durable_session_remove(session));
		}
	}
	PG_RETURN_BOOL(false);
}

static void
put_row(ReturnSetInfo *result, const EsSession *session)
{
	Datum		values[9];
	bool		nulls[9] = {0};

	values[0] = CStringGetTextDatum(session->id);
	values[1] = JsonbPGetDatum(session->data);
	values[2] = ObjectIdGetDatum(session->owner);
	values[3] = TimestampTzGetDatum(session->started_at);
	values[4] = TimestampTzGetDatum(session->used_at);
	values[5] = TimestampTzGetDatum(es_session_ends(session));
	values[6] = CStringGetTextDatum(session->on_expire);
	nulls[6] = session->on_expire[0] == '\0';
	values[7] = BoolGetDatum(session->durable);
	values[8] = Int32GetDatum(VARSIZE(session->data));
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/* The sessions of the caller's tenant, or of none, that the caller may see. */
Datum
event_store_session_rows_seen(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Oid			nspid = tenant_schema();

	InitMaterializedSRF(fcinfo, 0);
	for (int durable = 0; durable < 2; durable++)
	{
		int			count;
		EsSession **sessions = durable ? es_durable_sessions_find(false, INT_MAX, &count) : es_sessions_copy(&count);

		for (int i = 0; i < count; i++)
		{
			CHECK_FOR_INTERRUPTS();
			if (sessions[i]->nspid == nspid && has_privs_of_role(GetUserId(), sessions[i]->owner))
				put_row(result, sessions[i]);
		}
	}
	return (Datum) 0;
}

/* (max_count) */
Datum
event_store_session_sweep(PG_FUNCTION_ARGS)
{
	es_require_argument(fcinfo, 0, "max_count");
	if (PG_GETARG_INT32(0) < 0)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("argument", "max_count")),
							"max_count must not be negative")));
	PG_RETURN_INT32(sweep(PG_GETARG_INT32(0)));
}

/* What is used of the memory that names, messages and sessions share, on the whole server. */
Datum
event_store_shared_pool(PG_FUNCTION_ARGS)
{
	TupleDesc	desc;
	Datum		values[7];
	bool		nulls[7] = {0};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[0] = Int32GetDatum(es_names_in_use());
	values[1] = Int32GetDatum(es_max_registered);
	values[2] = Int32GetDatum(es_sessions_in_use());
	values[3] = Int32GetDatum(es_session_max);
	values[4] = Int64GetDatum(es_shared_bytes_used());
	values[5] = Int64GetDatum((int64) es_shared_pool_size * 1024);
	values[6] = TimestampTzGetDatum(es_shared_made_at());
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}
