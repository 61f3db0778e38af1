# Limits of tenants hold for all sessions together, whatever these do at once, and
# who has to wait stands in nobody's way; they outlive a dump and begin anew with
# the server.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ESTest;
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = new_node('main');
my $dir = $node->basedir;
$node->safe_psql('postgres', q{SELECT event_store.create_tenant('small'); SELECT event_store.create_tenant('other')});

# Let clients run a script until each has had so many transactions, through failures; what they did is seen in the tables.
sub clients
{
	my ($name, $count, $transactions, $script) = @_;
	my $file = "$dir/$name.sql";
	my ($out, $err);
	append_to_file($file, $script);
	IPC::Run::run([ 'pgbench', '-n', '-f', $file, '-c', $count, '-j', 2, '-t', $transactions, $node->connstr('postgres') ],
		'<', \undef, '>', \$out, '2>', \$err) or diag $err;
	return;
}

sub count_in
{
	my ($tenant, $what) = @_;
	return $node->safe_psql('postgres', "SELECT * FROM event_store.with_tenant('$tenant', 'SELECT count(*) FROM $what') AS (n bigint)");
}

# a refusal is caught, so that the client goes on
$node->safe_psql(
	'postgres', q{
	CREATE FUNCTION public.put(tenant text, stream text) RETURNS boolean LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM event_store.tenant_use(tenant);
		PERFORM event_store.append_event(stream, 'E');
		RETURN true;
	EXCEPTION WHEN configuration_limit_exceeded THEN
		RETURN false;
	END $$});

# ---- streams: never one too many, and none is lost -------------------------

$node->safe_psql('postgres', q{SELECT event_store.set_tenant_limit('small', 'streams', 100)});
# some of what they make is rolled back, to a savepoint and whole
clients('streams', 8, 60, q{\set n random(1, 1000000000)
BEGIN;
SELECT public.put('small', 'rolled-back-' || :n);
ROLLBACK;
BEGIN;
SAVEPOINT a;
SELECT public.put('small', 'rolled-back-' || :n);
ROLLBACK TO a;
SELECT public.put('small', 'n-' || :n);
SELECT public.put('small', 'm-' || :n);
COMMIT;
});
is(count_in('small', 'event_streams'), 100, '8 clients make as many streams as they may, and not one more');
is($node->safe_psql('postgres', q{SELECT used, refused > 0 FROM event_store.tenant_usage('small') WHERE what = 'streams'}), '100|t',
	'which is what the usage says');
is($node->safe_psql('postgres', q{SELECT public.put('other', 'n')}), 't', 'another tenant has no limit');
$node->restart;
is($node->safe_psql('postgres', q{SELECT public.put('small', 'one more')}), 'f', 'nor after a restart');
$node->stop('immediate');
$node->start;
is($node->safe_psql('postgres', q{SELECT public.put('small', 'one more')}), 'f', 'nor after a crash');
$node->safe_psql('postgres', q{SELECT event_store.clear_tenant_limit('small')});

# ---- rates: all sessions together get what one would -----------------------

$node->safe_psql('postgres', q{SELECT event_store.set_tenant_limit('small', 'events_per_second', 50, burst => 20)});
my $before = count_in('small', 'event_log');
my $start = time;
clients('rates', 8, 200, q{SELECT public.put('small', 'client-' || :client_id);
});
my $took = time - $start;
my $passed = count_in('small', 'event_log') - $before;
cmp_ok($passed, '>=', 20, 'at least the burst passes');
cmp_ok($passed, '<=', 20 + 50 * $took + 1, "no more than burst and rate: $passed of 1600 in $took s");
is($node->safe_psql('postgres', q{SELECT refused FROM event_store.tenant_usage('small') WHERE what = 'events_per_second'}),
	1600 - $passed, 'every refusal is counted');

# ---- who has to wait holds nothing; tenancy 1.5.5, without a clock ---------

$node->safe_psql('postgres', q{
	SELECT event_store.clear_tenant_limit('small');
	SELECT event_store.set_tenant_limit('small', 'appends_per_second', 1, burst => 1, action => 'delay', max_delay => '1 h')});
my $session = session($node);
my $pid = session_pid($session);
$session->query_safe(q{SELECT event_store.tenant_use_session('small')});
$session->query_until(qr/begins/, q{\echo begins
SELECT event_store.append_event('busy', 'E') FROM generate_series(1, 1000);
});
wait_for_wait($node, $pid, 'Extension');
# what the first append of the statement has taken is not that of a waiting one, so look at a session that has taken none
my $waiter = session($node);
my $waiter_pid = session_pid($waiter);
$waiter->query_safe(q{SELECT event_store.tenant_use_session('small')});
$waiter->query_until(qr/begins/, q{\echo begins
SELECT event_store.append_event('waiting', 'E');
});
wait_for_wait($node, $waiter_pid, 'Extension');
is($node->safe_psql('postgres', qq{SELECT count(*) FROM pg_locks l WHERE pid = $waiter_pid AND
	(locktype = 'userlock' OR mode <> 'AccessShareLock' AND locktype = 'relation' OR locktype = 'transactionid')}),
	'0', 'a session that waits for its turn has no lock on a table or a stream, and no transaction id');
is($node->safe_psql('postgres', qq{SELECT count(*) FROM event_store.in_flight() WHERE pid = $waiter_pid}), '0', 'and holds up no reader');
is($node->safe_psql('postgres', q{SELECT public.put('other', 'waiting')}), 't', 'another tenant goes on meanwhile');
is($node->safe_psql('postgres', qq{SELECT pg_cancel_backend($pid), pg_cancel_backend($waiter_pid)}), 't|t', 'both can be cancelled');
is($waiter->query('SELECT 1') =~ /1/ ? 1 : 0, 1, 'and are there again');
$_->quit for $session, $waiter;

# ---- dump and restore ------------------------------------------------------

command_ok([ 'pg_dump', '-Fc', '-f', "$dir/dump", '-d', $node->connstr('postgres') ], 'dumped');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
command_ok([ 'pg_restore', '-e', '-d', $node->connstr('restored'), "$dir/dump" ], 'restored');
is($node->safe_psql('restored', 'SELECT * FROM event_store.tenant_limits'), 'small|appends_per_second|1|1|delay|01:00:00',
	'a limit is restored with its tenant');

$node->stop;
done_testing();
