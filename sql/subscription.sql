/* subscription: which events a consumer gets, in which order, what becomes of them; event-stores 2c, 2e and 4.5 */
\set VERBOSITY terse
SELECT event_store.create_store('shop');
SET search_path = shop, public;
-- four streams of one category and one of another; prices rise
SELECT count(event_store.append_event('order-' || n % 4, CASE WHEN n % 5 = 0 THEN 'Paid' ELSE 'Placed' END, jsonb_build_object('price', n, 'customer', n % 3),
	metadata => CASE WHEN n % 2 = 0 THEN '{"by": "web"}'::jsonb END)) FROM generate_series(1, 12) n;
SELECT count(event_store.append_event('cart-1', 'Added')) FROM generate_series(1, 2);

-- what a consumer is given: position/stream, and * for each attempt after the first, r if replayed
CREATE FUNCTION shop.got(subscription text, consumer text, max_count bigint DEFAULT 100, timeout interval DEFAULT '0') RETURNS text LANGUAGE sql AS
	$$SELECT string_agg(position || '/' || stream || repeat('*', attempt - 1) || CASE WHEN replayed THEN 'r' ELSE '' END, ' ')
	FROM event_store.fetch(subscription, consumer, max_count, timeout)$$;
CREATE FUNCTION shop.state(name text) RETURNS text LANGUAGE sql AS
	$$SELECT format('%s: checkpoint %s, read %s, lag %s, %s consumers, %s in flight, %s waiting, %s parked, %s processed', state, checkpoint, read_position, lag_events, consumers, in_flight, waiting, parked, processed)
	FROM event_store.subscriptions WHERE subscription = name$$;

-- the tables come with the first subscription, and nobody but us writes them
SELECT count(*) FROM event_store.subscriptions;
SELECT to_regclass('shop.event_subscriptions'), to_regclass('shop.event_deliveries');
SELECT event_store.create_subscription('all');
SELECT to_regclass('shop.event_subscriptions'), to_regclass('shop.event_deliveries');
UPDATE shop.event_subscriptions SET read_position = 100;
DELETE FROM shop.event_deliveries;
INSERT INTO shop.event_deliveries VALUES (1, 1, now(), 1, 1, 0, 'p');
TRUNCATE shop.event_subscriptions;

-- sources: a stream, a category, types, a filter over data or metadata (event-stores 1c "Filters")
SELECT event_store.create_subscription('one', stream => 'order-2');
SELECT event_store.create_subscription('carts', category => 'cart');
SELECT event_store.create_subscription('paid', types => '{Paid}');
SELECT event_store.create_subscription('dear', filter => '$.price > 9');
SELECT event_store.create_subscription('has price', filter => '$.price ? (@ < 3)');
SELECT event_store.create_subscription('web', category => 'order', types => '{Placed}', filter => '$metadata.by == "web" && $type != "Paid" && $stream starts with "order-"');
SELECT event_store.create_subscription('not yet', stream => 'later-1');
SELECT shop.got('all', 'a');
SELECT shop.got('one', 'a');
SELECT shop.got('carts', 'a');
SELECT shop.got('paid', 'a');
SELECT shop.got('dear', 'a');
SELECT shop.got('has price', 'a');
SELECT shop.got('web', 'a');
SELECT shop.got('not yet', 'a');
SELECT count(event_store.append_event('later-1', 'Come'));
SELECT shop.got('not yet', 'a');
SELECT * FROM event_store.fetch('dear', 'b', 1, '0');

-- 2c: ack(n) for everything up to n; the checkpoint is the end of what is done without a gap; what the filter leaves out counts as done
SELECT shop.state('all');
SELECT event_store.ack('all', 'a', '{3,1}');
SELECT shop.state('all');
SELECT event_store.ack('all', 'a', '{2}');
SELECT shop.state('all');
SELECT event_store.ack_to('all', 'a', 12);
SELECT shop.state('all');
SELECT shop.state('paid');
SELECT event_store.ack('paid', 'a', '{5,10}');
SELECT shop.state('paid');
SELECT subscription, lag_events, lag_seconds > 0 AS late FROM event_store.subscriptions ORDER BY 1;

-- bad acknowledgements: not given, twice, another's, in part wrong (then none of them counts)
SELECT event_store.ack('all', 'a', '{3}');
SELECT event_store.ack('all', 'b', '{13}');
SELECT event_store.ack('all', 'a', '{13,99}');
SELECT event_store.ack_to('all', 'a', 5);
SELECT event_store.ack('all', 'a', '{13,14}');
SELECT event_store.ack('all', 'a', '{14}');
SELECT event_store.ack('all', 'a', '{}');
SELECT shop.state('all');

-- effect and acknowledgement in one transaction: both or neither, and the attempt stays counted
CREATE TABLE shop.total (price bigint NOT NULL);
INSERT INTO shop.total VALUES (0);
SELECT event_store.create_subscription('total', category => 'order', max_in_flight => 2, lease => '1 ms');
SELECT shop.got('total', 'a');
BEGIN;
UPDATE shop.total SET price = price + 1;
SELECT event_store.ack('total', 'a', '{1}');
ROLLBACK;
SELECT * FROM shop.total;
SELECT shop.got('total', 'a', 1, '10 s');
BEGIN;
UPDATE shop.total SET price = price + 1;
SELECT event_store.ack('total', 'a', '{1}');
SELECT last_version FROM event_store.append_event('log-1', 'Counted');
COMMIT;
SELECT * FROM shop.total;
-- fetched and acknowledged in the transaction of the effect: nothing is left of it if that is undone
SELECT event_store.alter_subscription('total', lease => '1 hour');
SELECT event_store.reset_subscription('total');
BEGIN;
SELECT shop.got('total', 'a');
SELECT event_store.ack_to('total', 'a', 2);
SELECT shop.got('total', 'a');
ROLLBACK;
SELECT shop.state('total');
BEGIN;
SELECT event_store.ack_to('total', 'a', max(position)) FROM event_store.fetch('total', 'a', 2, '0');
COMMIT;
SELECT shop.state('total');
SELECT event_store.delete_subscription('total');

-- competing consumers: what is in flight of a key keeps the rest of it back (2c: the key sticks), and others go on with other keys;
-- the one who holds it gets no more of it either, for it may have been started anew
SELECT event_store.create_subscription('work', category => 'order', max_in_flight => 4);
SELECT shop.got('work', 'a', 2);
SELECT shop.got('work', 'b', 4);
SELECT shop.got('work', 'a', 1);
SELECT shop.state('work');
-- 2c: max in flight a consumer
SELECT shop.got('work', 'b');
SELECT event_store.ack('work', 'a', '{1}');
SELECT shop.got('work', 'b');
SELECT shop.got('work', 'a', 1);
-- the key is free once nobody holds an event of it
SELECT event_store.ack_to('work', 'a', 5);
SELECT event_store.ack_to('work', 'b', 8);
SELECT shop.got('work', 'b');
SELECT shop.state('work');
-- a consumer that leaves ends its leases: the next one gets it all
SELECT event_store.release('work', 'b');
SELECT shop.got('work', 'c', 1);
SELECT event_store.release('work', 'c'), event_store.release('work', 'nobody');
SELECT event_store.delete_subscription('work');

-- a consumer that dies: after the lease another one gets the events again, in order, and the first can do no more harm
SELECT event_store.create_subscription('lease', stream => 'order-1', lease => '1 ms');
SELECT shop.got('lease', 'dead', 2);
SELECT event_store.alter_subscription('lease', lease => '1 hour');
SELECT shop.got('lease', 'heir', 1, '10 s');
SELECT event_store.ack('lease', 'dead', '{1}');
SELECT event_store.ack('lease', 'dead', '{5}');
SELECT event_store.extend('lease', 'dead');
SELECT event_store.extend('lease', 'dead', positions => '{5}');
SELECT event_store.ack('lease', 'heir', '{1}');
SELECT shop.got('lease', 'heir');
SELECT shop.state('lease');
-- after the lease, but before anybody else asked, an acknowledgement still counts
SELECT event_store.extend('lease', 'heir', '0');
SELECT event_store.ack('lease', 'heir', '{5,9}');
SELECT shop.state('lease');
-- what is taken back takes the later events of its key along, which are untried
SELECT event_store.reset_subscription('lease');
SELECT shop.got('lease', 'slow');
SELECT event_store.extend('lease', 'slow', '0', '{5}');
SELECT shop.got('lease', 'heir');
SELECT event_store.ack('lease', 'slow', '{9}');
SELECT event_store.ack('lease', 'slow', '{1}');
SELECT shop.got('lease', 'heir');
SELECT event_store.ack('lease', 'heir', '{5,9}');
SELECT event_store.delete_subscription('lease');

-- partitions: by correlation, category, everything, nothing, a jsonpath
SELECT event_store.create_subscription('by all', category => 'order', partition_by => 'all');
SELECT shop.got('by all', 'a', 1), shop.got('by all', 'b', 1), shop.got('by all', 'a', 1);
SELECT event_store.create_subscription('by none', stream => 'order-1', partition_by => 'none');
SELECT shop.got('by none', 'a', 1), shop.got('by none', 'b', 1), shop.got('by none', 'a', 1);
SELECT event_store.create_subscription('by customer', category => 'order', partition_by => '$.customer');
SELECT shop.got('by customer', 'a', 1), shop.got('by customer', 'b', 1), shop.got('by customer', 'a', 2);
SELECT event_store.create_subscription('by category', partition_by => 'category');
SELECT shop.got('by category', 'a', 1), shop.got('by category', 'b', 1);
SELECT event_store.create_subscription('by correlation', category => 'order', partition_by => 'correlation');
SELECT shop.got('by correlation', 'a', 1), shop.got('by correlation', 'b', 1);

-- retries: later, and nothing of the key before; what is in the consumer's hands after it is withdrawn
SELECT event_store.create_subscription('retry', category => 'order', max_attempts => 3, retry_delay => '1 hour');
SELECT shop.got('retry', 'a', 6);
SELECT * FROM event_store.nack('retry', 'a', '{1}', reason => 'try later');
SELECT event_store.ack('retry', 'a', '{5}');
SELECT event_store.ack('retry', 'a', '{2,6}');
SELECT shop.got('retry', 'b');
SELECT shop.state('retry');
SELECT position, state, cause, reason, due_at - now() > interval '59 min' AS later FROM shop.event_deliveries d JOIN shop.event_subscriptions s USING (subscription_id)
	WHERE subscription_name = 'retry' AND state <> 'g' ORDER BY 1;
SELECT event_store.reset_subscription('retry');
-- back-off doubles with the attempts; a delay of the consumer's own goes before it
SELECT shop.got('retry', 'a', 1);
SELECT * FROM event_store.nack('retry', 'a', '{1}', delay => '0');
SELECT shop.got('retry', 'a', 1);
SELECT * FROM event_store.nack('retry', 'a', '{1}');
SELECT round(extract(epoch FROM due_at - now()) / 3600) AS hours FROM shop.event_deliveries d JOIN shop.event_subscriptions s USING (subscription_id)
	WHERE subscription_name = 'retry' AND position = 1;
SELECT event_store.reset_subscription('retry');

-- 2e: max attempts, then parked; those of its key are parked behind it; checkpoint and the other keys go on
SELECT shop.got('retry', 'a', 1);
SELECT * FROM event_store.nack('retry', 'a', '{1}', delay => '0');
SELECT shop.got('retry', 'a', 1);
SELECT * FROM event_store.nack('retry', 'a', '{1}', delay => '0');
SELECT shop.got('retry', 'a', 6);
SELECT * FROM event_store.nack('retry', 'a', '{1}', reason => 'no use');
SELECT event_store.ack_to('retry', 'a', 6);
SELECT shop.got('retry', 'a');
SELECT event_store.ack_to('retry', 'a', 12);
SELECT shop.state('retry');
SELECT position, stream, version, type, data, attempts, cause, reason FROM event_store.parked_events('retry');
SELECT position FROM event_store.parked_events('retry', 1);
SELECT last_problem - 'at' AS last_problem, parked_since IS NOT NULL AS since FROM event_store.subscriptions WHERE subscription = 'retry';
SELECT count(event_store.append_event('order-1', 'Placed', '{"price": 13}'));
SELECT shop.got('retry', 'a');
-- replay: in the order of the key, with attempts anew; what comes meanwhile waits
SELECT event_store.replay_parked('retry', '{5}');
SELECT shop.got('retry', 'a');
SELECT event_store.replay_parked('retry', '{2}');
SELECT event_store.replay_parked('retry', '{1}');
SELECT shop.got('retry', 'a');
SELECT event_store.discard_parked('retry', '{9}');
SELECT event_store.ack_to('retry', 'a', 5);
SELECT event_store.replay_parked('retry');
SELECT shop.got('retry', 'b');
SELECT event_store.ack('retry', 'b', ARRAY(SELECT position FROM shop.event_deliveries d JOIN shop.event_subscriptions s USING (subscription_id) WHERE subscription_name = 'retry'));
SELECT shop.state('retry');

-- nack: park, skip and stop at once
SELECT event_store.create_subscription('nack', stream => 'order-2', park_key => false);
SELECT shop.got('nack', 'a');
SELECT * FROM event_store.nack('nack', 'a', '{2}', 'park', 'bad data');
SELECT * FROM event_store.nack('nack', 'a', '{6}', 'skip');
SELECT * FROM event_store.nack('nack', 'a', '{10}', 'stop', 'disk full');
SELECT shop.state('nack');
SELECT shop.got('nack', 'a');
SELECT event_store.resume_subscription('nack');
SELECT shop.got('nack', 'a');
SELECT event_store.ack('nack', 'a', '{10}');
SELECT cause, reason FROM event_store.parked_events('nack');
SELECT event_store.replay_parked('nack');
SELECT shop.got('nack', 'a');
-- a replayed event that fails again is parked again
SELECT * FROM event_store.nack('nack', 'a', '{2}', 'park', 'still bad');
SELECT position, attempts, reason FROM event_store.parked_events('nack');
SELECT event_store.stop_subscription('nack', 'night');
SELECT shop.got('nack', 'a');
SELECT event_store.resume_subscription('nack');

-- a lease that runs out counts as an attempt: the last one parks the event, whatever kills its consumers
SELECT event_store.create_subscription('poison', stream => 'order-3', max_attempts => 2, lease => '1 ms', max_in_flight => 1);
SELECT shop.got('poison', 'a', 1);
SELECT shop.got('poison', 'b', 1, '10 s');
SELECT shop.got('poison', 'c', 1, '20 ms');
SELECT position, attempts, cause FROM event_store.parked_events('poison');
SELECT shop.state('poison');

-- too many parked stop the subscription, with the cause in view
SELECT event_store.create_subscription('full', category => 'order', partition_by => 'all', max_parked => 3);
SELECT shop.got('full', 'a', 1);
SELECT outcome FROM event_store.nack('full', 'a', '{1}', 'park');
SELECT shop.got('full', 'a');
SELECT shop.got('full', 'a');
SELECT state, parked, last_problem ->> 'reason' AS reason FROM event_store.subscriptions WHERE subscription = 'full';

-- buffer_size (2c: max_size): a key that is stuck keeps so many events back, and then the reading
SELECT event_store.create_subscription('buffer', category => 'order', partition_by => 'all', buffer_size => 3);
SELECT shop.got('buffer', 'a', 1);
SELECT shop.got('buffer', 'b');
SELECT shop.state('buffer');
SELECT event_store.ack('buffer', 'a', '{1}');
SELECT shop.got('buffer', 'b');
SELECT shop.state('buffer');

-- systems 2.3.15: current gives no old event and is ignored on restart; reset replays from origin
SELECT event_store.create_subscription('new', start_from => 'current');
SELECT shop.got('new', 'a');
SELECT count(event_store.append_event('order-9', 'Placed'));
SELECT event_store.create_subscription('new', start_from => 'current', if_not_exists => true);
SELECT shop.got('new', 'a');
SELECT event_store.reset_subscription('new');
SELECT shop.got('new', 'a', 2);
SELECT event_store.ack('new', 'a', '{17}');
SELECT event_store.reset_subscription('new', '14');
SELECT shop.got('new', 'a');
SELECT event_store.reset_subscription('new', 'current');
SELECT shop.got('new', 'a');
SELECT event_store.reset_subscription('new', event_store.token(16));
SELECT shop.got('new', 'a');
-- a reset keeps what was parked before that place
SELECT outcome FROM event_store.nack('new', 'a', '{17}', 'park');
SELECT event_store.reset_subscription('new', 'current');
SELECT parked FROM event_store.subscriptions WHERE subscription = 'new';
SELECT event_store.reset_subscription('new', '16');
SELECT parked FROM event_store.subscriptions WHERE subscription = 'new';
SELECT shop.got('new', 'a');

-- a filter that matches nothing moves on, and does not read the same again
SELECT event_store.create_subscription('nothing', filter => '$.price > 1000');
SELECT shop.got('nothing', 'a');
SELECT shop.state('nothing');

-- events that are gone: there is nothing left to do for them
SELECT event_store.create_subscription('gone', category => 'cart', max_in_flight => 1);
SELECT shop.got('gone', 'a');
SELECT outcome FROM event_store.nack('gone', 'a', '{13}', delay => '0');
SELECT event_store.create_subscription('closed', stream => 'cart-1');
SET event_store.enable_hard_delete = on;
SELECT event_store.delete_stream('cart-1', hard => true);
SELECT shop.got('gone', 'a');
SELECT shop.state('gone');
SELECT shop.got('closed', 'a');
SELECT event_store.delete_stream('order-9');
SELECT event_store.create_subscription('closed too', stream => 'order-9');
SELECT event_store.create_subscription('closing', stream => 'order-1');
SELECT event_store.delete_stream('order-1');
SELECT shop.got('closing', 'a');

-- bad input
SELECT event_store.create_subscription('all');
SELECT event_store.create_subscription('');
SELECT event_store.create_subscription(NULL);
SELECT event_store.create_subscription('$all');
SELECT event_store.create_subscription('x', stream => 'a-1', category => 'a');
SELECT event_store.create_subscription('x', category => 'a-1');
SELECT event_store.create_subscription('x', types => '{}');
SELECT event_store.create_subscription('x', types => '{A,NULL}');
SELECT event_store.create_subscription('x', filter => '$nothing.x == 1');
SELECT event_store.create_subscription('x', partition_by => 'streams');
SELECT event_store.create_subscription('x', partition_by => '$.');
SELECT event_store.create_subscription('x', start_from => 'end');
SELECT event_store.create_subscription('x', start_from => '-1');
SELECT event_store.create_subscription('x', start_from => '1000000');
SELECT event_store.create_subscription('x', start_from => '1:2:3:4:5');
SELECT event_store.create_subscription('x', max_attempts => 0);
SELECT event_store.create_subscription('x', lease => '0');
SELECT event_store.create_subscription('x', retry_delay => '-1 s');
SELECT event_store.create_subscription('x', max_in_flight => NULL);
SELECT event_store.alter_subscription('all', buffer_size => 0);
SELECT event_store.alter_subscription('x');
SELECT event_store.reset_subscription('all', '1000000');
SELECT event_store.delete_subscription('x');
SELECT event_store.fetch('x', 'a');
SELECT event_store.fetch('all', '');
SELECT event_store.fetch('all', 'a', -1);
SELECT event_store.fetch('all', 'a', 1, '-1 s');
SELECT count(*) FROM event_store.fetch('all', 'a', 0, '1 hour');
SELECT event_store.ack('all', 'a', NULL);
SELECT event_store.ack('all', 'a', '{1,NULL}');
SELECT event_store.nack('all', 'a', '{1}', 'forget');
SELECT event_store.nack('all', 'a', '{1}');
SELECT event_store.discard_parked('all', '{1}');
SELECT event_store.parked_events('x');
-- waiting for what cannot come: refused at once
BEGIN;
SELECT count(event_store.append_event('order-2', 'Placed'));
SELECT event_store.fetch('all', 'a', 1, '1 hour');
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT event_store.fetch('all', 'a', 1, '0');
ROLLBACK;
BEGIN READ ONLY;
SELECT event_store.fetch('all', 'a', 1, '0');
ROLLBACK;
-- but what was fetched may be done in a transaction of any kind
SELECT shop.got('one', 'z', 1);
SELECT event_store.reset_subscription('one');
SELECT shop.got('one', 'z', 1);
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT event_store.ack('one', 'z', '{2}');
COMMIT;
SELECT shop.state('one');

-- who may consume
CREATE ROLE regress_es_consumer;
CREATE ROLE regress_es_reader;
GRANT EXECUTE ON FUNCTION shop.got(text, text, bigint, interval), shop.state(text) TO regress_es_consumer, regress_es_reader;
SELECT event_store.grant_store('shop', 'regress_es_reader', 'writer');
SELECT event_store.grant_store('shop', 'regress_es_consumer', 'consumer');
SET ROLE regress_es_reader;
SELECT shop.state('one');
SELECT shop.got('one', 'z', 1);
SELECT event_store.ack('one', 'z', '{6}');
SET ROLE regress_es_consumer;
SELECT shop.got('one', 'z', 1);
SELECT event_store.ack('one', 'z', '{6}');
UPDATE shop.event_deliveries SET state = 'g';
SELECT event_store.delete_subscription('one');
SELECT event_store.create_subscription('mine');
RESET ROLE;
ALTER TABLE shop.event_log ENABLE ROW LEVEL SECURITY;
SET ROLE regress_es_consumer;
SELECT shop.got('one', 'z', 1);
RESET ROLE;
ALTER TABLE shop.event_log DISABLE ROW LEVEL SECURITY;
SELECT event_store.revoke_store('shop', 'regress_es_consumer');
SELECT event_store.revoke_store('shop', 'regress_es_reader');
SELECT has_table_privilege('regress_es_consumer', 'shop.event_deliveries', 'SELECT');
REVOKE ALL ON FUNCTION shop.got(text, text, bigint, interval), shop.state(text) FROM regress_es_consumer, regress_es_reader;
DROP ROLE regress_es_consumer, regress_es_reader;

-- tenants: each has its own; what is said of suspended and dropped ones holds here too
SELECT event_store.create_tenant('sub_acme'), event_store.create_tenant('sub_beta');
SELECT * FROM event_store.with_tenant('sub_acme', $$SELECT event_store.create_subscription('all')::text, last_position FROM event_store.append_event('x-1', 'T')$$) AS (made text, "position" bigint);
SELECT * FROM event_store.with_tenant('sub_beta', $$SELECT count(*) FROM event_store.subscriptions$$) AS (n bigint);
CREATE ROLE regress_es_consumer;
SELECT event_store.grant_tenant('sub_acme', 'regress_es_consumer', 'consumer'), event_store.grant_tenant('sub_beta', 'regress_es_consumer', 'consumer');
SET ROLE regress_es_consumer;
SELECT * FROM event_store.with_tenant('sub_acme', $$SELECT position FROM event_store.fetch('all', 'c', 1, '0')$$) AS (n bigint);
SELECT * FROM event_store.with_tenant('sub_beta', $$SELECT position FROM event_store.fetch('all', 'c', 1, '0')$$) AS (n bigint);
RESET ROLE;
SELECT event_store.suspend_tenant('sub_acme', reads => true);
SELECT * FROM event_store.with_tenant('sub_acme', $$SELECT position FROM event_store.fetch('all', 'c', 1, '0')$$) AS (n bigint);
SELECT * FROM event_store.with_tenant('sub_acme', $$SELECT in_flight FROM event_store.subscriptions$$) AS (n bigint);
SELECT event_store.drop_tenant('sub_acme', 'sub_acme'), event_store.drop_tenant('sub_beta', 'sub_beta');
-- who may write all that comes into a tenant's schema may not consume for that
SELECT event_store.create_tenant('sub_gamma');
SELECT event_store.grant_tenant('sub_gamma', 'regress_es_consumer', 'writer');
SELECT * FROM event_store.with_tenant('sub_gamma', $$SELECT event_store.create_subscription('all')::text$$) AS (made text);
SET ROLE regress_es_consumer;
SELECT * FROM event_store.with_tenant('sub_gamma', $$SELECT position FROM event_store.fetch('all', 'c', 1, '0')$$) AS (n bigint);
RESET ROLE;
SELECT event_store.drop_tenant('sub_gamma', 'sub_gamma');
SELECT * FROM event_store.with_tenant('sub_acme', $$SELECT position FROM event_store.fetch('all', 'c', 1, '0')$$) AS (n bigint);
DROP ROLE regress_es_consumer;

-- the tables may not be altered behind our back
CREATE INDEX more ON shop.event_deliveries (consumer);
SELECT shop.got('one', 'z', 1);
DROP INDEX shop.more;

-- without the extension the tables stay, and with it again the subscriptions go on, guarded
BEGIN;
SET LOCAL client_min_messages = error;
DROP EXTENSION event_store CASCADE;
SELECT count(*) > 0 AS kept FROM shop.event_subscriptions;
CREATE EXTENSION event_store;
SELECT position FROM event_store.fetch('one', 'z', 1, '0');
DELETE FROM shop.event_deliveries;
ROLLBACK;
DROP FUNCTION shop.got(text, text, bigint, interval), shop.state(text);
DROP TABLE shop.total;
SELECT event_store.drop_store('shop', confirm => 'shop');
SELECT count(*) FROM pg_class WHERE relname IN ('event_subscriptions', 'event_deliveries');
