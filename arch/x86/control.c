// SPDX-License-Identifier: Apache-2.0
/*
 * Control and debug registers, XCR0: what a guest may set, and what follows from it (SDM volume 3,
 * 2.5 and 4.1). One set of checks serves MOV CR, WRMSR and REGS_SET. Runs on the vCPU's CPU; no lock.
 */
#include <asm/board.h>
#include <asm/guest.h>
#include <hyp/guest_copy.h>
#include <hyp/string.h>
#include <hyp/vm.h>

#define CR0_VALID                                                                                  \
	(CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | CR0_PG)
/* Writes that make the TLB forget, or may: everything is dropped then. */
#define CR0_FLUSH (CR0_PG | CR0_WP)
#define CR4_FLUSH (CR4_PSE | CR4_PAE | CR4_PGE | CR4_PCIDE | CR4_SMEP | CR4_SMAP)
#define CR4_PAE_RELOAD (CR4_PSE | CR4_PAE | CR4_PGE | CR4_SMEP)
#define CR3_NOFLUSH (1ull << 63)
#define PDPTE_P 1ull

static uint64_t phys_mask(void)
{
	return (1ull << cpu_features.phys_bits) - 1;
}

bool cr0_ok(uint64_t cr0)
{
	return !(cr0 >> 32) && !((cr0 & CR0_PG) && !(cr0 & CR0_PE)) &&
	       !((cr0 & CR0_NW) && !(cr0 & CR0_CD));
}

bool efer_ok(uint64_t efer)
{
	return !(efer & ~(policy_efer_allowed() | EFER_LMA));
}

bool cr4_ok(uint64_t cr4, uint64_t cr0, uint64_t efer)
{
	if (cr4 & ~policy_cr4_allowed()) {
		return false;
	}
	if ((cr0 & CR0_PG) && (efer & EFER_LME) && !(cr4 & CR4_PAE)) {
		return false;
	}
	return !(cr4 & CR4_PCIDE) || (efer & EFER_LMA);
}

bool xcr0_ok(uint64_t xcr0)
{
	return (xcr0 & XCR0_X87) && !(xcr0 & ~policy_xcr0_allowed()) &&
	       (!(xcr0 & XCR0_AVX) || (xcr0 & XCR0_SSE));
}

/* All translations of this vCPU are forgotten before its next instruction. */
void guest_flush(struct vcpu *v)
{
	v->arch.new_tag = true;
}

static bool uses_pdptes(uint64_t cr0, uint64_t cr4, uint64_t efer)
{
	return (cr0 & CR0_PG) && (cr4 & CR4_PAE) && !(efer & EFER_LMA);
}

bool guest_uses_pdptes(struct vcpu *v)
{
	return uses_pdptes(virt->read(v, XREG_CR0), virt->read(v, XREG_CR4), virt->read(v, XREG_EFER));
}

static bool load_pdptes(struct vcpu *v, uint64_t cr3)
{
	uint64_t reserved = (~phys_mask() & ~0xfffull) | 0x1e6ull;	/* SDM volume 3, table 4-8 */
	uint64_t pdpte[4];

	if (guest_read(v->vm, gpa(cr3 & 0xffffffe0ull), pdpte, sizeof(pdpte))) {
		return false;
	}
	for (unsigned i = 0; i < 4; i++) {
		if ((pdpte[i] & PDPTE_P) && (pdpte[i] & reserved)) {
			return false;
		}
	}
	for (unsigned i = 0; i < 4; i++) {
		virt->write(v, (enum x86_reg)(XREG_PDPTE0 + i), pdpte[i]);
	}
	v->arch.pdptes_stale = false;
	return true;
}

bool guest_load_pdptes(struct vcpu *v)
{
	return load_pdptes(v, virt->read(v, XREG_CR3));
}

/* ---- writes ---------------------------------------------------------------------------------- */

/* PG is going on: may it, and what becomes of EFER and of the PDPTEs. */
static bool paging_on(struct vcpu *v, uint64_t cr4, uint64_t *efer)
{
	if (*efer & EFER_LME) {
		uint64_t cs = virt->read(v, XREG_SEG(TM_SEG_CS, SEG_ATTRIBUTES));

		if (!(cr4 & CR4_PAE) || (cs & SEG_L)) {
			return false;
		}
		*efer |= EFER_LMA;
		return true;
	}
	return !(cr4 & CR4_PAE) || guest_load_pdptes(v);
}

static bool paging_off(struct vcpu *v, uint64_t cr4, uint64_t *efer)
{
	if ((*efer & EFER_LMA) &&
	    ((virt->read(v, XREG_SEG(TM_SEG_CS, SEG_ATTRIBUTES)) & SEG_L) || (cr4 & CR4_PCIDE))) {
		return false;
	}
	*efer &= ~(uint64_t)EFER_LMA;
	return true;
}

static bool write_cr0(struct vcpu *v, uint64_t val)
{
	uint64_t old = virt->read(v, XREG_CR0), cr4 = virt->read(v, XREG_CR4);
	uint64_t efer = virt->read(v, XREG_EFER), was = efer;

	if (!cr0_ok(val)) {
		return false;
	}
	val = (val & CR0_VALID) | CR0_ET;
	if ((val & ~old) & CR0_PG ? !paging_on(v, cr4, &efer) :
	    (old & ~val) & CR0_PG ? !paging_off(v, cr4, &efer) : false) {
		return false;
	}
	if (efer != was) {
		virt->write(v, XREG_EFER, efer);
	}
	virt->write(v, XREG_CR0, val);
	if ((old ^ val) & CR0_FLUSH) {
		guest_flush(v);
	}
	return true;
}

static bool write_cr3(struct vcpu *v, uint64_t val)
{
	uint64_t cr4 = virt->read(v, XREG_CR4), efer = virt->read(v, XREG_EFER);

	if (efer & EFER_LMA) {
		if (cr4 & CR4_PCIDE) {
			val &= ~CR3_NOFLUSH;
		}
		if (val & ~phys_mask()) {
			return false;
		}
	} else {
		val = (uint32_t)val;
		if (uses_pdptes(virt->read(v, XREG_CR0), cr4, efer) && !load_pdptes(v, val)) {
			return false;
		}
	}
	virt->write(v, XREG_CR3, val);
	guest_flush(v);
	return true;
}

static bool write_cr4(struct vcpu *v, uint64_t val)
{
	uint64_t old = virt->read(v, XREG_CR4), cr0 = virt->read(v, XREG_CR0);
	uint64_t efer = virt->read(v, XREG_EFER);

	if (!cr4_ok(val, cr0, efer)) {
		return false;
	}
	if ((val & ~old & CR4_PCIDE) && (virt->read(v, XREG_CR3) & 0xfff)) {
		return false;
	}
	if (((old ^ val) & CR4_PAE_RELOAD) && uses_pdptes(cr0, val, efer) && !guest_load_pdptes(v)) {
		return false;
	}
	virt->write(v, XREG_CR4, val);
	if ((old ^ val) & CR4_FLUSH) {
		guest_flush(v);
	}
	return true;
}

void exit_cr_write(struct vcpu *v, unsigned cr, uint64_t val, unsigned len)
{
	bool ok = true;

	if (guest_mode(v) != MODE_64 && cr != 8) {
		val = (uint32_t)val;
	}
	switch (cr) {
	case 0:
		ok = write_cr0(v, val);
		break;
	case 2:
		v->arch.cr2 = val;
		break;
	case 3:
		ok = write_cr3(v, val);
		break;
	case 4:
		ok = write_cr4(v, val);
		break;
	case 8:
		ok = val <= 15;
		if (ok) {
			lapic_set_cr8(v, val);
		}
		break;
	default:
		inject_ud(v);
		return;
	}
	if (ok) {
		guest_skip(v, len);
	} else {
		inject_gp(v);
	}
}

void exit_cr_read(struct vcpu *v, unsigned cr, unsigned gpr, unsigned len)
{
	uint64_t val;

	switch (cr) {
	case 0:
		val = virt->read(v, XREG_CR0);
		break;
	case 2:
		val = v->arch.cr2;
		break;
	case 3:
		val = virt->read(v, XREG_CR3);
		break;
	case 4:
		val = virt->read(v, XREG_CR4);
		break;
	case 8:
		val = lapic_cr8(v);
		break;
	default:
		inject_ud(v);
		return;
	}
	vcpu_set_gpr(v, gpr, guest_mode(v) == MODE_64 ? val : (uint32_t)val);
	guest_skip(v, len);
}

void exit_xsetbv(struct vcpu *v, unsigned len)
{
	const uint64_t *r = v->arch.gpr;
	uint64_t val = (r[GPR_RDX] & 0xffffffffu) << 32 | (uint32_t)r[GPR_RAX];

	if (!fpu_mask() || !(virt->read(v, XREG_CR4) & CR4_OSXSAVE)) {
		inject_ud(v);
	} else if (guest_cpl(v) != 0 || (uint32_t)r[GPR_RCX] != 0 || !xcr0_ok(val)) {
		inject_gp(v);
	} else {
		fpu_set_xcr0(v, val);
		guest_skip(v, len);
	}
}

/* ---- debug registers ------------------------------------------------------------------------- */

static bool write_dr(struct vcpu *v, unsigned dr, uint64_t val)
{
	if (dr < 4) {
		v->arch.dr[dr] = val;
		debug_update(v);
		return true;
	}
	if (val >> 32) {
		return false;
	}
	if (dr == 6) {
		v->arch.dr6 = (val & DR6_WRITABLE) | DR6_FIXED;
	} else {
		virt->write(v, XREG_DR7, (val & DR7_WRITABLE) | DR7_FIXED);
		debug_update(v);
	}
	return true;
}

void exit_dr(struct vcpu *v, unsigned dr, bool write, unsigned gpr, unsigned len)
{
	uint64_t dr7 = virt->read(v, XREG_DR7), val;
	bool wide = guest_mode(v) == MODE_64;

	if (dr > 7 || ((dr == 4 || dr == 5) && (virt->read(v, XREG_CR4) & CR4_DE))) {
		inject_ud(v);
		return;
	}
	if (guest_cpl(v) != 0) {
		inject_gp(v);
		return;
	}
	if (dr7 & DR7_GD) {
		exit_exception(v, VEC_DB, false, DR6_BD);
		return;
	}
	dr |= dr >= 4 ? 2u : 0u;	/* 4 and 5 are other names of 6 and 7 */
	if (write) {
		val = vcpu_gpr(v, gpr);
		if (!write_dr(v, dr, wide ? val : (uint32_t)val)) {
			inject_gp(v);
			return;
		}
	} else {
		val = dr < 4 ? v->arch.dr[dr] : dr == 6 ? v->arch.dr6 : dr7;
		vcpu_set_gpr(v, gpr, wide ? val : (uint32_t)val);
	}
	guest_skip(v, len);
}
