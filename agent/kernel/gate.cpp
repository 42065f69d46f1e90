// SPDX-License-Identifier: Apache-2.0
#include "kernel/gate.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <map>

#include <fmt/format.h>

#include "core/fd.h"
#include "core/paths.h"
#include "ds01.skel.h"

namespace ds01::kernel {
namespace {

constexpr std::size_t kWords = 4000;

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

// A program's recursion misses; 0 on kernels that do not count them.
std::uint64_t misses_of(const bpf_program* program) {
  bpf_prog_info info = {};
  std::uint32_t size = sizeof info;
  if (bpf_obj_get_info_by_fd(bpf_program__fd(program), &info, &size) != 0) return 0;
  return info.recursion_misses;
}

// One call per element costs a second for 100,000; the kernel takes arrays since 5.6.
template <class Key, class Value>
int update_batch(int map, const std::vector<Key>& keys, const std::vector<Value>& values) {
  std::uint32_t count = static_cast<std::uint32_t>(keys.size());
  if (count == 0) return 0;
  return bpf_map_update_batch(map, keys.data(), values.data(), &count, nullptr);
}

}  // namespace

struct Gate::Impl {
  ds01_bpf* skeleton = nullptr;
  ring_buffer* ring = nullptr;
  Fd rules;  // the inner map that is in force
  std::function<void(const ds01_event&)> take;
  std::map<std::uint64_t, unsigned> cgroup_depths;  // of the cgroup subjects in `grants`

  ~Impl() {
    ring_buffer__free(ring);
    ds01_bpf__destroy(skeleton);
  }

  int map_fd(const bpf_map* map) const { return bpf_map__fd(map); }
  Status write_depths(std::uint64_t depths) const;
  std::uint64_t used_depths() const;

  static int on_event(void* context, void* data, std::size_t size) {
    if (size >= sizeof(ds01_event)) static_cast<Impl*>(context)->take(*static_cast<const ds01_event*>(data));
    return 0;
  }
};

Status Gate::Impl::write_depths(std::uint64_t depths) const {
  const std::uint32_t slot = 0;
  if (bpf_map_update_elem(map_fd(skeleton->maps.grant_depths), &slot, &depths, BPF_ANY) != 0)
    return fail_errno("kernel map grant_depths");
  return {};
}

std::uint64_t Gate::Impl::used_depths() const {
  std::uint64_t depths = 0;
  for (const auto& [id, depth] : cgroup_depths) depths |= std::uint64_t{1} << depth;
  return depths;
}

Gate::Gate(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Gate::~Gate() = default;

Result<std::unique_ptr<Gate>> Gate::load() {
  libbpf_set_print(keep_words);
  last_words().clear();
  auto impl = std::make_unique<Impl>();
  impl->skeleton = ds01_bpf__open_and_load();
  if (impl->skeleton == nullptr) {
    const int error = errno;
    return fail(ErrorCode::unavailable,
                fmt::format("the kernel did not take the BPF programs; {}\n{}", load_hint(error), last_words()));
  }
  impl->ring = ring_buffer__new(bpf_map__fd(impl->skeleton->maps.events), Impl::on_event, impl.get(), nullptr);
  if (impl->ring == nullptr) return fail_errno("ring buffer of the BPF programs");
  return std::unique_ptr<Gate>(new Gate(std::move(impl)));
}

Status Gate::attach() {
  last_words().clear();
  if (ds01_bpf__attach(impl_->skeleton) == 0) return {};
  const int error = errno;
  ds01_bpf__detach(impl_->skeleton);
  return fail(ErrorCode::unavailable,
              fmt::format("the kernel did not attach the BPF programs; {}\n{}", load_hint(error), last_words()));
}

bool Gate::attached() const {
  const auto& links = impl_->skeleton->links;
  return links.ds01_file_open != nullptr && links.ds01_unix_stream_connect != nullptr;
}

Status Gate::set_policy(std::span<const Rule> rules) {
  LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = BPF_F_NO_PREALLOC);
  const auto entries = static_cast<std::uint32_t>(std::max<std::size_t>(rules.size(), 1));
  Fd fresh(
      bpf_map_create(BPF_MAP_TYPE_HASH, "ds01_rules", sizeof(ds01_rule_key), sizeof(ds01_rule), entries, &options));
  if (!fresh) return fail_errno("creating the kernel map for the policy");

  std::vector<ds01_rule_key> keys;
  std::vector<ds01_rule> values;
  for (const auto& rule : rules) {
    keys.push_back(rule.key);
    values.push_back(rule.value);
  }
  if (update_batch(fresh.get(), keys, values) != 0) return fail_errno("filling the kernel map for the policy");

  const std::uint32_t slot = 0;
  const int value = fresh.get();
  if (bpf_map_update_elem(impl_->map_fd(impl_->skeleton->maps.policy), &slot, &value, BPF_ANY) != 0)
    return fail_errno("putting the policy in force");
  impl_->rules = std::move(fresh);
  return {};
}

// Putting the same inner map in again makes the kernel wait until no running program can still use an old element of
// any map (the update of a map of maps ends in synchronize_rcu()).
Status Gate::wait_for_programs() {
  const std::uint32_t slot = 0;
  const int value = impl_->rules.get();
  if (value < 0) return {};
  if (bpf_map_update_elem(impl_->map_fd(impl_->skeleton->maps.policy), &slot, &value, BPF_ANY) != 0)
    return fail_errno("waiting for running BPF programs");
  return {};
}

Status Gate::put(std::span<const grants::KernelGrant> grants) {
  const int map = impl_->map_fd(impl_->skeleton->maps.grants);
  for (const auto& grant : grants) {
    if (grant.subject.kind == DS01_SUBJECT_CGROUP) {
      impl_->cgroup_depths[grant.subject.id] = grant.depth;
      DS01_CHECK(impl_->write_depths(impl_->used_depths()));
    }
    if (bpf_map_update_elem(map, &grant.subject, &grant.value, BPF_NOEXIST) == 0) continue;
    if (errno != EEXIST || bpf_map_update_elem(map, &grant.subject, &grant.value, BPF_EXIST) != 0) {
      if (errno == E2BIG) return fail(ErrorCode::unavailable, "the kernel's grant map is full: revoke grants first");
      return fail_errno("writing the kernel's grant map");
    }
    // The element just replaced may serve the next one written: not before the last program has let go of it.
    DS01_CHECK(wait_for_programs());
  }
  return {};
}

Status Gate::erase(std::span<const ds01_subject> subjects) {
  if (subjects.empty()) return {};
  for (const auto& subject : subjects) {
    if (bpf_map_delete_elem(impl_->map_fd(impl_->skeleton->maps.grants), &subject) != 0 && errno != ENOENT)
      return fail_errno("removing from the kernel's grant map");
    if (subject.kind == DS01_SUBJECT_CGROUP) impl_->cgroup_depths.erase(subject.id);
  }
  DS01_CHECK(impl_->write_depths(impl_->used_depths()));
  return wait_for_programs();
}

Result<std::vector<Count>> Gate::counts() const {
  const int map = impl_->map_fd(impl_->skeleton->maps.counts);
  std::vector<Count> all;
  ds01_count_key key = {};
  const ds01_count_key* previous = nullptr;
  ds01_count_key next;
  while (bpf_map_get_next_key(map, previous, &next) == 0) {
    Count entry{next, {}};
    if (bpf_map_lookup_elem(map, &next, &entry.value) == 0) all.push_back(entry);
    key = next;
    previous = &key;
  }
  if (errno != ENOENT) return fail_errno("reading the kernel's counts");
  return all;
}

Losses Gate::losses() const {
  Losses losses{};
  for (std::uint32_t slot = 0; slot < losses.size(); ++slot)
    bpf_map_lookup_elem(impl_->map_fd(impl_->skeleton->maps.losses), &slot, &losses[slot]);
  return losses;
}

std::uint64_t Gate::recursion_misses() const {
  const bpf_program* program = nullptr;
  std::uint64_t misses = 0;
  while ((program = bpf_object__next_program(impl_->skeleton->obj, const_cast<bpf_program*>(program))) != nullptr)
    misses += misses_of(program);
  return misses;
}

int Gate::events_fd() const { return ring_buffer__epoll_fd(impl_->ring); }

Status Gate::consume_events(const std::function<void(const ds01_event&)>& take) {
  impl_->take = take;
  const int taken = ring_buffer__consume(impl_->ring);
  impl_->take = nullptr;
  if (taken < 0) return fail_errno("reading the kernel's events", -taken);
  return {};
}

}  // namespace ds01::kernel
