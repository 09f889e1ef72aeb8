#!/bin/sh
# text_to_c.sh NAME FILE: the text as a string of C.
printf '/* Made of %s. */\n#define %s \\\n' "${2##*/}" "$1"
sed 's/\\/\\\\/g; s/"/\\"/g; s/^/    "/; s/$/\\n" \\/' "$2"
echo
