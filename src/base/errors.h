/*
 * errors.h
 *		SQLSTATEs of our own, the catalogue of error conditions, and the one way
 *		to raise an error.
 */
#ifndef ES_ERRORS_H
#define ES_ERRORS_H

#include "utils/elog.h"

#define ERRCODE_ES_WRONG_EXPECTED_VERSION	MAKE_SQLSTATE('V','E','0','0','1')
#define ERRCODE_ES_STREAM_EXISTS			MAKE_SQLSTATE('V','E','0','0','2')
#define ERRCODE_ES_STREAM_NOT_FOUND			MAKE_SQLSTATE('V','E','0','0','3')
#define ERRCODE_ES_STREAM_DELETED			MAKE_SQLSTATE('V','E','0','0','4')
#define ERRCODE_ES_DUPLICATE_EVENT			MAKE_SQLSTATE('V','E','0','0','5')
#define ERRCODE_ES_STORE_NOT_FOUND			MAKE_SQLSTATE('V','E','0','0','6')
#define ERRCODE_ES_HISTORY_LOST				MAKE_SQLSTATE('V','E','0','0','7')
#define ERRCODE_ES_CONDITION_FAILED			MAKE_SQLSTATE('V','E','0','0','8')
#define ERRCODE_ES_DELIVERY_NOT_HELD		MAKE_SQLSTATE('V','E','0','0','9')
#define ERRCODE_ES_UNREGISTERED_COMMAND		MAKE_SQLSTATE('V','E','0','1','0')
#define ERRCODE_ES_INVALID_IDENTITY			MAKE_SQLSTATE('V','E','0','1','1')
#define ERRCODE_ES_COMMAND_REJECTED			MAKE_SQLSTATE('V','E','0','1','2')
#define ERRCODE_ES_TOO_MANY_ATTEMPTS		MAKE_SQLSTATE('V','E','0','1','3')
#define ERRCODE_ES_DISPATCH_HALTED			MAKE_SQLSTATE('V','E','0','1','4')
#define ERRCODE_ES_EXECUTION_TIMEOUT		MAKE_SQLSTATE('V','E','0','1','5')
#define ERRCODE_ES_CONSISTENCY_TIMEOUT		MAKE_SQLSTATE('V','E','0','1','6')
#define ERRCODE_ES_COMMAND_ID_REUSE			MAKE_SQLSTATE('V','E','0','1','7')
#define ERRCODE_ES_TENANT_NOT_FOUND			MAKE_SQLSTATE('V','E','0','2','0')
#define ERRCODE_ES_TENANT_EXISTS			MAKE_SQLSTATE('V','E','0','2','1')
#define ERRCODE_ES_INVALID_TENANT_NAME		MAKE_SQLSTATE('V','E','0','2','2')
#define ERRCODE_ES_TENANT_REQUIRED			MAKE_SQLSTATE('V','E','0','2','3')
#define ERRCODE_ES_TENANT_SUSPENDED			MAKE_SQLSTATE('V','E','0','2','4')
#define ERRCODE_ES_TENANT_MISMATCH			MAKE_SQLSTATE('V','E','0','2','5')
#define ERRCODE_ES_MAX_CHILDREN				MAKE_SQLSTATE('V','E','0','3','0')
#define ERRCODE_ES_ALREADY_REGISTERED		MAKE_SQLSTATE('V','E','0','3','1')
#define ERRCODE_ES_SESSION_NOT_FOUND		MAKE_SQLSTATE('V','E','0','3','2')
#define ERRCODE_ES_RESTART_INTENSITY		MAKE_SQLSTATE('V','E','0','3','3')
#define ERRCODE_ES_INVALID_METRIC			MAKE_SQLSTATE('V','E','0','4','0')
#define ERRCODE_ES_UNKNOWN_BATCHER			MAKE_SQLSTATE('V','E','0','5','0')
#define ERRCODE_ES_PIPELINE_DRAINING		MAKE_SQLSTATE('V','E','0','5','1')
#define ERRCODE_ES_CRDT_TYPE_MISMATCH		MAKE_SQLSTATE('V','E','0','6','0')
#define ERRCODE_ES_CRDT_CAUSAL_GAP			MAKE_SQLSTATE('V','E','0','6','1')
#define ERRCODE_ES_CLOCK_SKEW				MAKE_SQLSTATE('V','E','0','6','2')
#define ERRCODE_ES_INVALID_TOPOLOGY			MAKE_SQLSTATE('V','E','0','7','0')
#define ERRCODE_ES_NODE_UNREACHABLE			MAKE_SQLSTATE('V','E','0','7','1')
#define ERRCODE_ES_NO_QUORUM				MAKE_SQLSTATE('V','E','0','7','2')

#define ES_URI_PREFIX		"urn:event-store:problem:"
#define ES_URI_NONE			"about:blank"	/* nothing more is known than the status */
#define ES_INSTANCE_SIZE	46	/* "urn:uuid:", a UUID, NUL */

/* An extension member of a problem document. */
typedef struct EsMember
{
	const char *name;			/* NULL ends a list */
	const char *text;			/* NULL: the member is the number */
	int64		number;
	bool		json;			/* text is JSON, to be taken as it is */
} EsMember;

#define ES_TEXT(n, t)	{.name = (n), .text = (t)}
#define ES_INT(n, i)	{.name = (n), .number = (i)}
#define ES_JSON(n, j)	{.name = (n), .text = (j), .json = true}
#define ES_MEMBERS(...)	((const EsMember[]) {__VA_ARGS__, {.name = NULL}})

/*
 * What the error of an inner function cannot know.  While one of these is on
 * error_context_stack, with es_problem_context as its callback, its members
 * stand in the document of every problem, and its line in the CONTEXT.
 */
typedef struct EsProblemContext
{
	const EsMember *members;
	const char *line;			/* NULL: name and number of the first member ... */
	const char *of;				/* ... and of what it is, if not NULL */
} EsProblemContext;

/* What the catalogue says of an SQLSTATE. */
typedef struct EsProblemType
{
	int			sqlstate;		/* 0: none of its own */
	const char *name;			/* of a type of ours, the end of its URI */
	const char *uri;			/* of a registered type; else es_problem_type_uri() */
	const char *title;			/* NULL: the phrase of the status */
	int			status;			/* HTTP status */
	int			retry_after;	/* seconds until it may be gone, 0: unknown */
	bool		retryable;		/* the same transaction may succeed later */
	bool		whole_class;	/* all codes of the class that are not listed */
	bool		open;			/* the server's message tells nothing of the schema */
	const char *doc;			/* a sentence: what happened or what to do; may be NULL */
	const char *ext_schema;		/* JSON Schema of the extension members; may be NULL */
} EsProblemType;

/* A problem document before it is text.  What is NULL or 0 is left out. */
typedef struct EsDocument
{
	const char *type;
	const char *title;
	int			status;
	const char *detail;
	const char *instance;
	const char *members;		/* extension members as JSON, each with a comma before it */
} EsDocument;

/* The last problem of this session. */
typedef struct EsLastProblem
{
	const char *document;		/* NULL: none */
	Oid			role;			/* who met it; InvalidOid outside a database */
	int			sqlstate;
	bool		logged;			/* chosen for the log of problems, and not in it yet */
	uint32		detail;			/* hash of the DETAIL it was raised with, if so */
} EsLastProblem;

extern const EsProblemType *es_problem_types(int *count);
extern const EsProblemType *es_problem_type(int sqlstate);
extern const char *es_problem_type_title(const EsProblemType *type);
extern char *es_problem_type_uri(const EsProblemType *type);
extern const char *es_http_phrase(int status);

extern int	es_problem(int sqlstate, const EsMember *members, const char *fmt,...) pg_attribute_printf(3, 4);
extern void es_problem_context(void *context);

extern bool es_problem_sample(char *instance);
extern const char *es_problem_cut(const char *text);
extern char *es_document_text(const EsDocument *document);
extern int	es_document_report(int sqlstate, const char *message, const char *document, bool logged);
extern void es_document_remember(int sqlstate, const char *document, const char *logged_detail);
extern EsLastProblem *es_last_problem(void);
extern bool es_last_problem_is_logged(const char *detail);

#endif							/* ES_ERRORS_H */
