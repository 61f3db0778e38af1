# append_many from many sessions at once, in random order, and over very many
# streams: nobody deadlocks and nobody else is harmed.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ESTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $transactions = $ENV{ES_SECONDS} ? 100 * $ENV{ES_SECONDS} : 150;
my $node = new_node('main', conf => "deadlock_timeout = 10ms\n");

# reliability 30: multi-stream appends in random order
#
# Each call draws four of twelve streams in random order, some of them only to
# be checked, and now and then so many that the log is locked instead; others
# append to one stream.  pgbench fails if any of them meets an error.
{
	my %script = (
		few => q{
SELECT count(*) FROM event_store.append_many((
	SELECT jsonb_agg(CASE WHEN n < 4
		THEN jsonb_build_object('stream', 's-' || s, 'events', '[{"type": "A", "data": 1}, {"type": "B", "data": 2}]'::jsonb)
		ELSE jsonb_build_object('stream', 's-' || s, 'expected', 'exists') END)
	FROM (SELECT s, row_number() OVER () AS n FROM generate_series(1, 12) s ORDER BY random() LIMIT 4) x));
},
		all => q{
SELECT count(*) FROM event_store.append_many((
	SELECT jsonb_agg(jsonb_build_object('stream', 's-' || s, 'events', '{"type": "C", "data": 1}'::jsonb) ORDER BY random())
	FROM generate_series(1, 12) s));
},
		one => q{
\set s random(1, 12)
SELECT event_store.append_event('s-' || :s, 'D');
});
	my $dir = PostgreSQL::Test::Utils::tempdir;
	my @files;
	for my $name (sort keys %script)
	{
		append_to_file("$dir/$name", $script{$name});
		push @files, '-f', "$dir/$name\@" . ($name eq 'few' ? 6 : 1);
	}
	$node->safe_psql('postgres', q{
		ALTER DATABASE postgres SET event_store.max_stream_locks = 8;
		SELECT event_store.append_event('s-' || n, 'Begun') FROM generate_series(1, 12) n;});
	$node->command_ok(
		[ 'pgbench', '-n', '-M', 'prepared', '-c', 12, '-j', 2, '-t', $transactions, @files, 'postgres' ],
		'appends to many streams in random order by 12 clients meet no error');
	is( $node->safe_psql('postgres', q{SELECT deadlocks FROM pg_stat_database WHERE datname = 'postgres'}),
		0, 'and no deadlock');
	unlike(slurp_file($node->logfile), qr/deadlock detected/, 'the log tells of none either');
	is( $node->safe_psql('postgres', q{
			SELECT count(*) FROM (
				SELECT version, position, row_number() OVER w AS n, lag(position) OVER w AS before
				FROM event_store.read_all(max_count => NULL) WINDOW w AS (PARTITION BY stream ORDER BY version)) x
			WHERE version <> n OR position <= before}),
		0, 'versions have no gap, and positions rise with them');
	$node->safe_psql('postgres', 'ALTER DATABASE postgres RESET event_store.max_stream_locks');
}

# Indexes are built and dropped while others append: what is in them then is
# exactly what is in the table.
{
	my $dir = PostgreSQL::Test::Utils::tempdir;
	append_to_file("$dir/one", q{
\set s random(1, 100)
SELECT event_store.append('t-' || :s, '[{"type": "A", "data": 1, "correlation_id": "00000000-0000-4000-8000-0000000000aa"}, {"type": "B", "data": 2}]');
});
	my $in = '';
	my $out = '';
	my $appends = IPC::Run::start(
		[ 'pgbench', '-n', '-M', 'prepared', '-c', 4, '-T', 60, '-f', "$dir/one", $node->connstr('postgres') ],
		'<', \$in, '>', \$out, '2>&1');
	my $before = last_position($node);
	for my $round (1 .. 3)
	{
		# the rows of the last round and those of this one
		wait_for($node, "SELECT max(position) > $before + 500 FROM event_log", "round $round: appends go on");
		$before = last_position($node);
		$node->safe_psql('postgres', "CALL event_store.add_index('$_')") for qw(type correlation time);
		wait_for($node, "SELECT max(position) > $before + 100 FROM event_log", "round $round: also with indexes");
		last if $round == 3;
		$node->safe_psql('postgres', "CALL event_store.drop_index('$_')") for qw(type correlation time);
	}
	ok($appends->pumpable, 'the appends have met no error');
	$appends->kill_kill;
	wait_for($node, 'SELECT count(*) = 0 FROM event_store.in_flight()', 'they have ended');
	is( $node->safe_psql('postgres', q{
			SELECT count(*) FROM pg_index WHERE indrelid = 'event_log'::regclass AND NOT indisunique AND indisvalid}),
		3, 'three indexes are there and valid');
	$node->safe_psql('postgres', 'CREATE EXTENSION amcheck');
	is( $node->safe_psql('postgres', q{
			SELECT count(*) FROM pg_index,
				LATERAL bt_index_check(indexrelid, heapallindexed => true) WHERE indrelid = 'event_log'::regclass}),
		6, 'no row is missing in them');
	is( $node->safe_psql('postgres', q{
			SELECT (SELECT count(*) FROM event_store.read_by_type('{A, B}', max_count => NULL))
				= (SELECT count(*) FROM event_log WHERE event_type IN ('A', 'B'))
			AND (SELECT count(*) FROM event_store.read_by_correlation('00000000-0000-4000-8000-0000000000aa', max_count => NULL))
				= (SELECT count(*) FROM event_log WHERE correlation_id IS NOT NULL)}),
		't', 'and reads along them give all');
}

# reliability 12: 100,000 streams in one transaction, other sessions unharmed
{
	my $other = 'other';
	$node->safe_psql('postgres', "SELECT event_store.create_store('$other')");
	my $big = session($node);
	$big->query_safe('BEGIN');
	is( $big->query_safe(q{
			SELECT count(*), count(DISTINCT stream), sum(last_version) FROM event_store.append_many((
				SELECT jsonb_agg(jsonb_build_object('stream', 'big-' || n, 'events', '{"type": "A", "data": 1}'::jsonb, 'expected', 0))
				FROM generate_series(1, 100000) n))}),
		'100000|100000|100000', 'an append to 100,000 streams');
	is( $big->query_safe(q{
			SELECT count(*) FROM event_store.append_many((
				SELECT jsonb_agg(jsonb_build_object('stream', 'big-' || n, 'expected', 1)) FROM generate_series(1, 100000) n))}),
		'100000', 'and a check of all of them');
	cmp_ok(
		$node->safe_psql('postgres', 'SELECT count(*) FROM pg_locks WHERE pid = ' . session_pid($big)),
		'<', 50, 'hold few locks');
	# what needs locks of other sessions: many tables, another store with very many streams one by one
	is( $node->safe_psql('postgres', qq{
			SELECT count(*) FROM event_store.read_all(max_count => 10);
			CREATE SCHEMA tables;
			SELECT format('CREATE TABLE tables.t%s (i int)', n) FROM generate_series(1, 500) n \\gexec
			SET search_path = $other;
			SET event_store.max_stream_locks = 2000;
			SELECT count(*) FROM event_store.append_many((
				SELECT jsonb_agg(jsonb_build_object('stream', 'x-' || n, 'events', '{"type": "A", "data": 1}'::jsonb))
				FROM generate_series(1, 2000) n))}),
		"10\n2000", 'other sessions read, make tables and append to another store meanwhile');
	$big->query_safe('COMMIT');
	is( $node->safe_psql('postgres', q{SELECT count(*), count(DISTINCT stream) FROM event_store.read_category('big', max_count => NULL)}),
		'100000|100000', 'all of it is there after the commit');
	$big->quit;
}

$node->stop;
done_testing();
