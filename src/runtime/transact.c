/*
 * transact.c
 *		A transaction of a background process that may fail.
 *
 * Whoever locks tables of the extension, to drop it perhaps, may want a lock
 * that we hold while we wait for one of his.  We give way before the server
 * looks for a deadlock.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "runtime/transact.h"

#define LOCK_WAIT	"200ms"		/* less than any sensible deadlock_timeout */

/*
 * Do some work in a transaction, with a snapshot and in memory that goes with
 * it.  An error goes into the log, unless it is that of a lock that somebody
 * keeps, and no further.
 */
EsTransacted
es_transact(void (*work) (void *argument), void *argument)
{
	MemoryContext caller = CurrentMemoryContext;
	volatile EsTransacted result = ES_TRANSACT_DONE;

	PG_TRY();
	{
		SetCurrentStatementStartTimestamp();
		StartTransactionCommand();
		(void) set_config_option("lock_timeout", LOCK_WAIT, PGC_SUSET, PGC_S_OVERRIDE, GUC_ACTION_LOCAL, true, 0, false);
		PushActiveSnapshot(GetTransactionSnapshot());
		work(argument);
		PopActiveSnapshot();
		CommitTransactionCommand();
		MemoryContextSwitchTo(caller);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(caller);
		HOLD_INTERRUPTS();
		if (geterrcode() == ERRCODE_LOCK_NOT_AVAILABLE)
			result = ES_TRANSACT_LOCKED;
		else
		{
			result = ES_TRANSACT_FAILED;
			EmitErrorReport();
		}
		FlushErrorState();
		AbortCurrentTransaction();
		RESUME_INTERRUPTS();
		MemoryContextSwitchTo(caller);
	}
	PG_END_TRY();
	return result;
}
