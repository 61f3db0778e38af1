# Library and SQL of different versions, as between an upgrade of the package
# and the restart or ALTER EXTENSION UPDATE that have to follow it, and a store
# of a newer version: calls are refused and say what to do, nothing is written,
# nothing crashes, and when the versions fit again all goes on.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ESTest;
use Test::More;

my $node = new_node('main');
$node->safe_psql('postgres', q{SELECT event_store.append('order-1', '[{"type": "A", "data": {}}, {"type": "B", "data": {}}]')});

sub refused_ok
{
	my ($name, $message, @calls) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	for my $call (@calls)
	{
		my ($out, $err);
		$node->psql('postgres', "\\set VERBOSITY verbose\n$call", stdout => \$out, stderr => \$err, on_error_stop => 0);
		like($err, qr/ERROR:  55000: $message.*HINT:  \w/s, "$name: refused: $call");
	}
	return;
}

my @calls = (
	q{SELECT event_store.append_event('order-1', 'C')},
	q{SELECT * FROM event_store.read_stream('order-1')},
	q{SELECT * FROM event_store.read_all()},
	q{SELECT * FROM event_store.poll(0, timeout => '0')},
	q{SELECT event_store.delete_stream('order-1')},
	q{SELECT event_store.token(0)});

# reliability 51: the catalogue says what ALTER EXTENSION UPDATE to a newer
# version would have written, or what an older library would find
for my $version ('0.9', '1.1')
{
	$node->safe_psql('postgres', "UPDATE pg_extension SET extversion = '$version' WHERE extname = 'event_store'");
	refused_ok("SQL of version $version", qr/extension event_store is at version \Q$version\E but its library is of version 1\.0/,
		@calls, q{SELECT event_store.create_store('more')}, q{SELECT * FROM event_store.verify_store()});
	sqlstate_is($node, 'UPDATE event_log SET version = 7', '0A000', "SQL of version $version: the guards hold");
	is($node->safe_psql('postgres', 'SELECT count(*), max(version) FROM event_log'), '2|2',
		"SQL of version $version: plain SQL reads the events, and nothing was added");

	$node->restart;
	wait_for($node, q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'event_store launcher'},
		"SQL of version $version: the server starts with it");
	$node->safe_psql('postgres', q{UPDATE pg_extension SET extversion = '1.0' WHERE extname = 'event_store'});
}
is($node->safe_psql('postgres', 'SELECT first_version FROM ' . append('order-1', expected => 2)), 3,
	'when the versions fit again it counts on');

# a store that a newer library has laid out otherwise
$node->safe_psql('postgres', 'UPDATE event_mark SET layout = 2');
refused_ok('a store of a newer layout', qr/event store "shop" cannot be used: its tables are of layout 2, this library knows layout 1/, @calls);
is($node->safe_psql('postgres', q{SELECT example FROM event_store.verify_store() WHERE violations > 0}),
	'its tables are of layout 2, this library knows layout 1', 'verify_store says so');
$node->safe_psql('postgres', 'UPDATE event_mark SET layout = 1');
is($node->safe_psql('postgres', 'SELECT first_version FROM ' . append('order-1', expected => 3)), 4, 'back again it counts on');
my $last = last_position($node);
wait_for($node, "SELECT event_store.durable_mark() = $last", 'and the worker moves the mark');

$node->stop;
unlike(PostgreSQL::Test::Utils::slurp_file($node->logfile), qr/PANIC|terminated by signal|TRAP/, 'nothing crashed');
done_testing();
