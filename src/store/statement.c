/*
 * statement.c
 *		The SQL text of the C code: definitions of a store, queries on it.
 *
 * This file, store/statement_handler, store/statement_move and
 * store/tenant_records are the only ones with SQL in them.  Every name is qualified, every identifier that is not ours
 * goes through quote_identifier, every value through a parameter, so the
 * caller's search_path means nothing here.
 *
 * Definitions run as the caller, whose rights decide.  Plans are kept with the
 * store and go when it is loaded anew.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "tcop/dest.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/uuid.h"

#include "base/errors.h"
#include "store/event_id.h"
#include "store/payload.h"
#include "store/statement.h"

/* In all templates $S stands for the quoted schema, other $X for one more text. */

/*
 * event_log comes first: DROP SCHEMA locks tables in the order in which they
 * were made, and all others who take both lock event_log before event_streams.
 */
static const char create_tables[] =
"CREATE TABLE $S.event_log ("
"	position pg_catalog.int8 NOT NULL,"
"	stream_id pg_catalog.int8 NOT NULL,"
"	version pg_catalog.int8 NOT NULL,"
"	created_at pg_catalog.timestamptz NOT NULL,"
"	event_id pg_catalog.uuid NOT NULL,"
"	correlation_id pg_catalog.uuid,"
"	causation_id pg_catalog.uuid,"
"	event_type pg_catalog.text COLLATE pg_catalog.\"C\" NOT NULL,"
"	data pg_catalog.$P NOT NULL,"
"	metadata pg_catalog.jsonb,"
"	CONSTRAINT event_log_pkey PRIMARY KEY (stream_id, version),"
"	CONSTRAINT event_log_position_key UNIQUE (position));"
"CREATE UNIQUE INDEX event_log_event_id_key ON $S.event_log (event_id)"
"	WHERE event_id OPERATOR(pg_catalog.<) '$L' OR event_id OPERATOR(pg_catalog.>) '$H';"
"CREATE TABLE $S.event_streams ("
"	stream_id pg_catalog.int8 NOT NULL,"
"	stream_name pg_catalog.text COLLATE pg_catalog.\"C\" NOT NULL,"
"	category pg_catalog.text COLLATE pg_catalog.\"C\" NOT NULL,"
"	created_at pg_catalog.timestamptz NOT NULL,"
"	deleted_at pg_catalog.timestamptz,"
"	truncate_before pg_catalog.int8,"
"	max_age pg_catalog.interval,"
"	max_count pg_catalog.int8,"
"	metadata pg_catalog.jsonb,"
"	CONSTRAINT event_streams_pkey PRIMARY KEY (stream_id),"
"	CONSTRAINT event_streams_stream_name_key UNIQUE (stream_name));"
"CREATE TABLE $S.event_snapshots ("
"	stream_id pg_catalog.int8 NOT NULL,"
"	version pg_catalog.int8 NOT NULL,"
"	definition pg_catalog.int8 NOT NULL,"
"	created_at pg_catalog.timestamptz NOT NULL,"
"	aggregate pg_catalog.text COLLATE pg_catalog.\"C\" NOT NULL,"
"	state pg_catalog.jsonb NOT NULL,"
"	CONSTRAINT event_snapshots_pkey PRIMARY KEY (stream_id, aggregate));"
"CREATE TABLE $S.event_commands ("
"	command_id pg_catalog.uuid NOT NULL,"
"	request pg_catalog.int8 NOT NULL,"
"	dispatched_at pg_catalog.timestamptz NOT NULL,"
"	result pg_catalog.jsonb NOT NULL,"
"	CONSTRAINT event_commands_pkey PRIMARY KEY (command_id));"

/* One row, moved often: room on the page keeps its updates HOT. */
"CREATE TABLE $S.event_mark ("
"	store_number pg_catalog.int8 NOT NULL,"
"	position pg_catalog.int8 NOT NULL,"
"	layout pg_catalog.int4 NOT NULL,"
"	changed_at pg_catalog.timestamptz NOT NULL,"
"	epochs pg_catalog.int8[] NOT NULL)"
"	WITH (fillfactor = 10);"
"ALTER TABLE $S.event_mark REPLICA IDENTITY FULL;"
"INSERT INTO $S.event_mark VALUES ($N, 0, $V, pg_catalog.now(), '{}');"
"CREATE SEQUENCE $S.event_position AS pg_catalog.int8 INCREMENT BY $B"
"	MINVALUE 1 MAXVALUE 4611686018427387903 START WITH 1 CACHE 1 NO CYCLE"
"	OWNED BY $S.event_log.position;";

/* What event_tags holds.  Whatever cannot be a tag was none when it was appended. */
#define TAGS_OF_LOG \
"SELECT DISTINCT t.tag OPERATOR(pg_catalog.#>>) '{}' AS tag, l.position" \
" FROM $S.event_log l CROSS JOIN LATERAL pg_catalog.jsonb_array_elements(" \
"	CASE WHEN pg_catalog.jsonb_typeof(l.metadata::pg_catalog.jsonb OPERATOR(pg_catalog.->) 'tags') OPERATOR(pg_catalog.=) 'array'" \
"	THEN l.metadata::pg_catalog.jsonb OPERATOR(pg_catalog.->) 'tags' END) t (tag)" \
" WHERE pg_catalog.jsonb_typeof(t.tag) OPERATOR(pg_catalog.=) 'string'" \
" AND pg_catalog.octet_length(t.tag OPERATOR(pg_catalog.#>>) '{}') OPERATOR(pg_catalog.>) 0" \
" AND pg_catalog.octet_length(t.tag OPERATOR(pg_catalog.#>>) '{}') OPERATOR(pg_catalog.<=) 2000"

/*
 * event_tags is an index over what events say in their metadata, in the form of
 * a table: only we read and write it, so nobody is granted anything on it.
 */
static const char create_tags[] =
"CREATE TABLE $S.event_tags ("
"	tag pg_catalog.text COLLATE pg_catalog.\"C\" NOT NULL,"
"	position pg_catalog.int8 NOT NULL);"
"INSERT INTO $S.event_tags " TAGS_OF_LOG ";"
"ALTER TABLE $S.event_tags ADD CONSTRAINT event_tags_pkey PRIMARY KEY (tag, position);";

/*
 * Subscriptions, which a store gets with its first one.  The columns that change
 * with every fetch come first and are of fixed size, and there is room on the
 * pages: then updates are HOT and little of a row goes to the WAL.  Deliveries
 * come and go with every event, so they are vacuumed by number.
 */
static const char create_subscription_tables[] =
"CREATE TABLE $S.event_subscriptions ("
"	subscription_id pg_catalog.int8 NOT NULL,"
"	read_position pg_catalog.int8 NOT NULL,"
"	\"checkpoint\" pg_catalog.int8 NOT NULL,"
"	taken pg_catalog.int8 NOT NULL,"
"	given pg_catalog.int8 NOT NULL,"
"	changed_at pg_catalog.timestamptz NOT NULL,"
"	created_at pg_catalog.timestamptz NOT NULL,"
"	lease pg_catalog.int8 NOT NULL,"
"	retry_delay pg_catalog.int8 NOT NULL,"
"	max_attempts pg_catalog.int4 NOT NULL,"
"	max_in_flight pg_catalog.int4 NOT NULL,"
"	buffer_size pg_catalog.int4 NOT NULL,"
"	max_parked pg_catalog.int4 NOT NULL,"
"	park_key pg_catalog.bool NOT NULL,"
"	stopped pg_catalog.bool NOT NULL,"
"	subscription_name pg_catalog.text COLLATE pg_catalog.\"C\" NOT NULL,"
"	partition_by pg_catalog.text COLLATE pg_catalog.\"C\" NOT NULL,"
"	stream_name pg_catalog.text COLLATE pg_catalog.\"C\","
"	category pg_catalog.text COLLATE pg_catalog.\"C\","
"	types pg_catalog.text[] COLLATE pg_catalog.\"C\","
"	filter pg_catalog.jsonpath,"
"	last_problem pg_catalog.jsonb,"
"	CONSTRAINT event_subscriptions_pkey PRIMARY KEY (subscription_name))"
"	WITH (fillfactor = 40);"
"CREATE TABLE $S.event_deliveries ("
"	subscription_id pg_catalog.int8 NOT NULL,"
"	position pg_catalog.int8 NOT NULL,"
"	due_at pg_catalog.timestamptz NOT NULL,"
"	key pg_catalog.int8 NOT NULL,"
"	attempts pg_catalog.int4 NOT NULL,"
"	lane pg_catalog.int2 NOT NULL,"
"	state pg_catalog.\"char\" NOT NULL,"
"	consumer pg_catalog.text COLLATE pg_catalog.\"C\","
"	cause pg_catalog.text COLLATE pg_catalog.\"C\","
"	reason pg_catalog.text,"
"	CONSTRAINT event_deliveries_pkey PRIMARY KEY (subscription_id, lane, position))"
"	WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);";

/* Who was given rights on them by default privileges, as REVOKE writes it. */
static const char subscription_grantees[] =
"SELECT DISTINCT CASE WHEN a.grantee OPERATOR(pg_catalog.=) 0::pg_catalog.oid THEN 'PUBLIC'"
" ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END"
" FROM pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) a"
" WHERE c.oid OPERATOR(pg_catalog.=) $Q::pg_catalog.regclass AND a.grantee OPERATOR(pg_catalog.<>) c.relowner";

/* Tables that a store may have besides those of every store, in the order in which they are made. */
static const char *const extra_tables[] = {
	"event_subscriptions", "event_deliveries", "event_handlers", "event_parked", "event_processes"
};

/*
 * Rows are guarded one by one against UPDATE and DELETE, so that an inheritance
 * parent is no way around, and also under session_replication_role = replica.
 * INSERT is guarded in the origin role only: a copy is filled in replica role.
 */
static const char create_guard[] =
"CREATE OR REPLACE TRIGGER event_store_no_insert BEFORE INSERT ON $S.$T"
"	FOR EACH STATEMENT EXECUTE FUNCTION event_store.guard_store_table();"
"CREATE OR REPLACE TRIGGER event_store_no_change BEFORE UPDATE OR DELETE ON $S.$T"
"	FOR EACH ROW EXECUTE FUNCTION event_store.guard_store_table();"
"ALTER TABLE $S.$T ENABLE ALWAYS TRIGGER event_store_no_change;"
"CREATE OR REPLACE TRIGGER event_store_no_truncate BEFORE TRUNCATE ON $S.$T"
"	FOR EACH STATEMENT EXECUTE FUNCTION event_store.guard_store_table();"
"ALTER TABLE $S.$T ENABLE ALWAYS TRIGGER event_store_no_truncate;";

const char es_statement_require_tenant[] = "SELECT event_store.require_tenant()";

static const char drop_tables[] =
"DROP TABLE $S.event_log, $S.event_streams, $S.event_snapshots, $S.event_commands, $S.event_mark;";

static const char grant_reader[] =
"GRANT USAGE ON SCHEMA $S TO $R;"
"GRANT SELECT ON $S.event_log, $S.event_streams, $S.event_snapshots, $S.event_commands, $S.event_mark TO $R;";

static const char grant_writer[] =
"GRANT INSERT ON $S.event_log, $S.event_streams, $S.event_snapshots, $S.event_commands TO $R;"
"GRANT UPDATE ON $S.event_snapshots TO $R;";

static const char grant_admin[] =
"GRANT UPDATE, DELETE ON $S.event_log, $S.event_streams, $S.event_snapshots, $S.event_commands TO $R;";

static const char grant_consumer[] =
"GRANT SELECT ON $S.event_subscriptions TO $R;"
"GRANT SELECT, UPDATE ON $S.event_deliveries TO $R;";

static const char revoke_all[] =
"REVOKE ALL ON $S.event_log, $S.event_streams, $S.event_snapshots, $S.event_commands, $S.event_mark FROM $R;"
"REVOKE ALL ON SEQUENCE $S.event_position FROM $R;"
"REVOKE USAGE ON SCHEMA $S FROM $R;";

static const char revoke_schema[] =
"REVOKE ALL ON ALL TABLES IN SCHEMA $S FROM $R;"
"REVOKE ALL ON ALL SEQUENCES IN SCHEMA $S FROM $R;"
"ALTER DEFAULT PRIVILEGES IN SCHEMA $S REVOKE ALL ON TABLES FROM $R;"
"ALTER DEFAULT PRIVILEGES IN SCHEMA $S REVOKE ALL ON SEQUENCES FROM $R;"
"REVOKE ALL ON SCHEMA $S FROM $R;";

/* What a schema holds besides its store, as GRANT writes it. */
static const char other_relations[] =
"SELECT pg_catalog.format('%s %I.%I', CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, n.nspname, c.relname), c.relkind"
" FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace"
" WHERE n.nspname OPERATOR(pg_catalog.=) $Q AND c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p,v,m,f,S}')"
" AND c.relname OPERATOR(pg_catalog.<>) ALL"
" ('{event_log,event_streams,event_snapshots,event_commands,event_mark,event_position,event_tags,"
"event_subscriptions,event_deliveries,event_handlers,event_parked,event_processes}')"
" ORDER BY c.oid USING OPERATOR(pg_catalog.<)";

#define LOG_COLUMNS \
"position, stream_id, version, created_at, event_id, correlation_id, causation_id, event_type, data, metadata"

#define VERIFY_TWICE(column, from) \
"SELECT pg_catalog.count(*), pg_catalog.min(v) FROM (SELECT " column "::pg_catalog.text AS v FROM " from \
" GROUP BY " column " HAVING pg_catalog.count(*) OPERATOR(pg_catalog.>) 1) twice"

typedef struct StoreQuery
{
	const char *text;
	int			nparameters;
	Oid			parameters[LOG_NCOLUMNS];
} StoreQuery;

static const StoreQuery queries[ES_STMT_COUNT] = {
	[ES_STMT_INSERT] = {"INSERT INTO $S.event_log (" LOG_COLUMNS ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
		LOG_NCOLUMNS, {INT8OID, INT8OID, INT8OID, TIMESTAMPTZOID, UUIDOID,
	UUIDOID, UUIDOID, TEXTOID, JSONBOID, JSONBOID}},
	[ES_STMT_READ_STREAM] = {"SELECT " LOG_COLUMNS " FROM $S.event_log"
	" WHERE stream_id OPERATOR(pg_catalog.=) $1"
	" AND version OPERATOR(pg_catalog.>=) $2 AND version OPERATOR(pg_catalog.<=) $3"
	" ORDER BY version USING OPERATOR(pg_catalog.<)",
		3, {INT8OID, INT8OID, INT8OID}},
	[ES_STMT_READ_STREAM_BACK] = {"SELECT " LOG_COLUMNS " FROM $S.event_log"
	" WHERE stream_id OPERATOR(pg_catalog.=) $1"
	" AND version OPERATOR(pg_catalog.>=) $2 AND version OPERATOR(pg_catalog.<=) $3"
	" ORDER BY version USING OPERATOR(pg_catalog.>)",
		3, {INT8OID, INT8OID, INT8OID}},
	[ES_STMT_READ_LOG] = {"SELECT " LOG_COLUMNS " FROM $S.event_log"
	" WHERE position OPERATOR(pg_catalog.>=) $1 AND position OPERATOR(pg_catalog.<=) $2"
	" ORDER BY position USING OPERATOR(pg_catalog.<)",
		2, {INT8OID, INT8OID}},
	[ES_STMT_READ_LOG_BACK] = {"SELECT " LOG_COLUMNS " FROM $S.event_log"
	" WHERE position OPERATOR(pg_catalog.>=) $1 AND position OPERATOR(pg_catalog.<=) $2"
	" ORDER BY position USING OPERATOR(pg_catalog.>)",
		2, {INT8OID, INT8OID}},
	[ES_STMT_READ_EVENT_ID] = {"SELECT " LOG_COLUMNS " FROM $S.event_log"
	" WHERE event_id OPERATOR(pg_catalog.=) $1",
		1, {UUIDOID}},

	[ES_STMT_DELETE_EVENTS] = {"DELETE FROM $S.event_log WHERE stream_id OPERATOR(pg_catalog.=) $1"
	" AND version OPERATOR(pg_catalog.<) $2",
		2, {INT8OID, INT8OID}},
	[ES_STMT_LIMITED_STREAMS] = {"SELECT stream_id, stream_name FROM $S.event_streams"
	" WHERE stream_id OPERATOR(pg_catalog.>) $1"
	" AND (truncate_before IS NOT NULL OR max_age IS NOT NULL OR max_count IS NOT NULL)"
	" ORDER BY stream_id USING OPERATOR(pg_catalog.<) LIMIT $2",
		2, {INT8OID, INT8OID}},

	/* Each stream's own row and then its events; the last column: the versions before it may be gone */
	[ES_STMT_VERIFY_STREAMS] = {"SELECT stream_id, 0 AS kind, 0::pg_catalog.int8 AS version, NULL::pg_catalog.int8,"
	" NULL::pg_catalog.uuid, stream_name, COALESCE(truncate_before, 1) FROM $S.event_streams"
	" UNION ALL SELECT stream_id, 1, version, position, event_id, NULL, NULL FROM $S.event_log"
	" ORDER BY stream_id USING OPERATOR(pg_catalog.<), kind USING OPERATOR(pg_catalog.<),"
	" version USING OPERATOR(pg_catalog.<)"},

	/* How many values are there more than once, and one of them */
	[ES_STMT_VERIFY_POSITIONS] = {VERIFY_TWICE("position", "$S.event_log")},
	[ES_STMT_VERIFY_EVENT_IDS] = {VERIFY_TWICE("event_id", "$S.event_log"
		" WHERE event_id OPERATOR(pg_catalog.<) $1 OR event_id OPERATOR(pg_catalog.>) $2"),
	2, {UUIDOID, UUIDOID}},
	[ES_STMT_VERIFY_NAMES] = {VERIFY_TWICE("stream_name", "$S.event_streams")},

	/* The tags that are in one of the two only, of both how many */
	[ES_STMT_VERIFY_TAGS] = {"SELECT pg_catalog.count(*), pg_catalog.min(tag) FROM ("
		" (" TAGS_OF_LOG " EXCEPT ALL SELECT tag, position FROM $S.event_tags) UNION ALL"
		" (SELECT tag, position FROM $S.event_tags EXCEPT ALL " TAGS_OF_LOG ")) other"},
	[ES_STMT_SAVE_COMMAND] = {"INSERT INTO $S.event_commands (command_id, request, dispatched_at, result)"
	" VALUES ($1, $2, $3, $4) ON CONFLICT (command_id) DO NOTHING",
		COMMANDS_NCOLUMNS, {UUIDOID, INT8OID, TIMESTAMPTZOID, JSONBOID}},
	[ES_STMT_FORGET_COMMANDS] = {"DELETE FROM $S.event_commands WHERE dispatched_at OPERATOR(pg_catalog.<) $1",
		1, {TIMESTAMPTZOID}},
	[ES_STMT_DELETE_SNAPSHOTS] = {"DELETE FROM $S.event_snapshots WHERE stream_id OPERATOR(pg_catalog.=) $1",
		1, {INT8OID}},
	[ES_STMT_SAVE_SNAPSHOT] = {"INSERT INTO $S.event_snapshots AS s"
	" (stream_id, version, definition, created_at, aggregate, state) VALUES ($1, $2, $3, $4, $5, $6)"
	" ON CONFLICT (stream_id, aggregate) DO UPDATE SET version = excluded.version,"
	" definition = excluded.definition, created_at = excluded.created_at, state = excluded.state"
	" WHERE s.version OPERATOR(pg_catalog.<) excluded.version"
	" OR s.definition OPERATOR(pg_catalog.<>) excluded.definition",
		SNAPSHOT_NCOLUMNS, {INT8OID, INT8OID, INT8OID, TIMESTAMPTZOID, TEXTOID, JSONBOID}},
};

/*
 * A template with its marks replaced, palloc'd.  args is a list of pairs: the
 * mark's letter and its text, as quoted as it has to be; it ends with 0.
 */
static char *
expand(const char *template, const char *args[][2])
{
	StringInfoData text;

	initStringInfo(&text);
	for (const char *c = template; *c; c++)
	{
		int			i = 0;

		if (*c == '$')
			while (args[i][0] != NULL && args[i][0][0] != c[1])
				i++;
		if (*c == '$' && args[i][0] != NULL)
		{
			appendStringInfoString(&text, args[i][1]);
			c++;
		}
		else
			appendStringInfoChar(&text, *c);
	}
	return text.data;
}

/* Run one or more statements; returns the rows of the last. */
static uint64
run(const char *template, const char *args[][2])
{
	char	   *text = expand(template, args);
	uint64		processed;
	int			result;

	SPI_connect();
	result = SPI_execute(text, false, 0);
	if (result < 0)
		elog(ERROR, "SPI_execute failed: %s", SPI_result_code_string(result));
	processed = SPI_processed;
	SPI_finish();
	return processed;
}

static uint64
run_in(const char *schema, const char *template)
{
	return run(template, (const char *[][2]) {{"S", quote_identifier(schema)}, {NULL, NULL}});
}

/* Create the schema; the caller needs CREATE on the database. */
void
es_statement_create_schema(const char *schema)
{
	run_in(schema, "CREATE SCHEMA $S");
}

/* The same for another role, of which the caller is a member. */
void
es_statement_create_schema_for(const char *schema, const char *owner)
{
	run("CREATE SCHEMA $S AUTHORIZATION $O",
		(const char *[][2]) {{"S", quote_identifier(schema)}, {"O", quote_identifier(owner)}, {NULL, NULL}});
}

/* Create the tables of a store, owned by the caller. */
void
es_statement_create_tables(const char *schema, int64 number, EsPayload payload)
{
	pg_uuid_t	low;
	pg_uuid_t	high;

	es_event_id_range(number, &low, &high);
	run(create_tables,
		(const char *[][2]) {
			{"S", quote_identifier(schema)},
			{"L", DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(&low)))},
			{"H", DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(&high)))},
			{"N", psprintf(INT64_FORMAT, number)},
			{"P", es_payload_name(payload)},
			{"V", psprintf("%d", ES_LAYOUT)},
			{"B", psprintf("%d", ES_POSITION_BLOCK)},
			{NULL, NULL}});
}

/* Put our guard triggers, again if need be, on a table that only we write. */
void
es_statement_create_guards(const char *schema, const char *table)
{
	run(create_guard, (const char *[][2]) {{"S", quote_identifier(schema)}, {"T", table}, {NULL, NULL}});
}

/* Write the one row of event_mark, into tables that are there without it. */
void
es_statement_insert_mark(const char *schema, int64 number)
{
	run("INSERT INTO $S.event_mark VALUES ($N, 0, $V, pg_catalog.now(), '{}')",
		(const char *[][2]) {
			{"S", quote_identifier(schema)},
			{"N", psprintf(INT64_FORMAT, number)},
			{"V", psprintf("%d", ES_LAYOUT)},
			{NULL, NULL}});
}

/*
 * Create the tables of a store's subscriptions, owned by the caller.  Default
 * privileges are for the tables of users: whoever writes those may not consume.
 */
void
es_statement_create_subscription_tables(const char *schema)
{
	const char *args[][2] = {
		{"S", quote_identifier(schema)},
		{"Q", quote_literal_cstr(psprintf("%s.event_deliveries", quote_identifier(schema)))},
		{"R", NULL},
		{NULL, NULL}
	};

	run_in(schema, create_subscription_tables);
	SPI_connect();
	if (SPI_execute(expand(subscription_grantees, args), false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not look for rights");
	for (uint64 i = 0, n = SPI_processed; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		args[2][1] = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);
		run("REVOKE ALL ON $S.event_subscriptions, $S.event_deliveries FROM $R", args);
	}
	SPI_finish();
}

/* Run a statement for each table that the store has besides those of every store; $T is its name. */
static void
run_on_extra_tables(const char *schema, const char *role, const char *template)
{
	Oid			nspid = get_namespace_oid(schema, false);

	for (int i = 0; i < lengthof(extra_tables); i++)
		if (OidIsValid(get_relname_relid(extra_tables[i], nspid)))
			run(template,
				(const char *[][2]) {
					{"S", quote_identifier(schema)},
					{"T", extra_tables[i]},
					{"R", role},
					{NULL, NULL}
				});
}

void
es_statement_drop_tables(const char *schema)
{
	run_on_extra_tables(schema, NULL, "DROP TABLE $S.$T");
	run_in(schema, drop_tables);
}

/* Create event_tags and fill it with the tags of the events that are there. */
void
es_statement_create_tags(const char *schema)
{
	run_in(schema, create_tags);
}

/* Add the tags of the events after a position. */
void
es_statement_fill_tags(const char *schema, int64 after)
{
	run("INSERT INTO $S.event_tags " TAGS_OF_LOG " AND l.position OPERATOR(pg_catalog.>) $A",
		(const char *[][2]) {{"S", quote_identifier(schema)}, {"A", psprintf(INT64_FORMAT, after)}, {NULL, NULL}});
}

void
es_statement_drop_tags(const char *schema)
{
	run_in(schema, "DROP TABLE $S.event_tags");
}

/* Drop the schema if nothing is left in it; tells whether it did. */
bool
es_statement_drop_schema_if_empty(const char *schema)
{
	if (run("SELECT 1 FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_namespace n"
			" ON d.refobjid OPERATOR(pg_catalog.=) n.oid"
			" WHERE d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_namespace'::pg_catalog.regclass"
			" AND n.nspname OPERATOR(pg_catalog.=) $Q LIMIT 1",
			(const char *[][2]) {{"Q", quote_literal_cstr(schema)}, {NULL, NULL}}) > 0)
		return false;
	run_in(schema, "DROP SCHEMA $S");
	return true;
}

/*
 * access is reader, writer or admin, each with the rights of those before, or
 * consumer: a reader who handles events of subscriptions, whose tables are there.
 */
void
es_statement_grant(const char *schema, const char *role, const char *access)
{
	const char *args[][2] = {
		{"S", quote_identifier(schema)},
		{"R", quote_identifier(role)},
		{NULL, NULL}
	};

	run(grant_reader, args);
	if (strcmp(access, "consumer") == 0)
		run(grant_consumer, args);
	else if (strcmp(access, "reader") != 0)
		run(grant_writer, args);
	if (strcmp(access, "admin") == 0)
		run(grant_admin, args);
}

void
es_statement_revoke(const char *schema, const char *role)
{
	run_on_extra_tables(schema, quote_identifier(role), "REVOKE ALL ON $S.$T FROM $R");
	run(revoke_all,
		(const char *[][2]) {
			{"S", quote_identifier(schema)},
			{"R", quote_identifier(role)},
			{NULL, NULL}
		});
}

void
es_statement_rename_schema(const char *schema, const char *new_name)
{
	run("ALTER SCHEMA $S RENAME TO $N",
		(const char *[][2]) {{"S", quote_identifier(schema)}, {"N", quote_identifier(new_name)}, {NULL, NULL}});
}

/* Drop the schema with everything in it. */
void
es_statement_drop_schema(const char *schema)
{
	run_in(schema, "DROP SCHEMA $S CASCADE");
}

/*
 * Grant a role access to what a schema holds besides its store, and to what
 * the caller will put there.
 */
void
es_statement_grant_others(const char *schema, const char *role, bool write)
{
	const char *args[][2] = {
		{"S", quote_identifier(schema)},
		{"Q", quote_literal_cstr(schema)},
		{"R", quote_identifier(role)},
		{"T", write ? "SELECT, INSERT, UPDATE, DELETE" : "SELECT"},
		{"U", write ? "USAGE, SELECT" : "SELECT"},
		{"O", NULL},
		{NULL, NULL}
	};

	SPI_connect();
	if (SPI_execute(expand(other_relations, args), true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not look for tables");
	for (uint64 i = 0, n = SPI_processed; i < n; i++)
	{
		SPITupleTable *table = SPI_tuptable;
		char	   *kind = SPI_getvalue(table->vals[i], table->tupdesc, 2);

		CHECK_FOR_INTERRUPTS();
		args[5][1] = SPI_getvalue(table->vals[i], table->tupdesc, 1);
		run(kind[0] == 'S' ? "GRANT $U ON $O TO $R" : "GRANT $T ON $O TO $R", args);
	}
	SPI_finish();
	run("ALTER DEFAULT PRIVILEGES IN SCHEMA $S GRANT $T ON TABLES TO $R;"
		"ALTER DEFAULT PRIVILEGES IN SCHEMA $S GRANT $U ON SEQUENCES TO $R", args);
}

/* Take every right on a schema, and on what is in it, from a role. */
void
es_statement_revoke_all(const char *schema, const char *role)
{
	run(revoke_schema, (const char *[][2]) {{"S", quote_identifier(schema)}, {"R", quote_identifier(role)}, {NULL, NULL}});
}

/* A statement of schema_definition in which the schema is named; palloc'd. */
char *
es_statement_in_schema(const char *schema, const char *statement)
{
	return expand(statement, (const char *[][2]) {{"S", quote_identifier(schema)}, {NULL, NULL}});
}

/* The query for what a schema holds: phase, OID, description, statement, in the order in which they are to be run. */
char *
es_statement_definition(Oid nspid)
{
	return psprintf("SELECT phase, object_oid, object, statement FROM event_store.schema_definition"
					" WHERE schema_oid OPERATOR(pg_catalog.=) %u"
					" ORDER BY phase USING OPERATOR(pg_catalog.<), object_oid USING OPERATOR(pg_catalog.<)", nspid);
}

/* The query for the OIDs of the tables of a schema, in the order in which they were made. */
char *
es_statement_tables(Oid nspid)
{
	return psprintf("SELECT c.oid FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) d.objid"
					" WHERE d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_namespace'::pg_catalog.regclass"
					" AND d.refobjid OPERATOR(pg_catalog.=) %u"
					" AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass"
					" AND c.relkind OPERATOR(pg_catalog.=) 'r' ORDER BY c.oid USING OPERATOR(pg_catalog.<)", nspid);
}

/* The relations of a schema that are dropped one by one: kind as DROP writes it, quoted name; at most so many. */
char *
es_statement_relations(const char *schema, int limit)
{
	return expand("SELECT pg_catalog.format('DROP %s IF EXISTS %I.%I CASCADE',"
				  " CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END,"
				  " n.nspname, c.relname) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n"
				  " ON n.oid OPERATOR(pg_catalog.=) c.relnamespace WHERE n.nspname OPERATOR(pg_catalog.=) $Q"
				  " AND c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p,v,m,f}') AND NOT c.relispartition"
				  " ORDER BY c.oid USING OPERATOR(pg_catalog.<) LIMIT $L",
				  (const char *[][2]) {{"Q", quote_literal_cstr(schema)}, {"L", psprintf("%d", limit)}, {NULL, NULL}});
}

/*
 * Run one statement that has to be the only one of its transactions, from a
 * procedure that CALL has called outside any transaction block.  What the
 * caller did until now is committed.
 */
static void
run_alone(const char *text)
{
	MemoryContext caller = CurrentMemoryContext;
	PlannedStmt *statement = makeNode(PlannedStmt);

	SPI_connect_ext(SPI_OPT_NONATOMIC);
	SPI_commit();
	SPI_finish();

	/* now everything is as it was when the server began with the CALL */
	PushActiveSnapshot(GetTransactionSnapshot());
	statement->commandType = CMD_UTILITY;
	statement->utilityStmt = linitial_node(RawStmt, pg_parse_query(text))->stmt;
	statement->stmt_location = -1;
	ProcessUtility(statement, text, false, PROCESS_UTILITY_TOPLEVEL, NULL, NULL, None_Receiver, NULL);
	if (ActiveSnapshotSet())
		PopActiveSnapshot();
	MemoryContextSwitchTo(caller);
}

/* columns is of our making, with its predicate.  For concurrently see run_alone. */
void
es_statement_create_index(const char *schema, const char *name, const char *columns, bool concurrently)
{
	const char *args[][2] = {{"S", quote_identifier(schema)}, {"I", name}, {"C", columns}, {NULL, NULL}};

	if (concurrently)
		run_alone(expand("CREATE INDEX CONCURRENTLY $I ON $S.event_log $C", args));
	else
		run("CREATE INDEX $I ON $S.event_log $C", args);
}

void
es_statement_drop_index(const char *schema, const char *name, bool concurrently)
{
	const char *args[][2] = {{"S", quote_identifier(schema)}, {"I", name}, {NULL, NULL}};

	if (concurrently)
		run_alone(expand("DROP INDEX CONCURRENTLY $S.$I", args));
	else
		run("DROP INDEX $S.$I", args);
}

const char *const es_import_columns[IMPORT_NCOLUMNS] = {
	"line", "stream", "version", "type", "data", "metadata", "event_id", "correlation_id", "causation_id", "created_at"
};

/*
 * Open the lines of a source (a quoted and qualified name) above a number, in
 * their order and at most limit of them.  types has for each column the type in
 * pg_catalog to cast it to, NULL if the source has no such column.  The caller
 * is connected to SPI; its rights decide.
 */
Portal
es_statement_open_import(const char *source, const char *const *types, int64 after, int64 limit)
{
	StringInfoData columns;
	Oid			argtypes[] = {INT8OID};
	Datum		values[] = {Int64GetDatum(after)};
	Portal		portal;

	initStringInfo(&columns);
	for (int i = 0; i < IMPORT_NCOLUMNS; i++)
	{
		appendStringInfoString(&columns, i > 0 ? ", " : "");
		if (types[i] != NULL)
			appendStringInfo(&columns, "%s::pg_catalog.%s", quote_identifier(es_import_columns[i]), types[i]);
		else
			appendStringInfoString(&columns, "NULL");
	}
	portal = SPI_cursor_open_with_args(NULL,
									   expand("SELECT $C FROM $F WHERE line OPERATOR(pg_catalog.>) $1"
											  " ORDER BY line USING OPERATOR(pg_catalog.<) LIMIT $L",
											  (const char *[][2]) {
												  {"C", columns.data},
												  {"F", source},
												  {"L", psprintf(INT64_FORMAT, limit)},
												  {NULL, NULL}}),
									   1, argtypes, values, NULL, false, CURSOR_OPT_NO_SCROLL);
	if (portal == NULL)
		elog(ERROR, "SPI_cursor_open_with_args failed: %s", SPI_result_code_string(SPI_result));
	return portal;
}

/*
 * Count the lines of a source up to a number, those after it, and those that
 * have no number above 0 and would never be read.
 */
void
es_statement_count_import(const char *source, int64 last, int64 *before, int64 *after, int64 *bad)
{
	Oid			argtypes[] = {INT8OID};
	Datum		values[] = {Int64GetDatum(last)};
	int64	   *results[] = {before, after, bad};

	if (SPI_execute_with_args(expand("SELECT pg_catalog.count(*) FILTER (WHERE line OPERATOR(pg_catalog.<=) $1),"
									 " pg_catalog.count(*) FILTER (WHERE line OPERATOR(pg_catalog.>) $1),"
									 " pg_catalog.count(*) FILTER (WHERE line IS NULL OR line OPERATOR(pg_catalog.<) 1)"
									 " FROM $F",
									 (const char *[][2]) {{"F", source}, {NULL, NULL}}),
							  1, argtypes, values, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not count the lines of %s", source);
	for (int i = 0; i < lengthof(results); i++)
	{
		bool		isnull;

		*results[i] = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, i + 1, &isnull));
	}
	SPI_freetuptable(SPI_tuptable);
}

/* The OIDs of all schemas with the tables of a store, registered or not. */
List *
es_statement_found_schemas(void)
{
	MemoryContext caller = CurrentMemoryContext;
	List	   *result = NIL;

	SPI_connect();
	if (SPI_execute("SELECT relnamespace FROM pg_catalog.pg_class"
					" WHERE (relname OPERATOR(pg_catalog.=) ANY ('{event_log,event_streams,event_mark}')"
					"  AND relkind OPERATOR(pg_catalog.=) 'r'"
					"  OR relname OPERATOR(pg_catalog.=) 'event_log' AND relkind OPERATOR(pg_catalog.=) 'p'"
					"  OR relname OPERATOR(pg_catalog.=) 'event_position' AND relkind OPERATOR(pg_catalog.=) 'S')"
					" AND relpersistence OPERATOR(pg_catalog.=) 'p'"
					" GROUP BY 1 HAVING pg_catalog.count(*) OPERATOR(pg_catalog.=) 4 ORDER BY 1",
					true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not look for stores");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		Oid			nspid = DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull));
		MemoryContext spi = MemoryContextSwitchTo(caller);

		result = lappend_oid(result, nspid);
		MemoryContextSwitchTo(spi);
	}
	SPI_finish();
	return result;
}

/*
 * The saved plan of a query on a store.  The caller is connected to SPI.  The
 * parameters of the inserts are the columns of their tables; of a stream read the
 * stream's id, lowest and highest version; of a log read lowest and highest
 * position; of a read by id the id; of the look for event ids that are there
 * twice the range of those made here; of the delete of events the stream's id and
 * the first version that stays; of the look for streams with limits the id after
 * which to look and how many; of the delete of snapshots the stream's id.
 */
SPIPlanPtr
es_statement_plan(EsStore *store, EsStatement which)
{
	if (store->plans[which] == NULL)
	{
		const StoreQuery *query = &queries[which];
		Oid			parameters[LOG_NCOLUMNS];
		SPIPlanPtr	plan;
		char	   *text = expand(query->text,
								  (const char *[][2]) {{"S", quote_identifier(NameStr(store->schema))}, {NULL, NULL}});

		memcpy(parameters, query->parameters, sizeof(parameters));
		if (which == ES_STMT_INSERT)
			parameters[LOG_DATA] = es_payload_type(store->payload);
		plan = SPI_prepare(text, query->nparameters, parameters);
		if (plan == NULL)
			elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
		SPI_keepplan(plan);
		store->plans[which] = plan;
	}
	return store->plans[which];
}

/* For store/statement_handler and store/statement_move. */
char *
es_statement_expand(const char *template, const char *args[][2])
{
	return expand(template, args);
}

uint64
es_statement_run(const char *template, const char *args[][2])
{
	return run(template, args);
}
