/*
 * statement.h
 *		The SQL text of the C code: definitions of a store, queries on it.
 */
#ifndef ES_STATEMENT_H
#define ES_STATEMENT_H

#include "store/store.h"

extern const char es_statement_require_tenant[];

/* Columns of what an import reads, in the order of the rows of es_statement_open_import. */
typedef enum EsImportColumn
{
	IMPORT_LINE,
	IMPORT_STREAM,
	IMPORT_VERSION,
	IMPORT_TYPE,
	IMPORT_DATA,
	IMPORT_METADATA,
	IMPORT_EVENT_ID,
	IMPORT_CORRELATION_ID,
	IMPORT_CAUSATION_ID,
	IMPORT_CREATED_AT,
	IMPORT_NCOLUMNS
} EsImportColumn;

extern const char *const es_import_columns[IMPORT_NCOLUMNS];

extern void es_statement_create_schema(const char *schema);
extern void es_statement_create_schema_for(const char *schema, const char *owner);
extern char *es_statement_in_schema(const char *schema, const char *statement);
extern char *es_statement_definition(Oid nspid);
extern char *es_statement_tables(Oid nspid);
extern char *es_statement_relations(const char *schema, int limit);
extern void es_statement_create_tables(const char *schema, int64 number, EsPayload payload);
extern void es_statement_create_subscription_tables(const char *schema);
extern void es_statement_create_guards(const char *schema, const char *table);
extern void es_statement_insert_mark(const char *schema, int64 number);
extern void es_statement_drop_tables(const char *schema);
extern void es_statement_create_tags(const char *schema);
extern void es_statement_fill_tags(const char *schema, int64 after);
extern void es_statement_drop_tags(const char *schema);
extern bool es_statement_drop_schema_if_empty(const char *schema);
extern void es_statement_grant(const char *schema, const char *role, const char *access);
extern void es_statement_revoke(const char *schema, const char *role);
extern void es_statement_rename_schema(const char *schema, const char *new_name);
extern void es_statement_drop_schema(const char *schema);
extern void es_statement_grant_others(const char *schema, const char *role, bool write);
extern void es_statement_revoke_all(const char *schema, const char *role);
extern List *es_statement_found_schemas(void);
extern void es_statement_create_index(const char *schema, const char *name, const char *columns, bool concurrently);
extern void es_statement_drop_index(const char *schema, const char *name, bool concurrently);

extern Portal es_statement_open_import(const char *source, const char *const *types, int64 after, int64 limit);
extern void es_statement_count_import(const char *source, int64 last, int64 *before, int64 *after, int64 *bad);

extern SPIPlanPtr es_statement_plan(EsStore *store, EsStatement which);

extern char *es_statement_expand(const char *template, const char *args[][2]);
extern uint64 es_statement_run(const char *template, const char *args[][2]);

/* store/statement_handler */
extern const char es_statement_dispatch[];
extern const char es_statement_dispatch_command[];

extern void es_statement_create_handler_tables(const char *schema);
extern char *es_statement_table_obstacle(Oid table);
extern void es_statement_create_like(const char *schema, const char *name, const char *table);
extern void es_statement_replace_table(Oid old, const char *live_schema, const char *schema, const char *name);
extern void es_statement_drop_shadow(const char *schema);
extern void es_statement_truncate(const char *tables);

/* store/statement_move */
extern List *es_statement_moved_tables(const char *schema);
extern Portal es_statement_open_rows(const char *schema, const char *table, EsPayload payload, int64 after, int64 last);
extern char *es_statement_moved_line(const char *source, const char *member);
extern uint64 es_statement_insert_rows(const char *schema, const char *source, const char *table, EsPayload payload,
									   bool replace);
extern void es_statement_delete_rows(const char *schema, const char *table);
extern void es_statement_set_mark(const char *schema, int64 position, Datum epochs);

#endif							/* ES_STATEMENT_H */
