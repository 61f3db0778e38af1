/*
 * backoff.c
 *		How long to wait before what has failed is tried again.
 *
 * The wait doubles with each failure in a row up to a cap.  Half of it is
 * random, so that what has failed together is not tried together again.
 */
#include "postgres.h"

#include "datatype/timestamp.h"
#include "fmgr.h"
#include "utils/timestamp.h"

#include "runtime/backoff.h"

#define FIRST_WAIT		1000	/* ms */
#define LONGEST_WAIT	300000

/* The wait in ms after a number of failures in a row, at least 1; random is from 0 to 1. */
int64
es_backoff(int failures, double random)
{
	int64		wait = FIRST_WAIT;

	for (int i = 1; i < failures && wait < LONGEST_WAIT; i++)
		wait *= 2;
	wait = Min(wait, LONGEST_WAIT);
	return wait / 2 + (int64) (random * (wait - wait / 2));
}

PG_FUNCTION_INFO_V1(event_store_task_backoff);

/* task_backoff(failures, random): the same as an interval, to be looked at */
Datum
event_store_task_backoff(PG_FUNCTION_ARGS)
{
	Interval   *result = palloc0(sizeof(Interval));

	result->time = es_backoff(PG_GETARG_INT32(0), Min(Max(PG_GETARG_FLOAT8(1), 0), 1)) * 1000;
	PG_RETURN_INTERVAL_P(result);
}
