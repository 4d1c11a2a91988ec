// SPDX-License-Identifier: Apache-2.0
//
// Device state on arm64: tm_regs, tm_timer_state, tm_gic_state, tm_uart_state. No state of its own.

#if defined(__aarch64__)

#include <stdio.h>
#include <string.h>

#include <tidemark/arm64.h>
#include <tidemark/call.h>
#include <tidemark/irq.h>

#include "hv.h"
#include "hv_arch.h"

// CNTV_CTL_EL0.ISTATUS, bit 2, is the comparison's result, not state (Arm ARM D13.8.17).
#define CTL_STATE 3u

uint32_t hv_arch(void)
{
	return SNAP_ARCH_ARM64;
}

void hv_cpu_features(uint64_t feature[SNAP_FEATURES])
{
	feature[0] = tm_sysreg_read(id_aa64pfr0_el1);
	feature[1] = tm_sysreg_read(id_aa64pfr1_el1);
	feature[2] = tm_sysreg_read(id_aa64isar0_el1);
	feature[3] = tm_sysreg_read(id_aa64isar1_el1);
	feature[4] = tm_sysreg_read(id_aa64mmfr0_el1);
	feature[5] = tm_sysreg_read(id_aa64mmfr1_el1);
	feature[6] = tm_sysreg_read(s3_0_c0_c7_2); /* ID_AA64MMFR2_EL1 */
	feature[7] = 0;
}

// The VM may run with its MMU off, so data goes to the point of coherency, not of unification.
void hv_sync_code(const void *at, size_t length)
{
	tm_cache_clean(at, length);
	__asm__ volatile("ic ialluis\n\tdsb ish\n\tisb" : : : "memory");
}

static size_t gic_size(const struct tm_gic_state *g)
{
	uint64_t size = sizeof(*g) + (uint64_t)g->irq_count * sizeof(struct tm_gic_irq) +
			(uint64_t)g->cpu_count * sizeof(struct tm_gic_cpu);

	return size <= HV_STATE_MAX ? size : HV_STATE_MAX;
}

int hv_state_get(uint32_t vm, uint32_t type, uint32_t id, void *buf, size_t size, size_t *used)
{
	int err = -TM_EINVAL;

	memset(buf, 0, size);
	switch (type) {
	case SNAP_VCPU:
		*used = sizeof(struct tm_regs);
		return tm_vcpu_regs_get(vm, id, buf);
	case SNAP_TIMER:
		*used = sizeof(struct tm_timer_state);
		return tm_timer_state(vm, id, TM_STATE_GET, buf);
	case SNAP_UART:
		*used = sizeof(struct tm_uart_state);
		return tm_uart_state(vm, TM_STATE_GET, buf);
	case SNAP_IRQCHIP:
		err = tm_gic_state(vm, TM_STATE_GET, buf, size);
		*used = err == 0 ? gic_size(buf) : 0;
		return err;
	default:
		return err;
	}
}

int hv_state_set(uint32_t vm, uint32_t type, uint32_t id, const void *buf, size_t size)
{
	union {
		struct tm_regs regs;
		struct tm_timer_state timer;
		struct tm_uart_state uart;
	} state;

	if (type == SNAP_IRQCHIP) {
		const struct tm_gic_state *g = buf;

		if (size < sizeof(*g) || gic_size(g) != size) {
			return -TM_EINVAL;
		}
		return tm_gic_state(vm, TM_STATE_SET, (struct tm_gic_state *)(uintptr_t)buf, size);
	}
	if (size > sizeof(state)) {
		return -TM_EINVAL;
	}
	memset(&state, 0, sizeof(state));
	memcpy(&state, buf, size);
	switch (type) {
	case SNAP_VCPU:
		return size == sizeof(state.regs) ? tm_vcpu_regs_set(vm, id, &state.regs) : -TM_EINVAL;
	case SNAP_TIMER:
		return size == sizeof(state.timer) ?
			       tm_timer_state(vm, id, TM_STATE_SET, &state.timer) : -TM_EINVAL;
	case SNAP_UART:
		return size == sizeof(state.uart) ? tm_uart_state(vm, TM_STATE_SET, &state.uart) :
						    -TM_EINVAL;
	default:
		return -TM_EINVAL;
	}
}

static bool timer_equal(const struct tm_timer_state *a, const struct tm_timer_state *b,
			uint64_t elapsed, char *why, size_t why_size)
{
	if (b->cntvct < a->cntvct || b->cntvct - a->cntvct > elapsed) {
		snprintf(why, why_size, "CNTVCT %lx was %lx", (unsigned long)b->cntvct,
			 (unsigned long)a->cntvct);
		return false;
	}
	if (a->cntv_cval != b->cntv_cval || a->cntp_cval != b->cntp_cval ||
	    (a->cntv_ctl & CTL_STATE) != (b->cntv_ctl & CTL_STATE) ||
	    (a->cntp_ctl & CTL_STATE) != (b->cntp_ctl & CTL_STATE)) {
		snprintf(why, why_size, "CNTV_CVAL %lx CTL %x was %lx %x",
			 (unsigned long)b->cntv_cval, (unsigned)b->cntv_ctl,
			 (unsigned long)a->cntv_cval, (unsigned)a->cntv_ctl);
		return false;
	}
	return true;
}

// Only for the message: which part of the state the first differing byte is in.
static void name_regs(size_t at, const void *saved, char *why, size_t why_size)
{
	const struct tm_regs *r = saved;
	size_t sys = offsetof(struct tm_regs, sys);

	if (at < offsetof(struct tm_regs, sp_el0)) {
		snprintf(why, why_size, "x%u", (unsigned)(at / 8));
	} else if (at >= sys && at < sys + sizeof(r->sys)) {
		snprintf(why, why_size, "system register %x",
			 (unsigned)r->sys[(at - sys) / sizeof(r->sys[0])].id);
	} else {
		snprintf(why, why_size, "byte %u of the registers", (unsigned)at);
	}
}

// Time goes on between setting a timer and reading the GIC: the line of a timer interrupt (virtual
// 27, physical 30) may have come up meanwhile. The timers themselves are compared on their own.
static bool timer_line_rose(const struct tm_gic_irq *a, const struct tm_gic_irq *b)
{
	struct tm_gic_irq line = *a;

	line.flags |= TM_GIC_LINE;
	return (a->intid == 27 || a->intid == 30) && memcmp(&line, b, sizeof(line)) == 0;
}

static bool gic_equal(const struct tm_gic_state *a, const struct tm_gic_state *b, size_t size,
		      size_t *at)
{
	const struct tm_gic_irq *ra = (const struct tm_gic_irq *)(a + 1);
	const struct tm_gic_irq *rb = (const struct tm_gic_irq *)(b + 1);
	const uint8_t *bytes_a = (const uint8_t *)a;
	const uint8_t *bytes_b = (const uint8_t *)b;
	size_t rows_end;

	// Sizes are those of the counts: hv_state_set refused anything else.
	for (*at = 0; *at < sizeof(*a); (*at)++) {
		if (bytes_a[*at] != bytes_b[*at]) {
			return false;
		}
	}
	for (uint32_t i = 0; i < a->irq_count; i++) {
		*at = sizeof(*a) + i * sizeof(*ra);
		if (memcmp(&ra[i], &rb[i], sizeof(*ra)) != 0 && !timer_line_rose(&ra[i], &rb[i])) {
			return false;
		}
	}
	rows_end = sizeof(*a) + a->irq_count * sizeof(*ra);
	for (*at = rows_end; *at < size; (*at)++) {
		if (bytes_a[*at] != bytes_b[*at]) {
			return false;
		}
	}
	return true;
}

static void name_gic(size_t at, const void *saved, const void *now, char *why, size_t why_size)
{
	const struct tm_gic_state *g = saved;
	const struct tm_gic_irq *a = (const struct tm_gic_irq *)(g + 1);
	const struct tm_gic_irq *b =
		(const struct tm_gic_irq *)((const struct tm_gic_state *)now + 1);
	size_t row = at < sizeof(*g) ? g->irq_count : (at - sizeof(*g)) / sizeof(*a);

	if (row < g->irq_count) {
		snprintf(why, why_size, "INTID %u cpu %u flags %x prio %x, was %u %u %x %x",
			 (unsigned)b[row].intid, (unsigned)b[row].cpu, (unsigned)b[row].flags,
			 (unsigned)b[row].priority, (unsigned)a[row].intid, (unsigned)a[row].cpu,
			 (unsigned)a[row].flags, (unsigned)a[row].priority);
	} else {
		snprintf(why, why_size, "byte %u of the GIC", (unsigned)at);
	}
}

bool hv_state_equal(uint32_t type, const void *saved, const void *now, size_t size,
		    uint64_t elapsed, char *why, size_t why_size)
{
	const uint8_t *a = saved;
	const uint8_t *b = now;
	size_t at;

	if (type == SNAP_TIMER) {
		return timer_equal(saved, now, elapsed, why, why_size);
	}
	if (type == SNAP_IRQCHIP) {
		if (gic_equal(saved, now, size, &at)) {
			return true;
		}
		name_gic(at, saved, now, why, why_size);
		return false;
	}
	for (size_t i = 0; i < size; i++) {
		if (a[i] == b[i]) {
			continue;
		}
		if (type == SNAP_VCPU) {
			name_regs(i, saved, why, why_size);
		} else {
			snprintf(why, why_size, "byte %u", (unsigned)i);
		}
		return false;
	}
	return true;
}

int hv_arch_show_vcpu(uint32_t vm, uint32_t id)
{
	static struct tm_regs regs;
	int err;

	memset(&regs, 0, sizeof(regs));
	err = tm_vcpu_regs_get(vm, id, &regs);
	if (err == 0) {
		printf("  vcpu %u: pc %016lx sp %016lx lr %016lx pstate %08lx power %s\n",
		       (unsigned)id, (unsigned long)regs.pc, (unsigned long)regs.sp_el1,
		       (unsigned long)regs.x[30], (unsigned long)regs.pstate,
		       regs.powered_on != 0 ? "on" : "off");
	}
	return err;
}

// Under QEMU -icount shift=0 one instruction is one nanosecond.
uint64_t hv_arch_insns(uint64_t ticks)
{
	uint64_t freq = tm_timer_freq();

	return freq == 0 ? 0 : ticks / freq * 1000000000u + ticks % freq * 1000000000u / freq;
}

#endif
