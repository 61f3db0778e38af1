/*
 * expected.c
 *		The version that a stream is expected to be at: the type, the check.
 *
 * As a type of its own, with implicit casts from integers and text,
 * one signature takes a number, a word, an untyped literal and an untyped
 * parameter (doc/decisions.md tells why overloads cannot).
 */
#include "postgres.h"

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "libpq/pqformat.h"
#include "utils/builtins.h"

#include "base/errors.h"
#include "log/expected.h"

static const struct
{
	const char *name;
	int64		value;
}			words[] = {
	{"any", ES_EXPECTED_ANY},
	{"no_stream", ES_EXPECTED_NO_STREAM},
	{"exists", ES_EXPECTED_EXISTS},
};

/* Is a stream at version `actual` (0: none) as expected? */
bool
es_expected_met(int64 expected, int64 actual)
{
	switch (expected)
	{
		case ES_EXPECTED_ANY:
			return true;
		case ES_EXPECTED_NO_STREAM:
			return actual == 0;
		case ES_EXPECTED_EXISTS:
			return actual > 0;
		default:
			return actual == expected;
	}
}

/* The SQLSTATE of a stream that is not as expected. */
int
es_expected_sqlstate(int64 expected)
{
	return expected == ES_EXPECTED_NO_STREAM ? ERRCODE_ES_STREAM_EXISTS :
		expected == ES_EXPECTED_EXISTS ? ERRCODE_ES_STREAM_NOT_FOUND : ERRCODE_ES_WRONG_EXPECTED_VERSION;
}

/* Raise it if a stream is not as expected. */
void
es_expected_check(int64 expected, int64 actual, const char *stream)
{
	if (es_expected_met(expected, actual))
		return;

	if (expected == ES_EXPECTED_NO_STREAM)
		ereport(ERROR,
				(es_problem(ERRCODE_ES_STREAM_EXISTS,
							ES_MEMBERS(ES_TEXT("stream", stream), ES_TEXT("expected", "no_stream"), ES_INT("actual", actual)),
							"stream \"%s\" already exists, at version %lld", stream, (long long) actual),
				 errhint("Read the stream and decide again, or append with the version it is at.")));
	if (expected == ES_EXPECTED_EXISTS)
		ereport(ERROR,
				(es_problem(ERRCODE_ES_STREAM_NOT_FOUND,
							ES_MEMBERS(ES_TEXT("stream", stream), ES_TEXT("expected", "exists"), ES_INT("actual", actual)),
							"stream \"%s\" does not exist", stream),
				 errhint("Check its name, or append with expected => 'no_stream' to begin it.")));
	ereport(ERROR,
			(es_problem(ERRCODE_ES_WRONG_EXPECTED_VERSION,
						ES_MEMBERS(ES_TEXT("stream", stream), ES_INT("expected", expected), ES_INT("actual", actual)),
						"stream \"%s\" is at version %lld, not at the expected version %lld",
						stream, (long long) actual, (long long) expected),
			 errhint("Somebody else has appended meanwhile: read the stream again and decide on what it says now.")));
}

int64
es_expected_from_number(int64 number)
{
	if (number < 0)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_INT("expected", number)),
							"expected version %lld is negative", (long long) number),
				 errhint("Versions begin at 1; 0 means that there is no such stream. Words: any, no_stream, exists.")));
	return number;
}

int64
es_expected_from_string(const char *string)
{
	char	   *end;
	int64		number;

	for (int i = 0; i < lengthof(words); i++)
		if (strcmp(string, words[i].name) == 0)
			return words[i].value;

	errno = 0;
	number = strtoll(string, &end, 10);
	if (end == string || *end != '\0')
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("expected", string)),
							"expected version \"%s\" is neither a version nor a known word", string),
				 errhint("Use a number, any, no_stream or exists.")));
	if (errno == ERANGE)
		ereport(ERROR,
				(es_problem(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE, ES_MEMBERS(ES_TEXT("expected", string)),
							"expected version \"%s\" is out of range", string),
				 errhint("Versions are of type bigint.")));
	return es_expected_from_number(number);
}

char *
es_expected_to_string(int64 expected)
{
	for (int i = 0; i < lengthof(words); i++)
		if (expected == words[i].value)
			return pstrdup(words[i].name);
	return psprintf(INT64_FORMAT, expected);
}

PG_FUNCTION_INFO_V1(event_store_expected_in);
PG_FUNCTION_INFO_V1(event_store_expected_out);
PG_FUNCTION_INFO_V1(event_store_expected_recv);
PG_FUNCTION_INFO_V1(event_store_expected_send);
PG_FUNCTION_INFO_V1(event_store_expected_from_int2);
PG_FUNCTION_INFO_V1(event_store_expected_from_int4);
PG_FUNCTION_INFO_V1(event_store_expected_from_int8);
PG_FUNCTION_INFO_V1(event_store_expected_from_text);

Datum
event_store_expected_in(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(es_expected_from_string(PG_GETARG_CSTRING(0)));
}

Datum
event_store_expected_out(PG_FUNCTION_ARGS)
{
	PG_RETURN_CSTRING(es_expected_to_string(PG_GETARG_INT64(0)));
}

/* The binary form is the text form, as with enums. */
Datum
event_store_expected_recv(PG_FUNCTION_ARGS)
{
	StringInfo	message = (StringInfo) PG_GETARG_POINTER(0);
	int			length;

	PG_RETURN_INT64(es_expected_from_string(pq_getmsgtext(message, message->len - message->cursor, &length)));
}

Datum
event_store_expected_send(PG_FUNCTION_ARGS)
{
	char	   *string = es_expected_to_string(PG_GETARG_INT64(0));
	StringInfoData message;

	pq_begintypsend(&message);
	pq_sendtext(&message, string, strlen(string));
	PG_RETURN_BYTEA_P(pq_endtypsend(&message));
}

Datum
event_store_expected_from_int2(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(es_expected_from_number(PG_GETARG_INT16(0)));
}

Datum
event_store_expected_from_int4(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(es_expected_from_number(PG_GETARG_INT32(0)));
}

Datum
event_store_expected_from_int8(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(es_expected_from_number(PG_GETARG_INT64(0)));
}

Datum
event_store_expected_from_text(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(es_expected_from_string(text_to_cstring(PG_GETARG_TEXT_PP(0))));
}
