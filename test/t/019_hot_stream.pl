# Hot streams: with event_store.hot_streams the next append to a stream does not
# wait for the flush of this one, and an answer means what it always does.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ESTest;
use List::Util qw(max);
use Test::More;
use Time::HiRes qw(usleep);

my $kills = $ENV{ES_CRASH_KILLS} || 4;
my $node = new_node(
	'main',
	init => { allows_streaming => 1 },
	conf => q{
restart_after_crash = on
autovacuum = off
# what is not flushed by a commit or a reader stays in the buffers of the log
wal_writer_delay = 10s
wal_writer_flush_after = 1GB
});

sub one { return $node->safe_psql('postgres', $_[0]); }

sub kill_walwriter
{
	my $pid = one(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'});
	kill 'KILL', $pid;
	$node->poll_query_until('postgres',
		"SELECT pid <> $pid FROM pg_stat_activity WHERE backend_type = 'walwriter'")
	  or die "the server did not come back\n";
	return;
}

# A session that waits for a standby that is not there.
sub wait_for_standby
{
	my ($pid) = @_;
	$node->poll_query_until('postgres', "SELECT wait_event = 'SyncRep' FROM pg_stat_activity WHERE pid = $pid")
	  or die "backend $pid does not wait for a standby\n";
	return;
}

# ---- crashes under load ------------------------------------------------------

# reliability 1, 2: whatever is killed, nothing acknowledged is lost, nothing that a follower was given vanishes
{
	one(q{SELECT event_store.create_store('crash'); ALTER DATABASE postgres SET search_path = crash});
	my $load = ESTest::Workload->new($node, store => 'crash');
	my %how = (settings => [ 'event_store.hot_streams = on' ]);

	$load->start_followers(
		{ name => 'pager', how => 'read_all' },
		{ name => 'poller', how => 'poll' },
		{ name => 'by_mark', isolation => 'REPEATABLE READ' });
	$load->start_writers(count => 6, kind => 'mixed', streams => 1, pause => 0, %how);
	$load->start_writers(count => 2, kind => 'retry', %how);
	for my $kill (1 .. $kills)
	{
		$load->wait_for_progress(150);
		usleep(int rand 50_000);
		if ($kill % 3 == 0)
		{
			$node->kill9;
			start_after_crash($node);
		}
		else
		{
			my $pid;
			until ($pid)
			{
				$node->poll_query_until('postgres', 'SELECT true') or die "the server did not come back\n";
				$node->psql(
					'postgres', q{
					SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'
					ORDER BY random() LIMIT 1}, stdout => \$pid);
			}
			kill 'KILL', $pid;
		}
	}
	$load->wait_for_progress(50);
	$load->stop_writers;
	$load->finish;
	$load->verify_ok("$kills kills with hot streams");
	cmp_ok(one('SELECT count(*) FROM verify.ledger'), '>=', 150 * $kills, 'there was load');
}

# ---- one by one ----------------------------------------------------------------

one(q{SELECT event_store.create_store('hot'); ALTER DATABASE postgres SET search_path = hot});
one('SELECT ' . append('first-1'));

# An answer means that the event is on disk: nobody but the append can have flushed it.
one('SET event_store.hot_streams = on; SELECT ' . append('first-1'));
kill_walwriter();
is(one(q{SELECT event_store.stream_version('first-1')}), 2, 'what was acknowledged has survived');

# An append whose safety hangs on a standby that does not answer.
one(q{ALTER SYSTEM SET synchronous_standby_names = 'nobody'});
$node->reload;
wait_for($node, q{SELECT current_setting('synchronous_standby_names') = 'nobody'}, 'a standby is waited for');
one(q{SET synchronous_commit = local; CREATE TABLE other (n int)});

my @ids = map { sprintf '00000000-0000-4000-8000-%012d', $_ } 1 .. 4;
my ($first, $second, $reader, $repeated) = map { session($node) } 1 .. 4;
my %pid = map { $_ => session_pid($_) } $first, $second, $reader, $repeated;
my $head = one('SELECT event_store.head()');

# begins a query without waiting for its end
sub begin_query
{
	my ($session, $sql) = @_;
	$session->{stdin} .= "$sql;\n";
	$session->{run}->pump_nb;
	wait_for_standby($pid{$session});
	return;
}

# what it has answered after all
sub answer
{
	my ($session) = @_;
	return $session->query(q{SELECT ''});
}

begin_query($first,
	"BEGIN; SET LOCAL event_store.hot_streams = on; INSERT INTO other VALUES (1); SELECT event_store.append('queue-1', '[{\"type\":\"noted\",\"data\":1,\"event_id\":\"$ids[0]\"}]', 0); COMMIT");
is(one(q{SELECT event_store.stream_version('queue-1')}), 1, 'it is visible');
begin_query($second,
	"SET event_store.hot_streams = on; SELECT event_store.append('queue-1', '[{\"type\":\"noted\",\"data\":2,\"event_id\":\"$ids[1]\"}]', 1)");
is(one('SELECT max(version) FROM event_log JOIN event_streams USING (stream_id) WHERE stream_name = \'queue-1\''),
	2, 'the next append does not wait for it');
is(one("SELECT event_store.horizon() = min(position) FROM event_log WHERE position > $head"), 't', 'readers in order stop before it');
is(one('SELECT count(*) FROM event_store.read_all(' . $head . ')'), 0, 'read_all does not give it out');
is(one('SELECT count(*) FROM event_store.poll(' . $head . ", timeout => '50 ms')"), 0, 'poll does not');
is(one('SELECT count(*) FROM event_store.in_flight()'), 2, 'both are in flight');

# who gives it out otherwise waits too
begin_query($reader, q{SELECT version FROM event_store.read_stream('queue-1')});
begin_query($repeated, "SELECT event_store.append('queue-1', '[{\"type\":\"noted\",\"data\":1,\"event_id\":\"$ids[0]\"}]', 0)");
is(one(q{SET synchronous_commit = local; SELECT count(*) FROM event_store.read_stream('queue-1')}),
	2, 'who does not ask for standbys need not');

one('ALTER SYSTEM RESET synchronous_standby_names');
$node->reload;
like(answer($first), qr/\(1,1,\d+,\d+\)/, 'the first append is answered');
like(answer($second), qr/\(2,2,\d+,\d+\)/, 'the second append');
like(answer($reader), qr/^1\n2$/m, 'the reader');
like(answer($repeated), qr/\(1,1,\d+,\d+\)/, 'the append that was sent again');
is(one('SELECT count(*) FROM event_store.read_all(' . $head . ') WHERE stream = \'queue-1\''), 2, 'read_all gives them out');
is(one('SELECT count(*) FROM event_store.in_flight()'), 0, 'nothing is in flight');
is(one(q{SHOW synchronous_commit}), 'on', 'and the setting is what it was');
$_->quit for $first, $second, $reader, $repeated;

# Conditions: whoever looks for what matches may find what is not yet safe, and waits before he says so.
one(q{SET synchronous_commit = local; SELECT event_store.enable_tags()});
one(q{SET synchronous_commit = local; ALTER SYSTEM SET synchronous_standby_names = 'nobody'});
$node->reload;
wait_for($node, q{SELECT current_setting('synchronous_standby_names') = 'nobody'}, 'a standby is waited for');
my ($tagged, $decided, $refused, $asking) = map { session($node) } 1 .. 4;
$pid{$_} = session_pid($_) for $tagged, $decided, $refused, $asking;
my $seat = q{'{"types": ["taken"], "tags": ["seat:1"]}'};
my $take = sub { return "SELECT last_version FROM event_store.append_event('seat-$_[0]', 'taken', '1', '{\"tags\": [\"seat:1\"]}', condition => $seat, after => $_[1])"; };
begin_query($tagged, 'SET event_store.hot_streams = on; ' . $take->(1, 0));
my $seen = one("SET synchronous_commit = local; SELECT max(head) FROM event_store.read_by_query($seat)");
begin_query($decided, 'SET event_store.hot_streams = on; ' . $take->(2, $seen));
is(one(q{SELECT count(*) FROM event_log WHERE event_type = 'taken'}), 2, 'who decides on the first event does not wait for it to be safe');
$refused->query($take->(3, $seen));
is(session_sqlstate($refused), 'VE008', 'nor who is refused for it');
begin_query($asking, "SELECT count(*) FROM event_store.read_by_query($seat)");
one('SET synchronous_commit = local; ALTER SYSTEM RESET synchronous_standby_names');
$node->reload;
like(answer($tagged), qr/^1$/m, 'the first append on a condition is answered');
like(answer($decided), qr/^1$/m, 'the second one');
like(answer($asking), qr/^2$/m, 'who has asked for what matches');
$_->quit for $tagged, $decided, $refused, $asking;
one(q{SELECT event_store.disable_tags()});

# A failure between the preparation of a commit and its record leaves nothing behind.
my $failing = session($node);
$failing->query('SET event_store.hot_streams = on');
$failing->query(q{BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT count(*) FROM other; INSERT INTO other VALUES (2)});
$failing->query('SELECT ' . append('failed-1'));
one(q{BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT count(*) FROM other; INSERT INTO other VALUES (3); COMMIT});
$failing->query('COMMIT');
is(session_sqlstate($failing), '40001', 'a commit fails');
is($failing->query('SHOW synchronous_commit'), 'on', 'the setting is back');
is(one('SELECT count(*) FROM event_store.in_flight()'), 0, 'nothing is in flight');
$failing->query_safe('SELECT ' . append('failed-1'));
$failing->quit;
is(one(q{SELECT event_store.stream_version('failed-1')}), 1, 'and the session goes on');

# While there are such transactions, a reader flushes what it gives out, whoever wrote it.
one(q{ALTER SYSTEM SET synchronous_standby_names = 'nobody'});
$node->reload;
wait_for($node, q{SELECT current_setting('synchronous_standby_names') = 'nobody'}, 'a standby is waited for again');
my $waiting = session($node);
$pid{$waiting} = session_pid($waiting);
begin_query($waiting, 'SET event_store.hot_streams = on; SELECT ' . append('queue-2'));
for my $number (1, 2)
{
	my $read = $number == 1 ? "read_stream('late-1')" : "event('$ids[3]')";
	one("SET synchronous_commit = off; SELECT event_store.append_event('late-$number', 'noted', event_id => '$ids[$number + 1]')");
	is(one("SET synchronous_commit = local; SELECT count(*) FROM event_store.$read"), 1, "given by: $read");
}
kill_walwriter();
one('SET synchronous_commit = local; ALTER SYSTEM RESET synchronous_standby_names');
$node->reload;
is(one("SELECT event_store.stream_version('late-$_')"), 1, 'and kept through a crash') for 1, 2;
is(one(q{SELECT event_store.stream_version('queue-2')}), 1, 'what waited for a standby was on disk');

is(one(q{SELECT string_agg(invariant, ', ') FROM event_store.verify_store('hot') WHERE violations > 0}), '', 'every invariant holds');
$node->stop;
done_testing();
