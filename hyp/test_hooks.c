// SPDX-License-Identifier: Apache-2.0
/*
 * Test builds only: which mutant is alive and which allocation fails next. Set at boot or by
 * FAULT_INJECT; read everywhere, without a lock.
 */
#include <hyp/boot_info.h>
#include <hyp/log.h>
#include <hyp/string.h>
#include <hyp/test_hooks.h>

#if TM_TEST_BUILD

#define SITES 8u

enum mutant mutant_active = MUTANT_NONE;
static uint64_t countdown[SITES];	/* 0: off; 1: the next call fails */

static const char *const names[] = {
	[MUTANT_NONE] = "none",
	[MUTANT_NO_TLB_FLUSH] = "no-tlb-flush",
	[MUTANT_GRANT_BEFORE_MARK] = "grant-before-mark",
	[MUTANT_BATCH_NOT_COMMITTED] = "batch-not-committed",
	[MUTANT_ARM_AFTER_CONSUME] = "arm-after-consume",
	[MUTANT_SUMMARY_BEFORE_LEAF] = "summary-before-leaf",
	[MUTANT_NO_SHOOTDOWN] = "no-shootdown",
	[MUTANT_NO_DRAIN] = "no-drain",
};

const char *mutant_name(enum mutant m)
{
	return (unsigned)m < ARRAY_SIZE(names) ? names[m] : "?";
}

void test_hooks_init(void)
{
	char text[32];

	if (!boot_option("mutant", text, sizeof(text))) {
		return;
	}
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(text, names[i]) == 0) {
			mutant_active = (enum mutant)i;
			log_warn("test build: mutant %s", text);
			return;
		}
	}
	log_warn("test build: no mutant is named %s", text);
}

bool inject_failure(uint32_t site)
{
	uint64_t n;

	if (site >= SITES) {
		return false;
	}
	n = __atomic_load_n(&countdown[site], __ATOMIC_RELAXED);
	while (unlikely(n != 0)) {
		if (__atomic_compare_exchange_n(&countdown[site], &n, n - 1, false,
						__ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
			return n == 1;
		}
	}
	return false;
}

int inject_configure(uint32_t site, uint64_t nth)
{
	if (site == 0 || site >= SITES) {
		return -TM_EINVAL;
	}
	__atomic_store_n(&countdown[site], nth, __ATOMIC_RELAXED);
	return 0;
}

/* Host tests bring their own. */
__attribute__((weak)) void test_yield(void)
{
}

#endif
