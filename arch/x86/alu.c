// SPDX-License-Identifier: Apache-2.0
/* See alu.h. AF, which the manual leaves undefined for logic, becomes 0. */
#include "alu.h"

static uint64_t mask_of(unsigned size)
{
	return size == 8 ? ~0ull : (1ull << (8 * size)) - 1;
}

static uint64_t result_flags(uint64_t r, unsigned size)
{
	uint64_t f = 0;

	f |= r == 0 ? ALU_ZF : 0;
	f |= (r >> (8 * size - 1)) & 1 ? ALU_SF : 0;
	f |= __builtin_parity((unsigned)r & 0xff) ? 0 : ALU_PF;
	return f;
}

/* Carries out of every bit position: bit 3 gives AF, the highest CF, with its neighbour OF. */
static uint64_t carry_flags(uint64_t carries, uint64_t overflow, unsigned size)
{
	uint64_t f = 0;

	f |= (carries >> (8 * size - 1)) & 1 ? ALU_CF : 0;
	f |= (carries >> 3) & 1 ? ALU_AF : 0;
	f |= (overflow >> (8 * size - 1)) & 1 ? ALU_OF : 0;
	return f;
}

static uint64_t add(uint64_t a, uint64_t b, uint64_t carry, unsigned size, uint64_t *f)
{
	uint64_t r = (a + b + carry) & mask_of(size);

	*f = result_flags(r, size) |
	     carry_flags((a & b) | ((a | b) & ~r), (a ^ r) & (b ^ r), size);
	return r;
}

static uint64_t sub(uint64_t a, uint64_t b, uint64_t borrow, unsigned size, uint64_t *f)
{
	uint64_t r = (a - b - borrow) & mask_of(size);

	*f = result_flags(r, size) |
	     carry_flags((~a & b) | ((~a | b) & r), (a ^ b) & (a ^ r), size);
	return r;
}

/* BT and its relatives: only CF is defined. */
static uint64_t bit_op(unsigned op, uint64_t a, uint64_t b, unsigned size, uint64_t old, uint64_t *f)
{
	uint64_t bit = 1ull << (b & (8 * size - 1));

	*f = (old & ~(uint64_t)ALU_CF) | (a & bit ? ALU_CF : 0u);
	return op == X86_OP_BTS ? a | bit : op == X86_OP_BTR ? a & ~bit : op == X86_OP_BTC ? a ^ bit : a;
}

uint64_t alu_compute(unsigned op, uint64_t a, uint64_t b, unsigned size, uint64_t *flags)
{
	uint64_t old = *flags & ALU_FLAGS, f = old, r = a, carry = old & ALU_CF ? 1 : 0;

	a &= mask_of(size);
	b &= mask_of(size);
	switch (op) {
	case X86_OP_ADD:
		r = add(a, b, 0, size, &f);
		break;
	case X86_OP_ADC:
		r = add(a, b, carry, size, &f);
		break;
	case X86_OP_SUB:
		r = sub(a, b, 0, size, &f);
		break;
	case X86_OP_SBB:
		r = sub(a, b, carry, size, &f);
		break;
	case X86_OP_CMP:
		(void)sub(a, b, 0, size, &f);
		break;
	case X86_OP_NEG:
		r = sub(0, a, 0, size, &f);
		break;
	case X86_OP_INC:
		r = add(a, 1, 0, size, &f);
		f = (f & ~(uint64_t)ALU_CF) | (old & ALU_CF);
		break;
	case X86_OP_DEC:
		r = sub(a, 1, 0, size, &f);
		f = (f & ~(uint64_t)ALU_CF) | (old & ALU_CF);
		break;
	case X86_OP_AND:
	case X86_OP_OR:
	case X86_OP_XOR:
		r = op == X86_OP_AND ? a & b : op == X86_OP_OR ? a | b : a ^ b;
		f = result_flags(r, size);
		break;
	case X86_OP_TEST:
		f = result_flags(a & b, size);
		break;
	case X86_OP_NOT:
		r = ~a;
		break;
	case X86_OP_BT:
	case X86_OP_BTS:
	case X86_OP_BTR:
	case X86_OP_BTC:
		r = bit_op(op, a, b, size, old, &f);
		break;
	default:			/* XCHG, MOV: the other operand */
		r = b;
		break;
	}
	*flags = (*flags & ~(uint64_t)ALU_FLAGS) | f;
	return r & mask_of(size);
}
