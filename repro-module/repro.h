/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the parts of repro.ko share: the table of faults, the parameters and the reports.
 *
 * Reports are lines of the kernel log: "recrash-module: " and a JSON object. They are the ground
 * truth of a run, so they give real addresses, and no report allocates memory.
 */
#ifndef RECRASH_REPRO_H
#define RECRASH_REPRO_H

#include <linux/jiffies.h>
#include <linux/ktime.h>
#include <linux/printk.h>
#include <linux/smp.h>
#include <linux/types.h>
#include <linux/usb.h>

/* wLength is never more in a scenario; of the bytes as many are noted as the longest write has. */
#define REPRO_MAX_LENGTH 4096
#define REPRO_MAX_BYTES 1024

/*
 * One thing that can be made to go wrong. The scenario's process calls fire() through /dev/recrash,
 * on the CPU whose slab is meant, so fire() must not leave that CPU and neither allocate from nor
 * free to the cache of the buffer after the buffer was freed.
 */
struct repro_fault {
	const char *name;
	/* Once, when the module is loaded: everything that allocates. */
	int (*arm)(void);
	/* The process wrote "fire". */
	int (*fire)(void);
	/* Undoes arm(). */
	void (*disarm)(void);
};

/*
 * One thing that a scenario has the module do besides the fault, the same whether there is a fault or
 * not: what is put into the way of the write, and who runs into it. Called as fire() is.
 */
struct repro_act {
	const char *name;
	/* 0, or what the process gets for its write. */
	int (*act)(void);
};

struct repro_params {
	u16 vid;
	u16 pid;
	u16 value;
	u16 index;
	u16 length;
	unsigned int seen_ms;
	unsigned int timeout_ms;
	u16 stop_port;
};

extern struct repro_params repro_params;

/* The device under test with a reference held, or NULL. */
struct usb_device *repro_get_device(void);

/* note.c: remembers the last matching control-IN transfer that was given back. */
struct repro_noted {
	u64 order;
	/* The object that the submitter allocated. It is the controller's, too, unless that was given a bounce buffer. */
	void *buffer;
	dma_addr_t dma;
	u32 actual_length;
	u32 bytes_length;
	u8 bytes[REPRO_MAX_BYTES];
};

int repro_note_arm(void);
void repro_note_disarm(void);
/* Copies the last note; false when there is none. */
bool repro_note_last(struct repro_noted *out);
u64 repro_notes(void);
/*
 * The kernel's address of memory that a device reaches at @dma, or NULL with the reason.
 * Asks the IOMMU, where the device is behind one, each time: a mapping may have gone.
 */
extern const char repro_dma_unmapped[]; /* the reason for an address that an IOMMU no longer maps */
void *repro_dma_to_virt(struct device *dev, dma_addr_t dma, size_t length, const char **why);

/* stop.c: tells the host when the kernel dies, where stop_port is given. */
int repro_stop_arm(void);
void repro_stop_disarm(void);

int repro_duplicate_dma_fire(void);
int repro_early_free_arm(void);
int repro_early_free_fire(void);
int repro_early_free_fixed_fire(void);
void repro_early_free_disarm(void);

/* victim.c: a structure in the freed buffer's place, and the kernel that follows its pointer. */
int repro_take_victim(void);
int repro_follow_victim(void);
void repro_drop_victim(void);

/* parked.c: the freed buffer's slab on a partial list, and back. */
int repro_park_slab(void);
int repro_unpark_slab(void);
void repro_drop_parked(void);

/* bystander.c: somebody else's allocations of the buffer's size. */
int repro_worker_allocates(void);

/* One report. @event is a word, @format and its arguments the rest of the JSON object's members. */
#define repro_report(event, format, ...)                                                     \
	pr_notice("recrash-module: {\"event\":\"" event "\",\"ktime_ns\":%lld,\"jiffies\":%lu,"   \
		  "\"cpu\":%u" format "}\n",                                                  \
		  ktime_get_ns(), jiffies, raw_smp_processor_id(), ##__VA_ARGS__)

#endif
