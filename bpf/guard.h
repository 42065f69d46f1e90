/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What the guards look at: the gate's own pins, maps, programs, links and agent. Found by id, as rules of the policy. */
#ifndef DS01_GUARD_H
#define DS01_GUARD_H

#define BPF_FS_MAGIC 0xcafe4a11

/* Something in this folder is to be removed or renamed. */
static __always_inline int judge_folder(struct inode *folder)
{
	if (folder->i_sb->s_magic != BPF_FS_MAGIC)
		return 0;
	return judge_guarded(DS01_RULE_PINS, folder->i_ino, folder->i_sb->s_dev, DS01_HOOK_UNLINK);
}

/* A signal to the process, or a look into it. */
static __always_inline int judge_process(struct task_struct *task, __u8 hook)
{
	return judge_guarded(DS01_RULE_PROCESS, task->group_leader->start_boottime, task->tgid, hook);
}

/*
 * bpf(BPF_LINK_DETACH) and bpf(BPF_LINK_UPDATE): links on cgroups know them, others do not. The link is behind a
 * descriptor of the caller's, which both have in their first field.
 */
static __always_inline int judge_link_command(int command, const void *attributes)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	struct bpf_link *link;
	struct fdtable *table;
	struct file *file;
	__u32 fd;

	if (command != BPF_LINK_DETACH && command != BPF_LINK_UPDATE)
		return 0;
	table = BPF_CORE_READ(task, files, fdt);
	if (bpf_probe_read_kernel(&fd, sizeof(fd), attributes) || fd >= BPF_CORE_READ(table, max_fds))
		return 0;
	if (bpf_probe_read_kernel(&file, sizeof(file), BPF_CORE_READ(table, fd) + fd) || !file)
		return 0;
	link = BPF_CORE_READ(file, private_data);
	return judge_guarded(DS01_RULE_LINK, BPF_CORE_READ(link, id), 0, DS01_HOOK_DETACH);
}

#endif /* DS01_GUARD_H */
