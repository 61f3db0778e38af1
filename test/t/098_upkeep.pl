# Work that nobody calls for: dropped tenants are purged, pools filled, rollouts
# go on, stores are tidied; and a query for all tenants by workers of its own.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ESTest;
use ESTest::Client;
use Test::More;

my $node = new_node('main', conf => "event_store.upkeep = on\nevent_store.tidy_interval = 1s\n");

sub sql { return $node->safe_psql('postgres', $_[0]); }

sub tasks
{
	return sql(q{SELECT string_agg(kind || ' ' || name, ',' ORDER BY kind, name COLLATE "C") FROM event_store.tasks});
}

sql(q{
	CREATE ROLE operator LOGIN;
	ALTER DATABASE postgres OWNER TO operator;
	SET ROLE operator;
	SELECT event_store.create_tenant(t) FROM unnest('{acme,busy,kept,late}'::text[]) t});

# --- purge ---

sql(q{SET ROLE operator; SELECT event_store.drop_tenant('acme', 'acme', keep => '0');
	SELECT event_store.drop_tenant('kept', 'kept', keep => '1 day')});
wait_for($node, q{SELECT count(*) = 0 FROM event_store.tenant_residue('acme')}, 'a dropped tenant whose time has come is purged');
wait_for($node, q{SELECT state = 'sleeping' AND next_run = (SELECT purge_after FROM event_store.tenants WHERE name = 'kept')
	AND owner = 'operator'::regrole FROM event_store.tasks WHERE kind = 'purge'}, 'one that is kept waits for its time');
is(tasks(), 'purge kept', 'and nothing else does');
sql(q{SET ROLE operator; SELECT event_store.restore_tenant('kept')});
is(tasks(), '', 'a tenant that is restored is not purged');

# systems 3.3.12: a long read makes it wait
my $reader = ESTest::Client->connect($node->connstr('postgres'));
$reader->run(q{SET event_store.tenant = 'busy'; BEGIN; SELECT * FROM busy.event_log;});
sql(q{SET ROLE operator; SELECT event_store.drop_tenant('busy', 'busy', keep => '0')});
wait_for($node, q{SELECT state = 'sleeping' AND next_run > now() AND failures = 0 FROM event_store.tasks WHERE name = 'busy'},
	'one that is in use comes again');
$reader->run('COMMIT;');
$reader->disconnect;
sql(q{SELECT event_store.resume_task('purge', 'busy')});
wait_for($node, q{SELECT count(*) = 0 FROM event_store.tenant_residue('busy')}, 'and is purged then');

# --- pools ---

sql(q{SET ROLE operator; SELECT event_store.keep_tenant_pool(2)});
wait_for($node, 'SELECT count(*) = 2 FROM event_store.tenant_pool', 'a pool is filled');
is(tasks(), 'pool operator', 'by a task of its owner');
sql(q{SET ROLE operator; SELECT event_store.create_tenant('first'); SELECT event_store.create_tenant('second')});
wait_for($node, q{SELECT count(*) = 2 AND bool_and(nspowner = 'operator'::regrole) FROM event_store.tenant_pool p
	JOIN pg_namespace n ON n.nspname = p.schema}, 'and filled again when schemas were taken');
wait_for($node, q{SELECT state = 'sleeping' AND next_run IS NULL FROM event_store.tasks}, 'then nothing runs');
sql(q{SET ROLE operator; SELECT event_store.keep_tenant_pool(1)});
wait_for($node, 'SELECT count(*) = 1 FROM event_store.tenant_pool', 'what is too much is dropped');
sql(q{SET ROLE operator; SELECT event_store.keep_tenant_pool(0)});
wait_for($node, 'SELECT count(*) = 0 FROM event_store.tasks', 'with 0 all is, and the task');
is(sql('SELECT count(*) FROM event_store.tenant_pool') . sql('SELECT count(*) FROM event_store.tenant_pool_target'), '00', 'nothing is left of it');

# --- rollouts ---

sql(q{SET ROLE operator; SELECT event_store.register_migration(1, 'note', 'CREATE TABLE note (id int)')});
my $rollout = sql(q{SET ROLE operator; SELECT event_store.start_rollout(stages => '[{"tenants": ["kept"], "hold": true}, {"percent": 100}]')});
wait_for($node, q{SELECT state = 'paused' AND done = 1 FROM event_store.rollouts}, 'a rollout goes on by itself to where it is held');
wait_for($node, q{SELECT state = 'sleeping' AND next_run IS NULL FROM event_store.tasks WHERE kind = 'rollout'}, 'and waits there');
sql("SELECT event_store.resume_rollout($rollout)");
wait_for($node, q{SELECT state = 'finished' AND pending + failed = 0 FROM event_store.rollouts}, 'when it is resumed, to its end');
wait_for($node, 'SELECT count(*) = 0 FROM event_store.tasks', 'and then there is no task');

# tenancy 1.5.4: after a crash it goes on
sql(q{SET ROLE operator; SELECT event_store.register_migration(2, 'slow', 'ALTER TABLE note ADD COLUMN t text; SELECT pg_sleep(0.3)')});
sql(q{SET ROLE operator; SELECT event_store.start_rollout(stages => '[{"percent": 100}]')});
wait_for($node, 'SELECT done > 0 FROM event_store.rollouts WHERE rollout = 2', 'one has begun');
$node->stop('immediate');
$node->start;
wait_for($node, q{SELECT state = 'finished' AND done = 4 FROM event_store.rollouts WHERE rollout = 2}, 'after a crash it goes on by itself');

# --- stores ---

# systems 2.2: ids of commands are remembered for event_store.command_retention
sql(q{SELECT event_store.append_event('s' || n, 'T') FROM generate_series(1, 2) n, generate_series(1, 1500);
	SELECT event_store.set_stream_metadata('s' || n, max_count => 1) FROM generate_series(1, 2) n;
	INSERT INTO event_commands (command_id, request, dispatched_at, result)
	SELECT gen_random_uuid(), 1, now() - days * interval '1 day', '{}' FROM unnest('{6,8}'::int[]) days;
	SELECT event_store.keep_store_tidy()});
wait_for($node, 'SELECT count(*) = 2 FROM event_log', 'a store that is kept tidy has no event that limits hide');
wait_for($node, q{SELECT count(*) = 1 AND min(dispatched_at) > now() - interval '7 days' FROM event_commands}, 'and no command older than a week');
is(tasks(), 'tidy tidy', 'by a task');
sql(q{SELECT event_store.append_event('s1', 'T')});
wait_for($node, 'SELECT count(*) = 2 AND max(version) = 1501 FROM event_log', 'again and again');
sql('SELECT event_store.keep_store_tidy(false)');
is(tasks(), '', 'until it is taken back');
sql(q{SELECT event_store.append_event('s1', 'T');
	SELECT event_store.schedule('scavenge', '100 ms', 'CALL event_store.scavenge_store()')});
wait_for($node, 'SELECT count(*) = 2 FROM event_log', 'scavenge_store can be scheduled');
sql(q{SELECT event_store.unschedule('scavenge')});

# --- off ---

$node->append_conf('postgresql.conf', 'event_store.upkeep = off');
$node->restart;
sql(q{SET ROLE operator; SELECT event_store.drop_tenant('late', 'late', keep => '0')});
wait_for($node, q{SELECT state = 'sleeping' AND steps > 0 FROM event_store.tasks}, 'with upkeep off a task has its step');
is(sql(q{SELECT state FROM event_store.tenants WHERE name = 'late'}), 'dropping', 'and does nothing in it');
$node->append_conf('postgresql.conf', 'event_store.upkeep = on');
$node->restart;
wait_for($node, q{SELECT count(*) = 0 FROM event_store.tenant_residue('late')}, 'with upkeep on again it does');

# --- each_tenant ---

sql('CREATE TABLE public.seen (tenant text)');
sqlstate_is($node, q{SET statement_timeout = '1s';
	SELECT event_store.each_tenant($$INSERT INTO public.seen SELECT event_store.current_tenant() FROM pg_sleep(100)$$, 2)},
	'57014', 'a call with workers can be cancelled');
wait_for($node, q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'event_store each_tenant'}, 'its workers end');
is(sql('SELECT count(*) FROM public.seen'), '0', 'and have done nothing');
$node->append_conf('postgresql.conf', 'max_worker_processes = 2');
$node->restart;
sqlstate_is($node, q{SELECT event_store.each_tenant('SELECT 1', 2)}, '53400', 'without a worker it is refused');

$node->stop;
done_testing();
