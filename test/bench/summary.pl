#!/usr/bin/perl
# summary.pl TICKS_A_SECOND RESULTS: the table of make bench. Ratios are the median over the repetitions of ours / floor's in
# the same repetition; the columns beside them are medians of their own.
use strict;
use warnings;

# what to print: text, cell, measure, bar (of the ratio, for bytes of ours). cpu is server CPU in microseconds a call, rate is calls a second, wal is bytes a call.
my @rows = (
	['append one, 1 client',               'append_one.1.off',  'cpu',   '<=', 1.25],
	['append one, 1 client',               'append_one.1.off',  'rate'],
	['append one, 8 clients',              'append_one.8.off',  'cpu'],
	['append one, 8 clients',              'append_one.8.off',  'rate',  '>=', 0.85],
	['append one, 32 clients',             'append_one.32.off', 'cpu'],
	['append one, 32 clients',             'append_one.32.off', 'rate',  '>=', 0.85],
	['append one, 1 client, durable',      'append_one.1.on',   'rate'],
	['append one, 8 clients, durable',     'append_one.8.on',   'cpu'],
	['append one, 8 clients, durable',     'append_one.8.on',   'rate',  '>=', 0.90],
	['append one, 32 clients, durable',    'append_one.32.on',  'cpu'],
	['append one, 32 clients, durable',    'append_one.32.on',  'rate',  '>=', 0.90],
	['append to one stream, 8 clients, durable', 'hot_stream.8.on', 'rate'],
	['append to one stream, 32 clients, durable', 'hot_stream.32.on', 'rate', '>=', 2],
	['append 10 in one call, 1 client',    'append_10.1.off',   'cpu'],
	['append 10 in one call, 1 client',    'append_10.1.off',   'rate',  '>=', 1.6],
	['append 10 in one call, 8 clients',   'append_10.8.off',   'rate'],
	['append 100 in one call, 1 client',   'append_100.1.off',  'cpu'],
	['append 100 in one call, 1 client',   'append_100.1.off',  'rate',  '>=', 1.6],
	['append on a condition, 1 client',    'append_condition.1.off', 'cpu', '<=', 1.30],
	['append on a condition, 8 clients',   'append_condition.8.off', 'cpu', '<=', 1.30],
	['append on a condition, 8 clients',   'append_condition.8.off', 'rate'],
	['read a stream of 100',               'read_stream.1.off', 'cpu',   '<=', 1.10],
	['read a stream of 100',               'read_stream.1.off', 'rate'],
	['read 1000 in order',                 'read_all.1.off',    'cpu',   '<=', 1.10],
	['read 1000 in order',                 'read_all.1.off',    'rate'],
	['append one as json, 1 client',       'append_json.1.off', 'cpu',   '<=', 1.25],
	['append one as bytea, 1 client',      'append_bytes.1.off', 'cpu',  '<=', 1.25],
	['read a stream of 100, as json',      'read_stream_json.1.off', 'cpu', '<=', 1.10],
	['read a stream of 100, as json',      'read_stream_json.1.off', 'rate'],
	['read a stream of 100, as bytea',     'read_stream_bytes.1.off', 'cpu', '<=', 1.10],
	['read 1000 in order, as json',        'read_all_json.1.off', 'cpu', '<=', 1.10],
	['read 1000 in order, as json',        'read_all_json.1.off', 'rate'],
	['import, from a table',               'import_table.1.off', 'cpu'],
	['import, from a table',               'import_table.1.off', 'rate'],
	['import, from a file',                'import_file.1.off', 'cpu'],
	['import, from a file',                'import_file.1.off', 'rate'],
	['take and do, 1 at a time',           'queue_1.1.off',     'cpu'],
	['take and do, 1 at a time',           'queue_1.1.off',     'rate'],
	['take and do, 10 at a time',          'queue_10.1.off',    'cpu'],
	['take and do, 10 at a time',          'queue_10.1.off',    'rate'],
	['take and do, 100 at a time',         'queue_100.1.off',   'cpu'],
	['take and do, 100 at a time',         'queue_100.1.off',   'rate'],
	['append one, 1 client',               'append_one.1.off',  'wal',   '<=', 820 / 802],
	['append 10 in one call, 1 client',    'append_10.1.off',   'wal'],
	['import, from a table',               'import_table.1.off', 'wal'],
	['take and do, 1 at a time',           'queue_1.1.off',     'wal'],
	['take and do, 100 at a time',         'queue_100.1.off',   'wal'],
	['stored bytes an event, jsonb',       'archive_jsonb',     'bytes', '<=', 670],
	['stored bytes an event, json',        'archive_json',      'bytes', '<=', 540],
	['stored bytes an event, bytea',       'archive_bytea',     'bytes', '<=', 540],
);
my %unit = (cpu => 'us CPU', rate => 'calls/s', wal => 'B WAL', bytes => 'B');

my ($ticks, $file) = @ARGV;
my %seen;                  # cell -> system -> repetition -> measures
open(my $in, '<', $file) or die "summary.pl: $file: $!\n";
while (<$in>)
{
	my ($rep, $system, $cell, @values) = split;
	my %m = map { split /=/ } @values;
	if ($m{calls})
	{
		$m{cpu} = $m{ticks} / $ticks * 1e6 / $m{calls};
		$m{wal} /= $m{calls};
	}
	$seen{$cell}{$system}{$rep} = \%m;
}

sub median
{
	my @s = sort { $a <=> $b } @_;
	return @s % 2 ? $s[$#s / 2] : ($s[@s / 2 - 1] + $s[@s / 2]) / 2;
}

my $line = "%-42s %-8s %9s %9s  %5s %-13s  %-8s %s\n";
printf "\n$line", 'work', 'measure', 'floor', 'ours', 'ratio', ' (range)', 'bar', '';
my $missed = 0;
for my $row (@rows)
{
	my ($work, $cell, $measure, $sense, $bar) = @$row;
	my ($floor, $ours) = @{ $seen{$cell} // {} }{qw(floor event_store)};
	next unless $floor && $ours;
	my @both = grep { $floor->{$_}{$measure} && $ours->{$_}{$measure} } keys %$ours;
	next unless @both;
	my @ratios = sort { $a <=> $b } map { $ours->{$_}{$measure} / $floor->{$_}{$measure} } @both;
	my ($f, $o) = map { my $s = $_; median(map { $s->{$_}{$measure} } @both) } $floor, $ours;
	my $ratio = median(@ratios);
	my ($bar_text, $verdict) = ('', '');
	if ($measure eq 'bytes')
	{
		$bar_text = "<= $bar B";
		$verdict = $o <= $bar ? 'ok' : 'missed';
	}
	elsif ($sense)
	{
		$bar_text = sprintf '%s %.2f', $sense, $bar;
		$verdict = ($sense eq '<=' ? $ratio <= $bar : $ratio >= $bar) ? 'ok' : 'missed';
	}
	$missed++ if $verdict eq 'missed';
	my $digits = $f < 1000 ? '%.1f' : '%.0f';
	printf $line, $work, $unit{$measure}, (map { sprintf $digits, $_ } $f, $o), sprintf('%.2f', $ratio),
		sprintf(' (%.2f-%.2f)', @ratios[0, -1]), $bar_text, $verdict;
}
print "\nImport: INSERT ... SELECT from the same table, or COPY of the same file, into the floor's table; a call is an event.\n";
print "Append to one stream: ours with event_store.hot_streams, the floor is the same without, where the stream is locked over the flush.\n";
print "Append on a condition: the floor is the same append, of an event with two tags, without the condition.\n";
print "Floor: a prepared INSERT or SELECT of the same rows in a table with the same two indexes, by the same client.\n";
print $missed ? "$missed of the bars missed.\n" : "All bars held.\n";
