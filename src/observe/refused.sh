#!/bin/sh
# refused.sh SOURCE_ROOT COMPILER...: what must not be logged does not compile, and no source exposes
# a secret to a field by hand.
root=$1
shift
compile() {
    "$@" -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror -fsyntax-only -I"$root/include" \
        -DCASE="$n" "$root/src/observe/refused.c" 2>/dev/null
}
n=0
compile "$@" || { echo "what may be logged does not compile"; exit 1; }
for n in 1 2 3 4 5 6 7 8 9 10 11 12; do
    compile "$@" && { echo "case $n compiles"; exit 1; }
done
# A call may go over several lines: join each statement first.
find "$root/src" -name '*.c' -exec sh -c 'for f; do
    tr "\n" " " <"$f" | tr ";" "\n" | grep -q "TH_LOG_[A-Z]*(.*th_secret_expose" && echo "$f"
done' sh {} + | grep . && { echo "a secret is exposed to a log field there"; exit 1; }
echo "13 cases fine"
