/*
 * cron.h
 *		When something that happens again and again is due.
 */
#ifndef ES_CRON_H
#define ES_CRON_H

#include "pgtime.h"
#include "utils/timestamp.h"

/* The times of a schedule: an interval, or the five fields of cron as sets of bits. */
typedef struct EsTiming
{
	int64		every;			/* ms; 0: the fields */
	uint64		minutes;
	uint32		hours;
	uint32		days;			/* of the month, from 1 */
	uint32		months;			/* from 1 */
	uint32		weekdays;		/* Sunday is 0 */
	bool		any_day;		/* the field of days begins with a star */
	bool		any_weekday;
} EsTiming;

extern const char *es_timing_parse(const char *text, EsTiming *timing);
extern TimestampTz es_timing_next(const EsTiming *timing, TimestampTz after, pg_tz *zone);

#endif							/* ES_CRON_H */
