// SPDX-License-Identifier: Apache-2.0
//
// Tests what guests/lib promises and what the virtual board must do for it: memory, faults,
// interrupts, timer, several CPUs. Runs under the hypervisor and, on arm64, directly on QEMU at EL1.
// bootargs: hyp - also the calls that every VM may make.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tidemark/arch.h>
#include <tidemark/call.h>
#include <tidemark/console.h>
#include <tidemark/guest.h>
#include <tidemark/irq.h>
#include <tidemark/probe.h>
#include <tidemark/tap.h>
#include "selftest.h"

static bool has_word(const char *word)
{
	return strstr(tm_boot.bootargs, word) != NULL;
}

/* In a loop that waits for another vCPU: it may need this one's physical CPU. */
void relax(void)
{
	if (has_word("hyp")) {
		(void)tm_yield();
	} else {
		tm_cpu_relax();
	}
}

static void test_memory(void)
{
	char *p = malloc(100000);
	char text[64];

	tap_ok(tm_boot.mem_count > 0 && tm_boot.mem[0].size >= (8u << 20), "memory in the tree");
	tap_ok(p != NULL, "malloc");
	memset(p, 0x5a, 100000);
	free(p);
	tap_ok(malloc((size_t)1 << 40) == NULL, "malloc of 1 TiB fails");
	(void)snprintf(text, sizeof(text), "%llx %ld %s", 0x123456789abcdefull, -5l, "x");
	tap_ok(strcmp(text, "123456789abcdef -5 x") == 0, "snprintf: %s", text);
	*(volatile uint64_t *)(uintptr_t)(text + 3) = 1;
	tap_ok(true, "unaligned store to normal memory");
}

static void test_probes(void)
{
	static uint64_t word = 0x1122334455667788u;
	struct tm_probe p = tm_probe_read(TM_GPA(&word), 8);

	tap_ok(p.kind == TM_PROBE_OK && p.value == word, "probe reads memory");
	p = tm_probe_read(TM_GPA(&word), 2);
	tap_eq(p.value, 0x7788, "probe reads 2 bytes");
	p = tm_probe_write(TM_GPA(&word), 4, 0xcafe);
	tap_ok(p.kind == TM_PROBE_OK && word == 0x112233440000cafeu, "probe writes 4 bytes");
	arch_probes();
}

volatile uint32_t irq_count;
volatile uint32_t irq_last;

void count_irq(uint32_t intid, void *arg)
{
	(void)arg;
	irq_last = intid;
	irq_count++;
}

bool wait_count(uint32_t want)
{
	uint64_t end = tm_timer_now() + tm_timer_freq();

	while (irq_count < want && tm_timer_now() < end) {
		relax();
	}
	return irq_count >= want;
}

static void test_interrupts(void)
{
	uint64_t before;
	uint64_t took;

	irq_count = 0;
	for (uint32_t sgi = 0; sgi < 16; sgi++) {
		tm_irq_handle(sgi, count_irq, NULL);
		tm_irq_enable(sgi);
	}
	for (uint32_t sgi = 0; sgi < 16; sgi++) {
		tm_sgi_send(0, sgi);
		wait_count(sgi + 1);
	}
	tap_eq(irq_count, 16, "16 SGIs to myself");
	tap_eq(irq_last, 15, "the last one is 15");
	arch_interrupts();
	irq_count = 0;
	tm_irq_mask();
	tm_sgi_send(0, 1);
	tm_delay_us(500);
	tap_eq(irq_count, 0, "masked: nothing");
	tm_irq_unmask();
	tap_ok(wait_count(1), "unmasked: there it is");
	tm_irq_mask();
	tm_sleep_us(1000);
	before = tm_timer_now();
	tm_sleep_us(10000);
	took = tm_ticks_to_us(tm_timer_now() - before);
	tap_ok(took >= 9500, "masked: a stopped timer is pending no more: slept %llu us of 10000",
	       (unsigned long long)took);
	tm_irq_unmask();
	before = tm_timer_now();
	tm_sleep_us(20000);
	took = tm_ticks_to_us(tm_timer_now() - before);
	tap_ok(took >= 19000, "WFI with a timer: slept %llu us of 20000",
	       (unsigned long long)took);
}

/* --- several CPUs ----------------------------------------------------------------------------- */

static uint32_t online;
static uint64_t sum;
static volatile uint32_t stop;

static void secondary(void *arg)
{
	tm_irq_cpu_init();
	tm_irq_enable(2);
	tm_irq_unmask();
	__atomic_fetch_add(&online, 1, __ATOMIC_ACQ_REL);
	for (unsigned i = 0; i < 10000; i++) {
		__atomic_fetch_add(&sum, *(uint32_t *)arg, __ATOMIC_RELAXED);
	}
	while (stop == 0) {
		tm_wfi();
	}
	tm_irq_mask();
	__atomic_fetch_sub(&online, 1, __ATOMIC_ACQ_REL);
}

static bool wait_online(uint32_t want)
{
	uint64_t end = tm_timer_now() + 2 * tm_timer_freq();

	while (__atomic_load_n(&online, __ATOMIC_ACQUIRE) != want && tm_timer_now() < end) {
		relax();
	}
	return __atomic_load_n(&online, __ATOMIC_ACQUIRE) == want;
}

static void test_cpus(void)
{
	static uint32_t one = 1;
	uint32_t others = tm_boot.cpu_count - 1;
	uint64_t end;

	if (others == 0) {
		tap_skip("secondary CPUs", "optional: one CPU");
		return;
	}
	tap_ok(tm_cpu_start(tm_boot.cpu_count, secondary, &one) != 0, "no CPU beyond the last");
	for (unsigned life = 0; life < 3; life++) {
		stop = 0;
		sum = 0;
		irq_count = 0;
		for (uint32_t i = 1; i <= others; i++) {
			int r = tm_cpu_start(i, secondary, &one);

			if (r != 0) {
				tap_ok(false, "CPU_ON %u: %d", i, r);
			}
		}
		tap_ok(wait_online(others), "life %u: %u CPUs came up", life, others);
		tap_ok(arch_cpu_on_again(1), "life %u: CPU_ON of one that is on: ALREADY_ON", life);
		end = tm_timer_now() + tm_timer_freq();
		while (__atomic_load_n(&sum, __ATOMIC_RELAXED) != others * 10000u &&
		       tm_timer_now() < end) {
			relax();
		}
		tap_eq(sum, others * 10000u, "atomic adds of all");
		for (uint32_t i = 1; i <= others; i++) {
			tm_sgi_send(i, 2);
			wait_count(i);
		}
		tap_eq(irq_count, others, "one SGI to each");
		irq_count = 0;
		tm_sgi_send(~0u, 2);
		tap_ok(wait_count(others), "SGI to all others");
		stop = 1;
		tm_sgi_send(~0u, 2);
		tap_ok(wait_online(0), "life %u: all went off", life);
	}
	arch_cpus_off();
}

/* --- calls that every VM may make ------------------------------------------------------------- */

static void test_calls(void)
{
	uint64_t end = tm_boot.mem[0].gpa + tm_boot.mem[0].size;
	uint64_t v = 0;
	struct tm_result r;

	tap_ok(tm_version(&v) == 0 && v == (TM_VERSION_MAJOR << 16 | TM_VERSION_MINOR),
	       "VERSION 0x%llx", (unsigned long long)v);
	tap_ok(tm_features(&v) == 0, "FEATURES 0x%llx", (unsigned long long)v);
	tap_eq((uint64_t)tm_vm_sync(1), (uint64_t)-TM_EPERM, "a management call is unknown");
	tap_eq((uint64_t)tm_call(0x0bad, 0, 0, 0, 0, 0, 0).status, (uint64_t)-TM_EPERM,
	       "an unknown call is unknown");
	tap_eq((uint64_t)tm_yield(), 0, "YIELD");
	r = tm_call(TM_HC_CONSOLE_WRITE, NOWHERE, 8, 0, 0, 0, 0);
	tap_eq((uint64_t)r.status, (uint64_t)-TM_EFAULT, "CONSOLE_WRITE from nowhere");
	r = tm_call(TM_HC_CONSOLE_WRITE, end - 8, 16, 0, 0, 0, 0);
	tap_eq((uint64_t)r.status, (uint64_t)-TM_EFAULT, "CONSOLE_WRITE across the end of RAM");
	r = tm_call(TM_HC_CONSOLE_READ, ~(uint64_t)7, 16, 0, 0, 0, 0);
	tap_eq((uint64_t)r.status, (uint64_t)-TM_EFAULT, "CONSOLE_READ to the top");
	arch_calls();
}

int main(void)
{
	printf("# selftest: %u CPUs, GICv%u, image 0x%llx\n", tm_boot.cpu_count,
	       tm_boot.gic_version, (unsigned long long)tm_boot.image.gpa);
	test_memory();
	test_probes();
	tap_ok(tm_irq_init(), "interrupt controller");
	tm_irq_unmask();
	test_interrupts();
	test_cpus();
	if (has_word("hyp")) {
		test_calls();
	}
	if (has_word("crash")) {
		*(volatile int *)(uintptr_t)NO_ADDRESS = 1;
	}
	return tap_done();
}
