/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What the BPF programs and the agent share: map keys, map values and events.
 *
 * C that both compilers read. Fixed-width fields, explicit padding, no enum or bool fields; the sizes are asserted here
 * for both sides and tests/unit/abi_test.cpp compares the offsets with the BTF of the built object.
 * Times are nanoseconds of CLOCK_BOOTTIME unless a field says otherwise. Device numbers have the kernel's form,
 * major << 20 | minor.
 */
#ifndef DS01_ABI_H
#define DS01_ABI_H

#ifndef DS01_BPF
#include <linux/types.h>
#endif

#ifdef __cplusplus
#define DS01_ASSERT_SIZE(type, size) static_assert(sizeof(type) == (size), #type)
#else
#define DS01_ASSERT_SIZE(type, size) _Static_assert(sizeof(type) == (size), #type)
#endif

/*
 * Goes up with every change of this file. Programs and agents of one version share the pinned maps; a new version makes
 * its own (agent/kernel/gate.h).
 */
#define DS01_ABI_VERSION 1

#define DS01_DEV(major, minor) ((major) << 20 | (minor)) /* of two __u32 */
#define DS01_BLOCK_BITS 8 /* a block rule covers 256 minors */
#define DS01_MAX_DEPTH 64 /* cgroup levels that a rule or grant may lie at: bits of `depths` */
#define DS01_GPU_WORDS 4  /* 256 GPU indices */
#define DS01_NEVER 0xffffffffffffffffULL

enum ds01_mode {
	DS01_MODE_DISABLED = 0,   /* allow without a look */
	DS01_MODE_MONITORING = 1, /* decide, count and report, then allow */
	DS01_MODE_FULL = 2,       /* enforce */
};

enum ds01_class {
	DS01_CLASS_SELFTEST = 0, /* denied in every mode, for one thread only */
	DS01_CLASS_GPU = 1,
	DS01_CLASS_CONTROL = 2,
	DS01_CLASS_COMPUTE = 3,
	DS01_CLASS_CAPABILITY = 4, /* the descriptor is a token: no plain grant covers it */
	DS01_CLASS_FABRIC = 5,     /* likewise */
	DS01_CLASS_DRI = 6,
	DS01_CLASS_ADMIN_SOCKET = 7, /* host principals only */
	DS01_CLASS_COUNT = 8,
};

enum ds01_hook {
	DS01_HOOK_OPEN = 0,
	DS01_HOOK_CONNECT = 1,
	DS01_HOOK_COUNT = 2,
};

enum ds01_verdict {
	DS01_ALLOWED = 0,
	DS01_DENIED = 1,
	DS01_WOULD_DENY = 2, /* monitoring mode: allowed, and reported */
};

/* Which rule decided: the lines of the design's order, and for a denial what was missing. */
enum ds01_reason {
	DS01_BY_SELFTEST = 0,
	DS01_BY_DENY_RULE = 1,
	DS01_BY_HOST_ROOT = 2,
	DS01_BY_EXEMPT_USER = 3,
	DS01_BY_EXEMPT_CGROUP = 4,
	DS01_BY_ALLOWED_CGROUP = 5,
	DS01_BY_USER_GRANT = 6,
	DS01_BY_CGROUP_GRANT = 7,
	DS01_BY_HOST_PRINCIPAL = 8,
	DS01_NO_GRANT = 9,
	DS01_GRANT_ENDED = 10,
	DS01_GRANT_NOT_COVERING = 11, /* another GPU, or a class that grants do not cover */
	DS01_IN_CONTAINER = 12,       /* the rule or grant exists, but uids do not count in containers */
};

/* ---- policy: one hash, swapped whole -------------------------------------------------------------------------- */

enum ds01_rule_kind {
	DS01_RULE_DEVICE = 0,     /* id: device number */
	DS01_RULE_BLOCK = 1,      /* id: device number >> DS01_BLOCK_BITS */
	DS01_RULE_SOCKET = 2,     /* id: inode number, sub: device number of its file system */
	DS01_RULE_UID = 3,        /* id: uid */
	DS01_RULE_CGROUP = 4,     /* id: cgroup id */
	DS01_RULE_CGROUP_UID = 5, /* id: cgroup id, sub: uid */
};

struct ds01_rule_key {
	__u64 id;
	__u32 kind;
	__u32 sub;
};

enum ds01_rule_flags {
	DS01_DENY = 1 << 0,    /* uid: order 1 */
	DS01_EXEMPT = 1 << 1,  /* uid, cgroup, cgroup+uid: order 2, on the host only */
	DS01_ALLOW = 1 << 2,   /* cgroup: order 3, the whole subtree */
	DS01_PAIRED = 1 << 3,  /* cgroup: a CGROUP_UID rule may exist as well */
	DS01_INDEXED = 1 << 4, /* device: `index` is a GPU's, a grant must name it */
	DS01_USERS = 1 << 5,   /* device: UID rules exist */
};

struct ds01_rule {
	__u64 depths;     /* device, socket: bit N is set if a CGROUP rule lies N levels below the root */
	__u64 mode_until; /* device, socket: `mode` until then, `mode_after` from then on; DS01_NEVER: no end */
	__u32 flags;
	__u32 thread; /* selftest: the only thread it concerns */
	__u16 device_class;
	__u16 index;
	__u8 mode;
	__u8 mode_after;
	__u8 pad[2];
};

/* ---- grants: changed one at a time ---------------------------------------------------------------------------- */

enum ds01_subject_kind {
	DS01_SUBJECT_UID = 0,
	DS01_SUBJECT_CGROUP = 1,
};

struct ds01_subject {
	__u64 id;
	__u32 kind;
	__u32 pad;
};

enum ds01_grant_clock {
	DS01_BOOT_CLOCK = 0,
	DS01_WALL_CLOCK = 1, /* CLOCK_REALTIME, by wall_minus_boot in struct ds01_state */
};

struct ds01_grant {
	__u64 ends; /* on `clock`; DS01_NEVER: permanent */
	__u64 number;
	__u64 gpus[DS01_GPU_WORDS]; /* bit per GPU index */
	__u32 clock;
	__u32 pad;
};

/* ---- state: single words, each read and written as one ------------------------------------------------------------ */

struct ds01_state {
	__s64 wall_minus_boot; /* nanoseconds to add to CLOCK_BOOTTIME for CLOCK_REALTIME */
	__u64 grant_depths;    /* bit N is set if a cgroup grant lies N levels below the root */
	/* Generations are the programs that one agent loaded. */
	__u64 generation; /* the pinned one */
	__u64 newcomer;   /* while a second one is attached besides: that one; else 0 */
	__u64 build;      /* of the pinned one: a hash of its object file; 0 while it is being replaced */
	/* The mode set by hand, for an agent whose store cannot be read. */
	__u64 override;       /* 1 + enum ds01_mode; 0: none; 0x100: not known */
	__u64 override_until; /* DS01_NEVER: until it is reset */
};

/* ---- counts and events ---------------------------------------------------------------------------------------- */

struct ds01_count_key {
	__u32 uid;
	__u16 device_class;
	__u16 hook;
};

struct ds01_count {
	__u64 verdicts[3]; /* by enum ds01_verdict */
	__u64 first_denial;
	__u64 last_denial; /* denials and would-be denials */
};

/* Slots of the `losses` map. */
enum ds01_loss {
	DS01_LOST_EVENTS = 0,   /* the ring was full */
	DS01_LIMITED_EVENTS = 1, /* the uid's bucket was empty */
	DS01_UNATTRIBUTED = 2,  /* counted without a uid: the counts map was full */
	DS01_LOSS_COUNT = 3,
};

struct ds01_event {
	__u64 time;
	__u64 task_start; /* of the process: with tgid, its identity */
	__u64 cgroup;
	__u64 grant; /* the grant's number, where one was looked at */
	__u64 generation; /* of the programs that decided */
	__u32 uid;   /* real, in the initial user namespace */
	__u32 login_uid;
	__u32 tgid;
	__u32 tid;
	__u32 device; /* device number; 0 for a socket */
	__u16 device_class;
	__u16 index;
	__u8 hook;
	__u8 verdict;
	__u8 reason;
	__u8 pad[5];
	char comm[16];
};

DS01_ASSERT_SIZE(struct ds01_rule_key, 16);
DS01_ASSERT_SIZE(struct ds01_rule, 32);
DS01_ASSERT_SIZE(struct ds01_subject, 16);
DS01_ASSERT_SIZE(struct ds01_grant, 56);
DS01_ASSERT_SIZE(struct ds01_state, 56);
DS01_ASSERT_SIZE(struct ds01_count_key, 8);
DS01_ASSERT_SIZE(struct ds01_count, 40);
DS01_ASSERT_SIZE(struct ds01_event, 88);

#endif /* DS01_ABI_H */
