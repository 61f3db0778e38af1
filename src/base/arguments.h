/*
 * arguments.h
 *		What SQL-callable functions check before they begin.
 */
#ifndef ES_ARGUMENTS_H
#define ES_ARGUMENTS_H

#include "fmgr.h"

extern void es_require_writable(void);
extern void es_require_argument(FunctionCallInfo fcinfo, int argument, const char *name);

#endif							/* ES_ARGUMENTS_H */
