// SPDX-License-Identifier: Apache-2.0
/*
 * Status values of the hypercall ABI. A call returns 0 (done), 1 (CONTINUE) or a negated number
 * from this list; the numbers are Linux's. -TM_EPERM means only "unknown call, or not yours to
 * know"; denial of a call that the caller may know of is -TM_EACCES.
 */
#ifndef TM_ABI_ERRNO_H
#define TM_ABI_ERRNO_H

/* X(name, number, text): one row an error, so that a program can print it without a second table. */
#define TM_ERRNO_LIST(X)                                                                           \
	X(EPERM, 1, "unknown call or not permitted")                                               \
	X(ENOENT, 2, "no such object")                                                             \
	X(EINTR, 4, "interrupted with nothing done")                                               \
	X(EIO, 5, "the VM is dead after an internal error")                                        \
	X(ENXIO, 6, "not configured for this VM")                                                  \
	X(E2BIG, 7, "argument too large")                                                          \
	X(EAGAIN, 11, "try again")                                                                 \
	X(ENOMEM, 12, "out of memory")                                                             \
	X(EACCES, 13, "not owned by the caller")                                                   \
	X(EFAULT, 14, "bad guest address")                                                         \
	X(EBUSY, 16, "in use")                                                                     \
	X(EEXIST, 17, "exists already")                                                            \
	X(EINVAL, 22, "invalid argument")                                                          \
	X(ENOSPC, 28, "no space left")                                                             \
	X(EDEADLK, 35, "would wait for itself")                                                    \
	X(EOVERFLOW, 75, "counter overflow")                                                       \
	X(EOPNOTSUPP, 95, "not supported on this machine")                                         \
	X(EALREADY, 114, "already running")

enum tm_errno {
#define TM_ERRNO_ENUM(name, number, text) TM_##name = (number),
	TM_ERRNO_LIST(TM_ERRNO_ENUM)
#undef TM_ERRNO_ENUM
};

/* Positive status: call again with result 1 as the cursor. */
#define TM_CONTINUE 1

#endif
