# Schedules over time that passes while nobody runs them: a server that was
# down, a dump that is restored.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ESTest;
use Test::More;

my $node = new_node('main');

# The clock cannot be set here; instead the time that is due is set back.
sub miss
{
	my ($name, $ago) = @_;
	$node->safe_psql('postgres', qq{
		UPDATE event_store.schedule SET next_run = next_run - interval '$ago'
		WHERE task = (SELECT number FROM event_store.task WHERE name = '$name')});
	return;
}

$node->safe_psql('postgres', q{
	CREATE TABLE public.runs (name text);
	SELECT event_store.schedule('once', '0 3 * * *', $$INSERT INTO public.runs VALUES ('once')$$);
	SELECT event_store.schedule('skip', '0 3 * * *', $$INSERT INTO public.runs VALUES ('skip')$$, missed => 'skip');
	SELECT event_store.schedule('interval', '1 hour', $$INSERT INTO public.runs VALUES ('interval')$$);
	SELECT event_store.schedule('soon', '100 ms', $$INSERT INTO public.runs VALUES ('soon')$$, missed => 'skip')});
my $next = $node->safe_psql('postgres', q{SELECT next_run FROM event_store.schedules WHERE name = 'once'});
my $hour = $node->safe_psql('postgres', q{SELECT next_run FROM event_store.schedules WHERE name = 'interval'});
wait_for($node, q{SELECT runs > 2 FROM event_store.schedules WHERE name = 'soon'}, 'one that is due often runs');

# missed five times while the server was down
miss('once', '5 days');
miss('skip', '5 days');
miss('interval', '5 hours');
$node->restart;
wait_for($node, q{SELECT min(next_run) > now() FROM event_store.schedules WHERE name <> 'soon'}, 'what was missed is dealt with');
is($node->safe_psql('postgres', q{SELECT string_agg(name, ',' ORDER BY name) FROM public.runs WHERE name <> 'soon'}), 'interval,once',
	'run once, or not at all, as the policy says');
is($node->safe_psql('postgres', q{SELECT string_agg(name || ' ' || runs || ' ' || missed, ',' ORDER BY name) FROM event_store.schedules WHERE name <> 'soon'}),
	'interval 1 0,once 1 0,skip 0 1', 'and the view tells');
is($node->safe_psql('postgres', q{SELECT string_agg(DISTINCT next_run::text, ',') FROM event_store.schedules WHERE name IN ('once', 'skip')}),
	$next, 'the next time is the next one');
is($node->safe_psql('postgres', q{SELECT next_run FROM event_store.schedules WHERE name = 'interval'}), $hour, 'an interval goes on in its rhythm');
wait_for($node, q{SELECT missed > 0 AND runs > 2 FROM event_store.schedules WHERE name = 'soon'}, 'one that is due often has missed some and goes on');

# dump and restore: schedules are there and run; what had failed is tried anew
$node->safe_psql('postgres', q{
	SELECT event_store.schedule('broken', '100 ms', 'SELECT 1 / 0');
	SELECT event_store.unschedule('soon');
	SELECT event_store.schedule('restored', '100 ms', $$INSERT INTO public.runs VALUES ('restored')$$)});
wait_for($node, q{SELECT failures > 0 FROM event_store.tasks WHERE name = 'broken'}, 'one fails');
my $dump = $node->basedir . '/dump.sql';
$node->command_ok([ 'pg_dump', '-f', $dump, '-d', $node->connstr('postgres') ], 'pg_dump');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $dump, '-d', $node->connstr('restored') ], 'restored');
is($node->safe_psql('restored', q{SELECT string_agg(name, ',' ORDER BY name) FROM event_store.schedules}),
	'broken,interval,once,restored,skip', 'all schedules are there');
my $count = $node->safe_psql('restored', q{SELECT count(*) FROM public.runs WHERE name = 'restored'});
# whoever restores need not wait for the scheduler's next look
$node->safe_psql('restored', q{SET search_path = shop; SELECT event_store.resume_task('schedule', 'restored')});
wait_for($node, "SELECT count(*) > $count FROM public.runs WHERE name = 'restored'", 'and run', 'restored');
wait_for($node, q{SELECT failures > 0 FROM event_store.tasks WHERE name = 'broken'}, 'or fail again', 'restored');

$node->stop;
done_testing();
