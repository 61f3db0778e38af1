# A store copied by logical replication: it is read in order up to the mark
# that comes from the publisher, nobody writes it here, and when the
# subscription is dropped it goes on as a store of its own.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ESTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $publisher = new_node('publisher', init => { allows_streaming => 'logical' });
my $subscriber = PostgreSQL::Test::Cluster->new('subscriber');
$subscriber->init(allows_streaming => 'logical');
$subscriber->start;

$publisher->safe_psql('postgres',
	q{SELECT event_store.enable_tags();
	SELECT event_store.append_event('before-' || n % 7, 'A', to_jsonb(n), jsonb_build_object('tags', jsonb_build_array('a' || n))) FROM generate_series(1, 100) n});
$publisher->safe_psql('postgres', 'CREATE PUBLICATION events FOR ALL TABLES');

# The schema alone; the rows come with the subscription.
my $dump = $subscriber->basedir . '/schema.sql';
command_ok(
	[
		'pg_dump', '--schema-only', '--schema=shop', '-d', $publisher->connstr('postgres'),
		'-f', $dump
	],
	'the schema of the store is dumped');
$subscriber->safe_psql('postgres', 'CREATE EXTENSION event_store');
$subscriber->safe_psql('postgres', 'ALTER DATABASE postgres SET search_path = shop, public');
command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $subscriber->connstr('postgres'), '-f', $dump ],
	'and made on the subscriber');
$subscriber->safe_psql('postgres',
	    'CREATE SUBSCRIPTION events CONNECTION $$'
	  . $publisher->connstr('postgres')
	  . '$$ PUBLICATION events');
$subscriber->wait_for_subscription_sync($publisher, 'events');
$subscriber->safe_psql('postgres', q{SELECT event_store.attach_store('shop')});

is($subscriber->safe_psql('postgres', q{SELECT count(position) FROM event_store.read_by_query('[{"tags": ["a7"]}, {"tags": ["a100"]}]')}),
	2, 'a query is answered along the copied tags');

# What is read on the copy never has a hole that may still fill: a transaction
# open on the publisher holds the mark, and so the reader of the copy, back.
my $open = session($publisher);
$open->query_safe(q{BEGIN; SELECT event_store.append_event('slow-1', 'A')});
$publisher->safe_psql('postgres',
	q{SELECT event_store.append_event('fast-' || n, 'A') FROM generate_series(1, 20) n});
$publisher->wait_for_catchup('events');
is($subscriber->safe_psql('postgres', q{SELECT count(*) FROM shop.event_log WHERE position > 101}),
	20, 'the events behind the open transaction have arrived');
ok( $subscriber->poll_query_until('postgres',
		q{SELECT event_store.head() = 100}),
	'a reader of the copy gets to the open transaction');
is($subscriber->safe_psql('postgres', 'SELECT max(position) FROM event_store.read_all()'),
	100, 'and no further');

$open->query_safe('COMMIT');
$open->quit;
ok( $subscriber->poll_query_until('postgres', q{SELECT event_store.head() = 121}),
	'when it commits, the reader gets to the end');
is( $subscriber->safe_psql('postgres',
		q{SELECT count(*), min(position), max(position) FROM event_store.poll(0)}),
	'121|1|121',
	'every event is there');
my $token = $publisher->safe_psql('postgres', 'SELECT event_store.token(121)');
is($subscriber->safe_psql('postgres', 'SELECT event_store.token(121)'), $token, 'the copy makes the same tokens');
is($subscriber->safe_psql('postgres', "SELECT event_store.token_position('$token')"), 121, 'and takes them');
is($subscriber->safe_psql('postgres', 'SELECT sum(violations) FROM event_store.verify_store()'), 0, 'every invariant holds on it');
is( $subscriber->safe_psql('postgres', q{SELECT e.version FROM event_store.read_stream('before-1', 3, 1) s, event_store.event(s.event_id) e}),
	3, 'events are found by the same ids');

# A copy serves subscriptions of its own, up to the mark.
$subscriber->safe_psql('postgres', q{SELECT event_store.create_subscription('there', category => 'slow')});
is( $subscriber->safe_psql('postgres', q{SELECT event_store.ack('there', 'c', array_agg(position)) FROM event_store.fetch('there', 'c', 10, '10 s')}),
	1, 'a consumer on the copy gets its events');
is($subscriber->safe_psql('postgres', q{SELECT checkpoint, lag_events FROM event_store.subscriptions}), '121|0', 'and is at the end');

my ($ret, $out, $err) = $subscriber->psql('postgres',
	q{\set VERBOSITY sqlstate} . "\n" . q{SELECT event_store.append_event('mine-1', 'A')});
like($err, qr/55000/, 'nobody appends to a copy');

# A deletion travels too, past the guard.
$publisher->safe_psql('postgres', q{SELECT event_store.delete_stream('fast-1')});
$publisher->wait_for_catchup('events');
is($subscriber->safe_psql('postgres', q{SELECT status FROM event_store.stream_info('fast-1')}),
	'deleted', 'a deleted stream is deleted on the copy');

# So do limits, what is taken away, and what a hard deletion leaves.
$publisher->safe_psql('postgres', q{
	SELECT event_store.truncate_stream('before-1', 5);
	CALL event_store.scavenge_store();
	SET event_store.enable_hard_delete = on;
	SELECT event_store.delete_stream('before-2', hard => true)});
$publisher->wait_for_catchup('events');
is( $subscriber->safe_psql('postgres',
		q{SELECT min(version), count(*) FROM shop.event_log JOIN shop.event_streams USING (stream_id) WHERE stream_name = 'before-1'}),
	$publisher->safe_psql('postgres',
		q{SELECT min(version), count(*) FROM shop.event_log JOIN shop.event_streams USING (stream_id) WHERE stream_name = 'before-1' AND version >= 5}),
	'what is taken away is gone on the copy');
is( $subscriber->safe_psql('postgres',
		q{SELECT event_type FROM shop.event_log JOIN shop.event_streams USING (stream_id) WHERE stream_name = 'before-2'}),
	'$stream-deleted', 'and a hard deletion leaves there what it leaves here');
is($subscriber->safe_psql('postgres', q{SELECT invariant, example FROM event_store.verify_store() WHERE violations > 0}),
	'', 'the copy is sound');
sqlstate_is($subscriber, 'CALL event_store.scavenge_store()', '55000', 'nothing is taken away on a copy itself');

# Without its subscription the copy is a store, and counts on above its rows.
$subscriber->safe_psql('postgres', 'DROP SUBSCRIPTION events');
is( $subscriber->safe_psql('postgres',
		q{SELECT first_position > 121, first_version FROM event_store.append_event('slow-1', 'B', expected => 1)}),
	't|2',
	'after DROP SUBSCRIPTION the copy goes on as a store');
ok( $subscriber->poll_query_until('postgres', q{SELECT event_store.durable_mark() > 121}),
	'and its mark is moved here');
is($subscriber->safe_psql('postgres', "SELECT event_store.token_position('$token')"), 121,
	'a token of the time when it was a copy leads on');
my $own = $subscriber->safe_psql('postgres', 'SELECT event_store.token(event_store.head())');
sqlstate_is($publisher, "SELECT event_store.token_position('$own')", 'VE007', 'its own are no longer those of the publisher');
is($subscriber->safe_psql('postgres', 'SELECT sum(violations) FROM event_store.verify_store()'), 0, 'every invariant holds');

$subscriber->stop;
$publisher->stop;
done_testing();
