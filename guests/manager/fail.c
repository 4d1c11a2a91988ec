// SPDX-License-Identifier: Apache-2.0
//
// Error texts. Owns the table of advice; no state, no lock.

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <abi/errno.h>

#include "fail.h"

struct advice {
	int err;
	const char *todo;
};

static const struct advice advices[] = {
	{TM_ENOSPC, "delete snapshots (snap delete) or boot with a larger store=<MiB>M"},
	{TM_ENOMEM, "destroy a VM or give the manager more memory"},
	{TM_ENOENT, "see `vm list` and `snap list` for what exists"},
	{TM_EEXIST, "choose another name, or remove the old one first"},
	{TM_EBUSY, "try again when it is no longer in use"},
	{TM_EIO, "destroy the VM and restore it from a snapshot"},
	{TM_EINVAL, "see `help`"},
	{TM_EPERM, "only the manager may do this; see `help`"},
	{TM_EOPNOTSUPP, "this machine or this VM's mode does not offer it"},
};

#define ERRNO_NAME(name, number, text) {(number), "-" #name, (text)},
static const struct {
	int number;
	const char *name;
	const char *text;
} errnos[] = {TM_ERRNO_LIST(ERRNO_NAME)};

const char *fail_name(int err)
{
	static char other[16];

	for (size_t i = 0; i < sizeof(errnos) / sizeof(errnos[0]); i++) {
		if (errnos[i].number == -err) {
			return errnos[i].name;
		}
	}
	snprintf(other, sizeof(other), "%d", err);
	return other;
}

const char *fail_text(int err)
{
	for (size_t i = 0; i < sizeof(errnos) / sizeof(errnos[0]); i++) {
		if (errnos[i].number == -err) {
			return errnos[i].text;
		}
	}
	return "unexpected status";
}

static const char *advice_for(int err)
{
	for (size_t i = 0; i < sizeof(advices) / sizeof(advices[0]); i++) {
		if (advices[i].err == -err) {
			return advices[i].todo;
		}
	}
	return "see `log` for what the hypervisor said";
}

int fail_set(struct fail *f, int err, const char *what, const char *todo, const char *why, ...)
{
	va_list ap;

	if (f == NULL) {
		return err;
	}
	f->err = err;
	snprintf(f->what, sizeof(f->what), "%s", what);
	snprintf(f->todo, sizeof(f->todo), "%s", todo != NULL ? todo : advice_for(err));
	va_start(ap, why);
	vsnprintf(f->why, sizeof(f->why), why, ap);
	va_end(ap);
	return err;
}

int fail_call(struct fail *f, int err, const char *what)
{
	return fail_set(f, err, what, NULL, "%s", fail_text(err));
}

void fail_format(const struct fail *f, const char *command, char *out, size_t size)
{
	snprintf(out, size, "%s%s%s: %s (%s): %s", command != NULL ? command : "",
		 command != NULL ? ": " : "", f->what, f->why, fail_name(f->err), f->todo);
}
