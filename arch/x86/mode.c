// SPDX-License-Identifier: Apache-2.0
/* What mode a guest is in. v is loaded on this CPU, or put and quiet; no lock. */
#include <asm/guest.h>
#include <hyp/vcpu.h>

unsigned guest_cpl(struct vcpu *v)
{
	return SEG_DPL((uint32_t)virt->read(v, XREG_SEG(TM_SEG_SS, SEG_ATTRIBUTES)));
}

enum guest_mode guest_mode(struct vcpu *v)
{
	if (virt->read(v, XREG_EFER) & EFER_LMA) {
		return virt->read(v, XREG_SEG(TM_SEG_CS, SEG_ATTRIBUTES)) & SEG_L ? MODE_64 : MODE_COMPAT;
	}
	if (!(virt->read(v, XREG_CR0) & CR0_PE)) {
		return MODE_REAL;
	}
	return virt->read(v, XREG_RFLAGS) & RFLAGS_VM ? MODE_VM86 : MODE_PROTECTED;
}

unsigned guest_code_bytes(struct vcpu *v)
{
	switch (guest_mode(v)) {
	case MODE_64:
		return 8;
	case MODE_PROTECTED:
	case MODE_COMPAT:
		return virt->read(v, XREG_SEG(TM_SEG_CS, SEG_ATTRIBUTES)) & SEG_DB ? 4 : 2;
	default:
		return 2;
	}
}

uint64_t guest_ip(struct vcpu *v)
{
	uint64_t rip = virt->read(v, XREG_RIP);

	return guest_mode(v) == MODE_64 ? rip : (uint32_t)rip;
}

bool is_canonical(uint64_t a)
{
	return (uint64_t)((int64_t)(a << 16) >> 16) == a;
}

static void skip_with_traps(struct vcpu *v, unsigned len)
{
	uint64_t old = virt->read(v, XREG_RIP), rip = old + len;
	uint64_t flags = virt->read(v, XREG_RFLAGS), blocking = virt->read(v, XREG_BLOCKING);

	/* Only 64-bit code goes on above 4 GiB. */
	if (unlikely((rip ^ old) >> 32) && guest_mode(v) != MODE_64) {
		rip = (uint32_t)rip;
	}
	virt->write(v, XREG_RIP, rip);
	if (unlikely(blocking & (TM_BLOCK_STI | TM_BLOCK_MOV_SS))) {
		virt->write(v, XREG_BLOCKING, blocking & TM_BLOCK_NMI);
	}
	if (unlikely(flags & (RFLAGS_RF | RFLAGS_TF))) {
		virt->write(v, XREG_RFLAGS, flags & ~(uint64_t)RFLAGS_RF);
		/* The trap of single-stepping comes after the instruction, ours too. */
		if (flags & RFLAGS_TF) {
			v->arch.dr6 |= DR6_BS;
			inject_exception(v, VEC_DB, false, 0);
		}
	}
}

void guest_skip(struct vcpu *v, unsigned len)
{
	if (!virt->skip || !virt->skip(v, len)) {
		skip_with_traps(v, len);
	}
}
