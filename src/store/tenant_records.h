/*
 * tenant_records.h
 *		What is recorded of tenants besides the registry: hosts, ready-made schemas, migrations, rollouts.
 */
#ifndef ES_TENANT_RECORDS_H
#define ES_TENANT_RECORDS_H

#include "funcapi.h"

/* Statements on the tables of the extension; their parameters and columns stand with their text. */
typedef enum EsRecord
{
	ES_RECORD_DOMAIN_ADD,
	ES_RECORD_DOMAIN_DEMOTE,
	ES_RECORD_DOMAIN_REMOVE,
	ES_RECORD_POOL_ADD,
	ES_RECORD_POOL_TAKE,
	ES_RECORD_POOL_COUNT,
	ES_RECORD_POOL_CLEAN,
	ES_RECORD_POOL_LEAVE,
	ES_RECORD_POOL_OF_TEMPLATE,
	ES_RECORD_POOL_TARGET_FIND,
	ES_RECORD_POOL_TARGET_GET,
	ES_RECORD_POOL_TARGET_SET,
	ES_RECORD_POOL_TARGET_REMOVE,
	ES_RECORD_RENAME,
	ES_RECORD_FORGET,
	ES_RECORD_LIST,
	ES_RECORD_COPY,
	ES_RECORD_EXPORT,
	ES_RECORD_IMPORT,
	ES_RECORD_TO_PURGE,
	ES_RECORD_MIGRATION_ADD,
	ES_RECORD_MIGRATION_SAME,
	ES_RECORD_MIGRATION_ANSWER,
	ES_RECORD_MIGRATION_REMOVE,
	ES_RECORD_MIGRATIONS_TO_APPLY,
	ES_RECORD_MIGRATIONS_TO_REVERT,
	ES_RECORD_MIGRATED,
	ES_RECORD_REVERTED,
	ES_RECORD_BASELINE,
	ES_RECORD_TENANTS,
	ES_RECORD_ROLLOUT_CHECK,
	ES_RECORD_ROLLOUT_START,
	ES_RECORD_ROLLOUT_PLAN,
	ES_RECORD_ROLLOUT_GET,
	ES_RECORD_ROLLOUT_NEXT,
	ES_RECORD_ROLLOUT_RESULT,
	ES_RECORD_ROLLOUT_COUNT,
	ES_RECORD_ROLLOUT_STATE,
	ES_RECORD_ROLLOUT_ADVANCE,
	ES_RECORD_ROLLOUT_RESUME,
	ES_RECORD_ROLLOUT_LEAVE,
	ES_RECORD_ROLLOUT_RETRY,
	ES_RECORDS
} EsRecord;

extern uint64 es_record(EsRecord which, Datum *values, const char *nulls);
extern Oid	es_records_owner(void);

extern void es_tenant_records_rename(const char *name, const char *new_name);
extern void es_tenant_records_forget(const char *name);
extern void es_tenant_records_copy(const char *from, const char *to);
extern char *es_tenant_records_export(const char *name);
extern void es_tenant_records_import(const char *name, Datum migrations);
extern void es_tenant_records_list(const char *name, ReturnSetInfo *rsinfo);

#endif							/* ES_TENANT_RECORDS_H */
