#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The rules of the source tree that no compiler knows. Prints every breach as FILE:LINE: TEXT.
# usage: structure_test.sh SOURCE_FOLDER [C++ COMPILER]
# The compiler is for the last rule, that each header stands alone; without one it is left out.
set -u
cd "$1" || exit 2
compiler=${2:-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

breach() {  # RULE, reads the offending lines; runs in a subshell, so it counts in a file
  local lines
  lines=$(cat)
  [ -z "$lines" ] && return
  printf '%s:\n%s\n\n' "$1" "$lines"
  echo "$lines" >>"$work/breaches"
}

# Lines of C and C++ without the comments, as FILE:LINE:TEXT. A comment that spans lines begins its lines with '*'.
code() {
  find "$@" -type f \( -name '*.h' -o -name '*.cpp' -o -name '*.c' \) -print0 | sort -z |
    xargs -0 grep -nH '' | sed -E 's|^([^:]*:[0-9]*:)[[:space:]]*\*( .*)?$|\1|; s|/\*.*\*/||; s|/\*.*$||; s|(^[^:]*:[0-9]*:)//.*|\1|; s|[[:space:]]//.*||' |
    grep -vE '^[^:]*:[0-9]*:[[:space:]]*$'
}
source=$(code agent bpf include)
agent=$(grep '^agent/' <<<"$source")

includes() { grep -E "#include [<\"]$1" <<<"$source"; }

includes 'bpf/' | grep -vE '^(agent/kernel|bpf)/' | breach 'only agent/kernel and bpf know libbpf'
includes 'yaml-cpp/' | grep -vE '^agent/config/' | breach 'only agent/config knows yaml-cpp'
includes 'sqlite3' | grep -vE '^agent/database/' | breach 'only agent/database knows SQLite'
includes 'CLI/' | grep -vE '^agent/ctl/' | breach 'only agent/ctl knows CLI11'
# connection.h is no public header: server.cpp and connection.cpp share it.
includes 'boost/(asio|beast)' | grep -vE '^agent/(http/[a-z_]*\.cpp|http/connection\.h|daemon/[a-z_]*\.(cpp|h)):' |
  breach "only agent/http's .cpp files and agent/daemon know Asio and Beast"

# http.h: the default of Limits::now, which tests replace. The mains are agent/*/main.cpp.
grep -E '::now\b|\bclock_gettime\b|\bgettimeofday\b|(\s|::|\()time\((NULL|nullptr|0|&)' <<<"$agent" |
  grep -vE '^agent/(core/|[a-z]+/main\.cpp:|http/http\.h:.*steady_clock::now;)' |
  breach 'only agent/core and the mains read a clock'

# A literal that begins with the path is one that is used; one that has it further on is a message to people.
# /proc/self/fd is this process's own. agent/config compares with and suggests what people write in agent.yaml.
grep -E '"/(proc|sys|run/ds01|etc/ds01)(["/])' <<<"$agent" |
  grep -vE '^agent/(core/paths\.h:|[a-z]+/[a-z_]+\.cpp:.*"/proc/self/fd/|config/)' |
  breach 'fixed places stand in agent/core/paths.h only'

find agent bpf include tests tools config -type f \( -name '*.h' -o -name '*.cpp' -o -name '*.c' -o -name '*.sh' -o -name '*.py' \
  -o -name '*.yaml' -o -name CMakeLists.txt \) -print0 | sort -z | xargs -0 awk '
    FNR == 1 { if (NR > 1 && !seen) print file ":1: no SPDX line"; file = FILENAME; seen = 0 }
    FNR <= 2 && /SPDX-License-Identifier: / { seen = 1 }
    END { if (!seen) print file ":1: no SPDX line" }' | breach 'every file names its licence in the first two lines'

find agent bpf -type f -print0 | xargs -0 awk 'FNR == 601 { print FILENAME ":601: more than 600 lines" }' |
  breach 'no file has more than 600 lines'

# shellcheck disable=SC2046  # our file names have no spaces
grep -HLE '^#pragma once|^#ifndef ' $(find agent include bpf -name '*.h') | sed 's/$/:1: no include guard/' |
  breach 'every header is guarded'

if [ -n "$compiler" ]; then
  folder=$work/headers
  mkdir "$folder"
  for header in $(find agent -name '*.h' -printf '%P\n' | sort); do
    # A .cpp of ours that includes it before anything else shows the same, and is built anyway.
    # shellcheck disable=SC2046
    grep -hm1 '^#include' $(find agent -name '*.cpp') | grep -qF "\"$header\"" && continue
    printf '#include "%s"\n#include "%s"\n' "$header" "$header" >"$folder/${header//\//+}.cpp"
  done
  find "$folder" -name '*.cpp' -print0 |
    xargs -0 -P 2 -n 1 "$compiler" -std=c++23 -fsyntax-only -Wall -Wextra -Wpedantic -Werror -DFMT_HEADER_ONLY -Iagent -Iinclude \
      2>"$folder/errors"
  grep -E ': (fatal )?error: ' "$folder/errors" | sed "s|^$folder/||" | breach 'every header compiles alone'
fi

if [ -e "$work/breaches" ]; then
  echo "$(wc -l <"$work/breaches") breaches"
  echo '[  FAILED  ] Structure.RulesHold (0 ms)'
  exit 1
fi
echo '[       OK ] Structure.RulesHold (0 ms)'
