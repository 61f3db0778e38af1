/*
 * tenant_name.c
 *		What a tenant may be called.
 *
 * The name of a tenant becomes the name of its schema, so it is measured in
 * bytes and never cut.  Into SQL it comes through quote_identifier only.
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "regex/regex.h"
#include "utils/builtins.h"
#include "utils/formatting.h"

#include "base/errors.h"
#include "base/extension.h"
#include "base/settings.h"
#include "store/tenant.h"

/* The name as it is compared with those of other tenants: in lower case; palloc'd. */
char *
es_tenant_fold(const char *name)
{
	return str_tolower(name, strlen(name), DEFAULT_COLLATION_OID);
}

/* Is it a name that no tenant can have, and no schema of one? */
bool
es_tenant_is_reserved(const char *name)
{
	static const char *const reserved[] = {"public", "information_schema", ES_SCHEMA};
	char	   *folded = es_tenant_fold(name);

	if (strncmp(folded, "pg_", 3) == 0)
		return true;
	for (int i = 0; i < lengthof(reserved); i++)
		if (strcmp(folded, reserved[i]) == 0)
			return true;
	return false;
}

static void
refuse(const char *name, const char *why)
{
	ereport(ERROR,
			(es_problem(ERRCODE_ES_INVALID_TENANT_NAME, ES_MEMBERS(ES_TEXT("tenant", name)),
						"no tenant can be called \"%s\": %s", name, why),
			 errhint("A name has 1 to %d bytes and matches event_store.tenant_name_pattern, which is %s.",
					 NAMEDATALEN - 1, es_tenant_name_pattern)));
}

/* Refuse a name that no tenant can have. */
void
es_tenant_check_name(const char *name)
{
	if (name[0] == '\0')
		refuse(name, "it is empty");
	if (strlen(name) >= NAMEDATALEN)
		refuse(name, psprintf("it has %zu bytes", strlen(name)));
	if (es_tenant_is_reserved(name))
		refuse(name, "the name is reserved");
	if (!RE_compile_and_execute(cstring_to_text(es_tenant_name_pattern), unconstify(char *, name), strlen(name),
								REG_ADVANCED | REG_NOSUB, C_COLLATION_OID, 0, NULL))
		refuse(name, "it has not the form of a name");
}

/* The name in an argument, not null, palloc'd; what is the argument's own name. */
char *
es_tenant_name_argument(FunctionCallInfo fcinfo, int argument, const char *what)
{
	if (PG_ARGISNULL(argument))
		ereport(ERROR,
				(es_problem(ERRCODE_ES_INVALID_TENANT_NAME, ES_MEMBERS(ES_TEXT("argument", what)),
							"%s must not be null", what),
				 errhint("Pass the name of a tenant.")));
	return text_to_cstring(PG_GETARG_TEXT_PP(argument));
}
