/*
 * commit.c
 *		Procedures that end transactions.
 *
 * What such a procedure keeps from one transaction to the next it keeps in a
 * memory context below PortalContext, and looks up anew everything else.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "nodes/parsenodes.h"
#include "tcop/pquery.h"

#include "base/commit.h"

/* Is the procedure inside of a transaction of the caller's, which it cannot end? */
bool
es_call_is_atomic(FunctionCallInfo fcinfo)
{
	return fcinfo->context == NULL || !IsA(fcinfo->context, CallContext) || ((CallContext *) fcinfo->context)->atomic;
}

/* Commit, and begin the next transaction.  The caller's memory context stays current. */
void
es_commit(void)
{
	MemoryContext caller = CurrentMemoryContext;

	SPI_connect_ext(SPI_OPT_NONATOMIC);
	SPI_commit();
	SPI_finish();
	EnsurePortalSnapshotExists();
	MemoryContextSwitchTo(caller);
}
