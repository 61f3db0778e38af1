/*
 * handler_operate.h
 *		Operating event handlers.
 */
#ifndef ES_HANDLER_OPERATE_H
#define ES_HANDLER_OPERATE_H

extern void es_handler_begin(const char *name);
extern Oid es_handler_require_owner(const char *name, int *concurrency);

#endif							/* ES_HANDLER_OPERATE_H */
