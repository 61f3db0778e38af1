# The bridge to LISTEN: the scheduler notifies of what has been appended, at most once an interval, and only if it is told to.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ESTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $node = new_node('notify');
my $listener = session($node);
$listener->query_safe('LISTEN event_store');

# What has come to the listener since the last time: [payload, process] each.
sub notified
{
	my $out = $listener->query('SELECT 1');
	my @got;

	push @got, [ $1, $2 ] while $out =~ /notification "event_store" with payload "(.*?)" received from server process with PID (\d+)/g;
	return @got;
}

# Waits until a notification with this payload has come; returns all that came till then.
sub wait_for_payload
{
	my ($payload) = @_;
	my @got;

	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		push @got, notified();
		return @got if @got && $got[-1][0] eq $payload;
		usleep(100_000);
	}
	return @got;
}

# Appends, each time until the scheduler has taken note of it twice: what it had to notify of the first it has done by then.
sub append_and_settle
{
	for (1 .. 2)
	{
		$node->safe_psql('postgres', q{SELECT event_store.append_event('a-1', 'T') FROM generate_series(1, 5)});
		$node->poll_query_until('postgres', 'SELECT event_store.durable_mark() = event_store.head()') or die 'the mark does not move';
	}
	return;
}

sub set_interval
{
	my ($interval) = @_;

	$node->safe_psql('postgres', "ALTER SYSTEM SET event_store.notify_interval = '$interval'");
	$node->reload;
	return;
}

append_and_settle();
is(scalar(notified()), 0, 'nothing comes unless it is asked for');

set_interval('1 h');
my @got = wait_for_payload('{"schema": "shop", "position": 10}');
is(scalar(@got), 1, 'one notification tells how far the store is');
is( $got[0][1],
	$node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'event_store scheduler'}),
	'it is of the scheduler, not of whoever appended');
append_and_settle();
is(scalar(notified()), 0, 'no other comes while the interval lasts');

set_interval('50 ms');
@got = wait_for_payload('{"schema": "shop", "position": 20}');
is(scalar(@got), 1, 'but what came meanwhile is told once it is over');
$node->safe_psql('postgres', q{SELECT event_store.append_event('a-1', 'T')}) for 1 .. 20;
@got = wait_for_payload('{"schema": "shop", "position": 40}');
is($got[-1][0], '{"schema": "shop", "position": 40}', 'the last one tells of the last event');

# another store, whose name needs care
$node->safe_psql('postgres', q{SELECT event_store.create_store('o"clock'); SET search_path = "o""clock"; SELECT event_store.append_event('a-1', 'T')});
@got = wait_for_payload('{"schema": "o\"clock", "position": 1}');
is($got[-1][0], '{"schema": "o\"clock", "position": 1}', 'stores are told apart');

set_interval('0');
append_and_settle();
notified();
append_and_settle();
is(scalar(notified()), 0, 'and it can be turned off');

$listener->quit;
$node->stop;
done_testing();
