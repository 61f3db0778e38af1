# A client whose server may die: psql behind two pipes.
#
# PostgreSQL::Test::BackgroundPsql treats the loss of the connection as the
# failure of the test.  To the writers and followers of this suite it is one
# of three answers that a transaction can have (committed, failed, unknown),
# so this class reports it instead, together with the SQLSTATE of an error.
package ESTest::Client;

use strict;
use warnings FATAL => 'all';

use IO::Select;
use IPC::Open3;
use PostgreSQL::Test::Utils ();
use Time::HiRes qw(time usleep);

my $test = $$;

# How the end of a connection announces itself.  psql leaves then, but may
# take one more command before it notices.
my $end_of_connection = qr/^(?:FATAL|PANIC):
	| ^WARNING:\ \ 57P0[12]
	| ^server\ closed\ the\ connection
	| ^could\ not\ (?:receive|send)\ data
	| ^connection\ to\ server\ was\ lost/x;

# Returns undef, after a moment, when the server does not take connections.
sub connect
{
	my ($class, $connstr, @settings) = @_;
	my ($to, $from);
	my $pid = open3($to, $from, undef, 'psql', '--no-psqlrc', '--no-align',
		'--tuples-only', '--set=VERBOSITY=verbose', "--dbname=$connstr");
	my $self = bless {
		pid => $pid,
		to => $to,
		from => $from,
		select => IO::Select->new($from),
		unread => '',
		calls => 0,
	}, $class;

	$to->autoflush(1);
	my $answer = $self->run(join '', map { "SET $_;\n" } @settings);
	if ($answer->{lost})
	{
		usleep(100_000);
		return;
	}
	die "could not set up a client: $answer->{message}\n"
	  if defined $answer->{sqlstate};
	return $self;
}

# Runs SQL, which may be several commands, and returns what came back:
#   lines     what psql printed: rows and command tags
#   sqlstate  of the first error, with its severity, message and detail
#   lost      whether the connection broke, perhaps before all was answered
sub run
{
	my ($self, $sql) = @_;
	my $marker = sprintf 'answered %d', ++$self->{calls};
	my %answer = (lines => [], lost => 0);

	die "the test that started this client has gone\n"
	  if $$ != $test && getppid() != $test;

	# A failed write needs no care of its own: reading then finds the end.
	print { $self->{to} } "$sql\n\\echo $marker\n";
	while (1)
	{
		my $line = $self->_read_line;
		$answer{lost} = 1 if !defined $line;
		last if !defined $line || $line eq $marker;
		$answer{lost} = 1 if $line =~ $end_of_connection;
		if ($line =~ /^(ERROR|FATAL|PANIC):  (\w{5}): (.*)/)
		{
			@answer{qw(severity sqlstate message)} = ($1, $2, $3)
			  unless defined $answer{sqlstate};
		}
		elsif ($line =~ /^DETAIL:  (.*)/)
		{
			$answer{detail} //= $1;
		}
		else
		{
			push @{ $answer{lines} }, $line;
		}
	}
	$self->disconnect if $answer{lost};
	return \%answer;
}

sub disconnect
{
	my ($self) = @_;
	return unless defined $self->{pid};
	close $self->{to};
	close $self->{from};
	waitpid($self->{pid}, 0);
	undef $self->{pid};
	return;
}

# One line without its end, or undef when psql has gone.
sub _read_line
{
	my ($self) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;

	while (1)
	{
		my $end = index $self->{unread}, "\n";
		if ($end >= 0)
		{
			my $line = substr $self->{unread}, 0, $end + 1, '';
			chomp $line;
			return $line;
		}
		my $left = $deadline - time;
		die "no answer from the server in time\n"
		  if $left <= 0 || !$self->{select}->can_read($left);
		sysread $self->{from}, $self->{unread}, 65536, length $self->{unread}
		  or return;
	}
}

1;
