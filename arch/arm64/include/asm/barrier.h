// SPDX-License-Identifier: Apache-2.0
/* Barriers by name. */
#ifndef ASM_BARRIER_H
#define ASM_BARRIER_H

#define isb() __asm__ volatile("isb" ::: "memory")
#define dsb(kind) __asm__ volatile("dsb " #kind ::: "memory")
#define dmb(kind) __asm__ volatile("dmb " #kind ::: "memory")

#endif
