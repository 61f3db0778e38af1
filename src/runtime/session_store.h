/*
 * session_store.h
 *		Sessions of applications that outlive the server: rows of a table.
 */
#ifndef ES_SESSION_STORE_H
#define ES_SESSION_STORE_H

#include "runtime/session_table.h"

extern void es_durable_session_lock(Oid nspid, const char *id);
extern bool es_durable_session_add(const EsSession *session);
extern EsSession *es_durable_session_find(Oid nspid, const char *id);
extern void es_durable_session_update(const EsSession *session);
extern bool es_durable_session_remove(const EsSession *session);
extern EsSession **es_durable_sessions_find(bool expired, int most, int *count);

#endif							/* ES_SESSION_STORE_H */
