/*
 * schema_pattern.c
 *		Regular expressions of JSON Schema, run by the server's engine.
 *
 * Schemas write patterns in the language of ECMA-262 with the flag u; the
 * server's advanced regular expressions look alike, but differ in what many
 * signs mean.  So a pattern is parsed and written anew: what has the same
 * meaning is put into the server's words, and the rest is refused, never taken
 * to mean something else.  Refused are back references (with which matching
 * takes exponential time as well), Unicode properties, and what ECMA-262 with
 * flag u does not allow either.
 *
 * Whether there is a match does not depend on what is captured, nor on greed,
 * so groups become plain ones and lazy quantifiers ordinary ones.  The server
 * compiles under the collation C: no sign depends on a locale.
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "regex/regex.h"
#include "utils/memutils.h"

#include "base/errors.h"
#include "observe/schema_node.h"

/* The server's engine counts to 255; longer repetitions are put together. */
#define MAX_COUNT		255
#define MAX_REPETITIONS	1000

/* Each sign of a pattern, repetitions written out, takes the server up to some 500 bytes. */
#define MAX_SIGNS		200000
#define SIGN_SIZE		((Size) 500)

struct EsSchemaPattern
{
	regex_t		regex;
	MemoryContextCallback callback;
};

typedef struct Translator
{
	const pg_wchar *in;			/* the next character; a zero ends the pattern */
	StringInfoData out;
	int64		signs;			/* with repetitions written out */
	const char *problem;		/* set: it is refused */
} Translator;

/* Ranges of code points that \s matches in ECMA-262: white space and ends of lines. */
static const pg_wchar spaces[][2] = {
	{0x09, 0x0D}, {0x20, 0x20}, {0xA0, 0xA0}, {0x1680, 0x1680}, {0x2000, 0x200A}, {0x2028, 0x2029},
	{0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}, {0xFEFF, 0xFEFF}
};

static void translate_alternatives(Translator *t);

static bool
refuse(Translator *t, const char *problem)
{
	if (t->problem == NULL)
		t->problem = problem;
	return false;
}

/* Write a character so that it stands for itself, in brackets and outside. */
static void
put_character(Translator *t, pg_wchar c)
{
	char		bytes[MAX_MULTIBYTE_CHAR_LEN + 1];

	if (c < 0x80)
	{
		if (c < 0x20 || c == 0x7F)
			appendStringInfo(&t->out, "\\u%04x", c);
		else if (isalnum((int) c) || c == '_')
			appendStringInfoChar(&t->out, (char) c);
		else
			appendStringInfo(&t->out, "\\%c", c);
		return;
	}
	appendBinaryStringInfo(&t->out, bytes, pg_wchar2mb_with_len(&c, bytes, 1));
}

static void
put_spaces(Translator *t)
{
	for (int i = 0; i < lengthof(spaces); i++)
	{
		/* other encodings have other numbers, and few of these characters */
		if (spaces[i][0] >= 0x80 && GetDatabaseEncoding() != PG_UTF8)
			continue;
		put_character(t, spaces[i][0]);
		if (spaces[i][1] > spaces[i][0])
		{
			appendStringInfoChar(&t->out, '-');
			put_character(t, spaces[i][1]);
		}
	}
}

/* What a class such as \d holds, as it stands between brackets. */
static void
put_class(Translator *t, pg_wchar letter)
{
	switch (letter)
	{
		case 'd':
		case 'D':
			appendStringInfoString(&t->out, "0-9");
			break;
		case 'w':
		case 'W':
			appendStringInfoString(&t->out, "A-Za-z0-9_");
			break;
		default:
			put_spaces(t);
	}
}

static bool
hexadecimal(Translator *t, int digits, pg_wchar *value)
{
	*value = 0;
	for (int i = 0; i < digits; i++)
	{
		pg_wchar	c = *t->in;

		if (c >= 0x80 || !isxdigit((int) c))
			return refuse(t, "an escape lacks hexadecimal digits");
		*value = *value * 16 + (c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
		t->in++;
	}
	return true;
}

/* The code point after \u. */
static bool
code_point(Translator *t, pg_wchar *value)
{
	if (*t->in == '{')
	{
		int			digits = 1;

		while (t->in[digits] != '}' && t->in[digits] != 0 && digits < 8)
			digits++;
		if (digits == 1 || t->in[digits] != '}')
			return refuse(t, "an escape lacks hexadecimal digits");
		t->in++;
		if (!hexadecimal(t, digits - 1, value))
			return false;
		t->in++;
	}
	else
	{
		if (!hexadecimal(t, 4, value))
			return false;
		if (is_utf16_surrogate_first(*value) && t->in[0] == '\\' && t->in[1] == 'u')
		{
			pg_wchar	second;

			t->in += 2;
			if (!hexadecimal(t, 4, &second))
				return false;
			if (!is_utf16_surrogate_second(second))
				return refuse(t, "a surrogate stands alone");
			*value = surrogate_pair_to_codepoint(*value, second);
		}
	}
	if (is_utf16_surrogate_first(*value) || is_utf16_surrogate_second(*value))
		return refuse(t, "a surrogate stands alone");
	if (!is_valid_unicode_codepoint(*value))
		return refuse(t, "an escape stands for a character that no text holds");
	return true;
}

/* The character that an escape stands for; t->in is after the backslash. */
static bool
escaped_character(Translator *t, pg_wchar *value)
{
	pg_wchar	c = *t->in;

	if (c != 0)
		t->in++;
	switch (c)
	{
		case 't':
			*value = '\t';
			return true;
		case 'n':
			*value = '\n';
			return true;
		case 'v':
			*value = '\v';
			return true;
		case 'f':
			*value = '\f';
			return true;
		case 'r':
			*value = '\r';
			return true;
		case 'c':
			if (*t->in >= 0x80 || !isalpha((int) *t->in))
				return refuse(t, "\\c is not followed by a letter");
			*value = *t->in++ % 32;
			return true;
		case 'x':
			if (!hexadecimal(t, 2, value))
				return false;
			break;
		case 'u':
			if (!code_point(t, value))
				return false;
			break;
		case '0':
			return refuse(t, "an escape stands for a character that no text holds");
		case 'p':
		case 'P':
			return refuse(t, "Unicode properties (\\p) are not supported");
		case 'k':
		case '1':
		case '2':
		case '3':
		case '4':
		case '5':
		case '6':
		case '7':
		case '8':
		case '9':
			return refuse(t, "back references are not supported");
		default:
			if (c == 0 || c >= 0x80 || isalnum((int) c))
				return refuse(t, "a backslash stands before what is no escape");
			*value = c;
			return true;
	}
	if (*value == 0)
		return refuse(t, "an escape stands for a character that no text holds");
	if (*value >= 0x80 && GetDatabaseEncoding() != PG_UTF8)
		return refuse(t, "an escape beyond ASCII needs a database in UTF8");
	return true;
}

static bool
is_class(pg_wchar c)
{
	return c != 0 && c < 0x80 && strchr("dDwWsS", (int) c) != NULL;
}

/*
 * A class in brackets; t->in is after the first.  Its members go between
 * brackets, but complements such as \D cannot: they become alternatives.
 */
static void
translate_brackets(Translator *t)
{
	StringInfoData outer = t->out;
	StringInfoData members;
	char		complements[4] = {0};
	bool		negated = *t->in == '^';
	bool		any_member = false;

	if (negated)
		t->in++;
	if (*t->in == ']' && !negated)
	{
		refuse(t, "an empty class matches nothing");
		return;
	}
	initStringInfo(&t->out);
	while (*t->in != ']')
	{
		pg_wchar	first,
					last;

		if (*t->in == 0)
		{
			refuse(t, "a bracket is not closed");
			break;
		}
		if (t->in[0] == '\\' && is_class(t->in[1]))
		{
			pg_wchar	letter = t->in[1];

			t->in += 2;
			if (*t->in == '-' && t->in[1] != ']')
			{
				refuse(t, "a class stands at the end of a range");
				break;
			}
			if (letter >= 'a')
			{
				put_class(t, letter);
				any_member = true;
			}
			else if (strchr(complements, (int) letter) == NULL)
				complements[strlen(complements)] = (char) letter;
			continue;
		}
		for (int end = 0; end < 2; end++)
		{
			pg_wchar   *to = end == 0 ? &first : &last;

			if (*t->in == '\\')
			{
				t->in++;
				if (end == 1 && is_class(*t->in))
					refuse(t, "a class stands at the end of a range");
				else if (*t->in == 'b')
				{
					*to = '\b';
					t->in++;
				}
				else
					(void) escaped_character(t, to);
			}
			else
				*to = *t->in++;
			if (end == 0 && (*t->in != '-' || t->in[1] == ']' || t->in[1] == 0))
			{
				last = first;
				break;
			}
			if (end == 0)
				t->in++;
			if (t->problem != NULL)
				break;
		}
		if (t->problem == NULL && last < first)
			refuse(t, "a range ends before it begins");
		/* elsewhere characters have another order */
		if (t->problem == NULL && last > first && last >= 0x80 && GetDatabaseEncoding() != PG_UTF8)
			refuse(t, "a range beyond ASCII needs a database in UTF8");
		if (t->problem != NULL)
			break;
		put_character(t, first);
		if (last > first)
		{
			appendStringInfoChar(&t->out, '-');
			put_character(t, last);
		}
		any_member = true;
	}
	members = t->out;
	t->out = outer;
	if (t->problem != NULL)
		return;
	t->in++;

	if (complements[0] == '\0')
	{
		/* the server's . matches every character */
		if (any_member)
			appendStringInfo(&t->out, "[%s%s]", negated ? "^" : "", members.data);
		else
			appendStringInfoChar(&t->out, '.');
		return;
	}
	appendStringInfoString(&t->out, negated ? "(?:(?!" : "(?:");
	for (int i = 0; complements[i] != '\0'; i++)
	{
		appendStringInfoString(&t->out, i > 0 ? "|[^" : "[^");
		put_class(t, complements[i]);
		appendStringInfoChar(&t->out, ']');
	}
	if (any_member)
		appendStringInfo(&t->out, "|[%s]", members.data);
	appendStringInfoString(&t->out, negated ? ").)" : ")");
}

static bool
number(Translator *t, int *value)
{
	const pg_wchar *first = t->in;

	*value = 0;
	for (; *t->in >= '0' && *t->in <= '9'; t->in++)
		*value = Min(*value * 10 + (int) (*t->in - '0'), MAX_REPETITIONS + 1);
	return t->in > first;
}

/* What is quantified, from its beginning in out, so many times or up to so many times. */
static void
put_repetition(Translator *t, const char *atom, int count, bool exactly)
{
	const char *from = exactly ? "" : "0,";

	if (count >= MAX_COUNT)
		appendStringInfo(&t->out, "(?:%s{%s%d}){%d}", atom, from, MAX_COUNT, count / MAX_COUNT);
	if (count % MAX_COUNT > 0)
		appendStringInfo(&t->out, "%s{%s%d}", atom, from, count % MAX_COUNT);
}

/* A quantifier after the atom that begins at start in out and has so many signs, if there is one. */
static void
translate_quantifier(Translator *t, int start, int64 signs)
{
	char	   *atom;
	int			least,
				most;

	switch (*t->in)
	{
		case '*':
		case '+':
		case '?':
			appendStringInfoChar(&t->out, (char) *t->in++);
			break;
		case '{':
			t->in++;
			if (!number(t, &least))
			{
				refuse(t, "a brace stands for itself only after a backslash");
				return;
			}
			most = least;
			if (*t->in == ',')
			{
				t->in++;
				if (!number(t, &most))
					most = -1;
			}
			if (*t->in != '}')
			{
				refuse(t, "a brace stands for itself only after a backslash");
				return;
			}
			t->in++;
			t->signs += signs * (Max(least, most) - 1);
			if (most >= 0 && most < least)
			{
				refuse(t, "a range ends before it begins");
				return;
			}
			if (least > MAX_REPETITIONS || most > MAX_REPETITIONS)
			{
				refuse(t, "more than 1000 repetitions are asked for");
				return;
			}
			atom = pstrdup(t->out.data + start);
			t->out.len = start;
			t->out.data[start] = '\0';
			/* one atom, whatever comes of it */
			appendStringInfoString(&t->out, "(?:");
			put_repetition(t, atom, least, true);
			if (most < 0)
				appendStringInfo(&t->out, "%s*", atom);
			else
				put_repetition(t, atom, most - least, false);
			appendStringInfoChar(&t->out, ')');
			pfree(atom);
			break;
		default:
			return;
	}
	if (*t->in == '?')
		t->in++;
	if (*t->in == '*' || *t->in == '+' || *t->in == '?' || *t->in == '{')
		refuse(t, "a quantifier follows a quantifier");
}

/* A group; t->in is after its parenthesis.  True if it is an atom, false if it is an assertion. */
static bool
translate_group(Translator *t)
{
	bool		atom = true;

	appendStringInfoString(&t->out, "(?");
	if (*t->in == '?')
	{
		t->in++;
		if (*t->in == '<' && t->in[1] != '=' && t->in[1] != '!')
		{
			/* a named group; the name would matter to back references only */
			const pg_wchar *name = ++t->in;

			while (*t->in >= 0x80 || (*t->in != 0 && (isalnum((int) *t->in) || *t->in == '_' || *t->in == '$')))
				t->in++;
			if (t->in == name || *t->in != '>')
			{
				refuse(t, "a group has a bad name");
				return atom;
			}
			t->in++;
			appendStringInfoChar(&t->out, ':');
		}
		else
		{
			if (*t->in == '<')
				appendStringInfoChar(&t->out, (char) *t->in++);
			if (*t->in != ':' && *t->in != '=' && *t->in != '!')
			{
				refuse(t, "a group is of an unknown kind");
				return atom;
			}
			atom = *t->in == ':';
			appendStringInfoChar(&t->out, (char) *t->in++);
		}
	}
	else
		appendStringInfoChar(&t->out, ':');
	translate_alternatives(t);
	if (*t->in != ')')
	{
		refuse(t, "a parenthesis is not closed");
		return atom;
	}
	t->in++;
	appendStringInfoChar(&t->out, ')');
	return atom;
}

/* One term; true if a quantifier may follow it. */
static bool
translate_term(Translator *t)
{
	pg_wchar	c = *t->in++;

	t->signs++;
	switch (c)
	{
		case '^':
		case '$':
			appendStringInfoChar(&t->out, (char) c);
			return false;
		case '(':
			return translate_group(t);
		case '[':
			translate_brackets(t);
			return true;
		case '.':
			/* not the ends of lines of ECMA-262 */
			appendStringInfoString(&t->out, "[^\\n\\r");
			if (GetDatabaseEncoding() == PG_UTF8)
			{
				put_character(t, 0x2028);
				put_character(t, 0x2029);
			}
			appendStringInfoChar(&t->out, ']');
			return true;
		case '*':
		case '+':
		case '?':
			refuse(t, "a quantifier follows nothing");
			return false;
		case '{':
		case '}':
			refuse(t, "a brace stands for itself only after a backslash");
			return false;
		case ']':
			refuse(t, "a bracket stands for itself only after a backslash");
			return false;
		case '\\':
			if (*t->in == 'b' || *t->in == 'B')
			{
				appendStringInfoString(&t->out, *t->in++ == 'b' ? "\\y" : "\\Y");
				return false;
			}
			if (is_class(*t->in))
			{
				appendStringInfoString(&t->out, *t->in < 'a' ? "[^" : "[");
				put_class(t, *t->in++);
				appendStringInfoChar(&t->out, ']');
				return true;
			}
			if (escaped_character(t, &c))
				put_character(t, c);
			return true;
		default:
			put_character(t, c);
			return true;
	}
}

static void
translate_alternatives(Translator *t)
{
	check_stack_depth();
	while (t->problem == NULL && *t->in != 0 && *t->in != ')')
	{
		int			start = t->out.len;
		int64		signs = t->signs;

		CHECK_FOR_INTERRUPTS();
		if (*t->in == '|')
		{
			appendStringInfoChar(&t->out, '|');
			t->in++;
		}
		else if (translate_term(t))
			translate_quantifier(t, start, t->signs - signs);
		else if (t->problem == NULL && *t->in != 0 && *t->in < 0x80 && strchr("*+?{", (int) *t->in) != NULL)
			refuse(t, "a quantifier follows nothing");
		/* far from where numbers of 64 bits end, whatever the repetitions of this */
		t->signs = Min(t->signs, MAX_SIGNS + 1);
	}
}

static void
free_regex(void *arg)
{
	pg_regfree(arg);
}

static pg_wchar *
wide(const char *string, int len, int *count)
{
	pg_wchar   *result = palloc_extended(mul_size(sizeof(pg_wchar), (Size) len + 1), MCXT_ALLOC_HUGE);

	*count = pg_mb2wchar_with_len(string, result, len);
	return result;
}

/*
 * Compile a pattern into the current memory context, with which it goes.
 * NULL, and why, if it cannot be used.  *size is what the patterns of the
 * schema take, about, in bytes, and grows by this one.
 */
EsSchemaPattern *
es_schema_pattern_compile(EsSchemaName source, Size *size, const char **problem)
{
	EsSchemaPattern *pattern = palloc0(sizeof(EsSchemaPattern));
	Translator	t = {0};
	pg_wchar   *in;
	int			count;
	int			result;

	t.in = in = wide(source.data, source.len, &count);
	initStringInfo(&t.out);
	translate_alternatives(&t);
	if (t.problem == NULL && *t.in == ')')
		refuse(&t, "a parenthesis closes nothing");
	if (t.problem != NULL)
	{
		*problem = t.problem;
		return NULL;
	}
	*size += t.signs * SIGN_SIZE;
	if (*size > MAX_SIGNS * SIGN_SIZE)
		ereport(ERROR,
				(es_problem(ERRCODE_PROGRAM_LIMIT_EXCEEDED, ES_MEMBERS(ES_INT("limit", MAX_SIGNS)),
							"the patterns of the schema have more than %d signs, repetitions written out", MAX_SIGNS),
				 errhint("Repeat less in the patterns of the schema, or split the schema.")));
	pfree(in);
	in = wide(t.out.data, t.out.len, &count);

	result = pg_regcomp(&pattern->regex, in, count, REG_ADVANCED | REG_NOSUB, C_COLLATION_OID);
	pfree(in);
	pfree(t.out.data);
	if (result != REG_OKAY)
	{
		char	   *message = palloc(100);

		CHECK_FOR_INTERRUPTS();
		pg_regerror(result, &pattern->regex, message, 100);
		*problem = message;
		return NULL;
	}

	/* not in all versions is it made of memory from a context */
	pattern->callback.func = free_regex;
	pattern->callback.arg = &pattern->regex;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &pattern->callback);
	return pattern;
}

/* Does the pattern match somewhere in the string? */
bool
es_schema_pattern_matches(EsSchemaPattern *pattern, const char *string, int len)
{
	int			count;
	pg_wchar   *in = wide(string, len, &count);
	int			result = pg_regexec(&pattern->regex, in, count, 0, NULL, 0, NULL, 0);

	pfree(in);
	if (result != REG_OKAY && result != REG_NOMATCH)
	{
		char		message[100];

		CHECK_FOR_INTERRUPTS();
		pg_regerror(result, &pattern->regex, message, sizeof(message));
		ereport(ERROR,
				(es_problem(ERRCODE_PROGRAM_LIMIT_EXCEEDED, NULL, "a pattern of the schema cannot be matched: %s", message),
				 errhint("Make the pattern of the schema simpler.")));
	}
	return result == REG_OKAY;
}
