/*
 * child.h
 *		Children of supervisors: their processes.
 */
#ifndef ES_CHILD_H
#define ES_CHILD_H

#include "postmaster/bgworker.h"

#include "runtime/child_table.h"

/* What the process of a child is told. */
typedef struct EsChildStart
{
	int			place;
	uint64		generation;
	Oid			dbid;
} EsChildStart;

extern bool es_child_register(const EsChild *child, BackgroundWorkerHandle **handle);

/* for the scheduler of a database: restart those that have ended, start those that wait */
extern void es_children_turn(void);

#endif							/* ES_CHILD_H */
