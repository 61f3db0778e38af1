# pg_upgrade of a cluster with stores, in use until a moment before: the events
# are the same, positions go on above, nothing of the extension ran meanwhile,
# and a consumer goes on with the token it has.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ESTest;
use PostgreSQL::Test::Utils;
use Test::More;

my %bin = map { $_ => "/usr/lib/postgresql/$ENV{\"ES_$_\"}" } 'OLD', 'NEW';
my $conf = q{
shared_preload_libraries = 'event_store'
log_min_messages = debug1
fsync = off
};

sub new_cluster
{
	my ($name, $install) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name, install_path => $install);
	$node->init(extra => [ '--encoding=UTF8', '--locale=C', '--no-sync' ]);
	$node->append_conf('postgresql.conf', $conf);
	return $node;
}

my $checksum = q{
	SELECT count(*), md5(string_agg(format('%s %s', s.stream_name, l), ',' ORDER BY l.position))
	FROM event_log l JOIN event_streams s USING (stream_id)};

# reliability 42
for my $mode ('--copy', '--link')
{
	(my $name = $mode) =~ s/-//g;
	my $old = new_cluster("old_$name", $bin{OLD});
	my $new = new_cluster("new_$name", $bin{NEW});

	$old->start;
	create_store($old, 'postgres');
	$old->safe_psql('postgres', q{
		SELECT count(event_store.append_event('order-' || n % 50, 'A', to_jsonb(n))) FROM generate_series(1, 2000) n;
		SELECT event_store.create_store('second');
		SELECT event_store.delete_stream('order-7');
		CREATE ROLE reader;
		SELECT event_store.grant_store('shop', 'reader', 'reader')});
	wait_for($old, 'SELECT event_store.durable_mark() = event_store.head()', "$mode: the mark comes to the head");
	my $events = $old->safe_psql('postgres', $checksum);
	my $last = last_position($old);
	my $token = $old->safe_psql('postgres', "SELECT event_store.token($last)");
	$old->stop;

	# its files are written to the working directory
	chdir $new->basedir or die $!;
	command_ok(
		[
			'pg_upgrade', '--no-sync', '--retain', $mode,
			'-d', $old->data_dir, '-D', $new->data_dir,
			'-b', "$bin{OLD}/bin", '-B', "$bin{NEW}/bin",
			'-s', $new->host, '-p', $old->port, '-P', $new->port
		],
		"$mode: pg_upgrade");
	my @logs = glob $new->data_dir . '/pg_upgrade_output.d/*/log/*';
	my @started = grep { slurp_file($_) =~ /background worker process "event_store/ } @logs;
	cmp_ok(scalar @logs, '>', 0, "$mode: it left logs");
	is("@started", '', "$mode: nothing of the extension ran meanwhile");

	$new->start;
	is($new->safe_psql('postgres', $checksum), $events, "$mode: the events are the same");
	is($new->safe_psql('postgres', 'SELECT schema FROM event_store.stores ORDER BY 1'), "second\nshop", "$mode: the stores are there");
	is($new->safe_psql('postgres', "SELECT event_store.token_position('$token')"), $last, "$mode: the token leads on");
	my $next = $new->safe_psql('postgres', 'SELECT first_position FROM ' . append('order-1'));
	cmp_ok($next, '>', $last, "$mode: positions go on above");
	is(positions($new, $last), $next, "$mode: and are read");
	is($new->safe_psql('postgres', q{SELECT status FROM event_store.stream_info('order-7')}), 'deleted', "$mode: a deleted stream stays deleted");
	is($new->safe_psql('postgres', 'SET ROLE reader; SELECT count(*) FROM event_store.read_all(max_count => 1)'), 1, "$mode: rights are kept");
	is($new->safe_psql('postgres', q{SELECT invariant, example FROM event_store.verify_store('shop') WHERE violations > 0}),
		'', "$mode: every invariant holds");
	$new->stop;
}
done_testing();
