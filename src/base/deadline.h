/*
 * deadline.h
 *		A time limit on a part of a statement.
 */
#ifndef ES_DEADLINE_H
#define ES_DEADLINE_H

#include "utils/timestamp.h"

/* A limit in force; the outer one waits until it ends. */
typedef struct EsDeadline
{
	TimestampTz own;
	TimestampTz earliest;		/* of its own and those around it */
	struct EsDeadline *outer;
} EsDeadline;

extern void es_deadline_begin(EsDeadline *deadline, int64 timeout);
extern bool es_deadline_end(EsDeadline *deadline);

#endif							/* ES_DEADLINE_H */
