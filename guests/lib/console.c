// SPDX-License-Identifier: Apache-2.0
//
// Console of guest programs. Whether CONSOLE_WRITE exists is found out once, under a probe: a
// machine without our hypervisor may answer an unknown HVC with an undefined instruction.
// console_lock keeps one write together when several CPUs print.

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <tidemark/arch.h>
#include <tidemark/call.h>
#include <tidemark/console.h>
#include <tidemark/guest.h>
#include <tidemark/irq.h>
#include <tidemark/probe.h>
#include "percpu.h"

#define CHUNK 256u
#define TRIES 100000u		/* of a console that takes nothing */

static struct tm_lock console_lock;
static bool hypercalls;
static bool probed;
static bool unlocked;

static uint64_t probe_hypercall(uint64_t fn)
{
	return (uint64_t)tm_call((uint32_t)fn, 0, 0, 0, 0, 0, 0).status;
}

void tm_console_init(void)
{
	struct tm_probe p;

	if (!probed) {
		probed = true;
		p = tm_probe_call(probe_hypercall, TM_HC_VERSION);
		hypercalls = p.kind == TM_PROBE_OK && p.value == 0;
	}
}

void tm_console_unlocked(void)
{
	unlocked = true;
}

/* The call wants an aligned address: each piece goes through this buffer. */
static void hyper_write(const char *p, size_t len)
{
	uint64_t bounce[CHUNK / 8];
	unsigned tries = 0;

	while (len != 0 && tries < TRIES) {
		size_t n = len < CHUNK ? len : CHUNK;
		struct tm_result r;

		memcpy(bounce, p, n);
		r = tm_call(TM_HC_CONSOLE_WRITE, TM_GPA(bounce), n, 0, 0, 0, 0);
		if (r.status < 0) {
			return;
		}
		if (r.val[0] == 0) {
			tries++;
			(void)tm_yield();
			continue;
		}
		if (r.val[0] < n) {
			n = r.val[0];
		}
		p += n;
		len -= n;
		tries = 0;
	}
}

void tm_console_write(const void *data, size_t len)
{
	uint64_t daif = tm_irq_save();

	if (!unlocked) {
		tm_lock(&console_lock);
	}
	if (hypercalls) {
		hyper_write(data, len);
	} else {
		tm_uart_write(data, len);
	}
	if (!unlocked) {
		tm_unlock(&console_lock);
	}
	tm_irq_restore(daif);
}

void tm_console_puts(const char *s)
{
	tm_console_write(s, strlen(s));
}

void tm_console_printf(const char *fmt, ...)
{
	char text[CHUNK];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n > 0) {
		tm_console_write(text, (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1);
	}
}

size_t tm_console_read(void *data, size_t len)
{
	uint64_t bounce[CHUNK / 8];
	size_t n = len < CHUNK ? len : CHUNK;

	if (hypercalls) {
		struct tm_result r = tm_call(TM_HC_CONSOLE_READ, TM_GPA(bounce), n, 0, 0, 0, 0);

		n = r.status == 0 && r.val[0] <= n ? r.val[0] : 0;
		memcpy(data, bounce, n);
		return n;
	}
	return tm_uart_read(data, len);
}

int tm_console_getc(unsigned timeout_us)
{
	uint64_t start = tm_timer_now();
	uint64_t ticks = timeout_us == ~0u ? ~(uint64_t)0 : tm_us_to_ticks(timeout_us);
	uint8_t c;

	for (;;) {
		if (tm_console_read(&c, 1) == 1) {
			return c;
		}
		if (tm_timer_now() - start >= ticks) {
			return -1;
		}
		if (tm_irq_taken() != 0) {
			tm_sleep_us(2000);	/* the timer interrupt is known to work */
		} else {
			(void)(hypercalls ? tm_yield() : 0);
		}
	}
}
