/*
 * arguments.h
 *		What SQL-callable functions check before they begin.
 */
#ifndef ES_ARGUMENTS_H
#define ES_ARGUMENTS_H

#include "datatype/timestamp.h"
#include "fmgr.h"

extern void es_require_writable(void);
extern void es_require_argument(FunctionCallInfo fcinfo, int argument, const char *name);
extern void es_require_function(Oid function);
extern int64 es_interval_ms(const Interval *interval);

#endif							/* ES_ARGUMENTS_H */
