// SPDX-License-Identifier: Apache-2.0
/*
 * Instruction decoder: those that guests use on device memory, and the system instructions whose
 * length or operands hardware does not tell. Pure: bytes in, a description out; linked by host tests.
 * What is not in its table is refused, never guessed. It does not check what the CPU has checked
 * before the exit (privilege, segment limits).
 */
#ifndef ASM_DECODE_H
#define ASM_DECODE_H

#include <stdbool.h>
#include <stdint.h>

#define X86_INSN_MAX 15u

enum x86_op {
	X86_OP_NONE,
	/* one operand in memory; the order of the first eight is that of the ModRM groups */
	X86_OP_ADD, X86_OP_OR, X86_OP_ADC, X86_OP_SBB, X86_OP_AND, X86_OP_SUB, X86_OP_XOR, X86_OP_CMP,
	X86_OP_MOV, X86_OP_MOVZX, X86_OP_MOVSX, X86_OP_TEST, X86_OP_XCHG, X86_OP_NOT, X86_OP_NEG,
	X86_OP_INC, X86_OP_DEC, X86_OP_BT, X86_OP_BTS, X86_OP_BTR, X86_OP_BTC,
	/* string: memory at (R)SI and/or (R)DI */
	X86_OP_MOVS, X86_OP_STOS, X86_OP_LODS,
	/* system */
	X86_OP_CPUID, X86_OP_RDMSR, X86_OP_WRMSR, X86_OP_RDTSC, X86_OP_RDTSCP, X86_OP_RDPMC,
	X86_OP_HLT, X86_OP_PAUSE, X86_OP_INVD, X86_OP_WBINVD, X86_OP_XSETBV, X86_OP_CLTS,
	X86_OP_LMSW, X86_OP_SMSW, X86_OP_INVLPG, X86_OP_MOV_FROM_CR, X86_OP_MOV_TO_CR,
	X86_OP_MOV_FROM_DR, X86_OP_MOV_TO_DR, X86_OP_IRET, X86_OP_VMMCALL, X86_OP_VMCALL,
	X86_OP_MONITOR, X86_OP_MWAIT,
	X86_OP_SVM,	/* VMRUN, VMLOAD, VMSAVE, STGI, CLGI, SKINIT, INVLPGA */
	X86_OP_COUNT
};

#define X86_NO_REG 0xffu
#define X86_BASE_RIP 16u

struct x86_insn {
	uint8_t len;		/* 1..15 */
	uint8_t op;		/* enum x86_op */
	uint8_t size;		/* bytes of the memory operand (of each of MOVS); LMSW, SMSW: 2 */
	uint8_t reg_size;	/* bytes of the register operand: differs with MOVZX, MOVSX */
	uint8_t reg;		/* register operand, or number of the control or debug register */
	uint8_t rm;		/* general register of MOV CR/DR, LMSW, SMSW; X86_NO_REG: memory */
	bool has_mem;		/* a memory operand with the address below */
	bool mem_dest;		/* memory is the destination, CMP, TEST and BT: the first operand */
	bool has_imm;		/* imm instead of the register */
	bool high_byte;		/* reg 0..3 are AH CH DH BH */
	bool rep, lock;
	uint8_t addr_size;	/* 2, 4, 8 */
	uint8_t seg;		/* enum tm_segment_index */
	uint8_t base, index;	/* X86_NO_REG: none; base may be X86_BASE_RIP (of the next one) */
	uint8_t scale;		/* shift */
	int64_t disp;
	uint64_t imm;		/* sign-extended to 64 bits */
};

/* n: bytes that are there; code_bytes: 2, 4 or 8, the mode's default. False: not in the table, or
 * not all there. Never looks behind bytes[n - 1] or bytes[14]. */
bool x86_decode(const uint8_t *bytes, unsigned n, unsigned code_bytes, struct x86_insn *out);
/* Does it read, write its memory operand? Strings: the one at DI is written, the one at SI read. */
bool x86_insn_reads(const struct x86_insn *i);
bool x86_insn_writes(const struct x86_insn *i);

#endif
