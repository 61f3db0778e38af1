# Dump and restore: a dump taken during appends, in every format, restored into
# a new cluster, and of one schema into another one; the events are the same,
# positions go on above, and followers with tokens are told from where.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ESTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('main');
my $target = PostgreSQL::Test::Cluster->new('target');
$target->init;
$target->start;
my $dir = $node->basedir;

sub checksum
{
	my ($n, $database, $schema, $up_to) = @_;
	return $n->safe_psql(
		$database, qq{
		SELECT count(*), md5(string_agg(format('%s %s', s.stream_name, l), ',' ORDER BY l.position))
		FROM $schema.event_log l JOIN $schema.event_streams s USING (stream_id) WHERE l.position <= $up_to});
}

sub sound_ok
{
	my ($n, $database, $schema, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	wait_for($n, "SELECT event_store.durable_mark() >= (SELECT max(position) FROM $schema.event_log)",
		"$name: the mark comes to the last event", $database);
	return is($n->safe_psql($database,
			"SELECT invariant, violations, example FROM event_store.verify_store('$schema') WHERE violations > 0"),
		'', "$name: every invariant holds");
}

sub psql_file
{
	my ($n, $database, $file) = @_;
	return ('psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $n->connstr($database), '-f', $file);
}

# ---- the whole database, during appends ------------------------------------

$node->safe_psql('postgres', 'SELECT * FROM ' . append('first-1', count => 10));
wait_for($node, 'SELECT event_store.durable_mark() = 10', 'the mark has moved');
my $open = session($node);
$open->query_safe('BEGIN; SELECT * FROM ' . append('open-1'));
my $load = ESTest::Workload->new($node);
$load->start_writers(count => 4);
$load->wait_for_progress(200);

my $source = $node->connstr('postgres');
my %format = (
	plain => [ '-f', "$dir/plain" ],
	custom => [ '-Fc', '-f', "$dir/custom" ],
	parallel => [ '-Fd', '-j', 2, '-f', "$dir/parallel" ]);
for my $format (sort keys %format)
{
	command_ok([ 'pg_dump', '-d', $source, @{ $format{$format} } ], "$format: dumped during appends");
}
$load->stop_writers;
$open->query_safe('COMMIT');
$open->quit;
my $last = last_position($node);
my $token = $node->safe_psql('postgres', "SELECT event_store.token($last)");

# reliability 41
for my $format (sort keys %format)
{
	$target->safe_psql('postgres', "CREATE DATABASE $format");
	my $to = $target->connstr($format);
	command_ok(
		[
			$format eq 'plain' ? psql_file($target, $format, "$dir/plain")
			: ('pg_restore', '--exit-on-error', '-d', $to, $format eq 'parallel' ? ('-j', 2) : (), "$dir/$format")
		],
		"$format: restored into a new cluster");
	$target->safe_psql('postgres', "ALTER DATABASE $format SET search_path = shop, public");

	my ($mark, $count) = split /\|/,
	  $target->safe_psql($format, 'SELECT position, (SELECT count(*) FROM event_log) FROM event_mark');
	my $restored = last_position($target, $format);
	is($target->safe_psql($format, 'SELECT min(position) > ' . $mark . q{ FROM event_log l JOIN event_streams s USING (stream_id) WHERE stream_name = 'open-1'}),
		'', "$format: what was not committed is not there");
	is(checksum($target, $format, 'shop', $mark), checksum($node, 'postgres', 'shop', $mark),
		"$format: up to the mark the events are the same");
	cmp_ok($count, '>', 100, "$format: $count events");

	# whoever read on at the source is told
	my ($out, $err);
	$target->psql($format, "\\set VERBOSITY verbose\nSELECT event_store.token_position('$token')",
		stdout => \$out, stderr => \$err, on_error_stop => 0);
	like($err, qr/ERROR:  VE007.*"kept_position":$mark\b/s, "$format: a token of later is refused, and told the mark");

	my $next = $target->safe_psql($format, 'SELECT first_position FROM ' . append('order-1'));
	cmp_ok($next, '>', $restored, "$format: positions go on above");
	sound_ok($target, $format, 'shop', $format);
	is($target->safe_psql($format, "SELECT event_store.token_position(event_store.token($next))"),
		$next, "$format: new tokens are good");
	sqlstate_is($target, 'UPDATE event_log SET version = 7', '0A000', "$format: the guards are there", $format);
}

# ---- over a live store -----------------------------------------------------

my $all = checksum($node, 'postgres', 'shop', $last);
command_fails([ 'pg_restore', '--exit-on-error', '-d', $source, "$dir/custom" ], 'a restore over a live store fails');
command_fails([ 'pg_restore', '--data-only', '--single-transaction', '-d', $source, "$dir/custom" ],
	'so does one of its data');
command_fails([ psql_file($node, 'postgres', "$dir/plain") ], 'and one with psql');
is(checksum($node, 'postgres', 'shop', $last), $all, 'the live store has what it had');
sound_ok($node, 'postgres', 'shop', 'after refused restores');

# ---- one schema, under another name ----------------------------------------

command_ok([ 'pg_dump', '-d', $source, '-n', 'shop', '-f', "$dir/shop" ], 'one schema is dumped');
$target->safe_psql('postgres', 'CREATE DATABASE other');
$target->safe_psql('other', 'CREATE EXTENSION event_store');
command_ok([ psql_file($target, 'other', "$dir/shop") ], 'and restored');
$target->safe_psql('other', q{ALTER SCHEMA shop RENAME TO market; ALTER DATABASE other SET search_path = market, public});
sqlstate_is($target, 'SELECT * FROM ' . append('order-1'), 'VE006', 'before it is attached it is no store', 'other');
$target->safe_psql('other', q{SELECT event_store.attach_store('market')});
is(checksum($target, 'other', 'market', $last), checksum($node, 'postgres', 'shop', $last), 'the events are the same');
is($target->safe_psql('other', "SELECT event_store.token_position('$token')"), $last,
	'a token of what the dump has whole leads on');
cmp_ok($target->safe_psql('other', 'SELECT first_position FROM ' . append('order-1')), '>', $last,
	'positions go on above');
sound_ok($target, 'other', 'market', 'one schema');

# a copy in the same cluster is another place too
$node->safe_psql('postgres', 'CREATE DATABASE copy');
command_ok([ 'pg_restore', '-d', $node->connstr('copy'), "$dir/custom" ], 'restored into another database of the cluster');
$node->safe_psql('copy', 'ALTER DATABASE copy SET search_path = shop, public');
sqlstate_is($node, "SELECT event_store.token_position('$token')", 'VE007', 'there too the token of later is refused', 'copy');

$target->stop;
$node->stop;
done_testing();
