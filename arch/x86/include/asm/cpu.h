// SPDX-License-Identifier: Apache-2.0
/*
 * What x86 code knows of the CPU it runs on beyond <arch/cpu.h>: features that all CPUs share, the
 * descriptor tables of each CPU, control registers. cpu_features is set once at boot.
 *
 * FS base: `stack_guard`, the same on all CPUs; + 40 is the stack protector's word (libfdt.a's).
 * GS base: this CPU's struct cpu_area.
 */
#ifndef ASM_CPU_H
#define ASM_CPU_H

/* GDT selectors. */
#define SEL_CODE 0x08
#define SEL_DATA 0x10
#define SEL_TSS 0x18

#define CR0_PE 0x1
#define CR0_MP 0x2
#define CR0_EM 0x4
#define CR0_TS 0x8
#define CR0_ET 0x10
#define CR0_NE 0x20
#define CR0_WP 0x10000
#define CR0_AM 0x40000
#define CR0_NW 0x20000000
#define CR0_CD 0x40000000
#define CR0_PG 0x80000000

#define CR4_PAE 0x20
#define CR4_MCE 0x40
#define CR4_PGE 0x80
#define CR4_OSFXSR 0x200
#define CR4_OSXMMEXCPT 0x400
#define CR4_UMIP 0x800
#define CR4_LA57 0x1000
#define CR4_VMXE 0x2000
#define CR4_PCIDE 0x20000
#define CR4_OSXSAVE 0x40000
#define CR4_SMEP 0x100000
#define CR4_SMAP 0x200000

/* What the boot leaves in CR0; CR4 depends on features (cpu.c). */
#define CR0_HYP (CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG)

#define CPUID1_EDX_APIC (1u << 9)

#ifndef __ASSEMBLER__

#include <hyp/types.h>

struct pcpu;

enum cpu_vendor { CPU_OTHER, CPU_INTEL, CPU_AMD };	/* AMD: Hygon as well */

struct cpu_features {
	enum cpu_vendor vendor;
	uint32_t max_leaf, max_ext;		/* 0 and 0x80000000 */
	uint32_t leaf1_ecx, leaf1_edx;
	uint32_t leaf7_ebx, leaf7_ecx, leaf7_edx;
	uint32_t ext1_ecx, ext1_edx;		/* 0x80000001 */
	unsigned phys_bits;			/* at most 52 */
	unsigned lin_bits;
	bool gib_pages;
	bool x2apic;
	bool tsc_deadline;
	bool tsc_invariant;
	bool xsave;
};

extern struct cpu_features cpu_features;
/* Boot CPU, before anything asks. */
void cpu_features_init(void);

struct x86_tss {
	uint32_t reserved0;
	uint64_t rsp[3];
	uint64_t reserved1;
	uint64_t ist[7];
	uint64_t reserved2;
	uint16_t reserved3;
	uint16_t iomap_base;
} __attribute__((packed));
_Static_assert(sizeof(struct x86_tss) == 104, "SDM volume 3, figure 8-11");

struct x86_table_reg {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed));

#define GDT_WORDS 5			/* null, code, data, TSS (two words) */

/* One a CPU; GS base points to it. */
struct cpu_area {
	struct pcpu *pcpu;		/* at 0: this_pcpu() */
	struct cpu_area *self;		/* at 8: this_cpu_area() */
	uint64_t gdt[GDT_WORDS];
	struct x86_tss tss;
} __attribute__((aligned(64)));

struct cpu_area *cpu_area(unsigned cpu);
extern uint64_t stack_guard[6];
/* Every CPU, before its first C that may fault: GDT, TSS, IDT, FS and GS base. */
void cpu_tables_init(unsigned cpu);
/* Every CPU: CR0, CR4, EFER, PAT as the hypervisor wants them. */
void cpu_control_init(void);
/* APIC id of the calling CPU. */
uint32_t cpu_apic_id(void);
/* Host IDT: for a VMCS. */
uint64_t cpu_idt_base(void);

struct cpuid_leaf {
	uint32_t eax, ebx, ecx, edx;
};

static inline struct cpuid_leaf cpuid(uint32_t leaf, uint32_t sub)
{
	struct cpuid_leaf r;

	__asm__ volatile("cpuid"
			 : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx)
			 : "a"(leaf), "c"(sub));
	return r;
}

#define read_cr(n)                                                                                 \
	({                                                                                         \
		uint64_t value_;                                                                   \
		__asm__ volatile("mov %%cr" #n ", %0" : "=r"(value_) : : "memory");                \
		value_;                                                                            \
	})
#define write_cr(n, value)                                                                         \
	do {                                                                                       \
		uint64_t value_ = (uint64_t)(value);                                               \
		__asm__ volatile("mov %0, %%cr" #n : : "r"(value_) : "memory");                    \
	} while (0)

static inline struct cpu_area *this_cpu_area(void)
{
	struct cpu_area *a;

	__asm__ volatile("movq %%gs:8, %0" : "=r"(a));
	return a;
}

#endif
#endif
