// SPDX-License-Identifier: Apache-2.0
/*
 * The interrupt controller and the timer, as far as guest programs need them: GICv2/GICv3 and the
 * virtual timer; on x86 the local APIC in x2APIC mode, where numbers are as <tidemark/x86.h> says
 * and calls that only a GIC has do nothing.
 */
#ifndef TIDEMARK_IRQ_H
#define TIDEMARK_IRQ_H

#include <stdint.h>
#include <stdbool.h>

#define TM_IRQ_VTIMER 27u
#define TM_IRQ_NONE 1023u

typedef void (*tm_irq_fn)(uint32_t intid, void *arg);

/* Distributor and this CPU. false: the tree has no interrupt controller that we know. */
bool tm_irq_init(void);
/* There is one that tm_irq_init() knows (x86: and it has run). */
bool tm_irq_present(void);
/* The part of a secondary CPU. */
void tm_irq_cpu_init(void);
/* All CPUs share the handlers. An interrupt without one is disabled when it comes. */
void tm_irq_handle(uint32_t intid, tm_irq_fn fn, void *arg);
void tm_irq_enable(uint32_t intid);	/* SGI and PPI: on this CPU */
void tm_irq_disable(uint32_t intid);
void tm_irq_set_edge(uint32_t intid, bool edge);
void tm_irq_set_priority(uint32_t intid, uint8_t priority);
void tm_irq_route(uint32_t intid, uint32_t cpu);	/* an SPI, to a CPU index */
void tm_irq_set_pending(uint32_t intid);
/* sgi 0..15 to one CPU (by index) or, with ~0, to all others. */
void tm_sgi_send(uint32_t cpu, uint32_t sgi);
/* arm64, by hand, with interrupts masked: acknowledge (TM_IRQ_NONE: nothing) and finish. */
uint32_t tm_irq_ack(void);
void tm_irq_eoi(uint32_t iar);
/* arm64, with interrupts masked: acknowledges and ends intid if it is the next one, without its
 * handler. */
bool tm_irq_consume(uint32_t intid);
/* Interrupts taken by this CPU through the vector. */
uint64_t tm_irq_taken(void);

uint64_t tm_timer_now(void);		/* CNTVCT after an ISB; TSC after an LFENCE */
uint64_t tm_timer_freq(void);
void tm_timer_arm(uint64_t ticks);	/* one shot from now on this CPU */
void tm_timer_arm_at(uint64_t cval);
void tm_timer_stop(void);
uint64_t tm_us_to_ticks(uint64_t us);
uint64_t tm_ticks_to_us(uint64_t ticks);
void tm_delay_us(uint64_t us);		/* spins */
/* WFI (HLT) until `us` passed or any enabled interrupt is pending; tm_irq_init must have run. */
void tm_sleep_us(uint64_t us);

#endif
