/*
 * json.h
 *		From JSON text to jsonb, faster than the server's input function.
 */
#ifndef ES_JSON_H
#define ES_JSON_H

#include "utils/jsonb.h"
#include "utils/numeric.h"

typedef enum EsJsonKind
{
	ES_JSON_NULL,
	ES_JSON_FALSE,
	ES_JSON_TRUE,
	ES_JSON_STRING,
	ES_JSON_NUMBER,				/* without exponent, its digits are in the text */
	ES_JSON_NUMERIC,			/* any other, as the server made it */
	ES_JSON_ARRAY,
	ES_JSON_OBJECT
} EsJsonKind;

/*
 * A value of parsed text.  A container is followed by what is in it, in the
 * order of the text: an array by its elements, an object by a key (a string)
 * and its value in turn.
 */
typedef struct EsJsonNode
{
	uint8		kind;			/* an EsJsonKind */
	bool		negative;		/* number */
	uint16		fraction;		/* number: digits after the point */
	uint32		size;			/* bytes of a string, digits before the point, elements, pairs */
	union
	{
		const char *text;		/* a string unescaped, without a zero byte; the first digit */
		Numeric		numeric;
		struct
		{
			uint32		span;	/* nodes, this one included */
			uint32		room;	/* bytes that are enough for it in a jsonb */
		}			container;
	}			val;
} EsJsonNode;

extern EsJsonNode *es_json_parse(const char *text, Size length);
extern Jsonb *es_json_to_jsonb(const EsJsonNode *node);
extern Jsonb *es_jsonb_in(const text *json);
extern Jsonb *es_jsonb_in_server(const text *json);

/* What follows a value and all that is in it. */
static inline const EsJsonNode *
es_json_next(const EsJsonNode *node)
{
	return node + (node->kind < ES_JSON_ARRAY ? 1 : node->val.container.span);
}

/* -1 if it is no hexadecimal digit */
static inline int
es_hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

#endif							/* ES_JSON_H */
