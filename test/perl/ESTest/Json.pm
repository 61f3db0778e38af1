# JSON texts to feed a parser with: random ones, valid or slightly wrong, and
# all near the places where the one in src/base/json.c changes its ways.
# Characters are those of Perl; whoever writes them out encodes them.
#
#   srand($seed);
#   my $text = random_value(4);
#   my $maybe_wrong = mutate($text);
package ESTest::Json;

use strict;
use warnings FATAL => 'all';

use Exporter 'import';

our @EXPORT = qw(
  random_value
  random_events
  mutate
  strings
  numbers
  containers
);

my @literals = qw(null true false);
my @space = ('', '', '', ' ', "\n", "\t", "\r", "  \r\n\t");
my @plain = (map { chr } grep { $_ != 0x22 && $_ != 0x5c } 0x20 .. 0x7f);
my @wide = map { chr } 0x80, 0xe9, 0xff, 0x7ff, 0x800, 0x20ac, 0xfffd, 0x10000, 0x1f600, 0x10fffd;
my @escaped = (qw(\" \\\\ \/ \b \f \n \r \t), '\u0041', '\u001f', '\u007F');
my @escaped_wide = ('\u0080', '\u00e9', '\u07FF', '\u0800', '\u20aC', '\uffff', '\ud83d\ude00', '\uD800\uDC00', '\udbff\udfff');
my @escaped_wrong = ('\u0000', '\ud800', '\udc00', '\ud800\ud800', '\ud800x', '\ud800\n', '\u12g4', '\u123', '\x', '\U0041', "\x01", "\x1f");
my @keys = ('', 'a', 'b', 'c', 'aa', 'ab', 'ba', 'A', '\u0061', 'key', 'yek', 'id', 'k' x 40, 'k' x 39 . 'j', 'ä');

# Beyond Latin 1, and escapes beyond ASCII: not for every encoding.
our $wide = 1;

sub pick { return $_[ rand @_ ] }

sub random_string
{
	my $string = '';
	my $kind = rand;
	my $length = rand() < 0.05 ? int(rand 400) : int(rand 20);

	for (1 .. $length)
	{
		my $dice = $kind < 0.5 ? 0 : rand;
		$string .=
		    $dice < 0.75 ? pick(@plain)
		  : $dice < 0.85 ? pick(@escaped)
		  : $dice < 0.92 ? ($wide ? pick(@wide) : pick(map { chr } 0xa0 .. 0xff))
		  : $dice < 0.999 ? pick($wide ? @escaped_wide : @escaped)
		  :                 pick(@escaped_wrong);
	}
	return qq("$string");
}

sub random_digits
{
	my $count = rand() < 0.03 ? int(rand 300) + 1 : int(rand 12) + 1;
	my $zeros = rand() < 0.3 ? int(rand $count) : 0;
	my $digits = join '', map { int rand 10 } 1 .. $count;

	substr($digits, rand() < 0.5 ? 0 : $count - $zeros, $zeros, '0' x $zeros);
	return $digits;
}

sub random_number
{
	my $number = rand() < 0.2 ? '-' : '';
	my $whole = rand() < 0.2 ? '0' : random_digits();

	$whole =~ s/^0+(?=.)// unless rand() < 0.005;
	$number .= $whole;
	$number .= '.' . random_digits() if rand() < 0.4;
	$number .= pick('e', 'E') . pick('', '-', '+') . int(rand(rand() < 0.05 ? 200000 : 30)) if rand() < 0.1;
	return $number;
}

# A value with at most so many levels.
sub random_value
{
	my ($levels) = @_;
	my $dice = rand;

	return pick(@space) . pick(@literals) . pick(@space) if $dice < 0.12;
	return random_number() if $dice < 0.3;
	return random_string() if $dice < 0.5 || $levels <= 0;
	return ('[' x $levels) . random_value(0) . (']' x $levels) if $dice < 0.51;

	my $count = rand() < 0.05 ? 28 + int(rand 40) : int(rand 6);
	return '[' . pick(@space) . join(',', map { pick(@space) . random_value($levels - 1) } 1 .. $count) . pick(@space) . ']'
	  if $dice < 0.7;
	return '{' . pick(@space) . join(
		',',
		map {
			    pick(@space)
			  . (rand() < 0.5 ? '"' . pick($wide ? @keys : grep { !/\\/ } @keys) . '"' : random_string())
			  . pick(@space) . ':' . random_value($levels - 1)
		} 1 .. $count) . pick(@space) . '}';
}

my @uuids = map { qq("$_") } '0b7e1c52-3f6d-4a57-9a3e-2f1f4f0f7a01', '0B7E1C52-3F6D-4A57-9A3E-2F1F4F0F7A02',
  '{0b7e1c52-3f6d-4a57-9a3e-2f1f4f0f7a03}', '0b7e1c523f6d4a579a3e2f1f4f0f7a04', '0b7e-1c52-3f6d-4a57-9a3e-2f1f-4f0f-7a05',
  '0b7e1c52+3f6d-4a57-9a3e-2f1f4f0f7a06', '0b7e1c52-3f6d-4a57-9a3e-2f1f4f0f7a0g', '';
my @times = map { qq("$_") } '2001-02-03T04:05:06Z', '2001-02-03 04:05:06.789+01', 'yesterday once more', 'infinity', '2001-02-30';

sub random_member
{
	my $dice = rand;
	my $odd = rand() < 0.03;

	return '"' . pick(qw(typ datum e_id), 'm' x int(rand 20)) . '":1' if $dice < 0.01;
	return '"type":' . ($odd ? random_value(1) : '"t"') if $dice < 0.3;
	return '"data":' . random_value(2) if $dice < 0.6;
	return '"metadata":' . ($odd ? random_value(2) : pick('null', '{}', '{"v" : 1}')) if $dice < 0.75;
	return '"created_at":' . ($odd ? pick(@literals, @times, '12') : pick('null', @times[ 0, 1 ])) if $dice < 0.85;
	return '"' . pick(qw(event_id correlation_id causation_id \u0065vent_id)) . '":'
	  . ($odd ? pick(@literals, @uuids, '12') : pick('null', @uuids[ 0, 1 ]));
}

# The argument of append; some are valid, others a little wrong.
sub random_events
{
	my @events = map {
		my @members = map { random_member() } 1 .. int(rand 5);
		push @members, '"type":"t"' if rand() < 0.9;
		push @members, '"data":{}' if rand() < 0.9;
		'{' . join(',', @members) . '}'
	} 1 .. 1 + int(rand 3);

	push @events, random_value(1) if rand() < 0.02;
	@events = () if rand() < 0.005;
	return @events == 1 && rand() < 0.5 ? $events[0] : '[' . join(pick(@space) . ',' . pick(@space), @events) . ']';
}

# One character more, less or other, one bit of it, a piece cut off or twice.
sub mutate
{
	my ($text) = @_;
	my @other = (split(//, '{}[],:"\\ 0123456789.-+eEtfnul'), @space[ 3 .. 6 ], "\x01", "\x0b", "\x7f", $wide ? @wide : "\xe9");
	my $length = length $text;
	my $place = int rand $length + 1;
	my $kind = int rand 7;

	if ($kind == 0) { substr($text, $place, 0, pick(@other)) }
	elsif ($kind == 1) { substr($text, $place, 1, '') if $place < $length }
	elsif ($kind == 2) { substr($text, $place, 1, pick(@other)) if $place < $length }
	elsif ($kind == 3) { substr($text, $place) = '' }
	elsif ($kind == 4 && $place < $length)
	{
		my $flipped = ord(substr($text, $place, 1)) ^ 1 << int rand 7;
		substr($text, $place, 1, chr $flipped) if $flipped != 0;
	}
	elsif ($kind == 5) { substr($text, $place, 0, substr($text, int rand $length + 1, 1 + int rand 10) // '') }
	else { substr($text, $place, 1 + int rand 10, '') if $place < $length }
	return $text;
}

# Each kind of character at each place of strings of up to three words.
sub strings
{
	my @strings;

	for my $length (0 .. 24)
	{
		push @strings, '"' . 'x' x $length . '"';
		for my $place (0 .. $length - 1)
		{
			for my $special ('\n', '\"', '\u0041', "\x01", "\x1f", "\x20", "\x7f", ($wide ? ("\x80", "\x{a2}", "\x{dc}", '\ud83d\ude00') : ()))
			{
				push @strings, '"' . 'x' x $place . $special . '"' x !($length % 2) . 'x' x ($length - $place - 1) . '"';
			}
		}
	}
	return @strings;
}

# Digits before and after the point, up to and beyond what the short form of numeric has room for.
sub numbers
{
	my @numbers;
	my @lengths = (0 .. 18, 60 .. 66, 251 .. 258, 996 .. 1004);

	for my $whole (@lengths)
	{
		for my $fraction (@lengths)
		{
			for my $digit (0, 1, 9)
			{
				my $integer = $whole == 0 ? '0' : $digit == 0 ? '1' . '0' x ($whole - 1) : $digit x $whole;

				# zeros after and before
				push @numbers, $fraction == 0
				  ? ($integer, "-$integer")
				  : ("$integer.$digit" . '0' x ($fraction - 1), "-$integer." . '0' x ($fraction - 1) . $digit);
			}
		}
	}
	for my $number (qw(0 -0 0.0 -0.00 1 10 1.5 0.001 123456.789))
	{
		push @numbers, map { ($number . "e$_", $number . "E+$_", $number . "e-$_") } 0, 1, 5, 99, 100, 999, '007';
	}
	return @numbers;
}

# Arrays and objects around multiples of the stride of offsets.
sub containers
{
	my @containers;

	for my $count (0 .. 3, 7, 8, 15 .. 17, 31 .. 34, 63 .. 66, 95 .. 97, 1000)
	{
		my @values = map { ('1', '"s"', 'null', '[]', '{"x":true}', '1e3', '"ab"')[ ($_ * $_) % 7 ] } 1 .. $count;
		my @names = map { sprintf '"%s"', substr('k' . ($_ * 7919) % 10007, 0, 1 + $_ % 5) } 1 .. $count;

		push @containers, '[' . join(',', @values) . ']',
		  '{' . join(',', map { "\"$_\":$values[$_ - 1]" } 1 .. $count) . '}',
		  '{' . join(',', map { "\"$_\":$values[$_ - 1]" } reverse 1 .. $count) . '}',
		  '{' . join(',', map { "$names[$_]:$values[$_]" } 0 .. $count - 1) . '}',
		  '{' . join(',', map { "\"same\":$_" } 0 .. $count) . '}';
	}
	for my $levels (1 .. 8, 99 .. 102, 126 .. 131)
	{
		push @containers, '[' x $levels . ']' x $levels, '{"a":' x $levels . '1' . '}' x $levels,
		  '["x",' x $levels . '"y"' . ']' x $levels;
	}
	return @containers;
}

1;
