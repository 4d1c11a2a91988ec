// SPDX-License-Identifier: Apache-2.0
//
// The life of a guest program's CPUs: boot CPU to main and power-off, secondary CPUs by INIT-SIPI
// through the page at TRAMPOLINE, one at a time.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tidemark/console.h>
#include <tidemark/guest.h>
#include <tidemark/irq.h>
#include <tidemark/x86.h>
#include "percpu.h"

#define SECONDARY_STACK 32768u
#define ARGS_MAX 32
#define PM1_CONTROL 0x604u
#define PM1_SLEEP 0x2000u		/* SLP_EN, SLP_TYP 0: S5 (boot/x86/guest_acpi.c) */
#define RESET_PORT 0xcf9u
#define MSR_ICR 0x830u
#define ICR_INIT 0x4500u		/* INIT, assert */
#define ICR_SIPI 0x4600u
#define UP_TIMEOUT_US 1000000u

int main(int argc, char **argv);

struct percpu tm_percpu[TM_GUEST_CPUS];
static struct cpu_start starts[TM_GUEST_CPUS];

static _Noreturn void stop(void)
{
	for (;;) {
		__asm__ volatile("cli\n\thlt" : : : "memory");
	}
}

_Noreturn void tm_power_off(void)
{
	tm_out16(PM1_CONTROL, PM1_SLEEP);
	stop();
}

_Noreturn void tm_reset(void)
{
	tm_out8(RESET_PORT, 6);
	stop();
}

/* Its starter may send INIT at once. */
_Noreturn void tm_cpu_off(void)
{
	tm_irq_mask();
	__atomic_store_n(&this_cpu()->on, 0, __ATOMIC_RELEASE);
	stop();
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
	this_cpu()->apic_on = 0;	/* after INIT, also in a later life */
	__atomic_store_n((uint64_t *)(TRAMPOLINE + TRAMP_START), 0, __ATOMIC_RELEASE);
	start->fn(start->arg);
	tm_cpu_off();
}

static bool has_low_ram(void)
{
	for (uint32_t i = 0; i < tm_boot.mem_count; i++) {
		if (tm_boot.mem[i].gpa <= TRAMPOLINE &&
		    tm_boot.mem[i].gpa + tm_boot.mem[i].size >= TRAMPOLINE + TM_PAGE_SIZE) {
			return true;
		}
	}
	return false;
}

static void put_word(uint64_t offset, uint64_t v)
{
	__atomic_store_n((uint64_t *)(TRAMPOLINE + offset), v, __ATOMIC_RELAXED);
}

/* The page is free again when the CPU has read its struct cpu_start. */
static int wake(uint32_t index, struct cpu_start *s)
{
	uint64_t *taken = (uint64_t *)(TRAMPOLINE + TRAMP_START);
	uint64_t target = tm_boot.mpidr[index] << 32;
	uint64_t start, limit = tm_us_to_ticks(UP_TIMEOUT_US);

	memcpy((void *)TRAMPOLINE, tm_trampoline, (size_t)(tm_trampoline_end - tm_trampoline));
	put_word(TRAMP_CR3, (uint64_t)(uintptr_t)tm_map);
	put_word(TRAMP_ENTRY, (uint64_t)(uintptr_t)tm_secondary_entry);
	put_word(TRAMP_START, (uint64_t)(uintptr_t)s);
	tm_dmb();
	tm_wrmsr(MSR_ICR, target | ICR_INIT);
	tm_wrmsr(MSR_ICR, target | ICR_SIPI | TRAMPOLINE / TM_PAGE_SIZE);
	start = tm_timer_now();
	while (__atomic_load_n(taken, __ATOMIC_ACQUIRE) != 0) {
		if (tm_timer_now() - start > limit) {
			return -6;
		}
		tm_cpu_relax();
	}
	return 0;
}

int tm_cpu_start(uint32_t index, void (*fn)(void *arg), void *arg)
{
	static struct tm_lock lock;
	struct cpu_start *s = &starts[index];
	int status;

	if (index == 0 || index >= tm_boot.cpu_count || !has_low_ram()) {
		return -2;	/* the numbers are PSCI's: INVALID_PARAMETERS */
	}
	if (!tm_apic_on()) {
		tm_irq_cpu_init();
	}
	if (__atomic_load_n(&tm_percpu[index].on, __ATOMIC_ACQUIRE) != 0) {
		return -4;	/* ALREADY_ON */
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
	tm_percpu[index].on = 1;
	tm_lock(&lock);
	status = wake(index, s);
	tm_unlock(&lock);
	if (status != 0) {
		tm_percpu[index].on = 0;
	}
	return status;
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
