/*
 * errors.h
 *		SQLSTATEs of our own and the one way to raise an error.
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
	const char *line;			/* NULL: name and number of the first member */
} EsProblemContext;

/* What the catalogue says of an SQLSTATE. */
typedef struct EsProblemType
{
	int			sqlstate;
	const char *name;			/* NULL: a core code, type about:blank */
	const char *title;
	int			status;			/* HTTP status */
} EsProblemType;

extern int	es_problem(int sqlstate, const EsMember *members, const char *fmt,...) pg_attribute_printf(3, 4);
extern void es_problem_context(void *context);
extern const EsProblemType *es_problem_types(int *count);
extern char *es_problem_type_uri(const EsProblemType *type);

#endif							/* ES_ERRORS_H */
