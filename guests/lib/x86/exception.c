// SPDX-License-Identifier: Apache-2.0
//
// Exceptions of guest programs: interrupts go to irq.c, a fault inside a probe ends the probe,
// anything else is the end of the program with a register dump.

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <tidemark/console.h>
#include <tidemark/guest.h>
#include <tidemark/probe.h>
#include <tidemark/x86.h>
#include "percpu.h"

#define FIRST_INTERRUPT 32u
#define VECTOR_NMI 2u
#define VECTOR_UD 6u
#define VECTOR_NM 7u
#define VECTOR_GP 13u
#define VECTOR_PF 14u
#define PF_FETCH 0x10u

struct gate {
	uint16_t low, selector;
	uint8_t ist, type;
	uint16_t mid;
	uint32_t high, rsvd;
};

static struct gate idt[256] __attribute__((aligned(16)));
static tm_fault_hook fault_hook;

void tm_idt_init(void)
{
	for (unsigned i = 0; i < 256; i++) {
		uint64_t at = (uint64_t)(uintptr_t)tm_vectors + i * 16;

		/* 64-bit interrupt gate, present */
		idt[i] = (struct gate){
			.low = (uint16_t)at, .selector = SEG_CODE, .type = 0x8e,
			.mid = (uint16_t)(at >> 16), .high = (uint32_t)(at >> 32),
		};
	}
}

void tm_idt_load(void)
{
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) r = {sizeof(idt) - 1, (uint64_t)(uintptr_t)idt};

	__asm__ volatile("lidt %0" : : "m"(r) : "memory");
}

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

static uint64_t read_cr2(void)
{
	uint64_t v;

	__asm__ volatile("movq %%cr2, %0" : "=r"(v));
	return v;
}

static _Noreturn void crash_dump(const struct frame *f)
{
	static const char *const name[15] = {"r15", "r14", "r13", "r12", "r11", "r10", "r9", "r8",
					     "rdi", "rsi", "rbp", "rdx", "rcx", "rbx", "rax"};
	uint64_t base = tm_boot.image.gpa;

	tm_console_unlocked();
	tm_console_printf("\nguest CRASH: cpu %u vector %u error 0x%llx cr2 0x%llx rip 0x%llx",
			  tm_cpu_index(), (unsigned)f->vector, (unsigned long long)f->error,
			  (unsigned long long)read_cr2(), (unsigned long long)f->rip);
	tm_console_printf(" (+0x%llx)\n", (unsigned long long)(f->rip - base));
	for (unsigned i = 0; i < 15; i++) {
		tm_console_printf("%-3s %016llx%s", name[14 - i],
				  (unsigned long long)f->gpr[14 - i], i % 4 == 3 ? "\n" : "  ");
	}
	tm_console_printf("rsp %016llx\nrflags %llx code", (unsigned long long)f->rsp,
			  (unsigned long long)f->rflags);
	/* Ours alone: elsewhere a second fault would come of it. */
	for (uint64_t i = 0; i < 16 && f->rip >= base && f->rip - base < tm_boot.image.size; i++) {
		tm_console_printf(" %02x", *(const uint8_t *)(uintptr_t)(f->rip + i));
	}
	tm_console_puts("\n");
	tm_power_off();
}

void tm_exception(struct frame *f)
{
	struct percpu *p = this_cpu();
	uint64_t esr = f->vector << 32 | f->error;

	if (f->vector >= FIRST_INTERRUPT) {
		tm_irq_dispatch((uint32_t)f->vector);
		return;
	}
	if (p->armed != 0) {
		p->armed = 0;
		p->esr = esr;
		p->far = f->vector == VECTOR_PF ? read_cr2() : 0;
		p->vector = f->vector;
		f->rip = (uint64_t)(uintptr_t)tm_probe_fault_landing;
		f->rflags = 2;		/* the landing puts back what the probe found */
		f->rsp = p->sp;
		f->cs = SEG_CODE;
		f->ss = SEG_DATA;
		return;
	}
	if (fault_hook != NULL && fault_hook(esr, read_cr2(), &f->rip)) {
		return;
	}
	crash_dump(f);
}

static enum tm_probe_kind classify(const struct percpu *p)
{
	switch (p->vector) {
	case VECTOR_UD:
	case VECTOR_NM:
		return TM_PROBE_UNDEF;
	case VECTOR_GP:
		return TM_PROBE_GP;
	case VECTOR_PF:
		return (p->esr & PF_FETCH) != 0 ? TM_PROBE_FETCH : TM_PROBE_ABORT;
	case VECTOR_NMI:
		return TM_PROBE_SERROR;
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

struct tm_probe tm_probe_code(const void *code, size_t size, const uint64_t a[6])
{
	struct percpu *p = this_cpu();

	if (size > sizeof(p->code) - 1) {
		return (struct tm_probe){TM_PROBE_OTHER, 0, 0, 0};
	}
	memcpy(p->code, code, size);
	p->code[size] = 0xc3;		/* RET */
	__asm__ volatile("" : : : "memory");
	return probe((probe_fn *)(uintptr_t)p->code, a);
}

struct tm_probe tm_probe_call(uint64_t (*fn)(uint64_t), uint64_t arg)
{
	uint64_t args[6] = {arg};

	return probe((probe_fn *)(uintptr_t)fn, args);
}

/* Memory of nobody reads as all-ones and takes no writes; nothing faults. */
bool tm_probe_is_external(const struct tm_probe *p)
{
	(void)p;
	return false;
}

bool tm_gpa_is_ram(uint64_t gpa)
{
	volatile uint64_t *p = (volatile uint64_t *)(uintptr_t)gpa;
	uint64_t flags = tm_irq_save();
	uint64_t old = *p;
	bool ram;

	*p = ~old;
	tm_dmb();
	ram = *p == ~old;
	*p = old;
	tm_irq_restore(flags);
	return ram;
}
