/*
 * series_table.h
 *		The shared memory of series; private to series_table.c and series.c.
 */
#ifndef ES_SERIES_TABLE_H
#define ES_SERIES_TABLE_H

#include "port/atomics.h"
#include "storage/spin.h"
#include "utils/hsearch.h"

#include "observe/series.h"

#define ES_NO_INDEX			(-1)
#define ES_CHUNK_CELLS		31
#define ES_CHUNK_BYTES		(ES_CHUNK_CELLS * (int) sizeof(int64))
#define ES_LABELS_MAX		(ES_MAX_TAGS * (ES_LABEL_VALUE_MAX + 1))

typedef enum SeriesState
{
	SERIES_FREE = 0,
	SERIES_LIVE,
	SERIES_DEAD					/* dropped, to be freed */
} SeriesState;

typedef struct SeriesChunk
{
	int			next;
	union
	{
		int64		cells[ES_CHUNK_CELLS];
		char		text[ES_CHUNK_BYTES];
	}			u;
} SeriesChunk;

typedef struct SharedSeries
{
	slock_t		mutex;
	SeriesState state;
	uint64		generation;
	EsValue		value;
	int			family;
	Oid			dbid;
	uint64		hash[2];
	int			next;			/* in the list of free ones */
	int			labels;			/* chunks with the label values, each with its \0 */
	int			labels_length;
	int			cells;			/* chunks with the cells */
	int			owner;			/* what it counts for, as the owner numbers it */
} SharedSeries;

typedef struct SeriesShared
{
	int			first_free;		/* series */
	int			used;			/* series, the overflow ones not counted */
	int			touched;		/* series from here on were never used */
	int			free_chunk;
	int			chunks_used;
	pg_atomic_uint32 died;		/* something is to be freed */
} SeriesShared;

/* keys[].key and EsSeries.key are the same bytes */
typedef struct KeyEntry
{
	char		key[sizeof(((EsSeries *) NULL)->key)];
	int			index;
} KeyEntry;

extern SeriesShared *es_series_shared;
extern EsSharedFamily *es_families;		/* es_family_count() */
extern SharedSeries *es_series;	/* es_max_series, then the overflow series of each family */
extern SeriesChunk *es_chunks;
extern HTAB *es_series_keys;

extern int	es_family_count(void);
extern int	es_series_places(void);
extern int	es_chunk_count(void);

/* the caller holds ES_LWLOCK_SERIES, and but for the second exclusively */
extern void es_series_free_dead(void);
extern bool es_series_has_room(int family, int length);
extern int	es_series_take(const EsSeries *name, const char *labels, int length);

/* A cell of a series that is alive, whose spinlock the caller holds. */
static inline int64 *
es_series_cell(const SharedSeries *s, int cell)
{
	int			chunk = s->cells;

	for (; cell >= ES_CHUNK_CELLS; cell -= ES_CHUNK_CELLS)
		chunk = es_chunks[chunk].next;
	return &es_chunks[chunk].u.cells[cell];
}

#endif							/* ES_SERIES_TABLE_H */
