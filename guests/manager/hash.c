// SPDX-License-Identifier: Apache-2.0
//
// The 128-bit hash of hash.h. No state of its own, no lock.

#include <string.h>

#include "hash.h"

static const uint64_t K[4] = {
	UINT64_C(0x9e3779b97f4a7c15),
	UINT64_C(0xc2b2ae3d27d4eb4f),
	UINT64_C(0x165667b19e3779f9),
	UINT64_C(0xd6e8feb86659fd93),
};

static uint64_t rol(uint64_t x, unsigned n)
{
	return x << n | x >> (64 - n);
}

static uint64_t step(uint64_t lane, uint64_t word, uint64_t k)
{
	return rol((lane ^ word) * k, 29);
}

void hash_start(struct hash *h, uint64_t seed)
{
	for (int i = 0; i < 4; i++) {
		h->lane[i] = K[i] ^ seed;
	}
	h->length = 0;
}

void hash_add(struct hash *h, const void *data, size_t length)
{
	const uint64_t *w = data;
	uint64_t a = h->lane[0];
	uint64_t b = h->lane[1];
	uint64_t c = h->lane[2];
	uint64_t d = h->lane[3];
	size_t n = length / 8;

	h->length += length;
	for (; n >= 4; n -= 4, w += 4) {
		a = step(a, w[0], K[0]);
		b = step(b, w[1], K[1]);
		c = step(c, w[2], K[2]);
		d = step(d, w[3], K[3]);
	}
	h->lane[0] = a;
	h->lane[1] = b;
	h->lane[2] = c;
	h->lane[3] = d;
	for (size_t i = 0; i < n; i++) {
		h->lane[i] = step(h->lane[i], w[i], K[i]);
	}
}

static uint64_t mix(uint64_t x)
{
	x ^= x >> 32;
	x *= K[0];
	return x ^ x >> 29;
}

static uint64_t fold(const struct hash *h, uint64_t start)
{
	uint64_t x = start;

	for (int i = 0; i < 4; i++) {
		x = (x ^ mix(h->lane[i])) * K[i];
		x ^= x >> 31;
	}
	return x;
}

struct hash_value hash_end(const struct hash *h)
{
	struct hash_value v;

	v.low = fold(h, h->length);
	v.high = fold(h, v.low ^ K[3]);
	return v;
}
