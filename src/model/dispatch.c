/*
 * dispatch.c
 *		Executing commands.
 *
 * In one transaction with the caller: the aggregate's stream is locked until
 * its end, so commands for one aggregate run one at a time; the state is
 * folded in a snapshot taken after that; the handler decides; its events are
 * appended at exactly the version it has seen, read back and folded, so that
 * an event which the apply functions cannot take fails the command that made
 * it.  Further steps of the handler see the state after the step before.
 *
 * Under REPEATABLE READ and SERIALIZABLE the snapshot cannot move: if the
 * stream has changed since, the append raises 40001.
 *
 * Before and after all of that, middleware sees the command as a pipeline, a
 * JSON object, and may change it or halt it (model/middleware).
 *
 * A command with an id of the caller's is remembered with its result, in the
 * same transaction (model/repeat); who sends it again gets that result.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/expandeddatum.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/uuid.h"

#include "base/arguments.h"
#include "base/attempt.h"
#include "base/deadline.h"
#include "base/errors.h"
#include "log/append.h"
#include "log/expected.h"
#include "log/hot.h"
#include "log/stream.h"
#include "model/command.h"
#include "model/dispatch.h"
#include "model/middleware.h"
#include "model/rehydrate.h"
#include "model/repeat.h"
#include "model/snapshot.h"
#include "observe/counters.h"
#include "observe/problem.h"
#include "observe/schema.h"
#include "store/event_id.h"

/* Fields of the type execution_result. */
enum ResultField
{
	RESULT_AGGREGATE,
	RESULT_ID,
	RESULT_VERSION,
	RESULT_EVENTS,
	RESULT_FIRST_POSITION,
	RESULT_LAST_POSITION,
	RESULT_STATE,
	RESULT_COMMAND_ID,
	RESULT_CORRELATION_ID,
	RESULT_REPEATED,
	RESULT_RESPONSE,
	RESULT_NFIELDS
};

/* A command being executed. */
typedef struct Execution
{
	EsStore    *store;
	Relation	log;
	EsCommand  *command;
	EsAggregate *aggregate;
	EsMiddleware *middleware;	/* or NULL */

	/* what was asked for */
	Jsonb	   *asked;			/* the command as it came */
	Jsonb	   *body;			/* and as it is executed */
	pg_uuid_t  *command_id;		/* made here if the caller gave none */
	bool		given_id;
	pg_uuid_t  *correlation_id;
	pg_uuid_t  *causation_id;
	Jsonb	   *metadata;		/* for every event, or NULL */
	int64		expected;
	int			retries;		/* how often it may try again after meeting another one */
	bool		returning_state;

	/* what came of it */
	text	   *id;
	text	   *stream;
	int64		stream_id;
	EsFold	   *fold;			/* NULL: not needed, the command is a repeat */
	EsCommandDone done;
	bool		repeated;
	Jsonb	   *pipeline;		/* as the middleware has left it */
} Execution;

EsStrongHook es_strong_hook = NULL;

static pg_uuid_t *
random_uuid(void)
{
	return DatumGetUUIDP(DirectFunctionCall1(gen_random_uuid, (Datum) 0));
}

/* A snapshot that sees all that has happened up to now, as far as the isolation level lets it. */
static void
push_snapshot(void)
{
	CommandCounterIncrement();
	PushActiveSnapshot(IsolationUsesXactSnapshot() ? GetTransactionSnapshot() : GetLatestSnapshot());
}

/* --- the identity --- */

static void
bad_identity(const Execution *x, const char *problem)
{
	ereport(ERROR,
			(es_problem(ERRCODE_ES_INVALID_IDENTITY,
						ES_MEMBERS(ES_TEXT("command", x->command->prepared.name), ES_TEXT("identity", x->command->identity)),
						"command \"%s\" has no identity: %s", x->command->prepared.name, problem),
			 errhint("It must say which %s it is for, in %s.", x->command->aggregate,
					 x->command->identity_function ? "what its identity function returns" : x->command->identity)));
}

/* The id of the aggregate that the command is for. */
static text *
identity_of(Execution *x)
{
	EsCommand  *command = x->command;
	JsonbValue *value;
	JsonbValue	buffer;
	text	   *id;

	if (command->identity_function != NULL)
	{
		bool		isnull;
		Datum		result = es_prepared_call(&command->prepared, command->identity_function, &isnull);

		if (isnull)
			bad_identity(x, "the identity function returned null");
		id = DatumGetTextPCopy(result);
	}
	else
	{
		value = getKeyJsonValueFromContainer(&x->body->root, command->identity, strlen(command->identity), &buffer);
		if (value == NULL)
			bad_identity(x, psprintf("member \"%s\" is missing", command->identity));
		if (value->type == jbvString)
			id = cstring_to_text_with_len(value->val.string.val, value->val.string.len);
		else if (value->type == jbvNumeric)
			id = cstring_to_text(DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric))));
		else
			bad_identity(x, psprintf("member \"%s\" is neither a string nor a number", command->identity));
	}
	if (VARSIZE_ANY_EXHDR(id) == 0)
		bad_identity(x, "it is empty");
	return id;
}

/* --- the handler --- */

/* The events that a handler has returned, palloc'd; NULL if there are none. */
static EsEvent *
events_from_result(const EsCall *call, Datum result, int *count)
{
	*count = 0;
	if (call->result == JSONBOID)
	{
		Jsonb	   *events = DatumGetJsonbP(result);

		if (!JB_ROOT_IS_OBJECT(events) && !JB_ROOT_IS_SCALAR(events) && JB_ROOT_COUNT(events) == 0)
			return NULL;
		return es_events_from_jsonb(events, count);
	}
	if (OidIsValid(get_element_type(call->result)))
	{
		ArrayType  *events = DatumGetArrayTypeP(result);

		if (ArrayGetNItems(ARR_NDIM(events), ARR_DIMS(events)) == 0)
			return NULL;
		return es_events_from_array(events, count);
	}
	return es_events_from_array(construct_array(&result, 1, call->result, -1, false, TYPALIGN_DOUBLE), count);
}

/* What every event of a command says of where it comes from. */
static void
mark_events(const Execution *x, EsEvent *events, int count)
{
	for (int i = 0; i < count; i++)
	{
		if (events[i].correlation_id == NULL)
			events[i].correlation_id = x->correlation_id;
		if (events[i].causation_id == NULL)
			events[i].causation_id = x->causation_id ? x->causation_id : x->command_id;
		if (x->metadata != NULL)
			events[i].metadata = events[i].metadata == NULL ? x->metadata :
				DatumGetJsonbP(DirectFunctionCall2(jsonb_concat, JsonbPGetDatum(x->metadata),
												   JsonbPGetDatum(events[i].metadata)));
	}
}

/* Append what a step has returned, at the version it has seen, and fold it. */
static void
append_events(Execution *x, EsEvent *events, int count)
{
	EsAppend	append = {.stream = x->stream, .expected = x->fold->version, .count = count};

	mark_events(x, events, count);
	es_append(&append, 1, events, false);
	if (x->done.events == 0)
		x->done.first_position = append.result.first_position;
	x->done.last_position = append.result.last_position;
	x->done.events += count;

	push_snapshot();
	if (x->stream_id == 0)
	{
		EsStream	stream;

		es_stream_find(x->store, x->stream, GetActiveSnapshot(), &stream);
		x->stream_id = stream.id;
	}
	es_fold_forward(x->fold, x->store, x->log, x->stream_id, &es_unbounded);
	PopActiveSnapshot();
}

static void
set_state_parameter(Execution *x)
{
	ParamExternData *param = &x->command->prepared.parameters->params[ES_PARAM_HANDLER_STATE];

	/* the fold keeps it: a handler gets it for reading */
	param->value = MakeExpandedObjectReadOnly(x->fold->state, x->fold->state_isnull, x->aggregate->state_length);
	param->isnull = x->fold->state_isnull;
}

static void
set_command_parameter(Execution *x)
{
	ParamExternData *param = &x->command->prepared.parameters->params[ES_PARAM_COMMAND];

	param->value = JsonbPGetDatum(x->body);
	param->isnull = false;
}

/* Ask the handler and its further steps. */
static void
run_handlers(Execution *x)
{
	EsCommand  *command = x->command;
	ListCell   *lc;
	bool		isnull;

	if (command->before != NULL)
	{
		Datum		changed;

		set_state_parameter(x);
		changed = es_prepared_call(&command->prepared, command->before, &isnull);
		if (isnull || !JB_ROOT_IS_OBJECT(DatumGetJsonbP(changed)))
			ereport(ERROR,
					(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("command", command->prepared.name)),
								"the before function of command \"%s\" did not return an object", command->prepared.name),
					 errhint("It must return the command to execute.")));
		x->body = DatumGetJsonbPCopy(changed);
		set_command_parameter(x);
	}
	foreach(lc, command->handlers)
	{
		EsCall	   *call = lfirst(lc);
		Datum		result;
		EsEvent    *events = NULL;
		int			count = 0;

		set_state_parameter(x);
		result = es_prepared_call(&command->prepared, call, &isnull);
		if (!isnull)
			events = events_from_result(call, result, &count);
		if (events != NULL)
			append_events(x, events, count);
	}
}

/* Keep the state if it is time to; a failure to do so is nobody's problem but the log's. */
static void
keep_state(Execution *x)
{
	EsAttempt	attempt;

	if (x->aggregate->snapshot_every == 0 || x->fold->state_isnull || es_events_are_hidden(x->store) ||
		x->fold->version - x->fold->kept_version < x->aggregate->snapshot_every)
		return;

	es_attempt_begin(&attempt);
	PG_TRY();
	{
		es_snapshot_save(x->fold, x->store, x->stream_id);
		es_attempt_succeeded(&attempt);
	}
	PG_CATCH();
	{
		ErrorData  *error = es_attempt_failed(&attempt);

		/* a cancelled statement is to end */
		if (error->sqlerrcode == ERRCODE_QUERY_CANCELED)
			ReThrowError(error);
		ereport(LOG,
				(errmsg("could not keep the state of stream \"%s\": %s", text_to_cstring(x->stream), error->message)));
		FreeErrorData(error);
	}
	PG_END_TRY();
}

/*
 * Lock the aggregate's stream.  To find it locked is a failed attempt: another
 * command, or an append, was first.  The next one queues for the lock and
 * folds what the other has left, so it is the last.
 */
static void
lock_stream(Execution *x)
{
	uint64		key = es_stream_lock_key(x->stream);

	if (es_stream_lock_if_free(x->store, x->log, key))
		return;
	if (x->retries == 0)
		ereport(ERROR,
				(es_problem(ERRCODE_ES_TOO_MANY_ATTEMPTS, ES_MEMBERS(ES_TEXT("stream", text_to_cstring(x->stream))),
							"stream \"%s\" is in use by another command", text_to_cstring(x->stream)),
				 errhint("Dispatch the command again, or let it wait with retry_attempts above 0.")));
	es_count(ES_DISPATCH_RETRIES, 1);
	es_stream_lock(x->store, x->log, key);
}

/* Refuse a command that is not what its schema asks for. */
static void
check_schema(const Execution *x)
{
	Jsonb	   *errors;

	if (x->command->schema == NULL)
		return;
	errors = es_schema_validate(x->command->schema, x->body);
	if (JB_ROOT_COUNT(errors) > 0)
		ereport(ERROR,
				(es_problem(ERRCODE_ES_COMMAND_REJECTED,
							ES_MEMBERS(ES_TEXT("reason", "invalid_command"), ES_TEXT("command", x->command->prepared.name),
									   ES_JSON("errors", JsonbToCString(NULL, &errors->root, VARSIZE(errors)))),
							"command \"%s\" does not match its schema", x->command->prepared.name),
				 errhint("The errors say what is wrong, and where.")));
}

/* A hash of what is asked for, to tell a repeat from another command with the same id. */
static int64
request_hash(const Execution *x)
{
	uint64		hash = hash_bytes_extended((unsigned char *) x->command->prepared.name,
										   strlen(x->command->prepared.name) + 1, 0);

	return hash_bytes_extended((unsigned char *) VARDATA_ANY(x->asked), VARSIZE_ANY_EXHDR(x->asked), hash);
}

/* Execute a command whose arguments have been taken. */
static void
execute(Execution *x)
{
	/* a handler may itself dispatch */
	check_stack_depth();

	check_schema(x);
	set_command_parameter(x);
	x->id = identity_of(x);
	x->stream = es_aggregate_stream(x->aggregate, x->id);
	lock_stream(x);

	push_snapshot();
	x->repeated = x->given_id && es_command_recall(x->store, x->command_id, request_hash(x), &x->done);
	if (x->repeated)
	{
		EsBound		bound = es_unbounded;

		/* the answer says that it is done */
		es_hot_confirm_all();
		bound.version = x->done.version;
		if (x->returning_state)
			x->fold = es_rehydrate(x->aggregate, x->store, x->log, x->stream, &bound, &x->stream_id);
	}
	else
	{
		x->fold = es_rehydrate(x->aggregate, x->store, x->log, x->stream, &es_unbounded, &x->stream_id);
		if (!es_expected_met(x->expected, x->fold->version))
			es_expected_check(x->expected, x->fold->version, text_to_cstring(x->stream));
		x->done.version = x->fold->version;
		run_handlers(x);
		/* without events of its own it may have nothing to commit that comes after what it has read */
		if (x->fold->version == x->done.version)
			es_hot_confirm(x->store, x->log, x->stream_id, x->fold->version, GetActiveSnapshot());
		x->done.version = x->fold->version;
		if (x->given_id)
			es_command_remember(x->store, x->command_id, request_hash(x), &x->done);
		keep_state(x);
	}
	PopActiveSnapshot();
	CommandCounterIncrement();
}

/* execute with a time limit in ms: VE015 when it has passed, with nothing done. */
static void
execute_within(Execution *x, int64 timeout)
{
	EsAttempt	attempt;
	EsDeadline	deadline;

	es_attempt_begin(&attempt);
	es_deadline_begin(&deadline, timeout);
	PG_TRY();
	{
		execute(x);
		(void) es_deadline_end(&deadline);
		es_attempt_succeeded(&attempt);
	}
	PG_CATCH();
	{
		bool		passed = es_deadline_end(&deadline);
		ErrorData  *error = es_attempt_failed(&attempt);

		if (!passed || error->sqlerrcode != ERRCODE_QUERY_CANCELED)
			ReThrowError(error);
		ereport(ERROR,
				(es_problem(ERRCODE_ES_EXECUTION_TIMEOUT, ES_MEMBERS(ES_INT("timeout_ms", timeout)),
							"the command has taken longer than %lld ms", (long long) timeout),
				 errhint("Nothing of it was done. Dispatch it again, or with a longer timeout.")));
	}
	PG_END_TRY();
}

static void
execute_in_time(Execution *x, int64 timeout)
{
	if (timeout > 0)
		execute_within(x, timeout);
	else
		execute(x);
}

/* --- middleware --- */

/* The command as it enters the first stage. */
static Jsonb *
make_pipeline(const Execution *x)
{
	Jsonb	   *pipeline = es_pipeline_new();

	pipeline = es_pipeline_set_text(pipeline, "type", x->command->prepared.name);
	pipeline = es_pipeline_set_text(pipeline, "aggregate", x->command->aggregate);
	pipeline = es_pipeline_set(pipeline, "command", x->body);
	pipeline = es_pipeline_set_text(pipeline, "command_id", es_event_id_to_string(x->command_id));
	pipeline = es_pipeline_set_text(pipeline, "correlation_id", es_event_id_to_string(x->correlation_id));
	if (x->causation_id != NULL)
		pipeline = es_pipeline_set_text(pipeline, "causation_id", es_event_id_to_string(x->causation_id));
	pipeline = es_pipeline_set(pipeline, "metadata", x->metadata ? x->metadata : es_pipeline_new());
	return es_pipeline_set(pipeline, "assigns", es_pipeline_new());
}

/* What middleware has changed before the dispatch: the command and the metadata. */
static void
take_pipeline(Execution *x)
{
	Jsonb	   *command = es_pipeline_get(x->pipeline, "command");
	Jsonb	   *metadata = es_pipeline_get(x->pipeline, "metadata");

	if (command == NULL || !JB_ROOT_IS_OBJECT(command) || (metadata != NULL && !JB_ROOT_IS_OBJECT(metadata)))
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("command", x->command->prepared.name)),
							"middleware has left no object as the command or as its metadata"),
				 errhint("The members command and metadata of a pipeline are JSON objects.")));
	x->body = command;
	x->metadata = metadata != NULL && JB_ROOT_COUNT(metadata) > 0 ? metadata : NULL;
}

/* What came of the command, for the stage after it. */
static Jsonb *
result_for_pipeline(const Execution *x)
{
	Jsonb	   *result = es_pipeline_new();
	JsonbValue	repeated = {.type = jbvBool, .val.boolean = x->repeated};

	result = es_pipeline_set_text(result, "id", text_to_cstring(x->id));
	result = es_pipeline_set_number(result, "version", x->done.version);
	result = es_pipeline_set_number(result, "events", x->done.events);
	if (x->done.events > 0)
	{
		result = es_pipeline_set_number(result, "first_position", x->done.first_position);
		result = es_pipeline_set_number(result, "last_position", x->done.last_position);
	}
	return es_pipeline_set(result, "repeated", JsonbValueToJsonb(&repeated));
}

/* Execute a command, through the middleware before and after it. */
static void
execute_piped(Execution *x, int64 timeout)
{
	x->pipeline = es_middleware_run(x->middleware, ES_STAGE_BEFORE_DISPATCH, x->pipeline);
	take_pipeline(x);
	execute_in_time(x, timeout);
	x->pipeline = es_pipeline_set(x->pipeline, "result", result_for_pipeline(x));
	x->pipeline = es_middleware_run(x->middleware, ES_STAGE_AFTER_DISPATCH, x->pipeline);
}

/* Tell middleware of a failure; should that fail in its turn, the server's log tells. */
static void
tell_failure(Execution *x, const ErrorData *failure)
{
	EsFailure	f = {
		.sqlstate = failure->sqlerrcode, .message = failure->message, .detail = failure->detail, .hint = failure->hint
	};
	Jsonb	   *document = DatumGetJsonbP(es_document_jsonb(es_problem_from_failure(&f, NULL)));
	EsAttempt	attempt;

	es_attempt_begin(&attempt);
	PG_TRY();
	{
		/* a new one: of the one in use a function may have been interrupted */
		EsMiddleware *middleware = es_middleware_take(x->store, x->log);

		if (middleware != NULL)
		{
			(void) es_middleware_run(middleware, ES_STAGE_AFTER_FAILURE, es_pipeline_set(x->pipeline, "error", document));
			es_middleware_give(middleware);
		}
		es_attempt_succeeded(&attempt);
	}
	PG_CATCH();
	{
		ErrorData  *error = es_attempt_failed(&attempt);

		if (error->sqlerrcode == ERRCODE_QUERY_CANCELED)
			ReThrowError(error);
		ereport(LOG,
				(errmsg("middleware could not be told of a failure of command \"%s\": %s",
						x->command->prepared.name, error->message)));
		FreeErrorData(error);
	}
	PG_END_TRY();
}

/* execute_piped, whose failure middleware wants to see; the caller gets it as it is. */
static void
execute_watched(Execution *x, int64 timeout)
{
	EsAttempt	attempt;

	es_attempt_begin(&attempt);
	PG_TRY();
	{
		execute_piped(x, timeout);
		es_attempt_succeeded(&attempt);
	}
	PG_CATCH();
	{
		ErrorData  *error = es_attempt_failed(&attempt);

		/* a cancelled statement is to end */
		if (error->sqlerrcode != ERRCODE_QUERY_CANCELED)
			tell_failure(x, error);
		ReThrowError(error);
	}
	PG_END_TRY();
}

/* --- SQL --- */

/* A member of a rejection as members of its document. */
static const EsMember *
rejection_members(const char *reason, Jsonb *ext)
{
	EsMember   *members = palloc0(sizeof(EsMember) * (2 + (ext ? JB_ROOT_COUNT(ext) : 0)));
	int			n = 0;
	JsonbIterator *it;
	JsonbValue	value;
	JsonbIteratorToken token;

	members[n++] = (EsMember) ES_TEXT("reason", reason);
	if (ext == NULL)
		return members;
	it = JsonbIteratorInit(&ext->root);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			members[n].name = pnstrdup(value.val.string.val, value.val.string.len);
		else if (token == WJB_VALUE)
		{
			Jsonb	   *member = JsonbValueToJsonb(&value);

			members[n].json = true;
			members[n++].text = JsonbToCString(NULL, &member->root, VARSIZE(member));
		}
	}
	return members;
}

/* Refuse what cannot be had before the transaction commits. */
static void
check_consistency(Execution *x, const char *consistency)
{
	if (strcmp(consistency, "strong") != 0 && strcmp(consistency, "eventual") != 0)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("argument", "consistency")),
							"consistency \"%s\" is unknown", consistency),
				 errhint("Use eventual or strong.")));
	if (consistency[0] == 's' && es_strong_hook != NULL)
		es_strong_hook(x->store);
}

PG_FUNCTION_INFO_V1(event_store_dispatch);
PG_FUNCTION_INFO_V1(event_store_reject);

Datum
event_store_dispatch(PG_FUNCTION_ARGS)
{
	Execution	x = {0};
	TupleDesc	desc;
	Datum		values[RESULT_NFIELDS];
	bool		nulls[RESULT_NFIELDS] = {0};
	int64		timeout = 0;
	Jsonb	   *response = NULL;

	es_require_argument(fcinfo, 0, "type");
	es_require_argument(fcinfo, 1, "command");
	es_require_argument(fcinfo, 6, "expected");
	es_require_argument(fcinfo, 8, "retry_attempts");
	es_require_argument(fcinfo, 9, "returning_state");
	es_require_argument(fcinfo, 10, "consistency");
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	es_require_writable();

	x.asked = x.body = PG_GETARG_JSONB_P(1);
	if (!JB_ROOT_IS_OBJECT(x.body))
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("argument", "command")),
							"the command is not a JSON object"),
				 errhint("A command is an object with the members that its handler reads.")));
	x.given_id = !PG_ARGISNULL(2);
	x.command_id = x.given_id ? PG_GETARG_UUID_P(2) : random_uuid();
	x.correlation_id = PG_ARGISNULL(3) ? random_uuid() : PG_GETARG_UUID_P(3);
	x.causation_id = PG_ARGISNULL(4) ? NULL : PG_GETARG_UUID_P(4);
	x.metadata = PG_ARGISNULL(5) ? NULL : PG_GETARG_JSONB_P(5);
	if (x.metadata != NULL && !JB_ROOT_IS_OBJECT(x.metadata))
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("argument", "metadata")),
							"the metadata is not a JSON object"),
				 errhint("Pass an object, whose members every event of the command gets, or null.")));
	x.expected = PG_GETARG_INT64(6);
	x.retries = PG_GETARG_INT32(8);
	if (x.retries < 0)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("argument", "retry_attempts")),
							"retry_attempts is negative"),
				 errhint("Pass 0 to give up at once when another command is at the same aggregate.")));
	x.returning_state = PG_GETARG_BOOL(9);
	if (!PG_ARGISNULL(7) && (timeout = es_interval_ms(PG_GETARG_INTERVAL_P(7))) <= 0)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("argument", "timeout")),
							"timeout is not positive"),
				 errhint("Pass null for the time that the command was registered with.")));

	x.log = es_store_open_log(&x.store, AccessShareLock, ACL_SELECT);
	check_consistency(&x, text_to_cstring(PG_GETARG_TEXT_PP(10)));
	x.command = es_command_take(text_to_cstring(PG_GETARG_TEXT_PP(0)), x.store, x.log);
	x.aggregate = es_aggregate_take(x.command->aggregate, x.store, x.log);
	if (x.aggregate->state_type != x.command->state_type)
		ereport(ERROR,
				(es_problem(ERRCODE_DATATYPE_MISMATCH,
							ES_MEMBERS(ES_TEXT("command", x.command->prepared.name), ES_TEXT("aggregate", x.command->aggregate)),
							"the handler of command \"%s\" takes a state of type %s, aggregate \"%s\" has one of type %s",
							x.command->prepared.name, format_type_be(x.command->state_type), x.command->aggregate,
							format_type_be(x.aggregate->state_type)),
				 errhint("Register the command again with a handler for the aggregate as it is now.")));
	if (timeout == 0)
		timeout = x.command->timeout;

	x.middleware = es_middleware_take(x.store, x.log);
	if (x.middleware != NULL)
	{
		x.pipeline = make_pipeline(&x);
		if (x.middleware->stages[ES_STAGE_AFTER_FAILURE] != NIL)
			execute_watched(&x, timeout);
		else
			execute_piped(&x, timeout);
		es_middleware_give(x.middleware);
		response = es_pipeline_get(x.pipeline, "response");
	}
	else
		execute_in_time(&x, timeout);

	nulls[RESULT_RESPONSE] = response == NULL;
	nulls[RESULT_FIRST_POSITION] = nulls[RESULT_LAST_POSITION] = x.done.events == 0;
	nulls[RESULT_STATE] = !x.returning_state || x.fold->state_isnull;
	values[RESULT_AGGREGATE] = CStringGetTextDatum(x.command->aggregate);
	values[RESULT_ID] = PointerGetDatum(x.id);
	values[RESULT_VERSION] = Int64GetDatum(x.done.version);
	values[RESULT_EVENTS] = Int64GetDatum(x.done.events);
	values[RESULT_FIRST_POSITION] = Int64GetDatum(x.done.first_position);
	values[RESULT_LAST_POSITION] = Int64GetDatum(x.done.last_position);
	if (!nulls[RESULT_STATE])
		values[RESULT_STATE] = JsonbPGetDatum(es_state_to_jsonb(x.aggregate, x.fold->state));
	values[RESULT_COMMAND_ID] = UUIDPGetDatum(x.command_id);
	values[RESULT_CORRELATION_ID] = UUIDPGetDatum(x.correlation_id);
	values[RESULT_REPEATED] = BoolGetDatum(x.repeated);
	values[RESULT_RESPONSE] = JsonbPGetDatum(response);

	if (x.fold != NULL)
		es_fold_end(x.fold);
	es_aggregate_give(x.aggregate);
	es_command_give(x.command);
	table_close(x.log, NoLock);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, values, nulls)));
}

Datum
event_store_reject(PG_FUNCTION_ARGS)
{
	char	   *reason;
	char	   *detail;
	Jsonb	   *ext = PG_ARGISNULL(2) ? NULL : PG_GETARG_JSONB_P(2);

	es_require_argument(fcinfo, 0, "reason");
	reason = text_to_cstring(PG_GETARG_TEXT_PP(0));
	detail = PG_ARGISNULL(1) ? reason : text_to_cstring(PG_GETARG_TEXT_PP(1));
	if (ext != NULL && !JB_ROOT_IS_OBJECT(ext))
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("argument", "ext")), "ext is not a JSON object"),
				 errhint("Pass an object, whose members become members of the problem document, or null.")));
	ereport(ERROR,
			(es_problem(ERRCODE_ES_COMMAND_REJECTED, rejection_members(reason, ext), "%s", detail),
			 errhint("The command cannot be executed in the state that its aggregate is in.")));
	PG_RETURN_VOID();
}
