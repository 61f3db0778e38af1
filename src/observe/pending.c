/*
 * pending.c
 *		What a transaction adds to series if it commits.
 *
 * One record for each series and subtransaction that has something to add, in
 * a list with the innermost first.  A subtransaction that commits hands its
 * records up, one that aborts drops them; the transaction's end publishes or
 * drops all.  PREPARE TRANSACTION publishes: of the COMMIT PREPARED nobody is
 * told.  The records are made when something is counted, in the transaction's
 * memory, so what runs at commit allocates nothing and cannot fail.
 *
 * An append that is rolled back is counted as such at that moment: it is the
 * one thing here that a rollback publishes.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "base/xact.h"
#include "observe/series.h"

typedef struct EsPending
{
	struct EsPending *next;		/* in the list of all */
	struct EsPending *below;	/* of the same series, of a level further out */
	EsSeries   *series;			/* NULL: a family to drop */
	int			level;			/* of nesting, 1 is the transaction itself */
	int			index;
	uint64		generation;
	int64		number;			/* of the family to drop */
	bool		drop;			/* the series */
	EsValue		value;
	int			ncells;			/* as many as the series had then */
	int64		cells[FLEXIBLE_ARRAY_MEMBER];
} EsPending;

static EsPending *pending = NULL;

static EsPending *
push(EsSeries *series, int ncells)
{
	EsPending  *p = MemoryContextAllocZero(TopTransactionContext,
										   offsetof(EsPending, cells) + ncells * sizeof(int64));

	p->level = GetCurrentTransactionNestLevel();
	p->ncells = ncells;
	p->next = pending;
	pending = p;
	if (series != NULL)
	{
		p->series = series;
		p->index = series->index;
		p->generation = series->generation;
		p->below = series->pending;
		series->pending = p;
	}
	return p;
}

/* Is the record of this level, and of what the series is now? */
static inline bool
is_for(const EsPending *p, int level, int index, uint64 generation)
{
	return p != NULL && p->level == level && p->index == index && p->generation == generation;
}

/* The record of the series in the current subtransaction. */
static inline EsPending *
current(EsSeries *series)
{
	EsPending  *p = series->pending;

	if (is_for(p, GetCurrentTransactionNestLevel(), series->index, series->generation))
		return p;
	return push(series, series->ncells);
}

/* Add a value, and one to a cell (negative: to none), if the transaction commits. */
void
es_pending_add(EsSeries *series, const EsValue *value, int cell)
{
	EsPending  *p = current(series);

	es_value_add(series->kind, &p->value, value);
	if (cell >= 0)
		p->cells[cell]++;
}

/* The cells of a series, to add to what is counted if the transaction commits. */
int64 *
es_pending_cells(EsSeries *series)
{
	return current(series)->cells;
}

/* Drop the family of a definition of this database if the transaction commits. */
void
es_pending_drop_family(int64 number)
{
	push(NULL, 0)->number = number;
}

/* Drop a series if the transaction commits. */
void
es_pending_drop_series(EsSeries *series)
{
	current(series)->drop = true;
}

static void
publish(const EsPending *p)
{
	if (p->series == NULL)
		es_family_kill(MyDatabaseId, p->number);
	else if (p->drop)
		es_series_kill(p->index, p->generation);
	else
		es_series_fold(p->series, p->index, p->generation, &p->value, p->cells, p->ncells);
}

/* Forget a record, the innermost of its series. */
static void
drop(const EsPending *p)
{
	if (p->series == NULL)
		return;
	p->series->pending = p->below;
	if (p->series->key.family == ES_STORE_FAMILY && p->cells[ES_APPEND_CALLS + ES_OUTCOME_OK] > 0)
	{
		const EsValue nothing = {0};
		int64		cells[ES_NSTORE_CELLS] = {0};

		cells[ES_APPEND_CALLS + ES_OUTCOME_ROLLBACK] = p->cells[ES_APPEND_CALLS + ES_OUTCOME_OK];
		es_series_fold(p->series, p->index, p->generation, &nothing, cells, ES_NSTORE_CELLS);
	}
}

/* Hand a record up; false if it has become part of the one below. */
static bool
hand_up(EsPending *p)
{
	EsPending  *below = p->below;

	p->level--;
	if (!is_for(below, p->level, p->index, p->generation))
		return true;
	es_value_add(p->series->kind, &below->value, &p->value);
	for (int c = 0; c < p->ncells; c++)
		below->cells[c] += p->cells[c];
	below->drop = below->drop || p->drop;
	p->series->pending = below;
	return false;
}

static void
subtransaction_ended(bool committed, int level)
{
	EsPending **link = &pending;

	/* those of deeper levels, if any, have gone up or away already */
	while (*link != NULL && (*link)->level >= level)
	{
		if (committed && hand_up(*link))
		{
			link = &(*link)->next;
			continue;
		}
		if (!committed)
			drop(*link);
		*link = (*link)->next;
	}
}

static void
transaction_ended(bool committed)
{
	for (EsPending *p = pending; p != NULL; p = p->next)
	{
		if (committed)
		{
			publish(p);
			if (p->series != NULL)
				p->series->pending = NULL;
		}
		else
			drop(p);
	}
	pending = NULL;
}

static void
transaction_prepared(void)
{
	transaction_ended(true);
}

void
EsPendingInit(void)
{
	static const EsXactHook hook = {
		.prepared = transaction_prepared, .end = transaction_ended, .sub_end = subtransaction_ended
	};

	es_xact_register(&hook);
}
