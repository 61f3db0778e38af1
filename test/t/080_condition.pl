# Conditional appends: sixteen sessions decide on one query at a time, staggered
# so that commits fall between a read and the append that rests on it, and
# exactly as many decisions stand as may: the seats of a course, a user's name.
# Every event says after which position it was decided on, so the log itself
# tells whether a matching one stands between.  Some sessions roll back, some
# read in a fixed snapshot, one appends what matches without a condition.
#
# Each patch in test/mutants/condition breaks the locks in a way that is easy to
# get wrong; the same workload has to notice.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Cwd qw(abs_path);
use ESTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $sessions = 16;
my $seats = 3;
my $rounds = $ENV{ES_SECONDS} ? 1000 : 120;
my $root = abs_path("$FindBin::RealBin/../..");
my $node = new_node('main', conf => "fsync = off\n");

# What a session does in a round.  The sequence is where the sessions meet.
$node->safe_psql('postgres', q{
CREATE SCHEMA work;
CREATE PROCEDURE work.meet(meeting bigint, sessions bigint) LANGUAGE plpgsql AS $$
DECLARE
	arrived bigint := nextval('arrivals');
	deadline timestamptz := clock_timestamp() + interval '30 s';
BEGIN
	COMMIT;
	WHILE (SELECT last_value FROM arrivals) < meeting * sessions LOOP
		IF clock_timestamp() > deadline THEN
			RAISE 'the others have not come';
		END IF;
		PERFORM pg_sleep(0.0003);
		COMMIT;
	END LOOP;
END $$;

CREATE PROCEDURE work.subscribe(course text, student int, seats int) LANGUAGE plpgsql AS $$
DECLARE
	query jsonb := jsonb_build_array(
		jsonb_build_object('types', '["Subscribed", "Changed"]'::jsonb, 'tags', jsonb_build_array(course)),
		jsonb_build_object('types', '["Subscribed"]'::jsonb, 'tags', jsonb_build_array('student:' || student, course)));
	taken bigint;
	matching bigint;
	seen bigint;
	undone boolean;
BEGIN
	LOOP
		COMMIT;
		SELECT count(*) FILTER (WHERE type = 'Subscribed'), count(position), max(head) INTO taken, matching, seen FROM event_store.read_by_query(query);
		EXIT WHEN taken >= seats;
		COMMIT;
		PERFORM pg_sleep(random() * 0.003);
		COMMIT;
		undone := random() < 0.1;
		BEGIN
			PERFORM event_store.append_event('student-' || student, 'Subscribed', jsonb_build_object('seen', matching, 'after', seen),
				jsonb_build_object('tags', jsonb_build_array(course, 'student:' || student)), condition => query, after => seen);
			PERFORM pg_sleep(random() * 0.002);
			EXIT WHEN NOT undone;
		EXCEPTION WHEN SQLSTATE 'VE008' OR SQLSTATE '40001' THEN
			undone := true;
		END;
		ROLLBACK;
	END LOOP;
	COMMIT;
END $$;

CREATE PROCEDURE work.change(course text) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM event_store.append_event('changes', 'Changed', '0', jsonb_build_object('tags', jsonb_build_array(course)));
	PERFORM pg_sleep(random() * 0.003);
	COMMIT;
END $$;

CREATE PROCEDURE work.register(name text, student int) LANGUAGE plpgsql AS $$
BEGIN
	BEGIN
		PERFORM event_store.append_event('student-' || student, 'Registered', '0', jsonb_build_object('tags', jsonb_build_array(name)),
			condition => jsonb_build_object('types', '["Registered"]'::jsonb, 'tags', jsonb_build_array(name)));
		PERFORM pg_sleep(random() * 0.002);
	EXCEPTION WHEN SQLSTATE 'VE008' OR SQLSTATE '40001' THEN
		NULL;
	END;
	COMMIT;
END $$;

CREATE PROCEDURE work.round(student int, sessions int, seats int) LANGUAGE plpgsql AS $$
DECLARE
	round bigint;
BEGIN
	INSERT INTO rounds VALUES (student, 1) ON CONFLICT ON CONSTRAINT rounds_pkey DO UPDATE SET round = rounds.round + 1 RETURNING rounds.round INTO round;
	PERFORM set_config('default_transaction_isolation', CASE WHEN student % 5 = 0 THEN 'repeatable read' ELSE 'read committed' END, false);
	CALL work.meet(round, sessions);
	IF student = 1 THEN
		CALL work.change('course:' || round);
	END IF;
	CALL work.subscribe('course:' || round, student, seats);
	CALL work.register('name:' || round, student);
END $$;
});

# A store for a run, which lasts so many rounds; returns what is wrong after it.
sub problems
{
	my ($store, $n) = @_;

	$node->safe_psql('postgres', qq{
		SELECT event_store.create_store('$store');
		ALTER DATABASE postgres SET search_path = $store, work, public});
	$node->safe_psql('postgres', q{
		SELECT event_store.enable_tags();
		CREATE SEQUENCE arrivals;
		CREATE TABLE rounds (student int PRIMARY KEY, round bigint)});
	my $script = PostgreSQL::Test::Utils::tempdir . '/round.sql';
	append_to_file($script, "SELECT :client_id + 1 AS student \\gset\nCALL work.round(:student, $sessions, $seats);\n");
	my $ran = IPC::Run::run([ 'pgbench', '-n', '-c', $sessions, '-j', 2, '-t', $n, '-f', $script, $node->connstr('postgres') ],
		'>', \my $out, '2>', \my $err);

	diag $err unless $ran;
	return ('the sessions did not all end well') unless $ran;
	return split /\n/, $node->safe_psql('postgres', qq{
		SELECT format('course %s has %s subscriptions', round, n) FROM (
			SELECT round, (SELECT count(*) FROM event_log WHERE event_type = 'Subscribed' AND metadata->'tags' ? ('course:' || round)) AS n
			FROM generate_series(1, $n) round) c WHERE n <> $seats
		UNION ALL
		SELECT format('name %s was given %s times', round, n) FROM (
			SELECT round, (SELECT count(*) FROM event_log WHERE event_type = 'Registered' AND metadata->'tags' ? ('name:' || round)) AS n
			FROM generate_series(1, $n) round) c WHERE n <> 1
		UNION ALL
		SELECT format('%s was decided on what was known up to %s, and %s came between', e.position, e.data->'after', o.position)
		FROM event_log e JOIN event_log o ON o.position > (e.data->'after')::bigint AND o.position < e.position
			AND o.metadata->'tags'->0 = e.metadata->'tags'->0
		WHERE e.event_type = 'Subscribed'
		UNION ALL
		SELECT format('%s was decided on %s events, and up to %s there are %s', e.position, e.data->'seen', e.data->'after', n)
		FROM event_log e, LATERAL (SELECT count(*) AS n FROM event_log o WHERE o.position <= (e.data->'after')::bigint
			AND o.metadata->'tags'->0 = e.metadata->'tags'->0) o
		WHERE e.event_type = 'Subscribed' AND n <> (e.data->'seen')::bigint
		UNION ALL
		SELECT format('%s: %s', invariant, example) FROM event_store.verify_store() WHERE violations > 0});
}

my @found = problems('sound', $rounds);
is(scalar @found, 0, "$rounds courses of $seats seats, $sessions sessions: each is full, none is over, and every name is there once")
  or diag join "\n", splice(@found, 0, 20);
cmp_ok($node->safe_psql('postgres', q{
	SELECT sum(value) FROM event_store.metrics WHERE name = 'event_store_append_calls' AND tags->>'outcome' = 'conflict'}),
	'>', $rounds, 'there were conflicts');

# A dump has the tags too: restored, they are whole and conditions go on where they were.
my $dump = $node->basedir . '/sound.sql';
command_ok([ 'pg_dump', '--schema=sound', '-d', $node->connstr('postgres'), '-f', $dump ], 'the store is dumped');
$node->safe_psql('postgres', 'CREATE DATABASE copy');
$node->safe_psql('copy', 'CREATE EXTENSION event_store');
command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('copy'), '-f', $dump ], 'and restored');
$node->safe_psql('copy', q{SELECT event_store.attach_store('sound'); ALTER DATABASE copy SET search_path = sound, public});
is($node->safe_psql('copy', "SELECT count(*) FILTER (WHERE violations > 0), count(*) FILTER (WHERE invariant LIKE 'tags%') FROM event_store.verify_store()"),
	'0|1', 'with its tags');
sqlstate_is($node, q{SELECT event_store.append_event('x', 'Registered', '0', condition => '{"tags": ["name:1"]}')}, 'VE008',
	'what was taken is taken', 'copy');

# Would it notice?  Objects that are there already save time, so everything is copied.
my $copy = PostgreSQL::Test::Utils::tempdir;
system_or_bail('cp', '-a', "$root/src", "$root/sql", "$root/Makefile", "$root/event_store.control", $copy);
my @patches = sort glob "$root/test/mutants/condition/*.patch";
is(scalar @patches, 3, 'all mutants are there');
for my $patch (@patches)
{
	my ($mutant) = $patch =~ m{([^/]+)\.patch$};
	my @patch = ('patch', '-d', $copy, '-p1', '--silent', '--forward', '-i', $patch);
	my $built;
	{
		local @ENV{qw(MAKEFLAGS MAKELEVEL)};
		delete @ENV{qw(MAKEFLAGS MAKELEVEL)};
		my $pg_config = $ENV{PG_CONFIG} || 'pg_config';
		$built = run_log(\@patch)
		  && IPC::Run::run([ 'make', '-C', $copy, '-s', "PG_CONFIG=$pg_config", 'with_llvm=no', 'event_store.so' ],
			'>', \my $out, '2>', \my $err);
	}
	ok($built, "$mutant: the patch applies and builds") or next;
	$node->append_conf('postgresql.conf', "dynamic_library_path = '$copy:\$libdir'");
	$node->restart;
	@found = ();
	for my $run (1 .. 8)
	{
		@found = problems("${mutant}_$run", 20);
		last if @found;
	}
	note join "\n", @found;
	ok(scalar(grep { /^course|^name|decided/ } @found), "$mutant: caught");
	run_log([ @patch, '-R' ]) or BAIL_OUT("$mutant cannot be taken back");
}

$node->stop;
done_testing();
