// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * Stands in for the NVIDIA driver in tests: the same majors, minors, names in
 * /proc/devices and files under /proc/driver/nvidia, and nodes that open but do
 * nothing. Tests that see EACCES know it was the gate, as nothing here refuses.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/fs.h>
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>

#define NVIDIA_MAJOR 195
#define GPUS 4

static struct page *zeroed;

/* So many dynamic majors are taken first, so that the driver's own are others than before. */
static unsigned int reserve;
module_param(reserve, uint, 0444);
static unsigned int reserved[8];

static int stub_open(struct inode *inode, struct file *file)
{
	return 0;
}

static ssize_t stub_read(struct file *file, char __user *to, size_t size, loff_t *pos)
{
	return 0;
}

static long stub_ioctl(struct file *file, unsigned int command, unsigned long arg)
{
	return 0;
}

static int stub_mmap(struct file *file, struct vm_area_struct *vma)
{
	if (vma->vm_end - vma->vm_start != PAGE_SIZE)
		return -EINVAL;
	return vm_insert_page(vma, vma->vm_start, zeroed);
}

/* .owner keeps the module from being removed while a node is open or mapped. */
static const struct file_operations stub_fops = {
	.owner = THIS_MODULE,
	.open = stub_open,
	.release = stub_open,
	.read = stub_read,
	.unlocked_ioctl = stub_ioctl,
	.compat_ioctl = stub_ioctl,
	.mmap = stub_mmap,
};

/* One line in /proc/devices each. Major 0 asks for a free one. */
static struct region {
	unsigned int major;
	unsigned int first;
	unsigned int count;
	const char *name;
} regions[] = {
	{ NVIDIA_MAJOR, 0, 254, "nvidia" },
	{ NVIDIA_MAJOR, 254, 1, "nvidia-modeset" },
	{ NVIDIA_MAJOR, 255, 1, "nvidiactl" },
	{ 0, 0, 2, "nvidia-uvm" },
	{ 0, 0, 32, "nvidia-caps" },
};

static void unregister_regions(size_t count)
{
	while (count-- > 0)
		__unregister_chrdev(regions[count].major, regions[count].first,
				    regions[count].count, regions[count].name);
}

static void unregister_reserved(void)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(reserved); i++)
		if (reserved[i])
			__unregister_chrdev(reserved[i], 0, 1, "ds01-reserved");
}

static void register_reserved(void)
{
	size_t i;

	for (i = 0; i < reserve && i < ARRAY_SIZE(reserved); i++) {
		int major = __register_chrdev(0, 0, 1, "ds01-reserved", &stub_fops);

		if (major > 0)
			reserved[i] = major;
	}
}

static int register_regions(void)
{
	size_t i;

	register_reserved();
	for (i = 0; i < ARRAY_SIZE(regions); i++) {
		struct region *r = &regions[i];
		int ret = __register_chrdev(r->major, r->first, r->count, r->name, &stub_fops);

		if (ret < 0) {
			pr_err("cannot register %s: %d\n", r->name, ret);
			unregister_regions(i);
			unregister_reserved();
			return ret;
		}
		if (r->major == 0) /* the free one that was found */
			r->major = ret;
	}
	return 0;
}

/* The driver's own format, of which tests and the agent read the last lines. */
static int information_show(struct seq_file *m, void *unused)
{
	unsigned int minor = (unsigned long)m->private;

	seq_puts(m, "Model: \t\t NVIDIA DS01 Stub\n");
	seq_printf(m, "IRQ:   \t\t %u\n", 32 + minor);
	seq_printf(m, "GPU UUID: \t GPU-00000000-0000-0000-0000-%012u\n", minor);
	seq_puts(m, "Video BIOS: \t ??.??.??.??.??\n");
	seq_puts(m, "Bus Type: \t PCIe\n");
	seq_puts(m, "DMA Size: \t 47 bits\n");
	seq_puts(m, "DMA Mask: \t 0x7fffffffffff\n");
	seq_printf(m, "Bus Location: \t 0000:%02x:00.0\n", minor);
	seq_printf(m, "Device Minor: \t %u\n", minor);
	seq_puts(m, "GPU Excluded:\t No\n");
	return 0;
}

static int create_proc_files(void)
{
	struct proc_dir_entry *gpus, *gpu;
	unsigned long minor;
	char name[16];

	if (!proc_mkdir("driver/nvidia", NULL))
		return -ENOMEM;
	gpus = proc_mkdir("driver/nvidia/gpus", NULL);
	if (!gpus)
		return -ENOMEM;
	for (minor = 0; minor < GPUS; minor++) {
		snprintf(name, sizeof(name), "0000:%02lx:00.0", minor);
		gpu = proc_mkdir(name, gpus);
		if (!gpu || !proc_create_single_data("information", 0444, gpu,
						     information_show, (void *)minor))
			return -ENOMEM;
	}
	return 0;
}

static int __init stub_init(void)
{
	int ret;

	zeroed = alloc_page(GFP_KERNEL | __GFP_ZERO);
	if (!zeroed)
		return -ENOMEM;
	ret = create_proc_files();
	if (!ret)
		ret = register_regions();
	if (ret) {
		remove_proc_subtree("driver/nvidia", NULL);
		__free_page(zeroed);
	}
	return ret;
}

static void __exit stub_exit(void)
{
	unregister_regions(ARRAY_SIZE(regions));
	unregister_reserved();
	remove_proc_subtree("driver/nvidia", NULL);
	__free_page(zeroed);
}

module_init(stub_init);
module_exit(stub_exit);
MODULE_DESCRIPTION("ds01 test stub of the NVIDIA driver's device nodes");
MODULE_LICENSE("GPL");
