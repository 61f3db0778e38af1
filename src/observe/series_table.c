/*
 * series_table.c
 *		The shared memory of series: who has which place.
 *
 * A fixed table of event_store.max_series series, found by family and label
 * values; 128 bits of hash stand for the values, which collide by accident
 * never.  Label values and whatever a kind of metric has besides sum and count
 * (buckets, the cells of a store) lie in chunks of a common pool.  What finds
 * no room goes into the family's overflow series, which is set aside when the
 * family is bound, so nothing grows and no existing series suffers.
 *
 * Locking: ES_LWLOCK_SERIES is over families, the table of keys, the pool, and
 * which series is whose.  The spinlock of a series is over its values and its
 * generation, which changes whenever the series changes hands: whoever adds
 * holds the spinlock only and compares the generation he has looked up, so
 * adding works in the commit callback.
 *
 * What is dropped at commit is only marked there; the next who needs room
 * frees it, under the LWLock.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/memutils.h"

#include "base/settings.h"
#include "base/shmem.h"
#include "observe/series_table.h"

SeriesShared *es_series_shared = NULL;
EsSharedFamily *es_families = NULL; /* es_family_count() */
SharedSeries *es_series = NULL; /* es_max_series, then the overflow series of each family */
SeriesChunk *es_chunks = NULL;
HTAB *es_series_keys = NULL;

int
es_family_count(void)
{
	return es_max_metrics + 1;
}

int
es_series_places(void)
{
	return es_max_series + es_family_count();
}

int
es_chunk_count(void)
{
	return 2 * es_max_series + 16 * es_family_count();
}

static Size
area_size(void)
{
	Size		size = MAXALIGN(sizeof(SeriesShared));

	size = add_size(size, MAXALIGN(mul_size(es_family_count(), sizeof(EsSharedFamily))));
	size = add_size(size, MAXALIGN(mul_size(es_series_places(), sizeof(SharedSeries))));
	return add_size(size, mul_size(es_chunk_count(), sizeof(SeriesChunk)));
}

static Size
series_size(void)
{
	return add_size(area_size(), hash_estimate_size(es_max_series, sizeof(KeyEntry)));
}

/* Cells of a metric's series. */
static int
cells_of(EsMetricKind kind, int nbounds)
{
	switch (kind)
	{
		case ES_METRIC_DISTRIBUTION:
			return nbounds + 1;
		case ES_METRIC_SUMMARY:
			return ES_SKETCH_BUCKETS;
		default:
			return 0;
	}
}

static int
chunks_for(int amount, int per_chunk)
{
	return (amount + per_chunk - 1) / per_chunk;
}

/* --- chunks: the caller holds the LWLock exclusively, or is alone --- */

/* Take n chunks, zeroed; ES_NO_INDEX if n is 0.  The caller knows that there are as many. */
static int
take_chunks(int n)
{
	int			head = ES_NO_INDEX;

	while (n-- > 0)
	{
		int			chunk = es_series_shared->free_chunk;

		es_series_shared->free_chunk = es_chunks[chunk].next;
		es_series_shared->chunks_used++;
		memset(&es_chunks[chunk].u, 0, sizeof(es_chunks[chunk].u));
		es_chunks[chunk].next = head;
		head = chunk;
	}
	return head;
}

static void
give_chunks(int head)
{
	while (head != ES_NO_INDEX)
	{
		int			next = es_chunks[head].next;

		es_chunks[head].next = es_series_shared->free_chunk;
		es_series_shared->free_chunk = head;
		es_series_shared->chunks_used--;
		head = next;
	}
}

/* --- who has which series: under the LWLock, exclusively --- */

/* Let a series begin anew for its family. */
static void
begin_series(SharedSeries *s, int family, Oid dbid)
{
	SpinLockAcquire(&s->mutex);
	s->generation++;
	s->state = SERIES_LIVE;
	s->family = family;
	s->dbid = dbid;
	memset(&s->value, 0, sizeof(s->value));
	SpinLockRelease(&s->mutex);
}

static void
free_series(int index)
{
	SharedSeries *s = &es_series[index];
	EsSeries	name = {0};

	SpinLockAcquire(&s->mutex);
	s->generation++;
	s->state = SERIES_FREE;
	SpinLockRelease(&s->mutex);

	give_chunks(s->labels);
	give_chunks(s->cells);
	s->labels = s->cells = ES_NO_INDEX;
	if (index >= es_max_series)
		return;
	name.key.family = s->family;
	name.key.dbid = s->dbid;
	memcpy(name.key.hash, s->hash, sizeof(s->hash));
	hash_search(es_series_keys, &name.key, HASH_REMOVE, NULL);
	s->next = es_series_shared->first_free;
	es_series_shared->first_free = index;
	es_series_shared->used--;
}

/* Free a family with all its series. */
static void
free_family(int f)
{
	for (int i = 0; i < es_series_shared->touched; i++)
		if (es_series[i].state != SERIES_FREE && es_series[i].family == f)
			free_series(i);
	free_series(es_max_series + f);
	es_families[f].dbid = InvalidOid;
	es_families[f].number = 0;
	es_families[f].dead = false;
}

/* Free what was dropped. */
void
es_series_free_dead(void)
{
	if (pg_atomic_exchange_u32(&es_series_shared->died, 0) == 0)
		return;
	for (int f = 1; f < es_family_count(); f++)
		if (es_families[f].dead)
			free_family(f);
	for (int i = 0; i < es_series_shared->touched; i++)
		if (es_series[i].state == SERIES_DEAD)
			free_series(i);
}

/* Is there room for a series of the family with labels of that length? */
bool
es_series_has_room(int family, int length)
{
	int			needed = chunks_for(length, ES_CHUNK_BYTES) + chunks_for(es_families[family].ncells, ES_CHUNK_CELLS);

	return es_series_shared->first_free != ES_NO_INDEX && es_chunk_count() - es_series_shared->chunks_used >= needed;
}

/* Take a free series for the label values.  The caller knows that there is room. */
int
es_series_take(const EsSeries *name, const char *labels, int length)
{
	int			index = es_series_shared->first_free;
	SharedSeries *s = &es_series[index];
	KeyEntry   *entry = hash_search(es_series_keys, &name->key, HASH_ENTER_NULL, NULL);

	if (entry == NULL)
		return ES_NO_INDEX;
	entry->index = index;
	es_series_shared->first_free = s->next;
	es_series_shared->used++;
	es_series_shared->touched = Max(es_series_shared->touched, index + 1);
	memcpy(s->hash, name->key.hash, sizeof(s->hash));
	s->labels = take_chunks(chunks_for(length, ES_CHUNK_BYTES));
	s->labels_length = length;
	s->cells = take_chunks(chunks_for(es_families[name->key.family].ncells, ES_CHUNK_CELLS));
	for (int chunk = s->labels; chunk != ES_NO_INDEX; chunk = es_chunks[chunk].next)
	{
		memcpy(es_chunks[chunk].u.text, labels, Min(length, ES_CHUNK_BYTES));
		labels += ES_CHUNK_BYTES;
		length -= ES_CHUNK_BYTES;
	}
	begin_series(s, name->key.family, name->key.dbid);
	return index;
}

/* Put a definition in a free place, with its overflow series; ES_NO_INDEX if there is no room. */
static int
take_family(const EsSharedFamily *definition)
{
	int			nchunks = chunks_for(definition->ncells, ES_CHUNK_CELLS);

	if (es_chunk_count() - es_series_shared->chunks_used < nchunks)
		return ES_NO_FAMILY;
	for (int f = 1; f < es_family_count(); f++)
		if (!OidIsValid(es_families[f].dbid))
		{
			SharedSeries *overflow = &es_series[es_max_series + f];

			es_families[f] = *definition;
			overflow->cells = take_chunks(nchunks);
			begin_series(overflow, f, definition->dbid);
			return f;
		}
	return ES_NO_FAMILY;
}

static void
series_attach(void)
{
	HASHCTL		ctl = {.keysize = sizeof(((KeyEntry *) NULL)->key), .entrysize = sizeof(KeyEntry)};
	bool		found;
	char	   *area = ShmemInitStruct("event_store series", area_size(), &found);

	es_series_shared = (SeriesShared *) area;
	area += MAXALIGN(sizeof(SeriesShared));
	es_families = (EsSharedFamily *) area;
	area += MAXALIGN(es_family_count() * sizeof(EsSharedFamily));
	es_series = (SharedSeries *) area;
	area += MAXALIGN(es_series_places() * sizeof(SharedSeries));
	es_chunks = (SeriesChunk *) area;
	es_series_keys = ShmemInitHash("event_store series by labels", es_max_series, es_max_series, &ctl, HASH_ELEM | HASH_BLOBS);
	if (found)
		return;

	memset(es_series_shared, 0, area_size());
	pg_atomic_init_u32(&es_series_shared->died, 0);
	for (int i = 0; i < es_series_places(); i++)
	{
		SpinLockInit(&es_series[i].mutex);
		es_series[i].next = i + 1 < es_max_series ? i + 1 : ES_NO_INDEX;
		es_series[i].labels = es_series[i].cells = ES_NO_INDEX;
	}
	for (int i = 0; i < es_chunk_count(); i++)
		es_chunks[i].next = i + 1 < es_chunk_count() ? i + 1 : ES_NO_INDEX;

	/* the counters of stores */
	es_families[ES_STORE_FAMILY].kind = ES_METRIC_COUNTER;
	es_families[ES_STORE_FAMILY].ncells = ES_NSTORE_CELLS;
	es_families[ES_STORE_FAMILY].ntags = 2;
	strcpy(es_families[ES_STORE_FAMILY].tags[0], "database");
	strcpy(es_families[ES_STORE_FAMILY].tags[1], "store");
	es_series[es_max_series].cells = take_chunks(chunks_for(ES_NSTORE_CELLS, ES_CHUNK_CELLS));
	begin_series(&es_series[es_max_series], ES_STORE_FAMILY, InvalidOid);
}

/* --- families --- */

/* Find the family of a definition, or make it one; ES_NO_FAMILY if there is no room. */
int
es_family_bind(const EsSharedFamily *definition)
{
	EsSharedFamily wanted = *definition;
	int			result = ES_NO_FAMILY;

	wanted.ncells = cells_of(wanted.kind, wanted.nbounds);
	LWLockAcquire(es_lwlock(ES_LWLOCK_SERIES), LW_EXCLUSIVE);
	es_series_free_dead();
	for (int f = 1; f < es_family_count() && result == ES_NO_FAMILY; f++)
		if (es_families[f].dbid == wanted.dbid && es_families[f].number == wanted.number)
			result = f;
	if (result == ES_NO_FAMILY)
		result = take_family(&wanted);
	LWLockRelease(es_lwlock(ES_LWLOCK_SERIES));
	return result;
}

/* Is the family still that of the definition? */
bool
es_family_is_live(int family, int64 number)
{
	/* a stale look costs a measurement of a metric that is being dropped */
	return es_families[family].number == number && !es_families[family].dead;
}

/* Everything of a database that is no more, or has the extension no more, goes. */
void
es_series_forget_database(Oid dbid)
{
	LWLockAcquire(es_lwlock(ES_LWLOCK_SERIES), LW_EXCLUSIVE);
	for (int f = 1; f < es_family_count(); f++)
		if (es_families[f].dbid == dbid)
			es_families[f].dead = true;
	for (int i = 0; i < es_series_shared->touched; i++)
		if (es_series[i].state == SERIES_LIVE && es_series[i].dbid == dbid)
			es_series[i].state = SERIES_DEAD;
	pg_atomic_write_u32(&es_series_shared->died, 1);
	es_series_free_dead();
	LWLockRelease(es_lwlock(ES_LWLOCK_SERIES));
}

/* --- over a restart (observe/keep) --- */

typedef struct KeptSeries
{
	int			family;
	Oid			dbid;
	uint64		hash[2];
	EsValue		value;
	bool		overflow;
	int			labels_length;
	int			ncells;
} KeptSeries;

static bool
save_chunks(FILE *file, int chunk, int bytes)
{
	bool		ok = true;

	for (; bytes > 0 && ok; chunk = es_chunks[chunk].next, bytes -= ES_CHUNK_BYTES)
		ok = fwrite(&es_chunks[chunk].u, Min(bytes, ES_CHUNK_BYTES), 1, file) == 1;
	return ok;
}

static bool
load_chunks(FILE *file, int chunk, int bytes)
{
	bool		ok = true;

	for (; bytes > 0 && ok; chunk = es_chunks[chunk].next, bytes -= ES_CHUNK_BYTES)
		ok = fread(&es_chunks[chunk].u, Min(bytes, ES_CHUNK_BYTES), 1, file) == 1;
	return ok;
}

/* Runs in the postmaster, as the last process. */
bool
es_series_save(FILE *file)
{
	int			nfamilies = es_family_count();
	KeptSeries	end = {.family = ES_NO_FAMILY};

	if (fwrite(&nfamilies, sizeof(nfamilies), 1, file) != 1 ||
		fwrite(es_families, sizeof(EsSharedFamily), nfamilies, file) != nfamilies)
		return false;
	for (int i = 0; i < es_series_places(); i++)
	{
		SharedSeries *s = &es_series[i];
		KeptSeries	kept = {
			.family = s->family, .dbid = s->dbid, .hash = {s->hash[0], s->hash[1]}, .value = s->value,
			.overflow = i >= es_max_series, .labels_length = i < es_max_series ? s->labels_length : 0,
			.ncells = es_families[s->family].ncells
		};

		if (s->state != SERIES_LIVE || es_families[s->family].dead)
			continue;
		if (fwrite(&kept, sizeof(kept), 1, file) != 1 ||
			!save_chunks(file, s->labels, kept.labels_length) ||
			!save_chunks(file, s->cells, kept.ncells * (int) sizeof(int64)))
			return false;
	}
	return fwrite(&end, sizeof(end), 1, file) == 1;
}

/*
 * Runs in the postmaster, before any other process.  What no longer fits,
 * because a limit was lowered, is left out; false if the file is damaged.
 */
bool
es_series_load(FILE *file)
{
	int			nfamilies;
	EsSharedFamily *old;
	int		   *now;
	KeptSeries	kept;
	bool		ok = false;

	if (fread(&nfamilies, sizeof(nfamilies), 1, file) != 1 || nfamilies < 1 || nfamilies > 1000000)
		return false;
	old = palloc_extended(nfamilies * sizeof(EsSharedFamily), MCXT_ALLOC_HUGE);
	now = palloc(nfamilies * sizeof(int));
	if (fread(old, sizeof(EsSharedFamily), nfamilies, file) == nfamilies)
	{
		ok = true;
		now[ES_STORE_FAMILY] = ES_STORE_FAMILY;
		for (int f = 1; f < nfamilies; f++)
			now[f] = OidIsValid(old[f].dbid) && !old[f].dead ? take_family(&old[f]) : ES_NO_FAMILY;
	}
	while (ok && (ok = fread(&kept, sizeof(kept), 1, file) == 1) && kept.family != ES_NO_FAMILY)
	{
		EsSeries	name = {0};
		char		labels[ES_LABELS_MAX];
		int64		skipped[ES_SKETCH_BUCKETS + ES_CHUNK_CELLS];
		int			index = ES_NO_INDEX;
		int			bytes = kept.ncells * (int) sizeof(int64);

		ok = kept.family >= 0 && kept.family < nfamilies && kept.labels_length >= 0 &&
			kept.labels_length <= ES_LABELS_MAX && kept.ncells == old[kept.family].ncells && bytes <= sizeof(skipped) &&
			(kept.labels_length == 0 || fread(labels, kept.labels_length, 1, file) == 1);
		if (!ok)
			break;
		name.key.family = now[kept.family];
		name.key.dbid = kept.dbid;
		memcpy(name.key.hash, kept.hash, sizeof(kept.hash));
		if (name.key.family != ES_NO_FAMILY)
		{
			if (kept.overflow)
				index = es_max_series + name.key.family;
			else if (es_series_has_room(name.key.family, kept.labels_length))
				index = es_series_take(&name, labels, kept.labels_length);
		}
		if (index == ES_NO_INDEX)
			ok = bytes == 0 || fread(skipped, bytes, 1, file) == 1;
		else
		{
			es_series[index].value = kept.value;
			ok = load_chunks(file, es_series[index].cells, bytes);
		}
	}
	pfree(old);
	pfree(now);
	return ok;
}

void
EsSeriesInit(void)
{
	static const EsShmemPart part = {series_size, series_attach};

	es_shmem_register(&part);
}
