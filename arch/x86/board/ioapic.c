// SPDX-License-Identifier: Apache-2.0
/*
 * The I/O APIC: an 82093AA of 24 pins with the EOI register of version 0x20. All under the board
 * lock. A pin's polarity is taken for what its device means by it: lines are "asserted" or not.
 * An edge that finds its pin masked is lost, as in hardware.
 */
#include "board_priv.h"

#define REG_ID 0u
#define REG_VERSION 1u
#define REG_ARBITRATION 2u
#define REG_REDIR 0x10u
#define SELECT 0x00u
#define WINDOW 0x10u
#define EOI 0x40u
#define VERSION (0x20u | (BOARD_IOAPIC_PINS - 1) << 16)

#define REDIR_LOGICAL 0x800ull
#define REDIR_STATUS 0x1000ull
#define REDIR_REMOTE_IRR 0x4000ull
#define REDIR_LEVEL 0x8000ull
#define REDIR_MASKED 0x10000ull
#define REDIR_VALID 0xff0000000001afffull	/* what software writes */

void ioapic_reset(struct board *b)
{
	b->ioapic_id = 0;
	b->ioapic_select = 0;
	b->lines = 0;
	for (unsigned i = 0; i < BOARD_IOAPIC_PINS; i++) {
		b->redir[i] = REDIR_MASKED;
	}
}

bool ioapic_pin_masked(const struct board *b, unsigned pin)
{
	return b->redir[index_nospec(pin, BOARD_IOAPIC_PINS)] & REDIR_MASKED;
}

static bool deliver(struct vm *vm, unsigned pin)
{
	uint64_t *e = &vm->arch.board.redir[pin];
	struct apic_msg m = {
		.dest = (uint32_t)(*e >> 56),
		.vector = (uint8_t)*e,
		.mode = *e >> 8 & 7,
		.logical = *e & REDIR_LOGICAL,
		.level = *e & REDIR_LEVEL,
	};
	struct apic_sent sent;

	if (m.mode != APIC_FIXED && m.mode != APIC_LOWEST && m.mode != APIC_NMI) {
		return false;
	}
	sent = apic_send(vm, NULL, &m);
	if (m.level && m.mode != APIC_NMI && sent.accepted) {
		*e |= REDIR_REMOTE_IRR;
	}
	return sent.fresh;
}

/* A level that is up and not in service yet. */
static bool service_level(struct vm *vm, unsigned pin)
{
	const struct board *b = &vm->arch.board;
	uint64_t e = b->redir[pin];

	return (b->lines >> pin & 1) && (e & REDIR_LEVEL) &&
	       !(e & (REDIR_MASKED | REDIR_REMOTE_IRR)) && deliver(vm, pin);
}

bool ioapic_line_locked(struct vm *vm, unsigned pin, bool level)
{
	struct board *b = &vm->arch.board;
	uint32_t bit, was;

	pin = (unsigned)index_nospec(pin, BOARD_IOAPIC_PINS);
	bit = 1u << pin;
	was = b->lines & bit;
	b->lines = level ? b->lines | bit : b->lines & ~bit;
	if (!level) {
		return false;
	}
	if (b->redir[pin] & REDIR_LEVEL) {
		return service_level(vm, pin);
	}
	return !was && !(b->redir[pin] & REDIR_MASKED) && deliver(vm, pin);
}

static void eoi_locked(struct vm *vm, unsigned vector)
{
	struct board *b = &vm->arch.board;

	for (unsigned i = 0; i < BOARD_IOAPIC_PINS; i++) {
		uint64_t want = REDIR_LEVEL | REDIR_REMOTE_IRR;

		if ((b->redir[i] & want) == want && (b->redir[i] & 0xff) == vector) {
			b->redir[i] &= ~REDIR_REMOTE_IRR;
			(void)service_level(vm, i);
		}
	}
}

void ioapic_eoi(struct vm *vm, unsigned vector)
{
	spin_lock(&vm->arch.board.lock);
	eoi_locked(vm, vector);
	spin_unlock(&vm->arch.board.lock);
}

static uint32_t reg_read(const struct board *b)
{
	uint32_t reg = b->ioapic_select, n = reg - REG_REDIR;

	if (reg == REG_ID || reg == REG_ARBITRATION) {
		return b->ioapic_id;
	}
	if (reg == REG_VERSION) {
		return VERSION;
	}
	if (n < 2 * BOARD_IOAPIC_PINS) {
		n = (uint32_t)index_nospec(n, 2 * BOARD_IOAPIC_PINS);
		return (uint32_t)(b->redir[n / 2] >> (n & 1 ? 32 : 0));
	}
	return 0;
}

static void redir_write(struct vm *vm, unsigned n, uint32_t val)
{
	struct board *b = &vm->arch.board;
	uint64_t *e = &b->redir[n / 2];
	uint64_t half = n & 1 ? 0xffffffffull << 32 : 0xffffffffull;
	uint64_t now = (uint64_t)val << (n & 1 ? 32 : 0);

	half &= REDIR_VALID;
	*e = (*e & ~half) | (now & half);
	if (!(*e & REDIR_LEVEL)) {
		*e &= ~REDIR_REMOTE_IRR;
	}
	(void)service_level(vm, n / 2);
	if (n / 2 == 2) {
		pit_listen(b);
	}
}

static void reg_write(struct vm *vm, uint32_t val)
{
	struct board *b = &vm->arch.board;
	uint32_t n = b->ioapic_select - REG_REDIR;

	if (b->ioapic_select == REG_ID) {
		b->ioapic_id = val & 0x0f000000u;
	} else if (n < 2 * BOARD_IOAPIC_PINS) {
		redir_write(vm, (unsigned)index_nospec(n, 2 * BOARD_IOAPIC_PINS), val);
	}
}

void ioapic_mmio(struct vcpu *v, void *dev, struct mmio_access *a)
{
	struct board *b = dev;
	unsigned reg = (unsigned)a->offset & 0xff;
	uint32_t val = (uint32_t)a->data;

	/* Whole registers, but the select register's one byte is often written as a byte. */
	if (a->offset > 0xff || (a->write && reg != SELECT && a->len < 4)) {
		a->data = 0;
		return;
	}
	spin_lock(&b->lock);
	if (!a->write) {
		a->data = reg == SELECT ? b->ioapic_select : reg == WINDOW ? reg_read(b) : 0;
	} else if (reg == SELECT) {
		b->ioapic_select = val & 0xff;
	} else if (reg == WINDOW) {
		reg_write(v->vm, val);
	} else if (reg == EOI) {
		eoi_locked(v->vm, val & 0xff);
	}
	spin_unlock(&b->lock);
}
