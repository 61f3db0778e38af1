/*
 * identity.c
 *		Whom a background worker works for.
 *
 * A worker is the superuser that made the server, and works for others.  What
 * it runs may be code of anybody whom that role trusts, so it must find no way
 * back: in the security-restricted operation it cannot change roles, and
 * nothing that it leaves behind runs later as somebody else.  A role that can
 * become the superuser anyway is spared the restrictions.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "commands/prepare.h"
#include "commands/sequence.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/acl.h"
#include "utils/guc.h"

#include "runtime/identity.h"
#include "runtime/transact.h"
#include "store/tenant.h"

static void
set(const char *name, const char *value)
{
	SetConfigOption(name, value, PGC_SUSET, PGC_S_OVERRIDE);
}

/* Undo what the database sets for its sessions; work that wants another one sets it. */
void
es_identity_begin_session(void)
{
	set("default_transaction_isolation", "read committed");
	set("default_transaction_read_only", "off");
	set("statement_timeout", "0");
	set("idle_in_transaction_session_timeout", "0");
}

/*
 * Become the role, in a transaction, with the search_path and the tenant of
 * the store in a schema, or of none (InvalidOid).  An error gives the identity
 * back with the transaction.
 */
void
es_identity_take(EsIdentity *self, Oid role, Oid nspid)
{
	GetUserIdAndSecContext(&self->user, &self->security);
	self->level = NewGUCNestLevel();
	es_tenant_enter(nspid);
	if (is_member_of_role(role, self->user))
		SetUserIdAndSecContext(role, self->security);
	else
		SetUserIdAndSecContext(role, self->security | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
}

/* Be the worker again, with its settings, in the same transaction. */
void
es_identity_give_back(const EsIdentity *self)
{
	AtEOXact_GUC(false, self->level);
	SetUserIdAndSecContext(self->user, self->security);
}

static void
drop_temporary(void *argument)
{
	ResetTempTableNamespace();
}

/* Take away what may be left in the session, outside of a transaction. */
void
es_identity_forget_session(void)
{
	Oid			temporary;
	Oid			toast;

	GetTempNamespaceState(&temporary, &toast);
	if (OidIsValid(temporary))
		(void) es_transact(drop_temporary, NULL);
	LockReleaseSession(USER_LOCKMETHOD);
	DropAllPreparedStatements();
	ResetSequenceCaches();
}
