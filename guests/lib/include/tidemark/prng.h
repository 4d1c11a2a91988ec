// SPDX-License-Identifier: Apache-2.0
/* xorshift64* seeded by splitmix64: same seed, same numbers, on guests and hosts. */
#ifndef TIDEMARK_PRNG_H
#define TIDEMARK_PRNG_H

#include <stdint.h>

struct tm_prng {
	uint64_t s;
};

static inline uint64_t tm_mix64(uint64_t z)
{
	z += 0x9e3779b97f4a7c15u;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static inline void tm_prng_seed(struct tm_prng *p, uint64_t seed)
{
	p->s = tm_mix64(seed);
	if (p->s == 0) {
		p->s = 1;
	}
}

static inline uint64_t tm_prng_next(struct tm_prng *p)
{
	p->s ^= p->s >> 12;
	p->s ^= p->s << 25;
	p->s ^= p->s >> 27;
	return p->s * 0x2545f4914f6cdd1du;
}

/* 0 .. n-1; 0 when n is 0. */
static inline uint64_t tm_prng_below(struct tm_prng *p, uint64_t n)
{
	return n == 0 ? 0 : tm_prng_next(p) % n;
}

#endif
