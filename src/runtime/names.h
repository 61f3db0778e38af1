/*
 * names.h
 *		Names that sessions hold in registries, in shared memory.
 */
#ifndef ES_NAMES_H
#define ES_NAMES_H

#include "datatype/timestamp.h"
#include "utils/jsonb.h"

#include "runtime/mailbox.h"

#define ES_NAME_KEY_MAX		255		/* bytes of a key */
#define ES_NAME_VALUE_MAX	8192	/* bytes of a value or a message */

/* Whose names: of a registry in this database, for a tenant or for none. */
typedef struct EsNamespace
{
	int64		registry;		/* number of its definition */
	Oid			nspid;			/* schema of the tenant, InvalidOid: none */
} EsNamespace;

/* A name, copied. */
typedef struct EsName
{
	int			index;			/* its place, and what it is compared by ... */
	uint64		generation;		/* ... when it is changed later */
	EsOwner		owner;
	int			pid;
	int			key_length;
	char	   *key;			/* NUL-terminated */
	Jsonb	   *value;
	TimestampTz since;
} EsName;

/* Which names are wanted. */
typedef struct EsNameFilter
{
	const char *key;			/* NULL: any */
	int			pid;			/* 0: any */
	bool		mine;			/* of this session only */
} EsNameFilter;

typedef enum EsClaim
{
	ES_CLAIMED,
	ES_CLAIM_TAKEN,				/* a unique name that another holds, or this session */
	ES_CLAIM_TABLE_FULL,
	ES_CLAIM_POOL_FULL
} EsClaim;

extern EsClaim es_name_claim(const EsNamespace *space, const char *key, const Jsonb *value,
							 bool unique, bool transaction, const Jsonb *farewell, int *holder);
extern EsName *es_names_find(const EsNamespace *space, const EsNameFilter *filter, int *count);
extern bool es_name_release(const EsName *name);
extern bool es_name_set_value(const EsName *name, const Jsonb *value, bool *pool_full);
extern int	es_names_in_use(void);

/* listeners are sessions that are told who takes and leaves names */
extern EsClaim es_name_listen(const EsNamespace *space);
extern void es_names_tell(const EsNamespace *space, const Jsonb *message);

extern void EsNamesInit(void);

#endif							/* ES_NAMES_H */
