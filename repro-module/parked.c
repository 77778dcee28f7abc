// SPDX-License-Identifier: GPL-2.0
/*
 * Moves the slab of the freed buffer away from the CPU, to a partial list, with the buffer as the first of its free
 * objects; and takes it back. In between the write hits an object that no CPU is about to hand out.
 */
#include <linux/errno.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "repro.h"
#include "sites.h"

/* Objects held at most: those of the buffer's slab, and those of slabs that come before it. */
#define MAX_HELD 1024

/* Under core.c's fire_lock. */
static struct repro_noted noted;
static void *held[MAX_HELD];
static unsigned int count;
static bool parked;
/* The place to allocate from: it shares the buffer's cache. */
static unsigned int site;

/* Allocates one more and holds it; NULL when there is no memory, or no place to hold it. */
static void *hold(void)
{
	void *object = NULL;

	if (count < MAX_HELD)
		object = repro_alloc_at(site, repro_params.length, GFP_KERNEL);
	if (object)
		held[count++] = object;
	return object;
}

static bool in_slab(const void *object, const struct page *slab)
{
	return virt_to_head_page(object) == slab;
}

int repro_park_slab(void)
{
	struct page *slab;
	void *object = NULL, *neighbour = NULL;
	unsigned int i;

	if (parked || !repro_note_last(&noted)) {
		repro_report("blocked", ",\"why\":\"%s\"",
			     parked ? "the slab is parked already" : "no transfer was noted");
		return -EINVAL;
	}
	slab = virt_to_head_page(noted.buffer);
	/* The buffer was freed last, so it is the next of its cache unless somebody came between. */
	for (site = 0; site < REPRO_SITES; site++) {
		object = hold();
		if (!object || object == noted.buffer)
			break;
	}
	/* An object of another slab after the buffer: the CPU has let go of the buffer's. */
	while (object && in_slab(object, slab))
		object = hold();
	for (i = 0; i < count; i++)
		if (in_slab(held[i], slab) && held[i] != noted.buffer)
			neighbour = held[i];
	if (!object || site == REPRO_SITES) {
		repro_report("blocked", ",\"why\":\"the buffer's slab could not be drained\",\"held\":%u",
			     count);
		repro_drop_parked();
		return -EBUSY;
	}
	for (i = 0; i < count; i++)
		if (held[i] == noted.buffer || held[i] == neighbour)
			held[i] = NULL;
	/*
	 * The slab was full: its first free object puts it on a list. The buffer then points at the neighbour, or at
	 * nothing where all the others are somebody else's.
	 */
	kfree(neighbour);
	kfree(noted.buffer);
	parked = true;
	repro_report("parked", ",\"buffer\":\"%px\",\"next\":\"%px\",\"held\":%u", noted.buffer, neighbour,
		     count);
	return 0;
}

int repro_unpark_slab(void)
{
	unsigned int before = count;
	void *object;

	if (!parked) {
		repro_report("blocked", ",\"why\":\"no slab is parked\"");
		return -EINVAL;
	}
	/* What is handed out is the buffer: its slab is the CPU's again, and its pointer the CPU's list. */
	do
		object = hold();
	while (object && object != noted.buffer);
	if (!object) {
		repro_report("blocked", ",\"why\":\"the buffer's slab did not come back\",\"held\":%u", count);
		return -EBUSY;
	}
	parked = false;
	repro_report("unparked", ",\"buffer\":\"%px\",\"after\":%u", object, count - before);
	return 0;
}

void repro_drop_parked(void)
{
	while (count)
		kfree(held[--count]);
}
