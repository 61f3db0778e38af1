-- registries: names that sessions hold, their values, messages to their holders (one session; several in test/isolation and test/t)
\set VERBOSITY terse
SELECT event_store.registry_create('room');
SELECT event_store.registry_create('topic', keys => 'duplicate');
SELECT event_store.registry_dispatch('topic', 'k', '{}', '999999'::regprocedure);
SELECT name, keys, names FROM event_store.registries ORDER BY name;

-- taking, finding, giving up
SELECT event_store.register('room', 'lobby', '{"seats": 3}');
SELECT pid = pg_backend_pid() AS mine, value FROM event_store.lookup('room', 'lobby');
SELECT event_store.whereis('room', 'lobby') = pg_backend_pid() AS mine, event_store.whereis('room', 'attic') AS nobody;
\set VERBOSITY sqlstate
SELECT event_store.register('room', 'lobby');
\set VERBOSITY terse
SELECT event_store.last_problem() ->> 'type' AS type, (event_store.last_problem() ->> 'pid')::int = pg_backend_pid() AS names_the_holder;
SELECT event_store.register('topic', 'news', '{"n": 1}'), event_store.register('topic', 'news', '{"n": 2}'), event_store.register('topic', 'sport', '{"n": 3}');
SELECT value FROM event_store.lookup('topic', 'news') ORDER BY value;
SELECT held_key, value, since <= clock_timestamp() AS since FROM event_store.registry_select('topic') ORDER BY 1, 2;
SELECT held_key, value FROM event_store.registry_select('topic', predicate => '$.n > 1') ORDER BY 1, 2;
SELECT held_key, value FROM event_store.registry_select('topic', 'news', '$.n > 1');
SELECT event_store.registry_count('topic'), event_store.registry_count('topic', 'news'), event_store.registry_count('topic', 'none');
SELECT k FROM event_store.keys_of('topic') k ORDER BY k;
SELECT count(*) FROM event_store.keys_of('topic', 0);
SELECT event_store.unregister_match('topic', 'news', '$.n == 2');
SELECT value FROM event_store.lookup('topic', 'news');
SELECT event_store.unregister('topic', 'news'), event_store.unregister('topic', 'news');
SELECT event_store.whereis('topic', 'sport');

-- values change by their holder only
CREATE FUNCTION take_seat(value jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT jsonb_set(value, '{seats}', to_jsonb((value ->> 'seats')::int - 1)) $$;
CREATE FUNCTION no_seat(value jsonb) RETURNS text LANGUAGE sql AS $$ SELECT 'x' $$;
CREATE FUNCTION leave(value jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN PERFORM event_store.unregister('room', 'lobby'); RETURN value; END $$;
SELECT event_store.update_value('room', 'lobby', 'take_seat(jsonb)');
SELECT value FROM event_store.lookup('room', 'lobby');
SELECT event_store.update_value('room', 'lobby', 'no_seat(jsonb)');
CREATE FUNCTION no_value(value jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT NULL::jsonb $$;
SELECT event_store.update_value('room', 'lobby', 'no_value(jsonb)');
SELECT event_store.update_value('room', 'attic', 'take_seat(jsonb)');
SELECT event_store.update_value('topic', 'sport', 'take_seat(jsonb)');
SELECT event_store.update_value('room', 'lobby', 'leave(jsonb)');
SELECT count(*) FROM event_store.lookup('room', 'lobby');

-- systems 4.3.7: a name of the transaction is gone when it ends, a name of a savepoint when that is rolled back
BEGIN;
SELECT event_store.register('room', 'tx', scope => 'transaction');
SAVEPOINT s;
SELECT event_store.register('room', 'sub', scope => 'transaction');
SELECT event_store.register('room', 'session', scope => 'session');
ROLLBACK TO s;
SELECT k FROM event_store.keys_of('room') k ORDER BY k;
SELECT event_store.register('room', 'sub', scope => 'transaction');
SAVEPOINT t;
SELECT event_store.register('room', 'kept', scope => 'transaction');
RELEASE t;
SELECT k FROM event_store.keys_of('room') k ORDER BY k;
COMMIT;
SELECT k FROM event_store.keys_of('room') k ORDER BY k;
BEGIN;
SELECT event_store.register('room', 'tx', scope => 'transaction');
ROLLBACK;
SELECT event_store.whereis('room', 'tx');
SELECT event_store.unregister('room', 'session');

-- messages to oneself: in order, the mailbox has an end
SELECT event_store.receive();
SELECT event_store.receive('10 ms');
SELECT event_store.register('room', 'me');
SELECT event_store.registry_send('room', 'me', '1'), event_store.registry_send('room', 'me', '{"two": 2}'), event_store.registry_send('room', 'nobody', '3');
SELECT event_store.receive(), event_store.receive('1 min'), event_store.receive();
-- systems 4.3.10
SELECT sum(event_store.registry_send('room', 'me', to_jsonb(i))) FROM generate_series(1, 100) i;
\set VERBOSITY sqlstate
SELECT event_store.registry_send('room', 'me', '101');
\set VERBOSITY terse
SELECT event_store.receive() AS first;
SELECT event_store.registry_send('room', 'me', '101');
SELECT array_agg(event_store.receive() ORDER BY i) = array_agg(to_jsonb(i + 1) ORDER BY i) AS in_order FROM generate_series(1, 100) i;
SELECT event_store.receive();

-- systems 4.3.11: a call for each holder, whatever becomes of the others
SELECT event_store.register('topic', 'calls', '{"n": 1}'), event_store.register('topic', 'calls', '{"n": 0}');
CREATE FUNCTION divide(pid int, value jsonb, payload jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT to_jsonb(payload::int / (value ->> 'n')::int) $$;
CREATE FUNCTION silent(pid int, value jsonb, payload jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT NULL::jsonb $$;
SELECT ok, result, problem ->> 'status' AS status FROM event_store.registry_dispatch('topic', 'calls', '10', 'divide(int,jsonb,jsonb)') ORDER BY ok;
SELECT ok, result, problem FROM event_store.registry_dispatch('topic', 'calls', '10', 'silent(int,jsonb,jsonb)');
SELECT count(*) FROM event_store.registry_dispatch('topic', 'nobody', '10', 'divide(int,jsonb,jsonb)');
SELECT * FROM event_store.registry_dispatch('topic', 'calls', '10', 'take_seat(jsonb)');

-- metadata
SELECT event_store.registry_put_meta('room', 'limit', '7'), event_store.registry_put_meta('room', 'who', '"x"'), event_store.registry_meta('room', 'limit');
SELECT event_store.registry_put_meta('room', 'limit', NULL);
SELECT event_store.registry_meta('room', 'limit'), event_store.registry_meta('room', 'who');

-- a lock of the transaction
BEGIN;
SELECT event_store.registry_lock('room', 'lobby'), event_store.registry_lock('room', 'lobby');
COMMIT;

-- each tenant has names of its own
SELECT event_store.create_tenant('registry_north'), event_store.create_tenant('registry_south');
SELECT event_store.tenant_use_session('registry_north');
SELECT event_store.register('room', 'lobby', '"north"');
SELECT event_store.tenant_use_session('registry_south');
SELECT count(*) FROM event_store.lookup('room', 'lobby');
SELECT event_store.register('room', 'lobby', '"south"');
SELECT value FROM event_store.lookup('room', 'lobby');
SELECT event_store.tenant_use_session('registry_north');
SELECT value FROM event_store.lookup('room', 'lobby');
RESET event_store.tenant;
RESET search_path;
SELECT count(*) FROM event_store.lookup('room', 'lobby');

-- bad input
SELECT event_store.registry_create('room');
SELECT event_store.registry_create('x', 'both');
SELECT event_store.registry_create('');
SELECT event_store.registry_create(repeat('x', 64));
SELECT event_store.registry_create(NULL);
SELECT event_store.register('none', 'x');
SELECT event_store.register('room', '');
SELECT event_store.register('room', repeat('x', 256));
SELECT event_store.register('room', NULL);
SELECT event_store.register('room', 'x', scope => 'statement');
SELECT event_store.register('room', 'x', to_jsonb(repeat('x', 9000)));
SELECT event_store.registry_send('room', 'x', to_jsonb(repeat('x', 9000)));
SELECT event_store.receive('-1 s');
SELECT event_store.receive(NULL);
CREATE ROLE regress_es_visitor;
SET ROLE regress_es_visitor;
SELECT event_store.registry_create('mine');
SELECT event_store.registry_drop('room');
SELECT event_store.registry_put_meta('room', 'limit', '1');
SELECT event_store.register('room', 'visitor');
SELECT event_store.unregister('room', 'visitor');
RESET ROLE;
DROP ROLE regress_es_visitor;

-- dropped, and made again: nothing is left of what was held
SELECT event_store.register('room', 'attic');
SELECT event_store.registry_drop('room');
SELECT event_store.lookup('room', 'attic');
SELECT event_store.registry_create('room');
SELECT count(*) FROM event_store.lookup('room', 'attic');
BEGIN;
SELECT event_store.registry_create('brief');
SELECT event_store.register('brief', 'x');
SELECT event_store.whereis('brief', 'x') IS NOT NULL AS held;
ROLLBACK;
SELECT event_store.whereis('brief', 'x');

-- nothing is left for other tests
DROP FUNCTION take_seat, no_seat, no_value, leave, divide, silent;
SELECT event_store.drop_tenant('registry_north', 'registry_north'), event_store.drop_tenant('registry_south', 'registry_south');
