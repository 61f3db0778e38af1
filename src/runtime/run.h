/*
 * run.h
 *		One step of a task.
 */
#ifndef ES_RUN_H
#define ES_RUN_H

#include "runtime/pool.h"

extern void es_run_step(const EsAssignment *assignment, EsRunOutcome *outcome);
extern void es_run_note_lost(const EsAssignment *assignment, EsRunOutcome *outcome);

#endif							/* ES_RUN_H */
