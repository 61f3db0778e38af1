# Would the tests of the order of events notice if it were wrong?  Each patch
# in test/mutants breaks the protocol of log/horizon in one of the ways that
# are easy to get wrong; the workload of 010_concurrency.pl has to find
# violations with each of them, and none without.  One mutant is different: it
# only suppresses wake-ups, and must do no harm but a delay.
#
# reliability 22, reliability 35

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Cwd qw(abs_path);
use ESTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $root = abs_path("$FindBin::RealBin/../..");
my $copy = PostgreSQL::Test::Utils::tempdir;
my $pg_config = $ENV{PG_CONFIG} || 'pg_config';
my $rounds = 8;

# Commits are made to take a while, as in 010_concurrency.pl.
my $node = new_node(
	'main', conf => q{
fsync = on
commit_delay = 2000
commit_siblings = 0
});

sub build
{
	my ($stdout, $stderr);
	my @make = ('make', '-C', $copy, '-s', "PG_CONFIG=$pg_config", 'with_llvm=no', 'event_store.so');

	local @ENV{qw(MAKEFLAGS MAKELEVEL)};
	delete @ENV{qw(MAKEFLAGS MAKELEVEL)};
	my $done = IPC::Run::run(\@make, '>', \$stdout, '2>', \$stderr);
	diag $stderr unless $done;
	return $done;
}

# The server goes on with the library in the copy and an empty store.
sub use_copy
{
	my ($store) = @_;
	$node->append_conf('postgresql.conf', "dynamic_library_path = '$copy:\$libdir'");
	$node->restart;
	$node->safe_psql('postgres',
		"SELECT event_store.create_store('$store'); ALTER DATABASE postgres SET search_path = $store");
	return;
}

# What is wrong after a short workload.
sub problems
{
	my ($store) = @_;
	my $load = ESTest::Workload->new($node, store => $store, quiet => 1);

	$load->start_followers(
		{ name => 'pager', how => 'read_all', pause => 0.001 },
		{ name => 'poller', how => 'poll', pause => 0.001 },
		{ name => 'late', how => 'late_statement' });
	$load->start_writers(count => 8, transactions => 100);
	$load->wait_for_writers;
	$load->finish;
	return $load->problems;
}

sub poll_ok
{
	my ($name) = @_;
	my $session = session($node);
	my $pid = session_pid($session);
	my $last = last_position($node);

	$session->query_until(qr/polling/,
		"\\echo polling\nSELECT position > $last FROM event_store.poll($last, 1, '1 hour');\n\\echo polled\n");
	wait_for_wait($node, $pid, 'Extension');
	$node->safe_psql('postgres', 'SELECT * FROM ' . append('woken-1'));
	is($session->query_until(qr/polled/, ''), "t\npolled\n", $name);
	$session->quit;
	return;
}

# Objects that are there already save time, so everything is copied.
system_or_bail('cp', '-a', "$root/src", "$root/sql", "$root/Makefile",
	"$root/event_store.control", $copy);
ok(build(), 'the copy is built') or BAIL_OUT('no mutant can be built');
use_copy('unharmed');
my @found = problems('unharmed');
is(scalar @found, 0, 'the library as it is: no violation')
  or diag join "\n", @found;

my @patches = sort glob "$root/test/mutants/*.patch";
is(scalar @patches, 5, 'all mutants are there');
for my $patch (@patches)
{
	my ($mutant) = $patch =~ m{([^/]+)\.patch$};
	my @patch = ('patch', '-d', $copy, '-p1', '--silent', '--forward', '-i', $patch);

	ok(run_log(\@patch) && build(), "$mutant: the patch applies and builds")
	  or next;
	my $harmless = $mutant eq 'no_wake_up';
	for my $round (1 .. ($harmless ? 1 : $rounds))
	{
		my $store = "${mutant}_$round";
		use_copy($store);
		@found = problems($store);
		note map { "$store: $_\n" } @found;
		last if @found;
	}
	if ($harmless)
	{
		is(scalar @found, 0, "$mutant: no violation") or diag join "\n", @found;
		poll_ok("$mutant: who waits looks for himself");
	}
	else
	{
		ok(scalar(grep { /^followers|^positions rise/ } @found), "$mutant: caught");
	}
	run_log([ @patch, '-R' ]) or BAIL_OUT("$mutant cannot be taken back");
}

$node->stop;
done_testing();
