// SPDX-License-Identifier: Apache-2.0
//
// What is measured on arm64 without anybody's help: calls, a distributor register, interrupts.

#include <stdbool.h>
#include <tidemark/arm64.h>
#include <tidemark/call.h>
#include <tidemark/guest.h>
#include <tidemark/irq.h>
#include "../ops.h"

bench_loop bench_hvc, bench_sgi_v2, bench_sgi_v3, bench_timer;

/* Vectors that acknowledge, stop the timer and note it; in place during SGI and timer loops. */
extern const char bench_vectors_v2[], bench_vectors_v3[];
extern uint64_t bench_gicc;

uint64_t bench_insns(uint64_t ticks)
{
	return ticks * 1000000000u / tm_timer_freq();
}

static void interrupts(void)
{
	uint64_t old = tm_sysreg_read(vbar_el1);
	bool v3 = tm_boot.gic_version == 3;
	uint64_t mpidr = tm_boot.mpidr[0];
	uint64_t sgir = (mpidr >> 32 & 0xff) << 48 | (mpidr >> 16 & 0xff) << 32 |
			(mpidr >> 8 & 0xff) << 16 | 1u << 24 | 1u << (mpidr & 15);
	uint64_t sgi;
	uint64_t timer;

	tm_irq_enable(1);
	bench_gicc = tm_boot.gicc.gpa;
	tm_sysreg_write(vbar_el1, (uintptr_t)(v3 ? bench_vectors_v3 : bench_vectors_v2));
	tm_isb();
	BENCH_OP(BENCH_OP_SGI_SELF);
	sgi = v3 ? bench_measure(bench_sgi_v3, sgir, 1) :
		   bench_measure(bench_sgi_v2, tm_boot.gicd.gpa + 0xf00, 1);
	BENCH_OP(BENCH_OP_TIMER_IRQ);
	timer = bench_measure(bench_timer, 0, 1);
	BENCH_OP(BENCH_OP_NONE);
	tm_sysreg_write(vbar_el1, old);
	tm_isb();
	bench_report("sgi_self", sgi);
	bench_report("timer_irq", timer);
}

void bench_alone(void)
{
	uint64_t value;

	BENCH_OP(BENCH_OP_HYPERCALL_NULL);
	value = bench_measure(bench_hvc, TM_SMCCC_FN(TM_HC_VERSION), 1);
	BENCH_OP(BENCH_OP_NONE);
	bench_report("hypercall_null", value);
	BENCH_OP(BENCH_OP_PSCI_VERSION);
	value = bench_measure(bench_hvc, TM_PSCI_VERSION, 1);
	BENCH_OP(BENCH_OP_NONE);
	bench_report("psci_version", value);
	if (tm_irq_init()) {
		BENCH_OP(BENCH_OP_GICD_TYPER_READ);
		value = bench_measure(bench_load32, tm_boot.gicd.gpa + 4, 0);
		BENCH_OP(BENCH_OP_NONE);
		bench_report("gicd_typer_read", value);
		interrupts();
	}
}
