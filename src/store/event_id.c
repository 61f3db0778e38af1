/*
 * event_id.c
 *		The event ids that a store makes.
 *
 * They are UUIDs of version 8 (RFC 9562): the 60 bits of the
 * store's number around the version nibble, then 62 bits of position after
 * the variant.  So the ids of one store are one range of UUIDs in the order of
 * their positions, and the partial index over ids that callers gave is
 * "outside that range".
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "store/event_id.h"

static void
make_id(int64 number, uint64 position, pg_uuid_t *id)
{
	uint64		high = ((uint64) number >> 12 << 16) | UINT64CONST(0x8000) | ((uint64) number & 0xfff);
	uint64		low = UINT64CONST(0x8000000000000000) | position;

	for (int i = 0; i < 8; i++)
	{
		id->data[i] = (unsigned char) (high >> (56 - 8 * i));
		id->data[8 + i] = (unsigned char) (low >> (56 - 8 * i));
	}
}

void
es_event_id_make(const EsStore *store, int64 position, pg_uuid_t *id)
{
	make_id(store->number, (uint64) position, id);
}

/* Is it an id of this store's range?  Then *position is what it says. */
bool
es_event_id_made_here(const EsStore *store, const pg_uuid_t *id, int64 *position)
{
	pg_uuid_t	first;
	uint64		low = 0;

	make_id(store->number, 0, &first);
	if (memcmp(id->data, first.data, 8) != 0 || (id->data[8] & 0xc0) != 0x80)
		return false;
	for (int i = 8; i < 16; i++)
		low = low << 8 | id->data[i];
	*position = (int64) (low & UINT64CONST(0x3fffffffffffffff));
	return true;
}

/* The range of the ids that a store of this number makes. */
void
es_event_id_range(int64 number, pg_uuid_t *low, pg_uuid_t *high)
{
	make_id(number, 0, low);
	make_id(number, UINT64CONST(0x3fffffffffffffff), high);
}

char *
es_event_id_to_string(const pg_uuid_t *id)
{
	return DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(id)));
}
