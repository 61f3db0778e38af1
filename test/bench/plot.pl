#!/usr/bin/perl
# plot.pl MEASURE TITLE <TABLE >SVG: the ratios of one measure ("us CPU", "calls/s") in the table of make bench, as bars with the
# range of the repetitions; a line at 1 is the floor, a tick the bar to hold.
use strict;
use warnings;

my ($measure, $title) = @ARGV;
my @rows;
while (<STDIN>)
{
	next unless /^(\S.*?)\s+\Q$measure\E\s+([\d.]+)\s+([\d.]+)\s+([\d.]+)\s+\(([\d.]+)-([\d.]+)\)(?:\s+([<>]=)\s+([\d.]+))?/;
	push @rows, { work => $1, floor => $2, ours => $3, ratio => $4, low => $5, high => $6, sense => $7, bar => $8 };
}
die "no row with $measure\n" if !@rows;

my ($left, $width, $step, $top) = (280, 420, 22, 46);
my ($max) = sort { $b <=> $a } 1.5, map { $_->{ratio} * 1.1 } @rows;
my $height = $top + $step * @rows + 30;
my $better = $measure eq 'calls/s' ? 'longer is better' : 'shorter is better';
sub x { return sprintf '%.1f', $left + $width * ($_[0] > $max ? $max : $_[0]) / $max; }
sub escape { my $s = shift; $s =~ s/&/&amp;/g; $s =~ s/</&lt;/g; return $s; }

printf qq{<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">\n}, $left + $width + 130, $height;
print qq{<rect width="100%" height="100%" fill="white"/>\n};
printf qq{<text x="10" y="20" font-size="14" font-weight="bold">%s</text>\n}, escape($title);
printf qq{<text x="10" y="36" fill="#555">ours / plain PostgreSQL, %s; %s; in grey the range, in red the bar to hold</text>\n}, $measure, $better;
for my $i (0 .. $#rows)
{
	my $row = $rows[$i];
	my $y = $top + $step * $i;
	printf qq{<text x="%d" y="%d" text-anchor="end">%s</text>\n}, $left - 8, $y + 14, escape($row->{work});
	printf qq{<rect x="%d" y="%d" width="%.1f" height="14" fill="#4878a8"/>\n}, $left, $y + 3, x($row->{ratio}) - $left;
	printf qq{<line x1="%s" y1="%d" x2="%s" y2="%d" stroke="#888" stroke-width="2"/>\n}, x($row->{low}), $y + 10, x($row->{high}), $y + 10;
	printf qq{<line x1="%s" y1="%d" x2="%s" y2="%d" stroke="#c03030" stroke-width="3"/>\n}, x($row->{bar}), $y + 1, x($row->{bar}), $y + 19
	  if defined $row->{bar};
	printf qq{<text x="%d" y="%d">%.2f  (%g : %g)</text>\n}, $left + $width + 8, $y + 14, $row->{ratio}, $row->{ours}, $row->{floor};
}
printf qq{<line x1="%s" y1="%d" x2="%s" y2="%d" stroke="black" stroke-dasharray="3 3"/>\n}, x(1), $top, x(1), $top + $step * @rows;
printf qq{<text x="%s" y="%d" text-anchor="middle">1</text>\n</svg>\n}, x(1), $height - 12;
