/*
 * shared.h
 *		A bounded pool of shared memory for values of any size.
 */
#ifndef ES_SHARED_H
#define ES_SHARED_H

#include "datatype/timestamp.h"

/* A value in the pool, which one struct in shared memory owns. */
typedef struct EsSharedValue
{
	int			head;			/* its first chunk, ES_SHARED_NONE: it has none */
	int			length;			/* bytes */
} EsSharedValue;

#define ES_SHARED_NONE	(-1)
#define ES_SHARED_EMPTY	((EsSharedValue) {ES_SHARED_NONE, 0})

extern bool es_shared_put(EsSharedValue *value, const void *data, int length);
extern void es_shared_get(const EsSharedValue *value, void *data);
extern void es_shared_free(EsSharedValue *value);
extern void es_shared_full(const char *what);
extern int64 es_shared_bytes_used(void);
extern TimestampTz es_shared_made_at(void);

extern void EsSharedInit(void);

#endif							/* ES_SHARED_H */
