# What the TAP tests of this extension share: a node with a store, short ways
# to ask it things, and the workload (ESTest::Workload).
package ESTest;

use strict;
use warnings FATAL => 'all';

use ESTest::Workload;
use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

our @EXPORT = qw(
  new_node
  create_store
  append
  last_position
  positions
  in_flight
  session
  session_pid
  sqlstate_is
  session_sqlstate
  wait_for
  wait_for_wait
  start_after_crash
);

# A running node whose database "postgres" has the extension and the store
# "shop", which every session there finds on its search_path.
# Options: init, arguments of init(); conf, lines for postgresql.conf.
sub new_node
{
	my ($name, %options) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init(%{ $options{init} // {} });
	$node->append_conf(
		'postgresql.conf', qq{
max_connections = 80
shared_buffers = 32MB
log_statement = none
} . ($options{conf} // ''));
	$node->start;
	create_store($node, 'postgres');
	return $node;
}

sub create_store
{
	my ($node, $database, $store) = @_;
	$store //= 'shop';

	$node->safe_psql(
		$database, qq{
		CREATE EXTENSION IF NOT EXISTS event_store;
		SELECT event_store.create_store('$store');
		ALTER DATABASE "$database" SET search_path = $store, public;
	});
	return;
}

# The call that appends events to a stream; to put into a longer statement.
sub append
{
	my ($stream, %options) = @_;
	my $events = join ', ',
	  (q({"type": "noted", "data": {}})) x ($options{count} // 1);
	return sprintf q{event_store.append('%s', '[%s]', '%s')}, $stream, $events,
	  $options{expected} // 'any';
}

# The highest position in the table, whoever may read it.
sub last_position
{
	my ($node, $database) = @_;
	return $node->safe_psql($database // 'postgres',
		'SELECT coalesce(max(position), 0) FROM event_log');
}

# The positions that a reader is given, as a list with commas.
sub positions
{
	my ($node, $after, $database) = @_;
	return $node->safe_psql($database // 'postgres',
		"SELECT coalesce(string_agg(position::text, ','), '') FROM event_store.read_all($after)");
}

sub in_flight
{
	my ($node, $database) = @_;
	return $node->safe_psql($database // 'postgres',
		'SELECT schema, first_position, pid FROM event_store.in_flight() ORDER BY 1, 2');
}

# A session that stays open, and survives its errors.
sub session
{
	my ($node, $database) = @_;
	my $session =
	  $node->background_psql($database // 'postgres', on_error_stop => 0);
	$session->set_query_timer_restart;
	$session->query('\set VERBOSITY sqlstate');
	return $session;
}

sub session_pid
{
	my ($session) = @_;
	return $session->query_safe('SELECT pg_backend_pid()');
}

# The SQLSTATE of the last query of a session, empty if it had no error.
sub session_sqlstate
{
	my ($session) = @_;
	my ($sqlstate) = $session->{stderr} =~ /(?:ERROR|FATAL):  (\w{5})/;
	$session->{stderr} = '';
	return $sqlstate // '';
}

# One session runs the SQL; its first error must have this SQLSTATE.
sub sqlstate_is
{
	my ($node, $sql, $expected, $name, $database) = @_;
	my ($out, $err);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$node->psql($database // 'postgres', "\\set VERBOSITY sqlstate\n$sql",
		stdout => \$out, stderr => \$err, on_error_stop => 0);
	my ($sqlstate) = ($err // '') =~ /(?:ERROR|FATAL):  (\w{5})/;
	return is($sqlstate // 'no error', $expected, $name);
}

# Waits until the query answers true.
sub wait_for
{
	my ($node, $query, $name, $database) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return ok($node->poll_query_until($database // 'postgres', $query), $name);
}

# Waits until the backend waits for a lock ("Lock") or inside the extension.
sub wait_for_wait
{
	my ($node, $pid, $type) = @_;
	return $node->poll_query_until('postgres',
		"SELECT wait_event_type = '$type' FROM pg_stat_activity WHERE pid = $pid")
	  || die "backend $pid did not come to wait ($type)\n";
}

# Starts a node whose postmaster was killed: its last children may still be
# attached to the shared memory (as in src/test/recovery/t/017_shm.pl).
sub start_after_crash
{
	my ($node) = @_;

	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		return if $node->start(fail_ok => 1);
		usleep(100_000);
		$node->stop('fast', fail_ok => 1);
	}
	$node->start;
	return;
}

1;
