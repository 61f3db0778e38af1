# A follower: reads the log page by page and notes what it was given.
#
# Its log has a line for every event delivered, in the order of delivery.
# The position of the last one is its cursor, which it keeps over lost
# connections as a client of its own would.
package ESTest::Follower;

use strict;
use warnings FATAL => 'all';

use ESTest::Client;
use PostgreSQL::Test::Utils ();
use Time::HiRes qw(time usleep);

# How a page is asked for, with the cursor, the page size and the filter put
# in.  The late statement holds its snapshot for a while before the read
# begins, as a statement that does other work first would: a reader that
# trusts the snapshot of its statement loses events there.
my %page = (
	read_all => 'event_store.read_all(%1$d, %2$d%3$s)',
	poll => 'event_store.poll(%1$d, %2$d, \'500 ms\'%3$s)',
	category => 'event_store.read_category(%3$s, %1$d, %2$d)',
	late_statement => '(SELECT pg_sleep(0.004)::text AS slept OFFSET 0) AS late,'
	  . ' LATERAL event_store.read_all(%1$d + length(slept), %2$d%3$s)',);

# Options:
#   connstr, name    where to connect, and as whom
#   log              file to write the deliveries to
#   seed             seed of this follower's random choices
#   finish_file      once it exists, an empty page is the end
#   how              read_all, poll, category or late_statement
#   types, category  what to ask for; everything by default
#   isolation        of a transaction around each page, begun a moment before
#   page             events a page
#   pause            longest time between two pages, in seconds
#   may_fail         SQLSTATEs after which a page is asked for again
sub new
{
	my ($class, %options) = @_;
	return bless {
		how => 'read_all',
		page => 20,
		pause => 0.005,
		may_fail => [],
		%options,
	}, $class;
}

sub work
{
	my ($self) = @_;
	my $cursor = 0;
	my $deadline;

	srand $self->{seed};
	open my $log, '>', $self->{log}
	  or die "could not open \"$self->{log}\": $!";
	$log->autoflush(1);

	while (1)
	{
		my $finishing = -e $self->{finish_file};
		my $events = $self->_page($cursor);

		for my $event (@$events)
		{
			print $log join("\t", $self->{name}, @$event), "\n";
			$cursor = $event->[0];
		}
		last if $finishing && defined $events && !@$events;

		$deadline //= time + $PostgreSQL::Test::Utils::timeout_default
		  if $finishing;
		die "not at the end in time, cursor is $cursor\n"
		  if $deadline && time > $deadline;
		usleep(1e6 * rand $self->{pause});
	}
	$self->{client}->disconnect if $self->{client};
	close $log;
	return;
}

# The events after the cursor, or undef if the page has to be asked for again.
sub _page
{
	my ($self, $cursor) = @_;
	my $client = $self->{client} //= ESTest::Client->connect(
		"$self->{connstr} application_name=$self->{name}");
	return unless $client;

	my $source = sprintf $page{ $self->{how} }, $cursor, $self->{page},
	  $self->_filter;
	my $sql = 'SELECT position, stream, version, event_id, type,'
	  . " coalesce(data->>'tag', '\\N') FROM $source;\n";
	$sql = "BEGIN ISOLATION LEVEL $self->{isolation};\n"
	  . "SELECT pg_sleep(0.004);\n${sql}COMMIT;\n"
	  if $self->{isolation};

	my $answer = $client->run($sql);
	undef $self->{client} if $answer->{lost};
	return if $answer->{lost};
	if (defined $answer->{sqlstate})
	{
		return if grep { $_ eq $answer->{sqlstate} } @{ $self->{may_fail} };
		die "reading failed: $answer->{sqlstate}: $answer->{message}\n";
	}
	return [ map { [ split /\|/ ] } grep { /^\d+\|/ } @{ $answer->{lines} } ];
}

sub _filter
{
	my ($self) = @_;
	return "'$self->{category}'" if $self->{how} eq 'category';
	return sprintf ", types => '{%s}'", join ',', @{ $self->{types} }
	  if $self->{types};
	return '';
}

1;
