# A tenant moves from one server to another while it is written: nothing that was
# acknowledged is missing, versions, positions, ids and tokens stay, and its other
# tables come along with pg_dump.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ESTest;
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;

my $old = new_node('old');
my $new = PostgreSQL::Test::Cluster->new('new');
$new->init;
$new->append_conf('postgresql.conf', "max_connections = 20\nshared_buffers = 32MB");
$new->start;
$new->safe_psql('postgres', 'CREATE EXTENSION event_store; CREATE ROLE acme_app');
my $dir = $old->basedir;

# Run what the manual says, as a client program.
sub run_ok
{
	my ($name, @command) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return command_ok(\@command, $name);
}

sub psql
{
	my ($node, @arguments) = @_;
	return ('psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'), @arguments);
}

sub query
{
	my ($node, $tenant, $sql, $type) = @_;
	return $node->safe_psql('postgres', "SELECT * FROM event_store.with_tenant('$tenant', \$q\$$sql\$q\$) AS (v $type)");
}

sub checksums
{
	my ($node, $position) = @_;
	return $node->safe_psql('postgres', "SELECT * FROM event_store.tenant_checksums('acme', $position) ORDER BY table_name");
}

$old->safe_psql(
	'postgres', q{
	CREATE ROLE acme_app LOGIN;
	SELECT event_store.create_tenant('acme', '{"plan": "gold"}');
	SELECT event_store.grant_tenant('acme', 'acme_app');
	SELECT event_store.create_tenant('other');
	SELECT event_store.tenant_use_session('acme');
	CREATE TABLE note (id bigint GENERATED ALWAYS AS IDENTITY, t text);
	SELECT event_store.append('first', jsonb_build_array(jsonb_build_object('type', 'E', 'data', n))) FROM generate_series(1, 200) n;
	INSERT INTO note (t) SELECT 'n' || n FROM generate_series(1, 10) n;
	GRANT ALL ON ALL TABLES IN SCHEMA acme TO acme_app});

# ---- the schema, without content -------------------------------------------

run_ok('the schema is dumped', 'pg_dump', '-s', '-n', 'acme', '-f', "$dir/schema.sql", '-d', $old->connstr('postgres'));
run_ok('and made', psql($new, '-f', "$dir/schema.sql"));

# ---- a first export, while clients write -----------------------------------

my $script = "$dir/write.sql";
append_to_file($script, q{\set n random(1, 20)
BEGIN;
SELECT event_store.tenant_use('acme');
SELECT event_store.append_event('s-' || :n, 'Written', to_jsonb(:client_id));
INSERT INTO note (t) VALUES ('written');
END;
});
my @pgbench = ('pgbench', '-n', '-f', $script, '-c', 4, '-j', 1, '-T', 120, $old->connstr('postgres'));
my ($bench_out, $bench_err) = ('', '');
my $bench = IPC::Run::start(\@pgbench, '<', \undef, '>', \$bench_out, '2>', \$bench_err);

wait_for($old, q{SELECT n > 300 FROM event_store.with_tenant('acme', 'SELECT event_store.head()') AS (n bigint)},
	'clients write');
run_ok('exported while they do', psql($old, '-c', "\\copy (SELECT event_store.export_tenant('acme')) TO '$dir/first'"));
run_ok('the lines arrive', psql($new, '-c', 'CREATE TABLE first (line text)', '-c', "\\copy first FROM '$dir/first'"));

# an import that a crash ends leaves no tenant
my $session = session($new);
$session->query_safe(q{BEGIN; SELECT event_store.import_tenant('acme', 'first')});
$new->stop('immediate');
$new->start;
$session->quit;
is($new->safe_psql('postgres', q{SELECT count(*) FROM event_store.tenants}), '0', 'a crash during the import leaves no tenant');

my ($events, $position, $complete) =
  split /\|/, $new->safe_psql('postgres', q{SELECT * FROM event_store.import_tenant('acme', 'first')});
cmp_ok($events, '>', 300, 'imported');
is($complete, 'f', 'it is not complete');
is(checksums($new, $position) =~ /^event_log\|(.*)$/m ? $1 : '', checksums($old, $position) =~ /^event_log\|(.*)$/m ? $1 : '-',
	'the events up to the position are the same on both');
my $token = query($new, 'acme', "SELECT event_store.token($position)", 'text');
is(query($new, 'acme', 'SELECT count(*) FROM event_store.read_all(max_count => 100000)', 'bigint'), $events, 'it can be read');
sqlstate_is($new, q{SELECT event_store.tenant_use('acme'), event_store.tenant_use_session('acme'); SELECT event_store.append_event('s-1', 'X')},
	'VE024', 'but not written');

# ---- it stops to be written, and the rest follows --------------------------

# one that has written and not committed yet
my $late = session($old);
$late->query_safe(q{BEGIN; SELECT event_store.tenant_use('acme'); SELECT event_store.append_event('first', 'Late')});
my $old_token = query($old, 'acme', 'SELECT event_store.token(event_store.horizon() - 1)', 'text');

$old->safe_psql('postgres', q{SELECT event_store.suspend_tenant('acme', reads => true, reason => 'it moves')});
$bench->finish;
my ($acknowledged) = $bench_out =~ /transactions actually processed: (\d+)/;
like($bench_err, qr/suspended/, 'clients are told');

my $waiting = IPC::Run::start([ psql($old, '-c', "\\copy (SELECT event_store.export_tenant('acme', $position)) TO '$dir/rest'") ],
	'>', \my $out, '2>', \my $err);
wait_for($old, q{SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%export_tenant%'},
	'the export waits for who still writes');
$late->query_safe('COMMIT');
ok($waiting->finish, 'and goes on after that') or diag $err;
$late->quit;

run_ok('other tables are dumped', 'pg_dump', '-a', '-n', 'acme', '-T', 'acme.event_*', '-f', "$dir/data.sql", '-d', $old->connstr('postgres'));
run_ok('and restored', psql($new, '-f', "$dir/data.sql"));
run_ok('the rest arrives', psql($new, '-c', 'CREATE TABLE rest (line text)', '-c', "\\copy rest FROM '$dir/rest'"));
my ($more, $end, $all) = split /\|/, $new->safe_psql('postgres', q{SELECT * FROM event_store.import_tenant('acme', 'rest')});
is($all, 't', 'now it is complete');

is($events + $more, 200 + $acknowledged + 1, "all of the $acknowledged transactions that were acknowledged have arrived, and the late one");
is(checksums($new, $end), checksums($old, $end), 'counts and checksums of all tables are the same');
is($new->safe_psql('postgres', q{SET search_path = acme; SELECT count(*) FROM note WHERE t = 'written'}), $acknowledged, 'so are its other tables');
is($new->safe_psql('postgres', 'SELECT name, state, attributes FROM event_store.tenants'), 'acme|active|{"plan": "gold"}', 'the tenant is active');

# ---- life goes on there ----------------------------------------------------

is(query($new, 'acme', "SELECT event_store.token_position('$token')", 'bigint'), $position, 'a token from between is good');
like(query($new, 'acme', "SELECT event_store.token_position('$old_token')", 'bigint'), qr/^\d+$/, 'and one that the old server gave');
my $versions = query($new, 'acme', q{SELECT event_store.stream_version('s-1')}, 'bigint');
is(query($new, 'acme', q{SELECT last_version FROM event_store.append_event('s-1', 'Here')}, 'bigint'), $versions + 1, 'versions go on');
cmp_ok(query($new, 'acme', 'SELECT event_store.head()', 'bigint'), '>', $end, 'positions go on above');
is($new->safe_psql('postgres', q{SET ROLE acme_app; SET search_path = acme;
	INSERT INTO note (t) VALUES ('new'); SELECT last_version > 0 FROM event_store.append_event('s-2', 'Here')}), 't', 'its role may use it');
is($new->safe_psql('postgres', q{SET event_store.guard = off; SELECT invariant, violations, example FROM event_store.verify_store('acme') WHERE violations > 0}),
	'', 'every invariant holds');
$new->safe_psql('postgres', 'ALTER DATABASE postgres SET event_store.guard = off');
wait_for($new, qq{SELECT position > $end FROM acme.event_mark}, 'the mark moves');
$new->safe_psql('postgres', 'ALTER DATABASE postgres RESET event_store.guard');
$new->restart;
is(query($new, 'acme', q{SELECT last_version FROM event_store.append_event('s-1', 'Again')}, 'bigint'), $versions + 2, 'after a restart too');

# the old one can be kept read-only, taken back, or dropped
$old->safe_psql('postgres', q{SELECT event_store.drop_tenant('acme', 'acme')});
is($old->safe_psql('postgres', q{SELECT count(*) FROM event_store.tenant_residue('acme')}), '0', 'the old server has nothing left');

$old->stop;
$new->stop;
done_testing();
