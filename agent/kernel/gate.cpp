// SPDX-License-Identifier: Apache-2.0
#include "kernel/gate.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <map>

#include <fmt/format.h>

#include "core/fd.h"
#include "kernel/programs.h"

namespace ds01::kernel {
namespace {

// One call per element costs a second for 100,000; the kernel takes arrays since 5.6.
template <class Key, class Value>
int update_batch(int map, const std::vector<Key>& keys, const std::vector<Value>& values) {
  std::uint32_t count = static_cast<std::uint32_t>(keys.size());
  if (count == 0) return 0;
  return bpf_map_update_batch(map, keys.data(), values.data(), &count, nullptr);
}

bool is_empty(int map) {
  ds01_subject first;
  return bpf_map_get_next_key(map, nullptr, &first) != 0 && errno == ENOENT;
}

std::unexpected<Error> cannot_put() {
  if (errno == E2BIG) return fail(ErrorCode::system, "the kernel's grant map is full: revoke grants first");
  return fail_errno("writing the kernel's grant map");
}

Status fill(int map, std::span<const grants::KernelGrant> grants) {
  std::vector<ds01_subject> subjects;
  std::vector<ds01_grant> values;
  for (const auto& grant : grants) {
    subjects.push_back(grant.subject);
    values.push_back(grant.value);
  }
  if (update_batch(map, subjects, values) != 0) return cannot_put();
  return {};
}

// Everything in a hash map.
template <class Entry, class Key, class Value>
Result<std::vector<Entry>> read_all(int map, Key Entry::* key_of, Value Entry::* value_of, std::string_view name) {
  constexpr std::uint32_t kBatch = 4096;
  std::vector<Entry> all;
  std::vector<Key> keys(kBatch);
  std::vector<Value> values(kBatch);
  std::array<char, 8> position;  // the kernel's own, at least 4 bytes
  for (bool first = true;; first = false) {
    std::uint32_t count = kBatch;
    const int failed = bpf_map_lookup_batch(map, first ? nullptr : position.data(), position.data(), keys.data(),
                                            values.data(), &count, nullptr);
    const int error = failed != 0 ? errno : 0;
    if (error != 0 && error != ENOENT) return fail_errno(fmt::format("reading the kernel map {}", name), error);
    for (std::uint32_t i = 0; i < count; ++i) {
      Entry& entry = all.emplace_back();
      entry.*key_of = keys[i];
      entry.*value_of = values[i];
    }
    if (error == ENOENT) return all;
  }
}

}  // namespace

struct Gate::Impl {
  std::unique_ptr<Programs> programs;
  ring_buffer* ring = nullptr;
  Fd rules;  // the inner map that is in force
  std::function<void(const ds01_event&)> take;
  std::map<std::uint64_t, unsigned> cgroup_depths;  // of the cgroup subjects that were put
  std::uint64_t found_depths = 0;                   // of those that were there at open(): kept, as they have no depth
  bool unsettled = false;                           // something was erased that a program may still look at

  ~Impl() { ring_buffer__free(ring); }

  const Maps& maps() const { return programs->maps(); }
  void write_depths() const;

  static int on_event(void* context, void* data, std::size_t size) {
    if (size >= sizeof(ds01_event)) static_cast<Impl*>(context)->take(*static_cast<const ds01_event*>(data));
    return 0;
  }
};

void Gate::Impl::write_depths() const {
  std::uint64_t depths = found_depths;
  for (const auto& [id, depth] : cgroup_depths) depths |= std::uint64_t{1} << depth;
  store_word(programs->state().grant_depths, __u64{depths});
}

Gate::Gate(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Gate::~Gate() = default;

Result<std::unique_ptr<Gate>> Gate::make(std::unique_ptr<Programs> programs) {
  auto impl = std::make_unique<Impl>();
  impl->programs = std::move(programs);
  impl->ring = ring_buffer__new(impl->maps().events.get(), Impl::on_event, impl.get(), nullptr);
  if (impl->ring == nullptr) return fail_errno("ring buffer of the BPF programs");
  impl->found_depths = impl->programs->state().grant_depths;
  return std::unique_ptr<Gate>(new Gate(std::move(impl)));
}

Result<std::unique_ptr<Gate>> Gate::open(const std::filesystem::path& pins) {
  DS01_TRY(auto programs, Programs::open(pins));
  return make(std::move(programs));
}

Result<std::unique_ptr<Gate>> Gate::load() {
  DS01_TRY(auto programs, Programs::load());
  return make(std::move(programs));
}

bool Gate::was_attached() const { return impl_->programs->origin() != Origin::loaded; }
bool Gate::had_maps() const {
  const auto& programs = *impl_->programs;
  return programs.had_maps() && (programs.origin() == Origin::taken_over || programs.generation() > 1);
}
bool Gate::attached() const { return impl_->programs->attached(); }
std::uint64_t Gate::generation() const { return impl_->programs->generation(); }
Status Gate::attach() { return impl_->programs->attach(); }
void Gate::withdraw() { impl_->programs->withdraw(); }

Status Gate::commit() {
  DS01_CHECK(impl_->programs->commit());
  // A thread may be on its way from the newcomer's program to the older one behind it.
  DS01_CHECK(wait_for_programs());
  impl_->programs->finish();
  return {};
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
  if (bpf_map_update_elem(impl_->maps().policy.get(), &slot, &value, BPF_ANY) != 0)
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
  if (bpf_map_update_elem(impl_->maps().policy.get(), &slot, &value, BPF_ANY) != 0)
    return fail_errno("waiting for running BPF programs");
  return {};
}

void Gate::set_clocks(std::chrono::nanoseconds wall_minus_boot) {
  store_word(impl_->programs->state().wall_minus_boot, __s64{wall_minus_boot.count()});
}

void Gate::keep_mode(const std::optional<KeptMode>& mode) {
  auto& state = impl_->programs->state();
  store_word(state.override_until, mode ? __u64{mode->until} : __u64{0});
  store_word(state.override, mode ? __u64{mode->mode} + 1 : __u64{0});
}

std::optional<Gate::KeptMode> Gate::kept_mode() const {
  const auto& state = impl_->programs->state();
  if (state.override == 0) return std::nullopt;
  return KeptMode{static_cast<std::uint8_t>(state.override - 1), state.override_until};
}

// Into an empty map all go together; otherwise one by one, because the element of a changed one may serve the next that
// is written, and not before the last program has let go of it.
Status Gate::put(std::span<const grants::KernelGrant> grants) {
  DS01_CHECK(settle());
  for (const auto& grant : grants)
    if (grant.subject.kind == DS01_SUBJECT_CGROUP) impl_->cgroup_depths[grant.subject.id] = grant.depth;
  impl_->write_depths();
  const int map = impl_->maps().grants.get();
  if (grants.size() > 1 && is_empty(map)) return fill(map, grants);
  for (const auto& grant : grants) {
    if (bpf_map_update_elem(map, &grant.subject, &grant.value, BPF_NOEXIST) == 0) continue;
    if (errno != EEXIST || bpf_map_update_elem(map, &grant.subject, &grant.value, BPF_EXIST) != 0) return cannot_put();
    DS01_CHECK(wait_for_programs());
  }
  return {};
}

Status Gate::erase(std::span<const ds01_subject> subjects) {
  if (subjects.empty()) return {};
  impl_->unsettled = true;
  for (const auto& subject : subjects) {
    if (bpf_map_delete_elem(impl_->maps().grants.get(), &subject) != 0 && errno != ENOENT)
      return fail_errno("removing from the kernel's grant map");
    if (subject.kind == DS01_SUBJECT_CGROUP) impl_->cgroup_depths.erase(subject.id);
  }
  impl_->write_depths();
  return {};
}

Status Gate::settle() {
  if (!impl_->unsettled) return {};
  DS01_CHECK(wait_for_programs());
  impl_->unsettled = false;
  return {};
}

Result<std::vector<grants::KernelGrant>> Gate::entries() const {
  return read_all(impl_->maps().grants.get(), &grants::KernelGrant::subject, &grants::KernelGrant::value, "grants");
}

Result<std::vector<Count>> Gate::counts() const {
  return read_all(impl_->maps().counts.get(), &Count::key, &Count::value, "counts");
}

Losses Gate::losses() const {
  Losses losses{};
  for (std::uint32_t slot = 0; slot < losses.size(); ++slot)
    bpf_map_lookup_elem(impl_->maps().losses.get(), &slot, &losses[slot]);
  return losses;
}

std::uint64_t Gate::recursion_misses() const { return impl_->programs->recursion_misses(); }

int Gate::events_fd() const { return ring_buffer__epoll_fd(impl_->ring); }

Status Gate::consume_events(const std::function<void(const ds01_event&)>& take) {
  impl_->take = take;
  const int taken = ring_buffer__consume(impl_->ring);
  impl_->take = nullptr;
  if (taken < 0) return fail_errno("reading the kernel's events", -taken);
  return {};
}

}  // namespace ds01::kernel
