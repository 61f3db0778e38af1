# A writer: random transactions on one connection, and a ledger of their fate.
#
# The ledger has a line for every event that the writer ever sent, written
# only when the outcome is known: "acked" once the server's answer to the
# commit has come back, "rolled_back" when the event cannot have been stored,
# "unknown" when the connection broke in between.  An event is known by its
# tag, which stands in its data and is never used twice.
package ESTest::Writer;

use strict;
use warnings FATAL => 'all';

use ESTest::Client;
use JSON::PP ();
use PostgreSQL::Test::Utils ();
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC time);

my @categories = qw(order cart invoice);
my @types = qw(opened changed paid closed);

# What an error may be, by what the transaction asked for.  Any other is a
# failure of the writer and so of the test.
my %refusal = (
	no_stream => 'VE002',
	exists => 'VE003');

# Options:
#   connstr, name    where to connect, and as whom
#   ledger           file to write the ledger to
#   seed             seed of this writer's random choices
#   transactions     how many to run, or
#   seconds          how long to go on; without either until told to stop
#   stop_file        ends the work early once it exists
#   kind             mixed: anything to any stream (the default)
#                    race: expected versions on one stream for all writers
#                    retry: expected versions on a stream of its own, sent
#                    again with the same event ids until the outcome is known
#   streams          how many streams to choose from
#   pause            longest time between append and commit, in seconds
#   settings         for SET, at each connect
#   may_lose         acknowledged transactions may be gone after a crash
sub new
{
	my ($class, %options) = @_;
	return bless {
		kind => 'mixed',
		streams => 40,
		pause => 0.01,
		settings => [],
		may_lose => 0,
		version => {},
		made => 0,
		%options,
	}, $class;
}

sub work
{
	my ($self) = @_;
	my $next = "_next_$self->{kind}";

	srand $self->{seed};
	open $self->{ledger_fh}, '>', $self->{ledger}
	  or die "could not open \"$self->{ledger}\": $!";
	$self->{ledger_fh}->autoflush(1);

	my $end = $self->{seconds} && time + $self->{seconds};
	until (-e $self->{stop_file}
		|| $end && time > $end
		|| $self->{transactions} && $self->{made} >= $self->{transactions})
	{
		my $txn = $self->$next(++$self->{made});
		my $outcome = $self->_perform($txn);
		$outcome = $self->_settle($txn) while $outcome eq 'again';
	}
	$self->{client}->disconnect if $self->{client};
	close $self->{ledger_fh};
	return;
}

# ---- what to do next -------------------------------------------------------

# A transaction is the list of its steps, plain SQL or an append, and how it
# ends; "autocommit" is a single append outside a transaction block.
sub _next_mixed
{
	my ($self, $number) = @_;
	my $choice = int rand 100;

	return $self->_transaction($number, 'autocommit', $self->_append(1))
	  if $choice < 20;
	return $self->_transaction($number, 'autocommit',
		$self->_append(2 + int rand 9))
	  if $choice < 30;
	return $self->_transaction($number, 'COMMIT', $self->_append(1),
		$self->_pause)
	  if $choice < 50;
	return $self->_transaction($number, 'COMMIT',
		$self->_appends(2 + int rand 3),
		$self->_pause)
	  if $choice < 60;
	return $self->_transaction($number, 'COMMIT',
		$self->_savepoint_rollback)
	  if $choice < 70;
	return $self->_transaction($number, 'ROLLBACK',
		$self->_append(1 + int rand 3),
		$self->_pause)
	  if $choice < 80;

	# The queue lock of NOTIFY is taken between the pre-commit callbacks and
	# the commit record, and so stretches that interval for other writers.
	return $self->_transaction($number, 'COMMIT', $self->_append(1),
		{ sql => "NOTIFY writers, '$number'" })
	  if $choice < 90;

	my $txn = $self->_transaction($number, 'COMMIT', $self->_append(1),
		$self->_pause);
	if ($choice < 95)
	{
		push @{ $txn->{steps} }, { sql => 'SELECT 1 / 0' };
		$txn->{may_fail}{'22012'} = 1;
	}
	else
	{
		$txn->{isolation} =
		  ('REPEATABLE READ', 'SERIALIZABLE')[ int rand 2 ];
		$txn->{may_fail}{'40001'} = 1;
	}
	return $txn;
}

sub _next_race
{
	my ($self, $number) = @_;
	my $append = $self->_append(1, 'race-1');
	$append->{expected} = $self->{version}{'race-1'} // 0;
	my $txn = $self->_transaction($number, 'autocommit', $append);
	if ($number % 8 == 0)
	{
		$txn->{end} = 'COMMIT';
		$txn->{isolation} =
		  ('REPEATABLE READ', 'SERIALIZABLE')[ int rand 2 ];
		$txn->{may_fail}{'40001'} = 1;
	}
	return $txn;
}

sub _next_retry
{
	my ($self, $number) = @_;
	my $append = $self->_append(1 + int rand 3, "retry-$self->{name}");
	$append->{expected} = $self->{version}{ $append->{stream} } // 0;
	$append->{with_ids} = 1;
	my $txn = $self->_transaction($number,
		('autocommit', 'COMMIT')[ int rand 2 ], $append);
	$txn->{until_known} = 1;
	return $txn;
}

sub _transaction
{
	my ($self, $number, $end, @steps) = @_;
	my %txn = (
		id => "$self->{name}.$number",
		end => $end,
		steps => \@steps,
		may_fail => {});
	my $n = 0;

	for my $append (grep { $_->{stream} } @steps)
	{
		$append->{events} = [
			map {
				my $event = {
					tag => "$txn{id}." . ++$n,
					type => $types[ int rand @types ],
				};
				$event->{id} = _uuid() if $append->{with_ids};
				$event;
			} 1 .. $append->{count}
		];
	}
	return \%txn;
}

sub _append
{
	my ($self, $count, $stream) = @_;
	$stream //= $self->_stream;
	my $known = $self->{version}{$stream};
	my $choice = rand;

	return {
		stream => $stream,
		count => $count,
		kept => 1,
		with_ids => rand() < 0.5,
		expected => $choice < 0.5 ? 'any'
		: $choice < 0.8 ? $known // 0
		: defined $known ? 'exists'
		: 'no_stream',
	};
}

# Appends to different streams, always in the order of their names, so that
# no two writers can deadlock.
sub _appends
{
	my ($self, $count) = @_;
	my %streams = map { $self->_stream => 1 } 1 .. $count;
	return map { $self->_append(1 + int rand 2, $_) } sort keys %streams;
}

sub _savepoint_rollback
{
	my ($self) = @_;
	my @appends = $self->_appends(3);
	my @steps = ($appends[0]);

	push @steps, { sql => 'SAVEPOINT s' }, $self->_append(2, $appends[0]{stream});
	$steps[-1]{kept} = 0;
	$steps[-1]{expected} = 'any';
	push @steps, { sql => 'ROLLBACK TO SAVEPOINT s' }, $self->_pause;
	push @steps, @appends[ 1 .. $#appends ];
	return @steps;
}

sub _pause
{
	my ($self) = @_;
	return { sql => sprintf 'SELECT pg_sleep(%.4f)', rand $self->{pause} };
}

sub _stream
{
	my ($self) = @_;
	my $n = 1 + int rand $self->{streams};
	return "$categories[$n % @categories]-$n";
}

sub _uuid
{
	return join '-', map {
		join '', map { sprintf '%04x', int rand 65536 } 1 .. $_
	} 2, 1, 1, 1, 3;
}

# ---- doing it --------------------------------------------------------------

# Runs the transaction, writes its fate into the ledger and returns it, or
# "again" if it is unknown and this writer wants to know.
sub _perform
{
	my ($self, $txn) = @_;
	my $client = $self->_client;
	my @commands = map { $_->{stream} ? _append_sql($_) : $_->{sql} }
	  @{ $txn->{steps} };

	if ($txn->{end} ne 'autocommit')
	{
		my $begin = 'BEGIN';
		$begin .= " ISOLATION LEVEL $txn->{isolation}" if $txn->{isolation};
		@commands = ($begin, @commands, $txn->{end});
	}

	$txn->{invoked} //= clock_gettime(CLOCK_MONOTONIC);
	my $answer = $client->run(join '', map { "$_;\n" } @commands);
	$txn->{done} = clock_gettime(CLOCK_MONOTONIC);
	undef $self->{client} if $answer->{lost};

	my @results = map { [ split /\|/ ] } grep { /^append\|/ } @{ $answer->{lines} };
	my $outcome = _outcome($txn, $answer, \@results);
	$self->_check_error($txn, $answer);
	return 'again' if $outcome eq 'unknown' && $txn->{until_known};
	$self->_record($txn, $outcome, \@results);
	return $outcome;
}

sub _append_sql
{
	my ($append) = @_;
	my $events = join ', ', map {
		my $id = $_->{id} ? qq(, "event_id": "$_->{id}") : '';
		qq({"type": "$_->{type}", "data": {"tag": "$_->{tag}"}$id})
	} @{ $append->{events} };
	my $expected = $append->{expected};
	$expected = "'$expected'" if $expected !~ /^\d+$/;
	return
	  "SELECT 'append', * FROM event_store.append('$append->{stream}', '[$events]', $expected)";
}

sub _outcome
{
	my ($txn, $answer, $results) = @_;

	# psql prints a row or a command tag only after the server's
	# CommandComplete, which follows the commit.
	my $committed =
	  $txn->{end} eq 'autocommit'
	  ? scalar @$results
	  : scalar grep { $_ eq 'COMMIT' } @{ $answer->{lines} };

	return 'acked' if $committed;
	return 'rolled_back'
	  if $txn->{end} eq 'ROLLBACK' || ($answer->{severity} // '') eq 'ERROR';
	return 'unknown' if $answer->{lost};
	die "transaction $txn->{id} has no outcome: "
	  . join(' / ', @{ $answer->{lines} }) . "\n";
}

# Dies unless the error is one that the transaction had to expect.
sub _check_error
{
	my ($self, $txn, $answer) = @_;
	my $sqlstate = $answer->{sqlstate};
	my @asked = map { $_->{expected} } grep { $_->{stream} } @{ $txn->{steps} };

	return if !defined $sqlstate || $answer->{lost};
	return if $txn->{may_fail}{$sqlstate};
	return if grep { ($refusal{$_} // '') eq $sqlstate } @asked;

	# A stream of one's own is where one left it, unless a crash took it back.
	if ($sqlstate eq 'VE001' && (!$txn->{until_known} || $self->{may_lose}))
	{
		my $problem = JSON::PP::decode_json($answer->{detail});
		$self->{version}{ $problem->{stream} } = $problem->{actual};
		return
		  if $problem->{expected} != $problem->{actual}
		  && grep { $_ eq $problem->{expected} } @asked;
	}
	die "transaction $txn->{id} failed: $sqlstate: $answer->{message}"
	  . ($answer->{detail} ? " ($answer->{detail})" : '') . "\n";
}

# Sends a transaction of unknown outcome once more.  When acknowledged work
# may be lost, the stream may have gone back, and what is expected with it.
sub _settle
{
	my ($self, $txn) = @_;
	my ($append) = @{ $txn->{steps} };

	if ($self->{may_lose})
	{
		my $answer = $self->_client->run(
			"SELECT event_store.stream_version('$append->{stream}');");
		if ($answer->{lost})
		{
			undef $self->{client};
			return 'again';
		}
		my ($version) = @{ $answer->{lines} };
		$append->{expected} = $version if $version < $append->{expected};
	}
	return $self->_perform($txn);
}

sub _record
{
	my ($self, $txn, $outcome, $results) = @_;

	for my $append (grep { $_->{stream} } @{ $txn->{steps} })
	{
		my $result = shift @$results;
		my (undef, $version, $last_version, $position, $last_position) =
		  $result ? @$result : ();
		my $count = @{ $append->{events} };

		die "append of $count events in $txn->{id} returned @$result\n"
		  if $result
		  && ( $last_version - $version != $count - 1
			|| $last_position - $position != $count - 1);
		die "append in $txn->{id} was acknowledged without a result\n"
		  if !$result && $outcome eq 'acked';

		for my $i (0 .. $count - 1)
		{
			my $event = $append->{events}[$i];
			print { $self->{ledger_fh} } join(
				"\t",
				$append->{kept} ? $outcome : 'rolled_back',
				$txn->{id},
				$event->{tag},
				$append->{stream},
				$result ? $version + $i : '\N',
				$result ? $position + $i : '\N',
				$event->{id} // '\N',
				$txn->{invoked},
				$txn->{done}), "\n";
		}
		$self->{version}{ $append->{stream} } = $last_version
		  if $outcome eq 'acked' && $append->{kept};
	}
	return;
}

# The connection, made again if it was lost.
sub _client
{
	my ($self) = @_;
	my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;

	until ($self->{client})
	{
		$self->{client} = ESTest::Client->connect(
			"$self->{connstr} application_name=$self->{name}",
			@{ $self->{settings} });
		die "could not connect in time\n"
		  if !$self->{client} && time > $deadline;
	}
	return $self->{client};
}

1;
