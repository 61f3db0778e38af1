/*
 * tenant.h
 *		Tenants: registered schemas, each with its own event store.
 */
#ifndef ES_TENANT_H
#define ES_TENANT_H

#include "access/htup.h"
#include "fmgr.h"
#include "utils/rel.h"

#include "base/compat.h"
#include "store/store.h"

/* Columns of tenant_registry. */
enum EsTenantColumn
{
	TENANT_NAME,
	TENANT_FOLDED_NAME,
	TENANT_SCHEMA_NAME,
	TENANT_SCHEMA_OID,
	TENANT_STORE_NUMBER,
	TENANT_STATE,
	TENANT_REASON,
	TENANT_ATTRIBUTES,
	TENANT_CREATED_AT,
	TENANT_PURGE_AFTER,
	TENANT_NCOLUMNS
};

typedef enum EsTenantState
{
	ES_TENANT_ACTIVE,
	ES_TENANT_READ_ONLY,
	ES_TENANT_SUSPENDED
} EsTenantState;

typedef struct EsTenant
{
	NameData	name;
	Oid			nspid;			/* InvalidOid: its schema or its store is gone */
	int64		number;			/* of its store, as it was registered; the owner of the schema cannot change it */
	EsTenantState state;
	bool		dropping;		/* dropped, and kept for a while; counts as suspended */
} EsTenant;

extern bool es_tenants_exist(void);
extern uint64 es_tenant_generation(void);
extern bool es_tenant_of_schema(Oid nspid, EsTenant *tenant);
extern bool es_tenant_find(const char *name, EsTenant *tenant);
extern void es_tenant_get(const char *name, EsTenant *tenant);
extern bool es_tenant_is_set(void);
extern bool es_tenant_current(EsTenant *tenant);
pg_noreturn extern void es_tenant_missing(void);
pg_noreturn extern void es_tenant_broken(const EsTenant *tenant);
extern void es_tenant_require_state(const EsTenant *tenant, bool write);
extern Oid	es_tenant_let_pass(Oid nspid);

extern Relation es_tenant_open_registry(LOCKMODE lockmode);
extern HeapTuple es_tenant_row(Relation registry, const char *name);
extern Datum es_tenant_attributes(const char *name);

/* store/tenant_name */
extern char *es_tenant_name_argument(FunctionCallInfo fcinfo, int argument, const char *what);
extern bool es_tenant_is_reserved(const char *name);
extern void es_tenant_check_name(const char *name);
extern char *es_tenant_fold(const char *name);

/* store/tenant_manage */
extern void es_tenant_lock_name(Relation registry, const char *folded);
extern bool es_tenant_is_owned(const EsTenant *tenant);
extern void es_tenant_require_owner(const EsTenant *tenant);
extern bool es_tenant_create_again(const char *name, int64 number, EsPayload payload, Datum attributes);
extern void es_tenant_set_state(const char *name, EsTenantState state, const char *reason);
extern void es_tenant_share_name(Relation registry, const char *folded);
extern HeapTuple es_tenant_own_row(Relation registry, const char *name, EsTenant *tenant);
extern void es_tenant_update_row(Relation registry, HeapTuple old, Datum *values, bool *nulls, bool *replace);
extern void es_tenant_remove(Relation registry, HeapTuple row, const EsTenant *tenant);

/* For a floor above: this transaction has made a schema a tenant's. */
typedef void (*EsTenantMadeHook) (void);

extern EsTenantMadeHook es_tenant_made_hook;
extern void es_tenant_note_schema(const char *name, const char *schema);

/* store/tenant_switch */
extern void es_tenant_switch(const char *name, Oid nspid, GucAction action);
extern void es_tenant_enter(Oid nspid);
extern List *es_tenant_names(void);
extern bool es_tenant_try(const char *name, const char *query, Datum *answer, bool *failed);

/* store/tenant_guard */
extern int	es_tenant_lift_guard(void);
extern void es_tenant_guard_named(Oid nspid);

extern void EsTenantGuardInit(void);

#endif							/* ES_TENANT_H */
