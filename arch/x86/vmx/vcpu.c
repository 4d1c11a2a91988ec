// SPDX-License-Identifier: Apache-2.0
/*
 * A vCPU's VMCS. Loaded, its guest state is in the current VMCS of its CPU; put, it is in
 * vmx_vcpu.regs and the VMCS is clear, so that any CPU may read and write it as memory and may load
 * it next. No lock: a loaded vCPU belongs to its CPU, a put one to whoever holds it quiet.
 */
#include <abi/x86.h>
#include <arch/cpu.h>
#include <asm/cpu.h>
#include <asm/exit.h>
#include <asm/msr.h>
#include <hyp/page_alloc.h>
#include <hyp/sched.h>
#include <hyp/string.h>
#include <hyp/vm.h>

#include "insn.h"
#include "vmcs.h"
#include "vmx.h"

#define RFLAGS_TF (1u << 8)
#define VECTOR_DB 1
#define VECTOR_AC 17
#define VECTOR_MC 18
/* A guest that spins: exits after so many ticks of PAUSEs that are at most so far apart. */
#define PLE_GAP 128u
#define PLE_WINDOW 4096u

#define SEG(i)                                                                                     \
	[XREG_SEG(i, SEG_SELECTOR)] = VMCS_GUEST_SELECTOR(i),                                      \
	[XREG_SEG(i, SEG_ATTRIBUTES)] = VMCS_GUEST_ATTRIBUTES(i),                                  \
	[XREG_SEG(i, SEG_LIMIT)] = VMCS_GUEST_LIMIT(i),                                            \
	[XREG_SEG(i, SEG_BASE)] = VMCS_GUEST_BASE(i)

/* 0: not in the VMCS. */
static const uint16_t field_of[XREG_COUNT] = {
	[XREG_RSP] = VMCS_GUEST_RSP,
	[XREG_RIP] = VMCS_GUEST_RIP,
	[XREG_RFLAGS] = VMCS_GUEST_RFLAGS,
	[XREG_CR0] = VMCS_GUEST_CR0,
	[XREG_CR3] = VMCS_GUEST_CR3,
	[XREG_CR4] = VMCS_GUEST_CR4,
	[XREG_EFER] = VMCS_GUEST_EFER,
	[XREG_DR7] = VMCS_GUEST_DR7,
	[XREG_GDTR_BASE] = VMCS_GUEST_GDTR_BASE,
	[XREG_GDTR_LIMIT] = VMCS_GUEST_GDTR_LIMIT,
	[XREG_IDTR_BASE] = VMCS_GUEST_IDTR_BASE,
	[XREG_IDTR_LIMIT] = VMCS_GUEST_IDTR_LIMIT,
	[XREG_BLOCKING] = VMCS_GUEST_INTERRUPTIBILITY,
	[XREG_TSC_OFFSET] = VMCS_TSC_OFFSET,
	[XREG_PDPTE0] = VMCS_GUEST_PDPTE0,
	[XREG_PDPTE1] = VMCS_GUEST_PDPTE1,
	[XREG_PDPTE2] = VMCS_GUEST_PDPTE2,
	[XREG_PDPTE3] = VMCS_GUEST_PDPTE3,
	[XREG_SYSENTER_CS] = VMCS_GUEST_SYSENTER_CS,
	[XREG_SYSENTER_ESP] = VMCS_GUEST_SYSENTER_ESP,
	[XREG_SYSENTER_EIP] = VMCS_GUEST_SYSENTER_EIP,
	[XREG_PAT] = VMCS_GUEST_PAT,
	SEG(TM_SEG_ES), SEG(TM_SEG_CS), SEG(TM_SEG_SS), SEG(TM_SEG_DS),
	SEG(TM_SEG_FS), SEG(TM_SEG_GS), SEG(TM_SEG_LDTR), SEG(TM_SEG_TR),
};
_Static_assert(XREG_COUNT == VMX_REGS && XREG_COUNT <= 64, "struct vmx_vcpu");

/* ---- registers ------------------------------------------------------------------------------- */

/* As the VMCS has it. */
static inline uint64_t raw_read(const struct vmx_vcpu *x, enum x86_reg r)
{
	return likely(x->cpu != 0) ? vmread(field_of[r]) : x->regs[r];
}

static inline void raw_write(struct vmx_vcpu *x, enum x86_reg r, uint64_t val)
{
	if (likely(x->cpu != 0)) {
		vmwrite(field_of[r], val);
	} else {
		x->regs[r] = val;
		x->changed |= 1ull << r;
	}
}

/* TM_BLOCK_NMI stands one bit lower than hardware's, where SMI is. */
static uint64_t blocking_shown(uint64_t raw)
{
	return (raw & (BLOCKED_BY_STI | BLOCKED_BY_MOV_SS)) |
	       (raw & BLOCKED_BY_NMI ? TM_BLOCK_NMI : 0);
}

static uint64_t blocking_raw(uint64_t shown)
{
	return (shown & (BLOCKED_BY_STI | BLOCKED_BY_MOV_SS)) |
	       (shown & TM_BLOCK_NMI ? BLOCKED_BY_NMI : 0);
}

uint64_t vmx_read(struct vcpu *v, enum x86_reg r)
{
	const struct vmx_machine *m = &vmx_machine;
	uint64_t raw = raw_read(&v->arch.vmx, r);

	switch (r) {
	case XREG_CR0:
		return (raw & m->cr0_owned) | (v->arch.cr0_shown & ~m->cr0_owned);
	case XREG_CR4:
		return (raw & m->cr4_owned) | (v->arch.cr4_shown & ~m->cr4_owned);
	case XREG_BLOCKING:
		return blocking_shown(raw);
	default:
		return raw;
	}
}

/* What hardware adds is hidden behind the read shadows (25.6.6). */
static void write_cr0(struct vcpu *v, uint64_t val)
{
	struct vmx_vcpu *x = &v->arch.vmx;

	v->arch.cr0_shown = val;
	raw_write(x, XREG_CR0, (val & ~vmx_machine.cr0_hidden) | vmx_machine.cr0_forced);
	if (x->cpu != 0) {
		vmwrite(VMCS_CR0_SHADOW, val);
	}
}

static void write_cr4(struct vcpu *v, uint64_t val)
{
	struct vmx_vcpu *x = &v->arch.vmx;

	v->arch.cr4_shown = val;
	raw_write(x, XREG_CR4, val | vmx_machine.cr4_forced);
	if (x->cpu != 0) {
		vmwrite(VMCS_CR4_SHADOW, val);
	}
}

static void entry_controls(uint64_t efer)
{
	vmwrite(VMCS_ENTRY_CONTROLS, vmx_machine.entry | (efer & EFER_LMA ? ENTRY_IA32E : 0));
}

void vmx_write(struct vcpu *v, enum x86_reg r, uint64_t val)
{
	struct vmx_vcpu *x = &v->arch.vmx;

	switch (r) {
	case XREG_CR0:
		write_cr0(v, val);
		return;
	case XREG_CR4:
		write_cr4(v, val);
		return;
	case XREG_BLOCKING:
		val = blocking_raw(val);
		break;
	case XREG_EFER:
		if (x->cpu != 0) {
			entry_controls(val);
		}
		break;
	default:
		break;
	}
	raw_write(x, r, val);
}

/* ---- life ------------------------------------------------------------------------------------ */

int vmx_vcpu_init(struct vcpu *v)
{
	struct vmx_vcpu *x = &v->arch.vmx;

	*x = (struct vmx_vcpu){.vmcs = page_alloc()};
	if (!x->vmcs) {
		return -TM_ENOMEM;
	}
	*(uint32_t *)x->vmcs = vmx_machine.revision;
	if (vmx_pml_init(v)) {
		page_free(x->vmcs);
		x->vmcs = NULL;
		return -TM_ENOMEM;
	}
	for (unsigned r = 0; r < XREG_COUNT; r++) {
		x->changed |= field_of[r] ? 1ull << r : 0;
	}
	if (!vmclear(virt_to_phys(x->vmcs).v)) {
		vmx_vcpu_free(v);
		return -TM_EIO;
	}
	return 0;
}

void vmx_vcpu_free(struct vcpu *v)
{
	struct vmx_vcpu *x = &v->arch.vmx;

	vmx_pml_free(v);
	if (x->vmcs) {
		page_free(x->vmcs);
		x->vmcs = NULL;
	}
}

/* What CPUID shows works; what it hides is #UD. */
static uint32_t secondary_controls(struct vcpu *v)
{
	uint32_t want = vmx_machine.proc2;
	struct cpuid_regs r;

	policy_cpuid(v, 0x80000001u, 0, &r);
	want |= r.edx & (1u << 27) ? PROC2_RDTSCP : 0;
	policy_cpuid(v, 7, 0, &r);
	want |= r.ebx & (1u << 10) ? PROC2_INVPCID : 0;
	want |= r.ebx & (1u << 18) ? 0 : PROC2_RDSEED;
	policy_cpuid(v, 1, 0, &r);
	want |= r.ecx & (1u << 30) ? 0 : PROC2_RDRAND;
	policy_cpuid(v, 0xd, 1, &r);
	want |= r.eax & (1u << 3) ? PROC2_XSAVES : 0;
	want |= v->arch.vmx.pml ? PROC2_PML : 0;
	return want & vmx_machine.proc2_allowed;
}

static void make_controls(struct vcpu *v)
{
	const struct vmx_machine *m = &vmx_machine;
	struct vmx_vcpu *x = &v->arch.vmx;
	uint32_t proc2 = secondary_controls(v);

	x->proc = m->proc;
	x->if_entered = ~0ull;		/* exit.c writes the pin-based ones */
	vmwrite(VMCS_PROC_CONTROLS, x->proc);
	vmwrite(VMCS_PROC2_CONTROLS, proc2);
	vmwrite(VMCS_EXIT_CONTROLS, m->exit);
	/* 25.6.3: endless #DB or #AC deliveries would keep interrupts and us out. */
	vmwrite(VMCS_EXCEPTION_BITMAP, 1u << VECTOR_DB | 1u << VECTOR_AC | 1u << VECTOR_MC);
	vmwrite(VMCS_PF_ERROR_MASK, 0);
	vmwrite(VMCS_PF_ERROR_MATCH, 0);
	vmwrite(VMCS_CR3_TARGET_COUNT, 0);
	vmwrite(VMCS_EXIT_MSR_STORE_COUNT, 0);
	vmwrite(VMCS_EXIT_MSR_LOAD_COUNT, 0);
	vmwrite(VMCS_ENTRY_MSR_LOAD_COUNT, 0);
	vmwrite(VMCS_ENTRY_INTR_INFO, 0);
	vmwrite(VMCS_MSR_BITMAP, m->msr_bitmap);
	vmwrite(VMCS_CR0_MASK, ~m->cr0_owned);
	vmwrite(VMCS_CR4_MASK, ~m->cr4_owned);
	vmwrite(VMCS_PREEMPTION_TIMER, m->timer);
	vmwrite(VMCS_LINK_POINTER, ~0ull);
	vmwrite(VMCS_GUEST_DEBUGCTL, 0);
	vmwrite(VMCS_GUEST_ACTIVITY, 0);
	vmwrite(VMCS_GUEST_PENDING_DEBUG, 0);
	if (proc2 & PROC2_PLE) {
		vmwrite(VMCS_PLE_GAP, PLE_GAP);
		vmwrite(VMCS_PLE_WINDOW, PLE_WINDOW);
	}
	if (proc2 & PROC2_XSAVES) {
		vmwrite(VMCS_XSS_EXIT_BITMAP, 0);
	}
	if (proc2 & PROC2_PML) {
		vmwrite(VMCS_PML_ADDRESS, virt_to_phys(x->pml).v);
		vmwrite(VMCS_GUEST_PML_INDEX, PML_ENTRIES - 1);
	}
	vmwrite(VMCS_EPT_POINTER, x->eptp);
	vmwrite(VMCS_VPID, x->vpid);
}

static void make_host_state(const struct vmx_cpu *h)
{
	vmwrite(VMCS_HOST_CR0, h->cr0);
	vmwrite(VMCS_HOST_CR3, h->cr3);
	vmwrite(VMCS_HOST_CR4, h->cr4);
	vmwrite(VMCS_HOST_EFER, h->efer);
	vmwrite(VMCS_HOST_PAT, h->pat);
	vmwrite(VMCS_HOST_CS, SEL_CODE);
	vmwrite(VMCS_HOST_SS, SEL_DATA);
	vmwrite(VMCS_HOST_DS, 0);
	vmwrite(VMCS_HOST_ES, 0);
	vmwrite(VMCS_HOST_FS, 0);
	vmwrite(VMCS_HOST_GS, 0);
	vmwrite(VMCS_HOST_TR, SEL_TSS);
	vmwrite(VMCS_HOST_FS_BASE, h->fs_base);
	vmwrite(VMCS_HOST_GS_BASE, h->gs_base);
	vmwrite(VMCS_HOST_TR_BASE, h->tr_base);
	vmwrite(VMCS_HOST_GDTR_BASE, h->gdt_base);
	vmwrite(VMCS_HOST_IDTR_BASE, h->idt_base);
	vmwrite(VMCS_HOST_SYSENTER_CS, 0);
	vmwrite(VMCS_HOST_SYSENTER_ESP, 0);
	vmwrite(VMCS_HOST_SYSENTER_EIP, 0);
	vmwrite(VMCS_HOST_RIP, (uint64_t)vmx_exit_point);
}

static uint64_t eptp_of(const struct stage2 *s2)
{
	return s2->pt.root.v | EPTP_WRITE_BACK | EPTP_LEVELS_4 |
	       (s2->hw_dirty ? EPTP_ACCESSED_DIRTY : 0);
}

/* Of a state from outside. In a shadow a single-step trap is pending exactly when TF is set
 * (27.3.1.5). */
static uint64_t pending_debug(const struct vmx_vcpu *x)
{
	bool shadow = x->regs[XREG_BLOCKING] & (BLOCKED_BY_STI | BLOCKED_BY_MOV_SS);

	return shadow && (x->regs[XREG_RFLAGS] & RFLAGS_TF) ? PENDING_DEBUG_BS : 0;
}

void vmx_load(struct vcpu *v)
{
	struct vmx_vcpu *x = &v->arch.vmx;
	unsigned cpu = this_pcpu()->id;

	if (!vmptrld(virt_to_phys(x->vmcs).v)) {
		panic("vmx: VMPTRLD refused on CPU %u", cpu);
	}
	x->cpu = (uint16_t)(cpu + 1);
	if (unlikely(!x->made)) {
		x->eptp = eptp_of(&v->vm->s2);
		make_controls(v);
		x->made = true;
	}
	if (unlikely(x->host_cpu != x->cpu)) {
		make_host_state(vmx_cpu(cpu));
		x->host_cpu = x->cpu;
	}
	vmwrite(VMCS_CR0_SHADOW, v->arch.cr0_shown);
	vmwrite(VMCS_CR4_SHADOW, v->arch.cr4_shown);
	entry_controls(x->regs[XREG_EFER]);
	if (x->changed & 1ull << XREG_BLOCKING) {
		vmwrite(VMCS_GUEST_PENDING_DEBUG, pending_debug(x));
	}
	while (x->changed != 0) {
		unsigned r = (unsigned)__builtin_ctzll(x->changed);

		vmwrite(field_of[r], x->regs[r]);
		x->changed &= x->changed - 1;
	}
}

void vmx_put(struct vcpu *v)
{
	struct vmx_vcpu *x = &v->arch.vmx;

	for (unsigned r = 0; r < XREG_COUNT; r++) {
		if (field_of[r]) {
			x->regs[r] = vmread(field_of[r]);
		}
	}
	if (!vmclear(virt_to_phys(x->vmcs).v)) {
		panic("vmx: VMCLEAR refused");
	}
	x->cpu = 0;
}

/* ---- the rest of the table ------------------------------------------------------------------- */

void vmx_window(struct vcpu *v, unsigned what)
{
	struct vmx_vcpu *x = &v->arch.vmx;
	uint32_t proc = x->proc & ~(PROC_IRQ_WINDOW | PROC_NMI_WINDOW);

	/* A processor may open the NMI window in the shadow of STI (26.2), where none is injected:
	 * no instruction would be executed ever again. IF is 1, so a window opens behind it. */
	if ((what & WINDOW_NMI) && (vmread(VMCS_GUEST_INTERRUPTIBILITY) & BLOCKED_BY_STI)) {
		what = WINDOW_IRQ;
	}
	proc |= what & WINDOW_IRQ ? PROC_IRQ_WINDOW : 0;
	proc |= what & WINDOW_NMI ? PROC_NMI_WINDOW : 0;
	if (proc != x->proc) {
		x->proc = proc;
		vmwrite(VMCS_PROC_CONTROLS, proc);
	}
}

void vmx_flush(struct vcpu *v)
{
	uint16_t vpid = (uint16_t)v->arch.asid;

	/* VPID 0 is the hypervisor's: this vCPU has none yet. */
	if (!invept_single(v->arch.vmx.eptp) || (vpid != 0 && !invvpid_single(vpid))) {
		panic("vmx: INVEPT or INVVPID refused");
	}
}
