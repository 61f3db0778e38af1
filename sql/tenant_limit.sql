-- limits of a tenant: what they count, what becomes of an append beyond them
\set VERBOSITY terse
SELECT event_store.create_tenant('small');
SELECT event_store.create_tenant('large');
CREATE FUNCTION put(tenant text, stream text, events int DEFAULT 1) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	problem text;
BEGIN
	PERFORM event_store.tenant_use(tenant);
	RETURN (event_store.append(stream, (SELECT jsonb_agg('{"type": "E", "data": 1}'::jsonb) FROM generate_series(1, events)))).last_version;
EXCEPTION WHEN configuration_limit_exceeded THEN
	GET STACKED DIAGNOSTICS problem = PG_EXCEPTION_DETAIL;
	RETURN concat_ws(' ', problem::jsonb ->> 'status', problem::jsonb ->> 'limit', problem::jsonb ->> 'amount',
		CASE WHEN (problem::jsonb ->> 'retry_after')::int > 0 THEN 'retry' END, problem::jsonb ->> 'detail');
END $$;

-- a rate with a burst; the other tenant goes on
SELECT event_store.set_tenant_limit('small', 'events_per_second', 1, burst => 5);
SELECT put('small', 's'), put('small', 's', 4), put('small', 's'), put('small', 'another'), put('large', 's', 100);
-- what is larger than the burst passes a full bucket and leaves a debt; Retry-After tells how long
SELECT event_store.set_tenant_limit('small', 'events_per_second', 1000000, burst => 1);
SELECT put('small', 's', 50);
SELECT event_store.set_tenant_limit('small', 'events_per_second', 1, burst => 2);
SELECT used > 0 AS in_debt, amount, burst, action, refused, delayed FROM event_store.tenant_usage('small') WHERE what = 'events_per_second';
SELECT event_store.tenant_use_session('small');
SELECT document ->> 'status' AS status, (event_store.problem_headers(document) ->> 'Retry-After')::int BETWEEN 10 AND 49 AS retry_after
FROM event_store.try($$SELECT event_store.append_event('s', 'E')$$) document;
RESET event_store.tenant;
RESET search_path;

-- bytes and appends
SELECT event_store.clear_tenant_limit('small');
SELECT event_store.set_tenant_limit('small', 'bytes_per_second', 1, burst => 1);
SELECT put('small', 's'), put('small', 's');
SELECT event_store.clear_tenant_limit('small', 'bytes_per_second');
SELECT event_store.set_tenant_limit('small', 'appends_per_second', 1, burst => 2);
SELECT put('small', 's', 10), put('small', 's', 10), put('small', 's');
-- what is refused by one limit takes nothing from the others
SELECT event_store.clear_tenant_limit('small');
SELECT event_store.set_tenant_limit('small', 'events_per_second', 1, burst => 1);
SELECT event_store.set_tenant_limit('small', 'appends_per_second', 1000000);
SELECT put('small', 's');
SELECT used = 0 AS untouched FROM event_store.tenant_usage('small') WHERE what = 'appends_per_second';
SELECT event_store.clear_tenant_limit('small');

-- delay, up to the longest wait
SELECT event_store.set_tenant_limit('small', 'appends_per_second', 20, burst => 1, action => 'delay');
SELECT put('small', 't'), put('small', 't'), put('small', 't');
SELECT delayed >= 2 AS delayed FROM event_store.tenant_usage('small') WHERE what = 'appends_per_second';
SELECT event_store.set_tenant_limit('small', 'appends_per_second', 1, burst => 1, action => 'delay', max_delay => '0.01 s');
SELECT put('small', 't') IS NOT NULL AS first, put('small', 't') AS second;
-- a wait can be cancelled
SELECT event_store.set_tenant_limit('small', 'appends_per_second', 1, burst => 1, action => 'delay', max_delay => '1 h');
SET statement_timeout = '20 ms';
SELECT event_store.tenant_use_session('small'); SELECT event_store.append_event('t', 'E'), event_store.append_event('t', 'E');
RESET statement_timeout;
RESET event_store.tenant;
RESET search_path;

-- warn
SELECT event_store.clear_tenant_limit('small');
SELECT event_store.set_tenant_limit('small', 'events_per_second', 1, action => 'warn');
SELECT put('small', 't', 50) > '1' AS first, put('small', 't') > '1' AS second;

-- streams: not one too many, whatever is rolled back
SELECT event_store.clear_tenant_limit('small');
SELECT event_store.set_tenant_limit('small', 'streams', 4);
BEGIN; SELECT put('small', 'c'), put('small', 'd'), put('small', 'e'); ROLLBACK;
BEGIN; SAVEPOINT a; SELECT put('small', 'c'), put('small', 'd'); ROLLBACK TO a; SELECT put('small', 'f'); RELEASE a; COMMIT;
SELECT put('small', 'g'), put('small', 'h');
SELECT put('small', 's') > '1' AS existing_streams_go_on;
SELECT used, amount, action, refused FROM event_store.tenant_usage('small') WHERE what = 'streams';
SELECT * FROM event_store.with_tenant('small', 'SELECT count(*) FROM event_store.delete_stream(''g'')') AS (n bigint);
-- streams are counted again when that is cheap enough
DO $$ BEGIN
	FOR i IN 1..3000 LOOP
		EXIT WHEN put('small', 'h') = '1';
		PERFORM pg_sleep(0.01);
	END LOOP;
END $$;
SELECT used FROM event_store.tenant_usage('small') WHERE what = 'streams';

-- storage
SELECT event_store.set_tenant_limit('small', 'storage_bytes', 1);
SELECT put('small', 's');
SELECT used > 10000 AS used, refused FROM event_store.tenant_usage('small') WHERE what = 'storage_bytes';
SELECT event_store.set_tenant_limit('small', 'storage_bytes', 1000000000);
SELECT put('small', 's') > '1' AS fits;

-- what is counted is counted by tenant; systems 3.3.14
SELECT DISTINCT tags ->> 'store' AS store FROM event_store.counters WHERE tags ->> 'store' IN ('small', 'large') AND value > 0 ORDER BY 1;

-- a limit outlives a rename, and goes with the tenant
SELECT event_store.rename_tenant('small', 'tiny');
SELECT * FROM event_store.tenant_limits ORDER BY what;
SELECT event_store.drop_tenant('tiny', 'tiny');
SELECT count(*) FROM event_store.tenant_limit;
-- and so does what was counted, under both of its names
SELECT DISTINCT tags ->> 'store' AS store FROM event_store.counters WHERE tags ->> 'store' IN ('small', 'tiny', 'large') ORDER BY 1;
SELECT count(*) AS still_told FROM event_store.prometheus() text WHERE text ~ 'store="(small|tiny)"';

-- a change counts at once in a transaction that has begun, and not if it is rolled back
BEGIN;
SELECT event_store.set_tenant_limit('large', 'storage_bytes', 1);
SELECT put('large', 's');
ROLLBACK;
SELECT put('large', 's') > '1' AS goes_on;

-- bad input
SELECT event_store.set_tenant_limit('nobody', 'streams', 1);
SELECT event_store.set_tenant_limit(NULL, 'streams', 1);
SELECT event_store.set_tenant_limit('large', 'cpu', 1);
SELECT event_store.set_tenant_limit('large', NULL, 1);
SELECT event_store.set_tenant_limit('large', 'streams', NULL);
SELECT event_store.set_tenant_limit('large', 'streams', 0);
SELECT event_store.set_tenant_limit('large', 'streams', 1, burst => 1);
SELECT event_store.set_tenant_limit('large', 'events_per_second', 1, burst => 0);
SELECT event_store.set_tenant_limit('large', 'streams', 1, action => 'delay');
SELECT event_store.set_tenant_limit('large', 'streams', 1, action => 'explode');
SELECT event_store.set_tenant_limit('large', 'events_per_second', 1, max_delay => '-1 s');
-- a wait that no append ever has is no error
SELECT event_store.set_tenant_limit('large', 'appends_per_second', 50, burst => 1, action => 'delay', max_delay => '300 years');
SELECT put('large', 's') > '1' AS first, put('large', 's') > '1' AND put('large', 's') !~ 'limit' AS second;
SELECT event_store.clear_tenant_limit('large', 'appends_per_second');
SELECT event_store.clear_tenant_limit('large', 'cpu');
SELECT event_store.clear_tenant_limit('nobody');
SELECT event_store.tenant_usage('nobody');
SELECT event_store.tenant_usage(NULL);
BEGIN READ ONLY;
SELECT event_store.set_tenant_limit('large', 'streams', 1);
ROLLBACK;
-- the owner of a tenant cannot lift its limits
CREATE ROLE regress_es_owner;
GRANT CREATE ON DATABASE :DBNAME TO regress_es_owner;
SELECT count(*) AS stores FROM event_store.store_registry \gset
SET ROLE regress_es_owner;
SELECT event_store.create_tenant('owned');
SELECT event_store.set_tenant_limit('owned', 'streams', 100);
SELECT event_store.clear_tenant_limit('owned');
SELECT count(*) FROM event_store.tenant_usage('owned');
SELECT event_store.tenant_usage('large');
-- nor does another store in its schema
RESET ROLE;
SELECT event_store.set_tenant_limit('owned', 'streams', 1);
SET ROLE regress_es_owner;
SELECT put('owned', 'a'), put('owned', 'b');
BEGIN;
SELECT event_store.tenant_use('owned');
DROP TABLE event_log, event_streams, event_snapshots, event_commands, event_mark;
SELECT event_store.create_store('owned');
COMMIT;
SELECT put('owned', 'a'), put('owned', 'b');
SELECT event_store.drop_tenant('owned', 'owned');
RESET ROLE;
SELECT count(*) - :stores AS left_over FROM event_store.store_registry;
REVOKE CREATE ON DATABASE :DBNAME FROM regress_es_owner;
DROP ROLE regress_es_owner;
SELECT event_store.drop_tenant('large', 'large');
DROP FUNCTION put;
