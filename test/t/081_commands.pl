# Commands from many sessions at once: the state that a handler decides on is
# never an old one, whatever commits or rolls back meanwhile, with snapshots
# taken on the way; and an assertion that waits sees what others append.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ESTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $rounds = $ENV{ES_ROUNDS} // 1000;
my $allowed = 5;
my $node = new_node('main');
my $dir = PostgreSQL::Test::Utils::tempdir();

$node->safe_psql(
	'postgres', q{
	CREATE FUNCTION apply_stock(state bigint, type text, data jsonb) RETURNS bigint IMMUTABLE LANGUAGE sql RETURN state + 1;
	CREATE FUNCTION take(state bigint, command jsonb) RETURNS jsonb IMMUTABLE LANGUAGE plpgsql AS $$
	BEGIN
		IF state >= (command -> 'allowed')::int THEN
			PERFORM event_store.reject('sold_out');
		END IF;
		RETURN jsonb_build_object('type', 'Taken', 'data', state);
	END $$;
	SELECT event_store.register_aggregate('stock', 'apply_stock', '0', snapshot_every => 2);
	SELECT event_store.register_command('Take', 'stock', 'take');
});

# Every client comes to every round, some keep it open for a moment, and others
# take and give back.  A rejection is an answer; any other error ends pgbench.
my $take = qq{SELECT 1 / (doc ? 'ok' OR doc ->> 'sqlstate' = 'VE012')::int FROM event_store.try(\$\$SELECT event_store.dispatch('Take', jsonb_build_object('id', \$1, 'allowed', $allowed))\$\$, (:i)::text) doc;\n};
my %scripts = (
	at_once => "\\set i :i + 1\n$take",
	held => "\\set i :i + 1\nBEGIN;\n$take\\sleep 300 us\nCOMMIT;\n",
	given_back => "\\set i random(1, $rounds)\nBEGIN;\n${take}ROLLBACK;\n");
for my $name (keys %scripts)
{
	open(my $fh, '>', "$dir/$name") or die "$dir/$name: $!";
	print $fh $scripts{$name};
	close $fh;
}
my ($out, $err) = ('', '');
my $others = IPC::Run::start([ 'pgbench', '-n', '-c', 2, '-T', 600, '-f', "$dir/given_back", $node->connstr('postgres') ],
	'<', \undef, '>', \my $others_out, '2>', \my $others_err);
my $result = IPC::Run::run(
	[ 'pgbench', '-n', '-M', 'prepared', '-c', 16, '-j', 2, '-t', $rounds, '-D', 'i=0',
		'-f', "$dir/at_once\@7", '-f', "$dir/held\@1", $node->connstr('postgres') ],
	'<', \undef, '>', \$out, '2>', \$err);
ok($result, "16 sessions dispatch to $rounds aggregates") or diag $err;
$others->signal('INT');
$others->finish;
unlike($others_err // '', qr/ERROR/, 'so do those that give back');

is($node->safe_psql('postgres', 'SELECT count(*), min(n), max(n) FROM (SELECT count(*) n FROM event_log GROUP BY stream_id) s'),
	"$rounds|$allowed|$allowed", 'exactly as many as are allowed succeed in each');
is($node->safe_psql('postgres', 'SELECT count(*) FROM event_log WHERE data <> to_jsonb(version - 1)'), 0,
	'and each has seen the one before');
is( $node->safe_psql('postgres', "SELECT count(*), count(*) FILTER (WHERE state = '$allowed' AND version = $allowed) FROM event_store.list_aggregates('stock', max_count => NULL)"),
	"$rounds|$rounds", 'no snapshot says otherwise');
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM event_snapshots WHERE version BETWEEN 2 AND 5'), '>=', $rounds, 'of which there are enough');
cmp_ok($node->safe_psql('postgres', "SELECT value FROM event_store.counters WHERE name = 'event_store_dispatch_retries'"), '>', 0,
	'commands have met each other');

# a test that waits for what another session appends
{
	my $waiting = session($node);
	my $pid = session_pid($waiting);

	$waiting->{stdin} = '';
	$waiting->query_until(qr/waiting/, "\\echo waiting\nSELECT event_store.wait_for_event('Sent', '{\"n\": 1}', timeout => '10 min', description => 'it came');\n\\echo done\n");
	ok($node->poll_query_until('postgres', "SELECT query LIKE '%wait_for_event%' AND wait_event_type = 'Extension' FROM pg_stat_activity WHERE pid = $pid"),
		'it waits');
	$node->safe_psql('postgres', q{SELECT event_store.append_event('mail', 'Sent', '{"n": 2}')});
	$node->safe_psql('postgres', q{SELECT event_store.append_event('mail', 'Sent', '{"n": 1, "to": "x"}')});
	my $said = $waiting->query_until(qr/done/, '');
	like($said, qr/^ok - it came$/m, 'and ends when the event is there');
	$waiting->quit;
}

$node->stop;
done_testing();
