// SPDX-License-Identifier: Apache-2.0
/*
 * Errors are negative TM_E numbers, returned as int and never ignored. Reactions: return it;
 * vm_kill() when our own state about one VM is inconsistent (I-5); panic() when the hypervisor's
 * own state is; ASSERT in debug builds only and never instead of the other three.
 */
#ifndef HYP_ERR_H
#define HYP_ERR_H

#include <abi/errno.h>
#include <hyp/types.h>

void panic(const char *fmt, ...) noreturn_fn __attribute__((format(printf, 1, 2)));

#if DEBUG
#define ASSERT(cond)                                                                               \
	do {                                                                                       \
		if (unlikely(!(cond))) {                                                           \
			panic("assertion failed: %s (%s:%d)", #cond, __FILE__, __LINE__);          \
		}                                                                                  \
	} while (0)
#else
#define ASSERT(cond) ((void)sizeof(!(cond)))
#endif

#endif
