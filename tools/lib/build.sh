#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Builds targets in build/, installing what that needs. Source it after common.sh.
# shellcheck disable=SC2034  # the variables are for the scripts that source this

# ccache then serves every checkout of this machine, wherever it lies.
export CCACHE_BASEDIR=$DS01_ROOT CCACHE_NOHASHDIR=1

DS01_BUILD=${DS01_BUILD:-$DS01_ROOT/build}

# build_targets TARGET…
build_targets() {
  ensure_packages "$DS01_ROOT/tools/lib/packages.txt"
  if [[ ! -f $DS01_BUILD/build.ninja ]]; then
    step 'Configuring' cmake -S "$DS01_ROOT" -B "$DS01_BUILD" -G Ninja --log-level=WARNING
  fi
  step "Building $*" ninja -C "$DS01_BUILD" "$@"
}
