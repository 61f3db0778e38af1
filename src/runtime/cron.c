/*
 * cron.c
 *		When something that happens again and again is due.
 *
 * A timing is an interval or the five fields of cron: minute, hour, day of the
 * month, month and day of the week, each with *, numbers, names, ranges, steps
 * and lists.  If days of the month and of the week are both given, either will
 * do.
 *
 * The fields are of local time.  Where clocks are set forward, what was due in
 * the hour that did not happen is due once, right after it; where they are set
 * back, what was due in the hour that happens twice is due in the first one
 * only.  A timing for every hour follows the time that passes: it is due in
 * both hours, and not made up for.
 *
 * Everything here is a function of its arguments.
 */
#include "postgres.h"

#include <ctype.h>

#include "datatype/timestamp.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "base/arguments.h"
#include "base/attempt.h"
#include "base/errors.h"
#include "runtime/cron.h"

#define ONE_MINUTE			(60 * INT64CONST(1000000))
#define LONGEST_SEARCH	(12 * INT64CONST(366) * 24 * 60 * ONE_MINUTE)	/* February 29 may be eight years away */
#define ALL_HOURS		((1U << 24) - 1)
#define SHORTEST		INT64CONST(100)	/* ms */
#define LONGEST			(INT64CONST(3660) * 24 * 3600 * 1000)

typedef struct Field
{
	const char *what;
	int			lowest;
	int			highest;
	int			first_name;		/* the number of the first name */
	const char *names[13];		/* three letters each */
} Field;

static const Field fields[] = {
	{"minute", 0, 59},
	{"hour", 0, 23},
	{"day of the month", 1, 31},
	{"month", 1, 12, 1, {"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}},
	{"day of the week", 0, 7, 0, {"sun", "mon", "tue", "wed", "thu", "fri", "sat"}},
};

static const char *const nicknames[][2] = {
	{"@yearly", "0 0 1 1 *"},
	{"@annually", "0 0 1 1 *"},
	{"@monthly", "0 0 1 * *"},
	{"@weekly", "0 0 * * 0"},
	{"@daily", "0 0 * * *"},
	{"@midnight", "0 0 * * *"},
	{"@hourly", "0 * * * *"},
};

/* --- reading --- */

/* Read a number or a name; false if there is neither. */
static bool
parse_value(const Field *field, const char **text, int *value)
{
	const char *c = *text;

	if (isdigit((unsigned char) *c))
	{
		for (*value = 0; isdigit((unsigned char) *c); c++)
			*value = Min(*value * 10 + (*c - '0'), 1000);
		*text = c;
		return *value >= field->lowest && *value <= field->highest;
	}
	for (int i = 0; field->names[i] != NULL; i++)
		if (pg_strncasecmp(c, field->names[i], 3) == 0 && !isalnum((unsigned char) c[3]))
		{
			*value = field->first_name + i;
			*text = c + 3;
			return true;
		}
	return false;
}

/* Read one item of a list: * or a value or a range, and perhaps a step. */
static bool
parse_item(const Field *field, const char **text, uint64 *set)
{
	int			from = field->lowest;
	int			to = field->highest;
	int			step = 1;
	bool		range = true;

	if (**text == '*')
		(*text)++;
	else
	{
		if (!parse_value(field, text, &from))
			return false;
		range = **text == '-';
		to = from;
		if (range)
		{
			(*text)++;
			if (!parse_value(field, text, &to) || to < from)
				return false;
		}
	}
	if (**text == '/')
	{
		static const Field steps = {"step", 1, 59};

		(*text)++;
		if (!isdigit((unsigned char) **text) || !parse_value(&steps, text, &step))
			return false;
		if (!range)
			to = field->highest;
	}
	for (int i = from; i <= to; i += step)
		*set |= UINT64CONST(1) << i;
	return true;
}

static bool
parse_field(const Field *field, const char **text, uint64 *set)
{
	*set = 0;
	for (;;)
	{
		if (!parse_item(field, text, set))
			return false;
		if (**text != ',')
			return **text == '\0' || isspace((unsigned char) **text);
		(*text)++;
	}
}

/* The five fields of cron; NULL, or what is wrong, palloc'd. */
static const char *
parse_cron(const char *text, EsTiming *timing)
{
	uint64		sets[lengthof(fields)];
	bool		any[lengthof(fields)];

	for (int i = 0; i < lengthof(nicknames); i++)
		if (pg_strcasecmp(text, nicknames[i][0]) == 0)
			text = nicknames[i][1];
	for (int i = 0; i < lengthof(fields); i++)
	{
		while (isspace((unsigned char) *text))
			text++;
		if (*text == '\0')
			return psprintf("the %s is missing", fields[i].what);
		any[i] = *text == '*';
		if (!parse_field(&fields[i], &text, &sets[i]))
			return psprintf("the %s is not understood", fields[i].what);
	}
	while (isspace((unsigned char) *text))
		text++;
	if (*text != '\0')
		return "there are more than five fields";

	/* Sunday is 7 as well */
	if (sets[4] & (1 << 7))
		sets[4] = (sets[4] | 1) & 0x7F;
	*timing = (EsTiming) {
		.minutes = sets[0], .hours = sets[1], .days = sets[2], .months = sets[3], .weekdays = sets[4],
			.any_day = any[2], .any_weekday = any[4]
	};
	return NULL;
}

/* Does it look like cron: a nickname, a star, or five words of which the second is no unit? */
static bool
looks_like_cron(const char *text)
{
	int			words = 0;
	bool		unit = false;

	for (const char *c = text; *c; c++)
		if (!isspace((unsigned char) *c) && (c == text || isspace((unsigned char) c[-1])))
		{
			words++;
			unit = unit || (words == 2 && isalpha((unsigned char) *c));
		}
	return (text[0] == '@' && isalpha((unsigned char) text[1])) || strchr(text, '*') != NULL || (words == lengthof(fields) && !unit);
}

/* An interval; NULL, or what is wrong, palloc'd.  What is no interval at all is the server's error. */
static const char *
parse_interval(const char *text, EsTiming *timing)
{
	Interval   *interval = DatumGetIntervalP(DirectFunctionCall3(interval_in, CStringGetDatum(text),
																 ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));

	if (interval->month != 0)
		return "an interval of months has no fixed length";
	*timing = (EsTiming) {.every = es_interval_ms(interval)};
	if (timing->every < SHORTEST || timing->every > LONGEST)
		return "an interval is at least 100 ms and at most ten years long";
	return NULL;
}

/*
 * Read a timing; NULL, or what is wrong.  Text that is neither cron nor an
 * interval raises the server's error about intervals.
 */
const char *
es_timing_parse(const char *text, EsTiming *timing)
{
	while (isspace((unsigned char) *text))
		text++;
	return looks_like_cron(text) ? parse_cron(text, timing) : parse_interval(text, timing);
}

/* --- the next time --- */

/* The local time at a time. */
static void
local_time(TimestampTz at, pg_tz *zone, struct pg_tm *tm)
{
	fsec_t		fsec;
	int			offset;

	if (timestamp2tm(at, &offset, tm, &fsec, NULL, zone) != 0)
		ereport(ERROR,
				(es_problem(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE, NULL, "the time of a run is out of range")));
	tm->tm_wday = j2day(date2j(tm->tm_year, tm->tm_mon, tm->tm_mday));
}

/* The time of a local time.  One that does not exist is as far after the change as it would have been before. */
static TimestampTz
time_of(struct pg_tm *tm, pg_tz *zone)
{
	Timestamp	result;
	int			offset = DetermineTimeZoneOffset(tm, zone);

	if (tm2timestamp(tm, 0, &offset, &result) != 0)
		ereport(ERROR,
				(es_problem(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE, NULL, "the time of a run is out of range")));
	return result;
}

static bool
matches_day(const EsTiming *timing, const struct pg_tm *tm)
{
	bool		day = (timing->days >> tm->tm_mday) & 1;
	bool		weekday = (timing->weekdays >> tm->tm_wday) & 1;

	return timing->any_day || timing->any_weekday ? day && weekday : day || weekday;
}

static bool
matches(const EsTiming *timing, const struct pg_tm *tm)
{
	return (timing->months >> tm->tm_mon & 1) && matches_day(timing, tm) && (timing->hours >> tm->tm_hour & 1) &&
		(timing->minutes >> tm->tm_min & 1);
}

/* Minutes of local time since some beginning. */
static int64
minutes_of(const struct pg_tm *tm)
{
	return (int64) date2j(tm->tm_year, tm->tm_mon, tm->tm_mday) * 24 * 60 + tm->tm_hour * 60 + tm->tm_min;
}

static void
set_minutes(struct pg_tm *tm, int64 minutes)
{
	int			day = minutes / (24 * 60);

	j2date(day, &tm->tm_year, &tm->tm_mon, &tm->tm_mday);
	tm->tm_wday = j2day(day);
	tm->tm_hour = minutes / 60 % 24;
	tm->tm_min = minutes % 60;
}

/* Was a minute due that the clocks have just left out? */
static bool
left_out(const EsTiming *timing, TimestampTz at, const struct pg_tm *now, pg_tz *zone)
{
	struct pg_tm before;
	struct pg_tm skipped = *now;

	local_time(at - ONE_MINUTE, zone, &before);
	for (int64 m = minutes_of(&before) + 1; m < minutes_of(now); m++)
	{
		set_minutes(&skipped, m);
		if (matches(timing, &skipped))
			return true;
	}
	return false;
}

/* Has this local time been before, since the clocks were set back? */
static bool
is_repeated(TimestampTz at, const struct pg_tm *now, pg_tz *zone)
{
	static const int changes[] = {30, 60, 120};

	for (int i = 0; i < lengthof(changes); i++)
	{
		struct pg_tm before;

		local_time(at - changes[i] * ONE_MINUTE, zone, &before);
		if (minutes_of(&before) == minutes_of(now))
			return true;
	}
	return false;
}

/* The next time of the five fields, DT_NOEND if there is none. */
static TimestampTz
next_of_fields(const EsTiming *timing, TimestampTz after, pg_tz *zone)
{
	bool		every_hour = timing->hours == ALL_HOURS;
	TimestampTz at = after - after % ONE_MINUTE + (after % ONE_MINUTE < 0 ? 0 : ONE_MINUTE);
	TimestampTz last = after + LONGEST_SEARCH;

	while (at < last)
	{
		struct pg_tm tm;
		TimestampTz next;

		local_time(at, zone, &tm);
		if (!every_hour && left_out(timing, at, &tm, zone))
			return at;
		if (!(timing->months >> tm.tm_mon & 1) || !matches_day(timing, &tm))
		{
			bool		month = !(timing->months >> tm.tm_mon & 1);
			int			day = date2j(tm.tm_year, tm.tm_mon, tm.tm_mday);

			day += month ? day_tab[isleap(tm.tm_year)][tm.tm_mon - 1] - tm.tm_mday + 1 : 1;
			j2date(day, &tm.tm_year, &tm.tm_mon, &tm.tm_mday);
			tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
			next = time_of(&tm, zone);
			/* the first midnight of a day that has two may lie behind */
			at = Max(next, at + ONE_MINUTE);
		}
		else if (!(timing->hours >> tm.tm_hour & 1))
			at += (60 - tm.tm_min) * ONE_MINUTE;
		else if (!(timing->minutes >> tm.tm_min & 1) || (!every_hour && is_repeated(at, &tm, zone)))
			at += ONE_MINUTE;
		else
			return at;
	}
	return DT_NOEND;
}

/* The first time of a timing after a time; DT_NOEND if there is none. */
TimestampTz
es_timing_next(const EsTiming *timing, TimestampTz after, pg_tz *zone)
{
	if (timing->every > 0)
		return TimestampTzPlusMilliseconds(after, timing->every);
	return next_of_fields(timing, after, zone);
}
