/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The kernel's types, as far as these programs read them. preserve_access_index makes every field access a CO-RE
 * relocation: libbpf looks the offset up in the running kernel's BTF, so order and other fields do not matter here.
 */
#ifndef DS01_KERNEL_TYPES_H
#define DS01_KERNEL_TYPES_H

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef short __s16;
typedef int __s32;
typedef long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;
typedef _Bool bool;
#define true 1
#define false 0
#define NULL ((void *)0)

/* include/uapi/linux/bpf.h */
enum bpf_map_type {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_ARRAY_OF_MAPS = 12,
	BPF_MAP_TYPE_RINGBUF = 27,
};

enum {
	BPF_ANY = 0,
	BPF_NOEXIST = 1,
	BPF_F_NO_PREALLOC = 1,
};

enum bpf_cmd {
	BPF_LINK_UPDATE = 29,
	BPF_LINK_DETACH = 34,
};

/* What a program of type BPF_PROG_TYPE_CGROUP_DEVICE is handed. */
struct bpf_cgroup_dev_ctx {
	__u32 access_type; /* what is asked << 16 | type of the device */
	__u32 major;
	__u32 minor;
};

enum {
	BPF_DEVCG_ACC_READ = 2,
	BPF_DEVCG_ACC_WRITE = 4,
	BPF_DEVCG_DEV_CHAR = 2,
};

/* Helpers that some kernels lack. The numbers are ABI; whether the kernel has them is asked of its BTF. */
enum bpf_func_id {
	BPF_FUNC_get_current_task_btf = 158,
	BPF_FUNC_set_retval = 187,
};

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef __u32 dev_t;
typedef __u16 umode_t;

typedef struct {
	__u32 val;
} kuid_t;

struct super_block {
	dev_t s_dev;
	unsigned long s_magic;
};

struct vfsmount {
	struct super_block *mnt_sb;
};

struct inode {
	umode_t i_mode;
	dev_t i_rdev;
	unsigned long i_ino;
	struct super_block *i_sb;
};

struct file {
	struct inode *f_inode;
	void *private_data;
};

struct fdtable {
	unsigned int max_fds;
	struct file **fd;
};

struct files_struct {
	struct fdtable *fdt;
};

struct vm_area_struct {
	struct file *vm_file;
};

struct dentry {
	struct inode *d_inode;
};

struct path {
	struct dentry *dentry;
};

struct sock {
	struct {
	} __placeholder;
};

struct unix_sock {
	struct path path;
};

struct user_namespace {
	int level; /* 0: the initial one */
	kuid_t owner;
};

struct cred {
	kuid_t uid; /* the real one */
	struct user_namespace *user_ns;
};

struct pid {
	unsigned int level; /* nesting of pid namespaces; 0: the initial one */
};

struct kernfs_node {
	__u64 id;
	const char *name;
};

struct cgroup_subsys_state {
	struct cgroup_subsys_state *parent;
};

struct cgroup {
	struct cgroup_subsys_state self;
	int level;
	struct kernfs_node *kn;
	struct cgroup *ancestors[1]; /* one for each level, itself included; 6.1 and later */
};

struct cgroup___before_6_1 {
	__u64 ancestor_ids[1];
};

struct css_set {
	struct cgroup *dfl_cgrp;
};

struct task_struct {
	int pid;
	int tgid;
	struct task_struct *group_leader;
	__u64 start_boottime;
	struct pid *thread_pid;
	kuid_t loginuid;
	const struct cred *cred;
	struct css_set *cgroups;
	struct files_struct *files;
	char comm[16];
};

struct bpf_map {
	__u32 id;
};

struct bpf_prog_aux {
	__u32 id;
};

struct bpf_prog {
	struct bpf_prog_aux *aux;
};

struct bpf_link {
	__u32 id;
};

/* fs/char_dev.c: who has which majors, as /proc/devices tells. */
struct char_device_struct {
	struct char_device_struct *next;
	unsigned int major;
	char name[64];
};

struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
};

struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
};

struct bpf_iter__task_file {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
	__u32 fd;
	struct file *file;
};

struct bpf_iter__task_vma {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
	struct vm_area_struct *vma;
};

#pragma clang attribute pop

#endif /* DS01_KERNEL_TYPES_H */
