/*
 * handler_inline.c
 *		Inline handlers: part of the append.
 *
 * They run in the transaction that appends, right after the events are in the
 * log, like triggers: as the role that appends, each event in turn with every
 * handler in the order in which they were registered.  An error of one fails
 * the append.
 *
 * A session remembers which inline handlers the database has; if none, an
 * append pays for one comparison.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/errors.h"
#include "base/extension.h"
#include "deliver/event_handler.h"
#include "log/append.h"
#include "log/scan.h"
#include "log/stream.h"

/* An inline handler of this database. */
typedef struct Inline
{
	int64		number;			/* by which they are in order */
	int64		store_number;
	char		name[ES_PREPARED_NAME];
} Inline;

static Inline *inlines = NULL;	/* in CacheMemoryContext */
static int	ninlines = 0;
static Oid	registry_oid = InvalidOid;
static uint64 generation = 1;	/* of the registry, as far as this session has heard */
static uint64 loaded = 0;		/* generation of what is remembered */

static void
relcache_callback(Datum arg, Oid relid)
{
	if (!OidIsValid(relid) || relid == registry_oid || !OidIsValid(registry_oid))
		generation++;
}

static int
compare_numbers(const void *a, const void *b)
{
	int64		x = ((const Inline *) a)->number;
	int64		y = ((const Inline *) b)->number;

	return x < y ? -1 : x > y;
}

/* Read the inline handlers from the registry. */
static void
load(void)
{
	static bool registered = false;
	uint64		before;
	Relation	registry;
	SysScanDesc scan;
	HeapTuple	tuple;
	List	   *found = NIL;
	Inline	   *next;

	if (!registered)
	{
		CacheRegisterRelcacheCallback(relcache_callback, (Datum) 0);
		registered = true;
	}
	before = generation;
	registry = es_extension_open("handler_registry", AccessShareLock);
	scan = systable_beginscan(registry, InvalidOid, false, NULL, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Datum		values[HANDLER_NCOLUMNS];
		bool		nulls[HANDLER_NCOLUMNS];
		Inline	   *one;

		heap_deform_tuple(tuple, RelationGetDescr(registry), values, nulls);
		if (strcmp(TextDatumGetCString(values[HANDLER_KIND]), es_handler_kind_name(ES_HANDLER_INLINE)) != 0)
			continue;
		one = palloc0(sizeof(Inline));
		one->number = DatumGetInt64(values[HANDLER_NUMBER]);
		one->store_number = nulls[HANDLER_STORE_NUMBER] ? 0 : DatumGetInt64(values[HANDLER_STORE_NUMBER]);
		strlcpy(one->name, TextDatumGetCString(values[HANDLER_NAME]), ES_PREPARED_NAME);
		found = lappend(found, one);
	}
	systable_endscan(scan);

	next = found == NIL ? NULL : MemoryContextAlloc(CacheMemoryContext, sizeof(Inline) * list_length(found));
	for (int i = 0; i < list_length(found); i++)
		next[i] = *(Inline *) list_nth(found, i);
	if (inlines != NULL)
		pfree(inlines);
	inlines = next;
	ninlines = list_length(found);
	if (ninlines > 1)
		qsort(inlines, ninlines, sizeof(Inline), compare_numbers);
	registry_oid = RelationGetRelid(registry);
	loaded = before;
	table_close(registry, AccessShareLock);
	list_free_deep(found);
}

/* The inline handlers of a store, ready to call: a list of EsHandler. */
static List *
take_handlers(EsStore *store, Relation log)
{
	List	   *handlers = NIL;
	List	   *names = NIL;
	ListCell   *lc;

	/* taking them may lead to a change of what is remembered */
	for (int i = 0; i < ninlines; i++)
		if (es_handler_applies(inlines[i].store_number, store))
			names = lappend(names, pstrdup(inlines[i].name));
	foreach(lc, names)
		handlers = lappend(handlers, es_handler_take(lfirst(lc), store, log));
	return handlers;
}

/* Hand an event to a handler, if it wants it. */
static void
call(EsHandler *handler, const EsStore *store, text *stream, const Datum *row, const bool *nulls)
{
	EsProblemContext context = {.members = ES_MEMBERS(ES_TEXT("handler", handler->prepared.name))};
	ErrorContextCallback callback = {.callback = es_problem_context, .arg = &context, .previous = error_context_stack};
	EsHandled	event;
	bool		isnull;

	error_context_stack = &callback;
	if (es_handler_wants(handler, store, stream, row, nulls))
	{
		es_handled_fill(&event, handler, store, stream, row, nulls);
		es_handler_set_event(handler, &event);
		(void) es_prepared_call(&handler->prepared, handler->function, &isnull);
		CommandCounterIncrement();
	}
	error_context_stack = callback.previous;
}

/* An append has written events at these positions. */
static void
appended(EsStore *store, int64 first, int count)
{
	Relation	log;
	List	   *handlers;
	ListCell   *lc;
	Snapshot	snapshot;
	EsScan		scan;
	Datum	   *values;
	bool	   *nulls;
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext per_event;

	if (loaded != generation)
		load();
	if (ninlines == 0)
		return;

	/* a handler may itself append */
	check_stack_depth();
	log = table_open(store->log, AccessShareLock);
	handlers = take_handlers(store, log);
	if (handlers != NIL)
	{
		per_event = AllocSetContextCreate(caller, "event_store inline event", ALLOCSET_DEFAULT_SIZES);
		CommandCounterIncrement();
		PushActiveSnapshot(IsolationUsesXactSnapshot() ? GetTransactionSnapshot() : GetLatestSnapshot());
		snapshot = GetActiveSnapshot();
		es_scan_log(&scan, store, log, first, first + count - 1, false, snapshot);
		while (es_scan_next(&scan, &values, &nulls))
		{
			text	   *stream;

			CHECK_FOR_INTERRUPTS();
			MemoryContextSwitchTo(per_event);
			stream = es_stream_name(store, DatumGetInt64(values[LOG_STREAM_ID]), snapshot);
			foreach(lc, handlers)
				call(lfirst(lc), store, stream, values, nulls);
			MemoryContextSwitchTo(caller);
			MemoryContextReset(per_event);
		}
		es_scan_end(&scan);
		PopActiveSnapshot();
		MemoryContextDelete(per_event);
	}
	foreach(lc, handlers)
		es_handler_give(lfirst(lc));
	table_close(log, NoLock);
}

void
EsHandlerInlineInit(void)
{
	es_append_hook = appended;
}
