// SPDX-License-Identifier: Apache-2.0
//
// The two machines that guests see, as far as loaders and the configuration's checker need them.
// Constants only.

#include "guest_fdt.h"
#include "image_load.h"

const struct guest_board guest_board_arm64 = {
	.machine = GUEST_ARM64,
	.ram_base = GUEST_RAM_BASE,
	.initrd_end = ~(uint64_t)0,
	.device = {
		{GUEST_GICD_BASE, GUEST_GICD_SIZE},
		{GUEST_GICC_BASE, GUEST_GICC_SIZE},
		{GUEST_GICR_BASE, (uint64_t)GUEST_GICR_STRIDE * GUEST_FDT_CPU_MAX},
		{GUEST_UART_BASE, GUEST_UART_SIZE},
	},
	.device_count = 4,
};

/* The last GiB below 4 GiB is what PCs keep for devices; I/O APIC and local APIC are in it. */
const struct guest_board guest_board_x86 = {
	.machine = GUEST_X86,
	.image_flags = IMAGE_FOR_X86,
	.ram_base = 0,
	.hole = {0xc0000000u, 0x40000000u},
	.initrd_end = 0x80000000u,
	.device = {{0xfec00000u, 0x1000}, {0xfee00000u, 0x1000}},
	.device_count = 2,
};
