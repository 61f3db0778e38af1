/*
 * schedule.h
 *		Statements and functions that run again and again.
 */
#ifndef ES_SCHEDULE_H
#define ES_SCHEDULE_H

extern void EsScheduleInit(void);

#endif							/* ES_SCHEDULE_H */
