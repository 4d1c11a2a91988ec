// SPDX-License-Identifier: Apache-2.0
/*
 * The C library functions that freestanding code and libfdt need. Pure. Words are used where both
 * sides are aligned: EL2 code runs before its MMU too, where an unaligned access faults.
 */
#include <hyp/string.h>
#include <hyp/types.h>

#define WORD sizeof(uint64_t)

typedef uint64_t __attribute__((may_alias)) word_t;

static inline bool words_ok(const void *a, const void *b)
{
	return IS_ALIGNED((uintptr_t)a | (uintptr_t)b, WORD);
}

void *memcpy(void *restrict d, const void *restrict s, size_t n)
{
	unsigned char *to = d;
	const unsigned char *from = s;

	if (words_ok(d, s)) {
		for (; n >= 4 * WORD; n -= 4 * WORD, to += 4 * WORD, from += 4 * WORD) {
			uint64_t w0 = ((const word_t *)(const void *)from)[0];
			uint64_t w1 = ((const word_t *)(const void *)from)[1];
			uint64_t w2 = ((const word_t *)(const void *)from)[2];
			uint64_t w3 = ((const word_t *)(const void *)from)[3];

			((word_t *)(void *)to)[0] = w0;
			((word_t *)(void *)to)[1] = w1;
			((word_t *)(void *)to)[2] = w2;
			((word_t *)(void *)to)[3] = w3;
		}
		for (; n >= WORD; n -= WORD, to += WORD, from += WORD) {
			*(word_t *)(void *)to = *(const word_t *)(const void *)from;
		}
	}
	for (; n > 0; n--) {
		*to++ = *from++;
	}
	return d;
}

void *memmove(void *d, const void *s, size_t n)
{
	unsigned char *to = d;
	const unsigned char *from = s;

	/* Upwards is right unless the target begins inside the source. */
	if ((uintptr_t)to - (uintptr_t)from >= n) {
		if (words_ok(d, s)) {
			for (; n >= WORD; n -= WORD, to += WORD, from += WORD) {
				*(word_t *)(void *)to = *(const word_t *)(const void *)from;
			}
		}
		for (; n > 0; n--) {
			*to++ = *from++;
		}
		return d;
	}
	if (words_ok(d, s)) {
		for (; n % WORD != 0; n--) {
			to[n - 1] = from[n - 1];
		}
		for (; n >= WORD; n -= WORD) {
			*(word_t *)(void *)(to + n - WORD) =
				*(const word_t *)(const void *)(from + n - WORD);
		}
	}
	for (; n > 0; n--) {
		to[n - 1] = from[n - 1];
	}
	return d;
}

void *memset(void *d, int c, size_t n)
{
	unsigned char *to = d;
	uint64_t word = (unsigned char)c * 0x0101010101010101ull;

	for (; n > 0 && !IS_ALIGNED((uintptr_t)to, WORD); n--) {
		*to++ = (unsigned char)c;
	}
	for (; n >= 4 * WORD; n -= 4 * WORD, to += 4 * WORD) {
		((word_t *)(void *)to)[0] = word;
		((word_t *)(void *)to)[1] = word;
		((word_t *)(void *)to)[2] = word;
		((word_t *)(void *)to)[3] = word;
	}
	for (; n >= WORD; n -= WORD, to += WORD) {
		*(word_t *)(void *)to = word;
	}
	for (; n > 0; n--) {
		*to++ = (unsigned char)c;
	}
	return d;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const unsigned char *x = a;
	const unsigned char *y = b;

	if (words_ok(a, b)) {
		while (n >= WORD && *(const word_t *)(const void *)x ==
					    *(const word_t *)(const void *)y) {
			n -= WORD;
			x += WORD;
			y += WORD;
		}
	}
	for (; n > 0; n--, x++, y++) {
		if (*x != *y) {
			return *x - *y;
		}
	}
	return 0;
}

void *memchr(const void *s, int c, size_t n)
{
	const unsigned char *p = s;

	for (; n > 0; n--, p++) {
		if (*p == (unsigned char)c) {
			return (void *)(uintptr_t)p;
		}
	}
	return NULL;
}

size_t strlen(const char *s)
{
	size_t n = 0;

	while (s[n] != '\0') {
		n++;
	}
	return n;
}

size_t strnlen(const char *s, size_t max)
{
	size_t n = 0;

	while (n < max && s[n] != '\0') {
		n++;
	}
	return n;
}

int strcmp(const char *a, const char *b)
{
	return strncmp(a, b, ~(size_t)0);
}

int strncmp(const char *a, const char *b, size_t n)
{
	for (; n > 0; n--, a++, b++) {
		if (*a != *b || *a == '\0') {
			return (unsigned char)*a - (unsigned char)*b;
		}
	}
	return 0;
}

char *strchr(const char *s, int c)
{
	for (;; s++) {
		if (*s == (char)c) {
			return (char *)(uintptr_t)s;
		}
		if (*s == '\0') {
			return NULL;
		}
	}
}

char *strrchr(const char *s, int c)
{
	char *last = NULL;

	do {
		if (*s == (char)c) {
			last = (char *)(uintptr_t)s;
		}
	} while (*s++ != '\0');
	return last;
}
