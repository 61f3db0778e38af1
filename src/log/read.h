/*
 * read.h
 *		Reading in the order of positions, for the functions that do.
 */
#ifndef ES_READ_H
#define ES_READ_H

#include "fmgr.h"
#include "nodes/execnodes.h"
#include "utils/snapshot.h"
#include "utils/uuid.h"

#include "store/store.h"

/* Fields of the type recorded_event. */
enum EsRecordedField
{
	FIELD_POSITION,
	FIELD_STREAM,
	FIELD_VERSION,
	FIELD_EVENT_ID,
	FIELD_TYPE,
	FIELD_DATA,
	FIELD_METADATA,
	FIELD_CORRELATION_ID,
	FIELD_CAUSATION_ID,
	FIELD_CREATED_AT,
	RECORDED_NFIELDS
};

/* What of an event its reader may be given in another form than it is stored in. */
typedef struct EsEventBody
{
	Datum		type;
	Datum		data;
	Datum		metadata;
	bool		metadata_isnull;
} EsEventBody;

/*
 * Puts the body of an event of the store in use into the form that readers
 * want, for a floor above; row is its row of event_log.  Tells whether it
 * changed anything; then data is a jsonb, whatever the store keeps.  What it puts
 * in place is palloc'd.
 */
typedef bool (*EsBodyHook) (const Datum *row, EsEventBody *body);
extern EsBodyHook es_body_hook;

/* A list of names to filter by; NULL data: no filter. */
typedef struct EsNames
{
	int			count;
	Datum	   *data;
} EsNames;

/* What a reader of all streams asks for. */
typedef struct EsReadQuery
{
	int64		after;
	int64		max_count;
	bool		backward;
	bool		by_type;		/* go along the index over types, if there is one */
	EsNames		types;
	EsNames		categories;
	const pg_uuid_t *correlation;	/* NULL: any */
} EsReadQuery;

/* What is final now: every event up to a position, as a snapshot sees them. */
typedef struct EsFinal
{
	int64		last;
	Snapshot	snapshot;
	bool		by_mark;
} EsFinal;

/* Takes one row of event_log that was read. */
typedef void (*EsEventSink) (void *target, text *stream, const Datum *row, const bool *nulls);

extern void es_final_begin(EsFinal *final, EsStore *store);
extern void es_final_range(const EsFinal *final, EsStore *store, const EsReadQuery *query, int64 *low, int64 *high);
extern void es_final_end(EsFinal *final);
extern int64 es_read_in_order(EsStore *store, Relation log, const EsReadQuery *query,
							  EsEventSink sink, void *target, int64 *passed);
extern bool es_read_position(EsStore *store, Relation log, int64 position, Snapshot snapshot,
							 EsEventSink sink, void *target);

extern EsEventBody es_event_body(const Datum *row, const bool *row_nulls);
extern void es_event_fields(text *stream, const Datum *row, const bool *row_nulls, const EsEventBody *body,
							Datum *values, bool *nulls);

/* Where a function that returns recorded_events puts them. */
typedef struct EsPut
{
	ReturnSetInfo *result;
	EsPayload	kept;			/* what the store keeps */
	EsPayload	wanted;			/* what the field data of the result is */
	MemoryContext row;			/* for what is made of a row */
} EsPut;

extern void es_put_begin(EsPut *put, FunctionCallInfo fcinfo, const EsStore *store);
extern void es_recorded_event(const EsStore *store, text *stream, const Datum *row, const bool *row_nulls,
							  Datum *values, bool *nulls);
extern void es_put_event(void *put, text *stream, const Datum *row, const bool *nulls);
extern bool es_name_matches(const EsNames *names, const char *data, int length);

extern bool es_direction_argument(FunctionCallInfo fcinfo, int argument);
extern int64 es_count_argument(FunctionCallInfo fcinfo, int argument);
extern int64 es_position_argument(FunctionCallInfo fcinfo, int argument, bool backward);
extern int64 es_timeout_argument(FunctionCallInfo fcinfo, int argument, const char *name);
extern EsNames es_names_argument(FunctionCallInfo fcinfo, int argument, const char *name);

#endif							/* ES_READ_H */
