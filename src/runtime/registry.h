/*
 * registry.h
 *		Registries: what their SQL functions have in common.
 */
#ifndef ES_RUNTIME_REGISTRY_H
#define ES_RUNTIME_REGISTRY_H

#include "fmgr.h"

#include "runtime/names.h"

/* A registry, as a session remembers it. */
typedef struct EsRegistry
{
	char		name[NAMEDATALEN];	/* hash key */
	int64		number;
	bool		unique;
} EsRegistry;

extern EsRegistry es_registry_argument(FunctionCallInfo fcinfo, int argument);
extern EsNamespace es_registry_space(const EsRegistry *registry);
extern char *es_registry_key(FunctionCallInfo fcinfo, int argument);
extern Jsonb *es_registry_value(FunctionCallInfo fcinfo, int argument, const char *name);
extern void es_registry_check_size(const char *what, const Jsonb *value);
extern void es_registry_function(FunctionCallInfo fcinfo, int argument, int nargs, const Oid *types,
								 const char *signature, FmgrInfo *function);
extern void es_registry_claimed(EsClaim claimed, const EsRegistry *registry, const char *key, int holder);

#endif							/* ES_RUNTIME_REGISTRY_H */
