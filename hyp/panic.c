// SPDX-License-Identifier: Apache-2.0
/*
 * The end: the first CPU that panics says why, then dumps its registers and stack, while the
 * others are halted. Takes no lock: output goes straight to the UART. A second panic, here or on
 * another CPU, adds at most one line.
 */
#include <arch/boot.h>
#include <arch/cpu.h>
#include <hyp/console.h>
#include <hyp/err.h>
#include <hyp/log.h>
#include <hyp/panic.h>
#include <hyp/sched.h>

#define NOBODY (~0u)

static uint32_t panicking = NOBODY;	/* the number of the CPU that came first */

void panic_print(const char *fmt, ...)
{
	char text[256];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = hyp_vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	console_emergency(text, MIN((size_t)n, sizeof(text) - 1));
}

void panic_begin(void)
{
	struct pcpu *c = this_pcpu();
	uint32_t me = c ? c->id : 0;
	uint32_t first = NOBODY;

	if (__atomic_compare_exchange_n(&panicking, &first, me, false, __ATOMIC_SEQ_CST,
					__ATOMIC_SEQ_CST)) {
		return;
	}
	if (first == me) {
		panic_print("\ntidemark: PANIC again while reporting the first one\n");
	}
	arch_halt();
}

void panic_report(const char *text)
{
	struct pcpu *c = this_pcpu();

	arch_fallback_console();
	panic_print("\ntidemark: PANIC %s\n", text);
	panic_print("CPU %u, vCPU %p\n", c ? c->id : 0, c ? (void *)c->current : NULL);
	arch_panic_dump();
	panic_print("tidemark: halted\n");
	arch_halt();
}

void panic(const char *fmt, ...)
{
	char text[256];
	va_list ap;

	panic_begin();
	va_start(ap, fmt);
	hyp_vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	panic_report(text);
}
