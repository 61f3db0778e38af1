# Rollouts: killed in the middle they go on where they were; two sessions share
# one; a tenant whose locks cannot be had is tried again; dump and restore keep
# what each tenant has.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ESTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $tenants = 60;
my $node = new_node('main');

sub register
{
	my ($version, $up) = @_;
	return $node->safe_psql('postgres', "SELECT event_store.register_migration($version, 'step $version', \$\$$up\$\$)");
}

sub start_rollout
{
	my ($arguments) = @_;
	return $node->safe_psql('postgres', "SELECT event_store.start_rollout($arguments)");
}

# Runs a rollout to its end: its state, and how many are done, failed, pending.
sub run_rollout
{
	my ($rollout) = @_;
	return $node->safe_psql('postgres', "CALL event_store.run_rollout($rollout)");
}

# A CALL in a process of its own, whose fate is not ours.
sub start_runner
{
	my ($rollout) = @_;
	my ($in, $out) = ('', '');
	return IPC::Run::start(
		[ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', "CALL event_store.run_rollout($rollout)" ],
		'<', \$in, '>', \$out, '2>&1');
}

# A session that keeps migrations with a gate from getting through.
sub close_gate
{
	my $gate = session($node);
	$gate->query_safe('SELECT pg_advisory_lock(7)');
	return $gate;
}

sub wait_at_gate
{
	my ($name) = @_;
	return wait_for($node, q{SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)}, $name);
}

# How many tenants have how many rows of a migration.
sub times_applied
{
	my ($version) = @_;
	return $node->safe_psql('postgres', qq{
		SELECT n, count(*)
		FROM event_store.tenants t, LATERAL event_store.with_tenant(t.name, 'SELECT count(*) FROM note WHERE version = $version') AS (n bigint)
		GROUP BY n ORDER BY n});
}

my $gate_sql = q{SELECT pg_advisory_xact_lock(7) WHERE event_store.current_tenant() = 't030'};

register(1, 'CREATE TABLE note (version int)');
$node->safe_psql('postgres', join '', map { sprintf "SELECT event_store.create_tenant('t%03d');\n", $_ } 1 .. $tenants);

# ---- killed in the middle: tenancy 1.5.4 -----------------------------------

register(2, "INSERT INTO note VALUES (2); $gate_sql");
my $rollout = start_rollout(q{lock_timeout => '0'});
my $gate = close_gate();
my $runner = start_runner($rollout);
wait_at_gate('the rollout has come to the gate');
$node->stop('immediate');
start_after_crash($node);
$runner->finish;
$gate->quit;
is($node->safe_psql('postgres', "SELECT state, done, failed, pending FROM event_store.rollouts"),
	'running|29|0|31', 'after a crash the rollout is where it was');
is(times_applied(2), "0|31\n1|29", 'and so are the tenants');
is(run_rollout($rollout), 'finished|60|0|0', 'it goes on to its end');
is(times_applied(2), '1|60', 'every tenant has got the migration once');

# ---- two sessions, one rollout: systems 3.3.11 -----------------------------

register(3, "INSERT INTO note VALUES (3); $gate_sql");
$rollout = start_rollout(q{lock_timeout => '0'});
$gate = close_gate();
$runner = start_runner($rollout);
wait_at_gate('one session has come to the gate');
is(run_rollout($rollout), 'running|59|0|1', 'another does all that is left meanwhile');
$gate->query_safe('SELECT pg_advisory_unlock(7)');
$runner->finish;
$gate->quit;
is(run_rollout($rollout), 'finished|60|0|0', 'and the first one its own');
is(times_applied(3), '1|60', 'no tenant was migrated twice');

# ---- who is busy comes again -----------------------------------------------

register(4, 'ALTER TABLE note ADD COLUMN more int; INSERT INTO note VALUES (4)');
my $reader = session($node);
$reader->query_safe(q{BEGIN; SELECT event_store.tenant_use('t005'); SELECT count(*) FROM note});
$rollout = start_rollout(q{max_attempts => 2, lock_timeout => '20 ms'});
is(run_rollout($rollout), 'stopped|59|1|0', 'a tenant that is being read holds up nobody but itself');
is($node->safe_psql('postgres', "SELECT tenant, attempts, problem -> 'retryable', problem -> 'migration' FROM event_store.rollout_tenant WHERE state = 'failed'"),
	't005|2|true|4', 'it was tried again, and has a problem');
is(times_applied(4), "0|1\n1|59", 'nothing of it is done');
$reader->query_safe('COMMIT');
$reader->quit;
$node->safe_psql('postgres', "SELECT event_store.resume_rollout($rollout, retry => true)");
is(run_rollout($rollout), 'finished|60|0|0', 'a retry does it');
is(times_applied(4), '1|60', 'and nobody else again');

# ---- dump and restore: systems 3.3.15 --------------------------------------

$node->safe_psql('postgres', q{
	SELECT event_store.add_tenant_domain('t001', 'www.one.example');
	SELECT event_store.drop_tenant('t002', 't002', keep => '1 day');
	CALL event_store.fill_tenant_pool(1)});
register(5, 'INSERT INTO note VALUES (5)');
my $everything = q{
	SELECT * FROM event_store.tenant_versions ORDER BY 1;
	SELECT event_store.tenant_for_host('one.example');
	SELECT name, state, purge_after FROM event_store.tenants ORDER BY 1;
	SELECT version, checksum, registered_by FROM event_store.tenant_migration ORDER BY 1;
	SELECT rollout, state, done FROM event_store.rollouts ORDER BY 1;
	SELECT count(*) FROM event_store.tenant_pool};
my $before = $node->safe_psql('postgres', $everything);
my $file = $node->basedir . '/dump';
command_ok([ 'pg_dump', '-Fc', '-f', $file, '-d', $node->connstr('postgres') ], 'dumped');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
command_ok([ 'pg_restore', '-e', '-d', $node->connstr('restored'), $file ], 'restored');
is($node->safe_psql('restored', $everything), $before, 'tenants have the migrations and hosts that they had');
is($node->safe_psql('restored', q{
		SELECT event_store.restore_tenant('t002');
		SELECT count(*) FILTER (WHERE applied = '{5}') FROM event_store.migrate_tenants();
		SELECT event_store.create_tenant('new');
		SELECT count(*) FROM event_store.tenant_drift;
		SELECT count(*) FROM event_store.tenant_pool}),
	"\n60\n\n0\n0", 'and go on from there');

$node->stop;
done_testing();
