// SPDX-License-Identifier: Apache-2.0
/*
 * Mutants and fault injection of test builds, chosen on the boot line (mutant=NAME). In a release
 * build every query is the constant false and the code vanishes.
 */
#ifndef HYP_TEST_HOOKS_H
#define HYP_TEST_HOOKS_H

#include <hyp/err.h>
#include <hyp/types.h>

enum mutant {
	MUTANT_NONE,
	MUTANT_NO_TLB_FLUSH,		/* arming does not flush */
	MUTANT_GRANT_BEFORE_MARK,	/* the write is granted, the mark is lost when the ring is full */
	MUTANT_BATCH_NOT_COMMITTED,	/* RING_RESET drops its open batch at the end */
	MUTANT_ARM_AFTER_CONSUME,	/* bits are handed out, arming happens later */
	MUTANT_SUMMARY_BEFORE_LEAF,
	MUTANT_NO_SHOOTDOWN,		/* x86: a flush does not wait for CPUs in guest mode */
	MUTANT_NO_DRAIN,		/* VM_SYNC leaves what hardware knows where it is */
};

#if TM_TEST_BUILD
extern enum mutant mutant_active;
static inline bool mutant(enum mutant m) { return unlikely(mutant_active == m); }
/* True when the nth allocation at this site is to fail (FAULT_INJECT). */
bool inject_failure(uint32_t site);
/* FAULT_INJECT: the nth call of the site from now on fails, once; 0 = never. -TM_EINVAL: no such. */
int inject_configure(uint32_t site, uint64_t nth);
/* Reads mutant= from the boot line. */
void test_hooks_init(void);
const char *mutant_name(enum mutant m);
/* FAULT_INJECT: the nth next allocation at the site fails, once; nth 0 switches it off. */
int inject_configure(uint32_t site, uint64_t nth);
/* Host builds: gives other threads a turn at this point. Nothing elsewhere. */
void test_yield(void);
#else
static inline bool mutant(enum mutant m) { (void)m; return false; }
static inline bool inject_failure(uint32_t site) { (void)site; return false; }
static inline int inject_configure(uint32_t site, uint64_t nth) { (void)site, (void)nth; return -1; }
static inline void test_yield(void) {}
static inline void test_hooks_init(void) {}
#endif

enum inject_site { INJECT_POOL = 1, INJECT_PAGE = 2, INJECT_BITMAP_LEAF = 3, INJECT_TABLE = 4 };

#endif
