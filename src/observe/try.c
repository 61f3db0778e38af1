/*
 * try.c
 *		try(): a statement whose failure is an answer, not an error.
 *
 * The query runs as the caller, in a subtransaction that is undone if it
 * fails.  As in an EXCEPTION block of PL/pgSQL for OTHERS, a cancelled
 * statement and a failed assertion are not caught: whoever cancels wants it
 * to end.  Everything that can fail because of the query (parsing, converting
 * parameters, rendering rows) happens inside of the subtransaction.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "base/arguments.h"
#include "base/attempt.h"
#include "base/parameters.h"
#include "base/settings.h"
#include "observe/problem.h"
#include "observe/try.h"

/* The rows that the last statement has returned, as a JSON array. */
static void
append_rows(StringInfo out)
{
	TupleDesc	desc;

	appendStringInfoChar(out, '[');
	if (SPI_tuptable != NULL)
	{
		desc = BlessTupleDesc(SPI_tuptable->tupdesc);
		for (uint64 i = 0; i < SPI_tuptable->numvals; i++)
		{
			Datum		row = heap_copy_tuple_as_datum(SPI_tuptable->vals[i], desc);
			Datum		json = DirectFunctionCall1(row_to_json, row);

			CHECK_FOR_INTERRUPTS();
			if (i > 0)
				appendStringInfoChar(out, ',');
			appendBinaryStringInfo(out, VARDATA_ANY(DatumGetPointer(json)), VARSIZE_ANY_EXHDR(DatumGetPointer(json)));
			pfree(DatumGetPointer(json));
			pfree(DatumGetPointer(row));
		}
	}
	appendStringInfoChar(out, ']');
}

/* Run the query and return what it answers, in memory of the caller's SPI level. */
static Datum
run(const char *query, EsParameters *p)
{
	int			status;
	StringInfoData out;
	Datum		result;

	es_parameters_resolve(query, p);

	SPI_connect();
	status = es_parameters_execute(query, p);
	if (status < 0)
		ereport(ERROR,
				(es_problem(ERRCODE_FEATURE_NOT_SUPPORTED, NULL, "try cannot run a statement of this kind: %s",
							SPI_result_code_string(status)),
				 errhint("Transactions cannot be begun or ended and data cannot be copied inside of it.")));
	initStringInfo(&out);
	appendStringInfo(&out, "{\"ok\":");
	append_rows(&out);
	appendStringInfo(&out, ",\"rows\":" UINT64_FORMAT "}", SPI_processed);
	result = es_document_jsonb(out.data);
	result = SPI_datumTransfer(result, false, -1);
	SPI_finish();
	return result;
}

/* The problem of an error that was caught, and its line in the log if it is to have one; query may be NULL. */
Datum
es_try_answer(const ErrorData *error, const char *query)
{
	char		instance[ES_INSTANCE_SIZE];
	bool		logged;
	char	   *document;
	EsFailure	failure = es_failure_of(error);

	failure.query = query;

	/* chosen when it was raised, or, if it is the server's, now */
	if (es_last_problem_is_logged(error->detail))
	{
		logged = true;
		document = es_problem_from_failure(&failure, NULL);
	}
	else
	{
		logged = error->detail == NULL || es_last_problem()->document == NULL ||
			strcmp(error->detail, es_last_problem()->document) != 0;
		logged = logged && es_problem_sample(instance);
		document = es_problem_from_failure(&failure, logged ? instance : NULL);
	}
	es_document_remember(error->sqlerrcode, document, logged ? document : NULL);
	if (logged)
		ereport(LOG_SERVER_ONLY,
				(errcode(error->sqlerrcode),
				 errmsg_internal("%s has answered with a problem: %s", query != NULL ? "try" : "a function", error->message),
				 errdetail_internal("%s", document),
				 query != NULL ? internalerrquery(query) : 0));
	return es_document_jsonb(document);
}

/*
 * Run the query; returns a document, {"ok": [row, ...], "rows": number} or,
 * with *failed set, a problem.
 */
Datum
es_try(const char *query, EsParameters *p, bool *failed)
{
	EsAttempt	attempt;
	volatile Datum result = (Datum) 0;
	ErrorData  *volatile error = NULL;

	es_attempt_begin(&attempt);
	PG_TRY();
	{
		result = run(query, p);
		es_attempt_succeeded(&attempt);
	}
	PG_CATCH();
	{
		error = es_attempt_failed(&attempt);
	}
	PG_END_TRY();

	*failed = error != NULL;
	if (error == NULL)
		return result;
	if (error->sqlerrcode == ERRCODE_QUERY_CANCELED || error->sqlerrcode == ERRCODE_ASSERT_FAILURE)
		ReThrowError(error);
	return es_try_answer(error, query);
}

PG_FUNCTION_INFO_V1(event_store_try);

/* try(query, VARIADIC params) */
Datum
event_store_try(PG_FUNCTION_ARGS)
{
	EsParameters p;
	bool		failed;

	es_require_argument(fcinfo, 0, "query");
	es_parameters_get(fcinfo, 1, &p);
	PG_RETURN_DATUM(es_try(text_to_cstring(PG_GETARG_TEXT_PP(0)), &p, &failed));
}
