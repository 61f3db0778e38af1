/*
 * try.h
 *		try(): a statement whose failure is an answer, not an error.
 */
#ifndef ES_TRY_H
#define ES_TRY_H

#include "base/parameters.h"

extern Datum es_try_answer(const ErrorData *error, const char *query);
extern Datum es_try(const char *query, EsParameters *p, bool *failed);

#endif							/* ES_TRY_H */
