# SPDX-License-Identifier: Apache-2.0
# A shell with variables, functions, arrays, traps and a pipeline of children that is dumped in the middle.
say() { echo "$1" >out; }
declare -A map=([one]=1 [two]="2 zwei")
list=(a "b c" d)
trap 'trapped=yes' USR2
count() { local n=$1; echo $((n + 1)); }
exec 7>kept
echo "first" >&7

# The first of the pipeline waits until it is told; the rest wait for it.
{
	read -r word <cmd
	for i in $(seq 1 1000); do echo "$i $word"; done
} | sed -u 's/check/checked/' | { sum=0; while read -r n w; do [[ $w == checked ]] && sum=$((sum + n)); done; echo $sum; } >result &
job=$!
sleep 1000 &
sleeper=$!
say ready
wait $job
status=$?
bad=
[[ $status == 0 ]] || bad="the pipeline ended with $status"
[[ $(<result) == 500500 ]] || bad="the sum is $(<result)"
[[ ${map[two]} == "2 zwei" && ${list[1]} == "b c" && ${#list[@]} == 3 ]] || bad="variables"
[[ $(count 41) == 42 ]] || bad="a function"
kill $sleeper
wait $sleeper
status=$?
[[ $status == 143 ]] || bad="the sleeping child ended with $status"
kill -USR2 $$
[[ $trapped == yes ]] || bad="the trap"
echo "second" >&7
[[ $(<kept) == $'first\nsecond' ]] || bad="descriptor 7"
if [[ $bad ]]; then
	say "FAIL: $bad"
	say failed
else
	say ok
fi
