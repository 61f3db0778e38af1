/*
 * stream.h
 *		Streams: names, locks and rows.
 */
#ifndef ES_STREAM_H
#define ES_STREAM_H

#include "utils/jsonb.h"
#include "utils/rel.h"
#include "utils/snapshot.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "base/compat.h"
#include "store/store.h"

/* A row of event_streams. */
typedef struct EsStream
{
	int64		id;				/* 0: no such stream */
	bool		deleted;
	bool		own;			/* written by the current transaction */
	TimestampTz created_at;
	TimestampTz deleted_at;
	ItemPointerData tid;
	int64		truncate_before;	/* 0: none */
	int64		max_count;		/* 0: none */
	bool		has_max_age;
	Interval	max_age;
	Jsonb	   *metadata;		/* palloc'd, NULL: none */
} EsStream;

extern void es_stream_check_name(text *name);
extern void es_name_check(text *name, const char *what, int index);
extern uint64 es_stream_lock_key(text *name);
extern void es_stream_lock(EsStore *store, Relation log, uint64 key);
extern bool es_stream_lock_if_free(EsStore *store, Relation log, uint64 key);
extern bool es_stream_locks_fit(EsStore *store, const uint64 *keys, int count);
extern void es_tag_lock(EsStore *store, Relation log, uint64 key, LOCKMODE mode);
extern void es_tag_wait(EsStore *store, uint64 key, LOCKMODE mode);
extern bool es_tag_lock_held(EsStore *store, uint64 key, LOCKMODE mode);
extern bool es_lock_count_fits(int count);
extern void es_event_id_lock(EsStore *store, Relation log, const pg_uuid_t *id);
extern void es_stream_find(EsStore *store, text *name, Snapshot snapshot, EsStream *stream);
extern int64 es_stream_find_latest(EsStore *store, text *name, int64 *guess, bool *deleted);
extern void es_stream_remember_version(EsStore *store, text *name, int64 version);
extern void es_stream_create(EsStore *store, int64 id, text *name, TimestampTz now);
extern Relation es_stream_take(EsStore **store, text *name, EsStream *stream, int64 *version);
extern void es_stream_update(EsStore *store, text *name, const Datum *values, const bool *nulls, const bool *replaces);
extern void es_stream_check_open(const EsStream *stream, text *name);

pg_noreturn extern void es_stream_raise_deleted(text *name);
pg_noreturn extern void es_stream_serialization_failure(text *name);

extern text *es_stream_name(EsStore *store, int64 id, Snapshot snapshot);
extern int	es_stream_category_length(const char *name, int length);

extern void EsStreamInit(void);

#endif							/* ES_STREAM_H */
