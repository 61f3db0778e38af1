/*
 * tenant_move.c
 *		A tenant as lines of text, and back: to keep it, or to move it to another server.
 *
 * An export is a set of lines, each a JSON object with one member.  The first,
 * "tenant", says what it is an export of; then comes a line for each row of the
 * store's tables, under the name of the table; the last, "end", has for each
 * table the number of its lines and their checksum, so that what is cut off or
 * changed is noticed.  It has the events up to a position and the other tables
 * as one snapshot shows them.  Of a tenant that can be written the position is
 * the horizon, taken before the snapshot.  Of one that cannot, whoever still
 * writes is waited for, and the export says that it is complete.
 *
 * Tags are in the events: their table is made anew from them.
 *
 * A later export, after the position of an earlier one, has only the events
 * since; the other tables always come whole.
 *
 * The import reads the lines from a table or view.  The store keeps its number,
 * for it is in the ids of the events, and its epochs, so that the tokens of
 * consumers stay good.  The new tenant can only be read until the import of a
 * complete export.  All is one transaction, at the end of which what is in the
 * tables is read again and compared with the checksums.
 *
 * The checksum of rows is the sum, modulo 2^64, of the first 64 bits of the
 * SHA-256 of their lines: it does not depend on their order.  Lines are made
 * under fixed settings for the form of values.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "commands/sequence.h"
#include "common/cryptohash.h"
#include "common/sha2.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/ruleutils.h"
#include "utils/snapmgr.h"

#include "base/arguments.h"
#include "base/errors.h"
#include "base/json.h"
#include "log/mark.h"
#include "log/read.h"
#include "store/guard.h"
#include "store/manage.h"
#include "store/payload.h"
#include "store/statement.h"
#include "store/tenant.h"
#include "store/tenant_records.h"

#define FORMAT		1			/* of the lines */
#define FETCH		100			/* rows taken from a table at once */

/* How many rows, and what they are. */
typedef struct Sum
{
	int64		rows;
	uint64		checksum;
} Sum;

/* What the first line of an export says. */
typedef struct Header
{
	int64		number;
	EsPayload	payload;
	int64		after;
	int64		position;
	bool		complete;
	bool		tags;			/* has it a table of them, which is made anew from the events */
	Datum		epochs;
	Datum		attributes;
	Datum		migrations;
} Header;

/* --- rows --- */

/* Let values have one form, whatever the session has set; ended by AtEOXact_GUC. */
static int
begin_settings(void)
{
	static const char *const settings[][2] = {
		{"bytea_output", "hex"}, {"DateStyle", "ISO, YMD"}, {"extra_float_digits", "1"}, {"IntervalStyle", "postgres"},
		{"row_security", "off"}, {"TimeZone", "UTC"}
	};
	int			level = es_tenant_lift_guard();

	for (int i = 0; i < lengthof(settings); i++)
		(void) set_config_option(settings[i][0], settings[i][1], PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
								 false);
	return level;
}

static void
add_to_sum(Sum *sum, pg_cryptohash_ctx *hash, const text *line)
{
	uint8		digest[PG_SHA256_DIGEST_LENGTH];
	uint64		part;

	if (pg_cryptohash_init(hash) < 0 ||
		pg_cryptohash_update(hash, (const uint8 *) VARDATA_ANY(line), VARSIZE_ANY_EXHDR(line)) < 0 ||
		pg_cryptohash_final(hash, digest, sizeof(digest)) < 0)
		elog(ERROR, "could not compute a checksum: %s", pg_cryptohash_error(hash));
	memcpy(&part, digest, sizeof(part));
	sum->checksum += pg_ntoh64(part);
	sum->rows++;
}

/*
 * Read the rows of a table as the active snapshot shows them, and add them up;
 * their lines go to a tuplestore, if there is one.
 */
static Sum
read_rows(const char *schema, const char *table, EsPayload payload, int64 after, int64 last, ReturnSetInfo *result)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext rows = AllocSetContextCreate(caller, "event_store move", ALLOCSET_DEFAULT_SIZES);
	pg_cryptohash_ctx *hash = pg_cryptohash_create(PG_SHA256);
	Sum			sum = {0};
	Portal		portal;

	if (hash == NULL)
		elog(ERROR, "could not compute a checksum");
	SPI_connect();
	portal = es_statement_open_rows(schema, table, payload, after, last);
	for (;;)
	{
		SPITupleTable *lines;

		SPI_cursor_fetch(portal, true, FETCH);
		lines = SPI_tuptable;
		if (lines->numvals == 0)
			break;
		MemoryContextSwitchTo(rows);
		for (uint64 i = 0; i < lines->numvals; i++)
		{
			bool		isnull;
			Datum		line = SPI_getbinval(lines->vals[i], lines->tupdesc, 1, &isnull);

			CHECK_FOR_INTERRUPTS();
			add_to_sum(&sum, hash, DatumGetTextPP(line));
			if (result != NULL)
				tuplestore_putvalues(result->setResult, result->setDesc, &line, &isnull);
		}
		MemoryContextReset(rows);
		SPI_freetuptable(lines);
	}
	SPI_finish();
	pg_cryptohash_free(hash);
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(rows);
	return sum;
}

/* --- export --- */

static void
put_line(ReturnSetInfo *result, const char *line)
{
	Datum		value = CStringGetTextDatum(line);
	bool		isnull = false;

	tuplestore_putvalues(result->setResult, result->setDesc, &value, &isnull);
}

/* The text of a value that is JSON in itself. */
static char *
jsonb_text(Datum value)
{
	Jsonb	   *jb = DatumGetJsonbP(value);

	return JsonbToCString(NULL, &jb->root, VARSIZE(jb));
}

/* The epochs as a JSON array of texts, for they are larger than what is safe as a number. */
static char *
epochs_json(List *epochs)
{
	StringInfoData json;
	ListCell   *lc;

	initStringInfo(&json);
	foreach(lc, epochs)
	{
		EsEpoch    *e = lfirst(lc);

		appendStringInfo(&json, "%s[\"" INT64_FORMAT "\",\"" INT64_FORMAT "\",\"" INT64_FORMAT "\",\"" INT64_FORMAT "\"]",
						 json.len == 0 ? "[" : ",", e->system, e->timeline, e->place, e->after);
	}
	appendStringInfoString(&json, json.len == 0 ? "[]" : "]");
	return json.data;
}

/* The tenant that the first argument names, for its owner, and its store. */
static EsStore *
owned_tenant(FunctionCallInfo fcinfo, EsTenant *tenant)
{
	EsStore    *store;

	es_tenant_get(es_tenant_name_argument(fcinfo, 0, "name"), tenant);
	es_tenant_require_owner(tenant);
	es_tenant_guard_named(tenant->nspid);
	store = es_store_of_schema(tenant->nspid);
	if (store == NULL)
		es_tenant_broken(tenant);
	if (store->defect != NULL)
		ereport(ERROR,
				(es_problem(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
							ES_MEMBERS(ES_TEXT("store", NameStr(store->schema)), ES_TEXT("defect", store->defect)),
							"event store \"%s\" cannot be used: %s", NameStr(store->schema), store->defect),
				 errhint("The tables of a store must stay as event_store.create_store made them; undo the change.")));
	return store;
}

static int64
position_argument(FunctionCallInfo fcinfo, int argument, const char *name)
{
	int64		position = PG_GETARG_INT64(argument);

	if (position < 0)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("argument", name), ES_INT("value", position)),
							"%s is negative", name),
				 errhint("Pass a position that an import has returned.")));
	return position;
}

PG_FUNCTION_INFO_V1(event_store_export_tenant);
PG_FUNCTION_INFO_V1(event_store_import_tenant);
PG_FUNCTION_INFO_V1(event_store_tenant_checksums);

/* export_tenant(name, after_position) */
Datum
event_store_export_tenant(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	EsTenant	tenant;
	EsStore    *store = owned_tenant(fcinfo, &tenant);
	char	   *schema = pstrdup(NameStr(store->schema));
	EsPayload	payload = store->payload;
	bool		frozen = tenant.state != ES_TENANT_ACTIVE && !RecoveryInProgress();
	int64		after;
	EsFinal		final;
	StringInfoData end;
	StringInfoData header;
	ListCell   *lc;
	int			level;

	es_require_argument(fcinfo, 1, "after_position");
	after = position_argument(fcinfo, 1, "after_position");
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);

	/* nobody begins to write any more; wait for those who did before, and for what is at work on events */
	if (frozen)
	{
		static const char *const others[] = {"event_subscriptions", "event_deliveries", "event_handlers"};

		LockRelationOid(store->log, ShareLock);
		LockRelationOid(store->streams, ShareLock);
		for (int i = 0; i < lengthof(others); i++)
		{
			Oid			relid = get_relname_relid(others[i], tenant.nspid);

			if (OidIsValid(relid))
				LockRelationOid(relid, ShareLock);
		}
		store = es_store_with_indexes(store);
	}
	es_final_begin(&final, store);
	if (after > final.last)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE,
							ES_MEMBERS(ES_TEXT("tenant", NameStr(tenant.name)), ES_INT("after_position", after),
									   ES_INT("last_position", final.last)),
							"position %lld lies ahead of tenant \"%s\", whose last position is %lld", (long long) after,
							NameStr(tenant.name), (long long) final.last),
				 errhint("Pass the position that the import of an earlier export has returned.")));

	initStringInfo(&header);
	appendStringInfo(&header, "{\"tenant\":{\"format\":%d,\"name\":", FORMAT);
	escape_json(&header, NameStr(tenant.name));
	appendStringInfo(&header, ",\"attributes\":%s", jsonb_text(es_tenant_attributes(NameStr(tenant.name))));
	appendStringInfo(&header, ",\"store\":\"" INT64_FORMAT "\",\"payload\":\"%s\",\"after\":\"" INT64_FORMAT
					 "\",\"position\":\"" INT64_FORMAT "\",\"complete\":%s,\"tags\":%s,\"migrations\":%s,\"epochs\":%s}}",
					 store->number, es_payload_name(payload), after, final.last,
					 frozen && !final.by_mark ? "true" : "false", OidIsValid(store->tags) ? "true" : "false",
					 es_tenant_records_export(NameStr(tenant.name)), epochs_json(es_mark_epochs(store)));
	put_line(result, header.data);

	level = begin_settings();
	PushActiveSnapshot(final.snapshot);
	initStringInfo(&end);
	foreach(lc, es_statement_moved_tables(schema))
	{
		char	   *table = lfirst(lc);
		Sum			sum = read_rows(schema, table, payload, after, final.last, result);

		appendStringInfoString(&end, end.len == 0 ? "{\"end\":{" : ",");
		escape_json(&end, table);
		appendStringInfo(&end, ":{\"rows\":\"" INT64_FORMAT "\",\"checksum\":\"" UINT64_FORMAT "\"}", sum.rows, sum.checksum);
	}
	appendStringInfoString(&end, "}}");
	PopActiveSnapshot();
	AtEOXact_GUC(true, level);
	es_final_end(&final);
	put_line(result, end.data);
	return (Datum) 0;
}

/* tenant_checksums(name, position) */
Datum
event_store_tenant_checksums(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	EsTenant	tenant;
	EsStore    *store = owned_tenant(fcinfo, &tenant);
	char	   *schema = pstrdup(NameStr(store->schema));
	EsPayload	payload = store->payload;
	EsFinal		final;
	int64		last = PG_ARGISNULL(1) ? PG_INT64_MAX : position_argument(fcinfo, 1, "position");
	ListCell   *lc;
	int			level;

	InitMaterializedSRF(fcinfo, 0);
	es_final_begin(&final, store);
	last = Min(last, final.last);
	level = begin_settings();
	PushActiveSnapshot(final.snapshot);
	foreach(lc, es_statement_moved_tables(schema))
	{
		Sum			sum = read_rows(schema, lfirst(lc), payload, 0, last, NULL);
		Datum		values[3] = {CStringGetTextDatum(lfirst(lc)), Int64GetDatum(sum.rows), Int64GetDatum((int64) sum.checksum)};
		bool		nulls[3] = {false, false, false};

		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	PopActiveSnapshot();
	AtEOXact_GUC(true, level);
	es_final_end(&final);
	return (Datum) 0;
}

/* --- import --- */

pg_noreturn static void
not_an_export(const char *source, const char *why)
{
	ereport(ERROR,
			(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("source", source)),
						"%s does not hold an export of a tenant: %s", source, why),
			 errhint("It has a column \"line\" of type text, with all lines of one event_store.export_tenant() in any order.")));
}

/* A member of an object, NULL if it is not there or of another kind. */
static JsonbValue *
member_of(JsonbContainer *object, const char *name, enum jbvType kind)
{
	JsonbValue *value = JsonContainerIsObject(object) ?
		getKeyJsonValueFromContainer(object, name, strlen(name), NULL) : NULL;

	return value != NULL && value->type == kind ? value : NULL;
}

/* A number that is written as a text. */
static uint64
number_in(const char *source, const JsonbValue *value)
{
	char	   *digits;
	char	   *end;
	uint64		number;

	if (value == NULL || value->type != jbvString || value->val.string.len == 0)
		not_an_export(source, "a line has another form");
	digits = pnstrdup(value->val.string.val, value->val.string.len);
	errno = 0;
	number = digits[0] == '-' ? (uint64) strtoll(digits, &end, 10) : strtoull(digits, &end, 10);
	if (errno != 0 || *end != '\0')
		not_an_export(source, "a line has another form");
	return number;
}

static uint64
number_member(const char *source, JsonbContainer *object, const char *name)
{
	return number_in(source, member_of(object, name, jbvString));
}

/* The object under the only member of a line. */
static JsonbContainer *
line_object(const char *source, const char *member)
{
	char	   *line = es_statement_moved_line(source, member);
	Jsonb	   *jb;
	JsonbValue *value;

	if (line == NULL)
		not_an_export(source, strcmp(member, "end") == 0 ? "it has not one last line" : "it has not one first line");
	jb = es_jsonb_in(cstring_to_text(line));
	value = member_of(&jb->root, member, jbvBinary);
	if (value == NULL)
		not_an_export(source, "a line has another form");
	return value->val.binary.data;
}

/* The epochs of the header, an int8[]. */
static Datum
epochs_in(const char *source, JsonbContainer *array)
{
	List	   *epochs = NIL;
	int			count = JsonContainerIsArray(array) ? JsonContainerSize(array) : 0;

	for (int i = 0; i < count; i++)
	{
		JsonbValue *value = getIthJsonbValueFromContainer(array, i);
		int64		numbers[4];
		EsEpoch    *epoch = palloc(sizeof(EsEpoch));

		if (value->type != jbvBinary || !JsonContainerIsArray(value->val.binary.data) ||
			JsonContainerSize(value->val.binary.data) != lengthof(numbers))
			not_an_export(source, "a line has another form");
		for (int k = 0; k < lengthof(numbers); k++)
			numbers[k] = (int64) number_in(source, getIthJsonbValueFromContainer(value->val.binary.data, k));
		*epoch = (EsEpoch) {numbers[0], numbers[1], numbers[2], numbers[3]};
		epochs = lappend(epochs, epoch);
	}
	return es_epochs_array(epochs);
}

static void
read_header(const char *source, Header *header)
{
	JsonbContainer *object = line_object(source, "tenant");
	JsonbValue *format = member_of(object, "format", jbvNumeric);
	JsonbValue *payload = member_of(object, "payload", jbvString);
	JsonbValue *epochs = member_of(object, "epochs", jbvBinary);
	JsonbValue *attributes = member_of(object, "attributes", jbvBinary);
	JsonbValue *complete = member_of(object, "complete", jbvBool);
	JsonbValue *tags = member_of(object, "tags", jbvBool);
	JsonbValue *migrations = member_of(object, "migrations", jbvBinary);

	if (format == NULL || payload == NULL || epochs == NULL || attributes == NULL || complete == NULL || tags == NULL ||
		migrations == NULL || !JsonContainerIsObject(attributes->val.binary.data) ||
		!JsonContainerIsArray(migrations->val.binary.data))
		not_an_export(source, "a line has another form");
	if (DatumGetInt32(DirectFunctionCall1(numeric_int4, NumericGetDatum(format->val.numeric))) != FORMAT)
		not_an_export(source, "it was made by another version of the extension");
	header->number = (int64) number_member(source, object, "store");
	header->payload = es_payload_argument(cstring_to_text_with_len(payload->val.string.val, payload->val.string.len));
	header->after = (int64) number_member(source, object, "after");
	header->position = (int64) number_member(source, object, "position");
	header->complete = complete->val.boolean;
	header->tags = tags->val.boolean;
	header->epochs = epochs_in(source, epochs->val.binary.data);
	header->attributes = JsonbPGetDatum(JsonbValueToJsonb(attributes));
	header->migrations = JsonbPGetDatum(JsonbValueToJsonb(migrations));
}

/* Make the tenant, or see that it is where the export goes on. */
static void
prepare_tenant(const char *name, const char *source, const Header *header, EsTenant *tenant)
{
	EsStore    *store;
	int64		position;

	if (!es_tenant_find(name, tenant))
	{
		if (header->after != 0)
			ereport(ERROR,
					(es_problem(ERRCODE_ES_TENANT_NOT_FOUND, ES_MEMBERS(ES_TEXT("tenant", name), ES_TEXT("source", source)),
								"tenant \"%s\" does not exist, and the export begins after position %lld", name,
								(long long) header->after),
					 errhint("Import first the export that it goes on from.")));
		/* a schema that is there was made as the old one is; in a new one is nothing but the store */
		if (!es_tenant_create_again(name, header->number, header->payload, header->attributes))
			es_tenant_records_import(name, header->migrations);
		es_tenant_set_state(name, ES_TENANT_READ_ONLY, "it is being imported");
		es_tenant_get(name, tenant);
		return;
	}
	es_tenant_get(name, tenant);
	es_tenant_set_state(name, ES_TENANT_READ_ONLY, "it is being imported");
	store = es_store_of_schema(tenant->nspid);
	if (store == NULL)
		es_tenant_broken(tenant);
	if (store->number != header->number || tenant->state != ES_TENANT_READ_ONLY)
		ereport(ERROR,
				(es_problem(ERRCODE_ES_TENANT_EXISTS, ES_MEMBERS(ES_TEXT("tenant", name), ES_TEXT("source", source)),
							store->number != header->number ? "tenant \"%s\" exists already, and the export is not of it" :
							"tenant \"%s\" exists already, and is not being imported", name),
				 errhint("Import under another name, or into another database.")));
	position = es_mark_read(store, GetLatestSnapshot());
	if (position != header->after)
		ereport(ERROR,
				(es_problem(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
							ES_MEMBERS(ES_TEXT("tenant", name), ES_TEXT("source", source), ES_INT("position", position),
									   ES_INT("after", header->after)),
							"tenant \"%s\" has been imported up to position %lld, and the export begins after %lld", name,
							(long long) position, (long long) header->after),
				 errhint("Export again, with after_position => %lld.", (long long) position)));
}

/* Is it a table of the store that moves with it? */
static bool
is_moved(const char *schema, const char *table)
{
	ListCell   *lc;

	foreach(lc, es_statement_moved_tables(schema))
		if (strcmp(lfirst(lc), table) == 0)
			return true;
	return false;
}

/* Put the rows of one table in; those that the tenant has of it go, but for events, which are added. */
static void
import_table(const char *schema, const char *table, const char *source, EsPayload payload)
{
	Oid			relid = get_relname_relid(table, get_namespace_oid(schema, false));
	bool		is_streams = strcmp(table, "event_streams") == 0;
	bool		is_log = strcmp(table, "event_log") == 0;

	if (!OidIsValid(relid) || !is_moved(schema, table))
		ereport(ERROR,
				(es_problem(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
							ES_MEMBERS(ES_TEXT("schema", schema), ES_TEXT("table", table)),
							"schema \"%s\" has no table %s to take the rows of the export", schema, table),
				 errhint("Make the schema before the import with pg_dump --schema-only of the old one.")));
	PG_TRY();
	{
		if (!is_streams && !is_log)
		{
			es_guard_let_clear(relid);
			es_statement_delete_rows(schema, table);
			es_guard_close();
		}
		if (is_streams)
			es_guard_let_replace(relid);
		else
			es_guard_let_insert(relid);
		(void) es_statement_insert_rows(schema, source, table, payload, is_streams);
	}
	PG_FINALLY();
	{
		es_guard_close();
	}
	PG_END_TRY();
}

/* Let the table of tags, if there is one or is to be one, have those of the events that have come. */
static void
import_tags(const char *schema, EsStore *store, const Header *header)
{
	Oid			relid = get_relname_relid("event_tags", store->nspid);
	Relation	log;

	if (!OidIsValid(relid))
	{
		if (!header->tags)
			return;
		log = table_open(store->log, AccessShareLock);
		es_store_create_tags(store->nspid, log);
		table_close(log, NoLock);
		return;
	}
	PG_TRY();
	{
		es_guard_let_insert(relid);
		es_statement_fill_tags(schema, header->after);
	}
	PG_FINALLY();
	{
		es_guard_close();
	}
	PG_END_TRY();
}

/* Compare what is now in a table with what the last line says; returns its rows. */
static int64
verify_table(const char *schema, const char *table, const char *source, const Header *header, JsonbContainer *end)
{
	int64		rows = (int64) number_member(source, end, "rows");
	uint64		checksum = number_member(source, end, "checksum");
	Sum			sum;

	PushActiveSnapshot(GetLatestSnapshot());
	sum = read_rows(schema, table, header->payload, header->after, header->position, NULL);
	PopActiveSnapshot();
	if (sum.rows != rows || sum.checksum != checksum)
		ereport(ERROR,
				(es_problem(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
							ES_MEMBERS(ES_TEXT("source", source), ES_TEXT("table", table), ES_INT("exported", rows),
									   ES_INT("imported", sum.rows)),
							sum.rows != rows ? "of table %s %lld rows were exported, %lld have arrived" :
							"table %s has not the content that was exported: the checksums of its %lld rows differ",
							table, (long long) rows, (long long) sum.rows),
				 errhint("The lines are not those of one export, or the tables differ; nothing was imported.")));
	return rows;
}

/* The tables that the last line names. */
static List *
exported_tables(const char *source, JsonbContainer *end)
{
	JsonbIterator *it = JsonbIteratorInit(end);
	JsonbIteratorToken token;
	JsonbValue	value;
	List	   *tables = NIL;

	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
		if (token == WJB_KEY)
			tables = lappend(tables, pnstrdup(value.val.string.val, value.val.string.len));
	return tables;
}

/* The name of the source, quoted and qualified; an error if it cannot be one. */
static char *
source_argument(FunctionCallInfo fcinfo, int argument)
{
	Oid			relid;
	char	   *name;
	char	   *source;

	es_require_argument(fcinfo, argument, "source");
	relid = PG_GETARG_OID(argument);
	name = get_rel_name(relid);
	if (name == NULL)
		ereport(ERROR,
				(es_problem(ERRCODE_UNDEFINED_TABLE, ES_MEMBERS(ES_TEXT("argument", "source")),
							"the source with OID %u does not exist", relid),
				 errhint("Name a table or view that exists.")));
	source = quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)), name);
	if (get_attnum(relid, "line") == InvalidAttrNumber || get_atttype(relid, get_attnum(relid, "line")) != TEXTOID)
		not_an_export(source, "it has no column \"line\" of type text");
	return source;
}

/* import_tenant(name, source) */
Datum
event_store_import_tenant(PG_FUNCTION_ARGS)
{
	char	   *name = es_tenant_name_argument(fcinfo, 0, "name");
	char	   *source = source_argument(fcinfo, 1);
	Header		header;
	JsonbContainer *end;
	List	   *tables;
	ListCell   *lc;
	EsTenant	tenant;
	EsStore    *store;
	char	   *schema;
	int			level;
	int64		events = 0;
	Datum		values[3];
	bool		nulls[3] = {false, false, false};
	TupleDesc	desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "import_tenant must return a row");
	es_require_writable();
	SPI_connect();
	read_header(source, &header);
	end = line_object(source, "end");
	tables = exported_tables(source, end);
	prepare_tenant(name, source, &header, &tenant);
	schema = get_namespace_name(tenant.nspid);
	store = es_store_of_schema(tenant.nspid);
	if (store == NULL)
		es_tenant_broken(&tenant);
	if (store->payload != header.payload)
		ereport(ERROR,
				(es_problem(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
							ES_MEMBERS(ES_TEXT("tenant", name), ES_TEXT("source", source),
									   ES_TEXT("payload", es_payload_name(header.payload)),
									   ES_TEXT("kept", es_payload_name(store->payload))),
							"the export is of a store that keeps %s, tenant \"%s\" keeps %s",
							es_payload_name(header.payload), name, es_payload_name(store->payload)),
				 errhint("Make the schema before the import with pg_dump --schema-only of the old one.")));

	level = begin_settings();
	foreach(lc, tables)
		es_store_need_table(es_store_of_schema(tenant.nspid), lfirst(lc));
	foreach(lc, tables)
		import_table(schema, lfirst(lc), source, header.payload);
	CommandCounterIncrement();
	store = es_store_of_schema(tenant.nspid);
	if (store == NULL)
		es_tenant_broken(&tenant);
	import_tags(schema, store, &header);
	foreach(lc, tables)
	{
		JsonbValue *expected = member_of(end, lfirst(lc), jbvBinary);
		int64		rows;

		if (expected == NULL)
			not_an_export(source, "a line has another form");
		rows = verify_table(schema, lfirst(lc), source, &header, expected->val.binary.data);
		if (strcmp(lfirst(lc), "event_log") == 0)
			events = rows;
	}
	store = es_store_of_schema(tenant.nspid);
	if (store == NULL)
		es_tenant_broken(&tenant);
	es_statement_set_mark(schema, header.position, header.epochs);
	DirectFunctionCall3(setval3_oid, ObjectIdGetDatum(store->sequence), Int64GetDatum(header.position + 1), BoolGetDatum(false));
	AtEOXact_GUC(true, level);

	/* so that every session learns anew where its positions end */
	CacheInvalidateRelcacheByRelid(store->log);
	if (header.complete)
		es_tenant_set_state(name, ES_TENANT_ACTIVE, NULL);
	SPI_finish();

	values[0] = Int64GetDatum(events);
	values[1] = Int64GetDatum(header.position);
	values[2] = BoolGetDatum(header.complete);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}
