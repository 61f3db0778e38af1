# Imports that are killed in the middle go on exactly where they were; they do
# not stand in the way of others; a file of events becomes a store.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ESTest;
use IO::Uncompress::Gunzip qw(gunzip $GunzipError);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $kills = $ENV{ES_CRASH_KILLS} || 4;
my $lines = 10_000;
my $node = new_node('main', conf => "restart_after_crash = on\ndeadlock_timeout = 10ms\n");

# The columns of a table to load.
my $columns = 'line bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, stream text, type text, data jsonb, created_at timestamptz';

sub make_lines
{
	my ($table, $kind) = @_;
	$node->safe_psql('postgres', qq{
		CREATE $kind TABLE public.$table ($columns);
		INSERT INTO public.$table (stream, type, data, created_at)
		SELECT 'case-' || CASE WHEN n = 5000 THEN 'gate' ELSE (n * 7919 % 211)::text END, 'Step', to_jsonb(n), timestamptz '2020-01-01' + n * interval '1 second'
		FROM generate_series(1, $lines) n});
	return;
}

# A CALL in a process of its own, whose fate is not ours.
sub start_import
{
	my ($table, @arguments) = @_;
	my ($in, $out) = ('', '');
	my $arguments = join ', ', "'$table'", @arguments;
	return IPC::Run::start(
		[ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', "CALL event_store.import_events($arguments)" ],
		'<', \$in, '>', \$out, '2>&1');
}

# A session that keeps imports from getting past line 5000: it has an append
# open to a stream that stands in that line only.
sub close_gate
{
	my $gate = session($node);
	$gate->query_safe("BEGIN; SELECT event_store.append_event('case-gate', 'Held')");
	return $gate;
}

sub wait_at_gate
{
	my ($name) = @_;
	return wait_for($node, q{SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'userlock' AND NOT granted)}, $name);
}

# The lines of a table are in the store once each, in their order, with
# versions in their order and nothing else changed.
sub is_imported
{
	my ($table, $what) = @_;
	is( $node->safe_psql('postgres', qq{
			SELECT count(*), count(*) FILTER (WHERE l.line IS NULL OR e.stream IS NULL), count(*) FILTER (WHERE version <> n),
				count(*) FILTER (WHERE e.created_at <> l.created_at)
			FROM (SELECT *, row_number() OVER (PARTITION BY stream ORDER BY line) AS n FROM $table) l
			FULL JOIN (SELECT *, row_number() OVER (ORDER BY position) AS place
				FROM event_store.read_category('case', max_count => NULL)) e
				ON l.line = e.place AND l.data = e.data AND l.stream = e.stream}),
		"$lines|0|0|0", "$what: every line is there once, at its place");
	is( $node->safe_psql('postgres', 'SELECT count(*) FROM event_store.verify_store() WHERE violations > 0'),
		0, "$what: the store is sound");
	return;
}

sub use_store
{
	my ($store) = @_;
	$node->safe_psql('postgres',
		"SELECT event_store.create_store('$store'); ALTER DATABASE postgres SET search_path = $store, public");
	return;
}

# reliability 4: SIGKILL of the backend and of the postmaster in the middle
{
	my $others = q{
\set s random(1, 50)
SELECT event_store.append_event('other-' || :s, 'Noted');
};
	my $dir = PostgreSQL::Test::Utils::tempdir;
	append_to_file("$dir/others", $others);
	make_lines('lines', '');
	for my $kill (1 .. $kills)
	{
		# two calls at once take turns, and others append
		use_store("killed_$kill");
		my $gate = close_gate();
		my @imports = map { start_import('lines', 'batch_size => 10') } 1 .. 1 + $kill % 2;
		my ($in, $out) = ('', '');
		my $load = IPC::Run::start(
			[ 'pgbench', '-n', '-c', 2, '-T', 60, '-f', "$dir/others", $node->connstr('postgres') ],
			'<', \$in, '>', \$out, '2>&1');

		wait_at_gate("kill $kill: some is imported");
		my @pids = split /\n/, $node->safe_psql('postgres',
			q{SELECT pid FROM pg_stat_activity WHERE query LIKE 'CALL%' ORDER BY random()});
		$gate->query_safe('ROLLBACK');
		usleep(int rand 30_000);
		if ($kill % 2)
		{
			kill 'KILL', $pids[0];
		}
		else
		{
			# as if the machine had stopped: a backend goes on until it looks for the postmaster
			my @all = split /\n/, $node->safe_psql('postgres', 'SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()');
			$node->kill9;
			kill 'KILL', @all;
			start_after_crash($node);
		}
		$_->finish for @imports, $load;
		$gate->quit;
		$node->poll_query_until('postgres', 'SELECT true');
		is( $node->safe_psql('postgres', qq{
				SELECT i.events = count(*) AND i.last_line = count(*) AND i.remaining = $lines - count(*)
				FROM event_store.imports i, event_store.read_category('case', max_count => NULL)
				WHERE schema = 'killed_$kill' GROUP BY i.events, i.last_line, i.remaining}),
			't', "kill $kill: the progress is that of the events");
		$node->safe_psql('postgres', q{CALL event_store.import_events('lines', batch_size => 1000)});
		is( $node->safe_psql('postgres', "SELECT events, remaining, last_line FROM event_store.imports WHERE schema = 'killed_$kill'"),
			"$lines|0|$lines", "kill $kill: another call imports the rest");
		is_imported('lines', "kill $kill");
	}
	is($node->safe_psql('postgres', q{SELECT deadlocks FROM pg_stat_database WHERE datname = 'postgres'}), 0, 'no deadlock');
}

# An unlogged table is empty after a crash, and can be loaded again.
{
	use_store('unlogged');
	make_lines('volatile', 'UNLOGGED');
	my $gate = close_gate();
	my $import = start_import('volatile', 'batch_size => 1000');
	wait_at_gate('some of the unlogged table is imported');
	kill 'KILL', $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE query LIKE 'CALL%'});
	$import->finish;
	$gate->quit;
	$node->poll_query_until('postgres', 'SELECT true');
	sqlstate_is($node, q{CALL event_store.import_events('volatile')}, '55000', 'an empty source is not taken for a complete import');
	$node->safe_psql('postgres', 'DROP TABLE volatile');
	make_lines('volatile', 'UNLOGGED');
	$node->safe_psql('postgres', q{CALL event_store.import_events('volatile')});
	is_imported('volatile', 'loaded again');
}

# Cancelled and terminated like any other statement; what was committed stays.
{
	use_store('cancelled');
	for my $how ('pg_cancel_backend', 'pg_terminate_backend')
	{
		my $gate = close_gate();
		my $import = start_import('lines', 'batch_size => 1000');
		wait_at_gate("$how: some is imported");
		is($node->safe_psql('postgres', qq{SELECT bool_and($how(pid)) FROM pg_stat_activity WHERE query LIKE 'CALL%'}), 't', $how);
		$import->finish;
		isnt($import->full_result(0), 0, "$how: the call ends with an error");
		$gate->quit;
	}
	is($node->safe_psql('postgres', q{SELECT events FROM event_store.imports WHERE schema = 'cancelled'}), 4000,
		'whole batches stay');
	$node->safe_psql('postgres', q{CALL event_store.import_events('lines')});
	is_imported('lines', 'cancelled');
}

# More streams than a transaction may lock one by one: nobody is kept out, and
# few locks are held at any time.
{
	use_store('wide');
	$node->safe_psql('postgres', qq{
		CREATE TABLE wide (LIKE lines INCLUDING ALL);
		INSERT INTO wide (line, stream, type, data, created_at) OVERRIDING SYSTEM VALUE
		SELECT n, 'case-' || n, 'Step', to_jsonb(n), 'epoch' FROM generate_series(1, $lines) n});
	my $import = start_import('wide');
	my ($appended, $most, $locked) = (0, 0, 0);
	my $session = session($node);
	$session->query_safe(q{SET lock_timeout = '10s'});
	while ($import->pumpable)
	{
		$session->query_safe(q{SELECT event_store.append_event('beside', 'Noted')});
		my $locks = $session->query_safe(q{SELECT count(*) FROM pg_locks WHERE locktype = 'userlock'});
		$most = $locks if $locks > $most;
		$locked += $session->query_safe(q{
			SELECT count(*) FROM pg_locks WHERE mode = 'ShareRowExclusiveLock' AND relation = 'event_log'::regclass});
		$appended++;
		$import->pump_nb;
	}
	$import->finish;
	cmp_ok($appended, '>', 0, 'another session has appended meanwhile');
	is($locked, 0, 'the log was never locked');
	cmp_ok($most, '<=', 1003, 'the import holds no more locks than it may');
	$session->quit;
	is_imported('wide', 'wide');
}

# A file: COPY and CALL.  The real log if there is one, else one made here.
{
	my $real = ($ENV{SHARED} // '') . '/data/sepsis.csv.gz';
	my $file = PostgreSQL::Test::Utils::tempdir . '/log.csv';
	my $count = 15214;

	if (-r $real)
	{
		gunzip $real => $file or die "$real: $GunzipError\n";
	}
	else
	{
		$count = 1000;
		append_to_file($file, join "\n", 'Case ID;Activity;Complete Timestamp',
			(map { 'C' . $_ % 17 . ";Step $_;2020/01/01 10:00:00.000" } 1 .. $count), '');
	}
	open(my $csv, '<', $file) or die "$file: $!\n";
	my $head = <$csv>;
	close($csv);
	$head =~ s/[\r\n"]//g;
	my @names = map { qq("$_") } split /;/, $head;

	use_store('patients');
	$node->safe_psql('postgres', 'CREATE TABLE patient_lines (line bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, '
		  . join(', ', map { "$_ text" } @names) . ')');
	$node->safe_psql('postgres', '\\copy patient_lines (' . join(', ', @names) . ") FROM '$file' (FORMAT csv, HEADER, DELIMITER ';')");
	$node->safe_psql('postgres', q{
		CREATE VIEW patients AS SELECT line, 'case-' || "Case ID" AS stream, "Activity" AS type,
			jsonb_strip_nulls(to_jsonb(l) - '{line,Case ID,Activity,Complete Timestamp}'::text[]) AS data,
			"Complete Timestamp"::timestamp AT TIME ZONE 'UTC' AS created_at
		FROM patient_lines l});
	is($node->safe_psql('postgres', q{CALL event_store.import_events('patients', batch_size => 1000)}), $count, "$count events of a file");
	$lines = $count;
	is_imported('patients', 'file');
}

$node->stop;
done_testing();
