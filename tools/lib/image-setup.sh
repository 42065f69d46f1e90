#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# image-setup.sh ROOT KERNEL: turns a fresh Debian into the VM's disk image.
# Called by image.sh through mmdebstrap, as root.

set -euo pipefail

root=$1 kernel=$2

in_root() { chroot "$root" "$@"; }

# file PATH: written from stdin.
file() {
  mkdir -p "$(dirname "$root$1")"
  cat >"$root$1"
}

# The kernel itself is given to QEMU; here are only its modules.
modules() {
  local release
  release=$(<"$kernel/release")
  mkdir -p "$root/usr/lib/modules"
  cp -a "$kernel/modules" "$root/usr/lib/modules/$release"
  PATH=$PATH:/usr/sbin:/sbin depmod -b "$root/usr" -m /lib/modules "$release" 2>/dev/null ||
    in_root depmod "$release"
}

users() {
  local uid=1000 name
  in_root groupadd --system ds01-admin
  for name in alice bob carol dave mallory; do
    in_root useradd --create-home --shell /bin/bash --uid "$uid" "$name"
    uid=$((uid + 1))
  done
  in_root usermod -aG ds01-admin carol
  in_root usermod -aG docker mallory
  in_root passwd --quiet --delete root
  file /etc/sudoers.d/ds01-vm <<<'carol ALL=(ALL) NOPASSWD: ALL'
  chmod 440 "$root/etc/sudoers.d/ds01-vm"
}

system() {
  file /etc/hostname <<<'ds01-vm'
  file /etc/hosts <<<'127.0.0.1 localhost ds01-vm'
  # Any id: without one, systemd would go through its first boot each time.
  file /etc/machine-id <<<'d501d501d501d501d501d501d501d501'
  file /etc/fstab </dev/null
  file /etc/systemd/journald.conf.d/vm.conf <<<$'[Journal]\nStorage=volatile'
  in_root systemctl --quiet mask getty@tty1.service serial-getty@ttyS0.service \
    apt-daily.timer e2scrub_reap.service e2scrub_all.timer fstrim.timer \
    apparmor.service systemd-pstore.service systemd-firstboot.service systemd-update-utmp-runlevel.service
  in_root systemctl --quiet set-default multi-user.target
}

# No network in the VM: containers run with --network none. dockerd loads its own
# AppArmor profile, so apparmor.service, slow here, is masked.
docker() {
  file /etc/docker/daemon.json <<'EOF'
{
  "exec-opts": ["native.cgroupdriver=systemd"],
  "storage-driver": "overlay2",
  "bridge": "none",
  "iptables": false,
  "ip6tables": false
}
EOF
  in_root systemctl --quiet enable docker.service containerd.service
}

# `docker import /usr/share/ds01-vm/busybox.tar busybox` makes an image.
busybox_tar() {
  local temp
  temp=$(mktemp -d)
  mkdir -p "$temp"/{usr/bin,dev,proc,sys,tmp,etc,root,run}
  ln -s usr/bin "$temp/bin"
  cp -L "$root/usr/bin/busybox" "$temp/usr/bin/busybox"
  "$temp/usr/bin/busybox" --list | while read -r name; do
    [[ -e $temp/usr/bin/$name ]] || ln -s busybox "$temp/usr/bin/$name"
  done
  mkdir -p "$root/usr/share/ds01-vm"
  tar -C "$temp" --owner=0 --group=0 -cf "$root/usr/share/ds01-vm/busybox.tar" .
  rm -r "$temp"
}

# tools/vm puts its command and the stub driver in /ds01/vm at each boot.
units() {
  file /etc/systemd/system/ds01-vm-stub.service <<'EOF'
[Unit]
Description=Stub GPU driver
DefaultDependencies=no
After=local-fs.target systemd-tmpfiles-setup-dev.service
Before=basic.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/ds01/bin/stub-load

[Install]
WantedBy=sysinit.target
EOF
  file /etc/systemd/system/ds01-vm-command.service <<'EOF'
[Unit]
Description=The command given to tools/vm
After=multi-user.target docker.service

[Service]
Type=oneshot
ExecStart=-/ds01/vm/run
ExecStart=/ds01/vm/end
EOF
  file /etc/systemd/system/ds01-vm-shell.service <<'EOF'
[Unit]
Description=A root shell for tools/vm --shell
After=multi-user.target

[Service]
ExecStart=-/bin/login -f root
StandardInput=tty
StandardOutput=tty
TTYPath=/dev/ttyS1
TTYReset=yes
Environment=TERM=linux
SuccessAction=poweroff-force
FailureAction=poweroff-force
EOF
  file /etc/profile.d/ds01-vm.sh <<'EOF'
PATH=/ds01/bin:$PATH
if [ "$(id -u)" = 0 ] && [ -e /ds01/vm/shell ] && [ "$(tty)" = /dev/ttyS1 ]; then
  . /ds01/vm/shell # sets the terminal's size
fi
EOF
  in_root systemctl --quiet enable ds01-vm-stub.service
}

cleanup() {
  rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*.bin \
    "$root"/usr/share/{doc,man,locale,info} "$root"/var/log/*.log
}

modules
users
system
docker
busybox_tar
units
cleanup
