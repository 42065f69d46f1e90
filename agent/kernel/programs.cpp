// SPDX-License-Identifier: Apache-2.0
#include "kernel/programs.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <utility>

#include <fmt/format.h>

#include "core/paths.h"
#include "ds01.skel.h"
#include "kernel/pins.h"

namespace ds01::kernel {
namespace {

constexpr std::size_t kWords = 4000;

// Every program of the object.
constexpr std::array kParts{
    Part{"ds01_file_open", Part::Kind::hook, "file_open", DS01_HOOK_OPEN, false},
    Part{"ds01_device", Part::Kind::cgroup, "", DS01_HOOK_OPEN, false},
    Part{"ds01_file_ioctl", Part::Kind::hook, "file_ioctl", DS01_HOOK_IOCTL, false},
    Part{"ds01_file_ioctl_compat", Part::Kind::hook, "file_ioctl_compat", DS01_HOOK_IOCTL, true},
    Part{"ds01_mmap_file", Part::Kind::hook, "mmap_file", DS01_HOOK_MMAP, false},
    Part{"ds01_file_receive", Part::Kind::hook, "file_receive", DS01_HOOK_RECEIVE, false},
    Part{"ds01_unix_stream_connect", Part::Kind::hook, "unix_stream_connect", DS01_HOOK_CONNECT, false},
    Part{"ds01_sb_umount", Part::Kind::hook, "sb_umount", DS01_HOOK_UMOUNT, false},
    Part{"ds01_inode_unlink", Part::Kind::hook, "inode_unlink", DS01_HOOK_UNLINK, false},
    Part{"ds01_inode_rmdir", Part::Kind::hook, "inode_rmdir", DS01_HOOK_UNLINK, false},
    Part{"ds01_inode_rename", Part::Kind::hook, "inode_rename", DS01_HOOK_UNLINK, false},
    Part{"ds01_bpf_map", Part::Kind::hook, "bpf_map", DS01_HOOK_MAP, false},
    Part{"ds01_bpf_prog", Part::Kind::hook, "bpf_prog", DS01_HOOK_PROGRAM, false},
    Part{"ds01_bpf", Part::Kind::hook, "bpf", DS01_HOOK_DETACH, false},
    Part{"ds01_task_kill", Part::Kind::hook, "task_kill", DS01_HOOK_KILL, false},
    Part{"ds01_ptrace_access_check", Part::Kind::hook, "ptrace_access_check", DS01_HOOK_PTRACE, false},
    Part{"ds01_open_files", Part::Kind::iterator, "task_file", std::nullopt, false},
    Part{"ds01_mappings", Part::Kind::iterator, "task_vma", std::nullopt, true},
    Part{"ds01_task", Part::Kind::iterator, "task", std::nullopt, false},
};

struct NamedMap {
  const char* name;
  Fd Maps::* member;
};
// Each is pinned by this name. The state is a global variable of the programs, which libbpf gives a map of its own.
constexpr const char* kStateSection = ".data.state";
constexpr std::array kMaps{
    NamedMap{"policy", &Maps::policy},
    NamedMap{"grants", &Maps::grants},
    NamedMap{"state", &Maps::state},
    NamedMap{"reported", &Maps::reported},
    NamedMap{"host_cgroups", &Maps::host_cgroups},
    NamedMap{"counts", &Maps::counts},
    NamedMap{"losses", &Maps::losses},
    NamedMap{"buckets", &Maps::buckets},
    NamedMap{"question", &Maps::question},
    NamedMap{"events", &Maps::events},
};

bpf_map* find_map(const ds01_bpf* skeleton, const NamedMap& map) {
  const bool state = map.member == &Maps::state;
  return bpf_object__find_map_by_name(skeleton->obj, state ? kStateSection : map.name);
}

bpf_program* find_program(const ds01_bpf* skeleton, const Part& part) {
  return bpf_object__find_program_by_name(skeleton->obj, part.name);
}

bool is_of_other_backend(const Part& part, Backend backend) {
  if (part.kind == Part::Kind::cgroup) return backend != Backend::cgroup_device;
  return part.hook == DS01_HOOK_OPEN && backend != Backend::bpf_lsm;
}

// As BPF sees it: an LSM hook is a function of its own, an iterator's target as well.
bool is_in_kernel(const btf* kernel, const Part& part, Backend backend) {
  if (part.kind == Part::Kind::cgroup) return true;
  const auto* form = part.kind == Part::Kind::iterator ? "bpf_iter_{}"
                     : backend == Backend::bpf_lsm     ? "bpf_lsm_{}"
                                                       : "security_{}";
  return btf__find_by_name_kind(kernel, fmt::format(fmt::runtime(form), part.target).c_str(), BTF_KIND_FUNC) > 0;
}

// Without the LSM its programs become fmod_ret programs of the function that calls the hooks.
Status prepare(bpf_program* program, const Part& part, Backend backend) {
  bpf_program__set_autoload(program, true);
  if (part.kind != Part::Kind::hook || backend == Backend::bpf_lsm) return {};
  const auto target = fmt::format("security_{}", part.target);
  if (bpf_program__set_type(program, BPF_PROG_TYPE_TRACING) != 0 ||
      bpf_program__set_expected_attach_type(program, BPF_MODIFY_RETURN) != 0 ||
      bpf_program__set_attach_target(program, 0, target.c_str()) != 0)
    return fail_errno(fmt::format("preparing {} for {}", part.name, target));
  return {};
}

// libbpf reports through a callback only; the end of what it wrote is the reason for the failure that follows.
std::string& last_words() {
  static std::string words;
  return words;
}

__attribute__((format(printf, 2, 0))) int keep_words(enum libbpf_print_level level, const char* format, va_list args) {
  if (level != LIBBPF_WARN) return 0;
  std::string line(1 << 16, '\0');  // a message may hold a whole verifier log
  const int length = std::vsnprintf(line.data(), line.size(), format, args);
  line.resize(std::min(static_cast<std::size_t>(std::max(length, 0)), line.size() - 1));
  auto& words = last_words();
  words += line.size() > kWords ? line.substr(line.size() - kWords) : line;
  if (words.size() > kWords) words.erase(0, words.size() - kWords);
  return 0;
}

std::string load_hint(int error) {
  if (::access(paths::kBtf, R_OK) != 0) return "the kernel has no BTF: boot a kernel with CONFIG_DEBUG_INFO_BTF=y";
  if (error == EPERM)
    return "not permitted: run ds01d as root, outside any container, on a kernel with CONFIG_BPF_LSM=y";
  return fmt::format("error {}: boot a kernel with CONFIG_BPF_LSM=y, 5.15 or later", error);
}

// Names the object file that is built in (FNV-1a). Two builds with the same object are the same to the kernel.
std::uint64_t build_hash() {
  std::size_t size = 0;
  const auto* bytes = static_cast<const unsigned char*>(ds01_bpf__elf_bytes(&size));
  std::uint64_t hash = 0xcbf29ce484222325;
  for (std::size_t i = 0; i < size; ++i) hash = (hash ^ bytes[i]) * 0x100000001b3;
  return hash != 0 ? hash : 1;
}

Fd copy_of(int fd) { return Fd(::fcntl(fd, F_DUPFD_CLOEXEC, 0)); }

// A program's recursion misses; 0 on kernels that do not count them.
std::uint64_t misses_of(const Fd& program) {
  bpf_prog_info info = {};
  std::uint32_t size = sizeof info;
  if (bpf_obj_get_info_by_fd(program.get(), &info, &size) != 0) return 0;
  return info.recursion_misses;
}

Result<Fd> lock_pins(const std::filesystem::path& pins) {
  Fd lock(::open(pins.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!lock) return fail_errno(pins.string());
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) == 0) return lock;
  if (errno != EWOULDBLOCK) return fail_errno(pins.string());
  return fail(ErrorCode::conflict, "another ds01d is running: stop it first (systemctl stop ds01d)");
}

std::vector<std::filesystem::path> folders_in(const std::filesystem::path& pins) {
  std::error_code error;
  std::vector<std::filesystem::path> folders;
  for (const auto& entry : std::filesystem::directory_iterator(pins, error))
    if (entry.is_directory(error)) folders.push_back(entry.path());
  return folders;
}

}  // namespace

Programs::Programs(Backend backend, const Places& places) : backend_(backend), places_(places) {}

Programs::~Programs() {
  if (state_ != nullptr) ::munmap(state_, sizeof *state_);
  ds01_bpf__destroy(skeleton_);
}

Result<std::unique_ptr<Programs>> Programs::load(Backend backend, const Places& places) {
  std::unique_ptr<Programs> programs(new Programs(backend, {"", places.cgroup_root}));
  DS01_CHECK(programs->choose_parts());
  DS01_CHECK(programs->load_object());
  return programs;
}

Result<std::unique_ptr<Programs>> Programs::open(Backend backend, const Places& places) {
  std::unique_ptr<Programs> programs(new Programs(backend, places));
  programs->folder_ = places.pins / fmt::format("v{}", DS01_ABI_VERSION);
  DS01_CHECK(make_pin_folder(programs->folder_));
  DS01_TRY(programs->lock_, lock_pins(places.pins));
  DS01_CHECK(programs->choose_parts());
  if (programs->take_over()) return programs;
  DS01_CHECK(programs->load_object());
  return programs;
}

bool Programs::has(ds01_hook hook) const {
  return std::ranges::any_of(programs_, [&](const Program& program) { return program.part->hook == hook; });
}

const Program* Programs::iterator(std::string_view target) const {
  for (const auto& program : programs_)
    if (program.part->kind == Part::Kind::iterator && program.part->target == target) return &program;
  return nullptr;
}

std::vector<std::filesystem::path> Programs::pin_folders() const {
  if (folder_.empty()) return {};
  return {places_.pins, folder_};
}

// Whether the programs of another agent are attached at this moment.
bool Programs::upgrades() const {
  return std::ranges::any_of(programs_, [](const Program& program) { return static_cast<bool>(program.old_link); });
}

// Those that the backend uses and the kernel has. Without one that has to be there, there is no gate.
Status Programs::choose_parts() {
  const std::unique_ptr<btf, decltype(&btf__free)> kernel(btf__load_vmlinux_btf(), btf__free);
  if (!kernel) return fail_errno("the kernel's BTF (boot a kernel with CONFIG_DEBUG_INFO_BTF=y)");
  for (const auto& part : kParts) {
    if (is_of_other_backend(part, backend_)) continue;
    if (is_in_kernel(kernel.get(), part, backend_))
      programs_.push_back({&part, {}, {}, {}, {}});
    else if (!part.optional && backend_ == Backend::bpf_lsm)
      return fail(ErrorCode::unavailable, fmt::format("this kernel has no hook {}: boot 5.10 or later", part.target));
  }
  return {};
}

// Opens all that is pinned. Whether it is whole and of this build decides.
bool Programs::take_over() {
  for (auto& program : programs_) {
    // Of an agent that died in the middle of commit().
    ::unlink((folder_ / fmt::format("new_link_{}", program.part->name)).c_str());
    program.old_link = open_pin(folder_ / fmt::format("link_{}", program.part->name));
    program.old_program = open_pin(folder_ / fmt::format("prog_{}", program.part->name));
  }
  for (const auto& map : kMaps) maps_.*map.member = open_pin(folder_ / map.name);
  had_maps_ = static_cast<bool>(maps_.grants);
  if (!maps_.state || !map_state()) return false;
  // After a crash in the middle of commit() programs of the newcomer run already.
  generation_ = std::max(state_->generation, state_->newcomer);
  const auto is_whole = [](const Program& program) {
    return program.old_program && (program.old_link || program.part->kind == Part::Kind::iterator);
  };
  if (state_->build != build_hash() || !std::ranges::all_of(programs_, is_whole) ||
      !std::ranges::all_of(kMaps, [&](const NamedMap& map) { return static_cast<bool>(maps_.*map.member); }))
    return false;
  generation_ = state_->generation;
  store_word<__u64>(state_->newcomer, 0);
  for (auto& program : programs_) {
    program.program = std::exchange(program.old_program, {});
    program.link = std::exchange(program.old_link, {});
  }
  origin_ = Origin::taken_over;
  attached_ = true;
  return true;
}

Status Programs::load_object() {
  libbpf_set_print(keep_words);
  last_words().clear();
  generation_ += 1;
  skeleton_ = ds01_bpf__open();
  if (skeleton_ == nullptr) return fail_errno("the BPF object in this executable");
  skeleton_->rodata->generation = generation_;
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, skeleton_->obj) bpf_program__set_autoload(program, false);
  for (const auto& wanted : programs_) {
    DS01_CHECK(prepare(find_program(skeleton_, *wanted.part), *wanted.part, backend_));
  }
  // With a path, libbpf takes what is pinned there, if it is of the same shape, or pins the map that it makes.
  for (const auto& map : kMaps)
    if (!folder_.empty()) bpf_map__set_pin_path(find_map(skeleton_, map), (folder_ / map.name).c_str());
  if (ds01_bpf__load(skeleton_) != 0) {
    const int error = errno;
    return fail(ErrorCode::unavailable,
                fmt::format("the kernel did not take the BPF programs; {}\n{}", load_hint(error), last_words()));
  }
  for (const auto& map : kMaps) maps_.*map.member = copy_of(bpf_map__fd(find_map(skeleton_, map)));
  DS01_CHECK(map_state());
  for (auto& wanted : programs_) wanted.program = copy_of(bpf_program__fd(find_program(skeleton_, *wanted.part)));
  const bool others = !folder_.empty() && folders_in(places_.pins).size() > 1;
  origin_ = upgrades() || others ? Origin::newcomer : Origin::loaded;
  return {};
}

Status Programs::map_state() {
  if (state_ != nullptr) return {};
  void* memory = ::mmap(nullptr, sizeof *state_, PROT_READ | PROT_WRITE, MAP_SHARED, maps_.state.get(), 0);
  if (memory == MAP_FAILED) return fail_errno("kernel map state");
  state_ = static_cast<ds01_state*>(memory);
  return {};
}

// From here on the older programs look for the newcomer's marks. Marks of an upgrade that was broken off must be gone.
Status Programs::announce_newcomer() const {
  store_word<__u64>(state_->newcomer, 0);
  std::uint32_t thread = 0;
  while (bpf_map_get_next_key(maps_.reported.get(), nullptr, &thread) == 0)
    if (bpf_map_delete_elem(maps_.reported.get(), &thread) != 0 && errno != ENOENT)
      return fail_errno("kernel map reported");
  store_word<__u64>(state_->newcomer, generation_);
  return {};
}

// A link on a cgroup can be told to run another program from now on, so there are never two. Others cannot.
Status Programs::attach_one(Program& program) const {
  const auto attached = [&](int fd) -> Status {
    program.link.reset(fd);
    if (program.link) return {};
    const int error = errno;
    return fail(ErrorCode::unavailable,
                fmt::format("the kernel did not attach {}; {}", program.part->name, load_hint(error)));
  };
  const int fd = program.program.get();
  if (program.part->kind == Part::Kind::hook) return attached(bpf_raw_tracepoint_open(nullptr, fd));
  if (program.part->kind == Part::Kind::iterator) return {};
  if (program.old_link) {
    if (bpf_link_update(program.old_link.get(), fd, nullptr) != 0) return attached(-1);
    return attached(::fcntl(program.old_link.get(), F_DUPFD_CLOEXEC, 0));
  }
  const Fd cgroup(::open(places_.cgroup_root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!cgroup) return fail_errno(places_.cgroup_root.string());
  return attached(bpf_link_create(fd, cgroup.get(), BPF_CGROUP_DEVICE, nullptr));
}

Status Programs::attach() {
  if (attached_) return {};
  if (upgrades()) DS01_CHECK(announce_newcomer());
  for (auto& program : programs_) {
    if (auto attached = attach_one(program); !attached) {
      withdraw();
      return attached;
    }
  }
  attached_ = true;
  return {};
}

void Programs::withdraw() {
  if (origin_ == Origin::taken_over) return;
  for (auto& program : programs_) {
    if (program.part->kind == Part::Kind::cgroup && program.link && program.old_link)
      bpf_link_update(program.old_link.get(), program.old_program.get(), nullptr);
    program.link.reset();
  }
  attached_ = false;
  store_word<__u64>(state_->newcomer, 0);
}

Status Programs::commit() {
  if (origin_ == Origin::taken_over || folder_.empty()) return {};
  store_word<__u64>(state_->build, 0);
  for (auto& program : programs_) {
    const auto* name = program.part->name;
    DS01_CHECK(replace_pin(program.program.get(), folder_ / fmt::format("prog_{}", name)));
    if (program.link) DS01_CHECK(replace_pin(program.link.get(), folder_ / fmt::format("link_{}", name)));
    program.old_link.reset();  // the last reference: detaches it now
    program.old_program.reset();
  }
  for (const auto& other : folders_in(places_.pins))
    if (other != folder_) DS01_CHECK(remove_pin_folder(other));
  return {};
}

void Programs::finish() {
  store_word<__u64>(state_->newcomer, 0);
  store_word(state_->generation, __u64{generation_});
  store_word(state_->build, __u64{build_hash()});
}

std::uint64_t Programs::recursion_misses() const {
  std::uint64_t misses = 0;
  for (const auto& program : programs_)
    if (program.part->kind != Part::Kind::iterator) misses += misses_of(program.program);
  return misses;
}

Status remove_pins(const std::filesystem::path& pins) {
  std::error_code error;
  if (!std::filesystem::exists(pins, error)) return {};
  DS01_TRY(const auto lock, lock_pins(pins));
  for (const auto& folder : folders_in(pins)) DS01_CHECK(remove_pin_folder(folder));
  if (::rmdir(pins.c_str()) != 0) return fail_errno(pins.string());
  return {};
}

}  // namespace ds01::kernel
