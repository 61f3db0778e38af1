# A clone of a tenant that is being written is of one moment; a purge that is
# killed in the middle is finished by the next.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ESTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('main');

# Runs SQL in a process of its own.
sub start_psql
{
	my ($sql) = @_;
	my ($in, $out) = ('', '');
	return IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', $sql ], '<', \$in, '>', \$out, '2>&1');
}

# ---- cloned while it is written --------------------------------------------

# each transaction: an event, a row in each of two tables, and one row moved between them
$node->safe_psql('postgres', q{
	CREATE TABLE public.pace (n bigint);
	CREATE TABLE public.stop_now (n int);
	SELECT event_store.create_tenant('busy');
	SELECT event_store.tenant_use_session('busy');
	CREATE TABLE one (n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, of bigint);
	CREATE TABLE two (n bigserial PRIMARY KEY, of bigint REFERENCES one);
	CREATE PROCEDURE public.write() LANGUAGE plpgsql AS $$
	DECLARE
		id bigint;
	BEGIN
		WHILE NOT EXISTS (SELECT FROM public.stop_now) LOOP
			PERFORM event_store.append_event('s-' || (random() * 9)::int, 'T');
			INSERT INTO one (of) VALUES (0) RETURNING n INTO id;
			INSERT INTO two (of) VALUES (id);
			INSERT INTO public.pace VALUES (1);
			COMMIT;
		END LOOP;
	END $$});
my @writers;
for my $i (1 .. 2)
{
	my ($in, $out) = ('', '');
	push @writers, IPC::Run::start(
		[ 'psql', '-XAtq', '-d', $node->connstr('postgres'),
			'-c', q{SELECT event_store.tenant_use_session('busy')}, '-c', 'CALL public.write()' ],
		'<', \$in, '>', \$out, '2>&1');
}
wait_for($node, 'SELECT count(*) > 100 FROM public.pace', 'the writers are writing');
my $clones = 4;
my ($done, $unsound, $collisions, $grown) = (0, 0, 0, 0);
for my $i (1 .. $clones)
{
	my $from = $node->safe_psql('postgres', 'SELECT count(*) FROM public.pace');
	$node->safe_psql('postgres', "SELECT event_store.clone_tenant('busy', 'copy$i')");
	my $rows = $node->safe_psql('postgres', qq{
		SELECT * FROM event_store.with_tenant('copy$i', 'SELECT (SELECT count(*) FROM one), (SELECT count(*) FROM two), (SELECT count(*) FROM event_log)') AS (a bigint, b bigint, c bigint)});
	my ($one, $two, $events) = split /\|/, $rows;
	$done++ if $one == $two && $two == $events && $events >= $from;
	diag($rows) if $one != $two || $two != $events;
	$unsound += $node->safe_psql('postgres', qq{
		SELECT v FROM event_store.with_tenant('copy$i', 'SELECT count(*) FROM event_store.verify_store(''copy$i'') WHERE violations > 0') AS (v bigint)});
	# what is written to the copy comes after all that it has
	$grown += $node->safe_psql('postgres', qq{
		SELECT w.n FROM event_store.with_tenant('copy$i', 'WITH a AS (INSERT INTO one (of) VALUES (0) RETURNING n), b AS (INSERT INTO two (of) VALUES (NULL) RETURNING n)
			SELECT (a.n > (SELECT max(n) FROM one))::int * (b.n > (SELECT max(n) FROM two))::int *
				((SELECT last_position FROM event_store.append_event(''s-1'', ''T'')) > (SELECT max(position) FROM event_log))::int FROM a, b') AS w(n int)});
	wait_for($node, "SELECT count(*) > $from + 20 FROM public.pace", "clone $i: the writers have gone on");
}
$node->safe_psql('postgres', 'INSERT INTO public.stop_now VALUES (1)');
$_->finish for @writers;
is($done, $clones, 'every clone has the rows and the events of the same transactions, and all of those committed before');
is($unsound, 0, 'their stores are sound');
is($grown, $clones, 'and go on after what they have');

# ---- a purge that is killed ------------------------------------------------

my $reader = session($node);
$reader->query_safe(q{BEGIN; SELECT event_store.tenant_use('copy1'); SELECT count(*) FROM two});
$node->safe_psql('postgres', q{SELECT event_store.drop_tenant('copy1', 'copy1', keep => '0')});
my $purge = start_psql('CALL event_store.purge_tenants(max_relations => 1)');
wait_for($node, q{SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'relation' AND mode = 'AccessExclusiveLock' AND NOT granted)},
	'the purge has come to a table that is being read');
is($node->safe_psql('postgres', q{SELECT state, to_regclass('copy1.event_log'), to_regclass('copy1.two') FROM event_store.tenants WHERE name = 'copy1'}),
	'purging||copy1.two', 'what it did before is done');
$node->stop('immediate');
start_after_crash($node);
$purge->finish;
$reader->quit;
sqlstate_is($node, q{SELECT event_store.restore_tenant('copy1')}, '55000', 'what is half gone is not restored');
is($node->safe_psql('postgres', 'CALL event_store.purge_tenants()'), '1|0', 'the next purge finishes it');
is($node->safe_psql('postgres', q{SELECT count(*) FROM event_store.tenant_residue('copy1')}), '0', 'and nothing is left');

$node->stop;
done_testing();
