// SPDX-License-Identifier: Apache-2.0
//
// What every operation of the manager reports when it fails: the ABI's error number, what failed,
// why, and what the user can do. The shell prints it as
//   command: what failed: why (-ENOSPC): what to do
// Pure C; used on the host as well.

#ifndef MANAGER_FAIL_H
#define MANAGER_FAIL_H

#include <stddef.h>

struct fail {
	int err;		// negative TM_E*, 0 = no failure
	char what[64];
	char why[176];
	char todo[112];
};

// Fills f (which may be null) and returns err, so that `return fail_set(...)` does both.
// todo null: the usual advice for that error.
__attribute__((format(printf, 5, 6)))
int fail_set(struct fail *f, int err, const char *what, const char *todo, const char *why, ...);

// "-ENOSPC", or "-<number>" for one that the ABI does not have.
const char *fail_name(int err);

// The ABI's one-line text for an error.
const char *fail_text(int err);

// A hypercall's failure: why is the ABI's text.
int fail_call(struct fail *f, int err, const char *what);

// The whole line, without a newline; command may be null.
void fail_format(const struct fail *f, const char *command, char *out, size_t size);

#endif
