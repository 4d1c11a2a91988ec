// SPDX-License-Identifier: Apache-2.0
/*
 * gpa range -> device in the hypervisor. The list of a VM is built before its first vCPU runs and
 * never changes afterwards, so lookups take no lock; a device locks itself.
 */
#ifndef HYP_MMIO_H
#define HYP_MMIO_H

#include <hyp/err.h>
#include <hyp/types.h>

#define MMIO_MAX_REGIONS 16

struct vm;
struct vcpu;

struct mmio_access {
	uint64_t offset;	/* from the region's start */
	unsigned len;		/* 1, 2, 4, 8 */
	bool write;
	uint64_t data;		/* in for writes, out for reads (zero-extended) */
};

struct mmio_region {
	gpa_t base;
	uint64_t size;
	const char *name;
	/* Does the access; a bad one reads as zero and is ignored as the device's manual says. */
	void (*access)(struct vcpu *v, void *dev, struct mmio_access *a);
	void *dev;
};

struct mmio_map {
	struct mmio_region region[MMIO_MAX_REGIONS];
	unsigned count;
};

int must_check mmio_add(struct vm *vm, const struct mmio_region *r);
const struct mmio_region *mmio_find(const struct vm *vm, gpa_t a);

#endif
