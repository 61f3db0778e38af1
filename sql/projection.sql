/* projections: rebuilt beside themselves, read live */
\set SHOW_CONTEXT never
SELECT event_store.create_store('projected');
SET search_path = projected, public;

CREATE TABLE balance (account text PRIMARY KEY, amount int NOT NULL, note text GENERATED ALWAYS AS ('for ' || account) STORED);
CREATE TABLE entries (n bigint GENERATED ALWAYS AS IDENTITY, "position" bigint UNIQUE, rebuilding boolean);
CREATE INDEX ON balance (amount);
CREATE FUNCTION count_in(event event_store.recorded_event) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
	IF event.data ? 'poison' THEN RAISE EXCEPTION 'cannot count this'; END IF;
	INSERT INTO balance VALUES (event.stream, (event.data -> 'amount')::int)
	ON CONFLICT (account) DO UPDATE SET amount = balance.amount + excluded.amount;
	INSERT INTO entries ("position", rebuilding) VALUES (event."position", event_store.is_rebuilding());
END $$;
SELECT count(*) FROM generate_series(1, 300) i, event_store.append_event('account-' || i % 3, 'Paid', jsonb_build_object('amount', i));

SELECT event_store.register_projection('balances', NULL, 'count_in', background => false);
SELECT event_store.register_projection('balances', '{balance, entries}', 'count_in', category => 'account', background => false);
SELECT event_store.handler_run('balances');
SELECT * FROM balance ORDER BY account;

-- a new version of the function, built beside the old tables, which stay in use
CREATE OR REPLACE FUNCTION count_in(event event_store.recorded_event) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
	IF event.data ? 'poison' THEN RAISE EXCEPTION 'cannot count this'; END IF;
	INSERT INTO balance VALUES (event.stream, 10 * (event.data -> 'amount')::int)
	ON CONFLICT (account) DO UPDATE SET amount = balance.amount + excluded.amount;
	INSERT INTO entries ("position", rebuilding) VALUES (event."position", event_store.is_rebuilding());
END $$;
CREATE ROLE projection_reader;
GRANT SELECT ON balance TO projection_reader, PUBLIC;
SELECT event_store.projection_build('balances');
SELECT event_store.projection_rebuild('balances', background => false);
SELECT event_store.projection_rebuild('balances', background => false);
SELECT event_store.projection_build('balances', 100);
SELECT sum(amount), count(*) FROM balance;
SELECT name, schema, "position", lag, state, handled, positions_per_second > 0 AS moves, remaining > interval '0' AS takes_time FROM event_store.projection_rebuilds;
SELECT name, "position", lag FROM event_store.handlers;
-- events that come meanwhile, which the new tables have and the old ones have not
SELECT count(*) FROM generate_series(1, 3) i, event_store.append_event('account-' || i % 3, 'Paid', jsonb_build_object('amount', i));
SELECT event_store.projection_build('balances');
SELECT event_store.handler_run('balances');
SELECT sum(amount) FROM balance;
SELECT count(*), count(DISTINCT "position"), bool_and(rebuilding) FROM entries;
SELECT * FROM event_store.projection_rebuilds;
SELECT "position", lag, handled FROM event_store.handlers;
SELECT has_table_privilege('projection_reader', 'balance', 'SELECT') AS reads, count(*) FROM pg_indexes WHERE schemaname = 'projected' AND tablename = 'balance';
SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'event\_rebuild%';
SELECT count(*) FROM event_store.append_event('account-0', 'Paid', '{"amount": 1}');
SELECT event_store.handler_run('balances');
SELECT sum(amount) FROM balance;
SELECT sum(10 * (data -> 'amount')::int) FROM event_store.read_category('account');

-- given up, nothing has changed; rolled back too
SELECT event_store.projection_rebuild('balances', background => false);
SELECT event_store.projection_build('balances', 10);
SELECT event_store.projection_cancel('balances'), event_store.projection_cancel('balances');
BEGIN;
SELECT event_store.projection_rebuild('balances', background => false);
SELECT event_store.projection_build('balances');
ROLLBACK;
SELECT event_store.projection_rebuild('balances', background => false);
SELECT event_store.handler_delete('balances');
SELECT sum(amount), (SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'event\_rebuild%') AS schemas, (SELECT count(*) FROM event_handlers) AS states FROM balance;

-- what cannot be handled is passed, or stops the rebuild; partitions; batches
SELECT count(*) FROM event_store.append_event('account-9', 'Paid', '{"poison": true, "amount": 0}');
TRUNCATE balance, entries;
SELECT event_store.register_projection('balances', '{balance, entries}', 'count_in', category => 'account', concurrency => 3,
	max_attempts => 1, background => false);
SELECT event_store.handler_run('balances');
SELECT event_store.projection_rebuild('balances', background => false);
SELECT event_store.projection_build('balances');
SELECT sum(amount) FROM balance;
SELECT sum(skipped) AS skipped, sum(parked) AS parked, max(lag) AS lag FROM event_store.handlers;
SELECT event_store.register_projection('balances', '{balance, entries}', 'count_in', category => 'account', concurrency => 3,
	on_exhausted => 'stop', background => false, replace => true);
SELECT event_store.projection_rebuild('balances', background => false);
SELECT event_store.projection_build('balances') > 0 AS some;
SELECT state, last_problem ->> 'message' AS message FROM event_store.projection_rebuilds WHERE state = 'stopped';
SELECT event_store.projection_cancel('balances');
SELECT event_store.handler_delete('balances');

-- inline: appends wait for the moment of the change
TRUNCATE balance, entries;
SELECT event_store.register_projection('balances', '{balance, entries}', 'count_in', kind => 'inline', category => 'inline', background => false);
SELECT count(*) FROM generate_series(1, 10) i, event_store.append_event('inline-1', 'Paid', jsonb_build_object('amount', i));
UPDATE balance SET amount = -1;
SELECT event_store.projection_rebuild('balances', background => false);
-- not with events that only this transaction knows
BEGIN;
SELECT count(*) FROM event_store.append_event('inline-1', 'Paid', '{"amount": 2}');
SELECT event_store.projection_build('balances');
COMMIT;
SELECT account, amount FROM balance;
SELECT event_store.projection_build('balances');
SELECT count(*) FROM event_store.append_event('inline-1', 'Paid', '{"amount": 1}');
SELECT account, amount FROM balance;
SELECT event_store.handler_delete('balances');

-- live: computed for one query, nothing stays
TRUNCATE balance, entries;
SELECT event_store.register_projection('balances', '{balance, entries}', 'count_in', kind => 'live', category => 'inline');
SELECT * FROM event_store.projection_read('balances', 'SELECT account, amount FROM balance');
SELECT * FROM event_store.projection_read('balances', 'SELECT count(*) FROM entries WHERE rebuilding');
SELECT event_store.projection_read('balances', 'DROP TABLE balance');
SELECT event_store.projection_read('balances', 'SELECT nothing');
SELECT name, state FROM event_store.handlers;
SELECT event_store.handler_run('balances');
SELECT (SELECT count(*) FROM balance) AS rows, (SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'event\_live%') AS schemas;
SELECT event_store.handler_delete('balances');

-- what cannot be built beside itself
CREATE FUNCTION bound(event event_store.recorded_event) RETURNS void LANGUAGE sql
BEGIN ATOMIC INSERT INTO balance VALUES ((event).stream, 1); END;
CREATE FUNCTION qualified(event event_store.recorded_event) RETURNS void LANGUAGE plpgsql AS
$$ BEGIN INSERT INTO projected.entries ("position") VALUES (event."position"); END $$;
CREATE FUNCTION configured(event event_store.recorded_event) RETURNS void LANGUAGE plpgsql SET search_path = projected AS
$$ BEGIN INSERT INTO entries ("position") VALUES (event."position"); END $$;
SELECT event_store.register_handler('no_tables', 'qualified', background => false);
SELECT event_store.projection_rebuild('no_tables', background => false);
SELECT event_store.register_projection('configured', '{entries}', 'configured', background => false);
SELECT event_store.projection_rebuild('configured', background => false);
SELECT event_store.register_projection('qualified', '{entries}', 'qualified', category => 'account', background => false);
SELECT event_store.projection_rebuild('qualified', background => false);
SELECT event_store.projection_build('qualified');
SELECT event_store.projection_cancel('qualified');
CREATE VIEW rich AS SELECT * FROM entries;
SELECT event_store.projection_rebuild('qualified', background => false);
DROP VIEW rich;
SELECT event_store.register_projection('bound', '{balance}', 'bound', category => 'account', background => false);
SELECT event_store.projection_rebuild('bound', background => false);
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT event_store.projection_rebuild('bound', background => false);
ROLLBACK;
SELECT event_store.handler_delete(name) FROM event_store.handler_registry ORDER BY name;
\set VERBOSITY terse
SELECT event_store.drop_store('projected', 'projected');
DROP SCHEMA projected CASCADE;
DROP ROLE projection_reader;
