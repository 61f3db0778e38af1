# Without shared_preload_libraries nothing of the extension runs, and every
# call says what to do; the events can still be read with plain SQL, and not be
# changed.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ESTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('main');
$node->safe_psql('postgres', 'SELECT * FROM ' . append('s-1'));
$node->append_conf('postgresql.conf', q{shared_preload_libraries = ''});
$node->restart;

$node->safe_psql('postgres', 'CREATE DATABASE empty');
for my $case (
	[ 'CREATE EXTENSION', 'empty', 'CREATE EXTENSION event_store' ],
	[ 'an append', 'postgres', 'SELECT * FROM ' . append('s-1') ],
	[ 'a read', 'postgres', 'SELECT * FROM event_store.read_all()' ],
	[ 'a supervisor', 'postgres', q{SELECT event_store.supervisor_create('s')} ],
	[ 'a look at its children', 'postgres', 'SELECT * FROM event_store.supervision_tree' ],
	[ 'an UPDATE of events', 'postgres', 'UPDATE event_log SET version = 7' ])
{
	my ($name, $database, $sql) = @$case;
	my ($out, $err);

	$node->psql($database, "\\set VERBOSITY verbose\n$sql", stdout => \$out, stderr => \$err, on_error_stop => 0);
	like($err, qr/ERROR:  55000: event_store must be loaded when the server starts/, "$name is refused");
	like($err, qr/HINT:  Write shared_preload_libraries = 'event_store' into postgresql.conf and restart the server/,
		"$name: the hint says what to write");
}
is($node->safe_psql('postgres', 'SELECT count(*), max(version) FROM event_log'),
	'1|1', 'plain SQL reads the events');
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'event_store%'}),
	0, 'nothing of it runs');

$node->append_conf('postgresql.conf', q{shared_preload_libraries = 'event_store'});
$node->restart;
is($node->safe_psql('postgres', 'SELECT first_version FROM ' . append('s-1')), 2, 'loaded again, it counts on');

$node->stop;
done_testing();
