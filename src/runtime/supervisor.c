/*
 * supervisor.c
 *		Supervisors and their children, as SQL sees them.
 *
 * A supervisor is a row of event_store.supervisor_definitions; its children
 * are in shared memory (runtime/child_table), each with a process
 * (runtime/child).  A child is started before the transaction that asks for it
 * commits, and ends with it if that is undone.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/latch.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/timestamp.h"

#include "base/arguments.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/extension.h"
#include "base/shared.h"
#include "model/prepared.h"
#include "model/registry.h"
#include "observe/problem.h"
#include "runtime/child.h"
#include "runtime/intensity.h"
#include "runtime/supervisor.h"
#include "store/store.h"

#define TABLE			"supervisor_definitions"
#define MAX_SECONDS		86400
#define GONE_INTERVAL	10		/* ms between two looks whether children are gone */
#define LOOK_INTERVAL	1000	/* ms between two looks at what is waited for, if no latch is set */

/* Columns of supervisor_definitions. */
enum SupervisorColumn
{
	SUPERVISOR_NAME,
	SUPERVISOR_MAX_CHILDREN,
	SUPERVISOR_MAX_RESTARTS,
	SUPERVISOR_MAX_SECONDS,
	SUPERVISOR_RUN_AS,
	SUPERVISOR_OWNER,
	SUPERVISOR_STATE,
	SUPERVISOR_PROBLEM,
	SUPERVISOR_CHANGED_AT,
	SUPERVISOR_NCOLUMNS
};

static const char *const restarts[] = {
	[ES_RESTART_PERMANENT] = "permanent",
	[ES_RESTART_TRANSIENT] = "transient",
	[ES_RESTART_TEMPORARY] = "temporary",
};

/* --- definitions --- */

static char *
name_argument(FunctionCallInfo fcinfo)
{
	char	   *name;

	es_require_argument(fcinfo, 0, "supervisor");
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	if (name[0] == '\0' || strlen(name) >= NAMEDATALEN)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("supervisor", name)),
							"the name of the supervisor has %zu bytes", strlen(name)),
				 errhint("A name has 1 to %d bytes.", NAMEDATALEN - 1)));
	return name;
}

static void
no_such_supervisor(const char *name)
{
	ereport(ERROR,
			(es_problem(ERRCODE_UNDEFINED_OBJECT, ES_MEMBERS(ES_TEXT("supervisor", name)),
						"supervisor \"%s\" does not exist", name),
			 errhint("Make it with event_store.supervisor_create().")));
}

/* The row of a supervisor that the caller may use, with the table opened. */
static HeapTuple
row_to_use(Relation *rel, const char *name, LOCKMODE lockmode)
{
	HeapTuple	tuple;

	*rel = es_extension_open(TABLE, lockmode);
	tuple = es_registry_row_to_change(*rel, "supervisor", name, SUPERVISOR_OWNER);
	if (!HeapTupleIsValid(tuple))
		no_such_supervisor(name);
	return tuple;
}

/* Put a state into the row of a supervisor, with a problem or none ((Datum) 0). */
static void
set_state(Relation rel, HeapTuple tuple, const char *state, Datum problem)
{
	Datum		values[SUPERVISOR_NCOLUMNS];
	bool		nulls[SUPERVISOR_NCOLUMNS] = {0};
	bool		replace[SUPERVISOR_NCOLUMNS] = {0};

	values[SUPERVISOR_STATE] = CStringGetTextDatum(state);
	values[SUPERVISOR_PROBLEM] = problem;
	nulls[SUPERVISOR_PROBLEM] = problem == (Datum) 0;
	values[SUPERVISOR_CHANGED_AT] = TimestampTzGetDatum(GetCurrentTimestamp());
	replace[SUPERVISOR_STATE] = replace[SUPERVISOR_PROBLEM] = replace[SUPERVISOR_CHANGED_AT] = true;
	CatalogTupleUpdate(rel, &tuple->t_self, heap_modify_tuple(tuple, RelationGetDescr(rel), values, nulls, replace));
	CommandCounterIncrement();
}

/* Note that a supervisor has failed (EsFailedSupervisor); in a transaction of the scheduler. */
void
es_supervisor_failed(void *argument)
{
	const EsFailedSupervisor *failed = argument;
	Relation	rel;
	HeapTuple	tuple;
	EsFailure	failure = {
		.sqlstate = ERRCODE_ES_RESTART_INTENSITY,
		.message = psprintf("supervisor \"%s\" has restarted children more than %d times in %d s",
							NameStr(failed->name), failed->max_restarts, failed->max_seconds),
		.hint = "Mend what fails, then call event_store.supervisor_restart() and start the children.",
	};

	if (!OidIsValid(es_extension_oid()))
		return;
	rel = es_extension_open(TABLE, ShareRowExclusiveLock);
	tuple = es_prepared_find_row(rel, NameStr(failed->name));
	if (HeapTupleIsValid(tuple))
		set_state(rel, tuple, "failed", es_document_jsonb(es_problem_from_failure(&failure, NULL)));
	table_close(rel, NoLock);
	ereport(LOG,
			(errcode(ERRCODE_ES_RESTART_INTENSITY),
			 errmsg("%s", failure.message),
			 errdetail("The last error of a child: %s.", failed->sqlstate != 0 ? failed->message : "its process has ended")));
}

/* --- waiting --- */

/* Sleep until something may have changed, but not beyond the deadline; false if that has passed. */
static bool
rest(TimestampTz deadline)
{
	static uint32 wait_event = 0;
	int64		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), deadline);

	if (wait_event == 0)
		wait_event = es_wait_event("EventStoreSupervisor");
	if (left <= 0)
		return false;
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, (long) Min(left, LOOK_INTERVAL), wait_event);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	return true;
}

static void
no_worker(const EsChild *child)
{
	ereport(ERROR,
			(es_problem(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED, ES_MEMBERS(ES_INT("max_worker_processes", max_worker_processes)),
						"the server has no background worker left for a child of supervisor \"%s\"", NameStr(child->supervisor)),
			 errhint("Raise max_worker_processes and restart the server, or start the child with queue => true.")));
}

/* Raise the error of the first call of a child, which has failed, and free it. */
static void
raise_failure(const EsChild *child)
{
	es_child_free(child);
	ereport(ERROR,
			(es_problem(child->sqlstate, ES_MEMBERS(ES_TEXT("supervisor", NameStr(child->supervisor))),
						"the child of supervisor \"%s\" did not start: %s", NameStr(child->supervisor), child->message),
			 errhint("The server log has the context of the error.")));
}

/* Wait until the first call of a child has returned. */
static void
await_ready(EsChild *child, BackgroundWorkerHandle *handle, TimestampTz deadline)
{
	for (;;)
	{
		pid_t		pid;

		if (!es_child_look(child) || child->state == ES_CHILD_RUNNING || child->state == ES_CHILD_ENDED)
			return;
		if (child->state == ES_CHILD_FAILED)
			raise_failure(child);
		if (GetBackgroundWorkerPid(handle, &pid) == BGWH_STOPPED && es_child_look(child) && child->state == ES_CHILD_STARTING)
		{
			es_child_free(child);
			no_worker(child);
		}
		if (!rest(deadline))
			ereport(ERROR,
					(es_problem(ERRCODE_ES_EXECUTION_TIMEOUT, ES_MEMBERS(ES_TEXT("supervisor", NameStr(child->supervisor))),
								"the first call of the child of supervisor \"%s\" has not returned in time", NameStr(child->supervisor)),
					 errhint("It may wait for a lock of this transaction; or give it a longer start_timeout.")));
	}
}

/* Give a child that has its place a process, and wait until it is ready; whatever fails, the child is not left behind. */
static void
start(EsChild *child, TimestampTz deadline)
{
	BackgroundWorkerHandle *handle;

	if (!es_child_register(child, &handle))
	{
		es_child_free(child);
		no_worker(child);
	}
	PG_TRY();
	{
		await_ready(child, handle, deadline);
	}
	PG_CATCH();
	{
		es_child_keep(child);
		(void) es_children_stop(NameStr(child->supervisor), &child->id);
		PG_RE_THROW();
	}
	PG_END_TRY();
}

/* Ask a child of a supervisor, or with NULL all, to end, and wait for that; from the deadline on they are ended by force. */
static void
stop_children(const char *supervisor, const pg_uuid_t *id, TimestampTz deadline)
{
	(void) es_children_stop(supervisor, id);
	while (es_children_left(supervisor, id, GetCurrentTimestamp() >= deadline) > 0)
		(void) rest(TimestampTzPlusMilliseconds(GetCurrentTimestamp(), GONE_INTERVAL));
}

PG_FUNCTION_INFO_V1(event_store_supervisor_create);
PG_FUNCTION_INFO_V1(event_store_supervisor_drop);
PG_FUNCTION_INFO_V1(event_store_supervisor_start_child);
PG_FUNCTION_INFO_V1(event_store_supervisor_terminate_child);
PG_FUNCTION_INFO_V1(event_store_supervisor_stop);
PG_FUNCTION_INFO_V1(event_store_supervisor_restart);
PG_FUNCTION_INFO_V1(event_store_child_status);

/* --- SQL --- */

static int32
count_argument(FunctionCallInfo fcinfo, int argument, const char *name, int least, int most)
{
	int32		count;

	es_require_argument(fcinfo, argument, name);
	count = PG_GETARG_INT32(argument);
	if (count < least || count > most)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("argument", name), ES_INT("value", count)),
							"%s cannot be %d", name, count),
				 errhint("It is from %d to %d.", least, most)));
	return count;
}

/* An interval in ms, at least 0; -1 for NULL, which is any time. */
static int64
time_argument(FunctionCallInfo fcinfo, int argument, const char *name)
{
	int64		ms;

	if (PG_ARGISNULL(argument))
		return -1;
	ms = es_interval_ms(PG_GETARG_INTERVAL_P(argument));
	if (ms < 0 || ms > MAX_SECONDS * INT64CONST(1000))
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("argument", name)),
							"%s must be from 0 to a day", name),
				 errhint("null is any time.")));
	return ms;
}

static TimestampTz
deadline_after(int64 ms)
{
	return ms < 0 ? DT_NOEND : TimestampTzPlusMilliseconds(GetCurrentTimestamp(), ms);
}

/* (name, max_children, max_restarts, max_seconds, run_as) */
Datum
event_store_supervisor_create(PG_FUNCTION_ARGS)
{
	char	   *name = name_argument(fcinfo);
	Oid			run_as = PG_ARGISNULL(4) ? GetUserId() : PG_GETARG_OID(4);
	Relation	rel;
	Datum		values[SUPERVISOR_NCOLUMNS];
	bool		nulls[SUPERVISOR_NCOLUMNS] = {[SUPERVISOR_PROBLEM] = true};

	es_require_writable();
	values[SUPERVISOR_NAME] = CStringGetTextDatum(name);
	values[SUPERVISOR_MAX_CHILDREN] = Int32GetDatum(count_argument(fcinfo, 1, "max_children", 1, 100000));
	values[SUPERVISOR_MAX_RESTARTS] = Int32GetDatum(count_argument(fcinfo, 2, "max_restarts", 0, ES_MAX_RESTARTS));
	values[SUPERVISOR_MAX_SECONDS] = Int32GetDatum(count_argument(fcinfo, 3, "max_seconds", 1, MAX_SECONDS));
	values[SUPERVISOR_RUN_AS] = ObjectIdGetDatum(run_as);
	values[SUPERVISOR_OWNER] = ObjectIdGetDatum(GetUserId());
	values[SUPERVISOR_STATE] = CStringGetTextDatum("running");
	values[SUPERVISOR_CHANGED_AT] = TimestampTzGetDatum(GetCurrentTimestamp());
	es_registry_check_rights("supervisor", name);
	(void) GetUserNameFromId(run_as, false);	/* a superuser may be anybody, but not nobody */
	es_check_can_set_role(GetUserId(), run_as);

	rel = es_extension_open(TABLE, ShareRowExclusiveLock);
	if (HeapTupleIsValid(es_prepared_find_row(rel, name)))
		ereport(ERROR,
				(es_problem(ERRCODE_DUPLICATE_OBJECT, ES_MEMBERS(ES_TEXT("supervisor", name)),
							"supervisor \"%s\" already exists", name),
				 errhint("Choose another name, or drop it with event_store.supervisor_drop().")));
	CatalogTupleInsert(rel, heap_form_tuple(RelationGetDescr(rel), values, nulls));
	table_close(rel, NoLock);
	CommandCounterIncrement();
	PG_RETURN_VOID();
}

/* (name, timeout) */
Datum
event_store_supervisor_drop(PG_FUNCTION_ARGS)
{
	char	   *name = name_argument(fcinfo);
	int64		timeout = time_argument(fcinfo, 1, "timeout");
	Relation	rel;
	HeapTuple	tuple;

	es_require_writable();
	tuple = row_to_use(&rel, name, ShareRowExclusiveLock);
	CatalogTupleDelete(rel, &tuple->t_self);
	table_close(rel, NoLock);
	CommandCounterIncrement();
	es_supervisor_forget(name);
	stop_children(name, NULL, deadline_after(timeout));
	PG_RETURN_VOID();
}

/* (name, timeout): its children end, and it takes no more until it is restarted */
Datum
event_store_supervisor_stop(PG_FUNCTION_ARGS)
{
	char	   *name = name_argument(fcinfo);
	int64		timeout = time_argument(fcinfo, 1, "timeout");
	Relation	rel;
	HeapTuple	tuple;

	es_require_writable();
	tuple = row_to_use(&rel, name, ShareRowExclusiveLock);
	set_state(rel, tuple, "stopped", (Datum) 0);
	table_close(rel, NoLock);
	stop_children(name, NULL, deadline_after(timeout));
	PG_RETURN_VOID();
}

/* (name): it takes children again, after it has failed or was stopped */
Datum
event_store_supervisor_restart(PG_FUNCTION_ARGS)
{
	char	   *name = name_argument(fcinfo);
	Relation	rel;
	HeapTuple	tuple;

	es_require_writable();
	tuple = row_to_use(&rel, name, ShareRowExclusiveLock);
	set_state(rel, tuple, "running", (Datum) 0);
	table_close(rel, NoLock);
	es_supervisor_forget(name);
	PG_RETURN_VOID();
}

/* The signature of a function that a child can be. */
static char *
child_function(FunctionCallInfo fcinfo, int argument, Oid run_as)
{
	Oid			oid;
	Oid		   *argtypes;
	int			n;
	char	   *signature;

	es_require_argument(fcinfo, argument, "fn");
	oid = PG_GETARG_OID(argument);
	es_require_function(oid);
	signature = format_procedure_qualified(oid);
	(void) get_func_signature(oid, &argtypes, &n);
	if (n != 1 || argtypes[0] != JSONBOID || get_func_rettype(oid) != INTERVALOID || get_func_retset(oid) || strlen(signature) >= MAXPGPATH)
		ereport(ERROR,
				(es_problem(ERRCODE_UNDEFINED_FUNCTION, NULL, "function %s does not fit", signature),
				 errhint("A child is f(args jsonb) RETURNS interval: the time until the next call, null when it is done.")));
	if (!es_may_execute(oid, run_as))
		ereport(ERROR,
				(es_problem(ERRCODE_INSUFFICIENT_PRIVILEGE, NULL, "role \"%s\", which the children run as, may not execute function %s",
							GetUserNameFromId(run_as, false), signature),
				 errhint("Grant EXECUTE on it to that role.")));
	return signature;
}

static EsRestart
restart_argument(FunctionCallInfo fcinfo, int argument)
{
	char	   *restart;

	es_require_argument(fcinfo, argument, "restart");
	restart = text_to_cstring(PG_GETARG_TEXT_PP(argument));
	for (int i = 0; i < lengthof(restarts); i++)
		if (strcmp(restart, restarts[i]) == 0)
			return i;
	ereport(ERROR,
			(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("restart", restart)),
						"restart cannot be \"%s\"", restart),
			 errhint("A child is permanent, transient or temporary.")));
	return ES_RESTART_TEMPORARY;
}

static void
not_running(const char *supervisor, const char *state)
{
	ereport(ERROR,
			(es_problem(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
						ES_MEMBERS(ES_TEXT("supervisor", supervisor), ES_TEXT("state", state)),
						strcmp(state, "failed") == 0 ? "supervisor \"%s\" has failed" : "supervisor \"%s\" is stopped", supervisor),
			 errhint("Call event_store.supervisor_restart() first.")));
}

static void
check_placed(EsPlaced placed, const EsChild *child, int max_children)
{
	switch (placed)
	{
		case ES_PLACED:
			break;
		case ES_PLACED_TOO_MANY:
			ereport(ERROR,
					(es_problem(ERRCODE_ES_MAX_CHILDREN, ES_MEMBERS(ES_TEXT("supervisor", NameStr(child->supervisor)), ES_INT("max_children", max_children)),
								"supervisor \"%s\" has %d children, as many as it may have", NameStr(child->supervisor), max_children),
					 errhint("End one of them, or make a supervisor with more max_children.")));
			break;
		case ES_PLACED_TAKEN:
			ereport(ERROR,
					(es_problem(ERRCODE_ES_ALREADY_REGISTERED, ES_MEMBERS(ES_TEXT("supervisor", NameStr(child->supervisor)), ES_TEXT("child", child->name)),
								"supervisor \"%s\" has a child \"%s\" already", NameStr(child->supervisor), child->name),
					 errhint("Choose another name, or end that child first.")));
			break;
		case ES_PLACED_SUPERVISOR_FAILED:
			not_running(NameStr(child->supervisor), "failed");
			break;
		case ES_PLACED_NO_ROOM:
			no_worker(child);
			break;
		case ES_PLACED_POOL_FULL:
			es_shared_full("another child");
			break;
	}
}

/*
 * Take a place for a child, with what its supervisor says of it.  The lock keeps
 * the supervisor from being stopped or dropped until the child has its place
 * and is stopped as well.
 */
static void
place_child(FunctionCallInfo fcinfo, EsChild *child, bool queue)
{
	Relation	rel;
	HeapTuple	tuple = row_to_use(&rel, NameStr(child->supervisor), RowExclusiveLock);
	Datum		values[SUPERVISOR_NCOLUMNS];
	bool		nulls[SUPERVISOR_NCOLUMNS];
	int			max_children;
	char	   *state;

	heap_deform_tuple(tuple, RelationGetDescr(rel), values, nulls);
	state = TextDatumGetCString(values[SUPERVISOR_STATE]);
	if (strcmp(state, "running") != 0)
		not_running(NameStr(child->supervisor), state);
	max_children = DatumGetInt32(values[SUPERVISOR_MAX_CHILDREN]);
	child->role = DatumGetObjectId(values[SUPERVISOR_RUN_AS]);
	child->max_restarts = DatumGetInt32(values[SUPERVISOR_MAX_RESTARTS]);
	child->max_seconds = DatumGetInt32(values[SUPERVISOR_MAX_SECONDS]);
	child->function = child_function(fcinfo, 1, child->role);
	check_placed(es_child_place(child, max_children, queue), child, max_children);
	table_close(rel, RowExclusiveLock);
}

/* (supervisor, fn, args, restart, shutdown, name, queue, start_timeout): its id */
Datum
event_store_supervisor_start_child(PG_FUNCTION_ARGS)
{
	EsChild		child = {.dbid = MyDatabaseId};
	int64		start_timeout = time_argument(fcinfo, 7, "start_timeout");
	EsStore    *store = es_store_current(true);
	pg_uuid_t  *id = palloc(sizeof(pg_uuid_t));
	bool		queue;

	es_require_writable();
	es_require_argument(fcinfo, 2, "args");
	es_require_argument(fcinfo, 6, "queue");
	queue = PG_GETARG_BOOL(6);
	namestrcpy(&child.supervisor, name_argument(fcinfo));
	child.args = PG_GETARG_JSONB_P(2);
	child.restart = restart_argument(fcinfo, 3);
	child.shutdown = time_argument(fcinfo, 4, "shutdown");
	child.name = PG_ARGISNULL(5) ? "" : text_to_cstring(PG_GETARG_TEXT_PP(5));
	child.nspid = store != NULL ? store->nspid : InvalidOid;
	child.id = *DatumGetUUIDP(DirectFunctionCall1(gen_random_uuid, (Datum) 0));
	if (strlen(child.name) > ES_CHILD_NAME_MAX || VARSIZE(child.args) > ES_CHILD_ARGS_MAX)
		ereport(ERROR,
				(es_problem(ERRCODE_PROGRAM_LIMIT_EXCEEDED, ES_MEMBERS(ES_TEXT("supervisor", NameStr(child.supervisor))),
							"name or arguments of the child are too long"),
				 errhint("A name has up to %d bytes, arguments up to %d; keep the rest in a table.", ES_CHILD_NAME_MAX, ES_CHILD_ARGS_MAX)));

	place_child(fcinfo, &child, queue);
	if (!queue)
		start(&child, deadline_after(start_timeout));
	*id = child.id;
	PG_RETURN_UUID_P(id);
}

/* The child with an id, NULL if there is none that the caller may see. */
static EsChild *
find_child(const pg_uuid_t *id)
{
	int			count;
	EsChild    *all = es_children_copy(&count);

	for (int i = 0; i < count; i++)
		if (memcmp(&all[i].id, id, sizeof(pg_uuid_t)) == 0)
			return &all[i];
	return NULL;
}

/* (id): is it gone by this? */
Datum
event_store_supervisor_terminate_child(PG_FUNCTION_ARGS)
{
	EsChild    *child;
	Relation	rel;

	es_require_writable();
	es_require_argument(fcinfo, 0, "id");
	child = find_child(PG_GETARG_UUID_P(0));
	if (child == NULL)
		PG_RETURN_BOOL(false);
	(void) row_to_use(&rel, NameStr(child->supervisor), AccessShareLock);
	table_close(rel, AccessShareLock);
	stop_children(NameStr(child->supervisor), &child->id, deadline_after(child->shutdown));
	PG_RETURN_BOOL(true);
}

static const char *
state_name(const EsChild *child)
{
	if (child->stopping)
		return "stopping";
	switch (child->state)
	{
		case ES_CHILD_QUEUED:
			return "queued";
		case ES_CHILD_STARTING:
			return "starting";
		case ES_CHILD_RUNNING:
			return child->next_at == 0 ? "running" : "waiting";
		default:
			return "restarting";
	}
}

/* May the caller see a child? */
static bool
may_see(const EsChild *child)
{
	return has_privs_of_role(GetUserId(), child->role) || has_privs_of_role(GetUserId(), ROLE_PG_MONITOR);
}

/* The children in this database that the caller may see. */
Datum
event_store_child_status(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	int			count;
	EsChild    *all;

	InitMaterializedSRF(fcinfo, 0);
	all = es_children_copy(&count);
	for (int i = 0; i < count; i++)
	{
		const EsChild *child = &all[i];
		Datum		values[13];
		bool		nulls[13] = {0};

		if (!may_see(child))
			continue;
		values[0] = CStringGetTextDatum(NameStr(child->supervisor));
		values[1] = UUIDPGetDatum(&child->id);
		values[2] = CStringGetTextDatum(child->name);
		nulls[2] = child->name[0] == '\0';
		values[3] = CStringGetTextDatum(child->function);
		values[4] = CStringGetTextDatum(restarts[child->restart]);
		values[5] = CStringGetTextDatum(state_name(child));
		values[6] = Int32GetDatum(child->pid);
		nulls[6] = child->pid == 0;
		values[7] = TimestampTzGetDatum(child->started_at);
		nulls[7] = child->started_at == 0;
		values[8] = TimestampTzGetDatum(child->next_at);
		nulls[8] = child->next_at == 0;
		values[9] = Int64GetDatum(child->calls);
		values[10] = Int32GetDatum(child->restarts);
		values[11] = CStringGetTextDatum(unpack_sql_state(child->sqlstate));
		values[12] = CStringGetTextDatum(child->message);
		nulls[11] = nulls[12] = child->sqlstate == 0;
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}
