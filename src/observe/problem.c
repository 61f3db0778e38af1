/*
 * problem.c
 *		Problem documents: made, raised, made from errors, and as HTTP headers.
 *
 * A document that a caller hands in is checked before anything is done with
 * it.  One that is found in the DETAIL of an error is read as RFC 9457 wants
 * of a consumer: standard members of a wrong type are passed over.
 *
 * What a document says of an error of the server is for strangers: unless
 * event_store.problem_debug is on, it names nothing of the schema.  The
 * server's message is repeated only where it speaks of values (class 22) or
 * comes from RAISE.
 */
#include "postgres.h"

#include <math.h>

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/json.h"

#include "base/arguments.h"
#include "base/attempt.h"
#include "base/settings.h"
#include "observe/problem.h"
#include "observe/problem_type.h"

#define DEFAULT_STATUS	500		/* of a problem of which nothing is known */

/* A problem while its document is put together. */
typedef struct Problem
{
	const EsProblemType *kind;	/* NULL: not in the catalogue */
	EsDocument	document;
	StringInfoData members;
	bool		has_retryable;
	bool		has_retry_after;
} Problem;

static void
init_problem(Problem *p)
{
	memset(p, 0, sizeof(Problem));
	initStringInfo(&p->members);
}

/* ---- parts of a document ---- */

/* Refuse a member; container says where it stands, as "#" or "#/ext". */
static void
raise_bad_member(const char *container, const char *name, const char *what, const char *hint)
{
	ereport(ERROR,
			(es_problem(ERRCODE_INVALID_PARAMETER_VALUE,
						ES_MEMBERS(ES_TEXT("member", name), ES_TEXT("pointer", es_json_pointer(container, name))),
						"member \"%s\" of the problem %s", name, what),
			 errhint("%s", hint)));
}

static int
check_status(const char *container, double status)
{
	if (!(status >= 100 && status <= 599 && floor(status) == status))
		raise_bad_member(container, "status", "is not an HTTP status", "A status is a whole number from 100 to 599.");
	return (int) status;
}

static const char *
check_uri_reference(const char *container, const char *name, const char *uri)
{
	if (!es_is_uri_reference(uri))
		raise_bad_member(container, name, "is not a URI reference",
						 "Write an absolute URI, or a path as /orders/7, with other characters as %XX.");
	return uri;
}

/* Append an extension member. */
static void
add_member(Problem *p, const char *name, JsonbValue *value)
{
	appendStringInfoChar(&p->members, ',');
	escape_json(&p->members, name);
	appendStringInfoChar(&p->members, ':');
	switch (value->type)
	{
		case jbvNull:
			appendStringInfoString(&p->members, "null");
			break;
		case jbvBool:
			appendStringInfoString(&p->members, value->val.boolean ? "true" : "false");
			break;
		case jbvNumeric:
			appendStringInfoString(&p->members,
								   DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric))));
			break;
		case jbvString:
			escape_json(&p->members, pnstrdup(value->val.string.val, value->val.string.len));
			break;
		default:
			(void) JsonbToCString(&p->members, value->val.binary.data, value->val.binary.len);
	}
	if (strcmp(name, "retryable") == 0)
		p->has_retryable = true;
	else if (strcmp(name, "retry_after") == 0)
		p->has_retry_after = true;
}

static void
add_text_member(Problem *p, const char *name, const char *value)
{
	if (value == NULL)
		return;
	appendStringInfo(&p->members, ",\"%s\":", name);
	escape_json(&p->members, es_problem_cut(value));
}

static char *
string_of(JsonbValue *value)
{
	return value->type == jbvString ? pnstrdup(value->val.string.val, value->val.string.len) : NULL;
}

static double
number_of(JsonbValue *value)
{
	if (value->type != jbvNumeric)
		return -1;
	return strtod(DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric))), NULL);
}

/*
 * Take a standard member from JSON; false if it is none.  If it is wrong, an
 * error is raised, or it is passed over if the document is somebody else's.
 */
static bool
take_standard_member(Problem *p, const char *name, JsonbValue *value, bool foreign)
{
	const char **place;
	char	   *text;

	if (!es_is_reserved_member(name))
		return false;
	if (value->type == jbvNull)
		return true;
	if (strcmp(name, "status") == 0)
	{
		double		status = number_of(value);

		if (!foreign || (status >= 100 && status <= 599 && floor(status) == status))
			p->document.status = check_status("#", status);
		return true;
	}

	place = strcmp(name, "type") == 0 ? &p->document.type :
		strcmp(name, "title") == 0 ? &p->document.title :
		strcmp(name, "detail") == 0 ? &p->document.detail : &p->document.instance;
	text = string_of(value);
	if (text == NULL)
	{
		if (!foreign)
			raise_bad_member("#", name, "is not a string", "Of the standard members, status is a number and all others are strings.");
		return true;
	}
	if ((place == &p->document.type || place == &p->document.instance) && !es_is_uri_reference(text))
	{
		if (!foreign)
			(void) check_uri_reference("#", name, text);
		return true;
	}
	*place = text;
	return true;
}

/*
 * Take all members of an object: of a document, or of its extension, where
 * standard members are refused.
 */
static void
take_members(Problem *p, Jsonb *object, bool extension, bool foreign)
{
	JsonbIterator *iterator = JsonbIteratorInit(&object->root);
	JsonbValue	value;
	JsonbIteratorToken token;
	const char *container = extension ? "#/ext" : "#";

	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		char	   *name;

		if (token != WJB_KEY)
			continue;
		name = pnstrdup(value.val.string.val, value.val.string.len);
		(void) JsonbIteratorNext(&iterator, &value, true);
		if (extension && es_is_reserved_member(name))
			raise_bad_member(container, name, "is not an extension member", "Pass standard members as arguments of their own.");
		if (!extension && take_standard_member(p, name, &value, foreign))
			continue;
		if (!foreign && !es_is_member_name(name))
			raise_bad_member(container, name, "has a name that extension members cannot have",
							 "A name begins with a letter and has letters, digits and underscores, at least three of them.");
		add_member(p, name, &value);
	}
}

/* Fill in what the type says and the caller has not; cut what is too long. */
static void
complete(Problem *p)
{
	EsDocument *d = &p->document;

	if (d->type == NULL)
		d->type = ES_URI_NONE;
	if (p->kind == NULL)
		p->kind = es_type_of_uri(d->type);
	if (p->kind != NULL)
	{
		if (d->title == NULL)
			d->title = es_type_title(p->kind, NULL);
		if (d->status == 0)
			d->status = p->kind->status;
		if (p->kind->retryable && !p->has_retryable)
			appendStringInfoString(&p->members, ",\"retryable\":true");
		if (p->kind->retry_after > 0 && !p->has_retry_after)
			appendStringInfo(&p->members, ",\"retry_after\":%d", p->kind->retry_after);
	}
	else if (strcmp(d->type, ES_URI_NONE) == 0)
	{
		if (d->status == 0)
			d->status = DEFAULT_STATUS;
		if (d->title == NULL)
			d->title = es_http_phrase(d->status);
	}
	if (d->detail != NULL)
		d->detail = es_problem_cut(d->detail);
	d->members = p->members.data;
}

/* A document that we have made, as jsonb. */
Datum
es_document_jsonb(const char *document)
{
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(document));
}

/* The problem that a caller hands in, completed, and checked unless it may be somebody else's. */
static void
read_problem(Problem *p, Jsonb *problem, bool foreign)
{
	if (!JB_ROOT_IS_OBJECT(problem))
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("argument", "problem")),
							"the problem is not a JSON object"),
				 errhint("Make one with event_store.problem().")));
	init_problem(p);
	take_members(p, problem, false, foreign);
	complete(p);
}

/* The one line that stands for a problem. */
static const char *
message_of(const Problem *p)
{
	if (p->document.detail != NULL && p->document.detail[0] != '\0')
		return p->document.detail;
	return es_problem_cut(p->document.title != NULL ? p->document.title : p->document.type);
}

static int
sqlstate_of(const Problem *p)
{
	return p->kind != NULL && p->kind->sqlstate != 0 ? p->kind->sqlstate : ERRCODE_RAISE_EXCEPTION;
}

/* ---- documents from errors ---- */

/*
 * The object in a text that may be anything, NULL if there is none.  jsonb_in
 * raises errors about the text; they are caught in a subtransaction.
 */
static Jsonb *
object_in(const char *text)
{
	EsAttempt	attempt;
	Jsonb	   *volatile result = NULL;

	if (text == NULL || text[strspn(text, " \t\n\r")] != '{')
		return NULL;

	es_attempt_begin(&attempt);
	PG_TRY();
	{
		result = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));
		es_attempt_succeeded(&attempt);
	}
	PG_CATCH();
	{
		ErrorData  *error = es_attempt_failed(&attempt);

		if (error->sqlerrcode == ERRCODE_QUERY_CANCELED)
			ReThrowError(error);
		FreeErrorData(error);
		result = NULL;
	}
	PG_END_TRY();
	return result != NULL && JB_ROOT_IS_OBJECT(result) ? result : NULL;
}

/* What an error says, but for the query, which its catcher may know better. */
EsFailure
es_failure_of(const ErrorData *error)
{
	return (EsFailure) {
		.sqlstate = error->sqlerrcode,
		.message = error->message,
		.detail = error->detail,
		.hint = error->hint,
		.schema = error->schema_name,
		.table = error->table_name,
		.column = error->column_name,
		.constraint = error->constraint_name,
		.datatype = error->datatype_name,
		.context = error->context,
		.file = error->filename,
		.function = error->funcname,
		.line = error->lineno,
	};
}

/*
 * The problem document of a failed statement, palloc'd: the one in its DETAIL
 * if there is one, else what the catalogue says of the SQLSTATE.  instance is
 * for a document that has none; it may be NULL.
 */
char *
es_problem_from_failure(const EsFailure *f, const char *instance)
{
	const EsProblemType *type = es_type_of_sqlstate(f->sqlstate);
	Jsonb	   *found = object_in(f->detail);
	const char *sqlstate = pstrdup(unpack_sql_state(f->sqlstate));
	bool		is_document;
	Problem		p;

	init_problem(&p);
	if (found != NULL)
		take_members(&p, found, false, true);
	is_document = p.document.type != NULL;
	if (is_document)
	{
		/* what another session has raised may be in another language */
		p.kind = es_type_of_uri(p.document.type);
		if (p.kind != NULL)
			p.document.title = es_type_title(p.kind, NULL);
		else if (p.document.status == 0)
			p.document.status = type->status;
	}
	else
	{
		init_problem(&p);
		p.document.type = es_problem_type_uri(type);
		p.document.title = es_type_title(type, NULL);
		p.document.status = type->status;
		p.document.detail = (type->open || type->name != NULL) && f->message != NULL ? f->message : type->doc;
		p.kind = type;
	}
	if (!is_document || getKeyJsonValueFromContainer(&found->root, "sqlstate", strlen("sqlstate"), NULL) == NULL)
		add_text_member(&p, "sqlstate", sqlstate);
	if (es_problem_debug)
	{
		Problem		internals;

		init_problem(&internals);
		add_text_member(&internals, "message", f->message);
		add_text_member(&internals, "detail", is_document ? NULL : f->detail);
		add_text_member(&internals, "hint", f->hint);
		add_text_member(&internals, "schema", f->schema);
		add_text_member(&internals, "table", f->table);
		add_text_member(&internals, "column", f->column);
		add_text_member(&internals, "constraint", f->constraint);
		add_text_member(&internals, "datatype", f->datatype);
		add_text_member(&internals, "context", f->context);
		add_text_member(&internals, "query", f->query);
		add_text_member(&internals, "file", f->file);
		add_text_member(&internals, "function", f->function);
		if (f->line > 0)
			appendStringInfo(&internals.members, ",\"line\":%d", f->line);
		if (internals.members.len > 0)
			appendStringInfo(&p.members, ",\"debug\":{%s}", internals.members.data + 1);
	}
	if (p.document.instance == NULL)
		p.document.instance = instance;
	complete(&p);
	return es_document_text(&p.document);
}

/* ---- SQL ---- */

PG_FUNCTION_INFO_V1(event_store_problem);
PG_FUNCTION_INFO_V1(event_store_raise_problem);
PG_FUNCTION_INFO_V1(event_store_last_problem);
PG_FUNCTION_INFO_V1(event_store_problem_from_error);
PG_FUNCTION_INFO_V1(event_store_problem_headers);
PG_FUNCTION_INFO_V1(event_store_problem_pgrst);

static char *
text_argument(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(n));
}

/* problem(type, status, title, detail, instance, ext) */
Datum
event_store_problem(PG_FUNCTION_ARGS)
{
	Problem		p;

	init_problem(&p);
	if (!PG_ARGISNULL(0))
		p.document.type = check_uri_reference("#", "type", text_argument(fcinfo, 0));
	if (!PG_ARGISNULL(1))
		p.document.status = check_status("#", PG_GETARG_FLOAT8(1));
	p.document.title = text_argument(fcinfo, 2);
	p.document.detail = text_argument(fcinfo, 3);
	if (!PG_ARGISNULL(4))
		p.document.instance = check_uri_reference("#", "instance", text_argument(fcinfo, 4));
	if (!PG_ARGISNULL(5))
	{
		if (!JB_ROOT_IS_OBJECT(PG_GETARG_JSONB_P(5)))
			ereport(ERROR,
					(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("argument", "ext")),
								"ext is not a JSON object"),
					 errhint("Pass the extension members as one object.")));
		take_members(&p, PG_GETARG_JSONB_P(5), true, false);
	}
	complete(&p);
	PG_RETURN_DATUM(es_document_jsonb(es_document_text(&p.document)));
}

/* raise_problem(problem, hint) */
Datum
event_store_raise_problem(PG_FUNCTION_ARGS)
{
	char		instance[ES_INSTANCE_SIZE];
	const char *hint = text_argument(fcinfo, 1);
	bool		logged;
	Problem		p;

	es_require_argument(fcinfo, 0, "problem");
	read_problem(&p, PG_GETARG_JSONB_P(0), false);
	logged = es_problem_sample(instance);
	if (logged && p.document.instance == NULL)
		p.document.instance = instance;
	if (hint == NULL && p.kind != NULL)
		hint = p.kind->doc;
	ereport(ERROR,
			(es_document_report(sqlstate_of(&p), message_of(&p), es_document_text(&p.document), logged),
			 hint != NULL ? errhint("%s", hint) : 0));
	PG_RETURN_VOID();
}

/*
 * last_problem(): to whom it happened, and to roles that are members of that
 * one; a pooled session may serve others later.
 */
Datum
event_store_last_problem(PG_FUNCTION_ARGS)
{
	EsLastProblem *last = es_last_problem();

	if (last->document == NULL || !OidIsValid(last->role) || !has_privs_of_role(GetUserId(), last->role))
		PG_RETURN_NULL();
	PG_RETURN_DATUM(es_document_jsonb(last->document));
}

/*
 * problem_from_error(sqlstate, message, detail, hint, schema_name, table_name,
 * column_name, constraint_name, datatype_name)
 */
Datum
event_store_problem_from_error(PG_FUNCTION_ARGS)
{
	EsFailure	failure = {0};
	char	   *state;

	es_require_argument(fcinfo, 0, "sqlstate");
	state = text_argument(fcinfo, 0);
	if (!es_is_sqlstate(state))
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("argument", "sqlstate"), ES_TEXT("value", state)),
							"\"%s\" is not an SQLSTATE", state),
				 errhint("Pass what GET STACKED DIAGNOSTICS gives as RETURNED_SQLSTATE.")));
	failure.sqlstate = MAKE_SQLSTATE(state[0], state[1], state[2], state[3], state[4]);
	failure.message = text_argument(fcinfo, 1);
	failure.detail = text_argument(fcinfo, 2);
	failure.hint = text_argument(fcinfo, 3);
	failure.schema = text_argument(fcinfo, 4);
	failure.table = text_argument(fcinfo, 5);
	failure.column = text_argument(fcinfo, 6);
	failure.constraint = text_argument(fcinfo, 7);
	failure.datatype = text_argument(fcinfo, 8);
	PG_RETURN_DATUM(es_document_jsonb(es_problem_from_failure(&failure, NULL)));
}

/* The language of a document's title. */
static const char *
language_of(const Problem *p)
{
	const char *language = ES_LANGUAGE;

	if (p->kind != NULL && p->document.title != NULL &&
		strcmp(es_type_title(p->kind, &language), p->document.title) != 0)
		language = ES_LANGUAGE;
	return language;
}

static void
append_header(StringInfo out, const char *name, const char *value)
{
	appendStringInfo(out, "%s\"%s\":", out->len > 1 ? "," : "", name);
	escape_json(out, value);
}

/* The headers of an HTTP response as a JSON object; body: also those of a problem document as the body. */
static char *
headers_of(const Problem *p, Jsonb *problem, bool body, const char *authenticate)
{
	JsonbValue *wait = getKeyJsonValueFromContainer(&problem->root, "retry_after", strlen("retry_after"), NULL);
	double		seconds = wait != NULL ? number_of(wait) : p->kind != NULL ? p->kind->retry_after : 0;
	StringInfoData out;

	for (const char *c = authenticate; *c; c++)
		if ((unsigned char) *c < ' ' || (unsigned char) *c >= 0x7f)
			ereport(ERROR,
					(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("argument", "authenticate")),
								"authenticate has characters that a header cannot have"),
					 errhint("Pass a challenge as Bearer or Basic realm=\"shop\".")));

	initStringInfo(&out);
	appendStringInfoChar(&out, '{');
	if (body)
		append_header(&out, "Content-Type", "application/problem+json");
	append_header(&out, "Content-Language", language_of(p));
	if (seconds > 0 && seconds <= PG_INT32_MAX)
		append_header(&out, "Retry-After", psprintf("%d", (int) ceil(seconds)));
	if (p->document.status == 401)
		append_header(&out, "WWW-Authenticate", authenticate);
	appendStringInfoChar(&out, '}');
	return out.data;
}

/* problem_headers(problem, authenticate) */
Datum
event_store_problem_headers(PG_FUNCTION_ARGS)
{
	Problem		p;

	read_problem(&p, PG_GETARG_JSONB_P(0), true);
	PG_RETURN_DATUM(es_document_jsonb(headers_of(&p, PG_GETARG_JSONB_P(0), true, text_argument(fcinfo, 1))));
}

/*
 * problem_pgrst(problem, authenticate): PostgREST takes the body of its answer
 * from MESSAGE, and status and headers from DETAIL, of an error PGRST.
 */
Datum
event_store_problem_pgrst(PG_FUNCTION_ARGS)
{
	char		instance[ES_INSTANCE_SIZE];
	bool		logged;
	char	   *document;
	StringInfoData message;
	StringInfoData detail;
	Problem		p;

	read_problem(&p, PG_GETARG_JSONB_P(0), true);
	if (p.document.status == 0)
		p.document.status = DEFAULT_STATUS;
	logged = es_problem_sample(instance);
	if (logged && p.document.instance == NULL)
		p.document.instance = instance;
	document = es_document_text(&p.document);

	initStringInfo(&message);
	appendStringInfoString(&message, "{\"code\":");
	escape_json(&message, unpack_sql_state(sqlstate_of(&p)));
	appendStringInfoString(&message, ",\"message\":");
	escape_json(&message, message_of(&p));
	appendStringInfoString(&message, ",\"details\":");
	escape_json(&message, document);
	appendStringInfoString(&message, ",\"hint\":");
	if (p.kind != NULL && p.kind->doc != NULL)
		escape_json(&message, p.kind->doc);
	else
		appendStringInfoString(&message, "null");
	appendStringInfoChar(&message, '}');

	initStringInfo(&detail);
	appendStringInfo(&detail, "{\"status\":%d,\"status_text\":", p.document.status);
	escape_json(&detail, es_http_phrase(p.document.status));
	appendStringInfo(&detail, ",\"headers\":%s}",
					 headers_of(&p, PG_GETARG_JSONB_P(0), false, text_argument(fcinfo, 1)));

	es_document_remember(sqlstate_of(&p), document, logged ? detail.data : NULL);
	ereport(ERROR,
			(errcode(MAKE_SQLSTATE('P', 'G', 'R', 'S', 'T')),
			 errmsg_internal("%s", message.data),
			 errdetail_internal("%s", detail.data)));
	PG_RETURN_VOID();
}
