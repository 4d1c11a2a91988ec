// SPDX-License-Identifier: Apache-2.0
/*
 * Time: the TSC, taken as synchronous between CPUs, and each CPU's local APIC timer. Frequencies are
 * measured at boot against the 8254, or ACPI's timer where that one stands still: what CPUID says
 * is nominal, and wrong on some emulators. Each CPU programs only its own timer; no lock.
 */
#include <arch/cpu.h>
#include <arch/time.h>
#include <asm/cpu.h>
#include <asm/io.h>
#include <asm/irq.h>
#include <asm/machine.h>
#include <asm/msr.h>
#include <asm/time.h>
#include <drivers/apic/apic.h>
#include <hyp/boot_info.h>
#include <hyp/hyptimer.h>
#include <hyp/log.h>
#include <hyp/sched.h>

#define PIT_HZ 1193182u
#define PIT_CHANNEL2 0x42u
#define PIT_COMMAND 0x43u
#define PIT_MODE0 0xb0u		/* channel 2, both bytes, one count down */
#define PIT_LATCH 0x80u
#define PORT61 0x61u
#define PORT61_GATE 0x01u
#define PORT61_SPEAKER 0x02u

#define PM_TIMER_HZ 3579545u
#define PM_TIMER_MASK 0xffffffu	/* what all of them have */

#define MEASURE_MS 20u		/* the 8254 counts 54 */
#define SAMPLES 5u
/* Turns of a wait for the reference to advance: one that does not is not there. */
#define STUCK 2000000u
#define TSC_HZ_MIN 1000000u

static uint64_t tsc_hz;
static uint64_t timer_hz;	/* of the local APIC; 0: TSC deadline */

uint64_t arch_time_now(void)
{
	uint32_t lo, hi;

	/* The read may otherwise be made early. */
	__asm__ volatile("lfence\n\trdtsc" : "=a"(lo), "=d"(hi) : : "memory");
	return (uint64_t)hi << 32 | lo;
}

uint64_t arch_time_freq(void)
{
	return tsc_hz;
}

/* ---- the two references, both counting up ------------------------------------------------------ */

static uint32_t pit_read(void)
{
	uint8_t lo;

	port_out8(PIT_COMMAND, PIT_LATCH);
	lo = port_in8(PIT_CHANNEL2);
	return 0xffffu - (lo | (uint32_t)port_in8(PIT_CHANNEL2) << 8);
}

static void pit_start(void)
{
	port_out8(PORT61, (uint8_t)((port_in8(PORT61) & ~PORT61_SPEAKER) | PORT61_GATE));
	port_out8(PIT_COMMAND, PIT_MODE0);
	port_out8(PIT_CHANNEL2, 0xff);
	port_out8(PIT_CHANNEL2, 0xff);
}

static uint32_t pm_read(void)
{
	return port_in32(machine.acpi.pm_timer_port) & PM_TIMER_MASK;
}

struct reference {
	uint32_t (*read)(void);
	uint32_t hz, mask;
};

struct sample {
	uint64_t tsc;
	uint32_t reference;
};

/* One moment on both: the reading of several with the TSC's least doubt. */
static struct sample take(const struct reference *r)
{
	struct sample best = {0, 0};
	uint64_t doubt = ~0ull;

	for (unsigned i = 0; i < SAMPLES; i++) {
		uint64_t before = arch_time_now(), after;
		uint32_t reference = r->read();

		after = arch_time_now();
		if (after - before < doubt) {
			doubt = after - before;
			best = (struct sample){before + doubt / 2, reference};
		}
	}
	return best;
}

static bool measure_tsc(const struct reference *r)
{
	uint32_t wanted = r->hz / 1000 * MEASURE_MS;
	struct sample first = take(r), last;
	uint32_t passed = 0;

	for (unsigned i = 0; passed < wanted; i++) {
		if (i == STUCK) {
			return false;
		}
		passed = (r->read() - first.reference) & r->mask;
	}
	last = take(r);
	passed = (last.reference - first.reference) & r->mask;
	tsc_hz = (last.tsc - first.tsc) * r->hz / passed;
	return tsc_hz >= TSC_HZ_MIN;
}

void time_init(void)
{
	static const struct reference pit = {pit_read, PIT_HZ, 0xffff};
	static const struct reference pm = {pm_read, PM_TIMER_HZ, PM_TIMER_MASK};
	bool has_pm = machine.has_acpi && machine.acpi.pm_timer_port;

	pit_start();
	if (!measure_tsc(&pit) && !(has_pm && measure_tsc(&pm))) {
		cannot_start("nothing to measure time by: the 8254 stands still%s",
			     has_pm ? ", so does ACPI's timer" : ", and there is no ACPI timer");
	}
}

static void timer_irq(unsigned vector)
{
	(void)vector;
	hyptimer_run();
	sched_timer();
}

static uint64_t measure_timer(void)
{
	uint64_t start, passed, wanted = tsc_hz / 1000 * MEASURE_MS;
	uint32_t counted;

	host_apic_timer_init(IRQ_SPURIOUS, false);
	host_apic_timer_start(~0u);
	start = arch_time_now();
	do {
		counted = ~0u - host_apic_timer_count();
		passed = arch_time_now() - start;
	} while (passed < wanted);
	host_apic_timer_start(0);
	return counted * tsc_hz / passed;
}

void time_init_timer(void)
{
	irq_register(IRQ_TIMER, timer_irq);
	if (!cpu_features.tsc_deadline) {
		timer_hz = measure_timer();
		if (timer_hz < 1000) {
			cannot_start("the local APIC's timer stands still");
		}
	}
	if (!cpu_features.tsc_invariant) {
		log_dbg("time: CPUID does not promise that the TSC is invariant");
	}
}

void time_init_cpu(void)
{
	host_apic_timer_init(IRQ_TIMER, timer_hz == 0);
	arch_timer_program(~0ull);
}

void arch_timer_program(uint64_t deadline)
{
	uint64_t now, ticks;

	if (timer_hz == 0) {
		wrmsr(MSR_TSC_DEADLINE, deadline == ~0ull ? 0 : MAX(deadline, 1u));
		return;
	}
	if (deadline == ~0ull) {
		host_apic_timer_start(0);
		return;
	}
	now = arch_time_now();
	ticks = deadline > now ? deadline - now : 0;
	/* Too far for the counter: it fires early, and is programmed again. */
	ticks = MIN(ticks, tsc_hz);
	ticks = ticks * (timer_hz / 1000) / (tsc_hz / 1000) + 1;
	host_apic_timer_start((uint32_t)MIN(ticks, 0xffffffffu));
}

void time_delay_us(uint64_t us)
{
	uint64_t end = arch_time_now() + us * (tsc_hz / 1000) / 1000;

	while (arch_time_now() < end) {
		arch_cpu_relax();
	}
}
