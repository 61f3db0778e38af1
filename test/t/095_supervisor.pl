# Supervisors whose children's processes are killed, do not listen, find no
# worker, or are in the way of DROP DATABASE (systems 4.3.2 to 4.3.5).

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ESTest;
use Test::More;
use Time::HiRes qw(time);

my $node = new_node('main', conf => "max_worker_processes = 8\nrestart_after_crash = on\n");
my $functions = q{
	CREATE TABLE public.ticks (n serial, child text, pid int);
	CREATE FUNCTION public.tick(args jsonb) RETURNS interval LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO public.ticks (child, pid) VALUES (args ->> 'child', pg_backend_pid());
		PERFORM pg_sleep(coalesce((args ->> 'sleep')::float8, 0));
		IF args ? 'kill' AND (SELECT count(*) FROM public.ticks WHERE child = args ->> 'child' AND pid = pg_backend_pid()) > 1 THEN
			PERFORM pg_terminate_backend(pg_backend_pid());
			PERFORM pg_sleep(60);
		END IF;
		RETURN '10 ms';
	END $$;
	SELECT event_store.supervisor_create('main', max_restarts => 5, max_seconds => 600)};
$node->safe_psql('postgres', $functions);

sub start_child
{
	my ($name, %options) = @_;
	my $options = join ', ', map { "$_ => '$options{$_}'" } grep { $_ ne 'args' } sort keys %options;
	return $node->safe_psql('postgres',
		sprintf q{SELECT event_store.supervisor_start_child('main', 'public.tick(jsonb)', '{"child": "%s"%s}', name => '%s'%s)},
		$name, $options{args} // '', $name, $options ne '' ? ", $options" : '');
}

sub pid_of
{
	my ($name) = @_;
	return $node->safe_psql('postgres', "SELECT pid FROM event_store.supervisor_children WHERE name = '$name'");
}

# ---- a process that is ended comes back -------------------------------------

start_child('lasting');
start_child('brief', restart => 'temporary');
my $before = pid_of('lasting');
is($node->safe_psql('postgres', "SELECT usename IS NOT NULL AND backend_type = 'event_store child' FROM pg_stat_activity WHERE pid = $before"), 't', 'a child is a process');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($before), pg_terminate_backend(" . pid_of('brief') . ')');
wait_for($node, "SELECT count(*) > 0 FROM public.ticks WHERE child = 'lasting' AND pid <> $before", 'a permanent child whose process was ended is called again');
wait_for($node, "SELECT count(*) = 0 FROM event_store.supervisor_children WHERE name = 'brief'", 'a temporary one is not');
is($node->safe_psql('postgres', "SELECT restarts FROM event_store.supervisor_children WHERE name = 'lasting'"), 1, 'and the restart is counted');

# ---- one that ends its own process again and again ---------------------------

start_child('suicidal', args => ', "kill": true');
wait_for($node, q{SELECT state = 'failed' FROM event_store.supervisors}, 'a child that ends its own process fails its supervisor');
wait_for($node, 'SELECT count(*) = 0 FROM event_store.supervisor_children', 'whose children are ended');
is($node->safe_psql('postgres', q{SELECT problem ->> 'status' FROM event_store.supervisors}), 503, 'with a problem');
$node->safe_psql('postgres', q{SELECT event_store.supervisor_restart('main')});

# ---- one that does not listen -------------------------------------------------

my $deaf = start_child('deaf', shutdown => '200 ms', start_timeout => '3 min');
$node->safe_psql('postgres', q{SELECT event_store.supervisor_terminate_child(id) FROM event_store.supervisor_children WHERE name = 'deaf'});
is($node->safe_psql('postgres', 'SELECT count(*) FROM event_store.supervisor_children'), 0, 'a child that listens ends at once');
$node->safe_psql('postgres', q{
	CREATE FUNCTION public.slow(args jsonb) RETURNS interval LANGUAGE plpgsql AS $$
	BEGIN
		IF EXISTS (SELECT FROM public.ticks WHERE child = 'slow') THEN
			PERFORM pg_sleep(3600);
		END IF;
		INSERT INTO public.ticks (child) VALUES ('slow');
		RETURN '0';
	END $$});
my $slow = $node->safe_psql('postgres', q{SELECT event_store.supervisor_start_child('main', 'public.slow(jsonb)', shutdown => '100 ms')});
wait_for($node, q{SELECT count(*) = 1 FROM event_store.supervisor_children WHERE state = 'running'}, 'a call that takes an hour runs');
is($node->safe_psql('postgres', "SELECT event_store.supervisor_terminate_child('$slow')"), 't', 'its child is ended all the same');
is($node->safe_psql('postgres', 'SELECT count(*) FROM event_store.supervisor_children'), 0, 'and gone');

# ---- no worker left (systems 4.3.3) --------------------------------------------

my $started = 0;
for my $i (1 .. 8)
{
	my ($ret, $out, $err) = $node->psql('postgres', qq{\\set VERBOSITY sqlstate\nSELECT event_store.supervisor_start_child('main', 'public.tick(jsonb)', '{"child": "$i"}', name => '$i')}, on_error_stop => 1);
	if ($ret != 0)
	{
		like($err, qr/53400/, 'when there is no worker left, that is said');
		last;
	}
	$started++;
}
cmp_ok($started, '>', 2, 'some children have one');
is($node->safe_psql('postgres', 'SELECT count(*) FROM event_store.supervisor_children'), $started, 'and no other is left behind');
start_child('queued', queue => 'true');
is($node->safe_psql('postgres', q{SELECT state FROM event_store.supervisor_children WHERE name = 'queued'}), 'queued', 'one may wait in a queue');
$node->safe_psql('postgres', q{SELECT event_store.supervisor_terminate_child(id) FROM event_store.supervisor_children WHERE name = '1'});
wait_for($node, q{SELECT count(*) > 0 FROM public.ticks WHERE child = 'queued'}, 'and gets the worker of the one that ends');
$node->safe_psql('postgres', q{SELECT event_store.supervisor_stop('main'), event_store.supervisor_restart('main')});

# ---- DROP DATABASE, and another's template --------------------------------------

$node->safe_psql('postgres', 'CREATE DATABASE doomed');
create_store($node, 'doomed');
$node->safe_psql('doomed', $functions);
$node->safe_psql('doomed', q{SELECT event_store.supervisor_start_child('main', 'public.tick(jsonb)', '{"child": "a"}')});
my $start = time();
$node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE doomed');
wait_for($node, 'SELECT count(*) = 1 FROM event_store.supervisor_children WHERE pid IS NOT NULL', 'a child that has made way for a copy comes back', 'doomed');
is($node->safe_psql('doomed', 'SELECT restarts FROM event_store.supervisor_children'), 0, 'without a restart counted');
$node->safe_psql('postgres', 'DROP DATABASE doomed');
pass('a database with a child can be dropped');
cmp_ok(time() - $start, '<', $PostgreSQL::Test::Utils::timeout_default, 'without waiting for it');

# ---- the session that starts one is ended ---------------------------------------

my $session = session($node);
my $pid = session_pid($session);
$session->query_safe(q{BEGIN; SELECT event_store.supervisor_start_child('main', 'public.tick(jsonb)', '{"child": "orphan"}', name => 'orphan')});
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid, 180000)");
wait_for($node, q{SELECT count(*) = 0 FROM event_store.supervisor_children WHERE name = 'orphan'}, 'a child whose transaction never commits ends');
eval { $session->quit };

# ---- nobody is there to restart it: the scheduler is ended at the same time -------

start_child('left alone');
$before = pid_of('left alone');
$node->safe_psql('postgres', q{
	SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
	WHERE datname = current_database() AND backend_type IN ('event_store scheduler', 'event_store child')});
wait_for($node, "SELECT count(*) > 0 FROM public.ticks WHERE child = 'left alone' AND pid <> $before", 'the next scheduler restarts what has died before it came');
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'event_store child'}),
	$node->safe_psql('postgres', 'SELECT count(*) FROM event_store.supervisor_children'), 'one process a child');
$node->safe_psql('postgres', q{SELECT event_store.supervisor_stop('main'), event_store.supervisor_restart('main')});

# ---- a table that is locked when a supervisor fails ------------------------------

$session = session($node);
$session->query_safe('BEGIN; LOCK TABLE event_store.supervisor_definitions IN SHARE ROW EXCLUSIVE MODE');
$node->safe_psql('postgres', q{
	CREATE FUNCTION public.fail_later(args jsonb) RETURNS interval LANGUAGE plpgsql AS $$
	BEGIN
		IF EXISTS (SELECT FROM public.ticks WHERE child = 'failing') THEN
			RAISE 'no more';
		END IF;
		INSERT INTO public.ticks (child) VALUES ('failing');
		RETURN '0';
	END $$});
$session->query_safe(q{SELECT event_store.supervisor_start_child('main', 'public.fail_later(jsonb)')});
wait_for($node, 'SELECT count(*) = 0 FROM event_store.supervisor_children', 'a supervisor fails while its row cannot be written');
$session->query(q{SAVEPOINT s; SELECT event_store.supervisor_start_child('main', 'public.tick(jsonb)', '{"child": "late"}')});
is(session_sqlstate($session), '55000', 'it takes no child from then on');
$session->query_safe('ROLLBACK');
wait_for($node, q{SELECT state = 'failed' AND problem ->> 'status' = '503' FROM event_store.supervisors}, 'and the row is written as soon as that is possible');
$session->quit;
$node->safe_psql('postgres', q{SELECT event_store.supervisor_restart('main')});

# ---- a crash ----------------------------------------------------------------------

start_child('victim');
kill 'KILL', pid_of('victim');
$node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM event_store.supervisor_children');
is($node->safe_psql('postgres', q{SELECT state FROM event_store.supervisors}), 'running', 'after a crash the supervisor is there');
start_child('next');
is($node->safe_psql('postgres', 'SELECT count(*) FROM event_store.supervisor_children'), 1, 'and takes children');

# ---- DROP EXTENSION ------------------------------------------------------------

$node->safe_psql('postgres', 'DROP EXTENSION event_store');
wait_for($node, q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'event_store child'}, 'without the extension no child goes on');

$node->stop;
done_testing();
