// SPDX-License-Identifier: Apache-2.0
//
// All 65,536 ports, 1, 2 and 4 bytes wide, written and read. Nothing is skipped: values that by
// design end the VM (table below) lose the bit that does, and ends.c sends those. String
// instructions, with and without REP, from and to wild addresses.

#include <tidemark/call.h>
#include <tidemark/guest.h>
#include <tidemark/tap.h>
#include <tidemark/x86.h>
#include "attacks.h"

/* Bytes that end us, and what is taken out of them. */
static const struct {
	uint16_t port;
	uint8_t keep;
} ends[] = {
	{0x64, 0x01},	/* keyboard controller: 0xfe pulses the reset line */
	{0x92, 0xfe},	/* system control port A: bit 0 resets */
	{0xcf9, 0xfb},	/* reset control: bit 2 */
	{0x605, 0xdf},	/* PM1 control, upper byte: SLP_EN */
	{0x3f8, 0x00},	/* no end, but it would be printed */
};

/* Where somebody answers. */
static const struct {
	uint16_t first, last;
} board[] = {{0x20, 0x21}, {0x40, 0x43}, {0x60, 0x61}, {0x64, 0x64}, {0x70, 0x71}, {0x92, 0x92},
	     {0xa0, 0xa1}, {0x3f8, 0x3ff}, {0x4d0, 0x4d1}, {0x600, 0x60b}, {0xcf8, 0xcff}};

static uint32_t tame(uint32_t port, unsigned size, uint32_t val)
{
	for (unsigned i = 0; i < size; i++) {
		for (unsigned j = 0; j < sizeof(ends) / sizeof(ends[0]); j++) {
			if (ends[j].port == port + i) {
				val &= ~((uint32_t)(uint8_t)~ends[j].keep << 8 * i);
			}
		}
	}
	return val;
}

static bool answers(uint32_t port, unsigned size)
{
	for (unsigned i = 0; i < sizeof(board) / sizeof(board[0]); i++) {
		if (port + size > board[i].first && port <= board[i].last) {
			return true;
		}
	}
	return false;
}

static void out(uint16_t port, unsigned size, uint32_t val)
{
	if (size == 1) {
		tm_out8(port, (uint8_t)val);
	} else if (size == 2) {
		tm_out16(port, (uint16_t)val);
	} else {
		tm_out32(port, val);
	}
}

static uint32_t in(uint16_t port, unsigned size)
{
	return size == 1 ? tm_in8(port) : size == 2 ? tm_in16(port) : tm_in32(port);
}

static void every_port(struct hostile *h)
{
	uint64_t n = 0;
	uint64_t let_us = 0;

	for (uint32_t port = 0; port < 0x10000; port += h->step) {
		for (unsigned size = 1; size <= 4; size *= 2) {
			uint32_t all = size < 4 ? (1u << 8 * size) - 1 : ~0u;
			uint32_t got;

			out((uint16_t)port, size, tame(port, size, (uint32_t)tm_prng_next(&h->rng)));
			got = in((uint16_t)port, size);
			n += 2;
			if (got != all && !answers(port, size)) {
				let_us++;
				if (let_us <= 8) {
					tap_diag("port 0x%x size %u: 0x%x", port, size, got);
				}
			}
		}
	}
	h->ops += n;
	tap_ok(let_us == 0, "ports: %llu accesses, %llu answers of nobody", (unsigned long long)n,
	       (unsigned long long)let_us);
}

/* --- string instructions -------------------------------------------------------------------------- */

/* std? rep? 66? 67? 6c..6f, cld, ret */
static void fill_table(void)
{
	for (uint32_t i = 0; i < 64; i++) {
		uint8_t *p = stub_table[i];

		*p++ = (i & 1) != 0 ? 0xfd : 0xfc;
		if ((i & 2) != 0) {
			*p++ = 0xf3;
		}
		if ((i & 4) != 0) {
			*p++ = 0x66;
		}
		if ((i & 8) != 0) {
			*p++ = 0x67;
		}
		*p++ = (uint8_t)(0x6c + (i >> 4));
		*p++ = 0xfc;
		*p = INSN_RET;
	}
	tm_cache_sync_code(stub_table, sizeof(stub_table));
}

/* A port of nobody for what is written; any for what is read. */
static uint16_t draw_port(struct tm_prng *rng, bool write)
{
	uint16_t port = (uint16_t)tm_prng_next(rng);

	if (write && port < 0x1000) {
		port |= 0x1000;
	}
	return port;
}

/* Wherever it goes down or up, with at most 64 elements it stays in its page and the next. */
static uint64_t draw_target(struct tm_prng *rng)
{
	switch (tm_prng_below(rng, 8)) {
	case 0: return (uint64_t)1 << (48 + tm_prng_below(rng, 15));
	case 1: return ((uint64_t)1 << 40) + tm_prng_below(rng, 1u << 20);
	case 2: return 0xd0000000u + tm_prng_below(rng, 1u << 24) * 8;
	case 3: return 0xfee00000u + tm_prng_below(rng, 4096);
	default: return TM_GPA(scratch) + 512 + tm_prng_below(rng, sizeof(scratch) - 1024);
	}
}

static void string_io(struct hostile *h)
{
	uint64_t kinds[TM_PROBE_GP + 1] = {0};
	uint64_t n = h->budget / 16;

	fill_table();
	for (uint64_t i = 0; i < n; i++) {
		uint32_t stub = (uint32_t)tm_prng_below(&h->rng, 64);
		struct run r = {0};

		r.reg[RDX] = draw_port(&h->rng, stub >> 5 != 0) |
			     (tm_prng_next(&h->rng) & ~(uint64_t)0xffff);
		/* With RAM at the target a count without end would be a loop without end. */
		r.reg[RCX] = tm_prng_below(&h->rng, 64);
		r.reg[RDI] = draw_target(&h->rng);
		r.reg[RSI] = draw_target(&h->rng);
		kinds[run_stub(h, &r, stub).kind]++;
	}
	settle();
	tap_ok(kinds[TM_PROBE_OK] > 0 && kinds[TM_PROBE_ABORT] > 0 && kinds[TM_PROBE_GP] > 0 &&
	       kinds[TM_PROBE_UNDEF] == 0,
	       "string I/O: %llu run, %llu done, %llu page faults, %llu #GP, %llu other",
	       (unsigned long long)n, (unsigned long long)kinds[TM_PROBE_OK],
	       (unsigned long long)kinds[TM_PROBE_ABORT], (unsigned long long)kinds[TM_PROBE_GP],
	       (unsigned long long)(kinds[TM_PROBE_OTHER] + kinds[TM_PROBE_UNDEF]));
}

void attack_ports(struct hostile *h)
{
	every_port(h);
	settle();
	string_io(h);
}
