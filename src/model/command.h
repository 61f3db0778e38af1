/*
 * command.h
 *		Registered commands: what decides on which events.
 */
#ifndef ES_COMMAND_H
#define ES_COMMAND_H

#include "utils/jsonb.h"

#include "model/aggregate.h"

/* Columns of command_registry. */
enum EsCommandColumn
{
	COMMAND_TYPE,
	COMMAND_AGGREGATE,
	COMMAND_HANDLERS,
	COMMAND_IDENTITY,
	COMMAND_IDENTITY_FUNCTION,
	COMMAND_BEFORE,
	COMMAND_TIMEOUT,
	COMMAND_SCHEMA,
	COMMAND_OWNER,
	COMMAND_REGISTERED_AT,
	COMMAND_NCOLUMNS
};

/* The parameters of a command's functions. */
enum EsCommandParameter
{
	ES_PARAM_HANDLER_STATE,
	ES_PARAM_COMMAND
};

/* A registered command, ready to dispatch. */
typedef struct EsCommand
{
	EsPrepared	prepared;
	char	   *aggregate;
	char	   *identity;		/* member of the command that holds the id */
	EsCall	   *identity_function;	/* in its place, or NULL */
	EsCall	   *before;			/* changes the command, or NULL */
	List	   *handlers;		/* of EsCall: one, and further steps */
	int64		timeout;		/* in ms, 0: none */
	Jsonb	   *schema;			/* or NULL */
	Oid			state_type;		/* that the functions take */
} EsCommand;

extern EsCommand *es_command_take(const char *type, const EsStore *store, Relation log);
extern void es_command_give(EsCommand *command);

#endif							/* ES_COMMAND_H */
