// SPDX-License-Identifier: Apache-2.0
//
// Interrupts of guest programs: the local APIC in x2APIC mode, and the I/O APIC. The handler table
// is shared by all CPUs and is written before the interrupt can come. Numbers: <tidemark/x86.h>.

#include <stddef.h>
#include <tidemark/guest.h>
#include <tidemark/irq.h>
#include <tidemark/x86.h>
#include "percpu.h"

/* SDM volume 3, 11.12: x2APIC registers are MSRs. */
#define MSR_APIC_BASE 0x1bu
#define APIC_BASE_X2 0xc00u		/* EN and EXTD */
#define MSR_TPR 0x808u
#define MSR_EOI 0x80bu
#define MSR_SVR 0x80fu
#define MSR_ESR 0x828u
#define MSR_ICR 0x830u
#define MSR_LVT_TIMER 0x832u
#define MSR_LVT_LINT0 0x835u
#define MSR_LVT_LINT1 0x836u
#define MSR_LVT_ERROR 0x837u
#define MSR_SELF_IPI 0x83fu
#define LVT_MASKED 0x10000u
#define LVT_NMI 0x400u
#define TIMER_DEADLINE (2u << 17)
#define SVR_ENABLE 0x100u
#define ICR_OTHERS (3u << 18)
#define ICR_ASSERT (1u << 14)

#define IOAPIC 0xfec00000u
#define IOAPIC_DATA (IOAPIC + 0x10)
#define IOAPIC_REDIR 0x10u
#define IOAPIC_PINS 24u
#define REDIR_MASKED 0x10000u
#define REDIR_LEVEL 0x8000u

static struct {
	tm_irq_fn fn;
	void *arg;
} handlers[256];
static bool off[256];
static bool present;
static struct tm_lock ioapic_lock;

bool tm_apic_on(void)
{
	return this_cpu()->apic_on != 0;
}

static uint32_t number_of(uint32_t vector)
{
	if (vector == TM_VECTOR_TIMER) {
		return TM_IRQ_VTIMER;
	}
	return vector >= TM_VECTOR_SGI && vector < TM_VECTOR_SGI + 16 ? vector - TM_VECTOR_SGI : vector;
}

static uint32_t vector_of(uint32_t number)
{
	return number == TM_IRQ_VTIMER ? TM_VECTOR_TIMER :
	       number < 16 ? TM_VECTOR_SGI + number : number & 0xff;
}

void tm_irq_cpu_init(void)
{
	this_cpu()->apic_on = 1;
	tm_wrmsr(MSR_APIC_BASE, tm_rdmsr(MSR_APIC_BASE) | APIC_BASE_X2);
	tm_wrmsr(MSR_SVR, SVR_ENABLE | TM_VECTOR_SPURIOUS);
	tm_wrmsr(MSR_TPR, 0);
	tm_wrmsr(MSR_LVT_LINT0, LVT_MASKED);
	tm_wrmsr(MSR_LVT_LINT1, LVT_NMI);
	tm_wrmsr(MSR_LVT_ERROR, LVT_MASKED);
	tm_wrmsr(MSR_LVT_TIMER, TIMER_DEADLINE | TM_VECTOR_TIMER);
	tm_dmb();	/* SDM volume 3, 11.5.4.1: the mode is set before the deadline */
	tm_timer_stop();
}

bool tm_irq_init(void)
{
	uint32_t r[4];

	tm_cpuid(1, 0, r);
	if ((r[2] >> 21 & 1) == 0 || (r[2] >> 24 & 1) == 0) {
		return false;	/* neither x2APIC nor TSC deadline */
	}
	/* The 8259s, should nobody have masked them. */
	tm_out8(0x21, 0xff);
	tm_out8(0xa1, 0xff);
	tm_irq_cpu_init();
	present = true;
	return true;
}

bool tm_irq_present(void)
{
	return present;
}

void tm_irq_handle(uint32_t intid, tm_irq_fn fn, void *arg)
{
	uint32_t v = vector_of(intid);

	handlers[v].arg = arg;
	__atomic_store_n(&handlers[v].fn, fn, __ATOMIC_RELEASE);
}

void tm_irq_enable(uint32_t intid)
{
	off[vector_of(intid)] = false;
	if (intid == TM_IRQ_VTIMER) {
		tm_wrmsr(MSR_LVT_TIMER, TIMER_DEADLINE | TM_VECTOR_TIMER);
	}
}

/* A vector cannot be held back: what comes is counted and dropped. */
void tm_irq_disable(uint32_t intid)
{
	off[vector_of(intid)] = true;
	if (intid == TM_IRQ_VTIMER) {
		tm_wrmsr(MSR_LVT_TIMER, LVT_MASKED | TIMER_DEADLINE | TM_VECTOR_TIMER);
	}
}

/* Trigger mode and destination of a vector are its sender's business. */
void tm_irq_set_edge(uint32_t intid, bool edge)
{
	(void)intid, (void)edge;
}

void tm_irq_set_priority(uint32_t intid, uint8_t priority)
{
	(void)intid, (void)priority;
}

void tm_irq_route(uint32_t intid, uint32_t cpu)
{
	(void)intid, (void)cpu;
}

void tm_irq_set_pending(uint32_t intid)
{
	tm_wrmsr(MSR_SELF_IPI, vector_of(intid));
}

void tm_sgi_send(uint32_t cpu, uint32_t sgi)
{
	uint64_t v = ICR_ASSERT | vector_of(sgi & 15);

	tm_dmb();	/* WRMSR to the x2APIC does not order stores before it */
	v |= cpu == ~0u ? ICR_OTHERS : tm_boot.mpidr[cpu] << 32;
	tm_wrmsr(MSR_ICR, v);
}

uint64_t tm_irq_taken(void)
{
	return *(volatile uint64_t *)&this_cpu()->irqs;
}

void tm_irq_dispatch(uint32_t vector)
{
	tm_irq_fn fn = __atomic_load_n(&handlers[vector].fn, __ATOMIC_ACQUIRE);

	if (vector == TM_VECTOR_SPURIOUS) {
		return;		/* no EOI for it */
	}
	this_cpu()->irqs++;
	if (fn != NULL && !off[vector]) {
		fn(number_of(vector), handlers[vector].arg);
	}
	tm_wrmsr(MSR_EOI, 0);
}

static void ioapic_write(uint32_t reg, uint32_t v)
{
	tm_mmio_write32(IOAPIC, reg);
	tm_mmio_write32(IOAPIC_DATA, v);
}

void tm_ioapic_route(uint32_t gsi, uint32_t vector, uint32_t cpu, int level_triggered)
{
	uint64_t flags = tm_irq_save();

	if (gsi < IOAPIC_PINS && cpu < tm_boot.cpu_count) {
		tm_lock(&ioapic_lock);
		ioapic_write(IOAPIC_REDIR + gsi * 2 + 1, (uint32_t)tm_boot.mpidr[cpu] << 24);
		ioapic_write(IOAPIC_REDIR + gsi * 2, vector | (level_triggered ? REDIR_LEVEL : 0));
		tm_unlock(&ioapic_lock);
	}
	tm_irq_restore(flags);
}

void tm_ioapic_mask(uint32_t gsi)
{
	uint64_t flags = tm_irq_save();

	tm_lock(&ioapic_lock);
	ioapic_write(IOAPIC_REDIR + gsi * 2, REDIR_MASKED);
	tm_unlock(&ioapic_lock);
	tm_irq_restore(flags);
}
