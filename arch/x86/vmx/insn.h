// SPDX-License-Identifier: Apache-2.0
/*
 * The instructions of VMX (Intel SDM volume 3, chapter 31). VMREAD and VMWRITE go to the current
 * VMCS; they fail only for a field that this CPU has not, and such fields are not asked for.
 */
#ifndef VMX_INSN_H
#define VMX_INSN_H

#include <hyp/types.h>

static inline uint64_t vmread(uint64_t field)
{
	uint64_t val;

	__asm__ volatile("vmread %1, %0" : "=r"(val) : "r"(field) : "cc");
	return val;
}

static inline uint32_t vmread32(uint64_t field)
{
	return (uint32_t)vmread(field);
}

static inline void vmwrite(uint64_t field, uint64_t val)
{
	__asm__ volatile("vmwrite %0, %1" : : "r"(val), "r"(field) : "cc");
}

/* True: done. All of these fail by CF (no current VMCS) or ZF (with an error number). */
static inline bool vmxon(uint64_t region)
{
	bool good;

	__asm__ volatile("vmxon %1" : "=@cca"(good) : "m"(region) : "memory");
	return good;
}

static inline bool vmclear(uint64_t vmcs)
{
	bool good;

	__asm__ volatile("vmclear %1" : "=@cca"(good) : "m"(vmcs) : "memory");
	return good;
}

static inline bool vmptrld(uint64_t vmcs)
{
	bool good;

	__asm__ volatile("vmptrld %1" : "=@cca"(good) : "m"(vmcs) : "memory");
	return good;
}

/* Single-context types; the operand is 128 bits. */
#define INVEPT_SINGLE 1ull
#define INVVPID_SINGLE 1ull

static inline bool invept_single(uint64_t eptp)
{
	const uint64_t desc[2] = {eptp, 0};
	bool good;

	__asm__ volatile("invept %1, %2" : "=@cca"(good) : "m"(desc), "r"(INVEPT_SINGLE)
			 : "memory");
	return good;
}

static inline bool invvpid_single(uint16_t vpid)
{
	const uint64_t desc[2] = {vpid, 0};
	bool good;

	__asm__ volatile("invvpid %1, %2" : "=@cca"(good) : "m"(desc), "r"(INVVPID_SINGLE)
			 : "memory");
	return good;
}

#endif
