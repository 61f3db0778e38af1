/*
 * repeat.c
 *		Commands that were dispatched before.
 *
 * Owns the table event_commands of a store: the ids that callers gave to
 * commands, with a hash of what was asked for and the result.  It is written
 * in the transaction of the command, so what is rolled back was never seen.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/arguments.h"
#include "base/compat.h"
#include "base/errors.h"
#include "model/repeat.h"
#include "store/event_id.h"
#include "store/statement.h"

static void
id_reused(const pg_uuid_t *id)
{
	char	   *string = es_event_id_to_string(id);

	ereport(ERROR,
			(es_problem(ERRCODE_ES_COMMAND_ID_REUSE, ES_MEMBERS(ES_TEXT("command_id", string)),
						"command id %s was used for another command", string),
			 errhint("Give every command an id of its own, and send the same one again only to repeat it.")));
}

/* event_commands, opened; an error if it is not there or closed to the caller. */
static Relation
open_commands(EsStore *store)
{
	static const Oid types[COMMANDS_NCOLUMNS] = {UUIDOID, INT8OID, TIMESTAMPTZOID, JSONBOID};
	Oid			relid = get_relname_relid("event_commands", store->nspid);
	Relation	rel = OidIsValid(relid) ? table_open(relid, AccessShareLock) : NULL;
	bool		usable = rel != NULL && rel->rd_rel->relkind == RELKIND_RELATION &&
		RelationGetDescr(rel)->natts == COMMANDS_NCOLUMNS && OidIsValid(es_primary_key(rel));

	for (int i = 0; i < COMMANDS_NCOLUMNS && usable; i++)
		usable = TupleDescAttr(RelationGetDescr(rel), i)->atttypid == types[i];
	if (!usable)
		ereport(ERROR,
				(es_problem(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, ES_MEMBERS(ES_TEXT("store", NameStr(store->schema))),
							"event store \"%s\" cannot remember commands: table event_commands is missing or altered",
							NameStr(store->schema)),
				 errhint("The tables of a store must stay as event_store.create_store made them; undo the change.")));
	if (pg_class_aclcheck(relid, GetUserId(), ACL_SELECT) != ACLCHECK_OK)
		ereport(ERROR,
				(es_problem(ERRCODE_INSUFFICIENT_PRIVILEGE, ES_MEMBERS(ES_TEXT("store", NameStr(store->schema))),
							"permission denied to dispatch commands with an id in event store \"%s\"",
							NameStr(store->schema)),
				 errhint("The owner of the store gives rights with event_store.grant_store().")));
	return rel;
}

static int64
number_member(Jsonb *result, const char *name)
{
	JsonbValue	buffer;
	JsonbValue *value = getKeyJsonValueFromContainer(&result->root, name, strlen(name), &buffer);

	return value != NULL && value->type == jbvNumeric ?
		DatumGetInt64(DirectFunctionCall1(numeric_int8, NumericGetDatum(value->val.numeric))) : 0;
}

static void
push_number(JsonbParseState **parse, const char *name, int64 number)
{
	JsonbValue	key = {.type = jbvString};
	JsonbValue	value = {.type = jbvNumeric};

	key.val.string.val = unconstify(char *, name);
	key.val.string.len = strlen(name);
	value.val.numeric = int64_to_numeric(number);
	(void) pushJsonbValue(parse, WJB_KEY, &key);
	(void) pushJsonbValue(parse, WJB_VALUE, &value);
}

/*
 * Was a command with this id dispatched before, as the active snapshot sees
 * it?  Then *done is what it has done.  VE017 if it was another one.
 */
bool
es_command_recall(EsStore *store, const pg_uuid_t *id, int64 request, EsCommandDone *done)
{
	Relation	rel = open_commands(store);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, COMMANDS_COMMAND_ID + 1, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(id));
	scan = systable_beginscan(rel, es_primary_key(rel), true, GetActiveSnapshot(), 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		Datum		values[COMMANDS_NCOLUMNS];
		bool		nulls[COMMANDS_NCOLUMNS];
		Jsonb	   *result;

		heap_deform_tuple(tuple, RelationGetDescr(rel), values, nulls);
		if (DatumGetInt64(values[COMMANDS_REQUEST]) != request)
			id_reused(id);
		result = DatumGetJsonbP(values[COMMANDS_RESULT]);
		done->version = number_member(result, "version");
		done->events = number_member(result, "events");
		done->first_position = number_member(result, "first_position");
		done->last_position = number_member(result, "last_position");
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return HeapTupleIsValid(tuple);
}

/*
 * Remember a command that has been executed.  The caller holds the lock on its
 * aggregate's stream; VE017 if another transaction has given the id to a
 * command for another aggregate.
 */
void
es_command_remember(EsStore *store, const pg_uuid_t *id, int64 request, const EsCommandDone *done)
{
	JsonbParseState *parse = NULL;
	Datum		values[COMMANDS_NCOLUMNS];
	int			result;

	(void) pushJsonbValue(&parse, WJB_BEGIN_OBJECT, NULL);
	push_number(&parse, "version", done->version);
	push_number(&parse, "events", done->events);
	push_number(&parse, "first_position", done->first_position);
	push_number(&parse, "last_position", done->last_position);
	values[COMMANDS_COMMAND_ID] = UUIDPGetDatum(id);
	values[COMMANDS_REQUEST] = Int64GetDatum(request);
	values[COMMANDS_DISPATCHED_AT] = TimestampTzGetDatum(GetCurrentTimestamp());
	values[COMMANDS_RESULT] = JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&parse, WJB_END_OBJECT, NULL)));

	SPI_connect();
	result = SPI_execute_plan(es_statement_plan(store, ES_STMT_SAVE_COMMAND), values, NULL, false, 0);
	if (result != SPI_OK_INSERT)
		elog(ERROR, "SPI_execute_plan failed: %s", SPI_result_code_string(result));
	if (SPI_processed == 0)
		id_reused(id);
	SPI_finish();
}

/* Forget the ids of commands that were dispatched before a time, in the store in use; returns how many. */
int64
es_commands_forget(TimestampTz before)
{
	EsStore    *store;
	Relation	log = es_store_open_log(&store, AccessShareLock, ACL_SELECT);
	Datum		parameter = TimestampTzGetDatum(before);
	int64		forgotten;

	SPI_connect();
	if (SPI_execute_plan(es_statement_plan(store, ES_STMT_FORGET_COMMANDS), &parameter, NULL, false, 0) != SPI_OK_DELETE)
		elog(ERROR, "could not forget commands");
	forgotten = SPI_processed;
	SPI_finish();
	table_close(log, NoLock);
	return forgotten;
}

PG_FUNCTION_INFO_V1(event_store_forget_commands);

Datum
event_store_forget_commands(PG_FUNCTION_ARGS)
{
	es_require_argument(fcinfo, 0, "older_than");
	es_require_writable();
	PG_RETURN_INT64(es_commands_forget(DatumGetTimestampTz(DirectFunctionCall2(timestamptz_mi_interval,
																				TimestampTzGetDatum(GetCurrentTimestamp()),
																				PG_GETARG_DATUM(0)))));
}
