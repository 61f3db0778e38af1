# Scavenging and hard deletion through crashes: the server is killed (SIGKILL)
# while events are taken away beside a writer.  What was to stay stays, a stream
# is there or deleted and nothing between, the store is sound after every start,
# and another run takes away what is left.
#
# And as a standby sees it (013_logical_copy.pl has a copy).

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ESTest;
use IPC::Run ();
use Test::More;
use Time::HiRes qw(usleep);

my $streams = 40;
my $doomed = 150;
my $events = 50;
my $kept = 3;

my $node = new_node(
	'main',
	init => { allows_streaming => 1 },
	conf => q{
restart_after_crash = on
event_store.enable_hard_delete = on
});

$node->safe_psql('postgres', 'SELECT event_store.enable_tags()');
for ([ 'limited', $streams ], [ 'doomed', $doomed ])
{
	my ($category, $count) = @$_;
	$node->safe_psql('postgres', qq{
		SELECT count(event_store.append('$category-' || n,
			(SELECT jsonb_agg(jsonb_build_object('type', 'E', 'data', i, 'metadata', jsonb_build_object('tags', jsonb_build_array('$category', '$category-' || n))))
			FROM generate_series(1, $events) i)))
		FROM generate_series(1, $count) n});
}
$node->safe_psql('postgres', qq{
	SELECT count(event_store.set_stream_metadata('limited-' || n, max_count => $kept)) FROM generate_series(1, $streams) n;
	SELECT last_version FROM event_store.append_event('busy', 'E');
	SELECT event_store.set_stream_metadata('busy', max_count => 1)});

# A statement that goes on beside the test, until it ends or the server does.
sub background
{
	my ($sql) = @_;
	my ($in, $out) = ('', '');
	return IPC::Run::start([ 'psql', '-X', '-q', '-d', $node->connstr('postgres'), '-c', $sql ],
		\$in, '>&', \$out);
}

sub stored
{
	my ($category) = @_;
	return $node->safe_psql('postgres', qq{
		SELECT count(*) FROM event_log JOIN event_streams USING (stream_id) WHERE category = '$category'});
}

# Kills the server once the query answers true while the statement runs beside a writer.
sub kill_during
{
	my ($statement, $query, $how) = @_;
	my @running = (
		background($statement),
		background(q{DO $$ BEGIN LOOP PERFORM event_store.append_event('busy', 'E'); COMMIT; END LOOP; END $$}));

	wait_for($node, $query, "it is under way: $statement");
	usleep(int rand 20_000);
	if ($how eq 'backend')
	{
		kill 'KILL', $node->safe_psql('postgres', qq{
			SELECT pid FROM pg_stat_activity WHERE query ~ '^(CALL event_store.scavenge|DO.*delete_stream)' AND pid <> pg_backend_pid()
			UNION ALL SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter' LIMIT 1});
	}
	else
	{
		# all at once, as a machine goes: who waits for a lock of a killed process waits for ever
		my @processes = split /\n/, $node->safe_psql('postgres', 'SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()');
		$node->kill9;
		kill 'KILL', @processes;
	}
	$_->finish for @running;
	start_after_crash($node) if $how ne 'backend';
	$node->poll_query_until('postgres', 'SELECT true')
	  or die "the server did not come back\n";
	is( $node->safe_psql('postgres',
			'SELECT invariant, violations, example FROM event_store.verify_store() WHERE violations > 0'),
		'', 'the store is sound');
	return;
}

my $left = stored('limited');
for my $how ('backend', 'postmaster', 'backend', 'postmaster')
{
	# a batch is one event, so that the kill comes in the middle of a stream
	my $enough = $left - 50;
	kill_during(q{CALL event_store.scavenge_store(1, '1 ms')}, qq{
		SELECT count(*) < $enough FROM event_log JOIN event_streams USING (stream_id) WHERE category = 'limited'}, $how);
	my $now = stored('limited');
	cmp_ok($now, '<', $left, 'what was taken away stays away');
	is(stored('doomed'), $doomed * $events, 'other streams keep everything');
	is( $node->safe_psql('postgres', q{
			SELECT DISTINCT (SELECT string_agg(version::text, ' ') FROM event_store.read_stream(stream))
			FROM event_store.streams(category => 'limited')}),
		'48 49 50', 'a stream shows what its limit says, gone or not');
	$left = $now;
}
cmp_ok($left, '>', $streams * $kept, 'there is something left to do');
like($node->safe_psql('postgres', 'CALL event_store.scavenge_store()'),
	qr/^\d+\|\d+\|0$/, 'the next run ends');
is(stored('limited'), $streams * $kept, 'and has taken away all that it should');
is(stored('busy'), 1, 'of the writer\'s stream too');
is( $node->safe_psql('postgres', qq{
		SELECT count(event_store.append_event('limited-' || n, 'F', expected => $events)) FROM generate_series(1, $streams) n}),
	$streams, 'versions go on');

for my $how ('backend', 'postmaster')
{
	my $deleted = q{SELECT count(*) FROM event_store.streams(category => 'doomed') WHERE status = 'deleted'};
	my $before = $node->safe_psql('postgres', $deleted);
	kill_during(
		q{DO $$ DECLARE s text; BEGIN
			FOR s IN SELECT stream FROM event_store.streams(category => 'doomed') WHERE status = 'open' LOOP
				PERFORM event_store.delete_stream(s, hard => true); COMMIT; PERFORM pg_sleep(0.02);
			END LOOP; END $$}, "SELECT ($deleted) > $before + 3", $how);
	is( $node->safe_psql('postgres', qq{
			SELECT count(*) FROM event_store.streams(category => 'doomed') s
			WHERE (SELECT count(*) FROM event_store.read_category('doomed', max_count => NULL) e WHERE e.stream = s.stream)
				<> CASE s.status WHEN 'open' THEN $events ELSE 1 END}),
		0, 'a stream has all its events or the one that says that they are deleted');
	cmp_ok($node->safe_psql('postgres', $deleted), '>', $before, 'some are deleted');
	cmp_ok($node->safe_psql('postgres', $deleted), '<', $doomed, 'and some are not');
}

# A standby shows what is gone as gone, and stays in order.
$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->start;
my $last = $node->safe_psql('postgres', q{
	SELECT event_store.truncate_stream('limited-1', 52);
	CALL event_store.scavenge_store();
	SELECT event_store.delete_stream('limited-2', hard => true);
	SELECT last_position FROM event_store.append_event('last', 'E')});
$last =~ s/.*\n//s;
wait_for($node, "SELECT event_store.durable_mark() >= $last", 'the mark is moved');
$node->wait_for_catchup($standby);
my $all = q{SELECT string_agg(position || ' ' || stream || ' ' || version || ' ' || type, ',' ORDER BY position)
	FROM event_store.read_all(max_count => NULL)};
is($standby->safe_psql('postgres', $all), $node->safe_psql('postgres', $all), 'a standby reads the same');
my $tagged = q{SELECT count(position), sum(position), max(head) FROM event_store.read_by_query('[{"tags": ["doomed"]}, {"tags": ["limited-3", "limited"]}]', max_count => NULL)};
is($standby->safe_psql('postgres', $tagged), $node->safe_psql('postgres', $tagged), 'and along its tags');
is($standby->safe_psql('postgres', q{SELECT status FROM event_store.stream_info('limited-2')}), 'deleted', 'with the same streams');
is($standby->safe_psql('postgres', q{SELECT count(*) FROM event_store.read_stream('limited-1')}), 0, 'and the same limits');
sqlstate_is($standby, 'CALL event_store.scavenge_store()', '25006', 'nothing is taken away there');

$standby->stop;
$node->stop;
done_testing();
