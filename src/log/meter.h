/*
 * meter.h
 *		What the log counts and measures.
 */
#ifndef ES_METER_H
#define ES_METER_H

#include "portability/instr_time.h"

#include "observe/counters.h"
#include "observe/execute.h"
#include "store/store.h"

extern int	es_meter_append_begin(bool measured);
extern void es_meter_append_store(int attempt, EsStore *store);
extern void es_meter_append_refused(int attempt, EsStore *store);
extern void es_meter_append_repeated(int attempt);
extern void es_meter_append_done(int attempt, EsStore *store, int events, int64 bytes, int new_streams);

extern void EsMeterInit(void);

/* A read in progress. */
typedef struct EsReadMeter
{
	bool		on;
	instr_time	start;
	double		asleep;			/* seconds */
} EsReadMeter;

static inline double
es_meter_seconds_since(instr_time start)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_SUBTRACT(now, start);
	return INSTR_TIME_GET_DOUBLE(now);
}

static inline void
es_meter_read_begin(EsReadMeter *meter)
{
	meter->on = es_telemetry;
	meter->asleep = 0;
	if (meter->on)
		INSTR_TIME_SET_CURRENT(meter->start);
}

extern void es_meter_read_done(const EsReadMeter *meter, int kind, int64 events);

#endif							/* ES_METER_H */
