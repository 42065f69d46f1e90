/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The decision, the same for every hook. The first line that matches decides:
 *
 *   1  explicit deny                                        never uid 0
 *   2  host root; exempt user; exempt cgroup                on the host only
 *   3  an allowed cgroup subtree
 *   4  a grant for the uid that covers the device           on the host only
 *   5  a grant for an ancestor cgroup that covers it
 *   6  deny, EACCES
 */
#ifndef DS01_DECIDE_H
#define DS01_DECIDE_H

#define EACCES 13

struct decision {
	bool allow;
	__u8 reason;
	__u64 grant;
};

static __always_inline struct decision allow(__u8 reason, __u64 grant)
{
	return (struct decision){.allow = true, .reason = reason, .grant = grant};
}

static __always_inline struct decision deny(__u8 reason, __u64 grant)
{
	return (struct decision){.reason = reason, .grant = grant};
}

/* The flags of all cgroup rules that hold for the current task, those for its uid included. */
static __always_inline __u32 cgroup_flags(const struct object *object, const struct principal *who)
{
	__u64 depths = object->rule->depths;
	__u32 flags = 0;

	for (int depth = 0; depth < DS01_MAX_DEPTH && depths; depth++, depths >>= 1) {
		struct ds01_rule *rule;
		__u64 id;

		if (!(depths & 1))
			continue;
		id = bpf_get_current_ancestor_cgroup_id(depth);
		if (!id)
			break; /* the task is not that deep */
		rule = find_rule(object->rules, DS01_RULE_CGROUP, id, 0);
		if (!rule)
			continue;
		flags |= rule->flags;
		if (rule->flags & DS01_PAIRED) {
			rule = find_rule(object->rules, DS01_RULE_CGROUP_UID, id, who->uid);
			if (rule)
				flags |= rule->flags;
		}
	}
	return flags;
}

static __always_inline bool covers(const struct ds01_grant *grant, const struct ds01_rule *rule)
{
	switch (rule->device_class) {
	case DS01_CLASS_GPU:
	case DS01_CLASS_CONTROL:
	case DS01_CLASS_COMPUTE:
	case DS01_CLASS_DRI:
		if (!(rule->flags & DS01_INDEXED))
			return true;
		return grant->gpus[rule->index / 64 % DS01_GPU_WORDS] >> (rule->index % 64) & 1;
	default: /* capability, fabric: a descriptor of those is a token, never part of a plain grant */
		return false;
	}
}

static __always_inline bool has_ended(const struct ds01_grant *grant)
{
	__u64 now;

	if (grant->ends == DS01_NEVER)
		return false;
	now = bpf_ktime_get_boot_ns();
	if (grant->clock == DS01_WALL_CLOCK)
		now += state.wall_minus_boot;
	return now >= grant->ends;
}

/* The reason for which a subject's grant does or does not open the object. */
static __always_inline struct decision check_grant(const struct object *object, __u32 kind, __u64 id, __u8 by)
{
	struct ds01_subject subject = {.id = id, .kind = kind};
	struct ds01_grant *grant = bpf_map_lookup_elem(&grants, &subject);

	if (!grant)
		return deny(DS01_NO_GRANT, 0);
	if (has_ended(grant))
		return deny(DS01_GRANT_ENDED, grant->number);
	if (!covers(grant, object->rule))
		return deny(DS01_GRANT_NOT_COVERING, grant->number);
	return allow(by, grant->number);
}

static __always_inline struct decision check_cgroup_grants(const struct object *object)
{
	struct decision decision = deny(DS01_NO_GRANT, 0);
	__u64 depths = state.grant_depths;

	for (int depth = 0; depth < DS01_MAX_DEPTH && depths && !decision.allow; depth++, depths >>= 1) {
		__u64 id;

		if (!(depths & 1))
			continue;
		id = bpf_get_current_ancestor_cgroup_id(depth);
		if (!id)
			break;
		decision = check_grant(object, DS01_SUBJECT_CGROUP, id, DS01_BY_CGROUP_GRANT);
	}
	return decision;
}

static __always_inline struct decision decide_device(const struct object *object, const struct principal *who)
{
	struct decision by_user, by_cgroup;
	struct ds01_rule *user = NULL;
	__u32 flags;

	if (who->uid != 0 && object->rule->flags & DS01_USERS)
		user = find_rule(object->rules, DS01_RULE_UID, who->uid, 0);
	if (user && user->flags & DS01_DENY)
		return deny(DS01_BY_DENY_RULE, 0);

	if (who->on_host && who->uid == 0)
		return allow(DS01_BY_HOST_ROOT, 0);
	if (who->on_host && user && user->flags & DS01_EXEMPT)
		return allow(DS01_BY_EXEMPT_USER, 0);
	flags = cgroup_flags(object, who);
	if (who->on_host && flags & DS01_EXEMPT)
		return allow(DS01_BY_EXEMPT_CGROUP, 0);

	if (flags & DS01_ALLOW)
		return allow(DS01_BY_ALLOWED_CGROUP, 0);

	by_user = check_grant(object, DS01_SUBJECT_UID, who->uid, DS01_BY_USER_GRANT);
	if (by_user.allow && !who->on_host)
		by_user = deny(DS01_IN_CONTAINER, by_user.grant);
	if (by_user.allow)
		return by_user;

	by_cgroup = check_cgroup_grants(object);
	if (by_cgroup.allow || by_user.reason == DS01_NO_GRANT)
		return by_cgroup;
	return by_user;
}

/* Host principals may knock at the admin socket; whether they are admins is for its file mode and the agent to say. */
static __always_inline struct decision decide_listener(const struct principal *who)
{
	return who->on_host ? allow(DS01_BY_HOST_PRINCIPAL, 0) : deny(DS01_IN_CONTAINER, 0);
}

#endif /* DS01_DECIDE_H */
