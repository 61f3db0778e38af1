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
extern void es_statement_create_tables(const char *schema, int64 number);
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

extern List *es_statement_moved_tables(const char *schema);
extern Portal es_statement_open_rows(const char *schema, const char *table, int64 after, int64 last);
extern char *es_statement_moved_line(const char *source, const char *member);
extern uint64 es_statement_insert_rows(const char *schema, const char *source, const char *table, bool replace);
extern void es_statement_delete_rows(const char *schema, const char *table);
extern void es_statement_set_mark(const char *schema, int64 position, Datum epochs);

extern SPIPlanPtr es_statement_plan(EsStore *store, EsStatement which);

#endif							/* ES_STATEMENT_H */
