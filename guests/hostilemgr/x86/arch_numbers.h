// SPDX-License-Identifier: Apache-2.0
/* Numbers that calls take on x86. */
#ifndef HOSTILEMGR_ARCH_NUMBERS_H
#define HOSTILEMGR_ARCH_NUMBERS_H

#define VICTIM_ARG 1u		/* boot/guest_start.h: 32-bit mode without paging */
#define LINE_FIRST 0u
#define LINES 26u
#define GIC_STATE_LEN sizeof(struct tm_board_state)
#define APIC_STATE_LEN sizeof(struct tm_apic_state)
#define HAS_APIC_STATE true
#define BACKENDS 3u
#define DEVICE_GPA 0xfec00000u

#endif
