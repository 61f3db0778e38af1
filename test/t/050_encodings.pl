# reliability 63: names and payloads in the server encodings UTF8, LATIN1,
# EUC_JP and SQL_ASCII, sent in these and in GB18030, which only clients have.
# What goes in comes out, byte for byte in one encoding, character for character
# in another; what is not valid is refused and not stored; nothing is cut inside
# a character.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use Encode qw(encode);
use ESTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('encodings');

# Perl's name of each encoding, and characters that it has
my %encodings = (
	UTF8 => { perl => 'UTF-8', text => "Bestellung \x{fc}ber \x{20ac} \x{6f22}\x{5b57} \x{1f600} e\x{301}" },
	LATIN1 => { perl => 'iso-8859-1', text => "Bestellung \x{fc}ber \x{a3} \x{ff}\x{a0}\x{b5}" },
	EUC_JP => { perl => 'euc-jp', text => "\x{6ce8}\x{6587} \x{ff76}\x{ff85} \x{4e02} \x{30fd}" },
	# any bytes; here those of the other three
	SQL_ASCII => { perl => undef, text => "\xc3\xbc \xfc \xa4\xa2 \xff\x80" });

# Runs SQL, bytes, with a client encoding; gives back the output, bytes.
sub run_sql
{
	my ($database, $client_encoding, $sql, %options) = @_;
	local $ENV{PGCLIENTENCODING} = $client_encoding;
	my ($out, $err);

	my $status = $node->psql($database, "\\set VERBOSITY verbose\n$sql",
		stdout => \$out, stderr => \$err, on_error_stop => 1);
	return ($out, $err // '') if $options{may_fail};
	is($status, 0, 'no error')
	  or diag("$database, client encoding $client_encoding: $err");
	return $out;
}

# The first error must have this SQLSTATE, and nothing be stored.
sub is_refused
{
	my ($database, $client_encoding, $sql, $sqlstate, $name) = @_;
	my $before = $node->safe_psql($database,
		'SELECT count(*), (SELECT count(*) FROM event_streams) FROM event_log');

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($out, $err) = run_sql($database, $client_encoding, $sql, may_fail => 1);
	my ($given) = $err =~ /(?:ERROR|FATAL):  (\w{5})/;
	like($given // 'no error', qr/^(?:$sqlstate)$/, $name);
	is( $node->safe_psql(
			$database,
			'SELECT count(*), (SELECT count(*) FROM event_streams) FROM event_log'),
		$before,
		"$name: nothing is stored");
	return $err;
}

sub hex_of
{
	my ($bytes) = @_;
	return unpack('H*', $bytes);
}

foreach my $server (sort keys %encodings)
{
	my $encoding = $encodings{$server};
	my $database = 'postgres';

	if ($server ne 'UTF8')
	{
		$database = lc $server;
		$node->safe_psql('postgres',
			"CREATE DATABASE $database TEMPLATE template0 ENCODING '$server' LC_COLLATE 'C' LC_CTYPE 'C'");
		create_store($node, $database);
	}

	my $text = $encoding->{perl} ? encode($encoding->{perl}, $encoding->{text}) : $encoding->{text};
	my $bytes = hex_of($text);

	# in the encoding of the server
	is( run_sql(
			$database, $server, qq{
			SELECT (a).last_version FROM event_store.append_event('$text-1', '$text', '"$text"', '{"$text": "$text"}', 'no_stream') a;
			SELECT (a).last_version FROM event_store.append('$text-1', '[{"type": "$text", "data": {"$text": ["$text"]}}]', 1) a;}),
		"1\n2",
		"$server: appended");
	is( run_sql(
			$database, $server, qq{
			SELECT encode(textsend(stream), 'hex'), encode(textsend(type), 'hex'), encode(textsend(coalesce(data #>> '{}', '')), 'hex')
			FROM event_store.read_stream('$text-1', 1, 1);
			SELECT encode(textsend(category), 'hex') FROM event_store.stream_info('$text-1');
			SELECT encode(textsend(data->'$text'->>0), 'hex') FROM event_store.read_stream('$text-1', 2);
			SELECT count(*) FROM event_store.read_category('$text', types => ARRAY['$text']);
			SELECT event_store.stream_version('$text-1'), event_store.stream_version('$text');}),
		"${bytes}2d31|$bytes|$bytes\n$bytes\n$bytes\n2\n2|0",
		"$server: byte for byte the same");
	is( run_sql($database, $server, "SELECT stream, type FROM event_store.read_all()"),
		join("\n", ("$text-1|$text") x 2),
		"$server: sent back as it came");

	# by a client of another encoding
	if ($encoding->{perl})
	{
		foreach my $client (grep { $encodings{$_}{perl} } sort keys %encodings)
		{
			my $sent = eval { encode($encodings{$client}{perl}, $encoding->{text}, Encode::FB_CROAK | Encode::LEAVE_SRC) };
			next if $client eq $server || !defined $sent;
			is( run_sql($database, $client, qq{
					SELECT event_store.stream_version('$sent-1');
					SELECT stream FROM event_store.read_category('$sent', max_count => 1);}),
				"2\n$sent-1",
				"$server: the same characters to a client of $client");
		}
	}

	# the error about a name tells it whole
	my $err = is_refused($database, $server,
		"SELECT event_store.append_event('$text-1', 'T', expected => 7)",
		'VE001', "$server: the wrong version of an odd name");
	like($err, qr/stream "\Q$text\E-1" is at version 2/, "$server: the message has the name");
	like($err, qr/"stream":"\Q$text\E-1"/, "$server: the document has the name");

	ok( $node->poll_query_until(
			$database, 'SELECT event_store.durable_mark() >= 2'),
		"$server: the durable mark moves");
}

# lengths are bytes of the server, and a message never ends inside a character
sub long_names
{
	my ($database, $server, $char, $size) = @_;
	my $most = int(512 / $size);
	my $name = $char x $most;

	is( run_sql(
			$database, $server,
			"SELECT (a).last_version FROM event_store.append_event('$name', '$name') a; SELECT event_store.stream_version('$name')"),
		"1\n1",
		"$server: a name of $most characters of $size bytes");
	foreach my $odd ('', 'x', 'xx')
	{
		my $long = $odd . $char x ($most + 1);
		my $err = is_refused($database, $server,
			"SELECT event_store.append_event('$long', 'T')",
			'54000', "$server: one character more after '$odd'");
		my $kept = int((60 - length $odd) / $size);
		like($err, qr/stream name "\Q$odd\E(?:\Q$char\E){$kept}\.\.\." has/,
			"$server: cut between characters after '$odd'");
	}
}
long_names('postgres', 'UTF8', encode('UTF-8', "\x{20ac}"), 3);
long_names('postgres', 'UTF8', encode('UTF-8', "\x{1f600}"), 4);
long_names('latin1', 'LATIN1', "\xe9", 1);
long_names('euc_jp', 'EUC_JP', encode('euc-jp', "\x{6ce8}"), 2);
long_names('euc_jp', 'EUC_JP', encode('euc-jp', "\x{4e02}"), 3);
long_names('sql_ascii', 'SQL_ASCII', "\xff", 1);

# GB18030, in which a byte of a character may look like a letter or a digit
{
	my $text = "\x{8ba2}\x{5355} \x{20ac} \x{1f600} \x{4e02} \x{730f}-1";
	# \x{4e02} is 81 40, its second byte an at sign; \x{730f} is aa 5c, a backslash
	my $sent = "\xb6\xa9\xb5\xa5 \xa2\xe3 \x94\x39\xfc\x36 \x81\x40 \xaa\x5c-1";
	my $utf8 = encode('UTF-8', $text);

	is( run_sql(
			'postgres', 'GB18030',
			"SELECT (a).last_version FROM event_store.append_event('$sent', '$sent', '\"\x94\x39\xfc\x36\"', expected => 'no_stream') a"),
		'1',
		'GB18030: appended');
	is( run_sql('postgres', 'UTF8', "SELECT stream, type, data #>> '{}' FROM event_store.read_stream('$utf8')"),
		"$utf8|$utf8|" . encode('UTF-8', "\x{1f600}"),
		'GB18030: the same characters in the server');
	is( run_sql('postgres', 'GB18030', "SELECT stream, type FROM event_store.read_stream('$sent')"),
		"$sent|$sent",
		'GB18030: sent back as it came');
	# one session that changes its mind, with the name remembered
	is( run_sql('postgres', 'GB18030', qq{
			SELECT stream FROM event_store.read_all(max_count => 1, direction => 'backward');
			SET client_encoding = 'UTF8';
			SELECT stream FROM event_store.read_all(max_count => 1, direction => 'backward');
			SET client_encoding = 'GB18030';
			SELECT stream FROM event_store.read_all(max_count => 1, direction => 'backward');}),
		"$sent\n$utf8\n$sent",
		'GB18030: and to one session in two encodings');
}

# bytes that are no character of the client's encoding
is_refused('postgres', 'UTF8', "SELECT event_store.append_event('$_->[0]', 'T')", '22021', "UTF8: $_->[1] in a name")
  foreach (["\xff", 'a byte of no character'], ["a\xc3", 'half a character'], ["\xc0\x80", 'an overlong form'],
	["\xed\xa0\x80", 'a surrogate'], ["\xf4\x90\x80\x80", 'a character beyond the last']);
is_refused('postgres', 'UTF8', "SELECT event_store.append_event('s', '\xff')", '22021', 'UTF8: in a type');
is_refused('postgres', 'UTF8', "SELECT event_store.append_event('s', 'T', '\"\xff\"')", '22021', 'UTF8: in a payload');
is_refused('postgres', 'UTF8', qq{SELECT event_store.append('s', '[{"type": "T", "data": "\xe2\x82"}]')}, '22021', 'UTF8: in a batch');
is_refused('postgres', 'GB18030', "SELECT event_store.append_event('\x81', 'T')", '22021', 'GB18030: half a character');
is_refused('postgres', 'GB18030', "SELECT event_store.append_event('\x81\x30\x81', 'T')", '22021', 'GB18030: three quarters of a character');
is_refused('euc_jp', 'EUC_JP', "SELECT event_store.append_event('\xa4', 'T')", '22021', 'EUC_JP: half a character');
is_refused('euc_jp', 'EUC_JP', "SELECT event_store.append_event('\x8f\xb0', 'T')", '22021', 'EUC_JP: two thirds of a character');

# characters that the server's encoding does not have
is_refused('latin1', 'UTF8', "SELECT event_store.append_event('" . encode('UTF-8', "\x{6f22}") . "', 'T')", '22P05', 'LATIN1: a character that it does not have');
is_refused('latin1', 'LATIN1', q{SELECT event_store.append('s', '[{"type": "T", "data": "\u6f22"}]')}, '22P05', 'LATIN1: the same as an escape in JSON');
is_refused('euc_jp', 'UTF8', "SELECT event_store.append_event('" . encode('UTF-8', "\x{1f600}") . "', 'T')", '22P05', 'EUC_JP: a character that it does not have');
is( run_sql('latin1', 'LATIN1', q{
		SELECT (a).last_version FROM event_store.append('escaped', '[{"type": "\u00e9", "data": "\u00fc"}]') a;
		SELECT type, data #>> '{}' FROM event_store.read_stream('escaped')}),
	"1\n\xe9|\xfc",
	'LATIN1: an escape for a character that it has');
# where the server knows no characters an escape means nothing beyond ASCII; releases of it differ in the state
is_refused('sql_ascii', 'SQL_ASCII', q{SELECT event_store.append('s', '[{"type": "T", "data": "\u00e9"}]')}, '22P05|0A000', 'SQL_ASCII: an escape');

# in SQL_ASCII different bytes are different names, whatever they may look like
is( run_sql('sql_ascii', 'SQL_ASCII', "SELECT event_store.stream_version('\xfc'), (a).last_version FROM event_store.append_event('\xfc', 'T', expected => 'no_stream') a"),
	'0|1', 'SQL_ASCII: a name in LATIN1');
is( run_sql('sql_ascii', 'SQL_ASCII', "SELECT event_store.stream_version('\xc3\xbc'), (a).last_version FROM event_store.append_event('\xc3\xbc', 'T', expected => 'no_stream') a"),
	'0|1', 'SQL_ASCII: the same letter in UTF8 is another name');

$node->stop;
done_testing();
