-- sessions of applications, in shared memory and durable; partitions
\set VERBOSITY terse

-- systems 4.3.12: readable before, gone when the time is over; a taken id
SELECT event_store.session_start('alice', '{"cart": []}', ttl => '1 h');
SELECT event_store.session_get('alice'), event_store.session_get('nobody');
SELECT event_store.session_start('alice');
SELECT event_store.session_put('alice', '{"cart": [1]}'), event_store.session_merge('alice', '{"name": "Alice"}');
SELECT event_store.session_get('alice');
SELECT id, data, durable, on_expire, bytes > 0 AS bytes, ends_at - started_at AS time FROM event_store.sessions;
SELECT length(event_store.session_start()) AS made_up;
SELECT count(*) FROM event_store.sessions;
SELECT event_store.session_stop('alice'), event_store.session_stop('alice'), event_store.session_get('alice');
SELECT event_store.session_start('brief', on_expire => '999999'::regprocedure);
SELECT event_store.session_start('brief', ttl => '5 ms');
SELECT pg_sleep(0.01);
SELECT event_store.session_get('brief');
SELECT event_store.session_put('brief', '{}');
SELECT event_store.session_touch('brief');
SELECT event_store.session_stop('brief');
SELECT event_store.session_start('brief', '{"again": true}');
SELECT event_store.session_get('brief');

-- a touch moves the idle timeout, never the end
SELECT event_store.session_start('idle', ttl => '1 h', idle_timeout => '10 min');
SELECT ends_at - used_at AS idle FROM event_store.sessions WHERE id = 'idle';
SELECT used_at AS used FROM event_store.sessions WHERE id = 'idle' \gset
SELECT pg_sleep(0.002);
SELECT event_store.session_get('idle', touch => false);
SELECT used_at = :'used' AS not_used FROM event_store.sessions WHERE id = 'idle';
SELECT event_store.session_get('idle');
SELECT used_at > :'used' AS used FROM event_store.sessions WHERE id = 'idle';
SELECT event_store.session_touch('idle') - clock_timestamp() BETWEEN '9 min' AND '10 min' AS later;
SELECT event_store.session_start('short', ttl => '1 min', idle_timeout => '10 min');
SELECT event_store.session_touch('short') - started_at AS the_end FROM event_store.sessions WHERE id = 'short';
SELECT event_store.session_start('only idle', ttl => NULL, idle_timeout => '10 min');
SELECT ends_at - used_at AS idle FROM event_store.sessions WHERE id = 'only idle';

-- a function at the end, once
CREATE TABLE ended (id text, data jsonb, who name);
CREATE FUNCTION note_end(id text, data jsonb) RETURNS void LANGUAGE sql AS $$ INSERT INTO public.ended VALUES (id, data, current_user) $$;
CREATE FUNCTION fail_end(id text, data jsonb) RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;
SELECT event_store.session_start('bob', '{"n": 1}', ttl => '1 ms', on_expire => 'note_end(text,jsonb)');
SELECT event_store.session_start('carl', ttl => '1 ms', on_expire => 'fail_end(text,jsonb)');
SELECT event_store.session_start('dora', '{"n": 2}', ttl => '1 ms', on_expire => 'note_end(text,jsonb)', durable => true);
SELECT pg_sleep(0.005);
SELECT event_store.session_get('bob'), event_store.session_get('dora');
-- its id is free at once, its function waits for the sweep
SELECT event_store.session_start('bob', '{"n": 3}');
-- either this sweep runs the functions or the background has done it
CREATE FUNCTION session_wait(query text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	done boolean := false;
BEGIN
	FOR i IN 1..6000 LOOP
		EXECUTE query INTO done;
		EXIT WHEN done;
		PERFORM pg_sleep(0.01);
	END LOOP;
	RETURN done;
END $$;
SELECT event_store.session_sweep() BETWEEN 0 AND 3 AS swept;
SELECT session_wait('SELECT count(*) = 2 FROM ended');
SELECT event_store.session_sweep();
SELECT id, data FROM ended ORDER BY id;
SELECT event_store.session_get('bob');
SELECT event_store.session_start('dora', '{"n": 4}', ttl => '1 ms', on_expire => 'note_end(text,jsonb)', durable => true);
SELECT pg_sleep(0.005);
SELECT event_store.session_start('dora', '{"n": 5}', durable => true);
SELECT id, data FROM ended ORDER BY id, data;
SELECT event_store.session_stop('dora');
SELECT event_store.session_start('stopped', ttl => '1 h', on_expire => 'note_end(text,jsonb)');
SELECT event_store.session_stop('stopped'), event_store.session_sweep();

-- durable ones are part of the transaction, the others are not
BEGIN;
SELECT event_store.session_start('d', '{"n": 1}', durable => true), event_store.session_start('m', '{"n": 1}');
ROLLBACK;
SELECT event_store.session_get('d'), event_store.session_get('m');
SELECT event_store.session_start('d', '{"n": 1}', idle_timeout => '1 s', durable => true);
SELECT event_store.session_start('d');
SELECT event_store.session_start('m', durable => true);
BEGIN;
SELECT event_store.session_merge('d', '{"m": 2}');
ROLLBACK;
SELECT event_store.session_put('d', '{"n": 2}'), event_store.session_get('d');
SELECT id, durable FROM event_store.sessions WHERE id IN ('d', 'm') ORDER BY id;
BEGIN READ ONLY;
SELECT event_store.session_get('d'), event_store.session_get('m');
SELECT event_store.session_put('d', '{}');
ROLLBACK;

-- others see nothing of them
CREATE ROLE regress_es_visitor;
SET ROLE regress_es_visitor;
SELECT event_store.session_get('m'), event_store.session_get('d'), event_store.session_stop('m'), event_store.session_stop('d');
SELECT count(*) FROM event_store.sessions;
SELECT event_store.session_put('m', '{}');
SELECT event_store.session_start('visit', on_expire => 'note_end(text,jsonb)', ttl => '1 ms');
SELECT event_store.session_sweep();
SELECT event_store.shared_pool();
RESET ROLE;
SELECT pg_sleep(0.005);
-- systems 4.3.16: a function runs as the role that started the session, which may not write this table
SELECT event_store.session_sweep() BETWEEN 0 AND 1 AS swept;
SELECT count(*) FROM ended WHERE id = 'visit';
DROP ROLE regress_es_visitor;

-- each tenant has sessions of its own
SELECT event_store.create_tenant('session_east'), event_store.create_tenant('session_west');
SELECT event_store.tenant_use_session('session_east');
SELECT event_store.session_start('m', '"east"'), event_store.session_start('d', '"east"', durable => true);
SELECT event_store.tenant_use_session('session_west');
SELECT event_store.session_get('m'), event_store.session_get('d');
SELECT count(*) FROM event_store.sessions;
RESET event_store.tenant;
RESET search_path;
SELECT event_store.session_get('m'), event_store.session_get('d');

-- memory
SELECT sessions > 0 AS sessions, session_max, bytes_used BETWEEN 1 AND bytes AS bytes_used, reset_at <= now() AS reset_at FROM event_store.shared_pool();

-- bad input
SELECT event_store.session_start('');
SELECT event_store.session_start(repeat('x', 256));
SELECT event_store.session_start('x', ttl => '0');
SELECT event_store.session_start('x', ttl => '-1 min');
SELECT event_store.session_start('x', ttl => '2000000000 months');
SELECT event_store.session_start('x', idle_timeout => '-1 min');
SELECT event_store.session_start('x', ttl => NULL);
SELECT event_store.session_start('x', to_jsonb(repeat('x', 9000)));
SELECT event_store.session_merge('m', to_jsonb(repeat('x', 9000)));
SELECT event_store.session_start('x', NULL);
SELECT event_store.session_start('x', on_expire => 'lower(text)');
SELECT event_store.session_get(NULL);
SELECT event_store.session_sweep(-1);

-- partitions; systems 4.3.15
SELECT event_store.partition_create('work', 8);
SELECT count(DISTINCT p) AS partitions, min(p), max(p), max(n) < 1250 * 1.2 AND min(n) > 1250 * 0.8 AS even
FROM (SELECT event_store.partition_for('work', 'key-' || i) AS p, count(*) AS n FROM generate_series(1, 10000) i GROUP BY 1) s;
SELECT event_store.partition_for('work', 'order-1') AS order_1, event_store.partition_for('work', 'ünï') AS other, event_store.partition_for('work', '') AS empty;
SELECT event_store.partition_for('work', 13), event_store.partition_for('work', -13), event_store.partition_for('work', '-9223372036854775808'::bigint) AS least;
SELECT event_store.partition_resize('work', 3), event_store.partition_for('work', 13);
SELECT name, partitions FROM event_store.partition_sets;
SELECT event_store.partition_create('work', 1);
SELECT event_store.partition_create('none', 0);
SELECT event_store.partition_resize('work', 0);
SELECT event_store.partition_resize('none', 2);
SELECT event_store.partition_for('none', 1);
SELECT event_store.partition_for('work', NULL::text);
SELECT event_store.partition_drop('work'), event_store.partition_drop('work');

-- nothing is left for other tests
DROP TABLE ended;
DROP FUNCTION note_end, fail_end, session_wait;
SELECT event_store.drop_tenant('session_east', 'session_east'), event_store.drop_tenant('session_west', 'session_west');
