/*
 * expected.h
 *		The version that a stream is expected to be at.
 */
#ifndef ES_EXPECTED_H
#define ES_EXPECTED_H

/* An expected_version is an int64: a version, or one of these. */
#define ES_EXPECTED_ANY			INT64CONST(-1)
#define ES_EXPECTED_NO_STREAM	INT64CONST(-2)
#define ES_EXPECTED_EXISTS		INT64CONST(-3)

extern void es_expected_check(int64 expected, int64 actual, const char *stream);
extern bool es_expected_met(int64 expected, int64 actual);
extern int	es_expected_sqlstate(int64 expected);

extern int64 es_expected_from_number(int64 number);
extern int64 es_expected_from_string(const char *string);
extern char *es_expected_to_string(int64 expected);

#endif							/* ES_EXPECTED_H */
