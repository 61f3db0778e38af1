/*
 * problem_type.h
 *		The catalogue of problem types: those of the extension and those that
 *		users register.
 */
#ifndef ES_PROBLEM_TYPE_H
#define ES_PROBLEM_TYPE_H

#include "base/errors.h"

#define ES_LANGUAGE		"en"	/* of the titles that are not translated */

extern const EsProblemType *es_type_of_uri(const char *uri);
extern const EsProblemType *es_type_of_sqlstate(int sqlstate);
extern const char *es_type_title(const EsProblemType *type, const char **language);

extern bool es_is_uri_reference(const char *text);
extern bool es_is_member_name(const char *name);
extern bool es_is_reserved_member(const char *name);
extern char *es_json_pointer(const char *parent, const char *name);
extern bool es_is_sqlstate(const char *text);

#endif							/* ES_PROBLEM_TYPE_H */
