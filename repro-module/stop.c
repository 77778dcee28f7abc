// SPDX-License-Identifier: GPL-2.0
/*
 * Tells the host that the kernel dies, at the moment it does: one byte to the port of QEMU's pvpanic
 * device (QEMU, docs/specs/pvpanic.txt), on which QEMU stops the machine. Off unless a port is given.
 *
 * An oops reaches DIE_OOPS after it has printed registers and stack, and before it enters the capture
 * kernel (arch/x86/kernel/dumpstack.c, 4.18 to 6.12). A panic() without an oops comes through the
 * panic notifiers, which run only where no capture kernel is loaded (kernel/panic.c).
 */
#include <linux/atomic.h>
#include <linux/io.h>
#include <linux/kdebug.h>
#include <linux/kernel.h>
#include <linux/notifier.h>
#if defined(__has_include) && __has_include(<linux/panic_notifier.h>)
/* Before 5.14 the list is declared in kernel.h. */
#include <linux/panic_notifier.h>
#endif

#include "repro.h"

/* Bit 0: "a guest panic has happened". */
#define PVPANIC_PANICKED 1

static atomic_t told = ATOMIC_INIT(0);

static void tell(const char *why)
{
	/* Once: the machine may be let go on, and must reach the capture kernel then. */
	if (atomic_xchg(&told, 1))
		return;
	repro_report("stop", ",\"why\":\"%s\"", why);
	outb(PVPANIC_PANICKED, repro_params.stop_port);
}

static int on_die(struct notifier_block *block, unsigned long what, void *args)
{
	if (what == DIE_OOPS)
		tell("oops");
	return NOTIFY_DONE;
}

static int on_panic(struct notifier_block *block, unsigned long what, void *message)
{
	tell("panic");
	return NOTIFY_DONE;
}

static struct notifier_block die_block = { .notifier_call = on_die, .priority = INT_MAX };
static struct notifier_block panic_block = { .notifier_call = on_panic, .priority = INT_MAX };

int repro_stop_arm(void)
{
	int error;

	if (!repro_params.stop_port)
		return 0;
	error = register_die_notifier(&die_block);
	if (error)
		return error;
	error = atomic_notifier_chain_register(&panic_notifier_list, &panic_block);
	if (error)
		unregister_die_notifier(&die_block);
	return error;
}

void repro_stop_disarm(void)
{
	if (!repro_params.stop_port)
		return;
	atomic_notifier_chain_unregister(&panic_notifier_list, &panic_block);
	unregister_die_notifier(&die_block);
}
