# The parser of JSON text (src/base/json.c) against the server's: what is
# stored is the same byte by byte, errors are the same word by word. Where an
# append takes text our parser reads it, where it takes jsonb the server has.
#
# reliability 64, reliability 66

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ESTest;
use ESTest::Json;
use PostgreSQL::Test::Utils;
use Test::More;

my $seed = $ENV{ES_SEED} || 20261125;
note "ES_SEED=$seed";
srand($seed);

my $node = new_node('main');

# What an append of the text stores, all columns that it decides, jsonb as the
# bytes it consists of; or the error with all its parts. Nothing stays.
my $functions = q{
CREATE FUNCTION image(jsonb) RETURNS bytea LANGUAGE internal IMMUTABLE STRICT AS 'byteasend';

CREATE FUNCTION outcome(how text, json text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	at event_store.append_result;
	stored text;
	state text;
	message text;
	detail text;
	hint text;
	context text;
BEGIN
	CASE how
		WHEN 'events as text' THEN at := event_store.append('s', json);
		WHEN 'events as jsonb' THEN at := event_store.append('s', json::jsonb);
		WHEN 'data as text' THEN at := event_store.append_event('s', 't', json);
		WHEN 'data as jsonb' THEN at := event_store.append_event('s', 't', json::jsonb);
		WHEN 'metadata as text' THEN at := event_store.append_event('s', 't', '1', json);
		WHEN 'metadata as jsonb' THEN at := event_store.append_event('s', 't', '1', json::jsonb);
	END CASE;
	SELECT string_agg(ROW(position - at.first_position, event_type, image(data), image(metadata), correlation_id, causation_id,
			CASE WHEN json LIKE '%vent_id%' AND uuid_send(event_id)::text !~ '^\\\\x.{12}8' THEN event_id END,
			CASE WHEN created_at < '2010-01-01' THEN created_at END)::text, E'\n' ORDER BY position)
	INTO stored FROM event_log WHERE position BETWEEN at.first_position AND at.last_position;
	RAISE EXCEPTION SQLSTATE 'ZZ000';
EXCEPTION
	WHEN SQLSTATE 'ZZ000' THEN
		RETURN stored;
	WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
			hint = PG_EXCEPTION_HINT, context = PG_EXCEPTION_CONTEXT;
		RETURN concat_ws('|', 'ERROR', state, message, detail, hint,
			-- without the lines that PL/pgSQL adds
			regexp_replace(context, '(^|\n)(SQL|PL/pgSQL) .*$', ''));
END $$;

CREATE TABLE texts (n integer GENERATED ALWAYS AS IDENTITY, json text);
};

# Fills the table, in a statement for psql.
sub load
{
	my ($texts, $database) = @_;
	my $encoding = $database eq 'ascii' ? 'SQL_ASCII' : 'UTF8';
	my $file = PostgreSQL::Test::Utils::tempdir . '/texts';
	my %escape = ('\\' => '\\\\', "\n" => '\n', "\r" => '\r', "\t" => '\t');

	open my $out, $encoding eq 'UTF8' ? '>:utf8' : '>:raw', $file or die "$file: $!";
	no warnings qw(nonchar);
	print $out map { s/([\\\n\r\t])/$escape{$1}/gr . "\n" } @$texts;
	close $out or die "$file: $!";
	return "SET client_encoding = '$encoding'; TRUNCATE texts RESTART IDENTITY;\n\\copy texts (json) FROM '$file'\n";
}

# Both parsers do the same with each of the texts, which are the events, the
# data or the metadata; so many of them at least are valid, and so many not.
sub same_ok
{
	my ($what, $name, $valid, $invalid, $texts, $database) = @_;
	my $total = @$texts;

	$database //= 'postgres';
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $result = $node->safe_psql($database, load($texts, $database) . qq{
		CREATE TEMP TABLE outcomes AS
		SELECT json, outcome('$what as text', json) AS ours, outcome('$what as jsonb', json) AS theirs FROM texts;
		SELECT count(*) FILTER (WHERE ours NOT LIKE 'ERROR|%'), count(*) FILTER (WHERE ours LIKE 'ERROR|%') FROM outcomes;
		SELECT left(json, 2000) AS json, left(ours, 2000) AS ours, left(theirs, 2000) AS theirs FROM outcomes
		WHERE ours IS DISTINCT FROM theirs ORDER BY length(json) LIMIT 3;
	});
	my ($counts, $differ) = split /\n/, $result, 2;
	my ($stored, $refused) = split /\|/, $counts;
	is($differ // '', '', "$name: the same with each of $total");
	cmp_ok($stored, '>=', $valid, "$name: $stored are stored");
	cmp_ok($refused, '>=', $invalid, "$name: $refused are refused");
	return;
}

# The SQLSTATE of each text as data.
sub codes
{
	my ($database, @texts) = @_;
	return split /\n/, $node->safe_psql($database, load(\@texts, $database) . q{
		SELECT CASE WHEN o LIKE 'ERROR|%' THEN split_part(o, '|', 2) ELSE '00000' END
		FROM (SELECT n, outcome('data as text', json) AS o FROM texts OFFSET 0) o ORDER BY n});
}

# How many of the texts, as events, our parser leaves to the server's.
sub left_to_server
{
	my (@texts) = @_;
	my ($out, $err);
	$node->psql('postgres', load(\@texts, 'postgres') . q{
		SET client_min_messages = debug1;
		SELECT count(outcome('events as text', json)) FROM texts}, stdout => \$out, stderr => \$err, on_error_die => 1);
	return scalar(() = $err =~ /is parsed by the server/g);
}

$node->safe_psql('postgres', $functions);

# What JSON there is and what there is not.
my @codes = (
	'"\u0000"' => '22P05',
	'"\ud800"' => '22P02',
	'"\udc00"' => '22P02',
	'"\ud800\ud800"' => '22P02',
	'"\ud83d\ude00"' => '00000',
	'{"a": 1, "a": 2, "b": 3, "a": {"x": [4]}}' => '00000',
	'1e131071' => '00000',
	'1e131072' => '22003',
	'1e-16383' => '00000',
	'1e-16384' => '22003',
	'1' . '0' x 131071 => '00000',
	'1' . '0' x 131072 => '22003',
	'0.' . '0' x 16382 . '1' => '00000',
	'01' => '22P02',
	'1.' => '22P02',
	'.5' => '22P02',
	'+1' => '22P02',
	'-' => '22P02',
	'1e' => '22P02',
	'1e+' => '22P02',
	'1x' => '22P02',
	'Infinity' => '22P02',
	'NaN' => '22P02',
	'nul' => '22P02',
	'nullx' => '22P02',
	'truefalse' => '22P02',
	'' => '22P02',
	' ' => '22P02',
	'"' => '22P02',
	'"\\' => '22P02',
	'"\\"' => '22P02',
	'"\q"' => '22P02',
	'"\u12"' => '22P02',
	"\"\x01\"" => '22P02',
	"\"\n\"" => '22P02',
	"\x0c1" => '22P02',
	'[1,]' => '22P02',
	'[,1]' => '22P02',
	'[1 2]' => '22P02',
	'[1}' => '22P02',
	'{"a"}' => '22P02',
	'{"a":}' => '22P02',
	'{"a":1,}' => '22P02',
	'{a:1}' => '22P02',
	'{1:1}' => '22P02',
	'{"a":1]' => '22P02',
	'1 1' => '22P02',
	'1,' => '22P02',
	'[' x 100 . ']' x 100 => '00000',
	'[' x 101 . ']' x 101 => '54000',
	'[' x 6000 . ']' x 6000 => '54000',
	'[' x 100000 . ']' x 100000 => '54001',
	'[' x 100000 => '54001',
	'"' . 'x' x 1000000 . '"' => '00000',
	'"' . 'x' x 1048577 . '"' => '54000',
	"\x{feff}1" => '22P02',
);
my @corners = @codes[ map { 2 * $_ } 0 .. $#codes / 2 ];
my @found = codes('postgres', @corners);
for my $i (0 .. $#corners)
{
	(my $name = substr($corners[$i], 0, 40)) =~ s/([^\x20-\x7e])/sprintf '\\x{%x}', ord $1/ge;
	is($found[$i], $codes[ 2 * $i + 1 ], "$name: $codes[2 * $i + 1]");
}
same_ok('data', 'corners', 8, 40, \@corners);
same_ok('metadata', 'corners as metadata', 1, 40, \@corners);
same_ok('events', 'corners as events', 0, 50, \@corners);

# Texts of which each is near a limit of some kind.
same_ok('data', 'strings', 1000, 1000, [ strings() ]);
my @numbers = numbers();
same_ok('data', 'numbers', 1000, 0, [ map { '[' . join(',', @numbers[ $_ * 8 .. $_ * 8 + 7 ]) . ']' } 0 .. @numbers / 8 - 1 ]);
same_ok('data', 'numbers alone', 100, 0, [ grep { length() < 100 } @numbers ]);
same_ok('data', 'containers', 100, 10, [ containers() ]);
same_ok('events', 'a long text', 2, 0, [ map { (' ' x $_) . '{"type": "t", "data": [1, 2]}' } 1000, 33554432, ] );

# Random ones, and what a small change makes of them.
my @data = map { random_value(3) } 1 .. 15000;
same_ok('data', 'random data', 13000, 100, \@data);
same_ok('data', 'random data, changed', 2000, 6000, [ map { mutate($_) } grep { length() < 1000 } @data ]);
same_ok('metadata', 'random metadata', 100, 100, [ @data[ 0 .. 999 ] ]);
my @events = map { random_events() } 1 .. 10000;
same_ok('events', 'random events', 6000, 2000, \@events);
same_ok('events', 'random events, changed', 500, 6000, [ map { mutate($_) } grep { length() < 1000 } @events ]);

# The comparison is worth something only if it is our parser that reads what
# is usual, and the server's what is not.
is(left_to_server(
	'{"type": "t", "data": {"b": [1, -2.50, true, false, null], "a": "\u00e9\n\ud83d\ude00", "c": {"": ""}}, "metadata": {}}',
	'[{"type": "t", "data": 1e10, "event_id": "0b7e1c52-3f6d-4a57-9a3e-2f1f4f0f7a01", "created_at": "2001-02-03"}]'), 0, 'usual texts are ours');
is(left_to_server('{"type": "t", "data": 1e1000}', '{"type": "t", "data": "\u0000"}', '{"type": "t"', '{"type": 1}', '[]', '1'), 6, 'unusual ones are not');

# Other encodings, where only the escapes differ; in SQL_ASCII any byte is a character.
$node->safe_psql('postgres', qq{
	CREATE DATABASE latin1 ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0;
	CREATE DATABASE ascii ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0});
for my $database ('latin1', 'ascii')
{
	create_store($node, $database);
	$node->safe_psql($database, $functions);
	local $ESTest::Json::wide = 0;
	my @texts = map { random_value(3) } 1 .. 1000;
	same_ok('data', "random data in $database", 800, 10, [ @texts, map { mutate($_) } @texts, '"\u0041"' ], $database);
}
my @escapes = ('"\u0041\u007f"', '"\u00e9"', '"\u20ac"', '"\ud83d\ude00"', qq("\xe9"));
is(join(' ', codes('latin1', @escapes)), '00000 00000 22P05 22P05 00000', 'escapes in latin1');
same_ok('data', "escapes in $_", 2, 1, \@escapes, $_) for 'latin1', 'ascii';

$node->stop;
done_testing();
