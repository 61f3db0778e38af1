/*
 * problem_type.c
 *		The catalogue of problem types: those of the extension and those that
 *		users register.
 *
 * The extension's own are in base/errors.  Registered ones are rows of
 * event_store.registered_problem_type; translations of titles, of both kinds,
 * are rows of event_store.problem_title.  Whoever may call the functions that
 * change these tables needs no rights on them; rows are written directly.  A
 * change takes a lock that lets only readers in, so that what is checked
 * before is still true when the row is written.
 */
#include "postgres.h"

#include <ctype.h>

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "base/arguments.h"
#include "base/compat.h"
#include "base/extension.h"
#include "base/settings.h"
#include "observe/problem_type.h"

#define MAX_URI_LENGTH	2000
#define MAX_RETRY_AFTER	(366 * SECS_PER_DAY)

/* Columns of registered_problem_type; those of the view problem_type are the same. */
enum TypeColumn
{
	TYPE_URI,
	TYPE_SQLSTATE,
	TYPE_TITLE,
	TYPE_STATUS,
	TYPE_RETRY_AFTER,
	TYPE_DOC,
	TYPE_EXT_SCHEMA,
	TYPE_NCOLUMNS
};

/* Columns of problem_title. */
enum TitleColumn
{
	TITLE_URI,
	TITLE_LANGUAGE,
	TITLE_TITLE,
	TITLE_NCOLUMNS
};

static Relation
open_table(const char *name, LOCKMODE lockmode)
{
	return es_extension_open(name, lockmode);
}

static void
text_key(ScanKey key, AttrNumber column, const char *value)
{
	ScanKeyInit(key, column + 1, BTEqualStrategyNumber, F_TEXTEQ, CStringGetTextDatum(value));
}

static char *
text_column(HeapTuple tuple, TupleDesc desc, int column)
{
	bool		isnull;
	Datum		value = heap_getattr(tuple, column + 1, desc, &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}

/* Whole seconds, rounded up. */
static int64
interval_seconds(const Interval *interval)
{
	return interval->time / USECS_PER_SEC + (interval->time % USECS_PER_SEC > 0) +
		((int64) interval->month * DAYS_PER_MONTH + interval->day) * SECS_PER_DAY;
}

/* The registered type with this URI or SQLSTATE, palloc'd; NULL if there is none. */
static EsProblemType *
find_registered(enum TypeColumn column, const char *value)
{
	Relation	rel = open_table("registered_problem_type", AccessShareLock);
	TupleDesc	desc = RelationGetDescr(rel);
	EsProblemType *type = NULL;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	text_key(&key, column, value);
	scan = systable_beginscan(rel, column == TYPE_URI ? es_primary_key(rel) :
							  es_extension_relation("registered_problem_type_sqlstate_key"), true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		char	   *state = text_column(tuple, desc, TYPE_SQLSTATE);
		bool		isnull;
		Datum		wait = heap_getattr(tuple, TYPE_RETRY_AFTER + 1, desc, &isnull);

		type = palloc0(sizeof(EsProblemType));
		if (state != NULL && es_is_sqlstate(state))
			type->sqlstate = MAKE_SQLSTATE(state[0], state[1], state[2], state[3], state[4]);
		if (!isnull)
			type->retry_after = (int) interval_seconds(DatumGetIntervalP(wait));
		type->uri = text_column(tuple, desc, TYPE_URI);
		type->title = text_column(tuple, desc, TYPE_TITLE);
		type->status = DatumGetInt32(heap_getattr(tuple, TYPE_STATUS + 1, desc, &isnull));
		type->doc = text_column(tuple, desc, TYPE_DOC);
		type->open = true;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return type;
}

/* The type with this URI, NULL if the catalogue has none. */
const EsProblemType *
es_type_of_uri(const char *uri)
{
	if (strcmp(uri, ES_URI_NONE) == 0)
		return NULL;
	if (strncmp(uri, ES_URI_PREFIX, strlen(ES_URI_PREFIX)) == 0)
	{
		int			count;
		const EsProblemType *types = es_problem_types(&count);

		for (int i = 0; i < count; i++)
			if (types[i].name != NULL && strcmp(types[i].name, uri + strlen(ES_URI_PREFIX)) == 0)
				return &types[i];
		return NULL;
	}
	return find_registered(TYPE_URI, uri);
}

/* The type of this SQLSTATE; of one that the catalogue does not know, a bad request. */
const EsProblemType *
es_type_of_sqlstate(int sqlstate)
{
	const EsProblemType *type = es_problem_type(sqlstate);
	const EsProblemType *registered;

	if (type->sqlstate != 0)
		return type;
	registered = find_registered(TYPE_SQLSTATE, unpack_sql_state(sqlstate));
	return registered != NULL ? registered : type;
}

static char *
find_title(const char *uri, const char *language)
{
	Relation	rel = open_table("problem_title", AccessShareLock);
	char	   *title = NULL;
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;

	text_key(&keys[0], TITLE_URI, uri);
	text_key(&keys[1], TITLE_LANGUAGE, language);
	scan = systable_beginscan(rel, es_primary_key(rel), true, NULL, 2, keys);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		title = text_column(tuple, RelationGetDescr(rel), TITLE_TITLE);
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return title;
}

static char *
lower_case(const char *tag)
{
	char	   *result = pstrdup(tag);

	for (char *c = result; *c; c++)
		*c = pg_ascii_tolower(*c);
	return result;
}

/*
 * The title of a type in the language of event_store.problem_language, or in
 * the next more general one that has it (pt-br, then pt), else in English.
 * *language, if asked for, is what it is in.
 */
const char *
es_type_title(const EsProblemType *type, const char **language)
{
	char	   *tag = lower_case(es_problem_language);
	char	   *uri = es_problem_type_uri(type);
	char	   *end;

	/* phrases of HTTP are not translated */
	while (strcmp(tag, ES_LANGUAGE) != 0 && strcmp(uri, ES_URI_NONE) != 0)
	{
		char	   *title = find_title(uri, tag);

		if (title != NULL)
		{
			if (language)
				*language = tag;
			return title;
		}
		end = strrchr(tag, '-');
		if (end == NULL)
			break;
		*end = '\0';
	}
	if (language)
		*language = ES_LANGUAGE;
	return es_problem_type_title(type);
}

/* ---- forms ---- */

/*
 * Is it a URI reference (RFC 3986)?  The characters and the scheme are
 * checked, not what a scheme says of the rest.  Empty ones are refused.
 */
bool
es_is_uri_reference(const char *text)
{
	const char *colon = strpbrk(text, ":/?#");
	bool		fragment = false;
	int			length = 0;

	if (colon != NULL && *colon == ':')
	{
		if (!isalpha((unsigned char) text[0]))
			return false;
		for (const char *c = text; c < colon; c++)
			if (!isascii((unsigned char) *c) || (!isalnum((unsigned char) *c) && strchr("+-.", *c) == NULL))
				return false;
	}
	for (const char *c = text; *c; c++)
	{
		length++;
		if (*c == '%')
		{
			if (!isxdigit((unsigned char) c[1]) || !isxdigit((unsigned char) c[2]))
				return false;
		}
		else if (*c == '#')
		{
			if (fragment)
				return false;
			fragment = true;
		}
		else if (*c == '[' || *c == ']')
		{
			/* only around an address of IPv6 */
			const char *host = strstr(text, "//");

			if (host == NULL || c < host || memchr(host + 2, '/', c - host - 1) != NULL)
				return false;
		}
		else if (!isascii((unsigned char) *c) ||
				 (!isalnum((unsigned char) *c) && strchr("-._~:/?@!$&'()*+,;=", *c) == NULL))
			return false;
	}
	return length > 0 && length <= MAX_URI_LENGTH;
}

/* May an extension member have this name (RFC 9457, 3.2)? */
bool
es_is_member_name(const char *name)
{
	if (!isascii((unsigned char) name[0]) || !isalpha((unsigned char) name[0]))
		return false;
	for (const char *c = name; *c; c++)
		if (!isascii((unsigned char) *c) || (!isalnum((unsigned char) *c) && *c != '_'))
			return false;
	return strlen(name) >= 3;
}

bool
es_is_reserved_member(const char *name)
{
	static const char *const reserved[] = {"type", "title", "status", "detail", "instance"};

	for (int i = 0; i < lengthof(reserved); i++)
		if (strcmp(name, reserved[i]) == 0)
			return true;
	return false;
}

/* The JSON Pointer of a member of what parent points to, as a URI fragment, palloc'd. */
char *
es_json_pointer(const char *parent, const char *name)
{
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfo(&out, "%s/", parent);
	for (const char *c = name; *c; c++)
	{
		if (*c == '~')
			appendStringInfoString(&out, "~0");
		else if (*c == '/')
			appendStringInfoString(&out, "~1");
		else if (isascii((unsigned char) *c) &&
				 (isalnum((unsigned char) *c) || strchr("-._!$&'()*+,;=:@?", *c) != NULL))
			appendStringInfoChar(&out, *c);
		else
			appendStringInfo(&out, "%%%02X", (unsigned char) *c);
	}
	return out.data;
}

bool
es_is_sqlstate(const char *text)
{
	return strlen(text) == 5 && strspn(text, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == 5;
}

/*
 * May users have this SQLSTATE?  Not one that the standard or the server has
 * in its hands, and not one of ours.  The standard leaves the classes that
 * begin with 5 to 9 or I to Z to implementations; 5, P0 and XX are the
 * server's.
 */
static bool
is_free_sqlstate(const char *text)
{
	return es_is_sqlstate(text) && strcmp(text + 2, "000") != 0 &&
		((text[0] >= '6' && text[0] <= '9') || text[0] >= 'I') &&
		strncmp(text, "72", 2) != 0 && strncmp(text, "P0", 2) != 0 &&
		strncmp(text, "XX", 2) != 0 && strncmp(text, "VE", 2) != 0;
}

/* ---- SQL ---- */

PG_FUNCTION_INFO_V1(event_store_built_in_problem_types);
PG_FUNCTION_INFO_V1(event_store_register_problem_type);
PG_FUNCTION_INFO_V1(event_store_unregister_problem_type);
PG_FUNCTION_INFO_V1(event_store_set_problem_title);

Datum
event_store_built_in_problem_types(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	int			count;
	const EsProblemType *types = es_problem_types(&count);

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < count; i++)
	{
		const EsProblemType *type = &types[i];
		Datum		values[TYPE_NCOLUMNS];
		bool		nulls[TYPE_NCOLUMNS] = {0};

		values[TYPE_URI] = CStringGetTextDatum(es_problem_type_uri(type));
		values[TYPE_SQLSTATE] = PointerGetDatum(cstring_to_text_with_len(unpack_sql_state(type->sqlstate),
																		 type->whole_class ? 2 : 5));
		values[TYPE_TITLE] = CStringGetTextDatum(es_problem_type_title(type));
		values[TYPE_STATUS] = Int32GetDatum(type->status);
		nulls[TYPE_RETRY_AFTER] = type->retry_after == 0;
		if (!nulls[TYPE_RETRY_AFTER])
		{
			Interval   *wait = palloc0(sizeof(Interval));

			wait->time = type->retry_after * USECS_PER_SEC;
			values[TYPE_RETRY_AFTER] = IntervalPGetDatum(wait);
		}
		nulls[TYPE_DOC] = type->doc == NULL;
		if (!nulls[TYPE_DOC])
			values[TYPE_DOC] = CStringGetTextDatum(type->doc);
		nulls[TYPE_EXT_SCHEMA] = type->ext_schema == NULL;
		if (!nulls[TYPE_EXT_SCHEMA])
			values[TYPE_EXT_SCHEMA] = DirectFunctionCall1(jsonb_in, CStringGetDatum(type->ext_schema));
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}

static void
check_uri(const char *uri)
{
	if (!es_is_uri_reference(uri))
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("argument", "uri"), ES_TEXT("uri", uri)),
							"\"%s\" is not a URI", uri),
				 errhint("A URI of up to %d characters, as https://example.org/problems/out-of-stock; best one that leads to an explanation.",
						 MAX_URI_LENGTH)));
	if (strcmp(uri, ES_URI_NONE) == 0 || strncmp(uri, "urn:event-store:", strlen("urn:event-store:")) == 0)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("argument", "uri"), ES_TEXT("uri", uri)),
							"URI \"%s\" is reserved", uri),
				 errhint("Use a URI of your own domain.")));
}

/* The members that a schema names must be ones that a document may have. */
static void
check_ext_schema(Jsonb *schema)
{
	JsonbValue *properties = NULL;
	JsonbIterator *iterator;
	JsonbValue	value;
	JsonbIteratorToken token;

	if (!JB_ROOT_IS_OBJECT(schema))
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("argument", "ext_schema")),
							"ext_schema is not a JSON object"),
				 errhint("Pass a JSON Schema as {\"type\": \"object\", \"properties\": {\"balance\": {\"type\": \"number\"}}}.")));
	properties = getKeyJsonValueFromContainer(&schema->root, "properties", strlen("properties"), NULL);
	if (properties == NULL || properties->type != jbvBinary || !JsonContainerIsObject(properties->val.binary.data))
		return;
	iterator = JsonbIteratorInit(properties->val.binary.data);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		char	   *name;

		if (token != WJB_KEY)
			continue;
		name = pnstrdup(value.val.string.val, value.val.string.len);
		if (!es_is_member_name(name) || es_is_reserved_member(name))
			ereport(ERROR,
					(es_problem(ERRCODE_INVALID_PARAMETER_VALUE,
								ES_MEMBERS(ES_TEXT("argument", "ext_schema"),
										   ES_TEXT("pointer", es_json_pointer("#/properties", name))),
								"a problem document cannot have an extension member \"%s\"", name),
					 errhint("A name begins with a letter, has letters, digits and underscores, at least three of them, and is none of type, title, status, detail, instance.")));
	}
}

/*
 * register_problem_type(uri, title, status, sqlstate, retry_after, doc, ext_schema)
 */
Datum
event_store_register_problem_type(PG_FUNCTION_ARGS)
{
	Relation	rel;
	Datum		values[TYPE_NCOLUMNS];
	bool		nulls[TYPE_NCOLUMNS];
	char	   *uri;
	char	   *state = NULL;
	int			status;
	bool		known;

	es_require_argument(fcinfo, 0, "uri");
	es_require_argument(fcinfo, 1, "title");
	es_require_argument(fcinfo, 2, "status");
	uri = text_to_cstring(PG_GETARG_TEXT_PP(0));
	status = PG_GETARG_INT32(2);

	check_uri(uri);
	if (VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(1)) == 0)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("argument", "title")),
							"title must not be empty"),
				 errhint("Say in a few words what kind of problem it is.")));
	if (status < 100 || status > 599)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("argument", "status"), ES_INT("value", status)),
							"%d is not an HTTP status", status),
				 errhint("A status is a whole number from 100 to 599.")));
	if (!PG_ARGISNULL(3))
	{
		state = text_to_cstring(PG_GETARG_TEXT_PP(3));
		if (!is_free_sqlstate(state))
			ereport(ERROR,
					(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("argument", "sqlstate"), ES_TEXT("value", state)),
								"SQLSTATE \"%s\" cannot be registered", state),
					 errhint("Five digits and capitals that begin with 6 to 9 or I to Z and do not end in 000; VE, P0, XX and 72 are taken.")));
	}
	if (!PG_ARGISNULL(4))
	{
		int64		wait = interval_seconds(PG_GETARG_INTERVAL_P(4));

		if (wait <= 0 || wait > MAX_RETRY_AFTER)
			ereport(ERROR,
					(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("argument", "retry_after")),
								"retry_after is not a time to wait"),
					 errhint("Pass an interval of more than nothing and up to a year.")));
	}
	if (!PG_ARGISNULL(6))
		check_ext_schema(PG_GETARG_JSONB_P(6));
	es_require_writable();

	rel = open_table("registered_problem_type", ShareRowExclusiveLock);
	known = find_registered(TYPE_URI, uri) != NULL;
	if (known || (state != NULL && find_registered(TYPE_SQLSTATE, state) != NULL))
		ereport(ERROR,
				(es_problem(ERRCODE_DUPLICATE_OBJECT,
							ES_MEMBERS(ES_TEXT("argument", known ? "uri" : "sqlstate"), ES_TEXT("value", known ? uri : state)),
							"%s \"%s\" is already registered", known ? "problem type" : "SQLSTATE", known ? uri : state),
				 errhint("To change a type, call event_store.unregister_problem_type() first.")));
	values[TYPE_URI] = PG_GETARG_DATUM(0);
	values[TYPE_TITLE] = PG_GETARG_DATUM(1);
	values[TYPE_STATUS] = PG_GETARG_DATUM(2);
	values[TYPE_SQLSTATE] = PG_GETARG_DATUM(3);
	values[TYPE_RETRY_AFTER] = PG_GETARG_DATUM(4);
	values[TYPE_DOC] = PG_GETARG_DATUM(5);
	values[TYPE_EXT_SCHEMA] = PG_GETARG_DATUM(6);
	memset(nulls, false, sizeof(nulls));
	nulls[TYPE_SQLSTATE] = PG_ARGISNULL(3);
	nulls[TYPE_RETRY_AFTER] = PG_ARGISNULL(4);
	nulls[TYPE_DOC] = PG_ARGISNULL(5);
	nulls[TYPE_EXT_SCHEMA] = PG_ARGISNULL(6);
	CatalogTupleInsert(rel, heap_form_tuple(RelationGetDescr(rel), values, nulls));
	table_close(rel, NoLock);
	CommandCounterIncrement();
	PG_RETURN_VOID();
}

/* Delete the rows with these values in the first columns of a table's key; tells whether there were any. */
static bool
delete_rows(Relation rel, int nvalues, const char *const *values)
{
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		found = false;

	for (int i = 0; i < nvalues; i++)
		text_key(&keys[i], i, values[i]);
	scan = systable_beginscan(rel, es_primary_key(rel), true, NULL, nvalues, keys);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		CatalogTupleDelete(rel, &tuple->t_self);
		found = true;
	}
	systable_endscan(scan);
	CommandCounterIncrement();
	return found;
}

static void
raise_unknown_type(const char *uri)
{
	ereport(ERROR,
			(es_problem(ERRCODE_UNDEFINED_OBJECT, ES_MEMBERS(ES_TEXT("uri", uri)),
						"problem type \"%s\" is not registered", uri),
			 errhint("The view event_store.problem_type lists the types of this database.")));
}

/* unregister_problem_type(uri): its titles go with it */
Datum
event_store_unregister_problem_type(PG_FUNCTION_ARGS)
{
	const char *uri = text_to_cstring(PG_GETARG_TEXT_PP(0));
	Relation	rel;

	es_require_writable();
	rel = open_table("registered_problem_type", ShareRowExclusiveLock);
	if (!delete_rows(rel, 1, &uri))
		raise_unknown_type(uri);
	table_close(rel, NoLock);
	rel = open_table("problem_title", ShareRowExclusiveLock);
	(void) delete_rows(rel, 1, &uri);
	table_close(rel, NoLock);
	PG_RETURN_VOID();
}

/* set_problem_title(uri, language, title): a null title takes the one that is there away */
Datum
event_store_set_problem_title(PG_FUNCTION_ARGS)
{
	const char *key[2];
	char	   *language;
	Relation	types;
	Relation	rel;

	es_require_argument(fcinfo, 0, "uri");
	es_require_argument(fcinfo, 1, "language");
	key[0] = text_to_cstring(PG_GETARG_TEXT_PP(0));
	language = text_to_cstring(PG_GETARG_TEXT_PP(1));
	if (!es_is_language_tag(language) || pg_strcasecmp(language, ES_LANGUAGE) == 0)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("argument", "language"), ES_TEXT("value", language)),
							"titles cannot be given in language \"%s\"", language),
				 errhint("A language is written as de or pt-BR; the title in en is that of the type itself.")));
	if (!PG_ARGISNULL(2) && VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(2)) == 0)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("argument", "title")),
							"title must not be empty"),
				 errhint("Pass null to remove a title.")));
	key[1] = lower_case(language);
	es_require_writable();

	/* the type may not go meanwhile */
	types = open_table("registered_problem_type", ShareRowExclusiveLock);
	if (es_type_of_uri(key[0]) == NULL)
		raise_unknown_type(key[0]);
	rel = open_table("problem_title", ShareRowExclusiveLock);
	(void) delete_rows(rel, 2, key);
	if (!PG_ARGISNULL(2))
	{
		Datum		values[TITLE_NCOLUMNS];
		bool		nulls[TITLE_NCOLUMNS] = {0};

		values[TITLE_URI] = PG_GETARG_DATUM(0);
		values[TITLE_LANGUAGE] = CStringGetTextDatum(key[1]);
		values[TITLE_TITLE] = PG_GETARG_DATUM(2);
		CatalogTupleInsert(rel, heap_form_tuple(RelationGetDescr(rel), values, nulls));
		CommandCounterIncrement();
	}
	table_close(rel, NoLock);
	table_close(types, NoLock);
	PG_RETURN_VOID();
}
