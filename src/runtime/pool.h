/*
 * pool.h
 *		What scheduler, workers and sessions share of the tasks.
 */
#ifndef ES_POOL_H
#define ES_POOL_H

#include "utils/timestamp.h"

#include "runtime/task.h"

/* The states of a task; doc/runtime.md has the picture. */
typedef enum EsTaskState
{
	ES_STATE_READY,				/* due, has no worker yet */
	ES_STATE_RUNNING,			/* a worker has it */
	ES_STATE_SLEEPING,			/* due at a time, or when poked */
	ES_STATE_WAITING,			/* due when the horizon of its store moves, or when poked */
	ES_STATE_BACKING_OFF,		/* failed, due at a time, or when resumed */
	ES_STATE_STOPPED			/* failed for good, due when resumed */
} EsTaskState;

/* What all may see of a task.  Only its scheduler changes it. */
typedef struct EsTaskStatus
{
	EsTaskState state;
	TimestampTz since;
	TimestampTz at;				/* next run, DT_NOEND: not at a known time */
	Oid			log;			/* waiting: for this log to move past the horizon */
	int64		horizon;
	int			pid;			/* of the worker, 0: none */
	int			failures;
	int64		steps;			/* since the scheduler started */
} EsTaskStatus;

/* How a step has ended. */
typedef enum EsRunEnd
{
	ES_RUN_NEXT,			/* well: `next` says when it is due again */
	ES_RUN_FAILED,			/* is to be tried again at next.at */
	ES_RUN_STOPPED,			/* is not to be tried again */
	ES_RUN_POSTPONED,		/* did not run: due at next.at */
	ES_RUN_LOST				/* the worker has died */
} EsRunEnd;

typedef struct EsRunOutcome
{
	int64		task;
	uint64		run;			/* of the assignment */
	EsRunEnd kind;
	EsTaskNext	next;
	Oid			log;			/* of the task's store */
	int64		steps;			/* that were run in one go */
	bool		started;		/* LOST: had the worker begun with it? */
} EsRunOutcome;

/* What a worker gets to do. */
typedef struct EsAssignment
{
	int64		task;
	uint64		run;			/* a number of its own, given by es_pool_assign */
	int			failures;
} EsAssignment;

typedef struct EsWorkerStatus
{
	Oid			dbid;
	int			pid;
	TimestampTz started_at;
	bool		busy;
	int64		task;
	uint64		run;
	TimestampTz since;
} EsWorkerStatus;

/* the scheduler of a database */
extern bool es_pool_open(Oid dbid);
extern void es_pool_close(void);
extern bool es_pool_take_changed(void);
extern bool es_pool_take_pokes(void);
extern int	es_pool_entry_take(int64 number);
extern void es_pool_entry_give(int entry, int64 number);
extern void es_pool_entry_set(int entry, const EsTaskStatus *status);
extern bool es_pool_entry_poked(int entry);
extern int	es_pool_place_take(uint64 *generation, bool *has_one);
extern void es_pool_place_give(int place, uint64 generation);
extern int	es_pool_idle_worker(void);
extern bool es_pool_assign(int place, EsAssignment *assignment, int *pid);
extern bool es_pool_collect(EsRunOutcome *outcome);
extern int	es_pool_starting(void);
extern int	es_pool_workers(EsWorkerStatus *workers);
extern void es_pool_set_ready(int count, bool starving);

/* a worker */
extern bool es_pool_begin(int place, uint64 generation);
extern void es_pool_ready(void);
extern bool es_pool_get(EsAssignment *assignment);
extern void es_pool_done(const EsRunOutcome *outcome);
extern bool es_pool_stopping(void);
extern bool es_pool_others_wait(void);
extern bool es_pool_database_starves(void);
extern bool es_pool_leave(void);

/* anybody */
extern void es_pool_wake_scheduler(Oid dbid);

/* sessions */
extern void es_pool_changed_at_commit(void);
extern bool es_pool_poke_at_commit(int64 number);
extern bool es_pool_status(int64 number, EsTaskStatus *status);
extern int	es_pool_ask_to_leave(Oid dbid, int signal);

extern void EsPoolInit(void);

#endif							/* ES_POOL_H */
