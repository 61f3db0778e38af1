/*
 * errors.c
 *		The one way to raise an error: a problem document (RFC 9457) in ereport.
 *
 * Every user-visible error of this extension is raised as
 *
 *		ereport(ERROR,
 *				(es_problem(SQLSTATE, members, "message", ...),
 *				 errhint("What to do.")));
 *
 * so that MESSAGE is one readable line, DETAIL the problem document as compact
 * JSON, which every driver hands on, and HINT the advice.  The table below is
 * the only place that ties an SQLSTATE to its type, title and HTTP status.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/json.h"

#include "base/errors.h"

static const EsProblemType problem_types[] = {
	{ERRCODE_ES_WRONG_EXPECTED_VERSION, "wrong-expected-version", "Wrong Expected Version", 409},
	{ERRCODE_ES_STREAM_EXISTS, "stream-exists", "Stream Exists", 409},
	{ERRCODE_ES_STREAM_NOT_FOUND, "stream-not-found", "Stream Not Found", 404},
	{ERRCODE_ES_STREAM_DELETED, "stream-deleted", "Stream Deleted", 410},
	{ERRCODE_ES_DUPLICATE_EVENT, "duplicate-event", "Duplicate Event", 409},
	{ERRCODE_ES_STORE_NOT_FOUND, "store-not-found", "Store Not Found", 404},
	{ERRCODE_ES_INVALID_METRIC, "invalid-metric", "Invalid Metric", 422},
	{ERRCODE_INVALID_PARAMETER_VALUE, NULL, "Bad Request", 400},
	{ERRCODE_NULL_VALUE_NOT_ALLOWED, NULL, "Bad Request", 400},
	{ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE, NULL, "Bad Request", 400},
	{ERRCODE_NAME_TOO_LONG, NULL, "Bad Request", 400},
	{ERRCODE_RESERVED_NAME, NULL, "Bad Request", 400},
	{ERRCODE_DATATYPE_MISMATCH, NULL, "Bad Request", 400},
	{ERRCODE_INSUFFICIENT_PRIVILEGE, NULL, "Forbidden", 403},
	{ERRCODE_UNDEFINED_OBJECT, NULL, "Not Found", 404},
	{ERRCODE_UNDEFINED_FUNCTION, NULL, "Not Found", 404},
	{ERRCODE_READ_ONLY_SQL_TRANSACTION, NULL, "Method Not Allowed", 405},
	{ERRCODE_ACTIVE_SQL_TRANSACTION, NULL, "Conflict", 409},
	{ERRCODE_T_R_SERIALIZATION_FAILURE, NULL, "Conflict", 409},
	{ERRCODE_DUPLICATE_OBJECT, NULL, "Conflict", 409},
	{ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, NULL, "Conflict", 409},
	{ERRCODE_PROGRAM_LIMIT_EXCEEDED, NULL, "Content Too Large", 413},
	{ERRCODE_CONFIGURATION_LIMIT_EXCEEDED, NULL, "Too Many Requests", 429},
	{ERRCODE_INTERNAL_ERROR, NULL, "Internal Server Error", 500},
	{ERRCODE_DATA_CORRUPTED, NULL, "Internal Server Error", 500},
	{ERRCODE_IO_ERROR, NULL, "Internal Server Error", 500},
	{ERRCODE_FEATURE_NOT_SUPPORTED, NULL, "Not Implemented", 501},
};

/* The catalogue: our own problem types first, then the core codes we raise. */
const EsProblemType *
es_problem_types(int *count)
{
	*count = lengthof(problem_types);
	return problem_types;
}

/* The URI of a problem type, palloc'd. */
char *
es_problem_type_uri(const EsProblemType *type)
{
	if (type->name == NULL)
		return pstrdup("about:blank");
	return psprintf("urn:event-store:problem:%s", type->name);
}

static const EsProblemType *
find_type(int sqlstate)
{
	static const EsProblemType unknown = {0, NULL, "Internal Server Error", 500};

	for (int i = 0; i < lengthof(problem_types); i++)
		if (problem_types[i].sqlstate == sqlstate)
			return &problem_types[i];
	return &unknown;
}

/*
 * Set SQLSTATE, message and detail of the error being raised; for use among
 * the arguments of ereport.  members ends with a NULL name and may itself be
 * NULL.  The result means nothing, as with errmsg.
 */
int
es_problem(int sqlstate, const EsMember *members, const char *fmt,...)
{
	const EsProblemType *type = find_type(sqlstate);
	int			save_errno = errno;
	StringInfoData message;
	StringInfoData document;

	initStringInfo(&message);
	for (;;)
	{
		va_list		args;
		int			needed;

		errno = save_errno;
		va_start(args, fmt);
		needed = appendStringInfoVA(&message, fmt, args);
		va_end(args);
		if (needed == 0)
			break;
		enlargeStringInfo(&message, needed);
	}

	initStringInfo(&document);
	appendStringInfoString(&document, "{\"type\":");
	escape_json(&document, es_problem_type_uri(type));
	appendStringInfoString(&document, ",\"title\":");
	escape_json(&document, type->title);
	appendStringInfo(&document, ",\"status\":%d,\"detail\":", type->status);
	escape_json(&document, message.data);
	for (const EsMember *m = members; m != NULL && m->name != NULL; m++)
	{
		appendStringInfoChar(&document, ',');
		escape_json(&document, m->name);
		appendStringInfoChar(&document, ':');
		if (m->text != NULL)
			escape_json(&document, m->text);
		else
			appendStringInfo(&document, INT64_FORMAT, m->number);
	}
	appendStringInfoChar(&document, '}');

	/* the message is one line, whatever a name in it holds; the document is exact */
	for (char *c = message.data; *c; c++)
		if ((unsigned char) *c < ' ')
			*c = ' ';

	errcode(sqlstate);
	errmsg_internal("%s", message.data);
	errdetail_internal("%s", document.data);
	return 0;
}
