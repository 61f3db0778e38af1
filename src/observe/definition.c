/*
 * definition.c
 *		Defining and dropping the metrics of users.
 *
 * A definition is a row of event_store.metric_definitions.  Definitions are
 * made one at a time (the table is locked against other makers), for two
 * names may not clash in what exporters make of them.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/inval.h"

#include "base/arguments.h"
#include "base/errors.h"
#include "observe/metric.h"
#include "observe/telemetry.h"

/* What the caller wants to define; NULL: not given. */
typedef struct Definition
{
	const char *type;
	char	   *name;
	char	   *event;
	char	   *measurement;
	ArrayType  *tags;
	char	   *keep;
	char	   *drop;
	char	   *description;
	char	   *unit;
	char	   *measured_in;
	ArrayType  *buckets;
	bool		gauge;
	char	   *commit_rule;
} Definition;

static void
bad_metric(const char *name, const char *member, const char *what, const char *hint)
{
	ereport(ERROR,
			(es_problem(ERRCODE_ES_INVALID_METRIC,
						ES_MEMBERS(ES_TEXT("metric", name), ES_TEXT("member", member)),
						"%s of metric \"%s\" %s", member, name, what),
			 errhint("%s", hint)));
}

/* Letters, digits and underscores, not beginning with a digit, if so wished in parts with dots between. */
static bool
is_name(const char *name, bool dots)
{
	bool		first = true;

	for (const char *c = name; *c; c++)
	{
		bool		letter = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || *c == '_';

		if (*c == '.' && dots && !first)
			first = true;
		else if (letter || (*c >= '0' && *c <= '9' && !first))
			first = false;
		else
			return false;
	}
	return !first;
}

/* Check the names, and take from the metric's what is not given. */
static void
check_names(Definition *d)
{
	static const char *const hint = "A name is parts of letters, digits and underscores with dots between, like shop.order.placed; at most 128 bytes.";
	char	   *dot;

	if (!is_name(d->name, true) || strlen(d->name) > ES_METRIC_NAME_MAX)
		bad_metric(d->name, "name", "is not a valid name", hint);
	if (strncmp(es_metric_exported_name(d->name, false), "event_store", 11) == 0)
		bad_metric(d->name, "name", "begins like the metrics of the extension", "Choose another name.");

	dot = strrchr(d->name, '.');
	if (d->event == NULL)
	{
		if (dot == NULL)
			bad_metric(d->name, "event", "is not given", "Give an event, or a name that is the event, a dot and the measurement.");
		d->event = pnstrdup(d->name, dot - d->name);
	}
	if (!is_name(d->event, true) || strlen(d->event) > ES_METRIC_NAME_MAX)
		bad_metric(d->name, "event", "is not a valid name", hint);

	if (strcmp(d->type, "counter") == 0)
		d->measurement = NULL;
	else if (d->measurement == NULL)
		d->measurement = dot != NULL ? dot + 1 : d->name;
	if (d->measurement != NULL && d->measurement[0] == '\0')
		bad_metric(d->name, "measurement", "is empty", "Name a member of the measurements.");
}

static void
check_tags(const Definition *d)
{
	static const char *const reserved[] = {"database", "overflow", "le", "quantile"};
	static const char *const hint = "A tag is a member of the metadata named by letters, digits and underscores; database, overflow, le and quantile are taken.";
	Datum	   *tags;
	bool	   *nulls;
	int			count;

	deconstruct_array(d->tags, TEXTOID, -1, false, TYPALIGN_INT, &tags, &nulls, &count);
	if (count > ES_MAX_TAGS)
		bad_metric(d->name, "tags", "are more than 8", "Each combination of values is a series: use few tags.");
	for (int i = 0; i < count; i++)
	{
		char	   *tag = nulls[i] ? "" : TextDatumGetCString(tags[i]);

		if (!is_name(tag, false) || strlen(tag) > ES_TAG_NAME_MAX || strncmp(tag, "__", 2) == 0)
			bad_metric(d->name, "tags", "hold a name that is not valid", hint);
		for (int k = 0; k < lengthof(reserved); k++)
			if (strcmp(tag, reserved[k]) == 0)
				bad_metric(d->name, "tags", "hold a name that is taken", hint);
		for (int k = 0; k < i; k++)
			if (strcmp(tag, TextDatumGetCString(tags[k])) == 0)
				bad_metric(d->name, "tags", "hold a name twice", hint);
	}
}

static void
check_unit(const Definition *d)
{
	static const char *const hint = "Units are second, millisecond, microsecond, nanosecond, byte, kilobyte, megabyte, gigabyte; they convert among themselves only.";
	const char *base;
	const char *measured_base;
	double		factor;

	if (d->unit != NULL && (strlen(d->unit) > ES_UNIT_MAX || !is_name(d->unit, false)))
		bad_metric(d->name, "unit", "is not a valid name", hint);
	if (d->measured_in == NULL)
		return;
	if (d->unit == NULL || !es_unit_find(d->unit, &base, &factor))
		bad_metric(d->name, "unit", "is none that can be converted to", hint);
	if (!es_unit_find(d->measured_in, &measured_base, &factor) || strcmp(base, measured_base) != 0)
		bad_metric(d->name, "measured_in", "cannot be converted to its unit", hint);
}

static void
check_buckets(const Definition *d)
{
	static const char *const hint = "Buckets are 1 to 50 upper bounds, ascending and finite; what lies above the last is counted too.";
	Datum	   *bounds;
	bool	   *nulls;
	int			count;

	deconstruct_array(d->buckets, FLOAT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &bounds, &nulls, &count);
	if (count == 0)
		bad_metric(d->name, "buckets", "are empty", hint);
	if (count > ES_MAX_BOUNDS)
		bad_metric(d->name, "buckets", "are more than 50", hint);
	for (int i = 0; i < count; i++)
	{
		if (nulls[i] || !isfinite(DatumGetFloat8(bounds[i])))
			bad_metric(d->name, "buckets", "hold a bound that is not finite", hint);
		if (i > 0 && DatumGetFloat8(bounds[i]) <= DatumGetFloat8(bounds[i - 1]))
			bad_metric(d->name, "buckets", "are not ascending", hint);
	}
}

/* A predicate on metadata as jsonpath. */
static Datum
parse_predicate(const Definition *d, const char *member, char *predicate)
{
	MemoryContext caller = CurrentMemoryContext;
	volatile Datum result = 0;

	PG_TRY();
	{
		result = DirectFunctionCall1(jsonpath_in, CStringGetDatum(predicate));
	}
	PG_CATCH();
	{
		if (geterrcode() != ERRCODE_SYNTAX_ERROR && ERRCODE_TO_CATEGORY(geterrcode()) != ERRCODE_DATA_EXCEPTION)
			PG_RE_THROW();
		MemoryContextSwitchTo(caller);
		FlushErrorState();
		bad_metric(d->name, member, "is not a jsonpath", "Write a predicate on the metadata, like $.status == \"paid\".");
	}
	PG_END_TRY();
	return result;
}

/* The names that exporters give the samples of a metric. */
static List *
sample_names(const char *type, bool gauge, const char *name)
{
	bool		counter = strcmp(type, "counter") == 0 || (strcmp(type, "sum") == 0 && !gauge);
	char	   *base = es_metric_exported_name(name, counter);

	if (counter)
		return list_make2(makeString(psprintf("%s_total", base)), makeString(psprintf("%s_created", base)));
	if (strcmp(type, "distribution") == 0)
		return list_make5(makeString(base), makeString(psprintf("%s_bucket", base)), makeString(psprintf("%s_sum", base)),
						  makeString(psprintf("%s_count", base)), makeString(psprintf("%s_created", base)));
	if (strcmp(type, "summary") == 0)
		return list_make4(makeString(base), makeString(psprintf("%s_sum", base)),
						  makeString(psprintf("%s_count", base)), makeString(psprintf("%s_created", base)));
	return list_make1(makeString(base));
}

/* Refuse a name that is taken, as it stands or as exporters write it. */
static void
check_clash(Relation rel, const Definition *d)
{
	List	   *names = sample_names(d->type, d->gauge, d->name);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Datum		values[DEFINITION_NCOLUMNS];
		bool		nulls[DEFINITION_NCOLUMNS];
		char	   *other;

		CHECK_FOR_INTERRUPTS();
		heap_deform_tuple(tuple, RelationGetDescr(rel), values, nulls);
		other = TextDatumGetCString(values[DEFINITION_NAME]);
		if (strcmp(other, d->name) != 0 &&
			list_intersection(names, sample_names(TextDatumGetCString(values[DEFINITION_TYPE]),
												  DatumGetBool(values[DEFINITION_GAUGE]), other)) == NIL)
			continue;
		ereport(ERROR,
				(es_problem(ERRCODE_DUPLICATE_OBJECT, ES_MEMBERS(ES_TEXT("metric", d->name), ES_TEXT("other", other)),
							strcmp(other, d->name) == 0 ? "metric \"%s\" already exists" :
							"metric \"%s\" would be exported under a name of metric \"%s\"", d->name, other),
				 errhint("Choose another name, or drop the other one with event_store.metric_drop().")));
	}
	systable_endscan(scan);
}

/* Check a definition and make it. */
static void
define(Definition *d)
{
	Relation	rel;
	Datum		values[DEFINITION_NCOLUMNS] = {0};
	bool		nulls[DEFINITION_NCOLUMNS] = {0};
	uint64		number;

	es_require_writable();
	check_names(d);
	check_tags(d);
	check_unit(d);
	if (d->buckets != NULL)
		check_buckets(d);
	if (d->keep != NULL && d->drop != NULL)
		bad_metric(d->name, "keep", "is given together with drop", "Give one of them.");
	if (d->description != NULL && strlen(d->description) > ES_METRIC_HELP_MAX)
		bad_metric(d->name, "description", "is longer than 256 bytes", "Say it shorter.");
	if (strcmp(d->commit_rule, "committed") != 0 && strcmp(d->commit_rule, "immediate") != 0)
		bad_metric(d->name, "commit_rule", "is unknown", "Use committed to count what commits only, immediate to count every attempt.");
	if (!pg_strong_random(&number, sizeof(number)))
		elog(ERROR, "could not get random bits");

	values[DEFINITION_NUMBER] = Int64GetDatum(number >> 1);
	values[DEFINITION_NAME] = CStringGetTextDatum(d->name);
	values[DEFINITION_TYPE] = CStringGetTextDatum(d->type);
	values[DEFINITION_EVENT] = CStringGetTextDatum(d->event);
	nulls[DEFINITION_MEASUREMENT] = d->measurement == NULL;
	if (d->measurement != NULL)
		values[DEFINITION_MEASUREMENT] = CStringGetTextDatum(d->measurement);
	values[DEFINITION_TAGS] = PointerGetDatum(d->tags);
	nulls[DEFINITION_KEEP] = d->keep == NULL;
	if (d->keep != NULL)
		values[DEFINITION_KEEP] = parse_predicate(d, "keep", d->keep);
	nulls[DEFINITION_DROP] = d->drop == NULL;
	if (d->drop != NULL)
		values[DEFINITION_DROP] = parse_predicate(d, "drop", d->drop);
	nulls[DEFINITION_DESCRIPTION] = d->description == NULL;
	if (d->description != NULL)
		values[DEFINITION_DESCRIPTION] = CStringGetTextDatum(d->description);
	nulls[DEFINITION_UNIT] = d->unit == NULL;
	if (d->unit != NULL)
		values[DEFINITION_UNIT] = CStringGetTextDatum(d->unit);
	nulls[DEFINITION_MEASURED_IN] = d->measured_in == NULL;
	if (d->measured_in != NULL)
		values[DEFINITION_MEASURED_IN] = CStringGetTextDatum(d->measured_in);
	nulls[DEFINITION_BUCKETS] = d->buckets == NULL;
	values[DEFINITION_BUCKETS] = PointerGetDatum(d->buckets);
	values[DEFINITION_GAUGE] = BoolGetDatum(d->gauge);
	values[DEFINITION_COMMIT_RULE] = CStringGetTextDatum(d->commit_rule);
	values[DEFINITION_DEFINED_AT] = TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());

	rel = es_metric_open_definitions(ShareRowExclusiveLock);
	check_clash(rel, d);
	CatalogTupleInsert(rel, heap_form_tuple(RelationGetDescr(rel), values, nulls));
	CacheInvalidateRelcache(rel);
	table_close(rel, NoLock);
	CommandCounterIncrement();
}

/* --- arguments --- */

static char *
text_argument(FunctionCallInfo fcinfo, int argument)
{
	return PG_ARGISNULL(argument) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(argument));
}

static char *
required_text(FunctionCallInfo fcinfo, int argument, const char *name)
{
	es_require_argument(fcinfo, argument, name);
	return text_argument(fcinfo, argument);
}

PG_FUNCTION_INFO_V1(event_store_metric_counter);
PG_FUNCTION_INFO_V1(event_store_metric_sum);
PG_FUNCTION_INFO_V1(event_store_metric_last_value);
PG_FUNCTION_INFO_V1(event_store_metric_distribution);
PG_FUNCTION_INFO_V1(event_store_metric_summary);
PG_FUNCTION_INFO_V1(event_store_metric_drop);

/* What all definitions begin with, but for the measurement: name, event, tags, keep, drop, description. */
static Definition
common_arguments(FunctionCallInfo fcinfo, const char *type, int tags)
{
	Definition	d = {.type = type};

	d.name = required_text(fcinfo, 0, "name");
	es_require_argument(fcinfo, tags, "tags");
	d.tags = PG_GETARG_ARRAYTYPE_P(tags);
	d.keep = text_argument(fcinfo, tags + 1);
	d.drop = text_argument(fcinfo, tags + 2);
	d.description = text_argument(fcinfo, tags + 3);
	return d;
}

/* (name, event, tags, keep, drop, description, commit_rule) */
Datum
event_store_metric_counter(PG_FUNCTION_ARGS)
{
	Definition	d = common_arguments(fcinfo, "counter", 2);

	d.event = text_argument(fcinfo, 1);
	d.commit_rule = required_text(fcinfo, 6, "commit_rule");
	define(&d);
	PG_RETURN_VOID();
}

/* (name, event, measurement, tags, keep, drop, description, unit, measured_in, commit_rule) */
static Definition
measured_arguments(FunctionCallInfo fcinfo, const char *type)
{
	Definition	d = common_arguments(fcinfo, type, 3);

	d.event = text_argument(fcinfo, 1);
	d.measurement = text_argument(fcinfo, 2);
	d.unit = text_argument(fcinfo, 7);
	d.measured_in = text_argument(fcinfo, 8);
	d.commit_rule = required_text(fcinfo, 9, "commit_rule");
	return d;
}

/* The same, and prometheus_type. */
Datum
event_store_metric_sum(PG_FUNCTION_ARGS)
{
	Definition	d = measured_arguments(fcinfo, "sum");
	char	   *type = required_text(fcinfo, 10, "prometheus_type");

	d.gauge = strcmp(type, "gauge") == 0;
	if (!d.gauge && strcmp(type, "counter") != 0)
		bad_metric(d.name, "prometheus_type", "is unknown", "Use counter for a sum that only grows, or gauge.");
	define(&d);
	PG_RETURN_VOID();
}

Datum
event_store_metric_last_value(PG_FUNCTION_ARGS)
{
	Definition	d = measured_arguments(fcinfo, "last_value");

	define(&d);
	PG_RETURN_VOID();
}

/* The same, and buckets. */
Datum
event_store_metric_distribution(PG_FUNCTION_ARGS)
{
	Definition	d = measured_arguments(fcinfo, "distribution");

	if (PG_ARGISNULL(10))
		bad_metric(d.name, "buckets", "are not given", "Give the upper bounds of the buckets, as many as tell apart what matters.");
	d.buckets = PG_GETARG_ARRAYTYPE_P(10);
	define(&d);
	PG_RETURN_VOID();
}

Datum
event_store_metric_summary(PG_FUNCTION_ARGS)
{
	Definition	d = measured_arguments(fcinfo, "summary");

	define(&d);
	PG_RETURN_VOID();
}

Datum
event_store_metric_drop(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	Relation	rel;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		found = false;

	es_require_writable();
	rel = es_metric_open_definitions(ShareRowExclusiveLock);
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Datum		values[DEFINITION_NCOLUMNS];
		bool		nulls[DEFINITION_NCOLUMNS];

		heap_deform_tuple(tuple, RelationGetDescr(rel), values, nulls);
		if (strcmp(TextDatumGetCString(values[DEFINITION_NAME]), name) != 0)
			continue;
		found = true;
		es_pending_drop_family(DatumGetInt64(values[DEFINITION_NUMBER]));
		CatalogTupleDelete(rel, &tuple->t_self);
	}
	systable_endscan(scan);
	if (!found)
		es_metric_missing(name);
	CacheInvalidateRelcache(rel);
	table_close(rel, NoLock);
	CommandCounterIncrement();
	PG_RETURN_VOID();
}
