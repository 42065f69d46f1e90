// SPDX-License-Identifier: Apache-2.0
#include "kernel/programs.h"

#include <bpf/bpf.h>
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

#include <fmt/format.h>

#include "core/paths.h"
#include "ds01.skel.h"
#include "kernel/pins.h"

namespace ds01::kernel {
namespace {

constexpr std::size_t kWords = 4000;

constexpr std::array kPrograms{"ds01_file_open", "ds01_unix_stream_connect"};

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
    NamedMap{"events", &Maps::events},
};

bpf_map* find_map(const ds01_bpf* skeleton, const NamedMap& map) {
  const bool state = map.member == &Maps::state;
  return bpf_object__find_map_by_name(skeleton->obj, state ? kStateSection : map.name);
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

Programs::~Programs() {
  if (state_ != nullptr) ::munmap(state_, sizeof *state_);
  ds01_bpf__destroy(skeleton_);
}

Result<std::unique_ptr<Programs>> Programs::load() {
  std::unique_ptr<Programs> programs(new Programs);
  DS01_CHECK(programs->load_object(false));
  return programs;
}

Result<std::unique_ptr<Programs>> Programs::open(const std::filesystem::path& pins) {
  std::unique_ptr<Programs> programs(new Programs);
  programs->pins_ = pins;
  programs->folder_ = pins / fmt::format("v{}", DS01_ABI_VERSION);
  DS01_CHECK(make_pin_folder(programs->folder_));
  DS01_TRY(programs->lock_, lock_pins(pins));
  if (programs->take_over()) return programs;
  DS01_CHECK(programs->load_object(true));
  return programs;
}

// Opens all that is pinned. Whether it is whole and of this build decides.
bool Programs::take_over() {
  for (const auto* name : kPrograms) {
    // Of an agent that died in the middle of commit().
    ::unlink((folder_ / fmt::format("new_link_{}", name)).c_str());
    old_links_.push_back(open_pin(folder_ / fmt::format("link_{}", name)));
    programs_.push_back(open_pin(folder_ / fmt::format("prog_{}", name)));
  }
  for (const auto& map : kMaps) maps_.*map.member = open_pin(folder_ / map.name);
  had_maps_ = static_cast<bool>(maps_.grants);
  if (!maps_.state || !map_state()) return false;
  generation_ = state_->generation;
  const auto is_open = [](const Fd& fd) { return static_cast<bool>(fd); };
  if (state_->build != build_hash() || !std::ranges::all_of(old_links_, is_open) ||
      !std::ranges::all_of(programs_, is_open) ||
      !std::ranges::all_of(kMaps, [&](const NamedMap& map) { return static_cast<bool>(maps_.*map.member); }))
    return false;
  store_word<__u64>(state_->newcomer, 0);
  links_ = std::move(old_links_);
  old_links_.clear();
  origin_ = Origin::taken_over;
  attached_ = true;
  return true;
}

Status Programs::load_object(bool pinned) {
  libbpf_set_print(keep_words);
  last_words().clear();
  std::erase_if(old_links_, [](const Fd& link) { return !link; });
  generation_ += 1;
  skeleton_ = ds01_bpf__open();
  if (skeleton_ == nullptr) return fail_errno("the BPF object in this executable");
  skeleton_->rodata->generation = generation_;
  // With a path, libbpf takes what is pinned there, if it is of the same shape, or pins the map that it makes.
  for (const auto& map : kMaps)
    if (pinned) bpf_map__set_pin_path(find_map(skeleton_, map), (folder_ / map.name).c_str());
  if (ds01_bpf__load(skeleton_) != 0) {
    const int error = errno;
    return fail(ErrorCode::unavailable,
                fmt::format("the kernel did not take the BPF programs; {}\n{}", load_hint(error), last_words()));
  }
  for (const auto& map : kMaps) maps_.*map.member = copy_of(bpf_map__fd(find_map(skeleton_, map)));
  DS01_CHECK(map_state());
  programs_.clear();
  for (const auto* name : kPrograms)
    programs_.push_back(copy_of(bpf_program__fd(bpf_object__find_program_by_name(skeleton_->obj, name))));
  const bool others = pinned && folders_in(pins_).size() > 1;
  origin_ = old_links_.empty() && !others ? Origin::loaded : Origin::newcomer;
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

Status Programs::attach() {
  if (attached_) return {};
  if (!old_links_.empty()) DS01_CHECK(announce_newcomer());
  last_words().clear();
  if (ds01_bpf__attach(skeleton_) != 0) {
    const int error = errno;
    withdraw();
    return fail(ErrorCode::unavailable,
                fmt::format("the kernel did not attach the BPF programs; {}\n{}", load_hint(error), last_words()));
  }
  attached_ = true;
  return {};
}

void Programs::withdraw() {
  if (origin_ == Origin::taken_over) return;
  ds01_bpf__detach(skeleton_);
  attached_ = false;
  store_word<__u64>(state_->newcomer, 0);
}

Status Programs::commit() {
  if (origin_ == Origin::taken_over) return {};
  store_word<__u64>(state_->build, 0);
  const std::array links{skeleton_->links.ds01_file_open, skeleton_->links.ds01_unix_stream_connect};
  for (std::size_t i = 0; i < kPrograms.size(); ++i) {
    DS01_CHECK(replace_pin(programs_[i].get(), folder_ / fmt::format("prog_{}", kPrograms[i])));
    DS01_CHECK(replace_pin(bpf_link__fd(links[i]), folder_ / fmt::format("link_{}", kPrograms[i])));
  }
  old_links_.clear();  // the last reference: detaches them now
  for (const auto& other : folders_in(pins_))
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
  for (const auto& program : programs_) misses += misses_of(program);
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
