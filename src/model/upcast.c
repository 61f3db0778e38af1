/*
 * upcast.c
 *		Events of old forms, read in the form of today.
 *
 * An event has a schema version: the member schema_version of its metadata, 1
 * if there is none.  An upcaster takes the events of a type at a version to
 * the next one, or makes them events of another type, at version 1.  All those
 * of the type that are not below the event's version run, one after the other;
 * what was stored stays as it is.
 *
 * The rows of events are upcast where they are made for readers (the hook of
 * log/read) and where they are folded (model/fold).  A session knows by heart
 * which types have upcasters, so others cost a look into a hash table, and
 * where there are none nothing at all.
 *
 * The functions of a chain are prepared when the first event needs them: one
 * that is broken fails the events of its type, not all reads of the store.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgrprotos.h"
#include "utils/inval.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/regproc.h"
#include "utils/typcache.h"

#include "base/compat.h"
#include "base/errors.h"
#include "base/extension.h"
#include "model/apply.h"
#include "model/by_type.h"
#include "model/upcast.h"
#include "model/upcaster.h"
#include "store/payload.h"

#define VERSION_MEMBER	"schema_version"
#define MAX_STEPS		100		/* of one event: more of them go in a circle */

/* One upcaster. */
typedef struct Step
{
	int			from_version;
	char	   *function;		/* its signature */
	bool		prepared;
	bool		returns_type;	/* returns (type, data), not the data alone */
	EsCall		call;
} Step;

/* The upcasters of a type. */
typedef struct Chain
{
	EsByType	type;			/* hash key */
	List	   *steps;			/* by from_version */
} Chain;

/* --- which types have upcasters, whosever they are --- */

static HTAB *known_types = NULL;	/* of EsByType; NULL: not looked up, or none */
static bool known = false;		/* known_types is what the registry says */
static uint64 changes = 0;		/* of the registry, seen by this session */
static Oid	registry = InvalidOid;
static MemoryContext known_context = NULL;

static void
relcache_callback(Datum arg, Oid relid)
{
	if (!OidIsValid(relid) || relid == registry)
	{
		known = false;
		changes++;
	}
}

/* Read the types from the registry. */
static void
look_up_types(void)
{
	uint64		changes_before;
	MemoryContext caller;
	Relation	rel;
	SysScanDesc scan;
	HeapTuple	tuple;

	if (known_context == NULL)
	{
		CacheRegisterRelcacheCallback(relcache_callback, (Datum) 0);
		known_context = AllocSetContextCreate(CacheMemoryContext, "event_store upcast types", ALLOCSET_SMALL_SIZES);
	}
	known_types = NULL;
	MemoryContextReset(known_context);
	registry = es_extension_relation("upcaster_registry");
	changes_before = changes;
	rel = table_open(registry, AccessShareLock);
	scan = systable_beginscan(rel, es_primary_key(rel), true, NULL, 0, NULL);
	caller = MemoryContextSwitchTo(known_context);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;
		Datum		type = heap_getattr(tuple, UPCASTER_EVENT_TYPE + 1, RelationGetDescr(rel), &isnull);

		if (known_types == NULL)
			known_types = es_by_type_create("event_store upcast types", sizeof(EsByType));
		(void) es_by_type_enter(known_types, TextDatumGetCString(type), NULL);
	}
	MemoryContextSwitchTo(caller);
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	known = changes == changes_before;
}

/* --- loading --- */

/* Fill in the upcasters that count; the context is current. */
static void
load(EsPrepared *prepared, const Datum *no_values, const bool *no_nulls)
{
	EsUpcasters *upcasters = (EsUpcasters *) prepared;
	Relation	rel = es_extension_open("upcaster_registry", AccessShareLock);
	Relation	index = index_open(es_primary_key(rel), AccessShareLock);
	SysScanDesc scan = systable_beginscan_ordered(rel, index, NULL, 0, NULL);
	HeapTuple	tuple;

	prepared->parameters->params[ES_PARAM_UPCAST_DATA].ptype = JSONBOID;
	prepared->parameters->params[ES_PARAM_UPCAST_METADATA].ptype = JSONBOID;
	/* functions are looked up one by one, later */
	es_prepared_watch_functions(prepared);
	while (HeapTupleIsValid(tuple = systable_getnext_ordered(scan, ForwardScanDirection)))
	{
		Datum		values[UPCASTER_NCOLUMNS];
		bool		nulls[UPCASTER_NCOLUMNS];
		char	   *type;
		bool		found;
		Chain	   *chain;
		Step	   *step;
		Oid			function;

		heap_deform_tuple(tuple, RelationGetDescr(rel), values, nulls);
		if (!es_prepared_trusts(prepared, DatumGetObjectId(values[UPCASTER_OWNER])))
			continue;
		if (upcasters->by_type == NULL)
			upcasters->by_type = es_by_type_create("event_store upcasters", sizeof(Chain));
		type = TextDatumGetCString(values[UPCASTER_EVENT_TYPE]);
		chain = es_by_type_enter(upcasters->by_type, type, &found);
		if (!found)
			chain->steps = NIL;
		step = palloc0(sizeof(Step));
		step->from_version = DatumGetInt32(values[UPCASTER_FROM_VERSION]);
		step->function = TextDatumGetCString(values[UPCASTER_FUNCTION]);
		chain->steps = lappend(chain->steps, step);

		upcasters->definition = hash_bytes_extended((const unsigned char *) type, strlen(type) + 1, upcasters->definition);
		upcasters->definition = hash_combine64(upcasters->definition, hash_bytes_uint32(step->from_version));
		function = es_function_find(step->function);
		if (OidIsValid(function))
			upcasters->definition = es_apply_hash(function, upcasters->definition);
	}
	systable_endscan_ordered(scan);
	index_close(index, AccessShareLock);
	table_close(rel, AccessShareLock);
}

/* The upcasters that count in a store, for the caller alone, as es_prepared_take_all; NULL if there are none. */
EsUpcasters *
es_upcasters_take(const EsStore *store, Relation log)
{
	static const EsPreparedKind kind = {
		.what = "upcaster",
		.registry = "upcaster_registry",
		.size = sizeof(EsUpcasters),
		.load = load
	};
	EsUpcasters *upcasters;

	if (!known)
		look_up_types();
	if (known && known_types == NULL)
		return NULL;
	upcasters = (EsUpcasters *) es_prepared_take_all(&kind, store, log);
	if (upcasters->by_type != NULL)
		return upcasters;
	es_upcasters_give(upcasters);
	return NULL;
}

/* Give them back, after a use that went well. */
void
es_upcasters_give(EsUpcasters *upcasters)
{
	es_prepared_give(&upcasters->prepared);
}

/* --- upcasting --- */

/* What is being upcast, for the context of errors. */
typedef struct Upcasting
{
	int64		position;
	const text *type;
	const Step *step;
} Upcasting;

static void
error_context(void *arg)
{
	Upcasting  *u = arg;

	if (u->step != NULL)
		errcontext("upcaster %s of event type \"%.*s\" from version %d, event at position %lld", u->step->function,
				   (int) VARSIZE_ANY_EXHDR(u->type), VARDATA_ANY(u->type), u->step->from_version, (long long) u->position);
}

/* Look the function of a step up and prepare it. */
static void
prepare(EsUpcasters *upcasters, Step *step)
{
	static const int params[] = {ES_PARAM_UPCAST_DATA, ES_PARAM_UPCAST_METADATA};
	Oid			function = es_upcaster_find(step->function);

	step->returns_type = es_upcaster_inspect(function);
	es_prepared_add(&upcasters->prepared, &step->call, function, get_func_nargs(function), params);
	step->prepared = true;
}

static void
bad_result(const Upcasting *u, int sqlstate, const char *problem)
{
	char	   *type = text_to_cstring(u->type);

	ereport(ERROR,
			(es_problem(sqlstate,
						ES_MEMBERS(ES_TEXT("event_type", type), ES_TEXT("function", u->step->function),
								   ES_INT("from_version", u->step->from_version), ES_INT("position", u->position)),
						"upcaster %s of event type \"%s\" %s", u->step->function, type, problem),
			 errhint("An upcaster returns the data of the event, or its type and its data; neither may be null.")));
}

/* Take apart what an upcaster has returned: the data, and the type if it says one; palloc'd. */
static void
take_result(const Upcasting *u, Datum result, text **type, Datum *data)
{
	HeapTupleHeader row;
	HeapTupleData tuple;
	TupleDesc	desc;
	bool		is_literal;
	Datum		values[2];
	bool		nulls[2];

	if (!u->step->returns_type)
	{
		*data = JsonbPGetDatum(DatumGetJsonbPCopy(result));
		return;
	}
	row = DatumGetHeapTupleHeader(result);
	desc = lookup_rowtype_tupdesc(HeapTupleHeaderGetTypeId(row), HeapTupleHeaderGetTypMod(row));
	/* a function in SQL that returns ('Type', ...) has a literal there that nobody gave a type */
	is_literal = desc->natts == 2 && TupleDescAttr(desc, 0)->atttypid == UNKNOWNOID;
	if (desc->natts != 2 || (!is_literal && TupleDescAttr(desc, 0)->atttypid != TEXTOID) ||
		TupleDescAttr(desc, 1)->atttypid != JSONBOID)
	{
		ReleaseTupleDesc(desc);
		bad_result(u, ERRCODE_DATATYPE_MISMATCH, "returned a row of another type");
	}
	tuple.t_len = HeapTupleHeaderGetDatumLength(row);
	tuple.t_data = row;
	heap_deform_tuple(&tuple, desc, values, nulls);
	ReleaseTupleDesc(desc);
	if (nulls[0] || nulls[1])
		bad_result(u, ERRCODE_NULL_VALUE_NOT_ALLOWED, nulls[0] ? "returned a null type" : "returned null data");
	*type = is_literal ? cstring_to_text(DatumGetCString(values[0])) : DatumGetTextPCopy(values[0]);
	*data = JsonbPGetDatum(DatumGetJsonbPCopy(values[1]));
	if (VARSIZE_ANY_EXHDR(*type) == 0 || VARDATA_ANY(*type)[0] == '$')
		bad_result(u, ERRCODE_INVALID_PARAMETER_VALUE, "returned a type that no event may have");
}

/* The schema version that an event was written with. */
static int
schema_version(const EsEventBody *body)
{
	Jsonb	   *metadata;
	JsonbValue	value;
	double		version;

	if (body->metadata_isnull)
		return 1;
	metadata = DatumGetJsonbP(body->metadata);
	if (!JB_ROOT_IS_OBJECT(metadata) ||
		getKeyJsonValueFromContainer(&metadata->root, VERSION_MEMBER, strlen(VERSION_MEMBER), &value) == NULL ||
		value.type != jbvNumeric)
		return 1;
	/* any number may stand there, and must not make the event unreadable */
	version = DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow, NumericGetDatum(value.val.numeric)));
	return version > 1 ? (int) Min(version, ES_MAX_SCHEMA_VERSION + 1) : 1;
}

/* Metadata that says another schema version, palloc'd. */
static Datum
metadata_of_version(const EsEventBody *body, int version)
{
	JsonbParseState *parse = NULL;
	JsonbValue	key = {.type = jbvString};
	JsonbValue	value = {.type = jbvNumeric};
	Jsonb	   *member;

	key.val.string.val = VERSION_MEMBER;
	key.val.string.len = strlen(VERSION_MEMBER);
	value.val.numeric = int64_to_numeric(version);
	(void) pushJsonbValue(&parse, WJB_BEGIN_OBJECT, NULL);
	(void) pushJsonbValue(&parse, WJB_KEY, &key);
	(void) pushJsonbValue(&parse, WJB_VALUE, &value);
	member = JsonbValueToJsonb(pushJsonbValue(&parse, WJB_END_OBJECT, NULL));
	if (body->metadata_isnull || !JB_ROOT_IS_OBJECT(DatumGetJsonbP(body->metadata)))
		return JsonbPGetDatum(member);
	return DirectFunctionCall2(jsonb_concat, body->metadata, JsonbPGetDatum(member));
}

/* The first step of a chain for events of a version, NULL if there is none. */
static Step *
step_from(const Chain *chain, int version)
{
	ListCell   *lc;

	if (chain != NULL)
		foreach(lc, chain->steps)
			if (((Step *) lfirst(lc))->from_version >= version)
				return lfirst(lc);
	return NULL;
}

/* Run the chains, in a context of its own; false if there is nothing to do for the event's version. */
static bool
run_chains(EsUpcasters *upcasters, Chain *chain, const text *type, const Datum *row, EsEventBody *body)
{
	Upcasting	u = {.position = DatumGetInt64(row[LOG_POSITION]), .type = type};
	ErrorContextCallback callback = {.previous = error_context_stack, .callback = error_context, .arg = &u};
	ParamExternData *params = upcasters->prepared.parameters->params;
	int			written = schema_version(body);
	int			version = written;
	Step	   *step = step_from(chain, version);
	int			steps = 0;

	if (step == NULL)
		return false;
	error_context_stack = &callback;
	for (; step != NULL; step = step_from(chain, version))
	{
		text	   *changed = NULL;
		Datum		result;
		bool		isnull;

		u.step = step;
		if (++steps > MAX_STEPS)
			bad_result(&u, ERRCODE_PROGRAM_LIMIT_EXCEEDED, "leads to types whose upcasters lead back to it");
		if (!step->prepared)
			prepare(upcasters, step);
		params[ES_PARAM_UPCAST_DATA].value = body->data;
		params[ES_PARAM_UPCAST_DATA].isnull = false;
		params[ES_PARAM_UPCAST_METADATA].value = body->metadata;
		params[ES_PARAM_UPCAST_METADATA].isnull = body->metadata_isnull;
		result = es_prepared_call(&upcasters->prepared, &step->call, &isnull);
		if (isnull)
			bad_result(&u, ERRCODE_NULL_VALUE_NOT_ALLOWED, "returned null");
		take_result(&u, result, &changed, &body->data);
		version = step->from_version + 1;
		if (changed != NULL && (VARSIZE_ANY_EXHDR(changed) != VARSIZE_ANY_EXHDR(u.type) ||
								memcmp(VARDATA_ANY(changed), VARDATA_ANY(u.type), VARSIZE_ANY_EXHDR(changed)) != 0))
		{
			u.type = changed;
			body->type = PointerGetDatum(changed);
			version = 1;
			chain = es_by_type_find(upcasters->by_type, VARDATA_ANY(changed), VARSIZE_ANY_EXHDR(changed));
		}
	}
	error_context_stack = callback.previous;
	if (version != written)
	{
		body->metadata = metadata_of_version(body, version);
		body->metadata_isnull = false;
	}
	return true;
}

/* A copy of a changed part of a body in the current context. */
static void
keep_part(Datum *now, Datum before)
{
	if (*now != before)
		*now = datumCopy(*now, false, -1);
}

/*
 * Put the body of an event, whose row of event_log is given, into its form of
 * today, as EsBodyHook.  The upcasters are those of its store; data is a jsonb.
 */
bool
es_upcast(EsUpcasters *upcasters, const Datum *row, EsEventBody *body)
{
	text	   *type = DatumGetTextPP(body->type);
	Chain	   *chain = es_by_type_find(upcasters->by_type, VARDATA_ANY(type), VARSIZE_ANY_EXHDR(type));
	EsEventBody stored = *body;
	MemoryContext caller;
	MemoryContext scratch;
	bool		changed;

	if (chain == NULL)
		return false;
	scratch = AllocSetContextCreate(CurrentMemoryContext, "event_store upcast", ALLOCSET_SMALL_SIZES);
	caller = MemoryContextSwitchTo(scratch);
	changed = run_chains(upcasters, chain, type, row, body);
	MemoryContextSwitchTo(caller);
	if (changed)
	{
		keep_part(&body->type, stored.type);
		keep_part(&body->data, stored.data);
		keep_part(&body->metadata, stored.metadata);
	}
	MemoryContextDelete(scratch);
	return changed;
}

/* The hook of log/read. */
static bool
upcast_for_reader(const Datum *row, EsEventBody *body)
{
	text	   *type;
	EsStore    *store;
	Relation	log;
	EsUpcasters *upcasters;
	bool		changed = false;

	if (!known)
		look_up_types();
	if (known_types == NULL)
		return false;
	type = DatumGetTextPP(body->type);
	if (es_by_type_find(known_types, VARDATA_ANY(type), VARSIZE_ANY_EXHDR(type)) == NULL)
		return false;

	/* the reader holds its log open and locked */
	store = es_store_current(false);
	log = table_open(store->log, NoLock);
	upcasters = es_upcasters_take(store, log);
	if (upcasters != NULL)
	{
		body->data = es_payload_of_row(row, store->payload, ES_PAYLOAD_JSONB);
		changed = es_upcast(upcasters, row, body);
		es_upcasters_give(upcasters);
	}
	table_close(log, NoLock);
	return changed;
}

void
EsUpcastInit(void)
{
	es_body_hook = upcast_for_reader;
}
