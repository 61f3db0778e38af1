/*
 * columns.c
 *		What the tables of a store must be like.
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "utils/builtins.h"

#include "store/columns.h"
#include "store/guard.h"
#include "store/payload.h"
#include "store/store.h"

typedef struct ColumnSpec
{
	const char *name;
	Oid			type;
	bool		nullable;
	bool		payload;		/* or another type that data may have */
} ColumnSpec;

static const ColumnSpec log_columns[LOG_NCOLUMNS] = {
	[LOG_POSITION] = {"position", INT8OID},
	[LOG_STREAM_ID] = {"stream_id", INT8OID},
	[LOG_VERSION] = {"version", INT8OID},
	[LOG_CREATED_AT] = {"created_at", TIMESTAMPTZOID},
	[LOG_EVENT_ID] = {"event_id", UUIDOID},
	[LOG_CORRELATION_ID] = {"correlation_id", UUIDOID, true},
	[LOG_CAUSATION_ID] = {"causation_id", UUIDOID, true},
	[LOG_EVENT_TYPE] = {"event_type", TEXTOID},
	[LOG_DATA] = {"data", JSONBOID, .payload = true},
	[LOG_METADATA] = {"metadata", JSONBOID, true},
};

static const ColumnSpec stream_columns[STREAM_NCOLUMNS] = {
	[STREAM_ID] = {"stream_id", INT8OID},
	[STREAM_NAME] = {"stream_name", TEXTOID},
	[STREAM_CATEGORY] = {"category", TEXTOID},
	[STREAM_CREATED_AT] = {"created_at", TIMESTAMPTZOID},
	[STREAM_DELETED_AT] = {"deleted_at", TIMESTAMPTZOID, true},
	[STREAM_TRUNCATE_BEFORE] = {"truncate_before", INT8OID, true},
	[STREAM_MAX_AGE] = {"max_age", INTERVALOID, true},
	[STREAM_MAX_COUNT] = {"max_count", INT8OID, true},
	[STREAM_METADATA] = {"metadata", JSONBOID, true},
};

static const ColumnSpec mark_columns[MARK_NCOLUMNS] = {
	[MARK_STORE_NUMBER] = {"store_number", INT8OID},
	[MARK_POSITION] = {"position", INT8OID},
	[MARK_LAYOUT] = {"layout", INT4OID},
	[MARK_CHANGED_AT] = {"changed_at", TIMESTAMPTZOID},
	[MARK_EPOCHS] = {"epochs", INT8ARRAYOID},
};

static const ColumnSpec tags_columns[TAGS_NCOLUMNS] = {
	[TAGS_TAG] = {"tag", TEXTOID},
	[TAGS_POSITION] = {"position", INT8OID},
};

static const struct
{
	const ColumnSpec *columns;
	int			count;
}			specs[] = {
	[ES_COLUMNS_LOG] = {log_columns, LOG_NCOLUMNS},
	[ES_COLUMNS_STREAMS] = {stream_columns, STREAM_NCOLUMNS},
	[ES_COLUMNS_MARK] = {mark_columns, MARK_NCOLUMNS},
	[ES_COLUMNS_TAGS] = {tags_columns, TAGS_NCOLUMNS},
};

/* The collation of our columns of a type: names are compared byte for byte. */
static Oid
collation_of(Oid type)
{
	return type == TEXTOID ? C_COLLATION_OID : InvalidOid;
}

static bool
type_fits(const ColumnSpec *column, Oid type)
{
	EsPayload	payload;

	return type == column->type || (column->payload && es_payload_of_type(type, &payload));
}

/* What differs from the columns we make, palloc'd; NULL if nothing does. */
char *
es_columns_defect(Relation rel, EsColumns table)
{
	const ColumnSpec *columns = specs[table].columns;
	int			ncolumns = specs[table].count;
	TupleDesc	desc = RelationGetDescr(rel);

	for (int i = 0; i < Max(ncolumns, desc->natts); i++)
	{
		Form_pg_attribute att = i < desc->natts ? TupleDescAttr(desc, i) : NULL;

		if (i >= ncolumns)
		{
			if (!att->attisdropped)
				return psprintf("table %s has an additional column %s",
								RelationGetRelationName(rel), NameStr(att->attname));
		}
		else if (att == NULL || att->attisdropped ||
				 strcmp(NameStr(att->attname), columns[i].name) != 0 ||
				 !type_fits(&columns[i], att->atttypid) || att->attcollation != collation_of(columns[i].type))
			return psprintf("table %s has no column %s of type %s%s at place %d",
							RelationGetRelationName(rel), columns[i].name, format_type_be(columns[i].type),
							columns[i].payload ? ", json or bytea" : columns[i].type == TEXTOID ? " COLLATE \"C\"" : "",
							i + 1);
	}
	return NULL;
}

/*
 * May rows be formed by us?  Not if the table wants more of its columns than
 * when we made it.
 */
bool
es_columns_are_plain(Relation rel, EsColumns table)
{
	const ColumnSpec *columns = specs[table].columns;
	int			ncolumns = specs[table].count;
	TupleDesc	desc = RelationGetDescr(rel);
	TupleConstr *constr = desc->constr;

	for (int i = 0; i < ncolumns; i++)
		if (TupleDescAttr(desc, i)->attnotnull == columns[i].nullable ||
			TupleDescAttr(desc, i)->attgenerated != '\0' || TupleDescAttr(desc, i)->attidentity != '\0')
			return false;
	return constr == NULL || (constr->num_check == 0 && constr->num_defval == 0);
}

/*
 * Does the table have an enabled trigger on the given events
 * (TRIGGER_TYPE_...) that is not our guard?  Foreign keys that refer to the
 * table do not count: we never change or delete a key.
 */
bool
es_has_foreign_trigger(Relation rel, int events)
{
	Oid			guard = rel->trigdesc != NULL ? es_guard_function() : InvalidOid;
	TriggerDesc *triggers = rel->trigdesc;	/* an invalidation during the look-up would free it */

	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		Trigger    *trigger = &triggers->triggers[i];

		if ((trigger->tgtype & events) != 0 && trigger->tgfoid != guard &&
			trigger->tgenabled != TRIGGER_DISABLED &&
			RI_FKey_trigger_type(trigger->tgfoid) != RI_TRIGGER_PK)
			return true;
	}
	return false;
}
