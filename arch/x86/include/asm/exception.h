// SPDX-License-Identifier: Apache-2.0
/*
 * Exceptions of the hypervisor itself: a bug or broken hardware, hence a panic, but for #GP at one
 * of the few instructions that are allowed to fail. exception.S saves a struct x86_frame.
 */
#ifndef ASM_EXCEPTION_H
#define ASM_EXCEPTION_H

/* Entry points of exception.S, one for each vector, this far apart. */
#define STUB_STRIDE 16

#ifndef __ASSEMBLER__

#include <hyp/types.h>

#define VECTOR_DB 1u
#define VECTOR_NMI 2u
#define VECTOR_UD 6u
#define VECTOR_DF 8u
#define VECTOR_GP 13u
#define VECTOR_PF 14u
#define VECTOR_MC 18u

struct x86_frame {
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax;
	uint64_t vector, error;
	uint64_t rip, cs, rflags, rsp, ss;
};

void x86_exception(struct x86_frame *f);
/* 256 of them. */
extern char x86_stubs[];

#endif
#endif
