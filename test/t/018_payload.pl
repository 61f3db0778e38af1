# Stores of JSON text and of bytes travel as they are: dump and restore of a
# database and of schemas, a crash.  What was written comes back byte for byte, and
# appends go on.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ESTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('main');
my $dir = $node->basedir;

# What a session has to see of both stores.
my $content = q{
	SET search_path = as_json;
	SELECT position, stream, version, type, data, metadata FROM event_store.read_all_as(NULL::text);
	SET search_path = as_bytes;
	SELECT position, stream, version, type, data FROM event_store.read_all_as(NULL::bytea);
	SELECT schema, payload FROM event_store.stores WHERE schema LIKE 'as\_%' ORDER BY 1};

$node->safe_psql(
	'postgres', q{
	SELECT event_store.create_store('as_json', payload => 'json');
	SET search_path = as_json;
	SELECT event_store.append('order-1', '[{"type": "Placed", "data":  {"b" :1.0,"a": [ ], "b":2}, "metadata": {"x":  1}}]');
	SELECT event_store.append_event('order-1', 'Paid', '  "Gr\u00fc\u00dfe \\\\ \/" ');
	SELECT event_store.append_event('order-2', 'Large', (SELECT '[' || string_agg('"' || md5(n::text) || '"', ' , ') || ']' FROM generate_series(1, 1000) n));
	SELECT event_store.create_store('as_bytes', payload => 'bytea');
	SET search_path = as_bytes;
	SELECT event_store.append_bytes('doc-1', 'Sealed', '\x00ff10');
	SELECT event_store.append_bytes('doc-2', 'Sealed', (SELECT string_agg(decode(md5(n::text), 'hex'), '') FROM generate_series(1, 1000) n));
	SELECT event_store.append_bytes('doc-2', 'Empty', '');
	SELECT event_store.link_event('list-1', (SELECT event_id FROM event_log WHERE position = 1))});
my $before = $node->safe_psql('postgres', $content);
like($before, qr/\|\{"b" :1.0,"a": \[ \], "b":2\}\|/, 'JSON text is as it was written');
like($before, qr/\|  "Gr\\u00fc\\u00dfe \\\\ \\\/" \|/, 'with escapes and white space');
like($before, qr/^as_bytes\|bytea\nas_json\|json$/m, 'and the kinds are known');

# Copies are what the original is, and go their own way.
sub same_ok
{
	my ($database, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($node->safe_psql($database, $content), $before, "$name: the same");
	is( $node->safe_psql(
			$database, q{
			SET search_path = as_json;
			SELECT event_store.append_event('order-1', 'Next', '{ }', expected => 2);
			SELECT data FROM event_store.read_stream_as(NULL::text, 'order-1', 3);
			SET search_path = as_bytes;
			SELECT event_store.append_bytes('doc-1', 'Next', '\x01', expected => 1);
			SELECT data FROM event_store.read_stream('doc-1', 2);
			SELECT invariant FROM event_store.verify_store() WHERE violations > 0 AND invariant <> 'the durable mark follows the horizon'}) =~ s/^\(.*\n//gmr,
		"{ }\n\"AQ==\"", "$name: and goes on");
	return;
}

my $source = $node->connstr('postgres');
command_ok([ 'pg_dump', '-d', $source, '-f', "$dir/all" ], 'dump');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('restored'), '-f', "$dir/all" ], 'restore');
same_ok('restored', 'a database');

command_ok([ 'pg_dump', '-Fc', '-n', 'as_json', '-n', 'as_bytes', '-d', $source, '-f', "$dir/schemas" ], 'dump of schemas');
$node->safe_psql('postgres', 'CREATE DATABASE attached');
$node->safe_psql('attached', 'CREATE EXTENSION event_store; CREATE SCHEMA as_json; CREATE SCHEMA as_bytes');
command_ok([ 'pg_restore', '-n', 'as_json', '-n', 'as_bytes', '-d', $node->connstr('attached'), "$dir/schemas" ], 'restore of schemas');
$node->safe_psql('attached', q{SELECT event_store.attach_store('as_json'), event_store.attach_store('as_bytes')});
same_ok('attached', 'schemas');

# a crash keeps both
$node->stop('immediate');
$node->start;
same_ok('postgres', 'after a crash');

$node->stop;
done_testing();
