/*
 * dispatch.h
 *		Executing commands.
 */
#ifndef ES_DISPATCH_H
#define ES_DISPATCH_H

#include "store/store.h"

/* For a floor above: raises an error if somebody has to see what is appended to the store before a dispatch returns, and cannot. */
typedef void (*EsStrongHook) (EsStore *store);

extern EsStrongHook es_strong_hook;

#endif							/* ES_DISPATCH_H */
