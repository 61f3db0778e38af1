# Processes of the runtime are ended under load: afterwards there is exactly one
# scheduler in each database, no place of the pool is lost, every task goes on,
# and no run was made twice or half.
#
# ES_RUNTIME_ROUNDS sets the number of rounds, the default is for a short run.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ESTest;
use Test::More;
use Time::HiRes qw(usleep);

my $rounds = $ENV{ES_RUNTIME_ROUNDS} || 20;
my $tasks = 12;

my $node = new_node(
	'main', conf => q{
restart_after_crash = on
max_worker_processes = 12
log_min_messages = fatal
});

# Each run adds to two tables: half a run would show, as would one that the
# schedule does not know of.
$node->safe_psql(
	'postgres', qq{
	CREATE TABLE public.runs (task text, n bigint, at timestamptz DEFAULT clock_timestamp());
	CREATE TABLE public.totals (task text PRIMARY KEY, total bigint);
	INSERT INTO public.totals SELECT 'task' || n, 0 FROM generate_series(1, $tasks) n;
	CREATE FUNCTION public.work(args jsonb) RETURNS void LANGUAGE plpgsql AS \$\$
	BEGIN
		INSERT INTO public.runs SELECT task, total + 1 FROM public.totals WHERE task = args ->> 'task';
		PERFORM pg_sleep(random() * 0.02);
		UPDATE public.totals SET total = total + 1 WHERE task = args ->> 'task';
	END \$\$;
	SELECT event_store.schedule('task' || n, '100 ms', function => 'public.work', args => jsonb_build_object('task', 'task' || n))
	FROM generate_series(1, $tasks) n});

sub pid_of
{
	my ($type) = @_;
	my $pid;
	for (1 .. 200)
	{
		$node->psql('postgres',
			"SELECT pid FROM pg_stat_activity WHERE backend_type = '$type' AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1",
			stdout => \$pid);
		return $pid if $pid;
		usleep(50_000);
	}
	die "there is no $type\n";
}

# Every task has run since; what is waited for is one number a task.
sub all_go_on
{
	my ($what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $now = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
	return wait_for($node, "SELECT count(DISTINCT task) = $tasks FROM public.runs WHERE at > '$now'", $what);
}

all_go_on('all tasks run');

# TERM first, which restarts only who was hit, then KILL, which restarts the server
my @types = ('event_store worker', 'event_store scheduler', 'event_store launcher', 'client backend');
for my $round (1 .. $rounds)
{
	my $kill = $round > $rounds / 2;
	my $type = $types[ $round % @types ];

	next if $type eq 'client backend' && !$kill;
	if ($type eq 'client backend')
	{
		my $victim = session($node);
		kill 'KILL', session_pid($victim);
		$victim->quit;
	}
	else
	{
		kill $kill ? 'KILL' : 'TERM', pid_of($type);
	}
	$node->poll_query_until('postgres', 'SELECT true') or die 'the server did not come back';
	usleep(int rand 150_000);
}

# systems 4.3.14 for tasks: they survive; reliability 20
all_go_on("after $rounds rounds every task goes on");
wait_for($node, q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'event_store scheduler'}, 'there is one scheduler');
wait_for($node, q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'event_store launcher'}, 'and one launcher');
wait_for($node, q{SELECT NOT EXISTS (SELECT FROM event_store.tasks WHERE state IN ('stopped', 'unknown'))}, 'no task was lost on the way');

# No place is orphaned: all four can be busy at once.
$node->safe_psql('postgres', q{
	SELECT event_store.schedule('hold' || n, '100 ms', 'SELECT pg_sleep(30)') FROM generate_series(1, 4) n});
wait_for($node, q{SELECT count(*) = 4 FROM event_store.workers WHERE state = 'running' AND name LIKE 'hold%'}, 'four workers can work at once');
$node->safe_psql('postgres', q{
	SELECT event_store.unschedule('hold' || n) FROM generate_series(1, 4) n;
	SELECT event_store.unschedule('task' || n) FROM generate_series(1, 12) n});
wait_for($node, q{SELECT count(*) = 0 FROM event_store.workers WHERE state = 'running'}, 'all is quiet');
is($node->safe_psql('postgres', q{
	SELECT count(*) FROM public.totals t WHERE total <> (SELECT count(*) FROM public.runs r WHERE r.task = t.task)
		OR total <> (SELECT coalesce(max(n), 0) FROM public.runs r WHERE r.task = t.task)}), 0, 'no run was made twice or half');

$node->stop;
done_testing();
