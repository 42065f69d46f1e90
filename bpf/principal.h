/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Who asks. The uid is the real one in the initial user namespace: a set-uid program does not change it.
 *
 * "On the host" means: initial pid and user namespace, and no container's name among the cgroups. Names only ever take
 * rights away, so that nothing is gained by choosing one. On doubt (a name that cannot be read, more levels than we
 * walk) the answer is "in a container".
 */
#ifndef DS01_PRINCIPAL_H
#define DS01_PRINCIPAL_H

#define NAME_SIZE 96 /* docker-<64 hex digits>.scope has 77 */
#define WALK_LEVELS 80
#define USER_SLICE_LEVEL 2 /* /user.slice/user-1000.slice */

struct principal {
	struct task_struct *task;
	struct cgroup *cgroup;
	__u64 started; /* the process, on the boot clock */
	__u32 uid;
	bool on_host;
	bool current; /* the task that runs now; else one that an iterator shows */
};

/*
 * A task's fields. `typed`: the verifier knows that the pointer is a task, and the loads are plain ones. Otherwise each
 * goes through a helper: on 5.10, and in programs on cgroups, whose tasks are only numbers to the verifier.
 */
#define TASK_READ(typed, task, ...) ((typed) ? ___arrow(task, __VA_ARGS__) : BPF_CORE_READ(task, __VA_ARGS__))

#define HAS_TYPED_TASK bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_get_current_task_btf)

/*
 * A cgroup's name, zero behind its end. Compared in words of eight characters, which costs a few branches where single
 * characters would cost hundreds.
 */
struct name {
	union {
		char text[NAME_SIZE];
		__u64 words[NAME_SIZE / 8];
	};
	long length; /* with the NUL */
};

static __always_inline bool read_name(struct cgroup *cgroup, struct name *name)
{
	__builtin_memset(name, 0, sizeof(*name));
	name->length = bpf_probe_read_kernel_str(name->text, NAME_SIZE, BPF_CORE_READ(cgroup, kn, name));
	return name->length > 0;
}

/* Up to eight characters of a literal as a little-endian word; the compiler folds it into a constant. */
static __always_inline __u64 word(const char *text, int length)
{
	__u64 value = 0;

	for (int i = 0; i < 8 && i < length; i++)
		value |= (__u64)(unsigned char)text[i] << 8 * i;
	return value;
}

static __always_inline bool equal(const __u64 *words, const char *text, int length)
{
	for (int i = 0; i < length; i += 8) {
		__u64 mask = length - i >= 8 ? ~0ULL : (1ULL << 8 * (length - i)) - 1;

		if ((words[i / 8] & mask) != word(text + i, length - i))
			return false;
	}
	return true;
}

/* With a literal: `starts` compares its characters, `is` the terminating NUL as well. */
#define starts(name, literal) equal((name)->words, literal, sizeof(literal) - 1)
#define is(name, literal) equal((name)->words, literal, sizeof(literal))

/* Bit per character: 0-9 and a-f. A table, because the compiler makes branches of comparisons, 64 times two of them. */
static const __u64 hex_digits[4] = {0x3ffULL << '0', 0x3fULL << ('a' - 64)};

static __always_inline bool is_hex64(const struct name *name)
{
	__u64 all = 1;

	if (name->length != 65)
		return false;
	for (int i = 0; i < 64; i++) {
		__u8 c = name->text[i];

		all &= hex_digits[c / 64] >> c % 64;
	}
	return all;
}

/* `docker-*.scope`, but not a service that an admin has called docker-something. */
static __always_inline bool is_docker_scope(const struct name *name)
{
	const char *suffix;

	if (!starts(name, "docker-"))
		return false;
	if (name->length >= NAME_SIZE) /* perhaps cut short: longer than any name that Docker gives */
		return true;
	if (name->length < (long)sizeof("docker-.scope"))
		return false;
	suffix = name->text + name->length - sizeof(".scope");
	return suffix[0] == '.' && suffix[1] == 's' && suffix[2] == 'c' && suffix[3] == 'o' && suffix[4] == 'p' &&
	       suffix[5] == 'e';
}

static __always_inline bool is_container_name(const struct name *name)
{
	return is_docker_scope(name) || starts(name, "libpod-") || starts(name, "cri-containerd-") ||
	       starts(name, "crio-") || is(name, "machine.slice") || is_hex64(name);
}

static __always_inline struct cgroup *parent_of(struct cgroup *cgroup)
{
	struct cgroup_subsys_state *parent = BPF_CORE_READ(cgroup, self.parent);

	return parent ? (void *)parent - bpf_core_field_offset(struct cgroup, self) : NULL;
}

/*
 * The functions from here to in_own_slice() are global ones: the verifier checks each once, on its own, instead of anew
 * for every level of every walk. Such a function takes numbers only, so a cgroup is passed as its address.
 */
__noinline int is_container_cgroup(__u64 address)
{
	struct name name;

	return !read_name((struct cgroup *)address, &name) || is_container_name(&name);
}

/* Looks at the names of a cgroup and its ancestors: some 300 instructions a level, once per cgroup. */
__noinline int has_container_name(__u64 address)
{
	struct cgroup *cgroup = (struct cgroup *)address;

	for (int i = 0; i < WALK_LEVELS; i++) {
		if (!cgroup)
			return false;
		if (is_container_cgroup((__u64)cgroup))
			return true;
		cgroup = parent_of(cgroup);
	}
	return true;
}

/* "user-1000.slice" of this uid. */
static __always_inline bool is_slice_name_of(const struct name *name, __u32 uid)
{
	__u64 number = 0;
	int i;

	if (!starts(name, "user-"))
		return false;
	for (i = 5; i < 16; i++) {
		__u32 digit = (__u32)(name->text[i] - '0');

		if (digit > 9)
			break;
		number = number * 10 + digit;
	}
	return number == uid && name->length == i + (long)sizeof(".slice") && name->text[i] == '.' &&
	       name->text[i + 1] == 's' && name->text[i + 2] == 'l';
}

/* Is the cgroup below /user.slice/user-UID.slice? Both levels are root's to name, unlike those further down. */
__noinline int in_own_slice(__u64 address, __u32 uid)
{
	struct cgroup *cgroup = (struct cgroup *)address;
	struct name name;

	for (int i = 0; i < WALK_LEVELS; i++) {
		if (!cgroup || BPF_CORE_READ(cgroup, level) <= USER_SLICE_LEVEL)
			break;
		cgroup = parent_of(cgroup);
	}
	if (!cgroup || BPF_CORE_READ(cgroup, level) != USER_SLICE_LEVEL)
		return false;
	if (!read_name(cgroup, &name) || !is_slice_name_of(&name, uid))
		return false;
	cgroup = parent_of(cgroup);
	return cgroup && read_name(cgroup, &name) && is(&name, "user.slice");
}

/* A number to the verifier, as the global functions take it. */
static __always_inline __u64 cgroup_address(const struct principal *who)
{
	struct task_struct *task = who->task;

	return (__u64)BPF_CORE_READ(task, cgroups, dfl_cgrp);
}

static __always_inline bool in_container_cgroup(const struct principal *who, bool typed)
{
	struct cgroup *cgroup = who->cgroup;
	__u64 id = typed ? cgroup->kn->id : BPF_CORE_READ(cgroup, kn, id);
	__u64 address;
	__u8 seen = 1;

	if (bpf_map_lookup_elem(&host_cgroups, &id))
		return false;
	/* The task may have been moved meanwhile: what is remembered is the cgroup that is walked. */
	address = cgroup_address(who);
	cgroup = (struct cgroup *)address;
	if (has_container_name(address))
		return true;
	id = BPF_CORE_READ(cgroup, kn, id);
	bpf_map_update_elem(&host_cgroups, &id, &seen, BPF_ANY);
	return false;
}

static __always_inline __u64 own_cgroup_id(const struct principal *who)
{
	struct cgroup *cgroup = who->cgroup;

	return BPF_CORE_READ(cgroup, kn, id);
}

/* The id of the cgroup's ancestor at this level; 0 if it is not that deep. */
static __always_inline __u64 ancestor_id(const struct principal *who, int level)
{
	struct cgroup *cgroup = who->cgroup, *ancestor;
	struct cgroup___before_6_1 *older = (void *)cgroup;
	__u64 id = 0;

	if (bpf_core_field_exists(older->ancestor_ids)) {
		/* 5.10 has the helper below, but not for LSM programs. */
		if (level <= BPF_CORE_READ(cgroup, level))
			bpf_core_read(&id, sizeof(id), &older->ancestor_ids[level]);
		return id;
	}
	if (who->current)
		return bpf_get_current_ancestor_cgroup_id(level);
	if (level > BPF_CORE_READ(cgroup, level))
		return 0;
	bpf_core_read(&ancestor, sizeof(ancestor), &cgroup->ancestors[level]);
	return BPF_CORE_READ(ancestor, kn, id);
}

/*
 * Returns what it is given, but the verifier, which looks at a global function by itself, knows nothing of the result:
 * paths that differ by this number alone become one. Without it the walk over cgroups (decide.h) is followed once for every way there.
 */
__noinline __u64 forget(__u64 number)
{
	asm volatile("" : "+r"(number));
	return number;
}

/* A user namespace counts as the host's for the user who made it, inside their own login slice (`unshare -r`). */
static __always_inline bool in_foreign_user_namespace(const struct principal *who, bool typed)
{
	struct task_struct *task = who->task;
	struct user_namespace *ns = TASK_READ(typed, task, cred, user_ns);
	int level = typed ? ns->level : BPF_CORE_READ(ns, level);
	__u32 owner;

	if (level == 0)
		return false;
	owner = typed ? ns->owner.val : BPF_CORE_READ(ns, owner.val);
	return who->uid == 0 || owner != who->uid || !in_own_slice(cgroup_address(who), who->uid);
}

static __always_inline struct principal principal_of(struct task_struct *task, bool typed, bool current)
{
	struct principal who = {
		.task = task,
		.cgroup = TASK_READ(typed, task, cgroups, dfl_cgrp),
		.started = TASK_READ(typed, task, group_leader, start_boottime),
		.uid = TASK_READ(typed, task, cred, uid.val),
		.current = current,
	};

	who.on_host = forget(TASK_READ(typed, task, thread_pid, level) == 0 &&
			     !in_foreign_user_namespace(&who, typed) && !in_container_cgroup(&who, typed));
	return who;
}

static __always_inline __u32 current_thread(void)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();

	return BPF_CORE_READ(task, pid);
}

static __always_inline struct principal current_principal(bool on_cgroup)
{
	if (!on_cgroup && HAS_TYPED_TASK)
		return principal_of(bpf_get_current_task_btf(), true, true);
	return principal_of((struct task_struct *)bpf_get_current_task(), false, !on_cgroup);
}

#endif /* DS01_PRINCIPAL_H */
