// SPDX-License-Identifier: Apache-2.0
/*
 * The 8254 timer (Intel 231164). Counters are computed from the time that passed; only channel 0's
 * output has a soft timer, and only while its interrupt is unmasked somewhere. Channel 2 is gated
 * and read through port 0x61; channel 1 counts for nobody. All under the board lock.
 *
 * A mode that fires again and again does so at TIMER_MIN_HZ at most, and far more slowly when
 * nobody has taken the last interrupt: a VM that stands still costs little.
 */
#include "board_priv.h"

#include <arch/time.h>

#define PORT0 0x40u
#define CONTROL 0x43u
#define IDLE_HZ 1000u
#define LATCHED_LOW 1u
#define LATCHED_HIGH 2u
#define LATCHED_STATUS 4u
#define STATUS_OUT 0x80u
#define STATUS_NULL 0x40u
#define ACCESS_LOW 1u
#define ACCESS_HIGH 2u

void pit_reset(struct board *b)
{
	struct board_pit *p = &b->pit;

	hyptimer_cancel(&p->timer);
	for (unsigned i = 0; i < 3; i++) {
		p->ch[i] = (struct tm_board_pit){
			.access = ACCESS_LOW | ACCESS_HIGH,
			.gate = i != 2,
			.idle = 1,
		};
		p->since[i] = 0;
	}
	p->next = 0;
	b->port61 = 0;
}

/* --- counting --- */

static bool frozen(const struct tm_board_pit *c)
{
	return c->idle || !c->gate;
}

/* arch_time_now() ticks that the channel has counted. */
uint64_t pit_elapsed(const struct board_pit *p, unsigned ch)
{
	return frozen(&p->ch[ch]) ? p->since[ch] : arch_time_now() - p->since[ch];
}

static uint64_t ticks(const struct board_pit *p, unsigned ch)
{
	return clock_floor(pit_elapsed(p, ch), PIT_HZ, arch_time_freq());
}

static unsigned from_bcd(unsigned v)
{
	return (v >> 12) * 1000 + (v >> 8 & 15) * 100 + (v >> 4 & 15) * 10 + (v & 15);
}

static unsigned to_bcd(unsigned v)
{
	return (v / 1000 % 10) << 12 | (v / 100 % 10) << 8 | (v / 10 % 10) << 4 | v % 10;
}

/* The initial count in ticks: 1 .. 65536. */
static unsigned reload(const struct tm_board_pit *c)
{
	unsigned n = c->bcd ? from_bcd(c->count) : c->count;

	return n ? n : c->bcd ? 10000u : 65536u;
}

/* Modes 2 and 3 begin anew by themselves. */
static bool periodic(const struct tm_board_pit *c)
{
	return c->mode == 2 || c->mode == 3;
}

static uint16_t counter(const struct board_pit *p, unsigned ch)
{
	const struct tm_board_pit *c = &p->ch[ch];
	uint64_t d = ticks(p, ch);
	unsigned n = reload(c), left;

	if (c->mode == 3) {
		/* Two by two, twice in a period. */
		left = n - (unsigned)(2 * (d % n) % n);
		left &= n & 1 ? ~0u : ~1u;
	} else if (c->mode == 2) {
		left = n - (unsigned)(d % n);
	} else {
		/* Past zero it goes on from the top. */
		left = c->bcd ? (n + 10000u - (unsigned)(d % 10000u)) % 10000u : n - (unsigned)d;
	}
	return (uint16_t)(c->bcd ? to_bcd(left % 10000u) : left);
}

static bool output(const struct board_pit *p, unsigned ch)
{
	const struct tm_board_pit *c = &p->ch[ch];
	uint64_t d = ticks(p, ch);
	unsigned n = reload(c);

	if (c->idle) {
		return c->mode != 0;
	}
	switch (c->mode) {
	case 0:
	case 1:
		return d >= n;
	case 2:
		return !c->gate || d % n != n - 1;
	case 3:
		return !c->gate || d % n < (n + 1) / 2;
	default:
		return d != n;
	}
}

/* --- channel 0's interrupt --- */

static bool listened(const struct board *b)
{
	return !b->pit.ch[0].idle && (!(b->pic[0].imr & 1) || !ioapic_pin_masked(b, 2));
}

/* When the output rises next, or 0: not at all. */
static uint64_t next_edge(const struct board_pit *p)
{
	const struct tm_board_pit *c = &p->ch[0];
	uint64_t d = ticks(p, 0), n = reload(c), at = n;

	if (periodic(c)) {
		at = (d / n + 1) * n;
	} else if (c->mode >= 4) {
		at = n + 1;		/* the strobe's end */
	}
	return d < at ? p->since[0] + clock_ceil(at, arch_time_freq(), PIT_HZ) : 0;
}

static void arm(struct board_pit *p, uint64_t min_hz)
{
	uint64_t soonest = arch_time_now() + arch_time_freq() / min_hz;

	p->next = next_edge(p);
	if (!p->next) {
		hyptimer_cancel(&p->timer);
		return;
	}
	if (periodic(&p->ch[0])) {
		p->next = MAX(p->next, soonest);
	}
	hyptimer_arm(&p->timer, p->next);
}

static void disarm(struct board_pit *p)
{
	if (p->next) {
		p->next = 0;
		hyptimer_cancel(&p->timer);
	}
}

void pit_listen(struct board *b)
{
	if (!listened(b)) {
		disarm(&b->pit);
	} else if (!b->pit.next) {
		arm(&b->pit, TIMER_MIN_HZ);
	}
}

void pit_fired(struct hyptimer *t)
{
	struct board *b = container_of(t, struct board, pit.timer);
	struct board_pit *p = &b->pit;

	spin_lock(&b->lock);
	if (!p->next || !listened(b)) {
		p->next = 0;
	} else if (arch_time_now() < p->next) {
		/* Programmed anew since this call was under way. */
		hyptimer_arm(&p->timer, p->next);
	} else {
		bool taken = board_isa_locked(board_vm(b), 0, true);

		(void)board_isa_locked(board_vm(b), 0, false);
		arm(p, taken ? TIMER_MIN_HZ : IDLE_HZ);
	}
	spin_unlock(&b->lock);
}

/* --- ports --- */

static void start(struct board *b, unsigned ch)
{
	struct board_pit *p = &b->pit;

	p->ch[ch].idle = 0;
	p->since[ch] = p->ch[ch].gate ? arch_time_now() : 0;
	if (ch == 0) {
		disarm(p);
		pit_listen(b);
	}
}

static void latch_count(struct board_pit *p, unsigned ch)
{
	struct tm_board_pit *c = &p->ch[ch];

	if (!(c->latched & (LATCHED_LOW | LATCHED_HIGH))) {
		c->latch = counter(p, ch);
		c->latched |= c->access & (ACCESS_LOW | ACCESS_HIGH);
	}
}

static void latch_status(struct board_pit *p, unsigned ch)
{
	struct tm_board_pit *c = &p->ch[ch];

	if (!(c->latched & LATCHED_STATUS)) {
		c->status = (uint8_t)((output(p, ch) ? STATUS_OUT : 0) |
				      (c->idle ? STATUS_NULL : 0) | (unsigned)c->access << 4 |
				      (unsigned)c->mode << 1 | c->bcd);
		c->latched |= LATCHED_STATUS;
	}
}

static void control(struct board *b, uint8_t val)
{
	struct board_pit *p = &b->pit;
	unsigned ch = val >> 6;
	struct tm_board_pit *c;

	if (ch == 3) {
		for (ch = 0; ch < 3; ch++) {
			if ((val & 2u << ch) && !(val & 0x20)) {
				latch_count(p, ch);
			}
			if ((val & 2u << ch) && !(val & 0x10)) {
				latch_status(p, ch);
			}
		}
		return;
	}
	ch = (unsigned)index_nospec(ch, 3);
	c = &p->ch[ch];
	if (!(val >> 4 & 3)) {
		latch_count(p, ch);
		return;
	}
	c->access = val >> 4 & 3;
	c->mode = val >> 1 & 7;
	if (c->mode > 5) {
		c->mode &= 3;
	}
	c->bcd = val & 1;
	c->latched = c->read_high = c->write_high = 0;
	c->idle = 1;
	p->since[ch] = 0;
	if (ch == 0) {
		disarm(p);
	}
}

static void count_write(struct board *b, unsigned ch, uint8_t val)
{
	struct tm_board_pit *c = &b->pit.ch[ch];

	if (c->access == (ACCESS_LOW | ACCESS_HIGH) && !c->write_high) {
		c->write_low = val;
		c->write_high = 1;
		return;
	}
	switch (c->access) {
	case ACCESS_LOW:
		c->count = val;
		break;
	case ACCESS_HIGH:
		c->count = (uint16_t)(val << 8);
		break;
	default:
		c->count = (uint16_t)(val << 8 | c->write_low);
		break;
	}
	c->write_high = 0;
	start(b, ch);
}

static uint8_t count_read(struct board_pit *p, unsigned ch)
{
	struct tm_board_pit *c = &p->ch[ch];
	bool high;

	if (c->latched & LATCHED_STATUS) {
		c->latched &= (uint8_t)~LATCHED_STATUS;
		return c->status;
	}
	if (c->latched) {
		high = !(c->latched & LATCHED_LOW);
		c->latched &= (uint8_t)~(high ? LATCHED_HIGH : LATCHED_LOW);
		return (uint8_t)(c->latch >> (high ? 8 : 0));
	}
	high = c->access == ACCESS_HIGH || (c->access == (ACCESS_LOW | ACCESS_HIGH) && c->read_high);
	if (c->access == (ACCESS_LOW | ACCESS_HIGH)) {
		c->read_high = !c->read_high;
	}
	return (uint8_t)(counter(p, ch) >> (high ? 8 : 0));
}

void pit_write(struct board *b, uint16_t port, uint8_t val)
{
	if (port == CONTROL) {
		control(b, val);
	} else {
		count_write(b, (unsigned)index_nospec((unsigned)port - PORT0, 3), val);
	}
}

uint8_t pit_read(struct board *b, uint16_t port)
{
	return port == CONTROL ? 0xff :
	       count_read(&b->pit, (unsigned)index_nospec((unsigned)port - PORT0, 3));
}

/* --- port 0x61: gate 2, speaker; out: refresh clock, output 2 --- */

uint8_t pit_port61(struct board *b)
{
	uint64_t refresh = clock_floor(arch_time_now(), 66667, arch_time_freq());

	return (uint8_t)(b->port61 | (refresh & 1) << 4 | (output(&b->pit, 2) ? 0x20 : 0));
}

void pit_set_port61(struct board *b, uint8_t val)
{
	struct tm_board_pit *c = &b->pit.ch[2];
	uint64_t *since = &b->pit.since[2];
	uint8_t gate = val & 1;

	b->port61 = val & 3;
	if (gate == c->gate) {
		return;
	}
	if (!c->idle) {
		/* Modes 0 and 4 go on where they stood, the others begin anew. */
		bool resumes = c->mode == 0 || c->mode == 4;

		*since = gate && !resumes ? arch_time_now() : arch_time_now() - *since;
	}
	c->gate = gate;
}
