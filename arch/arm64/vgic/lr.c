// SPDX-License-Identifier: Apache-2.0
/*
 * The list registers and the virtual CPU interface of this CPU: system registers with GICv3, the
 * GICH frame with GICv2. No lock: the interface belongs to the CPU that runs this.
 */
#include <asm/guest.h>
#include <asm/io.h>
#include <drivers/gic/gic.h>

#include "vgic.h"

/* GICH (IHI 0048, chapter 5). */
#define GICH_HCR 0x00u
#define GICH_VTR 0x04u
#define GICH_VMCR 0x08u
#define GICH_ELRSR0 0x30u
#define GICH_APR 0xf0u
#define GICH_LR 0x100u

/* The same on all CPUs; written before the first vCPU is loaded. */
static bool v3;
static unsigned count;
static uint64_t vtr;

static uint32_t gich_read(unsigned off)
{
	return io_read32((uint64_t)(uintptr_t)gic_gich() + off);
}

static void gich_write(unsigned off, uint32_t val)
{
	io_write32((uint64_t)(uintptr_t)gic_gich() + off, val);
}

void lr_init(void)
{
	v3 = gic_version() == 3;
	vtr = v3 ? SYS_READ(ich_vtr_el2) : gich_read(GICH_VTR);
	count = MIN((unsigned)(vtr & (v3 ? 0x1f : 0x3f)) + 1, VGIC_MAX_LR);
}

unsigned lr_count(void)
{
	return count;
}

static uint64_t v2_to_lr(uint32_t h)
{
	uint64_t lr = (h & 0x3ffu) | (uint64_t)((h >> 28) & 3) << 62 |
		      (uint64_t)((h >> 23) & 31) << (LR_PRIORITY_SHIFT + 3);

	lr |= (h >> 30) & 1 ? LR_GROUP1 : 0;
	if (h >> 31) {
		return lr | LR_HW | (uint64_t)((h >> 10) & 0x3ff) << LR_PINTID_SHIFT;
	}
	return lr | ((h >> 19) & 1 ? LR_EOI : 0) | (uint64_t)((h >> 10) & 7) << LR_PINTID_SHIFT;
}

static uint32_t lr_to_v2(uint64_t lr)
{
	uint32_t h = (uint32_t)(lr & 0x3ff) | (uint32_t)(lr >> 62) << 28 |
		     (uint32_t)((lr >> (LR_PRIORITY_SHIFT + 3)) & 31) << 23;

	h |= lr & LR_GROUP1 ? 1u << 30 : 0;
	if (lr & LR_HW) {
		return h | 1u << 31 | (uint32_t)((lr >> LR_PINTID_SHIFT) & 0x3ff) << 10;
	}
	return h | (lr & LR_EOI ? 1u << 19 : 0) | (uint32_t)((lr >> LR_PINTID_SHIFT) & 7) << 10;
}

#define LR_ALL(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)

uint64_t lr_read(unsigned i)
{
	if (!v3) {
		return v2_to_lr(gich_read(GICH_LR + 4 * i));
	}
	switch (i) {
#define LR_READ(n)                                                                                 \
	case n:                                                                                    \
		return SYS_READ(ich_lr##n##_el2);
	LR_ALL(LR_READ)
	default:
		return 0;
	}
}

void lr_write(unsigned i, uint64_t val)
{
	if (!v3) {
		gich_write(GICH_LR + 4 * i, lr_to_v2(val));
		return;
	}
	switch (i) {
#define LR_WRITE(n)                                                                                \
	case n:                                                                                    \
		SYS_WRITE(ich_lr##n##_el2, val);                                                   \
		break;
	LR_ALL(LR_WRITE)
	default:
		break;
	}
}

uint32_t lr_empty(void)
{
	return v3 ? (uint32_t)SYS_READ(ich_elrsr_el2) : gich_read(GICH_ELRSR0);
}

uint32_t lr_hcr_read(void)
{
	return v3 ? (uint32_t)SYS_READ(ich_hcr_el2) : gich_read(GICH_HCR);
}

void lr_hcr_write(uint32_t val)
{
	if (v3) {
		SYS_WRITE(ich_hcr_el2, val);
	} else {
		gich_write(GICH_HCR, val);
	}
}

uint64_t lr_vmcr_read(void)
{
	return v3 ? SYS_READ(ich_vmcr_el2) : gich_read(GICH_VMCR);
}

/* Active priority registers: one for 5 preemption bits, two for 6, four for 7. */
static unsigned apr_count(void)
{
	unsigned bits = ((unsigned)(vtr >> 26) & 7) + 1;

	return bits > 6 ? 4 : bits > 5 ? 2 : 1;
}

void lr_cpuif_load(const struct vgic_cpu *c)
{
	if (!v3) {
		gich_write(GICH_VMCR, (uint32_t)c->vmcr);
		gich_write(GICH_APR, c->ap0r[0]);
		return;
	}
	SYS_WRITE(ich_vmcr_el2, c->vmcr);
	SYS_WRITE(ich_ap0r0_el2, c->ap0r[0]);
	SYS_WRITE(ich_ap1r0_el2, c->ap1r[0]);
	if (apr_count() > 1) {
		SYS_WRITE(ich_ap0r1_el2, c->ap0r[1]);
		SYS_WRITE(ich_ap1r1_el2, c->ap1r[1]);
	}
	if (apr_count() > 2) {
		SYS_WRITE(ich_ap0r2_el2, c->ap0r[2]);
		SYS_WRITE(ich_ap1r2_el2, c->ap1r[2]);
		SYS_WRITE(ich_ap0r3_el2, c->ap0r[3]);
		SYS_WRITE(ich_ap1r3_el2, c->ap1r[3]);
	}
}

void lr_cpuif_save(struct vgic_cpu *c)
{
	if (!v3) {
		c->vmcr = gich_read(GICH_VMCR);
		c->ap0r[0] = gich_read(GICH_APR);
		return;
	}
	c->vmcr = SYS_READ(ich_vmcr_el2);
	c->ap0r[0] = (uint32_t)SYS_READ(ich_ap0r0_el2);
	c->ap1r[0] = (uint32_t)SYS_READ(ich_ap1r0_el2);
	if (apr_count() > 1) {
		c->ap0r[1] = (uint32_t)SYS_READ(ich_ap0r1_el2);
		c->ap1r[1] = (uint32_t)SYS_READ(ich_ap1r1_el2);
	}
	if (apr_count() > 2) {
		c->ap0r[2] = (uint32_t)SYS_READ(ich_ap0r2_el2);
		c->ap1r[2] = (uint32_t)SYS_READ(ich_ap1r2_el2);
		c->ap0r[3] = (uint32_t)SYS_READ(ich_ap0r3_el2);
		c->ap1r[3] = (uint32_t)SYS_READ(ich_ap1r3_el2);
	}
}
