// SPDX-License-Identifier: Apache-2.0
/*
 * What a vCPU starts with: architectural power-on, INIT, SIPI (SDM volume 3, table 10-1), and the
 * two states in which loaders hand over (boot/guest_start.h). v is put and quiet, or, for INIT,
 * loaded on this CPU. May run under v->lock (SIPI), so it takes no lock.
 */
#include <arch/vcpu.h>
#include <asm/board.h>
#include <asm/guest.h>
#include <boot/guest_start.h>
#include <hyp/string.h>
#include <hyp/vm.h>

#define MULTIBOOT_MAGIC 0x2badb002u
#define SEL_GUEST_CODE64 0x10u
#define SEL_GUEST_DATA 0x18u
#define SEL_GUEST_CODE32 0x20u
#define GDT_LIMIT (5u * 8u - 1u)

#define ATTR_REAL_CODE 0x9bu		/* present, code, readable, accessed */
#define ATTR_REAL_DATA 0x93u
#define ATTR_CODE64 (0x9bu | SEG_L | SEG_G)
#define ATTR_CODE32 (0x9bu | SEG_DB | SEG_G)
#define ATTR_DATA32 (0x93u | SEG_DB | SEG_G)
#define ATTR_LDT 0x82u
#define ATTR_TSS_BUSY 0x8bu

static void set_segment(struct vcpu *v, unsigned i, uint16_t sel, uint32_t attr, uint32_t limit,
			uint64_t base)
{
	virt->write(v, XREG_SEG(i, SEG_SELECTOR), sel);
	virt->write(v, XREG_SEG(i, SEG_ATTRIBUTES), attr);
	virt->write(v, XREG_SEG(i, SEG_LIMIT), limit);
	virt->write(v, XREG_SEG(i, SEG_BASE), base);
}

static void set_data_segments(struct vcpu *v, uint16_t sel, uint32_t attr, uint32_t limit)
{
	static const uint8_t data[] = {TM_SEG_ES, TM_SEG_SS, TM_SEG_DS, TM_SEG_FS, TM_SEG_GS};

	for (unsigned i = 0; i < sizeof(data); i++) {
		set_segment(v, data[i], sel, attr, limit, 0);
	}
}

static void reset_debug(struct vcpu *v)
{
	memset(v->arch.dr, 0, sizeof(v->arch.dr));
	v->arch.dr6 = DR6_FIXED;
	v->arch.debug_live = false;
	virt->write(v, XREG_DR7, DR7_FIXED);
}

/* Events, halts and shadows of a former life. */
static void reset_events(struct vcpu *v)
{
	v->arch.event.valid = v->arch.again.valid = false;
	__atomic_store_n(&v->arch.nmi_pending, 0, __ATOMIC_RELAXED);
	v->arch.halted = false;
	__atomic_store_n(&v->arch.dead_halt, false, __ATOMIC_RELAXED);
	v->arch.mmio_write_back = false;
	v->arch.pdptes_stale = false;
	virt->write(v, XREG_BLOCKING, 0);
}

void vcpu_reset_init(struct vcpu *v)
{
	memset(v->arch.gpr, 0, sizeof(v->arch.gpr));
	v->arch.gpr[GPR_RDX] = cpuid(1, 0).eax & 0x0fff3fff;
	v->arch.cr2 = 0;
	virt->write(v, XREG_RSP, 0);
	virt->write(v, XREG_RIP, 0xfff0);
	virt->write(v, XREG_RFLAGS, RFLAGS_FIXED);
	/* From here on nothing depends on an older mode. */
	virt->write(v, XREG_CR0, CR0_RESET);
	virt->write(v, XREG_CR4, 0);
	virt->write(v, XREG_EFER, 0);
	virt->write(v, XREG_CR3, 0);
	set_segment(v, TM_SEG_CS, 0xf000, ATTR_REAL_CODE, 0xffff, 0xffff0000u);
	set_data_segments(v, 0, ATTR_REAL_DATA, 0xffff);
	set_segment(v, TM_SEG_LDTR, 0, ATTR_LDT, 0xffff, 0);
	set_segment(v, TM_SEG_TR, 0, ATTR_TSS_BUSY, 0xffff, 0);
	virt->write(v, XREG_GDTR_BASE, 0);
	virt->write(v, XREG_GDTR_LIMIT, 0xffff);
	virt->write(v, XREG_IDTR_BASE, 0);
	virt->write(v, XREG_IDTR_LIMIT, 0xffff);
	reset_debug(v);
	reset_events(v);
	/* What was cached with paging on, under this tag, must not serve the next life. */
	guest_flush(v);
}

static void reset_msrs(struct vcpu *v)
{
	struct arch_vcpu *a = &v->arch;

	for (unsigned i = 0; i < SMSR_COUNT; i++) {
		smsr_write(v, i, i == SMSR_PAT ? PAT_RESET : 0);
	}
	a->misc_enable = 1;		/* fast strings, and nothing else that we have */
	a->spec_ctrl = 0;
	a->mtrr_def = 0;
	memset(a->mtrr_fixed, 0, sizeof(a->mtrr_fixed));
	memset(a->mtrr_var, 0, sizeof(a->mtrr_var));
	a->tsc_adjust = 0;
	guest_set_tsc_offset(v, 0);	/* the same for all, so that they agree from the start */
}

static void start_64(struct vcpu *v, uint64_t entry, uint64_t block)
{
	virt->write(v, XREG_CR4, CR4_PAE);
	virt->write(v, XREG_CR3, block + GUEST_START_TABLES);
	virt->write(v, XREG_EFER, EFER_LME | EFER_LMA);
	virt->write(v, XREG_CR0, CR0_PE | CR0_ET | CR0_NE | CR0_WP | CR0_PG);
	set_segment(v, TM_SEG_CS, SEL_GUEST_CODE64, ATTR_CODE64, ~0u, 0);
	set_data_segments(v, SEL_GUEST_DATA, ATTR_DATA32, ~0u);
	virt->write(v, XREG_GDTR_BASE, block + GUEST_START_GDT);
	virt->write(v, XREG_GDTR_LIMIT, GDT_LIMIT);
	virt->write(v, XREG_RIP, entry);
	v->arch.gpr[GPR_RDX] = 0;
	v->arch.gpr[GPR_RSI] = block;
	v->arch.gpr[GPR_RDI] = block + GUEST_START_FDT;
}

static void start_multiboot(struct vcpu *v, uint64_t entry, uint64_t block)
{
	virt->write(v, XREG_CR0, CR0_PE | CR0_ET | CR0_NE);
	set_segment(v, TM_SEG_CS, SEL_GUEST_CODE32, ATTR_CODE32, ~0u, 0);
	set_data_segments(v, SEL_GUEST_DATA, ATTR_DATA32, ~0u);
	virt->write(v, XREG_GDTR_BASE, block + GUEST_START_GDT);
	virt->write(v, XREG_GDTR_LIMIT, GDT_LIMIT);
	virt->write(v, XREG_RIP, entry);
	v->arch.gpr[GPR_RAX] = MULTIBOOT_MAGIC;
	v->arch.gpr[GPR_RBX] = block;
}

void arch_vcpu_reset(struct vcpu *v, uint64_t entry, uint64_t arg)
{
	uint64_t block = arg & ~(uint64_t)GUEST_START_MODE_MASK;
	unsigned mode = (unsigned)arg & GUEST_START_MODE_MASK;

	vcpu_reset_init(v);
	if (mode == GUEST_START_SIPI) {
		/* INIT has been served: MSRs, FPU and the local APIC are what it left. */
		set_segment(v, TM_SEG_CS, (uint16_t)(entry >> 4), ATTR_REAL_CODE, 0xffff, entry);
		virt->write(v, XREG_RIP, 0);
		return;
	}
	__atomic_store_n(&v->arch.init_pending, false, __ATOMIC_RELAXED);
	__atomic_store_n(&v->arch.sipi, 0, __ATOMIC_RELAXED);
	reset_msrs(v);
	fpu_reset(v);
	lapic_reset(v, false);
	if (entry == 0 && arg == 0) {
		return;
	}
	if (mode == GUEST_START_MULTIBOOT) {
		start_multiboot(v, entry, block);
	} else {
		start_64(v, entry, block);
	}
}
