// SPDX-License-Identifier: Apache-2.0
//
// The life of a guest program's CPUs: boot CPU to main and power-off, secondary CPUs by PSCI;
// cache maintenance; spinlock.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tidemark/arm64.h>
#include <tidemark/console.h>
#include <tidemark/guest.h>
#include "percpu.h"

#define SECONDARY_STACK 32768u
#define PSCI_ALREADY_ON (-4)
#define ARGS_MAX 32

int main(int argc, char **argv);

struct percpu tm_percpu[TM_GUEST_CPUS];
static struct cpu_start starts[TM_GUEST_CPUS] __attribute__((aligned(128)));

int64_t tm_psci(uint32_t fn, uint64_t a1, uint64_t a2, uint64_t a3)
{
	register uint64_t x0 __asm__("x0") = fn;
	register uint64_t x1 __asm__("x1") = a1;
	register uint64_t x2 __asm__("x2") = a2;
	register uint64_t x3 __asm__("x3") = a3;

	__asm__ volatile("hvc #0" : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3) : : "memory");
	/* The 32-bit calls answer in w0. */
	return (fn & 0x40000000u) != 0 ? (int64_t)x0 : (int64_t)(int32_t)(uint32_t)x0;
}

_Noreturn void tm_power_off(void)
{
	(void)tm_psci(TM_PSCI_SYSTEM_OFF, 0, 0, 0);
	for (;;) {
		tm_wfi();
	}
}

_Noreturn void tm_reset(void)
{
	(void)tm_psci(TM_PSCI_SYSTEM_RESET, 0, 0, 0);
	for (;;) {
		tm_wfi();
	}
}

_Noreturn void tm_cpu_off(void)
{
	(void)tm_psci(TM_PSCI_CPU_OFF, 0, 0, 0);
	tm_crash("cpu %u: CPU_OFF came back", tm_cpu_index());
}

uint32_t tm_cpu_index(void)
{
	return this_cpu()->index;
}

static char *arg_text;
static char *arg_vector[ARGS_MAX + 1];

/* argv[0] is "guest"; the bootargs follow, split at spaces. */
static int split_args(void)
{
	int argc = 0;

	arg_vector[argc++] = (char *)(uintptr_t)"guest";
	arg_text = strdup(tm_boot.bootargs);
	for (char *p = arg_text; p != NULL && *p != '\0' && argc < ARGS_MAX;) {
		while (*p == ' ') {
			*p++ = '\0';
		}
		if (*p == '\0') {
			break;
		}
		arg_vector[argc++] = p;
		while (*p != ' ' && *p != '\0') {
			p++;
		}
	}
	arg_vector[argc] = NULL;
	return argc;
}

_Noreturn void tm_guest_main(const void *dtb)
{
	tm_console_init();
	tm_boot_parse(dtb);
	tm_console_init();
	exit(main(split_args(), arg_vector));
}

_Noreturn void tm_secondary_main(struct cpu_start *start)
{
	start->fn(start->arg);
	tm_cpu_off();
}

int tm_cpu_start(uint32_t index, void (*fn)(void *arg), void *arg)
{
	struct cpu_start *s = &starts[index];
	int64_t status = -2;

	if (index == 0 || index >= tm_boot.cpu_count) {
		return -2;	/* INVALID_PARAMETERS */
	}
	tm_percpu[index].index = index;
	if (s->percpu == NULL) {
		char *stack = malloc(SECONDARY_STACK + 16);

		if (stack == NULL) {
			return -6;	/* INTERNAL_FAILURE */
		}
		s->sp = ((uint64_t)(uintptr_t)stack + SECONDARY_STACK + 15) & ~(uint64_t)15;
		s->percpu = &tm_percpu[index];
	}
	s->fn = fn;
	s->arg = arg;
	/* The new CPU reads it with its MMU off. */
	tm_cache_clean_inval(s, sizeof(*s));
	/* One that is just going off answers ALREADY_ON for a moment. */
	for (unsigned i = 0; i < 100000; i++) {
		status = tm_psci(TM_PSCI_CPU_ON, tm_boot.mpidr[index],
				 (uint64_t)(uintptr_t)tm_secondary_entry, (uint64_t)(uintptr_t)s);
		if (status != PSCI_ALREADY_ON) {
			break;
		}
	}
	return (int)status;
}

#define CACHE_LINE 16u	/* the architecture's least; more than one visit a line is harmless */

static uint64_t line_size(void)
{
	/* CTR_EL0.DminLine: log2 of words */
	return 4u << ((tm_sysreg_read(ctr_el0) >> 16) & 0xf);
}

void tm_cache_clean(const void *p, size_t size)
{
	uint64_t line = line_size();
	uint64_t end = (uint64_t)(uintptr_t)p + size;

	for (uint64_t a = (uint64_t)(uintptr_t)p & ~(line - 1); a < end; a += line) {
		__asm__ volatile("dc cvac, %0" : : "r"(a) : "memory");
	}
	tm_dsb();
}

void tm_cache_clean_inval(const void *p, size_t size)
{
	uint64_t line = line_size();
	uint64_t end = (uint64_t)(uintptr_t)p + size;

	for (uint64_t a = (uint64_t)(uintptr_t)p & ~(line - 1); a < end; a += line) {
		__asm__ volatile("dc civac, %0" : : "r"(a) : "memory");
	}
	tm_dsb();
}

void tm_cache_sync_code(const void *p, size_t size)
{
	uint64_t end = (uint64_t)(uintptr_t)p + size;
	uint64_t start = (uint64_t)(uintptr_t)p & ~(uint64_t)(CACHE_LINE - 1);

	for (uint64_t a = start; a < end; a += CACHE_LINE) {
		__asm__ volatile("dc cvau, %0" : : "r"(a) : "memory");
	}
	__asm__ volatile("dsb ish" : : : "memory");
	for (uint64_t a = start; a < end; a += CACHE_LINE) {
		__asm__ volatile("ic ivau, %0" : : "r"(a) : "memory");
	}
	__asm__ volatile("dsb ish\n\tisb" : : : "memory");
}

void tm_lock(struct tm_lock *l)
{
	while (__atomic_exchange_n(&l->held, 1, __ATOMIC_ACQUIRE) != 0) {
		tm_cpu_relax();
	}
}

void tm_unlock(struct tm_lock *l)
{
	__atomic_store_n(&l->held, 0, __ATOMIC_RELEASE);
}
