# A process manager that is killed between two of its commands dispatches each of them once.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ESTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('manager', conf => 'restart_after_crash = on');

sub sql
{
	return $node->safe_psql('postgres', $_[0]);
}

# every order makes a parcel and a bill; the bill of some of them waits at a gate
sql(q{
	CREATE TABLE gate (id text);
	CREATE FUNCTION keep(state jsonb, type text, data jsonb) RETURNS jsonb IMMUTABLE LANGUAGE sql RETURN state;
	CREATE FUNCTION ship(state jsonb, command jsonb) RETURNS jsonb IMMUTABLE LANGUAGE sql RETURN '{"type": "Shipped", "data": {}}'::jsonb;
	CREATE FUNCTION bill(state jsonb, command jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN
		IF EXISTS (SELECT FROM gate g WHERE g.id = command ->> 'id') THEN PERFORM pg_advisory_xact_lock(42); END IF;
		RETURN '{"type": "Billed", "data": {}}';
	END $$;
	SELECT event_store.register_aggregate('parcel', 'keep', '{}');
	SELECT event_store.register_aggregate('invoice', 'keep', '{}');
	SELECT event_store.register_command('Ship', 'parcel', 'ship');
	SELECT event_store.register_command('Bill', 'invoice', 'bill');
	CREATE FUNCTION interested(event event_store.recorded_event) RETURNS jsonb IMMUTABLE LANGUAGE sql
	RETURN jsonb_build_object('start!', (event).data -> 'order');
	CREATE FUNCTION handle(state jsonb, event event_store.recorded_event) RETURNS jsonb IMMUTABLE LANGUAGE sql
	RETURN jsonb_build_array(jsonb_build_object('type', 'Ship', 'command', jsonb_build_object('id', (event).data ->> 'order')),
		jsonb_build_object('type', 'Bill', 'command', jsonb_build_object('id', (event).data ->> 'order')));
	INSERT INTO gate VALUES (30), (70);
	SELECT event_store.register_process_manager('fulfilment', 'interested', 'handle', category => 'order', backoff => '10 ms');
});

# systems 2.3.17
my $gate;
for my $signal ('TERM', 'KILL')
{
	$gate = session($node);
	$gate->query_safe('SELECT pg_advisory_lock(42)');
	my $first = $signal eq 'TERM' ? 1 : 51;
	sql(qq{SELECT count(*) FROM generate_series($first, $first + 49) i,
		event_store.append_event('order-' || i, 'Placed', jsonb_build_object('order', i))});
	$node->poll_query_until('postgres',
		q{SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND backend_type LIKE 'event_store%'})
	  or die 'no worker came to the gate';
	my $pid = sql(q{SELECT worker_pid FROM event_store.handlers});
	kill $signal, $pid;
	if ($signal eq 'KILL')
	{
		eval { $gate->quit };
		$node->poll_query_until('postgres', 'SELECT true') or die 'the server does not come back';
	}
	else
	{
		wait_for($node, "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $pid)", 'the worker has ended');
		$gate->quit;
	}
	wait_for($node, q{SELECT lag = 0 FROM event_store.handlers}, "after SIG$signal between two commands another worker goes on");
	is( sql(q{SELECT count(*), min(n), max(n) FROM (SELECT count(*) AS n FROM event_log l JOIN event_streams s USING (stream_id)
			WHERE s.category IN ('parcel', 'invoice') GROUP BY s.stream_id) streams}),
		($first + 49) * 2 . '|1|1', 'each target stream has one event a command');
}
is(sql(q{SELECT count(*), min(state::text) FROM event_processes}), '100|{}', 'and each instance its state');
is(sql(q{SELECT skipped, parked FROM event_store.handlers}), '0|0', 'nothing was passed');

$node->stop;
done_testing();
