/*
 * run.c
 *		One step of a task: as whom, where, for how long, and what if it fails.
 *
 * The step runs in a transaction of its own, as the task's owner and not as the
 * superuser that the worker is.  What it does may be code of anybody whom the
 * owner trusts, so it must find no way back: in the security-restricted
 * operation it cannot change roles, and nothing that it leaves behind runs
 * later as somebody else.  An owner who can become the superuser anyway is
 * spared the restrictions.
 *
 * What a step leaves in the session is taken away before the next one, which
 * may be somebody else's.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "commands/prepare.h"
#include "commands/sequence.h"
#include "common/pg_prng.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/lock.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
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
#include "runtime/registration.h"
#include "runtime/run.h"
#include "runtime/transact.h"
#include "store/tenant.h"

#define SUSPENDED_INTERVAL	10000	/* ms until a task of a suspended tenant is looked at again */

/* The identity of the worker, while it has another one. */
typedef struct Identity
{
	Oid			user;
	int			security;
	int			level;			/* of settings */
} Identity;

/* --- as whom and where --- */

static void
become(Identity *self, const EsTask *task)
{
	GetUserIdAndSecContext(&self->user, &self->security);
	self->level = NewGUCNestLevel();
	es_tenant_enter(task->store != NULL ? task->store->nspid : InvalidOid);
	if (is_member_of_role(task->owner, self->user))
		SetUserIdAndSecContext(task->owner, self->security);
	else
		SetUserIdAndSecContext(task->owner,
							   self->security | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
}

static void
become_self(const Identity *self)
{
	AtEOXact_GUC(false, self->level);
	SetUserIdAndSecContext(self->user, self->security);
}

static void
drop_temporary(void *argument)
{
	ResetTempTableNamespace();
}

/* Take away what a step may have left in the session, outside of its transaction. */
static void
forget_session(void)
{
	Oid			temporary;
	Oid			toast;

	GetTempNamespaceState(&temporary, &toast);
	if (OidIsValid(temporary))
		(void) es_transact(drop_temporary, NULL);
	LockReleaseSession(USER_LOCKMETHOD);
	DropAllPreparedStatements();
	ResetSequenceCaches();
}

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
	Identity	self;
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

	become(&self, task);
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
	become_self(&self);
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
	EsFailure	failure = {
		.sqlstate = error->sqlerrcode,
		.message = error->message,
		.detail = error->detail,
		.hint = error->hint,
		.schema = error->schema_name,
		.table = error->table_name,
		.column = error->column_name,
		.constraint = error->constraint_name,
		.datatype = error->datatype_name,
		.context = error->context,
		.file = error->filename,
		.function = error->funcname,
		.line = error->lineno,
	};

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
	forget_session();

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
