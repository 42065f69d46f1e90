// SPDX-License-Identifier: Apache-2.0
// A global of every shared struct, so that the BPF compiler describes them all: the real object's BTF has only those that
// are a map's key or value (clang leaves out what only pointers in a function name).
typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef long long __s64;
#define DS01_BPF
#include "ds01/abi.h"

struct ds01_rule_key rule_key;
struct ds01_rule rule;
struct ds01_subject subject;
struct ds01_grant grant;
struct ds01_count_key count_key;
struct ds01_count count;
struct ds01_event event;
struct ds01_state state;
struct ds01_question question;
struct ds01_holder holder;
