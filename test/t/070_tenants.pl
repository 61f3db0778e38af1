# Tenants over dump, restore and crash; the server's tools meet no guard; what a
# session remembers of many tenants is bounded.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ESTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('main');
my $dir = $node->basedir;

# Which tenants there are, with their schemas, and what is in their stores.
sub tenants
{
	my ($database) = @_;
	return $node->safe_psql(
		$database, q{
		SELECT t.name, t.schema, t.state, t.attributes, n
		FROM event_store.tenants t
		LEFT JOIN LATERAL event_store.with_tenant(t.name, 'SELECT count(*) FROM event_store.read_all()') AS (n bigint) ON true
		ORDER BY t.name});
}

# ---- systems 3.3.15: dump and restore --------------------------------------

$node->safe_psql(
	'postgres', q{
	SELECT event_store.create_tenant('acme', '{"plan": "gold"}');
	SELECT event_store.create_tenant('beta');
	SELECT event_store.create_tenant('gamma');
	SELECT event_store.suspend_tenant('gamma', reads => true, reason => 'unpaid');
	SELECT * FROM event_store.with_tenant('acme', $$CREATE TABLE note AS SELECT 'of acme' AS t$$) AS (n int);
	SELECT * FROM event_store.with_tenant('acme', $$SELECT last_position FROM event_store.append_event('s', 'A')$$) AS (n bigint);
	SELECT * FROM event_store.with_tenant('beta', $$SELECT last_position FROM event_store.append_event('s', 'B')$$) AS (n bigint);
	-- schemas that have changed their names by hand, one for that of the other
	SET event_store.guard = off;
	ALTER SCHEMA acme RENAME TO x;
	ALTER SCHEMA beta RENAME TO acme;
	ALTER SCHEMA x RENAME TO beta;
});
my $expected = "acme|beta|active|{\"plan\": \"gold\"}|1\nbeta|acme|active|{}|1\ngamma|gamma|read_only|{}|0";
is(tenants('postgres'), $expected, 'tenants whose schemas have changed names');

# other objects first, so that OIDs differ, and those of before belong to others
my %format = (
	plain => [ '-f', "$dir/plain" ],
	custom => [ '-Fc', '-f', "$dir/custom" ],
	parallel => [ '-Fd', '-j', 2, '-f', "$dir/parallel" ]);
for my $format (sort keys %format)
{
	my $to = $node->connstr($format);

	command_ok([ 'pg_dump', '-d', $node->connstr('postgres'), @{ $format{$format} } ], "$format: dumped");
	$node->safe_psql('postgres', "CREATE DATABASE $format");
	$node->safe_psql($format, 'CREATE SCHEMA other');
	command_ok(
		$format eq 'plain'
		? [ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $to, '-f', "$dir/plain" ]
		: [ 'pg_restore', '-d', $to, '-e', ($format eq 'parallel' ? ('-j', 2) : ()), "$dir/$format" ],
		"$format: restored");
	is(tenants($format), $expected, "$format: the tenants have their schemas and events");
	sqlstate_is($node, 'SELECT event_store.tenant_use_session($$acme$$); SELECT * FROM acme.event_log',
		'42501', "$format: and the guard between them", $format);
	$node->safe_psql($format, q{
		SELECT event_store.rename_tenant('acme', 'acme2'); SELECT event_store.drop_tenant('beta', 'beta')});
	is($node->safe_psql($format, 'SELECT name, schema FROM event_store.tenants ORDER BY 1'),
		"acme2|acme2\ngamma|gamma", "$format: they can be renamed and dropped");
}
command_ok([ 'pg_dump', '-n', 'beta', '-f', '/dev/null', '-d', $node->connstr('postgres') ], 'a dump of one tenant');
command_ok([ 'vacuumdb', '-q', '-z', '-d', $node->connstr('postgres') ], 'vacuumdb');
command_ok([ 'reindexdb', '-q', '-S', 'beta', '-d', $node->connstr('postgres') ], 'reindexdb');

# ---- a transaction of the registry that a crash ends -----------------------

my $session = session($node);
$session->query_safe(q{BEGIN; SELECT event_store.create_tenant('half'); SELECT event_store.drop_tenant('gamma', 'gamma')});
$node->stop('immediate');
$node->start;
is(tenants('postgres'), $expected, 'after a crash nothing is half made or half dropped');
is($node->safe_psql('postgres', "SELECT count(*) FROM event_store.tenant_residue('half')"), '0', 'and nothing is left');
$session->quit;

# ---- without the extension -------------------------------------------------

$node->safe_psql('postgres', 'DROP EXTENSION event_store');
is($node->safe_psql('postgres', 'SELECT count(*) FROM beta.event_log'), '1', 'a tenant is a schema with tables without the extension');
$node->safe_psql('postgres', q{CREATE EXTENSION event_store; SELECT event_store.attach_tenant('beta', 'acme')});
is(tenants('postgres'), 'acme|beta|active|{}|1', 'and is made one again by hand');

# ---- a session that visits many tenants ------------------------------------

# in a transaction each, so that what made room can be freed
my $visit = q{
	CREATE PROCEDURE pg_temp.visit(first int, last int) LANGUAGE plpgsql AS $$
	BEGIN
		FOR i IN first..last LOOP
			PERFORM event_store.tenant_use('many' || i);
			PERFORM event_store.append_event('s', 'T');
			PERFORM event_store.read_stream('s');
			COMMIT;
		END LOOP;
	END $$;
};
$node->safe_psql('postgres', join '', map { "SELECT event_store.create_tenant('many$_');\n" } 1 .. 200);

# Stores remembered, and bytes that one more tenant costs the session.
sub visits
{
	my ($cache) = @_;
	return split /\|/, $node->safe_psql(
		'postgres', qq{
		SET event_store.store_cache_size = $cache;
		$visit
		CALL pg_temp.visit(1, 100);
		SELECT sum(used_bytes) AS before FROM pg_backend_memory_contexts \\gset
		CALL pg_temp.visit(101, 200);
		SELECT count(*) FILTER (WHERE name = 'event_store store'), (sum(used_bytes) - :before) / 100 FROM pg_backend_memory_contexts});
}
my ($all, $unbounded) = visits(1000);
my ($few, $bounded) = visits(10);
is($all, 200, 'a session remembers as many stores as it may');
# the one that the last transaction took out is freed in the next
ok($few <= 11, 'and no more') or diag $few;
# tenancy 1.5.3
cmp_ok($bounded, '<', $unbounded / 2, 'a tenant that was visited long ago costs it little')
  or diag "$bounded of $unbounded bytes";
is($node->safe_psql('postgres', qq{
		SET event_store.store_cache_size = 4;
		$visit
		CALL pg_temp.visit(1, 20);
		CALL pg_temp.visit(1, 20);
		SELECT count(*), min(n), max(n) FROM generate_series(1, 20) i,
			LATERAL event_store.with_tenant('many' || i, 'SELECT event_store.stream_version(\$\$s\$\$)') AS (n bigint)}),
	'20|4|4', 'which comes back when it is needed');

$node->stop;
done_testing();
