# The life of a database with event stores: restarts of the server, DROP and
# CREATE EXTENSION, and the commands on whole databases that a connected
# background worker must not stand in the way of.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ESTest;
use Test::More;

# The log tells when a background worker is started.
my $node = new_node('main', conf => "log_min_messages = debug1\n");

sub append_now
{
	my ($stream, $database) = @_;
	return $node->safe_psql($database // 'postgres',
		'SELECT first_position FROM ' . append($stream));
}

sub mark_moves_ok
{
	my ($name, $database) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $position = append_now('mark-1', $database);
	return wait_for($node, "SELECT event_store.durable_mark() >= $position",
		"the durable mark moves $name", $database);
}

sub worker_in_ok
{
	my ($database) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return wait_for(
		$node,
		"SELECT count(*) = 1 FROM pg_stat_activity
			WHERE backend_type = 'event_store scheduler' AND datname = '$database'",
		"one worker runs in $database");
}

# ---- restarts --------------------------------------------------------------

my $last = 0;
for my $mode ('fast', 'immediate', 'smart')
{
	append_now('order-1') for 1 .. 3;
	$last = last_position($node);
	my $read = positions($node, 0);
	$node->stop($mode);
	$node->start;
	is(positions($node, 0), $read, "$mode stop: the same is read after it");
	is($node->safe_psql('postgres', 'SELECT event_store.head()'),
		$last, "$mode stop: the head is the same");
	my $next = append_now('order-1');
	cmp_ok($next, '>', $last, "$mode stop: positions go on above");
	is(positions($node, $last), $next, "$mode stop: what follows is read");
	mark_moves_ok("after a $mode stop");
}
is( $node->safe_psql('postgres',
		q{SELECT count(*), max(version) FROM event_store.read_stream('order-1', max_count => NULL)}),
	'12|12', 'versions go on without a gap');

# A backend that is left over or a worker that does not listen would keep the
# server from stopping.
{
	my $load = ESTest::Workload->new($node);
	$load->start_followers(
		{ name => 'poller', how => 'poll' },
		{ name => 'pager', how => 'read_all' });
	$load->start_writers(count => 4);
	for (1 .. 3)
	{
		$load->wait_for_progress(100);
		$node->stop('fast');
		ok(1, 'a fast stop under load ends');
		$node->start;
	}
	$load->wait_for_progress(100);
	$load->stop_writers;
	$load->finish;
	$load->verify_ok('fast stops under load');
}

# ---- the extension is dropped and created again ----------------------------

# reliability 44 (under load in 025_maintenance.pl)

my $session = session($node);
$last = last_position($node);
my $count = $session->query_safe('SELECT count(*) FROM event_log');
$session->query_safe('SELECT * FROM ' . append('order-1'));
$session->query_safe('BEGIN; DROP EXTENSION event_store; ROLLBACK');
worker_in_ok('postgres');
mark_moves_ok('after a DROP EXTENSION that was rolled back');
$session->query_safe('SELECT * FROM ' . append('order-1'));
$count += 3;

$session->query_safe('DROP EXTENSION event_store');
is($session->query_safe('SELECT count(*) FROM event_log'),
	$count, 'without the extension plain SQL still reads every event');
is( $session->query_safe(
		q{SELECT count(*) FROM event_log JOIN event_streams USING (stream_id)
			WHERE stream_name = 'order-1' AND data = '{}'}),
	14, 'with the names of their streams');
$session->query('SELECT * FROM ' . append('order-1'));
isnt(session_sqlstate($session), '', 'nothing can be appended without the extension');
wait_for($node,
	q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'event_store scheduler'},
	'the worker leaves');

# The store is found again and counts on, in a session that knew it before too.
$last = last_position($node);
$session->query_safe('CREATE EXTENSION event_store');
is($session->query_safe('SELECT schema FROM event_store.stores'),
	'shop', 'CREATE EXTENSION finds the store again');
is( $session->query_safe('SELECT first_version FROM ' . append('order-1')),
	15, 'the same session goes on with the next version');
is(append_now('order-1'), $last + 2, 'and another one with the next position');
is(positions($node, $last), join(',', $last + 1, $last + 2), 'both are read');
worker_in_ok('postgres');
mark_moves_ok('after CREATE EXTENSION');
$session->query_safe(
	q{BEGIN; DROP EXTENSION event_store; CREATE EXTENSION event_store; SELECT * FROM }
	  . append('order-1') . '; COMMIT');
mark_moves_ok('after both in one transaction');

# A store that is made anew under the name of a dropped one begins anew.
$session->query_safe(
	q{SELECT event_store.create_store('brief'); SET search_path = brief});
is($session->query_safe('SELECT last_position FROM ' . append('a-1', count => 3)),
	3, 'a store');
$session->query_safe(q{SELECT event_store.drop_store('brief', 'brief')});
$session->query_safe(q{SELECT event_store.create_store('brief')});
is( $session->query_safe('SELECT first_version, first_position FROM ' . append('a-1')),
	'1|1', 'dropped and made again begins at 1');
$session->quit;

# ---- databases -------------------------------------------------------------

sub create_database
{
	my ($database) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $database");
	create_store($node, $database);
	append_now('order-1', $database) for 1 .. 5;
	worker_in_ok($database);
	return;
}

create_database('one');
create_database('two');

# The extension, a store and its first event in one transaction, during which
# a worker has looked in and seen nothing of it yet.
$node->safe_psql('postgres', 'CREATE DATABASE three');
my $log_end = -s $node->logfile;
$session = session($node, 'three');
$session->query_safe(
	q{BEGIN;
	CREATE EXTENSION event_store;
	SELECT event_store.create_store('shop');
	SET LOCAL search_path = shop;
	SELECT * FROM } . append('order-1'));
$node->wait_for_log(qr/starting background worker process "event_store scheduler"/, $log_end);
wait_for($node,
	q{SELECT count(*) = 0 FROM pg_stat_activity
		WHERE backend_type = 'event_store scheduler' AND datname = 'three'},
	'a worker has looked for the extension in vain');
$session->query_safe(q{COMMIT; ALTER DATABASE three SET search_path = shop});
$session->quit;
worker_in_ok('three');
mark_moves_ok('of a store made in one transaction with its first event', 'three');

# reliability 45: the worker's own database, and another one, whose DROP needs every process
# of the server to answer.
$node->safe_psql('postgres', 'CREATE DATABASE bystander');
$node->safe_psql('postgres', 'DROP DATABASE bystander');
$node->safe_psql('postgres', 'DROP DATABASE one');
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_database WHERE datname = 'one'}),
	0, 'a database with a worker can be dropped');
worker_in_ok('two');

# A copy has the events of its template, and goes its own way.
$node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE two');
$node->safe_psql('postgres', q{ALTER DATABASE copy SET search_path = shop});
is(positions($node, 0, 'copy'), positions($node, 0, 'two'),
	'a copy of a database has the same events');
cmp_ok(append_now('order-1', 'copy'), '>', 5,
	'it counts on by itself');
is( $node->safe_psql('two', q{SELECT event_store.stream_version('order-1')}),
	5, 'the template is untouched');
mark_moves_ok('in the copy', 'copy');
mark_moves_ok('in the template', 'two');

$node->safe_psql('postgres', 'ALTER DATABASE two RENAME TO renamed');
worker_in_ok('renamed');
mark_moves_ok('in a renamed database', 'renamed');

# In a transaction block that fails, the database keeps its worker.
sqlstate_is($node, 'BEGIN; DROP DATABASE copy', '25001',
	'DROP DATABASE does not run in a transaction block');
worker_in_ok('copy');

# Databases come and go while the launcher looks at them.
for my $n (1 .. 20)
{
	$node->safe_psql('postgres', "CREATE DATABASE d$n TEMPLATE template1");
	$node->safe_psql('postgres', "DROP DATABASE d$n");
}
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_database WHERE datname ~ '^d\d'}),
	0, 'databases were made from template1 and dropped');

# What is terminated is started again.
$node->safe_psql('postgres',
	q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type LIKE 'event\_store%'});
worker_in_ok($_) for 'postgres', 'copy', 'renamed', 'three';
mark_moves_ok('after the workers and the launcher were terminated');

$node->stop;
done_testing();
