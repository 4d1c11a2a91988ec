// SPDX-License-Identifier: Apache-2.0
//
// Both timers with compare values from all corners: past, far, and those that wrap when somebody
// adds an offset or a count to them. With the registers' answers for what they must be, and with
// sleep: a deadline that is not due must neither end a WFI nor hide the other timer's.

#include <tidemark/arm64.h>
#include <tidemark/guest.h>
#include <tidemark/irq.h>
#include <tidemark/tap.h>
#include "attacks.h"

#define CTL_ENABLE 1u
#define CTL_IMASK 2u
#define CTL_ISTATUS 4u
#define PTIMER 30u
#define SLEEPS 32u
#define WAKES_MAX 1000u		/* of all sleeps together: others may interrupt, nobody may spin */

static uint64_t count_of(bool phys)
{
	tm_isb();
	return phys ? tm_sysreg_read(cntpct_el0) : tm_sysreg_read(cntvct_el0);
}

static void write_ctl(bool phys, uint64_t ctl)
{
	if (phys) {
		tm_sysreg_write(cntp_ctl_el0, ctl);
	} else {
		tm_sysreg_write(cntv_ctl_el0, ctl);
	}
	tm_isb();
}

static uint64_t read_ctl(bool phys)
{
	tm_isb();
	return phys ? tm_sysreg_read(cntp_ctl_el0) : tm_sysreg_read(cntv_ctl_el0);
}

static void write_cval(bool phys, uint64_t cval)
{
	if (phys) {
		tm_sysreg_write(cntp_cval_el0, cval);
	} else {
		tm_sysreg_write(cntv_cval_el0, cval);
	}
}

static uint64_t read_cval(bool phys)
{
	return phys ? tm_sysreg_read(cntp_cval_el0) : tm_sysreg_read(cntv_cval_el0);
}

static void write_tval(bool phys, uint64_t tval)
{
	if (phys) {
		tm_sysreg_write(cntp_tval_el0, tval);
	} else {
		tm_sysreg_write(cntv_tval_el0, tval);
	}
}

/* What becomes less than the present when the machine's own count, or a part of it, is added. */
static uint64_t draw_wrapping(struct tm_prng *rng)
{
	return ~(uint64_t)0 - tm_prng_below(rng, count_of(true));
}

static uint64_t draw_cval(struct tm_prng *rng, uint64_t now)
{
	switch (tm_prng_below(rng, 10)) {
	case 0: return tm_prng_below(rng, 3);
	case 1: return now + tm_prng_below(rng, 1u << 16);
	case 2: return now - tm_prng_below(rng, 1u << 16);
	case 3: return ~(uint64_t)0 - tm_prng_below(rng, 3);
	case 4: case 5: return draw_wrapping(rng);
	case 6: return (uint64_t)1 << tm_prng_below(rng, 64);
	case 7: return ((uint64_t)1 << tm_prng_below(rng, 64)) - 1;
	case 8: return now + 0x7ffffffeu + tm_prng_below(rng, 4);
	default: return tm_prng_next(rng);
	}
}

static uint32_t draw_tval(struct tm_prng *rng)
{
	switch (tm_prng_below(rng, 4)) {
	case 0: return 0x7fffffffu + (uint32_t)tm_prng_below(rng, 3);
	case 1: return ~(uint32_t)0 - (uint32_t)tm_prng_below(rng, 3);
	/* From before this VM to before the machine: past the end of a count that began at 0. */
	case 2: return 0u - (uint32_t)tm_prng_below(rng, count_of(true) & 0x7fffffffu);
	default: return (uint32_t)tm_prng_next(rng);
	}
}

/* One value, by the compare register or by the timer value; false: an answer was wrong. */
static bool one_value(struct hostile *h, bool phys, bool linger)
{
	uint64_t ctl = CTL_ENABLE | (tm_prng_below(&h->rng, 2) != 0 ? CTL_IMASK : 0);
	bool enabled_first = tm_prng_below(&h->rng, 2) != 0;
	uint64_t before = count_of(phys);
	uint64_t cval, status, after;
	bool good;

	if (enabled_first) {
		write_ctl(phys, ctl);
	}
	if (tm_prng_below(&h->rng, 2) != 0) {
		uint64_t want = draw_cval(&h->rng, before);

		write_cval(phys, want);
		cval = read_cval(phys);
		good = cval == want;
	} else {
		uint32_t tval = draw_tval(&h->rng);
		uint64_t base = (uint64_t)(int64_t)(int32_t)tval;

		/* Only the low half counts. */
		write_tval(phys, tval | tm_prng_next(&h->rng) << 32);
		cval = read_cval(phys);
		good = cval - base - before <= count_of(phys) - before;
	}
	write_ctl(phys, ctl);
	if (linger) {
		tm_delay_us(20);
	}
	status = read_ctl(phys);
	after = count_of(phys);
	good &= (status & 3) == ctl;
	/* Due in between: an emulator may be late with it. */
	good &= before < cval || (status & CTL_ISTATUS) != 0;
	good &= after >= cval || (status & CTL_ISTATUS) == 0;
	write_ctl(phys, 0);
	h->ops += 4;
	return good;
}

static void drain(void)
{
	for (unsigned i = 0; i < 8; i++) {
		uint32_t iar = tm_irq_ack();

		if (iar == TM_IRQ_NONE) {
			break;
		}
		tm_irq_eoi(iar);
	}
}

/* Sleeps till one timer is due, with a value in the other that never is. The number of wakes. */
static uint64_t sleep_beside(struct hostile *h, bool phys)
{
	uint64_t wakes = 0;

	write_cval(phys, draw_wrapping(&h->rng));
	write_ctl(phys, CTL_ENABLE);
	write_cval(!phys, count_of(!phys) + tm_us_to_ticks(500));
	write_ctl(!phys, CTL_ENABLE);
	while ((read_ctl(!phys) & CTL_ISTATUS) == 0) {
		tm_wfi();
		wakes++;
	}
	write_ctl(!phys, 0);
	write_ctl(phys, 0);
	drain();
	h->ops++;
	return wakes;
}

void attack_timers(struct hostile *h)
{
	uint64_t daif = tm_irq_save();
	uint64_t values = h->budget / 8;
	uint64_t wrong[2] = {0};
	uint64_t wakes = 0;

	tm_irq_enable(TM_IRQ_VTIMER);
	tm_irq_enable(PTIMER);
	for (uint64_t i = 0; i < values; i++) {
		bool phys = (i & 1) != 0;

		wrong[phys] += !one_value(h, phys, i % 64 < 2);
		if (i % 16 == 0) {
			drain();
		}
	}
	drain();
	tap_ok(wrong[0] == 0 && wrong[1] == 0,
	       "timers: %llu values, %llu wrong of the virtual, %llu of the physical one",
	       (unsigned long long)values, (unsigned long long)wrong[0],
	       (unsigned long long)wrong[1]);
	for (unsigned i = 0; i < SLEEPS; i++) {
		wakes += sleep_beside(h, (i & 1) != 0);
	}
	tap_ok(wakes < WAKES_MAX, "timers: %u sleeps beside a deadline that wraps, %llu wakes", SLEEPS,
	       (unsigned long long)wakes);
	tm_irq_disable(PTIMER);
	tm_irq_restore(daif);
}
