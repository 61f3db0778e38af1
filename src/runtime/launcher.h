/*
 * launcher.h
 *		The launcher, and where it and the workers meet.
 */
#ifndef ES_LAUNCHER_H
#define ES_LAUNCHER_H

/* What a worker tells the launcher when it leaves. */
typedef enum EsWorkerEnd
{
	ES_WORKER_STOPPED,			/* start it again */
	ES_WORKER_ABSENT			/* the database has not got the extension */
} EsWorkerEnd;

extern bool es_worker_begin(int number);
extern bool es_worker_should_stop(int number);
extern void es_worker_end(int number, EsWorkerEnd how);

extern int	es_workers_ask_to_leave(Oid dbid);

extern void EsLauncherInit(void);

#endif							/* ES_LAUNCHER_H */
