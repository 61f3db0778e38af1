/*
 * json.c
 *		From JSON text to jsonb, faster than the server's input function.
 *
 * Parsing JSON is more than half of what an append costs with the server's
 * jsonb_in, which lexes byte by byte into a string buffer, allocates every
 * value and copies it three times.  Here the text is read once into an array
 * of nodes that point into a copy of it, and the nodes are written once, in
 * the form in which jsonb is stored.
 *
 * The result is the same, byte by byte, as that of jsonb_in, and so are the
 * errors, because there are none here: whatever this parser does not take, it
 * leaves to jsonb_in, which parses the text from its beginning and raises the
 * error or not.  What must hold is therefore:
 *
 *	- What is taken, the server takes.  The grammar is that of RFC 8259, read
 *	  strictly: a value must be followed by white space, a comma, a closing
 *	  bracket or the end, so no prefix of a longer word is taken for a value.
 *	  A control character in a string, a lone surrogate, \u0000, and \u escapes
 *	  beyond ASCII in a database that is not UTF8 are not taken.  The server's
 *	  lexer compares bytes with ASCII characters too, which are never part of
 *	  a longer character in a server encoding; neither it nor we check the
 *	  encoding, which was done when the text came in.
 *
 *	- No limit of the server is met.  Nesting is taken to NESTING levels only,
 *	  which is also what bounds the recursion here (well inside the stack that
 *	  the server keeps in reserve).  From MAX_TEXT bytes no more nodes and no
 *	  larger containers can come than jsonb allows (JSONB_MAX_ELEMS,
 *	  JSONB_MAX_PAIRS, JENTRY_OFFLENMASK): two bytes ("1,") grow to 12 at most.
 *	  A number of at most LONG_NUMBER characters with an exponent of at most
 *	  three digits is far from the limits of numeric.
 *
 *	- What is stored depends on the values only.  The forms written here are
 *	  those of jsonb_util.c and numeric.c, the same in all releases since they
 *	  are on disk: keys by length, then bytes, the last of equal ones kept;
 *	  every JB_OFFSET_STRIDE'th entry the end offset, the others the length,
 *	  with the padding before a number or container counted as part of it;
 *	  numbers in the short form, base 10000 without leading and trailing zeros,
 *	  zero without a sign.
 *
 * test/t/016_json.pl compares both, images and errors.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "port/pg_bswap.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "base/json.h"

#define MAX_TEXT		(32 * 1024 * 1024)
#define NESTING			128
#define LONG_NUMBER		1000

/* The short form of numeric: a header of two bytes, with room for a weight and a scale below 64. */
#define NUMERIC_SHORT				0x8000
#define NUMERIC_SHORT_NEGATIVE		0x2000
#define NUMERIC_SHORT_SCALE_SHIFT	7
#define NUMERIC_SHORT_WEIGHT		0x007F	/* with its sign */
#define MAX_WHOLE					256		/* decimal digits before the point */
#define MAX_FRACTION				63

/* Strings are read by the word, so the copy of the text has one of zero bytes at its end. */
#define WORD			sizeof(uint64)

typedef struct Scan
{
	EsJsonNode *nodes;
	uint32		count;
	uint32		allocated;
	uint32		room;			/* bytes that are enough for all of them in a jsonb */
} Scan;

/* A key of an object and, after it, its value. */
typedef const EsJsonNode *Member;

static char *scan_value(Scan *scan, char *c, int levels);
static char *write_value(const EsJsonNode *node, char *out, JEntry *entry);

static inline bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static inline char *
skip_space(char *c)
{
	while (*c == ' ' || *c == '\t' || *c == '\n' || *c == '\r')
		c++;
	return c;
}

/* Bytes that are enough for a scalar in a jsonb, beside its entry and padding. */
static inline Size
scalar_room(const EsJsonNode *node)
{
	switch (node->kind)
	{
		case ES_JSON_STRING:
			return node->size;
		case ES_JSON_NUMBER:
			/* two bytes for every four digits, and for a rest on both sides of the point */
			return VARHDRSZ + sizeof(uint16) + (node->size + node->fraction) / 2 + 2 * sizeof(int16);
		case ES_JSON_NUMERIC:
			return VARSIZE_ANY(node->val.numeric);
		default:
			return 0;
	}
}

/* Add a node; its room is that of its entry and padding only. */
static inline EsJsonNode *
add_node(Scan *scan, EsJsonKind kind)
{
	EsJsonNode *node;

	if (unlikely(scan->count == scan->allocated))
	{
		scan->allocated *= 2;
		scan->nodes = repalloc(scan->nodes, scan->allocated * sizeof(EsJsonNode));
	}
	node = &scan->nodes[scan->count++];
	node->kind = kind;
	scan->room += sizeof(JEntry) + (ALIGNOF_INT - 1);
	return node;
}

/*
 * The first quote, backslash or control character from here on, the zero byte
 * at the end of the text included.  Looks at a word at a time: a byte is one
 * of those if it is zero after xor with the character, or less than a space,
 * and both show in the high bit after subtraction of 1 or 32 from each byte.
 * A borrow can only make bytes after the first hit look like hits.
 */
static inline char *
plain_end(char *c)
{
	const uint64 ones = UINT64CONST(0x0101010101010101);

	for (;; c += WORD)
	{
		uint64		word;
		uint64		quote;
		uint64		backslash;
		uint64		hits;

		memcpy(&word, c, WORD);
#ifdef WORDS_BIGENDIAN
		word = pg_bswap64(word);
#endif
		quote = word ^ (ones * '"');
		backslash = word ^ (ones * '\\');
		hits = (((quote - ones) & ~quote) |
				((backslash - ones) & ~backslash) |
				((word - ones * ' ') & ~word)) & (ones * 0x80);
		if (hits != 0)
			return c + pg_rightmost_one_pos64(hits) / BITS_PER_BYTE;
	}
}

/* The four digits of a \u escape, -1 if they are not. */
static int
hex_number(const char *c)
{
	int			number = 0;

	for (int i = 0; i < 4; i++)
	{
		int			digit = es_hex_digit(c[i]);

		if (digit < 0)
			return -1;
		number = number * 16 + digit;
	}
	return number;
}

/*
 * Unescape in place a string whose first escape is at c.  Returns the closing
 * quote, and in *end where the string now ends; NULL: not taken.
 */
static char *
unescape(char *c, char **end)
{
	char	   *to = c;

	while (*c == '\\')
	{
		char	   *plain;

		switch (c[1])
		{
			case '"':
			case '\\':
			case '/':
				*to++ = c[1];
				break;
			case 'b':
				*to++ = '\b';
				break;
			case 'f':
				*to++ = '\f';
				break;
			case 'n':
				*to++ = '\n';
				break;
			case 'r':
				*to++ = '\r';
				break;
			case 't':
				*to++ = '\t';
				break;
			case 'u':
				{
					int			code = hex_number(c + 2);

					c += 4;
					if (code > 0 && is_utf16_surrogate_first(code) && c[2] == '\\' && c[3] == 'u')
					{
						int			second = hex_number(c + 4);

						if (second < 0 || !is_utf16_surrogate_second(second))
							return NULL;
						code = surrogate_pair_to_codepoint(code, second);
						c += 6;
					}
					if (code <= 0 || (code >= 0xD800 && code <= 0xDFFF) ||
						(code > 0x7F && GetDatabaseEncoding() != PG_UTF8))
						return NULL;
					unicode_to_utf8(code, (unsigned char *) to);
					to += pg_utf_mblen((unsigned char *) to);
				}
				break;
			default:
				return NULL;
		}
		c += 2;
		plain = c;
		c = plain_end(c);
		memmove(to, plain, c - plain);
		to += c - plain;
	}
	*end = to;
	return *c == '"' ? c : NULL;
}

/* All scan_ functions: return what follows, NULL if the text is not taken. */

static inline char *
scan_string(Scan *scan, char *c)
{
	EsJsonNode *node;
	char	   *start = ++c;
	char	   *end;

	c = end = plain_end(c);
	if (*c == '\\')
		c = unescape(c, &end);
	else if (*c != '"')
		c = NULL;
	if (c == NULL)
		return NULL;
	node = add_node(scan, ES_JSON_STRING);
	node->size = end - start;
	node->val.text = start;
	scan->room += scalar_room(node);
	return c + 1;
}

static char *
scan_number(Scan *scan, char *c)
{
	EsJsonNode *node;
	char	   *start = c;
	bool		negative = *c == '-';
	char	   *digits = negative ? ++c : c;
	int			whole;
	int			fraction = 0;
	bool		exponent = false;

	if (!is_digit(*c))
		return NULL;
	if (*c++ != '0')
		while (is_digit(*c))
			c++;
	whole = c - digits;
	if (*c == '.')
	{
		digits = ++c;
		while (is_digit(*c))
			c++;
		fraction = c - digits;
		if (fraction == 0)
			return NULL;
		digits -= whole + 1;
	}
	if (*c == 'e' || *c == 'E')
	{
		char	   *first = ++c;

		if (*c == '+' || *c == '-')
			first = ++c;
		while (is_digit(*c))
			c++;
		if (c == first || c - first > 3)
			return NULL;
		exponent = true;
	}

	if (exponent || whole > MAX_WHOLE || fraction > MAX_FRACTION)
	{
		char	   *number;

		if (c - start > LONG_NUMBER)
			return NULL;
		number = pnstrdup(start, c - start);
		node = add_node(scan, ES_JSON_NUMERIC);
		node->val.numeric = DatumGetNumeric(DirectFunctionCall3(numeric_in, CStringGetDatum(number),
																ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
	}
	else
	{
		node = add_node(scan, ES_JSON_NUMBER);
		node->negative = negative;
		node->size = whole;
		node->fraction = fraction;
		node->val.text = digits;
	}
	scan->room += scalar_room(node);
	return c;
}

static char *
scan_container(Scan *scan, char *c, EsJsonKind kind, int levels)
{
	char		close = kind == ES_JSON_OBJECT ? '}' : ']';
	uint32		self = scan->count;
	uint32		room = scan->room;
	uint32		size = 0;
	EsJsonNode *node;

	if (levels == 0)
		return NULL;
	add_node(scan, kind);
	scan->room += sizeof(uint32);
	c = skip_space(c + 1);
	if (*c != close)
		for (;;)
		{
			CHECK_FOR_INTERRUPTS();
			if (kind == ES_JSON_OBJECT)
			{
				c = skip_space(c);
				if (*c != '"' || (c = scan_string(scan, c)) == NULL)
					return NULL;
				c = skip_space(c);
				if (*c++ != ':')
					return NULL;
			}
			c = scan_value(scan, c, levels - 1);
			if (c == NULL)
				return NULL;
			size++;
			c = skip_space(c);
			if (*c == close)
				break;
			if (*c++ != ',')
				return NULL;
		}

	node = &scan->nodes[self];
	node->size = size;
	node->val.container.span = scan->count - self;
	node->val.container.room = scan->room - room;
	return c + 1;
}

static char *
scan_word(Scan *scan, char *c, EsJsonKind kind, const char *word)
{
	size_t		length = strlen(word);

	if (strncmp(c, word, length) != 0)
		return NULL;
	add_node(scan, kind);
	return c + length;
}

static char *
scan_value(Scan *scan, char *c, int levels)
{
	c = skip_space(c);
	switch (*c)
	{
		case '"':
			return scan_string(scan, c);
		case '{':
			return scan_container(scan, c, ES_JSON_OBJECT, levels);
		case '[':
			return scan_container(scan, c, ES_JSON_ARRAY, levels);
		case 'n':
			return scan_word(scan, c, ES_JSON_NULL, "null");
		case 'f':
			return scan_word(scan, c, ES_JSON_FALSE, "false");
		case 't':
			return scan_word(scan, c, ES_JSON_TRUE, "true");
		default:
			return scan_number(scan, c);
	}
}

/*
 * Parse JSON text.  Returns its nodes, the first of which is the value as a
 * whole, palloc'd like all they point to; NULL if the text must be left to the
 * server, valid or not.
 */
EsJsonNode *
es_json_parse(const char *text, Size length)
{
	Scan		scan = {0};
	char	   *copy;
	char	   *c;

	if (length > MAX_TEXT)
		return NULL;
	copy = palloc(length + WORD);
	memcpy(copy, text, length);
	memset(copy + length, 0, WORD);
	scan.allocated = 16 + length / 16;
	scan.nodes = palloc(scan.allocated * sizeof(EsJsonNode));

	c = scan_value(&scan, copy, NESTING);
	if (c == NULL || skip_space(c) != copy + length)
	{
		pfree(copy);
		pfree(scan.nodes);
		return NULL;
	}
	return scan.nodes;
}

static inline char *
pad(char *out)
{
	while ((uintptr_t) out % ALIGNOF_INT != 0)
		*out++ = 0;
	return out;
}

/* The digits of a number, base 10000, as they come. */
typedef struct Digits
{
	int16	   *digits;
	int			count;			/* from the first that is not zero */
	int			used;			/* the same up to the last that is not zero */
	int			weight;			/* of the first */
} Digits;

static inline void
add_digit(Digits *to, int digit)
{
	if (digit == 0 && to->count == 0)
	{
		to->weight--;
		return;
	}
	to->digits[to->count++] = digit;
	if (digit != 0)
		to->used = to->count;
}

/* A number in the short form of numeric (numeric.c), which is aligned. */
static char *
write_number(const EsJsonNode *node, char *out)
{
	const char *c = node->val.text;
	uint16	   *header = (uint16 *) (out + VARHDRSZ);
	Digits		digits = {.digits = (int16 *) (header + 1), .weight = ((int) node->size + 3) / 4 - 1};
	int			digit = 0;

	/* groups of four, counted from the point to both sides */
	for (uint32 left = node->size; left > 0;)
	{
		digit = digit * 10 + (*c++ - '0');
		if (--left % 4 == 0)
		{
			add_digit(&digits, digit);
			digit = 0;
		}
	}
	c++;
	for (uint32 done = 0; done < node->fraction || done % 4 != 0;)
	{
		digit = digit * 10 + (done < node->fraction ? *c++ - '0' : 0);
		if (++done % 4 == 0)
		{
			add_digit(&digits, digit);
			digit = 0;
		}
	}

	*header = NUMERIC_SHORT | (node->fraction << NUMERIC_SHORT_SCALE_SHIFT);
	if (digits.used > 0)
		*header |= (node->negative ? NUMERIC_SHORT_NEGATIVE : 0) | (digits.weight & NUMERIC_SHORT_WEIGHT);
	SET_VARSIZE(out, VARHDRSZ + sizeof(uint16) + digits.used * sizeof(int16));
	return out + VARSIZE(out);
}

/* Order of the keys of an object; of equal ones the last in the text comes first. */
static inline int
compare_keys(Member a, Member b)
{
	int			order;

	if (a->size != b->size)
		return a->size < b->size ? -1 : 1;
	order = memcmp(a->val.text, b->val.text, a->size);
	return order != 0 ? order : (a > b ? -1 : 1);
}

#define ST_SORT sort_members
#define ST_ELEMENT_TYPE Member
#define ST_COMPARE(a, b) compare_keys(*(a), *(b))
#define ST_SCOPE static
#define ST_DEFINE
#include "lib/sort_template.h"

/* The members of an object as they are stored: sorted by key, each key once.  Returns how many. */
static uint32
sorted_members(const EsJsonNode *object, Member *members)
{
	const EsJsonNode *key = object + 1;
	uint32		count = 0;

	for (uint32 i = 0; i < object->size; i++)
	{
		members[i] = key;
		key = es_json_next(key + 1);
	}
	sort_members(members, object->size);
	for (uint32 i = 0; i < object->size; i++)
		if (count == 0 || members[i]->size != members[count - 1]->size ||
			memcmp(members[i]->val.text, members[count - 1]->val.text, members[i]->size) != 0)
			members[count++] = members[i];
	return count;
}

/* The children of a container, as far as they are written. */
typedef struct Children
{
	JEntry	   *entries;
	uint32		count;
	uint32		length;			/* bytes of what the entries stand for */
} Children;

static inline char *
write_child(Children *children, const EsJsonNode *node, char *out)
{
	JEntry		entry;

	out = write_value(node, out, &entry);
	children->length += JBE_OFFLENFLD(entry);
	if (children->count % JB_OFFSET_STRIDE == 0)
		entry = (entry & JENTRY_TYPEMASK) | children->length | JENTRY_HAS_OFF;
	children->entries[children->count++] = entry;
	return out;
}

/* An array or object, which is aligned. */
static char *
write_container(const EsJsonNode *node, char *out)
{
	uint32	   *header = (uint32 *) out;
	Children	children = {.entries = header + 1};

	CHECK_FOR_INTERRUPTS();
	if (node->kind == ES_JSON_ARRAY)
	{
		const EsJsonNode *element = node + 1;

		*header = node->size | JB_FARRAY;
		out = (char *) (children.entries + node->size);
		for (uint32 i = 0; i < node->size; i++)
		{
			out = write_child(&children, element, out);
			element = es_json_next(element);
		}
	}
	else
	{
		Member		few[32];
		Member	   *members = node->size <= lengthof(few) ? few : palloc(node->size * sizeof(Member));
		uint32		count = sorted_members(node, members);

		*header = count | JB_FOBJECT;
		out = (char *) (children.entries + 2 * count);
		for (uint32 i = 0; i < count; i++)
			out = write_child(&children, members[i], out);
		for (uint32 i = 0; i < count; i++)
			out = write_child(&children, members[i] + 1, out);
		if (members != few)
			pfree(members);
	}
	return out;
}

/* Returns where the value ends, and its entry as a length with the type. */
static char *
write_value(const EsJsonNode *node, char *out, JEntry *entry)
{
	char	   *start = out;

	switch ((EsJsonKind) node->kind)
	{
		case ES_JSON_NULL:
			*entry = JENTRY_ISNULL;
			break;
		case ES_JSON_FALSE:
			*entry = JENTRY_ISBOOL_FALSE;
			break;
		case ES_JSON_TRUE:
			*entry = JENTRY_ISBOOL_TRUE;
			break;
		case ES_JSON_STRING:
			memcpy(out, node->val.text, node->size);
			out += node->size;
			*entry = JENTRY_ISSTRING;
			break;
		case ES_JSON_NUMBER:
			out = write_number(node, pad(out));
			*entry = JENTRY_ISNUMERIC;
			break;
		case ES_JSON_NUMERIC:
			out = pad(out);
			memcpy(out, node->val.numeric, VARSIZE_ANY(node->val.numeric));
			out += VARSIZE_ANY(node->val.numeric);
			*entry = JENTRY_ISNUMERIC;
			break;
		case ES_JSON_ARRAY:
		case ES_JSON_OBJECT:
			out = write_container(node, pad(out));
			*entry = JENTRY_ISCONTAINER;
			break;
	}
	*entry |= out - start;
	return out;
}

/* A value of parsed text as a jsonb of its own, palloc'd. */
Jsonb *
es_json_to_jsonb(const EsJsonNode *node)
{
	Size		room;
	Jsonb	   *result;
	char	   *out;

	if (node->kind >= ES_JSON_ARRAY)
	{
		room = VARHDRSZ + node->val.container.room;
		result = palloc(room);
		out = write_container(node, (char *) &result->root);
	}
	else
	{
		/* a scalar is stored as an array with a flag */
		EsJsonNode	array[2] = {{.kind = ES_JSON_ARRAY, .size = 1}, *node};

		room = VARHDRSZ + 2 * sizeof(uint32) + scalar_room(node);
		result = palloc(room);
		out = write_container(array, (char *) &result->root);
		result->root.header |= JB_FSCALAR;
	}
	Assert(out - (char *) result <= room);
	SET_VARSIZE(result, out - (char *) result);
	return result;
}

/* The server's input function. */
Jsonb *
es_jsonb_in_server(const text *json)
{
	elog(DEBUG1, "JSON of %zu bytes is parsed by the server", (Size) VARSIZE_ANY_EXHDR(json));
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text_to_cstring(json))));
}

/* JSON text as a jsonb, palloc'd; result and errors are those of the server's input function. */
Jsonb *
es_jsonb_in(const text *json)
{
	EsJsonNode *nodes = es_json_parse(VARDATA_ANY(json), VARSIZE_ANY_EXHDR(json));

	return nodes != NULL ? es_json_to_jsonb(nodes) : es_jsonb_in_server(json);
}
