/*
 * json_text.c
 *		Parts of JSON text as they stand there, for text that is known to be valid.
 *
 * The parser (base/json) gives values.  What is here gives the bytes that a
 * value was written with, for those who keep them.  Nothing is checked: the
 * text has been through the parser or the server's input function, so every
 * bracket and quote has its partner.  Bytes are compared with ASCII characters,
 * which are never part of a longer character in a server encoding.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"

#include "base/json.h"
#include "base/json_text.h"

static inline bool
is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static inline const char *
skip_space(const char *c, const char *end)
{
	while (c < end && is_space(*c))
		c++;
	return c;
}

/* c is at the opening quote; returns what follows the closing one. */
static const char *
string_end(const char *c)
{
	for (c++; *c != '"'; c++)
		if (*c == '\\')
			c++;
	return c + 1;
}

/* Returns what follows the value at c.  *depth: how deep its arrays and objects are nested. */
static const char *
value_end(const char *c, const char *end, int *depth)
{
	int			level = 0;

	*depth = 0;
	if (*c == '"')
		return string_end(c);
	if (*c != '{' && *c != '[')
	{
		while (c < end && !is_space(*c) && *c != ',' && *c != ']' && *c != '}')
			c++;
		return c;
	}
	CHECK_FOR_INTERRUPTS();
	do
	{
		switch (*c)
		{
			case '"':
				c = string_end(c);
				continue;
			case '{':
			case '[':
				level++;
				*depth = Max(*depth, level);
				break;
			case '}':
			case ']':
				level--;
				break;
		}
		c++;
	} while (level > 0);
	return c;
}

/* The value that a text is. */
EsJsonPart
es_json_part(const text *json)
{
	const char *end = VARDATA_ANY(json) + VARSIZE_ANY_EXHDR(json);
	EsJsonPart	part = {.start = skip_space(VARDATA_ANY(json), end)};
	int			depth;

	part.stop = value_end(part.start, end, &depth);
	return part;
}

/*
 * The element of an array that follows *element, or its first if
 * element->start is NULL; false: there are no more.
 */
bool
es_json_part_element(const EsJsonPart *array, EsJsonPart *element)
{
	const char *c = skip_space(element->start == NULL ? array->start + 1 : element->stop, array->stop);
	int			depth;

	if (*c == ']')
		return false;
	element->start = *c == ',' ? skip_space(c + 1, array->stop) : c;
	element->stop = value_end(element->start, array->stop, &depth);
	return true;
}

/* Is a key, with its quotes, the name, which needs no escapes? */
static bool
key_is(const char *start, const char *end, const char *name)
{
	Size		length = end - start;
	Jsonb	   *key;
	JsonbValue	value;

	if (memchr(start, '\\', length) == NULL)
		return length - 2 == strlen(name) && memcmp(start + 1, name, length - 2) == 0;

	/* it may be the name all the same */
	key = es_jsonb_in(cstring_to_text_with_len(start, length));
	return JsonbExtractScalar(&key->root, &value) && value.val.string.len == strlen(name) &&
		memcmp(value.val.string.val, name, value.val.string.len) == 0;
}

/* The value of an object's member, of equal ones the last as in jsonb; false if it has none. */
bool
es_json_part_member(const EsJsonPart *object, const char *name, EsJsonPart *value)
{
	const char *c = object->start;
	bool		found = false;
	int			depth;

	while (*(c = skip_space(c + 1, object->stop)) != '}' && c < object->stop)
	{
		const char *key = c;
		EsJsonPart	part;
		const char *key_end = string_end(key);

		c = skip_space(key_end, object->stop);
		part.start = skip_space(c + 1, object->stop);
		part.stop = value_end(part.start, object->stop, &depth);
		if (key_is(key, key_end, name))
		{
			*value = part;
			found = true;
		}
		c = skip_space(part.stop, object->stop);
		if (*c == '}')
			break;
	}
	return found;
}

/* How deep arrays and objects are nested in a text, 0 if it is a scalar. */
int
es_json_text_depth(const text *json)
{
	const char *end = VARDATA_ANY(json) + VARSIZE_ANY_EXHDR(json);
	int			depth;

	(void) value_end(skip_space(VARDATA_ANY(json), end), end, &depth);
	return depth;
}
