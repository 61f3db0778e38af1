# The files for monitoring (doc/monitoring) fit the metrics there are: nothing
# in them names one that does not exist, the alerts and the dashboard are valid,
# each alert is raised by what it is for, and what exporters make of the queries
# is what the extension itself tells.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ESTest;
use ESTest::Http;
use IPC::Run;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my $files = "$FindBin::RealBin/../../doc/monitoring";
my $node = new_node('main');
$node->safe_psql('postgres', 'CREATE ROLE exporter LOGIN; GRANT pg_monitor TO exporter');

sub program
{
	my ($name) = @_;
	my ($path) = grep { -x } map { "$_/$name" } split /:/, $ENV{PATH};
	return $path;
}

# series with their labels, but for those that an exporter adds: {name{labels}} = value
sub series
{
	my ($text, %without) = @_;
	my %series;

	while ($text =~ /^(event_store_\w+)(?:\{(.*)\})? (\S+)$/mg)
	{
		my ($name, $labels, $value) = ($1, $2 // '', $3);
		my @labels;
		while ($labels =~ /(\w+)="((?:[^"\\]|\\.)*)"/g)
		{
			my ($label, $content) = ($1, $2);
			next if $without{$label};
			# bounds are spelled in more than one way
			$content += 0 if $label eq 'le' && $content ne '+Inf';
			push @labels, "$label=$content" if $content ne '';
		}
		$series{ "$name\{" . join(',', sort @labels) . '}' } = $value + 0;
	}
	return \%series;
}

# An append of each outcome, a read of each kind, and a transaction that holds readers back.
my $conflict = append('order-1', expected => 7);
$node->safe_psql(
	'postgres', 'SELECT * FROM ' . append('order-1', count => 3) . ';
	BEGIN; SELECT * FROM ' . append('order-1') . '; ROLLBACK;
	SELECT count(*) FROM event_store.read_all();
	SELECT count(*) FROM event_store.read_stream(\'order-1\')');
$node->psql('postgres', "SELECT * FROM $conflict");
my $holder = session($node);
$holder->query_safe('BEGIN; SELECT * FROM ' . append('order-2'));

my $text = $node->safe_psql('postgres', 'SELECT event_store.prometheus()');
my %type = $text =~ /^# TYPE (\w+) (\w+)$/mg;
my %exists = map { $_ => 1 } map { $type{$_} eq 'histogram' ? ("${_}_bucket", "${_}_sum", "${_}_count") : $_ } keys %type;
my %labels;
while ($text =~ /^(event_store_\w+)\{(.*)\}/mg)
{
	my ($name, $list) = ($1, $2);
	$labels{$name}{$1} = 1 while $list =~ /(\w+)="/g;
}

# ---- names -----------------------------------------------------------------

my %content = map { m{([^/]+)$} => slurp_file($_) } glob "$files/*.{yml,json}";
for my $file (sort keys %content)
{
	my %named;
	# in queries metrics go by the names of the view, and columns follow the names
	my $expressions = $file =~ /^(?:rules|grafana|prometheus)/;

	$named{$1}++ while $content{$file} =~ /\b(event_store_\w+)/g;
	if ($expressions)
	{
		# a prefix stands for itself
		is(join(' ', grep { !$exists{$_} && $_ ne 'event_store_' && $_ ne 'event_store_http' } sort keys %named),
			'', "$file: every metric it names exists");
		while ($content{$file} =~ /\b(event_store_\w+)\{((?:[^{}"\\]|\\?"(?:[^"\\]|\\.)*?\\?")*)\}/g)
		{
			my ($name, $matchers) = ($1, $2);
			while ($matchers =~ /(\w+)=~?\\?"/g)
			{
				my $label = $1;
				ok($labels{$name}{$label} || $label eq 'instance', "$file: $name has the label $label");
			}
		}
	}
	else
	{
		my %in_view = map { $_ => 1 } split /\n/, $node->safe_psql('postgres', 'SELECT name FROM event_store.metrics');
		my %asked;
		$asked{$1} = 1 while $content{$file} =~ /'(event_store_\w+)'/g;
		is_deeply([ sort keys %asked ], [ sort keys %in_view ], "$file asks for every metric, and for none that does not exist");
	}
}

# ---- all of one list --------------------------------------------------------

my $made = PostgreSQL::Test::Utils::tempdir();
PostgreSQL::Test::Utils::system_or_bail('perl', "$files/generate.pl", $made);
for my $path (sort glob "$made/*")
{
	my ($file) = $path =~ m{([^/]+)$};
	ok(slurp_file($path) eq $content{$file}, "$file is what make monitoring writes");
}

# ---- the dashboard ---------------------------------------------------------

my $dashboard = decode_json($content{'grafana.json'});
my %ids;
my @expressions;
for my $panel (@{ $dashboard->{panels} })
{
	ok(!$ids{ $panel->{id} }++, "panel $panel->{title} has an id of its own");
	my $grid = $panel->{gridPos};
	ok($grid->{x} + $grid->{w} <= 24, 'and a place');
	push @expressions, map { $_->{expr} } @{ $panel->{targets} // [] };
}
cmp_ok(scalar @expressions, '>', 20, 'the dashboard asks for something');
{
	my $all = join "\n", @expressions;
	is(join(' ', grep { my $name = $_; $name =~ s/_(?:bucket|sum|count)$//; $all !~ /\Q$name\E/ } sort keys %exists), '', 'it shows every metric');
}

# ---- promtool --------------------------------------------------------------

SKIP:
{
	my $promtool = program('promtool');
	skip 'no promtool here', 4 if !$promtool;
	my $said = '';

	ok(IPC::Run::run([ $promtool, 'check', 'rules', "$files/rules.yml" ], '>&', \$said), 'promtool accepts the alerts') or diag $said;
	ok(IPC::Run::run([ $promtool, 'test', 'rules', "$files/rules.test.yml" ], '>&', \$said), 'each is raised by what it is for') or diag $said;
	my %alerts = map { $_ => 1 } $content{'rules.yml'} =~ /alert: (\w+)/g;
	delete $alerts{$_} for $content{'rules.test.yml'} =~ /alertname: (\w+)/g;
	is(join(' ', sort keys %alerts), '', 'each is tested');
	ok(IPC::Run::run([ $promtool, 'check', 'config', '--syntax-only', "$files/prometheus.yml" ], '>&', \$said), 'and the configuration')
	  or diag $said;

	# every expression of the dashboard is one, with values for Grafana's variables
	my $rules = "groups:\n- name: dashboard\n  rules:\n";
	for my $i (0 .. $#expressions)
	{
		my $expression = $expressions[$i];
		$expression =~ s/\$__rate_interval/5m/g;
		$expression =~ s/\$\w+/.*/g;
		$rules .= "  - record: r$i\n    expr: '$expression'\n";
	}
	my $path = PostgreSQL::Test::Utils::tempdir() . '/dashboard.yml';
	append_to_file($path, $rules);
	ok(IPC::Run::run([ $promtool, 'check', 'rules', $path ], '>&', \$said), 'promtool accepts what the dashboard asks') or diag $said;
}

# ---- exporters -------------------------------------------------------------

# What only the clock or the scrape itself changes.
my $moving = qr/^event_store_horizon_age_seconds/;

# The exporter tells what we tell.
sub served_ok
{
	my ($name, $command, $where, $edit, %options) = @_;
	my $log = PostgreSQL::Test::Utils::tempdir() . '/log';
	my $text = '';
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	local $ENV{DATA_SOURCE_NAME} = 'postgresql://exporter@/postgres?host=' . $node->host . '&port=' . $node->port . '&sslmode=disable';
	my $exporter = IPC::Run::start($command, '<', \undef, '>&', $log);
	my $deadline = time() + $PostgreSQL::Test::Utils::timeout_default;
	my $expected;
	my $got;

	# an exporter that asks now and then tells what was; nothing changes here
	do
	{
		usleep(100_000);
		my $answer = http_get($where, '/metrics', version => '1.0');
		$text = $edit->($answer ? $answer->{body} : '');
		$got = series($text, %{ $options{without} });
		$expected = series($node->safe_psql('postgres', 'SELECT event_store.prometheus()'), %{ $options{without} });
		for my $series ($got, $expected)
		{
			delete $series->{$_} for grep { /$moving/ } keys %$series;
		}
	} while (time() < $deadline && join(' ', map { "$_ $got->{$_}" } sort keys %$got) ne join(' ', map { "$_ $expected->{$_}" } sort keys %$expected));
	is_deeply($got, $expected, "$name serves what we tell") or diag slurp_file($log);
	like($text, qr/^event_store_horizon_age_seconds\{.*store="shop"/m, 'and what changes all the time');
	cmp_ok(scalar keys %$got, '>', 100, 'which is a lot');
	$exporter->kill_kill(grace => 5);
	return;
}

SKIP:
{
	my $program = program('prometheus-postgres-exporter');
	skip 'no prometheus-postgres-exporter here', 3 if !$program;
	my $where = '127.0.0.1:' . PostgreSQL::Test::Cluster::get_free_port();

	served_ok(
		'postgres_exporter',
		[
			$program, "--web.listen-address=$where", "--extend.query-path=$files/postgres_exporter.yml", '--disable-default-metrics',
			'--disable-settings-metrics', '--no-collector.database', '--no-collector.bgwriter'
		],
		$where,
		sub { $_[0] },
		without => { server => 1 });
}

SKIP:
{
	my $program = program('prometheus-sql-exporter');
	skip 'no prometheus-sql-exporter here', 3 if !$program;
	my $where = '127.0.0.1:' . PostgreSQL::Test::Cluster::get_free_port();
	my $path = PostgreSQL::Test::Utils::tempdir() . '/sql_exporter.yml';
	(my $config = $content{'sql_exporter.yml'}) =~
	  s{postgres://exporter\@localhost/postgres\?}{'postgres://exporter@/postgres?host=' . $node->host . '&port=' . $node->port . '&'}e
	  or die;
	$config =~ s/interval: 15s/interval: 1s/ or die;
	append_to_file($path, $config);

	# the relabelling of prometheus.yml
	served_ok('sql_exporter', [ $program, "-web.listen-address=$where", "-config.file=$path" ],
		$where, sub { $_[0] =~ s/^sql_(?=event_store_)//mgr }, without => { map { $_ => 1 } qw(col driver host sql_job user database) });
}

# pgexporter is in no package: its queries run, and give the columns that are named, of types that it reads.
{
	my ($tag, $query, @columns);
	my $check = sub {
		return if !defined $query;
		my $got = $node->safe_psql('postgres', "SET ROLE exporter; CREATE TEMP TABLE q AS $query;
			SELECT string_agg(attname, ' ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'q'::regclass AND attnum > 0");
		is($got, join(' ', map { $_->[1] eq 'histogram' ? ($_->[0], "$_->[0]_bucket", "$_->[0]_sum", "$_->[0]_count") : $_->[0] } @columns),
			"pgexporter.yml: $tag");
	};
	for my $line (split /\n/, $content{'pgexporter.yml'})
	{
		if ($line =~ /^- tag: (\w+)/) { $check->(); ($tag, $query, @columns) = ($1, undef) }
		elsif ($line =~ /^  - query: (.*);$/) { $query = $1 }
		elsif ($line =~ /^    - name: (\w+)/) { push @columns, [ $1, '' ] }
		elsif ($line =~ /^      type: (\w+)/) { $columns[-1][1] = $1 }
	}
	$check->();
}

$holder->quit;
$node->stop;
done_testing();
