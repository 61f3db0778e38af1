/*
 * collect.c
 *		All metrics at one moment, from shared memory alone.
 *
 * The families built in come from metrics.def, those of the users from the
 * table of series.  Gauges are asked for when somebody collects: a module of a
 * higher floor registers a source for its own.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "miscadmin.h"

#include "base/extension.h"
#include "observe/telemetry.h"

#define MAX_SOURCES		8
#define PREFIX			"event_store_"

typedef enum BuiltinType
{
	BUILTIN_COUNTER,
	BUILTIN_HISTOGRAM,
	BUILTIN_STORE_COUNTER,
	BUILTIN_GAUGE
} BuiltinType;

typedef struct Builtin
{
	BuiltinType type;
	const char *name;
	const char *unit;
	const char *help;
	EsDimension dimension;
	int			first_cell;
	int			lowest;			/* exponents: of the buckets, of those exported */
	int			first_bound;
	int			last_bound;
} Builtin;

static const Builtin builtins[ES_NFAMILIES] = {
#define ES_COUNTER(id, name, unit, dim, help) \
	{BUILTIN_COUNTER, PREFIX name, unit, help, ES_DIM_##dim, ES_##id},
#define ES_HISTOGRAM(id, name, unit, dim, lowest, first, last, help) \
	{BUILTIN_HISTOGRAM, PREFIX name, unit, help, ES_DIM_##dim, ES_##id, lowest, first, last},
#define ES_STORE_COUNTER(id, name, unit, dim, help) \
	{BUILTIN_STORE_COUNTER, PREFIX name, unit, help, ES_DIM_##dim, ES_##id},
#define ES_GAUGE(id, name, unit, labels, help) \
	{BUILTIN_GAUGE, PREFIX name, unit, help, ES_DIM_NONE},
#include "observe/metrics.def"
#undef ES_COUNTER
#undef ES_HISTOGRAM
#undef ES_STORE_COUNTER
#undef ES_GAUGE
};

static const struct
{
	const char *label;
	int			size;
	const char *values[8];
}			dimensions[] = {
	[ES_DIM_NONE] = {NULL, ES_DIM_NONE_SIZE},
	[ES_DIM_OUTCOME] = {"outcome", ES_DIM_OUTCOME_SIZE, {"ok", "conflict", "error", "rollback"}},
	[ES_DIM_RESULT] = {"outcome", ES_DIM_RESULT_SIZE, {"ok", "conflict", "error"}},
	[ES_DIM_READ] = {"kind", ES_DIM_READ_SIZE, {"stream", "category", "all", "poll", "event", "type", "correlation", "query"}},
	[ES_DIM_REASON] = {"reason", ES_DIM_REASON_SIZE,
	{"missing_tag", "bad_tag", "missing_measurement", "bad_measurement", "negative", "max_series", "max_metrics"}},
	[ES_DIM_CODE] = {"code", ES_DIM_CODE_SIZE, {"200", "401", "404", "405", "431", "500", "503"}},
};

static double summary_quantiles[] = {0.5, 0.9, 0.95, 0.99};

/* The gauges of one collection; each family's samples grow. */
struct EsGauges
{
	Oid			dbid;			/* InvalidOid: of all databases */
	EsFamily   *families;		/* those built in, by their numbers */
	int			room[ES_NFAMILIES];
};

static EsGaugeSource sources[MAX_SOURCES];
static int	nsources = 0;

/* Add a source of gauges; only while _PG_init runs. */
void
es_gauge_source(EsGaugeSource source)
{
	Assert(nsources < MAX_SOURCES);
	sources[nsources++] = source;
}

static EsSample *
add_sample(EsFamily *family, int *room)
{
	if (family->nsamples == *room)
	{
		*room = Max(2 * *room, 4);
		if (family->samples == NULL)
			family->samples = palloc(*room * sizeof(EsSample));
		else
			family->samples = repalloc_huge(family->samples, *room * sizeof(EsSample));
	}
	memset(&family->samples[family->nsamples], 0, sizeof(EsSample));
	return &family->samples[family->nsamples++];
}

static void
copy_labels(EsSample *sample, int nlabels, const EsLabel *labels)
{
	sample->nlabels = nlabels;
	sample->labels = palloc((nlabels + 1) * sizeof(EsLabel));
	for (int i = 0; i < nlabels; i++)
		sample->labels[i] = labels[i];
}

/*
 * Put one value of a gauge; dbid is the database it is of, InvalidOid if of the
 * server.  The texts must live as long as the memory context.
 */
void
es_gauge_put(EsGauges *gauges, int family, Oid dbid, double value, int nlabels, const EsLabel *labels)
{
	EsSample   *sample;

	if (OidIsValid(gauges->dbid) && OidIsValid(dbid) && dbid != gauges->dbid)
		return;
	sample = add_sample(&gauges->families[family], &gauges->room[family]);
	copy_labels(sample, nlabels, labels);
	sample->value = value;
}

/* --- those built in --- */

static void
dimension_label(const Builtin *builtin, int value, EsSample *sample)
{
	if (builtin->dimension != ES_DIM_NONE)
		sample->labels[sample->nlabels++] = (EsLabel) {
			dimensions[builtin->dimension].label, dimensions[builtin->dimension].values[value]
		};
}

/*
 * The bounds that are shown of exponential buckets from 2^lowest: all if fine,
 * else the powers of two from 2^first to 2^last.
 */
static void
exponential_bounds(EsFamily *family, int lowest, int nbuckets, int first, int last, bool fine)
{
	family->nbounds = fine ? nbuckets - 1 : last - first + 1;
	family->bounds = palloc(family->nbounds * sizeof(double));
	for (int i = 0; i < family->nbounds; i++)
		family->bounds[i] = fine ? es_bucket_bound(i, lowest) :
			es_bucket_bound((first - lowest + i) * ES_BUCKETS_PER_POWER, lowest);
}

/* Put the counts of fine buckets into those that are shown. */
static void
shown_buckets(const EsFamily *family, const int64 *cells, int lowest, int nbuckets, EsSample *sample)
{
	int			shown = 0;

	sample->buckets = palloc0((family->nbounds + 1) * sizeof(int64));
	for (int i = 0; i < nbuckets; i++)
	{
		while (shown < family->nbounds && (i == nbuckets - 1 || es_bucket_bound(i, lowest) > family->bounds[shown]))
			shown++;
		sample->buckets[shown] += cells[i];
		sample->count += cells[i];
	}
}

static void
collect_slots(const Builtin *builtin, const EsTotals *totals, EsFamily *family, bool fine)
{
	int			size = dimensions[builtin->dimension].size;

	family->nsamples = size;
	family->samples = palloc0(size * sizeof(EsSample));
	if (builtin->type == BUILTIN_HISTOGRAM)
		exponential_bounds(family, builtin->lowest, ES_HISTOGRAM_BUCKETS,
						   builtin->first_bound, builtin->last_bound, fine);
	for (int i = 0; i < size; i++)
	{
		EsSample   *sample = &family->samples[i];

		copy_labels(sample, 0, NULL);
		dimension_label(builtin, i, sample);
		if (builtin->type == BUILTIN_HISTOGRAM)
		{
			const uint64 *cells = &totals->cells[ES_HISTOGRAM_CELL(builtin->first_cell + i)];

			sample->sum = Max(0, es_cell_double(cells[0]));
			shown_buckets(family, (const int64 *) &cells[1], builtin->lowest, ES_HISTOGRAM_BUCKETS, sample);
			if (!fine)
				sample->exemplars = es_exemplars_copy(builtin->first_cell + i, family->nbounds + 1, family->reset_at);
		}
		else
			sample->value = totals->cells[builtin->first_cell + i];
	}
}

/* The labels of a series: the database and its tags. */
static void
series_labels(const EsSharedFamily *shared, const EsSeriesCopy *copy, EsSample *sample)
{
	sample->labels = palloc((ES_MAX_TAGS + 2) * sizeof(EsLabel));
	if (copy->family != ES_STORE_FAMILY)
		sample->labels[sample->nlabels++] = (EsLabel) {"database", shared->database};
	if (copy->overflow)
		sample->labels[sample->nlabels++] = (EsLabel) {"overflow", "true"};
	for (int i = 0; i < copy->nvalues && i < shared->ntags; i++)
		sample->labels[sample->nlabels++] = (EsLabel) {shared->tags[i], copy->values[i]};
	sample->updated_at = copy->value.updated_at;
}

/* The counters of a series of a store. */
static void
collect_store(const EsSharedFamily *shared, const EsSeriesCopy *copy, EsFamily *families, int *room)
{
	for (int f = 0; f < ES_NFAMILIES; f++)
	{
		const Builtin *builtin = &builtins[f];

		if (builtin->type != BUILTIN_STORE_COUNTER)
			continue;
		for (int i = 0; i < dimensions[builtin->dimension].size; i++)
		{
			int64		value = copy->cells[builtin->first_cell + i];
			EsSample   *sample;

			/* what is left without a store: only if there is any */
			if (value == 0 && (copy->overflow || copy->values[1][0] == '\0'))
				continue;
			sample = add_sample(&families[f], &room[f]);
			series_labels(shared, copy, sample);
			dimension_label(builtin, i, sample);
			sample->value = value;
		}
	}
}

/* --- those of users --- */

/*
 * The name of a metric as exporters see it, palloc'd: dots become underscores;
 * a counter loses the _total that exporters add.
 */
char *
es_metric_exported_name(const char *name, bool counter)
{
	char	   *result = pstrdup(name);
	int			length = strlen(result);

	for (char *c = result; *c; c++)
		if (*c == '.')
			*c = '_';
	if (counter && length > 6 && strcmp(result + length - 6, "_total") == 0)
		result[length - 6] = '\0';
	return result;
}

/* The unit, if the name ends with it as OpenMetrics wants. */
static const char *
unit_in_name(const char *name)
{
	static const char *const units[] = {"seconds", "bytes"};
	int			length = strlen(name);

	for (int i = 0; i < lengthof(units); i++)
	{
		int			n = strlen(units[i]);

		if (length > n && name[length - n - 1] == '_' && strcmp(name + length - n, units[i]) == 0)
			return units[i];
	}
	return "";
}

static void
begin_family(const EsSharedFamily *shared, EsFamily *family, bool fine)
{
	bool		counter = shared->kind == ES_METRIC_COUNTER || (shared->kind == ES_METRIC_SUM && !shared->gauge);

	family->name = es_metric_exported_name(shared->name, counter);
	family->defined_as = shared->name;
	family->help = shared->help;
	family->unit = unit_in_name(family->name);
	family->kind = shared->kind;
	family->gauge = shared->gauge;
	family->dbid = shared->dbid;
	family->reset_at = shared->reset_at;
	if (shared->kind == ES_METRIC_DISTRIBUTION)
	{
		family->nbounds = shared->nbounds;
		family->bounds = (double *) shared->bounds;
	}
	else if (shared->kind == ES_METRIC_SUMMARY && fine)
		exponential_bounds(family, ES_SKETCH_LOWEST, ES_SKETCH_BUCKETS, 0, 0, true);
	else if (shared->kind == ES_METRIC_SUMMARY)
	{
		family->nquantiles = lengthof(summary_quantiles);
		family->quantiles = summary_quantiles;
	}
}

/* An estimate of a quantile from the sketch of a summary. */
static double
sketch_quantile(const EsSeriesCopy *copy, double q)
{
	double		wanted = q * copy->value.count;
	int64		seen = 0;

	for (int i = 0; i < ES_SKETCH_BUCKETS; i++)
	{
		seen += copy->cells[i];
		if (copy->cells[i] > 0 && seen >= wanted)
		{
			double		estimate;

			if (i == 0)
				estimate = copy->value.min;
			else if (i == ES_SKETCH_BUCKETS - 1)
				estimate = copy->value.max;
			else
				estimate = sqrt(es_bucket_bound(i - 1, ES_SKETCH_LOWEST) * es_bucket_bound(i, ES_SKETCH_LOWEST));
			return Max(copy->value.min, Min(copy->value.max, estimate));
		}
	}
	return copy->value.max;
}

static void
collect_series(const EsSharedFamily *shared, const EsSeriesCopy *copy, EsFamily *family, int *room)
{
	EsSample   *sample;

	/* nothing went into it, or nothing that has committed: there is no value to show */
	if (copy->value.count == 0 && (copy->overflow || shared->kind == ES_METRIC_LAST_VALUE))
		return;
	sample = add_sample(family, room);
	series_labels(shared, copy, sample);
	sample->count = copy->value.count;
	sample->value = sample->sum = copy->value.sum;
	sample->min = copy->value.min;
	sample->max = copy->value.max;
	if (family->nbounds > 0)
		sample->buckets = copy->cells;
	if (family->nquantiles > 0)
	{
		sample->quantile_values = palloc(family->nquantiles * sizeof(double));
		for (int i = 0; i < family->nquantiles; i++)
			sample->quantile_values[i] = sketch_quantile(copy, family->quantiles[i]);
	}
}

static int
compare_families(const void *a, const void *b)
{
	const EsFamily *fa = a;
	const EsFamily *fb = b;
	int			order = strcmp(fa->name, fb->name);

	if (order == 0)
		order = fa->dbid < fb->dbid ? -1 : fa->dbid > fb->dbid;
	return order;
}

/* --- the gauges of this floor --- */

static void
put_own_gauges(EsGauges *gauges)
{
	EsLabel		role = {"role", RecoveryInProgress() ? "standby" : "primary"};
	EsLabel		builds[] = {{"version", ES_VERSION}, {"postgres", PG_VERSION}};

	es_gauge_put(gauges, ES_FAMILY_TELEMETRY_SERIES, InvalidOid, es_series_in_use(), 0, NULL);
	es_gauge_put(gauges, ES_FAMILY_TELEMETRY_START, InvalidOid,
				 es_counters_started_at() / (double) USECS_PER_SEC +
				 (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * (double) SECS_PER_DAY, 0, NULL);
	es_gauge_put(gauges, ES_FAMILY_NODE_ROLE, InvalidOid, 1, 1, &role);
	es_gauge_put(gauges, ES_FAMILY_BUILD_INFO, InvalidOid, 1, lengthof(builds), builds);
}

/*
 * A copy of all metrics in the current memory context, sorted by name.  With a
 * database: those of it and of the server.  Fine: histograms and summaries
 * with every bucket there is.
 */
EsFamily *
es_metrics_collect_for(Oid dbid, bool fine, int *count)
{
	int			nshared;
	int			ncopies;
	EsTotals   *totals = palloc(sizeof(EsTotals));
	EsSharedFamily *shared;
	EsSeriesCopy *copies = es_series_copy(&ncopies, &shared, &nshared);
	EsFamily   *families = palloc0((ES_NFAMILIES + nshared) * sizeof(EsFamily));
	int		   *room = palloc0((ES_NFAMILIES + nshared) * sizeof(int));
	int			n = ES_NFAMILIES;
	int		   *place = palloc0(nshared * sizeof(int));
	EsGauges	gauges = {.dbid = dbid, .families = families};

	es_counters_sum(totals);
	for (int f = 0; f < ES_NFAMILIES; f++)
	{
		const Builtin *builtin = &builtins[f];

		families[f] = (EsFamily) {
			.name = builtin->name, .defined_as = builtin->name, .help = builtin->help, .unit = builtin->unit,
			.kind = builtin->type == BUILTIN_GAUGE ? ES_METRIC_LAST_VALUE :
				builtin->type == BUILTIN_HISTOGRAM ? ES_METRIC_DISTRIBUTION : ES_METRIC_COUNTER,
			.gauge = builtin->type == BUILTIN_GAUGE, .reset_at = es_counters_reset_at(f)
		};
		if (builtin->type == BUILTIN_COUNTER || builtin->type == BUILTIN_HISTOGRAM)
			collect_slots(builtin, totals, &families[f], fine);
	}
	for (int f = 1; f < nshared; f++)
		if (OidIsValid(shared[f].dbid) && !shared[f].dead && (!OidIsValid(dbid) || shared[f].dbid == dbid))
		{
			begin_family(&shared[f], &families[n], fine);
			place[f] = n++;
		}

	for (int i = 0; i < ncopies; i++)
	{
		const EsSeriesCopy *copy = &copies[i];

		if (OidIsValid(dbid) && OidIsValid(copy->dbid) && copy->dbid != dbid)
			continue;
		if (copy->family == ES_STORE_FAMILY)
			collect_store(&shared[ES_STORE_FAMILY], copy, families, room);
		else if (place[copy->family] != 0)
			collect_series(&shared[copy->family], copy, &families[place[copy->family]], &room[place[copy->family]]);
	}

	put_own_gauges(&gauges);
	for (int i = 0; i < nsources; i++)
		sources[i] (&gauges);

	qsort(families, n, sizeof(EsFamily), compare_families);
	*count = n;
	return families;
}

EsFamily *
es_metrics_collect(int *count)
{
	return es_metrics_collect_for(InvalidOid, false, count);
}

/* --- resetting --- */

/* The number of the family built in with this name, or -1. */
int
es_builtin_find(const char *name)
{
	for (int f = 0; f < ES_NFAMILIES; f++)
		if (strcmp(builtins[f].name, name) == 0)
			return f;
	return -1;
}

/* Let a family built in count from zero; counters of stores in one database only. */
void
es_builtin_reset(int family, Oid dbid)
{
	const Builtin *builtin = &builtins[family];

	if (builtin->type == BUILTIN_STORE_COUNTER)
		es_series_reset(ES_STORE_FAMILY, dbid, builtin->first_cell, dimensions[builtin->dimension].size);
	es_counters_reset(family);
}
