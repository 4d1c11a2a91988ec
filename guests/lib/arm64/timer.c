// SPDX-License-Identifier: Apache-2.0
//
// The virtual timer (PPI 27). One shot, one user a CPU.

#include <tidemark/arm64.h>
#include <tidemark/irq.h>

#define DAIF_I 0x80u

uint64_t tm_timer_now(void)
{
	tm_isb();
	return tm_sysreg_read(cntvct_el0);
}

uint64_t tm_timer_freq(void)
{
	return tm_sysreg_read(cntfrq_el0);
}

void tm_timer_arm_at(uint64_t cval)
{
	tm_sysreg_write(cntv_cval_el0, cval);
	tm_sysreg_write(cntv_ctl_el0, 1);
	tm_isb();
}

void tm_timer_arm(uint64_t ticks)
{
	tm_timer_arm_at(tm_timer_now() + ticks);
}

void tm_timer_stop(void)
{
	tm_sysreg_write(cntv_ctl_el0, 0);
	tm_isb();
}

uint64_t tm_us_to_ticks(uint64_t us)
{
	uint64_t freq = tm_timer_freq();

	return us / 1000000 * freq + us % 1000000 * freq / 1000000;
}

uint64_t tm_ticks_to_us(uint64_t ticks)
{
	uint64_t freq = tm_timer_freq();

	return freq == 0 ? 0 : ticks / freq * 1000000 + ticks % freq * 1000000 / freq;
}

void tm_delay_us(uint64_t us)
{
	uint64_t start = tm_timer_now();
	uint64_t ticks = tm_us_to_ticks(us);

	while (tm_timer_now() - start < ticks) {
		tm_cpu_relax();
	}
}

void tm_sleep_us(uint64_t us)
{
	uint64_t daif = tm_irq_save();

	/* Masked: WFI ends on a pending interrupt all the same, and none is lost before it. */
	tm_timer_arm(tm_us_to_ticks(us));
	tm_wfi();
	tm_timer_stop();
	if ((daif & DAIF_I) != 0) {
		/* A hypervisor that has injected the timer's interrupt does not see it go, and it
		 * would end every later WFI at once. */
		tm_irq_consume(TM_IRQ_VTIMER);
	}
	tm_irq_restore(daif);
}
