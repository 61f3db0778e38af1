/*
 * tenant_clone.h
 *		A schema like another one.
 */
#ifndef ES_TENANT_CLONE_H
#define ES_TENANT_CLONE_H

#include "store/tenant.h"

/* Something that a schema holds. */
typedef struct EsPart
{
	int			phase;			/* of schema_definition */
	Oid			oid;
	const char *object;			/* what it is called */
	const char *statement;		/* that makes it; NULL: none does */
	bool		done;
} EsPart;

typedef struct EsDefinition
{
	int			count;
	EsPart	   *parts;
} EsDefinition;

extern Oid	es_schema_owner(Oid nspid);
extern void es_definition_read(Oid nspid, EsDefinition *definition);
extern bool es_definition_difference(EsDefinition *a, EsDefinition *b, int *i, int *j,
									 const EsPart **of_a, const EsPart **of_b);
extern int64 es_tenant_clone_schema(Oid source, const char *target, EsPayload payload, bool with_data, bool with_grants);

#endif							/* ES_TENANT_CLONE_H */
