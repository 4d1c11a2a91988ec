// SPDX-License-Identifier: Apache-2.0
//
// Harness of the host tests: one program per test_*.c, TAP on standard output, no other output
// unless something fails.
//
//   #include "check.h"
//   TEST(ring_push_pop)            // one TAP point; registered by a constructor, runs in order
//   {                              // of appearance in the file
//           CHECK(a == b);         // fails this point, prints the place, leaves the TEST
//           CHECK_EQ(got, want);   // same, prints both values (integers)
//           EXPECT(cond);          // fails this point and goes on
//           uint64_t r = check_rand(&rng);
//   }
//   CHECK_MAIN()                   // once, at the end of the file
//
// CHECK leaves the function it stands in: inside helpers too, where `return` would not do, it
// jumps back to the runner (longjmp). SKIP("optional: why") ends a point as skipped.
//
// Random numbers: struct check_rng, xorshift64*; check_seed() gives the run's seed, which is
// TM_SEED= from the environment or 1. A failing point prints the seed. Any argument on the command
// line runs only the tests whose name contains it.
//
// Linking: see HOST_TESTS in the Makefile (`// LINK:` lines).

#ifndef TESTS_HOST_CHECK_H
#define TESTS_HOST_CHECK_H

#include <inttypes.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK_MAX_TESTS 512

struct check_test {
	const char *name;
	void (*run)(void);
};

static struct check_test check_tests[CHECK_MAX_TESTS];
static unsigned check_test_count;
static bool check_failed;
static const char *check_skip_reason;
static jmp_buf check_leave;

struct check_rng {
	uint64_t state;
};

static inline uint64_t check_seed(void)
{
	const char *text = getenv("TM_SEED");
	uint64_t seed = text != NULL ? strtoull(text, NULL, 0) : 1;

	return seed != 0 ? seed : 1;
}

static inline struct check_rng check_rng_make(uint64_t stream)
{
	// Golden-ratio spread, so that neighbouring streams do not start alike.
	struct check_rng rng = {(check_seed() + stream) * UINT64_C(0x9e3779b97f4a7c15)};

	rng.state ^= rng.state >> 29;
	rng.state |= UINT64_C(1) << 62;
	return rng;
}

static inline uint64_t check_rand(struct check_rng *rng)
{
	rng->state ^= rng->state >> 12;
	rng->state ^= rng->state << 25;
	rng->state ^= rng->state >> 27;
	return rng->state * UINT64_C(0x2545f4914f6cdd1d);
}

// Uniform enough in [0, n); n > 0.
static inline uint64_t check_below(struct check_rng *rng, uint64_t n)
{
	return check_rand(rng) % n;
}

__attribute__((unused)) static void check_fail(const char *file, int line, const char *text)
{
	check_failed = true;
	fprintf(stderr, "%s:%d: %s (seed %" PRIu64 ")\n", file, line, text, check_seed());
}

#define EXPECT(cond)                                                                               \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			check_fail(__FILE__, __LINE__, #cond);                                     \
		}                                                                                  \
	} while (0)

#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			check_fail(__FILE__, __LINE__, #cond);                                     \
			longjmp(check_leave, 1);                                                   \
		}                                                                                  \
	} while (0)

#define CHECK_EQ(got, want)                                                                        \
	do {                                                                                       \
		int64_t check_got = (int64_t)(got);                                                \
		int64_t check_want = (int64_t)(want);                                              \
		if (check_got != check_want) {                                                     \
			fprintf(stderr, "got %" PRId64 " (0x%" PRIx64 "), want %" PRId64           \
				" (0x%" PRIx64 ")\n", check_got, (uint64_t)check_got,              \
				check_want, (uint64_t)check_want);                                 \
			check_fail(__FILE__, __LINE__, #got " == " #want);                         \
			longjmp(check_leave, 1);                                                   \
		}                                                                                  \
	} while (0)

#define SKIP(reason)                                                                               \
	do {                                                                                       \
		check_skip_reason = (reason);                                                      \
		longjmp(check_leave, 1);                                                           \
	} while (0)

#define TEST(test_name)                                                                            \
	static void test_name(void);                                                               \
	__attribute__((constructor)) static void test_name##_register(void)                        \
	{                                                                                          \
		check_tests[check_test_count].name = #test_name;                                   \
		check_tests[check_test_count].run = test_name;                                     \
		check_test_count++;                                                                \
	}                                                                                          \
	static void test_name(void)

static inline int check_run_all(int argc, char **argv)
{
	unsigned number = 0;
	unsigned bad = 0;

	for (unsigned i = 0; i < check_test_count; i++) {
		const struct check_test *test = &check_tests[i];

		if (argc > 1 && strstr(test->name, argv[1]) == NULL) {
			continue;
		}
		check_failed = false;
		check_skip_reason = NULL;
		if (setjmp(check_leave) == 0) {
			test->run();
		}
		number++;
		bad += check_failed ? 1 : 0;
		printf("%s %u - %s", check_failed ? "not ok" : "ok", number, test->name);
		if (check_skip_reason != NULL && !check_failed) {
			printf(" # SKIP %s", check_skip_reason);
		}
		printf("\n");
		fflush(stdout);
	}
	printf("1..%u\n", number);
	return bad == 0 ? 0 : 1;
}

#define CHECK_MAIN()                                                                               \
	int main(int argc, char **argv)                                                            \
	{                                                                                          \
		return check_run_all(argc, argv);                                                  \
	}

#endif
