#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Prepares what goes into the VM: a folder laid out as the guest will see it.

# shellcheck source=tools/lib/kernel.sh
source "$(dirname "${BASH_SOURCE[0]}")/kernel.sh"

# is_program FILE: an x86-64 executable or shared library. Not a BPF object or
# a kernel module, which have debug info that is needed, and no libraries.
is_program() {
  local header
  header=$(head -c 20 "$1" | od -An -v -tx1 | tr -d ' \n')
  [[ $header =~ ^7f454c46.{24}0[23]003e00$ ]]
}

# libraries_of FILE: the shared libraries it needs, and the loader.
libraries_of() {
  local lines
  lines=$(ldd "$1" 2>/dev/null) || return 0 # linked statically
  if grep -q 'not found' <<<"$lines"; then
    die "$1 needs a library that is not here:"$'\n'"$lines"
  fi
  grep -o '/[^ ]*' <<<"$lines"
}

# guest_add_file STAGE HOSTFILE GUESTPATH: with its libraries, less debug info.
guest_add_file() {
  local stage=$1 from=$2 to=$1$3 library
  mkdir -p "$(dirname "$to")"
  cp -L --preserve=mode,timestamps "$from" "$to"
  is_program "$from" || return 0
  strip --strip-debug "$to"
  while read -r library; do
    [[ -e $stage$library ]] || guest_has_library "$library" || guest_add_library "$stage" "$library"
  done < <(libraries_of "$from")
}

# guest_libraries names a file with the names of libraries that the guest has
# anyway: those of the disk image.
guest_libraries=/dev/null
guest_has_library() { grep -qxF "$(basename "$1")" "$guest_libraries"; }

guest_add_library() {
  mkdir -p "$(dirname "$1$2")"
  cp -L --preserve=mode "$2" "$1$2"
}

# guest_add STAGE HOSTPATH[:GUESTPATH]: a file, or a folder with all in it.
# Without a guest path it goes to /ds01/bin; one that ends in / is a folder.
guest_add() {
  local stage=$1 from=${2%%:*} to=/ds01/bin/ file
  [[ $2 != *:* ]] || to=${2#*:}
  [[ -e $from ]] || die "no such file: $from"
  [[ $to == /* ]] || die "a path in the guest begins with /: $2"
  [[ $to != */ ]] || to+=$(basename "$from")
  if [[ ! -d $from ]]; then
    guest_add_file "$stage" "$from" "$to"
    return
  fi
  while IFS= read -r -d '' file; do
    guest_add_file "$stage" "$from/$file" "$to/$file"
  done < <(find -L "$from" -type f -printf '%P\0')
}

# guest_quote WORD…: as POSIX shell words.
guest_quote() {
  local word
  for word in "$@"; do
    printf "'%s' " "${word//\'/\'\\\'\'}"
  done
  echo
}

# guest_add_runner STAGE: the guest's side of tools/vm, in /ds01/vm.
guest_add_runner() {
  local stage=$1 here=$DS01_ROOT/tests/vm module
  module=$(stub_module)
  mkdir -p "$stage/ds01/vm" "$stage/ds01/bin"
  cp "$module" "$stage/ds01/vm/"
  install -m 755 "$here/run" "$stage/ds01/vm/run"
  install -m 755 "$here/image-end" "$stage/ds01/vm/end"
  install -m 755 "$here/stub-load" "$stage/ds01/bin/stub-load"
}

# guest_folders STAGE: merged /usr, as the libraries' paths expect.
guest_folders() {
  local name
  mkdir -p "$1"/{dev,proc,sys,run,tmp,etc,root,home,out,usr/{bin,sbin,lib,lib64},var/{lib,log}}
  for name in bin sbin lib lib64; do
    ln -s "usr/$name" "$1/$name"
  done
}

# guest_busybox STAGE INIT: what an initramfs needs.
guest_busybox() {
  cp -L "$(command -v busybox)" "$1/usr/bin/busybox"
  ln -s busybox "$1/usr/bin/sh"
  install -m 755 "$2" "$1/init"
}

# guest_payload STAGE: makes it an initramfs that carries what is in it to the
# disk image. Its own links and empty folders stay away from the disk's.
guest_payload() {
  local temp=$1.payload
  mv "$1" "$temp"
  find "$temp" -maxdepth 1 -type l -delete
  find "$temp" -mindepth 1 -type d -empty -delete
  guest_folders "$1"
  mv "$temp" "$1/payload"
}

# guest_initramfs STAGE FILE
guest_initramfs() {
  (cd "$1" && find . -mindepth 1 -print0 | cpio --quiet -0 -o -H newc -R 0:0) >"$2"
}
