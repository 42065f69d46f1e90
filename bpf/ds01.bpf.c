// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * The gate. Every program that the kernel runs for us is on this screen; each finds the object, asks decide() for the
 * verdict and, only after that, counts and reports it.
 *
 *   object.h     what is gated: one lookup in the policy, ungated objects leave at once
 *   principal.h  who asks: real uid, cgroup ancestors, host or container
 *   decide.h     the order of rules, as the design has it
 *   judge.h      ties these together, by the mode of the gate
 *   guard.h      the gate's own parts
 *   answer.h     what iterators tell the agent
 *   report.h     counts, the per-user bucket, events, and who reports during an upgrade
 *   maps.h       the maps, each with its owner, its size and what happens when it is full
 *
 * Once somebody has denied, nobody behind is asked (invoke_bpf_mod_ret() in arch/x86/net/bpf_jit_comp.c), so no program
 * looks at what was returned before it. Without `bpf` in the LSM list the agent attaches ds01_device in the place of
 * ds01_file_open, and the other LSM programs as fmod_ret programs on security_*(), whose first arguments are the same
 * (agent/kernel/programs.h).
 */
#define DS01_BPF
#include "kernel_types.h"

#include <bpf/bpf_helpers.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#include "ds01/abi.h"

#include "maps.h"
#include "object.h"
#include "principal.h"
#include "decide.h"
#include "report.h"
#include "judge.h"
#include "guard.h"
#include "answer.h"

/* ---- devices ------------------------------------------------------------------------------------------------------ */

/* Runs on every open() of the machine, after file mode and device cgroup have allowed it, before the driver. */
SEC("lsm/file_open")
int BPF_PROG(ds01_file_open, struct file *file)
{
	return judge_file(file, DS01_HOOK_OPEN);
}

SEC("lsm/file_ioctl")
int BPF_PROG(ds01_file_ioctl, struct file *file)
{
	return judge_file(file, DS01_HOOK_IOCTL);
}

/* The same from a 32-bit program, in kernels that have a hook of its own for it. */
SEC("lsm/file_ioctl_compat")
int BPF_PROG(ds01_file_ioctl_compat, struct file *file)
{
	return judge_file(file, DS01_HOOK_IOCTL);
}

/* Without a file it is a mapping of anonymous memory. */
SEC("lsm/mmap_file")
int BPF_PROG(ds01_mmap_file, struct file *file)
{
	return file ? judge_file(file, DS01_HOOK_MMAP) : 0;
}

/* The receiver of a passed descriptor runs this. One that is refused does not arrive. */
SEC("lsm/file_receive")
int BPF_PROG(ds01_file_receive, struct file *file)
{
	return judge_file(file, DS01_HOOK_RECEIVE);
}

/* On the root cgroup: every open() and mknod() of a device node below it, and access() as well. 1 allows. */
SEC("cgroup/dev")
int ds01_device(struct bpf_cgroup_dev_ctx *device)
{
	return judge_access(device->access_type, DS01_DEV(device->major, device->minor));
}

/* ---- sockets ------------------------------------------------------------------------------------------------------ */

/* connect() to a Unix stream socket; `other` is the listener. */
SEC("lsm/unix_stream_connect")
int BPF_PROG(ds01_unix_stream_connect, struct sock *sock, struct sock *other)
{
	return judge_listener((struct unix_sock *)other);
}

/* ---- the gate itself ---------------------------------------------------------------------------------------------- */

SEC("lsm/sb_umount")
int BPF_PROG(ds01_sb_umount, struct vfsmount *mount)
{
	return judge_guarded(DS01_RULE_PINS, 0, mount->mnt_sb->s_dev, DS01_HOOK_UMOUNT);
}

SEC("lsm/inode_unlink")
int BPF_PROG(ds01_inode_unlink, struct inode *folder)
{
	return judge_folder(folder);
}

SEC("lsm/inode_rmdir")
int BPF_PROG(ds01_inode_rmdir, struct inode *folder)
{
	return judge_folder(folder);
}

SEC("lsm/inode_rename")
int BPF_PROG(ds01_inode_rename, struct inode *from, struct dentry *old, struct inode *to, struct dentry *entry)
{
	return judge_folder(from) ?: judge_folder(to);
}

/* A descriptor of a map is made: by its id, or from a pin. */
SEC("lsm/bpf_map")
int BPF_PROG(ds01_bpf_map, struct bpf_map *map)
{
	return judge_guarded(DS01_RULE_MAP, map->id, 0, DS01_HOOK_MAP);
}

SEC("lsm/bpf_prog")
int BPF_PROG(ds01_bpf_prog, struct bpf_prog *program)
{
	return judge_guarded(DS01_RULE_PROGRAM, program->aux->id, 0, DS01_HOOK_PROGRAM);
}

SEC("lsm/bpf")
int BPF_PROG(ds01_bpf, int command, void *attributes)
{
	return judge_link_command(command, attributes);
}

/* Signal 0 only asks whether the process is there. */
SEC("lsm/task_kill")
int BPF_PROG(ds01_task_kill, struct task_struct *task, void *info, int signal)
{
	return signal ? judge_process(task, DS01_HOOK_KILL) : 0;
}

SEC("lsm/ptrace_access_check")
int BPF_PROG(ds01_ptrace_access_check, struct task_struct *task)
{
	return judge_process(task, DS01_HOOK_PTRACE);
}

/* ---- answers to the agent ----------------------------------------------------------------------------------------- */

SEC("iter/task_file")
int ds01_open_files(struct bpf_iter__task_file *at)
{
	struct task_struct *task = at->task;
	struct file *file = at->file;

	if (task && file)
		answer_file(at->meta->seq, task, file, at->fd);
	return 0;
}

SEC("iter/task_vma")
int ds01_mappings(struct bpf_iter__task_vma *at)
{
	struct task_struct *task = at->task;
	struct vm_area_struct *area = at->vma;

	if (task && area && area->vm_file)
		answer_file(at->meta->seq, task, area->vm_file, DS01_NO_FD);
	return 0;
}

SEC("iter/task")
int ds01_task(struct bpf_iter__task *at)
{
	struct task_struct *task = at->task;
	struct ds01_question *asked;
	__u32 slot = 0;

	asked = bpf_map_lookup_elem(&question, &slot);
	if (asked && task && (__u32)task->tgid == asked->tgid && task->pid == task->tgid)
		answer(at->meta->seq, task, asked->device, DS01_NO_FD, true);
	return 0;
}

/* The kernel lends most of its helpers to programs with a GPL-compatible licence only. */
char LICENSE[] SEC("license") = "GPL";
