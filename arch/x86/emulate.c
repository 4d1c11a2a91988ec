// SPDX-License-Identifier: Apache-2.0
/*
 * Accesses to what is not RAM: a device of ours, the manager's, nobody's (all-ones, writes ignored).
 * The instruction is fetched and decoded once, and only that copy is acted upon. When it does not fit
 * the fault (another vCPU has changed it), or its bytes cannot be had, nothing is done: the guest runs
 * it again. What is not in the decoder's table stops with MEMORY_FAULT, as on arm64. Runs on the
 * vCPU's CPU, no lock held, but for arch_vcpu_complete_mmio(): v is put and quiet, v->lock is held.
 */
#include <arch/vcpu.h>
#include <asm/decode.h>
#include <asm/guest.h>
#include <hyp/guest_copy.h>
#include <hyp/mmio.h>
#include <hyp/string.h>
#include <hyp/vm.h>

#include "alu.h"

/* The instruction in hand; kept in v->arch.mmio_insn while the manager has it. */
struct access {
	struct x86_insn i;
	uint64_t gpa;
	uint64_t val;		/* read by the first half, or to be written by the second */
	uint8_t target;		/* enum mmio_target */
	bool is_dest;		/* of MOVS: the operand at DI */
	bool writing;		/* the second half of a read-modify-write */
};
_Static_assert(sizeof(struct access) <= sizeof(((struct arch_vcpu *)0)->mmio_insn), "fits");

static uint64_t low(uint64_t val, unsigned bytes)
{
	return bytes == 8 ? val : val & ((1ull << (8 * bytes)) - 1);
}

/* ---- registers ------------------------------------------------------------------------------- */

static uint64_t reg_get(struct vcpu *v, const struct x86_insn *i)
{
	uint64_t val = vcpu_gpr(v, i->reg);

	return low(i->high_byte ? val >> 8 : val, i->reg_size);
}

static void reg_put(struct vcpu *v, const struct x86_insn *i, uint64_t val)
{
	uint64_t old = vcpu_gpr(v, i->reg);

	if (i->high_byte) {
		val = (old & ~0xff00ull) | (val & 0xff) << 8;
	} else if (i->reg_size < 4) {
		val = (old & ~low(~0ull, i->reg_size)) | low(val, i->reg_size);
	} else {
		val = low(val, i->reg_size);
	}
	vcpu_set_gpr(v, i->reg, val);
}

static uint64_t source(struct vcpu *v, const struct x86_insn *i)
{
	return low(i->has_imm ? i->imm : reg_get(v, i), i->size);
}

/* Linear address of the memory operand, as far as its place in the page goes. */
static uint64_t linear_of(struct vcpu *v, const struct access *a)
{
	const struct x86_insn *i = &a->i;
	unsigned seg = i->op == X86_OP_MOVS && a->is_dest ? TM_SEG_ES : i->seg;
	uint64_t ea = (uint64_t)i->disp;

	if (i->op == X86_OP_MOVS) {
		ea += v->arch.gpr[a->is_dest ? GPR_RDI : GPR_RSI];
	} else if (i->base == X86_BASE_RIP) {
		ea += virt->read(v, XREG_RIP) + i->len;
	} else if (i->base != X86_NO_REG) {
		ea += vcpu_gpr(v, i->base);
	}
	if (i->index != X86_NO_REG) {
		ea += vcpu_gpr(v, i->index) << i->scale;
	}
	ea = low(ea, i->addr_size);
	if (guest_mode(v) == MODE_64 && seg != TM_SEG_FS && seg != TM_SEG_GS) {
		return ea;
	}
	ea += virt->read(v, XREG_SEG(seg, SEG_BASE));
	return guest_mode(v) == MODE_64 ? ea : (uint32_t)ea;
}

/* ---- retiring -------------------------------------------------------------------------------- */

static void advance(struct vcpu *v, const struct x86_insn *i, unsigned gpr, int64_t by)
{
	uint64_t old = v->arch.gpr[gpr], val = low(old + (uint64_t)by, i->addr_size);

	v->arch.gpr[gpr] = i->addr_size == 2 ? (old & ~0xffffull) | val : val;
}

static void retire(struct vcpu *v, const struct x86_insn *i)
{
	if (i->op == X86_OP_MOVS || i->op == X86_OP_STOS || i->op == X86_OP_LODS) {
		int64_t by = virt->read(v, XREG_RFLAGS) & RFLAGS_DF ? -(int64_t)i->size : i->size;

		if (i->op != X86_OP_STOS) {
			advance(v, i, GPR_RSI, by);
		}
		if (i->op != X86_OP_LODS) {
			advance(v, i, GPR_RDI, by);
		}
		if (i->rep) {
			advance(v, i, GPR_RCX, -1);
			if (low(v->arch.gpr[GPR_RCX], i->addr_size) != 0) {
				return;		/* the next element is another exit */
			}
		}
	}
	guest_skip(v, i->len);
}

/* ---- the access itself ----------------------------------------------------------------------- */

static void stop_undecodable(struct vcpu *v, gpa_t a, bool write)
{
	vcpu_stop_memory_fault(v, TM_FAULT_PERM | (write ? TM_FAULT_WRITE : TM_FAULT_READ), a, 0);
}

/* False: the manager has been asked. */
static bool bus(struct vcpu *v, struct access *a, const struct mmio_region *r, bool write)
{
	struct mmio_access acc = {
		.offset = r ? a->gpa - r->base.v : 0, .len = a->i.size, .write = write, .data = a->val,
	};

	if (a->target == MMIO_MANAGER) {
		/* A write-protected slot is the manager's for writes only. */
		if (!write && guest_read(v->vm, gpa(a->gpa), &a->val, a->i.size) == 0) {
			return true;
		}
		a->writing = write && x86_insn_reads(&a->i);
		memcpy(v->arch.mmio_insn, a, sizeof(*a));
		vcpu_stop_mmio(v, gpa(a->gpa), a->i.size, write, a->val);
		return false;
	}
	if (a->target == MMIO_NOBODY || !r || acc.offset + acc.len > r->size) {
		a->val = write ? a->val : ~0ull;
		return true;
	}
	r->access(v, r->dev, &acc);
	a->val = write ? a->val : acc.data;
	return true;
}

/* What was read has its effect. True: a->val is to be written back. */
static bool consume(struct vcpu *v, struct access *a)
{
	const struct x86_insn *i = &a->i;
	uint64_t data = low(a->val, i->size), flags;
	unsigned up = 64u - 8u * i->size;

	switch (i->op) {
	case X86_OP_MOV:
	case X86_OP_MOVZX:
	case X86_OP_LODS:
		reg_put(v, i, data);
		return false;
	case X86_OP_MOVSX:
		reg_put(v, i, (uint64_t)((int64_t)(data << up) >> up));
		return false;
	case X86_OP_XCHG:
		a->val = reg_get(v, i);
		reg_put(v, i, data);
		return true;
	default:
		break;
	}
	flags = virt->read(v, XREG_RFLAGS);
	if (i->mem_dest) {
		a->val = alu_compute(i->op, data, source(v, i), i->size, &flags);
	} else {
		data = alu_compute(i->op, reg_get(v, i), data, i->size, &flags);
		if (i->op != X86_OP_CMP && i->op != X86_OP_TEST) {
			reg_put(v, i, data);
		}
	}
	virt->write(v, XREG_RFLAGS, flags);
	return x86_insn_writes(i);
}

/* The other operand of MOVS is RAM. False: fault injected, or stopped; nothing is retired. */
static bool move_other(struct vcpu *v, struct access *a)
{
	struct access o = *a;
	enum copied done;
	uint64_t linear;

	o.is_dest = !a->is_dest;
	linear = linear_of(v, &o);
	if (a->is_dest) {
		a->val = 0;
		done = guest_read_linear(v, linear, &a->val, a->i.size);
	} else {
		done = guest_write_linear(v, linear, &a->val, a->i.size);
	}
	if (done == COPY_NO_MEMORY) {
		stop_undecodable(v, gpa(a->gpa), !a->is_dest);
	}
	return done == COPY_DONE;
}

/* May the RAM side of MOVS be written? Asked before the device is read. */
static bool other_is_ready(struct vcpu *v, const struct access *a)
{
	struct access o = *a;
	uint8_t probe[8];

	o.is_dest = true;
	return guest_read_linear(v, linear_of(v, &o), probe, a->i.size) != COPY_FAULTED;
}

static void execute(struct vcpu *v, struct access *a, const struct mmio_region *r)
{
	const struct x86_insn *i = &a->i;

	if (i->op == X86_OP_MOVS) {
		if (a->is_dest ? !move_other(v, a) : !other_is_ready(v, a)) {
			return;
		}
		if (!bus(v, a, r, a->is_dest) || (!a->is_dest && !move_other(v, a))) {
			return;
		}
		retire(v, i);
		return;
	}
	if (x86_insn_reads(i)) {
		if (!bus(v, a, r, false)) {
			return;
		}
		if (!consume(v, a)) {
			retire(v, i);
			return;
		}
	} else {
		a->val = source(v, i);
	}
	if (bus(v, a, r, true)) {
		retire(v, i);
	}
}

/* ---- from the exit --------------------------------------------------------------------------- */

/* Decoded, and of the kind that this fault came from. */
static bool fits(struct vcpu *v, struct access *a, const struct exit_npf *f)
{
	const struct x86_insn *i = &a->i;
	uint64_t linear;

	if (f->write ? !x86_insn_writes(i) : !x86_insn_reads(i)) {
		return false;
	}
	if (i->rep && low(v->arch.gpr[GPR_RCX], i->addr_size) == 0) {
		return false;
	}
	a->is_dest = f->write && i->op == X86_OP_MOVS;
	linear = linear_of(v, a);
	if (((linear ^ f->gpa) & PAGE_MASK) == 0) {
		if ((linear & PAGE_MASK) + i->size > PAGE_SIZE) {
			a->target = MMIO_NOBODY;	/* no bus cycle is that wide */
		}
		return true;
	}
	/* The second page of an access that crosses into it. */
	if ((f->gpa & PAGE_MASK) == 0 && (linear & PAGE_MASK) + i->size > PAGE_SIZE) {
		a->target = MMIO_NOBODY;
		return true;
	}
	return false;
}

void emulate_mmio(struct vcpu *v, const struct exit_npf *f, enum mmio_target t,
		  const struct mmio_region *r)
{
	struct access a = {.gpa = f->gpa, .target = (uint8_t)t};
	uint8_t bytes[X86_INSN_MAX];
	unsigned n;

	if (f->insn && f->insn_bytes) {
		n = MIN(f->insn_bytes, X86_INSN_MAX);
		memcpy(bytes, f->insn, n);
	} else {
		n = guest_fetch(v, bytes);
	}
	if (n == 0) {
		return;
	}
	if (!x86_decode(bytes, n, guest_code_bytes(v), &a.i) || !a.i.has_mem ||
	    a.i.op > X86_OP_LODS) {
		stop_undecodable(v, gpa(f->gpa), f->write);
	} else if (fits(v, &a, f)) {
		execute(v, &a, r);
	}
}

/* ---- the manager's answer -------------------------------------------------------------------- */

void arch_vcpu_complete_mmio(struct vcpu *v, uint64_t data)
{
	struct access a;

	memcpy(&a, v->arch.mmio_insn, sizeof(a));
	if (v->mmio_is_write) {
		retire(v, &a.i);
		return;
	}
	a.val = data;
	/* What needs memory, or the manager once more, waits until it is loaded. */
	if (a.i.op == X86_OP_MOVS || consume(v, &a)) {
		memcpy(v->arch.mmio_insn, &a, sizeof(a));
		v->arch.mmio_write_back = true;
	} else {
		retire(v, &a.i);
	}
}

bool emulate_write_back(struct vcpu *v)
{
	struct access a;

	if (!v->arch.mmio_write_back) {
		return false;
	}
	v->arch.mmio_write_back = false;
	memcpy(&a, v->arch.mmio_insn, sizeof(a));
	if (a.i.op == X86_OP_MOVS) {
		if (move_other(v, &a)) {
			retire(v, &a.i);
		}
	} else {
		(void)bus(v, &a, NULL, true);	/* asks the manager */
	}
	return true;		/* a store was logged: the ring may be full, the quota used up */
}
