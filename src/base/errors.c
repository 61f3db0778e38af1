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
 * the only place that ties an SQLSTATE to its type, title and HTTP status; the
 * types that users register are in a table (observe/problem_type).
 *
 * The last document of the session is kept, in memory that outlives the
 * transaction.  It is taken when the error is raised, so it is there also if
 * the error is caught.  Conflicts are raised in normal operation: nothing here
 * looks into a table, and the settings are at work before they are defined
 * (an error of _PG_init) through the initial values of their variables.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "common/pg_prng.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/uuid.h"

#include "base/errors.h"
#include "base/settings.h"

/* For ext_schema: an object with these members. */
#define OBJECT(members)	"{\"type\":\"object\",\"properties\":{" members "}}"
#define IS(name, type)	"\"" name "\":{\"type\":" type "}"
#define STRING			"\"string\""
#define INTEGER			"\"integer\""

#define VERSIONS OBJECT(IS("stream", STRING) "," IS("expected", "[\"integer\",\"string\"]") "," IS("actual", INTEGER))

/* A type of our own, a code of the server, a class of codes of the server. */
#define OWN(code, name_, title_, status_, ...) \
	{.sqlstate = ERRCODE_ES_##code, .name = (name_), .title = (title_), .status = (status_), __VA_ARGS__}
#define CORE(code, status_, ...) \
	{.sqlstate = ERRCODE_##code, .status = (status_), __VA_ARGS__}
#define CLASS(a, b, status_, ...) \
	{.sqlstate = MAKE_SQLSTATE(a, b, '0', '0', '0'), .whole_class = true, .status = (status_), __VA_ARGS__}

static const EsProblemType problem_types[] = {
	OWN(WRONG_EXPECTED_VERSION, "wrong-expected-version", "Wrong Expected Version", 409,
		.doc = "The stream is at another version than was expected: read it again and decide on what it says now.",
		.ext_schema = VERSIONS),
	OWN(STREAM_EXISTS, "stream-exists", "Stream Exists", 409,
		.doc = "The stream was expected not to exist: read it and decide on what it says.",
		.ext_schema = VERSIONS),
	OWN(STREAM_NOT_FOUND, "stream-not-found", "Stream Not Found", 404,
		.doc = "There is no stream of this name: check it.",
		.ext_schema = VERSIONS),
	OWN(STREAM_DELETED, "stream-deleted", "Stream Deleted", 410,
		.doc = "The stream was closed for good: use another one.",
		.ext_schema = OBJECT(IS("stream", STRING))),
	OWN(DUPLICATE_EVENT, "duplicate-event", "Duplicate Event", 409,
		.doc = "An event with this id is there already: give each event an id of its own.",
		.ext_schema = OBJECT(IS("event_id", STRING) "," IS("index", INTEGER))),
	OWN(STORE_NOT_FOUND, "store-not-found", "Store Not Found", 404,
		.doc = "There is no such event store: check the name and the search_path.",
		.ext_schema = OBJECT(IS("search_path", STRING) "," IS("schema", STRING))),
	OWN(HISTORY_LOST, "history-lost", "History Lost", 409,
		.doc = "The events up to the token may have been lost since: read again after kept_position.",
		.ext_schema = OBJECT(IS("store", STRING) "," IS("position", INTEGER) "," IS("kept_position", INTEGER))),
	OWN(CONDITION_FAILED, "condition-failed", "Condition Failed", 409,
		.doc = "An event that the decision does not know of matches the condition: read by the query again and decide on what it says now.",
		.ext_schema = OBJECT(IS("after", INTEGER) "," IS("position", INTEGER) "," IS("event_type", STRING))),
	OWN(DELIVERY_NOT_HELD, "delivery-not-held", "Delivery Not Held", 409,
		.doc = "The event is not in this consumer's hands: it was not given to it, is done already, or was given to another one after the lease; undo what was made of it.",
		.ext_schema = OBJECT(IS("subscription", STRING) "," IS("consumer", STRING) "," IS("position", INTEGER))),
	OWN(UNREGISTERED_COMMAND, "unregistered-command", "Unregistered Command", 404,
		.doc = "Nothing is registered to handle this command: check its name."),
	OWN(INVALID_IDENTITY, "invalid-identity", "Invalid Identity", 422,
		.doc = "The command does not say which aggregate it is for."),
	OWN(COMMAND_REJECTED, "command-rejected", "Command Rejected", 422,
		.doc = "The command is not allowed in the present state."),
	OWN(TOO_MANY_ATTEMPTS, "too-many-attempts", "Too Many Attempts", 409, .retryable = true,
		.doc = "Others kept changing the same stream: try again."),
	OWN(DISPATCH_HALTED, "dispatch-halted", "Dispatch Halted", 403,
		.doc = "A middleware has stopped the command."),
	OWN(EXECUTION_TIMEOUT, "execution-timeout", "Execution Timeout", 504,
		.doc = "The command took too long and was undone."),
	OWN(CONSISTENCY_TIMEOUT, "consistency-timeout", "Consistency Timeout", 504,
		.doc = "The events are committed, but what follows from them was not ready in time: do not send the command again.",
		.ext_schema = OBJECT(IS("committed", "\"boolean\""))),
	OWN(COMMAND_ID_REUSE, "command-id-reuse", "Command Id Reuse", 409,
		.doc = "This command id was used for another command."),
	OWN(TENANT_NOT_FOUND, "tenant-not-found", "Tenant Not Found", 404,
		.doc = "There is no such tenant: check the name."),
	OWN(TENANT_EXISTS, "tenant-exists", "Tenant Exists", 409,
		.doc = "There is a tenant of this name already."),
	OWN(INVALID_TENANT_NAME, "invalid-tenant-name", "Invalid Tenant Name", 422,
		.doc = "No tenant can have this name."),
	OWN(TENANT_REQUIRED, "tenant-required", "Tenant Required", 400,
		.doc = "The call does not say for which tenant it is."),
	OWN(TENANT_SUSPENDED, "tenant-suspended", "Tenant Suspended", 403,
		.doc = "The tenant is suspended."),
	OWN(TENANT_MISMATCH, "tenant-mismatch", "Tenant Mismatch", 400,
		.doc = "The setting event_store.tenant and the search_path name two tenants: name one."),
	OWN(MAX_CHILDREN, "max-children", "Too Many Children", 503, .retry_after = 5,
		.doc = "The supervisor has as many children as it may have: try again later."),
	OWN(ALREADY_REGISTERED, "already-registered", "Already Registered", 409,
		.doc = "The name is taken by another process."),
	OWN(SESSION_NOT_FOUND, "session-not-found", "Session Not Found", 404,
		.doc = "The session has ended or never was: begin a new one."),
	OWN(RESTART_INTENSITY, "restart-intensity", "Restart Intensity Exceeded", 503, .retry_after = 30,
		.doc = "A supervised task failed too often and was stopped."),
	OWN(INVALID_METRIC, "invalid-metric", "Invalid Metric", 422,
		.doc = "The definition of the metric is wrong."),
	OWN(UNKNOWN_BATCHER, "unknown-batcher", "Unknown Batcher", 422,
		.doc = "The pipeline has no batcher of this name."),
	OWN(PIPELINE_DRAINING, "pipeline-draining", "Pipeline Draining", 503, .retry_after = 5,
		.doc = "The pipeline takes no more messages while it stops: try again later."),
	OWN(CRDT_TYPE_MISMATCH, "crdt-type-mismatch", "CRDT Type Mismatch", 422,
		.doc = "The operation is not one of this data type."),
	OWN(CRDT_CAUSAL_GAP, "crdt-causal-gap", "CRDT Causal Gap", 409,
		.doc = "The change builds on changes that are not here yet: send them first."),
	OWN(CLOCK_SKEW, "clock-skew", "Clock Skew", 422,
		.doc = "The clock of the sender is too far ahead."),
	OWN(INVALID_TOPOLOGY, "invalid-topology", "Invalid Topology", 422,
		.doc = "The definition of the topology is wrong."),
	OWN(NODE_UNREACHABLE, "node-unreachable", "Node Unreachable", 503, .retry_after = 5,
		.doc = "Another server of the cluster does not answer: try again later."),
	OWN(NO_QUORUM, "no-quorum", "No Quorum", 503, .retry_after = 5,
		.doc = "Too few servers of the cluster are in sight: try again later."),

	CORE(INVALID_PARAMETER_VALUE, 400, .open = true),
	CORE(NULL_VALUE_NOT_ALLOWED, 400, .open = true),
	CORE(NUMERIC_VALUE_OUT_OF_RANGE, 400, .open = true),
	CORE(NAME_TOO_LONG, 400, .doc = "A name is too long."),
	CORE(RESERVED_NAME, 400, .doc = "A name is reserved."),
	CORE(DATATYPE_MISMATCH, 400),
	CORE(NOT_NULL_VIOLATION, 400, .doc = "A value that is required is missing."),
	CORE(CHECK_VIOLATION, 400, .doc = "A value breaks a rule of the data."),
	CORE(RAISE_EXCEPTION, 400, .open = true),
	CORE(INSUFFICIENT_PRIVILEGE, 403, .doc = "This role may not do that."),
	CORE(UNDEFINED_OBJECT, 404, .doc = "Something that the request names does not exist."),
	CORE(UNDEFINED_TABLE, 404, .doc = "Something that the request names does not exist."),
	CORE(UNDEFINED_FUNCTION, 404, .doc = "Something that the request names does not exist."),
	CORE(AMBIGUOUS_FUNCTION, 400, .doc = "Several things have the name that the request gives."),
	CORE(READ_ONLY_SQL_TRANSACTION, 405, .doc = "Nothing can be changed here: the transaction is read-only."),
	CORE(ACTIVE_SQL_TRANSACTION, 409, .doc = "This cannot be done inside this transaction."),
	CORE(FOREIGN_KEY_VIOLATION, 409, .doc = "Something that is referred to does not exist, or is still referred to."),
	CORE(UNIQUE_VIOLATION, 409, .doc = "A value that must be unique is there already."),
	CORE(EXCLUSION_VIOLATION, 409, .doc = "A value conflicts with one that is there already."),
	CORE(DUPLICATE_OBJECT, 409, .doc = "There is such a thing already."),
	CORE(T_R_SERIALIZATION_FAILURE, 409, .retryable = true,
		 .doc = "The transaction met with a concurrent one: run it again."),
	CORE(T_R_DEADLOCK_DETECTED, 409, .retryable = true,
		 .doc = "The transaction met with a concurrent one: run it again."),
	CORE(LOCK_NOT_AVAILABLE, 409, .retryable = true,
		 .doc = "Another transaction is at work on the same data: try again."),
	CORE(OBJECT_IN_USE, 409, .doc = "It is in use."),
	CORE(OBJECT_NOT_IN_PREREQUISITE_STATE, 409, .doc = "It is not in the state that this needs."),
	CORE(PROGRAM_LIMIT_EXCEEDED, 413, .doc = "It is larger than the server takes."),
	CORE(CONFIGURATION_LIMIT_EXCEEDED, 429, .retry_after = 5, .doc = "A limit of the server is reached: try again later."),
	CORE(INTERNAL_ERROR, 500),
	CORE(DATA_CORRUPTED, 500),
	CORE(IO_ERROR, 500),
	CORE(FEATURE_NOT_SUPPORTED, 501, .doc = "The server does not do this."),
	CORE(ADMIN_SHUTDOWN, 503, .retry_after = 5, .doc = "The server is being stopped: try again later."),
	CORE(CRASH_SHUTDOWN, 503, .retry_after = 5, .doc = "The server is being restarted: try again later."),
	CORE(CANNOT_CONNECT_NOW, 503, .retry_after = 5, .doc = "The server is starting: try again later."),
	CORE(QUERY_CANCELED, 504, .doc = "It took too long or was cancelled."),

	/* after those of PostgREST */
	CLASS('0', '8', 503, .retry_after = 5, .doc = "A server does not answer: try again later."),
	CLASS('0', '9', 500),
	CLASS('0', 'L', 403, .doc = "This role may not do that."),
	CLASS('0', 'P', 403, .doc = "This role may not do that."),
	CLASS('2', '2', 400, .open = true),
	CLASS('2', '3', 400, .doc = "A value breaks a rule of the data."),
	CLASS('2', '5', 500),
	CLASS('2', '8', 403, .doc = "This role may not do that."),
	CLASS('2', 'D', 500),
	CLASS('3', '8', 500),
	CLASS('3', '9', 500),
	CLASS('3', 'B', 500),
	CLASS('4', '0', 500),
	CLASS('4', '2', 400),
	CLASS('5', '3', 503, .retry_after = 5, .doc = "The server has no more room for this: try again later."),
	CLASS('5', '4', 500),
	CLASS('5', '5', 500),
	CLASS('5', '7', 500),
	CLASS('5', '8', 500),
	CLASS('F', '0', 500),
	CLASS('H', 'V', 500),
	CLASS('P', '0', 500),
	CLASS('X', 'X', 500),
};

/* The phrases of RFC 9110 and of the registry of status codes. */
static const struct
{
	int			status;
	const char *phrase;
}			phrases[] = {
	{100, "Continue"},
	{101, "Switching Protocols"},
	{102, "Processing"},
	{103, "Early Hints"},
	{200, "OK"},
	{201, "Created"},
	{202, "Accepted"},
	{203, "Non-Authoritative Information"},
	{204, "No Content"},
	{205, "Reset Content"},
	{206, "Partial Content"},
	{207, "Multi-Status"},
	{208, "Already Reported"},
	{226, "IM Used"},
	{300, "Multiple Choices"},
	{301, "Moved Permanently"},
	{302, "Found"},
	{303, "See Other"},
	{304, "Not Modified"},
	{305, "Use Proxy"},
	{307, "Temporary Redirect"},
	{308, "Permanent Redirect"},
	{400, "Bad Request"},
	{401, "Unauthorized"},
	{402, "Payment Required"},
	{403, "Forbidden"},
	{404, "Not Found"},
	{405, "Method Not Allowed"},
	{406, "Not Acceptable"},
	{407, "Proxy Authentication Required"},
	{408, "Request Timeout"},
	{409, "Conflict"},
	{410, "Gone"},
	{411, "Length Required"},
	{412, "Precondition Failed"},
	{413, "Content Too Large"},
	{414, "URI Too Long"},
	{415, "Unsupported Media Type"},
	{416, "Range Not Satisfiable"},
	{417, "Expectation Failed"},
	{421, "Misdirected Request"},
	{422, "Unprocessable Content"},
	{423, "Locked"},
	{424, "Failed Dependency"},
	{425, "Too Early"},
	{426, "Upgrade Required"},
	{428, "Precondition Required"},
	{429, "Too Many Requests"},
	{431, "Request Header Fields Too Large"},
	{451, "Unavailable For Legal Reasons"},
	{500, "Internal Server Error"},
	{501, "Not Implemented"},
	{502, "Bad Gateway"},
	{503, "Service Unavailable"},
	{504, "Gateway Timeout"},
	{505, "HTTP Version Not Supported"},
	{506, "Variant Also Negotiates"},
	{507, "Insufficient Storage"},
	{508, "Loop Detected"},
	{511, "Network Authentication Required"},
};

static EsLastProblem last;
static char *last_buffer = NULL;	/* what last.document points to */
static Size last_size = 0;

/* The catalogue: our own problem types first, then codes and classes of the server. */
const EsProblemType *
es_problem_types(int *count)
{
	*count = lengthof(problem_types);
	return problem_types;
}

/* What the catalogue says of an SQLSTATE; a code that it does not know is a bad request. */
const EsProblemType *
es_problem_type(int sqlstate)
{
	static const EsProblemType unknown = {.status = 400, .open = true};
	const EsProblemType *result = &unknown;

	for (int i = 0; i < lengthof(problem_types); i++)
	{
		const EsProblemType *type = &problem_types[i];

		if (!type->whole_class && type->sqlstate == sqlstate)
			return type;
		if (type->whole_class && type->sqlstate == ERRCODE_TO_CATEGORY(sqlstate))
			result = type;
	}
	return result;
}

/* The phrase of an HTTP status, 100 to 599; for one without, that of its class. */
const char *
es_http_phrase(int status)
{
	Assert(status >= 100 && status <= 599);
	for (int i = 0; i < lengthof(phrases); i++)
		if (phrases[i].status == status)
			return phrases[i].phrase;
	return es_http_phrase(status >= 500 ? 500 : status >= 400 ? 400 : status / 100 * 100);
}

const char *
es_problem_type_title(const EsProblemType *type)
{
	return type->title != NULL ? type->title : es_http_phrase(type->status);
}

/* The URI of a problem type, palloc'd. */
char *
es_problem_type_uri(const EsProblemType *type)
{
	if (type->uri != NULL)
		return pstrdup(type->uri);
	if (type->name != NULL)
		return psprintf(ES_URI_PREFIX "%s", type->name);
	return pstrdup(ES_URI_NONE);
}

/*
 * A text that is no longer than event_store.problem_detail_size, ending in
 * "..." if it was: the text itself, or palloc'd.
 */
const char *
es_problem_cut(const char *text)
{
	Size		length = strlen(text);
	char	   *result;

	if (length <= es_problem_detail_size)
		return text;
	length = pg_mbcliplen(text, es_problem_detail_size + 1, es_problem_detail_size - 3);
	result = palloc(length + 4);
	memcpy(result, text, length);
	strcpy(result + length, "...");
	return result;
}

/*
 * Is the problem about to be raised one for the log?  Then write a URI for this
 * occurrence, ES_INSTANCE_SIZE bytes with the NUL.
 */
bool
es_problem_sample(char *instance)
{
	unsigned char id[UUID_LEN];
	char	   *out = instance + strlen("urn:uuid:");

	if (es_problem_log_rate <= 0 ||
		(es_problem_log_rate < 1 && pg_prng_double(&pg_global_prng_state) >= es_problem_log_rate))
		return false;

	if (!pg_strong_random(id, sizeof(id)))
		for (int i = 0; i < UUID_LEN; i++)
			id[i] = (unsigned char) pg_prng_uint32(&pg_global_prng_state);
	id[6] = (id[6] & 0x0f) | 0x40;
	id[8] = (id[8] & 0x3f) | 0x80;

	strcpy(instance, "urn:uuid:");
	for (int i = 0; i < UUID_LEN; i++)
	{
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*out++ = '-';
		out += sprintf(out, "%02x", id[i]);
	}
	return true;
}

static void
append_text(StringInfo out, const char *name, const char *value)
{
	if (value == NULL)
		return;
	appendStringInfo(out, "%s\"%s\":", out->len > 1 ? "," : "", name);
	escape_json(out, value);
}

/* A problem document as compact JSON, palloc'd. */
char *
es_document_text(const EsDocument *document)
{
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfoChar(&out, '{');
	append_text(&out, "type", document->type);
	append_text(&out, "title", document->title);
	if (document->status != 0)
		appendStringInfo(&out, "%s\"status\":%d", out.len > 1 ? "," : "", document->status);
	append_text(&out, "detail", document->detail);
	append_text(&out, "instance", document->instance);
	if (document->members != NULL)
		appendStringInfoString(&out, document->members + (out.len == 1 && document->members[0] == ','));
	appendStringInfoChar(&out, '}');
	return out.data;
}

/* The last problem of this session. */
EsLastProblem *
es_last_problem(void)
{
	return &last;
}

/* Is an error with this DETAIL the last problem, and one for the log? */
bool
es_last_problem_is_logged(const char *detail)
{
	return last.logged && last.document != NULL && detail != NULL &&
		hash_bytes((const unsigned char *) detail, strlen(detail)) == last.detail;
}

/*
 * Keep a document as the last problem of this session.  If there is no memory
 * for it, the session has none: the error that is being raised matters more.
 * logged_detail is the DETAIL of the error if it is one for the log, else NULL.
 */
void
es_document_remember(int sqlstate, const char *document, const char *logged_detail)
{
	Size		size = strlen(document) + 1;

	last.document = NULL;
	if (size > last_size || last_size > Max(4 * size, 8192))
	{
		if (last_buffer != NULL)
			pfree(last_buffer);
		last_size = 0;
		last_buffer = MemoryContextAllocExtended(TopMemoryContext, Max(size, 1024), MCXT_ALLOC_NO_OOM);
		if (last_buffer == NULL)
			return;
		last_size = Max(size, 1024);
	}
	memcpy(last_buffer, document, size);
	last.role = OidIsValid(MyDatabaseId) ? GetOuterUserId() : InvalidOid;
	last.sqlstate = sqlstate;
	last.logged = logged_detail != NULL;
	if (last.logged)
		last.detail = hash_bytes((const unsigned char *) logged_detail, strlen(logged_detail));
	last.document = last_buffer;
}

/*
 * Set SQLSTATE, message and detail of the error being raised from a document;
 * for use among the arguments of ereport.  The message becomes one line,
 * whatever a name in it holds; the document is exact.
 */
int
es_document_report(int sqlstate, const char *message, const char *document, bool logged)
{
	char	   *line = pstrdup(message);

	for (char *c = line; *c; c++)
		if ((unsigned char) *c < ' ')
			*c = ' ';
	es_document_remember(sqlstate, document, logged ? document : NULL);
	errcode(sqlstate);
	errmsg_internal("%s", line);
	errdetail_internal("%s", document);
	return 0;
}

static bool
has_member(const EsMember *members, const char *name)
{
	for (const EsMember *m = members; m != NULL && m->name != NULL; m++)
		if (strcmp(m->name, name) == 0)
			return true;
	return false;
}

static void
append_members(StringInfo document, const EsMember *members)
{
	for (const EsMember *m = members; m != NULL && m->name != NULL; m++)
	{
		appendStringInfoChar(document, ',');
		escape_json(document, m->name);
		appendStringInfoChar(document, ':');
		if (m->json)
			appendStringInfoString(document, m->text);
		else if (m->text != NULL)
			escape_json(document, es_problem_cut(m->text));
		else
			appendStringInfo(document, INT64_FORMAT, m->number);
	}
}

/* The callback of an EsProblemContext; es_problem knows it by this function. */
void
es_problem_context(void *context)
{
	EsProblemContext *c = context;

	if (c->line != NULL)
		errcontext("%s", c->line);
	else if (c->of != NULL)
		errcontext("%s %lld of %s", c->members->name, (long long) c->members->number, c->of);
	else
		errcontext("%s %lld", c->members->name, (long long) c->members->number);
}

/*
 * Set SQLSTATE, message and detail of the error being raised; for use among
 * the arguments of ereport.  members ends with a NULL name and may itself be
 * NULL.  The result means nothing, as with errmsg.
 */
int
es_problem(int sqlstate, const EsMember *members, const char *fmt,...)
{
	const EsProblemType *type = es_problem_type(sqlstate);
	int			save_errno = errno;
	char		instance[ES_INSTANCE_SIZE];
	bool		logged = es_problem_sample(instance);
	StringInfoData message;
	StringInfoData extension;
	EsDocument	document = {0};

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

	initStringInfo(&extension);
	append_members(&extension, members);
	for (ErrorContextCallback *c = error_context_stack; c != NULL; c = c->previous)
		if (c->callback == es_problem_context)
			append_members(&extension, ((EsProblemContext *) c->arg)->members);
	if (type->retryable)
		appendStringInfoString(&extension, ",\"retryable\":true");
	if (type->retry_after > 0 && !has_member(members, "retry_after"))
		appendStringInfo(&extension, ",\"retry_after\":%d", type->retry_after);

	document.type = es_problem_type_uri(type);
	document.title = es_problem_type_title(type);
	document.status = type->status;
	document.detail = es_problem_cut(message.data);
	document.instance = logged ? instance : NULL;
	document.members = extension.data;
	return es_document_report(sqlstate, document.detail, es_document_text(&document), logged);
}
