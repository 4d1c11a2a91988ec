// SPDX-License-Identifier: Apache-2.0
/*
 * The board as a whole: its life, interrupt lines from outside, the doorbell, the PM timer. The
 * board lock guards what struct board says; the doorbell is one atomic word.
 */
#include "board_priv.h"

#include <arch/time.h>
#include <arch/vcpu.h>
#include <hyp/string.h>

#define DOORBELL_BOUND 0x10000u

uint64_t pm_ticks(const struct board *b)
{
	return b->pm_base + clock_floor(arch_time_now() - b->pm_start, PM_TIMER_HZ,
					arch_time_freq());
}

/* --- interrupt lines --- */

bool board_isa_locked(struct vm *vm, unsigned irq, bool level)
{
	bool taken = pic_line_locked(&vm->arch.board, irq, level);

	/* Interrupt 0 is pin 2 of the I/O APIC; pin 0 is nobody's. */
	return ioapic_line_locked(vm, irq ? irq : 2, level) || taken;
}

void board_isa(struct vm *vm, unsigned irq, bool level)
{
	spin_lock(&vm->arch.board.lock);
	(void)board_isa_locked(vm, irq, level);
	spin_unlock(&vm->arch.board.lock);
}

int arch_irq_line(struct vm *vm, uint64_t line, bool level)
{
	/* Pin 0 is nobody's, the 8254 and the UART drive theirs alone. */
	if (line == 0 || line == 2 || line == BOARD_COM1_IRQ || line >= BOARD_IOAPIC_PINS) {
		return -TM_EINVAL;
	}
	spin_lock(&vm->arch.board.lock);
	if (line < 16) {
		(void)board_isa_locked(vm, (unsigned)line, level);
	} else {
		(void)ioapic_line_locked(vm, (unsigned)line, level);
	}
	spin_unlock(&vm->arch.board.lock);
	return 0;
}

/* --- the doorbell: a vector to one of the manager's vCPUs --- */

int arch_doorbell_check(struct vm *vm, uint64_t vcpu, uint64_t vector)
{
	return vector >= APIC_VECTOR_MIN && vector <= 0xff && board_vcpu(vm, vcpu) ? 0 : -TM_EINVAL;
}

uint64_t arch_doorbell_bind(struct vm *vm, uint64_t vcpu, uint64_t vector)
{
	__atomic_store_n(&vm->arch.board.doorbell,
			 DOORBELL_BOUND | (uint32_t)(vcpu & 0xff) << 8 | (uint32_t)(vector & 0xff),
			 __ATOMIC_RELEASE);
	return vector;
}

void arch_doorbell_ring(struct vm *vm)
{
	uint32_t bell = __atomic_load_n(&vm->arch.board.doorbell, __ATOMIC_ACQUIRE);
	struct vcpu *v = bell & DOORBELL_BOUND ? board_vcpu(vm, bell >> 8 & 0xff) : NULL;

	/* Pended whatever its local APIC's state: a manager may map its events before it sets that up,
	 * and a bit that is set already rings no second time. */
	if (v) {
		(void)lapic_post(v, bell & 0xff, false);
	}
}

/* --- life --- */

static void reset_chips(struct board *b)
{
	spin_lock(&b->lock);
	ioapic_reset(b);
	pic_reset(b);
	pit_reset(b);
	b->cmos_index = 0;
	b->pm_enable = b->pm_control = 0;
	b->pm_start = arch_time_now();
	b->pm_base = 0;
	spin_unlock(&b->lock);
	__atomic_store_n(&b->doorbell, 0, __ATOMIC_RELEASE);
	uart_reset(&b->uart);
}

int board_init(struct vm *vm)
{
	struct board *b = &vm->arch.board;
	const struct mmio_region lapic = {
		.base = gpa(BOARD_LAPIC_BASE),
		.size = PAGE_SIZE,
		.name = "lapic",
		.access = lapic_mmio,
	};
	const struct mmio_region ioapic = {
		.base = gpa(BOARD_IOAPIC_BASE),
		.size = PAGE_SIZE,
		.name = "ioapic",
		.access = ioapic_mmio,
		.dev = b,
	};
	int err;

	memset(b, 0, sizeof(*b));
	spin_init(&b->lock, LOCK_BOARD);
	uart_init(&b->uart);
	b->pit.timer.fn = pit_fired;
	reset_chips(b);
	err = mmio_add(vm, &lapic);
	return err ? err : mmio_add(vm, &ioapic);
}

void board_reset(struct vm *vm)
{
	reset_chips(&vm->arch.board);
	for (unsigned i = 0; i < vm->vcpus_max; i++) {
		struct vcpu *v = board_vcpu(vm, i);

		if (v) {
			lapic_reset(v, false);
		}
	}
}

void board_destroy(struct vm *vm)
{
	struct board *b = &vm->arch.board;

	/* Nobody arms it again: the vCPUs are gone. */
	spin_lock(&b->lock);
	b->pit.ch[0].idle = 1;
	b->pit.next = 0;
	spin_unlock(&b->lock);
	hyptimer_cancel_wait(&b->pit.timer);
}
