/*
 * handler_step.c
 *		Handing the next events of a store to a handler.
 *
 * One step, in the transaction of whoever calls: lock a partition of the
 * handler, read the next events below the horizon, call its function, write
 * how far it has come.  The effects and the checkpoint commit together, so an
 * event has its effect once, wherever the server or a worker is killed.
 *
 * The events of a step are handled in one subtransaction.  If one fails, all
 * are undone and those before it are handled again, in a second one; so a step
 * has few subtransactions however many events it has.  The failed event is
 * then retried, put aside or passed (deliver/handler_failure); until that is
 * decided, it holds back its own partition and no other.
 *
 * Errors that are not the event's fault (a deadlock, a full disk, a cancelled
 * statement) are raised: they undo the step.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/arguments.h"
#include "base/attempt.h"
#include "base/errors.h"
#include "deliver/event_handler.h"
#include "deliver/handler_operate.h"
#include "deliver/process_manager.h"
#include "deliver/projection.h"
#include "model/apply.h"
#include "observe/execute.h"
#include "observe/problem.h"

#define IDLE_INTERVAL		1000	/* ms between checkpoints that pass nothing but foreign events ... */
#define IDLE_EVENTS			500		/* ... of which there are not too many */
#define MAX_ALONE			50		/* events of a failed batch that a step tries alone */

/* A step in progress. */
typedef struct Step
{
	EsHandlerUse use;
	EsHandlerState state;
	MemoryContext context;		/* holds the events */
	MemoryContext per_event;	/* reset with each */

	/* what has been read */
	EsHandled  *events;
	int			wanted;			/* room in events */
	int			count;
	int64		passed;			/* everything up to here has been looked at */
	bool		at_end;			/* and there is no more */

	int			succeeded;		/* events that were handled */
} Step;

/* --- reading --- */

/* Is an event one of the partition? */
static bool
is_of_partition(const Step *step, text *stream, const Datum *row, const bool *nulls)
{
	int			partition = step->state.partition;

	if (partition <= ES_LIVE_READ)
		return true;
	return es_handler_partition(step->use.handler, step->use.store, stream, row, nulls) == (partition < 0 ? -1 - partition : partition);
}

/* Takes an event that was read, unless there are enough. */
static bool
take_event(void *target, text *stream, const Datum *row, const bool *nulls)
{
	Step	   *step = target;
	MemoryContext event_context;

	if (step->count == step->wanted)
		return false;
	if (!is_of_partition(step, stream, row, nulls))
		return true;
	event_context = MemoryContextSwitchTo(step->context);
	es_handled_fill(&step->events[step->count++], step->use.handler, step->use.store, stream, row, nulls);
	MemoryContextSwitchTo(event_context);
	return true;
}

/* Read the next events for the partition, at most max_events, but those of a batch. */
static void
read_events(Step *step, int64 max_events)
{
	EsHandler  *handler = step->use.handler;
	EsFinal		final;

	step->wanted = handler->kind == ES_HANDLER_BATCH ? handler->batch_size : (int) Min(handler->batch_size, max_events);
	step->events = palloc(mul_size(sizeof(EsHandled), step->wanted));
	es_final_begin(&final, step->use.store);
	step->passed = es_source_read(handler->source, step->use.store, step->use.log, &final, step->state.position, ES_SOURCE_STEP,
								  take_event, step);
	step->at_end = step->passed >= final.last;
	es_final_end(&final);
}

/* --- calling --- */

/* Tell telemetry of a call, if anybody wants to know. */
static void
tell(Step *step, EsOwnEvent event, int events, instr_time start, const char *label, const char *value)
{
	StringInfoData json;
	instr_time	now;
	Datum		measurements;

	if (!es_event_is_wanted(event))
		return;
	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_SUBTRACT(now, start);
	initStringInfo(&json);
	appendStringInfo(&json, "{\"events\":%d,\"duration\":%.9f}", events, INSTR_TIME_GET_DOUBLE(now));
	measurements = es_document_jsonb(json.data);
	resetStringInfo(&json);
	appendStringInfoString(&json, "{\"handler\":");
	escape_json(&json, step->use.handler->prepared.name);
	appendStringInfo(&json, ",\"%s\":\"%s\"}", label, value);
	es_telemetry_execute(cstring_to_text(es_event_name(event)), DatumGetJsonbP(measurements), DatumGetJsonbP(es_document_jsonb(json.data)));
}

/* Call the function with events as an array. */
static void
call_batch(Step *step, int from, int to)
{
	Datum	   *elements = palloc(sizeof(Datum) * (to - from));
	bool		isnull;

	for (int i = from; i < to; i++)
		elements[i - from] = step->events[i].event;
	es_handler_set_parameter(step->use.handler, ES_PARAM_SUBJECT,
							 PointerGetDatum(construct_array(elements, to - from, es_apply_event_type(), -1, false, TYPALIGN_DOUBLE)));
	(void) es_prepared_call(&step->use.handler->prepared, step->use.handler->function, &isnull);
}

static void
call_event(Step *step, const EsHandled *event)
{
	bool		isnull;

	if (step->use.handler->kind == ES_HANDLER_PROCESS)
		es_process_handle(step->use.handler, step->use.store, event);
	else
	{
		es_handler_set_event(step->use.handler, event);
		(void) es_prepared_call(&step->use.handler->prepared, step->use.handler->function, &isnull);
	}
}

/*
 * Handle events [from, to) in a subtransaction, in one call or one by one;
 * returns NULL, or the error with *failed set to the event that it befell.
 */
static ErrorData *
attempt(Step *step, int from, int to, bool batch, volatile int *failed)
{
	EsAttempt	attempt;
	MemoryContext caller = CurrentMemoryContext;
	ErrorData  *volatile error = NULL;
	const volatile EsOwnEvent which = step->use.handler->kind == ES_HANDLER_PROCESS ? ES_EVENT_PROCESS : ES_EVENT_HANDLE;

	*failed = from;
	es_attempt_begin(&attempt);
	PG_TRY();
	{
		PushActiveSnapshot(GetTransactionSnapshot());
		MemoryContextSwitchTo(step->per_event);
		for (int i = from; i < to; i = batch ? to : i + 1)
		{
			instr_time	start;

			CHECK_FOR_INTERRUPTS();
			MemoryContextReset(step->per_event);
			*failed = i;
			INSTR_TIME_SET_CURRENT(start);
			if (batch)
				call_batch(step, from, to);
			else
				call_event(step, &step->events[i]);
			CommandCounterIncrement();
			tell(step, which, batch ? to - from : 1, start, "result", "ok");
		}
		MemoryContextSwitchTo(caller);
		PopActiveSnapshot();
		es_attempt_succeeded(&attempt);
	}
	PG_CATCH();
	{
		instr_time	start;

		error = es_attempt_failed(&attempt);
		if (es_handler_blameless(error->sqlerrcode))
			ReThrowError(error);
		INSTR_TIME_SET_CURRENT(start);
		tell(step, which, 1, start, "result", "error");
	}
	PG_END_TRY();
	return error;
}

/* Hand a handler one event, of a batch handler's a batch of one; returns the error it has met, or NULL. */
ErrorData *
es_handler_attempt(const EsHandlerUse *use, EsHandled *event)
{
	Step		step = {.use = *use, .events = event, .count = 1, .wanted = 1, .context = CurrentMemoryContext};
	volatile int failed;

	step.per_event = AllocSetContextCreate(CurrentMemoryContext, "event_store handler event", ALLOCSET_DEFAULT_SIZES);
	return attempt(&step, 0, 1, use->handler->kind == ES_HANDLER_BATCH, &failed);
}

/*
 * An event, or the batch that begins with it, has failed after `done` others
 * were handled; returns how many the handler has got over.
 */
static int
get_over(Step *step, int done, const ErrorData *error)
{
	step->succeeded = done;
	return es_handler_judge(&step->use, &step->state, &step->events[done], error) ? done + 1 : done;
}

/*
 * Handle the events that were read as a batch; returns how many the handler
 * has got over.  If it fails, all wait for the next attempt.  Once the last
 * has failed too, each is tried alone, to find the one that is to blame.
 */
static int
handle_batch(Step *step)
{
	EsHandlerState *state = &step->state;
	volatile int failed;
	instr_time	start;
	ErrorData  *error;

	INSTR_TIME_SET_CURRENT(start);
	error = attempt(step, 0, step->count, true, &failed);
	if (error == NULL)
	{
		tell(step, ES_EVENT_HANDLE_BATCH, step->count, start, "flush_reason",
			 step->count == step->wanted ? "size" : step->use.handler->batch_timeout > 0 ? "timeout" : "immediate");
		step->succeeded = step->count;
		return step->count;
	}
	if (step->count == 1 || state->failed_position != step->events[0].position ||
		state->failures + 1 < step->use.handler->max_attempts)
		return get_over(step, 0, error);

	for (int i = 0; i < Min(step->count, MAX_ALONE); i++)
	{
		error = attempt(step, i, i + 1, true, &failed);
		if (error != NULL)
		{
			/* it was part of every attempt before */
			state->failures = step->use.handler->max_attempts - 1;
			state->failed_position = step->events[i].position;
			return get_over(step, i, error);
		}
	}
	step->succeeded = Min(step->count, MAX_ALONE);
	return step->succeeded;
}

/*
 * Handle the events that were read one by one; returns how many the handler
 * has got over.  Those before the one that fails are handled once more,
 * without it.
 */
static int
handle_events(Step *step)
{
	volatile int failed;
	int			limit = step->count;
	ErrorData  *last = NULL;

	while (limit > 0)
	{
		ErrorData  *error = attempt(step, 0, limit, false, &failed);

		if (error == NULL)
			break;
		last = error;
		limit = failed;
	}
	step->succeeded = limit;
	return last == NULL ? limit : get_over(step, limit, last);
}

/*
 * Has a batch that is not full to wait for more?  Then *at is set, and *enough
 * to the first position that could fill it, if nothing in between is passed over.
 */
static bool
batch_waits(Step *step, TimestampTz *at, int64 *enough)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz since;

	/* a rebuild has all there is */
	if (step->state.partition < 0 || !step->at_end || step->use.handler->kind != ES_HANDLER_BATCH || step->use.handler->batch_timeout <= 0 || step->count == step->wanted)
		return false;
	since = step->events[0].created_at;
	*at = TimestampTzPlusMilliseconds(since, step->use.handler->batch_timeout);
	*enough = step->passed + step->wanted - step->count;

	/* a time that a caller gave, and that is yet to come, would hold it back for ever */
	return since <= now && *at > now;
}

/* Write what the step has done. */
static void
write_state(Step *step, int done, EsStep *result)
{
	EsHandlerState *state = &step->state;
	int64		before = state->position;

	if (done == step->count)
		state->position = step->passed;
	else
		state->position = step->events[done].position - 1;
	state->handled += step->succeeded;
	if (state->failed_position != 0 && state->failed_position <= state->position)
	{
		state->failures = 0;
		state->failed_position = 0;
		state->retry_at = 0;
	}
	es_handlers_write(step->use.handlers, step->use.handler->prepared.name, state);
	if (state->position != before)
		es_handler_moved(step->use.store);
	result->position = state->position;
	result->handled = done;
}

/*
 * Were there only a few events, and those for others?  To write that down each
 * time would cost idle handlers more than it is worth: then *at is set to when
 * it will be.
 */
static bool
is_idle(Step *step, TimestampTz *at)
{
	if (step->count > 0 || !step->at_end || step->passed == step->state.position ||
		step->passed - step->state.position > IDLE_EVENTS)
		return false;
	*at = TimestampTzPlusMilliseconds(step->state.changed_at, IDLE_INTERVAL);
	return *at > GetCurrentTimestamp();
}

/* Do what there is to do for the partition, which is locked and whose state is read. */
static void
work(Step *step, int64 max_events, bool wait, EsStep *result)
{
	EsHandlerState *state = &step->state;
	EsHandlerKind kind = step->use.handler->kind;
	int			done;

	result->position = state->position;
	if (state->runs != ES_HANDLER_RUNNING)
		return;
	result->next = ES_STEP_LATER;
	result->at = state->retry_at;
	if (result->at > GetCurrentTimestamp())
		return;
	read_events(step, max_events);
	if (step->count > 0 && batch_waits(step, &result->at, &result->enough))
		return;
	if (!wait && is_idle(step, &result->at))
	{
		result->next = ES_STEP_DONE;
		result->position = step->passed;
		return;
	}

	done = kind == ES_HANDLER_BATCH && step->count > 0 ? handle_batch(step) : handle_events(step);
	result->at = state->retry_at;
	if (state->runs != ES_HANDLER_RUNNING)
		result->next = ES_STEP_RESTS;
	else if (result->at <= GetCurrentTimestamp())
	{
		result->next = done == step->count && step->at_end ? ES_STEP_DONE : ES_STEP_MORE;
		result->at = 0;
	}
	if (kind == ES_HANDLER_PROCESS && result->next == ES_STEP_DONE && done > 0)
		es_process_sweep(step->use.handler, step->use.store);
	if (done > 0 || step->passed > state->position || state->failures > 0)
		write_state(step, done, result);
}

/* Use the handler of a step and lock the partition; false if there is nothing to do. */
static bool
begin_step(Step *step, const char *name, int partition, bool wait, EsStep *result)
{
	es_handler_use(&step->use, name, partition < 0);
	step->context = CurrentMemoryContext;
	step->per_event = AllocSetContextCreate(CurrentMemoryContext, "event_store handler event", ALLOCSET_DEFAULT_SIZES);
	if (partition >= step->use.handler->concurrency)
		return false;
	if (!es_handler_lock(step->use.handlers, name, partition, wait))
	{
		result->busy = true;
		return false;
	}
	if (partition < 0)
		result->gone = !es_handlers_read(step->use.handlers, name, partition, &step->state);
	else
		es_handler_state(&step->use, partition, &step->state);
	return !result->gone;
}

/* A step that fills the tables beside those in use. */
static void
work_beside(const char *name, int partition, int64 max_events, bool wait, EsStep *result)
{
	Step		step = {0};
	EsHandlerUse use;
	List	   *in_use;
	int			level;

	es_handler_use(&use, name, true);
	in_use = es_projection_writes(use.handler);
	es_handler_leave(&use);

	level = es_shadow_enter(name, partition);
	if (begin_step(&step, name, partition, wait, result))
	{
		work(&step, max_events, wait, result);
		es_projection_check_writes(step.use.handler, in_use);
	}
	es_handler_leave(&step.use);
	es_shadow_leave(level);
}

/*
 * Hand a partition of a handler of the store in use its next events, at most
 * max_events.  If another transaction is at it, wait for that or leave it.
 * With a partition below 0 it fills tables that are built beside those in use.
 */
EsStep
es_handler_step(const char *name, int partition, int64 max_events, bool wait)
{
	Step		step = {0};
	EsStep		result = {.next = ES_STEP_RESTS};

	es_require_writable();
	if (partition < 0)
	{
		work_beside(name, partition, max_events, wait, &result);
		return result;
	}
	if (begin_step(&step, name, partition, wait, &result))
		work(&step, max_events, wait, &result);
	es_handler_leave(&step.use);
	return result;
}

/*
 * Steps of a partition in this transaction until there is nothing more to do,
 * or max_events are got over; *handled is raised by how many were.
 */
EsStepNext
es_handler_steps(const char *name, int partition, int64 max_events, int64 *handled)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext per_step = AllocSetContextCreate(caller, "event_store handler step", ALLOCSET_DEFAULT_SIZES);
	int64		left = max_events;
	EsStepNext	next = ES_STEP_MORE;

	while (next == ES_STEP_MORE && left > 0)
	{
		EsStep		step;

		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(per_step);
		step = es_handler_step(name, partition, left, true);
		MemoryContextSwitchTo(caller);
		MemoryContextReset(per_step);
		next = step.next;
		left -= step.handled;
		*handled += step.handled;
	}
	MemoryContextDelete(per_step);
	return next;
}

/* The function runs as the handler's role, as in a worker: a superuser who calls this lends it nothing. */
PG_FUNCTION_INFO_V1(event_store_handler_run);

Datum
event_store_handler_run(PG_FUNCTION_ARGS)
{
	char	   *name;
	int64		max_events = PG_ARGISNULL(1) ? PG_INT64_MAX : PG_GETARG_INT64(1);
	int64		handled = 0;
	int			concurrency;
	Oid			owner;
	Oid			user;
	int			security;

	es_require_argument(fcinfo, 0, "name");
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	owner = es_handler_require_owner(name, &concurrency);
	GetUserIdAndSecContext(&user, &security);
	if (owner != user)
		SetUserIdAndSecContext(owner, security | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
	for (int partition = 0; partition < concurrency; partition++)
		(void) es_handler_steps(name, partition, max_events - handled, &handled);
	SetUserIdAndSecContext(user, security);
	PG_RETURN_INT64(handled);
}
