/*
 * statement_handler.c
 *		The SQL text for event handlers: their tables, and tables that they fill.
 *
 * What store/statement says of SQL text holds here too.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include "store/statement.h"

static const char *const handler_tables[] = {"event_handlers", "event_parked", "event_processes"};

/* Of stores with event handlers only.  Their rows move often: room on the page keeps updates HOT. */
static const char create_handler_tables[] =
"CREATE TABLE $S.event_handlers ("
"	handler pg_catalog.text COLLATE pg_catalog.\"C\" NOT NULL,"
"	partition pg_catalog.int4 NOT NULL,"
"	partitions pg_catalog.int4 NOT NULL,"
"	position pg_catalog.int8 NOT NULL,"
"	state pg_catalog.text NOT NULL,"
"	failures pg_catalog.int4 NOT NULL,"
"	failed_position pg_catalog.int8,"
"	retry_at pg_catalog.timestamptz,"
"	handled pg_catalog.int8 NOT NULL,"
"	skipped pg_catalog.int8 NOT NULL,"
"	parked pg_catalog.int8 NOT NULL,"
"	started_at pg_catalog.timestamptz NOT NULL,"
"	changed_at pg_catalog.timestamptz NOT NULL,"
"	problem pg_catalog.jsonb,"
"	CONSTRAINT event_handlers_pkey PRIMARY KEY (handler, partition))"
"	WITH (fillfactor = 50);"
"CREATE TABLE $S.event_parked ("
"	handler pg_catalog.text COLLATE pg_catalog.\"C\" NOT NULL,"
"	position pg_catalog.int8 NOT NULL,"
"	partition pg_catalog.int4 NOT NULL,"
"	attempts pg_catalog.int4 NOT NULL,"
"	parked_at pg_catalog.timestamptz NOT NULL,"
"	problem pg_catalog.jsonb,"
"	CONSTRAINT event_parked_pkey PRIMARY KEY (handler, position));"
"CREATE TABLE $S.event_processes ("
"	manager pg_catalog.text COLLATE pg_catalog.\"C\" NOT NULL,"
"	instance pg_catalog.text COLLATE pg_catalog.\"C\" NOT NULL,"
"	position pg_catalog.int8 NOT NULL,"
"	started_at pg_catalog.timestamptz NOT NULL,"
"	changed_at pg_catalog.timestamptz NOT NULL,"
"	state pg_catalog.jsonb,"
"	CONSTRAINT event_processes_pkey PRIMARY KEY (manager, instance))"
"	WITH (fillfactor = 50);";

/* What stands in the way of putting another table in the place of one. */
static const char table_obstacles[] =
"SELECT pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid) FROM pg_catalog.pg_depend d"
" WHERE d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid OPERATOR(pg_catalog.=) $O"
" AND d.deptype OPERATOR(pg_catalog.=) 'n'"
" AND NOT EXISTS (SELECT FROM pg_catalog.pg_attrdef a WHERE a.adrelid OPERATOR(pg_catalog.=) $O"
" AND a.oid OPERATOR(pg_catalog.=) d.objid AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_attrdef'::pg_catalog.regclass)"
" AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint c WHERE c.conrelid OPERATOR(pg_catalog.=) $O"
" AND c.oid OPERATOR(pg_catalog.=) d.objid AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_constraint'::pg_catalog.regclass)"
" UNION ALL SELECT pg_catalog.pg_describe_object('pg_catalog.pg_constraint'::pg_catalog.regclass, oid, 0)"
" FROM pg_catalog.pg_constraint WHERE conrelid OPERATOR(pg_catalog.=) $O AND contype OPERATOR(pg_catalog.=) 'f'"
" UNION ALL SELECT pg_catalog.pg_describe_object('pg_catalog.pg_trigger'::pg_catalog.regclass, oid, 0)"
" FROM pg_catalog.pg_trigger WHERE tgrelid OPERATOR(pg_catalog.=) $O AND NOT tgisinternal"
" UNION ALL SELECT pg_catalog.pg_describe_object('pg_catalog.pg_policy'::pg_catalog.regclass, oid, 0)"
" FROM pg_catalog.pg_policy WHERE polrelid OPERATOR(pg_catalog.=) $O"
" UNION ALL SELECT pg_catalog.pg_describe_object('pg_catalog.pg_class'::pg_catalog.regclass, d.objid, 0)"
" FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) d.objid"
" WHERE d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid OPERATOR(pg_catalog.=) $O"
" AND d.classid OPERATOR(pg_catalog.=) d.refclassid AND d.deptype OPERATOR(pg_catalog.=) 'a'"
" AND c.relkind OPERATOR(pg_catalog.=) 'S'"
" LIMIT 1";

/* The rights on a table, as grants of them on another one. */
static const char table_grants[] =
"SELECT pg_catalog.format('GRANT %s ON %s TO %s%s', a.privilege_type, $T,"
" CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END,"
" CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)"
" FROM pg_catalog.pg_class c CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) a"
" WHERE c.oid OPERATOR(pg_catalog.=) $O AND a.grantee OPERATOR(pg_catalog.<>) c.relowner";

/* Whom default privileges have given rights on an optional table. */
static const char granted_roles[] =
"SELECT pg_catalog.quote_ident(r.rolname) FROM pg_catalog.pg_class c"
" JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace"
" CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) a"
" JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) a.grantee"
" WHERE n.nspname OPERATOR(pg_catalog.=) $Q AND c.relname OPERATOR(pg_catalog.=) '$T'"
" AND a.grantee OPERATOR(pg_catalog.<>) c.relowner GROUP BY 1";

const char es_statement_dispatch[] =
"SELECT r, r.last_position FROM event_store.dispatch(type => $1, command => $2, command_id => $3,"
" correlation_id => $4, causation_id => $5, metadata => $6, expected => $7) r";

const char es_statement_dispatch_command[] =
"SELECT event_store.dispatch(type => $1, command => $2, command_id => $3,"
" correlation_id => $4, causation_id => $5, metadata => $6)";

/* The text that a query returns first, palloc'd in the context of the caller; NULL if it returns nothing. */
static char *
first_text(const char *template, const char *args[][2])
{
	MemoryContext caller = CurrentMemoryContext;
	char	   *result = NULL;

	SPI_connect();
	if (SPI_execute(es_statement_expand(template, args), true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not look into the catalogues");
	if (SPI_processed > 0)
		result = MemoryContextStrdup(caller, SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1));
	SPI_finish();
	return result;
}

/* What keeps another table from taking the place of this one, palloc'd; NULL if nothing does. */
char *
es_statement_table_obstacle(Oid table)
{
	return first_text(table_obstacles, (const char *[][2]) {{"O", psprintf("%u", table)}, {NULL, NULL}});
}

/* Create an empty table like another one in a schema; table is quoted and qualified. */
void
es_statement_create_like(const char *schema, const char *name, const char *table)
{
	es_statement_run("CREATE TABLE $S.$N (LIKE $T INCLUDING ALL)",
		(const char *[][2]) {{"S", quote_identifier(schema)}, {"N", quote_identifier(name)}, {"T", table}, {NULL, NULL}});
}

/*
 * Put the table of this name in a schema in the place of another one, which
 * goes, with the same rights on it.
 */
void
es_statement_replace_table(Oid old, const char *live_schema, const char *schema, const char *name)
{
	const char *args[][2] = {
		{"L", quote_identifier(live_schema)},
		{"S", quote_identifier(schema)},
		{"N", quote_identifier(name)},
		{"O", psprintf("%u", old)},
		{"T", quote_literal_cstr(quote_qualified_identifier(schema, name))},
		{NULL, NULL}
	};

	SPI_connect();
	if (SPI_execute(es_statement_expand(table_grants, args), true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not look for rights");
	for (uint64 i = 0, n = SPI_processed; i < n; i++)
	{
		SPITupleTable *table = SPI_tuptable;

		es_statement_run(SPI_getvalue(table->vals[i], table->tupdesc, 1), args);
	}
	SPI_finish();
	es_statement_run("DROP TABLE $L.$N; ALTER TABLE $S.$N SET SCHEMA $L", args);
}

/* Drop a schema of ours with everything in it, and without a word about each table. */
void
es_statement_drop_shadow(const char *schema)
{
	int			level = NewGUCNestLevel();

	(void) set_config_option("client_min_messages", "warning", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	es_statement_drop_schema(schema);
	AtEOXact_GUC(false, level);
}

/*
 * Create the tables of event handlers, for their owner alone: what their rows
 * say and what the handlers have done belong together.
 */
void
es_statement_create_handler_tables(const char *schema)
{
	es_statement_run(create_handler_tables, (const char *[][2]) {{"S", quote_identifier(schema)}, {NULL, NULL}});
	for (int i = 0; i < lengthof(handler_tables); i++)
	{
		const char *args[][2] = {
			{"S", quote_identifier(schema)},
			{"Q", quote_literal_cstr(schema)},
			{"T", handler_tables[i]},
			{"R", NULL},
			{NULL, NULL}
		};

		SPI_connect();
		if (SPI_execute(es_statement_expand(granted_roles, args), true, 0) != SPI_OK_SELECT)
			elog(ERROR, "could not look for rights");
		for (uint64 r = 0, n = SPI_processed; r < n; r++)
		{
			SPITupleTable *table = SPI_tuptable;

			args[3][1] = SPI_getvalue(table->vals[r], table->tupdesc, 1);
			es_statement_run("REVOKE ALL ON $S.$T FROM $R", args);
		}
		SPI_finish();
		es_statement_run("REVOKE ALL ON $S.$T FROM PUBLIC", args);
	}
}

/* Empty tables, whose names are quoted and qualified, with commas between them. */
void
es_statement_truncate(const char *tables)
{
	es_statement_run("TRUNCATE $T", (const char *[][2]) {{"T", tables}, {NULL, NULL}});
}
