/*
 * subscription.h
 *		Subscriptions: what their functions share.
 */
#ifndef ES_SUBSCRIPTION_H
#define ES_SUBSCRIPTION_H

#include "fmgr.h"

#include "deliver/delivery.h"
#include "deliver/source.h"

extern EsEventSource *es_subscription_source(const EsSubscription *subscription);
extern Jsonb *es_subscription_problem(int64 position, const char *action, text *consumer,
									  const char *reason, TimestampTz at);

extern text *es_subscription_name_argument(FunctionCallInfo fcinfo, int argument);
extern text *es_consumer_argument(FunctionCallInfo fcinfo, int argument);
extern bool es_text_equal(const text *a, const text *b);

#endif							/* ES_SUBSCRIPTION_H */
