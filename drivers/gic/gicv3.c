// SPDX-License-Identifier: Apache-2.0
/*
 * GICv3 (IHI 0069), one security state or the non-secure view of two: group 1, affinity routing,
 * CPU interface by system registers. Locking: see gic.c.
 */
#include "gic_ops.h"

#include <asm/io.h>
#include <hyp/err.h>

#define GICD_IROUTER 0x6000u
#define GICD_CTLR_RWP (1u << 31)
#define GICD_CTLR_ARE_NS (1u << 4)
#define GICD_CTLR_GRP1 (1u << 1)

#define GICR_TYPER 0x08u
#define GICR_TYPER_LAST (1u << 4)
#define GICR_TYPER_VLPIS (1u << 1)
#define GICR_WAKER 0x14u
#define GICR_WAKER_SLEEP (1u << 1)
#define GICR_WAKER_ASLEEP (1u << 2)
#define GICR_SGI_BASE 0x10000u
#define GICR_STRIDE_V3 0x20000u
#define GICR_STRIDE_V4 0x40000u

/* ICC_* registers that assemblers do not know by name everywhere: number, then a comment. */
#define ICC_CTLR_EOIMODE (1u << 1)

/* A device that does not answer must not hang the boot. */
#define SPIN_LIMIT 1000000u

static uint64_t redist[GIC_MAX_CPUS];	/* SGI frame of each CPU's redistributor */
static uint64_t affinity[GIC_MAX_CPUS];
static uint64_t boot_hwid;

static int wait_clear(uint64_t reg, uint32_t bits, const char *what, const char **why)
{
	for (unsigned i = 0; i < SPIN_LIMIT; i++) {
		if (!(io_read32(reg) & bits)) {
			return 0;
		}
	}
	*why = what;
	return -TM_EIO;
}

static int v3_init(const char **why)
{
	uint64_t d = gic_config.dist.base;
	unsigned limit = gic_spi_limit();
	int err;

	if (id_field(read_sysreg(id_aa64pfr0_el1), 24) == 0) {
		*why = "GICv3, but the CPU has no GIC system registers";
		return -TM_EIO;
	}
	boot_hwid = read_sysreg(mpidr_el1) & 0xff00ffffffull;
	io_write32(d + GICD_CTLR, 0);
	err = wait_clear(d + GICD_CTLR, GICD_CTLR_RWP, "GICD_CTLR.RWP stays set", why);
	if (err) {
		return err;
	}
	for (unsigned i = 32; i < limit; i += 32) {
		gic_quiesce(d, i);
		io_write32(d + GICD_IGROUPR + i / 8, ~0u);
	}
	io_write32(d + GICD_CTLR, GICD_CTLR_ARE_NS | GICD_CTLR_GRP1);
	return wait_clear(d + GICD_CTLR, GICD_CTLR_RWP, "GICD_CTLR.RWP stays set", why);
}

/* The frame whose TYPER carries this affinity; 0 when there is none. */
static uint64_t find_redist(uint64_t hwid)
{
	/* MPIDR Aff3.Aff2.Aff1.Aff0 as GICR_TYPER[63:32] has them. */
	uint64_t want = (hwid & 0xffffff) | (hwid >> 32 & 0xff) << 24;

	for (unsigned r = 0; r < gic_config.redist_count; r++) {
		uint64_t a = gic_config.redist[r].base;
		uint64_t end = a + gic_config.redist[r].size;

		while (a + GICR_STRIDE_V3 <= end) {
			uint64_t typer = io_read64(a + GICR_TYPER);

			if (typer >> 32 == want) {
				return a;
			}
			if (typer & GICR_TYPER_LAST) {
				break;
			}
			a += (typer & GICR_TYPER_VLPIS) ? GICR_STRIDE_V4 : GICR_STRIDE_V3;
		}
	}
	return 0;
}

static int v3_init_cpu(unsigned cpu, uint64_t hwid, const char **why)
{
	uint64_t r = find_redist(hwid);
	int err;

	if (!r || cpu >= GIC_MAX_CPUS) {
		*why = "no redistributor for this CPU";
		return -TM_ENOENT;
	}
	affinity[cpu] = hwid;
	io_write32(r + GICR_WAKER, io_read32(r + GICR_WAKER) & ~GICR_WAKER_SLEEP);
	err = wait_clear(r + GICR_WAKER, GICR_WAKER_ASLEEP, "the redistributor does not wake", why);
	if (err) {
		return err;
	}
	gic_quiesce(r + GICR_SGI_BASE, 0);
	io_write32(r + GICR_SGI_BASE + GICD_IGROUPR, ~0u);
	io_write32(r + GICR_SGI_BASE + GICD_ISENABLER, 0xffff);	/* SGIs */
	redist[cpu] = r + GICR_SGI_BASE;

	write_sysreg(0xff, S3_0_C4_C6_0);			/* ICC_PMR_EL1 */
	write_sysreg(0, S3_0_C12_C12_3);			/* ICC_BPR1_EL1 */
	write_sysreg(ICC_CTLR_EOIMODE, S3_0_C12_C12_4);		/* ICC_CTLR_EL1 */
	write_sysreg(1, S3_0_C12_C12_7);			/* ICC_IGRPEN1_EL1 */
	isb();
	return 0;
}

static uint32_t v3_ack(void)
{
	uint32_t iar = (uint32_t)read_sysreg(S3_0_C12_C12_0);	/* ICC_IAR1_EL1 */

	dsb(sy);
	return iar;
}

static void v3_eoi(uint32_t iar)
{
	write_sysreg(iar, S3_0_C12_C12_1);			/* ICC_EOIR1_EL1 */
	isb();
}

static void v3_deactivate(uint32_t iar)
{
	write_sysreg(iar, S3_0_C12_C11_1);			/* ICC_DIR_EL1 */
	isb();
}

static void v3_send_sgi(unsigned cpu, uint32_t sgi)
{
	uint64_t a = affinity[cpu];
	uint64_t value = (a >> 32 & 0xff) << 48 | (a >> 16 & 0xff) << 32 | (a >> 8 & 0xff) << 16 |
			 (uint64_t)sgi << 24 | (a >> 4 & 0xf) << 44 | 1u << (a & 0xf);

	dsb(ishst);
	write_sysreg(value, S3_0_C12_C11_5);			/* ICC_SGI1R_EL1 */
	isb();
}

static void v3_spi_enable(uint32_t intid, bool on)
{
	uint64_t d = gic_config.dist.base;

	io_write64(d + GICD_IROUTER + 8ull * intid, boot_hwid);
	io_write32(d + (on ? GICD_ISENABLER : GICD_ICENABLER) + intid / 32 * 4, 1u << intid % 32);
}

/* This CPU's frame, found by its affinity: interrupts are set up rarely, so a scan will do. */
static uint64_t v3_private_base(void)
{
	uint64_t hwid = read_sysreg(mpidr_el1) & 0xff00ffffffull;

	for (unsigned i = 0; i < GIC_MAX_CPUS; i++) {
		if (redist[i] && affinity[i] == hwid) {
			return redist[i];
		}
	}
	panic("gic: this CPU (MPIDR %#lx) has no redistributor", hwid);
}

const struct gic_ops gicv3_ops = {
	.init = v3_init,
	.init_cpu = v3_init_cpu,
	.ack = v3_ack,
	.eoi = v3_eoi,
	.deactivate = v3_deactivate,
	.send_sgi = v3_send_sgi,
	.spi_enable = v3_spi_enable,
	.private_base = v3_private_base,
};
