/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* From object to return value: find the rule, decide, turn the decision into a verdict by the mode, then report it. */
#ifndef DS01_JUDGE_H
#define DS01_JUDGE_H

static __always_inline __u8 mode_now(const struct ds01_rule *rule)
{
	if (rule->mode_until == DS01_NEVER || bpf_ktime_get_boot_ns() < rule->mode_until)
		return rule->mode;
	return rule->mode_after;
}

/* The agent's proof that the programs run: a denial for its own thread, and for no other. */
static __always_inline bool is_selftest(const struct object *object)
{
	return object->rule->device_class == DS01_CLASS_SELFTEST;
}

static __always_inline bool is_for_this_thread(const struct object *object)
{
	return object->rule->thread == current_thread();
}

/* Turns the decision into what the hook returns, by the gate's mode, then counts and reports it. */
static __always_inline int conclude(const struct object *object, const struct principal *who,
				    struct decision decision, __u8 mode, bool on_cgroup)
{
	bool allowed = allows(decision);
	__u8 verdict = allowed ? DS01_ALLOWED : mode == DS01_MODE_MONITORING ? DS01_WOULD_DENY : DS01_DENIED;
	__u64 now = allowed ? 0 : bpf_ktime_get_boot_ns();

	if (on_cgroup || is_mine_to_report(verdict)) {
		count(who->uid, object, verdict, now);
		if (!allowed)
			emit(object, who, verdict, decision, now);
	}
	return verdict == DS01_DENIED ? -EACCES : 0;
}

static __always_inline int judge_device_by(__u32 device, __u8 hook, bool on_cgroup)
{
	struct object object = {.rules = current_rules(), .device = device, .hook = hook};
	struct decision decision;
	struct principal who;
	__u8 mode = DS01_MODE_FULL;

	if (!object.rules)
		return 0;
	object.rule = find_device(object.rules, device);
	if (!object.rule)
		return 0;
	if (is_selftest(&object)) {
		if (!is_for_this_thread(&object))
			return 0;
		who = current_principal(on_cgroup);
		decision = decided(DS01_BY_SELFTEST, 0);
	} else {
		mode = mode_now(object.rule);
		if (mode == DS01_MODE_DISABLED)
			return 0;
		who = current_principal(on_cgroup);
		decision = decide_device(&object, &who);
	}
	return conclude(&object, &who, decision, mode, on_cgroup);
}

/* Not inline, so that the program around it saves no registers for the millions of calls that never come here. */
static __noinline int judge_device(__u32 device, __u8 hook)
{
	return judge_device_by(device, hook, false);
}

static __noinline int judge_open_on_cgroup(__u32 device)
{
	return judge_device_by(device, DS01_HOOK_OPEN, true);
}

/* As programs on cgroups are asked, and answer: 1 allows. mknod() is nobody's access to the device. */
static __always_inline int judge_access(__u32 access_type, __u32 device)
{
	if ((access_type & 0xffff) != BPF_DEVCG_DEV_CHAR ||
	    !(access_type >> 16 & (BPF_DEVCG_ACC_READ | BPF_DEVCG_ACC_WRITE)))
		return 1;
	if (!judge_open_on_cgroup(device))
		return 1;
	/* Before 5.18 the errno is EPERM. */
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_set_retval))
		bpf_set_retval(-EACCES);
	return 0;
}

static __always_inline int judge_file(struct file *file, __u8 hook)
{
	struct inode *inode = file->f_inode;

	if ((inode->i_mode & S_IFMT) != S_IFCHR)
		return 0;
	return judge_device(inode->i_rdev, hook);
}

static __always_inline int judge_listener(struct unix_sock *listener)
{
	struct object object = {.rules = current_rules(), .hook = DS01_HOOK_CONNECT};
	struct principal who;

	if (!object.rules)
		return 0;
	object.rule = find_listener(object.rules, listener);
	if (!object.rule || (is_selftest(&object) && !is_for_this_thread(&object)))
		return 0;
	who = current_principal(false);
	return conclude(&object, &who, is_selftest(&object) ? decided(DS01_BY_SELFTEST, 0) : decide_listener(&who),
			DS01_MODE_FULL, false);
}

/* The gate's own parts, in every mode. */
static __noinline int judge_guarded(__u32 kind, __u64 id, __u32 sub, __u8 hook)
{
	struct object object = {.rules = current_rules(), .hook = hook};
	struct principal who;

	if (!object.rules)
		return 0;
	object.rule = find_rule(object.rules, kind, id, sub);
	if (!object.rule)
		return 0;
	who = current_principal(false);
	return conclude(&object, &who, decide_guarded(&who), DS01_MODE_FULL, false);
}

#endif /* DS01_JUDGE_H */
