/*
 * launcher.h
 *		The launcher, and where it and the schedulers meet.
 */
#ifndef ES_LAUNCHER_H
#define ES_LAUNCHER_H

/* What a scheduler tells the launcher when it leaves. */
typedef enum EsSchedulerEnd
{
	ES_SCHEDULER_STOPPED,			/* start it again */
	ES_SCHEDULER_ABSENT			/* the database has not got the extension */
} EsSchedulerEnd;

extern bool es_scheduler_begin(int number);
extern bool es_scheduler_should_stop(int number);
extern void es_scheduler_end(int number, EsSchedulerEnd how);

extern int	es_schedulers_ask_to_leave(Oid dbid);

extern void EsLauncherInit(void);

#endif							/* ES_LAUNCHER_H */
