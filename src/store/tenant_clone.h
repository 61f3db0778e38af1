/*
 * tenant_clone.h
 *		A schema like another one.
 */
#ifndef ES_TENANT_CLONE_H
#define ES_TENANT_CLONE_H

#include "store/tenant.h"

extern int64 es_tenant_clone_schema(Oid source, const char *target, bool with_data, bool with_grants);

#endif							/* ES_TENANT_CLONE_H */
