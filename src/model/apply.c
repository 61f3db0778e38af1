/*
 * apply.c
 *		Apply functions: finding them, and what they take and return.
 *
 * An apply function turns a state of any type and an event into the next
 * state.  It is kept by its qualified signature as text, which a dump carries
 * from one database to another, where its OID would mean nothing.
 *
 * The hashes tell whether a state that was kept is still what a fold would
 * give: they cover the functions' definitions and the shape of the state's
 * type.  What the functions call in their turn is out of sight.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/tupdesc.h"
#include "catalog/namespace.h"
#include "catalog/pg_enum.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/catcache.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/syscache.h"
#include "utils/typcache.h"
#include "utils/varlena.h"

#include "base/errors.h"
#include "base/extension.h"
#include "model/apply.h"

#define SIGNATURES \
	"An apply function is f(state, type text, data jsonb), f(state, event event_store.recorded_event) or, for one event type, f(state, data jsonb), and returns the type of its state."

/* The type event_store.recorded_event. */
Oid
es_apply_event_type(void)
{
	Oid			nspid = get_namespace_oid(ES_SCHEMA, false);

	return GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum("recorded_event"), ObjectIdGetDatum(nspid));
}

/* Are these an apply function's arguments?  Then *form says which. */
static bool
arguments_fit(int nargs, const Oid *types, EsApplyForm *form)
{
	if (nargs == 3 && types[1] == TEXTOID && types[2] == JSONBOID)
		*form = ES_APPLY_TYPE_DATA;
	else if (nargs == 2 && types[1] == JSONBOID)
		*form = ES_APPLY_DATA;
	else if (nargs == 2 && types[1] == es_apply_event_type())
		*form = ES_APPLY_EVENT;
	else
		return false;
	return true;
}

static void
not_found(const char *name, const char *what)
{
	ereport(ERROR,
			(es_problem(ERRCODE_UNDEFINED_FUNCTION, ES_MEMBERS(ES_TEXT("function", name)),
						"%s: %s", what, name),
			 errhint(SIGNATURES)));
}

/* The function with a name and argument types in brackets, InvalidOid if there is none. */
static Oid
find_by_signature(const char *signature)
{
	LOCAL_FCINFO(call, 1);
	Datum		oid;

	InitFunctionCallInfoData(*call, NULL, 1, InvalidOid, NULL, NULL);
	call->args[0].value = CStringGetTextDatum(signature);
	call->args[0].isnull = false;
	oid = to_regprocedure(call);
	return call->isnull ? InvalidOid : DatumGetObjectId(oid);
}

static FuncCandidateList
find_by_name(const char *name)
{
	return FuncnameGetCandidates(textToQualifiedNameList(cstring_to_text(name)), -1, NIL, false, false, false, true);
}

/*
 * The function with a name, as "schema.name", or "name" found on the
 * search_path, with or without argument types; InvalidOid if there is none, or
 * several of a bare name.
 */
Oid
es_function_find(const char *name)
{
	FuncCandidateList candidate;

	if (strchr(name, '(') != NULL)
		return find_by_signature(name);
	candidate = find_by_name(name);
	return candidate != NULL && candidate->next == NULL ? candidate->oid : InvalidOid;
}

/*
 * The apply function with a name, likewise: a bare name stands for the one
 * function of that name that has the arguments of an apply function.
 */
Oid
es_apply_find(const char *name)
{
	FuncCandidateList candidate;
	Oid			found = InvalidOid;
	EsApplyForm form;

	if (strchr(name, '(') != NULL)
	{
		found = find_by_signature(name);
		if (!OidIsValid(found))
			not_found(name, "there is no such apply function");
		return found;
	}

	candidate = find_by_name(name);
	if (candidate == NULL)
		not_found(name, "there is no such apply function");
	for (; candidate != NULL; candidate = candidate->next)
	{
		if (!arguments_fit(candidate->nargs, candidate->args, &form))
			continue;
		if (OidIsValid(found))
			ereport(ERROR,
					(es_problem(ERRCODE_AMBIGUOUS_FUNCTION, ES_MEMBERS(ES_TEXT("function", name)),
								"several functions \"%s\" could be the apply function", name),
					 errhint("Name it with its argument types.")));
		found = candidate->oid;
	}
	if (!OidIsValid(found))
		not_found(name, "no function of this name has the arguments of an apply function");
	return found;
}

/*
 * What a function takes and which type its state is.  Raises an error if it is
 * no apply function: 42883 for its arguments or result, 22023 for one that is
 * volatile.
 */
void
es_apply_inspect(Oid function, EsApplyForm *form, Oid *state_type)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Form_pg_proc proc;
	char	   *signature;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function);
	proc = (Form_pg_proc) GETSTRUCT(tuple);
	signature = format_procedure(function);
	*state_type = proc->prorettype;
	if (proc->prokind != PROKIND_FUNCTION || proc->proretset ||
		!arguments_fit(proc->pronargs, proc->proargtypes.values, form))
		not_found(signature, "this is no apply function");
	if (proc->prorettype != proc->proargtypes.values[0])
		not_found(signature, "an apply function must return the type of its first argument");
	if (get_typtype(proc->prorettype) == TYPTYPE_PSEUDO)
		not_found(signature, "the state of an apply function must be of a definite type");
	if (proc->provolatile == PROVOLATILE_VOLATILE)
		ereport(ERROR,
				(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("function", signature)),
							"apply function %s is volatile", signature),
				 errhint("A state must come out the same at every replay: if this function does, declare it IMMUTABLE or STABLE.")));
	ReleaseSysCache(tuple);
}

/* A function's qualified name with its argument types, palloc'd. */
char *
es_apply_signature(Oid function)
{
	return format_procedure_qualified(function);
}

static uint64
hash_string(const char *string, uint64 seed)
{
	/* the terminator too, so that two strings are not taken for one */
	return hash_bytes_extended((const unsigned char *) string, (int) strlen(string) + 1, seed);
}

/* Hash one column of a function's row, as text. */
static uint64
hash_attribute(HeapTuple tuple, AttrNumber attribute, Oid output, uint64 seed)
{
	bool		isnull;
	Datum		value = SysCacheGetAttr(PROCOID, tuple, attribute, &isnull);

	return hash_string(isnull ? "" : OidOutputFunctionCall(output, value), seed);
}

/* A hash of what a function does, as far as its own definition tells. */
uint64
es_apply_hash(Oid function, uint64 seed)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	char	   *language;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function);
	language = get_language_name(((Form_pg_proc) GETSTRUCT(tuple))->prolang, false);
	seed = hash_string(es_apply_signature(function), seed);
	seed = hash_string(language, seed);
	seed = hash_attribute(tuple, Anum_pg_proc_prosrc, F_TEXTOUT, seed);
	seed = hash_attribute(tuple, Anum_pg_proc_probin, F_TEXTOUT, seed);
	seed = hash_attribute(tuple, Anum_pg_proc_proconfig, F_ARRAY_OUT, seed);
	seed = hash_attribute(tuple, Anum_pg_proc_prosqlbody, F_PG_NODE_TREE_OUT, seed);
	ReleaseSysCache(tuple);
	return seed;
}

/* A hash of a type's name and shape, with what it is made of. */
uint64
es_type_hash(Oid type, uint64 seed)
{
	check_stack_depth();
	seed = hash_string(format_type_be_qualified(type), seed);
	switch (get_typtype(type))
	{
		case TYPTYPE_COMPOSITE:
			{
				TupleDesc	desc = lookup_rowtype_tupdesc(type, -1);

				for (int i = 0; i < desc->natts; i++)
				{
					Form_pg_attribute att = TupleDescAttr(desc, i);

					if (att->attisdropped)
						continue;
					seed = hash_string(NameStr(att->attname), seed);
					seed = hash_bytes_extended((unsigned char *) &att->atttypmod, sizeof(att->atttypmod), seed);
					seed = es_type_hash(att->atttypid, seed);
				}
				ReleaseTupleDesc(desc);
				break;
			}
		case TYPTYPE_DOMAIN:
			seed = es_type_hash(getBaseType(type), seed);
			break;
		case TYPTYPE_ENUM:
			{
				CatCList   *labels = SearchSysCacheList1(ENUMTYPOIDNAME, ObjectIdGetDatum(type));

				for (int i = 0; i < labels->n_members; i++)
					seed = hash_string(NameStr(((Form_pg_enum) GETSTRUCT(&labels->members[i]->tuple))->enumlabel), seed);
				ReleaseSysCacheList(labels);
				break;
			}
		default:
			if (OidIsValid(get_element_type(type)))
				seed = es_type_hash(get_element_type(type), seed);
			else if (OidIsValid(get_range_subtype(type)))
				seed = es_type_hash(get_range_subtype(type), seed);
			break;
	}
	return seed;
}
