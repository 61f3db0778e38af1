# Registries with several sessions: who holds a name while sessions come, go
# and are ended, and what their listeners are told (systems 4.3.6 to 4.3.10).

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ESTest;
use Test::More;

my $node = new_node('main');
$node->safe_psql('postgres', q{SELECT event_store.registry_create('room'), event_store.registry_create('topic', 'duplicate')});
my $one = session($node);
my $two = session($node);
my ($pid_one, $pid_two) = map { session_pid($_) } $one, $two;

sub holders
{
	my ($registry, $key) = @_;
	return $node->safe_psql('postgres', "SELECT string_agg(pid::text, ',' ORDER BY pid) FROM event_store.lookup('$registry', '$key')");
}

# ---- two that want one name (systems 4.3.6) --------------------------------

$one->query_safe(q{SELECT event_store.register('room', 'lobby', '1')});
$two->query(q{SELECT event_store.register('room', 'lobby', '2')});
is(session_sqlstate($two), 'VE031', 'the second is refused');
is($two->query_safe(q{SELECT event_store.last_problem() ->> 'pid'}), $pid_one, 'and told who holds it');
is($node->safe_psql('postgres', q{SELECT event_store.whereis('room', 'lobby')}), $pid_one, 'all see who holds it');
$_->query_safe(q{SELECT event_store.register('topic', 'news', '1')}) for $one, $two;
is(holders('topic', 'news'), join(',', sort { $a <=> $b } $pid_one, $pid_two), 'a duplicate key has both');

# ---- only the holder changes the value (systems 4.3.9) ---------------------

$node->safe_psql('postgres', q{CREATE FUNCTION plus(value jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT to_jsonb(value::int + 1) $$});
$two->query(q{SELECT event_store.update_value('room', 'lobby', 'plus(jsonb)')});
is(session_sqlstate($two), '42501', 'another session may not change it');
$one->query_until(qr/started/, "\\echo started\nSELECT count(event_store.update_value('room', 'lobby', 'plus(jsonb)')) FROM generate_series(1, 3000);\n");
{
	my ($last, $backwards) = (0, 0);
	for (1 .. 50)
	{
		my $value = $two->query_safe(q{SELECT value FROM event_store.lookup('room', 'lobby')});
		$backwards++ if $value !~ /^\d+$/ || $value < $last;
		$last = $value;
	}
	is($backwards, 0, 'who reads meanwhile sees whole values, in order');
}
is($one->query_safe('SELECT 1'), "3000\n1", 'all changes are done');
is($two->query_safe(q{SELECT value FROM event_store.lookup('room', 'lobby')}), 3001, 'and none is lost');

# ---- listeners --------------------------------------------------------------

my $ear = session($node);
$ear->query_safe(q{SELECT event_store.registry_listen('room'), event_store.registry_listen('room')});
$two->query_safe(q{SELECT event_store.register('room', 'attic')});
is($ear->query_safe(q{SELECT m ->> 'event', m ->> 'registry', m ->> 'key', m ->> 'pid' FROM event_store.receive('1 min') m}),
	"registered|room|attic|$pid_two", 'a listener is told who takes a name');
$two->query_safe(q{SELECT event_store.unregister('room', 'attic')});
is($ear->query_safe(q{SELECT m ->> 'event', m ->> 'key', m ->> 'pid' FROM event_store.receive('1 min') m}),
	"unregistered|attic|$pid_two", 'and who gives it up');

# ---- messages ---------------------------------------------------------------

$ear->query_safe(q{SELECT event_store.register('topic', 'ear')});
$ear->query_until(qr/waits/, "\\echo waits\nSELECT event_store.receive('3 min');\n");
$two->query_safe(q{SELECT event_store.registry_send('topic', 'ear', '"hello"')});
is($ear->query_safe('SELECT 1'), "\"hello\"\n1", 'a message wakes who waits for it');

# ---- sessions that end (systems 4.3.7) -------------------------------------

$one->query_safe(q{BEGIN; SELECT event_store.register('room', 'tx', scope => 'transaction')});
is(holders('room', 'tx'), $pid_one, 'a name of a transaction is there while it lasts');
$one->query('SELECT 1/0');
session_sqlstate($one);
is(holders('room', 'tx'), '', 'and gone as soon as it has failed');
$one->query_safe('ROLLBACK');
$one->query_safe(q{BEGIN; SELECT event_store.register('room', 'tx', scope => 'transaction')});
is(holders('room', 'tx'), $pid_one, 'it can be taken again');
$one->query_safe('COMMIT');
is(holders('room', 'tx'), '', 'and is gone after the commit');
is(holders('room', 'lobby'), $pid_one, 'that of the session is not');

$one->query_safe('SELECT 1');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid_one, 180000)");
is(holders('room', 'lobby'), '', 'a session that was ended holds nothing');
is(holders('topic', 'news'), $pid_two, 'the other still holds what it held');
is($ear->query_safe(q{SELECT m ->> 'event', m ->> 'key', m ->> 'pid' FROM event_store.receive('1 min') m}),
	"unregistered|lobby|$pid_one", 'the listener is told');
$two->query_safe(q{SELECT event_store.register('room', 'lobby', '"b"')});
is(holders('room', 'lobby'), $pid_two, 'and the name is free');
eval { $one->quit };

# systems 4.3.8: the place of a process passes on, what it held does not
{
	my $sees = 0;
	$node->psql('postgres', q{SELECT event_store.register('room', 'passing')});
	for (1 .. 20)
	{
		$sees += $node->safe_psql('postgres', q{SELECT count(*) FROM event_store.lookup('room', 'passing')});
		$sees += $node->safe_psql('postgres', q{SELECT count(*) FROM event_store.keys_of('room')});
	}
	is($sees, 0, 'no later session has the names of an earlier one');
}

# ---- many sessions race for one name ----------------------------------------

my $script = PostgreSQL::Test::Utils::tempdir() . '/race.sql';
PostgreSQL::Test::Utils::append_to_file($script, <<'SQL');
SELECT event_store.try($$SELECT event_store.register('room', 'race')$$) ? 'ok' AS won \gset
\if :won
UPDATE held SET n = n + 1 RETURNING n;
UPDATE held SET n = n - 1;
SELECT event_store.unregister('room', 'race');
\endif
SQL
$node->safe_psql('postgres', 'CREATE TABLE held (n int CHECK (n <= 1)); INSERT INTO held VALUES (0)');
$node->command_ok([ 'pgbench', '-n', '-c', 8, '-j', 2, '-t', 300, '-f', $script, $node->connstr('postgres') ],
	'never two hold a unique name');
is($node->safe_psql('postgres', 'SELECT n FROM held'), 0, 'and all have given it up');

# ---- a crash takes all ------------------------------------------------------

$node->append_conf('postgresql.conf', 'restart_after_crash = on');
$node->reload;
my $reset = $node->safe_psql('postgres', q{SELECT reset_at FROM event_store.shared_pool()});
kill 'KILL', $pid_two;
$node->poll_query_until('postgres', "SELECT reset_at <> '$reset' FROM event_store.shared_pool()");
is($node->safe_psql('postgres', q{SELECT names, sessions, bytes_used FROM event_store.shared_pool()}), '0|0|0', 'after a crash nobody holds anything');
is($node->safe_psql('postgres', q{SELECT name FROM event_store.registries ORDER BY 1}), "room\ntopic", 'the registries are still there');
eval { $_->quit } for $two, $ear;

$node->stop;
done_testing();
