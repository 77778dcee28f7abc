// SPDX-License-Identifier: GPL-2.0
/*
 * Notes the device's matching control-IN transfers as the host controller gives them back, before
 * they are unmapped: where the controller wrote, and what lies there. Changes nothing.
 */
#include <linux/dma-direct.h>
#include <linux/iommu.h>
#include <linux/kprobes.h>
#include <linux/mm.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/usb.h>

#include "repro.h"

/* Raw: a kprobe's handler runs with preemption off, also where spinlocks sleep (PREEMPT_RT). */
static DEFINE_RAW_SPINLOCK(lock);
static struct repro_noted last;

const char repro_dma_unmapped[] = "unmapped in the IOMMU";

void *repro_dma_to_virt(struct device *dev, dma_addr_t dma, size_t length, const char **why)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(dev);
	phys_addr_t phys;

	/* Passed through. Before 5.15 iommu_iova_to_phys() finds nothing mapped there, on VT-d at least. */
	if (domain && domain->type == IOMMU_DOMAIN_IDENTITY)
		domain = NULL;
	phys = domain ? iommu_iova_to_phys(domain, dma) : dma_to_phys(dev, dma);

	*why = NULL;
	if (domain && !phys)
		*why = repro_dma_unmapped;
	else if (!pfn_valid(PHYS_PFN(phys)) || !pfn_valid(PHYS_PFN(phys + length - 1)))
		*why = "not memory";
	/* Neighbouring I/O addresses need not be neighbours in memory. */
	else if (domain && offset_in_page(phys) + length > PAGE_SIZE)
		*why = "crosses a page";
	return *why ? NULL : phys_to_virt(phys);
}

static bool is_meant(const struct urb *urb)
{
	const struct usb_ctrlrequest *setup = (const void *)urb->setup_packet;

	return usb_pipecontrol(urb->pipe) && setup && (setup->bRequestType & USB_DIR_IN) &&
	       le16_to_cpu(setup->wLength) == repro_params.length &&
	       le16_to_cpu(urb->dev->descriptor.idVendor) == repro_params.vid &&
	       le16_to_cpu(urb->dev->descriptor.idProduct) == repro_params.pid;
}

/* usb_hcd_giveback_urb(hcd, urb, status), on entry: any context, interrupts perhaps on. */
static int on_giveback(struct kprobe *probe, struct pt_regs *regs)
{
	struct urb *urb = (struct urb *)regs->si;
	const char *why;
	unsigned long flags;
	void *from;

	if (!is_meant(urb))
		return 0;
	from = repro_dma_to_virt(urb->dev->bus->sysdev, urb->transfer_dma,
				 max_t(u32, urb->actual_length, 1), &why);

	raw_spin_lock_irqsave(&lock, flags);
	last.order++;
	last.buffer = urb->transfer_buffer;
	last.dma = urb->transfer_dma;
	last.actual_length = urb->actual_length;
	last.bytes_length = from ? min_t(u32, urb->actual_length, REPRO_MAX_BYTES) : 0;
	memcpy(last.bytes, from, last.bytes_length);
	repro_report("note",
		     ",\"order\":%llu,\"status\":%d,\"dma\":%llu,\"buffer\":\"%px\","
		     "\"at_dma\":\"%px\",\"actual_length\":%u,\"bytes\":\"%*phN%*phN%*phN%*phN\"",
		     last.order, (int)regs->dx, (u64)urb->transfer_dma, urb->transfer_buffer, from,
		     last.actual_length, min_t(int, last.bytes_length, 64), last.bytes,
		     clamp_t(int, (int)last.bytes_length - 64, 0, 64), last.bytes + 64,
		     clamp_t(int, (int)last.bytes_length - 128, 0, 64), last.bytes + 128,
		     clamp_t(int, (int)last.bytes_length - 192, 0, 64), last.bytes + 192);
	raw_spin_unlock_irqrestore(&lock, flags);
	return 0;
}

static struct kprobe giveback = {
	.symbol_name = "usb_hcd_giveback_urb",
	.pre_handler = on_giveback,
};

int repro_note_arm(void)
{
	return register_kprobe(&giveback);
}

void repro_note_disarm(void)
{
	unregister_kprobe(&giveback);
}

bool repro_note_last(struct repro_noted *out)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&lock, flags);
	*out = last;
	raw_spin_unlock_irqrestore(&lock, flags);
	return out->order != 0;
}

u64 repro_notes(void)
{
	unsigned long flags;
	u64 order;

	raw_spin_lock_irqsave(&lock, flags);
	order = last.order;
	raw_spin_unlock_irqrestore(&lock, flags);
	return order;
}
