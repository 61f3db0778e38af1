/*
 * child_table.h
 *		Children of supervisors, in shared memory.
 */
#ifndef ES_CHILD_TABLE_H
#define ES_CHILD_TABLE_H

#include "datatype/timestamp.h"
#include "utils/jsonb.h"
#include "utils/uuid.h"

#define ES_CHILD_NAME_MAX		128		/* bytes, of a child's name */
#define ES_CHILD_ARGS_MAX		8192	/* bytes of its arguments */
#define ES_CHILD_MESSAGE		256		/* bytes kept of its last error */
#define ES_MAX_RESTARTS			64		/* that a supervisor can allow */

typedef enum EsRestart
{
	ES_RESTART_PERMANENT,		/* always */
	ES_RESTART_TRANSIENT,		/* after an error */
	ES_RESTART_TEMPORARY		/* never */
} EsRestart;

/* The states of a child; doc/supervisors.md has the picture. */
typedef enum EsChildState
{
	ES_CHILD_FREE = 0,
	ES_CHILD_QUEUED,			/* waits for a background worker */
	ES_CHILD_STARTING,			/* has one, and its first call has not returned */
	ES_CHILD_RUNNING,
	ES_CHILD_ENDED,				/* its process is gone: the scheduler decides whether it gets another one */
	ES_CHILD_FAILED				/* its first call has failed: whoever started it takes note and frees it */
} EsChildState;

/* How a process of a child has ended. */
typedef enum EsChildEnd
{
	ES_END_DIED,				/* without a word */
	ES_END_ERROR,
	ES_END_DONE,				/* the function has returned null */
	ES_END_STOPPED,				/* it was asked to, or there is nothing left that it belongs to */
	ES_END_MADE_WAY				/* for DROP DATABASE or the like */
} EsChildEnd;

/* A child, copied. */
typedef struct EsChild
{
	int			place;
	uint64		generation;		/* of the place; changes with each process */
	EsChildState state;
	EsChildEnd	how;			/* of its last process, once it is ENDED */
	pg_uuid_t	id;
	Oid			dbid;
	Oid			nspid;			/* schema of its store, InvalidOid: none */
	Oid			role;			/* that it runs as */
	NameData	supervisor;
	Jsonb	   *args;
	char	   *function;		/* signature */
	char	   *name;			/* "": none */
	EsRestart	restart;
	int64		shutdown;		/* ms that it gets to end by itself, -1: any time */
	int			max_restarts;	/* of the supervisor, within ... */
	int			max_seconds;
	bool		stopping;
	int			pid;			/* 0: none */
	TimestampTz started_at;
	TimestampTz next_at;		/* of its next call, 0: it is being called */
	int64		calls;
	int			restarts;
	bool		restarted;		/* since its last process began, which is to tell telemetry */
	int			sqlstate;		/* of its last error, 0: none */
	char		message[ES_CHILD_MESSAGE];
} EsChild;

typedef enum EsPlaced
{
	ES_PLACED,
	ES_PLACED_TOO_MANY,			/* the supervisor has as many as it may */
	ES_PLACED_TAKEN,			/* it has a child of this name */
	ES_PLACED_SUPERVISOR_FAILED,
	ES_PLACED_NO_ROOM,			/* no place, that is, no worker */
	ES_PLACED_POOL_FULL
} EsPlaced;

/* whoever starts a child */
extern EsPlaced es_child_place(EsChild *child, int max_children, bool queue);
extern bool es_child_look(EsChild *child);
extern void es_child_free(const EsChild *child);
extern void es_child_keep(const EsChild *child);

/* anybody */
extern EsChild *es_children_copy(int *count);
extern int	es_children_stop(const char *supervisor, const pg_uuid_t *id);
extern int	es_children_left(const char *supervisor, const pg_uuid_t *id, bool force);
extern int	es_children_ask_to_leave(Oid dbid, int signal);
extern void es_supervisor_forget(const char *supervisor);

/* its process */
extern bool es_child_begin(int place, uint64 generation, EsChild *child);
extern void es_child_calls(const EsChild *child);
extern void es_child_ready(const EsChild *child);
extern void es_child_sleeps(const EsChild *child, TimestampTz until);
extern void es_child_note_error(const EsChild *child, int sqlstate, const char *message);
extern bool es_child_is_stopping(const EsChild *child);
extern void es_child_ended(const EsChild *child, EsChildEnd end);

/* the scheduler of the database, and the launcher */
extern bool es_children_in(Oid dbid);
extern void es_children_tidy(void);
extern bool es_child_take_ended(EsChild *child);
extern bool es_child_take_queued(EsChild *child);
extern bool es_child_count_restart(const EsChild *child);
extern void es_child_queue(const EsChild *child);
extern void es_children_forget(Oid dbid);

extern void EsChildTableInit(void);

#endif							/* ES_CHILD_TABLE_H */
