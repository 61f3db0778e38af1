/*
 * guard.c
 *		The tables of a store change through our functions only.
 *
 * Triggers on event_log, event_streams and the tables of subscriptions refuse
 * every other INSERT, UPDATE, DELETE and TRUNCATE, whoever asks.  Our own writes
 * go to the table directly and fire no trigger, except those that have to go
 * through SQL: they buy a ticket first.  That of an INSERT is taken by the trigger, that of a DELETE is
 * good for the first versions of one stream only, so that nothing else that runs
 * inside the statement (a user's trigger, say) gets through on it.  Only an
 * import of a whole tenant, which its owner does, may replace rows.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/partition.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "parser/parse_func.h"
#include "replication/logicalworker.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/errors.h"
#include "base/extension.h"
#include "store/guard.h"

static Oid	ticket = InvalidOid;	/* table that the next INSERT may write */
static Oid	replace_ticket = InvalidOid;	/* table whose rows it may replace */
static Oid	refill_ticket = InvalidOid; /* table that may be emptied before that */

/* Rows that a DELETE may take away. */
static struct
{
	Oid			log;			/* InvalidOid: none */
	int64		stream_id;
	int64		before;			/* the first version that stays */
}			delete_ticket;

/* The function of the guard triggers, InvalidOid if it is not there. */
Oid
es_guard_function(void)
{
	return LookupFuncName(list_make2(makeString(pstrdup(ES_SCHEMA)), makeString(pstrdup("guard_store_table"))),
						  0, NULL, true);
}

/*
 * Let the next INSERT statement on the table through.  The caller must call
 * es_guard_close afterwards, also on error.
 */
void
es_guard_let_insert(Oid relid)
{
	ticket = relid;
}

/* Let a DELETE of the versions of a stream before one of them through, until es_guard_close_delete; otherwise the same. */
void
es_guard_let_delete(Oid log, int64 stream_id, int64 before)
{
	delete_ticket.log = log;
	delete_ticket.stream_id = stream_id;
	delete_ticket.before = before;
}

/* The same for an INSERT with ON CONFLICT DO UPDATE. */
void
es_guard_let_replace(Oid relid)
{
	ticket = replace_ticket = relid;
}

/* Let a DELETE of all rows through, and the INSERT after it; not on tables of events. */
void
es_guard_let_refill(Oid relid)
{
	ticket = refill_ticket = relid;
}

void
es_guard_close(void)
{
	ticket = replace_ticket = refill_ticket = InvalidOid;
}

void
es_guard_close_delete(void)
{
	delete_ticket.log = InvalidOid;
}

/* Is the row, of event_log or of a partition of it, one that may be deleted? */
static bool
may_delete(Relation rel, HeapTuple row)
{
	Oid			relid = RelationGetRelid(rel);
	TupleDesc	desc = RelationGetDescr(rel);
	int			stream_id = SPI_fnumber(desc, "stream_id");
	int			version = SPI_fnumber(desc, "version");
	bool		isnull;

	if (!OidIsValid(delete_ticket.log) || stream_id <= 0 || version <= 0)
		return false;
	if (relid != delete_ticket.log &&
		(!rel->rd_rel->relispartition || !list_member_oid(get_partition_ancestors(relid), delete_ticket.log)))
		return false;
	return DatumGetInt64(heap_getattr(row, stream_id, desc, &isnull)) == delete_ticket.stream_id &&
		DatumGetInt64(heap_getattr(row, version, desc, &isnull)) < delete_ticket.before;
}

/*
 * The name of a guard that the table has not got, or not in the form in which
 * it guards; NULL if it has all of them.
 */
const char *
es_guard_missing(Relation rel)
{
	static const struct
	{
		const char *name;
		int16		type;
		bool		always;		/* also under session_replication_role = replica */
	}			guards[] = {
		{"event_store_no_insert", TRIGGER_TYPE_BEFORE | TRIGGER_TYPE_INSERT, false},
		{"event_store_no_change", TRIGGER_TYPE_ROW | TRIGGER_TYPE_BEFORE | TRIGGER_TYPE_UPDATE | TRIGGER_TYPE_DELETE, true},
		{"event_store_no_truncate", TRIGGER_TYPE_BEFORE | TRIGGER_TYPE_TRUNCATE, true},
	};
	Oid			function = es_guard_function();

	for (int g = 0; g < lengthof(guards); g++)
	{
		bool		found = false;

		for (int i = 0; !found && rel->trigdesc != NULL && i < rel->trigdesc->numtriggers; i++)
		{
			Trigger    *trigger = &rel->trigdesc->triggers[i];

			found = strcmp(trigger->tgname, guards[g].name) == 0 &&
				trigger->tgfoid == function && trigger->tgtype == guards[g].type && trigger->tgqual == NULL &&
				(trigger->tgenabled == TRIGGER_FIRES_ALWAYS ||
				 (trigger->tgenabled == TRIGGER_FIRES_ON_ORIGIN && !guards[g].always));
		}
		if (!found)
			return guards[g].name;
	}
	return NULL;
}

PG_FUNCTION_INFO_V1(event_store_guard_table);

Datum
event_store_guard_table(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	const char *command;
	char	   *schema;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(es_problem(ERRCODE_FEATURE_NOT_SUPPORTED, NULL,
							"guard_store_table can only be called as a trigger"),
				 errhint("event_store.create_store() puts it on the tables of a store.")));

	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event) &&
		OidIsValid(ticket) && ticket == RelationGetRelid(trigger->tg_relation))
	{
		ticket = InvalidOid;
		return PointerGetDatum(NULL);
	}

	if (TRIGGER_FIRED_BY_DELETE(trigger->tg_event) && may_delete(trigger->tg_relation, trigger->tg_trigtuple))
		return PointerGetDatum(trigger->tg_trigtuple);

	if (TRIGGER_FIRED_BY_DELETE(trigger->tg_event) && OidIsValid(refill_ticket) &&
		refill_ticket == RelationGetRelid(trigger->tg_relation))
		return PointerGetDatum(trigger->tg_trigtuple);

	if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) && OidIsValid(replace_ticket) &&
		replace_ticket == RelationGetRelid(trigger->tg_relation))
		return PointerGetDatum(trigger->tg_newtuple);

	/* A logical copy takes over what its publisher has let through. */
	if (IsLogicalWorker())
		return PointerGetDatum(TRIGGER_FIRED_FOR_STATEMENT(trigger->tg_event) ? NULL :
							   TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? trigger->tg_newtuple :
							   trigger->tg_trigtuple);

	command = TRIGGER_FIRED_BY_INSERT(trigger->tg_event) ? "INSERT into" :
		TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? "UPDATE of" :
		TRIGGER_FIRED_BY_DELETE(trigger->tg_event) ? "DELETE from" : "TRUNCATE of";
	schema = get_namespace_name(RelationGetNamespace(trigger->tg_relation));
	if (strcmp(RelationGetRelationName(trigger->tg_relation), "event_subscriptions") == 0 ||
		strcmp(RelationGetRelationName(trigger->tg_relation), "event_deliveries") == 0)
		ereport(ERROR,
				(es_problem(ERRCODE_FEATURE_NOT_SUPPORTED,
							ES_MEMBERS(ES_TEXT("store", schema),
									   ES_TEXT("table", RelationGetRelationName(trigger->tg_relation))),
							"%s table %s of event store \"%s\" is refused: events could be lost",
							command, RelationGetRelationName(trigger->tg_relation), schema),
				 errhint("Use event_store.ack(), event_store.nack() and the other functions of subscriptions. To restore the rows of a dump, use pg_restore --disable-triggers.")));
	ereport(ERROR,
			(es_problem(ERRCODE_FEATURE_NOT_SUPPORTED,
						ES_MEMBERS(ES_TEXT("store", schema),
								   ES_TEXT("table", RelationGetRelationName(trigger->tg_relation))),
						"%s table %s of event store \"%s\" is refused: %s",
						command, RelationGetRelationName(trigger->tg_relation), schema,
						TRIGGER_FIRED_BY_INSERT(trigger->tg_event) ?
						"it would bypass versions and order" : "recorded events do not change"),
			 TRIGGER_FIRED_BY_INSERT(trigger->tg_event) ?
			 errhint("Write events with event_store.append(). To restore the rows of a dump, use pg_restore --disable-triggers.") :
			 errhint("To close a stream use event_store.delete_stream(), to cut its beginning event_store.truncate_stream(), to drop a store event_store.drop_store().")));
}
