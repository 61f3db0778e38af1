/*
 * attempt.c
 *		Doing something that may fail, in a subtransaction.
 *
 *		es_attempt_begin(&attempt);
 *		PG_TRY();
 *		{
 *			...
 *			es_attempt_succeeded(&attempt);
 *		}
 *		PG_CATCH();
 *		{
 *			ErrorData  *error = es_attempt_failed(&attempt);
 *
 *			... (ReThrowError(error) to give up)
 *		}
 *		PG_END_TRY();
 *
 * Afterwards the memory context and the resource owner are those of before.
 */
#include "postgres.h"

#include "access/xact.h"

#include "base/attempt.h"

void
es_attempt_begin(EsAttempt *attempt)
{
	attempt->context = CurrentMemoryContext;
	attempt->owner = CurrentResourceOwner;
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(attempt->context);
}

/* Keep what was done, at the end of the PG_TRY block. */
void
es_attempt_succeeded(const EsAttempt *attempt)
{
	ReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(attempt->context);
	CurrentResourceOwner = attempt->owner;
}

/* Undo what was done although it went well, after the block. */
void
es_attempt_undo(const EsAttempt *attempt)
{
	RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(attempt->context);
	CurrentResourceOwner = attempt->owner;
}

/* Undo what was done, first thing in the PG_CATCH block; returns the error, palloc'd. */
ErrorData *
es_attempt_failed(const EsAttempt *attempt)
{
	ErrorData  *error;

	MemoryContextSwitchTo(attempt->context);
	error = CopyErrorData();
	FlushErrorState();
	RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(attempt->context);
	CurrentResourceOwner = attempt->owner;
	return error;
}
