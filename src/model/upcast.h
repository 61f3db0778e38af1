/*
 * upcast.h
 *		Events of old forms, read in the form of today.
 */
#ifndef ES_UPCAST_H
#define ES_UPCAST_H

#include "log/read.h"
#include "model/prepared.h"

/* Columns of upcaster_registry. */
enum EsUpcasterColumn
{
	UPCASTER_EVENT_TYPE,
	UPCASTER_FROM_VERSION,
	UPCASTER_FUNCTION,
	UPCASTER_OWNER,
	UPCASTER_REGISTERED_AT,
	UPCASTER_NCOLUMNS
};

/* The parameters of upcasters. */
enum EsUpcasterParameter
{
	ES_PARAM_UPCAST_DATA,
	ES_PARAM_UPCAST_METADATA
};

/* The upcasters that count in the stores of one owner, ready to run. */
typedef struct EsUpcasters
{
	EsPrepared	prepared;
	struct HTAB *by_type;		/* chains by event type, or NULL: there are none */
	uint64		definition;		/* hash of all that events depend on */
} EsUpcasters;

extern EsUpcasters *es_upcasters_take(const EsStore *store, Relation log);
extern void es_upcasters_give(EsUpcasters *upcasters);
extern bool es_upcast(EsUpcasters *upcasters, const Datum *row, EsEventBody *body);

extern void EsUpcastInit(void);

#endif							/* ES_UPCAST_H */
