/*
 * tenant_life.h
 *		How tenants come into being from others, and how they go in peace.
 */
#ifndef ES_TENANT_LIFE_H
#define ES_TENANT_LIFE_H

#include "datatype/timestamp.h"

#include "store/tenant.h"

extern Oid	es_tenant_template_schema(const char **template);
extern void es_tenant_leave_pool(const char *schema, const char *name);
extern void es_tenant_require_no_pool(const char *name);
extern int64 es_tenant_make_schema(const char *name, const char *template, const EsPayload *asked,
								   bool with_data, bool with_grants);
extern void es_tenant_drop_later(Relation registry, HeapTuple row, const EsTenant *tenant, const Interval *keep);
extern void es_tenant_pool_check(int size, const char **template);

#endif							/* ES_TENANT_LIFE_H */
