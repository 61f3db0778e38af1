#!/usr/bin/perl
# Rules for the install and update scripts, which run as superuser with
# whatever lies about in the database: nothing there may be taken for ours
# (reliability 53; the checks of pgspot that concern scripts like these).
#
#	check_sql.pl FILE...
use strict;
use warnings;

my $own = qr/(?:event_store|pg_catalog)\./;
my $bad = 0;

for my $file (@ARGV)
{
	open(my $fh, '<', $file) or die "$file: $!";
	my $sql = do { local $/; <$fh> };

	# comments and strings hold prose; newlines stay, for the line numbers
	$sql =~ s{(/\*.*?\*/)}{ $1 =~ s/[^\n]//gr }gse;
	$sql =~ s/--[^\n]*//g;
	$sql =~ s{('(?:[^']|'')*')}{ "''" . ($1 =~ s/[^\n]//gr) }gse;
	$sql =~ s/^\\.*$//mg;

	my $check = sub {
		my ($pattern, $what) = @_;
		while ($sql =~ /$pattern/g)
		{
			my $line = 1 + (substr($sql, 0, $-[0]) =~ tr/\n//);
			my $text = $&;
			$text =~ s/\s+/ /g;
			print "$file:$line: $what: $text\n";
			$bad = 1;
		}
	};
	$check->(qr/\bOR\s+REPLACE\b/i, 'would take over what is there already');
	$check->(qr/\bIF\s+NOT\s+EXISTS\b/i, 'would take over what is there already');
	$check->(qr/\bSECURITY\s+DEFINER\b/i, 'runs with the rights of the owner');
	$check->(qr/\bSET\s+search_path\b/i, 'would hide the caller\'s store');
	$check->(qr/\b(?:DO|EXECUTE)\s+(?:\$|'')/i, 'dynamic SQL');
	# but a column may be called language
	$check->(qr/\bLANGUAGE\s+(?!C\b)(?!(?:pg_catalog\.)?text\b)\w+/i, 'a body that looks names up at run time');
	$check->(
		qr/\b(?:CREATE\s+(?:TABLE|VIEW|FUNCTION|TYPE)|ALTER\s+\w+|ON\s+(?:TABLE|FUNCTION|TYPE|VIEW|COLUMN))\s+(?!$own)(?!event_store\b)\w+/i,
		'a name that is not qualified');
	# but a query may name parts of itself
	my $part = join '|', 'PUBLIC', 'pg_monitor', $sql =~ /\b(\w+)\s+AS\s+(?:NOT\s+)?MATERIALIZED\s*\(/g;
	$check->(qr/\b(?:FROM|JOIN)\s+(?!$own)(?!(?:$part)\b)[a-z]\w*/, 'a relation that is not qualified');
	# in queries: between the operands of a condition
	$check->(qr/^(?!.*\bOPERATOR\b)(?=.*\b(?:ON|WHERE|AND)\b).*[\w)\]]\s*(?:=|<|>|<=|>=|<>|~|\|\|)\s*[\w('].*$/m,
		'an operator that is not qualified');
}
exit $bad;
