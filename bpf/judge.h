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

/* Turns the decision into what the hook returns, by the gate's mode, then counts and reports it. */
static __always_inline int conclude(const struct object *object, const struct principal *who,
				    struct decision decision, __u8 mode)
{
	__u8 verdict = decision.allow ? DS01_ALLOWED : mode == DS01_MODE_MONITORING ? DS01_WOULD_DENY : DS01_DENIED;
	__u64 now = decision.allow ? 0 : bpf_ktime_get_boot_ns();

	if (is_mine_to_report(verdict)) {
		count(who->uid, object, verdict, now);
		if (!decision.allow)
			emit(object, who, verdict, &decision, now);
	}
	return verdict == DS01_DENIED ? -EACCES : 0;
}

/* The agent's proof that the programs run: a denial for its own thread, and for no other. */
static __always_inline int judge_selftest(const struct object *object, const struct principal *who)
{
	if (object->rule->thread != (__u32)bpf_get_current_pid_tgid())
		return 0;
	return conclude(object, who, deny(DS01_BY_SELFTEST, 0), DS01_MODE_FULL);
}

/* Not inline, so that the program around it saves no registers for the millions of opens that never come here. */
static __noinline int judge_device(__u32 device, __u8 hook)
{
	struct object object = {.rules = current_rules(), .device = device, .hook = hook};
	struct principal who;
	__u8 mode;

	if (!object.rules)
		return 0;
	object.rule = find_device(object.rules, device);
	if (!object.rule)
		return 0;
	mode = mode_now(object.rule);
	who = current_principal();
	if (object.rule->device_class == DS01_CLASS_SELFTEST)
		return judge_selftest(&object, &who);
	if (mode == DS01_MODE_DISABLED)
		return 0;
	return conclude(&object, &who, decide_device(&object, &who), mode);
}

static __always_inline int judge_listener(struct unix_sock *listener, __u8 hook)
{
	struct object object = {.rules = current_rules(), .hook = hook};
	struct principal who;

	if (!object.rules)
		return 0;
	object.rule = find_listener(object.rules, listener);
	if (!object.rule)
		return 0;
	who = current_principal();
	if (object.rule->device_class == DS01_CLASS_SELFTEST)
		return judge_selftest(&object, &who);
	return conclude(&object, &who, decide_listener(&who), DS01_MODE_FULL);
}

#endif /* DS01_JUDGE_H */
