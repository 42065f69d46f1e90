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

/* A rule for the very device wins over one for its block of minors. */
static __always_inline struct ds01_rule *find_device(void *rules, __u32 device)
{
	struct ds01_rule *rule = find_rule(rules, DS01_RULE_DEVICE, device, 0);

	return rule ?: find_rule(rules, DS01_RULE_BLOCK, device >> DS01_BLOCK_BITS, 0);
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
