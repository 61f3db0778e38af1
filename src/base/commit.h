/*
 * commit.h
 *		Procedures that end transactions.
 */
#ifndef ES_COMMIT_H
#define ES_COMMIT_H

#include "fmgr.h"

extern bool es_call_is_atomic(FunctionCallInfo fcinfo);
extern void es_commit(void);

#endif							/* ES_COMMIT_H */
