// SPDX-License-Identifier: Apache-2.0
// The structs that the BPF programs and the agent share, as C++ lays them out, against the BTF of the built object.
#include "ds01/abi.h"

#include <bpf/btf.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <fstream>
#include <map>
#include <memory>
#include <ostream>
#include <set>
#include <string>
#include <vector>

namespace {

using ::testing::ElementsAreArray;
using ::testing::IsSupersetOf;

struct Field {
  std::string name;
  std::size_t offset;
  std::size_t size;

  bool operator==(const Field&) const = default;
};
void PrintTo(const Field& field, std::ostream* out) {
  *out << field.name << " at " << field.offset << ", " << field.size << " bytes";
}

struct Layout {
  std::size_t size;
  std::vector<Field> fields;
};
using Layouts = std::map<std::string, Layout>;

#define FIELD(type, member) \
  Field { #member, offsetof(type, member), sizeof(type::member) }

Layouts cpp_layouts() {
  return {
      {"ds01_rule_key",
       {sizeof(ds01_rule_key), {FIELD(ds01_rule_key, id), FIELD(ds01_rule_key, kind), FIELD(ds01_rule_key, sub)}}},
      {"ds01_rule",
       {sizeof(ds01_rule),
        {FIELD(ds01_rule, depths), FIELD(ds01_rule, mode_until), FIELD(ds01_rule, flags), FIELD(ds01_rule, thread),
         FIELD(ds01_rule, device_class), FIELD(ds01_rule, index), FIELD(ds01_rule, cap_family), FIELD(ds01_rule, mode),
         FIELD(ds01_rule, mode_after)}}},
      {"ds01_subject",
       {sizeof(ds01_subject), {FIELD(ds01_subject, id), FIELD(ds01_subject, kind), FIELD(ds01_subject, pad)}}},
      {"ds01_grant",
       {sizeof(ds01_grant),
        {FIELD(ds01_grant, ends), FIELD(ds01_grant, number), FIELD(ds01_grant, soft_grace), FIELD(ds01_grant, gpus),
         FIELD(ds01_grant, caps), FIELD(ds01_grant, clock), FIELD(ds01_grant, pad)}}},
      {"ds01_state",
       {sizeof(ds01_state),
        {FIELD(ds01_state, wall_minus_boot), FIELD(ds01_state, grant_depths), FIELD(ds01_state, generation),
         FIELD(ds01_state, newcomer), FIELD(ds01_state, build), FIELD(ds01_state, override),
         FIELD(ds01_state, override_until)}}},
      {"ds01_count_key",
       {sizeof(ds01_count_key),
        {FIELD(ds01_count_key, uid), FIELD(ds01_count_key, device_class), FIELD(ds01_count_key, hook)}}},
      {"ds01_count",
       {sizeof(ds01_count),
        {FIELD(ds01_count, verdicts), FIELD(ds01_count, first_denial), FIELD(ds01_count, last_denial)}}},
      {"ds01_event",
       {sizeof(ds01_event),
        {FIELD(ds01_event, time), FIELD(ds01_event, task_start), FIELD(ds01_event, cgroup), FIELD(ds01_event, grant),
         FIELD(ds01_event, generation), FIELD(ds01_event, uid), FIELD(ds01_event, login_uid), FIELD(ds01_event, tgid),
         FIELD(ds01_event, tid), FIELD(ds01_event, device), FIELD(ds01_event, device_class), FIELD(ds01_event, index),
         FIELD(ds01_event, hook), FIELD(ds01_event, verdict), FIELD(ds01_event, reason), FIELD(ds01_event, pad),
         FIELD(ds01_event, comm)}}},
      {"ds01_question", {sizeof(ds01_question), {FIELD(ds01_question, tgid), FIELD(ds01_question, device)}}},
      {"ds01_holder",
       {sizeof(ds01_holder),
        {FIELD(ds01_holder, task_start), FIELD(ds01_holder, cgroup), FIELD(ds01_holder, grant), FIELD(ds01_holder, uid),
         FIELD(ds01_holder, tgid), FIELD(ds01_holder, device), FIELD(ds01_holder, fd), FIELD(ds01_holder, device_class),
         FIELD(ds01_holder, index), FIELD(ds01_holder, allowed), FIELD(ds01_holder, reason),
         FIELD(ds01_holder, on_host), FIELD(ds01_holder, pad), FIELD(ds01_holder, comm)}}},
  };
}

Layout layout_of(const btf* types, const btf_type* type) {
  Layout layout{type->size, {}};
  for (std::uint32_t i = 0; i < btf_vlen(type); ++i) {
    const auto& member = btf_members(type)[i];
    layout.fields.push_back({btf__name_by_offset(types, member.name_off), btf_member_bit_offset(type, i) / 8,
                             static_cast<std::size_t>(btf__resolve_size(types, member.type))});
  }
  return layout;
}

// Every struct of ours that an object describes.
Layouts btf_layouts(const char* object) {
  const std::unique_ptr<btf, decltype(&btf__free)> types(btf__parse(object, nullptr), &btf__free);
  Layouts layouts;
  for (std::uint32_t id = 1; types && id < btf__type_cnt(types.get()); ++id) {
    const auto* type = btf__type_by_id(types.get(), id);
    const std::string name = btf__name_by_offset(types.get(), type->name_off);
    if (btf_is_struct(type) && name.starts_with("ds01_")) layouts[name] = layout_of(types.get(), type);
  }
  return layouts;
}

std::set<std::string> names(const Layouts& layouts) {
  std::set<std::string> names;
  for (const auto& [name, layout] : layouts) names.insert(name);
  return names;
}

std::set<std::string> structs_in_header() {
  std::set<std::string> found;
  std::ifstream header(DS01_ABI_HEADER);
  for (std::string line; std::getline(header, line);)
    if (line.starts_with("struct ") && line.ends_with(" {")) found.insert(line.substr(7, line.size() - 9));
  return found;
}

TEST(Abi, TableNamesEveryStructOfTheHeader) { EXPECT_EQ(names(cpp_layouts()), structs_in_header()); }

// The maps' structs are in the object itself; the rest (pointers to those leave no trace) in abi_types.bpf.c.
TEST(Abi, ObjectHasTheSharedStructs) {
  EXPECT_THAT(names(btf_layouts(DS01_BPF_OBJECT)),
              IsSupersetOf({"ds01_grant", "ds01_subject", "ds01_count", "ds01_count_key"}));
  EXPECT_EQ(names(btf_layouts(DS01_BPF_TYPES)), structs_in_header());
}

TEST(Abi, ObjectLaysStructsOutAsCppDoes) {
  const auto cpp = cpp_layouts();
  for (const auto* object : {DS01_BPF_OBJECT, DS01_BPF_TYPES})
    for (const auto& [name, layout] : btf_layouts(object)) {
      ASSERT_TRUE(cpp.contains(name)) << name << " is in " << object << " but not in include/ds01/abi.h";
      EXPECT_EQ(layout.size, cpp.at(name).size) << name << " in " << object;
      EXPECT_THAT(layout.fields, ElementsAreArray(cpp.at(name).fields)) << name << " in " << object;
    }
}

// What the compiler fills in by itself is not under our control: a struct in a map key must have none.
TEST(Abi, StructsHaveNoHiddenPadding) {
  for (const auto& [name, layout] : cpp_layouts()) {
    std::size_t end = 0;
    for (const auto& field : layout.fields) {
      EXPECT_EQ(field.offset, end) << name << ", before " << field.name;
      end = field.offset + field.size;
    }
    EXPECT_EQ(end, layout.size) << name << ", at the end";
  }
}

}  // namespace
