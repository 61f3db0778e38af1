/*
 * metric.c
 *		The metrics of this database, and measurements into them.
 *
 * The definitions are rows of event_store.metric_definitions, cached here by
 * event until an invalidation of that table.  A definition takes effect when
 * its transaction has committed, for a series must not outlive a rollback; so
 * rows of the current transaction are passed over.  The commit sends the
 * invalidation to this session too.
 *
 * A measurement that cannot be recorded is counted as dropped, with the
 * reason, and raises no error.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"

#include "base/errors.h"
#include "base/extension.h"
#include "observe/metric.h"

/* The metrics fed by an event. */
typedef struct EventEntry
{
	char		event[ES_METRIC_NAME_MAX + 1];	/* hash key */
	List	   *metrics;
} EventEntry;

static const struct
{
	const char *name;
	EsMetricKind kind;
}			kinds[] = {
	{"counter", ES_METRIC_COUNTER},
	{"sum", ES_METRIC_SUM},
	{"last_value", ES_METRIC_LAST_VALUE},
	{"distribution", ES_METRIC_DISTRIBUTION},
	{"summary", ES_METRIC_SUMMARY},
};

static const struct
{
	const char *name;
	const char *base;
	double		factor;
}			units[] = {
	{"second", "second", 1},
	{"millisecond", "second", 1e-3},
	{"microsecond", "second", 1e-6},
	{"nanosecond", "second", 1e-9},
	{"byte", "byte", 1},
	{"kilobyte", "byte", 1e3},
	{"megabyte", "byte", 1e6},
	{"gigabyte", "byte", 1e9},
};

static HTAB *events = NULL;		/* in context */
static List *metrics = NIL;		/* all of them, likewise */
static MemoryContext context = NULL;
static bool loaded = false;
static uint64 invalidations = 0;
static Oid	definitions = InvalidOid;

bool
es_unit_find(const char *unit, const char **base, double *factor)
{
	for (int i = 0; i < lengthof(units); i++)
		if (strcmp(units[i].name, unit) == 0)
		{
			*base = units[i].base;
			*factor = units[i].factor;
			return true;
		}
	return false;
}

EsMetricKind
es_metric_kind(const char *name)
{
	for (int i = 0; i < lengthof(kinds); i++)
		if (strcmp(kinds[i].name, name) == 0)
			return kinds[i].kind;
	elog(ERROR, "metric type \"%s\" is unknown", name);
}

Relation
es_metric_open_definitions(LOCKMODE lockmode)
{
	return es_extension_open("metric_definitions", lockmode);
}

/* --- the cache --- */

static void
relcache_callback(Datum arg, Oid relid)
{
	if (OidIsValid(relid) && relid != definitions)
		return;
	invalidations++;
	loaded = false;
}

static char *
text_column(const Datum *values, const bool *nulls, int column)
{
	return nulls[column] ? NULL : TextDatumGetCString(values[column]);
}

static double
conversion(const char *measured_in, const char *unit)
{
	const char *base;
	double		from;
	double		to;

	if (measured_in == NULL || unit == NULL ||
		!es_unit_find(measured_in, &base, &from) || !es_unit_find(unit, &base, &to))
		return 1;
	return from / to;
}

/* Whoever has changed a row by hand may have made it too long for us. */
static void
copy_text(char *to, const char *from, int limit)
{
	strlcpy(to, from != NULL ? from : "", limit + 1);
}

/* A row of metric_definitions as a metric, in the current memory context. */
static EsMetric *
make_metric(const Datum *values, const bool *nulls)
{
	EsMetric   *metric = palloc0(sizeof(EsMetric));
	EsSharedFamily *definition = &metric->definition;
	Datum	   *elements;
	bool	   *element_nulls;
	int			n;

	definition->dbid = MyDatabaseId;
	definition->number = DatumGetInt64(values[DEFINITION_NUMBER]);
	definition->kind = es_metric_kind(text_column(values, nulls, DEFINITION_TYPE));
	definition->gauge = definition->kind == ES_METRIC_LAST_VALUE || DatumGetBool(values[DEFINITION_GAUGE]);
	definition->reset_at = GetCurrentTimestamp();
	copy_text(definition->name, text_column(values, nulls, DEFINITION_NAME), ES_METRIC_NAME_MAX);
	copy_text(definition->help, text_column(values, nulls, DEFINITION_DESCRIPTION), ES_METRIC_HELP_MAX);
	copy_text(definition->unit, text_column(values, nulls, DEFINITION_UNIT), ES_UNIT_MAX);
	copy_text(definition->database, get_database_name(MyDatabaseId), NAMEDATALEN - 1);

	deconstruct_array(DatumGetArrayTypeP(values[DEFINITION_TAGS]), TEXTOID, -1, false, TYPALIGN_INT,
					  &elements, &element_nulls, &n);
	definition->ntags = Min(n, ES_MAX_TAGS);
	for (int i = 0; i < definition->ntags; i++)
		copy_text(definition->tags[i], element_nulls[i] ? NULL : TextDatumGetCString(elements[i]), ES_TAG_NAME_MAX);
	if (!nulls[DEFINITION_BUCKETS])
	{
		deconstruct_array(DatumGetArrayTypeP(values[DEFINITION_BUCKETS]), FLOAT8OID, 8, FLOAT8PASSBYVAL,
						  TYPALIGN_DOUBLE, &elements, &element_nulls, &n);
		definition->nbounds = Min(n, ES_MAX_BOUNDS);
		for (int i = 0; i < definition->nbounds; i++)
			definition->bounds[i] = DatumGetFloat8(elements[i]);
	}

	metric->event = text_column(values, nulls, DEFINITION_EVENT);
	metric->measurement = text_column(values, nulls, DEFINITION_MEASUREMENT);
	metric->factor = conversion(text_column(values, nulls, DEFINITION_MEASURED_IN),
								text_column(values, nulls, DEFINITION_UNIT));
	if (!nulls[DEFINITION_KEEP])
		metric->keep = DatumGetJsonPathPCopy(values[DEFINITION_KEEP]);
	if (!nulls[DEFINITION_DROP])
		metric->drop = DatumGetJsonPathPCopy(values[DEFINITION_DROP]);
	metric->immediate = strcmp(text_column(values, nulls, DEFINITION_COMMIT_RULE), "immediate") == 0;
	metric->family = ES_NO_FAMILY;
	return metric;
}

static void
add_metric(EsMetric *metric)
{
	char		key[ES_METRIC_NAME_MAX + 1] = {0};
	EventEntry *entry;
	bool		found;

	copy_text(key, metric->event, ES_METRIC_NAME_MAX);
	entry = hash_search(events, key, HASH_ENTER, &found);
	if (!found)
		entry->metrics = NIL;
	entry->metrics = lappend(entry->metrics, metric);
	metrics = lappend(metrics, metric);
}

/* Load the definitions, if they are not; returns a number that changes with each time. */
uint64
es_metrics_load(void)
{
	static uint64 loads = 0;
	HASHCTL		ctl = {.keysize = ES_METRIC_NAME_MAX + 1, .entrysize = sizeof(EventEntry)};
	MemoryContext caller;
	Relation	rel;
	SysScanDesc scan;
	HeapTuple	tuple;
	uint64		before = invalidations;
	static bool registered = false;

	if (loaded)
		return loads;
	loads++;
	if (!registered)
	{
		CacheRegisterRelcacheCallback(relcache_callback, (Datum) 0);
		registered = true;
	}
	if (context != NULL)
		MemoryContextDelete(context);
	context = NULL;
	events = NULL;
	metrics = NIL;
	definitions = es_extension_relation("metric_definitions");
	if (!OidIsValid(definitions))
		return loads;

	context = AllocSetContextCreate(CacheMemoryContext, "event_store metrics", ALLOCSET_SMALL_SIZES);
	ctl.hcxt = context;
	events = hash_create("event_store metrics", 32, &ctl, HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	rel = table_open(definitions, AccessShareLock);
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Datum		values[DEFINITION_NCOLUMNS];
		bool		nulls[DEFINITION_NCOLUMNS];

		if (TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetXmin(tuple->t_data)))
			continue;
		heap_deform_tuple(tuple, RelationGetDescr(rel), values, nulls);
		caller = MemoryContextSwitchTo(context);
		add_metric(make_metric(values, nulls));
		MemoryContextSwitchTo(caller);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	loaded = before == invalidations;
	return loads;
}

/* The metrics that an event feeds; good until definitions change. */
List *
es_metrics_of(const char *event, int length)
{
	char		key[ES_METRIC_NAME_MAX + 1];
	EventEntry *entry;

	(void) es_metrics_load();
	if (events == NULL || length > ES_METRIC_NAME_MAX)
		return NIL;
	memcpy(key, event, length);
	key[length] = '\0';
	entry = hash_search(events, key, HASH_FIND, NULL);
	return entry != NULL ? entry->metrics : NIL;
}

/* --- measurements --- */

static void
dropped(int reason)
{
	es_count(ES_TELEMETRY_DROPPED + reason, 1);
}

/* Does the predicate hold of the metadata?  Errors and what is no boolean count as no. */
static bool
matches(JsonPath *predicate, Jsonb *metadata)
{
	LOCAL_FCINFO(call, 2);
	Datum		result;

	InitFunctionCallInfoData(*call, NULL, 2, InvalidOid, NULL, NULL);
	call->args[0] = (NullableDatum) {JsonbPGetDatum(metadata), false};
	call->args[1] = (NullableDatum) {PointerGetDatum(predicate), false};
	result = jsonb_path_match_opr(call);
	return !call->isnull && DatumGetBool(result);
}

static JsonbValue *
find_member(Jsonb *object, const char *name, JsonbValue *room)
{
	JsonbValue *value;

	if (!JB_ROOT_IS_OBJECT(object))
		return NULL;
	value = getKeyJsonValueFromContainer(&object->root, name, strlen(name), room);
	return value != NULL && value->type != jbvNull ? value : NULL;
}

/* The measured number in the metric's unit; false, having counted why, if there is none. */
static bool
take_measurement(const EsMetric *metric, Jsonb *measurements, double *number)
{
	JsonbValue	room;
	JsonbValue *value;

	*number = 1;
	if (metric->measurement == NULL)
		return true;
	value = find_member(measurements, metric->measurement, &room);
	if (value == NULL)
	{
		dropped(ES_DROP_MISSING_MEASUREMENT);
		return false;
	}
	if (value->type == jbvNumeric)
		*number = DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow,
													 NumericGetDatum(value->val.numeric))) * metric->factor;
	if (value->type != jbvNumeric || !isfinite(*number))
	{
		dropped(ES_DROP_BAD_MEASUREMENT);
		return false;
	}
	if (*number < 0 && metric->definition.kind == ES_METRIC_SUM && !metric->definition.gauge)
	{
		dropped(ES_DROP_NEGATIVE);
		return false;
	}
	return true;
}

/* The values of the tags, palloc'd; false, having counted why, if one is not there. */
static bool
take_tags(const EsMetric *metric, Jsonb *metadata, const char **values)
{
	for (int i = 0; i < metric->definition.ntags; i++)
	{
		JsonbValue	room;
		JsonbValue *value = find_member(metadata, metric->definition.tags[i], &room);

		if (value == NULL)
		{
			dropped(ES_DROP_MISSING_TAG);
			return false;
		}
		if (value->type == jbvString)
			values[i] = pnstrdup(value->val.string.val, value->val.string.len);
		else if (value->type == jbvNumeric)
			values[i] = DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)));
		else if (value->type == jbvBool)
			values[i] = value->val.boolean ? "true" : "false";
		else
		{
			dropped(ES_DROP_BAD_TAG);
			return false;
		}
	}
	return true;
}

/* The first bucket whose bound is not below the number. */
static int
find_bucket(const EsSharedFamily *definition, double number)
{
	int			low = 0;
	int			high = definition->nbounds;

	while (low < high)
	{
		int			middle = (low + high) / 2;

		if (number <= definition->bounds[middle])
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

/* The series to record in; NULL if there is no room for the metric, which is counted, or it is just being dropped. */
static EsSeries *
find_series(EsMetric *metric, const char *const *tags)
{
	if (metric->family == ES_NO_FAMILY || !es_family_is_live(metric->family, metric->definition.number))
	{
		metric->series = NULL;
		metric->family = es_family_bind(&metric->definition);
		if (metric->family == ES_NO_FAMILY)
		{
			dropped(ES_DROP_MAX_METRICS);
			return NULL;
		}
	}
	if (metric->definition.ntags > 0)
		return es_series_find(metric->family, metric->definition.number, metric->definition.ntags, tags);
	if (metric->series == NULL || !es_series_is_live(metric->series))
		metric->series = es_series_find(metric->family, metric->definition.number, 0, NULL);
	return metric->series;
}

/* Record what an event measured. */
void
es_metric_record(EsMetric *metric, Jsonb *measurements, Jsonb *metadata)
{
	const char *tags[ES_MAX_TAGS];
	EsValue		value = {.count = 1};
	double		number;
	EsSeries   *series;
	int			cell = -1;

	if ((metric->keep != NULL && !matches(metric->keep, metadata)) ||
		(metric->drop != NULL && matches(metric->drop, metadata)) ||
		!take_measurement(metric, measurements, &number) ||
		!take_tags(metric, metadata, tags) ||
		(series = find_series(metric, tags)) == NULL)
		return;

	value.sum = value.min = value.max = number;
	value.updated_at = GetCurrentStatementStartTimestamp();
	if (metric->definition.kind == ES_METRIC_DISTRIBUTION)
		cell = find_bucket(&metric->definition, number);
	else if (metric->definition.kind == ES_METRIC_SUMMARY)
		cell = es_bucket(number, ES_SKETCH_LOWEST, ES_SKETCH_BUCKETS);
	if (metric->immediate)
		es_series_add(series, &value, cell);
	else
		es_pending_add(series, &value, cell);
}

/* --- by name --- */

static EsMetric *
find_metric(const char *name)
{
	ListCell   *lc;

	(void) es_metrics_load();
	foreach(lc, metrics)
	{
		EsMetric   *metric = lfirst(lc);

		if (strcmp(metric->definition.name, name) == 0)
			return metric;
	}
	return NULL;
}

bool
es_metric_is_defined(const char *name)
{
	return find_metric(name) != NULL;
}

void
es_metric_missing(const char *name)
{
	ereport(ERROR,
			(es_problem(ERRCODE_UNDEFINED_OBJECT, ES_MEMBERS(ES_TEXT("metric", name)),
						"metric \"%s\" does not exist", name),
			 errhint("The view event_store.metrics lists those that were fed, the table event_store.metric_definitions those defined here.")));
}

/* Let a metric of the users begin at zero, or with NULL all of them; false if there is none of that name. */
bool
es_metrics_reset(const char *name)
{
	ListCell   *lc;
	bool		found = false;

	(void) es_metrics_load();
	foreach(lc, metrics)
	{
		EsMetric   *metric = lfirst(lc);

		if (name != NULL && strcmp(metric->definition.name, name) != 0)
			continue;
		found = true;
		if (metric->family == ES_NO_FAMILY)
			metric->family = es_family_bind(&metric->definition);
		if (metric->family != ES_NO_FAMILY)
			es_series_reset(metric->family, MyDatabaseId, 0, 0);
	}
	return found;
}
