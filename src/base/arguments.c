/*
 * arguments.c
 *		What SQL-callable functions check before they begin.
 */
#include "postgres.h"

#include "access/xact.h"
#include "datatype/timestamp.h"
#include "utils/syscache.h"

#include "base/arguments.h"
#include "base/errors.h"

/* Refuse to write in a read-only transaction, and so on a standby. */
void
es_require_writable(void)
{
	if (XactReadOnly)
		ereport(ERROR,
				(es_problem(ERRCODE_READ_ONLY_SQL_TRANSACTION, NULL,
							"cannot change an event store in a read-only transaction"),
				 errhint("Do it on the primary server, in a transaction that is not READ ONLY.")));
}

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

/* Refuse a regprocedure that was given as a number, of which there is no function. */
void
es_require_function(Oid function)
{
	if (!SearchSysCacheExists1(PROCOID, ObjectIdGetDatum(function)))
		ereport(ERROR,
				(es_problem(ERRCODE_UNDEFINED_FUNCTION, NULL, "function with OID %u does not exist", function),
				 errhint("Pass it as 'schema.name(argument types)'.")));
}

/* An interval in milliseconds, with months of 30 days. */
int64
es_interval_ms(const Interval *interval)
{
	return interval->time / 1000 +
		((int64) interval->month * DAYS_PER_MONTH + interval->day) * (SECS_PER_DAY * INT64CONST(1000));
}
