# Background tasks: where they run and where not, databases that come and go
# around them, standbys and promotion, how many workers there are and for whom.
#
# Schedules stand for all kinds of tasks.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ESTest;
use PostgreSQL::Test::Cluster;
use Test::More;
use Time::HiRes qw(usleep);

my $node = new_node(
	'main', init => { allows_streaming => 1 }, conf => q{
event_store.max_tasks = 40
autovacuum = off
event_store.max_workers = 3
max_worker_processes = 12
});

# a schedule that counts its runs in a table
sub schedule
{
	my ($database, $name, $timing) = @_;
	$timing //= '100 ms';
	$node->safe_psql(
		$database, qq{
		CREATE TABLE IF NOT EXISTS public.runs (name text, at timestamptz DEFAULT clock_timestamp(), pid int DEFAULT pg_backend_pid());
		SELECT event_store.schedule('$name', '$timing', 'INSERT INTO public.runs (name) VALUES (''$name'')', replace => true)});
	return;
}

# The task runs, from now on.
sub runs_ok
{
	my ($server, $database, $name, $what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $count = $server->safe_psql($database, "SELECT count(*) FROM public.runs WHERE name = '$name'");
	return wait_for($server, "SELECT count(*) > $count FROM public.runs WHERE name = '$name'", $what, $database);
}

sub processes
{
	my ($type, $database) = @_;
	return "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'event_store $type'"
	  . ($database ? " AND datname = '$database'" : '');
}

# ---- a database of its own, before it has a store ---------------------------

$node->safe_psql('postgres', 'CREATE DATABASE bare');
$node->safe_psql('bare', 'CREATE EXTENSION event_store');
is($node->safe_psql('postgres', processes('worker')), 0, 'no worker before there is work');
schedule('bare', 'a');
runs_ok($node, 'bare', 'a', 'a schedule in a database without a store runs');
$node->safe_psql('bare', q{SELECT event_store.unschedule('a')});

# registered in a transaction that was prepared: no callback tells of its commit
$node->append_conf('postgresql.conf', 'max_prepared_transactions = 5');
$node->restart;
$node->safe_psql('bare', q{BEGIN; SELECT event_store.schedule('p', '100 ms', 'INSERT INTO public.runs (name) VALUES (''p'')'); PREPARE TRANSACTION 'p'});
$node->safe_psql('bare', q{COMMIT PREPARED 'p'});
runs_ok($node, 'bare', 'p', 'a schedule of a prepared transaction runs');

# ---- the extension goes and comes -------------------------------------------

$node->safe_psql('bare', 'BEGIN; DROP EXTENSION event_store; ROLLBACK');
runs_ok($node, 'bare', 'p', 'after a DROP EXTENSION that was rolled back');
$node->safe_psql('bare', q{SELECT event_store.schedule('slow', '100 ms', 'SELECT pg_sleep(0.5)')});
wait_for($node, q{SELECT state = 'running' AND steps > 0 FROM event_store.tasks WHERE name = 'slow'}, 'a long step runs', 'bare');
$node->safe_psql('bare', q{SET statement_timeout = '30 s'; DROP EXTENSION event_store});
wait_for($node, "SELECT 0 = ALL (SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'event\\_store %er' AND backend_type <> 'event_store launcher' AND datname = 'bare' AND state = 'active')",
	'without the extension nothing runs');
wait_for($node, processes('scheduler', 'bare') =~ s/count\(\*\)/count(*) = 0/r, 'its scheduler has left');
$node->safe_psql('bare', 'CREATE EXTENSION event_store');
is($node->safe_psql('bare', 'SELECT count(*) FROM event_store.tasks'), 0, 'made again it has no tasks');
schedule('bare', 'b');
runs_ok($node, 'bare', 'b', 'and new ones run');

# ---- databases: tasks that take long do not stand in the way -----------------

# reliability 45, 46
$node->safe_psql('bare', q{SELECT event_store.schedule('slow' || n, '100 ms', 'SELECT pg_sleep(60)') FROM generate_series(1, 3) n});
wait_for($node, q{SELECT count(*) = 3 FROM event_store.tasks WHERE state = 'running' AND steps > 0}, 'three workers are busy', 'bare');
for my $command (
	'CREATE DATABASE other', 'DROP DATABASE other',
	'CREATE DATABASE copy TEMPLATE bare', 'ALTER DATABASE bare RENAME TO bald',
	'ALTER DATABASE bald RENAME TO bare')
{
	my ($ret, $out, $err) = $node->psql('postgres', "SET statement_timeout = '20 s'; $command");
	is($ret, 0, "$command beside busy workers") or diag $err;
}
is($node->safe_psql('bare', q{SELECT coalesce(sum(failures), 0) FROM event_store.tasks}), 0, 'to be sent away is no failure');
$node->safe_psql($_, q{SELECT event_store.unschedule('slow' || n) FROM generate_series(1, 3) n}) for 'bare', 'copy';
runs_ok($node, 'bare', 'b', 'the work goes on in the database');
runs_ok($node, 'copy', 'b', 'and in the copy');

# one that does not listen to a cancel is ended
$node->safe_psql('copy', q{SELECT event_store.schedule('deaf', '100 ms', $y$DO $x$BEGIN LOOP BEGIN PERFORM pg_sleep(60); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END$x$$y$)});
wait_for($node, q{SELECT state = 'running' AND steps > 0 FROM event_store.tasks WHERE name = 'deaf'}, 'a deaf task runs', 'copy');
my ($ret, $out, $err) = $node->psql('postgres', q{SET statement_timeout = '20 s'; DROP DATABASE copy});
is($ret, 0, 'DROP DATABASE beside a deaf task') or diag $err;

# ---- how many, and for whom ---------------------------------------------------

# more tasks that want to run all the time than workers, in two databases
$node->safe_psql('bare', q{SELECT event_store.schedule('busy' || n, '100 ms', 'SELECT pg_sleep(0.3)') FROM generate_series(1, 9) n});
wait_for($node, q{SELECT count(*) = 9 FROM event_store.schedules WHERE name LIKE 'busy%' AND runs > 1}, 'nine tasks share three workers', 'bare');
is($node->safe_psql('bare', q{SELECT count(*) FROM event_store.workers}), 3, 'which are all there may be');
schedule('postgres', 'mine');
runs_ok($node, 'postgres', 'mine', 'another database has its turn') for 1 .. 3;
cmp_ok($node->safe_psql('postgres', processes('worker')), '<=', 3, 'and there are no more than three');

# a tenant with many tasks does not keep out one with a single task
$node->safe_psql('postgres', q{
	SELECT event_store.unschedule('mine');
	SELECT event_store.create_tenant(t) FROM unnest('{big,small}'::text[]) t});
$node->safe_psql('bare', q{SELECT event_store.unschedule('busy' || n) FROM generate_series(1, 9) n});
$node->safe_psql('postgres', q{
	SELECT event_store.tenant_use_session('big');
	SELECT event_store.schedule('big' || n, '100 ms', 'SELECT pg_sleep(0.1)') FROM generate_series(1, 20) n});
wait_for($node, q{SELECT min(runs) > 0 FROM event_store.schedules WHERE schema = 'big'}, 'all tasks of the big tenant run');
$node->safe_psql('postgres', q{
	SELECT event_store.tenant_use_session('small');
	SELECT event_store.schedule('small', '100 ms', 'SELECT 1')});
wait_for($node, q{SELECT runs >= 10 FROM event_store.schedules WHERE schema = 'small'}, 'and that of the small one');
cmp_ok($node->safe_psql('postgres', q{SELECT s.runs > 1.5 * max(b.runs) FROM event_store.schedules s, event_store.schedules b
	WHERE s.schema = 'small' AND b.schema = 'big' AND b.runs > 0 GROUP BY s.runs}), 'eq', 't', 'which has its own share');

# there can be only so many registrations
sqlstate_is($node, q{SELECT event_store.schedule('many' || n, '1 day', 'SELECT 1') FROM generate_series(1, 1000000) n}, '53400',
	'a million registrations meet a limit');
is($node->safe_psql('postgres', q{SELECT count(*) FROM event_store.tasks WHERE name LIKE 'many%'}), 0, 'and leave nothing');
$node->safe_psql('postgres', q{SELECT event_store.drop_tenant(t, t) FROM unnest('{big,small}'::text[]) t});
is($node->safe_psql('postgres', q{SELECT count(*) FROM event_store.tasks}), 0, 'dropped tenants take their tasks with them');

# ---- nothing to do ---------------------------------------------------------------

$node->safe_psql('bare', q{SELECT event_store.unschedule('b')});
{
	$node->safe_psql('postgres', q{SELECT event_store.schedule('yearly', '@yearly', 'SELECT 1')});
	# one session, for each new one tidies the catalogues up a little when it looks at them
	my $session = session($node);
	my $looks = sub { $session->query_safe(q{SELECT xact_commit FROM pg_stat_database WHERE datname = 'bare'}) };
	my $wait = sub {
		my $until = $looks->() + 10;
		usleep(100_000) while $looks->() < $until;
	};
	# what was done before is tidied up now and then; who writes without cause does so in each of these times
	my ($written, $began);
	for (1 .. 4)
	{
		my $lsn = $session->query_safe('SELECT pg_current_wal_insert_lsn()');
		$began = time;
		$wait->();
		$written = $session->query_safe("SELECT pg_current_wal_insert_lsn() - '$lsn'");
		last if $written < 2000;
	}
	cmp_ok(time - $began, '>=', 3, 'an idle scheduler looks around about once a second');
	cmp_ok($written, '<', 2000, 'and writes nothing');
	$session->quit;
}

# ---- out of worker slots: said, and tried again -----------------------------------

{
	# a task that is due at the start could have the slot of the second scheduler
	$node->safe_psql('postgres', q{SELECT event_store.unschedule('yearly')});
	my $log = -s $node->logfile;
	$node->append_conf('postgresql.conf', 'max_worker_processes = 4');
	$node->append_conf('postgresql.conf', 'event_store.max_workers = 4');
	$node->restart;
	# launcher, the schedulers of two databases and the logical replication launcher
	wait_for($node, processes('scheduler') =~ s/count\(\*\)/count(*) = 2/r, 'the slots are taken');
	schedule('postgres', 'starved');
	$node->wait_for_log(qr/event_store has no free background worker for its tasks/, $log);
	is($node->safe_psql('postgres', q{SELECT state || ' for ' || waiting_for FROM event_store.tasks WHERE name = 'starved'}),
		'ready for a worker', 'the view says what it waits for');
	$node->safe_psql('postgres', 'DROP DATABASE bare');
	runs_ok($node, 'postgres', 'starved', 'it runs once there is a slot');
	$node->append_conf('postgresql.conf', 'max_worker_processes = 12');
	$node->restart;
}

# ---- standby and promotion -----------------------------------------------------------

$node->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'copy', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby);
is($standby->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'event\_store%'}), 0,
	'none of our processes runs on a standby');
is($standby->safe_psql('postgres', q{SELECT state, pid, steps FROM event_store.tasks WHERE name = 'starved'}), 'unknown||', 'its tasks can be seen');
sqlstate_is($standby, q{SELECT event_store.schedule('x', '1 s', 'SELECT 1')}, '25006', 'nothing can be scheduled there');
$node->stop;
$standby->promote;
runs_ok($standby, 'postgres', 'starved', 'after the promotion the work goes on there');
$standby->stop;

done_testing();
