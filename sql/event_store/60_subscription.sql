/* subscription: events of a store for consumers outside, kept in order by key, until each is acknowledged */

CREATE FUNCTION event_store.create_subscription(subscription text, stream text DEFAULT NULL, category text DEFAULT NULL,
	types text[] DEFAULT NULL, filter jsonpath DEFAULT NULL, start_from text DEFAULT 'origin', partition_by text DEFAULT 'stream',
	max_attempts integer DEFAULT 5, lease interval DEFAULT '30 s', retry_delay interval DEFAULT '1 s',
	max_in_flight integer DEFAULT 100, buffer_size integer DEFAULT 1000, max_parked integer DEFAULT 10000,
	park_key boolean DEFAULT true, if_not_exists boolean DEFAULT false)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_create_subscription'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.create_subscription(text, text, text, text[], jsonpath, text, text, integer, interval, interval, integer, integer, integer, boolean, boolean)
IS 'makes a subscription in the current store: which events its consumers get, from where on, and in the order of which key';

CREATE FUNCTION event_store.alter_subscription(subscription text, max_attempts integer DEFAULT NULL, lease interval DEFAULT NULL,
	retry_delay interval DEFAULT NULL, max_in_flight integer DEFAULT NULL, buffer_size integer DEFAULT NULL,
	max_parked integer DEFAULT NULL, park_key boolean DEFAULT NULL)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_alter_subscription'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.alter_subscription(text, integer, interval, interval, integer, integer, integer, boolean)
IS 'changes settings of a subscription; what is null stays as it is';

CREATE FUNCTION event_store.reset_subscription(subscription text, start_from text DEFAULT 'origin')
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_reset_subscription'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.reset_subscription(text, text)
IS 'lets a subscription begin anew at another place; what its consumers hold is taken from them';

CREATE FUNCTION event_store.delete_subscription(subscription text)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_delete_subscription'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.delete_subscription(text)
IS 'deletes a subscription with all that it remembers; the events stay';

CREATE FUNCTION event_store.stop_subscription(subscription text, reason text DEFAULT NULL)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_stop_subscription'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.stop_subscription(text, text)
IS 'keeps a subscription from giving out events; what is in flight can still be acknowledged';

CREATE FUNCTION event_store.resume_subscription(subscription text)
RETURNS void
AS 'MODULE_PATHNAME', 'event_store_resume_subscription'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.resume_subscription(text)
IS 'lets a stopped subscription give out events again';

CREATE FUNCTION event_store.fetch(subscription text, consumer text, max_count bigint DEFAULT 100, timeout interval DEFAULT '5 s',
	OUT "position" bigint, OUT stream text, OUT version bigint, OUT event_id uuid, OUT type text, OUT data jsonb,
	OUT metadata jsonb, OUT correlation_id uuid, OUT causation_id uuid, OUT created_at timestamptz,
	OUT attempt integer, OUT replayed boolean)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'event_store_fetch'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 100;
COMMENT ON FUNCTION event_store.fetch(text, text, bigint, interval)
IS 'gives a consumer the next events of a subscription, waiting up to timeout for a first one; each is its until acknowledged, refused or past its lease';

CREATE FUNCTION event_store.ack(subscription text, consumer text, positions bigint[])
RETURNS bigint
AS 'MODULE_PATHNAME', 'event_store_ack'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.ack(text, text, bigint[])
IS 'acknowledges events that the consumer holds: they are done if this transaction commits';

CREATE FUNCTION event_store.ack_to(subscription text, consumer text, "position" bigint)
RETURNS bigint
AS 'MODULE_PATHNAME', 'event_store_ack_to'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.ack_to(text, text, bigint)
IS 'acknowledges all events that the consumer holds, up to one of them';

CREATE FUNCTION event_store.nack(subscription text, consumer text, positions bigint[], action text DEFAULT 'retry',
	reason text DEFAULT NULL, delay interval DEFAULT NULL,
	OUT "position" bigint, OUT outcome text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'event_store_nack'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 1;
COMMENT ON FUNCTION event_store.nack(text, text, bigint[], text, text, interval)
IS 'gives back events that could not be handled, to retry, park or skip them or to stop the subscription; tells what became of each and of those after it';

CREATE FUNCTION event_store.extend(subscription text, consumer text, lease interval DEFAULT NULL, positions bigint[] DEFAULT NULL)
RETURNS bigint
AS 'MODULE_PATHNAME', 'event_store_extend'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.extend(text, text, interval, bigint[])
IS 'gives the consumer more time for the events that it holds, counted from now';

CREATE FUNCTION event_store.release(subscription text, consumer text)
RETURNS bigint
AS 'MODULE_PATHNAME', 'event_store_release'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.release(text, text)
IS 'for a consumer that leaves, or begins anew under its name: ends the lease of all that it holds';

CREATE FUNCTION event_store.parked_events(subscription text, max_count bigint DEFAULT 1000,
	OUT "position" bigint, OUT stream text, OUT version bigint, OUT event_id uuid, OUT type text, OUT data jsonb,
	OUT metadata jsonb, OUT correlation_id uuid, OUT causation_id uuid, OUT created_at timestamptz,
	OUT attempts integer, OUT cause text, OUT reason text, OUT parked_at timestamptz)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'event_store_parked_events'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 10;
COMMENT ON FUNCTION event_store.parked_events(text, bigint)
IS 'the events of a subscription that were put aside, with the cause';

CREATE FUNCTION event_store.replay_parked(subscription text, positions bigint[] DEFAULT NULL)
RETURNS bigint
AS 'MODULE_PATHNAME', 'event_store_replay_parked'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.replay_parked(text, bigint[])
IS 'lets parked events, or all of them, be given out again, in the order of their key';

CREATE FUNCTION event_store.discard_parked(subscription text, positions bigint[])
RETURNS bigint
AS 'MODULE_PATHNAME', 'event_store_discard_parked'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION event_store.discard_parked(text, bigint[])
IS 'gives parked events up, as if they were acknowledged';

CREATE FUNCTION event_store.subscription_status(
	OUT subscription text, OUT stream text, OUT category text, OUT types text[], OUT filter jsonpath, OUT partition_by text,
	OUT state text, OUT checkpoint bigint, OUT read_position bigint, OUT lag_events bigint, OUT lag_seconds double precision,
	OUT consumers bigint, OUT in_flight bigint, OUT waiting bigint, OUT parked bigint, OUT parked_since timestamptz,
	OUT processed bigint, OUT given bigint, OUT max_attempts integer, OUT lease interval, OUT retry_delay interval,
	OUT max_in_flight integer, OUT buffer_size integer, OUT max_parked integer, OUT park_key boolean,
	OUT created_at timestamptz, OUT changed_at timestamptz, OUT last_problem jsonb)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'event_store_subscription_status'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE ROWS 10;
COMMENT ON FUNCTION event_store.subscription_status()
IS 'the subscriptions of the current store, how far they are and what holds them up';

CREATE VIEW event_store.subscriptions AS
SELECT s.subscription, s.stream, s.category, s.types, s.filter, s.partition_by, s.state, s.checkpoint, s.read_position,
	s.lag_events, s.lag_seconds, s.consumers, s.in_flight, s.waiting, s.parked, s.parked_since, s.processed, s.given,
	s.max_attempts, s.lease, s.retry_delay, s.max_in_flight, s.buffer_size, s.max_parked, s.park_key,
	s.created_at, s.changed_at, s.last_problem
FROM event_store.subscription_status() s;
COMMENT ON VIEW event_store.subscriptions
IS 'the subscriptions of the current store, how far they are and what holds them up';
REVOKE ALL ON TABLE event_store.subscriptions FROM PUBLIC;
GRANT SELECT ON TABLE event_store.subscriptions TO PUBLIC;

REVOKE ALL ON FUNCTION
	event_store.create_subscription(text, text, text, text[], jsonpath, text, text, integer, interval, interval, integer, integer, integer, boolean, boolean),
	event_store.alter_subscription(text, integer, interval, interval, integer, integer, integer, boolean),
	event_store.reset_subscription(text, text),
	event_store.delete_subscription(text),
	event_store.stop_subscription(text, text),
	event_store.resume_subscription(text),
	event_store.fetch(text, text, bigint, interval),
	event_store.ack(text, text, bigint[]),
	event_store.ack_to(text, text, bigint),
	event_store.nack(text, text, bigint[], text, text, interval),
	event_store.extend(text, text, interval, bigint[]),
	event_store.release(text, text),
	event_store.parked_events(text, bigint),
	event_store.replay_parked(text, bigint[]),
	event_store.discard_parked(text, bigint[]),
	event_store.subscription_status()
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
	event_store.create_subscription(text, text, text, text[], jsonpath, text, text, integer, interval, interval, integer, integer, integer, boolean, boolean),
	event_store.alter_subscription(text, integer, interval, interval, integer, integer, integer, boolean),
	event_store.reset_subscription(text, text),
	event_store.delete_subscription(text),
	event_store.stop_subscription(text, text),
	event_store.resume_subscription(text),
	event_store.fetch(text, text, bigint, interval),
	event_store.ack(text, text, bigint[]),
	event_store.ack_to(text, text, bigint),
	event_store.nack(text, text, bigint[], text, text, interval),
	event_store.extend(text, text, interval, bigint[]),
	event_store.release(text, text),
	event_store.parked_events(text, bigint),
	event_store.replay_parked(text, bigint[]),
	event_store.discard_parked(text, bigint[]),
	event_store.subscription_status()
TO PUBLIC;
