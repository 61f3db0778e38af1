/*
 * task.c
 *		The registered tasks of a database.
 *
 * Owns the tables task, one row a task, and task_failure, one row for a task
 * that has failed since it last went well or was stopped.  The latter is not
 * dumped: where a dump is restored, every task gets a new chance.
 *
 * A task belongs to a store or to none.  The store is known by its number; its
 * schema, by name and OID, is where to look for it.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_collation.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/compat.h"
#include "base/errors.h"
#include "base/extension.h"
#include "base/settings.h"
#include "runtime/board.h"
#include "runtime/pool.h"
#include "runtime/registration.h"
#include "runtime/task.h"
#include "store/manage.h"

#define MAX_KINDS	16

/* Columns of task. */
enum TaskColumn
{
	TASK_NUMBER,
	TASK_KIND,
	TASK_NAME,
	TASK_STORE_NUMBER,
	TASK_SCHEMA_NAME,
	TASK_SCHEMA_OID,
	TASK_OWNER,
	TASK_REGISTERED_AT,
	TASK_NCOLUMNS
};

/* Columns of task_failure. */
enum FailureColumn
{
	FAILURE_NUMBER,
	FAILURE_FAILURES,
	FAILURE_FAILED_AT,
	FAILURE_NEXT_TRY,
	FAILURE_PROBLEM,
	FAILURE_NCOLUMNS
};

static const EsTaskKind *kinds[MAX_KINDS];
static int	nkinds = 0;

void
es_task_kind_register(const EsTaskKind *kind)
{
	Assert(nkinds < MAX_KINDS);
	kinds[nkinds++] = kind;
}

/* The kind of a name, NULL if the library knows none. */
const EsTaskKind *
es_task_kind(const char *name)
{
	for (int i = 0; i < nkinds; i++)
		if (strcmp(kinds[i]->name, name) == 0)
			return kinds[i];
	return NULL;
}

/* The row with a number, palloc'd, NULL if there is none. */
static HeapTuple
find_row(Relation rel, int64 number)
{
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(number));
	scan = systable_beginscan(rel, es_primary_key(rel), true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		tuple = heap_copytuple(tuple);
	systable_endscan(scan);
	return tuple;
}

/* The registration in a row, with palloc'd texts. */
static void
deform(Relation rel, HeapTuple tuple, EsRegistration *registration)
{
	Datum		values[TASK_NCOLUMNS];
	bool		nulls[TASK_NCOLUMNS];

	heap_deform_tuple(tuple, RelationGetDescr(rel), values, nulls);
	registration->number = DatumGetInt64(values[TASK_NUMBER]);
	registration->kind = TextDatumGetCString(values[TASK_KIND]);
	registration->name = TextDatumGetCString(values[TASK_NAME]);
	registration->store_number = DatumGetInt64(values[TASK_STORE_NUMBER]);
	registration->schema_name = nulls[TASK_SCHEMA_NAME] ? NULL : TextDatumGetCString(values[TASK_SCHEMA_NAME]);
	registration->schema_oid = nulls[TASK_SCHEMA_OID] ? InvalidOid : DatumGetObjectId(values[TASK_SCHEMA_OID]);
	registration->owner = DatumGetObjectId(values[TASK_OWNER]);
}

/* --- registrations --- */

/* Refuse one more task if the server could not run it. */
static void
check_limit(Relation rel)
{
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	int			count = 0;

	while (HeapTupleIsValid(systable_getnext(scan)))
	{
		CHECK_FOR_INTERRUPTS();
		count++;
	}
	systable_endscan(scan);
	if (count >= es_max_tasks)
		ereport(ERROR,
				(es_problem(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED, ES_MEMBERS(ES_INT("max_tasks", es_max_tasks)),
							"this database has %d background tasks, as many as it may have", count),
				 errhint("Raise event_store.max_tasks and restart the server, or take back what is not needed.")));
}

/*
 * Register a task, which runs from the commit of this transaction on; returns
 * its number.  There is none of the kind, name and store yet: the caller has
 * seen to that, else 23505 is raised.  It has checked rights and names too.
 */
int64
es_task_add(const EsTaskKind *kind, const char *name, EsStore *store, Oid owner)
{
	Relation	rel = es_extension_open("task", RowExclusiveLock);
	Datum		values[TASK_NCOLUMNS];
	bool		nulls[TASK_NCOLUMNS] = {0};
	uint64		number;

	check_limit(rel);
	if (!pg_strong_random(&number, sizeof(number)))
		elog(ERROR, "could not get random bits");
	number >>= 1;
	values[TASK_NUMBER] = Int64GetDatum(number);
	values[TASK_KIND] = CStringGetTextDatum(kind->name);
	values[TASK_NAME] = CStringGetTextDatum(name);
	values[TASK_STORE_NUMBER] = Int64GetDatum(store != NULL ? store->number : 0);
	nulls[TASK_SCHEMA_NAME] = nulls[TASK_SCHEMA_OID] = store == NULL;
	if (store != NULL)
	{
		values[TASK_SCHEMA_NAME] = CStringGetTextDatum(NameStr(store->schema));
		values[TASK_SCHEMA_OID] = ObjectIdGetDatum(store->nspid);
	}
	values[TASK_OWNER] = ObjectIdGetDatum(owner);
	values[TASK_REGISTERED_AT] = TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());
	CatalogTupleInsert(rel, heap_form_tuple(RelationGetDescr(rel), values, nulls));

	/* for the case that the commit is that of a prepared transaction */
	CacheInvalidateRelcache(rel);
	table_close(rel, NoLock);
	CommandCounterIncrement();
	es_board_changed_at_commit();
	return (int64) number;
}

/* Begin a scan for the tasks of a kind with a name, of a store (0: of none) or, with nkeys 2, of any. */
static SysScanDesc
scan_name(Relation rel, const EsTaskKind *kind, const char *name, int64 store_number, int nkeys)
{
	ScanKeyData keys[3];

	ScanKeyEntryInitialize(&keys[0], 0, TASK_KIND + 1, BTEqualStrategyNumber, InvalidOid, C_COLLATION_OID,
						   F_TEXTEQ, CStringGetTextDatum(kind->name));
	ScanKeyEntryInitialize(&keys[1], 0, TASK_NAME + 1, BTEqualStrategyNumber, InvalidOid, C_COLLATION_OID,
						   F_TEXTEQ, CStringGetTextDatum(name));
	ScanKeyInit(&keys[2], TASK_STORE_NUMBER + 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(store_number));
	return systable_beginscan(rel, es_extension_relation("task_name_key"), true, NULL, nkeys, keys);
}

/* The number of a task, 0 if there is none. */
int64
es_task_find(const EsTaskKind *kind, const char *name, EsStore *store)
{
	return es_task_find_of(kind, name, store != NULL ? store->number : 0);
}

/* The same by the number of the store, 0: of none. */
int64
es_task_find_of(const EsTaskKind *kind, const char *name, int64 store_number)
{
	Relation	rel = es_extension_open("task", AccessShareLock);
	SysScanDesc scan = scan_name(rel, kind, name, store_number, 3);
	HeapTuple	tuple = systable_getnext(scan);
	int64		number = 0;

	if (HeapTupleIsValid(tuple))
	{
		bool		isnull;

		number = DatumGetInt64(heap_getattr(tuple, TASK_NUMBER + 1, RelationGetDescr(rel), &isnull));
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return number;
}

/* The number of a task whose store is gone, dropped by other means than ours; 0 if there is none. */
int64
es_task_find_orphan(const EsTaskKind *kind, const char *name)
{
	Relation	rel = es_extension_open("task", AccessShareLock);
	SysScanDesc scan = scan_name(rel, kind, name, 0, 2);
	HeapTuple	tuple;
	int64		number = 0;

	while (number == 0 && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		EsRegistration registration;

		deform(rel, tuple, &registration);
		if (registration.store_number != 0 && es_registration_store(&registration) == NULL)
			number = registration.number;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return number;
}

static bool
delete_row(const char *table, int64 number)
{
	Relation	rel = es_extension_open(table, RowExclusiveLock);
	HeapTuple	tuple = find_row(rel, number);

	if (tuple != NULL)
		CatalogTupleDelete(rel, &tuple->t_self);
	table_close(rel, NoLock);
	return tuple != NULL;
}

/* Forget a task, from the commit of this transaction on; false if there is none. */
bool
es_task_remove(int64 number)
{
	EsRegistration registration;
	const EsTaskKind *kind;

	if (!es_registration_read(number, &registration))
		return false;
	kind = es_task_kind(registration.kind);
	if (kind != NULL && kind->forget != NULL)
		kind->forget(number);
	(void) delete_row("task", number);
	(void) delete_row("task_failure", number);
	CacheInvalidateRelcacheByRelid(es_extension_relation("task"));
	CommandCounterIncrement();
	es_board_changed_at_commit();
	return true;
}

/* A store is dropped: so are its tasks. */
static void
store_gone(int64 store_number)
{
	Relation	rel = es_extension_open("task", AccessShareLock);
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple	tuple;
	List	   *numbers = NIL;
	ListCell   *lc;

	ScanKeyInit(&key, TASK_STORE_NUMBER + 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(store_number));
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		EsRegistration *registration = palloc(sizeof(EsRegistration));

		deform(rel, tuple, registration);
		numbers = lappend(numbers, &registration->number);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	foreach(lc, numbers)
		(void) es_task_remove(*(int64 *) lfirst(lc));
}

void
EsTaskInit(void)
{
	es_store_gone_hook = store_gone;
}

/* Let a task run at once, as from the commit of this transaction; not one that backs off or was stopped. */
void
es_task_poke(int64 number)
{
	/* one that is not known yet is found by its registration */
	if (!es_board_poke_at_commit(number))
		es_board_changed_at_commit();
}

/* Forget that a task has failed or was stopped, and let it run, as from the commit of this transaction. */
void
es_task_resume(int64 number)
{
	if (delete_row("task_failure", number))
		es_board_changed_at_commit();
	CommandCounterIncrement();
	es_task_poke(number);
}

/* --- for scheduler and workers --- */

/* Read the registration of a task, palloc'd; false if it is gone. */
bool
es_registration_read(int64 number, EsRegistration *registration)
{
	Relation	rel = es_extension_open("task", AccessShareLock);
	HeapTuple	tuple = find_row(rel, number);

	if (tuple != NULL)
		deform(rel, tuple, registration);
	table_close(rel, AccessShareLock);
	return tuple != NULL;
}

/* Call the function for each task; what it gets is gone afterwards. */
void
es_registration_each(void (*callback) (const EsRegistration *registration))
{
	Relation	rel = es_extension_open("task", AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	MemoryContext row = AllocSetContextCreate(CurrentMemoryContext, "event_store registration", ALLOCSET_SMALL_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(row);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		EsRegistration registration;

		CHECK_FOR_INTERRUPTS();
		deform(rel, tuple, &registration);
		callback(&registration);
		MemoryContextReset(row);
	}
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(row);
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

/* Call the function for each task that has failed. */
void
es_failure_each(void (*callback) (int64 number, int failures, TimestampTz next_try))
{
	Relation	rel = es_extension_open("task_failure", AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Datum		values[FAILURE_NCOLUMNS];
		bool		nulls[FAILURE_NCOLUMNS];

		heap_deform_tuple(tuple, RelationGetDescr(rel), values, nulls);
		callback(DatumGetInt64(values[FAILURE_NUMBER]), DatumGetInt32(values[FAILURE_FAILURES]),
				 nulls[FAILURE_NEXT_TRY] ? DT_NOEND : DatumGetTimestampTz(values[FAILURE_NEXT_TRY]));
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

/*
 * Note that a task has failed; next_try DT_NOEND stops it.  Nothing happens if
 * the task is gone.
 */
void
es_failure_write(int64 number, int failures, TimestampTz now, TimestampTz next_try, Datum problem)
{
	Relation	tasks = es_extension_open("task", AccessShareLock);
	Relation	rel = es_extension_open("task_failure", RowExclusiveLock);
	Datum		values[FAILURE_NCOLUMNS];
	bool		nulls[FAILURE_NCOLUMNS] = {0};
	HeapTuple	old = find_row(rel, number);
	HeapTuple	tuple;

	values[FAILURE_NUMBER] = Int64GetDatum(number);
	values[FAILURE_FAILURES] = Int32GetDatum(failures);
	values[FAILURE_FAILED_AT] = TimestampTzGetDatum(now);
	values[FAILURE_NEXT_TRY] = TimestampTzGetDatum(next_try);
	nulls[FAILURE_NEXT_TRY] = next_try == DT_NOEND;
	values[FAILURE_PROBLEM] = problem;
	tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);
	if (old != NULL)
		CatalogTupleUpdate(rel, &old->t_self, tuple);
	else if (find_row(tasks, number) != NULL)
		CatalogTupleInsert(rel, tuple);
	table_close(rel, NoLock);
	table_close(tasks, NoLock);
}

/* Note that a task is well again. */
void
es_failure_clear(int64 number)
{
	(void) delete_row("task_failure", number);
}

/* The schema of a task's store, NULL if it is gone. */
EsStore *
es_registration_store(const EsRegistration *registration)
{
	Oid			schemas[] = {get_namespace_oid(registration->schema_name, true), registration->schema_oid};

	for (int i = 0; i < lengthof(schemas); i++)
	{
		EsStore    *store = OidIsValid(schemas[i]) ? es_store_of_schema(schemas[i]) : NULL;

		if (store != NULL && store->number == registration->store_number)
			return store;
	}
	return NULL;
}

PG_FUNCTION_INFO_V1(event_store_task_status);
PG_FUNCTION_INFO_V1(event_store_worker_status);

/* For the view tasks: what the scheduler knows of a task, nothing if none runs. */
Datum
event_store_task_status(PG_FUNCTION_ARGS)
{
	static const char *const states[] = {
		[ES_STATE_READY] = "ready",
		[ES_STATE_RUNNING] = "running",
		[ES_STATE_SLEEPING] = "sleeping",
		[ES_STATE_WAITING] = "waiting",
		[ES_STATE_BACKING_OFF] = "backing off",
		[ES_STATE_STOPPED] = "stopped",
	};
	EsTaskStatus status;
	TupleDesc	desc;
	Datum		values[6];
	bool		nulls[6] = {0};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "task_status must return a row");
	if (!es_board_status(PG_GETARG_INT64(0), &status))
		PG_RETURN_NULL();
	values[0] = CStringGetTextDatum(states[status.state]);
	values[1] = TimestampTzGetDatum(status.since);
	values[2] = TimestampTzGetDatum(status.at);
	nulls[2] = status.at == DT_NOEND;
	values[3] = Int64GetDatum(status.horizon);
	nulls[3] = status.state != ES_STATE_WAITING;
	values[4] = Int32GetDatum(status.pid);
	nulls[4] = status.state != ES_STATE_RUNNING;
	values[5] = Int64GetDatum(status.steps);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

/* For the view workers: the workers of this database. */
Datum
event_store_worker_status(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	EsWorkerStatus *workers = palloc(max_worker_processes * sizeof(EsWorkerStatus));
	int			count = es_pool_workers(workers);

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < count; i++)
	{
		EsWorkerStatus *worker = &workers[i];
		Datum		values[4];
		bool		nulls[4] = {0};

		if (worker->dbid != MyDatabaseId || worker->pid == 0)
			continue;
		values[0] = Int32GetDatum(worker->pid);
		values[1] = TimestampTzGetDatum(worker->started_at);
		values[2] = TimestampTzGetDatum(worker->since);
		values[3] = Int64GetDatum(worker->task);
		nulls[3] = !worker->busy;
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}
