/*
 * vacate.c
 *		Workers out of a database that a command needs for itself.
 *
 * DROP DATABASE, CREATE DATABASE ... TEMPLATE and the like fail while a worker
 * is connected.  So a session that is about to do one of them locks the
 * database against workers, with a lock tag of our own, asks the worker to
 * leave and waits until it is gone.  The launcher takes the worker's place in
 * its table before it looks at that lock, and the session the lock before it
 * looks at the table, so they cannot miss each other.  The lock goes with the
 * transaction, however that ends.
 */
#include "postgres.h"

#include <signal.h>

#include "access/xact.h"
#include "access/xlog.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "tcop/utility.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "base/compat.h"
#include "runtime/child_table.h"
#include "runtime/launcher.h"
#include "runtime/pool.h"
#include "runtime/vacate.h"

#define LEAVE_TIMEOUT		5000	/* ms that a session waits for scheduler and workers to leave */
#define PATIENCE			1000	/* ms until workers that have been asked are told */
#define NO_WORKERS_LOCK		0xE501	/* last word of the lock tag */

static ProcessUtility_hook_type prev_process_utility = NULL;

static void
no_workers_tag(LOCKTAG *tag, Oid dbid)
{
	SET_LOCKTAG_ADVISORY(*tag, dbid, 0, 0, NO_WORKERS_LOCK);
	tag->locktag_type = LOCKTAG_USERLOCK;
}

/* May a worker be in the database now?  Needs a transaction. */
bool
es_database_is_free(Oid dbid)
{
	LOCKTAG		tag;

	no_workers_tag(&tag, dbid);
	if (LockAcquire(&tag, ShareLock, false, true) == LOCKACQUIRE_NOT_AVAIL)
		return false;
	LockRelease(&tag, ShareLock, false);
	return true;
}

/* May the worker that calls stay in its database?  In a transaction of its own. */
bool
es_worker_may_stay(void)
{
	bool		free;

	StartTransactionCommand();
	free = es_database_is_free(MyDatabaseId);
	CommitTransactionCommand();
	return free;
}

/*
 * Keep scheduler and workers out of a database until the transaction ends, and
 * wait until those that are there have left.  If they do not leave in time, the
 * command that follows will say who is connected.
 */
static void
vacate_database(const char *name)
{
	Oid			dbid = name ? get_database_oid(name, true) : InvalidOid;
	TimestampTz deadline = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), LEAVE_TIMEOUT);
	TimestampTz patience = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), PATIENCE);
	LOCKTAG		tag;

	/* whoever may not do that command need not disturb the worker */
	if (!OidIsValid(dbid) || RecoveryInProgress() || !es_owns_database(dbid, GetUserId()))
		return;
	no_workers_tag(&tag, dbid);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);

	/* the work of tasks is broken off, and if one does not listen, its worker is ended */
	(void) es_pool_ask_to_leave(dbid, SIGINT);
	(void) es_children_ask_to_leave(dbid, SIGTERM);
	while (es_schedulers_ask_to_leave(dbid) +
		   es_pool_ask_to_leave(dbid, GetCurrentTimestamp() < patience ? 0 : SIGTERM) +
		   es_children_ask_to_leave(dbid, 0) > 0 &&
		   GetCurrentTimestamp() < deadline)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 10, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

static char *
option_value(List *options, const char *name)
{
	ListCell   *lc;

	foreach(lc, options)
	{
		DefElem    *option = lfirst_node(DefElem, lc);

		if (strcmp(option->defname, name) == 0 && option->arg != NULL)
			return defGetString(option);
	}
	return NULL;
}

/* The database that a statement needs for itself, NULL if none. */
static const char *
database_to_vacate(Node *statement)
{
	switch (nodeTag(statement))
	{
		case T_DropdbStmt:
			return ((DropdbStmt *) statement)->dbname;
		case T_CreatedbStmt:
			return option_value(((CreatedbStmt *) statement)->options, "template");
		case T_AlterDatabaseStmt:
			return option_value(((AlterDatabaseStmt *) statement)->options, "tablespace") ?
				((AlterDatabaseStmt *) statement)->dbname : NULL;
		case T_RenameStmt:
			return ((RenameStmt *) statement)->renameType == OBJECT_DATABASE ?
				((RenameStmt *) statement)->subname : NULL;
		default:
			return NULL;
	}
}

static void
process_utility(PlannedStmt *pstmt, const char *query, bool read_only_tree, ProcessUtilityContext context,
				ParamListInfo params, QueryEnvironment *environment, DestReceiver *dest, QueryCompletion *completion)
{
	vacate_database(database_to_vacate(pstmt->utilityStmt));

	if (prev_process_utility)
		prev_process_utility(pstmt, query, read_only_tree, context, params, environment, dest, completion);
	else
		standard_ProcessUtility(pstmt, query, read_only_tree, context, params, environment, dest, completion);
}

void
EsVacateInit(void)
{
	prev_process_utility = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
}
