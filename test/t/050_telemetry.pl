# Counts under concurrency, and over the ends of sessions and of the server:
# totals are exact, never go back but for a reset or a crash, and do not grow
# in memory.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ESTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $root = "$FindBin::RealBin/../..";
my $node = new_node('main', init => { allows_streaming => 1 }, conf => q{
max_prepared_transactions = 2
event_store.max_series = 64
restart_after_crash = on
});

sub query { return $node->safe_psql('postgres', $_[0]); }

sub counter
{
	my ($name, $tags) = @_;
	return query(sprintf q{SELECT coalesce(sum(value), 0) FROM event_store.metrics WHERE name = '%s' AND tags @> '%s'},
		$name, $tags // '{}');
}

# Everything that is counted, but for gauges.
sub totals
{
	return query(q{SELECT name, tags, value, count, sum, min, max, buckets FROM event_store.metrics
		WHERE name !~ '_info$' AND name !~ 'horizon|head_position|start_time' ORDER BY name, tags::text});
}

sub started { return query('SELECT started_at FROM event_store.telemetry_info()'); }

# Runs scripts in so many sessions, each so many times.
sub pgbench
{
	my ($clients, $times, @scripts) = @_;
	my @files;
	for my $script (@scripts)
	{
		my $file = PostgreSQL::Test::Utils::tempdir() . '/script';
		append_to_file($file, $script);
		push @files, '-f', $file;
	}
	command_ok(['pgbench', '-n', '-c', $clients, '-t', $times, '-h', $node->host, '-p', $node->port, @files, 'postgres'],
		"$clients sessions run");
	return;
}

query(q{SELECT event_store.metric_counter('t.tick.count'), event_store.metric_sum('t.tick.amount', tags => '{kind}'),
	event_store.metric_last_value('t.tick.last', measurement => 'amount'),
	event_store.metric_distribution('t.tick.spread', measurement => 'amount', buckets => '{1,2,3}'),
	event_store.metric_summary('t.tick.sketch', measurement => 'amount'),
	event_store.metric_counter('t.attempt.count', commit_rule => 'immediate')});

# ---- exact under concurrency ------------------------------------------------

# systems 6.3.3
pgbench(8, 100, q{SELECT count(event_store.telemetry_execute('t.tick', '{"amount": 2}', '{"kind": "a"}')) FROM generate_series(1, 1000);});
is(counter('t.tick.count'), 800000, '8 sessions count 100000 times each');
is(counter('t.tick.amount'), 1600000, 'their sum');
is(query(q{SELECT count, sum, min, max FROM event_store.metrics WHERE name = 't.tick.spread'}), '800000|1600000|2|2', 'their distribution');
is(query(q{SELECT count, sum FROM event_store.metrics WHERE name = 't.tick.sketch'}), '800000|1600000', 'their summary');

# systems 6.3.14: the last value is one of those written
pgbench(8, 50, q{SELECT event_store.telemetry_execute('t.tick', jsonb_build_object('amount', 1000 + :client_id), '{"kind": "a"}');});
cmp_ok(counter('t.tick.last'), '>=', 1000, 'the last value is one of those written');
cmp_ok(counter('t.tick.last'), '<=', 1007, 'and no other');

# Appends that commit, roll back, and roll back in part.
pgbench(8, 60,
	'SELECT * FROM ' . append('s-:client_id', count => 3) . ";\n",
	'BEGIN; SELECT * FROM ' . append('s-:client_id', count => 2) . "; ROLLBACK;\n",
	'BEGIN; SELECT * FROM ' . append('s-:client_id') . '; SAVEPOINT a; SELECT * FROM ' . append('s-:client_id', count => 5)
	  . '; ROLLBACK TO a; SAVEPOINT b; SELECT * FROM ' . append('s-:client_id') . "; RELEASE b; COMMIT;\n");
is(counter('event_store_events_appended'), query('SELECT count(*) FROM event_log'), 'events are counted as they stand in the log');
is(query('SELECT bool_and(counted = stored) FROM event_store.telemetry_verify()'), 't', 'telemetry_verify says so too');
is( query(q{SELECT sum(count) = (SELECT sum(value) FROM event_store.metrics WHERE name = 'event_store_append_calls')
	FROM event_store.metrics WHERE name = 'event_store_append_duration_seconds'}), 't', 'every call is measured once');
cmp_ok(counter('event_store_append_calls', '{"outcome": "rollback"}'), '>', 0, 'those rolled back are counted apart');

# Conflicts: eight sessions want the same version.
my ($conflicts, $ok) = (counter('event_store_append_calls', '{"outcome": "conflict"}'), counter('event_store_events_appended'));
pgbench(8, 40, q{DO $$ BEGIN PERFORM event_store.append_event('one', 'A', expected => event_store.stream_version('one'));
	EXCEPTION WHEN SQLSTATE 'VE001' THEN NULL; END $$;});
is(counter('event_store_append_calls', '{"outcome": "conflict"}') - $conflicts + counter('event_store_events_appended') - $ok, 320,
	'each of them has appended or met with a conflict');

# systems 6.3.2: PREPARE publishes, whatever follows
my $before = counter('t.tick.count');
query(q{BEGIN; SELECT event_store.telemetry_execute('t.tick', '{"amount": 1}', '{"kind": "a"}'); PREPARE TRANSACTION 'p'});
is(counter('t.tick.count'), $before + 1, 'a prepared transaction has counted');
query(q{ROLLBACK PREPARED 'p'});
is(counter('t.tick.count'), $before + 1, 'and is not asked again');

# ---- sessions that end ------------------------------------------------------

# What a session has counted stays when it ends, also if it is terminated.
my $session = session($node);
my $pid = session_pid($session);
$session->query_safe('SELECT count(*) FROM event_store.read_all()') for 1 .. 10;
my $reads = counter('event_store_read_calls', '{"kind": "all"}');
$session->query_safe(q{BEGIN; SELECT event_store.telemetry_execute('t.tick', '{"amount": 1}', '{"kind": "a"}');
	SELECT event_store.telemetry_execute('t.attempt'); SELECT * FROM } . append('gone'));
my $rollbacks = counter('event_store_append_calls', '{"outcome": "rollback"}');
query("SELECT pg_terminate_backend($pid, 60000)");
$session->{run}->finish;
is(counter('event_store_read_calls', '{"kind": "all"}'), $reads, 'totals stay when a session is terminated');
is(counter('t.tick.count'), $before + 1, 'what it had not committed is not counted');
is(counter('t.attempt.count'), 1, 'but what counts at once');
is(counter('event_store_append_calls', '{"outcome": "rollback"}'), $rollbacks + 1, 'and its append as rolled back');

# While sessions come and go and somebody resets another metric, no total goes back.
{
	my $file = PostgreSQL::Test::Utils::tempdir() . '/script';
	append_to_file($file, "SELECT count(*) FROM event_store.read_stream('one');\n");
	my ($last, $back, $first) = (0, 0, counter('event_store_read_calls', '{"kind": "stream"}'));
	my $load = IPC::Run::start(
		['pgbench', '-n', '-C', '-c', 4, '-t', 40, '-h', $node->host, '-p', $node->port, '-f', $file, 'postgres'],
		'>', \my $out, '2>', \my $err);
	while ($load->pumpable)
	{
		$load->pump_nb;
		my $n = counter('event_store_read_calls', '{"kind": "stream"}');
		$back++ if $n < $last;
		$last = $n;
		query(q{SELECT event_store.telemetry_reset('event_store_read_duration_seconds')});
	}
	$load->finish;
	is($back, 0, 'no total goes back');
	is(counter('event_store_read_calls', '{"kind": "stream"}'), $first + 160, 'and none is lost');
	is(query(q{SELECT bool_and(count BETWEEN 0 AND 160 AND sum >= 0) FROM event_store.metrics
		WHERE name = 'event_store_read_duration_seconds' AND tags ->> 'kind' = 'stream'}), 't', 'a reset under load leaves nothing negative');
}

# ---- label sets without end -------------------------------------------------

# systems 6.3.7
my $series = query('SELECT series FROM event_store.telemetry_info()');
query(q{SELECT event_store.metric_counter('t.many', 'many', tags => '{who}')});
my $memory = query(q{SELECT sum(allocated_size) FROM pg_shmem_allocations WHERE name LIKE 'event_store%'});
$session = session($node);
$session->query_safe(q{SELECT event_store.telemetry_execute('many', '{}', '{"who": "known"}')});
$session->query_safe(q{SELECT count(event_store.telemetry_execute('many', '{}', jsonb_build_object('who', n))) FROM generate_series(1, 1000) n});
my $used = $session->query_safe(q{SELECT sum(total_bytes) FROM pg_backend_memory_contexts WHERE name ~ 'event_store'});
$session->query_safe(q{SELECT count(event_store.telemetry_execute('many', '{}', jsonb_build_object('who', n))) FROM generate_series(1, 100000) n});
is($session->query_safe(q{SELECT sum(total_bytes) FROM pg_backend_memory_contexts WHERE name ~ 'event_store'}), $used,
	'a hundred thousand label sets take no memory of the session');
is(query(q{SELECT sum(allocated_size) FROM pg_shmem_allocations WHERE name LIKE 'event_store%'}), $memory, 'nor of the server');
is(query('SELECT series FROM event_store.telemetry_info()'), 64, 'the table of series is full');
is(counter('t.many'), 101001, 'everything is counted');
is(counter('t.many', '{"overflow": "true"}'), counter('event_store_telemetry_dropped', '{"reason": "max_series"}'), 'what found no room apart');
$session->query_safe(q{SELECT event_store.telemetry_execute('many', '{}', '{"who": "known"}')});
is(counter('t.many', '{"who": "known"}'), 2, 'a series that exists goes on');
$session->query_safe(q{SELECT event_store.metric_drop('t.many')});
$session->query_safe(q{SELECT event_store.telemetry_execute('t.tick', '{"amount": 1}', '{"kind": "new"}')});
is(counter('t.tick.amount', '{"kind": "new"}'), 1, 'and a dropped metric makes room');
$session->quit;

# ---- two sessions, two databases --------------------------------------------

# systems 6.3.9: a handler that fails in one session is gone in the others
query(q{CREATE FUNCTION public.bad(text, jsonb, jsonb, jsonb) RETURNS void LANGUAGE plpgsql AS 'BEGIN RAISE ''no''; END';
	CREATE SEQUENCE public.calls;
	CREATE OR REPLACE FUNCTION public.bad(text, jsonb, jsonb, jsonb) RETURNS void LANGUAGE plpgsql
	AS 'BEGIN PERFORM nextval(''public.calls''); RAISE EXCEPTION ''no''; END';
	SELECT event_store.telemetry_attach('bad', '{t.bad}', 'public.bad(text,jsonb,jsonb,jsonb)')});
$session = session($node);
$session->query_safe('SELECT count(*) FROM event_store.telemetry_handlers');
$session->query_safe(q{SELECT event_store.telemetry_execute('unheard')});
query(q{BEGIN; SELECT event_store.telemetry_execute('t.bad'); ROLLBACK});
$session->query_safe(q{SELECT event_store.telemetry_execute('t.bad')});
is($session->query_safe('SELECT last_value FROM public.calls'), 1, 'a failed handler runs in no session any more');
is(counter('event_store_telemetry_handler_failures'), 1, 'its failure is counted once');
query(q{SELECT event_store.telemetry_detach('bad')});
query(q{SELECT event_store.telemetry_attach('bad', '{t.bad}', 'public.bad(text,jsonb,jsonb,jsonb)')});
$session->query_safe(q{SELECT event_store.telemetry_execute('t.bad')});
is($session->query_safe('SELECT last_value FROM public.calls'), 2, 'attached again it is tried again');
$session->quit;

query('CREATE DATABASE other');
create_store($node, 'other', 'shop');
$node->safe_psql('other', 'SELECT * FROM ' . append('x-1', count => 7));
is($node->safe_psql('other', q{SELECT sum(value) FROM event_store.counters WHERE name = 'event_store_events_appended'}), 7,
	'a database sees its own stores');
is($node->safe_psql('other', q{SELECT count(*) FROM event_store.metrics WHERE name LIKE 't.%'}), 0, 'and its own metrics only');
query('DROP DATABASE other');
wait_for($node, q{SELECT series < 64 FROM event_store.telemetry_info()}, 'a dropped database gives its series back');

# ---- restarts ---------------------------------------------------------------

# systems 6.3.12
my $started = started();
for my $mode ('fast', 'smart')
{
	my $kept = totals();
	$node->stop($mode);
	ok(-e $node->data_dir . '/pg_stat/event_store.telemetry', 'the server keeps what it has counted');
	$node->start;
	ok(!-e $node->data_dir . '/pg_stat/event_store.telemetry', 'and takes it over');
	is(totals(), $kept, "everything is as before a $mode stop");
	is(started(), $started, 'and counting goes on');
}
query(q{SELECT event_store.telemetry_execute('t.tick', '{"amount": 1}', '{"kind": "new"}')});
is(counter('t.tick.amount', '{"kind": "new"}'), 2, 'a series counts on');

# With less room than before, what fits is taken over.
$node->stop('fast');
$node->append_conf('postgresql.conf', "event_store.max_series = 16\nevent_store.max_metrics = 3\n");
$node->start;
cmp_ok(query('SELECT series FROM event_store.telemetry_info()'), '<=', 16, 'a lowered limit holds');
is(counter('event_store_telemetry_handler_failures'), 2, 'and what fits is there');
$node->stop('fast');
$node->append_conf('postgresql.conf', "event_store.max_series = 64\nevent_store.max_metrics = 500\n");
$node->start;

# A file that is none.
for my $garbage ('', 'x' x 5000)
{
	$node->stop('fast');
	my $file = $node->data_dir . '/pg_stat/event_store.telemetry';
	unlink $file;
	append_to_file($file, $garbage);
	$node->start;
	is(counter('t.tick.count'), 0, 'a file that is none counts for nothing');
	$started = started();
	query(q{SELECT event_store.telemetry_execute('t.tick', '{"amount": 1}', '{"kind": "a"}')});
}
{
	my $file = $node->data_dir . '/pg_stat/event_store.telemetry';
	$node->stop('fast');
	my $kept = slurp_file($file);
	for my $length (20, length($kept) / 2, length($kept) - 3)
	{
		unlink $file;
		append_to_file($file, substr($kept, 0, $length));
		$node->start;
		query(q{SELECT event_store.telemetry_execute('t.tick', '{"amount": 1}', '{"kind": "a"}')});
		cmp_ok(counter('t.tick.count'), '>=', 1, 'a file cut short does no harm');
		$node->stop('fast');
	}
	$node->start;
}

# A crash, of the server and of one backend.
query('SELECT * FROM ' . append('s-1'));
$started = started();
$node->stop('immediate');
$node->start;
is(counter('event_store_events_appended') . '|' . counter('t.tick.count'), '0|0', 'a crash begins at zero');
isnt(started(), $started, 'and tells so');
query('SELECT * FROM ' . append('s-1'));
$started = started();
$session = session($node);
kill 'KILL', session_pid($session);
$session->{run}->finish;
$node->poll_query_until('postgres', "SELECT started_at <> '$started' FROM event_store.telemetry_info()")
  or die 'the server did not come back';
is(counter('event_store_events_appended'), 0, 'so does a backend that is killed');
query('SELECT * FROM ' . append('s-1'));
is(counter('event_store_events_appended'), 1, 'and counting goes on');

# A reset of everything moves reset_at, and not started_at.
my $reset = query('SELECT reset_at FROM event_store.telemetry_info()');
$started = started();
query('SELECT event_store.telemetry_reset()');
is(counter('event_store_events_appended'), 0, 'a reset begins at zero');
is(query("SELECT reset_at > '$reset' FROM event_store.telemetry_info()") . started(), "t$started", 'and tells so');

# ---- a standby ---------------------------------------------------------------

query('SELECT * FROM ' . append('s-1', count => 4));
$node->stop('fast');
$node->backup_fs_cold('cold');
$node->start;
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'cold', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby);
my $on_standby = q{SELECT
	(SELECT tags ->> 'role' FROM event_store.metrics WHERE name = 'event_store_node_role_info'),
	(SELECT coalesce(sum(value), 0) FROM event_store.metrics WHERE name = 'event_store_events_appended'),
	(SELECT sum(value) FROM event_store.metrics WHERE name = 'event_store_events_read')};
is($standby->safe_psql('postgres', $on_standby), 'standby|0|0', 'a standby counts for itself');
is($standby->safe_psql('postgres', q{SELECT count(*) > 0 FROM event_store.read_stream('s-1');}), 't', 'it reads');
$standby->safe_psql('postgres', q{SELECT event_store.telemetry_execute('t.tick', '{"amount": 1}', '{"kind": "a"}')});
like($standby->safe_psql('postgres', $on_standby), qr/^standby\|0\|[1-9]/, 'and counts reads');
is($standby->safe_psql('postgres', q{SELECT value FROM event_store.metrics WHERE name = 't.tick.count'}), 1, 'and what users count');
sqlstate_is($standby, q{SELECT event_store.metric_counter('t.standby.count')}, '25006', 'but defines nothing');
$standby->promote;
$standby->safe_psql('postgres', 'SELECT * FROM ' . append('s-1'));
like($standby->safe_psql('postgres', $on_standby), qr/^primary\|1\|[1-9]/, 'promoted it counts on');
$standby->stop;

# ---- the manual --------------------------------------------------------------

# The table of metrics is the list that the code is made from.
sub listed
{
	my $def = slurp_file("$root/src/observe/metrics.def");
	my %labels = (NONE => '', slurp_file("$root/src/observe/collect.c") =~ /\[ES_DIM_(\w+)\] = \{"(\w+)"/g);
	my @rows;

	$def =~ s{/\*.*?\*/}{}gs;
	while ($def =~ /\bES_(COUNTER|HISTOGRAM|STORE_COUNTER|GAUGE)\((\w+),\s*"(\w+)",\s*"(\w*)",\s*("[^"]*"|\w+),([^"]*)"((?:[^"\\]|\\.)*)"\)/g)
	{
		my ($macro, $name, $unit, $labels, $help) = ($1, $3, $4, $5, $7);
		$labels = $labels =~ /^"(.*)"$/ ? $1 : $labels{$labels};
		$labels = join ', ', 'database, store', $labels || () if $macro eq 'STORE_COUNTER';
		my $type = $macro eq 'HISTOGRAM' ? 'histogram' : $macro eq 'GAUGE' ? 'gauge' : 'counter';
		push @rows, sprintf '| `event_store_%s%s` | %s | %s | %s | %s |', $name, $type eq 'counter' ? '_total' : '', $type, $unit, $labels, $help;
	}
	return @rows;
}
my @listed = listed();
my $manual = slurp_file("$root/doc/telemetry.md");
my @written = $manual =~ /^(\| `event_store_.*\|)$/mg;
s/ +/ /g for @listed, @written;
is(join("\n", sort @written), join("\n", sort @listed), 'the table of metrics in the manual is that of the code');
query('SELECT * FROM ' . append('s-1'));
my %in_view = map { $_ => 1 } split /\n/, query('SELECT DISTINCT name FROM event_store.metrics');
my @missing = grep { !$in_view{$_} } map { /`(\w+?)(?:_total)?`/ } grep { !/horizon_holder/ } @listed;
is("@missing", '', 'and that of the view');

$node->stop;
done_testing();
