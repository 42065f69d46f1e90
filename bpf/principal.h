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
#define WALK_LEVELS 128
#define USER_SLICE_LEVEL 2 /* /user.slice/user-1000.slice */

struct principal {
	struct task_struct *task;
	__u32 uid;
	bool on_host;
};

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
 * for every level of every walk. Such a function takes numbers only, so a cgroup is passed as its address and the task
 * is looked up again.
 */
__noinline int is_container_cgroup(__u64 address)
{
	struct name name;

	return !read_name((struct cgroup *)address, &name) || is_container_name(&name);
}

static __always_inline struct cgroup *current_cgroup(void)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();

	return BPF_CORE_READ(task, cgroups, dfl_cgrp);
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
__noinline int in_own_slice(__u32 uid)
{
	struct cgroup *cgroup = current_cgroup();
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

static __always_inline bool in_container_cgroup(struct task_struct *task)
{
	__u64 id = task->cgroups->dfl_cgrp->kn->id;
	struct cgroup *cgroup;
	__u8 seen = 1;

	if (bpf_map_lookup_elem(&host_cgroups, &id))
		return false;
	/* The task may be moved meanwhile: what is remembered is the cgroup that was walked. */
	cgroup = current_cgroup();
	if (has_container_name((__u64)cgroup))
		return true;
	id = BPF_CORE_READ(cgroup, kn, id);
	bpf_map_update_elem(&host_cgroups, &id, &seen, BPF_ANY);
	return false;
}

/* A user namespace counts as the host's for the user who made it, inside their own login slice (`unshare -r`). */
static __always_inline bool in_foreign_user_namespace(struct task_struct *task, __u32 uid)
{
	struct user_namespace *ns = task->cred->user_ns;

	if (ns->level == 0)
		return false;
	return uid == 0 || ns->owner.val != uid || !in_own_slice(uid);
}

static __always_inline bool is_on_host(struct task_struct *task, __u32 uid)
{
	return task->thread_pid->level == 0 && !in_foreign_user_namespace(task, uid) && !in_container_cgroup(task);
}

static __always_inline struct principal current_principal(void)
{
	struct task_struct *task = bpf_get_current_task_btf();
	__u32 uid = bpf_get_current_uid_gid();

	return (struct principal){.task = task, .uid = uid, .on_host = is_on_host(task, uid)};
}

#endif /* DS01_PRINCIPAL_H */
