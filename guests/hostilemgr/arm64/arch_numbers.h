// SPDX-License-Identifier: Apache-2.0
/* Numbers that calls take on arm64. */
#ifndef HOSTILEMGR_ARCH_NUMBERS_H
#define HOSTILEMGR_ARCH_NUMBERS_H

#define VICTIM_ARG 0u
#define LINE_FIRST 32u
#define LINES 100u
#define GIC_STATE_LEN (65536u - 8192u)
#define APIC_STATE_LEN 216u
#define HAS_APIC_STATE false
#define BACKENDS 2u
#define DEVICE_GPA 0x08000000u

#endif
