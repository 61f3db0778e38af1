/*
 * handler_state.h
 *		How far handlers have come in a store, and what they have put aside.
 */
#ifndef ES_HANDLER_STATE_H
#define ES_HANDLER_STATE_H

#include "storage/itemptr.h"
#include "utils/jsonb.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "store/store.h"

typedef enum EsHandlerRuns
{
	ES_HANDLER_RUNNING,
	ES_HANDLER_PAUSED,			/* by a user */
	ES_HANDLER_STOPPED			/* by a failure */
} EsHandlerRuns;

/* A row of event_handlers. */
typedef struct EsHandlerState
{
	int			partition;
	int			partitions;
	int64		position;		/* everything up to here is done */
	EsHandlerRuns runs;
	int			failures;		/* in a row, of the event at failed_position */
	int64		failed_position;	/* 0: none */
	TimestampTz retry_at;		/* 0: none */
	int64		handled;
	int64		skipped;
	int64		parked;
	Jsonb	   *problem;		/* the last, palloc'd; or NULL */
	TimestampTz started_at;		/* at the position where it began; 0: now */
	TimestampTz changed_at;
	ItemPointerData tid;		/* invalid: not written yet */
} EsHandlerState;

/* A row of event_parked. */
typedef struct EsParked
{
	int64		position;
	int			partition;
	int			attempts;
	TimestampTz parked_at;
	Jsonb	   *problem;
	ItemPointerData tid;
} EsParked;

extern Relation es_handlers_open(EsStore *store, LOCKMODE lockmode, bool create);
extern bool es_handlers_read(Relation handlers, const char *name, int partition, EsHandlerState *state);
extern List *es_handlers_read_all(Relation handlers, const char *name);
extern void es_handlers_write(Relation handlers, const char *name, EsHandlerState *state);
extern void es_handlers_delete(Relation handlers, EsHandlerState *state);
extern const char *es_handler_runs_name(EsHandlerRuns runs);

extern Relation es_parked_open(EsStore *store, LOCKMODE lockmode);
extern void es_parked_write(Relation parked, const char *name, EsParked *event);
extern List *es_parked_read(Relation parked, const char *name, int64 max_count);
extern void es_parked_delete(Relation parked, const EsParked *event);

extern uint32 es_handler_lock_key(const char *name, int partition);
extern bool es_handler_lock(Relation handlers, const char *name, int partition, bool wait);

#endif							/* ES_HANDLER_STATE_H */
