/*
 * identity.h
 *		Whom a background worker works for.
 */
#ifndef ES_IDENTITY_H
#define ES_IDENTITY_H

/* The identity of the worker, while it has another one. */
typedef struct EsIdentity
{
	Oid			user;
	int			security;
	int			level;			/* of settings */
} EsIdentity;

extern void es_identity_begin_session(void);
extern void es_identity_take(EsIdentity *self, Oid role, Oid nspid);
extern void es_identity_give_back(const EsIdentity *self);
extern void es_identity_forget_session(void);

#endif							/* ES_IDENTITY_H */
