/*
 * tidy.c
 *		A task that takes away what a store need not keep.
 *
 * Every event_store.tidy_interval it goes through the streams with limits, a
 * batch a step, as scavenge_store does, and then forgets the ids of commands
 * older than event_store.command_retention.  Where it is in the streams is
 * remembered by the worker: another one that goes on begins with the first and
 * finds nothing in those that are done.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

#include "base/arguments.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/settings.h"
#include "log/scavenge.h"
#include "model/repeat.h"
#include "runtime/task.h"
#include "runtime/tidy.h"

#define NAME		"tidy"		/* of the task, one a store */
#define BATCH		1000		/* events that a step takes away */
#define OFF_INTERVAL	60000	/* ms until it is looked whether upkeep is on again */

static EsTaskNext step(EsTask *task);

static const EsTaskKind tidy_kind = {.name = "tidy", .step = step};

/* The task whose step was the last one here and has more to do, and where that goes on. */
static int64 unfinished = 0;
static int64 unfinished_after;

static EsTaskNext
step(EsTask *task)
{
	int64		after = unfinished == task->number && task->failures == 0 ? unfinished_after : 0;

	/* an error forgets it */
	unfinished = 0;
	if (!es_upkeep)
		return es_task_at(TimestampTzPlusMilliseconds(task->now, OFF_INTERVAL));
	if (es_scavenge_step(&after, BATCH))
	{
		unfinished = task->number;
		unfinished_after = after;
		return es_task_again();
	}
	if (es_command_retention >= 0)
		(void) es_commands_forget(TimestampTzPlusMilliseconds(task->now, -(int64) es_command_retention * SECS_PER_MINUTE * 1000));
	return es_task_at(TimestampTzPlusMilliseconds(task->now, (int64) es_tidy_interval * 1000));
}

void
EsTidyInit(void)
{
	es_task_kind_register(&tidy_kind);
}

PG_FUNCTION_INFO_V1(event_store_keep_store_tidy);

/* keep_store_tidy(tidy) */
Datum
event_store_keep_store_tidy(PG_FUNCTION_ARGS)
{
	EsStore    *store;
	int64		task;

	es_require_argument(fcinfo, 0, "tidy");
	es_require_writable();
	store = es_store_current(false);
	if (!es_owns_relation(store->log, GetUserId()))
		ereport(ERROR,
				(es_problem(ERRCODE_INSUFFICIENT_PRIVILEGE, ES_MEMBERS(ES_TEXT("store", NameStr(store->schema))),
							"must be owner of the event store in schema \"%s\"", NameStr(store->schema)),
				 errhint("Ask its owner, or become a member of the owning role.")));
	task = es_task_find(&tidy_kind, NAME, store);
	if (!PG_GETARG_BOOL(0))
	{
		if (task != 0)
			(void) es_task_remove(task);
	}
	else if (task != 0)
		es_task_resume(task);
	else
		(void) es_task_add(&tidy_kind, NAME, store, GetUserId());
	PG_RETURN_VOID();
}
