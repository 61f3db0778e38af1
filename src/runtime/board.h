/*
 * board.h
 *		What the schedulers and everybody else tell each other of tasks.
 */
#ifndef ES_BOARD_H
#define ES_BOARD_H

#include "utils/timestamp.h"

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

/* the scheduler of a database */
extern bool es_board_open(Oid dbid);
extern void es_board_close(void);
extern bool es_board_take_changed(void);
extern bool es_board_take_pokes(void);
extern int	es_board_entry_take(int64 number);
extern void es_board_entry_give(int entry, int64 number);
extern void es_board_entry_set(int entry, const EsTaskStatus *status);
extern bool es_board_entry_poked(int entry);
extern void es_board_set_ready(int count, bool starving);

/* a worker */
extern bool es_board_others_wait(void);
extern bool es_board_database_starves(void);

/* anybody */
extern bool es_board_has_scheduler(Oid dbid);
extern void es_board_wake(Oid dbid);
extern void es_board_wake_starving(void);
extern void es_board_changed_at_commit(void);
extern bool es_board_poke_at_commit(int64 number);
extern bool es_board_status(int64 number, EsTaskStatus *status);

extern void EsBoardInit(void);

#endif							/* ES_BOARD_H */
