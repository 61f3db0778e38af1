/*
 * handler_use.c
 *		A handler and how far it has come, for whoever works on them.
 */
#include "postgres.h"

#include "access/table.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "base/errors.h"
#include "deliver/handler_use.h"
#include "log/horizon.h"
#include "log/scan.h"
#include "miscadmin.h"
#include "store/tenant.h"

/* The last position with an event from before a time. */
static int64
position_at(EsHandlerUse *use, TimestampTz at)
{
	EsFinal		final;
	EsScan		scan;
	Datum	   *values;
	bool	   *nulls;
	int64		position = 0;

	es_final_begin(&final, use->store);
	es_scan_log(&scan, use->store, use->log, 1, final.last, true, final.snapshot);
	while (position == 0 && es_scan_next(&scan, &values, &nulls))
	{
		CHECK_FOR_INTERRUPTS();
		if (DatumGetTimestampTz(values[LOG_CREATED_AT]) <= at)
			position = DatumGetInt64(values[LOG_POSITION]);
	}
	es_scan_end(&scan);
	es_final_end(&final);
	return position;
}

/*
 * The position after which a handler begins.  One of a store gets its first
 * state when it is registered; one of all tenants later, and `current` means the
 * time of its registration.  While other transactions append, `current` is before
 * the first of them, for their events are yet to come.  22023 if a position is
 * ahead of the store.
 */
int64
es_handler_start_position(EsHandlerUse *use, const char *start_from, bool first)
{
	if (strcmp(start_from, "origin") == 0)
		return 0;
	if (strcmp(start_from, "current") != 0)
	{
		int64		position = DatumGetInt64(DirectFunctionCall1(int8in, CStringGetDatum(start_from)));

		/* a tenant that has not got that far yet has nothing from before it */
		if (use->handler->store_number == 0)
			return Min(position, es_horizon(use->store, NULL) - 1);
		es_position_check(use->store, position);
		return position;
	}
	if (first && use->handler->store_number == 0)
		return position_at(use, use->handler->registered_at);
	return es_horizon(use->store, NULL) - 1;
}

/*
 * Open the store in use, a handler of it and the table of its states, which is
 * made if it is not there.  55000 if it has no state: it is of another store,
 * inline or live; VE024 if the tenant can only be read.  With shadow it is for
 * building its tables beside themselves (deliver/projection), which those two
 * can be too, and which may be for a read.
 */
void
es_handler_use(EsHandlerUse *use, const char *name, bool shadow)
{
	EsTenant	tenant;

	use->log = es_store_open_log(&use->store, AccessShareLock, ACL_SELECT);
	if (!shadow && es_tenant_of_schema(use->store->nspid, &tenant))
		es_tenant_require_state(&tenant, true);
	use->handler = es_handler_take(name, use->store, use->log);
	if (!es_handler_applies(use->handler->store_number, use->store))
		ereport(ERROR,
				(es_problem(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
							ES_MEMBERS(ES_TEXT("handler", name), ES_TEXT("store", NameStr(use->store->schema))),
							"handler \"%s\" is not one of event store \"%s\"", name, NameStr(use->store->schema)),
				 errhint("Use the store that it was registered for.")));
	if (!shadow && (use->handler->kind == ES_HANDLER_INLINE || use->handler->kind == ES_HANDLER_LIVE))
		ereport(ERROR,
				(es_problem(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, ES_MEMBERS(ES_TEXT("handler", name)),
							use->handler->kind == ES_HANDLER_INLINE ? "handler \"%s\" is inline: it runs inside of the appends" :
							"handler \"%s\" is live: it is computed when it is read", name),
				 errhint("It has no place in the log to run from, pause or reset.")));
	use->handlers = es_handlers_open(use->store, RowExclusiveLock, true);
}

/* After a use that went well.  The locks stay until the transaction ends. */
void
es_handler_leave(EsHandlerUse *use)
{
	table_close(use->handlers, NoLock);
	es_handler_give(use->handler);
	table_close(use->log, NoLock);
}

/* Read the state of a partition that the caller has locked; it is made if there is none. */
void
es_handler_state(EsHandlerUse *use, int partition, EsHandlerState *state)
{
	const char *name = use->handler->prepared.name;

	if (es_handlers_read(use->handlers, name, partition, state))
		return;
	memset(state, 0, sizeof(EsHandlerState));
	ItemPointerSetInvalid(&state->tid);
	state->partition = partition;
	state->partitions = use->handler->concurrency;
	state->position = es_handler_start_position(use, use->handler->start_from, true);
	es_handlers_write(use->handlers, name, state);
}
