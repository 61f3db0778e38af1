/*
 * session_table.h
 *		Sessions of applications, in shared memory.
 */
#ifndef ES_SESSION_TABLE_H
#define ES_SESSION_TABLE_H

#include "datatype/timestamp.h"
#include "utils/jsonb.h"

#define ES_SESSION_ID_MAX	255		/* bytes */

/* A session, wherever it is kept. */
typedef struct EsSession
{
	Oid			nspid;			/* schema of the tenant, InvalidOid: none */
	const char *id;
	Oid			owner;			/* the role that started it */
	TimestampTz started_at;
	TimestampTz expires_at;		/* DT_NOEND: never, but for idleness */
	int64		idle_timeout;	/* ms, 0: none */
	TimestampTz used_at;
	const char *on_expire;		/* signature of a function, "" for none */
	Jsonb	   *data;
	bool		durable;		/* kept in a table, and not here */

	/* of one in shared memory: its place, and what tells whether it has changed since */
	int			place;
	uint64		version;
} EsSession;

typedef enum EsStarted
{
	ES_STARTED,
	ES_START_TAKEN,
	ES_START_TABLE_FULL,
	ES_START_POOL_FULL
} EsStarted;

extern TimestampTz es_session_ends(const EsSession *session);

extern EsStarted es_session_add(const EsSession *session);
extern EsSession *es_session_find(Oid nspid, const char *id, bool use);
extern bool es_session_replace(const EsSession *session, const Jsonb *data, bool *pool_full);
extern bool es_session_remove(const EsSession *session);
extern EsSession *es_session_take_expired(int *from);
extern TimestampTz es_sessions_next_end(void);
extern EsSession **es_sessions_copy(int *count);
extern int	es_sessions_in_use(void);

extern void EsSessionTableInit(void);

#endif							/* ES_SESSION_TABLE_H */
