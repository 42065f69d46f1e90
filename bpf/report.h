/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What is left behind once the verdict stands: an exact count always, an event where the user's bucket allows one.
 * Nothing here can change a verdict.
 */
#ifndef DS01_REPORT_H
#define DS01_REPORT_H

#define SECOND 1000000000ULL
#define BUCKET_BURST 32

/* Set before loading; tells the programs of two agents apart. */
const volatile __u64 generation;

/* The bucket of all uids that have none of their own because `buckets` is full. */
static __u64 shared_bucket;

static __always_inline void count_loss(__u32 slot)
{
	__u64 *loss = bpf_map_lookup_elem(&losses, &slot);

	if (loss)
		__sync_fetch_and_add(loss, 1);
}

/*
 * Of two generations that are attached side by side during an upgrade, exactly one reports an event. The kernel runs the
 * newcomer first (bpf_trampoline_link_prog() adds to the head of its list) and, after a denial, nothing behind it
 * (invoke_bpf_mod_ret()). So the newcomer reports all it sees, and where it did not end the hook it leaves a mark for the
 * older program behind it to keep silent.
 */
static __always_inline bool is_mine_to_report(__u8 verdict)
{
	__u64 newcomer = state.newcomer;
	__u32 thread;
	__u8 seen = 1;

	if (!newcomer)
		return true;
	thread = current_thread();
	if (newcomer != generation)
		return bpf_map_delete_elem(&reported, &thread) != 0;
	if (verdict != DS01_DENIED)
		bpf_map_update_elem(&reported, &thread, &seen, BPF_ANY);
	return true;
}

static __always_inline void count(__u32 uid, const struct object *object, __u8 verdict, __u64 now)
{
	struct ds01_count_key key = {.uid = uid, .device_class = object->rule->device_class, .hook = object->hook};
	struct ds01_count *count = bpf_map_lookup_elem(&counts, &key);

	if (!count) {
		struct ds01_count zero = {};

		/* Another CPU may have been first: then this fails, and the next look-up finds that one's. */
		bpf_map_update_elem(&counts, &key, &zero, BPF_NOEXIST);
		count = bpf_map_lookup_elem(&counts, &key);
	}
	if (!count) {
		count_loss(DS01_UNATTRIBUTED);
		return;
	}
	__sync_fetch_and_add(&count->verdicts[verdict % 3], 1);
	if (verdict == DS01_ALLOWED)
		return;
	if (!count->first_denial)
		count->first_denial = now;
	count->last_denial = now;
}

/*
 * A token bucket in one number: the time at which it is full again. Each event moves that a second on; it may lie as
 * far ahead as the burst is long. Two CPUs may take the same token: a few events more, still bounded.
 */
static __always_inline bool take_token(__u32 uid, __u64 now)
{
	__u64 *full_at = bpf_map_lookup_elem(&buckets, &uid);
	__u64 first = now + SECOND;

	if (!full_at) {
		if (bpf_map_update_elem(&buckets, &uid, &first, BPF_NOEXIST) == 0)
			return true;
		full_at = bpf_map_lookup_elem(&buckets, &uid) ?: &shared_bucket;
	}
	if (*full_at > now + (BUCKET_BURST - 1) * SECOND)
		return false;
	*full_at = (*full_at > now ? *full_at : now) + SECOND;
	return true;
}

static __always_inline void emit(const struct object *object, const struct principal *who, __u8 verdict,
				 struct decision decision, __u64 now)
{
	struct task_struct *task = who->task;
	struct ds01_event *event;

	/* The agent's own proof is not rationed: it must not fail because root was denied often, or the agent restarted often. */
	if (object->rule->device_class != DS01_CLASS_SELFTEST && !take_token(who->uid, now)) {
		count_loss(DS01_LIMITED_EVENTS);
		return;
	}
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event) {
		count_loss(DS01_LOST_EVENTS);
		return;
	}
	*event = (struct ds01_event){
		.time = now,
		.task_start = who->started,
		.cgroup = own_cgroup_id(who),
		.grant = decision.word >> 8,
		.generation = generation,
		.uid = who->uid,
		.login_uid = BPF_CORE_READ(task, loginuid.val),
		.tgid = BPF_CORE_READ(task, tgid),
		.tid = BPF_CORE_READ(task, pid),
		.device = object->device,
		.device_class = object->rule->device_class,
		.index = object->rule->index,
		.hook = object->hook,
		.verdict = verdict,
		.reason = reason_of(decision),
	};
	bpf_core_read(event->comm, sizeof(event->comm), &task->comm);
	bpf_ringbuf_submit(event, 0);
}

#endif /* DS01_REPORT_H */
