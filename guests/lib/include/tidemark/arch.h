// SPDX-License-Identifier: Apache-2.0
/*
 * The machine's own part of the guest library, chosen by what the program is compiled for. Both give
 * tm_cpu_relax, tm_wfi, tm_isb, tm_dsb, tm_dmb, tm_irq_mask/unmask/save/restore, tm_cache_*,
 * tm_cpu_id, tm_regs_pc.
 */
#ifndef TIDEMARK_ARCH_H
#define TIDEMARK_ARCH_H

#if defined(TM_ABI_X86) || (defined(__x86_64__) && !defined(TM_ABI_ARM64))
#include <tidemark/x86.h>
#else
#include <tidemark/arm64.h>
#endif

#endif
