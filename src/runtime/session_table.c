/*
 * session_table.c
 *		Sessions of applications, in shared memory.
 *
 * A fixed table of event_store.session_max sessions, found by database, tenant
 * and id, of which 128 bits of hash are kept; id, function and data lie in the
 * pool.  A session whose time is over is not found any more from then on; its
 * place is freed when somebody needs it or sweeps, and one with a function that
 * is to run then stays, out of reach, until a sweep has taken it.
 *
 * Locking: ES_LWLOCK_SESSIONS is over all of it; when a session was last used
 * is an atomic that readers set.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/hsearch.h"
#include "utils/timestamp.h"

#include "base/shared.h"
#include "base/settings.h"
#include "base/shmem.h"
#include "runtime/session_table.h"

#define NONE		(-1)
#define USUAL_CONTENT	2048	/* bytes; what is longer is copied at the second try */

typedef struct SessionKey
{
	Oid			dbid;
	Oid			nspid;
	uint64		hash[2];		/* of the id */
} SessionKey;

typedef struct KeyEntry
{
	SessionKey	key;
	int			index;
} KeyEntry;

typedef struct SharedSession
{
	SessionKey	key;
	bool		used;
	bool		orphaned;		/* its time is over and its id another's: only a sweep finds it */
	uint64		version;		/* changes with each change, and never comes again */
	int			next;			/* free */
	Oid			owner;
	TimestampTz started_at;
	TimestampTz expires_at;
	int64		idle_timeout;
	pg_atomic_uint64 used_at;
	int			id_length;		/* of the parts of content, each with its NUL */
	int			function_length;
	EsSharedValue	content;		/* id, function, data */
} SharedSession;

typedef struct SessionsShared
{
	int			free;
	int			touched;		/* sessions from here on were never used */
	int			used;
	uint64		versions;
	SharedSession sessions[FLEXIBLE_ARRAY_MEMBER];
} SessionsShared;

static SessionsShared *shared = NULL;
static HTAB *keys = NULL;

static Size
area_size(void)
{
	return add_size(offsetof(SessionsShared, sessions), mul_size(es_session_max, sizeof(SharedSession)));
}

static Size
sessions_size(void)
{
	return add_size(area_size(), hash_estimate_size(es_session_max, sizeof(KeyEntry)));
}

static void
sessions_attach(void)
{
	HASHCTL		ctl = {.keysize = sizeof(SessionKey), .entrysize = sizeof(KeyEntry)};
	bool		found;

	shared = ShmemInitStruct("event_store sessions", area_size(), &found);
	if (!found)
	{
		shared->free = NONE;
		shared->touched = shared->used = 0;
		shared->versions = 0;
	}
	keys = ShmemInitHash("event_store session ids", es_session_max, es_session_max, &ctl, HASH_ELEM | HASH_BLOBS);
}

static SessionKey
make_key(Oid nspid, const char *id)
{
	SessionKey	key;
	int			length = strlen(id);

	memset(&key, 0, sizeof(key));
	key.dbid = MyDatabaseId;
	key.nspid = nspid;
	key.hash[0] = hash_bytes_extended((const unsigned char *) id, length, 0);
	key.hash[1] = hash_bytes_extended((const unsigned char *) id, length, UINT64CONST(0x73657373696f6e73));
	return key;
}

/* When a session ends, if nobody uses it. */
TimestampTz
es_session_ends(const EsSession *session)
{
	if (session->idle_timeout == 0)
		return session->expires_at;
	return Min(session->expires_at, TimestampTzPlusMilliseconds(session->used_at, session->idle_timeout));
}

static TimestampTz
ends(SharedSession *s)
{
	EsSession	times = {.expires_at = s->expires_at, .idle_timeout = s->idle_timeout,
	.used_at = (TimestampTz) pg_atomic_read_u64(&s->used_at)};

	return es_session_ends(&times);
}

static bool
is_over(SharedSession *s, TimestampTz now)
{
	return ends(s) <= now;
}

static bool
has_function(const SharedSession *s)
{
	return s->function_length > 1;
}

/* --- under the lock, exclusively --- */

static void
release_id(int index)
{
	if (!shared->sessions[index].orphaned)
		(void) hash_search(keys, &shared->sessions[index].key, HASH_REMOVE, NULL);
	shared->sessions[index].orphaned = true;
}

static void
release(int index)
{
	SharedSession *s = &shared->sessions[index];

	release_id(index);
	es_shared_free(&s->content);
	s->used = false;
	s->version = ++shared->versions;
	s->next = shared->free;
	shared->free = index;
	shared->used--;
}

/* A free place, NONE if there is none: what is over and has no function makes room. */
static int
take_place(TimestampTz now)
{
	int			index;

	if (shared->free == NONE && shared->touched == es_session_max)
		for (int i = 0; i < shared->touched; i++)
			if (shared->sessions[i].used && is_over(&shared->sessions[i], now) && !has_function(&shared->sessions[i]))
				release(i);
	index = shared->free;
	if (index != NONE)
		shared->free = shared->sessions[index].next;
	else if (shared->touched < es_session_max)
	{
		index = shared->touched++;
		pg_atomic_init_u64(&shared->sessions[index].used_at, 0);
	}
	return index;
}

static EsStarted
add_locked(const SessionKey *key, const SharedSession *new, TimestampTz used_at)
{
	KeyEntry   *entry = hash_search(keys, key, HASH_FIND, NULL);
	SharedSession *s;
	pg_atomic_uint64 was;
	int			index;
	bool		found;

	if (entry != NULL && !is_over(&shared->sessions[entry->index], used_at))
		return ES_START_TAKEN;
	if (entry != NULL && has_function(&shared->sessions[entry->index]))
		release_id(entry->index);
	else if (entry != NULL)
		release(entry->index);
	index = take_place(used_at);
	if (index == NONE)
		return ES_START_TABLE_FULL;
	s = &shared->sessions[index];
	was = s->used_at;
	*s = *new;
	s->used_at = was;
	pg_atomic_write_u64(&s->used_at, used_at);
	s->key = *key;
	s->used = true;
	s->version = ++shared->versions;
	entry = hash_search(keys, key, HASH_ENTER, &found);
	entry->index = index;
	shared->used++;
	return ES_STARTED;
}

/* --- sessions --- */

static bool
put_content(EsSharedValue *content, const char *id, const char *function, const Jsonb *data)
{
	Size		id_length = strlen(id) + 1;
	Size		function_length = strlen(function) + 1;
	char	   *buffer = palloc(id_length + function_length + VARSIZE(data));
	bool		done;

	memcpy(buffer, id, id_length);
	memcpy(buffer + id_length, function, function_length);
	memcpy(buffer + id_length + function_length, data, VARSIZE(data));
	done = es_shared_put(content, buffer, id_length + function_length + VARSIZE(data));
	pfree(buffer);
	return done;
}

/* Add a session, used now for the first time. */
EsStarted
es_session_add(const EsSession *session)
{
	SessionKey	key = make_key(session->nspid, session->id);
	SharedSession new = {
		.owner = session->owner,
		.started_at = session->started_at,
		.expires_at = session->expires_at,
		.idle_timeout = session->idle_timeout,
		.id_length = strlen(session->id) + 1,
		.function_length = strlen(session->on_expire) + 1,
	};
	EsStarted	started;

	if (!put_content(&new.content, session->id, session->on_expire, session->data))
		return ES_START_POOL_FULL;
	LWLockAcquire(es_lwlock(ES_LWLOCK_SESSIONS), LW_EXCLUSIVE);
	started = add_locked(&key, &new, session->used_at);
	LWLockRelease(es_lwlock(ES_LWLOCK_SESSIONS));
	if (started != ES_STARTED)
		es_shared_free(&new.content);
	return started;
}

/* A copy, with its content in the buffer, of which *room is left; false if that is not enough. */
static bool
copy_locked(int index, EsSession *copy, char *buffer, Size room)
{
	SharedSession *s = &shared->sessions[index];

	if (s->content.length > room)
		return false;
	es_shared_get(&s->content, buffer);
	*copy = (EsSession) {
		.nspid = s->key.nspid,
		.id = buffer,
		.owner = s->owner,
		.started_at = s->started_at,
		.expires_at = s->expires_at,
		.idle_timeout = s->idle_timeout,
		.used_at = (TimestampTz) pg_atomic_read_u64(&s->used_at),
		.on_expire = buffer + s->id_length,
		.place = index,
		.version = s->version,
	};
	/* where it lies in the buffer; align() moves it to where a jsonb may lie */
	copy->data = (Jsonb *) (buffer + s->id_length + s->function_length);
	return true;
}

static void
align(EsSession *copy)
{
	uint32		header;
	Jsonb	   *data;

	memcpy(&header, copy->data, sizeof(header));
	data = palloc(VARSIZE(&header));
	memcpy(data, copy->data, VARSIZE(&header));
	copy->data = data;
}

/* The session with an id, palloc'd, NULL if there is none whose time is not over.  To use one keeps it from idleness. */
EsSession *
es_session_find(Oid nspid, const char *id, bool use)
{
	SessionKey	key = make_key(nspid, id);
	TimestampTz now = GetCurrentTimestamp();
	Size		room = USUAL_CONTENT;

	for (;;)
	{
		EsSession  *copy = palloc(sizeof(EsSession));
		char	   *buffer = palloc(room);
		KeyEntry   *entry;
		bool		found = false;
		bool		fits = true;

		LWLockAcquire(es_lwlock(ES_LWLOCK_SESSIONS), LW_SHARED);
		entry = hash_search(keys, &key, HASH_FIND, NULL);
		if (entry != NULL && !is_over(&shared->sessions[entry->index], now))
		{
			found = true;
			if (use)
				pg_atomic_write_u64(&shared->sessions[entry->index].used_at, now);
			fits = copy_locked(entry->index, copy, buffer, room);
			room = Max(room, shared->sessions[entry->index].content.length);
		}
		LWLockRelease(es_lwlock(ES_LWLOCK_SESSIONS));
		if (!found)
			return NULL;
		if (fits)
		{
			align(copy);
			return copy;
		}
		pfree(buffer);
	}
}

/* Is it what was found? */
static bool
is_same(const EsSession *session)
{
	SharedSession *s = &shared->sessions[session->place];

	return s->used && s->version == session->version && !s->orphaned;
}

/* Put other data into a session that was found; false if somebody has changed it since, or the pool is full. */
bool
es_session_replace(const EsSession *session, const Jsonb *data, bool *pool_full)
{
	EsSharedValue	content;
	bool		same;

	*pool_full = !put_content(&content, session->id, session->on_expire, data);
	if (*pool_full)
		return false;
	LWLockAcquire(es_lwlock(ES_LWLOCK_SESSIONS), LW_EXCLUSIVE);
	same = is_same(session);
	if (same)
	{
		EsSharedValue	old = shared->sessions[session->place].content;

		shared->sessions[session->place].content = content;
		shared->sessions[session->place].version = ++shared->versions;
		content = old;
	}
	LWLockRelease(es_lwlock(ES_LWLOCK_SESSIONS));
	es_shared_free(&content);
	return same;
}

/* End a session that was found; false if somebody has changed it since. */
bool
es_session_remove(const EsSession *session)
{
	bool		same;

	LWLockAcquire(es_lwlock(ES_LWLOCK_SESSIONS), LW_EXCLUSIVE);
	same = is_same(session);
	if (same)
		release(session->place);
	LWLockRelease(es_lwlock(ES_LWLOCK_SESSIONS));
	return same;
}

/*
 * Take a session of this database out whose time is over and that has a
 * function to run, palloc'd; NULL if there is none from the place *from on,
 * which moves on.  Those without a function are freed on the way.
 */
EsSession *
es_session_take_expired(int *from)
{
	TimestampTz now = GetCurrentTimestamp();
	EsSession  *copy = palloc(sizeof(EsSession));
	Size		room = USUAL_CONTENT;

	for (;;)
	{
		char	   *buffer = palloc(room);
		bool		taken = false;
		bool		fits = true;

		LWLockAcquire(es_lwlock(ES_LWLOCK_SESSIONS), LW_EXCLUSIVE);
		for (; *from < shared->touched && !taken; (*from)++)
		{
			SharedSession *s = &shared->sessions[*from];

			if (!s->used || s->key.dbid != MyDatabaseId || !is_over(s, now))
				continue;
			if (has_function(s))
			{
				fits = copy_locked(*from, copy, buffer, room);
				if (!fits)
				{
					room = s->content.length;
					break;
				}
				taken = true;
			}
			release(*from);
		}
		LWLockRelease(es_lwlock(ES_LWLOCK_SESSIONS));
		if (taken)
		{
			align(copy);
			return copy;
		}
		if (fits)
			return NULL;
		pfree(buffer);
	}
}

/* When the first session of this database with a function to run ends, DT_NOEND if there is none. */
TimestampTz
es_sessions_next_end(void)
{
	TimestampTz next = DT_NOEND;

	LWLockAcquire(es_lwlock(ES_LWLOCK_SESSIONS), LW_SHARED);
	for (int i = 0; i < shared->touched; i++)
	{
		SharedSession *s = &shared->sessions[i];

		if (s->used && s->key.dbid == MyDatabaseId && has_function(s))
			next = Min(next, ends(s));
	}
	LWLockRelease(es_lwlock(ES_LWLOCK_SESSIONS));
	return next;
}

/* The sessions of this database whose time is not over, palloc'd. */
EsSession **
es_sessions_copy(int *count)
{
	TimestampTz now = GetCurrentTimestamp();
	Size		room = 16 * 1024;

	for (;;)
	{
		int			places = es_sessions_in_use() + 16;
		EsSession **copies = palloc_extended(places * sizeof(EsSession *), MCXT_ALLOC_HUGE);
		EsSession  *structs = palloc_extended(places * sizeof(EsSession), MCXT_ALLOC_HUGE);
		char	   *buffer = palloc_extended(room, MCXT_ALLOC_HUGE);
		Size		used = 0;
		int			n = 0;
		bool		fits = true;

		LWLockAcquire(es_lwlock(ES_LWLOCK_SESSIONS), LW_SHARED);
		for (int i = 0; i < shared->touched; i++)
		{
			SharedSession *s = &shared->sessions[i];

			if (!s->used || s->orphaned || s->key.dbid != MyDatabaseId || is_over(s, now))
				continue;
			fits = fits && n < places && copy_locked(i, &structs[n], buffer + used, room - used);
			if (fits)
				copies[n] = &structs[n];
			used += s->content.length;
			n++;
		}
		LWLockRelease(es_lwlock(ES_LWLOCK_SESSIONS));
		if (fits)
		{
			for (int i = 0; i < n; i++)
				align(copies[i]);
			*count = n;
			return copies;
		}
		room = used + 16 * 1024;
		pfree(copies);
		pfree(structs);
		pfree(buffer);
		CHECK_FOR_INTERRUPTS();
	}
}

/* How many places are taken, of all databases. */
int
es_sessions_in_use(void)
{
	int			used;

	LWLockAcquire(es_lwlock(ES_LWLOCK_SESSIONS), LW_SHARED);
	used = shared->used;
	LWLockRelease(es_lwlock(ES_LWLOCK_SESSIONS));
	return used;
}

void
EsSessionTableInit(void)
{
	static const EsShmemPart part = {sessions_size, sessions_attach};

	es_shmem_register(&part);
}
