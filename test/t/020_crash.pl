# Crashes: backends and the postmaster are killed (SIGKILL) under load, with
# synchronous_commit on and off.  Nothing acknowledged is lost when it is on;
# nothing is stored twice, nothing that a follower was given vanishes, nothing
# is skipped by a follower that goes on from its cursor, and no position ever
# stands for two events, in either case.
#
# Processes are killed, not the machine, so fsync can stay off.
# ES_CRASH_KILLS sets the number of kills, the default is for a short run.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ESTest;
use List::Util qw(max);
use Test::More;
use Time::HiRes qw(usleep);

my $kills = $ENV{ES_CRASH_KILLS} || 24;

my $node = new_node(
	'main', conf => q{
restart_after_crash = on
# let asynchronous commits stay in the buffers of the log for a while
wal_writer_delay = 500ms
wal_writer_flush_after = 1GB
});

# A process of the server whose end makes the postmaster begin anew.
sub kill_backend
{
	my $pid;

	until ($pid)
	{
		# it may still be at the recovery from the last one
		$node->poll_query_until('postgres', 'SELECT true')
		  or die "the server did not come back\n";
		$node->psql(
			'postgres', q{
			SELECT pid FROM pg_stat_activity
			WHERE pid <> pg_backend_pid()
				AND backend_type IN ('client backend', 'walwriter',
					'event_store scheduler', 'event_store launcher')
			ORDER BY random() LIMIT 1}, stdout => \$pid);
	}
	kill 'KILL', $pid;
	return;
}

sub kill_postmaster
{
	$node->kill9;
	start_after_crash($node);
	return;
}

# reliability 1, 2, 4, 32
for my $synchronous_commit ('on', 'off')
{
	my $store = "crash_$synchronous_commit";
	my $kill_count = max(1, int($kills / 2));
	my $may_lose = $synchronous_commit eq 'off';

	$node->safe_psql('postgres',
		"SELECT event_store.create_store('$store'); ALTER DATABASE postgres SET search_path = $store");
	my $load = ESTest::Workload->new($node, store => $store);
	my %how = (
		settings => ["synchronous_commit = $synchronous_commit"],
		may_lose => $may_lose);

	$load->start_followers(
		{ name => 'pager', how => 'read_all' },
		{ name => 'poller', how => 'poll' },
		{ name => 'late', how => 'late_statement' },
		{ name => 'by_type', how => 'poll', types => ['paid'] },
		{ name => 'by_mark', isolation => 'REPEATABLE READ' });
	$load->start_writers(count => 4, kind => 'mixed', %how);
	$load->start_writers(count => 4, kind => 'retry', %how);
	for my $kill (1 .. $kill_count)
	{
		$load->wait_for_progress(150);
		usleep(int rand 100_000);
		if ($kill % 3 == 0)
		{
			kill_postmaster();
		}
		else
		{
			kill_backend();
		}
	}
	$load->wait_for_progress(50);
	$load->stop_writers;
	$load->finish;
	$load->verify_ok(
		"$kill_count kills with synchronous_commit = $synchronous_commit",
		may_lose => $may_lose);
	is( $node->safe_psql('postgres',
			q{SELECT count(*) FROM verify.ledger WHERE outcome = 'unknown' AND stream LIKE 'retry-%'}),
		0, 'every append that was sent again came to an end');
	cmp_ok(
		$node->safe_psql('postgres',
			'SELECT count(*) FROM verify.ledger'),
		'>=', 150 * $kill_count, 'there was load');
}

# What a reader was given is safe, even if the commit was asynchronous and
# nobody has flushed it yet: the walwriter is stopped here, so that nobody but
# the reader can have done it.
$node->safe_psql('postgres',
	q{SELECT event_store.create_store('given'); ALTER DATABASE postgres SET search_path = given});
for my $read (
	'SELECT position FROM event_store.read_all(0)',
	q{SELECT position FROM event_store.read_category('given', 0)},
	'SELECT position FROM event_store.poll(0)',
	q{SELECT position FROM event_store.read_all(NULL, direction => 'backward')},
	'BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT position FROM event_store.read_all(0); COMMIT')
{
	my $walwriter = $node->safe_psql('postgres',
		q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'});
	kill 'STOP', $walwriter;
	my $position = $node->safe_psql('postgres',
		'SET synchronous_commit = off; SELECT first_position FROM ' . append('given-1'));
	$node->poll_query_until('postgres',
		"SELECT event_store.durable_mark() >= $position");
	like($node->safe_psql('postgres', $read), qr/^$position$/m, "given by: $read");
	kill 'KILL', $walwriter;
	$node->poll_query_until('postgres',
		"SELECT pid <> $walwriter FROM pg_stat_activity WHERE backend_type = 'walwriter'");
	is( $node->safe_psql('postgres',
			"SELECT count(*) FROM event_log WHERE position = $position"),
		1, 'and kept through a crash');
}

$node->stop;
done_testing();
