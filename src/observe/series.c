/*
 * series.c
 *		Labelled series: finding them, adding to them, copying them.
 *
 * A backend remembers the series it has found, as many as there ever were.
 * What adds to a series takes its spinlock and nothing else, and cannot fail.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "storage/spin.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "base/settings.h"
#include "base/shmem.h"
#include "observe/series_table.h"

static HTAB *known = NULL;		/* EsSeries; as many as the shared table has had */

/* --- finding --- */

/* The bytes of a label value that are kept: at most the limit, and whole characters. */
static int
value_length(const char *value)
{
	int			length = strlen(value);

	return length <= ES_LABEL_VALUE_MAX ? length : pg_mbcliplen(value, length, ES_LABEL_VALUE_MAX);
}

/* Is the family still that of the definition?  The caller holds the LWLock. */
static bool
family_is(int family, int64 number)
{
	return es_families[family].number == number && !es_families[family].dead;
}

/* The series of a key, or ES_NO_INDEX.  The caller holds the LWLock. */
static int
find_index(const EsSeries *name)
{
	KeyEntry   *entry = hash_search(es_series_keys, &name->key, HASH_FIND, NULL);

	return entry != NULL && es_series[entry->index].state == SERIES_LIVE ? entry->index : ES_NO_INDEX;
}

/*
 * Look a series up, or make it, in shared memory; if there is no room, target
 * becomes the overflow series, whose key has a hash of zeros.  False if the
 * family is dropped.
 */
static bool
find_shared(EsSeries *target, int64 number, const char *labels, int length)
{
	int			family = target->key.family;
	LWLock	   *lock = es_lwlock(ES_LWLOCK_SERIES);
	bool		alive;

	LWLockAcquire(lock, LW_SHARED);
	alive = family_is(family, number);
	target->index = find_index(target);
	if (target->index == ES_NO_INDEX &&
		(es_series_has_room(family, length) || pg_atomic_read_u32(&es_series_shared->died) != 0))
	{
		LWLockRelease(lock);
		LWLockAcquire(lock, LW_EXCLUSIVE);
		es_series_free_dead();
		alive = family_is(family, number);
		target->index = find_index(target);
		if (alive && target->index == ES_NO_INDEX && es_series_has_room(family, length))
			target->index = es_series_take(target, labels, length);
	}
	if (target->index == ES_NO_INDEX)
	{
		target->index = es_max_series + family;
		memset(target->key.hash, 0, sizeof(target->key.hash));
	}
	target->generation = es_series[target->index].generation;
	target->kind = es_families[family].kind;
	target->ncells = es_families[family].ncells;
	LWLockRelease(lock);
	return alive;
}

static EsSeries *
remember(const EsSeries *found)
{
	bool		exists;
	EsSeries   *entry = hash_search(known, &found->key, HASH_ENTER, &exists);

	if (!exists)
		entry->pending = NULL;
	entry->index = found->index;
	entry->generation = found->generation;
	entry->kind = found->kind;
	entry->ncells = found->ncells;
	return entry;
}

/*
 * The series of a family, which is that of the definition with this number,
 * with these label values, made if need be; the family's overflow series if
 * there is no room for it.  Good for as long as es_series_is_live says so.
 * NULL if the family is dropped.
 */
EsSeries *
es_series_find(int family, int64 number, int nvalues, const char *const *values)
{
	char		labels[ES_LABELS_MAX];
	int			length = 0;
	EsSeries	wanted = {.key = {.family = family, .dbid = MyDatabaseId}};
	EsSeries   *entry;

	for (int i = 0; i < nvalues; i++)
	{
		int			n = value_length(values[i]);

		memcpy(labels + length, values[i], n);
		labels[length + n] = '\0';
		length += n + 1;
	}
	wanted.key.hash[0] = hash_bytes_extended((unsigned char *) labels, length, 0);
	/* never zero, as the overflow series has it */
	wanted.key.hash[1] = hash_bytes_extended((unsigned char *) labels, length, UINT64CONST(0x45532d6576656e74)) | 1;

	if (known == NULL)
	{
		HASHCTL		ctl = {.keysize = sizeof(wanted.key), .entrysize = sizeof(EsSeries)};

		known = hash_create("event_store series", 64, &ctl, HASH_ELEM | HASH_BLOBS);
	}
	entry = hash_search(known, &wanted.key, HASH_FIND, NULL);
	if (entry != NULL && es_series_is_live(entry))
		return entry;
	if (!find_shared(&wanted, number, labels, length))
		return NULL;
	if (es_series_is_overflow(&wanted))
		es_count(ES_TELEMETRY_DROPPED + ES_DROP_MAX_SERIES, 1);
	return remember(&wanted);
}

/* Is it still the series that was looked up? */
bool
es_series_is_live(const EsSeries *s)
{
	const volatile SharedSeries *target = &es_series[s->index];

	return target->generation == s->generation && target->state == SERIES_LIVE;
}

/* Is it the one that takes what found no room? */
bool
es_series_is_overflow(const EsSeries *s)
{
	return s->index >= es_max_series;
}

/* --- adding: spinlocks only, cannot fail --- */

void
es_value_add(EsMetricKind kind, EsValue *to, const EsValue *from)
{
	if (from->count == 0)
		return;
	to->sum = kind == ES_METRIC_LAST_VALUE ? from->sum : to->sum + from->sum;
	to->min = to->count == 0 ? from->min : Min(to->min, from->min);
	to->max = to->count == 0 ? from->max : Max(to->max, from->max);
	to->count += from->count;
	to->updated_at = Max(to->updated_at, from->updated_at);
}

/* Add a value, and one to a cell (ES_NO_INDEX: to no cell), at once. */
void
es_series_add(const EsSeries *s, const EsValue *value, int cell)
{
	SharedSeries *target = &es_series[s->index];

	SpinLockAcquire(&target->mutex);
	if (target->generation == s->generation)
	{
		es_value_add(s->kind, &target->value, value);
		if (cell >= 0)
			(*es_series_cell(target, cell))++;
	}
	SpinLockRelease(&target->mutex);
}

/* Add to a cell, at once. */
void
es_series_count(const EsSeries *s, int cell, int64 n)
{
	SharedSeries *target = &es_series[s->index];

	SpinLockAcquire(&target->mutex);
	if (target->generation == s->generation)
		*es_series_cell(target, cell) += n;
	SpinLockRelease(&target->mutex);
}

/* Note what the series counts for: the latest to say so has it. */
void
es_series_set_owner(const EsSeries *s, int owner)
{
	SharedSeries *target = &es_series[s->index];

	SpinLockAcquire(&target->mutex);
	if (target->generation == s->generation)
		target->owner = owner;
	SpinLockRelease(&target->mutex);
}

/* Add what a transaction has gathered for what was the series then, as to index and generation. */
void
es_series_fold(const EsSeries *s, int index, uint64 generation, const EsValue *value, const int64 *cells, int ncells)
{
	SharedSeries *target = &es_series[index];

	SpinLockAcquire(&target->mutex);
	if (target->generation == generation)
	{
		int			chunk = target->cells;

		es_value_add(s->kind, &target->value, value);
		for (int c = 0; c < ncells; c++)
		{
			if (c > 0 && c % ES_CHUNK_CELLS == 0)
				chunk = es_chunks[chunk].next;
			es_chunks[chunk].u.cells[c % ES_CHUNK_CELLS] += cells[c];
		}
	}
	SpinLockRelease(&target->mutex);
}

/* The series is dropped. */
void
es_series_kill(int index, uint64 generation)
{
	SharedSeries *target = &es_series[index];

	SpinLockAcquire(&target->mutex);
	if (target->generation == generation)
		target->state = SERIES_DEAD;
	SpinLockRelease(&target->mutex);
	pg_atomic_write_u32(&es_series_shared->died, 1);
}

/* The definition of a family is dropped. */
void
es_family_kill(Oid dbid, int64 number)
{
	/* a place changes hands without us, but never one with our number that is alive */
	for (int f = 1; f < es_family_count(); f++)
		if (es_families[f].dbid == dbid && es_families[f].number == number)
			es_families[f].dead = true;
	pg_atomic_write_u32(&es_series_shared->died, 1);
}

/* --- copies for those who show them --- */

int
es_series_in_use(void)
{
	return es_series_shared->used;
}

static void
copy_one(const SharedSeries *s, EsSeriesCopy *copy, char **arena, int64 **cells)
{
	int			length = s->labels_length;
	char	   *text = *arena;
	int			ncells = es_families[s->family].ncells;

	*copy = (EsSeriesCopy) {.family = s->family, .dbid = s->dbid, .overflow = s - es_series >= es_max_series,
	.owner = s->owner};
	if (!copy->overflow)
	{
		for (int chunk = s->labels; chunk != ES_NO_INDEX; chunk = es_chunks[chunk].next)
		{
			int			n = Min(length, ES_CHUNK_BYTES);

			memcpy(*arena, es_chunks[chunk].u.text, n);
			*arena += n;
			length -= n;
		}
		while (text < *arena && copy->nvalues < ES_MAX_TAGS)
		{
			copy->values[copy->nvalues++] = text;
			text += strlen(text) + 1;
		}
	}

	copy->cells = *cells;
	*cells += ncells;
	SpinLockAcquire((slock_t *) &s->mutex);
	copy->value = s->value;
	for (int chunk = s->cells, c = 0; chunk != ES_NO_INDEX && c < ncells; chunk = es_chunks[chunk].next, c += ES_CHUNK_CELLS)
		memcpy(&copy->cells[c], es_chunks[chunk].u.cells, Min(ncells - c, ES_CHUNK_CELLS) * sizeof(int64));
	SpinLockRelease((slock_t *) &s->mutex);
}

/*
 * Copies of all families, by their numbers, and of the series in use, the
 * overflow ones included; all of one moment, palloc'd.
 */
EsSeriesCopy *
es_series_copy(int *count, EsSharedFamily **families_copy, int *nfamilies)
{
	*nfamilies = es_family_count();
	*families_copy = palloc_extended(es_family_count() * sizeof(EsSharedFamily), MCXT_ALLOC_HUGE);
	for (;;)
	{
		int			room = es_series_shared->used + es_family_count() + 64;
		int			nchunks = es_series_shared->chunks_used + 256;
		EsSeriesCopy *copies = palloc_extended(room * sizeof(EsSeriesCopy), MCXT_ALLOC_HUGE);
		char	   *arena = palloc_extended((Size) nchunks * ES_CHUNK_BYTES, MCXT_ALLOC_HUGE);
		int64	   *cells = palloc_extended((Size) nchunks * ES_CHUNK_BYTES, MCXT_ALLOC_HUGE);
		int			n = 0;
		bool		fits;

		/* nothing allocates under the lock, so what is needed is guessed before */
		LWLockAcquire(es_lwlock(ES_LWLOCK_SERIES), LW_SHARED);
		fits = es_series_shared->used + es_family_count() <= room && es_series_shared->chunks_used <= nchunks;
		if (fits)
			memcpy(*families_copy, es_families, es_family_count() * sizeof(EsSharedFamily));
		for (int i = 0; i < es_series_places() && fits; i++)
			if (es_series[i].state == SERIES_LIVE && !es_families[es_series[i].family].dead)
				copy_one(&es_series[i], &copies[n++], &arena, &cells);
		LWLockRelease(es_lwlock(ES_LWLOCK_SERIES));
		if (fits)
		{
			*count = n;
			return copies;
		}
	}
}

/* A copy of the series of a store, NULL if it is that no more or has no labels. */
EsSeriesCopy *
es_series_copy_store(int index, uint64 generation)
{
	EsSeriesCopy *copy = palloc(sizeof(EsSeriesCopy));
	char	   *arena = palloc(ES_LABELS_MAX + ES_CHUNK_BYTES);
	int64	   *cells = palloc((ES_NSTORE_CELLS + ES_CHUNK_CELLS) * sizeof(int64));
	SharedSeries *s = &es_series[index];
	bool		live;

	LWLockAcquire(es_lwlock(ES_LWLOCK_SERIES), LW_SHARED);
	live = index < es_max_series && s->state == SERIES_LIVE && s->family == ES_STORE_FAMILY && s->generation == generation;
	if (live)
		copy_one(s, copy, &arena, &cells);
	LWLockRelease(es_lwlock(ES_LWLOCK_SERIES));
	return live ? copy : NULL;
}

/*
 * Let the series of a family in a database (InvalidOid: in all) begin at zero:
 * everything, or if ncells is given these cells.
 */
void
es_series_reset(int family, Oid dbid, int first_cell, int ncells)
{
	LWLockAcquire(es_lwlock(ES_LWLOCK_SERIES), LW_EXCLUSIVE);
	for (int i = 0; i < es_series_places(); i++)
	{
		SharedSeries *s = &es_series[i];

		if (s->state != SERIES_LIVE || s->family != family || (OidIsValid(dbid) && s->dbid != dbid))
			continue;
		SpinLockAcquire(&s->mutex);
		if (ncells == 0)
			memset(&s->value, 0, sizeof(s->value));
		for (int c = 0; c < (ncells > 0 ? ncells : es_families[family].ncells); c++)
			*es_series_cell(s, first_cell + c) = 0;
		SpinLockRelease(&s->mutex);
	}
	es_families[family].reset_at = GetCurrentTimestamp();
	LWLockRelease(es_lwlock(ES_LWLOCK_SERIES));
}
