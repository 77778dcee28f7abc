// SPDX-License-Identifier: GPL-2.0
/*
 * early-free: a driver that frees a control-IN transfer's buffer while the transfer is in flight.
 * The device answers late, and the controller's own DMA writes into the freed object.
 *
 * early-free-fixed: the same driver, cancelling the transfer first. It cancels only after seen_ms, so
 * that the device has seen the request by then; whether it had, the device's own log tells.
 */
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/preempt.h>
#include <linux/slab.h>
#include <linux/usb.h>

#include "repro.h"

static struct urb *urb;
static struct usb_ctrlrequest *setup;
static bool given_back;

static void on_complete(struct urb *completed)
{
	/* Pairs with the acquire in wait_in_place(). */
	smp_store_release(&given_back, true);
}

int repro_early_free_arm(void)
{
	urb = usb_alloc_urb(0, GFP_KERNEL);
	setup = kzalloc(sizeof(*setup), GFP_KERNEL);
	if (!urb || !setup) {
		repro_early_free_disarm();
		return -ENOMEM;
	}
	setup->bRequestType = USB_DIR_IN | USB_TYPE_STANDARD | USB_RECIP_DEVICE;
	setup->bRequest = USB_REQ_GET_DESCRIPTOR;
	setup->wValue = cpu_to_le16(repro_params.value);
	setup->wIndex = cpu_to_le16(repro_params.index);
	setup->wLength = cpu_to_le16(repro_params.length);
	return 0;
}

void repro_early_free_disarm(void)
{
	usb_kill_urb(urb);
	usb_free_urb(urb);
	kfree(setup);
}

/*
 * Waits without giving up the CPU: whoever ran here meanwhile could take the freed object. Interrupts
 * stay on, and with them the transfer's completion.
 */
static bool wait_in_place(void)
{
	unsigned long end = jiffies + msecs_to_jiffies(repro_params.timeout_ms);

	while (!smp_load_acquire(&given_back)) {
		if (time_after(jiffies, end))
			return false;
		cpu_relax();
	}
	return true;
}

/* Submits the transfer; on success *buffer is in flight, and the device's reference is the caller's. */
static int submit(struct usb_device **udev, void **buffer)
{
	int error;

	*udev = repro_get_device();
	if (!*udev) {
		repro_report("blocked", ",\"why\":\"the device is gone\"");
		return -ENODEV;
	}
	*buffer = kmalloc(repro_params.length, GFP_KERNEL);
	if (!*buffer) {
		usb_put_dev(*udev);
		return -ENOMEM;
	}
	given_back = false;
	usb_fill_control_urb(urb, *udev, usb_rcvctrlpipe(*udev, 0), (unsigned char *)setup, *buffer,
			     repro_params.length, on_complete, NULL);
	error = usb_submit_urb(urb, GFP_KERNEL);
	if (error) {
		repro_report("blocked", ",\"why\":\"usb_submit_urb\",\"error\":%d", error);
		kfree(*buffer);
		usb_put_dev(*udev);
		return error;
	}
	repro_report("submitted", ",\"buffer\":\"%px\",\"dma\":%llu,\"length\":%u", *buffer,
		     (u64)urb->transfer_dma, repro_params.length);
	return 0;
}

int repro_early_free_fire(void)
{
	struct usb_device *udev;
	void *buffer;
	bool in_time;
	int error = submit(&udev, &buffer);

	if (error)
		return error;
	preempt_disable();
	kfree(buffer); /* the bug */
	repro_report("freed", ",\"buffer\":\"%px\",\"in_flight\":%s", buffer,
		     given_back ? "false" : "true");
	in_time = wait_in_place();
	preempt_enable();
	if (!in_time) {
		repro_report("blocked", ",\"why\":\"the device did not answer in time\"");
		usb_kill_urb(urb);
		error = -ETIMEDOUT;
	}
	repro_report("completed", ",\"status\":%d,\"actual_length\":%u", urb->status,
		     urb->actual_length);
	usb_put_dev(udev);
	return error;
}

int repro_early_free_fixed_fire(void)
{
	struct usb_device *udev;
	void *buffer;
	int error = submit(&udev, &buffer);

	if (error)
		return error;
	msleep(repro_params.seen_ms);
	repro_report("cancel", ",\"in_flight\":%s", given_back ? "false" : "true");
	usb_kill_urb(urb); /* the fix: returns when nobody writes to the buffer any more */
	repro_report("cancelled", ",\"status\":%d,\"actual_length\":%u", urb->status,
		     urb->actual_length);
	kfree(buffer);
	repro_report("freed", ",\"buffer\":\"%px\",\"in_flight\":false", buffer);
	usb_put_dev(udev);
	return 0;
}
