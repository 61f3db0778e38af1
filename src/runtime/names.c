/*
 * names.c
 *		Names that sessions hold in registries, in shared memory.
 *
 * A fixed table of event_store.max_registered names, found by registry, tenant
 * and key; 128 bits of hash stand for the key.  The names of one key are a
 * list: one name if it is unique, any number if not.  Key and value lie in the
 * pool.
 *
 * A name belongs to a session or to a transaction, and is there as long as its
 * owner is (runtime/mailbox): whoever looks at a name looks whether its owner
 * lives, so a dead owner's name is never seen, and there is nothing to do at
 * the end of a transaction.  What is left of such names is cleared by whoever
 * next takes the same name or finds the table full, and by their session when
 * it exits.  A name taken in a subtransaction that is rolled back is marked
 * as given up.
 *
 * Locking: ES_LWLOCK_NAMES is over all of it but the state of a name, an
 * atomic that tells its generation, and whether it has been given up.
 * Listeners are names with no key.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "access/xact.h"
#include "base/shared.h"
#include "base/settings.h"
#include "base/shmem.h"
#include "base/xact.h"
#include "runtime/names.h"

#define NONE		(-1)

/* The state of a name: its generation, which changes with each owner, and a bit. */
#define GIVEN_UP	UINT64CONST(1)
#define GENERATION	UINT64CONST(2)

typedef struct NameKey
{
	int64		registry;
	Oid			dbid;
	Oid			nspid;
	uint64		hash[2];		/* of the key; zeros: listeners */
} NameKey;

typedef struct KeyEntry
{
	NameKey		key;
	int			first;			/* of its names */
} KeyEntry;

typedef struct SharedName
{
	pg_atomic_uint64 state;
	NameKey		key;			/* registry 0: free */
	int			next;			/* of the same key, or free */
	EsOwner		owner;
	int			key_length;
	EsSharedValue	content;		/* the key, then the value */
	TimestampTz since;
} SharedName;

typedef struct NamesShared
{
	int			free;
	int			touched;		/* names from here on were never used */
	int			used;
	SharedName	names[FLEXIBLE_ARRAY_MEMBER];
} NamesShared;

/* A name taken in a subtransaction that may be rolled back. */
typedef struct Taken
{
	int			index;
	uint64		generation;
	int			level;
} Taken;

static NamesShared *shared = NULL;
static HTAB *keys = NULL;

/* A name that this session holds until it ends. */
typedef struct Held
{
	int			index;
	uint64		generation;
	EsNamespace space;
	Jsonb	   *farewell;		/* to listeners, when it is given up */
} Held;

static Held *held = NULL;		/* in TopMemoryContext, with the messages */
static int	nheld = 0;
static int	held_room = 0;

static Taken *taken = NULL;		/* by the transaction in progress; in TopMemoryContext */
static int	ntaken = 0;
static int	taken_room = 0;

static Size
area_size(void)
{
	return add_size(offsetof(NamesShared, names), mul_size(es_max_registered, sizeof(SharedName)));
}

static Size
names_size(void)
{
	return add_size(area_size(), hash_estimate_size(es_max_registered, sizeof(KeyEntry)));
}

static void
names_attach(void)
{
	HASHCTL		ctl = {.keysize = sizeof(NameKey), .entrysize = sizeof(KeyEntry)};
	bool		found;

	shared = ShmemInitStruct("event_store names", area_size(), &found);
	if (!found)
	{
		shared->free = NONE;
		shared->touched = shared->used = 0;
	}
	keys = ShmemInitHash("event_store keys", es_max_registered, es_max_registered, &ctl, HASH_ELEM | HASH_BLOBS);
}

static NameKey
make_key(const EsNamespace *space, const char *key)
{
	NameKey		result;
	int			length = key ? strlen(key) : 0;

	memset(&result, 0, sizeof(result));
	result.registry = space->registry;
	result.dbid = MyDatabaseId;
	result.nspid = space->nspid;
	if (key != NULL)
	{
		result.hash[0] = hash_bytes_extended((const unsigned char *) key, length, 0);
		/* never zero, as listeners have it */
		result.hash[1] = hash_bytes_extended((const unsigned char *) key, length, UINT64CONST(0x65732d6e616d6573)) | 1;
	}
	return result;
}

static bool
is_live(SharedName *name)
{
	return (pg_atomic_read_u64(&name->state) & GIVEN_UP) == 0 && es_owner_is_live(&name->owner);
}

/* --- taking and clearing: the caller holds the lock exclusively --- */

static void
clear(int index)
{
	SharedName *name = &shared->names[index];
	KeyEntry   *entry = hash_search(keys, &name->key, HASH_FIND, NULL);
	int		   *link = &entry->first;

	while (*link != index)
		link = &shared->names[*link].next;
	*link = name->next;
	if (entry->first == NONE)
		(void) hash_search(keys, &name->key, HASH_REMOVE, NULL);
	es_shared_free(&name->content);
	pg_atomic_write_u64(&name->state, (pg_atomic_read_u64(&name->state) | GIVEN_UP) + GIVEN_UP);
	name->key.registry = 0;
	name->next = shared->free;
	shared->free = index;
	shared->used--;
}

static void
clear_dead_of(const NameKey *key)
{
	KeyEntry   *entry = hash_search(keys, key, HASH_FIND, NULL);
	int			index = entry != NULL ? entry->first : NONE;

	while (index != NONE)
	{
		int			next = shared->names[index].next;

		if (!is_live(&shared->names[index]))
			clear(index);
		index = next;
	}
}

static void
clear_all_dead(void)
{
	for (int i = 0; i < shared->touched; i++)
		if (shared->names[i].key.registry != 0 && !is_live(&shared->names[i]))
			clear(i);
}

/* A free place, NONE if there is none. */
static int
take_place(void)
{
	int			index;

	if (shared->free == NONE && shared->touched == es_max_registered)
		clear_all_dead();
	index = shared->free;
	if (index != NONE)
		shared->free = shared->names[index].next;
	else if (shared->touched < es_max_registered)
	{
		index = shared->touched++;
		pg_atomic_init_u64(&shared->names[index].state, 0);
	}
	return index;
}

static EsClaim
claim_locked(const NameKey *key, const EsOwner *owner, bool unique, int key_length, const EsSharedValue *content,
			 TimestampTz since, Taken *result, int *holder)
{
	KeyEntry   *entry;
	SharedName *name;
	bool		found;

	clear_dead_of(key);
	entry = hash_search(keys, key, HASH_FIND, NULL);
	if (entry != NULL && unique)
	{
		*holder = es_owner_pid(&shared->names[entry->first].owner);
		return ES_CLAIM_TAKEN;
	}
	result->index = take_place();
	if (result->index == NONE)
		return ES_CLAIM_TABLE_FULL;
	/* there are as many keys as names, so there is room */
	entry = hash_search(keys, key, HASH_ENTER, &found);
	if (!found)
		entry->first = NONE;
	name = &shared->names[result->index];
	name->key = *key;
	name->owner = *owner;
	name->key_length = key_length;
	name->content = *content;
	name->since = since;
	name->next = entry->first;
	entry->first = result->index;
	shared->used++;
	result->generation = pg_atomic_read_u64(&name->state);
	return ES_CLAIMED;
}

/* Make room for one more element of an array in TopMemoryContext. */
static void *
grow(void *array, int count, int *room, Size size)
{
	if (count < *room)
		return array;
	*room = Max(2 * *room, 16);
	return array == NULL ? MemoryContextAlloc(TopMemoryContext, *room * size) : repalloc(array, *room * size);
}

static EsClaim
claim(const EsNamespace *space, const char *key, const EsSharedValue *content, bool unique, bool transaction,
	  Taken *result, int *holder)
{
	NameKey		name_key = make_key(space, key);
	EsOwner		owner = es_owner_me(transaction);
	TimestampTz since = GetCurrentTimestamp();
	EsClaim		claimed;

	LWLockAcquire(es_lwlock(ES_LWLOCK_NAMES), LW_EXCLUSIVE);
	claimed = claim_locked(&name_key, &owner, unique, key ? strlen(key) : 0, content, since, result, holder);
	LWLockRelease(es_lwlock(ES_LWLOCK_NAMES));
	return claimed;
}

/*
 * Take a name for this session, or for its transaction; *holder is the process
 * that has it if it is taken.  The key has at most ES_NAME_KEY_MAX bytes.
 * Listeners get the farewell when a session gives its name up.
 */
EsClaim
es_name_claim(const EsNamespace *space, const char *key, const Jsonb *value,
			  bool unique, bool transaction, const Jsonb *farewell, int *holder)
{
	int			key_length = strlen(key);
	char	   *buffer = palloc(key_length + VARSIZE(value));
	Jsonb	   *message = NULL;
	Taken		result = {.level = GetCurrentTransactionNestLevel()};
	EsSharedValue	content;
	EsClaim		claimed;

	/* all that may fail comes before the name is taken */
	if (transaction)
		taken = grow(taken, ntaken, &taken_room, sizeof(Taken));
	else
	{
		held = grow(held, nheld, &held_room, sizeof(Held));
		message = MemoryContextAlloc(TopMemoryContext, VARSIZE(farewell));
		memcpy(message, farewell, VARSIZE(farewell));
	}
	memcpy(buffer, key, key_length);
	memcpy(buffer + key_length, value, VARSIZE(value));
	if (es_shared_put(&content, buffer, key_length + VARSIZE(value)))
		claimed = claim(space, key, &content, unique, transaction, &result, holder);
	else
		claimed = ES_CLAIM_POOL_FULL;

	if (claimed == ES_CLAIMED && transaction)
		taken[ntaken++] = result;
	else if (claimed == ES_CLAIMED)
		held[nheld++] = (Held) {result.index, result.generation, *space, message};
	else
	{
		es_shared_free(&content);
		if (message != NULL)
			pfree(message);
	}
	return claimed;
}

/* This session listens to a registry until it ends; if it does, nothing changes. */
EsClaim
es_name_listen(const EsNamespace *space)
{
	EsSharedValue	nothing = ES_SHARED_EMPTY;
	Taken		result;
	int			holder;
	int			count;

	(void) es_names_find(space, &(EsNameFilter) {.key = "", .mine = true}, &count);
	return count > 0 ? ES_CLAIMED : claim(space, NULL, &nothing, false, false, &result, &holder);
}

/* --- looking --- */

/* What a round of looking has found, in memory that was there before. */
typedef struct Found
{
	int			count;
	int			room;
	EsName	   *names;
	Size		bytes;			/* of keys and values; of all there are, also what found no room */
	Size		bytes_room;
	char	   *arena;
} Found;

static void
look_at(int index, const EsNameFilter *filter, Found *found)
{
	SharedName *shared_name = &shared->names[index];
	int			key_length = shared_name->key_length;
	int			value_length = shared_name->content.length - key_length;
	EsName		name = {.index = index, .generation = pg_atomic_read_u64(&shared_name->state)};

	if (!is_live(shared_name) || (filter->mine && !es_owner_is_me(&shared_name->owner)))
		return;
	name.owner = shared_name->owner;
	name.pid = es_owner_pid(&name.owner);
	name.since = shared_name->since;
	name.key_length = key_length;
	if (filter->pid != 0 && name.pid != filter->pid)
		return;
	if (found->count < found->room && found->bytes + MAXALIGN(key_length + 1 + value_length) + MAXIMUM_ALIGNOF <= found->bytes_room)
	{
		char	   *at = found->arena + found->bytes;

		/* both as they lie in the pool; find() takes them apart */
		es_shared_get(&shared_name->content, at);
		name.key = at;
		found->names[found->count] = name;
	}
	found->count++;
	found->bytes += MAXALIGN(key_length + 1 + value_length) + MAXIMUM_ALIGNOF;
}

/* One round; the caller holds the lock shared. */
static void
look(const NameKey *key, const EsNameFilter *filter, Found *found)
{
	if (filter->key != NULL)
	{
		KeyEntry   *entry = hash_search(keys, key, HASH_FIND, NULL);

		for (int i = entry != NULL ? entry->first : NONE; i != NONE; i = shared->names[i].next)
			look_at(i, filter, found);
		return;
	}
	for (int i = 0; i < shared->touched; i++)
	{
		SharedName *name = &shared->names[i];

		if (name->key.registry == key->registry && name->key.dbid == key->dbid && name->key.nspid == key->nspid &&
			name->key.hash[1] != 0)
			look_at(i, filter, found);
	}
}

/*
 * The names of a space that fit the filter, as of one moment, palloc'd.  The
 * key "" stands for listeners, which have neither key nor value.
 */
EsName *
es_names_find(const EsNamespace *space, const EsNameFilter *filter, int *count)
{
	NameKey		key = make_key(space, filter->key != NULL && filter->key[0] != '\0' ? filter->key : NULL);
	Found		found = {.room = 4, .bytes_room = 1024};

	for (;;)
	{
		/* nothing allocates under the lock, so what is needed is guessed before */
		found.names = palloc_extended(found.room * sizeof(EsName), MCXT_ALLOC_HUGE);
		found.arena = palloc_extended(found.bytes_room, MCXT_ALLOC_HUGE);
		found.count = 0;
		found.bytes = 0;
		LWLockAcquire(es_lwlock(ES_LWLOCK_NAMES), LW_SHARED);
		look(&key, filter, &found);
		LWLockRelease(es_lwlock(ES_LWLOCK_NAMES));
		if (found.count <= found.room && found.bytes <= found.bytes_room)
			break;
		pfree(found.names);
		pfree(found.arena);
		found.room = found.count + 16;
		found.bytes_room = found.bytes + 4096;
	}
	for (int i = 0; i < found.count; i++)
	{
		EsName	   *name = &found.names[i];
		char	   *content = name->key;
		int			length = name->key_length;

		CHECK_FOR_INTERRUPTS();
		name->key = pnstrdup(content, length);
		/* copied again to where a jsonb may lie */
		name->value = NULL;
		if (filter->key == NULL || filter->key[0] != '\0')
		{
			uint32		header;

			memcpy(&header, content + length, sizeof(header));
			name->value = palloc(VARSIZE(&header));
			memcpy(name->value, content + length, VARSIZE(&header));
		}
	}
	*count = found.count;
	return found.names;
}

/* --- changing what was found --- */

/* Give a name up; false if it is this session's no more. */
bool
es_name_release(const EsName *name)
{
	SharedName *shared_name = &shared->names[name->index];
	bool		mine;

	LWLockAcquire(es_lwlock(ES_LWLOCK_NAMES), LW_EXCLUSIVE);
	mine = pg_atomic_read_u64(&shared_name->state) == name->generation && es_owner_is_me(&shared_name->owner);
	if (mine)
		clear(name->index);
	LWLockRelease(es_lwlock(ES_LWLOCK_NAMES));
	for (int i = 0; mine && i < nheld; i++)
		if (held[i].index == name->index && held[i].generation == name->generation)
		{
			Held		gone = held[i];

			held[i] = held[--nheld];
			es_names_tell(&gone.space, gone.farewell);
			pfree(gone.farewell);
			break;
		}
	return mine;
}

/* Put another value beside a name; false if it is this session's no more, or the pool is full. */
bool
es_name_set_value(const EsName *name, const Jsonb *value, bool *pool_full)
{
	SharedName *shared_name = &shared->names[name->index];
	char	   *buffer = palloc(name->key_length + VARSIZE(value));
	EsSharedValue	content;
	bool		mine;

	memcpy(buffer, name->key, name->key_length);
	memcpy(buffer + name->key_length, value, VARSIZE(value));
	*pool_full = !es_shared_put(&content, buffer, name->key_length + VARSIZE(value));
	if (*pool_full)
		return false;
	LWLockAcquire(es_lwlock(ES_LWLOCK_NAMES), LW_EXCLUSIVE);
	mine = pg_atomic_read_u64(&shared_name->state) == name->generation && es_owner_is_me(&shared_name->owner);
	if (mine)
	{
		EsSharedValue	old = shared_name->content;

		shared_name->content = content;
		content = old;
	}
	LWLockRelease(es_lwlock(ES_LWLOCK_NAMES));
	es_shared_free(&content);
	return mine;
}

int
es_names_in_use(void)
{
	int			used;

	LWLockAcquire(es_lwlock(ES_LWLOCK_NAMES), LW_SHARED);
	used = shared->used;
	LWLockRelease(es_lwlock(ES_LWLOCK_NAMES));
	return used;
}

/* Send a message to those who listen; whose mailbox is full misses it. */
void
es_names_tell(const EsNamespace *space, const Jsonb *message)
{
	int			count;
	EsName	   *listeners = es_names_find(space, &(EsNameFilter) {.key = ""}, &count);

	for (int i = 0; i < count; i++)
		if (!es_owner_is_me(&listeners[i].owner))
			(void) es_mailbox_send(&listeners[i].owner, message);
}

/* --- the ends of things --- */

/* The names of this session, which nobody sees any more, when it exits. */
static void
session_ended(void)
{
	LWLockAcquire(es_lwlock(ES_LWLOCK_NAMES), LW_EXCLUSIVE);
	for (int i = 0; i < shared->touched; i++)
		if (shared->names[i].key.registry != 0 && es_owner_is_me(&shared->names[i].owner))
			clear(i);
	LWLockRelease(es_lwlock(ES_LWLOCK_NAMES));
	for (int i = 0; i < nheld; i++)
		es_names_tell(&held[i].space, held[i].farewell);
}

static void
subtransaction_ended(bool committed, int level)
{
	int			kept = 0;

	for (int i = 0; i < ntaken; i++)
	{
		Taken	   *t = &taken[i];
		uint64		expected = t->generation;

		if (t->level >= level && !committed)
		{
			(void) pg_atomic_compare_exchange_u64(&shared->names[t->index].state, &expected, expected | GIVEN_UP);
			continue;
		}
		if (t->level >= level)
			t->level = level - 1;
		taken[kept++] = *t;
	}
	ntaken = kept;
}

static void
transaction_ended(bool committed)
{
	ntaken = 0;
}

static void
transaction_prepared(void)
{
	ntaken = 0;
}

void
EsNamesInit(void)
{
	static const EsShmemPart part = {names_size, names_attach};
	static const EsXactHook hook = {.end = transaction_ended, .prepared = transaction_prepared, .sub_end = subtransaction_ended};

	es_shmem_register(&part);
	es_xact_register(&hook);
	EsMailboxInit(session_ended);
}
