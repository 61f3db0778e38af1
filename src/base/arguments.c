/*
 * arguments.c
 *		What SQL-callable functions check of their arguments.
 */
#include "postgres.h"

#include "base/arguments.h"
#include "base/errors.h"

/* Refuse a null where a function that is not strict needs a value. */
void
es_require_argument(FunctionCallInfo fcinfo, int argument, const char *name)
{
	if (PG_ARGISNULL(argument))
		ereport(ERROR,
				(es_problem(ERRCODE_NULL_VALUE_NOT_ALLOWED, ES_MEMBERS(ES_TEXT("argument", name)),
							"%s must not be null", name),
				 errhint("Pass a value for %s.", name)));
}
