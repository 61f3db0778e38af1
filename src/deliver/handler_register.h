/*
 * handler_register.h
 *		Registering event handlers.
 */
#ifndef ES_HANDLER_REGISTER_H
#define ES_HANDLER_REGISTER_H

#include "fmgr.h"

#include "deliver/event_handler.h"

/* At which arguments of a function stands what all registrations have. */
typedef struct EsHandlerArguments
{
	int			name;
	int			start_from;
	int			stream;
	int			category;
	int			types;
	int			filter;
	int			consistency;
	int			max_attempts;
	int			backoff;
	int			on_exhausted;
	int			tenant;
	int			background;
	int			replace;
} EsHandlerArguments;

extern Datum es_handler_signature(const char *name, EsFunctionShape shape);
extern void es_handler_check_start(const char *start_from);
extern void es_handler_common_arguments(FunctionCallInfo fcinfo, const EsHandlerArguments *at, Datum *values, bool *nulls);
extern void es_handler_forget_store(int64 store_number);
extern void es_handler_register(const char *name, Datum *values, bool *nulls, bool replace, bool background);

#endif							/* ES_HANDLER_REGISTER_H */
