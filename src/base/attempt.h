/*
 * attempt.h
 *		Doing something that may fail, in a subtransaction.
 */
#ifndef ES_ATTEMPT_H
#define ES_ATTEMPT_H

#include "utils/elog.h"
#include "utils/resowner.h"

/* What was current when the attempt began. */
typedef struct EsAttempt
{
	MemoryContext context;
	ResourceOwner owner;
} EsAttempt;

extern void es_attempt_begin(EsAttempt *attempt);
extern void es_attempt_succeeded(const EsAttempt *attempt);
extern void es_attempt_undo(const EsAttempt *attempt);
extern ErrorData *es_attempt_failed(const EsAttempt *attempt);

#endif							/* ES_ATTEMPT_H */
