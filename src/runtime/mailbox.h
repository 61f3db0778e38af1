/*
 * mailbox.h
 *		Sessions of the server as owners of names, and their mailboxes.
 */
#ifndef ES_MAILBOX_H
#define ES_MAILBOX_H

#include "utils/jsonb.h"

/* A session, or with xact a transaction of it. */
typedef struct EsOwner
{
	int			proc;			/* process number */
	uint64		session;		/* never the same for two sessions */
	uint64		xact;			/* 0: the session */
} EsOwner;

typedef enum EsSent
{
	ES_SENT,
	ES_SENT_MAILBOX_FULL,
	ES_SENT_POOL_FULL,
	ES_SENT_GONE
} EsSent;

extern EsOwner es_owner_me(bool transaction);
extern bool es_owner_is_me(const EsOwner *owner);
extern bool es_owner_is_live(const EsOwner *owner);
extern int	es_owner_pid(const EsOwner *owner);

extern EsSent es_mailbox_send(const EsOwner *to, const Jsonb *payload);
extern Jsonb *es_mailbox_receive(int64 timeout);

extern void EsMailboxInit(void (*at_exit) (void));

#endif							/* ES_MAILBOX_H */
