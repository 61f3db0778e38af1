# What is left of a block of positions survives a clean restart, and only that:
# not a crash, not a promotion, not a sequence that has moved, and never twice.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ESTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_node('primary', init => { allows_streaming => 1 });
my $file = $node->data_dir . '/pg_stat/event_store.positions';

sub next_position
{
	my ($of) = @_;
	return ($of // $node)->safe_psql('postgres', 'SELECT first_position FROM ' . append('s-1'));
}

is(next_position(), 1, 'the first position');
$node->stop('fast');
ok(-e $file, 'the server keeps positions when it is shut down');
my $kept = slurp_file($file);
$node->start;
ok(!-e $file, 'and forgets them when it is started');
is($node->safe_psql('postgres', 'SELECT event_store.horizon()'), 2, 'a reader knows the next position');
is(next_position(), 2, 'after a clean restart there is no gap');

# A rolled-back position is not handed out again.
$node->safe_psql('postgres', 'BEGIN; SELECT * FROM ' . append('s-1') . '; ROLLBACK');
$node->restart;
is(next_position(), 4, 'a position that was rolled back stays a hole');

# A crash has no file to go by.
$node->stop('immediate');
unlink $file;
$node->start;
my $after_crash = next_position();
cmp_ok($after_crash, '>', 5, 'after a crash counting goes on at the end of the reserved block');

# An old file that comes back is of a block that is used up.
$node->stop('fast');
append_to_file("$file.new", $kept);
rename "$file.new", $file or die $!;
$node->start;
cmp_ok(next_position(), '>', $after_crash, 'an old file is not believed');

# Garbage and a file cut short.
for my $garbage ('x' x 100, substr($kept, 0, 30), '')
{
	my $last = next_position();
	$node->stop('fast');
	unlink $file;
	append_to_file($file, $garbage);
	$node->start;
	cmp_ok(next_position(), '>', $last, 'a file that is none is not believed');
}

# A copy of the whole server that becomes a standby and is promoted: what the
# primary handed out meanwhile is not known there.
$node->stop('fast');
$node->backup_fs_cold('cold');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'cold', has_streaming => 1);
ok(-e $standby->data_dir . '/pg_stat/event_store.positions', 'the copy has the file');
$node->start;
$standby->start;
my $handed_out = $node->safe_psql('postgres', 'BEGIN; SELECT first_position FROM ' . append('s-1') . '; ROLLBACK');
$standby->promote;
cmp_ok(next_position($standby), '>', $handed_out, 'a promoted copy goes on at the end of the block');

$standby->stop;
$node->stop;
done_testing();
