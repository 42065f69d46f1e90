/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The decision, the same for every hook. The first line that matches decides:
 *
 *   1  explicit deny                                        never uid 0
 *   2  host root; exempt user; exempt cgroup                on the host only
 *   3  an allowed cgroup subtree; a device open to all      (`telemetry: allow`)
 *   4  a grant for the uid that covers the device           on the host only
 *   5  a grant for an ancestor cgroup that covers it
 *   6  deny, EACCES
 */
#ifndef DS01_DECIDE_H
#define DS01_DECIDE_H

#define EACCES 13

/* The reasons that allow; every other one denies. */
#define ALLOWING                                                                                                       \
	(1U << DS01_BY_HOST_ROOT | 1U << DS01_BY_EXEMPT_USER | 1U << DS01_BY_EXEMPT_CGROUP |                           \
	 1U << DS01_BY_ALLOWED_CGROUP | 1U << DS01_BY_USER_GRANT | 1U << DS01_BY_CGROUP_GRANT |                        \
	 1U << DS01_BY_HOST_PRINCIPAL | 1U << DS01_BY_SOFT_GRACE | 1U << DS01_BY_TELEMETRY | 1U << DS01_UNGATED)

/* The reason in the low byte, the number of the grant that was looked at above: one number, as a global function returns it. */
struct decision {
	__u64 word;
};

static __always_inline struct decision decided(__u8 reason, __u64 grant)
{
	return (struct decision){grant << 8 | reason};
}

static __always_inline __u8 reason_of(struct decision decision)
{
	return decision.word & 0xff;
}

static __always_inline bool allows(struct decision decision)
{
	return ALLOWING >> (decision.word & 31) & 1;
}

/* ---- grants ------------------------------------------------------------------------------------------------------- */

/* What a grant has to cover, as one number: a global function takes no pointer to our maps. */
#define WANTED_INDEX(wanted) ((__u16)(wanted))
#define WANTED_CLASS(wanted) ((__u16)((wanted) >> 16))
#define WANTED_FAMILY(wanted) ((__u16)((wanted) >> 32))
#define WANTED_HOOK(wanted) ((__u8)((wanted) >> 48))
#define WANTED_INDEXED(wanted) ((wanted) >> 56)

static __always_inline __u64 wanted_of(const struct object *object)
{
	const struct ds01_rule *rule = object->rule;

	return rule->index | (__u64)rule->device_class << 16 | (__u64)rule->cap_family << 32 |
	       (__u64)object->hook << 48 | (__u64)((rule->flags & DS01_INDEXED) != 0) << 56;
}

static __always_inline bool covers_gpu(const struct ds01_grant *grant, __u64 wanted)
{
	__u16 index = WANTED_INDEX(wanted);

	if (!WANTED_INDEXED(wanted))
		return true;
	return grant->gpus[index / 64 % DS01_GPU_WORDS] >> (index % 64) & 1;
}

/* A descriptor of a capability node is a token: a grant has to name the node. */
static __always_inline bool covers_capability(const struct ds01_grant *grant, __u64 wanted, __u32 device)
{
	__u32 cap = DS01_DEV((__u32)WANTED_FAMILY(wanted), device & DS01_MINOR_MASK);

	if (!WANTED_FAMILY(wanted))
		return false;
	for (int i = 0; i < DS01_GRANT_CAPS; i++)
		if (grant->caps[i] == cap)
			return true;
	return false;
}

static __always_inline bool covers(const struct ds01_grant *grant, __u64 wanted, __u32 device)
{
	switch (WANTED_CLASS(wanted)) {
	case DS01_CLASS_GPU:
	case DS01_CLASS_CONTROL:
	case DS01_CLASS_COMPUTE:
	case DS01_CLASS_DRI:
		return covers_gpu(grant, wanted);
	case DS01_CLASS_CAPABILITY:
		return covers_capability(grant, wanted, device);
	default: /* fabric: never part of a grant */
		return false;
	}
}

/* Nanoseconds since the grant's end; negative before it. */
static __always_inline __s64 since_end(const struct ds01_grant *grant, __u64 now)
{
	if (grant->ends == DS01_NEVER)
		return -1;
	if (grant->clock == DS01_WALL_CLOCK)
		now += state.wall_minus_boot;
	return (__s64)(now - grant->ends);
}

/* After a soft end what is open may still be used, for a while, by processes that `started` before it. */
static __always_inline bool in_soft_grace(const struct ds01_grant *grant, __u8 hook, __u64 since, __u64 end,
					  __u64 started)
{
	return (hook == DS01_HOOK_IOCTL || hook == DS01_HOOK_MMAP) && since < grant->soft_grace && started < end;
}

/* Whether a subject's grant opens the object. */
static __always_inline struct decision weigh_grant(__u64 id, __u32 kind, __u32 device, __u64 wanted, __u64 started)
{
	struct ds01_subject subject = {.id = id, .kind = kind};
	struct ds01_grant *grant = bpf_map_lookup_elem(&grants, &subject);
	__u64 now;
	__s64 since;

	if (!grant)
		return decided(DS01_NO_GRANT, 0);
	if (!covers(grant, wanted, device))
		return decided(DS01_GRANT_NOT_COVERING, grant->number);
	now = bpf_ktime_get_boot_ns();
	since = since_end(grant, now);
	if (since < 0)
		return decided(kind == DS01_SUBJECT_UID ? DS01_BY_USER_GRANT : DS01_BY_CGROUP_GRANT, grant->number);
	if (in_soft_grace(grant, WANTED_HOOK(wanted), since, now - since, started))
		return decided(DS01_BY_SOFT_GRACE, grant->number);
	return decided(DS01_GRANT_ENDED, grant->number);
}

static __always_inline struct decision check_user_grant(const struct object *object, const struct principal *who)
{
	return weigh_grant(who->uid, DS01_SUBJECT_UID, object->device, wanted_of(object), who->started);
}

/* Global, so that the verifier looks at it once and not at every level of the walk over cgroups. */
__noinline __u64 ask_cgroup_grant(__u64 id, __u32 device, __u64 wanted, __u64 started)
{
	return weigh_grant(id, DS01_SUBJECT_CGROUP, device, wanted, started).word;
}

/* ---- cgroups ------------------------------------------------------------------------------------------------------ */

/* What the task's cgroups say: the flags of all rules that hold for it, those for its uid included, and a grant. */
struct cgroup_facts {
	__u32 flags;
	struct decision grant;
};

static __always_inline __u32 rule_flags(const struct object *object, const struct principal *who, __u64 id)
{
	struct ds01_rule *rule = find_rule(object->rules, DS01_RULE_CGROUP, id, 0);
	__u32 flags;

	if (!rule)
		return 0;
	flags = rule->flags;
	if (flags & DS01_PAIRED) {
		rule = find_rule(object->rules, DS01_RULE_CGROUP_UID, id, who->uid);
		if (rule)
			flags |= rule->flags;
	}
	/* An exact rule holds for the cgroup itself, not for what is made below it. */
	return flags & DS01_EXACT && id != own_cgroup_id(who) ? 0 : flags;
}

/* One walk for rules and grants: the verifier looks at every level of every walk anew. */
static __always_inline struct cgroup_facts ask_cgroups(const struct object *object, const struct principal *who)
{
	struct cgroup_facts facts = {.grant = decided(DS01_NO_GRANT, 0)};
	__u64 with_rules = object->rule->depths, with_grants = state.grant_depths;

	for (int depth = 0; depth < DS01_MAX_DEPTH; depth++, with_rules >>= 1, with_grants >>= 1) {
		__u64 depths = with_rules | with_grants;
		__u64 id;

		if (!depths)
			break;
		if (!(depths & 1))
			continue;
		id = ancestor_id(who, depth);
		if (!id)
			break; /* the task is not that deep */
		if (with_rules & 1)
			facts.flags |= rule_flags(object, who, id);
		if (with_grants & 1 && !allows(facts.grant))
			facts.grant.word = ask_cgroup_grant(id, object->device, wanted_of(object), who->started);
	}
	return facts;
}

/* ---- the order of the rules --------------------------------------------------------------------------------------- */

static __always_inline __u32 user_flags(const struct object *object, const struct principal *who)
{
	struct ds01_rule *rule;

	if (who->uid == 0 || !(object->rule->flags & DS01_USERS))
		return 0;
	rule = find_rule(object->rules, DS01_RULE_UID, who->uid, 0);
	return rule ? rule->flags : 0;
}

static __always_inline struct decision decide_device(const struct object *object, const struct principal *who)
{
	struct decision by_user;
	struct cgroup_facts cgroups;
	__u32 user = user_flags(object, who);

	if (user & DS01_DENY)
		return decided(DS01_BY_DENY_RULE, 0);

	if (who->on_host && who->uid == 0)
		return decided(DS01_BY_HOST_ROOT, 0);
	if (who->on_host && user & DS01_EXEMPT)
		return decided(DS01_BY_EXEMPT_USER, 0);
	cgroups = ask_cgroups(object, who);
	if (who->on_host && cgroups.flags & DS01_EXEMPT)
		return decided(DS01_BY_EXEMPT_CGROUP, 0);

	if (cgroups.flags & DS01_ALLOW)
		return decided(DS01_BY_ALLOWED_CGROUP, 0);
	if (object->rule->flags & DS01_QUERY)
		return decided(DS01_BY_TELEMETRY, 0);

	by_user = check_user_grant(object, who);
	if (allows(by_user) && !who->on_host)
		by_user = decided(DS01_IN_CONTAINER, by_user.word >> 8);
	if (allows(by_user))
		return by_user;
	if (allows(cgroups.grant) || reason_of(by_user) == DS01_NO_GRANT)
		return cgroups.grant;
	return by_user;
}

/* Host principals may knock at the admin socket; whether they are admins is for its file mode and the agent to say. */
static __always_inline struct decision decide_listener(const struct principal *who)
{
	return decided(who->on_host ? DS01_BY_HOST_PRINCIPAL : DS01_IN_CONTAINER, 0);
}

/* The agent is root on the host as well. */
static __always_inline struct decision decide_guarded(const struct principal *who)
{
	return decided(who->on_host && who->uid == 0 ? DS01_BY_HOST_ROOT : DS01_GUARDED, 0);
}

#endif /* DS01_DECIDE_H */
