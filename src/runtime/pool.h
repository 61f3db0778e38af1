/*
 * pool.h
 *		The workers, of all databases, and what each of them does.
 */
#ifndef ES_POOL_H
#define ES_POOL_H

#include "utils/timestamp.h"

#include "runtime/task.h"

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
extern int	es_pool_place_take(uint64 *generation, bool *has_one);
extern void es_pool_place_give(int place, uint64 generation);
extern int	es_pool_idle_worker(void);
extern bool es_pool_assign(int place, EsAssignment *assignment, int *pid);
extern void es_pool_cancel(uint64 run);
extern bool es_pool_collect(EsRunOutcome *outcome);
extern int	es_pool_starting(void);
extern void es_pool_wake_others(void);
extern int	es_pool_workers(EsWorkerStatus *workers);

/* a worker */
extern bool es_pool_begin(int place, uint64 generation);
extern void es_pool_ready(void);
extern bool es_pool_get(EsAssignment *assignment);
extern void es_pool_done(const EsRunOutcome *outcome, bool leaving);
extern bool es_pool_stopping(void);
extern bool es_pool_cancelled(void);
extern bool es_pool_leave(void);

/* sessions */
extern int	es_pool_ask_to_leave(Oid dbid, int signal);

extern void EsPoolInit(void);

#endif							/* ES_POOL_H */
