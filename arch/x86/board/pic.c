// SPDX-License-Identifier: Apache-2.0
/*
 * Two 8259A in cascade (Intel 231468) with the edge/level control registers of the PIIX. All under
 * the board lock; `pic_out`, the first one's INT, is also read without it. The second one's INT is a
 * level into pin 2 of the first.
 */
#include "board_priv.h"

#include <hyp/sched.h>

#define CASCADE 2u
#define ICW4_AUTO_EOI 0x02u
#define ICW4_NESTED 0x10u	/* special fully nested mode */
#define INIT_ICW4 1u
#define INIT_SINGLE 2u
#define POLL_INT 0x80u

static const uint8_t elcr_valid[2] = {0xf8, 0xde};

void pic_reset(struct board *b)
{
	for (unsigned i = 0; i < 2; i++) {
		b->pic[i] = (struct tm_board_pic){.imr = 0xff};
	}
	WRITE_ONCE(b->pic_out, false);
}

/* How far a set's most urgent interrupt is from the front; 8: none. */
static unsigned urgency(const struct tm_board_pic *p, uint8_t set)
{
	unsigned front = p->priority & 7;
	unsigned turned = (set >> front | (unsigned)set << (8 - front)) & 0xff;

	return turned ? (unsigned)__builtin_ctz(turned) : 8;
}

/* The interrupt that it signals, or -1. */
static int signalled(const struct board *b, unsigned n)
{
	const struct tm_board_pic *p = &b->pic[n];
	unsigned want = urgency(p, (uint8_t)(p->irr & ~p->imr));
	uint8_t busy = p->isr;

	if (p->special_mask) {
		busy &= (uint8_t)~p->imr;
	}
	if (n == 0 && (p->icw4 & ICW4_NESTED)) {
		busy &= (uint8_t)~(1u << CASCADE);
	}
	return want < urgency(p, busy) ? (int)((want + p->priority) & 7) : -1;
}

static void kick(struct board *b)
{
	struct vm *vm = board_vm(b);

	for (unsigned i = 0; i < vm->vcpus_max; i++) {
		struct vcpu *v = board_vcpu(vm, i);

		if (v && v != vcpu_current() && lapic_takes_extint(v)) {
			vcpu_irq_kick(v);
		}
	}
}

void pic_update(struct board *b)
{
	struct tm_board_pic *p = &b->pic[0];
	bool out;

	p->irr = (uint8_t)(p->irr & ~(1u << CASCADE));
	if (signalled(b, 1) >= 0) {
		p->irr |= 1u << CASCADE;
	}
	out = signalled(b, 0) >= 0;
	if (out != b->pic_out) {
		WRITE_ONCE(b->pic_out, out);
		if (out) {
			kick(b);
		}
	}
}

/* Returns whether something is pending that was not. */
bool pic_line_locked(struct board *b, unsigned irq, bool level)
{
	struct tm_board_pic *p = &b->pic[irq >> 3 & 1];
	uint8_t bit = (uint8_t)(1u << (irq & 7)), was = p->irr;

	if (irq == CASCADE || irq > 15) {
		return false;
	}
	if (p->elcr & bit) {
		p->irr = (uint8_t)(level ? p->irr | bit : p->irr & ~bit);
	} else if (level && !(p->lines & bit)) {
		p->irr |= bit;
	}
	p->lines = (uint8_t)(level ? p->lines | bit : p->lines & ~bit);
	pic_update(b);
	return (p->irr & ~was) & ~p->imr;
}

/* The acknowledge cycle of one of them. */
static void acknowledge(struct tm_board_pic *p, unsigned irq)
{
	uint8_t bit = (uint8_t)(1u << (irq & 7));

	if (!p->auto_eoi) {
		p->isr |= bit;
	} else if (p->rotate) {
		p->priority = (uint8_t)((irq + 1) & 7);
	}
	if (!(p->elcr & bit)) {
		p->irr &= (uint8_t)~bit;
	}
}

int pic_peek(const struct board *b)
{
	int irq = signalled(b, 0);

	if (irq == (int)CASCADE) {
		int second = signalled(b, 1);

		return b->pic[1].base | (second < 0 ? 7 : second);
	}
	return irq < 0 ? -1 : b->pic[0].base | irq;
}

int pic_accept(struct board *b)
{
	int vector = pic_peek(b), irq = signalled(b, 0);

	if (irq < 0) {
		return -1;
	}
	if (irq == (int)CASCADE) {
		int second = signalled(b, 1);

		if (second >= 0) {
			acknowledge(&b->pic[1], (unsigned)second);
		}
	}
	acknowledge(&b->pic[0], (unsigned)irq);
	pic_update(b);
	return vector;
}

/* --- ports --- */

static void icw1(struct tm_board_pic *p, uint8_t val)
{
	uint8_t lines = p->lines, elcr = p->elcr, base = p->base;

	/* Edges that came before are forgotten; levels stand there still. */
	*p = (struct tm_board_pic){
		.lines = lines,
		.elcr = elcr,
		.base = base,
		.irr = lines & elcr,
		.icw_step = 1,
		.init = (uint8_t)((val & 1 ? INIT_ICW4 : 0) | (val & 2 ? INIT_SINGLE : 0)),
	};
}

static void ocw2(struct tm_board_pic *p, uint8_t val)
{
	unsigned command = val >> 5, irq = val & 7;
	bool specific = command & 2;

	if (!(command & 1)) {
		if (command == 6) {
			p->priority = (uint8_t)((irq + 1) & 7);
		} else if (command != 2) {
			p->rotate = command == 4;	/* in automatic EOI */
		}
		return;
	}
	if (!specific) {
		unsigned u = urgency(p, p->special_mask ? p->isr & (uint8_t)~p->imr : p->isr);

		if (u == 8) {
			return;
		}
		irq = (u + p->priority) & 7;
	}
	p->isr &= (uint8_t)~(1u << irq);
	if (command & 4) {
		p->priority = (uint8_t)((irq + 1) & 7);
	}
}

static void ocw3(struct tm_board_pic *p, uint8_t val)
{
	p->poll = val >> 2 & 1;
	if (val & 2) {
		p->read_isr = val & 1;
	}
	if (val & 0x40) {
		p->special_mask = val >> 5 & 1;
	}
}

static void data_write(struct tm_board_pic *p, uint8_t val)
{
	switch (p->icw_step) {
	case 1:
		p->base = val & 0xf8;
		p->icw_step = !(p->init & INIT_SINGLE) ? 2 : p->init & INIT_ICW4 ? 3 : 0;
		break;
	case 2:
		p->icw_step = p->init & INIT_ICW4 ? 3 : 0;
		break;
	case 3:
		p->icw4 = val & (ICW4_NESTED | ICW4_AUTO_EOI | 1);
		p->auto_eoi = !!(val & ICW4_AUTO_EOI);
		p->icw_step = 0;
		break;
	default:
		p->imr = val;
		break;
	}
}

/* 0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1 */
void pic_write(struct board *b, uint16_t port, uint8_t val)
{
	unsigned n = port >> 8 ? port & 1 : port >> 7;
	struct tm_board_pic *p = &b->pic[n & 1];

	if (port >> 8) {
		p->elcr = val & elcr_valid[n & 1];
		p->irr |= p->lines & p->elcr;
	} else if (port & 1) {
		data_write(p, val);
	} else if (val & 0x10) {
		icw1(p, val);
	} else if (val & 8) {
		ocw3(p, val);
	} else {
		ocw2(p, val);
	}
	pic_update(b);
	if (n == 0) {
		pit_listen(b);
	}
}

uint8_t pic_read(struct board *b, uint16_t port)
{
	unsigned n = port >> 8 ? port & 1 : port >> 7;
	struct tm_board_pic *p = &b->pic[n & 1];
	int irq;

	if (port >> 8) {
		return p->elcr;
	}
	if (p->poll) {
		/* A read after the poll command is its acknowledge cycle. */
		irq = signalled(b, n & 1);
		p->poll = 0;
		if (irq < 0) {
			return 0;
		}
		acknowledge(p, (unsigned)irq);
		pic_update(b);
		return (uint8_t)(POLL_INT | (unsigned)irq);
	}
	return port & 1 ? p->imr : p->read_isr ? p->isr : p->irr;
}
