// SPDX-License-Identifier: Apache-2.0
//
// hyp/print.c against the C library's, and what it does differently.
//
// LINK: hyp/print.c

#include <string.h>

#include <hyp/log.h>

#include "check.h"

#define SAME(...)                                                                                  \
	do {                                                                                       \
		char ours[128], theirs[128];                                                       \
		int n = hyp_snprintf(ours, sizeof(ours), __VA_ARGS__);                             \
		int m = snprintf(theirs, sizeof(theirs), __VA_ARGS__);                             \
		if (n != m || strcmp(ours, theirs) != 0) {                                         \
			fprintf(stderr, "got '%s', want '%s'\n", ours, theirs);                    \
		}                                                                                  \
		EXPECT(n == m && strcmp(ours, theirs) == 0);                                       \
	} while (0)

TEST(like_the_library)
{
	SAME("plain");
	SAME("%d %i %u", -5, 7, 9u);
	SAME("%d", INT32_MIN);
	SAME("%ld", INT64_MIN);
	SAME("%lld %llu", -1ll, ~0ull);
	SAME("%x %lx %llx", 0xabcu, ~0ul, 0x123ull);
	SAME("%5d|%-5d|%05d", 42, 42, -42);
	SAME("%016lx", 0x1234ul);
	SAME("%8s|%-8s|%s", "ab", "cd", "efg");
	SAME("%c%%%c", 'x', 'y');
	SAME("%zu", (size_t)77);
	SAME("%#x %#lx", 0x10u, 0x20ul);
	SAME("%p", (void *)0x1234);
	SAME("%2u|%-2u|%3x", 123u, 5u, 0xfu);
}

TEST(short_buffers)
{
	char buf[4] = "zzz";

	EXPECT(hyp_snprintf(buf, sizeof(buf), "%s", "abcdef") == 6);
	EXPECT(strcmp(buf, "abc") == 0);
	EXPECT(hyp_snprintf(buf, 1, "%d", 12) == 2 && buf[0] == '\0');
	EXPECT(hyp_snprintf(buf, 0, "%d", 12) == 2);
}

TEST(null_string_and_unknown_conversion)
{
	char buf[32];
	const char *none = NULL;
	const char *fmt = "%s %q after";

	hyp_snprintf(buf, sizeof(buf), "%s", none);
	EXPECT(strcmp(buf, "(null)") == 0);
#pragma clang diagnostic ignored "-Wformat-nonliteral"
#pragma clang diagnostic ignored "-Wformat-security"
	hyp_snprintf(buf, sizeof(buf), fmt, "x");
	EXPECT(strcmp(buf, "x %?") == 0);
}

CHECK_MAIN()
