// SPDX-License-Identifier: Apache-2.0
/*
 * The physical CPU: features, control registers, descriptor tables, who am I, idle, off and reset.
 * cpu_features and the IDT are written once by the boot CPU before the others start; each CPU's
 * struct cpu_area is its own. No lock.
 */
#include <arch/cpu.h>
#include <asm/cpu.h>
#include <asm/exception.h>
#include <asm/io.h>
#include <asm/irq.h>
#include <asm/layout.h>
#include <asm/machine.h>
#include <asm/msr.h>
#include <drivers/apic/apic.h>
#include <hyp/boot_info.h>
#include <hyp/sched.h>
#include <hyp/string.h>

struct cpu_features cpu_features;
static struct cpu_area areas[BOOT_MAX_CPUS];
static uint64_t idt[256][2] __attribute__((aligned(16)));

/* ---- features ---------------------------------------------------------------------------------- */

static enum cpu_vendor vendor_of(const struct cpuid_leaf *l)
{
	/* EBX of "GenuineIntel", "AuthenticAMD", "HygonGenuine". */
	switch (l->ebx) {
	case 0x756e6547: return CPU_INTEL;
	case 0x68747541:
	case 0x6f677948: return CPU_AMD;
	default: return CPU_OTHER;
	}
}

void cpu_features_init(void)
{
	struct cpu_features *f = &cpu_features;
	struct cpuid_leaf l = cpuid(0, 0);

	f->vendor = vendor_of(&l);
	f->max_leaf = l.eax;
	f->max_ext = cpuid(0x80000000, 0).eax;
	l = cpuid(1, 0);
	f->leaf1_ecx = l.ecx;
	f->leaf1_edx = l.edx;
	if (f->max_leaf >= 7) {
		l = cpuid(7, 0);
		f->leaf7_ebx = l.ebx;
		f->leaf7_ecx = l.ecx;
		f->leaf7_edx = l.edx;
	}
	l = cpuid(0x80000001, 0);
	f->ext1_ecx = l.ecx;
	f->ext1_edx = l.edx;
	f->phys_bits = 36;
	f->lin_bits = 48;
	if (f->max_ext >= 0x80000008) {
		l = cpuid(0x80000008, 0);
		f->phys_bits = MIN(l.eax & 0xff, 52u);
		f->lin_bits = (l.eax >> 8) & 0xff;
	}
	f->tsc_invariant = f->max_ext >= 0x80000007 && (cpuid(0x80000007, 0).edx & 1u << 8);
	f->gib_pages = f->ext1_edx & 1u << 26;
	f->x2apic = f->leaf1_ecx & 1u << 21;
	f->tsc_deadline = f->leaf1_ecx & 1u << 24;
	f->xsave = f->leaf1_ecx & 1u << 26;
}

void cpu_control_init(void)
{
	const struct cpu_features *f = &cpu_features;
	uint64_t cr4 = CR4_PAE | CR4_MCE | CR4_OSFXSR | CR4_OSXMMEXCPT;

	/* No PGE: nothing of ours is global, and nothing of a guest's may be. */
	cr4 |= f->xsave ? CR4_OSXSAVE : 0;
	cr4 |= f->leaf7_ebx & 1u << 7 ? CR4_SMEP : 0;
	cr4 |= f->leaf7_ebx & 1u << 20 ? CR4_SMAP : 0;
	cr4 |= f->leaf7_ecx & 1u << 2 ? CR4_UMIP : 0;
	write_cr(0, CR0_HYP);
	write_cr(4, cr4);
	/* SCE and what firmware left go. The bits that long mode needs are on already. */
	wrmsr(MSR_EFER, EFER_LME | EFER_LMA | EFER_NXE);
	wrmsr(MSR_PAT, PAT_RESET);
}

uint32_t cpu_apic_id(void)
{
	uint32_t leaf1 = cpuid(1, 0).ebx >> 24;
	struct cpuid_leaf l;

	if (cpu_features.max_leaf >= 0xb) {
		l = cpuid(0xb, 0);
		if (l.ebx) {
			return l.edx;
		}
	}
	return leaf1;
}

/* ---- descriptor tables ------------------------------------------------------------------------- */

/* An interrupt gate (SDM volume 3, figure 6-8). */
static void set_gate(unsigned vector, unsigned ist)
{
	uint64_t at = (uint64_t)x86_stubs + vector * STUB_STRIDE;

	idt[vector][0] = (at & 0xffff) | (uint64_t)SEL_CODE << 16 | (uint64_t)ist << 32 |
			 0x8eull << 40 | (at >> 16 & 0xffff) << 48;
	idt[vector][1] = at >> 32;
}

static void idt_init(void)
{
	for (unsigned i = 0; i < 256; i++) {
		set_gate(i, i == VECTOR_DF ? 1 : i == VECTOR_NMI ? 2 : i == VECTOR_MC ? 3 : 0);
	}
}

uint64_t cpu_idt_base(void)
{
	return (uint64_t)idt;
}

struct cpu_area *cpu_area(unsigned cpu)
{
	return &areas[cpu];
}

static void load_tables(const struct cpu_area *a)
{
	const struct x86_table_reg gdtr = {sizeof(a->gdt) - 1, (uint64_t)a->gdt};
	const struct x86_table_reg idtr = {sizeof(idt) - 1, (uint64_t)idt};

	__asm__ volatile("lgdt %0\n\t"
			 "pushq %2\n\t"
			 "leaq 1f(%%rip), %%rax\n\t"
			 "pushq %%rax\n\t"
			 "lretq\n"
			 "1:\tmovl %3, %%eax\n\t"
			 "movl %%eax, %%ds\n\t"
			 "movl %%eax, %%es\n\t"
			 "movl %%eax, %%ss\n\t"
			 "xorl %%eax, %%eax\n\t"
			 "movl %%eax, %%fs\n\t"
			 "movl %%eax, %%gs\n\t"
			 "lldt %%ax\n\t"
			 "movl %4, %%eax\n\t"
			 "ltr %%ax\n\t"
			 "lidt %1"
			 :
			 : "m"(gdtr), "m"(idtr), "i"(SEL_CODE), "i"(SEL_DATA), "i"(SEL_TSS)
			 : "rax", "memory");
}

/* No stack protector: the guard is read through what is set up here. */
__attribute__((no_stack_protector)) void cpu_tables_init(unsigned cpu)
{
	struct cpu_area *a = &areas[cpu];
	uint64_t tss = (uint64_t)&a->tss;

	if (cpu == 0) {
		idt_init();
	}
	a->self = a;
	for (unsigned i = 0; i < HYP_IST_COUNT; i++) {
		a->tss.ist[i] = HYP_STACK_BASE + (uint64_t)cpu * HYP_STACK_STRIDE +
				(i + 1ull) * HYP_IST_STRIDE;
	}
	a->tss.iomap_base = sizeof(a->tss);
	a->gdt[SEL_CODE / 8] = 0x00af9b000000ffff;
	a->gdt[SEL_DATA / 8] = 0x00cf93000000ffff;
	/* Available 64-bit TSS (SDM volume 3, figure 8-4). */
	a->gdt[SEL_TSS / 8] = (sizeof(a->tss) - 1) | (tss & 0xffffff) << 16 | 0x89ull << 40 |
			      (tss >> 24 & 0xff) << 56;
	a->gdt[SEL_TSS / 8 + 1] = tss >> 32;
	load_tables(a);
	wrmsr(MSR_FS_BASE, (uint64_t)stack_guard);
	wrmsr(MSR_GS_BASE, (uint64_t)a);
	wrmsr(MSR_KERNEL_GS_BASE, 0);
}

struct pcpu *this_pcpu(void)
{
	struct pcpu *c;

	__asm__ volatile("movq %%gs:0, %0" : "=r"(c));
	return c;
}

/* ---- <arch/cpu.h> ------------------------------------------------------------------------------ */

void arch_cpu_relax(void)
{
	__asm__ volatile("pause" ::: "memory");
}

void arch_cpu_wait_event(void)
{
	__asm__ volatile("pause" ::: "memory");
}

void arch_cpu_wake_waiters(void)
{
}

void arch_cpu_kick(struct pcpu *c)
{
	host_apic_send((uint32_t)c->hwid, IRQ_KICK);
}

void arch_cpu_idle(void)
{
	/* Nothing is taken between the two: what is pending already ends the HLT. */
	__asm__ volatile("sti\n\thlt\n\tcli" ::: "memory");
}

void arch_halt(void)
{
	for (;;) {
		__asm__ volatile("cli\n\thlt" ::: "memory");
	}
}

/* Caches are coherent with everything that a guest can see. */
void arch_clean_to_poc(const void *p, uint64_t bytes)
{
	(void)p;
	(void)bytes;
}

void arch_sync_icache(const void *p, uint64_t bytes)
{
	(void)p;
	(void)bytes;
}

void arch_zero_page(void *page)
{
	uint64_t n = PAGE_SIZE / 8;

	__asm__ volatile("rep stosq" : "+D"(page), "+c"(n) : "a"(0ull) : "memory");
}
