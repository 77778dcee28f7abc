// SPDX-License-Identifier: GPL-2.0
/*
 * Somebody who has nothing to do with USB and allocates objects of the buffer's cache: a kernel worker on the CPU of
 * the process, with the flags that XFS gave in the real dumps.
 */
#include <linux/errno.h>
#include <linux/log2.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/workqueue.h>

#include "repro.h"

/* The first takes the object that was written to, the second what that pointed at. */
#define OBJECTS 2

static void work_allocate(struct work_struct *work)
{
	size_t size = roundup_pow_of_two(repro_params.length);
	void *objects[OBJECTS];
	unsigned int i;

	for (i = 0; i < OBJECTS; i++)
		objects[i] = kmalloc(size, GFP_NOFS | __GFP_NOWARN | __GFP_RETRY_MAYFAIL);
	repro_report("allocated", ",\"size\":%zu,\"objects\":%u", size, OBJECTS);
	for (i = 0; i < OBJECTS; i++)
		kfree(objects[i]);
}

static DECLARE_WORK(work, work_allocate);

int repro_worker_allocates(void)
{
	/* The process is bound to its CPU by the scenario. */
	queue_work_on(raw_smp_processor_id(), system_wq, &work);
	flush_work(&work);
	return 0;
}
