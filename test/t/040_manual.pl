# The manual tells the truth: every SQL block of README.md and doc/*.md runs as
# printed, every result that is shown is what comes out, and every function,
# setting and error condition is described, with its real signature.
#
# The blocks of a file run in order in one session of a new database, as a
# superuser.  A block whose first line is "-- error: SQLSTATE" must end in that
# error.  A block of text right after an SQL block is what that one prints last.

use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/../perl";

use ESTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $root = "$FindBin::RealBin/../..";
my $node = new_node('main', conf => qq{
max_prepared_transactions = 2
max_worker_processes = 100
shared_preload_libraries = 'event_store, event_store_http'
});
my %manual = map { (m{([^/]+)$})[0] => slurp_file($_) } "$root/README.md", glob("$root/doc/*.md");

# The blocks of a file: kind, text, line, and of SQL blocks what they must print.
sub blocks
{
	my ($text) = @_;
	my (@blocks, $block);
	my $line = 0;
	my $adjacent = 0;

	for (split /\n/, $text)
	{
		$line++;
		if (defined $block)
		{
			if (/^```$/)
			{
				$blocks[-1]{prints} = $block->{text}
				  if $block->{kind} eq 'text' && $adjacent;
				push @blocks, $block;
				$adjacent = $block->{kind} eq 'sql';
				undef $block;
			}
			else
			{
				$block->{text} .= "$_\n";
			}
		}
		elsif (/^```(\w*)$/)
		{
			$block = { kind => $1, text => '', line => $line + 1 };
		}
		elsif (/\S/)
		{
			$adjacent = 0;
		}
	}
	return @blocks;
}

# Without what depends on how wide a column is.
sub normal
{
	my ($text) = @_;
	return join "\n",
	  grep { /\S/ }
	  map { s/-{3,}/---/g; s/\s+/ /g; s/^ | $//g; s/ ?([|+]) ?/$1/g; $_ } split /\n/, $text;
}

# What one session prints and says for each block.
sub run_blocks
{
	my ($database, @blocks) = @_;
	my ($out, $err);
	my $script = "\\pset footer off\n\\pset null ''\n\\set VERBOSITY verbose\n";

	for my $i (0 .. $#blocks)
	{
		$script .= "\\echo \@\@$i\n\\warn \@\@$i\n$blocks[$i]{text}\n";
	}
	# psql of the test modules is -A -t; what a reader sees is not
	my @psql = ('psql', '-X', '-q', '-d', $node->connstr($database));
	IPC::Run::run(\@psql, '<', \$script, '>', \$out, '2>', \$err);
	for my $streams ([ 'out', $out ], [ 'err', $err ])
	{
		my ($name, $text) = @$streams;
		my (undef, @parts) = split /^\@\@\d+\n/m, $text;
		$blocks[$_]{$name} = $parts[$_] // '' for 0 .. $#blocks;
	}
	return;
}

for my $file (sort keys %manual)
{
	my @blocks = grep { $_->{kind} eq 'sql' } blocks($manual{$file});
	(my $database = lc $file) =~ s/\W/_/g;

	note "$file: " . scalar(@blocks) . ' blocks';
	next if !@blocks;
	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->safe_psql($database, 'CREATE EXTENSION event_store')
	  if $file ne 'README.md';
	run_blocks($database, @blocks);

	for my $block (@blocks)
	{
		my $name = "$file line $block->{line}";
		my @errors = $block->{err} =~ /^(?:ERROR|FATAL|PANIC):  (\w{5})/mg;
		my ($expected) = $block->{text} =~ /\A-- error: (\w{5})/;

		push @errors, 'psql' if $block->{err} =~ /^(?:psql: )?error:|^invalid command/m;
		is("@errors", $expected // '', "$name: " . ($expected ? "fails with $expected" : 'runs'))
		  or diag $block->{err};
		next if !defined $block->{prints};

		# what is shown may be the last results only
		my ($shown, $printed) = (normal($block->{prints}), normal($block->{out}));
		ok($printed =~ /^\Q$shown\E\z/m, "$name: prints what is shown")
		  or diag "printed:\n$printed\nshown:\n$shown";
	}
}

# ---- nothing is left out ---------------------------------------------------

# A signature is a line of a block without a kind.
my $all = join "\n", map { $manual{$_} } sort keys %manual;
my %described = map { $_ => 1 }
  map { split /\n/, $_->{text} =~ tr/"//dr }
  grep { $_->{kind} eq '' }
  map { blocks($_) } values %manual;

# The input and output functions of a type are not called by name.
for my $function (
	split /\n/, $node->safe_psql(
		'postgres', q{
		SELECT p.proname || '|' || pg_get_function_arguments(p.oid) || '|' || coalesce(' RETURNS ' || pg_get_function_result(p.oid), '')
		FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
		WHERE d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'event_store')
			AND (has_function_privilege('public', p.oid, 'EXECUTE') OR has_function_privilege('pg_monitor', p.oid, 'EXECUTE'))
			AND NOT EXISTS (SELECT FROM pg_type WHERE p.oid IN (typinput, typoutput, typreceive, typsend))
		ORDER BY 1}))
{
	my ($name, $arguments, $result) = split /\|/, $function;
	$arguments =~ s/::[^,]+//g;
	$arguments =~ s/\bIN |"//g;
	my $signature = "$name($arguments)" . ($result // '');

	ok($described{$signature}, "$name is described with its signature") or diag $signature;
	like($all, qr/^### $name$/m, "$name has an entry");
}

for my $setting (
	split /\n/, $node->safe_psql(
		'postgres', q{
		SELECT name, boot_val, CASE context WHEN 'postmaster' THEN 'restart' WHEN 'sighup' THEN 'reload'
			WHEN 'superuser' THEN 'superuser' ELSE 'anybody' END
		FROM pg_settings WHERE name ~ '^event_store(_http)?[.]' ORDER BY 1}))
{
	my ($name, $default, $context) = split /\|/, $setting;

	$default = 'empty' if $default eq '' && $name =~ /_http/;
	$default = '0700' if $name eq 'event_store_http.socket_permissions' && $default eq oct('0700');
	# kB and ms are written as is fit
	$default = '1 MB' if $name eq 'event_store.max_event_size' && $default eq '1024';
	like($manual{'settings.md'}, qr/^\| `\Q$name\E` \| \Q$default\E(?: ms| kB| min| s)? \|[^|]*\|[^|]*$context/m,
		"$name is described with its default");
	like($manual{'README.md'}, qr/^\| `\Q$name\E` \| \Q$default\E(?: ms| kB| min| s)? \|/m, "$name is in README.md");
}

for my $sqlstate (
	split /\n/,
	$node->safe_psql('postgres', 'SELECT sqlstate FROM event_store.problem_type ORDER BY 1'))
{
	# those of what is to come are named by their ranges
	next if $sqlstate =~ /^VE0[13-7]/;
	like($manual{'problems.md'}, qr/^\| [^|]*\b$sqlstate\b/m, "SQLSTATE $sqlstate is explained");
}

# Links within the manual lead somewhere.
for my $file (sort keys %manual)
{
	while ($manual{$file} =~ /\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)/g)
	{
		my ($target, $anchor) = ($1, $2);
		(my $base = $target) =~ s{^.*/}{};
		my $text = $target eq '' ? $manual{$file} : $manual{$base};

		if (!defined $text)
		{
			ok(-e "$root/$target" || -e "$root/doc/$target", "$file: $target exists");
			next;
		}
		next if !defined $anchor;
		my %anchors = map { my $a = lc $_; $a =~ s/[^\w\s-]//g; $a =~ s/ /-/g; $a => 1 } $text =~ /^#+ (.+)$/mg;
		ok($anchors{$anchor}, "$file: $target#$anchor exists");
	}
}

$node->stop;
done_testing();
