// SPDX-License-Identifier: GPL-2.0
/*
 * duplicate-dma: a host controller that writes a completed transfer's bytes a second time.
 *
 * The write goes to the I/O address that the controller was given, not to the buffer: with a bounce
 * buffer (swiotlb=force) it lands in the bounce buffer, behind an IOMMU it does not land at all once
 * the mapping is gone. The noted buffer must have been freed by the process before it fires.
 */
#include <linux/errno.h>
#include <linux/string.h>
#include <linux/usb.h>

#include "repro.h"

/* Under core.c's fire_lock. Too large for the stack. */
static struct repro_noted noted;

int repro_duplicate_dma_fire(void)
{
	struct usb_device *udev;
	const char *why;
	void *to;

	if (!repro_note_last(&noted) || !noted.bytes_length) {
		repro_report("blocked", ",\"why\":\"no matching transfer with bytes was noted\"");
		return -ENODATA;
	}
	udev = repro_get_device();
	if (!udev) {
		repro_report("blocked", ",\"why\":\"the device is gone\"");
		return -ENODEV;
	}
	to = repro_dma_to_virt(udev->bus->sysdev, noted.dma, noted.bytes_length, &why);
	usb_put_dev(udev);
	if (!to) {
		repro_report("blocked", ",\"dma\":%llu,\"why\":\"%s\"", (u64)noted.dma, why);
		/* An IOMMU has stopped the write, which is what it is for. Nothing else counts as fired. */
		return why == repro_dma_unmapped ? 0 : -EFAULT;
	}
	repro_report("write", ",\"order\":%llu,\"dma\":%llu,\"at_dma\":\"%px\",\"length\":%u",
		     noted.order, (u64)noted.dma, to, noted.bytes_length);
	memcpy(to, noted.bytes, noted.bytes_length);
	repro_report("written", ",\"at_dma\":\"%px\",\"length\":%u", to, noted.bytes_length);
	return 0;
}
