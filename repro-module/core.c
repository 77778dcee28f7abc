// SPDX-License-Identifier: GPL-2.0
/*
 * repro.ko: makes one fault of a table happen when a process writes "fire" to /dev/recrash, and does one thing of
 * another table for each of its names. Owns the parameters, the tables and the device file; what is done is in files
 * of its own.
 */
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/usb.h>

#include "repro.h"

#ifndef CONFIG_X86_64
#error "reads the arguments of usb_hcd_giveback_urb() from x86-64 registers"
#endif

struct repro_params repro_params = {
	.value = 0x0302, /* string 2: the product, in the scenario's device */
	.index = 0x0409, /* LANGID: English (United States) */
	.length = 254,
	.seen_ms = 100,
	.timeout_ms = 5000,
};

static char *fault = "duplicate-dma";
module_param(fault, charp, 0444);
MODULE_PARM_DESC(fault, "duplicate-dma, early-free, early-free-fixed or none");
module_param_named(vid, repro_params.vid, ushort, 0444);
MODULE_PARM_DESC(vid, "idVendor of the device under test");
module_param_named(pid, repro_params.pid, ushort, 0444);
MODULE_PARM_DESC(pid, "idProduct of the device under test");
module_param_named(value, repro_params.value, ushort, 0444);
MODULE_PARM_DESC(value, "wValue of the module's own GET_DESCRIPTOR");
module_param_named(index, repro_params.index, ushort, 0444);
MODULE_PARM_DESC(index, "wIndex of the module's own GET_DESCRIPTOR");
module_param_named(length, repro_params.length, ushort, 0444);
MODULE_PARM_DESC(length, "wLength of the transfers meant, in bytes");
module_param_named(seen_ms, repro_params.seen_ms, uint, 0444);
MODULE_PARM_DESC(seen_ms, "early-free-fixed: milliseconds between submission and cancellation");
module_param_named(timeout_ms, repro_params.timeout_ms, uint, 0444);
MODULE_PARM_DESC(timeout_ms, "milliseconds to wait for the module's own transfer");
module_param_named(stop_port, repro_params.stop_port, ushort, 0444);
MODULE_PARM_DESC(stop_port, "I/O port of the pvpanic device that is told when the kernel dies; 0 for none");

static int none_fire(void)
{
	repro_report("nothing-done", "");
	return 0;
}

static const struct repro_fault faults[] = {
	{ .name = "duplicate-dma", .fire = repro_duplicate_dma_fire },
	{ .name = "early-free",
	  .arm = repro_early_free_arm,
	  .fire = repro_early_free_fire,
	  .disarm = repro_early_free_disarm },
	{ .name = "early-free-fixed",
	  .arm = repro_early_free_arm,
	  .fire = repro_early_free_fixed_fire,
	  .disarm = repro_early_free_disarm },
	{ .name = "none", .fire = none_fire },
};

static const struct repro_act acts[] = {
	{ "take-victim", repro_take_victim },
	{ "follow-victim", repro_follow_victim },
	{ "park-slab", repro_park_slab },
	{ "unpark-slab", repro_unpark_slab },
	{ "worker-allocates", repro_worker_allocates },
};

static const struct repro_fault *armed;
static DEFINE_MUTEX(fire_lock);

static int is_the_device(struct usb_device *udev, void *found)
{
	if (le16_to_cpu(udev->descriptor.idVendor) != repro_params.vid ||
	    le16_to_cpu(udev->descriptor.idProduct) != repro_params.pid)
		return 0;
	*(struct usb_device **)found = usb_get_dev(udev);
	return 1;
}

struct usb_device *repro_get_device(void)
{
	struct usb_device *found = NULL;

	usb_for_each_dev(&found, is_the_device);
	return found;
}

static int fire(void)
{
	int error;

	repro_report("fire", ",\"fault\":\"%s\",\"pid\":%d,\"notes\":%llu", armed->name,
		     task_pid_nr(current), repro_notes());
	error = armed->fire();
	repro_report("fired", ",\"fault\":\"%s\",\"error\":%d", armed->name, error);
	return error;
}

static int act(const struct repro_act *meant)
{
	int error;

	repro_report("act", ",\"act\":\"%s\"", meant->name);
	error = meant->act();
	repro_report("acted", ",\"act\":\"%s\",\"error\":%d", meant->name, error);
	return error;
}

static ssize_t recrash_write(struct file *file, const char __user *from, size_t count, loff_t *at)
{
	const struct repro_act *meant = NULL;
	char word[32] = "";
	size_t i;
	int error;

	if (count >= sizeof(word))
		return -EINVAL;
	if (copy_from_user(word, from, count))
		return -EFAULT;
	strim(word);
	for (i = 0; i < ARRAY_SIZE(acts); i++)
		if (strcmp(word, acts[i].name) == 0)
			meant = &acts[i];
	if (!meant && strcmp(word, "fire") != 0)
		return -EINVAL;

	if (mutex_lock_interruptible(&fire_lock))
		return -ERESTARTSYS;
	error = meant ? act(meant) : fire();
	mutex_unlock(&fire_lock);
	return error ? error : count;
}

static const struct file_operations recrash_fops = {
	.owner = THIS_MODULE,
	.write = recrash_write,
};

static struct miscdevice recrash_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "recrash",
	.fops = &recrash_fops,
	.mode = 0200,
};

static int __init repro_init(void)
{
	size_t i;
	int error;

	for (i = 0; i < ARRAY_SIZE(faults); i++)
		if (strcmp(fault, faults[i].name) == 0)
			armed = &faults[i];
	if (!armed) {
		pr_err("repro: no fault is called \"%s\"\n", fault);
		return -EINVAL;
	}
	if (!repro_params.vid || !repro_params.length || repro_params.length > REPRO_MAX_LENGTH) {
		pr_err("repro: vid must be given, and length be from 1 to %d\n", REPRO_MAX_LENGTH);
		return -EINVAL;
	}

	/* Every fault, also "none", notes transfers: a control run differs in the fault alone. */
	error = repro_note_arm();
	if (error) {
		pr_err("repro: no kprobe on usb_hcd_giveback_urb: error %d\n", error);
		return error;
	}
	error = repro_stop_arm();
	if (error)
		goto no_stop;
	if (armed->arm) {
		error = armed->arm();
		if (error)
			goto no_arm;
	}
	error = misc_register(&recrash_device);
	if (error)
		goto no_device;
	repro_report("armed", ",\"fault\":\"%s\",\"vid\":%u,\"pid\":%u,\"length\":%u", armed->name,
		     repro_params.vid, repro_params.pid, repro_params.length);
	return 0;

no_device:
	if (armed->disarm)
		armed->disarm();
no_arm:
	repro_stop_disarm();
no_stop:
	repro_note_disarm();
	return error;
}

static void __exit repro_exit(void)
{
	misc_deregister(&recrash_device);
	if (armed->disarm)
		armed->disarm();
	repro_stop_disarm();
	repro_note_disarm();
	repro_drop_victim();
	repro_drop_parked();
}

module_init(repro_init);
module_exit(repro_exit);
MODULE_DESCRIPTION("Injects one of a table of memory faults into USB control transfers");
MODULE_LICENSE("GPL");
