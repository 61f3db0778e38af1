#!/usr/bin/perl
# What runs in the COMMIT callback must not fail (reliability 40): an error there is a PANIC of
# the whole server. This follows the calls from every function that hooks into
# the end of a transaction or subtransaction, as the compiler has left them in the object files,
# and allows nothing of the server but what is on the list below.
#
#	check_commit_path.pl DIRECTORY	that holds src/ with sources and object files
use strict;
use warnings;

my %allowed = map { $_ => 1 } qw(
  SetLatch s_lock clock_gettime GetCurrentTimestamp ExceptionalCondition __stack_chk_fail memcpy memmove memset
);

my ($top) = @ARGV;
my @sources = glob("$top/src/*.c $top/src/*/*.c");

# The hooks, by source file, for several modules name theirs alike.
my @todo;
for my $source (@sources)
{
	open(my $fh, '<', $source) or die "$source: $!";
	while (<$fh>)
	{
		push @todo, "$source $_" for /\.(?:end|prepared|sub_end) = (\w+)/g;
	}
}
die "found no hook\n" if !@todo;

# Who calls whom: {function in file}{callee}. Parts that the compiler has split
# off (name.cold, name.part.0, ...) count as the function.
my (%calls, %home);
for my $source (@sources)
{
	(my $object = $source) =~ s/\.c$/.o/;
	my ($function, $transfer, $label);

	open(my $fh, '-|', 'objdump', '-dr', '--no-show-raw-insn', $object) or die "objdump: $!";
	while (<$fh>)
	{
		if (/^[0-9a-f]+ <([^.>]+)[^>]*>:/)
		{
			$function = "$source $1";
			$home{$1} //= $function;
			$home{$function} = $function;
			$calls{$function} //= {};
			$transfer = 0;
		}
		elsif (defined $function && /^\s+[0-9a-f]+:\s+(\w+)/)
		{
			if (/^\s+[0-9a-f]+:\s+R_\w+\s+(\w+)/)
			{
				# the label was only the address behind the call, which may be the next function
				delete $calls{$function}{$label} if defined $label;
				$calls{$function}{$1} = 1 if $transfer && $1 ne 'text';
				$label = undef;
			}
			else
			{
				my $instruction = $1;
				$transfer = $instruction =~ /^(?:call|jmp|bl|b)/ ? 1 : 0;
				$label = undef;
				if ($transfer && /<([A-Za-z_]\w*)/)
				{
					$label = $1 if !$calls{$function}{$1};
					$calls{$function}{$1} = 1;
				}
				$calls{$function}{'a call through a pointer'} = 1
				  if $instruction =~ /^(?:call|blr)/ && /\*(?:%|0x|\()/;
			}
		}
	}
	close $fh or die "objdump $object failed\n";
}

my (%seen, $bad);
while (my $function = shift @todo)
{
	next if $seen{$function}++;
	my ($source, $name) = split / /, $function;
	for my $callee (sort keys %{ $calls{$function} // die "$name is not in the object file of $source\n" })
	{
		my $target = $home{"$source $callee"} // $home{$callee};
		if (defined $target)
		{
			push @todo, $target;
		}
		elsif (!$allowed{$callee})
		{
			print "$name, which runs at commit, calls $callee\n";
			$bad = 1;
		}
	}
}
printf "the commit path is %d functions: %s\n", scalar keys %seen,
  join(', ', sort map { (split / /)[1] } keys %seen);
exit($bad ? 1 : 0);
