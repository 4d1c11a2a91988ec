// SPDX-License-Identifier: Apache-2.0
/* Selects the architecture's half of the ABI by predefined macro. */
#ifndef TM_ABI_ARCH_H
#define TM_ABI_ARCH_H

/* Hosts other than arm64 may read arm64 images, so its shapes are the ones offered there. */
#include <abi/arm64.h>

#endif
