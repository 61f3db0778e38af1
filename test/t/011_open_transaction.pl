# Readers in order wait for a transaction that has appended and is still open,
# and only for it: not for the rows above it, but for its own, and not for
# transactions that are busy in other tables, other stores or other databases.
# What horizon(), head() and in_flight() say about it is tested with it.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ESTest;
use Test::More;

my $node = new_node('main', conf => "max_prepared_transactions = 2\n");
my $writer = session($node);
my $pid = session_pid($writer);

sub horizon_is
{
	my ($horizon, $head, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is(
		$node->safe_psql(
			'postgres', 'SELECT event_store.horizon(), event_store.head()'),
		"$horizon|$head", "horizon and head: $name");
}

# An append by another session, which has ended when this returns.
sub append_now
{
	my ($stream) = @_;
	return $node->safe_psql('postgres',
		'SELECT first_position FROM ' . append($stream));
}

horizon_is(1, 0, 'of an empty store');
is(positions($node, 0), '', 'nothing to read in an empty store');
is(append_now('order-1'), 1, 'the first position is 1');
horizon_is(2, 1, 'after the first append');

# systems 2.3.3
$writer->query_safe('BEGIN; SELECT * FROM ' . append('slow-1', count => 2));
is(append_now('order-1'), 4, 'another session appends meanwhile');
is(append_now('order-2'), 5, 'and to another stream');
is(in_flight($node), "shop|2|$pid", 'the open transaction is in flight');
horizon_is(2, 1, 'below the open transaction');
is(positions($node, 0), '1', 'a reader stops before the open transaction');
is( $node->safe_psql('postgres',
		'SELECT position FROM event_store.read_stream(\'order-2\')'),
	5, 'the stream itself can be read');
$writer->query_safe('COMMIT');
is(in_flight($node), '', 'nothing is in flight after the commit');
horizon_is(6, 5, 'after the commit');
is(positions($node, 1), '2,3,4,5', 'everything is read in order after the commit');

# A hole that a rollback left is passed.
$writer->query_safe('BEGIN; SELECT * FROM ' . append('slow-1', count => 3));
is(append_now('order-1'), 9, 'appended above a transaction that will roll back');
is(positions($node, 5), '', 'the reader waits for it');
$writer->query_safe('ROLLBACK');
is(in_flight($node), '', 'nothing is in flight after the rollback');
is(positions($node, 5), '9', 'the hole is passed');
horizon_is(10, 9, 'after the rollback');

# A hole at the end: the horizon goes above it, the head stays.
$writer->query_safe('BEGIN; SELECT * FROM ' . append('slow-1') . '; ROLLBACK');
horizon_is(11, 9, 'after a rollback at the end');

# reliability 33, savepoints: what a savepoint took back is a hole for good,
# yet until the transaction ends nobody can tell, so readers wait
$writer->query_safe('BEGIN; SAVEPOINT s; SELECT * FROM ' . append('slow-1')
	  . '; ROLLBACK TO SAVEPOINT s');
is(append_now('order-1'), 12, 'appended above a savepoint that was rolled back');
is(in_flight($node), "shop|11|$pid", 'the transaction is still in flight');
is(positions($node, 9), '', 'the reader waits for it');
$writer->query_safe('SELECT * FROM ' . append('slow-1'));
$writer->query_safe('COMMIT');
is(positions($node, 9), '12,13', 'after the commit the rest is read');

# The reader's own open append: it may not see its own rows before the others
# can, or its cursor would pass what commits later.
$writer->query_safe('BEGIN; SELECT * FROM ' . append('slow-1'));
is(append_now('order-1'), 15, 'appended above a transaction that reads');
is( $writer->query_safe('SELECT count(*) FROM event_store.read_all(13)'),
	0, 'a transaction that has appended reads up to its own first event');
is($writer->query_safe('SELECT event_store.horizon()'),
	14, 'it is in flight for itself too');
$writer->query_safe('COMMIT');
is(positions($node, 13), '14,15', 'after its commit all is read');

# The order in which transactions end does not matter.
my $other = session($node);
my $third = session($node);
$writer->query_safe('BEGIN; SELECT * FROM ' . append('a-1'));
$other->query_safe('BEGIN; SELECT * FROM ' . append('b-1'));
$third->query_safe('BEGIN; SELECT * FROM ' . append('c-1'));
$other->query_safe('COMMIT');
horizon_is(16, 15, 'the second of three has ended');
$third->query_safe('ROLLBACK');
horizon_is(16, 15, 'the third has ended too');
$writer->query_safe('COMMIT');
horizon_is(19, 17, 'all three have ended');
is(positions($node, 15), '16,17', 'what two of them committed is read');

# Nobody waits for transactions that do not append to this store: one that
# writes to other tables, one that only reads here, one in another store, one
# in another database, a prepared one, and an old snapshot.
$node->safe_psql(
	'postgres', q{
	CREATE TABLE public.plain (n int);
	INSERT INTO public.plain VALUES (1);
	SELECT event_store.create_store('other');
	CREATE DATABASE elsewhere});
create_store($node, 'elsewhere');
my @sessions = map { session($node) } 1 .. 4;
my $elsewhere = session($node, 'elsewhere');
$sessions[0]->query_safe('BEGIN; UPDATE public.plain SET n = 2; LOCK TABLE public.plain');
$sessions[1]->query_safe(
	'BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT count(*) FROM event_store.read_all(0)');
$sessions[2]->query_safe(
	'BEGIN; SET LOCAL search_path = other; SELECT * FROM ' . append('order-1'));
$sessions[3]->query_safe(
	q{BEGIN; CREATE TABLE public.prepared (n int); PREPARE TRANSACTION 'idle'});
$elsewhere->query_safe('BEGIN; SELECT * FROM ' . append('order-1', count => 5));
is(append_now('order-1'), 19, 'appended beside them');
horizon_is(20, 19, 'not held back by others');
is(positions($node, 17), '19', 'the event is read at once');
like(in_flight($node), qr/^other\|1\|\d+$/, 'in flight is the other store of this database');
like(in_flight($node, 'elsewhere'),
	qr/^shop\|1\|\d+$/, 'and in the other database the one there');
is( $node->safe_psql(
		'postgres', 'SET search_path = other; SELECT event_store.horizon(), event_store.head()'),
	'1|0', 'the other store waits for its own');
wait_for($node, 'SELECT event_store.durable_mark() = 19',
	'the durable mark is not held back either');
$_->query_safe('COMMIT') for @sessions[ 0 .. 2 ], $elsewhere;
$node->safe_psql('postgres', q{ROLLBACK PREPARED 'idle'});

# One transaction in several stores holds back readers in each of them.
$writer->query_safe('BEGIN; SELECT * FROM ' . append('two-1'));
$writer->query_safe('SET LOCAL search_path = other; SELECT * FROM ' . append('two-1'));
is(in_flight($node), "other|2|$pid\nshop|20|$pid", 'in flight in two stores');
append_now('order-1');
is(positions($node, 19), '', 'a reader of the one store waits');
$node->safe_psql('postgres', 'SET search_path = other; SELECT * FROM ' . append('x-1'));
is( $node->safe_psql(
		'postgres', 'SET search_path = other; SELECT count(*) FROM event_store.read_all(1)'),
	0, 'a reader of the other waits');
$writer->query_safe('COMMIT');
is(in_flight($node), '', 'both are released together');
is(positions($node, 19), '20,21', 'all of the one store is read');
is( $node->safe_psql(
		'postgres', 'SET search_path = other; SELECT count(*) FROM event_store.read_all(1)'),
	2, 'all of the other store is read');

# A disconnect and the end of an idle transaction release it like a rollback.
$third->query_safe('BEGIN; SELECT * FROM ' . append('gone-1'));
my $last = append_now('order-1');
is(positions($node, 21), '', 'the reader waits for an idle transaction');
$third->quit;
wait_for($node, 'SELECT count(*) = 0 FROM event_store.in_flight()',
	'a disconnect takes it out of flight');
is(positions($node, 21), $last, 'the reader goes on after the disconnect');

$other->query_safe(
	q{SET idle_in_transaction_session_timeout = '50 ms'; BEGIN; SELECT * FROM }
	  . append('gone-1'));
wait_for($node, 'SELECT count(*) = 0 FROM event_store.in_flight()',
	'the timeout of an idle transaction takes it out of flight');
$last = append_now('order-1');
is(positions($node, $last - 1), $last, 'the reader goes on after the timeout');

# A waiting poll is answered by the commit of what it waits for, in order.
my $poll = session($node);
my $poll_pid = session_pid($poll);
$writer->query_safe('BEGIN; SELECT * FROM ' . append('slow-1'));
append_now('order-1');
$poll->query_until(
	qr/polling/,
	"\\echo polling\nSELECT position FROM event_store.poll($last, 10, '1 hour');\n\\echo polled\n");
wait_for_wait($node, $poll_pid, 'Extension');
append_now('order-1');
$writer->query_safe('COMMIT');
is( $poll->query_until(qr/polled/, ''),
	join("\n", $last + 1, $last + 2, $last + 3, 'polled', ''),
	'a poll that waits delivers everything in order after the commit');

# Followers at work while a transaction stays open over many appends of others.
{
	$node->safe_psql('postgres',
		q{SELECT event_store.create_store('busy'); ALTER DATABASE postgres SET search_path = busy});
	my $load = ESTest::Workload->new($node, store => 'busy');
	my $slow = session($node);
	my $reader = session($node);

	$slow->query_safe('BEGIN; SELECT * FROM ' . append('slow-1'));
	$load->start_followers(
		{ name => 'pager', how => 'read_all' },
		{ name => 'poller', how => 'poll' },
		{ name => 'late', how => 'late_statement' },
		{ name => 'by_mark', isolation => 'REPEATABLE READ' });
	$load->start_writers(count => 4);
	$load->wait_for_progress(500);
	is($load->delivered, 0, 'nothing above the open transaction is delivered');
	is($reader->query_safe('SELECT event_store.durable_mark()'),
		0, 'the durable mark stands before it');
	$slow->query_safe('COMMIT');
	$load->wait_until('deliveries', sub { $load->delivered > 0 });
	$slow->query_safe('BEGIN; SELECT * FROM ' . append('slow-1', count => 4));
	$load->wait_for_progress(300);
	$slow->query_safe('ROLLBACK');
	$load->stop_writers;
	$load->finish;
	$load->verify_ok('with transactions left open');
	$_->quit for $slow, $reader;
}

$node->stop;
done_testing();
