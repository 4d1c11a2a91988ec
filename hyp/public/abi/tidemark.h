// SPDX-License-Identifier: Apache-2.0
/* The whole ABI: with -I hyp/public this one include is enough for a guest or a manager. */
#ifndef TM_ABI_TIDEMARK_H
#define TM_ABI_TIDEMARK_H

#include <abi/arch.h>
#include <abi/assert.h>
#include <abi/errno.h>
#include <abi/hypercall.h>
#include <abi/memory.h>
#include <abi/vm.h>

#endif
