// SPDX-License-Identifier: Apache-2.0
//
// Interrupt controllers: IPIs with random commands and NMIs to ourselves; the local APIC's timer with
// every divisor; both controllers' registers at all offsets and widths.
//
// INIT and start-up IPIs go to other CPUs only, and these start in low memory that we have filled
// with HLT: a CPU that runs what lies there otherwise might end the VM, which is for ends.c.

#include <tidemark/guest.h>
#include <tidemark/irq.h>
#include <tidemark/tap.h>
#include <tidemark/x86.h>
#include "attacks.h"

#define PAGE 4096u
#define PARK_FIRST 1u			/* pages, and start-up vectors */
#define PARK_LAST 0x5fu
#define IVT_IRET 0x500u
#define MSR_APIC_BASE 0x1bu
#define MSR_ICR 0x830u
#define MSR_LVT_TIMER 0x832u
#define MSR_INITIAL 0x838u
#define MSR_CURRENT 0x839u
#define MSR_DIVIDE 0x83eu
#define MSR_SELF_IPI 0x83fu
#define MSR_TSC_DEADLINE 0x6e0u
#define ICR_NMI_SELF_LOGICAL 0x4400u
#define ICR_OTHERS (3u << 18)
#define LAPIC 0xfee00000u
#define LAPIC_ICR 0x300u
#define IOAPIC 0xfec00000u
#define IOAPIC_DATA 0x10u
#define MASKED 0x10000u
#define VECTOR 0x61u
#define STORM 50u

static volatile uint64_t ticks;

/* A period shorter than this handler would let nobody else run: it ends the storm itself. */
static void on_tick(uint32_t intid, void *arg)
{
	(void)intid, (void)arg;
	if (++ticks % STORM == 0) {
		tm_wrmsr(MSR_INITIAL, 0);
	}
}

/* CLI; HLT; JMP to the HLT, at every fourth byte; an IRET for what real mode does not expect. */
static void park_others(void)
{
	volatile uint32_t *low = (volatile uint32_t *)(uintptr_t)(PARK_FIRST * PAGE);

	for (uint32_t i = 0; i < (PARK_LAST - PARK_FIRST + 1) * PAGE / 4; i++) {
		low[i] = 0xfdebf4fau;
	}
	for (uint32_t vector = 1; vector < 256; vector++) {
		*(volatile uint32_t *)(uintptr_t)(vector * 4) = IVT_IRET;
	}
	*(volatile uint8_t *)(uintptr_t)IVT_IRET = 0xcf;
}

static uint32_t tame_vector(uint32_t v)
{
	/* The library takes these for exceptions with an error code, and the last one for spurious: it
	 * would stay in service. */
	return v == 17 || v == 21 || v == 29 || v == 30 ? v + 64 : v == 0xff ? 0xfe : v;
}

static uint32_t tame_icr(uint32_t v)
{
	uint32_t mode = v >> 8 & 7;
	uint32_t vector = v & 0xff;

	if (mode == 5 || mode == 6) {
		v |= ICR_OTHERS;
		vector = mode == 6 ? PARK_FIRST + vector % (PARK_LAST - PARK_FIRST + 1) : vector;
	} else {
		vector = tame_vector(vector);
	}
	return (v & ~0xffu) | vector;
}

static uint64_t draw_icr(struct tm_prng *rng)
{
	uint64_t v = tm_prng_next(rng);

	if (tm_prng_below(rng, 2) != 0) {
		v &= ~(uint64_t)0xfff33000u;		/* the reserved bits, which are #GP */
	}
	switch (tm_prng_below(rng, 4)) {
	case 0: v &= 0xffffffffu; break;
	case 1: v = (v & 0xffffffffu) | tm_prng_below(rng, 4) << 32; break;
	case 2: v |= 0xffffffff00000000u; break;
	default: break;
	}
	return (v & ~(uint64_t)0xffffffffu) | tame_icr((uint32_t)v);
}

struct msr_try {
	uint32_t msr, rsvd;
	uint64_t val, old, done;
};
uint64_t msr_write(uint64_t t);

static enum tm_probe_kind write_msr(struct hostile *h, uint32_t msr, uint64_t val)
{
	struct msr_try t = {.msr = msr, .val = val};

	h->ops++;
	return tm_probe_call(msr_write, (uint64_t)(uintptr_t)&t).kind;
}

void attack_ipis(struct hostile *h)
{
	uint64_t before = h->ops;
	uint64_t nmis = nmis_taken();
	uint64_t caught = 0;
	uint64_t refused = 0;
	uint64_t own = (uint64_t)tm_boot.mpidr[0] << 32;

	park_others();
	for (uint64_t i = 0; i < h->budget; i++) {
		enum tm_probe_kind k;

		switch (tm_prng_below(&h->rng, 8)) {
		case 0: k = write_msr(h, MSR_ICR, own | ICR_NMI_SELF_LOGICAL); break;
		case 1: k = write_msr(h, MSR_SELF_IPI, tame_vector((uint32_t)tm_prng_below(&h->rng, 256)));
			break;
		case 2: k = write_msr(h, MSR_ICR, own | tame_vector((uint32_t)tm_prng_below(&h->rng, 256)));
			break;
		default: k = write_msr(h, MSR_ICR, draw_icr(&h->rng)); break;
		}
		refused += k == TM_PROBE_GP;
		caught += k == TM_PROBE_SERROR;
		if (tm_prng_below(&h->rng, 64) == 0) {
			__asm__ volatile("sti\n\tnop\n\tnop\n\tcli" : : : "memory");
		}
		if (tm_prng_below(&h->rng, 4096) == 0) {
			settle();
		}
	}
	settle();
	nmis = nmis_taken() - nmis + caught;
	tap_ok(nmis > 0 && refused > 0, "SGIs: %llu sent, %llu NMIs taken, %llu refused",
	       (unsigned long long)(h->ops - before), (unsigned long long)nmis,
	       (unsigned long long)refused);
}

/* --- timer ------------------------------------------------------------------------------------------ */

static uint64_t draw_count(struct tm_prng *rng)
{
	switch (tm_prng_below(rng, 6)) {
	case 0: return 1;
	case 1: return 0;
	case 2: return ~(uint32_t)0;
	case 3: return tm_prng_below(rng, 1000);
	default: return (uint32_t)tm_prng_next(rng) >> tm_prng_below(rng, 32);
	}
}

static uint64_t draw_deadline(struct tm_prng *rng)
{
	switch (tm_prng_below(rng, 6)) {
	case 0: return 1;
	case 1: return tm_timer_now() + tm_prng_below(rng, 1u << 16);
	case 2: return tm_timer_now() - tm_prng_below(rng, 1u << 16);
	case 3: return ~(uint64_t)0 - tm_prng_below(rng, 3);
	case 4: return ~(uint64_t)0 - tm_prng_below(rng, tm_timer_now());
	default: return tm_prng_next(rng);
	}
}

/* Count 1 in every mode with every divisor, and interrupts open for a while: a storm if it is let. */
static void storms(struct hostile *h)
{
	uint64_t silent = 0;

	for (uint32_t divide = 0; divide < 16; divide++) {
		for (uint32_t mode = 0; mode < 2; mode++) {
			uint64_t before;
			uint64_t limit = tm_timer_now() + tm_us_to_ticks(1000000);

			before = 0;
			ticks = before;
			tm_wrmsr(MSR_LVT_TIMER, mode << 17 | VECTOR);
			(void)write_msr(h, MSR_DIVIDE, divide & 0xb);
			tm_irq_unmask();
			tm_wrmsr(MSR_INITIAL, 1);
			while (ticks - before < (mode == 0 ? 1u : STORM) && tm_timer_now() < limit) {
				tm_cpu_relax();
			}
			tm_irq_mask();
			tm_wrmsr(MSR_INITIAL, 0);
			silent += ticks == before;
			h->ops += 4;
		}
	}
	tap_ok(silent == 0, "timer: count 1, all divisors, one-shot and periodic: %llu silent",
	       (unsigned long long)silent);
}

void attack_timer(struct hostile *h)
{
	uint64_t wrong = 0;
	uint64_t refused = 0;
	uint64_t values = h->budget / 8;

	tm_irq_handle(VECTOR, on_tick, NULL);
	tm_irq_enable(VECTOR);
	storms(h);
	for (uint64_t i = 0; i < values; i++) {
		uint64_t mode = tm_prng_below(&h->rng, 4);
		uint64_t count = draw_count(&h->rng);

		refused += write_msr(h, MSR_LVT_TIMER, mode << 17 | VECTOR |
				     (tm_prng_below(&h->rng, 2) != 0 ? MASKED : 0)) != TM_PROBE_OK;
		if (tm_prng_below(&h->rng, 4) == 0) {
			refused += write_msr(h, MSR_DIVIDE, tm_prng_below(&h->rng, 32)) != TM_PROBE_OK;
		}
		if (mode == 2 || tm_prng_below(&h->rng, 8) == 0) {
			(void)write_msr(h, MSR_TSC_DEADLINE, draw_deadline(&h->rng));
		} else {
			(void)write_msr(h, MSR_INITIAL, count);
			wrong += mode < 2 && tm_rdmsr(MSR_CURRENT) > count;
		}
		if (i % 64 == 0) {
			__asm__ volatile("sti\n\tnop\n\tnop\n\tcli" : : : "memory");
		}
	}
	(void)write_msr(h, MSR_DIVIDE, 0);
	(void)write_msr(h, MSR_INITIAL, 0);
	settle();
	tap_ok(wrong == 0, "timers: %llu values, %llu refused, %llu counts above what was set",
	       (unsigned long long)values, (unsigned long long)refused, (unsigned long long)wrong);
}

/* --- registers in memory ----------------------------------------------------------------------------- */

static bool overlaps(uint64_t at, unsigned size, uint64_t reg, unsigned len)
{
	return at < reg + len && at + size > reg;
}

static uint64_t tame_lapic(struct tm_prng *rng, uint64_t at, unsigned size)
{
	uint64_t v = tm_prng_next(rng);

	if (overlaps(at, size, LAPIC_ICR, 4)) {
		return at == LAPIC_ICR ? tame_icr((uint32_t)v) : 0;
	}
	/* A pin that sends INIT, or an exception's vector: masked. */
	return overlaps(at, size, 0x2f0, 4) || overlaps(at, size, 0x320, 0x60) ?
	       0x0001000000010000u | (v & ~(uint64_t)0x500) : v;
}

/* Entries that deliver INIT or an exception's vector are masked. */
static uint64_t tame_ioapic(struct tm_prng *rng, uint64_t at, unsigned size)
{
	uint64_t v = tm_prng_next(rng);

	return overlaps(at, size, IOAPIC_DATA, 4) && ((v & 0x700) != 0 || (v & 0xff) < 32) ?
	       v | MASKED : v;
}

static void every_offset(struct hostile *h, uint64_t base,
			 uint64_t (*value)(struct tm_prng *, uint64_t, unsigned))
{
	for (uint64_t at = 0; at < PAGE; at++) {
		for (unsigned size = 1; size <= 8; size *= 2) {
			(void)tm_probe_read(base + at, size);
			(void)tm_probe_write(base + at, size, value(&h->rng, at, size));
			h->ops += 2;
		}
	}
}

static void random_offsets(struct hostile *h, uint64_t base,
			   uint64_t (*value)(struct tm_prng *, uint64_t, unsigned))
{
	for (uint64_t i = 0; i < h->budget / 8; i++) {
		unsigned size = 1u << tm_prng_below(&h->rng, 4);
		uint64_t at = tm_prng_below(&h->rng, 8) != 0 ? tm_prng_below(&h->rng, 64) * 16 :
							      tm_prng_below(&h->rng, PAGE);

		h->ops++;
		if (tm_prng_below(&h->rng, 2) == 0) {
			(void)tm_probe_read(base + at, size);
		} else {
			(void)tm_probe_write(base + at, size, value(&h->rng, at, size));
		}
	}
}

static void ioapic_registers(struct hostile *h)
{
	for (uint64_t i = 0; i < h->budget / 16; i++) {
		tm_mmio_write32(IOAPIC, (uint32_t)tm_prng_below(&h->rng, 256));
		tm_mmio_write32(IOAPIC + IOAPIC_DATA,
				(uint32_t)tame_ioapic(&h->rng, IOAPIC_DATA, 4));
		(void)tm_mmio_read32(IOAPIC + IOAPIC_DATA);
		h->ops += 3;
	}
	for (uint32_t gsi = 0; gsi < 24; gsi++) {
		tm_ioapic_mask(gsi);
	}
}

void attack_apic(struct hostile *h)
{
	uint64_t before = h->ops;
	uint64_t base = tm_rdmsr(MSR_APIC_BASE);

	/* From x2APIC to xAPIC mode only through "off". */
	tm_wrmsr(MSR_APIC_BASE, base & ~(uint64_t)0xc00);
	tm_wrmsr(MSR_APIC_BASE, (base & ~(uint64_t)0xc00) | 0x800);
	every_offset(h, LAPIC, tame_lapic);
	random_offsets(h, LAPIC, tame_lapic);
	settle();
	every_offset(h, IOAPIC, tame_ioapic);
	random_offsets(h, IOAPIC, tame_ioapic);
	ioapic_registers(h);
	settle();
	tap_ok(true, "controllers: %llu accesses at all offsets and widths",
	       (unsigned long long)(h->ops - before));
}
