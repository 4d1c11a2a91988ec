// SPDX-License-Identifier: Apache-2.0
/* Test builds: crash=NAME on the boot line breaks the hypervisor on purpose. */
#ifndef HYP_CRASH_H
#define HYP_CRASH_H

#if TM_TEST_BUILD
void crash_if_asked(void);
#else
static inline void crash_if_asked(void) {}
#endif

#endif
