#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# What every script in tools/ shares: progress lines, the cache, locks, packages.
# Source it; it defines functions and variables only.
# shellcheck disable=SC2034  # the variables are for the scripts that source this

set -euo pipefail
shopt -s inherit_errexit # a failure inside $(…) counts

DS01_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
DS01_CACHE=${DS01_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ds01}

# Progress goes to stderr: stdout belongs to results.
say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }
if [[ ! -t 2 ]]; then
  say() { printf '==> %s\n' "$*" >&2; }
fi

warn() { printf 'warning: %s\n' "$*" >&2; }

die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# step TITLE COMMAND…: runs it and says how long it took.
#
# Here and below COMMAND never stands left of `||` or in an `if`: bash would
# switch `set -e` off for everything inside it.
step() {
  local title=$1 begin=${EPOCHREALTIME//[!0-9]/}
  shift
  say "$title"
  "$@"
  local us=$((${EPOCHREALTIME//[!0-9]/} - begin))
  say "$(printf 'done in %d.%d s' $((us / 1000000)) $((us / 100000 % 10)))"
}

# with_lock NAME COMMAND…: one at a time for everybody who shares the cache.
# The lock's descriptor is closed for the command, so that nothing it leaves
# running keeps the lock.
with_lock() {
  local name=$1 fd
  shift
  mkdir -p "$DS01_CACHE/locks"
  exec {fd}>"$DS01_CACHE/locks/$name"
  flock "$fd"
  "$@" {fd}>&-
  exec {fd}>&-
}

# cache_dir_once DIR COMMAND…: makes DIR, once. COMMAND gets a temporary folder
# as its last argument, which becomes DIR when it succeeds. Nobody ever sees a
# half-made DIR.
cache_dir_once() {
  local dir=$1
  shift
  [[ -d $dir ]] || with_lock "$(basename "$dir")" cache_dir_make "$dir" "$@"
}

cache_dir_make() (
  dir=$1
  shift
  [[ -d $dir ]] && exit 0 # somebody else was faster
  mkdir -p "$(dirname "$dir")"
  temp=$(mktemp -d "$dir.tmp.XXXXXX")
  trap 'rm -rf "$temp"' EXIT
  "$@" "$temp"
  chmod 755 "$temp"
  mv -T "$temp" "$dir"
)

# hash_of [FILE…]: a short hash of the files, or of stdin.
hash_of() { cat -- "$@" | sha256sum | cut -c1-16; }

as_root() {
  if [[ $EUID -eq 0 ]]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    die "this needs root, and there is no sudo: $*"
  fi
}

# package_names FILE-OR-LIST…: names from files in the form of packages.txt,
# and names given directly.
package_names() {
  local item
  for item in "$@"; do
    if [[ -f $item ]]; then
      sed -e 's/#.*//' -e 's/[[:space:]]//g' -e '/^$/d' "$item"
    else
      printf '%s\n' "$item"
    fi
  done
}

package_installed() {
  [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

missing_packages() {
  local name
  while read -r name; do
    package_installed "$name" || printf '%s\n' "$name"
  done < <(package_names "$@")
}

# ensure_packages FILE-OR-LIST…: installs what is missing, and only that.
# Costs nothing and needs no root when nothing is missing.
ensure_packages() {
  [[ -z $(missing_packages "$@") ]] || with_lock apt install_missing "$@"
}

install_missing() {
  local missing
  mapfile -t missing < <(missing_packages "$@") # another script may have been faster
  [[ ${#missing[@]} -gt 0 ]] || return 0
  command -v apt-get >/dev/null || die "no apt-get here; install these packages yourself: ${missing[*]}"
  say "apt-get update"
  apt update || warn "apt-get update failed; trying with the lists at hand"
  say "installing ${#missing[@]} packages: ${missing[*]}"
  apt install --yes --no-install-recommends "${missing[@]}" || die "could not install: ${missing[*]}"
}

# apt SUBCOMMAND…: apt-get without questions, waiting for others, and quiet
# unless it fails. Fit for `||`.
apt() {
  local log status=0
  log=$(mktemp)
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=600 "$@" \
    >"$log" 2>&1 </dev/null || status=$?
  [[ $status -eq 0 ]] || tail -n 20 "$log" >&2
  rm -f "$log"
  return "$status"
}
