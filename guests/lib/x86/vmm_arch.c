// SPDX-License-Identifier: Apache-2.0
//
// Manager side: what a vCPU's registers hold at its start (boot/guest_start.h), the same as after
// arch_vcpu_reset() in the hypervisor.

#include <string.h>
#include <tidemark/vmm.h>
#include "guest_start.h"

#define CR0_PG_PE 0x80010031u		/* WP, NE, ET too */
#define CR0_PE 0x31u
#define CR4_PAE 0x20u
#define EFER_LMA_LME 0x500u
#define RFLAGS_FIXED 2u
#define MSR_PAT 0x277u
#define PAT_RESET 0x0007040600070406ull
#define MULTIBOOT_EAX 0x2badb002u
/* SDM volume 3, 25.4.1 */
#define SEG_CODE64 0xa09bu
#define SEG_CODE32 0xc09bu
#define SEG_DATA32 0xc093u
#define SEG_LDT 0x82u
#define SEG_TSS 0x8bu

static void segment(struct tm_regs *r, unsigned i, uint16_t selector, uint32_t attributes)
{
	r->seg[i].selector = selector;
	r->seg[i].attributes = attributes;
	r->seg[i].limit = selector != 0 ? 0xffffffffu : 0xffffu;
}

void vmm_boot_regs(struct tm_regs *r, uint64_t entry, uint64_t arg, bool powered_on)
{
	uint64_t block = arg & ~(uint64_t)GUEST_START_MODE_MASK;
	bool flat32 = (arg & GUEST_START_MODE_MASK) == GUEST_START_MULTIBOOT;

	memset(r, 0, sizeof(*r));
	r->rip = entry;
	r->rflags = RFLAGS_FIXED;
	r->cr0 = flat32 ? CR0_PE : CR0_PG_PE;
	r->xcr0 = 1;
	r->dr6 = 0xffff0ff0u;
	r->dr7 = 0x400;
	if (flat32) {
		r->gpr[0] = MULTIBOOT_EAX;
		r->gpr[3] = block;
	} else {
		r->gpr[6] = block;
		r->gpr[7] = block + GUEST_START_FDT;
		r->cr3 = block + GUEST_START_TABLES;
		r->cr4 = CR4_PAE;
		r->efer = EFER_LMA_LME;
	}
	for (unsigned i = 0; i < 6; i++) {
		segment(r, i, 0x18, SEG_DATA32);
	}
	segment(r, TM_SEG_CS, flat32 ? 0x20 : 0x10, flat32 ? SEG_CODE32 : SEG_CODE64);
	segment(r, TM_SEG_LDTR, 0, SEG_LDT);
	segment(r, TM_SEG_TR, 0, SEG_TSS);
	r->gdtr = (struct tm_table){.base = block + GUEST_START_GDT, .limit = 0x27};
	r->idtr = (struct tm_table){.base = 0, .limit = 0};
	r->powered_on = powered_on ? 1 : 0;
	r->n = 1;
	r->msr[0] = (struct tm_msr){.msr = MSR_PAT, .val = PAT_RESET};
	/* x87 control word and MXCSR as after a reset */
	r->xsave[0] = 0x7f;
	r->xsave[1] = 0x03;
	r->xsave[24] = 0x80;
	r->xsave[25] = 0x1f;
}
