/*
 * event_handler.h
 *		Registered event handlers, ready to be handed events.
 */
#ifndef ES_EVENT_HANDLER_H
#define ES_EVENT_HANDLER_H

#include "utils/jsonb.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "deliver/key.h"
#include "deliver/source.h"
#include "model/prepared.h"

/* Columns of handler_registry. */
enum EsHandlerColumn
{
	HANDLER_NAME,
	HANDLER_KIND,
	HANDLER_FUNCTION,
	HANDLER_STORE_NUMBER,
	HANDLER_STREAM,
	HANDLER_CATEGORY,
	HANDLER_TYPES,
	HANDLER_FILTER,
	HANDLER_START_FROM,
	HANDLER_CONSISTENCY,
	HANDLER_CONCURRENCY,
	HANDLER_PARTITION_BY,
	HANDLER_BATCH_SIZE,
	HANDLER_BATCH_TIMEOUT,
	HANDLER_ERROR_FUNCTION,
	HANDLER_MAX_ATTEMPTS,
	HANDLER_BACKOFF,
	HANDLER_ON_EXHAUSTED,
	HANDLER_BEFORE_RESET,
	HANDLER_TABLES,
	HANDLER_OPTIONS,
	HANDLER_NUMBER,
	HANDLER_OWNER,
	HANDLER_REGISTERED_AT,
	HANDLER_NCOLUMNS
};

/* The parameters of a handler's functions. */
enum EsHandlerParameter
{
	ES_PARAM_HANDLED,			/* recorded_event */
	ES_PARAM_SUBJECT,			/* recorded_event[]: a batch; jsonb: the state of an instance of a process manager */
	ES_PARAM_PROBLEM,			/* jsonb: what has gone wrong */
	ES_PARAM_CONTEXT			/* jsonb: the command that has failed */
};

typedef enum EsHandlerKind
{
	ES_HANDLER_EVENT,
	ES_HANDLER_BATCH,
	ES_HANDLER_INLINE,
	ES_HANDLER_LIVE,			/* computed when it is read */
	ES_HANDLER_PROCESS
} EsHandlerKind;

/* What becomes of an event that has failed. */
typedef enum EsVerdict
{
	ES_VERDICT_RETRY,
	ES_VERDICT_PARK,
	ES_VERDICT_SKIP,
	ES_VERDICT_STOP
} EsVerdict;

/* The functions of a process manager, and what it says of its instances. */
typedef struct EsProcess
{
	EsCall	   *interested;
	EsCall	   *apply;			/* or NULL */
	EsCall	   *after_command;	/* or NULL */
	Jsonb	   *initial;		/* state of an instance that starts */
	int64		idle_timeout;	/* ms, 0: none */
	int64		event_timeout;	/* ms, 0: none */
} EsProcess;

typedef struct EsHandler
{
	EsPrepared	prepared;
	EsHandlerKind kind;
	int64		store_number;	/* 0: of all tenants */
	EsEventSource *source;
	char	   *start_from;
	bool		strong;
	int			concurrency;
	EsKeyRule  *partition_by;
	int			batch_size;
	int64		batch_timeout;	/* ms, -1: none */
	EsCall	   *function;
	EsCall	   *error_function; /* or NULL */
	int			max_attempts;
	int64		backoff;		/* ms */
	EsVerdict	on_exhausted;
	EsCall	   *before_reset;	/* or NULL */
	List	   *tables;			/* of char *, to be emptied at a reset */
	TimestampTz registered_at;
	EsProcess	process;

	TupleDesc	event_desc;		/* of recorded_event */
} EsHandler;

/* An event to be handled, palloc'd. */
typedef struct EsHandled
{
	int64		position;
	Datum		event;			/* a recorded_event */
	TimestampTz created_at;
	pg_uuid_t	event_id;
	pg_uuid_t	correlation_id;
	bool		has_correlation_id;
	Jsonb	   *metadata;		/* or NULL */
} EsHandled;

extern EsHandler *es_handler_take(const char *name, const EsStore *store, Relation log);
extern void es_handler_give(EsHandler *handler);
extern const char *es_handler_kind_name(EsHandlerKind kind);
extern bool es_handler_applies(int64 store_number, const EsStore *store);
extern bool es_handler_wants(const EsHandler *handler, const EsStore *store, text *stream, const Datum *row, const bool *nulls);
extern void es_handled_fill(EsHandled *handled, const EsHandler *handler, const EsStore *store,
				text *stream, const Datum *row, const bool *nulls);
extern int	es_handler_partition(const EsHandler *handler, const EsStore *store, text *stream, const Datum *row, const bool *nulls);

/* What a function of a handler takes and returns. */
typedef struct EsFunctionShape
{
	int			nargs;
	Oid			arguments[ES_MAX_PARAMS];
	Oid			result;			/* InvalidOid: any */
	const char *hint;
} EsFunctionShape;

extern EsFunctionShape es_handler_shape(EsHandlerKind kind);
extern EsFunctionShape es_error_shape(EsHandlerKind kind);
extern EsFunctionShape es_reset_shape(void);
extern EsFunctionShape es_interested_shape(void);
extern EsFunctionShape es_process_apply_shape(void);
extern EsFunctionShape es_after_command_shape(void);
extern Oid	es_handler_function(const char *name, EsFunctionShape shape);

static inline void
es_handler_set_parameter(EsHandler *handler, int parameter, Datum value)
{
	handler->prepared.parameters->params[parameter].value = value;
	handler->prepared.parameters->params[parameter].isnull = false;
}

static inline void
es_handler_set_event(EsHandler *handler, const EsHandled *event)
{
	es_handler_set_parameter(handler, ES_PARAM_HANDLED, event->event);
}

/* deliver/handler_step */
typedef enum EsStepNext
{
	ES_STEP_DONE,				/* nothing more is there; at a time there is something to write, if it is set */
	ES_STEP_MORE,				/* more may be there */
	ES_STEP_LATER,				/* at a time */
	ES_STEP_RESTS				/* paused, stopped or gone */
} EsStepNext;

typedef struct EsStep
{
	EsStepNext	next;
	TimestampTz at;				/* ES_STEP_LATER; ES_STEP_DONE, 0: none */
	int64		position;		/* everything up to here is done */
	int64		enough;			/* ES_STEP_LATER: a batch may be full when the log gets here, 0: not before at */
	int64		handled;		/* events that were got over */
	bool		busy;			/* somebody else is at work; nothing was done */
	bool		gone;			/* the rebuild was given up */
} EsStep;

extern EsStep es_handler_step(const char *name, int partition, int64 max_events, bool wait);
extern EsStepNext es_handler_steps(const char *name, int partition, int64 max_events, int64 *handled);

/* deliver/handler_inline */
extern void EsHandlerInlineInit(void);

/* deliver/handler_wait */
extern void es_handler_moved(EsStore *store);
extern void EsHandlerWaitInit(void);

#endif							/* ES_EVENT_HANDLER_H */
