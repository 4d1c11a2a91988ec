// SPDX-License-Identifier: Apache-2.0
/*
 * Test builds only: each way in which the hypervisor can break, on purpose, so that the report of
 * each can be tested. Chosen by crash= on the boot line; no state.
 */
#include <hyp/boot_info.h>
#include <hyp/crash.h>
#include <hyp/err.h>
#include <hyp/log.h>
#include <hyp/string.h>

#if TM_TEST_BUILD

static volatile uint64_t sink;

static void crash_panic(void)
{
	panic("asked for by crash=panic");
}

static void crash_null(void)
{
	sink = *(const volatile uint64_t *)sink;
}

__attribute__((noinline)) static uint64_t deeper(uint64_t n)
{
	volatile uint64_t fill[16];

	fill[n % 16] = n;
	return n == 0 ? 0 : deeper(n - 1) + fill[(n + 1) % 16];
}

static void crash_stack(void)
{
	sink = deeper(1u << 20);
}

__attribute__((noinline)) static void overflow(uint64_t n)
{
	volatile char small[16];

	for (uint64_t i = 0; i < n; i++) {
		small[i] = (char)i;
	}
	sink = (uint64_t)small[0];
}

static void crash_buffer(void)
{
	overflow(24 + sink);
}

static void crash_ubsan(void)
{
	volatile int big = INT32_MAX;

	sink = (uint64_t)(big + 1);
	panic("crash=ubsan: no sanitizer in this build");
}

static void crash_text(void)
{
	*(volatile uint64_t *)(uint64_t)crash_text = 0;
}

static void crash_exec(void)
{
	static uint32_t code[4] __attribute__((aligned(16)));

	((void (*)(void))(uint64_t)code)();
}

static const struct {
	const char *name;
	void (*go)(void);
} ways[] = {
	{"panic", crash_panic}, {"null", crash_null}, {"stack", crash_stack},
	{"buffer", crash_buffer}, {"ubsan", crash_ubsan}, {"text", crash_text},
	{"exec", crash_exec},
};

void crash_if_asked(void)
{
	char text[16];

	if (!boot_option("crash", text, sizeof(text))) {
		return;
	}
	for (unsigned i = 0; i < ARRAY_SIZE(ways); i++) {
		if (strcmp(text, ways[i].name) == 0) {
			ways[i].go();
		}
	}
	log_warn("option crash=%s: unknown, or it did no harm", text);
}

#endif
