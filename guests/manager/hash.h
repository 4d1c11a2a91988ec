// SPDX-License-Identifier: Apache-2.0
//
// The manager's memory and image hash: 128 bits out of four 64-bit lanes, fast rather than
// cryptographic (a snapshot is guarded against accidents; who can write the store can write the
// hash too). Definition, with all arithmetic modulo 2^64 and rol a left rotation:
//
//   lane[i] = K[i] ^ seed                                            for i in 0..3
//   word n (64 bits, little-endian) goes into lane n mod 4:          x = lane ^ word
//                                                                    lane = rol(x * K[i], 29)
//   at the end, from h = length in bytes: for i in 0..3  h = (h ^ mix(lane[i])) * K[i],
//   h ^= h >> 31  gives the low half; the same from h = low half ^ K[3] gives the high half;
//   mix(x): x ^= x >> 32, x *= K[0], x ^= x >> 29.
//
// Each step is a bijection of the lane for a given word, so one changed word always changes it.
// The length hashed must be a multiple of 8; the pieces may be cut anywhere at multiples of 32.

#ifndef MANAGER_HASH_H
#define MANAGER_HASH_H

#include <stddef.h>
#include <stdint.h>

struct hash {
	uint64_t lane[4];
	uint64_t length;
};

struct hash_value {
	uint64_t low;
	uint64_t high;
};

void hash_start(struct hash *h, uint64_t seed);
// data 8-byte aligned; length a multiple of 32, except in the last piece, of 8.
void hash_add(struct hash *h, const void *data, size_t length);
struct hash_value hash_end(const struct hash *h);

#endif
