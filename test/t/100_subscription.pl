# Subscriptions with consumers that are killed, hang and fail, and a server that
# crashes under them: every event is handled once, in the order of its key, and
# the checkpoint passes none that is not done (event-stores 4.5, systems 2.3.3).
# And what a fetch that waits is woken by.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ESTest;
use POSIX qw(:sys_wait_h _exit);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my %children;
my $owner = $$;

END
{
	kill 'KILL', keys %children if $$ == $owner;
}

my $node = new_node('main');

# ---- who waits is woken -----------------------------------------------------

$node->safe_psql(
	'postgres', q{
	SELECT event_store.create_subscription('wake', lease => '1 hour', partition_by => 'all');
	SELECT event_store.append_event('a-1', 'T');
	SELECT event_store.append_event('a-1', 'T');
	SELECT * FROM event_store.fetch('wake', 'first', 1, '0');
});
my $waiter = session($node);
my $waiter_pid = session_pid($waiter);

# What a fetch got that waited while something was done.
sub woken_by
{
	my ($sql) = @_;

	$waiter->query_until(qr/fetching/,
		"\\echo fetching\nSELECT position, attempt FROM event_store.fetch('wake', 'second', 1, '1 hour');\n\\echo fetched\n");
	wait_for_wait($node, $waiter_pid, 'Extension');
	$node->safe_psql('postgres', $sql);
	my $result = $waiter->query_until(qr/fetched/, '');
	$result =~ s/\n?fetched\n//;
	return $result;
}

is(woken_by(q{SELECT event_store.ack('wake', 'first', '{1}')}), '2|1', 'an acknowledgement frees its key and wakes who waits for it');
$node->safe_psql('postgres', q{SELECT event_store.ack('wake', 'second', '{2}')});
is(woken_by(q{SELECT event_store.append_event('a-1', 'T')}), '3|1', 'an append wakes');
is(woken_by(q{SELECT event_store.release('wake', 'second')}), '3|2', 'a release wakes');
is(woken_by(q{SELECT event_store.nack('wake', 'second', '{3}', delay => '200 ms')}), '3|3', 'a retry comes when its time has come, with nobody to wake for it');
is(woken_by(q{SELECT event_store.extend('wake', 'second', '200 ms')}), '3|4', 'so does an event whose lease has run out');
is(woken_by(q{SELECT event_store.reset_subscription('wake')}), '1|1', 'a reset wakes');
$node->safe_psql('postgres', q{SELECT * FROM event_store.fetch('wake', 'second', 10, '0')});
is(woken_by(q{SELECT event_store.stop_subscription('wake')}), '', 'a stop ends the waiting');
is(session_sqlstate($waiter), '55000', 'with an error');
$node->safe_psql('postgres', q{SELECT event_store.resume_subscription('wake')});
$waiter->quit;

# ---- chaos ------------------------------------------------------------------

$node->safe_psql(
	'postgres', q{
	SELECT event_store.create_store('chaos');
	ALTER DATABASE postgres SET search_path = chaos, public;
});
$node->safe_psql(
	'postgres', q{
	SELECT event_store.create_subscription('work', filter => '!exists($.noise)', lease => '150 ms', retry_delay => '10 ms',
		max_attempts => 1000, max_in_flight => 8, buffer_size => 40);
	SELECT event_store.create_subscription('poison', category => 'bad', retry_delay => '0', max_attempts => 3, lease => '150 ms');
	CREATE TABLE effect (n bigserial, stream text, version bigint, position bigint, consumer text, attempt int);

	-- One consumer: handles an event and acknowledges it in one transaction; now and then it fails, forgets the rest of what it has as
	-- if it had been started anew, or takes its time.
	CREATE PROCEDURE consume(me text) LANGUAGE plpgsql AS $$
	DECLARE
		events bigint[];
		e record;
		dice float;
	BEGIN
		LOOP
			SELECT array_agg(ARRAY[position, attempt] ORDER BY position) INTO events FROM event_store.fetch('work', me, 5, '100 ms');
			COMMIT;
			FOR i IN 1 .. coalesce(array_length(events, 1), 0) LOOP
				SELECT position, stream_name AS stream, version, events[i][2] AS attempt INTO e
				FROM event_log JOIN event_streams USING (stream_id) WHERE position = events[i][1];
				dice := random();
				BEGIN
					IF dice < 0.02 THEN
						PERFORM pg_sleep(0.3);
					END IF;
					INSERT INTO effect (stream, version, position, consumer, attempt) VALUES (e.stream, e.version, e.position, me, e.attempt);
					PERFORM event_store.ack('work', me, ARRAY[e.position]);
					IF dice BETWEEN 0.1 AND 0.15 THEN
						RAISE 'it did not work';
					END IF;
				EXCEPTION
					WHEN raise_exception THEN
						BEGIN
							IF dice < 0.14 THEN
								PERFORM event_store.nack('work', me, ARRAY[e.position]);
							ELSE
								EXIT;
							END IF;
						EXCEPTION WHEN SQLSTATE 'VE009' THEN NULL;
						END;
					WHEN SQLSTATE 'VE009' THEN
						NULL;
				END;
				COMMIT;
			END LOOP;
		END LOOP;
	END $$;

	-- an event that nobody can handle, and what comes after it
	CREATE PROCEDURE suffer(me text) LANGUAGE plpgsql AS $$
	DECLARE
		p bigint;
	BEGIN
		LOOP
			FOR p IN SELECT position FROM event_store.fetch('poison', me, 1, '100 ms') LOOP
				PERFORM event_store.nack('poison', me, ARRAY[p], reason => 'cannot');
			END LOOP;
			COMMIT;
		END LOOP;
	END $$;

	CREATE PROCEDURE append_all(me text) LANGUAGE plpgsql AS $$
	BEGIN
		LOOP
			PERFORM event_store.append_event('key-' || (random() * 7)::int, 'T', jsonb_build_object('by', me))
			FROM generate_series(1, (1 + random() * 3)::int);
			IF random() < 0.3 THEN
				PERFORM event_store.append_event('noise-1', 'T', '{"noise": true}');
			END IF;
			IF random() < 0.02 THEN
				PERFORM event_store.append_event('bad-1', 'T', '{"noise": true}');
			END IF;
			IF random() < 0.1 THEN
				ROLLBACK;
			ELSE
				COMMIT;
			END IF;
			PERFORM pg_sleep(0.005);
		END LOOP;
	END $$;
});

# Runs SQL in a process of its own until that ends or the server does.
sub start
{
	my ($sql) = @_;
	my $pid = fork // die "fork: $!";

	if ($pid == 0)
	{
		open STDOUT, '>', '/dev/null';
		open STDERR, '>', '/dev/null';
		exec 'psql', '-X', '-d', $node->connstr('postgres'), '-c', $sql or _exit(1);
	}
	$children{$pid} = $sql;
	return;
}

# What ended is started again, for a time.
my $number = 0;
my $seconds = $ENV{ES_SECONDS} // 3;

sub run_for
{
	my ($seconds, $each) = @_;
	my $end = time + $seconds;

	while (time < $end)
	{
		while ((my $pid = waitpid(-1, WNOHANG)) > 0)
		{
			my $sql = delete $children{$pid} or next;
			$sql =~ s/c\d+/'c' . ++$number/e;
			start($sql);
		}
		$each->();
		usleep(50_000);
	}
	return;
}

# The position of the checkpoint, and then, later, what is not done up to there.
my $checks = 0;
my @passed;

sub check_checkpoint
{
	my ($out, $err);

	# the server may be down
	return if $node->psql('postgres', "SELECT checkpoint FROM event_store.subscriptions WHERE subscription = 'work'", stdout => \$out, stderr => \$err) != 0;
	my $checkpoint = $out;
	return if $node->psql(
		'postgres',
		"SELECT string_agg(position::text, ' ') FROM event_log l WHERE position <= $checkpoint AND NOT data ? 'noise' AND NOT EXISTS (SELECT FROM effect e WHERE e.position = l.position)",
		stdout => \$out, stderr => \$err) != 0;
	$checks++;
	push @passed, "checkpoint $checkpoint has passed $out" if $out ne '';
	return;
}

start("CALL append_all('w$_')") for 1 .. 3;
start("CALL consume('c" . ++$number . "')") for 1 .. 6;
start("CALL suffer('s1')");

sub kill_one
{
	my ($out, $err);

	$node->psql(
		'postgres',
		q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'CALL consume%' ORDER BY random() LIMIT 1},
		stdout => \$out, stderr => \$err) if rand() < 0.3;
	check_checkpoint();
	return;
}

run_for($seconds, \&kill_one);
$node->stop('immediate');
start_after_crash($node);
run_for($seconds, \&kill_one);

# no more events; what there is comes to its end, and nobody is killed any more
my @writers = grep { $children{$_} =~ /append_all/ } keys %children;
kill 'TERM', @writers;
delete @children{@writers};
$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'CALL append_all%'});
my $deadline = time + 60;
my $left = 1;
run_for(
	0.5,
	sub {
		$left = $node->safe_psql('postgres', q{SELECT lag_events + in_flight + waiting FROM event_store.subscriptions WHERE subscription = 'work'});
	}) while $left > 0 && time < $deadline;
is($left, 0, 'all is done in the end');
wait_for(
	$node,
	q{SELECT in_flight + waiting = 0 AND lag_events = 0 FROM event_store.subscriptions WHERE subscription = 'poison'},
	'also where an event could not be handled');
kill 'KILL', keys %children;
%children = ();
$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query ~ '^CALL'});

my $events = $node->safe_psql('postgres', q{SELECT count(*) FROM event_log WHERE NOT data ? 'noise'});
my $repeated = $node->safe_psql('postgres', q{SELECT count(*) FROM effect WHERE attempt > 1});
note "$events events sent, $repeated of them after more than one attempt, $checks looks at the checkpoint, $number consumers";
cmp_ok($events, '>', 100, 'there was something to do');
cmp_ok($repeated, '>', 0, 'and some of it had to be repeated');
is($node->safe_psql('postgres', q{SELECT count(*) - count(DISTINCT position) FROM effect}), 0, 'nothing took effect twice');
is( $node->safe_psql('postgres', q{SELECT count(*) FROM event_log l WHERE NOT data ? 'noise' AND NOT EXISTS (SELECT FROM effect e WHERE e.position = l.position)}),
	0,
	'everything took effect');
is( $node->safe_psql(
		'postgres', q{
		SELECT string_agg(stream || ' ' || version, ', ') FROM
			(SELECT stream, version, lag(version, 1, 0::bigint) OVER (PARTITION BY stream ORDER BY n) AS before FROM effect) x
		WHERE version <> before + 1}),
	'',
	'in the order of each key');
cmp_ok($checks, '>', 10, 'the checkpoint was watched');
is(join("\n", @passed), '', 'and passed nothing that was not done');
is( $node->safe_psql('postgres', q{SELECT parked = (SELECT count(*) FROM event_log WHERE event_type = 'T' AND data ? 'noise' AND stream_id = (SELECT stream_id FROM event_streams WHERE stream_name = 'bad-1')) FROM event_store.subscriptions WHERE subscription = 'poison'}),
	't',
	'what follows a parked event of its key is parked behind it');
is( $node->safe_psql('postgres', q{SELECT string_agg(DISTINCT cause, ' ') FROM event_store.parked_events('poison')}),
	'attempts behind', 'with the cause');
is( $node->safe_psql(
		'postgres', q{
		SELECT event_store.replay_parked('poison');
		SELECT bool_and(version = n) FROM (SELECT version, row_number() OVER () AS n FROM event_store.fetch('poison', 'healer', NULL, '0')) x}) =~ /t$/,
	1,
	'and comes again in its order');

# a dump and a standby of the tables are those of ordinary tables: see 024_dump.pl; here that it is all there
my $dump = $node->basedir . '/dump.sql';
command_ok([ 'pg_dump', '-d', $node->connstr('postgres'), '-f', $dump ], 'dumped');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
command_ok([ 'psql', '-X', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('restored'), '-f', $dump ], 'restored');
my $query = q{SELECT subscription, checkpoint, in_flight, parked FROM event_store.subscriptions ORDER BY 1};
is( $node->safe_psql('restored', "SET search_path = chaos; $query"),
	$node->safe_psql('postgres', $query), 'subscriptions go on where they were when they were dumped');
sqlstate_is($node, 'DELETE FROM chaos.event_deliveries', '0A000', 'guarded as before', 'restored');

$node->stop;
done_testing();
