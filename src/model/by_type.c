/*
 * by_type.c
 *		Hash tables with an entry for each of some event types.
 *
 * An event's type is a text that need not end in a zero byte, so it is looked
 * up by address and length.
 */
#include "postgres.h"

#include "common/hashfn.h"

#include "model/by_type.h"

static uint32
hash_type(const void *key, Size size)
{
	const EsByType *type = key;

	return hash_bytes((const unsigned char *) type->type, type->length);
}

static int
match_types(const void *a, const void *b, Size size)
{
	const EsByType *left = a;
	const EsByType *right = b;

	return left->length == right->length && memcmp(left->type, right->type, left->length) == 0 ? 0 : 1;
}

/* A table in the current context; its entries begin with an EsByType. */
HTAB *
es_by_type_create(const char *name, Size entry_size)
{
	HASHCTL		ctl = {
		.keysize = sizeof(EsByType), .entrysize = entry_size,
		.hash = hash_type, .match = match_types, .hcxt = CurrentMemoryContext
	};

	return hash_create(name, 16, &ctl, HASH_ELEM | HASH_FUNCTION | HASH_COMPARE | HASH_CONTEXT);
}

/* The entry of a type, made if it is not there; type must live as long as the table. */
void *
es_by_type_enter(HTAB *table, const char *type, bool *found)
{
	EsByType	key = {type, strlen(type)};

	return hash_search(table, &key, HASH_ENTER, found);
}

/* The entry of a type, NULL if there is none. */
void *
es_by_type_find(HTAB *table, const char *type, int length)
{
	EsByType	key = {type, length};

	return hash_search(table, &key, HASH_FIND, NULL);
}
