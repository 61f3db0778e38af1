#!/usr/bin/perl
# Writes what tells of each metric of src/observe/metrics.def: the queries for
# exporters, the table in doc/telemetry.md, and in the dashboard a panel for
# each metric that no panel shows yet (move and rename it there as you like).
#
#	make monitoring

use strict;
use warnings FATAL => 'all';

use FindBin;
use JSON::PP;

my $here = $FindBin::RealBin;
my $root = "$here/../..";
my $out = $ARGV[0] // $here;		# directory for the files, $root/doc/telemetry.md only without it
my $view = 'event_store.metrics';

sub content
{
	my ($path) = @_;
	open(my $file, '<', $path) or die "$path: $!\n";
	local $/;
	return scalar <$file>;
}

sub put
{
	my ($path, $text) = @_;
	open(my $file, '>', $path) or die "$path: $!\n";
	print $file $text;
	close($file) or die "$path: $!\n";
	return;
}

# ---- the list --------------------------------------------------------------

my %label_of = content("$root/src/observe/collect.c") =~ /\[ES_DIM_(\w+)\] = \{"(\w+)"/g;
my @metrics;
{
	my $list = content("$root/src/observe/metrics.def");
	$list =~ s{/\*.*?\*/}{}gs;
	while ($list =~ /\bES_(COUNTER|HISTOGRAM|STORE_COUNTER|GAUGE)\((\w+),\s*"(\w+)",\s*"(\w*)",\s*("[^"]*"|\w+),([^"]*)"((?:[^"\\]|\\.)*)"\)/g)
	{
		my ($macro, $name, $unit, $labels, $help) = ($1, "event_store_$3", $4, $5, $7);
		my @labels = $labels =~ /^"(.*)"$/ ? split(/, */, $1) : $label_of{$labels} // ();
		unshift @labels, 'database', 'store' if $macro eq 'STORE_COUNTER';
		my $type = $macro eq 'HISTOGRAM' ? 'histogram' : $macro eq 'GAUGE' ? 'gauge' : 'counter';
		my $exported = $type eq 'counter' ? "${name}_total" : $name;
		my ($key, $column) = $exported =~ /^(\w+)_([a-z0-9]+)$/;
		push @metrics,
		  {
			type => $type,
			name => $name,
			exported => $exported,
			unit => $unit,
			labels => \@labels,
			help => $help,
			key => $key,
			column => $column,
			from_tags => join('', map { "tags ->> '$_' AS $_, " } @labels),
		  };
	}
}

# Buckets as two arrays, as pgexporter and postgres_exporter want them.
sub arrays
{
	my ($m) = @_;
	return "array_agg((b ->> 'le')::float8 ORDER BY n) AS $m->{column}, "
	  . "array_agg((b ->> 'count')::bigint ORDER BY n) AS $m->{column}_bucket, sum AS $m->{column}_sum, count AS $m->{column}_count";
}

# The clauses of a query for one metric, with the columns that an exporter takes as one.
sub query
{
	my ($m) = @_;
	return ("SELECT $m->{from_tags}value AS $m->{column}", "FROM $view", "WHERE name = '$m->{name}'") if $m->{type} ne 'histogram';
	return (
		"SELECT $m->{from_tags}" . arrays($m),
		"FROM $view, jsonb_array_elements(buckets) WITH ORDINALITY AS u(b, n)",
		"WHERE name = '$m->{name}' AND b ->> 'le' <> '+Inf'",
		'GROUP BY tags, sum, count');
}

# ---- files for exporters ---------------------------------------------------

sub pgexporter
{
	my $text = "# Queries for pgexporter: metrics_path = pgexporter.yml. It puts pgexporter_ before the names; prometheus.yml says how to take that away.\n"
	  . "version: 15\nmetrics:\n";

	for my $m (@metrics)
	{
		$text .= "- tag: $m->{key}\n  collector: event_store\n  sort: data\n  server: both\n  queries:\n  - query: " . join(' ', query($m)) . ";\n    columns:\n";
		$text .= "    - name: $_\n      type: label\n" for @{ $m->{labels} };
		$text .= "    - name: $m->{column}\n      type: $m->{type}\n      description: \"$m->{help}\"\n";
	}
	return $text;
}

sub postgres_exporter
{
	my $text = <<'HEAD';
# Queries for postgres_exporter: --extend.query-path=postgres_exporter.yml. The metrics are called as those of
# the endpoint. The role that asks needs pg_monitor. What is counted for each database comes from the one that the exporter is
# connected to.
HEAD

	for my $m (@metrics)
	{
		$text .= "\n$m->{key}:\n  query: |\n" . join('', map { "    $_\n" } query($m)) . "  metrics:\n";
		$text .= "    - $_:\n        usage: LABEL\n        description: $_\n" for @{ $m->{labels} };
		$text .= "    - $m->{column}:\n        usage: " . uc($m->{type}) . "\n        description: \"$m->{help}\"\n";
	}
	return $text;
}

sub sql_exporter
{
	my $text = <<'HEAD';
# Queries for sql_exporter (github.com/justwatchcom/sql_exporter, Debian's prometheus-sql-exporter): -config.file sql_exporter.yml.
# It puts sql_ before the names, which prometheus.yml takes away again, and adds the label database itself. The role that asks
# needs pg_monitor.
jobs:
  - name: event_store
    interval: 15s
    connections:
      - postgres://exporter@localhost/postgres?sslmode=disable
    queries:
HEAD

	for my $m (@metrics)
	{
		my @labels = grep { $_ ne 'database' } @{ $m->{labels} };
		my $tags = join '', map { $_ eq 'store' ? "coalesce(tags ->> 'store', '') AS store, " : "tags ->> '$_' AS $_, " } @labels;
		my @parts = $m->{type} eq 'histogram'
		  ? ([ '_bucket', "b ->> 'le' AS le, (b ->> 'count')::float8", ", jsonb_array_elements(buckets) AS b", 'le' ],
			[ '_sum', 'sum::float8', '' ], [ '_count', 'count::float8', '' ])
		  : ([ $m->{type} eq 'counter' ? '_total' : '', 'value', '' ]);

		for my $part (@parts)
		{
			my ($suffix, $value, $from, @more) = @$part;
			my $names = join ', ', @labels, @more;

			$value .= ' AS value' if $value ne 'value';
			$text .= "      - name: $m->{name}$suffix\n        help: \"$m->{help}\"\n";
			$text .= "        labels: [$names]\n" if $names ne '';
			$text .= "        values: [value]\n        allow_zero_rows: true\n        query: |\n";
			$text .= "          SELECT $tags$value\n          FROM $view$from\n          WHERE name = '$m->{name}'\n";
		}
	}
	return $text;
}

# ---- the dashboard ---------------------------------------------------------

sub dashboard
{
	my $text = content("$here/grafana.json");
	my $json = JSON::PP->new->indent->indent_length(1)->space_after->canonical;
	my $dashboard = decode_json($text);
	my @missing = grep { $text !~ /\b$_->{name}(?:_total|_bucket|_sum|_count)?\b/ } @metrics;
	my ($id, $y) = (0, 0);

	return $text if !@missing;
	for my $panel (@{ $dashboard->{panels} })
	{
		my $grid = $panel->{gridPos};
		$id = $panel->{id} if $panel->{id} > $id;
		$y = $grid->{y} + $grid->{h} if $grid->{y} + $grid->{h} > $y;
	}
	my $source = { type => 'prometheus', uid => '${datasource}' };
	for my $i (0 .. $#missing)
	{
		my $m = $missing[$i];
		my @by = grep { $_ ne 'database' } @{ $m->{labels} };
		my $by = join(', ', @by) || 'instance';
		my $filter = join ',', map { qq{$_=~"\$$_"} } 'instance', grep { /^(?:database|store)$/ } @{ $m->{labels} };
		my $of = $m->{type} eq 'histogram'
		  ? "histogram_quantile(0.99, sum by (" . join(', ', 'le', @by) . ") (rate($m->{name}_bucket{$filter}[\$__rate_interval])))"
		  : $m->{type} eq 'counter' ? "sum by ($by) (rate($m->{exported}\{$filter}[\$__rate_interval]))" : "max by ($by) ($m->{name}\{$filter})";
		(my $title = ucfirst(substr($m->{name}, length 'event_store_'))) =~ tr/_/ /;

		push @{ $dashboard->{panels} },
		  {
			id => ++$id,
			type => 'timeseries',
			title => $title . ($m->{type} eq 'histogram' ? ' (p99)' : ''),
			datasource => $source,
			gridPos => { x => 8 * ($i % 3), y => $y + 8 * int($i / 3), w => 8, h => 8 },
			fieldConfig => { defaults => { unit => $m->{unit} eq 'seconds' ? 's' : $m->{type} eq 'counter' ? 'ops' : 'short', min => 0 }, overrides => [] },
			targets => [ { refId => 'A', datasource => $source, expr => $of, legendFormat => join(' ', map { "{{$_}}" } split /, /, $by) } ],
			options => { legend => { displayMode => 'table', placement => 'bottom', calcs => [ 'lastNotNull', 'max' ] }, tooltip => { mode => 'multi' } },
		  };
	}
	return $json->encode($dashboard);
}

# ---- the manual ------------------------------------------------------------

sub manual
{
	my $text = content("$root/doc/telemetry.md");
	my $rows = join '', map { sprintf "| `%s` | %s | %s | %s | %s |\n", $_->{exported}, $_->{type}, $_->{unit}, join(', ', @{ $_->{labels} }), $_->{help} } @metrics;

	$text =~ s/(?:^\| `event_store_\w+` \|.*\n)+/$rows/m;
	return $text;
}

put("$out/pgexporter.yml", pgexporter());
put("$out/postgres_exporter.yml", postgres_exporter());
put("$out/sql_exporter.yml", sql_exporter());
put("$out/grafana.json", dashboard());
put("$root/doc/telemetry.md", manual()) if !@ARGV;
