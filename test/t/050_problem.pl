# Problems and the server's log: which get an instance, that the instance leads
# to a line of the server's log and to a row of problem_log(), that the row is
# there although the transaction was rolled back, and how long.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ESTest;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('main', conf => "event_store.problem_log_size = 16kB\n");
my $conflict = q{SELECT event_store.append_event('s', 'A', expected => 7)};

# The problem document in the DETAIL of a statement's error, as the client gets it.
sub problem_of
{
	my ($sql, $database) = @_;
	my ($rc, $out, $err) = $node->psql($database // 'postgres', $sql);
	my ($detail) = $err =~ /^DETAIL:  (.*)$/m;
	return defined $detail ? decode_json($detail) : undef;
}

# The documents in the log of problems that carry an instance.
sub logged
{
	my ($instance, $database) = @_;
	return $node->safe_psql($database // 'postgres',
		"SELECT count(*) FROM event_store.problem_log() WHERE instance = '$instance'");
}

sub in_server_log
{
	my ($instance) = @_;
	my @lines = split /\n/, slurp_file($node->logfile);
	return scalar grep { /DETAIL: .*"instance":"\Q$instance\E"/ } @lines;
}

# ---- off: nothing gets an instance ----

is(problem_of($conflict)->{instance}, undef, 'no instance while the log is off');
is($node->safe_psql('postgres', 'SELECT count(*) FROM event_store.problem_log()'), 0, 'and nothing in it');

# ---- on ----

$node->safe_psql('postgres', 'ALTER SYSTEM SET event_store.problem_log_rate = 1');
$node->reload;
$node->poll_query_until('postgres', "SELECT current_setting('event_store.problem_log_rate') = '1'");

# systems 5.3.8
my @twice = map { problem_of($conflict) } 1 .. 2;
is_deeply(
	[ @{ $twice[0] }{qw(type title status)} ],
	[ @{ $twice[1] }{qw(type title status)} ],
	'raised twice: the same type, title and status');
isnt($twice[0]{instance}, $twice[1]{instance}, 'but another instance');
for (@twice)
{
	like($_->{instance}, qr/^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/, 'it is a URN');
	is(in_server_log($_->{instance}), 1, 'it is in the server log');
	is(logged($_->{instance}), 1, 'and in the log of problems');
}
is( $node->safe_psql(
		'postgres', qq{
		SELECT sqlstate, role, pid > 0, logged_at > now() - interval '1 hour', problem ->> 'stream', problem ->> 'instance' = instance
		FROM event_store.problem_log() WHERE instance = '$twice[1]{instance}'}),
	'VE001|' . $node->safe_psql('postgres', 'SELECT current_user') . '|t|t|s|t',
	'with what was raised');

# raise_problem and problem_pgrst
my $raised = problem_of(q{SELECT event_store.raise_problem('{"status": 402, "balance": 30}')});
is(logged($raised->{instance}) . in_server_log($raised->{instance}), '11', 'a problem that a user raises');
problem_of(q{SELECT event_store.raise_problem('{"status": 402, "instance": "/account/7"}')});
is(logged('/account/7') . in_server_log('/account/7'), '11', 'one with an instance of its own keeps it');
my (undef, undef, $err) = $node->psql('postgres', q{SELECT event_store.problem_pgrst('{"status": 402}')});
my ($message) = $err =~ /ERROR:  (\{.*\})$/m;
my $pgrst = decode_json(decode_json($message)->{details});
is(logged($pgrst->{instance}), 1, 'one for PostgREST');

# a problem that is caught is the business of who caught it
my $caught = $node->safe_psql(
	'postgres', qq{
	DO \$\$ BEGIN PERFORM event_store.append_event('s', 'A', expected => 7); EXCEPTION WHEN OTHERS THEN NULL; END \$\$;
	SELECT event_store.last_problem() ->> 'instance';});
like($caught, qr/^urn:uuid:/, 'one that is caught has an instance');
is(logged($caught) . in_server_log($caught), '00', 'but is in no log');

# try answers somebody who may ask, and its transaction may be rolled back
for my $query ('SELECT 1/0', $conflict)
{
	(my $quoted = $query) =~ s/'/''/g;
	my $instance = $node->safe_psql(
		'postgres', qq{
		BEGIN;
		SELECT event_store.try('$quoted') ->> 'instance';
		ROLLBACK;});
	is(logged($instance) . in_server_log($instance), '11', "one that try answers with, after a rollback: $query");
}
like(slurp_file($node->logfile), qr/LOG:  try has answered with a problem: division by zero\n.*DETAIL: .*22012.*\n.*QUERY:  SELECT 1\/0\n/, 'the line of try names the query');
is( $node->safe_psql('postgres', q{SELECT event_store.try('SELECT 1') ? 'instance'}), 'f', 'no instance of a success');

# errors of the server that nobody makes a problem of do not come in
my $before = $node->safe_psql('postgres', 'SELECT count(*) FROM event_store.problem_log()');
$node->psql('postgres', 'SELECT 1/0');
is($node->safe_psql('postgres', 'SELECT count(*) FROM event_store.problem_log()'), $before, 'not the plain errors of the server');

# what is not written to the server's log cannot be found there
my $silent = problem_of("SET log_min_messages = fatal; $conflict");
is(logged($silent->{instance}) . in_server_log($silent->{instance}), '00', 'nor what the server does not log');

# who may look, and at what
$node->safe_psql('postgres', 'CREATE ROLE watcher LOGIN; GRANT pg_monitor TO watcher; CREATE DATABASE other');
is($node->safe_psql('postgres', "SET ROLE watcher; SELECT count(*) FROM event_store.problem_log() WHERE instance = '$twice[1]{instance}'"), 1,
	'pg_monitor may look');
create_store($node, 'other');
my $others = problem_of($conflict, 'other');
is(logged($others->{instance}) . logged($others->{instance}, 'other'), '01', 'each database has its own problems');

# the first session after this has none
is($node->safe_psql('postgres', 'SELECT event_store.last_problem() IS NULL'), 't', 'a new session has no last problem');

# ---- a ring: many sessions, and the oldest go ----

my $large = problem_of(q{SELECT event_store.raise_problem(jsonb_build_object('status', 400, 'big', repeat('x', 5000)))});
is(logged($large->{instance}) . in_server_log($large->{instance}), '01', 'a document over a quarter of its size is in the server log only');
my @sessions = map { session($node) } 1 .. 4;
for my $session (@sessions)
{
	$session->{stdin} .= q{SELECT event_store.raise_problem(jsonb_build_object('status', 400, 'pad', repeat('p', (random() * 3000)::int))) ;} . "\n" for 1 .. 100;
	$session->{stdin} .= "\\echo done\n";
	$session->{run}->pump_nb;
}
for my $session (@sessions)
{
	$session->{run}->pump until $session->{stdout} =~ /done/ || $session->{timeout}->is_expired;
	$session->quit;
}
is( $node->safe_psql(
		'postgres', q{
		SELECT count(*) > 5 AND count(*) < 400 AND count(*) = count(DISTINCT instance) AND bool_and(problem ->> 'type' = 'about:blank' AND length(problem ->> 'pad') <= 3000)
			AND sum(length(problem::text)) < 16384
		FROM event_store.problem_log()}),
	't',
	'4 sessions raise 100 each: the newest are there, whole');
is( $node->safe_psql('postgres', 'SELECT bool_and(ordered) FROM (SELECT logged_at >= lag(logged_at) OVER () FROM event_store.problem_log()) x(ordered)'),
	't', 'in order');
my $newest = problem_of($conflict);
is(logged($newest->{instance}), 1, 'the newest is always there');
is(logged($twice[0]{instance}), 0, 'the oldest has gone');

# ---- a share of them ----

is( $node->safe_psql(
		'postgres', q{
		SET event_store.problem_log_rate = 0.5;
		SET log_min_messages = panic;
		SELECT count(*) BETWEEN 800 AND 1200 FROM generate_series(1, 2000) WHERE event_store.try('SELECT 1/0') ? 'instance'}),
	't',
	'about half of 2000 with a rate of 0.5');

# ---- restart, dump ----

$node->stop('immediate');
start_after_crash($node);
is($node->safe_psql('postgres', 'SELECT count(*) FROM event_store.problem_log()'), 0, 'a crash empties it');
is(logged(problem_of($conflict)->{instance}), 1, 'and it goes on');

$node->safe_psql(
	'other', q{
	SELECT event_store.register_problem_type('urn:x:y', 'Y', 422, 'XY001', '1 min', 'Do it.', '{"properties": {"abc": {}}}');
	SELECT event_store.set_problem_title('urn:x:y', 'de', 'Ypsilon');
	SELECT event_store.set_problem_title('urn:event-store:problem:stream-exists', 'de', 'Strom da');});
my $dump = $node->basedir . '/other.sql';
$node->command_ok([ 'pg_dump', '-f', $dump, $node->connstr('other') ], 'dump');
$node->safe_psql('postgres', 'CREATE DATABASE copy');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $dump, $node->connstr('copy') ], 'restore');
my $types = q{SELECT t::text FROM event_store.problem_type t UNION ALL SELECT t::text FROM event_store.problem_title t ORDER BY 1};
is($node->safe_psql('copy', $types), $node->safe_psql('other', $types), 'registered types and titles are dumped');

$node->stop;
done_testing();
