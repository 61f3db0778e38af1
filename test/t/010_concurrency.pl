# Concurrency: every committed event is seen exactly once and in the order of
# positions by every follower, versions of a stream have no gap, and nothing
# that was rolled back is ever seen, whatever the writers do: batches, several
# streams in one transaction, transactions left open for a while, rollbacks,
# rollbacks to a savepoint, errors, all isolation levels, and backends that
# are terminated in the middle of it.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ESTest;
use Test::More;

# In a long run each workload goes on for so many seconds.
my $seconds = $ENV{ES_SECONDS};

# Commits are made to take a while between their record and its flush, which
# is where a reader that forgets a transaction too early can miss it.
my $node = new_node(
	'main', conf => q{
fsync = on
commit_delay = 1000
commit_siblings = 0
});

my @followers = (
	{ name => 'pager', how => 'read_all' },
	{ name => 'slow_pager', how => 'read_all', pause => 0.05, page => 200 },
	{ name => 'poller', how => 'poll', page => 7 },
	{ name => 'late', how => 'late_statement' },
	{ name => 'by_type', how => 'poll', types => [ 'opened', 'paid' ] },
	{ name => 'by_category', how => 'category', category => 'cart' },
	{ name => 'by_mark', how => 'read_all', isolation => 'REPEATABLE READ' });

# A store each, so that every part begins with an empty log.
sub use_store
{
	my ($store) = @_;
	$node->safe_psql('postgres',
		"SELECT event_store.create_store('$store'); ALTER DATABASE postgres SET search_path = $store");
	return ESTest::Workload->new($node, store => $store);
}

# systems 2.3.1, 2.3.3: more than 10,000 appends from 8 clients
# reliability 21
{
	my $load = use_store('mixed');
	$load->start_followers(@followers);
	$load->start_writers(
		count => 8,
		$seconds ? (seconds => $seconds) : (transactions => 1250));
	$load->wait_for_writers;
	$load->finish;
	$load->verify_ok('8 writers');
}

# reliability 21, while backends are terminated
{
	my $load = use_store('ended');
	$load->start_followers(@followers);
	$load->start_writers(count => 32, seconds => $seconds);

	my $terminated = 0;
	my $mark_too_high = 0;
	while ($seconds ? $load->writing : $terminated < 40)
	{
		$load->wait_for_progress(100);
		$terminated += $node->safe_psql(
			'postgres', q{
			SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM (
				SELECT pid FROM pg_stat_activity
				WHERE application_name LIKE 'writer%'
				ORDER BY random() LIMIT 2) w});

		# The snapshot of the statement is older than the horizon it takes.
		$mark_too_high += $node->safe_psql('postgres',
			'SELECT (event_store.durable_mark() >= event_store.horizon())::int');
	}
	$load->stop_writers;
	$load->finish;
	$load->verify_ok("32 writers, of which $terminated were terminated");
	is($mark_too_high, 0, 'the durable mark was never above the horizon');
}

# reliability 31: 32 writers on one stream, each with an expected version
{
	my $load = use_store('race');
	$load->start_followers($followers[0]);
	$load->start_writers(
		count => 32,
		kind => 'race',
		$seconds ? (seconds => $seconds) : (transactions => 100));
	$load->wait_for_writers;
	$load->finish;
	$load->verify_ok('32 writers on one stream');
	is( $node->safe_psql(
			'postgres', q{
			SELECT count(*) FROM (
				SELECT version FROM verify.ledger WHERE outcome = 'acked'
				GROUP BY version HAVING count(*) > 1) twice}),
		0, 'no version has two winners');
	is( $node->safe_psql(
			'postgres', q{
			SELECT count(*) FILTER (WHERE outcome = 'acked')
				= (SELECT max(version) FROM race.event_log)
				AND count(*) FILTER (WHERE outcome = 'rolled_back') > 0
			FROM verify.ledger}),
		't', 'every version has a winner, and there were losers');
}

$node->stop;
done_testing();
