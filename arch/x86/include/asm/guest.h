// SPDX-License-Identifier: Apache-2.0
/*
 * What the vendor-neutral files of arch/x86 share about a guest: modes and constants, its FPU, its
 * page tables, the TLB tags. For hyp/ there is <arch/vcpu.h>, for vmx/ and svm/ <asm/exit.h>.
 */
#ifndef ASM_GUEST_H
#define ASM_GUEST_H

#include <abi/x86.h>
#include <asm/cpu.h>
#include <asm/exit.h>
#include <asm/msr.h>
#include <asm/virt.h>

/* RFLAGS (SDM volume 1, 3.4.3). */
#define RFLAGS_CF (1u << 0)
#define RFLAGS_FIXED (1u << 1)
#define RFLAGS_PF (1u << 2)
#define RFLAGS_AF (1u << 4)
#define RFLAGS_ZF (1u << 6)
#define RFLAGS_SF (1u << 7)
#define RFLAGS_TF (1u << 8)
#define RFLAGS_IF (1u << 9)
#define RFLAGS_DF (1u << 10)
#define RFLAGS_OF (1u << 11)
#define RFLAGS_IOPL (3u << 12)
#define RFLAGS_NT (1u << 14)
#define RFLAGS_RF (1u << 16)
#define RFLAGS_VM (1u << 17)
#define RFLAGS_AC (1u << 18)
#define RFLAGS_VALID 0x3f7fd7u		/* bits that may be 1 */

/* More of CR4 than the hypervisor itself uses (SDM volume 3, 2.5). */
#define CR4_VME (1u << 0)
#define CR4_PVI (1u << 1)
#define CR4_TSD (1u << 2)
#define CR4_DE (1u << 3)
#define CR4_PSE (1u << 4)
#define CR4_PCE (1u << 8)
#define CR4_FSGSBASE (1u << 16)
#define CR4_PKE (1u << 22)
#define CR4_CET (1u << 23)

#define XCR0_X87 (1u << 0)
#define XCR0_SSE (1u << 1)
#define XCR0_AVX (1u << 2)

#define DR6_FIXED 0xffff0ff0u
#define DR6_BD (1u << 13)
#define DR6_BS (1u << 14)
#define DR6_WRITABLE 0xe00fu
#define DR7_FIXED 0x400u
#define DR7_WRITABLE 0xffff23ffu	/* not RTM: hidden */
#define DR7_ENABLED 0xffu
#define DR7_GD (1u << 13)
#define CR0_RESET 0x60000010u
#define XSAVE_MXCSR 24u			/* offsets in the XSAVE area (SDM volume 1, 13.4) */
#define XSAVE_MXCSR_MASK 28u
#define XSAVE_HEADER 512u
#define XSAVE_AVX 576u
#define XSAVE_END 832u

/* Segment attributes (struct tm_segment). */
#define SEG_TYPE 0x0fu
#define SEG_S (1u << 4)
#define SEG_DPL(attr) (((attr) >> 5) & 3u)
#define SEG_P (1u << 7)
#define SEG_L (1u << 13)
#define SEG_DB (1u << 14)
#define SEG_G (1u << 15)
#define SEG_UNUSABLE (1u << 16)

/* Exceptions. */
#define VEC_DE 0u
#define VEC_DB 1u
#define VEC_NMI 2u
#define VEC_BP 3u
#define VEC_OF 4u
#define VEC_UD 6u
#define VEC_DF 8u
#define VEC_TS 10u
#define VEC_NP 11u
#define VEC_SS 12u
#define VEC_GP 13u
#define VEC_PF 14u
#define VEC_AC 17u
#define VEC_MC 18u

#define PF_PRESENT 1u
#define PF_WRITE 2u
#define PF_USER 4u
#define PF_RSVD 8u
#define PF_FETCH 16u

enum guest_mode { MODE_REAL, MODE_VM86, MODE_PROTECTED, MODE_COMPAT, MODE_64 };

/* mode.c. v is loaded here, or put and quiet. */
unsigned guest_cpl(struct vcpu *v);
enum guest_mode guest_mode(struct vcpu *v);
/* Default operand and address size of its code: 2, 4 or 8. */
unsigned guest_code_bytes(struct vcpu *v);
/* RIP as this mode counts: 16, 32 or 64 bits. */
uint64_t guest_ip(struct vcpu *v);
bool is_canonical(uint64_t a);

/* start.c */
void vcpu_reset_init(struct vcpu *v);	/* what INIT sets, RIP at the reset vector */

/* fpu.c */
void fpu_cpu_init(void);
void fpu_reset(struct vcpu *v);
void fpu_load(struct vcpu *v);
void fpu_put(struct vcpu *v);
void fpu_sync_xcr0(struct vcpu *v);	/* v is loaded: xcr0 is what hardware has */
void fpu_set_xcr0(struct vcpu *v, uint64_t val);	/* checked by the caller */
uint64_t fpu_mask(void);		/* of XCR0: what guests may have */
uint32_t fpu_mxcsr_mask(void);

/* vcpu.c: one of enum switched_msr, wherever it is at the moment. */
uint64_t smsr_read(struct vcpu *v, enum switched_msr i);
void smsr_write(struct vcpu *v, enum switched_msr i, uint64_t val);
void debug_update(struct vcpu *v);	/* after DR7 or DR0-3 changed */
void guest_set_tsc_offset(struct vcpu *v, uint64_t offset);
/* Is there another vCPU that could still wake this one? */
bool vcpu_others_can_run(struct vcpu *v);

/* control.c */
/* May a guest set it to that? For MOV CR, WRMSR, XSETBV and REGS_SET. */
bool cr0_ok(uint64_t cr0);
bool cr4_ok(uint64_t cr4, uint64_t cr0, uint64_t efer);
bool efer_ok(uint64_t efer);
bool xcr0_ok(uint64_t xcr0);
void guest_flush(struct vcpu *v);
bool guest_uses_pdptes(struct vcpu *v);
/* PAE paging: PDPTEs from memory into hardware. False: a reserved bit, or no memory. */
bool guest_load_pdptes(struct vcpu *v);

/* guest_walk.c */
#define WALK_WRITE 1u
#define WALK_EXEC 2u
#define WALK_USER 4u			/* CPL 3 */
struct walk {
	uint64_t gpa;
	uint32_t error;			/* of the #PF, when it failed */
};
/* Linear to guest-physical. False: a #PF with w->error. */
bool guest_walk(struct vcpu *v, uint64_t linear, unsigned access, struct walk *w);
/* Bytes at RIP: the count that could be had, at most 15. */
unsigned guest_fetch(struct vcpu *v, uint8_t *buf);

/* check.c: as in tm_regs.event */
uint32_t event_pack(const struct x86_event *e);
struct tm_segment guest_segment(struct vcpu *v, unsigned i);

/* io.c: operands by linear address */
enum copied {
	COPY_DONE,
	COPY_NO_MEMORY,		/* a device or nothing: all-ones were read, nothing was written */
	COPY_BUSY,		/* held back: the instruction is to be tried again */
	COPY_FAULTED,		/* #PF injected */
};
/* Segment and offset to linear. False: #GP or #SS injected. */
bool guest_linear(struct vcpu *v, unsigned seg, uint64_t offset, unsigned bytes, bool write,
		  uint64_t *linear);
enum copied guest_read_linear(struct vcpu *v, uint64_t linear, void *buf, unsigned bytes);
enum copied guest_write_linear(struct vcpu *v, uint64_t linear, const void *buf, unsigned bytes);

/* emulate.c: an access to what is not RAM. f as it came; NULL region: the manager's or nobody's. */
struct mmio_region;
enum mmio_target { MMIO_DEVICE, MMIO_MANAGER, MMIO_NOBODY };
void emulate_mmio(struct vcpu *v, const struct exit_npf *f, enum mmio_target t,
		  const struct mmio_region *r);
/* The second half of what the manager has answered. True: requests are to be looked at again. */
bool emulate_write_back(struct vcpu *v);


#endif
