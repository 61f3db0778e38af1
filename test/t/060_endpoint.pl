# The metrics endpoint: what it answers and what it refuses, to clients that
# behave and to those that do not; that it answers when nobody else can, comes
# back when it is ended, and stands in nobody's way (systems 6.3.13).

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ESTest;
use ESTest::Http;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $both = q{shared_preload_libraries = 'event_store, event_store_http'};
my $node = new_node('main', conf => "$both\nmax_connections = 8\nsuperuser_reserved_connections = 1\nrestart_after_crash = on\n");
my $where = '127.0.0.1:' . PostgreSQL::Test::Cluster::get_free_port();
my $log_end = 0;

sub set
{
	my (%settings) = @_;
	$log_end = -s $node->logfile;
	$node->safe_psql('postgres', join ';', map { "ALTER SYSTEM SET event_store_http.$_ = '$settings{$_}'" } sort keys %settings);
	$node->reload;
	return;
}

# The worker is connected to no database, so that pg_stat_activity does not show it.
sub worker
{
	my $postmaster = (split /\n/, slurp_file($node->data_dir . '/postmaster.pid'))[0];
	my @found;

	for my $proc (glob '/proc/[0-9]*')
	{
		open(my $cmdline, '<', "$proc/cmdline") or next;
		open(my $stat, '<', "$proc/stat") or next;
		next if ((<$cmdline> // '') !~ /event_store metrics endpoint/);
		next if ((<$stat> // '') !~ /\) \S+ $postmaster /);
		push @found, $proc =~ /(\d+)$/;
	}
	return @found == 1 ? $found[0] : undef;
}

# ---- off until it is told where to listen ----------------------------------

is(http_get($where, '/metrics'), undef, 'nobody listens by default');
ok(worker(), 'the worker runs');
set(listen => $where);
my $answer = http_wait($where, '/metrics', 200);
$node->wait_for_log(qr/metrics endpoint listens on "\Q$where\E"/, $log_end);

# ---- what it answers -------------------------------------------------------

is($answer->{headers}{'content-type'}, 'text/plain; version=0.0.4; charset=utf-8', 'GET /metrics is text 0.0.4');
is($answer->{headers}{'content-length'}, length $answer->{body}, 'with its length');
is($answer->{headers}{connection}, 'close', 'and ends the connection');
like($answer->{body}, qr/^# TYPE event_store_\w+ (?:counter|gauge|histogram)\n(?:[^#].*\n)*/m, 'and has metrics');
unlike($answer->{body}, qr/^# EOF/m, 'in the old form');

for my $case (
	[ 'application/openmetrics-text; version=1.0.0', 1 ],
	[ 'application/openmetrics-text', 1 ],
	[ 'APPLICATION/OpenMetrics-Text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2', 1 ],
	[ 'application/openmetrics-text;version=1.0.0;q=0.2,text/plain;q=0.3', 0 ],
	[ 'application/openmetrics-text;version=2.0.0', 0 ],
	[ 'application/openmetrics-text;q=0', 0 ],
	[ '*/*', 0 ],
	[ ',;q=,;;=' . ('x' x 300) . ',', 0 ],
	[ '', 0 ])
{
	my ($accept, $openmetrics) = @$case;
	my $got = http_get($where, '/metrics', headers => ["Accept: $accept"]);

	is( $got->{headers}{'content-type'},
		$openmetrics ? 'application/openmetrics-text; version=1.0.0; charset=utf-8' : 'text/plain; version=0.0.4; charset=utf-8',
		"Accept: " . substr($accept, 0, 40));
	is($got->{body} =~ /^# EOF\n\z/m ? 1 : 0, $openmetrics, 'and the text is that');
}

my $head = http_get($where, '/metrics', method => 'HEAD');
is($head->{status}, 200, 'HEAD /metrics');
is($head->{body}, '', 'has no body');
cmp_ok($head->{headers}{'content-length'}, '>', 100, 'and tells the length of it');

$answer = http_get($where, '/healthz');
is("$answer->{status} $answer->{body}", "200 ok\n", 'GET /healthz');
$answer = http_wait($where, '/readyz', 200);
like($answer->{body}, qr/^role: primary\nlauncher: runs\nreaders held back: 0\.0 s\n\z/, 'GET /readyz');

for my $path ('/', '/metrics/', '/metricsx', '/../metrics', '//metrics', '/favicon.ico', '/%6detrics%00x')
{
	is(http_get($where, $path)->{status}, 404, "GET $path");
}
is(http_get($where, '/metrics?name=x')->{status}, 200, 'GET /metrics with a query');
for my $method ('POST', 'PUT', 'DELETE', 'OPTIONS', 'TRACE', 'CONNECT', 'get', 'X')
{
	my $got = http_get($where, '/metrics', method => $method, body => $method eq 'POST' ? 'x' x 100 : undef);
	is($got->{status}, 405, "$method /metrics");
	is($got->{headers}{allow}, 'GET, HEAD', 'and it says what is allowed');
}
is(http_get($where, '/x', method => 'POST')->{status}, 404, 'POST elsewhere');

# its own doings are metrics too
$answer = http_get($where, '/metrics');
for my $code (200, 404, 405)
{
	like($answer->{body}, qr/^event_store_endpoint_requests_total\{code="$code"\} [1-9]/m, "requests answered with $code are counted");
}
like($answer->{body}, qr/^event_store_scrape_duration_seconds_count [1-9]/m, 'and scrapes timed');

# ---- clients that do not behave --------------------------------------------

is(http_get($where, '/metrics', headers => [ 'X: ' . 'x' x 3000 ])->{status}, 200, 'a request of 3 kB is served');
is(http_get($where, '/metrics', headers => [ 'X: ' . 'x' x 5000 ])->{status}, 431, 'one of 5 kB is not');
# whoever goes on sending may be cut off before the answer gets through
is(http_get($where, '/metrics', headers => [ map { "X$_: " . 'x' x 1000 } 1 .. 200 ])->{status} =~ /^(?:0|4\d\d)$/,
	1, 'nor one of 200 kB');
is(http_get($where, '/' . 'x' x 5000)->{status}, 431, 'nor a path of 5 kB');
is(http_get($where, '/metrics', headers => [ ('A: b') x 500 ])->{status} =~ /^(?:0|4\d\d)$/, 1, 'nor 500 small headers');
{
	my @rubbish = ("\r\n" x 10, "GET\r\n\r\n", "\0\0\0\0\r\n\r\n", "GET /metrics HTTP/9.9\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00");
	my @sockets = map { http_connect($where) } @rubbish;
	for my $i (0 .. $#rubbish)
	{
		$sockets[$i]->print($rubbish[$i]);
		$sockets[$i]->flush;
		shutdown($sockets[$i], 1);
	}
	like(http_read($_)->{status}, qr/^(?:0|[45]\d\d)$/, 'rubbish is not served') for @sockets;
}
is(http_get($where, '/healthz')->{status}, 200, 'after all of that it answers');

# A client that sends a byte now and then is cut off, whatever it goes on sending.
{
	my $slow = http_connect($where);
	my $select = IO::Select->new($slow);
	my $deadline = time() + $PostgreSQL::Test::Utils::timeout_default;
	my $ended = 0;

	local $SIG{PIPE} = 'IGNORE';
	print $slow "GET /metrics HTTP/1.1\r\nX: ";
	$slow->flush;
	while (!$ended && time() < $deadline)
	{
		$ended = 1 if !defined syswrite($slow, 'x');
		$ended = 1 if !$ended && $select->can_read(0.2) && !sysread($slow, my $got, 1000);
	}
	ok($ended, 'a slow client is cut off');
}

# More clients than places.
{
	my @clients = map { http_connect($where) } 1 .. 100;
	is(scalar(grep { defined } @clients), 100, '100 clients connect');
	for my $client (reverse @clients)
	{
		print $client "GET /metrics HTTP/1.0\r\n\r\n";
		$client->flush;
	}
	is(scalar(grep { http_read($_)->{status} == 200 } @clients), 100, 'and all of them are served');
}

# Clients that take all places and say nothing.
{
	my @silent = map { http_connect($where) } 1 .. 16;
	is(http_get($where, '/healthz')->{status}, 200, 'whoever comes after 16 silent clients is served');
	is(scalar(grep { http_read($_)->{status} == 0 } @silent), 16, 'they have been cut off');
}

# Clients that ask and do not read, or leave.
for (1 .. 50)
{
	my $client = http_connect($where);
	print $client "GET /metrics HTTP/1.1\r\n\r\n";
	close $client;
}
is(http_get($where, '/metrics')->{status}, 200, 'after clients that left it answers');

# ---- when nobody else can --------------------------------------------------

{
	my @sessions = map { session($node) } 1 .. 7;
	my $err = '';

	push @sessions, session($node);
	$node->psql('postgres', 'SELECT 1', stderr => \$err);
	like($err, qr/too many clients already|remaining connection slots/, 'all connections are taken');
	is(http_get($where, '/metrics')->{status}, 200, 'the endpoint answers');
	is(http_get($where, '/readyz')->{status}, 200, 'and says so');
	$_->quit for @sessions;
}
{
	my $session = session($node);
	$session->query_safe('BEGIN; LOCK TABLE pg_class, pg_proc, pg_database');
	is(http_get($where, '/metrics')->{status}, 200, 'it answers while the catalogues are locked');
	$session->quit;
}

# What holds readers back is told.
{
	my $session = session($node);
	$session->query_safe('BEGIN; SELECT * FROM ' . append('open-1'));
	my $deadline = time() + $PostgreSQL::Test::Utils::timeout_default;
	my $body;
	do { $body = http_get($where, '/readyz')->{body} } while (time() < $deadline && $body =~ /held back: 0\.0 s/);
	like($body, qr/^readers held back: \d+\.\d s$/m, 'an open transaction is seen');
	unlike($body, qr/held back: 0\.0 s/, 'with its age');
	$session->quit;
}

# Every process of the server has to answer before a database can go.
$node->safe_psql('postgres', 'CREATE DATABASE brief');
$node->safe_psql('postgres', 'DROP DATABASE brief');
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_database WHERE datname = 'brief'}), 0, 'a database can be dropped');

# ---- the token -------------------------------------------------------------

my $token_file = $node->data_dir . '/metrics.token';

sub write_token
{
	my ($token, $mode) = @_;
	unlink $token_file;
	append_to_file($token_file, $token);
	chmod $mode // 0600, $token_file;
	return;
}

sub status_with
{
	my ($authorization, $path) = @_;
	return http_get($where, $path // '/metrics', headers => [ map { "Authorization: $_" } $authorization // () ])->{status};
}

write_token("first-token\n");
set(token_file => 'metrics.token');
$answer = http_wait($where, '/metrics', 401);
is($answer->{headers}{'www-authenticate'}, 'Bearer realm="event_store"', 'without the token: 401, and what is asked for');
unlike($answer->{body}, qr/event_store_|first/, 'and nothing else');
is(status_with('Bearer first-token'), 200, 'with the token');
is(status_with('bearer   first-token'), 200, 'the word Bearer may be written otherwise');
for my $wrong ('Bearer first-tokem', 'Bearer first-toke', 'Bearer first-tokenn', 'Bearer ', 'Bearer', 'first-token', 'Basic first-token', '')
{
	is(status_with($wrong), 401, "401 with \"$wrong\"");
}
is(status_with(undef, '/readyz'), 401, 'state is for those with the token');
is(status_with(undef, '/healthz'), 200, 'whether it is alive is for everybody');
is(status_with(undef, '/nothing'), 404, 'what is not there is not there');
is(http_get($where, '/metrics', method => 'POST')->{status}, 405, 'nor is a method');

write_token('second-token');
is(status_with('Bearer first-token'), 200, 'another token counts after a reload only');
$node->reload;
http_wait($where, '/metrics', 200, headers => ['Authorization: Bearer second-token']);
is(status_with('Bearer first-token'), 401, 'then the old one does not');

for my $case ([ 'x', 0644, qr/others can read or write it/ ], [ " \n", 0600, qr/it is empty/ ], [ "a b", 0600, qr/other than printable/ ],
	[ 'x' x 1025, 0600, qr/longer than 1024 bytes/ ], [ undef, undef, qr/No such file/ ])
{
	my ($token, $mode, $message) = @$case;
	$log_end = -s $node->logfile;
	defined $token ? write_token($token, $mode) : unlink $token_file;
	$node->reload;
	$node->wait_for_log(qr/metrics endpoint cannot use the token file "metrics.token": .*$message/, $log_end);
	is(status_with('Bearer ' . ($token // '')), 401, "nobody is let in: $message");
}
set(token_file => '');
http_wait($where, '/metrics', 200);

# ---- where it listens ------------------------------------------------------

for my $bad ('9465', 'localhost', 'localhost:', 'localhost:0', 'localhost:65536', 'localhost:99999999999999999999', 'localhost:1x',
	'example.com:9465', '1.2.3:80', '::1:9465', '[::1:9465', '[]:9465', '[127.0.0.1]:80', ':9465', '*:9465', 'a' x 5000 . ':1', '/' . 'x' x 200)
{
	sqlstate_is($node, "ALTER SYSTEM SET event_store_http.listen = '$bad'", '22023', 'listen cannot be ' . substr($bad, 0, 30));
}
is(http_get($where, '/healthz')->{status}, 200, 'nothing has changed');

(my $port = $where) =~ s/.*://;
set(listen => "0.0.0.0:$port");
$node->wait_for_log(qr/cannot listen on "0.0.0.0:$port": other machines can reach this address/, $log_end);
is(http_get($where, '/healthz'), undef, 'an address that others can reach is refused');
set(allow_remote => 'on');
http_wait($where, '/healthz', 200);
ok(1, 'unless it is allowed');
set(allow_remote => 'off');
http_wait($where, '/healthz', undef);
ok(1, 'and refused again after that');

# somebody else is there
{
	my $other = IO::Socket::INET->new(LocalAddr => $where, Listen => 1, ReuseAddr => 1) or die "cannot listen: $!";
	set(listen => "localhost:$port");
	$node->wait_for_log(qr/cannot listen on "localhost:$port": Address already in use/, $log_end);
	close $other;
	http_wait($where, '/healthz', 200);
	ok(1, 'it listens once the address is free');
}

# ---- Unix sockets ----------------------------------------------------------

my $dir = PostgreSQL::Test::Utils::tempdir_short();
my $path = "$dir/metrics";

append_to_file($path, 'precious');
set(listen => $path);
$node->wait_for_log(qr/cannot listen on "\Q$path\E": there is a file of this name that is no socket/, $log_end);
is(slurp_file($path), 'precious', 'a file that is no socket is left alone');
unlink $path;
is(http_wait($path, '/metrics', 200)->{status}, 200, 'a Unix socket');
is(sprintf('%04o', (stat $path)[2] & 0777), '0700', 'is the owner\'s');
is(http_get($where, '/healthz'), undef, 'the port is closed');
is(http_get($path, '/healthz', method => 'POST')->{status}, 405, 'the same rules hold');
set(socket_permissions => '0770');
http_wait($path, '/metrics', 200);
ok($node->poll_query_until('postgres', "SELECT (pg_stat_file('$path')).size IS NOT NULL"), 'with other permissions');
wait_for_mode($path, '0770');
is($node->safe_psql('postgres', 'SHOW event_store_http.socket_permissions'), '0770', 'which are shown as they are written');

sub wait_for_mode
{
	my ($file, $mode) = @_;
	my $deadline = time() + $PostgreSQL::Test::Utils::timeout_default;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	1 while time() < $deadline && sprintf('%04o', ((stat $file)[2] // 0) & 0777) ne $mode;
	return is(sprintf('%04o', (stat $file)[2] & 0777), $mode, "permissions come to be $mode");
}

# a socket that a killed server left behind is no obstacle, one that is in use is
{
	my $used = "$dir/used";
	my $other = IO::Socket::UNIX->new(Local => $used, Listen => 1) or die "cannot listen: $!";
	set(listen => $used);
	$node->wait_for_log(qr/cannot listen on "\Q$used\E": Address already in use/, $log_end);
	ok(!-e $path, 'the socket that is not used any more is gone');
	close $other;
	ok(-S $used, 'a socket is left behind');
	http_wait($used, '/healthz', 200);
	ok(1, 'it is replaced once nobody listens on it');
	set(listen => $path);
	http_wait($path, '/healthz', 200);
}

# ---- it comes back, and leaves ---------------------------------------------

my $pid = worker();
kill 'TERM', $pid;
{
	my $deadline = time() + $PostgreSQL::Test::Utils::timeout_default;
	my $now;
	do { $now = worker() } while (time() < $deadline && (!defined $now || $now == $pid));
	isnt($now // $pid, $pid, 'ended, it is started again');
}
is(http_wait($path, '/metrics', 200)->{status}, 200, 'and answers');

# killed outright, it takes the whole server through a restart, as any backend does
$pid = worker();
$log_end = -s $node->logfile;
kill 'KILL', $pid;
$node->wait_for_log(qr/all server processes terminated; reinitializing/, $log_end);
is(http_wait($path, '/metrics', 200)->{status}, 200, 'after a crash it is back');
ok($node->poll_query_until('postgres', 'SELECT true'), 'as is the server');

for my $mode ('smart', 'fast', 'immediate')
{
	my $silent = http_connect($path);
	$node->stop($mode);
	is(http_get($path, '/healthz'), undef, "stopped ($mode), nobody listens");
	is(-e $path ? 1 : 0, $mode eq 'immediate' ? 1 : 0, 'and a clean stop removes the socket');
	$node->start;
	is(http_wait($path, '/metrics', 200)->{status}, 200, 'started, it answers');
}

# ---- a standby -------------------------------------------------------------

$node->safe_psql('postgres', 'ALTER SYSTEM RESET ALL');
my $primary = new_node('primary', init => { allows_streaming => 1 }, conf => "$both\n");
$primary->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'b', has_streaming => 1);
$standby->append_conf('postgresql.conf', "event_store_http.listen = '$dir/standby'");
$standby->start;
is(http_wait("$dir/standby", '/metrics', 200)->{status}, 200, 'a standby answers');
like(http_get("$dir/standby", '/readyz')->{body}, qr/^role: standby\n/, 'and says what it is');
$standby->promote;
http_wait("$dir/standby", '/readyz', 200);
{
	my $deadline = time() + $PostgreSQL::Test::Utils::timeout_default;
	my $body;
	do { $body = http_get("$dir/standby", '/readyz')->{body} } while (time() < $deadline && $body !~ /^role: primary\nlauncher: runs\n/);
	like($body, qr/^role: primary\nlauncher: runs\n/, 'promoted, it is a primary, with a launcher');
}
$standby->stop;
$primary->stop;

# ---- loaded wrongly --------------------------------------------------------

$node->stop;
for my $wrong ('event_store_http', 'event_store_http, event_store')
{
	$log_end = -s $node->logfile;
	$node->append_conf('postgresql.conf', "shared_preload_libraries = '$wrong'");
	is($node->start(fail_ok => 1), 0, "shared_preload_libraries = '$wrong': the server does not start");
	my $log = slurp_file($node->logfile, $log_end);
	like($log, qr/FATAL:  event_store_http must be loaded after event_store/, 'and says why');
	like($log, qr/HINT:  Write shared_preload_libraries = 'event_store, event_store_http' into postgresql.conf, in this order/, 'and what to write');
}
$node->append_conf('postgresql.conf', q{shared_preload_libraries = 'event_store'});
$node->start;
sqlstate_is($node, q{LOAD 'event_store_http'}, '55000', 'it cannot be loaded later');
$node->stop;
done_testing();
