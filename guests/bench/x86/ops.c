// SPDX-License-Identifier: Apache-2.0
//
// What is measured on x86 without anybody's help: a call, CPUID, a port, the local APIC, interrupts.

#include <tidemark/call.h>
#include <tidemark/guest.h>
#include <tidemark/irq.h>
#include <tidemark/x86.h>
#include "../ops.h"

#define PORT_OF_NOBODY 0x1234u
#define MSR_TPR 0x808u
#define VECTOR 0x60u		/* of both interrupts; bench_gate is in place of its stub */
#define LVT_DEADLINE 0x40000u

bench_loop bench_vmcall, bench_vmmcall, bench_cpuid, bench_port, bench_wrmsr, bench_self_ipi,
	bench_timer;
extern const char bench_gate[];

/* The TSC counts instructions where this is of any use. */
uint64_t bench_insns(uint64_t ticks)
{
	return ticks;
}

/* The vector's gate, which the library has filled; as SDM volume 3, 6.14.1. */
static void set_gate(void)
{
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) idtr;
	uint64_t at = (uint64_t)(uintptr_t)bench_gate;
	uint64_t *gate;

	__asm__ volatile("sidt %0" : "=m"(idtr));
	gate = (uint64_t *)(uintptr_t)(idtr.base + VECTOR * 16);
	gate[0] = (gate[0] & 0x0000ffffffff0000u) | (at & 0xffff) | (at >> 16 & 0xffff) << 48;
	gate[1] = at >> 32;
}

static void interrupts(void)
{
	uint64_t value;

	set_gate();
	BENCH_OP(BENCH_OP_SGI_SELF);
	value = bench_measure(bench_self_ipi, VECTOR, 1);
	BENCH_OP(BENCH_OP_NONE);
	bench_report("sgi_self", value);
	tm_wrmsr(0x832, LVT_DEADLINE | VECTOR);
	tm_dmb();
	BENCH_OP(BENCH_OP_TIMER_IRQ);
	value = bench_measure(bench_timer, 0, 1);
	BENCH_OP(BENCH_OP_NONE);
	tm_wrmsr(0x832, LVT_DEADLINE | TM_VECTOR_TIMER);
	bench_report("timer_irq", value);
}

void bench_alone(void)
{
	uint64_t value;

	BENCH_OP(BENCH_OP_HYPERCALL_NULL);
	value = bench_measure(tm_call_is_vmmcall() ? bench_vmmcall : bench_vmcall, TM_HC_VERSION, 1);
	BENCH_OP(BENCH_OP_NONE);
	bench_report("hypercall_null", value);
	BENCH_OP(BENCH_OP_CPUID);
	value = bench_measure(bench_cpuid, 0, 2);
	BENCH_OP(BENCH_OP_NONE);
	bench_report("cpuid", value);
	BENCH_OP(BENCH_OP_PORT_READ);
	value = bench_measure(bench_port, PORT_OF_NOBODY, 0);
	BENCH_OP(BENCH_OP_NONE);
	bench_report("port_read", value);
	if (tm_irq_init()) {
		BENCH_OP(BENCH_OP_APIC_WRITE);
		value = bench_measure(bench_wrmsr, MSR_TPR, 0);
		BENCH_OP(BENCH_OP_NONE);
		bench_report("apic_write", value);
		interrupts();
	}
}
