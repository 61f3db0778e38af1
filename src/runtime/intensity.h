/*
 * intensity.h
 *		How often supervisors have restarted their children.
 */
#ifndef ES_INTENSITY_H
#define ES_INTENSITY_H

#include "runtime/child_table.h"

/* A supervisor that has restarted too often, and the child that was the last one. */
typedef struct EsFailedSupervisor
{
	NameData	name;
	int			max_restarts;
	int			max_seconds;
	int			sqlstate;		/* of the child's last error, 0: none */
	char		message[ES_CHILD_MESSAGE];
} EsFailedSupervisor;

/* the caller holds ES_LWLOCK_CHILDREN */
extern bool es_intensity_count(const EsChild *child, TimestampTz now);
extern bool es_intensity_has_failed(Oid dbid, const char *supervisor);
extern void es_intensity_last_child_gone(Oid dbid, const char *supervisor);
extern void es_intensity_forget(Oid dbid, const char *supervisor);

/* the scheduler of the database */
extern bool es_intensity_any_failed(Oid dbid);
extern bool es_intensity_take_failed(EsFailedSupervisor *failed);

extern Size es_intensity_size(void);
extern void es_intensity_attach(void *area);

#endif							/* ES_INTENSITY_H */
