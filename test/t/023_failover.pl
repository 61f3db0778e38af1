# Failover: a standby is promoted while its primary goes on appending, and the
# old primary is rewound.  Consumers that keep tokens are told when what they
# have read may be gone, and from where to read again; nobody else is disturbed.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ESTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $old = new_node(
	'old',
	init => { allows_streaming => 1 },
	conf => q{
wal_log_hints = on
wal_keep_size = 64MB
});
$old->backup('base');
my $new = PostgreSQL::Test::Cluster->new('new');
$new->init_from_backup($old, 'base', has_streaming => 1);
$new->start;

sub token
{
	my ($node, $position) = @_;
	return $node->safe_psql('postgres', "SELECT event_store.token($position)");
}

# The position that a token leads to, or the SQLSTATE and the problem document.
sub position_of
{
	my ($node, $token) = @_;
	my ($out, $err);

	$node->psql('postgres', "\\set VERBOSITY verbose\nSELECT event_store.token_position('$token')",
		stdout => \$out, stderr => \$err, on_error_stop => 0);
	my ($sqlstate, $document) = ($err // '') =~ /ERROR:  (\w{5}):.*?DETAIL:  (\{[^\n]*)/s;
	return $sqlstate ? ($sqlstate, $document) : $out;
}

sub events_up_to
{
	my ($node, $position) = @_;
	return $node->safe_psql(
		'postgres', qq{
		SELECT count(*), md5(string_agg(format('%s %s %s %s %s', position, stream, version, event_id, data), ',' ORDER BY position))
		FROM event_store.read_all(max_count => NULL) WHERE position <= $position});
}

sub sound_ok
{
	my ($node, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is($node->safe_psql('postgres',
			q{SELECT invariant, violations, example FROM event_store.verify_store('shop') WHERE violations > 0}),
		'', "$name: every invariant holds");
}

# ---- one history -----------------------------------------------------------

# What a synchronous standby has confirmed.
$old->safe_psql('postgres', q{ALTER SYSTEM SET synchronous_standby_names = '*'});
$old->reload;
$old->poll_query_until('postgres', q{SELECT sync_state = 'sync' FROM pg_stat_replication})
  or die 'the standby did not become synchronous';
my $acknowledged = $old->safe_psql('postgres',
	join "\n", map { 'SELECT first_position FROM ' . append("sync-$_") . ';' } 1 .. 100);
$old->safe_psql('postgres', q{ALTER SYSTEM RESET synchronous_standby_names});
$old->reload;

wait_for($old, 'SELECT event_store.durable_mark() = event_store.head()', 'the mark comes to the head');
$old->wait_for_catchup($new);
my $before = last_position($old);
my $token_before = token($old, $before);
is(token($new, $before), $token_before, 'the standby makes the same token as the primary');
is(position_of($new, $token_before), $before, 'and takes it');
sound_ok($new, 'standby');

# ---- two histories ---------------------------------------------------------

# reliability 47: promoted in the middle of appends, asynchronously, while the
# old primary goes on
my $open = session($old);
$open->query_safe('BEGIN; SELECT * FROM ' . append('open-1'));
my $load = ESTest::Workload->new($old);
$load->start_writers(count => 4);
$load->wait_for_progress(200);
$new->promote;
$new->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()');
$load->wait_for_progress(200);
$load->stop_writers;
$open->query_safe('COMMIT');
$open->quit;

sound_ok($new, 'new primary');
is( $new->safe_psql('postgres',
		q{SELECT string_agg(position::text, E'\n' ORDER BY position) FROM event_store.read_category('sync', max_count => NULL)}),
	$acknowledged, 'what the standby had confirmed synchronously is there');
is(position_of($new, $token_before), $before, 'a token of the time before leads on');

my $lost = last_position($old);
my $token_lost = token($old, $lost);
my ($sqlstate, $document) = position_of($new, $token_lost);
is($sqlstate, 'VE007', 'a token of the lost history is refused');
my ($kept) = $document =~ /"kept_position":(\d+)/;
cmp_ok($kept, '>=', $before, 'it is told from where to read again');
cmp_ok($kept, '<', $lost, 'which is before what it has read');
is(events_up_to($new, $kept), events_up_to($old, $kept), 'up to there both histories are the same and whole');
is(position_of($new, token($old, $kept)), $kept, 'a token of that position leads on');
is((position_of($new, token($old, $kept + 1)))[0], 'VE007', 'one of the next does not');

# The same with the epoch written down, after a restart, and under appends.
my $first = $new->safe_psql('postgres', 'SELECT first_position FROM ' . append('order-1'));
wait_for($new, "SELECT event_store.durable_mark() >= $first AND cardinality(epochs) = 8 FROM event_mark",
	'the worker of the new primary writes down the new epoch');
$new->restart;
($sqlstate, $document) = position_of($new, $token_lost);
is($sqlstate, 'VE007', 'the token of the lost history stays refused');
like($document, qr/"kept_position":$kept\b/, 'and what is kept stays the same');
is(position_of($new, $token_before), $before, 'the one of the time before stays good');

my $token_new = token($new, $first);
is(position_of($new, $token_new), $first, 'a token of the new history leads on');
is((position_of($old, $token_new))[0], 'VE007', 'but not on the old primary');
(my $ahead = $token_new) =~ s/^\d+/999999999/;
is((position_of($new, $ahead))[0], '22023', 'a token ahead of the log is refused');

# ---- one history again -----------------------------------------------------

# reliability 48: the old primary is rewound and follows
my $conf = slurp_file($old->data_dir . '/postgresql.conf');
$old->stop;
command_ok(
	[
		'pg_rewind', '--source-server', $new->connstr('postgres'),
		'--target-pgdata', $old->data_dir, '--no-sync'
	],
	'the old primary is rewound');
open my $fh, '>', $old->data_dir . '/postgresql.conf' or die $!;
print $fh $conf;
close $fh;
$old->enable_streaming($new);
$old->start;
$new->wait_for_catchup($old);
is(events_up_to($old, $first), events_up_to($new, $first), 'it has the events of the new primary');
is(position_of($old, $token_new), $first, 'takes its tokens');
is(position_of($old, $token_before), $before, 'and those of the time before');
is((position_of($old, $token_lost))[0], 'VE007', 'but no longer the one that it had made itself');
sound_ok($old, 'rewound');

$old->stop;
$new->stop;
done_testing();
