/*
 * registry.h
 *		What the tables of registered things have in common.
 */
#ifndef ES_REGISTRY_H
#define ES_REGISTRY_H

#include "access/htup.h"
#include "access/skey.h"
#include "utils/rel.h"

extern void es_registry_check_name(const char *what, const char *name);
extern void es_registry_check_rights(const char *what, const char *name);
extern HeapTuple es_registry_row_to_change(Relation rel, const char *what, const char *name, int owner);
extern void es_registry_write(Relation rel, HeapTuple old, Datum *values, bool *nulls);
extern HeapTuple es_registry_find_pair(Relation rel, const char *first, const ScanKeyData *second);
extern void es_registry_check_owner(Relation rel, const char *what, const char *name, HeapTuple tuple, int owner);

#endif							/* ES_REGISTRY_H */
