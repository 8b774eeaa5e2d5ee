# SPDX-License-Identifier: Apache-2.0
# Closures, hashes, open files with buffered data, a child behind a pipe, an alarm, local time.
use strict;
use warnings;

my @failures;

sub say_line {
    my ($line) = @_;
    open(my $f, '>', 'out') or die "out: $!";
    syswrite($f, "$line\n");
    close($f);
}

sub check {
    my ($cond, $text) = @_;
    push @failures, $text unless $cond;
}

my %h = map { $_ => "value $_" } 1 .. 10000;
my $n = 0;
my $count = sub { return ++$n };
$count->() for 1 .. 41;
open(my $file, '+>', 'data') or die;
print $file "buffered ";
open(my $in, '<', $0) or die;
my $first = <$in>;
my $line = $.;
my $alarmed = 0;
local $SIG{ALRM} = sub { $alarmed++ };
pipe(my $r, my $w) or die;
my $pid = fork();
if ($pid == 0) {
    close($w);
    my $got = <$r>;
    exit(defined $got && $got eq "go on\n" ? 5 : 6);
}
close($r);
my $iter = each %h;

say_line('ready');
{
    open(my $c, '<', 'cmd') or die "cmd: $!";
    my $cmd = <$c>;
}
check($count->() == 42, "the closure counts $n");
check(scalar(keys %h) == 10000 && $h{777} eq 'value 777', 'the hash differs');
print $file "text";
close($file);
open($file, '<', 'data') or die;
check(<$file> eq 'buffered text', 'buffered output is lost');
my $second = <$in>;
check(defined $second && $second =~ /^# Closures/ && $. == 2, 'reading goes on elsewhere');
syswrite($w, "go on\n");
close($w);
waitpid($pid, 0);
check($? >> 8 == 5, "the child ended with $?");
alarm(1);
select(undef, undef, undef, 30);
check($alarmed == 1, "alarms: $alarmed");
say_line("FAIL: $_") for @failures;
say_line(@failures ? 'failed' : 'ok');
