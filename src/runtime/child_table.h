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
	ES_CHILD_DIED,				/* its process has ended without a word: the scheduler decides */
	ES_CHILD_FAILED				/* its first call has failed: whoever started it takes note and frees it */
} EsChildState;

/* A child, copied. */
typedef struct EsChild
{
	int			place;
	uint64		generation;		/* of the place; changes with each process */
	EsChildState state;
	pg_uuid_t	id;
	Oid			dbid;
	Oid			nspid;			/* schema of its tenant, InvalidOid: none */
	Oid			role;			/* that it runs as */
	NameData	supervisor;
	char	   *function;		/* signature */
	char	   *name;			/* "": none */
	Jsonb	   *args;
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
	int			sqlstate;		/* of its last error, 0: none */
	char		message[ES_CHILD_MESSAGE];
} EsChild;

typedef enum EsPlaced
{
	ES_PLACED,
	ES_PLACED_TOO_MANY,			/* the supervisor has as many as it may */
	ES_PLACED_TAKEN,			/* a child of this name is there, with the id that is returned */
	ES_PLACED_NO_ROOM,			/* no place, that is, no worker */
	ES_PLACED_POOL_FULL
} EsPlaced;

/* whoever starts a child */
extern EsPlaced es_child_place(EsChild *child, int max_children, bool queue);
extern void es_child_free(const EsChild *child);
extern bool es_child_look(EsChild *child);
extern EsChild *es_children_copy(int *count);
extern bool es_child_register(const EsChild *child, void **handle);
extern void es_child_keep(const EsChild *child);

/* anybody */
extern bool es_child_ask_to_stop(const EsChild *child);
extern void es_child_kill(const EsChild *child);
extern int	es_children_stop(const char *supervisor);
extern int	es_children_ask_to_leave(Oid dbid, int signal);

/* its process */
extern bool es_child_begin(int place, uint64 generation, EsChild *child);
extern void es_child_ready(const EsChild *child);
extern void es_child_sleeps(const EsChild *child, TimestampTz until);
extern void es_child_calls(const EsChild *child);
extern void es_child_note_error(const EsChild *child, int sqlstate, const char *message);
extern bool es_child_is_awaited(const EsChild *child);
extern bool es_child_is_stopping(const EsChild *child);
extern void es_child_set_state(const EsChild *child, EsChildState state);
extern void es_child_died(const EsChild *child);
extern bool es_child_may_restart(const EsChild *child);
extern void es_child_begin_again(const EsChild *child);

/* the scheduler of the database */
extern bool es_child_take_queued(EsChild *child);
extern bool es_child_take_died(EsChild *child, bool *counts);
extern void es_child_put_back(const EsChild *child, EsChildState state);
extern void es_children_kill_overdue(void);

extern void EsChildTableInit(void);

#endif							/* ES_CHILD_TABLE_H */
