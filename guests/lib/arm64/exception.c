// SPDX-License-Identifier: Apache-2.0
//
// Exceptions of guest programs: interrupts go to irq.c, a fault inside a probe ends the probe,
// anything else is the end of the program with a register dump.

#include <stdarg.h>
#include <stdio.h>
#include <tidemark/arm64.h>
#include <tidemark/console.h>
#include <tidemark/guest.h>
#include <tidemark/probe.h>
#include "percpu.h"

/* ESR_ELx.EC (Arm DDI 0487, D17.2.37). */
#define EC(esr) ((unsigned)((esr) >> 26) & 0x3fu)
#define EC_UNKNOWN 0x00u
#define EC_FP 0x07u
#define EC_ILLEGAL 0x0eu
#define EC_SYSREG 0x18u
#define EC_SVE 0x19u
#define EC_IABORT 0x21u
#define EC_DABORT 0x25u
#define VECTOR_KIND(v) ((v) & 3u)	/* 0 sync, 1 IRQ, 2 FIQ, 3 SError */

static tm_fault_hook fault_hook;

void tm_set_fault_hook(tm_fault_hook hook)
{
	fault_hook = hook;
}

_Noreturn void tm_crash(const char *fmt, ...)
{
	char text[200];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	tm_console_unlocked();
	tm_console_printf("\nguest CRASH: %s\n", text);
	tm_power_off();
}

static _Noreturn void crash_dump(const struct frame *f)
{
	uint64_t base = tm_boot.image.gpa;

	tm_console_unlocked();
	tm_console_printf("\nguest CRASH: cpu %u vector %u esr 0x%llx far 0x%llx pc 0x%llx",
			  tm_cpu_index(), (unsigned)f->vector, (unsigned long long)f->esr,
			  (unsigned long long)f->far, (unsigned long long)f->elr);
	tm_console_printf(" (+0x%llx)\n", (unsigned long long)(f->elr - base));
	for (unsigned i = 0; i < 31; i++) {
		tm_console_printf("x%-2u %016llx%s", i, (unsigned long long)f->x[i],
				  i % 4 == 3 ? "\n" : "  ");
	}
	tm_console_printf("spsr %llx\n", (unsigned long long)f->spsr);
	tm_power_off();
}

void tm_exception(struct frame *f)
{
	struct percpu *p = this_cpu();

	if (VECTOR_KIND(f->vector) == 1) {
		tm_irq_dispatch();
		return;
	}
	if (p->armed != 0) {
		p->armed = 0;
		p->esr = f->esr;
		p->far = f->far;
		p->vector = f->vector;
		f->elr = (uint64_t)(uintptr_t)tm_probe_fault_landing;
		/* EL1h with DAIF masked: the landing puts back what the probe found. */
		f->spsr = 0x3c5;
		return;
	}
	if (fault_hook != NULL && fault_hook(f->esr, f->far, &f->elr)) {
		return;
	}
	crash_dump(f);
}

static enum tm_probe_kind classify(const struct percpu *p)
{
	if (VECTOR_KIND(p->vector) == 3) {
		return TM_PROBE_SERROR;
	}
	switch (EC(p->esr)) {
	case EC_UNKNOWN:
	case EC_FP:
	case EC_ILLEGAL:
	case EC_SYSREG:
	case EC_SVE:
		return TM_PROBE_UNDEF;
	case EC_IABORT:
		return TM_PROBE_FETCH;
	case EC_DABORT:
		return TM_PROBE_ABORT;
	default:
		return TM_PROBE_OTHER;
	}
}

typedef uint64_t probe_fn(uint64_t, uint64_t);
probe_fn tm_probe_r1, tm_probe_r2, tm_probe_r4, tm_probe_r8;
probe_fn tm_probe_w1, tm_probe_w2, tm_probe_w4, tm_probe_w8;

static struct tm_probe probe(probe_fn *fn, const uint64_t args[6])
{
	const struct percpu *p = this_cpu();
	struct tm_probe r = {TM_PROBE_OK, 0, 0, 0};

	if (tm_probe_run(fn, args) == 0) {
		r.value = p->value;
	} else {
		r.kind = classify(p);
		r.esr = p->esr;
		r.far = p->far;
	}
	return r;
}

struct tm_probe tm_probe_read(uint64_t addr, unsigned size)
{
	uint64_t args[6] = {addr};

	return probe(size == 1 ? tm_probe_r1 : size == 2 ? tm_probe_r2 :
		     size == 4 ? tm_probe_r4 : tm_probe_r8, args);
}

struct tm_probe tm_probe_write(uint64_t addr, unsigned size, uint64_t value)
{
	uint64_t args[6] = {addr, value};

	return probe(size == 1 ? tm_probe_w1 : size == 2 ? tm_probe_w2 :
		     size == 4 ? tm_probe_w4 : tm_probe_w8, args);
}

struct tm_probe tm_probe_insn(uint32_t insn, const uint64_t a[6])
{
	struct percpu *p = this_cpu();

	p->insn[0] = insn;
	p->insn[1] = 0xd65f03c0u;	/* RET */
	tm_cache_sync_code(p->insn, sizeof(p->insn));
	return probe((probe_fn *)(uintptr_t)p->insn, a);
}

struct tm_probe tm_probe_call(uint64_t (*fn)(uint64_t), uint64_t arg)
{
	uint64_t args[6] = {arg};

	return probe((probe_fn *)(uintptr_t)fn, args);
}

bool tm_gpa_is_ram(uint64_t gpa)
{
	return tm_probe_read(gpa, 8).kind == TM_PROBE_OK;
}

bool tm_probe_is_external(const struct tm_probe *p)
{
	unsigned fsc = (unsigned)p->esr & 0x3fu;

	return (p->kind == TM_PROBE_ABORT || p->kind == TM_PROBE_FETCH) &&
	       (fsc == 0x10u || (fsc >= 0x13u && fsc <= 0x17u));
}
