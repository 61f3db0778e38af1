# PgBouncer in transaction mode: many clients of different tenants on few server
# connections; no answer comes from another tenant.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ESTest;
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;

my ($pgbouncer) = grep { -x } map { "$_/pgbouncer" } split(/:/, $ENV{PATH}), '/usr/sbin', '/usr/local/sbin';
plan skip_all => 'pgbouncer is not installed' if !defined $pgbouncer;

my $clients = 20;
my $tenants = 10;
my $calls = $ENV{ES_SOAK} ? 5000 : 500;    # of each client

my $node = new_node('main');
my $dir = PostgreSQL::Test::Utils::tempdir;
my $port = PostgreSQL::Test::Cluster::get_free_port();

$node->safe_psql('postgres',
	'ALTER SYSTEM SET event_store.pooler = transaction; SELECT pg_reload_conf(); ALTER DATABASE postgres RESET search_path');
$node->safe_psql('postgres', join '', map { qq{
	SELECT event_store.create_tenant('t$_');
	SELECT * FROM event_store.with_tenant('t$_', 'CREATE TABLE who AS SELECT ''t$_'' AS name') AS (n int);
	SELECT * FROM event_store.with_tenant('t$_', 'SELECT last_version FROM event_store.append_event(''s'', ''t$_'')') AS (n bigint);
} } 1 .. $tenants);

my $user = $node->safe_psql('postgres', 'SELECT current_user');
append_to_file("$dir/pgbouncer.ini", sprintf q{
[databases]
postgres = host=%s port=%d dbname=postgres user=%s
[pgbouncer]
listen_addr =
listen_port = %d
unix_socket_dir = %s
auth_type = any
pool_mode = transaction
default_pool_size = 3
max_client_conn = 100
server_reset_query =
logfile = %s/pgbouncer.log
pidfile = %s/pgbouncer.pid
}, $node->host, $node->port, $user, $port, $dir, $dir, $dir);

my $pooler = IPC::Run::start([ $pgbouncer, '-q', "$dir/pgbouncer.ini" ], '<', \undef, '>', "$dir/out", '2>&1');
my $through = "host=$dir port=$port dbname=postgres user=$user";
my $connected = 0;
for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
{
	last if $connected = IPC::Run::run([ 'psql', '-X', '-q', '-d', $through, '-c', 'SELECT 1' ], '>', \my $out, '2>', \my $err);
	Time::HiRes::usleep(100_000);
}
ok($connected, 'clients reach the server through the pooler') or diag slurp_file("$dir/out");

# What psql prints for a script, run as one client of the pooler.
sub client
{
	my ($script) = @_;
	my ($out, $err);
	my $process = IPC::Run::start([ 'psql', '-X', '-q', '-A', '-t', '-v', 'VERBOSITY=sqlstate', '-d', $through ],
		'<', \$script, '>', \$out, '2>', \$err);
	return { process => $process, out => \$out, err => \$err };
}

# ---- each transaction names its tenant; tenancy 1.5.2 ----------------------

# A client asks in turn for a transaction of its tenant, for one query of it,
# and for nobody, which must not be answered from whoever came before.
my @running;
for my $c (0 .. $clients - 1)
{
	my $script = '';
	for my $i (1 .. $calls)
	{
		my $tenant = 't' . (1 + ($c + $i) % $tenants);
		my $ask = q{SELECT event_store.current_tenant() || ' ' || name || ' ' || (SELECT min(type) FROM event_store.read_stream('s')) FROM who};

		$script .=
		    $i % 4 == 0 ? "\\echo $tenant\nBEGIN; SELECT event_store.tenant_use('$tenant') \\g /dev/null\nSELECT 1/0;\nROLLBACK;\n"
		  . "SELECT coalesce(event_store.current_tenant(), '$tenant'), 'none';\n"
		  : $i % 4 == 1 ? "\\echo $tenant\nSELECT * FROM event_store.with_tenant('$tenant', \$\$$ask\$\$) AS (t text);\n"
		  : "\\echo $tenant\nBEGIN; SELECT event_store.tenant_use('$tenant') \\g /dev/null\n$ask;\nCOMMIT;\n";
	}
	push @running, client($script);
}
my ($answers, $wrong) = (0, 0);
for my $client (@running)
{
	$client->{process}->finish;
	my @lines = split /\n/, ${ $client->{out} };
	while (my ($tenant, $answer) = splice @lines, 0, 2)
	{
		$answers++;
		$wrong++ if $answer ne "$tenant $tenant $tenant" && $answer ne "$tenant|none";
	}
}
is($answers, $clients * $calls, "$answers calls of $clients clients on 3 connections");
is($wrong, 0, 'none answered from another tenant');
is($node->safe_psql('postgres', q{SELECT count(*) <= 3 FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()}),
	't', 'on at most 3 connections');

# ---- clients that set it for the session, as if there were no pooler -------

@running = ();
for my $c (0 .. $clients - 1)
{
	my $tenant = 't' . (1 + $c % $tenants);
	push @running, client("SET event_store.tenant = '$tenant'; SET search_path = $tenant;\n"
		  . (q{SELECT event_store.require_tenant();} . "\n" . q{SELECT count(*) FROM event_store.read_all();} . "\n"
			  . q{SELECT name FROM who;} . "\n") x 50);
}
my ($out, %errors) = ('');
for my $client (@running)
{
	$client->{process}->finish;
	$out .= ${ $client->{out} };
	$errors{$_}++ for ${ $client->{err} } =~ /ERROR:  (\w{5})/g;
}
is($out, '', 'a tenant set outside the transaction answers nothing');
is(join(' ', sort keys %errors), 'VE023', 'but VE023');
is($errors{VE023}, $clients * 150, 'each time');

# systems 3.3.16
my $client = client("SELECT event_store.tenant_use_session('t1');");
$client->{process}->finish;
like(${ $client->{err} }, qr/55000/, 'a tenant for the session is refused');

$pooler->kill_kill;
$node->stop;
done_testing();
