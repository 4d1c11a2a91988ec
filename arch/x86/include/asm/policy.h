// SPDX-License-Identifier: Apache-2.0
/* Names of CPUID features, for policy.c and those that ask it. */
#ifndef ASM_POLICY_H
#define ASM_POLICY_H

#include <hyp/types.h>

/* Leaf and register: 1 ECX, 1 EDX, 7.0 EBX, ... */
enum feature_word {
	WORD_1C, WORD_1D, WORD_7B, WORD_7C, WORD_7D, WORD_D1A, WORD_81C, WORD_81D, FEATURE_WORDS
};

#define FEATURE(word, bit) ((uint16_t)((word) * 32 + (bit)))
#define FEATURE_XSAVE FEATURE(WORD_1C, 26)
#define FEATURE_AVX FEATURE(WORD_1C, 28)
#define FEATURE_SEP FEATURE(WORD_1D, 11)
#define FEATURE_MTRR FEATURE(WORD_1D, 12)
#define FEATURE_MCA FEATURE(WORD_1D, 14)
#define FEATURE_PAT FEATURE(WORD_1D, 16)
#define FEATURE_TSC_ADJUST FEATURE(WORD_7B, 1)
#define FEATURE_SYSCALL FEATURE(WORD_81D, 11)
#define FEATURE_RDTSCP FEATURE(WORD_81D, 27)
#define FEATURE_LM FEATURE(WORD_81D, 29)

/* Is it shown to guests? */
bool policy_has(uint16_t feature);

#endif
