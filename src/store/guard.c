/*
 * guard.c
 *		The tables of a store change through our functions only.
 *
 * Triggers on event_log and event_streams refuse every other INSERT, UPDATE,
 * DELETE and TRUNCATE, whoever asks.  Our own writes go to the table directly
 * and fire no trigger, except inserts that have to go through SQL: they buy a
 * ticket first, which the trigger takes, so that nothing else that runs inside
 * the statement (a user's trigger, say) gets through on it.
 */
#include "postgres.h"

#include "commands/trigger.h"
#include "fmgr.h"
#include "replication/logicalworker.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/errors.h"
#include "store/guard.h"

static Oid	ticket = InvalidOid;	/* table that the next INSERT may write */

/*
 * Let the next INSERT statement on the table through.  The caller must call
 * es_guard_close afterwards, also on error.
 */
void
es_guard_let_insert(Oid relid)
{
	ticket = relid;
}

void
es_guard_close(void)
{
	ticket = InvalidOid;
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

	/* A logical copy takes over what its publisher has let through. */
	if (IsLogicalWorker())
		return PointerGetDatum(TRIGGER_FIRED_FOR_STATEMENT(trigger->tg_event) ? NULL :
							   TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? trigger->tg_newtuple :
							   trigger->tg_trigtuple);

	command = TRIGGER_FIRED_BY_INSERT(trigger->tg_event) ? "INSERT into" :
		TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? "UPDATE of" :
		TRIGGER_FIRED_BY_DELETE(trigger->tg_event) ? "DELETE from" : "TRUNCATE of";
	schema = get_namespace_name(RelationGetNamespace(trigger->tg_relation));
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
			 errhint("To close a stream use event_store.delete_stream(), to drop a store event_store.drop_store().")));
}
