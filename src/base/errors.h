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
#define ERRCODE_ES_INVALID_METRIC			MAKE_SQLSTATE('V','E','0','4','0')

/* An extension member of a problem document. */
typedef struct EsMember
{
	const char *name;			/* NULL ends a list */
	const char *text;			/* NULL: the member is the number */
	int64		number;
} EsMember;

#define ES_TEXT(n, t)	{.name = (n), .text = (t)}
#define ES_INT(n, i)	{.name = (n), .number = (i)}
#define ES_MEMBERS(...)	((const EsMember[]) {__VA_ARGS__, {.name = NULL}})

/* What the catalogue says of an SQLSTATE. */
typedef struct EsProblemType
{
	int			sqlstate;
	const char *name;			/* NULL: a core code, type about:blank */
	const char *title;
	int			status;			/* HTTP status */
} EsProblemType;

extern int	es_problem(int sqlstate, const EsMember *members, const char *fmt,...) pg_attribute_printf(3, 4);
extern const EsProblemType *es_problem_types(int *count);
extern char *es_problem_type_uri(const EsProblemType *type);

#endif							/* ES_ERRORS_H */
