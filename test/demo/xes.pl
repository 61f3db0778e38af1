#!/usr/bin/perl
# xes.pl: the events of an XES log on stdin as lines for COPY: case, amount asked for, activity, transition, resource, time.
# Reads what such logs look like, a tag a line; it is no parser of XML.
use strict;
use warnings;

my (%case, %event);
my $attributes;

sub text
{
	my ($value) = @_;
	return '\N' if !defined $value;
	$value =~ s/&(lt|gt|amp|quot|apos);/{ lt => '<', gt => '>', amp => '&', quot => '"', apos => "'" }->{$1}/ge;
	$value =~ s/\\/\\\\/g;
	$value =~ s/\t/\\t/g;
	return $value;
}

while (<STDIN>)
{
	if (/<trace>/)
	{
		%case = ();
		$attributes = \%case;
	}
	elsif (/<event>/)
	{
		%event = ();
		$attributes = \%event;
	}
	elsif (m{</event>})
	{
		print join("\t", map { text($_) } $case{'concept:name'}, $case{AMOUNT_REQ},
			@event{qw(concept:name lifecycle:transition org:resource time:timestamp)}), "\n";
		$attributes = \%case;
	}
	elsif (m{</trace>})
	{
		undef $attributes;
	}
	elsif ($attributes && /<\w+ key="([^"]*)" value="([^"]*)"/)
	{
		$attributes->{$1} = $2;
	}
}
