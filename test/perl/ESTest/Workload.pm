# A workload: writers and followers as processes, and the verdict on them.
#
#   my $load = ESTest::Workload->new($node);
#   $load->start_followers({ name => 'reader', how => 'read_all' }, ...);
#   $load->start_writers(count => 8, transactions => 500);
#   $load->wait_for_writers;
#   $load->finish;       # followers read to the end
#   $load->verify_ok('8 writers');
package ESTest::Workload;

use strict;
use warnings FATAL => 'all';

use ESTest::Follower;
use ESTest::Writer;
use File::Basename qw(basename);
use File::Path qw(rmtree);
use File::Spec;
use PostgreSQL::Test::Utils ();
use POSIX ();
use Test::More;
use Time::HiRes qw(time usleep);

(my $verify_sql = __FILE__) =~ s{ESTest/Workload\.pm$}{verify.sql};

my $workloads = 0;
my $owner = $$;
my %running;

# Options:
#   store  the schema of the store that the workload writes to (also first on
#          the search_path of the database)
#   quiet  do not report to the test: what fails is found in problems()
sub new
{
	my ($class, $node, %options) = @_;
	my $seed = $ENV{ES_SEED} || int(rand(2**31));
	my $dir = sprintf '%s/workload_%s_%d', $PostgreSQL::Test::Utils::tmp_check,
	  basename($0, '.pl'), ++$workloads;

	rmtree($dir) if -d $dir;
	mkdir $dir or die "could not make \"$dir\": $!";
	note "ES_SEED=$seed";
	return bless {
		node => $node,
		store => 'shop',
		database => 'postgres',
		seed => $seed,
		dir => $dir,
		children => {},
		writers => 0,
		followers => [],
		problems => [],
		%options,
	}, $class;
}

sub start_writers
{
	my ($self, %options) = @_;
	my $count = delete $options{count};
	my $node = delete $options{node} // $self->{node};

	for my $number (1 .. $count)
	{
		my $name = 'writer' . ++$self->{writers};
		my $writer = ESTest::Writer->new(
			connstr => $node->connstr($self->{database}),
			name => $name,
			ledger => "$self->{dir}/$name.ledger",
			seed => $self->{seed} + $self->{writers},
			stop_file => "$self->{dir}/stop",
			%options);
		$self->_start('writer', $name, sub { $writer->work });
	}
	return;
}

sub start_followers
{
	my ($self, @followers) = @_;

	for my $options (@followers)
	{
		my %options = %$options;
		my $node = delete $options{node} // $self->{node};
		my $follower = ESTest::Follower->new(
			connstr => $node->connstr($self->{database}),
			log => "$self->{dir}/$options{name}.log",
			seed => $self->{seed} - @{ $self->{followers} },
			finish_file => "$self->{dir}/finish",
			%options);
		push @{ $self->{followers} }, $follower;
		$self->_start('follower', $options{name}, sub { $follower->work });
	}
	return;
}

sub stop_writers
{
	my ($self) = @_;
	PostgreSQL::Test::Utils::append_to_file("$self->{dir}/stop", '');
	$self->wait_for_writers;
	return;
}

sub wait_for_writers { return $_[0]->_wait_for('writer'); }

# True while a writer is at work, for tests that disturb it meanwhile.
sub writing
{
	my ($self) = @_;
	$self->_reap;
	return scalar grep { $_->{role} eq 'writer' && !defined $_->{status} }
	  values %{ $self->{children} };
}

# Events in the ledgers so far.
sub recorded { return $_[0]->_count_lines('ledger'); }

# Events delivered to the followers so far.
sub delivered { return $_[0]->_count_lines('log'); }

# Waits until so many more events are in the ledgers, or the writers are done.
sub wait_for_progress
{
	my ($self, $events) = @_;
	my $goal = $self->recorded + $events;
	$self->wait_until("$events more events",
		sub { $self->recorded >= $goal || !$self->writing });
	return;
}

sub wait_until
{
	my ($self, $what, $condition) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;

	until ($condition->())
	{
		$self->_reap;
		my ($failed) = grep { $_->{status} } values %{ $self->{children} };
		die "$failed->{name} failed while the test waited for $what: "
		  . PostgreSQL::Test::Utils::slurp_file($failed->{log})
		  if $failed;
		die "waited too long for $what\n" if time > $deadline;
		usleep(10_000);
	}
	return;
}

# After the last writer: everything is delivered, so every follower has to
# come to the end.  The mark has to arrive there too, as followers that read
# by it would otherwise stop early.
sub finish
{
	my ($self, @standbys) = @_;
	my $node = $self->{node};
	my $last = $node->safe_psql($self->{database},
		"SELECT coalesce(max(position), 0) FROM $self->{store}.event_log");

	$self->_ok(
		$node->poll_query_until(
			$self->{database},
			"SELECT count(*) = 0 FROM event_store.in_flight() WHERE schema = '$self->{store}'"),
		'no append is left in flight');
	for my $server ($node, @standbys)
	{
		$self->_ok(
			$server->poll_query_until(
				$self->{database}, "SELECT event_store.durable_mark() >= $last"),
			'the durable mark has come to the last event on ' . $server->name);
	}
	PostgreSQL::Test::Utils::append_to_file("$self->{dir}/finish", '');
	$self->_wait_for('follower');
	return;
}

# The number of violations of each invariant, from verify.sql.
sub verify
{
	my ($self) = @_;
	my %file = map { $_ => File::Spec->rel2abs("$self->{dir}/$_.all") }
	  qw(ledger log followers);

	open my $followers, '>', $file{followers}
	  or die "could not open \"$file{followers}\": $!";
	for my $follower (@{ $self->{followers} })
	{
		my $types = $follower->{types};
		print $followers join("\t",
			$follower->{name},
			$types ? '{' . join(',', @$types) . '}' : '\N',
			$follower->{category} // '\N'), "\n";
	}
	close $followers;
	for my $kind (qw(ledger log))
	{
		open my $all, '>', $file{$kind} or die "could not open \"$file{$kind}\": $!";
		print $all PostgreSQL::Test::Utils::slurp_file($_)
		  for glob "$self->{dir}/*.$kind";
		close $all;
	}

	my $result = $self->{node}->safe_psql(
		$self->{database},
		PostgreSQL::Test::Utils::slurp_file($verify_sql),
		extra_params => [
			map { "--set=$_" } "store=$self->{store}",
			map { "$_=$file{$_}" } sort keys %file
		]);
	my @invariants;
	for (split /\n/, $result)
	{
		my ($name, $violations, $example) = split /\|/, $_, 3;
		push @invariants,
		  { name => $name, violations => $violations, example => $example };
	}
	return @invariants;
}

# What a quiet workload has found: violated invariants, and assertions of its
# own that did not hold.
sub problems
{
	my ($self) = @_;
	return @{ $self->{problems} }, map { "$_->{name}: $_->{violations} times, as $_->{example}" }
	  grep { $_->{violations} } $self->verify;
}

# Options: may_lose, after crashes with synchronous_commit = off.
sub verify_ok
{
	my ($self, $label, %options) = @_;

	subtest $label => sub {
		my @invariants = $self->verify;
		note sprintf '%d events sent, %d delivered to %d followers',
		  $self->recorded, $self->delivered, scalar @{ $self->{followers} };
		for my $invariant (@invariants)
		{
			if ($options{may_lose} && $invariant->{name} eq 'no acknowledged event is lost')
			{
				note "$invariant->{violations} acknowledged events were lost";
				next;
			}
			is($invariant->{violations}, 0, $invariant->{name})
			  or diag $invariant->{example};
		}
		cmp_ok(scalar @invariants, '>=', 10, 'the verifier gave its verdict');
	};
	return;
}

# ---- processes -------------------------------------------------------------

sub _start
{
	my ($self, $role, $name, $work) = @_;
	my $log = "$PostgreSQL::Test::Utils::log_path/"
	  . basename($self->{dir}) . "_$name.log";
	my $pid = fork;

	die "could not fork: $!" unless defined $pid;
	if ($pid == 0)
	{
		# Leave by _exit, so that nothing of the test itself is cleaned up.
		$SIG{TERM} = $SIG{INT} = 'DEFAULT';
		open STDOUT, '>', $log;
		open STDERR, '>&', \*STDOUT;
		my $done = eval { $work->(); 1 };
		syswrite STDERR, $@ unless $done;
		POSIX::_exit($done ? 0 : 1);
	}
	$self->{children}{$pid} =
	  { pid => $pid, role => $role, name => $name, log => $log };
	$running{$pid} = 1;
	return;
}

sub _reap
{
	my ($self) = @_;
	for my $child (grep { !defined $_->{status} } values %{ $self->{children} })
	{
		next unless waitpid($child->{pid}, POSIX::WNOHANG()) == $child->{pid};
		$child->{status} = $?;
		delete $running{ $child->{pid} };
	}
	return;
}

sub _wait_for
{
	my ($self, $role) = @_;
	my @children =
	  grep { $_->{role} eq $role } values %{ $self->{children} };

	for my $child (@children)
	{
		next if defined $child->{status};
		waitpid($child->{pid}, 0);
		$child->{status} = $?;
		delete $running{ $child->{pid} };
	}
	my @failed = grep { $_->{status} != 0 } @children;
	$self->_ok(!@failed, sprintf('all %d %ss ended well', scalar @children, $role),
		map { "$_->{name}: " . PostgreSQL::Test::Utils::slurp_file($_->{log}) } @failed);
	return;
}

sub _ok
{
	my ($self, $ok, $name, @details) = @_;

	if ($self->{quiet})
	{
		push @{ $self->{problems} }, join "\n", "not so: $name", @details
		  unless $ok;
	}
	else
	{
		ok($ok, $name) or diag(@details);
	}
	return;
}

# The lines that have been added to the files of a kind are counted on.
sub _count_lines
{
	my ($self, $kind) = @_;
	my $total = 0;

	for my $file (glob "$self->{dir}/*.$kind")
	{
		my $seen = $self->{counted}{$file} //= { bytes => 0, lines => 0 };
		open my $fh, '<', $file or die "could not open \"$file\": $!";
		seek $fh, $seen->{bytes}, 0;
		my $added = do { local $/; <$fh> } // '';
		$seen->{bytes} += length $added;
		$seen->{lines} += $added =~ tr/\n//;
		$total += $seen->{lines};
	}
	return $total;
}

END
{
	if ($$ == $owner)
	{
		kill 'TERM', keys %running;
	}
}

1;
