/*
 * telemetry.c
 *		What is counted, as SQL sees it: rows, quantiles, resets.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"

#include "base/arguments.h"
#include "base/errors.h"
#include "observe/metric.h"
#include "observe/telemetry.h"

static const char *const kind_names[] = {
	[ES_METRIC_COUNTER] = "counter",
	[ES_METRIC_SUM] = "sum",
	[ES_METRIC_LAST_VALUE] = "last_value",
	[ES_METRIC_DISTRIBUTION] = "distribution",
	[ES_METRIC_SUMMARY] = "summary",
};

static Datum
parse_json(StringInfo json)
{
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(json->data));
}

/* The labels as a JSON object; of a user's metric without the database, which is this one. */
static Datum
tags_datum(const EsFamily *family, const EsSample *sample)
{
	StringInfoData json;
	const char *separator = "";

	initStringInfo(&json);
	appendStringInfoChar(&json, '{');
	for (int i = 0; i < sample->nlabels; i++)
	{
		if (OidIsValid(family->dbid) && strcmp(sample->labels[i].name, "database") == 0)
			continue;
		appendStringInfoString(&json, separator);
		escape_json(&json, sample->labels[i].name);
		appendStringInfoChar(&json, ':');
		escape_json(&json, sample->labels[i].value);
		separator = ",";
	}
	appendStringInfoChar(&json, '}');
	return parse_json(&json);
}

/* The buckets as a JSON array, cumulative as with Prometheus. */
static Datum
buckets_datum(const EsFamily *family, const EsSample *sample)
{
	StringInfoData json;
	int64		count = 0;

	initStringInfo(&json);
	for (int i = 0; i <= family->nbounds; i++)
	{
		count += sample->buckets[i];
		appendStringInfo(&json, "%c{\"le\":", i == 0 ? '[' : ',');
		if (i < family->nbounds)
			appendStringInfoString(&json, DatumGetCString(DirectFunctionCall1(float8out, Float8GetDatum(family->bounds[i]))));
		else
			appendStringInfoString(&json, "\"+Inf\"");
		appendStringInfo(&json, ",\"count\":" INT64_FORMAT "}", count);
	}
	appendStringInfoChar(&json, ']');
	return parse_json(&json);
}

PG_FUNCTION_INFO_V1(event_store_metric_samples);
PG_FUNCTION_INFO_V1(event_store_histogram_quantiles);
PG_FUNCTION_INFO_V1(event_store_telemetry_top);
PG_FUNCTION_INFO_V1(event_store_telemetry_info);
PG_FUNCTION_INFO_V1(event_store_telemetry_reset);

/* The metrics of this database and of the server, a row for each label set. */
Datum
event_store_metric_samples(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	int			count;
	EsFamily   *families = es_metrics_collect_for(MyDatabaseId, false, &count);

	InitMaterializedSRF(fcinfo, 0);
	for (int f = 0; f < count; f++)
		for (int i = 0; i < families[f].nsamples; i++)
		{
			const EsFamily *family = &families[f];
			const EsSample *sample = &family->samples[i];
			bool		spread = family->kind == ES_METRIC_DISTRIBUTION || family->kind == ES_METRIC_SUMMARY;
			bool		extremes = OidIsValid(family->dbid) && spread && sample->count > 0;
			Datum		values[11];
			bool		nulls[11] = {0};

			CHECK_FOR_INTERRUPTS();
			values[0] = CStringGetTextDatum(family->defined_as);
			values[1] = CStringGetTextDatum(kind_names[family->kind]);
			values[2] = tags_datum(family, sample);
			values[3] = Float8GetDatum(sample->value);
			nulls[3] = spread;
			values[4] = Int64GetDatum(sample->count);
			values[5] = Float8GetDatum(sample->sum);
			nulls[4] = nulls[5] = !spread;
			values[6] = Float8GetDatum(sample->min);
			values[7] = Float8GetDatum(sample->max);
			nulls[6] = nulls[7] = !extremes;
			if (family->kind == ES_METRIC_DISTRIBUTION)
				values[8] = buckets_datum(family, sample);
			else
				nulls[8] = true;
			values[9] = TimestampTzGetDatum(sample->updated_at);
			nulls[9] = sample->updated_at == 0;
			values[10] = TimestampTzGetDatum(family->reset_at);
			tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
		}
	return (Datum) 0;
}

/* A quantile of a histogram, between the bounds of its bucket as if values were spread evenly. */
static double
bucket_quantile(const EsFamily *family, const EsSample *sample, double q)
{
	double		wanted = q * sample->count;
	int64		seen = 0;

	for (int i = 0; i < family->nbounds; i++)
	{
		double		lower = i > 0 ? family->bounds[i - 1] : Min(0, family->bounds[0]);

		if (sample->buckets[i] > 0 && seen + sample->buckets[i] >= wanted)
			return lower + (family->bounds[i] - lower) * Max(0, wanted - seen) / sample->buckets[i];
		seen += sample->buckets[i];
	}
	/* beyond the last bound nothing is known */
	return family->bounds[family->nbounds - 1];
}

static bool
contains(Datum whole, Datum part)
{
	return DatumGetBool(DirectFunctionCall2(jsonb_contains, whole, part));
}

Datum
event_store_histogram_quantiles(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	char	   *name;
	Datum	   *quantiles;
	bool	   *quantile_nulls;
	int			nquantiles;
	int			count;
	EsFamily   *families;
	bool		found = false;

	es_require_argument(fcinfo, 0, "metric");
	es_require_argument(fcinfo, 2, "quantiles");
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(2), FLOAT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE,
					  &quantiles, &quantile_nulls, &nquantiles);
	for (int q = 0; q < nquantiles; q++)
		if (quantile_nulls[q] || !(DatumGetFloat8(quantiles[q]) >= 0 && DatumGetFloat8(quantiles[q]) <= 1))
			ereport(ERROR,
					(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_INT("index", q)),
								"element %d of quantiles is not between 0 and 1", q),
					 errhint("The median is 0.5.")));

	InitMaterializedSRF(fcinfo, 0);
	families = es_metrics_collect_for(MyDatabaseId, true, &count);
	for (int f = 0; f < count; f++)
	{
		const EsFamily *family = &families[f];

		if (strcmp(family->defined_as, name) != 0)
			continue;
		if (family->nbounds == 0)
			ereport(ERROR,
					(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("metric", name)),
								"metric \"%s\" is neither a distribution nor a summary", name),
					 errhint("The view event_store.metrics tells the type of each metric.")));
		found = true;
		for (int i = 0; i < family->nsamples; i++)
		{
			const EsSample *sample = &family->samples[i];
			Datum		tags = tags_datum(family, sample);

			if (sample->count == 0 || (!PG_ARGISNULL(1) && !contains(tags, PG_GETARG_DATUM(1))))
				continue;
			for (int q = 0; q < nquantiles; q++)
			{
				double		value = bucket_quantile(family, sample, DatumGetFloat8(quantiles[q]));
				Datum		values[3];
				bool		nulls[3] = {0};

				if (family->kind == ES_METRIC_SUMMARY)
					value = Max(sample->min, Min(sample->max, value));
				values[0] = tags;
				values[1] = quantiles[q];
				values[2] = Float8GetDatum(value);
				tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
			}
		}
	}
	/* a metric that nobody has fed yet has no rows */
	if (!found && !es_metric_is_defined(name))
		es_metric_missing(name);
	return (Datum) 0;
}

/* What a label set is ranked by. */
static double
rank_value(const EsFamily *family, const EsSample *sample)
{
	bool		spread = family->kind == ES_METRIC_DISTRIBUTION || family->kind == ES_METRIC_SUMMARY;

	return spread ? sample->count : sample->value;
}

/* qsort_arg: the greatest first, NaN last. */
static int
compare_samples(const void *a, const void *b, void *family)
{
	double		x = rank_value(family, a);
	double		y = rank_value(family, b);

	if (isnan(x) || isnan(y))
		return isnan(x) - isnan(y);
	return x > y ? -1 : x < y;
}

/* The label sets of a metric with the greatest values, and their shares of the sum. */
Datum
event_store_telemetry_top(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	char	   *name;
	int			max_count;
	int			count;
	EsFamily   *families;
	bool		found = false;

	es_require_argument(fcinfo, 0, "metric");
	es_require_argument(fcinfo, 1, "max_count");
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	max_count = PG_GETARG_INT32(1);
	if (max_count < 0)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_INT("max_count", max_count)),
							"max_count must not be negative, and %d is", max_count)));

	InitMaterializedSRF(fcinfo, 0);
	families = es_metrics_collect_for(MyDatabaseId, false, &count);
	for (int f = 0; f < count; f++)
	{
		EsFamily   *family = &families[f];
		double		sum = 0;

		if (strcmp(family->defined_as, name) != 0)
			continue;
		found = true;
		for (int i = 0; i < family->nsamples; i++)
			sum += rank_value(family, &family->samples[i]);
		qsort_arg(family->samples, family->nsamples, sizeof(EsSample), compare_samples, family);
		for (int i = 0; i < Min(family->nsamples, max_count); i++)
		{
			double		value = rank_value(family, &family->samples[i]);
			Datum		values[3];
			bool		nulls[3] = {0};

			values[0] = tags_datum(family, &family->samples[i]);
			values[1] = Float8GetDatum(value);
			values[2] = Float8GetDatum(value / sum);
			nulls[2] = sum == 0;
			tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
		}
	}
	if (!found && !es_metric_is_defined(name))
		es_metric_missing(name);
	return (Datum) 0;
}

Datum
event_store_telemetry_info(PG_FUNCTION_ARGS)
{
	TupleDesc	desc;
	Datum		values[6];
	bool		nulls[6] = {0};
	EsTotals	totals;
	int64		dropped = 0;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	es_counters_sum(&totals);
	for (int i = 0; i < ES_DIM_REASON_SIZE; i++)
		dropped += totals.cells[ES_TELEMETRY_DROPPED + i];
	values[0] = BoolGetDatum(es_telemetry);
	values[1] = TimestampTzGetDatum(es_counters_started_at());
	values[2] = TimestampTzGetDatum(es_counters_last_reset());
	values[3] = Int32GetDatum(es_series_in_use());
	values[4] = Int32GetDatum(es_max_series);
	values[5] = Int64GetDatum(dropped);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

/* Null: all of this database and of the server. */
Datum
event_store_telemetry_reset(PG_FUNCTION_ARGS)
{
	char	   *name;
	int			family;

	if (PG_ARGISNULL(0))
	{
		for (int f = 0; f < ES_NFAMILIES; f++)
			es_builtin_reset(f, MyDatabaseId);
		es_metrics_reset(NULL);
		PG_RETURN_VOID();
	}
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	family = es_builtin_find(name);
	if (family >= 0)
		es_builtin_reset(family, MyDatabaseId);
	else if (!es_metrics_reset(name))
		es_metric_missing(name);
	PG_RETURN_VOID();
}
