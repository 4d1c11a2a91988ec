// SPDX-License-Identifier: Apache-2.0
// CRC32C (Castagnoli, reflected polynomial 0x82f63b78), as in iSCSI: crc32c(0, "123456789", 9) is
// 0xe3069283. Pass the previous result to go on.

#ifndef MANAGER_CRC32C_H
#define MANAGER_CRC32C_H

#include <stddef.h>
#include <stdint.h>

uint32_t crc32c(uint32_t crc, const void *data, size_t length);

// The portable routine, whatever the CPU offers.
uint32_t crc32c_table(uint32_t crc, const void *data, size_t length);

#endif
