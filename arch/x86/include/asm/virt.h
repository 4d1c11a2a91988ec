// SPDX-License-Identifier: Apache-2.0
/*
 * VMX and SVM behind one table, chosen once at boot by virt_init(). The table moves state between
 * struct arch_vcpu and the VMCS or VMCB and turns an exit into one call of exit.h; what an exit
 * means is decided there, once for both. All rows run on the CPU that has v loaded, interrupts
 * masked, but where said otherwise.
 */
#ifndef ASM_VIRT_H
#define ASM_VIRT_H

#include <asm/vcpu.h>
#include <hyp/err.h>
#include <hyp/types.h>

struct pcpu;
struct vcpu;
struct vm;
struct stage2;

/*
 * Guest state that hardware holds. Segment registers: four words each, in the order of
 * enum tm_segment_index: XREG_SEG(index, part); attributes as in struct tm_segment, the DPL of SS
 * being the CPL. CR0, CR4 and EFER are what the guest has written and reads (LMA included): a row
 * adds what the hardware needs (NE, VMXE, SVME) and hides it again, and keeps what depends on them
 * right (VMX: "IA-32e mode guest" = LMA, unrestricted guest).
 */
enum x86_reg {
	XREG_RSP, XREG_RIP, XREG_RFLAGS, XREG_CR0, XREG_CR3, XREG_CR4, XREG_EFER, XREG_DR7,
	XREG_GDTR_BASE, XREG_GDTR_LIMIT, XREG_IDTR_BASE, XREG_IDTR_LIMIT,
	XREG_BLOCKING,			/* TM_BLOCK_* */
	XREG_TSC_OFFSET,		/* as v->arch.tsc_offset, which exit.c keeps */
	XREG_PDPTE0, XREG_PDPTE1, XREG_PDPTE2, XREG_PDPTE3, /* PAE paging; SVM has no use for them */
	/* the order of enum switched_msr; a row knows those of hw_msrs only */
	XREG_STAR, XREG_LSTAR, XREG_CSTAR, XREG_SFMASK, XREG_KERNEL_GS_BASE, XREG_TSC_AUX,
	XREG_SYSENTER_CS, XREG_SYSENTER_ESP, XREG_SYSENTER_EIP, XREG_PAT,
	XREG_SEG_FIRST,
	XREG_COUNT = XREG_SEG_FIRST + 8 * 4
};
enum seg_part { SEG_SELECTOR, SEG_ATTRIBUTES, SEG_LIMIT, SEG_BASE };
#define XREG_SEG(index, part) ((enum x86_reg)(XREG_SEG_FIRST + (index) * 4 + (part)))
#define XREG_SMSR(i) ((enum x86_reg)(XREG_STAR + (i)))
_Static_assert(XREG_SMSR(SMSR_SYSENTER_CS) == XREG_SYSENTER_CS && XREG_SMSR(SMSR_PAT) == XREG_PAT,
	       "one order");

enum virt_window { WINDOW_NONE = 0, WINDOW_IRQ = 1, WINDOW_NMI = 2 };
enum { DIRTY_WP, DIRTY_DBM, DIRTY_PML };	/* = enum tm_backend */

struct virt_ops {
	const char *name;		/* "VMX" */
	/* Boot CPU, once: NULL, or why this CPU cannot be used. */
	const char *(*probe)(void);
	/* Every CPU, before its first vCPU: VMXON, EFER.SVME. False: this CPU cannot join. */
	bool (*cpu_init)(struct pcpu *c);
	int (*vcpu_init)(struct vcpu *v);	/* any CPU: memory and constant controls */
	void (*vcpu_free)(struct vcpu *v);	/* any CPU: not loaded, never runs again */
	/* load: VMCS current, root and tags set; put: everything that other CPUs may read is in
	 * memory, so that read/write work wherever the vCPU is next. */
	void (*load)(struct vcpu *v);
	void (*put)(struct vcpu *v);
	/*
	 * One entry with v->arch.event, one exit. Before: guest_state_bad() in debug builds, CR2.
	 * After, in this order: tlb_left(v), so that nobody waits for us while we take locks; CR2;
	 * v->arch.event is invalid, or the event whose delivery was interrupted (for reinjection);
	 * what hardware logged is drained; guest_exit_begin(); one handler of exit.h. May go on with
	 * the next entry as long as enter_again() says so (asm/enter.h).
	 */
	void (*run)(struct vcpu *v);
	/* Past an instruction, when moving RIP is all there is to it; else false, and nothing done.
	 * NULL: guest_skip() does it all by read and write. */
	bool (*skip)(struct vcpu *v, unsigned len);
	/* Guest state; v loaded here, or put and quiet. */
	uint64_t (*read)(struct vcpu *v, enum x86_reg r);
	void (*write)(struct vcpu *v, enum x86_reg r, uint64_t val);
	/* Exit as soon as an interrupt or an NMI can be taken (enum virt_window). */
	void (*window)(struct vcpu *v, unsigned what);
	/* This CPU: forgets all translations under tag v->arch.asid and of this stage 2. */
	void (*flush)(struct vcpu *v);
	unsigned hw_msrs;		/* 1 << SMSR_*: hardware switches them, read/write reach them
					 * as XREG_SMSR(i); vcpu.c does the others */
	unsigned asids;			/* tags 1 .. asids - 1 are for guests; set by probe */
	unsigned backends;		/* 1 << DIRTY_*; set by probe */
	unsigned max_leaf;		/* largest leaf level of stage 2: 2 = 1 GiB; set by probe */
	const struct pgtable_format *format;
};

extern struct virt_ops vmx_ops, svm_ops;
extern const struct virt_ops *virt;	/* the chosen one */

/* Boot CPU, after its control registers and its GDT, IDT and TSS are final: NULL, or the line for
 * cannot_start(). */
const char *virt_init(void);
/* Every CPU, the boot CPU after virt_init(): its FPU for guests, then virt->cpu_init(). */
bool must_check virt_cpu_init(struct pcpu *c);

/* General registers by number, RSP included. */
uint64_t vcpu_gpr(struct vcpu *v, unsigned n);
void vcpu_set_gpr(struct vcpu *v, unsigned n, uint64_t val);

/* ---- tlb.c: tags and generations --------------------------------------------------------------- */

/* Before each entry: a tag for this CPU; flushes when the stage 2 has moved on. Publishes that this
 * CPU is about to be in the guest of that stage 2; tlb_left() takes it back, right after the exit. */
void tlb_enter(struct vcpu *v);
void tlb_left(struct vcpu *v);

#endif
