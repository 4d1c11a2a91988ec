// SPDX-License-Identifier: Apache-2.0
//
// Test Anything Protocol on standard output. Counters belong to the boot CPU.

#include <stdarg.h>
#include <stdio.h>
#include <tidemark/tap.h>

static unsigned planned;
static unsigned passed;
static unsigned failed;

static void vline(const char *head, unsigned number, const char *fmt, va_list ap)
{
	char text[240];

	(void)vsnprintf(text, sizeof(text), fmt, ap);
	if (number != 0) {
		printf("%s %u - %s\n", head, number, text);
	} else {
		printf("%s%s\n", head, text);
	}
}

void tap_plan(unsigned n)
{
	planned = n;
	printf("1..%u\n", n);
}

bool tap_ok(bool pass, const char *fmt, ...)
{
	va_list ap;

	if (pass) {
		passed++;
	} else {
		failed++;
	}
	va_start(ap, fmt);
	vline(pass ? "ok" : "not ok", passed + failed, fmt, ap);
	va_end(ap);
	return pass;
}

bool tap_eq(unsigned long long got, unsigned long long want, const char *what)
{
	if (!tap_ok(got == want, "%s", what)) {
		printf("# got %llu (0x%llx), want %llu (0x%llx)\n", got, got, want, want);
		return false;
	}
	return true;
}

void tap_skip(const char *what, const char *why)
{
	passed++;
	printf("ok %u - %s # SKIP %s\n", passed + failed, what, why);
}

void tap_diag(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vline("# ", 0, fmt, ap);
	va_end(ap);
}

void tap_bail(const char *why)
{
	printf("Bail out! %s\n", why);
}

int tap_done(void)
{
	if (planned == 0) {
		tap_plan(passed + failed);
	}
	printf("# %u passed, %u failed\n", passed, failed);
	return failed == 0 && passed + failed == planned && planned != 0 ? 0 : 1;
}
