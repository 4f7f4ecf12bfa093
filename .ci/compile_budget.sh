#!/usr/bin/env bash
# compile_budget.sh BUILD_DIR SECONDS: names the sources whose compilation took longer than that,
# read from Ninja's log. A heavy file is a heavy header that escaped its folder.
set -euo pipefail
awk -v limit="$(($2 * 1000))" -F '\t' '
  /^#/ || $4 !~ /\.(o|cu\.o)$/ { next }
  { took[$4] = $2 - $1 }
  END {
    for (file in took) if (took[file] > limit) { printf "%6.1f s  %s\n", took[file] / 1000, file; over++ }
    exit over > 0
  }' "$1/.ninja_log" || { echo "over the compile budget of $2 s" >&2; exit 1; }
