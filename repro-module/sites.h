/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Allocations from many places in the code. With CONFIG_RANDOM_KMALLOC_CACHES (Linux 6.6) each size has sixteen caches,
 * and the address of the call picks one: who wants an object of another's cache must call from a place that shares it.
 * Of 128 places, one shares a given cache but for one boot in four thousand. Without the option the first will do.
 */
#ifndef RECRASH_SITES_H
#define RECRASH_SITES_H

#include <linux/slab.h>

#define REPRO_SITES 128

/* The number in the assembly keeps the compiler from making one call of all. */
#define REPRO_SITE(n)                                \
	case n:                                      \
		object = kmalloc(size, flags);       \
		asm volatile("" : : "i"(n));         \
		break;
#define REPRO_SITES_2(n) REPRO_SITE(n) REPRO_SITE((n) + 1)
#define REPRO_SITES_4(n) REPRO_SITES_2(n) REPRO_SITES_2((n) + 2)
#define REPRO_SITES_8(n) REPRO_SITES_4(n) REPRO_SITES_4((n) + 4)
#define REPRO_SITES_16(n) REPRO_SITES_8(n) REPRO_SITES_8((n) + 8)
#define REPRO_SITES_32(n) REPRO_SITES_16(n) REPRO_SITES_16((n) + 16)
#define REPRO_SITES_64(n) REPRO_SITES_32(n) REPRO_SITES_32((n) + 32)

/* Inline, so that the caller is who allocates in a stack trace too. */
static __always_inline void *repro_alloc_at(unsigned int site, size_t size, gfp_t flags)
{
	void *object = NULL;

	switch (site) {
	REPRO_SITES_64(0)
	REPRO_SITES_64(64)
	}
	return object;
}

#endif
