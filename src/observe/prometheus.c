/*
 * prometheus.c
 *		All metrics as text: exposition format 0.0.4 and OpenMetrics 1.0.
 *
 * A scraper refuses the whole text for one bad line, and user metrics come from
 * anybody who may define one, in any database.  So whatever comes in, what goes
 * out is valid.  Names are checked where metrics are defined, against the others
 * of that database; here values are escaped, and a metric whose lines would be
 * taken for those of another database's is left out.
 *
 * The two formats differ in little.  OpenMetrics names a counter without its
 * suffix _total, tells units and when counting began (_created), ends with a
 * line of its own, and forbids sums that may fall.
 */
#include "postgres.h"

#include <math.h>

#include "common/shortest_dec.h"
#include "datatype/timestamp.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/float.h"

#include "observe/exemplar.h"
#include "observe/prometheus.h"

typedef enum Type
{
	TYPE_COUNTER,
	TYPE_GAUGE,
	TYPE_HISTOGRAM,
	TYPE_SUMMARY
} Type;

static const char *const type_names[] = {"counter", "gauge", "histogram", "summary"};

/* A family on its way out. */
typedef struct Entry
{
	const EsFamily *family;
	Type		type;
	const struct Entry *rival;	/* left out: this one has its name */
} Entry;

/* A name that lines of a family begin with. */
typedef struct Claim
{
	char	   *name;
	Entry	   *entry;
} Claim;

typedef struct Writer
{
	StringInfoData out;
	StringInfoData labels;		/* of the current sample, without braces */
	EsTextFormat format;
	bool		ascii;			/* write ? for all other characters */
} Writer;

PG_FUNCTION_INFO_V1(event_store_prometheus);
PG_FUNCTION_INFO_V1(event_store_openmetrics);

/* --- which families --- */

static Type
type_of(const EsFamily *family)
{
	switch (family->kind)
	{
		case ES_METRIC_COUNTER:
			return TYPE_COUNTER;
		case ES_METRIC_SUM:
			return family->gauge ? TYPE_GAUGE : TYPE_COUNTER;
		case ES_METRIC_LAST_VALUE:
			return TYPE_GAUGE;
		case ES_METRIC_DISTRIBUTION:
			return TYPE_HISTOGRAM;
		case ES_METRIC_SUMMARY:
			return TYPE_SUMMARY;
	}
	elog(ERROR, "unknown kind of metric: %d", (int) family->kind);
	return TYPE_GAUGE;
}

static int
compare_claims(const void *a, const void *b)
{
	const Claim *x = a;
	const Claim *y = b;
	int			cmp = strcmp(x->name, y->name);

	return cmp != 0 ? cmp : x->entry < y->entry ? -1 : x->entry > y->entry;
}

/*
 * Find the families that cannot be told from others.  Those of one name and
 * one type in several databases can, by the label of the database that their
 * samples have.
 */
static void
find_rivals(Entry *entries, int count)
{
	static const char *const suffixes[][6] = {
		[TYPE_COUNTER] = {"", "_total", "_created"},
		[TYPE_GAUGE] = {""},
		[TYPE_HISTOGRAM] = {"", "_bucket", "_sum", "_count", "_created"},
		[TYPE_SUMMARY] = {"", "_sum", "_count", "_created"},
	};
	Claim	   *claims = palloc(sizeof(Claim) * Max(count, 1) * lengthof(suffixes[0]));
	Entry	   *owner = NULL;
	int			n = 0;

	for (int i = 0; i < count; i++)
		for (int s = 0; suffixes[entries[i].type][s] != NULL; s++)
			claims[n++] = (Claim) {psprintf("%s%s", entries[i].family->name, suffixes[entries[i].type][s]), &entries[i]};
	qsort(claims, n, sizeof(Claim), compare_claims);

	for (int i = 0; i < n; i++)
	{
		Entry	   *entry = claims[i].entry;

		if (i == 0 || strcmp(claims[i].name, claims[i - 1].name) != 0)
			owner = entry;
		else if (entry->rival == NULL &&
				 (entry->type != owner->type || strcmp(entry->family->name, owner->family->name) != 0 ||
				  (entry != owner && entry->family->dbid == (entry - 1)->family->dbid)))
			entry->rival = owner;
	}
}

/* --- text --- */

/* Text as UTF-8; what is no UTF-8 becomes '?'. */
static void
append_escaped(Writer *w, StringInfo out, const char *text, bool quotes)
{
	const char *end = text + strlen(text);

	while (text < end)
	{
		int			len = 1;

		if (!IS_HIGHBIT_SET(*text))
		{
			if (*text == '\n')
				appendBinaryStringInfo(out, "\\n", 2);
			else
			{
				if (*text == '\\' || (*text == '"' && quotes))
					appendStringInfoCharMacro(out, '\\');
				appendStringInfoCharMacro(out, *text);
			}
		}
		else
		{
			len = pg_utf_mblen((const unsigned char *) text);
			if (len > end - text || !pg_utf8_islegal((const unsigned char *) text, len))
				len = 0;
			if (len == 0 || w->ascii)
				appendStringInfoCharMacro(out, '?');
			else
				appendBinaryStringInfo(out, text, len);
			len = Max(len, 1);
		}
		text += len;
	}
}

static void
append_int(StringInfo out, int64 value)
{
	char		buf[MAXINT8LEN + 1];

	appendBinaryStringInfo(out, buf, pg_lltoa(value, buf));
}

/* Whole numbers as such, others with as many digits as tell them from all others. */
static void
append_value(StringInfo out, double value)
{
	if (isnan(value))
		appendStringInfoString(out, "NaN");
	else if (isinf(value))
		appendStringInfoString(out, value > 0 ? "+Inf" : "-Inf");
	else if (value == rint(value) && fabs(value) < 1e18)
		append_int(out, (int64) value);
	else
	{
		char		buf[DOUBLE_SHORTEST_DECIMAL_LEN];

		appendBinaryStringInfo(out, buf, double_to_shortest_decimal_buf(value, buf));
	}
}

/*
 * A number as the value of a label.  Its text is part of the name of a series,
 * so there must be one form of it: always with a point (OpenMetrics asks for
 * that), with an exponent from a million on, as Go writes it.
 */
static void
append_bound(StringInfo out, double bound)
{
	char		buf[DOUBLE_SHORTEST_DECIMAL_LEN];
	char		digits[DOUBLE_SHORTEST_DECIMAL_LEN];
	int			whole = 0;
	int			n = 0;
	char	   *c;

	if (isnan(bound) || isinf(bound))
	{
		append_value(out, bound);
		return;
	}
	double_to_shortest_decimal_buf(bound, buf);
	if (strchr(buf, 'e') != NULL)
	{
		appendStringInfoString(out, buf);
		return;
	}
	if (fabs(bound) < 1e6)
	{
		appendStringInfoString(out, buf);
		if (strchr(buf, '.') == NULL)
			appendStringInfoString(out, ".0");
		return;
	}
	c = buf;
	if (*c == '-')
		appendStringInfoChar(out, *c++);
	for (whole = strcspn(c, "."); *c; c++)
		if (*c != '.')
			digits[n++] = *c;
	while (n > 1 && digits[n - 1] == '0')
		n--;
	appendStringInfoChar(out, digits[0]);
	if (n > 1)
		appendStringInfo(out, ".%.*s", n - 1, digits + 1);
	appendStringInfo(out, "e+%02d", whole - 1);
}

static void
append_moment(StringInfo out, TimestampTz moment)
{
	int64		us = moment + (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;

	appendStringInfo(out, "%lld.%06lld", (long long) (us / USECS_PER_SEC), (long long) (us % USECS_PER_SEC));
}

/* --- lines --- */

/* Write the labels of a sample to w->labels. */
static void
set_labels(Writer *w, const EsSample *sample)
{
	resetStringInfo(&w->labels);
	for (int i = 0; i < sample->nlabels; i++)
	{
		if (i > 0)
			appendStringInfoCharMacro(&w->labels, ',');
		appendStringInfoString(&w->labels, sample->labels[i].name);
		appendStringInfoString(&w->labels, "=\"");
		append_escaped(w, &w->labels, sample->labels[i].value, true);
		appendStringInfoCharMacro(&w->labels, '"');
	}
}

/* The beginning of a line: name and labels, and one more label if its name is not NULL. */
static void
begin_line(Writer *w, const Entry *entry, const char *suffix, const char *label, double bound)
{
	StringInfo	out = &w->out;

	appendStringInfoString(out, entry->family->name);
	appendStringInfoString(out, suffix);
	if (w->labels.len > 0 || label != NULL)
	{
		appendStringInfoCharMacro(out, '{');
		appendBinaryStringInfo(out, w->labels.data, w->labels.len);
		if (label != NULL)
		{
			if (w->labels.len > 0)
				appendStringInfoCharMacro(out, ',');
			appendStringInfoString(out, label);
			appendStringInfoString(out, "=\"");
			append_bound(out, bound);
			appendStringInfoCharMacro(out, '"');
		}
		appendStringInfoCharMacro(out, '}');
	}
	appendStringInfoCharMacro(out, ' ');
}

static void
value_line(Writer *w, const Entry *entry, const char *suffix, double value)
{
	begin_line(w, entry, suffix, NULL, 0);
	append_value(&w->out, value);
	appendStringInfoCharMacro(&w->out, '\n');
}

static void
count_line(Writer *w, const Entry *entry, const char *suffix, int64 count)
{
	begin_line(w, entry, suffix, NULL, 0);
	append_int(&w->out, count);
	appendStringInfoCharMacro(&w->out, '\n');
}

static void
created_line(Writer *w, const Entry *entry)
{
	if (w->format != ES_FORMAT_OPENMETRICS)
		return;
	begin_line(w, entry, "_created", NULL, 0);
	append_moment(&w->out, entry->family->reset_at);
	appendStringInfoCharMacro(&w->out, '\n');
}

/* A sum that has fallen is no counter, so OpenMetrics will have none of it. */
static bool
may_have_sum(const Writer *w, const EsFamily *family, const EsSample *sample)
{
	return w->format != ES_FORMAT_OPENMETRICS || (sample->sum >= 0 && (family->nbounds == 0 || family->bounds[0] >= 0));
}

/* What stands in a bucket and those below it, and the trace that its latest value was measured in. */
static void
bucket_line(Writer *w, const Entry *entry, const EsSample *sample, int bucket, double bound, int64 count)
{
	const EsExemplar *exemplar = sample->exemplars ? &sample->exemplars[bucket] : NULL;

	begin_line(w, entry, "_bucket", "le", bound);
	append_int(&w->out, count);
	if (w->format == ES_FORMAT_OPENMETRICS && exemplar != NULL && exemplar->at != 0)
	{
		appendStringInfo(&w->out, " # {trace_id=\"%s\",span_id=\"%s\"} ", exemplar->trace_id, exemplar->span_id);
		append_value(&w->out, exemplar->value);
		appendStringInfoCharMacro(&w->out, ' ');
		append_moment(&w->out, exemplar->at);
	}
	appendStringInfoCharMacro(&w->out, '\n');
}

/*
 * Buckets are cumulative here.  What was observed while we looked may be in a
 * bucket and not yet in the count, so the count is what the buckets say.
 */
static void
histogram_lines(Writer *w, const Entry *entry, const EsSample *sample)
{
	const EsFamily *family = entry->family;
	int64		count = 0;

	for (int i = 0; i < family->nbounds; i++)
	{
		count += sample->buckets[i];
		/* an infinite last bound is the line below */
		if (!isinf(family->bounds[i]))
			bucket_line(w, entry, sample, i, family->bounds[i], count);
	}
	count += sample->buckets[family->nbounds];
	bucket_line(w, entry, sample, family->nbounds, get_float8_infinity(), count);
	if (may_have_sum(w, family, sample))
	{
		value_line(w, entry, "_sum", sample->sum);
		count_line(w, entry, "_count", count);
	}
	created_line(w, entry);
}

static void
quantile_line(Writer *w, const Entry *entry, double quantile, double value)
{
	if (w->format == ES_FORMAT_OPENMETRICS && value < 0)
		return;
	begin_line(w, entry, "", "quantile", quantile);
	append_value(&w->out, value);
	appendStringInfoCharMacro(&w->out, '\n');
}

/* Least and greatest are the quantiles 0 and 1. */
static void
summary_lines(Writer *w, const Entry *entry, const EsSample *sample)
{
	const EsFamily *family = entry->family;

	if (sample->count > 0)
	{
		quantile_line(w, entry, 0, sample->min);
		for (int i = 0; i < family->nquantiles; i++)
			if (family->quantiles[i] > 0 && family->quantiles[i] < 1)
				quantile_line(w, entry, family->quantiles[i], sample->quantile_values[i]);
		quantile_line(w, entry, 1, sample->max);
	}
	if (may_have_sum(w, family, sample))
		value_line(w, entry, "_sum", sample->sum);
	count_line(w, entry, "_count", sample->count);
	created_line(w, entry);
}

/* HELP, TYPE and UNIT. */
static void
head_lines(Writer *w, const Entry *entry)
{
	const EsFamily *family = entry->family;
	bool		openmetrics = w->format == ES_FORMAT_OPENMETRICS;
	const char *suffix = entry->type == TYPE_COUNTER && !openmetrics ? "_total" : "";

	appendStringInfo(&w->out, "# HELP %s%s ", family->name, suffix);
	append_escaped(w, &w->out, family->help, openmetrics);
	appendStringInfo(&w->out, "\n# TYPE %s%s %s\n", family->name, suffix, type_names[entry->type]);
	if (openmetrics && family->unit[0] != '\0')
		appendStringInfo(&w->out, "# UNIT %s %s\n", family->name, family->unit);
}

static void
family_lines(Writer *w, const Entry *entry)
{
	for (int i = 0; i < entry->family->nsamples; i++)
	{
		const EsSample *sample = &entry->family->samples[i];

		CHECK_FOR_INTERRUPTS();
		set_labels(w, sample);
		switch (entry->type)
		{
			case TYPE_COUNTER:
				value_line(w, entry, "_total", sample->value);
				created_line(w, entry);
				break;
			case TYPE_GAUGE:
				value_line(w, entry, "", sample->value);
				break;
			case TYPE_HISTOGRAM:
				histogram_lines(w, entry, sample);
				break;
			case TYPE_SUMMARY:
				summary_lines(w, entry, sample);
				break;
		}
	}
}

/*
 * These families, sorted by name, as text, in UTF-8 or, if asked, ASCII; palloc'd, and a lot
 * besides: run it in a memory context of its own.
 */
char *
es_prometheus_render(const EsFamily *families, int count, EsTextFormat format, bool ascii)
{
	Writer		w = {.format = format, .ascii = ascii};
	Entry	   *entries = palloc0(sizeof(Entry) * Max(count, 1));
	const Entry *previous = NULL;

	initStringInfo(&w.out);
	initStringInfo(&w.labels);
	for (int i = 0; i < count; i++)
		entries[i] = (Entry) {.family = &families[i], .type = type_of(&families[i])};
	find_rivals(entries, count);

	for (int i = 0; i < count; i++)
	{
		const Entry *entry = &entries[i];

		if (entry->rival != NULL)
		{
			if (format == ES_FORMAT_PROMETHEUS)
				appendStringInfo(&w.out, "# left out: %s %s of database %u, for there is %s %s\n",
								 type_names[entry->type], entry->family->name, entry->family->dbid,
								 type_names[entry->rival->type], entry->rival->family->name);
			continue;
		}
		if (previous == NULL || strcmp(previous->family->name, entry->family->name) != 0)
			head_lines(&w, entry);
		family_lines(&w, entry);
		previous = entry;
	}
	if (format == ES_FORMAT_OPENMETRICS)
		appendStringInfoString(&w.out, "# EOF\n");
	return w.out.data;
}

/* All metrics as UTF-8, palloc'd in the current memory context. */
char *
es_prometheus_text(EsTextFormat format)
{
	int			count;
	EsFamily   *families = es_metrics_collect(&count);

	return es_prometheus_render(families, count, format, false);
}

/* --- SQL --- */

/* A database in another encoding may not have the characters of the others. */
static text *
text_for_sql(EsTextFormat format)
{
	int			count;
	EsFamily   *families = es_metrics_collect(&count);
	bool		ascii = GetDatabaseEncoding() != PG_UTF8 && GetDatabaseEncoding() != PG_SQL_ASCII;

	return cstring_to_text(es_prometheus_render(families, count, format, ascii));
}

Datum
event_store_prometheus(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(text_for_sql(ES_FORMAT_PROMETHEUS));
}

Datum
event_store_openmetrics(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(text_for_sql(ES_FORMAT_OPENMETRICS));
}
