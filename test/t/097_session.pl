# Sessions of applications: many of them, over restarts and crashes, and their
# functions in the background (systems 4.3.12 to 4.3.14).

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ESTest;
use Test::More;

my $many = 20000;
my $node = new_node('main', conf => "event_store.session_max = $many\nevent_store.shared_pool_size = '16MB'\nrestart_after_crash = on\n");

# ---- functions run once, in the background ----------------------------------

$node->safe_psql('postgres', q{
	CREATE TABLE public.ended (id text);
	CREATE FUNCTION note_end(id text, data jsonb) RETURNS void LANGUAGE sql AS $$ INSERT INTO public.ended VALUES (id) $$;
	SELECT count(event_store.session_start('brief-' || i, ttl => '50 ms', on_expire => 'note_end(text,jsonb)', durable => i % 2 = 0))
	FROM generate_series(1, 200) i});
wait_for($node, 'SELECT count(*) = 200 FROM public.ended', 'each function runs when the time is over');
$node->safe_psql('postgres', 'SELECT event_store.session_sweep()');
is($node->safe_psql('postgres', 'SELECT count(*), count(DISTINCT id) FROM public.ended'), '200|200', 'and once');

# ---- concurrent changes ------------------------------------------------------

$node->safe_psql('postgres', q{SELECT event_store.session_start('counted', '{}'), event_store.session_start('kept', '{}', durable => true)});
my $script = PostgreSQL::Test::Utils::tempdir() . '/merge.sql';
PostgreSQL::Test::Utils::append_to_file($script,
	"SELECT event_store.session_merge(id, jsonb_build_object(:client_id || '-' || :n, 1)) FROM (VALUES ('counted'), ('kept')) v (id);\n");
$node->command_ok([ 'pgbench', '-n', '-c', 4, '-j', 2, '-t', 1, '-D', "n=$_", '-f', $script, $node->connstr('postgres') ], "members are merged ($_)")
  for 1 .. 5;
is($node->safe_psql('postgres', q{SELECT string_agg((SELECT count(*) FROM jsonb_object_keys(event_store.session_get(id)))::text, ',') FROM (VALUES ('counted'), ('kept')) v (id)}),
	'20,20', 'none is lost');

# ---- many (systems 4.3.13) ---------------------------------------------------

my $there = $node->safe_psql('postgres', 'SELECT sessions FROM event_store.shared_pool()');
$node->safe_psql('postgres', "SELECT count(event_store.session_start('many-' || i, '{\"n\": 1}', ttl => '1 h')) FROM generate_series($there + 1, $many) i");
is($node->safe_psql('postgres', 'SELECT sessions, session_max FROM event_store.shared_pool()'), "$many|$many", 'as many as may be');
sqlstate_is($node, q{SELECT event_store.session_start('one more')}, 'VE030', 'the next is refused');
is($node->safe_psql('postgres', "SELECT event_store.session_get('many-$many') ->> 'n'"), 1, 'those there are go on');
my $used = $node->safe_psql('postgres', 'SELECT bytes_used FROM event_store.shared_pool()');
$node->safe_psql('postgres', "SELECT event_store.session_stop('many-' || i), event_store.session_start('many-' || i, '{\"n\": 2}', ttl => '1 h') FROM generate_series($many - 1000, $many) i");
is($node->safe_psql('postgres', 'SELECT bytes_used FROM event_store.shared_pool()'), $used, 'and memory is reused');
$node->safe_psql('postgres', "SELECT count(event_store.session_put('many-' || i, to_jsonb(repeat('x', 4000)))) FROM generate_series($many - 1000, $many - 900) i");
sqlstate_is($node, "SELECT event_store.session_put('many-' || i, to_jsonb(repeat('x', 8000))) FROM generate_series($many - 2000, $many) i", '53400', 'what does not fit is refused');
is($node->safe_psql('postgres', "SELECT event_store.session_get('counted') ->> '0-1'"), 1, 'and harms no other');

# ---- restarts (systems 4.3.14) -------------------------------------------------

$node->safe_psql('postgres', q{SELECT event_store.session_start('stays', '{"kept": true}', ttl => '1 h', idle_timeout => '30 min', durable => true)});
$node->safe_psql('postgres', "SELECT event_store.session_stop('many-$many')");
my $end = $node->safe_psql('postgres', q{SELECT ends_at FROM event_store.sessions WHERE id = 'stays'});
for my $mode ('immediate', 'fast')
{
	my $reset = $node->safe_psql('postgres', 'SELECT reset_at FROM event_store.shared_pool()');
	$node->safe_psql('postgres', "SELECT event_store.session_start('plain-$mode')");
	$node->stop($mode);
	$node->start;
	is($node->safe_psql('postgres', "SELECT event_store.session_get('plain-$mode') IS NULL"), 't', "after a stop $mode a session in memory is gone");
	is($node->safe_psql('postgres', "SELECT reset_at > '$reset' FROM event_store.shared_pool()"), 't', 'reset_at tells');
	is($node->safe_psql('postgres', q{SELECT event_store.session_get('stays', touch => false)}), '{"kept": true}', 'a durable one is there');
	is($node->safe_psql('postgres', q{SELECT ends_at FROM event_store.sessions WHERE id = 'stays'}), $end, 'with the time that is left');
}
$node->safe_psql('postgres', q{SELECT event_store.session_start('over', ttl => '1 s', on_expire => 'note_end(text,jsonb)', durable => true)});
$node->stop('immediate');
$node->start;
wait_for($node, q{SELECT count(*) = 1 FROM public.ended WHERE id = 'over'}, 'the function of one that ended while the server was down runs');

$node->stop;
done_testing();
