# The text of prometheus() and openmetrics(): the parsers of Prometheus' own
# client library and of promtool read it, whatever users have defined and said,
# and what they read is what was counted.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Encode qw(decode);
use ESTest;
use IPC::Run;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'no python3-prometheus-client here'
  if system('/usr/bin/python3 -c "import prometheus_client" 2>/dev/null') != 0;
my ($promtool) = grep { -x } map { "$_/promtool" } split /:/, $ENV{PATH};

my $node = new_node('main');

# What a function of a database gives, parsed: {families}{name}{type, help, unit}, {samples}{name{labels}}.
sub parsed
{
	my ($format, $database) = @_;
	my ($text, $json, $err);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	IPC::Run::run([ 'psql', '-XAtq', '-d', $node->connstr($database // 'postgres'), '-c', "SELECT event_store.$format()" ], '>', \$text);
	$text =~ s/\n\n\z/\n/;
	ok(IPC::Run::run([ '/usr/bin/python3', "$FindBin::RealBin/../perl/parse_metrics.py", $format ], '<', \$text, '>', \$json, '2>', \$err),
		"the client library reads $format()")
	  or diag $err;
	if ($format eq 'prometheus')
	{
		my $said = '';
	  SKIP:
		{
			skip 'no promtool here', 1 if !$promtool;
			# it answers 3 when it has read everything and would like names to be otherwise
			IPC::Run::run([ $promtool, 'check', 'metrics' ], '<', \$text, '>&', \$said);
			ok(($? >> 8) == 0 || ($? >> 8) == 3, 'promtool reads it') or diag $said;
			unlike($said, qr/^event_store_/m, 'and has nothing to say of our own metrics');
		}
	}
	my $got = decode_json($json);
	my %samples;
	for my $sample (@{ $got->{samples} })
	{
		my $labels = join ',', map { "$_=$sample->{labels}{$_}" } sort keys %{ $sample->{labels} };
		$samples{"$sample->{name}\{$labels}"} = $sample->{value};
	}
	is(scalar keys %samples, scalar @{ $got->{samples} }, 'no series comes twice');
	return { text => decode('UTF-8', $text), samples => \%samples, families => { map { $_->{name} => $_ } @{ $got->{families} } } };
}

sub execute
{
	my ($event, $measurements, $metadata, $database) = @_;
	$node->safe_psql($database // 'postgres',
		sprintf q{SELECT event_store.telemetry_execute('%s', $m$%s$m$, $m$%s$m$)}, $event, $measurements, $metadata // '{}');
	return;
}

# ---- our own ---------------------------------------------------------------

$node->safe_psql('postgres', 'SELECT * FROM ' . append('order-1', count => 3) . '; SELECT * FROM ' . append('order-2'));
$node->psql('postgres', 'SELECT * FROM ' . append('order-1', expected => 7));
$node->safe_psql('postgres', 'SELECT count(*) FROM event_store.read_all()');
for my $format ('prometheus', 'openmetrics')
{
	my $got = parsed($format);
	my $of = '{database=postgres,store=shop';

	is($got->{samples}{"event_store_events_appended_total$of}"}, '4.0', 'events');
	is($got->{samples}{"event_store_append_calls_total{database=postgres,outcome=conflict,store=shop}"}, '1.0', 'conflicts');
	is($got->{samples}{'event_store_read_calls_total{kind=all}'}, '1.0', 'reads');
	is($got->{samples}{'event_store_append_duration_seconds_count{outcome=ok}'}, '2.0', 'a histogram counts');
	is($got->{samples}{'event_store_append_duration_seconds_bucket{le=+Inf,outcome=ok}'}, '2.0', 'all in the last bucket');
	is($got->{samples}{'event_store_append_batch_events_sum{}'}, '4.0', 'and adds up');
	my $bounds = () = $got->{text} =~ /^event_store_append_duration_seconds_bucket\{outcome="ok",/mg;
	cmp_ok($bounds, '<=', 21, 'with few bounds');
	is($got->{families}{event_store_append_duration_seconds}{unit}, $format eq 'openmetrics' ? 'seconds' : '', 'its unit');
	for my $keyword ('HELP', 'TYPE')
	{
		my @names = $got->{text} =~ /^# $keyword (\S+)/mg;
		my %names = map { $_ => 1 } @names;
		is(scalar @names, scalar keys %names, "$keyword comes once a family");
	}
	if ($format eq 'openmetrics')
	{
		my ($created) = $got->{text} =~ /^event_store_events_appended_created\{database="postgres",store="shop"\} (\d+\.\d{6})$/m;
		is( $node->safe_psql('postgres', "SELECT to_timestamp($created) = reset_at FROM event_store.metrics WHERE name = 'event_store_events_appended' LIMIT 1"),
			't', 'when counting began');
		like($got->{text}, qr/\n# EOF\n\z/, 'the end is marked');
	}
	else
	{
		unlike($got->{text}, qr/^\w+_created[ \{]|^# (?!HELP|TYPE)/m, 'nothing of OpenMetrics');
	}
}

# ---- exemplars: the trace of the latest value of a bucket -------------------

my $trace = '4bf92f3577b34da6a3ce929d0e0e4736';
unlike(parsed('openmetrics')->{text}, qr/trace_id/, 'no trace, no exemplar');
$node->safe_psql('postgres', "SET event_store.traceparent = '00-$trace-00f067aa0ba902b7-00'; SELECT * FROM " . append('order-3'));
unlike(parsed('openmetrics')->{text}, qr/trace_id/, 'nor of a trace that is not sampled');
$node->safe_psql('postgres', "SET event_store.traceparent = '00-$trace-00f067aa0ba902b7-01'; SELECT * FROM " . append('order-3', count => 5));
my $exemplars = parsed('openmetrics')->{text};
like($exemplars,
	qr/^event_store_append_batch_events_bucket\{le="8\.0"\} \d+ # \{trace_id="$trace",span_id="00f067aa0ba902b7"\} 5 \d+\.\d{6}$/m,
	'the bucket of an append within a trace names it');
my @named = $exemplars =~ /^event_store_append_batch_events_bucket.*trace_id/mg;
is(scalar @named, 1, 'and no other bucket does');
while ($exemplars =~ /^event_store_append_duration_seconds_bucket\{outcome="ok",le="([^"]+)"\} \d+ # \{[^}]*\} (\S+)/mg)
{
	cmp_ok($2, '<=', $1 eq '+Inf' ? 'inf' : $1, 'a value is within its bucket');
}
unlike(parsed('prometheus')->{text}, qr/trace_id/, 'the old format has no exemplars');
$node->safe_psql('postgres', q{SELECT event_store.telemetry_reset('event_store_append_batch_events')});
unlike(parsed('openmetrics')->{text}, qr/^event_store_append_batch_events_bucket.*trace_id/m, 'a reset forgets them');

# ---- metrics of users ------------------------------------------------------

# systems 6.3.8: label values of all kinds
my %values = (
	backslash => 'a\\b',
	quote => 'say "hi"',
	newline => "two\nlines",
	emoji => "\x{1F600} caf\x{e9}",
	all => "\\\"\n\\n\x{1F600}\\",
	edge => '\\',
	brace => '{a="b"} 1 # x',
	blank => '',
	tab => "a\tb\rc");
$node->safe_psql(
	'postgres', q{
	SELECT event_store.metric_counter('label.test.count', tags => '{v}', description => E'back\\\\slash "quote" new\nline é');
	SELECT event_store.metric_counter('orders_total', 'label.test');
	SELECT event_store.metric_sum('shop.gauge', 'number', 'value', prometheus_type => 'gauge');
	SELECT event_store.metric_sum('shop.sum', 'number', 'value', prometheus_type => 'gauge', tags => '{kind}');
	SELECT event_store.metric_distribution('shop.spread', 'number', 'value', buckets => '{-5,0.001,1,1e5,1e6,123456789,1e21}');
	SELECT event_store.metric_distribution('shop.size_bytes', 'number', 'value', buckets => '{10,100,1000}', unit => 'byte');
	SELECT event_store.metric_summary('shop.sketch', 'number', 'value');
	SELECT event_store.metric_last_value('shop.last', 'number', 'value')});
for my $name (sort keys %values)
{
	execute('label.test', '{}', JSON::PP->new->utf8->encode({ v => $values{$name} }));
}
execute('label.test', '{}', encode_json({ v => "\x{e9}" x 5000 }));

my ($old, $new) = (parsed('prometheus'), parsed('openmetrics'));
for my $got ($old, $new)
{
	for my $name (sort keys %values)
	{
		is($got->{samples}{"label_test_count_total{database=postgres,v=$values{$name}}"}, '1.0', "label value: $name");
	}
	is($got->{samples}{'label_test_count_total{database=postgres,v=' . "\x{e9}" x 60 . '}'}, '1.0', 'a label value of 10 kB is cut, between characters');
	like($got->{families}{label_test_count}{help}, qr/^back\\slash "quote" new\nline \x{e9}/, 'help');
	is($got->{samples}{'orders_total{database=postgres}'}, 1.0 + keys(%values) . '.0', 'a counter whose name has _total gets no second one');
}

# numbers
execute('number', qq({"value": $_}), '{"kind": "all"}') for '0.1', '1', '5e4', '1e5', '7e8', '1e22';
($old, $new) = (parsed('prometheus'), parsed('openmetrics'));
for my $got ($old, $new)
{
	my @bounds = $got->{text} =~ /^shop_spread_bucket\{database="postgres",le="([^"]+)"\}/mg;
	is("@bounds", '-5.0 0.001 1.0 100000.0 1e+06 1.23456789e+08 1e+21 +Inf', 'bounds are spelled as Go does, whole ones with a point');
	my @counts = $got->{text} =~ /^shop_spread_bucket\{.*\} (\d+)$/mg;
	is("@counts", '0 0 2 4 4 4 5 6', 'buckets are cumulative');
	is($got->{samples}{'shop_last{database=postgres}'}, '1e+22', 'a large value');
	is($got->{families}{shop_size_bytes}{unit}, $got == $new ? 'bytes' : '', 'the unit of a user\'s metric');
	is($got->{samples}{'shop_sketch{database=postgres,quantile=0.0}'}, '0.1', 'the least is quantile 0');
	is($got->{samples}{'shop_sketch{database=postgres,quantile=1.0}'}, '1e+22', 'the greatest is quantile 1');
}
like($old->{text}, qr/^shop_spread_sum\{database="postgres"\} 1.0000000000000\d+e\+22$/m, 'a sum');
unlike($new->{text}, qr/^shop_spread_(?:sum|count)/m, 'OpenMetrics has no sum where bounds are negative');
like($new->{text}, qr/^shop_size_bytes_sum/m, 'otherwise it has');

execute('number', '{"value": -3e22}', '{"kind": "all"}');
($old, $new) = (parsed('prometheus'), parsed('openmetrics'));
like($old->{text}, qr/^shop_size_bytes_sum\{database="postgres"\} -/m, 'a sum that has become negative');
unlike($new->{text}, qr/^shop_size_bytes_(?:sum|count)/m, 'is none for OpenMetrics');
unlike($new->{text}, qr/quantile="0.0"/, 'nor is a negative quantile');

# sums that leave the numbers
execute('number', '{"value": 1e308}', '{"kind": "infinite"}') for 1 .. 2;
like(parsed($_)->{text}, qr/^shop_sum\{database="postgres",kind="infinite"\} \+Inf$/m, "$_: +Inf") for 'prometheus', 'openmetrics';
execute('number', '{"value": -1e308}', '{"kind": "less"}') for 1 .. 2;
like(parsed($_)->{text}, qr/^shop_sum\{database="postgres",kind="less"\} -Inf$/m, "$_: -Inf") for 'prometheus', 'openmetrics';

# ---- several databases -----------------------------------------------------

$node->safe_psql('postgres', q{CREATE DATABASE "o""ther\\"});
my $other = 'o"ther\\';
$node->safe_psql(
	$other, q{
	CREATE EXTENSION event_store;
	SELECT event_store.metric_counter('label.test.count', tags => '{v}', description => 'otherwise');
	SELECT event_store.metric_counter('shop.last', 'number');
	SELECT event_store.metric_last_value('shop.size_bytes_count', 'number', 'value');
	SELECT event_store.metric_counter('only.there', 'number')});
execute('label.test', '{}', '{"v": "x"}', $other);
execute('number', '{"value": 1}', '{}', $other);
for my $format ('prometheus', 'openmetrics')
{
	my $got = parsed($format);

	is($got->{samples}{"label_test_count_total{database=$other,v=x}"}, '1.0', 'metrics of one name in two databases');
	is($got->{samples}{'label_test_count_total{database=postgres,v=}'}, '1.0', 'are one family');
	is($got->{samples}{"only_there_total{database=$other}"}, '1.0', 'each tells of all databases');
	is($got->{families}{shop_last}{type}, 'gauge', 'of two metrics of one name and two types the first counts');
	ok(!exists $got->{samples}{"shop_last_total{database=$other}"}, 'and the other is left out');
	ok(!exists $got->{samples}{"shop_size_bytes_count{database=$other}"}, 'as is one that is called like a part of another');
	like($got->{text}, qr/^# left out: counter shop_last of database \d+, for there is gauge shop_last$/m, 'which is said')
	  if $format eq 'prometheus';
}
is(parsed('prometheus', $other)->{samples}{'label_test_count_total{database=postgres,v=}'}, '1.0', 'whichever one asks');

# other encodings
$node->safe_psql('postgres', q{CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0});
$node->safe_psql(
	'latin', q{
	CREATE EXTENSION event_store;
	SELECT event_store.metric_counter('latin.test', 'latin', tags => '{v}', description => U&'caf\00e9');
	SELECT event_store.telemetry_execute('latin', '{}', jsonb_build_object('v', 'caf' || chr(233)))});
is(parsed($_, 'latin')->{samples}{'latin_test_total{database=latin,v=caf?}'}, '1.0', "$_ in a database of LATIN1") for 'prometheus', 'openmetrics';
is(parsed($_)->{samples}{'latin_test_total{database=latin,v=caf?}'}, '1.0', 'and seen from one of UTF-8') for 'prometheus', 'openmetrics';

# ---- rights ----------------------------------------------------------------

$node->safe_psql('postgres', 'CREATE ROLE scraper LOGIN; CREATE ROLE guest LOGIN; GRANT pg_monitor TO scraper');
for my $function ('prometheus', 'openmetrics')
{
	is($node->safe_psql('postgres', "SET ROLE scraper; SELECT event_store.$function() <> ''"), 't', "a monitor may call $function()");
	sqlstate_is($node, "SET ROLE guest; SELECT event_store.$function()", '42501', 'others may not');
}

$node->stop;
done_testing();
