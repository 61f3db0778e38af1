# Event handlers in the workers of the server: what is killed, fails or comes later has its effect once.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ESTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('handler', conf => 'restart_after_crash = on');

sub sql
{
	return $node->safe_psql('postgres', $_[0]);
}

sql(q{
	CREATE TABLE effect ("position" bigint NOT NULL, stream text, handler text);
	CREATE TABLE gate ("position" bigint);
	CREATE FUNCTION project(event event_store.recorded_event) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
		INSERT INTO effect VALUES (event."position", event.stream, 'project');
		IF EXISTS (SELECT FROM gate g WHERE g."position" = event."position") THEN
			PERFORM pg_advisory_xact_lock(42);
		END IF;
	END $$;
	SELECT event_store.register_handler('project', 'project', batch_size => 10, consistency => 'strong');
});

# the place of the handler, and whether nothing is left to do
my $done = q{SELECT bool_and(lag = 0) FROM event_store.handlers WHERE name = 'project'};
my $exact = q{SELECT (SELECT count(*) FROM effect WHERE handler = 'project') = (SELECT count(*) FROM event_log)
	AND NOT EXISTS (SELECT FROM event_log l WHERE (SELECT count(*) FROM effect e WHERE e."position" = l.position AND e.handler = 'project') <> 1)};

sub append_many
{
	my ($stream, $count) = @_;
	sql(qq{SELECT count(*) FROM generate_series(1, $count) i, event_store.append_event('$stream-' || i % 7, 'Noted', jsonb_build_object('i', i))});
	return;
}

# a worker that stands in the middle of its events; returns its process number
sub worker_at_gate
{
	$node->poll_query_until('postgres',
		q{SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND backend_type LIKE 'event_store%'})
	  or die 'no worker came to the gate';
	return sql(q{SELECT worker_pid FROM event_store.handlers WHERE name = 'project'});
}

# systems 2.3.12: a worker ended in the middle of 1000 events
my $holder = session($node);
$holder->query_safe('SELECT pg_advisory_lock(42)');
sql('INSERT INTO gate VALUES (505)');
append_many('term', 1000);
my $pid = worker_at_gate();
like($pid, qr/^\d+$/, 'the view tells which worker is at it');
is(sql(q{SELECT lag FROM event_store.handlers WHERE name = 'project'}), '500', 'what is done stands, what is not does not');
sql("SELECT pg_terminate_backend($pid)");
wait_for($node, "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $pid)", 'the worker has ended');
$holder->query_safe('SELECT pg_advisory_unlock(42)');
wait_for($node, $done, 'another worker goes on');
is(sql($exact), 't', 'each event has had its effect once');

# and so if the whole server dies with it
$holder->query_safe('SELECT pg_advisory_lock(42)');
sql('INSERT INTO gate VALUES (1505)');
append_many('kill', 1000);
$pid = worker_at_gate();
kill 'KILL', $pid;
eval { $holder->quit };
$node->poll_query_until('postgres', 'SELECT true') or die 'the server does not come back';
wait_for($node, $done, 'after a crash a worker goes on by itself');
is(sql($exact), 't', 'each event has had its effect once');

# systems 2.3.20
is(sql(q{SELECT lag, lag_seconds, state FROM event_store.handlers WHERE name = 'project'}), '0|0|running', 'nothing is left to do');

# systems 2.3.13: a poisonous event, other partitions, a restart
sql(q{
	CREATE FUNCTION picky(event event_store.recorded_event) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
		INSERT INTO effect VALUES (event."position", event.stream, 'picky');
		IF event.data ? 'poison' THEN RAISE EXCEPTION 'poison'; END IF;
	END $$;
	SELECT event_store.register_handler('picky', 'picky', category => 'p', concurrency => 4, max_attempts => 4, backoff => '5 ms',
		on_exhausted => 'stop');
	SELECT event_store.append_event('p-1', 'Noted', '{"poison": true}');
	SELECT count(*) FROM generate_series(1, 40) i, event_store.append_event('p-' || i % 8, 'Noted', jsonb_build_object('i', i));
});
wait_for($node, q{SELECT count(*) FILTER (WHERE state = 'stopped') = 1 AND count(*) FILTER (WHERE lag = 0) = 3
	FROM event_store.handlers WHERE name = 'picky'}, 'one partition has stopped, the others have gone on');
is(sql(q{SELECT failures, last_problem ->> 'message', last_problem -> 'attempts' FROM event_store.handlers WHERE state = 'stopped'}),
	'4|poison|4', 'after so many attempts, with its problem');
is(sql(q{SELECT count(*) FROM effect WHERE handler = 'picky' AND stream = 'p-1'}), '0', 'what comes after it in its partition waits');
$node->restart;
is(sql(q{SELECT state, failures FROM event_store.handlers WHERE name = 'picky' AND state = 'stopped'}), 'stopped|4', 'a restart forgets nothing');
sql(q{SELECT event_store.handler_skip('picky')});
wait_for($node, q{SELECT bool_and(lag = 0 AND state = 'running') FROM event_store.handlers WHERE name = 'picky'}, 'it goes on without the event');
is(sql(q{SELECT count(*), count(DISTINCT "position") FROM effect WHERE handler = 'picky'}), '40|40', 'all others have had their effect once');

# systems 2.3.14: what is dispatched is in the read model when the call returns
sql(q{
	CREATE FUNCTION keep(state jsonb, type text, data jsonb) RETURNS jsonb IMMUTABLE LANGUAGE sql RETURN state;
	CREATE FUNCTION act(state jsonb, command jsonb) RETURNS jsonb IMMUTABLE LANGUAGE sql RETURN '{"type": "Acted", "data": {}}'::jsonb;
	SELECT event_store.register_aggregate('thing', 'keep', '{}');
	SELECT event_store.register_command('Act', 'thing', 'act');
});
my $seen = 0;
for my $i (1 .. 5)
{
	$seen += sql(qq{
		CALL event_store.dispatch_and_wait('Act', '{"id": $i}');
		SELECT count(*) AS seen FROM effect WHERE stream = 'thing-$i' AND handler = 'project';
	}) =~ /^1$/m;
}
is($seen, 5, 'the read model shows the event once the call returns');
sql(q{SELECT event_store.handler_pause('project')});
sqlstate_is($node, q{CALL event_store.dispatch_and_wait('Act', '{"id": "late"}', timeout => '20 ms')}, 'VE016',
	'a handler that rests is not waited for longer than asked');
is(sql(q{SELECT event_store.stream_version('thing-late')}), '1', 'the event is there all the same');
my $waiter = session($node);
my $waiting = session_pid($waiter);
$waiter->query_until(qr/asked/, qq{\\echo asked\nSELECT event_store.wait_for('thing-late', timeout => '1 min');\n});
wait_for_wait($node, $waiting, 'Extension');
sql(q{SELECT event_store.handler_resume('project')});
$waiter->query_safe('SELECT 1');
is(session_sqlstate($waiter), '', 'who waits is told once the handler has got there');
$waiter->quit;

# systems 3.3.13: tenants have a place each, those that come later too
sql(q{
	CREATE TABLE public.noted (tenant text, type text);
	CREATE FUNCTION public.note(event event_store.recorded_event) RETURNS void LANGUAGE sql
	BEGIN ATOMIC INSERT INTO public.noted VALUES (event_store.current_tenant(), (event).type); END;
	SELECT event_store.create_tenant('t1');
	SELECT event_store.register_handler('note', 'public.note', tenant => '*');
	SELECT event_store.create_tenant('t2');
});
sql(qq{SELECT * FROM event_store.with_tenant('$_', \$\$SELECT first_version FROM event_store.append_event('x-1', 'For $_')\$\$) AS t(v bigint)})
  for 't1', 't2';
wait_for($node, q{SELECT count(*) = 2 AND bool_and(type = 'For ' || tenant) FROM public.noted}, 'each tenant is served in its own place');
is(sql(q{SELECT string_agg(tenant || ' ' || "position", ', ' ORDER BY tenant) FROM event_store.handlers WHERE name = 'note'}), 't1 1, t2 1',
	'with a checkpoint each');
sql(q{SELECT event_store.handler_delete('note')});
is(sql(q{SELECT count(*) FROM event_store.tasks WHERE kind LIKE 'handler%' AND name LIKE 'note%'}), '0', 'a deleted handler has no tasks');

# a projection is built anew beside itself, in two partitions, while events come and a worker is killed
sql(q{
	CREATE TABLE total (stream text PRIMARY KEY, n bigint NOT NULL);
	CREATE FUNCTION sum_up(event event_store.recorded_event) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
		INSERT INTO total VALUES (event.stream, 1) ON CONFLICT (stream) DO UPDATE SET n = total.n + 1;
		IF event_store.is_rebuilding() AND EXISTS (SELECT FROM gate g WHERE g."position" = -event."position") THEN
			PERFORM pg_advisory_xact_lock(42);
		END IF;
	END $$;
	SELECT event_store.register_projection('totals', '{total}', 'sum_up', concurrency => 2);
});
wait_for($node, q{SELECT bool_and(lag = 0) FROM event_store.handlers WHERE name = 'totals'}, 'a projection has caught up');
$holder = session($node);
$holder->query_safe('SELECT pg_advisory_lock(42)');
sql(q{UPDATE total SET n = 0; INSERT INTO gate VALUES (-1000); SELECT event_store.projection_rebuild('totals')});
$node->poll_query_until('postgres',
	q{SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND backend_type LIKE 'event_store%'})
  or die 'no worker came to the gate';
is(sql('SELECT sum(n) FROM total'), '0', 'the tables in use are not touched');
append_many('meanwhile', 100);
sql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND backend_type LIKE 'event_store%'});
$holder->quit;
wait_for($node, q{SELECT count(*) = 0 FROM event_store.projection_rebuilds}, 'the rebuild comes to its end');
append_many('afterwards', 100);
wait_for($node, q{SELECT bool_and(lag = 0) FROM event_store.handlers WHERE name = 'totals'}, 'and the handler goes on from there');
is(sql(q{SELECT count(*) FROM total FULL JOIN (SELECT s.stream_name AS stream, count(*) AS n FROM event_log JOIN event_streams s USING (stream_id) GROUP BY 1) l
	USING (stream, n) WHERE total.stream IS NULL OR l.stream IS NULL}), '0', 'the new tables are what the log says');

# systems 2.3.19: a batch in the background is called as soon as it is full, long before its time
sql(q{
	CREATE TABLE batch_effect (events int);
	CREATE FUNCTION in_batches(events event_store.recorded_event[]) RETURNS void LANGUAGE sql
	BEGIN ATOMIC INSERT INTO batch_effect VALUES (cardinality(events)); END;
	SELECT event_store.register_handler('full', 'in_batches', kind => 'batch', category => 'full', start_from => 'current',
		batch_size => 5, batch_timeout => '1 hour');
});
append_many('full', 3);
wait_for($node, q{SELECT next_run > now() + interval '30 min' FROM event_store.tasks WHERE kind = 'handler' AND name ~ '^full'}, 'three events wait');
is(sql('SELECT count(*) FROM batch_effect'), '0', 'a batch that is not full waits');
append_many('other', 3);
append_many('full', 2);
wait_for($node, q{SELECT string_agg(events::text, ',') = '5' FROM batch_effect}, 'the batch that is full is handled');
sql(q{SELECT event_store.handler_delete('full')});

# a dump takes along how far handlers have come, and where it is restored they go on
my $dump = $node->basedir . '/handlers.sql';
$node->command_ok([ 'pg_dump', '-f', $dump, 'postgres' ], 'a database with handlers can be dumped');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $dump, 'restored' ], 'and restored');
$node->safe_psql('restored', 'ALTER DATABASE restored SET search_path = shop, public');
$node->safe_psql('restored', q{SELECT event_store.append_event('restored-1', 'Noted')});
wait_for($node, q{SELECT bool_and(lag = 0) FROM event_store.handlers WHERE schema = 'shop'}, 'where it is restored handlers go on', 'restored');
is($node->safe_psql('restored', $exact), 't', 'each event has had its effect once');

$node->stop;
done_testing();
