// SPDX-License-Identifier: Apache-2.0
/*
 * Selects the architecture's half of the ABI by predefined macro. TM_ABI_ARM64 or TM_ABI_X86 choose
 * one for a host program that only handles its shapes.
 */
#ifndef TM_ABI_ARCH_H
#define TM_ABI_ARCH_H

#if defined(TM_ABI_X86) || (defined(__x86_64__) && !defined(TM_ABI_ARM64))
#include <abi/x86.h>
#else
#include <abi/arm64.h>
#endif

#endif
