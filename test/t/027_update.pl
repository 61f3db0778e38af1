# ALTER EXTENSION UPDATE leads to the very extension that CREATE EXTENSION makes.
# Released versions have their install scripts in test/released; there the real
# update scripts are tested.  That the comparison sees what an update script may
# forget is shown with a made-up version, whose update makes the last part.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ESTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('main');
my $query = slurp_file("$FindBin::RealBin/../perl/fingerprint.sql");
my $version = $node->safe_psql('postgres', q{SELECT extversion FROM pg_extension WHERE extname = 'event_store'});

# where the server of the tests finds the extension's scripts
my ($directory) = map { glob $_ }
  slurp_file($ENV{TEMP_CONFIG}) =~ /^extension_control_path = '([^:']*)/m ? "$1/extension"
  : slurp_file($ENV{TEMP_CONFIG}) =~ /^extension_destdir = '([^']*)/m ? $1 . $node->config_data('--sharedir') . '/extension'
  : $node->config_data('--sharedir') . '/extension';
my @added;

sub script
{
	my ($name, $text) = @_;
	push @added, "$directory/event_store--$name.sql";
	open my $fh, '>', $added[-1] or die "could not write $added[-1]: $!";
	print $fh $text;
	close $fh;
	return;
}

sub fingerprint
{
	my ($database) = @_;
	return $node->safe_psql($database, $query);
}

# The lines that only one of two texts has.
sub difference
{
	my ($one, $other) = map { my %lines = map { $_ => 1 } split /\n/, $_; \%lines } @_;
	return (grep({ !$other->{$_} } sort keys %$one), grep { !$one->{$_} } sort keys %$other);
}

my $n = 0;

sub updated_from
{
	my ($from) = @_;
	my $database = 'updated_' . ++$n;
	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->safe_psql($database, "CREATE EXTENSION event_store VERSION '$from'; ALTER EXTENSION event_store UPDATE");
	return $database;
}

my $fresh = fingerprint('postgres');
cmp_ok(scalar(split /\n/, $fresh), '>', 200, 'the fingerprint has the objects');

# Found again beside stores, as after a dump.
$node->safe_psql('postgres', 'DROP EXTENSION event_store; CREATE EXTENSION event_store');
is_deeply([ difference($fresh, fingerprint('postgres')) ], [], 'CREATE EXTENSION beside a store makes the same');

# reliability 43
for my $script (glob "$FindBin::RealBin/../released/event_store--*.sql")
{
	my ($from) = $script =~ /event_store--(.*)\.sql$/;
	script($from, slurp_file($script));
	is_deeply([ difference($fresh, fingerprint(updated_from($from))) ], [], "an update from $from makes the same");
}

# A version before this one, which lacked the last functions.
my $install = slurp_file("$FindBin::RealBin/../../sql/event_store--$version.sql");
my ($start, $last, $end) = $install =~ m{\A(.*)(^CREATE FUNCTION event_store\.verify_store.*?)(^/\* .*)\z}ms
  or die 'the install script has another shape';
script('0.0.1', $start . $end);
my %update = (
	'' => '',
	'rights' => 's/^GRANT[^;]*;//mgr',
	'a comment' => 's/^COMMENT[^;]*;//mgr',
	'a label' => 's/PARALLEL UNSAFE ROWS 14/PARALLEL SAFE ROWS 14/r',
	'a default' => 's/ DEFAULT NULL//r');
for my $forgotten (sort keys %update)
{
	my $text = $forgotten eq '' ? $last : eval "\$last =~ $update{$forgotten}";
	isnt($text, $last, "$forgotten is forgotten") if $forgotten ne '';
	script("0.0.1--$version", $text);
	my @difference = difference($fresh, fingerprint(updated_from('0.0.1')));
	if ($forgotten eq '') { is_deeply(\@difference, [], 'an update that makes the rest makes the same'); }
	else { cmp_ok(scalar @difference, '>', 0, "an update that forgets $forgotten is seen"); }
}
my $database = updated_from('0.0.1');
$node->safe_psql($database, q{
	UPDATE pg_extension SET extconfig = NULL, extcondition = NULL WHERE extname = 'event_store';
	ALTER TABLE event_store.store_registry ALTER owns_schema DROP NOT NULL});
my @difference = difference($fresh, fingerprint($database));
cmp_ok(scalar(grep { /^dumped/ } @difference), '>', 0, 'and so are tables that are not dumped');
is(scalar(grep { /^column/ } @difference), 2, 'and a column that may be null');

$node->stop;
done_testing();

END
{
	unlink @added;
}
