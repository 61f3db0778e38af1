/*
 * run.c
 *		One step of a task: as whom, where, for how long, and what if it fails.
 *
 * The step runs in a transaction of its own, as the task's owner and not as the
 * superuser that the worker is (runtime/identity).  What it leaves in the
 * session is taken away before the next one, which may be somebody else's.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "common/pg_prng.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "base/deadline.h"
#include "base/errors.h"
#include "base/extension.h"
#include "base/settings.h"
#include "observe/problem.h"
#include "runtime/backoff.h"
#include "runtime/identity.h"
#include "runtime/registration.h"
#include "runtime/run.h"
#include "runtime/transact.h"
#include "store/tenant.h"

#define SUSPENDED_INTERVAL	10000	/* ms until a task of a suspended tenant is looked at again */

/* --- what there is to do --- */

/*
 * Fill in the task from its registration; an error if it cannot be run, which
 * is for good: the role, the store or the kind of a task do not come back.
 */
static const EsTaskKind *
prepare(EsTask *task, const EsRegistration *registration)
{
	const EsTaskKind *kind = es_task_kind(registration->kind);

	task->number = registration->number;
	task->kind = registration->kind;
	task->name = registration->name;
	task->owner = registration->owner;

	es_extension_check_version();
	task->fatal = true;
	if (kind == NULL)
		ereport(ERROR,
				(es_problem(ERRCODE_FEATURE_NOT_SUPPORTED, ES_MEMBERS(ES_TEXT("kind", task->kind)),
							"tasks of kind \"%s\" are not known to this version of event_store", task->kind)));
	if (!SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(task->owner)))
		ereport(ERROR,
				(es_problem(ERRCODE_UNDEFINED_OBJECT, ES_MEMBERS(ES_INT("role", task->owner)),
							"the role that registered the task does not exist any more"),
				 errhint("Register it anew as another role.")));
	if (registration->store_number != 0)
	{
		task->store = es_registration_store(registration);
		if (task->store == NULL)
			ereport(ERROR,
					(es_problem(ERRCODE_ES_STORE_NOT_FOUND, ES_MEMBERS(ES_TEXT("schema", registration->schema_name)),
								"the event store of the task, once in schema \"%s\", is gone", registration->schema_name)));
	}
	task->fatal = false;
	return kind;
}

/* Is it for a tenant that rests?  One that can be read only is not to change either. */
static bool
is_suspended(const EsTask *task)
{
	EsTenant	tenant;

	return task->store != NULL && es_tenant_of_schema(task->store->nspid, &tenant) &&
		tenant.state != ES_TENANT_ACTIVE;
}

/* Run a step and note what follows from it, in the transaction in progress. */
static void
run(EsTask *task, EsRunOutcome *outcome, volatile bool *timed_out)
{
	EsRegistration registration;
	const EsTaskKind *kind;
	EsIdentity	self;
	EsDeadline	deadline;
	MemoryContext context = CurrentMemoryContext;

	if (!OidIsValid(es_extension_oid()) || !es_registration_read(task->number, &registration))
	{
		outcome->next = es_task_ended();
		return;
	}
	kind = prepare(task, &registration);
	outcome->log = task->store != NULL ? task->store->log : InvalidOid;
	if (is_suspended(task))
	{
		outcome->kind = ES_RUN_POSTPONED;
		outcome->next = es_task_at(TimestampTzPlusMilliseconds(task->now, SUSPENDED_INTERVAL));
		return;
	}
	pgstat_report_activity(STATE_RUNNING, psprintf("event_store %s %s", task->kind, task->name));

	es_identity_take(&self, task->owner, task->store != NULL ? task->store->nspid : InvalidOid);
	es_deadline_begin(&deadline, es_task_timeout);
	PG_TRY();
	{
		outcome->next = kind->step(task);
	}
	PG_FINALLY();
	{
		*timed_out = es_deadline_end(&deadline);
	}
	PG_END_TRY();
	es_identity_give_back(&self);
	MemoryContextSwitchTo(context);
	outcome->steps++;

	if (task->failures > 0)
		es_failure_clear(task->number);
	if (outcome->next.when == ES_TASK_ENDED)
		(void) es_task_remove(task->number);
}

/* --- failures --- */

/* The problem document of an error, as jsonb. */
static Datum
problem_of(const ErrorData *error)
{
	EsFailure	failure = es_failure_of(error);

	return es_document_jsonb(es_problem_from_failure(&failure, NULL));
}

/* The error of a step that took too long, made from that of its cancellation. */
static void
make_timeout(const EsTask *task, ErrorData *error)
{
	error->sqlerrcode = ERRCODE_ES_EXECUTION_TIMEOUT;
	error->message = psprintf("a step of task %s \"%s\" took longer than event_store.task_timeout, %d ms", task->kind,
							  task->name, es_task_timeout);
	error->detail = NULL;
}

/* A failure that is to be noted. */
typedef struct Note
{
	EsTask	   *task;
	const ErrorData *error;
	TimestampTz now;
	EsRunOutcome *outcome;
} Note;

static void
write_note(void *argument)
{
	Note	   *note = argument;
	EsTask	   *task = note->task;
	const EsTaskKind *kind = task->kind != NULL ? es_task_kind(task->kind) : NULL;

	if (!OidIsValid(es_extension_oid()))
		return;
	if (!task->fatal && kind != NULL && kind->failed != NULL && kind->failed(task, note->error))
	{
		note->outcome->kind = ES_RUN_NEXT;
		note->outcome->next = es_task_again();
		if (task->failures > 0)
			es_failure_clear(task->number);
	}
	else
		es_failure_write(task->number, task->failures + 1, note->now, note->outcome->next.at, problem_of(note->error));
}

/*
 * Note a failure in a transaction of its own, and say in the outcome what
 * follows.  If even that fails, the task backs off all the same.
 */
static void
note_failure(EsTask *task, const ErrorData *error, EsRunOutcome *outcome)
{
	Note		note = {.task = task, .error = error, .now = GetCurrentTimestamp(), .outcome = outcome};
	TimestampTz next_try = TimestampTzPlusMilliseconds(note.now, es_backoff(task->failures + 1,
																			pg_prng_double(&pg_global_prng_state)));

	outcome->kind = task->fatal ? ES_RUN_STOPPED : ES_RUN_FAILED;
	outcome->next = es_task_at(task->fatal ? DT_NOEND : next_try);
	ereport(LOG,
			(errcode(error->sqlerrcode),
			 errmsg("event_store task \"%s\" %s: %s", task->name != NULL ? task->name : psprintf(INT64_FORMAT, task->number),
					task->fatal ? "is stopped" : "has failed", error->message),
			 error->detail != NULL ? errdetail_internal("%s", error->detail) : 0,
			 error->context != NULL ? errcontext("%s", error->context) : 0));
	if (es_transact(write_note, &note) != ES_TRANSACT_DONE)
	{
		outcome->kind = ES_RUN_FAILED;
		outcome->next = es_task_at(next_try);
	}
}

/* --- a step --- */

/*
 * Run one step of a task, in CurrentMemoryContext, which the caller resets.
 * Errors go no further.
 */
void
es_run_step(const EsAssignment *assignment, EsRunOutcome *outcome)
{
	MemoryContext caller = CurrentMemoryContext;
	EsTask	   *task = palloc0(sizeof(EsTask));
	ErrorData  *volatile error = NULL;
	volatile bool timed_out = false;

	task->number = assignment->task;
	task->failures = assignment->failures;
	task->now = GetCurrentTimestamp();
	outcome->task = assignment->task;
	outcome->run = assignment->run;
	outcome->kind = ES_RUN_NEXT;

	PG_TRY();
	{
		SetCurrentStatementStartTimestamp();
		StartTransactionCommand();
		PushActiveSnapshot(GetTransactionSnapshot());
		MemoryContextSwitchTo(caller);
		run(task, outcome, &timed_out);
		if (ActiveSnapshotSet())
			PopActiveSnapshot();
		CommitTransactionCommand();
		MemoryContextSwitchTo(caller);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(caller);
		HOLD_INTERRUPTS();
		error = CopyErrorData();
		FlushErrorState();
		AbortCurrentTransaction();
		RESUME_INTERRUPTS();
		MemoryContextSwitchTo(caller);
	}
	PG_END_TRY();
	es_identity_forget_session();

	if (error != NULL && error->sqlerrcode == ERRCODE_QUERY_CANCELED && es_pool_cancelled())
	{
		/* somebody needs the database for himself, or has taken the task back */
		outcome->kind = ES_RUN_POSTPONED;
		outcome->next = es_task_at(GetCurrentTimestamp());
	}
	else if (error != NULL)
	{
		if (error->sqlerrcode == ERRCODE_QUERY_CANCELED && timed_out)
			make_timeout(task, error);
		note_failure(task, error, outcome);
	}
}

/* For the scheduler: note that a worker has died with a task. */
void
es_run_note_lost(const EsAssignment *assignment, EsRunOutcome *outcome)
{
	EsTask		task = {.number = assignment->task, .failures = assignment->failures};
	ErrorData	error = {
		.sqlerrcode = ERRCODE_ADMIN_SHUTDOWN,
		.message = "the worker has ended before the task was done"
	};

	note_failure(&task, &error, outcome);
}
