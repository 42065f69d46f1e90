/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What the iterators write: who holds a gated device, and what an open() of theirs would get now. */
#ifndef DS01_ANSWER_H
#define DS01_ANSWER_H

static __always_inline void answer(struct seq_file *seq, struct task_struct *task, __u32 device, __u32 fd, bool always)
{
	struct object object = {.rules = current_rules(), .device = device, .hook = DS01_HOOK_OPEN};
	struct decision decision = decided(DS01_UNGATED, 0);
	struct ds01_holder holder = {.device = device, .fd = fd};
	struct principal who = principal_of(task, true, false);

	if (object.rules)
		object.rule = find_device(object.rules, device);
	if (object.rule && !is_selftest(&object)) {
		holder.device_class = object.rule->device_class;
		holder.index = object.rule->index;
		decision = decide_device(&object, &who);
	} else if (!always) {
		return;
	}
	holder.task_start = who.started;
	holder.cgroup = own_cgroup_id(&who);
	holder.grant = decision.word >> 8;
	holder.uid = who.uid;
	holder.tgid = task->tgid;
	holder.allowed = allows(decision);
	holder.reason = reason_of(decision);
	holder.on_host = who.on_host;
	bpf_core_read_str(holder.comm, sizeof(holder.comm), &task->comm);
	bpf_seq_write(seq, &holder, sizeof(holder));
}

static __always_inline void answer_file(struct seq_file *seq, struct task_struct *task, struct file *file, __u32 fd)
{
	struct inode *inode = file->f_inode;

	if ((inode->i_mode & S_IFMT) == S_IFCHR)
		answer(seq, task, inode->i_rdev, fd, false);
}

#endif /* DS01_ANSWER_H */
