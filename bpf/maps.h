/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The maps. Unless a comment says otherwise the agent writes and the programs read. The agent pins all of them, so they
 * outlive it and serve the next one.
 *
 * An element of a hash may be freed and used again for another key while a program still reads it (bpf_mem_alloc,
 * kernel 6.1 and later). So a value is only trusted where the agent waits, after every replacement and removal, until
 * no program runs that could have seen the old element (agent/kernel/gate.h), and host_cgroups has no value to trust.
 */
#ifndef DS01_MAPS_H
#define DS01_MAPS_H

/*
 * The policy: every rule on objects, users and cgroups in one hash, in one slot. A change builds a new hash and swaps the
 * slot, so a program sees the old policy or the new one, never a mixture; the kernel returns from the swap only when no
 * program uses the old one any more (maybe_wait_bpf_programs() in kernel/bpf/syscall.c). No slot, no rules: the gate is
 * open until the agent has filled it, which it does before it attaches anything.
 * Full: the agent sizes each hash for its rules; a failed update keeps the old policy.
 */
struct policy_rules {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	/* Sizes, not types: clang leaves the types out of the BTF of a map that is only a template. */
	__uint(key_size, sizeof(struct ds01_rule_key));
	__uint(value_size, sizeof(struct ds01_rule));
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct policy_rules);
} policy SEC(".maps");

/*
 * The grants, one per subject. Not preallocated: an idle machine has few. Full: the agent refuses the grant, loudly.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1 << 18);
	__type(key, struct ds01_subject);
	__type(value, struct ds01_grant);
} grants SEC(".maps");

/*
 * Words that the programs only read. All generations share them, through a map that the agent has in its memory. The agent
 * sets a bit of grant_depths before it adds such a grant and clears it after the last one is gone.
 */
volatile struct ds01_state state SEC(".data.state");

/*
 * Threads between the newcomer's program and the older one behind it, in the middle of an upgrade (report.h). The programs
 * write. Full: the thread that got here first is forgotten; its event is then reported twice.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, __u8);
} reported SEC(".maps");

/*
 * Cgroups with no container's name on the way to the root. The programs write: they add a cgroup once they have walked
 * its names. Being here is the whole answer. It cannot go stale: a cgroup v2 can be neither moved nor renamed, and ids are
 * not used again. Full: the least recently used one is forgotten and walked again.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, __u64);
	__type(value, __u8);
} host_cgroups SEC(".maps");

/*
 * Exact counts. The programs write, the agent reads. Not per CPU: an atomic add is as exact, and a per-CPU map of this
 * size costs 100 MB on a large server. Full: counted in `losses` without a uid.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1 << 16);
	__type(key, struct ds01_count_key);
	__type(value, struct ds01_count);
} counts SEC(".maps");

/* See enum ds01_loss. The programs write, the agent reads. Cannot be full. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, DS01_LOSS_COUNT);
	__type(key, __u32);
	__type(value, __u64);
} losses SEC(".maps");

/*
 * When each uid's bucket is full again (report.h). The programs write. Full: the uids without an entry share one bucket,
 * so a flood from many uids is bounded as well.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1 << 14);
	__type(key, __u32);
	__type(value, __u64);
} buckets SEC(".maps");

/*
 * What the iterator over tasks is asked (answer.h). The agent writes before it reads the iterator, under no one's eyes
 * but its own. Cannot be full.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ds01_question);
} question SEC(".maps");

/*
 * Denials on their way to the agent: 3,000 of them. The buckets let a user through at 1 a second after a burst of 32.
 * Full: counted in `losses`; the verdict stood before the event was tried.
 */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024);
} events SEC(".maps");

#endif /* DS01_MAPS_H */
