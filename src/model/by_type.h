/*
 * by_type.h
 *		Hash tables with an entry for each of some event types.
 */
#ifndef ES_BY_TYPE_H
#define ES_BY_TYPE_H

#include "utils/hsearch.h"

/* What an entry begins with. */
typedef struct EsByType
{
	const char *type;
	int			length;
} EsByType;

extern HTAB *es_by_type_create(const char *name, Size entry_size);
extern void *es_by_type_enter(HTAB *table, const char *type, bool *found);
extern void *es_by_type_find(HTAB *table, const char *type, int length);

#endif							/* ES_BY_TYPE_H */
