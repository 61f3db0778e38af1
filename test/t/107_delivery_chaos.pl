# Everything that delivers, at once, while everything is killed: sessions append
# at full speed, four handlers (one in partitions, one inline), two process
# managers in a row and six consumers outside the database work on what they
# append; workers, scheduler, launcher, consumers, backends and the server are
# ended at random.  In the database every effect is there once, outside every
# event came at least once, each key in its order, and no checkpoint was ever
# ahead of what was done (systems 2.3.3, 2.3.12, 2.3.17; event-stores 4.5).
#
#   ES_SECONDS  how long (3, or a minute in make soak)
#   ES_SEED     seed of the random choices, as a failed run has printed it

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ESTest;
use IPC::Open2;
use POSIX qw(:sys_wait_h _exit);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my $seconds = $ENV{ES_SECONDS} || 3;
my $appenders = $seconds > 10 ? 8 : 4;
my $consumers = 6;
my $seed = $ENV{ES_SEED} || int(rand(2**31));
srand($seed);
note "ES_SEED=$seed";

my %children;    # process number => what starts it again
my $owner = $$;

END
{
	kill 'KILL', keys %children if $$ == $owner && %children;
}

my $node = new_node(
	'chaos', conf => q{
restart_after_crash = on
max_worker_processes = 24
event_store.max_workers = 8
log_min_messages = fatal
});

# An effect is a row, without any key that would keep a second one away; n tells the order.
$node->safe_psql(
	'postgres', q{
	CREATE TABLE effect (n bigserial, handler text, "position" bigint, stream text, version bigint);
	CREATE INDEX ON effect ("position");
	CREATE TABLE acked (n bigserial, "position" bigint);
	CREATE INDEX ON acked ("position");
	CREATE SEQUENCE order_number;

	CREATE FUNCTION note_event(event event_store.recorded_event) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
		INSERT INTO effect (handler, "position", stream, version) VALUES ('event', event."position", event.stream, event.version);
		IF random() < 0.002 THEN RAISE EXCEPTION 'it did not work'; END IF;
	END $$;
	CREATE FUNCTION note_part(event event_store.recorded_event) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
		INSERT INTO effect (handler, "position", stream, version) VALUES ('part', event."position", event.stream, event.version);
		IF random() < 0.002 THEN RAISE EXCEPTION 'it did not work'; END IF;
	END $$;
	CREATE FUNCTION note_inline(event event_store.recorded_event) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
		INSERT INTO effect (handler, "position", stream, version) VALUES ('inline', event."position", event.stream, event.version);
	END $$;
	CREATE FUNCTION note_batch(events event_store.recorded_event[]) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
		INSERT INTO effect (handler, "position", stream, version)
		SELECT 'batch', e."position", e.stream, e.version FROM unnest(events) e ORDER BY e."position";
		IF random() < 0.05 THEN RAISE EXCEPTION 'it did not work'; END IF;
	END $$;
	SELECT event_store.register_handler('event', 'note_event', batch_size => 50, backoff => '1 ms', max_attempts => 1000);
	SELECT event_store.register_handler('part', 'note_part', concurrency => 4, batch_size => 50, backoff => '1 ms',
		max_attempts => 1000);
	SELECT event_store.register_handler('inline', 'note_inline', kind => 'inline');
	SELECT event_store.register_handler('batch', 'note_batch', kind => 'batch', batch_size => 200, backoff => '1 ms',
		max_attempts => 1000);

	-- an order is shipped, and what is shipped is billed: one event of a stream of its own each; the state counts
	CREATE FUNCTION keep(state jsonb, type text, data jsonb) RETURNS jsonb IMMUTABLE LANGUAGE sql RETURN state;
	CREATE FUNCTION ship(state jsonb, command jsonb) RETURNS jsonb IMMUTABLE LANGUAGE sql
	RETURN jsonb_build_object('type', 'Shipped', 'data', command);
	CREATE FUNCTION bill(state jsonb, command jsonb) RETURNS jsonb IMMUTABLE LANGUAGE sql
	RETURN jsonb_build_object('type', 'Billed', 'data', command);
	SELECT event_store.register_aggregate('parcel', 'keep', '{}');
	SELECT event_store.register_aggregate('invoice', 'keep', '{}');
	SELECT event_store.register_command('Ship', 'parcel', 'ship');
	SELECT event_store.register_command('Bill', 'invoice', 'bill');
	CREATE FUNCTION of_key(event event_store.recorded_event) RETURNS jsonb IMMUTABLE LANGUAGE sql
	RETURN jsonb_build_object('continue', (event).data -> 'key');
	CREATE FUNCTION count_up(state jsonb, event event_store.recorded_event) RETURNS jsonb IMMUTABLE LANGUAGE sql
	RETURN jsonb_build_object('n', coalesce((state -> 'n')::int, 0) + 1);
	CREATE FUNCTION to_ship(state jsonb, event event_store.recorded_event) RETURNS jsonb IMMUTABLE LANGUAGE sql
	RETURN jsonb_build_object('type', 'Ship', 'command', (event).data);
	CREATE FUNCTION to_bill(state jsonb, event event_store.recorded_event) RETURNS jsonb IMMUTABLE LANGUAGE sql
	RETURN jsonb_build_object('type', 'Bill', 'command', (event).data);
	SELECT event_store.register_process_manager('shipping', 'of_key', 'to_ship', 'count_up', types => '{Ordered}', backoff => '1 ms',
		max_attempts => 1000);
	SELECT event_store.register_process_manager('billing', 'of_key', 'to_bill', 'count_up', category => 'parcel', backoff => '1 ms',
		max_attempts => 1000);

	SELECT event_store.create_subscription('remote', types => '{Ordered}', partition_by => '$.key', lease => '300 ms',
		retry_delay => '5 ms', max_attempts => 1000000);

	CREATE PROCEDURE append_all() LANGUAGE plpgsql AS $$
	BEGIN
		LOOP
			FOR i IN 1 .. 1 + (random() * 3)::int LOOP
				IF random() < 0.1 THEN
					PERFORM event_store.append_event('load-' || (random() * 7)::int, 'Ordered',
						jsonb_build_object('id', nextval('order_number'), 'key', (random() * 3)::int));
				ELSE
					PERFORM event_store.append_event('load-' || (random() * 7)::int, 'Noted', '{}');
				END IF;
			END LOOP;
			IF random() < 0.1 THEN ROLLBACK; ELSE COMMIT; END IF;
		END LOOP;
	END $$;
});

# ---- who works --------------------------------------------------------------

# A process that is started again when it ends.
sub start
{
	my ($work) = @_;
	my $pid = fork // die "fork: $!";

	if ($pid == 0)
	{
		eval { $work->() };
		_exit(0);
	}
	$children{$pid} = $work;
	return;
}

sub appender
{
	open STDOUT, '>', '/dev/null';
	open STDERR, '>', '/dev/null';
	exec 'psql', '-X', '-d', $node->connstr('postgres'), '-c', 'CALL append_all()' or _exit(1);
}

# What came to the consumers, in the order in which it came to any of them: they append to one file.
my $arrived = $node->basedir . '/arrived';

# A consumer outside the database: takes note of an event, and acknowledges it then.
sub consumer
{
	my $name = "c$$";

	open STDERR, '>', '/dev/null';
	open my $file, '>>', $arrived or _exit(1);
	srand;
	my $pid = open2(my $from, my $to, 'psql', '-XqAt', '-F', ' ', '-d', $node->connstr('postgres'));
	my $ask = sub {
		my @lines;
		syswrite $to, "$_[0]\n\\echo end\n";
		while (my $line = readline $from)
		{
			chomp $line;
			return @lines if $line eq 'end';
			push @lines, $line;
		}
		_exit(0);    # the session has ended
	};
	while (1)
	{
		for ($ask->("SELECT position, data -> 'key' FROM event_store.fetch('remote', '$name', 5, '200 ms');"))
		{
			my ($position) = /^(\d+) \d+$/ or _exit(1);
			if (rand() < 0.02)
			{
				$ask->("SELECT event_store.nack('remote', '$name', '{$position}');");
				last;
			}
			usleep(400_000) if rand() < 0.005;    # longer than the lease
			syswrite $file, "$_\n";
			my @done = $ask->(
				"BEGIN; INSERT INTO acked (\"position\") VALUES ($position);
				SELECT event_store.ack('remote', '$name', '{$position}'); COMMIT;");
			# it was taken back, and with it what follows
			last if "@done" ne '1';
		}
	}
}

# ---- who ends them ----------------------------------------------------------

# The answer to a query, or undef while the server is down.
sub ask
{
	my ($sql) = @_;
	my ($out, $err);

	# psql that finds no server is gone before it was told what to ask: a broken pipe, which dies
	my $result = eval { $node->psql('postgres', $sql, stdout => \$out, stderr => \$err) } // return;
	return $result == 0 ? $out : undef;
}

my %ended;

sub end_process
{
	my ($signal, $type) = @_;
	my $pid = ask(
		"SELECT pid FROM pg_stat_activity WHERE backend_type = '$type' AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1");

	return unless defined $pid && $pid =~ /^\d+$/ && $pid > 1;
	kill $signal, $pid;
	$ended{"$type $signal"}++;
	return;
}

sub end_consumer
{
	my @pids = grep { $children{$_} == \&consumer } keys %children or return;

	kill 'KILL', $pids[ rand @pids ];
	$ended{'consumer KILL'}++;
	return;
}

sub end_server
{
	$node->stop('immediate');
	start_after_crash($node);
	$ended{server}++;
	return;
}

# Where readers are, and then, later, what is not done up to there.
my %seen = map { $_ => 0 } qw(event batch part shipping billing remote);
my ($looks, @ahead) = (0);
my %missing = (
	(
		map {
			$_ => "SELECT position FROM event_log l
				WHERE NOT EXISTS (SELECT FROM effect e WHERE e.position = l.position AND handler = '$_')"
		} qw(event batch part)
	),
	shipping => q{SELECT position FROM event_log l WHERE event_type = 'Ordered' AND NOT EXISTS
		(SELECT FROM event_streams WHERE stream_name = 'parcel-' || (l.data ->> 'id'))},
	billing => q{SELECT position FROM event_log l WHERE event_type = 'Shipped' AND NOT EXISTS
		(SELECT FROM event_streams WHERE stream_name = 'invoice-' || (l.data ->> 'id'))},
	remote => q{SELECT position FROM event_log l WHERE event_type = 'Ordered' AND NOT EXISTS
		(SELECT FROM acked a WHERE a.position = l.position)});

sub look_at_checkpoints
{
	my $places = ask(q{SELECT name, min(position) FROM event_store.handlers WHERE kind <> 'inline' GROUP BY name
		UNION ALL SELECT subscription, checkpoint FROM event_store.subscriptions}) // return;
	my %now = map { split /\|/ } split /\n/, $places;
	my $found = ask(
		join ' UNION ALL ',
		map { "SELECT '$_ has passed ' || position FROM ($missing{$_} AND position > $seen{$_} AND position <= $now{$_}) x" }
		  sort keys %missing) // return;

	$looks++;
	push @ahead, split /\n/, $found;
	%seen = %now;
	return;
}

sub revive
{
	while ((my $pid = waitpid(-1, WNOHANG)) > 0)
	{
		my $work = delete $children{$pid} or next;
		start($work);
	}
	return;
}

# Let it go on for a time, under fire.
sub run_for
{
	my ($time) = @_;
	my $end = time + $time;

	while (time < $end)
	{
		my $dice = rand();

		revive();
		if    ($dice < 0.30) { end_process('TERM', 'event_store worker') }
		elsif ($dice < 0.35) { end_process('TERM', 'event_store scheduler') }
		elsif ($dice < 0.40) { end_process('TERM', 'event_store launcher') }
		elsif ($dice < 0.60) { end_process('TERM', 'client backend') }
		elsif ($dice < 0.85) { end_consumer() }
		elsif ($dice < 0.86) { end_process('KILL', 'event_store worker') }
		look_at_checkpoints();
		usleep(int rand 150_000);
	}
	return;
}

start(\&appender) for 1 .. $appenders;
start(\&consumer) for 1 .. $consumers;
my $began = time;
my $parts = $seconds > 10 ? int($seconds / 10) : 1;
for (1 .. $parts)
{
	run_for($seconds / $parts / 2);
	# a worker that is killed takes the server along
	end_process('KILL', 'event_store worker');
	run_for($seconds / $parts / 2);
	end_server();
}

# ---- what is left -----------------------------------------------------------

# no more events, and nobody is killed any more
for my $pid (grep { $children{$_} == \&appender } keys %children)
{
	delete $children{$pid};
	kill 'KILL', $pid;
}
$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'CALL append_all%'});
wait_for($node, q{SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE query LIKE 'CALL append_all%')}, 'no more events come');
my $took = time - $began;
my $deadline = time + 60 + 3 * $seconds;
my $left;
until ((
		$left = ask(
			q{SELECT coalesce(string_agg(name || ' ' || lag, ', '), '') FROM (SELECT name, lag FROM event_store.handlers WHERE kind <> 'inline'
				UNION ALL SELECT subscription, lag_events + in_flight + waiting FROM event_store.subscriptions) x WHERE lag > 0})
		  // 'no server') eq ''
	|| time > $deadline)
{
	revive();
	# what was killed again and again would rest
	ask(q{SELECT event_store.resume_task(kind, name) FROM event_store.tasks WHERE state = 'backing off'});
	look_at_checkpoints();
	usleep(100_000);
}
is($left, '', 'all is done in the end');
kill 'KILL', keys %children if %children;
%children = ();

is( $node->safe_psql(
		'postgres', q{SELECT string_agg(name || ' ' || state || ' ' || skipped || ' ' || parked, ', ') FROM event_store.handlers
		WHERE kind <> 'inline' AND (state <> 'running' OR skipped + parked <> 0)}),
	'',
	'nothing was passed, put aside or stopped');
for my $handler (qw(event batch part inline))
{
	is( $node->safe_psql(
			'postgres', qq{SELECT string_agg(position || ': ' || count, ', ') FROM
				(SELECT position, count(e.n) FROM event_log LEFT JOIN effect e USING (position) WHERE e.handler = '$handler' GROUP BY position
				UNION ALL SELECT position, 0 FROM event_log l WHERE NOT EXISTS (SELECT FROM effect e WHERE e.position = l.position AND e.handler = '$handler')) x
			WHERE count <> 1}),
		'',
		"each event has had its effect once in the handler \"$handler\"");
	is( $node->safe_psql(
			'postgres', qq{SELECT string_agg(stream || ' ' || version, ', ') FROM
				(SELECT stream, version, lag(version, 1, 0::bigint) OVER (PARTITION BY stream ORDER BY n) AS before FROM effect WHERE handler = '$handler') x
			WHERE version <> before + 1}),
		'',
		'in the order of its stream');
}
for ([ shipping => 'Ordered', 'Shipped' ], [ billing => 'Shipped', 'Billed' ])
{
	my ($manager, $from, $to) = @$_;
	is( $node->safe_psql(
			'postgres', qq{SELECT string_agg(id || ': ' || count, ', ') FROM
				(SELECT s.data ->> 'id' AS id, count(t.position) FROM event_log s LEFT JOIN event_log t ON t.event_type = '$to' AND t.data = s.data
				WHERE s.event_type = '$from' GROUP BY s.position, s.data) x WHERE count <> 1}),
		'',
		"each command of the process manager \"$manager\" was executed once");
	is( $node->safe_psql(
			'postgres', qq{SELECT string_agg(instance || ': ' || (state ->> 'n'), ', ' ORDER BY instance) FROM event_processes WHERE manager = '$manager'}),
		$node->safe_psql(
			'postgres', qq{SELECT string_agg(key || ': ' || count, ', ' ORDER BY key) FROM
				(SELECT data ->> 'key' AS key, count(*) FROM event_log WHERE event_type = '$from' GROUP BY 1) x}),
		'and its state has counted each event once');
}

# what came to the consumers: everything, and each key at first in its order
my %sent = map { split /\|/ } split /\n/,
  $node->safe_psql('postgres', q{SELECT position, data ->> 'key' FROM event_log WHERE event_type = 'Ordered'});
my (%came, %last, @broken);
my $deliveries = 0;
open my $file, '<', $arrived or die "$arrived: $!";
while (<$file>)
{
	my ($position, $key) = split;
	$deliveries++;
	next if $came{$position}++;
	push @broken, "$position after $last{$key} of key $key" if $position < ($last{$key} // 0);
	$last{$key} = $position;
}
close $file;
is(join(' ', grep { !$came{$_} } sort { $a <=> $b } keys %sent), '', 'each event came to a consumer at least once');
is(join(' ', grep { !exists $sent{$_} } sort { $a <=> $b } keys %came), '', 'and no other did');
is(join("\n", @broken), '', 'the order of a key was never broken');
is( $node->safe_psql(
		'postgres', q{SELECT string_agg(position::text, ', ') FROM
			(SELECT position, lag(position, 1, 0::bigint) OVER (PARTITION BY data ->> 'key' ORDER BY n) AS before FROM acked JOIN event_log USING (position)) x
		WHERE position <= before}),
	'',
	'each was acknowledged once, in the order of its key');
is(scalar(grep { $_ > 0 } values %last), 4, 'there were events of all keys');

cmp_ok($looks, '>', 3, 'the checkpoints were watched');
is(join("\n", @ahead), '', 'and none was ever ahead of what was done');

my $events = $node->safe_psql('postgres', 'SELECT count(*) FROM event_log');
note sprintf '%d events in %.1f s, %d sent out, %d times; all done %.1f s later; %d looks at the checkpoints; ended: %s', $events, $took,
  scalar keys %sent, $deliveries, time - $began - $took, $looks, join ', ', map { "$_ $ended{$_}" } sort keys %ended;
cmp_ok(scalar keys %sent, '>', 20, 'there was something to do');
cmp_ok($ended{server}, '>', 0, 'and the server has ended under it');

$node->stop;
done_testing();
