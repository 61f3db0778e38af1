/*
 * json_text.h
 *		Parts of JSON text as they stand there, for text that is known to be valid.
 */
#ifndef ES_JSON_TEXT_H
#define ES_JSON_TEXT_H

/* A part of a text, without white space around it. */
typedef struct EsJsonPart
{
	const char *start;
	const char *stop;			/* the first byte after it */
} EsJsonPart;

/* Whether a part is null. */
static inline bool
es_json_part_is_null(const EsJsonPart *part)
{
	return *part->start == 'n';
}

extern EsJsonPart es_json_part(const text *json);
extern bool es_json_part_element(const EsJsonPart *array, EsJsonPart *element);
extern bool es_json_part_member(const EsJsonPart *object, const char *name, EsJsonPart *value);
extern int	es_json_text_depth(const text *json);

#endif							/* ES_JSON_TEXT_H */
