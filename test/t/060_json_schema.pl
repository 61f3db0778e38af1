# The official test suite of JSON Schema, draft 2020-12: every required test
# must come out as it says, every optional one too or be refused.  It is read
# from the Debian package libtest-json-schema-acceptance-perl, or from a checkout
# of the suite that JSON_SCHEMA_TEST_SUITE names.
#
# Nothing is fetched, so the documents that the suite keeps under "remotes" are
# put into $defs of the schemas that refer to them, each under the URI that it
# is to be found at, as the standard bundles schemas.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ESTest;
use PostgreSQL::Test::Utils;
use Test::More;

my ($suite) = grep { -d "$_/tests/draft2020-12" }
  ($ENV{JSON_SCHEMA_TEST_SUITE} // (), map { "$_/auto/share/dist/Test-JSON-Schema-Acceptance" } @INC);

plan skip_all => 'the test suite of JSON Schema is not installed' if !defined $suite;

# What ends otherwise than the suite says, and why.  (Some names are of later
# versions of the suite only.)
my %otherwise = (
	# jsonb holds no \u0000
	'const: nul characters in strings' => '22P05',
	'enum: nul characters in strings' => '22P05',
	# unknown keywords are refused
	'unknownKeyword: $id inside an unknown keyword is not a real identifier' => '22023',
	# other dialects are refused
	'vocabulary: schema that uses custom metaschema with with no validation vocabulary' => '22023',
	'vocabulary: ignore unrecognized optional vocabulary' => '22023',
	# the server has no Unicode properties
	'pattern: pattern with Unicode property escape requires unicode mode' => '22023',
	'patternProperties: patternProperties with Unicode property escape' => '22023',
	# format, with which the metaschema speaks of patterns, only describes
	'optional/ecmascript-regex: \a is not an ECMA 262 control escape' => 'valid',
);

my $node = new_node('main');

$node->safe_psql(
	'postgres', q{
	CREATE TABLE remotes (uri text PRIMARY KEY, document jsonb);

	-- json_array_elements takes no \\u0000, so it comes escaped
	-- what is known of a case: valid, invalid, or the SQLSTATE that it ends with
	CREATE FUNCTION decide(schema json, document json) RETURNS text LANGUAGE plpgsql AS $$
	DECLARE
		bundle jsonb;
		failures jsonb;
	BEGIN
		bundle := replace(schema::text, '\\\\u0000', '\\u0000');
		bundle := coalesce((
			WITH RECURSIVE needed (document) AS (
				SELECT bundle
				UNION
				SELECT remotes.document
				FROM remotes JOIN needed ON position(substring(remotes.uri, '[^/]+$') IN needed.document::text) > 0
				WHERE needed.document::text LIKE '%localhost:1234/%')
			SELECT jsonb_set(bundle, '{$defs}', coalesce(bundle -> '$defs', '{}') || jsonb_object_agg(remotes.uri, remotes.document))
			FROM remotes JOIN needed USING (document)
			HAVING count(*) > 0), bundle);
		document := replace(document::text, '\\\\u0000', '\\u0000');
		failures := event_store.validate(bundle, document::jsonb);
		IF (failures = '[]') <> event_store.is_valid(bundle, document::jsonb) THEN
			RETURN 'validate and is_valid differ';
		END IF;
		RETURN CASE failures WHEN '[]' THEN 'valid' ELSE 'invalid' END;
	EXCEPTION WHEN OTHERS THEN
		RETURN SQLSTATE || ' ' || SQLERRM;
	END $$;
});

sub quoted
{
	my ($text) = @_;
	$text =~ s/'/''/g;
	return "'$text'";
}

# A remote document with an $id of its own is found at its URI all the same.
my @remotes = glob("$suite/remotes/*.json");
for my $directory ("$suite/remotes/draft2020-12", glob("$suite/remotes/draft2020-12/*/"))
{
	push @remotes, glob("$directory/*.json");
}
for my $file (@remotes)
{
	(my $uri = $file) =~ s{^\Q$suite\E/remotes/}{http://localhost:1234/};
	$uri =~ s{//+(?!localhost)}{/}g;
	$node->safe_psql('postgres', sprintf(q{
		INSERT INTO remotes
		SELECT uri, CASE WHEN document ->> '$id' IS NULL THEN jsonb_build_object('$id', uri) || document
			WHEN document ->> '$id' = uri THEN document
			ELSE jsonb_build_object('$id', uri, '$ref', document -> '$id', '$defs', jsonb_build_object('it', document)) END
		FROM (SELECT %s AS uri, pg_read_file(%s)::jsonb AS document) _
		WHERE jsonb_typeof(document) = 'object'}, quoted($uri), quoted($file)));
}

my $cases = 0;
for my $file (glob("$suite/tests/draft2020-12/*.json"), glob("$suite/tests/draft2020-12/{optional,should}/*.json"))
{
	my ($name) = $file =~ m{draft2020-12/(.+)\.json$};
	my $optional = $name =~ m{/};
	my %groups;
	my @order;

	for (
		split /\n/,
		$node->safe_psql(
			'postgres', sprintf(q{
			SELECT json_build_array(g.value ->> 'description', t.value ->> 'description',
				CASE WHEN (t.value ->> 'valid')::boolean THEN 'valid' ELSE 'invalid' END,
				decide(g.value -> 'schema', t.value -> 'data'))
			FROM json_array_elements(replace(pg_read_file(%s), '\u0000', '\\\\u0000')::json) WITH ORDINALITY g,
				json_array_elements(g.value -> 'tests') WITH ORDINALITY t
			ORDER BY g.ordinality, t.ordinality}, quoted($file))))
	{
		my ($group, $test, $expected, $got) = map { s/\\(.)/$1/gr } /"((?:[^"\\]|\\.)*)"/g;
		my $whole = "$name: $group";

		$cases++;
		push @order, $whole if !exists $groups{$whole};
		$groups{$whole} //= [];
		$expected = $otherwise{$whole} // $expected;
		push @{ $groups{$whole} }, "$test: is $got, not $expected"
		  if $got !~ /^$expected\b/ && !($optional && $got =~ /^(?:22023|22P05)\b/);
	}
	for my $whole (@order)
	{
		is(join("\n", @{ $groups{$whole} }), '', $whole);
	}
}
cmp_ok($cases, '>', 1000, 'the suite has been read');

# ---- a database in another encoding: pointers are in UTF-8 all the same ----

$node->safe_psql('postgres', q{CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0});
$node->safe_psql('latin', 'CREATE EXTENSION event_store');
is( $node->safe_psql(
		'latin', q{
		SET client_encoding = utf8;
		SELECT event_store.validate('{"properties": {"\u00f6": {"$ref": "#/$defs/%C3%A9"}}, "$defs": {"\u00e9": {"maxLength": 1, "pattern": "^[^\u00e4]$"}}}',
			'{"\u00f6": "\u00e4\u00e4"}') -> 0}),
	'{"detail": "has 2 characters, more than 1", "pointer": "#/%C3%B6"}',
	'LATIN1: a pointer in UTF-8, lengths in characters');
sqlstate_is($node, q{SELECT event_store.is_valid(jsonb_build_object('pattern', pattern), '""') FROM (VALUES ('^[\\u00e4-\\u00f6]$')) v(pattern)},
	'22023', 'LATIN1: an escape beyond ASCII is refused', 'latin');
sqlstate_is($node, q{SELECT event_store.is_valid(jsonb_build_object('pattern', pattern), '""') FROM (VALUES (U&'^[\00e4-\00f6]$')) v(pattern)},
	'22023', 'LATIN1: so is a range', 'latin');

$node->stop;
done_testing();
