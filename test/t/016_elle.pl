# reliability 25: histories of random transactions over several streams, with
# reads, appends and append_many, have no anomaly that their isolation level
# excludes; and the checker finds those that are planted (test/perl/elle.sql).

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ESTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $transactions = $ENV{ES_SECONDS} ? 50 * $ENV{ES_SECONDS} : 40;
my $node = new_node('main', conf => "deadlock_timeout = 10ms\n");
my $dir = PostgreSQL::Test::Utils::tempdir;

for my $level ('READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE')
{
	(my $store = lc $level) =~ s/ /_/;
	my $serializable = $level eq 'SERIALIZABLE' ? 'true' : 'false';

	$node->safe_psql('postgres', qq{
		DROP SCHEMA IF EXISTS elle CASCADE;
		SELECT event_store.create_store('$store');
		ALTER DATABASE postgres SET search_path = $store, public;
		ALTER DATABASE postgres SET default_transaction_isolation = '$level'});
	$node->safe_psql('postgres', slurp_file("$FindBin::RealBin/../perl/elle.sql"));

	# Transactions that append with several calls may deadlock, and are run again.
	append_to_file("$dir/$store", "SELECT elle.run(:client_id, 6);\n");
	$node->command_ok(
		[ 'pgbench', '-n', '-c', 8, '-j', 2, '-t', $transactions, '--max-tries', 10000, '-f', "$dir/$store", 'postgres' ],
		"$level: the transactions run");
	$node->safe_psql('postgres', q{
		INSERT INTO elle.log SELECT stream, version, data::bigint FROM event_store.read_all(max_count => NULL);
		ANALYZE elle.op; ANALYZE elle.log});
	is( $node->safe_psql('postgres', "SELECT * FROM elle.anomalies($serializable)"), '', "$level: no anomaly");
	note $node->safe_psql('postgres',
		"SELECT (SELECT count(DISTINCT txn) FROM elle.op) || ' transactions, ' || count(*) || ' dependencies' FROM elle.edge");
	cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM elle.edge'), '>', 500, "$level: dependencies were found");
}

# What is planted into the last history is found, whatever else it leads to.
my %planted = (
	duplicate => q{INSERT INTO elle.log SELECT stream, version + 1000000, element FROM elle.log LIMIT 1},
	lost => q{DELETE FROM elle.log WHERE element = (SELECT max(element) FROM elle.log)},
	G1a => q{DELETE FROM elle.op WHERE element = (SELECT max(element) FROM elle.log)},
	fork => q{UPDATE elle.op SET list = array_remove(list, list[1]) WHERE ctid = (SELECT ctid FROM elle.op WHERE cardinality(list) > 3 LIMIT 1)},
	G1b => q{INSERT INTO elle.log VALUES ('new', 1, -1), ('new', 2, -2);
		INSERT INTO elle.op VALUES (1000001, 101, 1, 'new', -1, NULL), (1000001, 101, 2, 'new', -2, NULL), (1000002, 102, 1, 'new', NULL, '{-1}')},
	# each of two wrote before the other, in two streams
	G0 => q{INSERT INTO elle.log VALUES ('x', 1, -1), ('x', 2, -2), ('y', 1, -3), ('y', 2, -4);
		INSERT INTO elle.op VALUES (1000001, 101, 1, 'x', -1, NULL), (1000002, 102, 1, 'x', -2, NULL), (1000002, 102, 2, 'y', -3, NULL), (1000001, 101, 2, 'y', -4, NULL)},
	# each of two read what the other wrote
	G1c => q{INSERT INTO elle.log VALUES ('x', 1, -1), ('y', 1, -2);
		INSERT INTO elle.op VALUES (1000001, 101, 1, 'x', -1, NULL), (1000002, 102, 1, 'y', -2, NULL),
			(1000001, 101, 2, 'y', NULL, '{-2}'), (1000002, 102, 2, 'x', NULL, '{-1}')},
	# each of two read before the other wrote
	G2 => q{INSERT INTO elle.log VALUES ('x', 1, -1), ('y', 1, -2);
		INSERT INTO elle.op VALUES (1000001, 101, 1, 'x', -1, NULL), (1000002, 102, 1, 'y', -2, NULL),
			(1000001, 101, 2, 'y', NULL, '{}'), (1000002, 102, 2, 'x', NULL, '{}')});

for my $anomaly (sort keys %planted)
{
	my $found = $node->safe_psql('postgres', "BEGIN; $planted{$anomaly}; SELECT anomaly FROM elle.anomalies(true); ROLLBACK;");
	like($found, qr/^$anomaly$/m, "a planted $anomaly is found");
}

$node->stop;
done_testing();
