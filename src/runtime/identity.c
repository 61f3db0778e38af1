/*
 * identity.c
 *		Running code of users in a background process.
 *
 * A background process is a superuser, and what it runs for a role may be code
 * of anybody whom that role trusts, so it must find no way back: in the
 * security-restricted operation it cannot change roles, and nothing that it
 * leaves behind runs later as somebody else.  A role that can become the
 * superuser anyway is spared the restrictions.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/guc.h"

#include "runtime/identity.h"
#include "store/tenant.h"

/*
 * Be another role, with the tenant and the search_path of the store in a
 * schema, or of none (InvalidOid).  After an error the transaction's abort
 * brings everything back.
 */
void
es_identity_take(EsIdentity *own, Oid role, Oid nspid)
{
	GetUserIdAndSecContext(&own->user, &own->security);
	own->level = NewGUCNestLevel();
	es_tenant_enter(nspid);
	if (is_member_of_role(role, own->user))
		SetUserIdAndSecContext(role, own->security);
	else
		SetUserIdAndSecContext(role, own->security | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
}

/* Be oneself again, with the settings there were. */
void
es_identity_give_back(const EsIdentity *own)
{
	AtEOXact_GUC(false, own->level);
	SetUserIdAndSecContext(own->user, own->security);
}
