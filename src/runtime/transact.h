/*
 * transact.h
 *		A transaction of a background process that may fail.
 */
#ifndef ES_TRANSACT_H
#define ES_TRANSACT_H

typedef enum EsTransacted
{
	ES_TRANSACT_DONE,
	ES_TRANSACT_LOCKED,			/* a lock was not to be had in time */
	ES_TRANSACT_FAILED			/* the error stands in the log */
} EsTransacted;

extern EsTransacted es_transact(void (*work) (void *argument), void *argument);

#endif							/* ES_TRANSACT_H */
