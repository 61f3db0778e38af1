# What administrators do to tables, databases and the extension while events are
# appended and read: nothing is lost, nothing comes out of order, and nothing of
# this extension stands in the way.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ESTest;
use Test::More;

my $node = new_node('main');

sub worker_in_ok
{
	my ($database) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return wait_for($node,
		"SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'event_store scheduler' AND datname = '$database'",
		"one worker runs in $database");
}

# ---- tables rewritten, indexes rebuilt, rows frozen ------------------------

# reliability 50
{
	my $load = ESTest::Workload->new($node);
	$load->start_followers(
		{ name => 'pager', how => 'read_all' },
		{ name => 'poller', how => 'poll' },
		{ name => 'fixed', how => 'read_all', isolation => 'REPEATABLE READ' });
	$load->start_writers(count => 4);
	for my $command (
		'VACUUM FULL shop.event_log',
		'REINDEX SCHEMA CONCURRENTLY shop',
		'VACUUM FREEZE',
		'CLUSTER shop.event_log USING event_log_position_key',
		'VACUUM FULL shop.event_streams',
		'REINDEX TABLE shop.event_log',
		'VACUUM FULL shop.event_mark',
		'VACUUM FULL',
		'ANALYZE')
	{
		$load->wait_for_progress(50);
		my ($ret, $out, $err) = $node->psql('postgres', $command);
		is($ret, 0, "$command beside writers and readers") or diag $err;
	}
	$load->wait_for_progress(50);
	$load->stop_writers;
	$load->finish;
	$load->verify_ok('maintenance beside writers and readers');
}

# ---- the extension goes, with work to do -----------------------------------

# reliability 44: dropped while the worker is busy, with CASCADE, rolled back
{
	my $session = session($node);
	$session->query_safe('SET client_min_messages = warning');
	my $pid = $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'event_store scheduler'});

	for my $end ('ROLLBACK', 'COMMIT')
	{
		$session->query_safe(q{SELECT count(event_store.append_event('busy-' || n % 50, 'A')) FROM generate_series(1, 2000) n});
		$session->query_safe(
			"BEGIN; CREATE TABLE dependent (expected event_store.expected_version); SET LOCAL statement_timeout = '30 s'; DROP EXTENSION event_store CASCADE; $end");
		worker_in_ok('postgres') if $end eq 'ROLLBACK';
		is($node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE pid = $pid"), 1,
			'after a rollback it is the same worker')
		  if $end eq 'ROLLBACK';
	}
	wait_for($node, q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'event_store scheduler'},
		'after the commit the worker leaves');
	is($node->safe_psql('postgres', q{SELECT count(*) FROM event_log JOIN event_streams USING (stream_id) WHERE category = 'busy'}),
		4000, 'the events stay');
	$session->query_safe('CREATE EXTENSION event_store');
	$session->query_safe(q{SELECT event_store.append_event('busy-1', 'A')});
	worker_in_ok('postgres');
	is($session->query_safe(q{SELECT sum(violations) FROM event_store.verify_store()}), 0, 'and with the extension the store is sound');
	$session->quit;
}

# ---- databases, with work to do --------------------------------------------

# reliability 45 (more of it in 021_restart.pl): the commands do not wait for the worker of a database in use
$node->safe_psql('postgres', 'CREATE ROLE owner LOGIN; CREATE DATABASE mine OWNER owner');
create_store($node, 'mine');
my $fill = q{SELECT count(event_store.append_event('order-' || n % 50, 'A')) FROM generate_series(1, 1000) n};
$node->safe_psql('mine', $fill);
worker_in_ok('mine');
for my $command (
	'CREATE DATABASE copy TEMPLATE mine',
	'ALTER DATABASE mine RENAME TO ours',
	'ALTER DATABASE ours RENAME TO mine',
	'DROP DATABASE copy')
{
	my $database = $command =~ /ours/ && $command !~ /TO ours/ ? 'ours' : 'mine';
	$node->safe_psql($database, $fill);
	my ($ret, $out, $err) = $node->psql('postgres', "SET statement_timeout = '30 s'; $command");
	is($ret, 0, $command) or diag $err;
}
worker_in_ok('mine');
is($node->safe_psql('mine', 'SELECT sum(violations) FROM event_store.verify_store()'), 0, 'the store is sound');

# reliability 46: an owner who is no superuser
$node->safe_psql('mine', $fill);
my ($ret, $out, $err) = $node->psql('postgres', "SET ROLE owner; SET statement_timeout = '30 s'; DROP DATABASE mine WITH (FORCE)");
is($ret, 0, 'DROP DATABASE WITH (FORCE) by the owner') or diag $err;
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_database WHERE datname = 'mine'}), 0, 'the database has gone');

$node->stop;
done_testing();
