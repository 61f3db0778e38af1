/*
 * statement_move.c
 *		The SQL text for a tenant that moves: its rows as lines, and back.
 *
 * What store/statement says of SQL text holds here too.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"

#include "store/payload.h"
#include "store/statement.h"

/*
 * The tables of a store that move with it, by name, palloc'd: all that it may
 * have but the mark, which is made anew, and snapshots, which follow from the
 * events.  They may have been made by the statement that is running.
 */
List *
es_statement_moved_tables(const char *schema)
{
	MemoryContext caller = CurrentMemoryContext;
	List	   *result = NIL;
	char	   *query = es_statement_expand(
		"SELECT c.relname FROM pg_catalog.pg_class c"
		" JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace"
		" WHERE n.nspname OPERATOR(pg_catalog.=) $Q AND c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p}')"
		" AND NOT c.relispartition AND c.relname OPERATOR(pg_catalog.~~) 'event\\_%'"
		" AND c.relname OPERATOR(pg_catalog.<>) ALL ('{event_mark,event_snapshots,event_tags}')"
		" ORDER BY c.relname USING OPERATOR(pg_catalog.<)",
		(const char *[][2]) {{"Q", quote_literal_cstr(schema)}, {NULL, NULL}});

	SPI_connect();
	if (SPI_execute(query, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not look for tables");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		char	   *name = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);
		MemoryContext spi = MemoryContextSwitchTo(caller);

		result = lappend(result, pstrdup(name));
		MemoryContextSwitchTo(spi);
	}
	SPI_finish();
	return result;
}

#define MOVED_COLUMNS(of, data) \
of "position, " of "stream_id, " of "version, " of "created_at, " of "event_id, " of "correlation_id, " \
of "causation_id, " of "event_type, " data ", " of "metadata"

/*
 * The columns of event_log in a line and back out of one, m: data that is JSON
 * text stands there as a string, so that no byte of it changes, bytes in base64.
 */
static const char *const log_columns_out[] = {
	[ES_PAYLOAD_JSONB] = "*",
	[ES_PAYLOAD_JSON] = MOVED_COLUMNS("", "data::pg_catalog.text AS data"),
	[ES_PAYLOAD_BYTEA] = MOVED_COLUMNS("", "pg_catalog.translate(pg_catalog.encode(data, 'base64'), E'\\n', '') AS data")
};

static const char *const log_columns_in[] = {
	[ES_PAYLOAD_JSONB] = "r.*",
	[ES_PAYLOAD_JSON] = MOVED_COLUMNS("r.", "(m.row OPERATOR(pg_catalog.->>) 'data')::pg_catalog.json"),
	[ES_PAYLOAD_BYTEA] = MOVED_COLUMNS("r.", "pg_catalog.decode(m.row OPERATOR(pg_catalog.->>) 'data', 'base64')")
};

/*
 * Open the rows of a table of a store, each as the line {"table": {...}}: those
 * of event_log between two positions, without the first one, those of
 * event_streams that began up to the last position, of any other table all.
 * The caller is connected to SPI, and its active snapshot is used.
 */
Portal
es_statement_open_rows(const char *schema, const char *table, EsPayload payload, int64 after, int64 last)
{
	bool		is_log = strcmp(table, "event_log") == 0;
	bool		is_streams = strcmp(table, "event_streams") == 0;
	Oid			argtypes[] = {INT8OID, INT8OID};
	Datum		values[] = {Int64GetDatum(after), Int64GetDatum(last)};
	Portal		portal;
	char	   *query;
	const char *args[][2] = {
		{"S", quote_identifier(schema)},
		{"T", quote_identifier(table)},
		{"Q", quote_literal_cstr(table)},
		{"C", is_log ? log_columns_out[payload] : "*"},
		{"W", is_log ? "WHERE position OPERATOR(pg_catalog.>) $1 AND position OPERATOR(pg_catalog.<=) $2"
			" ORDER BY position USING OPERATOR(pg_catalog.<)" :
			is_streams ? "WHERE stream_id OPERATOR(pg_catalog.>) 0 AND $1 OPERATOR(pg_catalog.>=) 0"
			" AND stream_id OPERATOR(pg_catalog.<=) $2" :
			strcmp(table, "event_tags") == 0 ? "WHERE $1 OPERATOR(pg_catalog.>=) 0 AND position OPERATOR(pg_catalog.<=) $2" :
			"WHERE $1 OPERATOR(pg_catalog.>=) 0 AND $2 OPERATOR(pg_catalog.>=) 0"},
		{NULL, NULL}
	};

	query = es_statement_expand(
		"SELECT pg_catalog.concat('{', pg_catalog.to_json($Q::pg_catalog.text), ':', pg_catalog.row_to_json(t), '}')"
		" FROM (SELECT $C FROM $S.$T $W) t", args);
	portal = SPI_cursor_open_with_args(NULL, query, 2, argtypes, values, NULL, true, CURSOR_OPT_NO_SCROLL);
	if (portal == NULL)
		elog(ERROR, "SPI_cursor_open_with_args failed: %s", SPI_result_code_string(SPI_result));
	return portal;
}

/* How lines of one kind begin, as a literal. */
static char *
line_prefix(const char *member)
{
	return quote_literal_cstr(psprintf("{\"%s\":", member));
}

/*
 * The only line of a source that begins with a member, palloc'd with SPI; NULL
 * if there is none or more than one.  The caller is connected to SPI.
 */
char *
es_statement_moved_line(const char *source, const char *member)
{
	if (SPI_execute(es_statement_expand("SELECT line FROM $F WHERE pg_catalog.starts_with(line, $P)",
										(const char *[][2]) {{"F", source}, {"P", line_prefix(member)}, {NULL, NULL}}),
					true, 2) != SPI_OK_SELECT)
		elog(ERROR, "could not read %s", source);
	return SPI_processed == 1 ? SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1) : NULL;
}

/*
 * Put the rows of a table that stand in the lines of a source into the table;
 * returns how many.  replace: in place of those of the same stream_id.
 */
uint64
es_statement_insert_rows(const char *schema, const char *source, const char *table, EsPayload payload, bool replace)
{
	bool		is_log = strcmp(table, "event_log") == 0;

	return es_statement_run("INSERT INTO $S.$T AS present SELECT $C FROM $F,"
							" LATERAL (SELECT line::pg_catalog.jsonb OPERATOR(pg_catalog.->) $Q OFFSET 0) m (row),"
							" pg_catalog.jsonb_populate_record(NULL::$S.$T, $M) r"
							" WHERE pg_catalog.starts_with(line, $P) $R",
							(const char *[][2]) {
								{"S", quote_identifier(schema)},
								{"T", quote_identifier(table)},
								{"F", source},
								{"Q", quote_literal_cstr(table)},
								{"C", is_log ? log_columns_in[payload] : "r.*"},
								{"M", is_log && payload != ES_PAYLOAD_JSONB ? "m.row OPERATOR(pg_catalog.-) 'data'" : "m.row"},
								{"P", line_prefix(table)},
								{"R", replace ? "ON CONFLICT (stream_id) DO UPDATE SET deleted_at = excluded.deleted_at,"
									" truncate_before = excluded.truncate_before, max_age = excluded.max_age,"
									" max_count = excluded.max_count, metadata = excluded.metadata"
									" WHERE present OPERATOR(pg_catalog.*<>) excluded" : ""},
								{NULL, NULL}});
}

void
es_statement_delete_rows(const char *schema, const char *table)
{
	es_statement_run("DELETE FROM $S.$T",
					 (const char *[][2]) {{"S", quote_identifier(schema)}, {"T", quote_identifier(table)}, {NULL, NULL}});
}

/* Say that all events up to a position are there, and whose they were; the worker of the database keeps off meanwhile. */
void
es_statement_set_mark(const char *schema, int64 position, Datum epochs)
{
	Oid			argtypes[] = {INT8OID, INT8ARRAYOID};
	Datum		values[] = {Int64GetDatum(position), epochs};
	const char *args[][2] = {{"S", quote_identifier(schema)}, {NULL, NULL}};
	char	   *update = es_statement_expand(
		"UPDATE $S.event_mark SET position = $1, epochs = $2, changed_at = pg_catalog.now()", args);

	es_statement_run("LOCK TABLE $S.event_mark IN SHARE ROW EXCLUSIVE MODE", args);
	SPI_connect();
	if (SPI_execute_with_args(update, 2, argtypes, values, NULL, false, 0) != SPI_OK_UPDATE)
		elog(ERROR, "could not set the mark");
	SPI_finish();
}
