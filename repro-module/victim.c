// SPDX-License-Identifier: GPL-2.0
/*
 * A structure of another owner that takes the freed buffer's place, so that a late write of the controller lands in
 * its fields instead of in a freelist; and the kernel's own code that then follows one of them.
 *
 * The structure is one that vmlinux knows (and its BTF describes): its first member is a pointer. What it points to is
 * the module's data: with the low half of such an address overwritten, what comes out lies in the hole below the
 * kernel's text, where nothing is ever mapped, whatever the boot's random addresses are.
 */
#include <linux/build_bug.h>
#include <linux/errno.h>
#include <linux/fwnode.h>
#include <linux/property.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "repro.h"
#include "sites.h"

static struct fwnode_handle target;
static struct fwnode_handle *victim;
/* Under core.c's fire_lock. Too large for the stack. */
static struct repro_noted noted;
static void *others[REPRO_SITES];

int repro_take_victim(void)
{
	unsigned int tries = 0;
	void *object;

	BUILD_BUG_ON(offsetof(struct fwnode_handle, secondary) != 0);
	if (victim || !repro_note_last(&noted) || repro_params.length < sizeof(*victim)) {
		repro_report("blocked", ",\"why\":\"%s\"",
			     victim ? "the victim was taken already" :
				      "no transfer was noted whose buffer holds the structure");
		return -EINVAL;
	}
	/* The buffer was freed last, so it is the next of its cache unless somebody came between. */
	for (object = NULL; tries < REPRO_SITES; tries++) {
		object = repro_alloc_at(tries, repro_params.length, GFP_KERNEL);
		if (!object || object == noted.buffer)
			break;
		others[tries] = object;
	}
	if (object == noted.buffer)
		victim = object;
	while (tries)
		kfree(others[--tries]);
	if (!victim) {
		repro_report("blocked", ",\"why\":\"somebody else has the freed buffer\"");
		return -EBUSY;
	}
	memset(victim, 0, repro_params.length);
	victim->secondary = &target;
	repro_report("victim", ",\"object\":\"%px\",\"pointer\":\"%px\"", victim, &target);
	return 0;
}

int repro_follow_victim(void)
{
	bool present;

	if (!victim) {
		repro_report("blocked", ",\"why\":\"no victim was taken\"");
		return -EINVAL;
	}
	repro_report("follow", ",\"object\":\"%px\"", victim);
	/* Neither the structure nor what its pointer leads to has operations, so both are asked and have nothing. */
	present = fwnode_property_present(victim, "recrash");
	repro_report("followed", ",\"present\":%s", present ? "true" : "false");
	return 0;
}

void repro_drop_victim(void)
{
	kfree(victim);
	victim = NULL;
}
