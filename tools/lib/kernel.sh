#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Debian's cloud kernels for the VM, unpacked in the cache and never installed,
# and the stub driver built against each. DS01_KERNEL names one of kernel_names.
# Sourced, it defines:
#   kernel_names  all of them, oldest first
#   kernel_dir    prints the kernel's folder (see kernel_unpack for what is in it)
#   stub_module   prints the path of ds01_stub.ko
# Run, it prints both.
#
# A kernel is resolved once and kept: tests do not change under one's feet, and
# need no network. DS01_KERNEL_REFRESH=1 looks for a newer one.

# shellcheck source=tools/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

kernel_names=(5.10 6.1 6.12 newest)
export DS01_KERNEL=${DS01_KERNEL:-6.1}

# kernel_sources NAME: where it comes from, as a sources.list.
kernel_sources() {
  case $1 in
    5.10) debian_sources 'debian bullseye' 'debian-security bullseye-security' ;;
    6.1) debian_sources 'debian bookworm' 'debian-security bookworm-security' ;;
    6.12) debian_sources 'debian bookworm' 'debian bookworm-backports' ;;
    newest) debian_sources 'debian sid' ;;
    *) die "no kernel '$1'; there are: ${kernel_names[*]}" ;;
  esac
}

debian_sources() {
  printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/%s main\n' "$@"
}

kernel_dir() {
  local current=$DS01_CACHE/kernel/$DS01_KERNEL
  if [[ ! -d $current || -n ${DS01_KERNEL_REFRESH:-} ]]; then
    with_lock "kernel-$DS01_KERNEL" kernel_fetch "$DS01_KERNEL"
  fi
  readlink -f "$current"
}

# kernel_fetch NAME
kernel_fetch() (
  name=$1
  sources=$(kernel_sources "$name")
  private=$(mktemp -d)
  trap 'rm -rf "$private"' EXIT
  private_apt_make "$private" "$sources"
  kernel_packages "$private" >"$private/packages"
  version=$(sed -n 's/^linux-headers-.*-cloud-amd64=//p' "$private/packages")
  [[ -n $version ]] || die "Debian has no kernel '$name'"
  cache_dir_once "$DS01_CACHE/kernel/$version" step "fetching Linux $version" kernel_unpack "$name" "$private"
  ln -sfn "$version" "$DS01_CACHE/kernel/$name.tmp"
  mv -T "$DS01_CACHE/kernel/$name.tmp" "$DS01_CACHE/kernel/$name"
)

# --- an apt of its own, in the folder APT -------------------------------------

# private_apt APT ARG…: apt-get with sources, lists and a status of its own. Of
# this machine's settings those about fetching count, such as a proxy.
private_apt() {
  apt-get -q -o Dir="$1" -o Dir::State::status="$1/status" -o APT::Architecture=amd64 \
    -o APT::Sandbox::User=root "${@:2}"
}

# private_apt_make APT SOURCES
private_apt_make() {
  mkdir -p "$1"/{etc/apt/preferences.d,var/lib/apt/lists/partial,var/cache/apt/archives/partial}
  printf '%s\n' "$2" >"$1/etc/apt/sources.list"
  # The highest version wins, from backports as well.
  printf '%s\n' 'Package: *' 'Pin: release a=*' 'Pin-Priority: 500' >"$1/etc/apt/preferences"
  touch "$1/status"
  private_apt "$1" -qq --error-on=any update >&2
}

# kernel_packages APT: NAME=VERSION of all that the cloud kernel and its headers
# consist of. The names change with every update, so apt says what it would
# install. They are exact: a glob would match the -dbg packages, 1 GB each.
kernel_packages() {
  private_apt "$1" --simulate --no-install-recommends install linux-image-cloud-amd64 linux-headers-cloud-amd64 |
    sed -nE 's/^Inst (linux-(image|binary|modules|headers|kbuild)-[0-9][^ ]*) \(([^ ]+) .*/\1=\3/p'
}

# --- unpacking ----------------------------------------------------------------

# kernel_unpack NAME APT DIR. Afterwards DIR has
#   release     the name `uname -r` gives
#   vmlinuz, modules/
#   build/      a root folder with Debian's headers, against which modules are
#               built; for `newest` with a compiler and all it needs as well
kernel_unpack() {
  local name=$1 apt=$2 dir=$3 root=$2/root packages package release
  mapfile -t packages <"$apt/packages"
  mkdir "$apt/deb" "$root"
  (cd "$apt/deb" && private_apt "$apt" -qq download "${packages[@]}") >&2
  for package in "$apt"/deb/*.deb; do
    dpkg-deb -x "$package" "$root"
  done
  release=$(basename "$root"/usr/src/linux-headers-*-cloud-amd64)
  release=${release#linux-headers-}
  printf '%s\n' "$release" >"$dir/release"
  if [[ -d $root/boot ]]; then
    mv "$root/boot/vmlinuz-$release" "$dir/vmlinuz"
    mv "$root/lib/modules/$release" "$dir/modules"
  else # 7.x
    mv "$root/usr/lib/modules/$release" "$dir/modules"
    mv "$dir/modules/vmlinuz" "$dir/vmlinuz"
  fi
  if [[ $name == newest ]]; then
    build_root "$apt" "$dir/build" "linux-headers-$release"
  else
    mkdir "$dir/build"
    mv "$root/usr" "$dir/build/usr"
  fi
}

# build_root APT DIR HEADERS: the compiler here is too old for a new kernel, and
# the libc too old for its tools; so a Debian of the kernel's own release.
build_root() {
  ensure_packages mmdebstrap
  apt-config dump | grep '^Acquire::' >"$1/acquire" || true
  as_root mmdebstrap --quiet --mode=root --variant=essential --architectures=amd64 \
    --aptopt="$1/acquire" --include="$3,make" '' "$2" "$1/etc/apt/sources.list" >&2
}

# --- the stub driver ----------------------------------------------------------

stub_module() {
  local source=$DS01_ROOT/tests/vm/stub kernel hash out
  kernel=$(kernel_dir)
  hash=$(hash_of "$source/ds01_stub.c" "$source/Kbuild")
  out=$DS01_CACHE/stub/$(basename "$kernel")-$hash
  cache_dir_once "$out" step "building the stub driver" stub_build "$kernel" "$source"
  printf '%s\n' "$out/ds01_stub.ko"
}

# stub_build KERNEL SOURCE DIR
stub_build() {
  local kernel=$1 source=$2 dir=$3 make=stub_make
  [[ ! -x $kernel/build/usr/bin/make ]] || make=stub_make_in_root
  mkdir "$dir/module"
  cp "$source/ds01_stub.c" "$source/Kbuild" "$dir/module/"
  "$make" "$kernel" "$dir" >"$dir/log" 2>&1 || {
    cat "$dir/log" >&2
    die "the stub driver does not build for $(<"$kernel/release")"
  }
  grep -E 'warning:' "$dir/log" >&2 || true
  strip --strip-debug "$dir/module/ds01_stub.ko" -o "$dir/ds01_stub.ko"
  rm -rf "$dir/tree" "$dir/module"
}

# The module needs no BTF, and pahole would be needed for it.
stub_options=(W=1 CONFIG_DEBUG_INFO_BTF_MODULES=)

# stub_make KERNEL DIR. Debian's headers name their own absolute paths and gcc by
# version; both are overridden here.
stub_make() {
  local tree=$2/tree headers
  headers=$tree/usr/src/linux-headers-$(<"$1/release")
  cp -a "$1/build" "$tree"
  sed -i -e "s|/usr/src/|$tree/usr/src/|g" -e "s|/usr/lib/|$tree/usr/lib/|g" \
    "$headers/Makefile" "$headers/.kernelvariables"
  make -s -C "$headers" M="$2/module" CC=gcc "${stub_options[@]}" modules
}

# stub_make_in_root KERNEL DIR. The mounts are this command's alone.
stub_make_in_root() {
  # shellcheck disable=SC2016  # for the inner shell
  as_root unshare --mount sh -euc '
    root=$1 module=$2 headers=$3
    shift 3
    mount -t proc proc "$root/proc"
    mount --bind "$module" "$root/mnt"
    exec chroot "$root" make -s -C "$headers" M=/mnt "$@" modules' \
    sh "$1/build" "$2/module" "/usr/src/linux-headers-$(<"$1/release")" "${stub_options[@]}"
}

if [[ ${BASH_SOURCE[0]} == "$0" ]]; then
  kernel_dir
  stub_module
fi
