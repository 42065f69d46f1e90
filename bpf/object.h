/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What is gated. Objects are matched by device number or listener inode, never by path or name. */
#ifndef DS01_OBJECT_H
#define DS01_OBJECT_H

#define S_IFMT 00170000
#define S_IFCHR 0020000

/* The object of one decision, and the policy it was found in: one decision never looks at two policies. */
struct object {
	void *rules;
	struct ds01_rule *rule;
	__u32 device; /* 0 for a socket */
	__u8 hook;
};

static __always_inline void *current_rules(void)
{
	__u32 slot = 0;

	return bpf_map_lookup_elem(&policy, &slot);
}

static __always_inline struct ds01_rule *find_rule(void *rules, __u32 kind, __u64 id, __u32 sub)
{
	struct ds01_rule_key key = {.id = id, .kind = kind, .sub = sub};

	return bpf_map_lookup_elem(rules, &key);
}

#define NAME_BYTES 64
#define MAX_CHAIN 16 /* drivers that share a slot of the kernel's table; there are 255 slots and hardly 50 drivers */
#define TABLE_SLOTS 255

/*
 * The kernel's own table of character devices (fs/char_dev.c). Read without its lock: an entry that goes away meanwhile
 * has a name that matches no rule, and no device either. Absent from kernels without CONFIG_KALLSYMS_ALL: there a
 * driver's devices are gated once the agent has heard of it.
 */
extern const void chrdevs __ksym __weak;

/* Majors that the kernel gives to drivers that ask for any (find_dynamic_major() in fs/char_dev.c). */
static __always_inline bool is_dynamic(__u32 major)
{
	return (major >= 234 && major <= 254) || (major >= 384 && major <= 511);
}

/* The hash of the name that a driver has registered this major under; 0 if there is none. */
__noinline __u64 driver_name_hash(__u32 major)
{
	struct char_device_struct *entry;
	char name[NAME_BYTES] = {};

	if (!&chrdevs)
		return 0;
	if (bpf_probe_read_kernel(&entry, sizeof(entry), (void **)&chrdevs + major % TABLE_SLOTS))
		return 0;
	for (int i = 0; i < MAX_CHAIN && entry; i++) {
		if (BPF_CORE_READ(entry, major) == major)
			break;
		entry = BPF_CORE_READ(entry, next);
	}
	bpf_core_read(&name, sizeof(name), &entry->name);
	return ds01_name_hash(name, sizeof(name));
}

/*
 * A rule for the very device wins over one for its block of minors. A driver that was loaded a moment ago, of which the
 * agent has not told us yet, is found by its name.
 */
static __always_inline struct ds01_rule *find_device(void *rules, __u32 device)
{
	struct ds01_rule *rule = find_rule(rules, DS01_RULE_DEVICE, device, 0);
	__u32 major = device >> 20;

	if (!rule)
		rule = find_rule(rules, DS01_RULE_BLOCK, device >> DS01_BLOCK_BITS, 0);
	if (!rule && is_dynamic(major))
		rule = find_rule(rules, DS01_RULE_NAME, driver_name_hash(major), 0);
	return rule;
}

/* The rule for a listener, by the inode it was bound to. A socket without one (abstract, unnamed) is not gated. */
static __always_inline struct ds01_rule *find_listener(void *rules, struct unix_sock *listener)
{
	struct inode *inode = BPF_CORE_READ(listener, path.dentry, d_inode);

	if (!inode)
		return NULL;
	return find_rule(rules, DS01_RULE_SOCKET, BPF_CORE_READ(inode, i_ino), BPF_CORE_READ(inode, i_sb, s_dev));
}

#endif /* DS01_OBJECT_H */
