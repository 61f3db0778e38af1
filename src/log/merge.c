/*
 * merge.c
 *		The rows that a reader in order wants, from one index or several.
 *
 * Without an index that knows what is asked for, that is all rows between two
 * positions, and the reader picks.  With one, it is the rows of a correlation,
 * or of each type a scan of its own, merged by their positions.
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"

#include "log/merge.h"

/* Scans that may be open at once; for more types all rows are read. */
#define MAX_SOURCES		100

static void
advance(EsSource *source)
{
	if (!es_scan_next(&source->scan, &source->values, &source->nulls))
		source->values = NULL;
}

/* Begin with a scan for each type, if they are few; a type that is given twice counts once. */
static bool
begin_by_type(EsMerge *merge, EsStore *store, Relation log, const EsNames *types,
			  int64 low, int64 high, Snapshot snapshot)
{
	if (types->count > MAX_SOURCES)
		return false;
	merge->sources = palloc(sizeof(EsSource) * Max(types->count, 1));
	for (int i = 0; i < types->count; i++)
	{
		EsNames		before = {.count = i, .data = types->data};

		if (es_name_matches(&before, VARDATA_ANY(types->data[i]), VARSIZE_ANY_EXHDR(types->data[i])))
			continue;
		es_scan_key(&merge->sources[merge->count++].scan, log, store->log_by_type, F_TEXTEQ, C_COLLATION_OID,
					types->data[i], low, high, merge->backward, snapshot);
	}
	return true;
}

/*
 * Begin to read the rows with low <= position <= high among which are those
 * that the query asks for; its count, and its filters as far as no index knows
 * them, are the caller's affair.  Locks, snapshot and SPI as for es_scan_log.
 */
void
es_merge_begin(EsMerge *merge, EsStore *store, Relation log, const EsReadQuery *query,
			   int64 low, int64 high, Snapshot snapshot)
{
	bool		direct = !es_store_use_sql(store, log);

	merge->backward = query->backward;
	merge->sources = &merge->single;
	merge->count = 0;
	merge->given = NULL;
	if (direct && query->by_type && query->types.data != NULL && OidIsValid(store->log_by_type) &&
		begin_by_type(merge, store, log, &query->types, low, high, snapshot))
		 /* done */ ;
	else if (direct && query->correlation != NULL && OidIsValid(store->log_by_correlation))
	{
		es_scan_key(&merge->single.scan, log, store->log_by_correlation, F_UUID_EQ, InvalidOid,
					UUIDPGetDatum(query->correlation), low, high, query->backward, snapshot);
		merge->count = 1;
	}
	else
	{
		es_scan_log(&merge->single.scan, store, log, low, high, query->backward, snapshot);
		merge->count = 1;
	}
}

/* The next row, of those that the scans come to the one that is first. */
bool
es_merge_least(EsMerge *merge, Datum **values, bool **nulls)
{
	EsSource   *best = NULL;

	if (merge->given != NULL)
		advance(merge->given);
	else
		for (int i = 0; i < merge->count; i++)
			advance(&merge->sources[i]);
	for (int i = 0; i < merge->count; i++)
	{
		EsSource   *source = &merge->sources[i];

		if (source->values == NULL)
			continue;
		if (best == NULL ||
			(DatumGetInt64(source->values[LOG_POSITION]) < DatumGetInt64(best->values[LOG_POSITION])) != merge->backward)
			best = source;
	}
	if (best == NULL)
		return false;
	merge->given = best;
	*values = best->values;
	*nulls = best->nulls;
	return true;
}

void
es_merge_end(EsMerge *merge)
{
	for (int i = 0; i < merge->count; i++)
		es_scan_end(&merge->sources[i].scan);
}
