// SPDX-License-Identifier: GPL-2.0
/*
 * Somebody who has nothing to do with USB and allocates objects of the buffer's cache: a kernel worker on the CPU of
 * the process, with the flags that XFS gave in the real dumps.
 */
#include <linux/kernel.h>
#include <linux/log2.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/workqueue.h>

#include "repro.h"
#include "sites.h"

/* From each place: the first takes the object that was written to, the second what that pointed at. */
#define EACH 2

/* One worker at a time: under core.c's fire_lock. */
static void *objects[REPRO_SITES * EACH];

static void work_allocate(struct work_struct *work)
{
	size_t size = roundup_pow_of_two(repro_params.length);
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(objects); i++)
		objects[i] = repro_alloc_at(i / EACH, size,
					    GFP_NOFS | __GFP_NOWARN | __GFP_RETRY_MAYFAIL);
	repro_report("allocated", ",\"size\":%zu,\"objects\":%zu", size, ARRAY_SIZE(objects));
	for (i = 0; i < ARRAY_SIZE(objects); i++)
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
