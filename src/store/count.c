/*
 * count.c
 *		What is counted for a store: a series with its database and schema.
 */
#include "postgres.h"

#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "store/count.h"

/* The database, as it was called when this session first counted. */
static const char *
database_name(void)
{
	static char *name = NULL;

	if (name == NULL)
	{
		char	   *found = get_database_name(MyDatabaseId);

		if (found == NULL)
			return "";
		name = MemoryContextStrdup(TopMemoryContext, found);
	}
	return name;
}

/*
 * The series of a store, or with NULL that of calls which did not get as far
 * as a store.
 */
EsSeries *
es_store_series(EsStore *store)
{
	static EsSeries *without_store = NULL;
	EsSeries  **series = store != NULL ? &store->series : &without_store;

	if (*series == NULL || !es_series_is_live(*series))
	{
		const char *labels[] = {database_name(), store != NULL ? NameStr(store->schema) : ""};

		*series = es_series_find(ES_STORE_FAMILY, 0, lengthof(labels), labels);
	}
	return *series;
}

/* The store is dropped, if the transaction commits: so is what it has counted. */
void
es_store_drop_series(EsStore *store)
{
	EsSeries   *series = es_store_series(store);

	if (!es_series_is_overflow(series))
		es_pending_drop_series(series);
}
