/*
 * problem.h
 *		Problem documents as they are made, read and raised.
 */
#ifndef ES_PROBLEM_H
#define ES_PROBLEM_H

#include "lib/stringinfo.h"
#include "utils/jsonb.h"

#include "base/errors.h"

/* What is known of a failed statement. */
typedef struct EsFailure
{
	int			sqlstate;
	const char *message;
	const char *detail;
	const char *hint;

	/* shown with event_store.problem_debug only; those that are NULL are left out */
	const char *schema;
	const char *table;
	const char *column;
	const char *constraint;
	const char *datatype;
	const char *context;
	const char *query;
	const char *file;
	const char *function;
	int			line;
} EsFailure;

extern EsFailure es_failure_of(const ErrorData *error);
extern char *es_problem_from_failure(const EsFailure *failure, const char *instance);
extern Datum es_document_jsonb(const char *document);

extern void EsProblemLogInit(void);

#endif							/* ES_PROBLEM_H */
