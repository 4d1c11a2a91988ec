// SPDX-License-Identifier: Apache-2.0
//
// hyp/string.c against libc's: every alignment of both sides, every short length, overlaps.
// It is compiled here under other names.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "check.h"

#define HYP_STRING_H	/* its prototypes are libc's, which have those names here */
#define memcpy	hyp_memcpy
#define memmove hyp_memmove
#define memset	hyp_memset
#define memcmp	hyp_memcmp
#define memchr	hyp_memchr
#define strlen	hyp_strlen
#define strnlen hyp_strnlen
#define strcmp	hyp_strcmp
#define strncmp hyp_strncmp
#define strchr	hyp_strchr
#define strrchr hyp_strrchr
void *memcpy(void *restrict d, const void *restrict s, size_t n);
void *memmove(void *d, const void *s, size_t n);
void *memset(void *d, int c, size_t n);
int memcmp(const void *a, const void *b, size_t n);
void *memchr(const void *s, int c, size_t n);
size_t strlen(const char *s);
size_t strnlen(const char *s, size_t max);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t n);
char *strchr(const char *s, int c);
char *strrchr(const char *s, int c);
#include "../../hyp/string.c"
#undef memcpy
#undef memmove
#undef memset
#undef memcmp
#undef memchr
#undef strlen
#undef strnlen
#undef strcmp
#undef strncmp
#undef strchr
#undef strrchr

#define SIZE 256u

static unsigned char a[SIZE], b[SIZE], c[SIZE];

static void fill(struct check_rng *rng)
{
	for (unsigned i = 0; i < SIZE; i++) {
		a[i] = b[i] = (unsigned char)check_rand(rng);
		c[i] = (unsigned char)check_rand(rng);
	}
}

static int sign(int x)
{
	return (x > 0) - (x < 0);
}

TEST(copies)
{
	struct check_rng rng = check_rng_make(0);

	for (unsigned to = 0; to < 9; to++) {
		for (unsigned from = 0; from < 9; from++) {
			for (unsigned n = 0; n < 100; n++) {
				fill(&rng);
				memcpy(a + 16 + to, c + from, n);
				CHECK(hyp_memcpy(b + 16 + to, c + from, n) == b + 16 + to);
				CHECK(memcmp(a, b, SIZE) == 0);
			}
		}
	}
}

TEST(overlapping_moves)
{
	struct check_rng rng = check_rng_make(1);

	for (unsigned i = 0; i < 20000; i++) {
		unsigned to = (unsigned)check_below(&rng, 128);
		unsigned from = (unsigned)check_below(&rng, 128);
		unsigned n = (unsigned)check_below(&rng, 128);

		if (i % 2) {
			to &= ~7u;
			from &= ~7u;
		}
		fill(&rng);
		memmove(a + to, a + from, n);
		CHECK(hyp_memmove(b + to, b + from, n) == b + to);
		CHECK(memcmp(a, b, SIZE) == 0);
	}
}

TEST(sets_and_compares)
{
	struct check_rng rng = check_rng_make(2);

	for (unsigned i = 0; i < 20000; i++) {
		unsigned to = (unsigned)check_below(&rng, 64);
		unsigned n = (unsigned)check_below(&rng, 128);
		int value = (int)check_below(&rng, 1024) - 512;

		fill(&rng);
		memset(a + to, value, n);
		CHECK(hyp_memset(b + to, value, n) == b + to);
		CHECK(memcmp(a, b, SIZE) == 0);
		memcpy(b, a, SIZE);
		if (i % 3) {
			b[check_below(&rng, SIZE)] ^= (unsigned char)(1 + check_below(&rng, 255));
		}
		CHECK_EQ(sign(hyp_memcmp(a + to, b + to, n)), sign(memcmp(a + to, b + to, n)));
		CHECK(hyp_memchr(a + to, value & 255, n) == memchr(a + to, value & 255, n));
	}
}

TEST(strings)
{
	struct check_rng rng = check_rng_make(3);

	for (unsigned i = 0; i < 20000; i++) {
		char s[16], t[16];
		size_t n = check_below(&rng, 20);
		int ch = "abc"[check_below(&rng, 3)];

		for (unsigned k = 0; k < 15; k++) {
			s[k] = "ab\0\xff"[check_below(&rng, 8) % 4 & (k < 4 ? 1 : 3)];
			t[k] = check_below(&rng, 6) ? s[k] : 'c';
		}
		s[15] = t[15] = '\0';
		ch = check_below(&rng, 5) ? ch : 0;
		CHECK_EQ(hyp_strlen(s), strlen(s));
		CHECK_EQ(hyp_strnlen(s, n), strnlen(s, n));
		CHECK_EQ(sign(hyp_strcmp(s, t)), sign(strcmp(s, t)));
		CHECK_EQ(sign(hyp_strncmp(s, t, n)), sign(strncmp(s, t, n)));
		CHECK(hyp_strchr(s, ch) == strchr(s, ch));
		CHECK(hyp_strrchr(s, ch) == strrchr(s, ch));
	}
}

CHECK_MAIN()
