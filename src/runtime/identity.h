/*
 * identity.h
 *		Running code of users in a background process.
 */
#ifndef ES_IDENTITY_H
#define ES_IDENTITY_H

typedef struct EsIdentity
{
	Oid			user;
	int			security;
	int			level;			/* of settings */
} EsIdentity;

extern void es_identity_take(EsIdentity *own, Oid role, Oid nspid);
extern void es_identity_give_back(const EsIdentity *own);

#endif							/* ES_IDENTITY_H */
