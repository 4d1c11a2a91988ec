// SPDX-License-Identifier: Apache-2.0
/*
 * The virtual machine control block: layout (AMD APM volume 2, appendix B), the bits that we use in
 * it, and the exit codes (appendix C). What nobody here touches is padding.
 */
#ifndef SVM_VMCB_H
#define SVM_VMCB_H

#include <hyp/types.h>

/* intercept_cr, intercept_dr: reads in the low half, writes in the high one. */
#define CR_READ(n) (1u << (n))
#define CR_WRITE(n) (1u << (16 + (n)))

/* intercept_1 (offset 0x00c) */
#define I1_INTR (1u << 0)
#define I1_NMI (1u << 1)
#define I1_SMI (1u << 2)
#define I1_INIT (1u << 3)
#define I1_VINTR (1u << 4)
#define I1_RDPMC (1u << 15)
#define I1_CPUID (1u << 18)
#define I1_RSM (1u << 19)
#define I1_IRET (1u << 20)
#define I1_INVD (1u << 22)
#define I1_PAUSE (1u << 23)
#define I1_HLT (1u << 24)
#define I1_INVLPGA (1u << 26)
#define I1_IOIO (1u << 27)
#define I1_MSR (1u << 28)
#define I1_SHUTDOWN (1u << 31)

/* intercept_2 (0x010) */
#define I2_VMRUN (1u << 0)
#define I2_VMMCALL (1u << 1)
#define I2_VMLOAD (1u << 2)
#define I2_VMSAVE (1u << 3)
#define I2_STGI (1u << 4)
#define I2_CLGI (1u << 5)
#define I2_SKINIT (1u << 6)
#define I2_WBINVD (1u << 9)
#define I2_MONITOR (1u << 10)
#define I2_MWAIT (1u << 11)
#define I2_MWAIT_ARMED (1u << 12)
#define I2_XSETBV (1u << 13)
#define I2_RDPRU (1u << 14)

/* intercept_3 (0x014) */
#define I3_INVLPGB (1u << 0)
#define I3_INVLPGB_ILLEGAL (1u << 1)
#define I3_MCOMMIT (1u << 3)
#define I3_TLBSYNC (1u << 4)

/* tlb_control */
#define TLB_NOTHING 0u
#define TLB_FLUSH_ALL 1u
#define TLB_FLUSH_ASID 3u	/* with FlushByAsid only */

/* int_ctl */
#define V_IRQ (1u << 8)
#define V_PRIO_MAX (0xfu << 16)
#define V_IGN_TPR (1u << 20)
#define V_INTR_MASKING (1u << 24)

#define SHADOW_ACTIVE 1ull	/* interrupt_shadow */
#define NP_ENABLE 1ull

/* eventinj and exitintinfo: vector 7:0, type 10:8, error code 63:32 */
#define EV_TYPE(info) ((unsigned)((info) >> 8) & 7u)
#define EV_INTR 0u
#define EV_NMI 2u
#define EV_EXCEPTION 3u
#define EV_SOFT 4u
#define EV_HAS_ERROR (1ull << 11)
#define EV_VALID (1ull << 31)

/* Clean bits: what has not been written since the last entry of this VMCB on this CPU. */
#define CLEAN_INTERCEPTS (1u << 0)	/* and TSC offset, pause filter */
#define CLEAN_PERM (1u << 1)		/* the addresses of the two permission maps */
#define CLEAN_ASID (1u << 2)
#define CLEAN_TPR (1u << 3)		/* int_ctl, int_vector */
#define CLEAN_NP (1u << 4)		/* nested CR3, guest PAT */
#define CLEAN_CR (1u << 5)		/* CR0, CR3, CR4, EFER */
#define CLEAN_DR (1u << 6)		/* DR6, DR7 */
#define CLEAN_DT (1u << 7)		/* GDTR, IDTR */
#define CLEAN_SEG (1u << 8)		/* CS, DS, SS, ES, CPL */
#define CLEAN_CR2 (1u << 9)
#define CLEAN_LBR (1u << 10)
#define CLEAN_ALL 0x7ffu

struct vmcb_seg {
	uint16_t selector;
	uint16_t attrib;	/* descriptor bits 55:52 above 47:40 */
	uint32_t limit;
	uint64_t base;
};

struct vmcb {
	/* control area */
	uint32_t intercept_cr;
	uint32_t intercept_dr;
	uint32_t intercept_exc;
	uint32_t intercept_1;
	uint32_t intercept_2;
	uint32_t intercept_3;
	uint8_t pad0[0x3c - 0x18];
	uint16_t pause_threshold;
	uint16_t pause_count;
	uint64_t iopm;
	uint64_t msrpm;
	uint64_t tsc_offset;
	uint32_t asid;
	uint8_t tlb_control;
	uint8_t pad1[3];
	uint32_t int_ctl;
	uint32_t int_vector;
	uint64_t interrupt_shadow;
	uint64_t exitcode;
	uint64_t exitinfo1;
	uint64_t exitinfo2;
	uint64_t exitintinfo;
	uint64_t np_enable;
	uint8_t pad2[0xa8 - 0x98];
	uint64_t eventinj;
	uint64_t ncr3;
	uint64_t lbr_ctl;
	uint32_t clean;
	uint32_t pad3;
	uint64_t nrip;
	uint8_t insn_bytes_count;
	uint8_t insn_bytes[15];
	uint8_t pad4[0x400 - 0xe0];

	/* save area; FS, GS, LDTR, TR and the MSRs from STAR on but PAT move by VMLOAD, VMSAVE */
	struct vmcb_seg es, cs, ss, ds, fs, gs, gdtr, ldtr, idtr, tr;
	uint8_t pad5[0x4cb - 0x4a0];
	uint8_t cpl;
	uint32_t pad6;
	uint64_t efer;
	uint8_t pad7[0x548 - 0x4d8];
	uint64_t cr4, cr3, cr0, dr7, dr6, rflags, rip;
	uint8_t pad8[0x5d8 - 0x580];
	uint64_t rsp;
	uint8_t pad9[0x5f8 - 0x5e0];
	uint64_t rax;
	uint64_t star, lstar, cstar, sfmask, kernel_gs_base;
	uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
	uint64_t cr2;
	uint8_t pad10[0x668 - 0x648];
	uint64_t g_pat;
	uint64_t debugctl;
	uint8_t pad11[0x1000 - 0x678];
};

#define VMCB_AT(field, offset) \
	_Static_assert(offsetof(struct vmcb, field) == (offset), "APM volume 2, B: " #field)
VMCB_AT(intercept_3, 0x014);
VMCB_AT(pause_threshold, 0x03c);
VMCB_AT(iopm, 0x040);
VMCB_AT(msrpm, 0x048);
VMCB_AT(tsc_offset, 0x050);
VMCB_AT(asid, 0x058);
VMCB_AT(tlb_control, 0x05c);
VMCB_AT(int_ctl, 0x060);
VMCB_AT(int_vector, 0x064);
VMCB_AT(interrupt_shadow, 0x068);
VMCB_AT(exitcode, 0x070);
VMCB_AT(exitinfo1, 0x078);
VMCB_AT(exitinfo2, 0x080);
VMCB_AT(exitintinfo, 0x088);
VMCB_AT(np_enable, 0x090);
VMCB_AT(eventinj, 0x0a8);
VMCB_AT(ncr3, 0x0b0);
VMCB_AT(lbr_ctl, 0x0b8);
VMCB_AT(clean, 0x0c0);
VMCB_AT(nrip, 0x0c8);
VMCB_AT(insn_bytes_count, 0x0d0);
VMCB_AT(insn_bytes, 0x0d1);
VMCB_AT(es, 0x400);
VMCB_AT(gdtr, 0x460);
VMCB_AT(ldtr, 0x470);
VMCB_AT(idtr, 0x480);
VMCB_AT(tr, 0x490);
VMCB_AT(cpl, 0x4cb);
VMCB_AT(efer, 0x4d0);
VMCB_AT(cr4, 0x548);
VMCB_AT(cr0, 0x558);
VMCB_AT(dr7, 0x560);
VMCB_AT(dr6, 0x568);
VMCB_AT(rflags, 0x570);
VMCB_AT(rip, 0x578);
VMCB_AT(rsp, 0x5d8);
VMCB_AT(rax, 0x5f8);
VMCB_AT(star, 0x600);
VMCB_AT(kernel_gs_base, 0x620);
VMCB_AT(sysenter_cs, 0x628);
VMCB_AT(cr2, 0x640);
VMCB_AT(g_pat, 0x668);
VMCB_AT(debugctl, 0x670);
_Static_assert(sizeof(struct vmcb) == PAGE_SIZE, "APM volume 2, 15.5.1");

enum svm_exit {
	SVM_CR_READ = 0x000,		/* + register; 16 each */
	SVM_CR_WRITE = 0x010,
	SVM_DR_READ = 0x020,
	SVM_DR_WRITE = 0x030,
	SVM_EXCEPTION = 0x040,		/* + vector */
	SVM_INTR = 0x060,
	SVM_NMI = 0x061,
	SVM_SMI = 0x062,
	SVM_INIT = 0x063,
	SVM_VINTR = 0x064,
	SVM_RDPMC = 0x06f,
	SVM_CPUID = 0x072,
	SVM_RSM = 0x073,
	SVM_IRET = 0x074,
	SVM_INVD = 0x076,
	SVM_PAUSE = 0x077,
	SVM_HLT = 0x078,
	SVM_INVLPGA = 0x07a,
	SVM_IOIO = 0x07b,
	SVM_MSR = 0x07c,
	SVM_SHUTDOWN = 0x07f,
	SVM_VMRUN = 0x080,
	SVM_VMMCALL = 0x081,
	SVM_VMLOAD = 0x082,
	SVM_VMSAVE = 0x083,
	SVM_STGI = 0x084,
	SVM_CLGI = 0x085,
	SVM_SKINIT = 0x086,
	SVM_WBINVD = 0x089,
	SVM_MONITOR = 0x08a,
	SVM_MWAIT = 0x08b,
	SVM_MWAIT_ARMED = 0x08c,
	SVM_XSETBV = 0x08d,
	SVM_RDPRU = 0x08e,
	SVM_INVLPGB = 0x0a0,
	SVM_INVLPGB_ILLEGAL = 0x0a1,
	SVM_MCOMMIT = 0x0a3,
	SVM_TLBSYNC = 0x0a4,
	SVM_NPF = 0x400,
};
/* VMRUN refused the state. Some implementations write the low 32 bits only, so only they count. */
#define SVM_INVALID 0xffffffffu

/* exitinfo1 of SVM_NPF: as a page fault's error code, and where in the guest's translation */
#define NPF_PRESENT (1ull << 0)
#define NPF_WRITE (1ull << 1)
#define NPF_RESERVED (1ull << 3)
#define NPF_FETCH (1ull << 4)
#define NPF_GUEST_TABLE (1ull << 33)

/* exitinfo1 of SVM_IOIO */
#define IOIO_IN (1u << 0)
#define IOIO_STRING (1u << 2)
#define IOIO_REP (1u << 3)
#define IOIO_SIZE(info) ((unsigned)((info) >> 4) & 7u)	/* in bytes */
#define IOIO_ADDR(info) (((unsigned)((info) >> 7) & 7u) * 2u) /* in bytes */
#define IOIO_SEGMENT(info) ((unsigned)((info) >> 10) & 7u) /* decode assists only */
#define IOIO_PORT(info) ((uint16_t)((info) >> 16))

/* With decode assists exitinfo1 of SVM_CR_* and SVM_DR_* has the general register in 3:0. */

#endif
