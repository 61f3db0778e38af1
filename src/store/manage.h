/*
 * manage.h
 *		What is done with a whole store: create, attach, drop, grant.
 */
#ifndef ES_MANAGE_H
#define ES_MANAGE_H

#include "store/store.h"

extern EsStore *es_store_named(text *schema_name);
extern int64 es_store_create(const char *schema, EsPayload payload);
extern bool es_store_create_again(const char *schema, int64 number, EsPayload payload);
extern bool es_store_unregister(int64 number);
extern void (*es_store_gone_hook) (int64 number);
extern void es_store_guard_table(Oid nspid, const char *table);
extern void es_store_guard_tables(Oid nspid);
extern bool es_store_table_is_guarded(const char *table);
extern void es_store_need_table(EsStore *store, const char *table);
extern void es_store_create_tags(Oid nspid, Relation log);
extern char *es_store_role(text *argument, Oid *oid);
extern void es_store_check_access(const char *access);

#endif							/* ES_MANAGE_H */
