// SPDX-License-Identifier: Apache-2.0
/*
 * VMX as a whole: what this machine can do, and each CPU's way into VMX operation. `vmx_machine` is
 * filled by the boot CPU before any other CPU or vCPU exists and is constant from then on; each CPU
 * writes its own row of `cpus`.
 */
#include <arch/cpu.h>
#include <arch/format.h>
#include <asm/cpu.h>
#include <asm/exit.h>
#include <asm/msr.h>
#include <hyp/boot_info.h>
#include <hyp/page_alloc.h>
#include <hyp/sched.h>

#include "insn.h"
#include "vmcs.h"
#include "vmx.h"

#define CPUID_1_ECX_VMX (1u << 5)
#define BITMAP_BYTES 1024u		/* one of the four parts of the MSR bitmap, 25.6.9 */

struct vmx_machine vmx_machine;

static struct vmx_cpu cpus[BOOT_MAX_CPUS];
static hpa_t regions = {~0ull};		/* VMXON regions, a page a CPU */

/* The kick's backstop: how long a guest that was entered with IF = 0 may stay (exit.c). */
#define BACKSTOP_TICKS 100000u

const struct vmx_cpu *vmx_cpu(unsigned cpu)
{
	return &cpus[cpu];
}

/*
 * A control word: `must` with as much of `may` as there is, and what cannot be 0 (A.3 .. A.5).
 * False: something of `must` is missing.
 */
static bool control(uint32_t msr, uint32_t must, uint32_t may, uint32_t *out)
{
	uint64_t cap = rdmsr(msr == MSR_VMX_PROC2 ? msr : MSR_VMX_TRUE(msr));
	uint32_t must_be_1 = (uint32_t)cap, may_be_1 = (uint32_t)(cap >> 32);

	*out = ((must | may) & may_be_1) | must_be_1;
	return !(must & ~may_be_1);
}

static const char *feature_control(void)
{
	uint64_t val;

	if (!rdmsr_safe(MSR_FEATURE_CONTROL, &val)) {
		return NULL;		/* an emulator without it: VMXON will tell */
	}
	if ((val & FEATURE_CONTROL_LOCK) && !(val & FEATURE_CONTROL_VMX)) {
		return "VMX is switched off by the firmware (IA32_FEATURE_CONTROL)";
	}
	return NULL;
}

static const char *probe_controls(void)
{
	struct vmx_machine *m = &vmx_machine;
	uint32_t proc, proc2;

	if (!control(MSR_VMX_PIN, PIN_EXTERNAL_INTERRUPT | PIN_NMI | PIN_VIRTUAL_NMIS, 0,
		     &m->pin)) {
		return "VMX without virtual NMIs";
	}
	if (!(rdmsr(MSR_VMX_TRUE(MSR_VMX_PIN)) >> 32 & PIN_PREEMPTION_TIMER)) {
		return "VMX without a preemption timer";
	}
	proc = PROC_TSC_OFFSET | PROC_HLT | PROC_MWAIT | PROC_RDPMC | PROC_CR8_LOAD |
	       PROC_CR8_STORE | PROC_MOV_DR | PROC_IO | PROC_MSR_BITMAP | PROC_MONITOR |
	       PROC_SECONDARY | PROC_NMI_WINDOW | PROC_IRQ_WINDOW;
	if (!control(MSR_VMX_PROC, proc, 0, &m->proc)) {
		return "VMX without secondary controls, MSR bitmaps or NMI windows";
	}
	if (m->proc & (PROC_CR3_LOAD | PROC_CR3_STORE)) {
		return "VMX that cannot leave CR3 to the guest";
	}
	m->proc &= ~(PROC_NMI_WINDOW | PROC_IRQ_WINDOW);
	m->proc2_allowed = (uint32_t)(rdmsr(MSR_VMX_PROC2) >> 32);
	if (!(m->proc2_allowed & PROC2_EPT)) {
		return "VMX without extended page tables (EPT)";
	}
	proc2 = PROC2_EPT | PROC2_VPID | PROC2_UNRESTRICTED;
	if (!control(MSR_VMX_PROC2, proc2, PROC2_WBINVD | PROC2_PLE, &m->proc2)) {
		return m->proc2_allowed & PROC2_VPID ? "VMX without unrestricted guest"
						     : "VMX without VPID";
	}
	if (!control(MSR_VMX_EXIT,
		     EXIT_HOST_64 | EXIT_ACK_INTERRUPT | EXIT_SAVE_PAT | EXIT_LOAD_PAT |
			     EXIT_SAVE_EFER | EXIT_LOAD_EFER,
		     EXIT_SAVE_DEBUG, &m->exit) ||
	    !control(MSR_VMX_ENTRY, ENTRY_LOAD_PAT | ENTRY_LOAD_EFER, ENTRY_LOAD_DEBUG,
		     &m->entry)) {
		return "VMX that does not switch EFER and PAT";
	}
	return NULL;
}

static const char *probe_ept(void)
{
	const uint64_t must = EPT_CAP_4_LEVELS | EPT_CAP_WRITE_BACK | EPT_CAP_2M | EPT_CAP_INVEPT |
			      EPT_CAP_INVEPT_SINGLE | VPID_CAP_INVVPID | VPID_CAP_SINGLE;
	uint64_t cap = rdmsr(MSR_VMX_EPT_VPID);

	if ((cap & must) != must) {
		return "EPT without 4 levels, write-back tables, 2 MiB pages or INVEPT, INVVPID";
	}
	vmx_machine.accessed_dirty = cap & EPT_CAP_ACCESSED_DIRTY;
	vmx_ops.max_leaf = cap & EPT_CAP_1G ? 2 : 1;
	vmx_ops.backends = 1u << DIRTY_WP;
	if (vmx_machine.accessed_dirty) {
		vmx_ops.backends |= 1u << DIRTY_DBM;
		vmx_ops.backends |= vmx_machine.proc2_allowed & PROC2_PML ? 1u << DIRTY_PML : 0;
	}
	return NULL;
}

/*
 * Paging and protection are the guest's own: an unrestricted guest may switch them, and hardware
 * then follows with the PDPTEs, EFER.LMA and the "IA-32e mode guest" control by itself. Cache
 * disabling is shown and not done. What CPUID shows or policy forbids stays ours.
 */
static void control_registers(void)
{
	struct vmx_machine *m = &vmx_machine;
	const uint64_t harmless = 0xfull | CR4_PAE | CR4_PGE | (1u << 4) | (1u << 8) | CR4_OSFXSR |
				  CR4_OSXMMEXCPT | (1u << 16);

	m->cr0_forced = rdmsr(MSR_VMX_CR0_FIXED0) & ~(uint64_t)(CR0_PE | CR0_PG);
	m->cr0_hidden = CR0_CD | CR0_NW;
	/* A machine check with CR4.MCE = 0, the guest's choice, would shut the CPU down. */
	m->cr4_forced = rdmsr(MSR_VMX_CR4_FIXED0) | CR4_MCE;
	m->cr0_owned = (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_WP | CR0_AM | CR0_PG) &
		       ~m->cr0_forced;
	m->cr4_owned = harmless & policy_cr4_allowed() & ~m->cr4_forced;
}

static const char *probe(void)
{
	struct vmx_machine *m = &vmx_machine;
	const char *why;
	uint64_t basic;

	if (!(cpuid(1, 0).ecx & CPUID_1_ECX_VMX)) {
		return "the CPU has no VMX";
	}
	why = feature_control();
	if (why) {
		return why;
	}
	basic = rdmsr(MSR_VMX_BASIC);
	if (VMX_BASIC_SIZE(basic) > PAGE_SIZE || !(basic & VMX_BASIC_TRUE) ||
	    !(basic & VMX_BASIC_INS_OUTS)) {
		return "VMX of a first generation (no TRUE controls, no INS/OUTS information)";
	}
	m->revision = (uint32_t)basic & 0x7fffffffu;
	why = probe_controls();
	if (!why) {
		why = probe_ept();
	}
	/* The timer counts TSC ticks divided by a power of two (A.6). */
	m->timer = BACKSTOP_TICKS >> (rdmsr(MSR_VMX_MISC) & 0x1f);
	return why;
}

/* ---- CPUs ------------------------------------------------------------------------------------ */

/* One bitmap for all vCPUs: the policy is the same for all. A set bit exits. */
static void make_bitmap(uint8_t *map)
{
	for (unsigned i = 0; i < 0x2000; i++) {
		uint8_t bit = (uint8_t)(1u << (i & 7)), *at = map + i / 8;
		uint32_t high = 0xc0000000u + i;

		/* read low, read high, write low, write high */
		at[0] |= policy_msr_passthrough(i, false) ? 0 : bit;
		at[BITMAP_BYTES] |= policy_msr_passthrough(high, false) ? 0 : bit;
		at[2 * BITMAP_BYTES] |= policy_msr_passthrough(i, true) ? 0 : bit;
		at[3 * BITMAP_BYTES] |= policy_msr_passthrough(high, true) ? 0 : bit;
	}
}

/* Boot CPU: what needs memory and the policy table. */
static void machine_init(void)
{
	hpa_t map;

	regions = boot_alloc((boot_info.cpu_count + 1ull) * PAGE_SIZE, PAGE_SIZE);
	for (unsigned i = 0; i <= boot_info.cpu_count; i++) {
		arch_zero_page(phys_to_virt(hpa_add(regions, i * PAGE_SIZE)));
	}
	map = hpa_add(regions, boot_info.cpu_count * PAGE_SIZE);
	make_bitmap(phys_to_virt(map));
	vmx_machine.msr_bitmap = map.v;
	control_registers();
}

static bool unlock(void)
{
	uint64_t val;

	if (!rdmsr_safe(MSR_FEATURE_CONTROL, &val) || (val & FEATURE_CONTROL_LOCK)) {
		return true;
	}
	return wrmsr_safe(MSR_FEATURE_CONTROL, val | FEATURE_CONTROL_LOCK | FEATURE_CONTROL_VMX);
}

static void save_host(struct vmx_cpu *h, unsigned cpu)
{
	struct x86_table_reg gdt;

	__asm__ volatile("sgdt %0" : "=m"(gdt));
	*h = (struct vmx_cpu){
		.cr0 = read_cr(0),
		.cr3 = read_cr(3),
		.cr4 = read_cr(4),
		.efer = rdmsr(MSR_EFER),
		.pat = rdmsr(MSR_PAT),
		.fs_base = rdmsr(MSR_FS_BASE),
		.gs_base = rdmsr(MSR_GS_BASE),
		.tr_base = (uint64_t)&cpu_area(cpu)->tss,
		.gdt_base = gdt.base,
		.idt_base = cpu_idt_base(),
	};
}

static bool cpu_init(struct pcpu *c)
{
	uint64_t cr0 = read_cr(0), cr4 = read_cr(4);
	hpa_t region;

	if (hpa_is_none(regions)) {
		machine_init();
	}
	if (!unlock()) {
		return false;
	}
	write_cr(0, (cr0 | rdmsr(MSR_VMX_CR0_FIXED0)) & rdmsr(MSR_VMX_CR0_FIXED1));
	write_cr(4, (cr4 | rdmsr(MSR_VMX_CR4_FIXED0)) & rdmsr(MSR_VMX_CR4_FIXED1));
	region = hpa_add(regions, c->id * PAGE_SIZE);
	*(uint32_t *)phys_to_virt(region) = vmx_machine.revision;
	if (!vmxon(region.v)) {
		return false;
	}
	save_host(&cpus[c->id], c->id);
	return true;
}

struct virt_ops vmx_ops = {
	.name = "VMX",
	.probe = probe,
	.cpu_init = cpu_init,
	.vcpu_init = vmx_vcpu_init,
	.vcpu_free = vmx_vcpu_free,
	.load = vmx_load,
	.put = vmx_put,
	.run = vmx_run,
	.skip = vmx_skip,
	.read = vmx_read,
	.write = vmx_write,
	.window = vmx_window,
	.flush = vmx_flush,
	.hw_msrs = 1u << SMSR_SYSENTER_CS | 1u << SMSR_SYSENTER_ESP | 1u << SMSR_SYSENTER_EIP |
		   1u << SMSR_PAT,
	.asids = 1u << 16,
	.format = &ept_format,
};
