/*
 * index.c
 *		The indexes of a store: those it must have and those it may have.
 *
 * What counts is the columns of an index, not its name or who made it.  Each of
 * those that a store may have serves one kind of read (log/read, log/find) and
 * costs every append; add_index and drop_index are no more than a short way to
 * CREATE INDEX and DROP INDEX.
 *
 * Both are procedures, because CREATE INDEX CONCURRENTLY, which lets appends go
 * on, must not run in a transaction: it commits several times.  So it is as if
 * the CALL had been that command.
 */
#include "postgres.h"

#include "access/genam.h"
#include "catalog/namespace.h"
#include "catalog/pg_am.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_index.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "nodes/parsenodes.h"
#include "nodes/readfuncs.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/uuid.h"

#include "base/arguments.h"
#include "base/errors.h"
#include "store/event_id.h"
#include "store/index.h"
#include "store/statement.h"
#include "store/store.h"

/* in pg_operator, which gives them no symbols */
#define UUID_LESS_OPERATOR		2974
#define UUID_GREATER_OPERATOR	2975

/* The indexes that a store may have. */
static const struct Kind
{
	const char *kind;
	const char *name;
	const char *columns;
}			kinds[] = {
	{"type", "event_log_by_type", "(event_type, position)"},
	{"correlation", "event_log_by_correlation", "(correlation_id, position) WHERE correlation_id IS NOT NULL"},
	{"time", "event_log_by_time", "(created_at, position)"},
};

/*
 * Does the index have an expression or a predicate?  Seen from the catalogue:
 * the relcache would evaluate the owner's functions in them, with the rights
 * of whoever asks, and that may be the worker.
 */
static bool
index_has_expression(Relation index)
{
	return !heap_attisnull(index->rd_indextuple, Anum_pg_index_indexprs, NULL);
}

static bool
index_has_predicate(Relation index)
{
	return !heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL);
}

/* The collation of our columns of a type: names are compared byte for byte. */
static Oid
collation_of(Oid type)
{
	return type == TEXTOID ? C_COLLATION_OID : InvalidOid;
}

/*
 * Is it a unique b-tree on exactly these columns (numbered from 0, the second
 * -1 if there is one only), in ascending order, ready for use?
 */
static bool
index_is(Relation index, bool partial, int column1, int column2)
{
	Form_pg_index form = index->rd_index;
	int			keys[] = {column1, column2};
	int			nkeys = column2 < 0 ? 1 : 2;

	if (!form->indisvalid || !form->indisready || !form->indisunique || !form->indimmediate ||
		form->indnkeyatts != nkeys || index->rd_rel->relam != BTREE_AM_OID ||
		index_has_expression(index) || index_has_predicate(index) != partial)
		return false;
	for (int i = 0; i < nkeys; i++)
		if (form->indkey.values[i] != keys[i] + 1 || index->rd_indoption[i] != 0 ||
			index->rd_indcollation[i] != collation_of(TupleDescAttr(RelationGetDescr(index), i)->atttypid))
			return false;
	return true;
}

/* Is it "event_id <operator> <id>"? */
static bool
is_comparison(Node *node, Oid operator, const pg_uuid_t *id)
{
	OpExpr	   *op = (OpExpr *) node;
	Const	   *constant;

	if (!IsA(node, OpExpr) || op->opno != operator || list_length(op->args) != 2 ||
		!IsA(linitial(op->args), Var) || !IsA(lsecond(op->args), Const))
		return false;
	constant = lsecond_node(Const, op->args);
	return ((Var *) linitial(op->args))->varattno == LOG_EVENT_ID + 1 &&
		constant->consttype == UUIDOID && !constant->constisnull &&
		memcmp(DatumGetUUIDP(constant->constvalue), id, UUID_LEN) == 0;
}

/* Is the predicate of an index ours: event_id lies outside the ids made here? */
static bool
predicate_is_given_ids(const EsStore *store, Relation index)
{
	pg_uuid_t	low;
	pg_uuid_t	high;
	Datum		predicate;
	bool		isnull;
	BoolExpr   *expression;

	es_event_id_range(store->number, &low, &high);
	predicate = SysCacheGetAttr(INDEXRELID, index->rd_indextuple, Anum_pg_index_indpred, &isnull);
	expression = stringToNode(TextDatumGetCString(predicate));
	return IsA(expression, BoolExpr) && expression->boolop == OR_EXPR && list_length(expression->args) == 2 &&
		is_comparison(linitial(expression->args), UUID_LESS_OPERATOR, &low) &&
		is_comparison(lsecond(expression->args), UUID_GREATER_OPERATOR, &high);
}

/* Is the predicate of an index that its first column is not null? */
static bool
predicate_is_not_null(Relation index)
{
	Datum		predicate;
	bool		isnull;
	NullTest   *test;

	predicate = SysCacheGetAttr(INDEXRELID, index->rd_indextuple, Anum_pg_index_indpred, &isnull);
	test = stringToNode(TextDatumGetCString(predicate));
	return IsA(test, NullTest) && test->nulltesttype == IS_NOT_NULL && !test->argisrow && IsA(test->arg, Var) &&
		((Var *) test->arg)->varattno == index->rd_index->indkey.values[0];
}

/* Can a read go along it for the events with one value of a column, in the order of another, both ascending? */
static bool
index_leads(Relation index, int column, int then)
{
	Form_pg_index form = index->rd_index;

	return form->indisvalid && form->indnkeyatts == 2 &&
		form->indkey.values[0] == column + 1 && form->indkey.values[1] == then + 1 &&
		index->rd_indoption[0] == 0 && index->rd_indoption[1] == 0 &&
		index->rd_indcollation[0] == (column == LOG_EVENT_TYPE ? C_COLLATION_OID : InvalidOid);
}

/* What an insert into a b-tree over columns needs to know of it. */
static IndexInfo *
make_index_info(const EsStore *store, Relation index)
{
	Form_pg_index form = index->rd_index;
	MemoryContext caller = MemoryContextSwitchTo(store->context);
	IndexInfo  *info = makeNode(IndexInfo);

	info->ii_NumIndexAttrs = form->indnatts;
	info->ii_NumIndexKeyAttrs = form->indnkeyatts;
	for (int i = 0; i < form->indnatts; i++)
		info->ii_IndexAttrNumbers[i] = form->indkey.values[i];
	info->ii_Unique = form->indisunique;
	info->ii_ReadyForInserts = form->indisready;
	info->ii_Am = index->rd_rel->relam;
	info->ii_Context = store->context;
	MemoryContextSwitchTo(caller);
	return info;
}

/*
 * Learn the indexes of event_log.  Leaves plain_insert set only if an append
 * can fill all of them by hand: b-trees over columns, without predicate but
 * for our own and "is not null".
 */
void
es_store_load_log_indexes(EsStore *store, Relation log)
{
	List	   *oids = RelationGetIndexList(log);
	ListCell   *lc;

	store->indexes = MemoryContextAllocZero(store->context, sizeof(EsLogIndex) * Max(list_length(oids), 1));
	foreach(lc, oids)
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);
		EsLogIndex *target = &store->indexes[store->nindexes];

		/* CREATE INDEX CONCURRENTLY says when it wants rows: then this is loaded anew */
		if (!index->rd_index->indisready)
		{
			index_close(index, AccessShareLock);
			continue;
		}
		store->nindexes++;
		target->oid = RelationGetRelid(index);
		target->info = make_index_info(store, index);
		if (index_is(index, false, LOG_STREAM_ID, LOG_VERSION))
			store->log_by_version = target->oid;
		else if (index_is(index, false, LOG_POSITION, -1))
			store->log_by_position = target->oid;
		else if (index_is(index, true, LOG_EVENT_ID, -1) && predicate_is_given_ids(store, index))
		{
			store->log_by_event_id = target->oid;
			target->given_ids_only = true;
		}
		else if (index->rd_rel->relam != BTREE_AM_OID || !index->rd_index->indimmediate ||
				 index->rd_index->indisexclusion || index_has_expression(index) ||
				 (index_has_predicate(index) && !predicate_is_not_null(index)))
			store->plain_insert = false;
		else
		{
			target->not_null_only = index_has_predicate(index);
			if (index_leads(index, LOG_CORRELATION_ID, LOG_POSITION))
				store->log_by_correlation = target->oid;
			else if (!target->not_null_only && index_leads(index, LOG_EVENT_TYPE, LOG_POSITION))
				store->log_by_type = target->oid;
			else if (!target->not_null_only && index_leads(index, LOG_CREATED_AT, LOG_POSITION))
				store->log_by_time = target->oid;
		}
		index_close(index, AccessShareLock);
	}
	list_free(oids);
}

/* Learn the indexes of event_streams; one that log/stream would not check in time is a defect. */
void
es_store_load_stream_indexes(EsStore *store, Relation streams)
{
	List	   *oids = RelationGetIndexList(streams);
	ListCell   *lc;

	foreach(lc, oids)
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);

		if (index_is(index, false, STREAM_ID, -1))
			store->streams_by_id = RelationGetRelid(index);
		else if (index_is(index, false, STREAM_NAME, -1))
			store->streams_by_name = RelationGetRelid(index);
		else if (!index->rd_index->indimmediate)
			store->defect = pstrdup("table event_streams has a deferrable constraint, which appends would not check");
		index_close(index, AccessShareLock);
	}
	list_free(oids);
}

/*
 * Learn the indexes of event_tags, all of which an append fills by hand: there
 * is more than one while REINDEX CONCURRENTLY is at work.
 */
void
es_store_load_tag_indexes(EsStore *store, Relation tags)
{
	List	   *oids = RelationGetIndexList(tags);
	ListCell   *lc;

	store->tag_indexes = MemoryContextAllocZero(store->context, sizeof(EsLogIndex) * Max(list_length(oids), 1));
	foreach(lc, oids)
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);
		EsLogIndex *target = &store->tag_indexes[store->ntag_indexes];

		if (index->rd_index->indisready)
		{
			store->ntag_indexes++;
			target->oid = RelationGetRelid(index);
			target->info = make_index_info(store, index);
			if (index_is(index, false, TAGS_TAG, TAGS_POSITION))
				store->tags_by_tag = target->oid;
			else if (index->rd_rel->relam != BTREE_AM_OID || !index->rd_index->indimmediate ||
					 index_has_expression(index) || index_has_predicate(index))
				store->defect = pstrdup("table event_tags has an index that appends would not fill");
		}
		index_close(index, AccessShareLock);
	}
	list_free(oids);
}

static const struct Kind *
kind_argument(FunctionCallInfo fcinfo)
{
	char	   *kind;

	es_require_argument(fcinfo, 0, "kind");
	es_require_argument(fcinfo, 1, "concurrently");
	kind = text_to_cstring(PG_GETARG_TEXT_PP(0));
	for (int i = 0; i < lengthof(kinds); i++)
		if (strcmp(kind, kinds[i].kind) == 0)
			return &kinds[i];
	ereport(ERROR,
			(es_problem(ERRCODE_INVALID_PARAMETER_VALUE, ES_MEMBERS(ES_TEXT("kind", kind)),
						"there is no index of kind \"%s\"", kind),
			 errhint("Use type, correlation or time.")));
}

/* Refuse what cannot be done in the transaction that the call is in. */
static void
require_no_transaction(FunctionCallInfo fcinfo)
{
	if (fcinfo->context == NULL || !IsA(fcinfo->context, CallContext) ||
		((CallContext *) fcinfo->context)->atomic || SPI_inside_nonatomic_context())
		ereport(ERROR,
				(es_problem(ERRCODE_ACTIVE_SQL_TRANSACTION, NULL,
							"cannot work on an index concurrently in a transaction block or from a function"),
				 errhint("CALL it by itself, or with concurrently => false, which keeps appends out until the transaction ends.")));
}

/* The schema of the current store, which must be the caller's; palloc'd. */
static char *
own_store(void)
{
	EsStore    *store;

	es_require_writable();
	store = es_store_current(false);
	es_store_require_owner(store);
	return pstrdup(NameStr(store->schema));
}

PG_FUNCTION_INFO_V1(event_store_add_index);
PG_FUNCTION_INFO_V1(event_store_drop_index);

Datum
event_store_add_index(PG_FUNCTION_ARGS)
{
	const struct Kind *kind = kind_argument(fcinfo);
	bool		concurrently = PG_GETARG_BOOL(1);
	char	   *schema = own_store();
	Oid			index = get_relname_relid(kind->name, get_namespace_oid(schema, false));

	if (concurrently)
		require_no_transaction(fcinfo);
	if (OidIsValid(index) && get_index_isvalid(index))
		ereport(ERROR,
				(es_problem(ERRCODE_DUPLICATE_OBJECT, ES_MEMBERS(ES_TEXT("store", schema), ES_TEXT("kind", kind->kind)),
							"event store \"%s\" already has an index of kind \"%s\"", schema, kind->kind),
				 errhint("To build it anew, use REINDEX INDEX CONCURRENTLY %s.%s.", quote_identifier(schema), kind->name)));

	/* what an earlier call left behind that was interrupted */
	if (OidIsValid(index))
		es_statement_drop_index(schema, kind->name, concurrently);
	es_statement_create_index(schema, kind->name, kind->columns, concurrently);
	PG_RETURN_VOID();
}

Datum
event_store_drop_index(PG_FUNCTION_ARGS)
{
	const struct Kind *kind = kind_argument(fcinfo);
	bool		concurrently = PG_GETARG_BOOL(1);
	char	   *schema = own_store();

	if (concurrently)
		require_no_transaction(fcinfo);
	if (!OidIsValid(get_relname_relid(kind->name, get_namespace_oid(schema, false))))
		ereport(ERROR,
				(es_problem(ERRCODE_UNDEFINED_OBJECT, ES_MEMBERS(ES_TEXT("store", schema), ES_TEXT("kind", kind->kind)),
							"event store \"%s\" has no index of kind \"%s\"", schema, kind->kind),
				 errhint("An index that was made by hand under another name is dropped with DROP INDEX.")));
	es_statement_drop_index(schema, kind->name, concurrently);
	PG_RETURN_VOID();
}
