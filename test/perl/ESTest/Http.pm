# A client of the metrics endpoint that can also misbehave: raw sockets, and
# what came over them taken apart.
package ESTest::Http;

use strict;
use warnings FATAL => 'all';

use Exporter 'import';
use IO::Select;
use IO::Socket::INET;
use IO::Socket::UNIX;
use PostgreSQL::Test::Utils;
use Time::HiRes qw(time usleep);

our @EXPORT = qw(http_connect http_read http_get http_wait);

# A connection to "host:port" or "/path", undef if there is none.
sub http_connect
{
	my ($where) = @_;
	return $where =~ m{^/}
	  ? IO::Socket::UNIX->new(Peer => $where)
	  : IO::Socket::INET->new(PeerAddr => $where, Timeout => 10);
}

# All that the server sends until it closes the connection:
# status, headers (names in lower case), body; status 0 if it sends nothing.
sub http_read
{
	my ($socket) = @_;
	my $select = IO::Select->new($socket);
	my $deadline = time() + $PostgreSQL::Test::Utils::timeout_default;
	my $text = '';

	while (1)
	{
		die "no end of the answer\n" if time() > $deadline;
		next if !$select->can_read(1);
		my $n = sysread($socket, $text, 65536, length $text);
		last if !$n;
	}
	my ($head, $body) = split /\r\n\r\n/, $text, 2;
	my ($status) = ($head // '') =~ m{^HTTP/1\.[01] (\d+)};
	my %headers = map { /^([^:]+): *(.*)$/ ? (lc $1 => $2) : () } split /\r\n/, $head // '';
	return { status => $status // 0, headers => \%headers, body => $body // '' };
}

# One request. Options: method, version, headers (lines), body. undef if there is no connection.
sub http_get
{
	my ($where, $path, %options) = @_;
	my $socket = http_connect($where) // return;
	my @lines = (($options{method} // 'GET') . " $path HTTP/" . ($options{version} // '1.1'), 'Host: localhost', @{ $options{headers} // [] });

	push @lines, 'Content-Length: ' . length $options{body} if defined $options{body};
	local $SIG{PIPE} = 'IGNORE';
	print $socket join("\r\n", @lines, '', $options{body} // '');
	$socket->flush;
	return http_read($socket);
}

# Asks until the answer has this status (undef: until nobody listens); the last answer.
sub http_wait
{
	my ($where, $path, $status, %options) = @_;
	my $deadline = time() + $PostgreSQL::Test::Utils::timeout_default;
	my $answer;

	do
	{
		$answer = http_get($where, $path, %options);
		return $answer
		  if defined $status ? (defined $answer && $answer->{status} == $status) : !defined $answer;
		usleep(50_000);
	} while (time() < $deadline);
	die "$where$path did not come to answer " . ($status // 'nothing') . "\n";
}

1;
