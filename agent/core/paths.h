// SPDX-License-Identifier: Apache-2.0
// The fixed places of a Linux system that we read. Everything but the mains and kernel/ is handed a path instead.
#pragma once

namespace ds01::paths {

inline constexpr const char* kProc = "/proc";
inline constexpr const char* kSys = "/sys";
inline constexpr const char* kMounts = "/proc/self/mounts";
inline constexpr const char* kCgroups = "/sys/fs/cgroup";  // the v2 hierarchy, or on hybrid hosts the folder it is in
inline constexpr const char* kLsmList = "/sys/kernel/security/lsm";
inline constexpr const char* kBtf = "/sys/kernel/btf/vmlinux";
inline constexpr const char* kConfig = "/etc/ds01/agent.yaml";
inline constexpr const char* kBootId = "/proc/sys/kernel/random/boot_id";
inline constexpr const char* kPins = "/sys/fs/bpf/ds01";
inline constexpr const char* kDatabase = "/var/lib/ds01/ds01.db";
inline constexpr const char* kEtc = "/etc";
inline constexpr const char* kDev = "/dev";
inline constexpr const char* kUtmp = "/run/utmp";
inline constexpr const char* kRun = "/run";
inline constexpr const char* kRuntime = "/run/ds01";

}  // namespace ds01::paths
