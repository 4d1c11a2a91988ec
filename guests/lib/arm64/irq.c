// SPDX-License-Identifier: Apache-2.0
//
// Interrupt controller of guest programs: GICv2 and GICv3, whichever the device tree names.
// All interrupts are group 1 (v3) or as reset (v2). The handler table is shared by all CPUs and
// is written before the interrupt is enabled.

#include <stddef.h>
#include <tidemark/arm64.h>
#include <tidemark/guest.h>
#include <tidemark/irq.h>
#include "percpu.h"

/* Distributor offsets (Arm IHI 0069). */
#define GICD_CTLR 0x000u
#define GICD_TYPER 0x004u
#define GICD_IGROUPR 0x080u
#define GICD_ISENABLER 0x100u
#define GICD_ICENABLER 0x180u
#define GICD_ISPENDR 0x200u
#define GICD_IPRIORITYR 0x400u
#define GICD_ITARGETSR 0x800u
#define GICD_ICFGR 0xc00u
#define GICD_SGIR 0xf00u
#define GICD_IROUTER 0x6000u
#define GICR_TYPER 0x008u
#define GICR_WAKER 0x014u
#define GICR_STRIDE 0x20000u
#define GICR_SGI_FRAME 0x10000u
#define GICC_CTLR 0x00u
#define GICC_PMR 0x04u
#define GICC_IAR 0x0cu
#define GICC_EOIR 0x10u
#define GICC_HPPIR 0x18u

#define PRIORITY_DEFAULT 0xa0u
#define HANDLERS 1020u

static struct {
	tm_irq_fn fn;
	void *arg;
} handlers[HANDLERS];

/* One plain load or store: forms without syndrome cannot be emulated by a hypervisor. */
static uint32_t rd32(uint64_t addr)
{
	uint32_t v;

	__asm__ volatile("ldr %w0, [%1]" : "=r"(v) : "r"(addr) : "memory");
	return v;
}

static uint64_t rd64(uint64_t addr)
{
	uint64_t v;

	__asm__ volatile("ldr %0, [%1]" : "=r"(v) : "r"(addr) : "memory");
	return v;
}

static void wr32(uint64_t addr, uint32_t v)
{
	__asm__ volatile("str %w0, [%1]" : : "r"(v), "r"(addr) : "memory");
}

static void wr64(uint64_t addr, uint64_t v)
{
	__asm__ volatile("str %0, [%1]" : : "r"(v), "r"(addr) : "memory");
}

static void wr8(uint64_t addr, uint8_t v)
{
	__asm__ volatile("strb %w0, [%1]" : : "r"((uint32_t)v), "r"(addr) : "memory");
}

/* Where the registers of an interrupt are: GICv3 keeps private ones in the redistributor. */
static uint64_t bank(uint32_t intid)
{
	if (tm_boot.gic_version == 3 && intid < 32) {
		return this_cpu()->redist + GICR_SGI_FRAME;
	}
	return tm_boot.gicd.gpa;
}

static uint64_t affinity(uint64_t mpidr)
{
	return mpidr & 0xff00ffffffu;
}

static uint64_t find_redist(void)
{
	uint64_t mine = affinity(tm_sysreg_read(mpidr_el1));
	uint64_t base = tm_boot.gicr.gpa;

	for (uint64_t at = 0; at + GICR_STRIDE <= tm_boot.gicr.size; at += GICR_STRIDE) {
		uint64_t typer = rd64(base + at + GICR_TYPER);
		uint64_t aff = (typer >> 32 & 0xffffffu) | (typer >> 56) << 32;

		if (aff == mine) {
			return base + at;
		}
		if ((typer & 0x10) != 0) {
			break;
		}
	}
	return 0;
}

static void cpu_init_v3(struct percpu *p)
{
	uint64_t sgi;

	p->redist = find_redist();
	if (p->redist == 0) {
		tm_crash("cpu %u: no redistributor of mine", p->index);
	}
	wr32(p->redist + GICR_WAKER, rd32(p->redist + GICR_WAKER) & ~2u);
	while ((rd32(p->redist + GICR_WAKER) & 4u) != 0) {
		tm_cpu_relax();
	}
	sgi = p->redist + GICR_SGI_FRAME;
	wr32(sgi + GICD_ICENABLER, 0xffffffffu);
	wr32(sgi + GICD_IGROUPR, 0xffffffffu);
	for (uint32_t i = 0; i < 32; i += 4) {
		wr32(sgi + GICD_IPRIORITYR + i, PRIORITY_DEFAULT * 0x01010101u);
	}
	__asm__ volatile("msr s3_0_c12_c12_5, %0" : : "r"((uint64_t)1));	/* ICC_SRE_EL1 */
	tm_isb();
	__asm__ volatile("msr s3_0_c4_c6_0, %0" : : "r"((uint64_t)0xff));	/* ICC_PMR_EL1 */
	__asm__ volatile("msr s3_0_c12_c12_3, %0" : : "r"((uint64_t)0));	/* ICC_BPR1_EL1 */
	__asm__ volatile("msr s3_0_c12_c12_4, %0" : : "r"((uint64_t)0));	/* ICC_CTLR_EL1 */
	__asm__ volatile("msr s3_0_c12_c12_7, %0" : : "r"((uint64_t)1)); /* ICC_IGRPEN1_EL1 */
	tm_isb();
}

static void cpu_init_v2(struct percpu *p)
{
	uint64_t d = tm_boot.gicd.gpa;
	uint64_t c = tm_boot.gicc.gpa;

	p->sgi_mask = rd32(d + GICD_ITARGETSR) & 0xffu;
	if (p->sgi_mask == 0) {
		p->sgi_mask = 1;	/* one CPU: the registers are read as zero */
	}
	wr32(d + GICD_ICENABLER, 0xffffffffu);
	for (uint32_t i = 0; i < 32; i += 4) {
		wr32(d + GICD_IPRIORITYR + i, PRIORITY_DEFAULT * 0x01010101u);
	}
	wr32(c + GICC_PMR, 0xff);
	wr32(c + GICC_CTLR, 1);
}

static void vtimer_default(uint32_t intid, void *arg)
{
	(void)intid, (void)arg;
	tm_timer_stop();
}

void tm_irq_cpu_init(void)
{
	struct percpu *p = this_cpu();

	if (tm_boot.gic_version == 3) {
		cpu_init_v3(p);
	} else {
		cpu_init_v2(p);
	}
	tm_timer_stop();
	tm_irq_enable(TM_IRQ_VTIMER);
}

bool tm_irq_present(void)
{
	return tm_boot.gic_version != 0;
}

bool tm_irq_init(void)
{
	uint64_t d = tm_boot.gicd.gpa;
	uint32_t lines;

	if (tm_boot.gic_version != 2 && tm_boot.gic_version != 3) {
		return false;
	}
	lines = ((rd32(d + GICD_TYPER) & 0x1fu) + 1) * 32;
	wr32(d + GICD_CTLR, 0);
	for (uint32_t i = 32; i < lines; i += 32) {
		wr32(d + GICD_ICENABLER + i / 8, 0xffffffffu);
		if (tm_boot.gic_version == 3) {
			wr32(d + GICD_IGROUPR + i / 8, 0xffffffffu);
		}
	}
	for (uint32_t i = 32; i < lines; i += 4) {
		wr32(d + GICD_IPRIORITYR + i, PRIORITY_DEFAULT * 0x01010101u);
	}
	/* v3: affinity routing and both views' group 1 enables; v2: the one enable. */
	wr32(d + GICD_CTLR, tm_boot.gic_version == 3 ? 0x13 : 1);
	if (handlers[TM_IRQ_VTIMER].fn == NULL) {
		handlers[TM_IRQ_VTIMER].fn = vtimer_default;
	}
	tm_irq_cpu_init();
	return true;
}

void tm_irq_handle(uint32_t intid, tm_irq_fn fn, void *arg)
{
	if (intid < HANDLERS) {
		handlers[intid].arg = arg;
		__atomic_store_n(&handlers[intid].fn, fn, __ATOMIC_RELEASE);
	}
}

void tm_irq_enable(uint32_t intid)
{
	wr32(bank(intid) + GICD_ISENABLER + intid / 32 * 4, 1u << (intid % 32));
}

void tm_irq_disable(uint32_t intid)
{
	wr32(bank(intid) + GICD_ICENABLER + intid / 32 * 4, 1u << (intid % 32));
}

void tm_irq_set_pending(uint32_t intid)
{
	wr32(bank(intid) + GICD_ISPENDR + intid / 32 * 4, 1u << (intid % 32));
}

void tm_irq_set_edge(uint32_t intid, bool edge)
{
	uint64_t reg = bank(intid) + GICD_ICFGR + intid / 16 * 4;
	uint32_t bit = 2u << (intid % 16 * 2);

	wr32(reg, edge ? rd32(reg) | bit : rd32(reg) & ~bit);
}

void tm_irq_set_priority(uint32_t intid, uint8_t priority)
{
	wr8(bank(intid) + GICD_IPRIORITYR + intid, priority);
}

void tm_irq_route(uint32_t intid, uint32_t cpu)
{
	if (intid < 32 || cpu >= tm_boot.cpu_count) {
		return;
	}
	if (tm_boot.gic_version == 3) {
		wr64(tm_boot.gicd.gpa + GICD_IROUTER + (uint64_t)intid * 8,
		     affinity(tm_boot.mpidr[cpu]));
	} else {
		wr8(tm_boot.gicd.gpa + GICD_ITARGETSR + intid, (uint8_t)tm_percpu[cpu].sgi_mask);
	}
}

void tm_sgi_send(uint32_t cpu, uint32_t sgi)
{
	__asm__ volatile("dsb ishst" : : : "memory");
	if (tm_boot.gic_version == 3) {
		uint64_t v = (uint64_t)(sgi & 15) << 24;

		if (cpu == ~0u) {
			v |= (uint64_t)1 << 40;
		} else {
			uint64_t m = tm_boot.mpidr[cpu];

			v |= (m >> 32 & 0xff) << 48 | (m >> 16 & 0xff) << 32 |
			     (m >> 8 & 0xff) << 16 | (m >> 4 & 0xf) << 44 | 1u << (m & 15);
		}
		__asm__ volatile("msr s3_0_c12_c11_5, %0\n\tisb" : : "r"(v) : "memory");
	} else if (cpu == ~0u) {
		wr32(tm_boot.gicd.gpa + GICD_SGIR, 1u << 24 | (sgi & 15));
	} else {
		wr32(tm_boot.gicd.gpa + GICD_SGIR, tm_percpu[cpu].sgi_mask << 16 | (sgi & 15));
	}
}

uint32_t tm_irq_ack(void)
{
	uint32_t iar;

	if (tm_boot.gic_version == 3) {
		uint64_t v;

		__asm__ volatile("mrs %0, s3_0_c12_c12_0\n\tdsb sy" : "=r"(v) : : "memory");
		iar = (uint32_t)v & 0xffffffu;
		return iar >= 1020 && iar < 1024 ? TM_IRQ_NONE : iar;
	}
	iar = rd32(tm_boot.gicc.gpa + GICC_IAR);
	return (iar & 0x3ffu) >= 1020 ? TM_IRQ_NONE : iar;
}

void tm_irq_eoi(uint32_t iar)
{
	if (tm_boot.gic_version == 3) {
		__asm__ volatile("msr s3_0_c12_c12_1, %0\n\tisb" : : "r"((uint64_t)iar) : "memory");
	} else {
		wr32(tm_boot.gicc.gpa + GICC_EOIR, iar);
	}
}

bool tm_irq_consume(uint32_t intid)
{
	uint32_t next = TM_IRQ_NONE;

	if (tm_boot.gic_version == 3) {
		uint64_t v;

		__asm__ volatile("mrs %0, s3_0_c12_c12_2" : "=r"(v) : : "memory"); /* ICC_HPPIR1 */
		next = (uint32_t)v & 0xffffffu;
	} else if (tm_boot.gic_version == 2) {
		next = rd32(tm_boot.gicc.gpa + GICC_HPPIR) & 0x3ffu;
	}
	if (next != intid) {
		return false;
	}
	next = tm_irq_ack();
	if (next != TM_IRQ_NONE) {
		tm_irq_eoi(next);
	}
	return next == intid;
}

uint64_t tm_irq_taken(void)
{
	return *(volatile uint64_t *)&this_cpu()->irqs;
}

void tm_irq_dispatch(void)
{
	uint32_t iar;

	while ((iar = tm_irq_ack()) != TM_IRQ_NONE) {
		uint32_t intid = tm_boot.gic_version == 3 ? iar : iar & 0x3ffu;
		tm_irq_fn fn = NULL;

		this_cpu()->irqs++;
		if (intid < HANDLERS) {
			fn = __atomic_load_n(&handlers[intid].fn, __ATOMIC_ACQUIRE);
		}
		if (fn != NULL) {
			fn(intid, handlers[intid].arg);
		} else if (intid < HANDLERS) {
			tm_irq_disable(intid);
		}
		tm_irq_eoi(iar);
	}
}
