/*
 * handler_task.c
 *		Event handlers as background tasks.
 *
 * Each partition of a handler is a task of each of its stores: "name/partition".
 * A handler of all tenants has one more, without a store, which gives a tenant
 * that has come later its tasks; it is poked when a tenant is made.
 *
 * A step of a task is a step of the handler (deliver/handler_step), so a worker
 * commits after each batch.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/extension.h"
#include "deliver/handler_register.h"
#include "deliver/handler_task.h"
#include "deliver/projection.h"
#include "runtime/registration.h"
#include "runtime/task.h"
#include "store/manage.h"
#include "store/tenant.h"

#define STEP_EVENTS			1000000 /* no limit but that of a batch */
#define BUSY_INTERVAL		100		/* ms until a handler that a session is at work on is looked at again */
#define SPAWN_INTERVAL		60000	/* ms between two looks at all tenants */

static EsTaskNext step_handler(EsTask *task);
static EsTaskNext step_spawner(EsTask *task);

static const EsTaskKind handler_kind = {.name = "handler", .step = step_handler};
static const EsTaskKind spawner_kind = {.name = "handler of all tenants", .step = step_spawner};

static char *
task_name(const char *handler, int partition)
{
	return psprintf("%s/%d", handler, partition);
}

static void
remove_task(const char *name, int partition, EsStore *store)
{
	int64		number = es_task_find(&handler_kind, task_name(name, partition), store);

	if (number != 0)
		(void) es_task_remove(number);
}

/* Let the partitions of a handler run in a store, as this role. */
void
es_handler_tasks_add(const char *name, int concurrency, EsStore *store, Oid owner)
{
	for (int partition = 0; partition < concurrency; partition++)
	{
		/* a new registration may be another role's */
		remove_task(name, partition, store);
		(void) es_task_add(&handler_kind, task_name(name, partition), store, owner);
	}
}

/* The same for the tables that are built beside those of a handler. */
void
es_handler_tasks_add_shadow(const char *name, int concurrency, EsStore *store, Oid owner)
{
	for (int partition = 0; partition < concurrency; partition++)
		(void) es_task_add(&handler_kind, task_name(name, ES_SHADOW(partition)), store, owner);
}

void
es_handler_tasks_remove_shadow(const char *name, int concurrency, EsStore *store)
{
	for (int partition = 0; partition < concurrency; partition++)
		remove_task(name, ES_SHADOW(partition), store);
}

/* Let a handler run in the stores of all tenants. */
void
es_handler_tasks_add_spawner(const char *name, Oid owner)
{
	es_handler_tasks_remove(name);
	(void) es_task_add(&spawner_kind, name, NULL, owner);
}

/* What es_handler_tasks_remove looks for and finds. */
static const char *sought;
static int64 *found;
static int	nfound;

static void
find_task(const EsRegistration *registration)
{
	const char *name = registration->name;
	Size		length = strlen(sought);

	if (strcmp(registration->kind, spawner_kind.name) == 0 ? strcmp(name, sought) != 0 :
		strcmp(registration->kind, handler_kind.name) != 0 || strncmp(name, sought, length) != 0 ||
		name[length] != '/' || strchr(name + length + 1, '/') != NULL)
		return;
	if ((nfound & (nfound - 1)) == 0)
		found = repalloc(found, sizeof(int64) * 2 * Max(nfound, 1));
	found[nfound++] = registration->number;
}

/* Let a handler run no more, in any store. */
void
es_handler_tasks_remove(const char *name)
{
	sought = name;
	found = palloc(sizeof(int64));
	nfound = 0;
	es_registration_each(find_task);
	for (int i = 0; i < nfound; i++)
		(void) es_task_remove(found[i]);
	pfree(found);
}

/* Let a handler look at once what there is to do in a store, also after a failure. */
void
es_handler_tasks_poke(const char *name, int concurrency, EsStore *store)
{
	for (int partition = 0; partition < concurrency; partition++)
	{
		int64		number = es_task_find(&handler_kind, task_name(name, partition), store);

		if (number != 0)
			es_task_resume(number);
	}
}

static EsTaskNext
step_handler(EsTask *task)
{
	char	   *name = pstrdup(task->name);
	char	   *slash = strrchr(name, '/');
	int			partition;
	EsStep		step;

	if (slash == NULL)
		elog(ERROR, "task \"%s\" is of no handler", task->name);
	*slash = '\0';
	partition = atoi(slash + 1);
	step = es_handler_step(name, partition, STEP_EVENTS, false);
	if (step.busy)
		return es_task_at(TimestampTzPlusMilliseconds(GetCurrentTimestamp(), BUSY_INTERVAL));
	if (partition < 0 && step.next == ES_STEP_DONE && es_projection_finish(name))
		return es_task_ended();
	switch (step.next)
	{
		case ES_STEP_MORE:
			return es_task_again();
		case ES_STEP_LATER:
			return step.enough > 0 ? es_task_when_moved_or_at(step.enough, step.at) : es_task_at(step.at);
		case ES_STEP_RESTS:
			/* a rebuild that was given up rests for ever */
			return partition < 0 && step.gone ? es_task_ended() : es_task_at(DT_NOEND);
		default:
			return es_task_when_moved_or_at(step.position + 1, step.at);
	}
}

/* Give every tenant that has no tasks of the handler yet its own. */
static EsTaskNext
step_spawner(EsTask *task)
{
	Relation	handlers = es_extension_open("handler_registry", AccessShareLock);
	HeapTuple	row = es_prepared_find_row(handlers, task->name);
	int			concurrency = 0;
	bool		isnull;
	Relation	tenants;
	SysScanDesc scan;
	HeapTuple	tuple;

	if (row != NULL)
		concurrency = DatumGetInt32(heap_getattr(row, HANDLER_CONCURRENCY + 1, RelationGetDescr(handlers), &isnull));
	table_close(handlers, AccessShareLock);
	if (row == NULL)
		return es_task_ended();

	tenants = es_tenant_open_registry(AccessShareLock);
	scan = systable_beginscan(tenants, InvalidOid, false, NULL, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		char	   *name = TextDatumGetCString(heap_getattr(tuple, TENANT_NAME + 1, RelationGetDescr(tenants), &isnull));
		EsTenant	tenant;
		EsStore    *store;

		CHECK_FOR_INTERRUPTS();
		/* those that have theirs are most, and a session does not forget the tables of a store that it has looked at */
		if (es_task_find_of(&handler_kind, task_name(task->name, 0), DatumGetInt64(
				heap_getattr(tuple, TENANT_STORE_NUMBER + 1, RelationGetDescr(tenants), &isnull))) != 0)
			continue;
		if (es_tenant_find(name, &tenant) && OidIsValid(tenant.nspid) &&
			(store = es_store_of_schema(tenant.nspid)) != NULL &&
			es_task_find(&handler_kind, task_name(task->name, 0), store) == 0)
			es_handler_tasks_add(task->name, concurrency, store, task->owner);
	}
	systable_endscan(scan);
	table_close(tenants, AccessShareLock);
	return es_task_at(TimestampTzPlusMilliseconds(GetCurrentTimestamp(), SPAWN_INTERVAL));
}

/* A tenant was made: the handlers of all tenants look for it once that is committed. */
static void
tenant_made(void)
{
	Relation	handlers = es_extension_open("handler_registry", AccessShareLock);
	SysScanDesc scan = systable_beginscan(handlers, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Datum		values[HANDLER_NCOLUMNS];
		bool		nulls[HANDLER_NCOLUMNS];
		int64		number = 0;

		heap_deform_tuple(tuple, RelationGetDescr(handlers), values, nulls);
		if (nulls[HANDLER_STORE_NUMBER])
			number = es_task_find(&spawner_kind, TextDatumGetCString(values[HANDLER_NAME]), NULL);
		if (number != 0)
			es_task_poke(number);
	}
	systable_endscan(scan);
	table_close(handlers, AccessShareLock);
}

static void (*next_store_gone) (int64 number) = NULL;

static void
store_gone(int64 number)
{
	next_store_gone(number);
	es_handler_forget_store(number);
}

void
EsHandlerTaskInit(void)
{
	next_store_gone = es_store_gone_hook;
	es_store_gone_hook = store_gone;
	es_task_kind_register(&handler_kind);
	es_task_kind_register(&spawner_kind);
	es_tenant_made_hook = tenant_made;
}
