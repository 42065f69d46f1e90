// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * The gate. Every program that the kernel runs for us is on this screen; each finds the object, asks decide() for the
 * verdict and, only after that, counts and reports it.
 *
 *   object.h     what is gated: one lookup in the policy, ungated objects leave at once
 *   principal.h  who asks: real uid, cgroup ancestors, host or container
 *   decide.h     the order of rules, as the design has it
 *   judge.h      ties these together, by the mode of the gate
 *   report.h     counts, the per-user bucket, events, and who reports during an upgrade
 *   maps.h       the maps, each with its owner, its size and what happens when it is full
 *
 * A non-zero `ret` is the denial of an earlier LSM program; it stands.
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

/* Runs on every open() of the machine, after file mode and device cgroup have allowed it, before the driver. */
SEC("lsm/file_open")
int BPF_PROG(ds01_file_open, struct file *file, int ret)
{
	struct inode *inode = file->f_inode;

	if ((inode->i_mode & S_IFMT) != S_IFCHR || ret)
		return ret;
	return judge_device(inode->i_rdev, DS01_HOOK_OPEN);
}

/* connect() to a Unix stream socket; `other` is the listener. */
SEC("lsm/unix_stream_connect")
int BPF_PROG(ds01_unix_stream_connect, struct sock *sock, struct sock *other, struct sock *newsk, int ret)
{
	if (ret)
		return ret;
	return judge_listener((struct unix_sock *)other, DS01_HOOK_CONNECT);
}

/* The kernel lends most of its helpers to programs with a GPL-compatible licence only. */
char LICENSE[] SEC("license") = "GPL";
