/*
 * middleware.h
 *		Functions that every command passes on its way.
 */
#ifndef ES_MIDDLEWARE_H
#define ES_MIDDLEWARE_H

#include "utils/jsonb.h"

#include "model/prepared.h"

/* Columns of middleware_registry. */
enum EsMiddlewareColumn
{
	MIDDLEWARE_NAME,
	MIDDLEWARE_STAGE,
	MIDDLEWARE_ORDINAL,
	MIDDLEWARE_FUNCTION,
	MIDDLEWARE_OWNER,
	MIDDLEWARE_REGISTERED_AT,
	MIDDLEWARE_NCOLUMNS
};

typedef enum EsStage
{
	ES_STAGE_BEFORE_DISPATCH,
	ES_STAGE_AFTER_DISPATCH,
	ES_STAGE_AFTER_FAILURE,
	ES_STAGE_COUNT
} EsStage;

/* The middleware that counts in the stores of one owner, ready to run. */
typedef struct EsMiddleware
{
	EsPrepared	prepared;
	List	   *stages[ES_STAGE_COUNT];	/* each in order */
} EsMiddleware;

extern EsMiddleware *es_middleware_take(const EsStore *store, Relation log);
extern void es_middleware_give(EsMiddleware *middleware);
extern Jsonb *es_middleware_run(EsMiddleware *middleware, EsStage stage, Jsonb *pipeline);

extern Jsonb *es_pipeline_new(void);
extern Jsonb *es_pipeline_set(const Jsonb *pipeline, const char *member, Jsonb *value);
extern Jsonb *es_pipeline_set_text(const Jsonb *pipeline, const char *member, const char *value);
extern Jsonb *es_pipeline_set_number(const Jsonb *pipeline, const char *member, int64 value);
extern Jsonb *es_pipeline_get(const Jsonb *pipeline, const char *member);

#endif							/* ES_MIDDLEWARE_H */
