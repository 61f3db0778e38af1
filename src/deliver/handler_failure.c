/*
 * handler_failure.c
 *		What becomes of an event that a handler fails on.
 *
 * It is tried again, later and later, until it has failed as often as the
 * handler allows; then it is put aside with its problem document, passed, or
 * the handler stops.  The error function may decide otherwise.
 */
#include "postgres.h"

#include "access/table.h"
#include "common/pg_prng.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/timestamp.h"

#include "base/arguments.h"
#include "base/attempt.h"
#include "base/errors.h"
#include "deliver/handler_use.h"
#include "observe/problem.h"

#define MAX_BACKOFF		(INT64CONST(24) * 3600 * 1000)	/* ms */

/* Does the event have nothing to do with an error? */
bool
es_handler_blameless(int sqlstate)
{
	switch (ERRCODE_TO_CATEGORY(sqlstate))
	{
		case MAKE_SQLSTATE('4', '0', '0', '0', '0'):	/* transaction rollback */
		case MAKE_SQLSTATE('5', '3', '0', '0', '0'):	/* insufficient resources */
		case MAKE_SQLSTATE('5', '7', '0', '0', '0'):	/* operator intervention */
		case MAKE_SQLSTATE('5', '8', '0', '0', '0'):	/* system error */
			return true;
		default:
			return false;
	}
}

/* The problem document of an error, with what it befell. */
Jsonb *
es_handler_problem(const char *name, const ErrorData *error, int64 position, int attempts)
{
	EsFailure	failure = es_failure_of(error);
	StringInfoData members;

	failure.query = error->internalquery;
	initStringInfo(&members);
	appendStringInfoString(&members, "{\"handler\":");
	escape_json(&members, name);
	appendStringInfo(&members, ",\"position\":" INT64_FORMAT ",\"attempts\":%d,\"sqlstate\":\"%s\",\"message\":", position, attempts,
					 unpack_sql_state(error->sqlerrcode));
	/* whoever operates handlers has to know, whatever callers are told */
	escape_json(&members, es_problem_cut(error->message != NULL ? error->message : ""));
	appendStringInfoChar(&members, '}');
	return DatumGetJsonbP(DirectFunctionCall2(jsonb_concat, es_document_jsonb(es_problem_from_failure(&failure, NULL)),
											  es_document_jsonb(members.data)));
}

/* failures squared, in the unit of the handler, and up to one unit at random; in ms */
static int64
backoff(const EsHandler *handler, int failures)
{
	double		delay = (double) handler->backoff * failures * failures +
		pg_prng_double(&pg_global_prng_state) * handler->backoff;

	return (int64) Min(delay, (double) MAX_BACKOFF);
}

/* What the error function says: a verdict, and for a retry perhaps a delay in ms. */
static bool
read_verdict(const char *said, EsVerdict *verdict, int64 *delay)
{
	if (strcmp(said, "park") == 0)
		*verdict = ES_VERDICT_PARK;
	else if (strcmp(said, "skip") == 0)
		*verdict = ES_VERDICT_SKIP;
	else if (strcmp(said, "stop") == 0)
		*verdict = ES_VERDICT_STOP;
	else if (strncmp(said, "retry", 5) == 0 && (said[5] == '\0' || said[5] == ' '))
	{
		*verdict = ES_VERDICT_RETRY;
		if (said[5] == ' ')
			*delay = Max(es_interval_ms(DatumGetIntervalP(DirectFunctionCall3(interval_in, CStringGetDatum(said + 6),
																			  ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)))), 0);
	}
	else
		return false;
	return true;
}

/* Ask the error function; what it cannot answer is left as it is. */
static void
ask_error_function(EsHandler *handler, const EsHandled *event, Jsonb *problem, EsVerdict *verdict, int64 *delay)
{
	EsAttempt	attempt;

	es_attempt_begin(&attempt);
	PG_TRY();
	{
		Datum		result;
		bool		isnull;

		es_handler_set_event(handler, event);
		es_handler_set_parameter(handler, ES_PARAM_PROBLEM, JsonbPGetDatum(problem));
		result = es_prepared_call(&handler->prepared, handler->error_function, &isnull);
		if (!isnull && !read_verdict(TextDatumGetCString(result), verdict, delay))
			ereport(ERROR,
					(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("handler", handler->prepared.name)),
								"the error function of handler \"%s\" said \"%s\"", handler->prepared.name,
								TextDatumGetCString(result)),
					 errhint("It must return retry, retry with an interval, park, skip, stop or null.")));
		es_attempt_succeeded(&attempt);
	}
	PG_CATCH();
	{
		ErrorData  *error = es_attempt_failed(&attempt);

		if (es_handler_blameless(error->sqlerrcode))
			ReThrowError(error);
		ereport(LOG,
				(errmsg("the error function of handler \"%s\" has failed: %s", handler->prepared.name, error->message)));
		FreeErrorData(error);
	}
	PG_END_TRY();
}

/*
 * Decide what becomes of an event that has failed, and note it in the state;
 * tells whether the handler has got over it.
 */
bool
es_handler_judge(EsHandlerUse *use, EsHandlerState *state, const EsHandled *event, const ErrorData *error)
{
	EsHandler  *handler = use->handler;
	EsVerdict	verdict;
	int64		delay;

	state->failures = state->failed_position == event->position ? state->failures + 1 : 1;
	state->failed_position = event->position;
	state->problem = es_handler_problem(handler->prepared.name, error, event->position, state->failures);
	delay = backoff(handler, state->failures);
	verdict = state->failures < handler->max_attempts ? ES_VERDICT_RETRY : handler->on_exhausted;

	/* a rebuild does not wait: what cannot be handled is passed, or stops it */
	if (state->partition < 0)
		verdict = handler->on_exhausted == ES_VERDICT_STOP ? ES_VERDICT_STOP : ES_VERDICT_SKIP;
	else if (handler->error_function != NULL && handler->kind != ES_HANDLER_PROCESS)
		ask_error_function(handler, event, state->problem, &verdict, &delay);
	if (verdict == ES_VERDICT_RETRY && state->failures >= handler->max_attempts)
		verdict = handler->on_exhausted;

	switch (verdict)
	{
		case ES_VERDICT_RETRY:
			state->retry_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), delay);
			return false;
		case ES_VERDICT_STOP:
			state->runs = ES_HANDLER_STOPPED;
			state->retry_at = 0;
			ereport(LOG,
					(errmsg("handler \"%s\" has stopped at position %lld: %s", handler->prepared.name,
							(long long) event->position, error->message)));
			return false;
		case ES_VERDICT_PARK:
			{
				EsParked	parked = {
					.position = event->position,
					.partition = state->partition,
					.attempts = state->failures,
					.problem = state->problem
				};
				Relation	rel = es_parked_open(use->store, RowExclusiveLock);

				if (rel == NULL)
					elog(ERROR, "table event_parked of event store \"%s\" is missing", NameStr(use->store->schema));
				es_parked_write(rel, handler->prepared.name, &parked);
				table_close(rel, NoLock);
				state->parked++;
				break;
			}
		case ES_VERDICT_SKIP:
			state->skipped++;
			break;
	}
	state->failures = 0;
	state->failed_position = 0;
	state->retry_at = 0;
	return true;
}
