/*
 * migration.h
 *		Migrations: changes to the schemas of tenants, kept as data.
 */
#ifndef ES_MIGRATION_H
#define ES_MIGRATION_H

#include "postgres_ext.h"

extern void es_migration_require_administrator(void);
extern Datum es_migrate(const char *name, Oid nspid, bool is_tenant, const int64 *target);
extern bool es_migrate_try(const char *name, const int64 *target, Datum *versions, Datum *problem, int *sqlstate);

#endif							/* ES_MIGRATION_H */
