/*
 * snapshot.c
 *		States kept so that a fold need not begin at the first event.
 *
 * A store's event_snapshots has at most one state for each stream and
 * aggregate.  It counts only if the hash of the aggregate's definition and of the
 * upcasters is what it was, so a changed function or type is never fed an old
 * state; the next save replaces it.  Whoever sees the row sees the events that are folded into
 * it: their transactions had ended before it was written, or it is the same
 * transaction.
 *
 * The table may be gone, altered, or closed to the caller: then there are no
 * snapshots, which costs time and nothing else.
 *
 * States of jsonb are stored as they are, others as their type's text in a
 * jsonb string, written and read with the settings that a dump uses.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rls.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/errors.h"
#include "model/snapshot.h"
#include "store/statement.h"

/* Until AtEOXact_GUC, values are written and read the same way in all sessions. */
static int
fix_formats(void)
{
	static const char *const settings[][2] = {
		{"datestyle", "ISO"}, {"intervalstyle", "postgres"}, {"extra_float_digits", "3"},
		{"search_path", "pg_catalog"}
	};
	int			nest = NewGUCNestLevel();

	for (int i = 0; i < lengthof(settings); i++)
		(void) set_config_option(settings[i][0], settings[i][1], PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	return nest;
}

/* The table, opened, or NULL if it cannot be used by the caller. */
static Relation
open_snapshots(EsStore *store)
{
	static const Oid types[SNAPSHOT_NCOLUMNS] = {INT8OID, INT8OID, INT8OID, TIMESTAMPTZOID, TEXTOID, JSONBOID};
	Oid			relid = get_relname_relid("event_snapshots", store->nspid);
	Relation	rel = OidIsValid(relid) ? try_table_open(relid, AccessShareLock) : NULL;
	bool		usable;

	if (rel == NULL)
		return NULL;
	usable = rel->rd_rel->relkind == RELKIND_RELATION && RelationGetDescr(rel)->natts == SNAPSHOT_NCOLUMNS &&
		pg_class_aclcheck(relid, GetUserId(), ACL_SELECT) == ACLCHECK_OK &&
		check_enable_rls(relid, InvalidOid, true) != RLS_ENABLED && OidIsValid(es_primary_key(rel));
	for (int i = 0; i < SNAPSHOT_NCOLUMNS && usable; i++)
		usable = TupleDescAttr(RelationGetDescr(rel), i)->atttypid == types[i];
	if (usable)
		return rel;
	table_close(rel, AccessShareLock);
	return NULL;
}

/* A state from what was stored; palloc'd. */
static Datum
read_state(EsAggregate *aggregate, Jsonb *stored, bool *usable)
{
	JsonbValue	value;
	Datum		state;
	int			nest;

	*usable = true;
	if (aggregate->state_is_jsonb)
		return JsonbPGetDatum(stored);
	if (!JsonbExtractScalar(&stored->root, &value) || value.type != jbvString)
	{
		*usable = false;
		return (Datum) 0;
	}
	nest = fix_formats();
	state = InputFunctionCall(&aggregate->state_input, pnstrdup(value.val.string.val, value.val.string.len),
							  aggregate->state_parameter, -1);
	AtEOXact_GUC(true, nest);
	return state;
}

/*
 * Let a fold go on from the kept state of its stream, if there is one of a
 * version not above up_to in the snapshot.  Tells whether there was.
 */
bool
es_snapshot_load(EsFold *fold, EsStore *store, int64 stream_id, int64 up_to, Snapshot snapshot)
{
	Relation	rel = open_snapshots(store);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		loaded = false;

	if (rel == NULL)
		return false;
	ScanKeyInit(&keys[0], SNAPSHOT_STREAM_ID + 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(stream_id));
	ScanKeyEntryInitialize(&keys[1], 0, SNAPSHOT_AGGREGATE + 1, BTEqualStrategyNumber, InvalidOid, C_COLLATION_OID,
						   F_TEXTEQ, CStringGetTextDatum(fold->aggregate->prepared.name));
	scan = systable_beginscan(rel, es_primary_key(rel), true, snapshot, 2, keys);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		Datum		values[SNAPSHOT_NCOLUMNS];
		bool		nulls[SNAPSHOT_NCOLUMNS];

		heap_deform_tuple(tuple, RelationGetDescr(rel), values, nulls);
		if (DatumGetInt64(values[SNAPSHOT_DEFINITION]) == fold->definition &&
			DatumGetInt64(values[SNAPSHOT_VERSION]) <= up_to)
		{
			Datum		state = read_state(fold->aggregate, DatumGetJsonbP(values[SNAPSHOT_STATE]), &loaded);

			if (loaded)
			{
				fold->kept_version = DatumGetInt64(values[SNAPSHOT_VERSION]);
				es_fold_start_from(fold, fold->kept_version, state, false);
			}
		}
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return loaded;
}

/*
 * Keep the state of a fold, which is not null, in place of an older one.  The
 * caller needs INSERT and UPDATE on event_snapshots.
 */
void
es_snapshot_save(EsFold *fold, EsStore *store, int64 stream_id)
{
	EsAggregate *aggregate = fold->aggregate;
	Datum		values[SNAPSHOT_NCOLUMNS];
	Jsonb	   *state;
	int			result;

	if (aggregate->state_is_jsonb)
		state = DatumGetJsonbP(fold->state);
	else
	{
		JsonbValue	value = {.type = jbvString};
		int			nest = fix_formats();
		Oid			output;
		bool		is_varlena;

		getTypeOutputInfo(aggregate->state_type, &output, &is_varlena);
		value.val.string.val = OidOutputFunctionCall(output, fold->state);
		value.val.string.len = strlen(value.val.string.val);
		AtEOXact_GUC(true, nest);
		state = JsonbValueToJsonb(&value);
	}

	values[SNAPSHOT_STREAM_ID] = Int64GetDatum(stream_id);
	values[SNAPSHOT_VERSION] = Int64GetDatum(fold->version);
	values[SNAPSHOT_DEFINITION] = Int64GetDatum(fold->definition);
	values[SNAPSHOT_CREATED_AT] = TimestampTzGetDatum(GetCurrentTimestamp());
	values[SNAPSHOT_AGGREGATE] = CStringGetTextDatum(aggregate->prepared.name);
	values[SNAPSHOT_STATE] = JsonbPGetDatum(state);
	SPI_connect();
	result = SPI_execute_plan(es_statement_plan(store, ES_STMT_SAVE_SNAPSHOT), values, NULL, false, 0);
	if (result != SPI_OK_INSERT)
		elog(ERROR, "SPI_execute_plan failed: %s", SPI_result_code_string(result));
	SPI_finish();
}
