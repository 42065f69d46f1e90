#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The disk image for tests with systemd and Docker, cached by its recipe.
# Sourced, it defines image_dir, which prints the image's folder; run, it
# prints that. In the folder: disk.img, and libraries (names of those inside).

# shellcheck source=tools/lib/kernel.sh
source "$(dirname "${BASH_SOURCE[0]}")/kernel.sh"

image_packages=(
  # A system with systemd and Docker, and what tests use there
  systemd systemd-sysv libpam-systemd dbus udev kmod login passwd sudo util-linux procps
  iproute2 docker.io apparmor busybox-static curl python3-minimal bpftool
  # Shared libraries of ds01's executables
  libstdc++6 libsystemd0 libboost-json1.81.0 libyaml-cpp0.7 libspdlog1.10 libfmt9
  libelf1 zlib1g libbpf1 libsqlite3-0
)

image_dir() {
  local kernel setup=$DS01_ROOT/tools/lib/image-setup.sh hash dir
  kernel=$(kernel_dir)
  hash=$({ cat "${BASH_SOURCE[0]}" "$setup" && basename "$kernel"; } | hash_of)
  dir=$DS01_CACHE/image/$hash
  if [[ ! -d $dir ]]; then
    ensure_packages mmdebstrap e2fsprogs kmod
    cache_dir_once "$dir" step "building the disk image" image_build "$kernel" "$setup"
  fi
  printf '%s\n' "$dir"
}

# This machine's own sources of Debian 12, and nothing else of its apt.
image_sources() {
  # shellcheck disable=SC2016  # apt replaces these
  apt-get indextargets --format '$(ORIGIN) $(COMPONENT) $(CODENAME) $(REPO_URI)' 'Created-By: Packages' |
    sed -n 's|^Debian main \(bookworm[a-z-]*\) \(.*\)$|deb \2 \1 main|p' |
    grep -E ' bookworm(-updates|-security)? main$' | sort -u
}

# image_build KERNEL SETUP DIR
image_build() {
  local kernel=$1 setup=$2 dir=$3 sources
  sources=$(image_sources) || die "apt has no sources for Debian 12 (bookworm main)"
  apt-config dump | grep -E '^Acquire::https?::' >"$dir/apt.conf" || true
  as_root mmdebstrap --quiet --mode=root --variant=essential --architectures=amd64 \
    --aptopt="$dir/apt.conf" --include="$(IFS=,; echo "${image_packages[*]}")" \
    --customize-hook="'$setup' \"\$1\" '$kernel'" \
    bookworm "$dir/root" - <<<"$sources" >&2
  (cd "$dir/root/usr/lib/x86_64-linux-gnu" && find . -maxdepth 1 -name '*.so*' -printf '%P\n') |
    sort >"$dir/libraries"
  mke2fs_quiet "$dir/root" "$dir/disk.img"
  as_root rm -rf "$dir/root" "$dir/apt.conf"
}

mke2fs_quiet() {
  as_root env PATH="$PATH:/usr/sbin:/sbin" \
    mke2fs -q -t ext4 -L ds01-root -d "$1" "$2" 4G >&2
  as_root chown "$(id -u):$(id -g)" "$2"
  chmod 444 "$2" # nobody boots it but through an overlay
}

if [[ ${BASH_SOURCE[0]} == "$0" ]]; then
  image_dir
fi
