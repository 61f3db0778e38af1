# Readers and writers of every kind: snapshots that are fixed, a hot standby
# whose replay stands still and goes on, PREPARE TRANSACTION, savepoints,
# events appended while a transaction commits, and what is left behind when a
# session is cancelled, terminated or timed out while it waits: nothing.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ESTest;
use Test::More;

my $node = new_node(
	'primary',
	init => { allows_streaming => 1 },
	conf => q{
max_connections = 80
max_prepared_transactions = 2
});

sub append_now
{
	my ($stream) = @_;
	return $node->safe_psql('postgres',
		'SELECT first_position FROM ' . append($stream));
}

# The session has just failed: no trace of it may hold anybody back.
sub nothing_left_ok
{
	my ($stream, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(in_flight($node), '', "$name: nothing is left in flight");
	my $position = append_now($stream);
	is(positions($node, $position - 1),
		$position, "$name: the stream can be appended to and read");
	return;
}

# ---- PREPARE TRANSACTION ---------------------------------------------------

# reliability 34
sqlstate_is($node,
	'BEGIN; SELECT * FROM ' . append('prepared-1') . q{; PREPARE TRANSACTION 'p'},
	'0A000', 'a transaction that has appended cannot be prepared');
is($node->safe_psql('postgres', q{SELECT event_store.stream_version('prepared-1')}),
	0, 'nothing of it is stored');
nothing_left_ok('prepared-1', 'after a refused PREPARE TRANSACTION');
sqlstate_is($node,
	q{BEGIN; SELECT * FROM event_store.read_all(0); PREPARE TRANSACTION 'p'; ROLLBACK PREPARED 'p'},
	'no error', 'a transaction that has only read can be prepared');

# ---- what happens around commit --------------------------------------------

# reliability 33: savepoints, released and rolled back, nested and many
my $before = last_position($node);
$node->safe_psql(
	'postgres', join ";\n",
	'BEGIN',
	'SELECT * FROM ' . append('nested-1'),
	'SAVEPOINT a',
	'SELECT * FROM ' . append('nested-1', expected => 1),
	'SAVEPOINT b',
	'SELECT * FROM ' . append('nested-1', expected => 2, count => 5),
	'ROLLBACK TO SAVEPOINT b',
	'SELECT * FROM ' . append('nested-1', expected => 2),
	'RELEASE SAVEPOINT a',
	'SELECT * FROM ' . append('nested-1', expected => 3),
	'COMMIT');
is( $node->safe_psql('postgres',
		q{SELECT string_agg(version || '@' || position - } . $before
		  . q{, ' ' ORDER BY version) FROM event_store.read_stream('nested-1')}),
	'1@1 2@2 3@8 4@9', 'versions have no gap where a savepoint was rolled back');
$node->safe_psql(
	'postgres', sprintf q{
	DO $$
	BEGIN
		FOR i IN 1 .. 200 LOOP
			BEGIN
				PERFORM %s;
				IF i %% 2 = 0 THEN
					RAISE EXCEPTION 'no';
				END IF;
			EXCEPTION WHEN raise_exception THEN
				NULL;
			END;
		END LOOP;
	END$$}, append('nested-2'));
is( $node->safe_psql('postgres',
		q{SELECT count(*), max(version) FROM event_store.read_stream('nested-2')}),
	'100|100', '100 of 200 subtransactions were rolled back');
nothing_left_ok('nested-2', 'after many subtransactions');

# An append while the transaction commits, from a deferred trigger.
$node->safe_psql(
	'postgres', sprintf q{
	CREATE TABLE orders (id int);
	CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql
		AS $$BEGIN PERFORM %s; RETURN NULL; END$$;
	CREATE CONSTRAINT TRIGGER tell AFTER INSERT ON orders
		DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION tell();
	INSERT INTO orders VALUES (1), (2)}, append('deferred-1'));
is($node->safe_psql('postgres', q{SELECT event_store.stream_version('deferred-1')}),
	2, 'events that a deferred trigger appends are stored');
nothing_left_ok('deferred-1', 'after an append during commit');

# reliability 33: another extension fails the transaction in its pre-commit
# callback, here because the foreign server refuses to commit
SKIP:
{
	skip 'postgres_fdw is not installed', 4
	  unless $node->safe_psql('postgres',
		q{SELECT count(*) FROM pg_available_extensions WHERE name = 'postgres_fdw'});
	my ($host, $port) = ($node->host, $node->port);
	$node->safe_psql(
		'postgres', qq{
		CREATE EXTENSION postgres_fdw;
		CREATE SERVER loopback FOREIGN DATA WRAPPER postgres_fdw
			OPTIONS (host '$host', port '$port', dbname 'postgres');
		CREATE USER MAPPING FOR CURRENT_USER SERVER loopback;
		CREATE TABLE late (n int UNIQUE DEFERRABLE INITIALLY DEFERRED);
		CREATE FOREIGN TABLE late_there (n int) SERVER loopback OPTIONS (table_name 'late');
		INSERT INTO late VALUES (1)});
	sqlstate_is($node,
		'BEGIN; SELECT * FROM ' . append('foreign-1')
		  . '; INSERT INTO late_there VALUES (1); COMMIT',
		'23505', 'the foreign server refuses to commit');
	is($node->safe_psql('postgres', q{SELECT event_store.stream_version('foreign-1')}),
		0, 'nothing is stored');
	nothing_left_ok('foreign-1', 'after a failed pre-commit callback');
}

# ---- snapshots that are fixed ----------------------------------------------

# reliability 23
wait_for($node, 'SELECT event_store.durable_mark() = event_store.head()',
	'the durable mark comes to the head');
for my $isolation ('REPEATABLE READ', 'SERIALIZABLE')
{
	my $reader = session($node);
	my $all = positions($node, 0);

	$reader->query_safe("BEGIN ISOLATION LEVEL $isolation; SELECT 1");
	my $position = append_now('later-1');
	wait_for($node, "SELECT event_store.durable_mark() >= $position",
		'the durable mark moves on');
	is( $reader->query_safe(
			q{SELECT string_agg(position::text, ',') FROM event_store.read_all(0)}),
		$all, "$isolation reads what its snapshot sees");
	is($reader->query_safe('SELECT event_store.head()'),
		$position - 1, "$isolation sees the head of its snapshot");
	$reader->query_safe('COMMIT');
	is($reader->query_safe(
			"SELECT string_agg(position::text, ',') FROM event_store.read_all($position - 1)"),
		$position, 'the next transaction sees more');
	$reader->query("BEGIN ISOLATION LEVEL $isolation; SELECT * FROM event_store.poll(0)");
	is(session_sqlstate($reader), '25001',
		'waiting is refused where the snapshot is fixed');
	$reader->query_safe('ROLLBACK');

	# A version that the snapshot does not see is a reason to begin again, one
	# that it sees is the caller's own mistake.
	my $version = $reader->query_safe(
		"BEGIN ISOLATION LEVEL $isolation; SELECT event_store.stream_version('clash-1')");
	append_now('clash-1');
	$reader->query('SELECT * FROM ' . append('clash-1', expected => $version));
	is(session_sqlstate($reader), '40001', "$isolation: outrun by an append it cannot see");
	$reader->query_safe("ROLLBACK; BEGIN ISOLATION LEVEL $isolation; SELECT 1");
	$reader->query('SELECT * FROM ' . append('clash-1', expected => $version));
	is(session_sqlstate($reader), 'VE001', "$isolation: expects a version that it can see is past");
	nothing_left_ok('clash-1', 'after both');
	$reader->quit;
}

# ---- waiting ---------------------------------------------------------------

my $waiter = session($node);
my $waiter_pid = session_pid($waiter);
my $last = last_position($node);

# poll, and what it answers within a transaction
is($waiter->query_safe("SELECT count(*) FROM event_store.poll($last, 10, '20 ms')"),
	0, 'poll returns nothing after its timeout');
is($waiter->query_safe("SELECT count(*) FROM event_store.poll($last, 10, '0')"),
	0, 'a timeout of 0 does not wait');
$waiter->query('BEGIN; SELECT * FROM ' . append('own-1')
	  . "; SELECT * FROM event_store.poll($last, 10, '1 hour')");
is(session_sqlstate($waiter), '25001',
	'a transaction that has appended cannot wait for events');
$waiter->query_safe('ROLLBACK');

# Waits for an event after $last; the caller ends the wait.
sub start_poll
{
	my ($filter) = @_;
	$filter //= '';
	$waiter->query_until(qr/polling/,
		"\\echo polling\nSELECT position FROM event_store.poll($last, 10, '1 hour'$filter);\n\\echo polled\n");
	wait_for_wait($node, $waiter_pid, 'Extension');
	return;
}

sub poll_result
{
	my $result = $waiter->query_until(qr/polled/, '');
	$result =~ s/\n?polled\n//;
	return $result;
}

# reliability 35
$last = last_position($node);
start_poll();
my $position = append_now('wake-1');
is(poll_result(), $position, 'an append wakes a waiting poll');
$last = $position;
start_poll(q{, categories => '{wanted}'});
append_now('unwanted-1');
$position = append_now('wanted-1');
is(poll_result(), $position, 'a poll with a filter waits on for its own');

# reliability 36, in poll
$last = $position;
start_poll();
$node->safe_psql('postgres', "SELECT pg_cancel_backend($waiter_pid)");
poll_result();
is(session_sqlstate($waiter), '57014', 'a waiting poll can be cancelled');
nothing_left_ok('cancel-1', 'after a cancelled poll');
$waiter->query_safe(q{SET statement_timeout = '50 ms'});
$last = last_position($node);
$waiter->query("SELECT * FROM event_store.poll($last, 10, '1 hour')");
is(session_sqlstate($waiter), '57014', 'statement_timeout ends a waiting poll');
$waiter->query_safe('RESET statement_timeout');
start_poll();
$position = append_now('wake-1');
is(poll_result(), $position, 'the same session can wait again');
$last = $position;
start_poll();
$node->safe_psql('postgres', "SELECT pg_terminate_backend($waiter_pid)");
wait_for($node, "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $waiter_pid",
	'a waiting poll can be terminated');
nothing_left_ok('terminate-1', 'after a terminated poll');
$waiter->{run}->finish;

# reliability 36, in an append that waits for the lock of the stream, once
# with and once without an append of its own before it
my $holder = session($node);
for my $first ('', 'SELECT * FROM ' . append('earlier-1') . ';')
{
	my $kind = $first ? 'an append after another' : 'an append';

	for my $end ('pg_cancel_backend', 'pg_terminate_backend')
	{
		$waiter = session($node);
		$waiter_pid = session_pid($waiter);
		$holder->query_safe('BEGIN; SELECT * FROM ' . append('held-1'));
		$waiter->query_until(qr/appending/,
			"\\echo appending\nBEGIN; $first SELECT * FROM " . append('held-1') . ";\n\\echo appended\n");
		wait_for_wait($node, $waiter_pid, 'Lock');
		$node->safe_psql('postgres', "SELECT $end($waiter_pid)");
		if ($end eq 'pg_cancel_backend')
		{
			$waiter->query_until(qr/appended/, '');
			is(session_sqlstate($waiter), '57014',
				"$kind that waits for the stream can be cancelled");
			$holder->query_safe('COMMIT');
			is(in_flight($node), '', 'nothing is in flight while it is still in its failed block');
			$waiter->query_safe('ROLLBACK');
			$waiter->quit;
		}
		else
		{
			wait_for($node, "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $waiter_pid",
				"$kind that waits for the stream can be terminated");
			$holder->query_safe('COMMIT');
			$waiter->{run}->finish;
		}
		nothing_left_ok('held-1', "after $end of $kind");
	}
}

# reliability 37, in part: the timeouts of the server
for my $case ([ 'lock_timeout', '55P03' ], [ 'statement_timeout', '57014' ])
{
	my ($setting, $sqlstate) = @$case;

	$holder->query_safe('BEGIN; SELECT * FROM ' . append('held-1'));
	sqlstate_is($node,
		"SET $setting = '50 ms'; SELECT * FROM " . append('held-1'),
		$sqlstate, "$setting ends an append that waits for the stream");
	$holder->query_safe('COMMIT');
	nothing_left_ok('held-1', "after $setting");
}
$holder->quit;

# ---- hot standby -----------------------------------------------------------

# reliability 24: readers on a standby, while replay stands still and goes on,
# and while cleaned-up rows make it cancel them
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->append_conf('postgresql.conf', "max_standby_streaming_delay = '20 ms'\n");
$standby->start;

my $background = q{
	SELECT string_agg(backend_type, ', ' ORDER BY backend_type)
	FROM pg_stat_activity WHERE backend_type LIKE 'event\_store%'};
is( $node->safe_psql('postgres', $background),
	'event_store launcher, event_store scheduler',
	'launcher and worker run on the primary');

{
	my $load = ESTest::Workload->new($node);
	my %there = (node => $standby, may_fail => ['40001']);
	$load->start_followers(
		{ name => 'primary_all', how => 'read_all' },
		{ name => 'primary_fixed', isolation => 'REPEATABLE READ' },
		{ name => 'primary_serializable', isolation => 'SERIALIZABLE', may_fail => ['40001'] },
		{ name => 'standby_all', how => 'read_all', %there },
		{ name => 'standby_fixed', isolation => 'REPEATABLE READ', %there },
		{ name => 'standby_late', how => 'late_statement', %there },
		{ name => 'standby_poll', how => 'poll', %there });
	$load->start_writers(count => 8, transactions => 250);

	while ($load->writing)
	{
		# these may be cancelled themselves, hence until they are not
		$standby->poll_query_until('postgres',
			'SELECT pg_wal_replay_pause() IS NOT NULL');
		$load->wait_for_progress(100);
		$standby->poll_query_until('postgres',
			'SELECT pg_wal_replay_resume() IS NOT NULL');
		$node->safe_psql('postgres', 'VACUUM shop.event_mark');
		$load->wait_for_progress(100);
	}
	$load->wait_for_writers;
	$load->finish($standby);
	$load->verify_ok('readers on primary and standby');
}

sqlstate_is($standby, 'SELECT * FROM ' . append('order-1'),
	'25006', 'a standby refuses to append');
is($standby->safe_psql('postgres', $background), '',
	'neither runs on a standby');
is( $standby->safe_psql('postgres', 'SELECT event_store.head()'),
	$node->safe_psql('postgres', 'SELECT event_store.head()'),
	'the head is the same on primary and standby');
my $standby_last = last_position($standby);
is( $standby->safe_psql('postgres', 'SELECT event_store.horizon()'),
	$standby->safe_psql('postgres', 'SELECT event_store.durable_mark() + 1'),
	'the horizon of a standby is its durable mark');

# Nothing may hang on a standby: a poll there waits, is woken by what replay
# brings, and can be cancelled.
my $reader = session($standby);
my $reader_pid = session_pid($reader);
$reader->query_until(qr/polling/,
	"\\echo polling\nSELECT position FROM event_store.poll($standby_last, 10, '1 hour');\n\\echo polled\n");
wait_for_wait($standby, $reader_pid, 'Extension');
$position = append_now('order-1');
is($reader->query_until(qr/polled/, ''), "$position\npolled\n",
	'a poll on a standby is answered');
$reader->quit;

# Promotion: the worker starts, and positions go on above what was there.
$node->stop;
$standby->promote;
$standby->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()');
ok( $standby->poll_query_until(
		'postgres', $background, 'event_store launcher, event_store scheduler'),
	'both run after the promotion');
my $after = $standby->safe_psql('postgres',
	'SELECT first_position FROM ' . append('order-1'));
cmp_ok($after, '>', $position, 'positions go on after the promotion');
wait_for($standby, "SELECT event_store.durable_mark() >= $after",
	'the durable mark moves after the promotion');

$standby->stop;
done_testing();
