/*
 * delivery.h
 *		The tables of subscriptions: which there are, and what is in whose hands.
 */
#ifndef ES_DELIVERY_H
#define ES_DELIVERY_H

#include "access/htup.h"
#include "utils/array.h"
#include "utils/jsonb.h"
#include "utils/jsonpath.h"
#include "utils/snapshot.h"
#include "utils/timestamp.h"

#include "store/store.h"

/* A row of event_subscriptions.  Pointers are into its copy; NULL: null. */
typedef struct EsSubscription
{
	int64		id;
	int64		read_position;	/* each event of the source up to here is done or has a delivery */
	int64		checkpoint;		/* all deliveries in the lane of live ones are above */
	int64		taken;			/* events that were read and not forgotten undone */
	int64		given;			/* events that were given to consumers, repeats included */
	TimestampTz changed_at;
	TimestampTz created_at;
	int64		lease;			/* ms */
	int64		retry_delay;	/* ms */
	int32		max_attempts;
	int32		max_in_flight;	/* of a consumer */
	int32		buffer_size;	/* live deliveries */
	int32		max_parked;
	bool		park_key;
	bool		stopped;
	text	   *name;
	text	   *partition_by;
	text	   *stream;
	text	   *category;
	ArrayType  *types;
	JsonPath   *filter;
	Jsonb	   *last_problem;
	HeapTuple	row;
} EsSubscription;

#define ES_WAITING	'w'			/* for its time, or its key to be free */
#define ES_GIVEN	'g'			/* to a consumer, until due_at */
#define ES_PARKED	'p'			/* since due_at */

/*
 * The checkpoint looks at the first lane only.  What was parked stays in the
 * second, also while it is replayed.
 */
#define ES_LANE_LIVE	0
#define ES_LANE_PARKED	1

/* A row of event_deliveries. */
typedef struct EsDelivery
{
	int64		subscription;
	int64		position;
	TimestampTz due_at;
	int64		key;
	int32		attempts;
	int16		lane;
	char		state;
	text	   *consumer;		/* NULL unless given */
	const char *cause;			/* why it waits or is parked, or NULL */
	text	   *reason;			/* as a consumer put it, or NULL */
	ItemPointerData tid;
} EsDelivery;

/* What a caller wants to do: decides which rights it needs. */
typedef enum EsDeliveryUse
{
	ES_USE_LOOK,
	ES_USE_CONSUME,
	ES_USE_MANAGE
} EsDeliveryUse;

typedef struct EsDeliveryTables
{
	EsStore    *store;
	Relation	log;
	Relation	subscriptions;	/* NULL if the store has not got them */
	Relation	deliveries;
} EsDeliveryTables;

extern void es_delivery_open(EsDeliveryTables *tables, EsDeliveryUse use);
extern void es_delivery_create_tables(EsDeliveryTables *tables);
extern void es_delivery_close(EsDeliveryTables *tables);
extern void es_delivery_changed(EsDeliveryTables *tables);

extern bool es_subscription_find(EsDeliveryTables *tables, text *name, EsSubscription *subscription);
extern void es_subscription_get(EsDeliveryTables *tables, text *name, EsSubscription *subscription);
extern void es_subscription_take(EsDeliveryTables *tables, text *name, EsSubscription *subscription);
extern void es_subscription_release(EsDeliveryTables *tables, const EsSubscription *subscription);
extern void es_subscription_insert(EsDeliveryTables *tables, EsSubscription *subscription);
extern void es_subscription_save(EsDeliveryTables *tables, EsSubscription *subscription);
extern void es_subscription_delete(EsDeliveryTables *tables, EsSubscription *subscription);
extern List *es_subscriptions_load(EsDeliveryTables *tables);

extern EsDelivery *es_deliveries_load(EsDeliveryTables *tables, const EsSubscription *subscription, int lane, int *count);
extern bool es_delivery_find(EsDeliveryTables *tables, int64 subscription, int64 position, EsDelivery *delivery);
extern bool es_delivery_lock(EsDeliveryTables *tables, const EsDelivery *delivery);
extern void es_delivery_update(EsDeliveryTables *tables, EsDelivery *delivery);
extern bool es_delivery_delete(EsDeliveryTables *tables, const EsDelivery *delivery);
extern void es_deliveries_insert(EsDeliveryTables *tables, const EsDelivery *deliveries, int count);

extern void EsDeliveryInit(void);

#endif							/* ES_DELIVERY_H */
