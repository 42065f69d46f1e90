#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Debian's cloud kernel for the VM, unpacked in the cache and never installed,
# and the stub driver built against it. Sourced, it defines:
#   kernel_dir    prints the kernel's folder (see kernel_unpack for what is in it)
#   stub_module   prints the path of ds01_stub.ko
# Run, it prints both.
#
# The kernel is resolved once and kept: tests do not change under one's feet,
# and need no network. DS01_KERNEL_REFRESH=1 looks for a newer one.

# shellcheck source=tools/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

kernel_dir() {
  local current=$DS01_CACHE/kernel/current
  if [[ ! -d $current || -n ${DS01_KERNEL_REFRESH:-} ]]; then
    with_lock kernel kernel_fetch
  fi
  readlink -f "$current"
}

# 6.1 is bookworm's; on another release the metapackage would name another one.
kernel_image_package() {
  apt-cache depends linux-image-cloud-amd64 2>/dev/null |
    sed -n 's/^ *Depends: \(linux-image-6\.1\.[0-9.]*-[0-9]*-cloud-amd64\)$/\1/p' | head -n 1
}

kernel_fetch() {
  local image version dir
  image=$(kernel_image_package)
  if [[ -z $image || -n ${DS01_KERNEL_REFRESH:-} ]]; then
    apt update || true
    image=$(kernel_image_package)
  fi
  [[ -n $image ]] || die "apt knows no linux-image-cloud-amd64 6.1; the VM needs Debian 12's package lists"
  version=$(apt-cache show --no-all-versions "$image" | sed -n 's/^Version: //p')
  dir=$DS01_CACHE/kernel/$version
  cache_dir_once "$dir" step "fetching $image $version" kernel_unpack "${image#linux-image-}" "$version"
  ln -sfn "$version" "$DS01_CACHE/kernel/current.tmp"
  mv -T "$DS01_CACHE/kernel/current.tmp" "$DS01_CACHE/kernel/current"
}

# kernel_unpack RELEASE VERSION DIR. Afterwards DIR has
#   release     the name `uname -r` gives
#   vmlinuz, config, modules/   of the image
#   image.deb   for the e2e disk image
#   build/      what modules are built against
kernel_unpack() {
  local release=$1 version=$2 dir=$3 abi=${1%-cloud-amd64} package
  local packages=("linux-image-$release" "linux-headers-$release" "linux-headers-$abi-common"
    "linux-kbuild-${abi%.*}")
  mkdir "$dir/deb" "$dir/image" "$dir/build"
  # Exact names and versions: a glob would match the -dbg packages, 1 GB each.
  (cd "$dir/deb" && apt-get -q -o APT::Sandbox::User=root download "${packages[@]/%/=$version}") >&2
  for package in "${packages[@]:1}"; do
    dpkg-deb -x "$dir/deb/$package"_*.deb "$dir/build"
  done
  dpkg-deb -x "$dir/deb/linux-image-$release"_*.deb "$dir/image"
  mv "$dir/image/boot/vmlinuz-$release" "$dir/vmlinuz"
  mv "$dir/image/boot/config-$release" "$dir/config"
  mv "$dir/image/lib/modules/$release" "$dir/modules"
  mv "$dir/deb/linux-image-$release"_*.deb "$dir/image.deb"
  printf '%s\n' "$release" >"$dir/release"
  rm -r "$dir/deb" "$dir/image"
}

stub_module() {
  local source=$DS01_ROOT/tests/vm/stub kernel hash out
  kernel=$(kernel_dir)
  hash=$(hash_of "$source/ds01_stub.c" "$source/Kbuild")
  out=$DS01_CACHE/stub/$(basename "$kernel")-$hash
  cache_dir_once "$out" step "building the stub driver" stub_build "$kernel" "$source"
  printf '%s\n' "$out/ds01_stub.ko"
}

# stub_build KERNEL SOURCE DIR. Debian's headers name their own absolute paths
# and gcc by version; both are overridden here.
stub_build() {
  local kernel=$1 source=$2 dir=$3 release headers
  release=$(<"$kernel/release")
  headers=$dir/tree/usr/src/linux-headers-$release
  cp -a "$kernel/build" "$dir/tree"
  sed -i -e "s|/usr/src/|$dir/tree/usr/src/|g" -e "s|/usr/lib/|$dir/tree/usr/lib/|g" \
    "$headers/Makefile" "$headers/.kernelvariables"
  mkdir "$dir/module"
  cp "$source/ds01_stub.c" "$source/Kbuild" "$dir/module/"
  make -s -C "$headers" M="$dir/module" CC=gcc W=1 modules >"$dir/log" 2>&1 || {
    cat "$dir/log" >&2
    die "the stub driver does not build"
  }
  grep -E 'warning:' "$dir/log" >&2 || true
  strip --strip-debug "$dir/module/ds01_stub.ko" -o "$dir/ds01_stub.ko"
  rm -r "$dir/tree" "$dir/module"
}

if [[ ${BASH_SOURCE[0]} == "$0" ]]; then
  kernel_dir
  stub_module
fi
