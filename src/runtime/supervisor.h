/*
 * supervisor.h
 *		Supervisors: who has which children.
 */
#ifndef ES_SUPERVISOR_H
#define ES_SUPERVISOR_H

extern void es_supervisor_failed(void *child);

#endif							/* ES_SUPERVISOR_H */
