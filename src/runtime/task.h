/*
 * task.h
 *		Tasks: work of users that runs in the background, a step at a time.
 *
 * A floor above registers kinds of tasks from its XxxInit(), and a task when a
 * user asks for one (a handler, a schedule).  From the commit on, the scheduler of the
 * database gives the task to a worker whenever it is due, one at a time.
 */
#ifndef ES_TASK_H
#define ES_TASK_H

#include "utils/timestamp.h"

#include "store/store.h"

#define ES_TASK_NAME	512		/* most bytes of a name */

/* When a task is due again, as its step says. */
typedef enum EsTaskWhen
{
	ES_TASK_ENDED,				/* never: its row is deleted */
	ES_TASK_AGAIN,				/* as soon as others have had their turn */
	ES_TASK_AT,					/* at a time, or when poked */
	ES_TASK_MOVED				/* when the horizon of its store has moved, or when poked */
} EsTaskWhen;

typedef struct EsTaskNext
{
	EsTaskWhen	when;
	TimestampTz at;				/* ES_TASK_AT; DT_NOEND: only when poked. ES_TASK_MOVED: due then too, 0: not */
	int64		horizon;		/* ES_TASK_MOVED: up to which the step has worked; due once it is higher */
} EsTaskNext;

/* A task, as its step sees it.  In the context of the step. */
typedef struct EsTask
{
	int64		number;			/* its identity in the database */
	const char *kind;
	const char *name;
	Oid			owner;			/* the role that the step runs as */
	EsStore    *store;			/* NULL: of no store */
	int			failures;		/* in a row, before this step */
	TimestampTz now;			/* when the step began */

	/* the step sets this while an error means that trying again is useless */
	bool		fatal;
} EsTask;

/*
 * A kind of task.
 *
 * A step runs in a transaction of its own, under its owner in a
 * security-restricted operation (no SET ROLE, no temporary tables, no deferred
 * triggers; not if the owner is a superuser), with a snapshot pushed, the
 * search_path of the store and its tenant set, CurrentMemoryContext a context
 * that is reset afterwards, and event_store.task_timeout as its limit.  It
 * does a bounded amount of work, a batch, and says when it is due again; what
 * it did commits then.  It may change the snapshot, must leave SPI, and may
 * look at es_task_should_yield() to end a batch early.
 *
 * An error undoes the step.  Then `failed`, if there is one, is asked, in the
 * transaction that notes the failure, as the superuser that the worker is: it
 * may park what the step failed on and returns true for a task that is to go
 * on at once as if nothing had happened; else the task backs off.
 *
 * `forget`, if there is one, is told of a task that is being removed: that has
 * ended, or whose store is dropped.  It deletes what the kind keeps of it.
 */
typedef struct EsTaskKind
{
	const char *name;
	EsTaskNext	(*step) (EsTask *task);
	bool		(*failed) (EsTask *task, const ErrorData *error);	/* may be NULL */
	void		(*forget) (int64 number);	/* may be NULL */
} EsTaskKind;

/* only while _PG_init runs; kind must live as long as the process */
extern void es_task_kind_register(const EsTaskKind *kind);

/* registrations: rows of event_store.task, which take effect at commit */
extern int64 es_task_add(const EsTaskKind *kind, const char *name, EsStore *store, Oid owner);
extern int64 es_task_find(const EsTaskKind *kind, const char *name, EsStore *store);
extern int64 es_task_find_of(const EsTaskKind *kind, const char *name, int64 store_number);
extern int64 es_task_find_orphan(const EsTaskKind *kind, const char *name);
extern bool es_task_remove(int64 number);

/* let a task run at once, as from the commit of this transaction */
extern void es_task_poke(int64 number);

/* ... and forget that it has failed or was stopped */
extern void es_task_resume(int64 number);

/* for a step: is somebody waiting for this worker? */
extern bool es_task_should_yield(void);

static inline EsTaskNext
es_task_ended(void)
{
	return (EsTaskNext) {.when = ES_TASK_ENDED};
}

static inline EsTaskNext
es_task_again(void)
{
	return (EsTaskNext) {.when = ES_TASK_AGAIN};
}

static inline EsTaskNext
es_task_at(TimestampTz at)
{
	return (EsTaskNext) {.when = ES_TASK_AT, .at = at};
}

static inline EsTaskNext
es_task_when_moved(int64 horizon)
{
	return (EsTaskNext) {.when = ES_TASK_MOVED, .horizon = horizon};
}

static inline EsTaskNext
es_task_when_moved_or_at(int64 horizon, TimestampTz at)
{
	return (EsTaskNext) {.when = ES_TASK_MOVED, .horizon = horizon, .at = at};
}

extern void EsTaskInit(void);

#endif							/* ES_TASK_H */
