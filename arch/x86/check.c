// SPDX-License-Identifier: Apache-2.0
/*
 * Guest state as the VM-entry checks want it (SDM volume 3, 27.3.1; APM volume 2, 15.5.1): one set of
 * rules for both vendors and for REGS_SET, because one emulator accepts nearly everything. Pure but
 * for guest_state_bad().
 */
#include <asm/guest.h>
#include <hyp/vcpu.h>

#include "check.h"

#define EVENT_VALID (1u << 31)
#define EVENT_ERROR (1u << 11)
#define EVENT_TYPE(e) (((e) >> 8) & 7u)
#define EVENT_RSVD 0x7ffff000u
#define HAS_ERROR_VECTORS 0x00227d00u	/* #DF #TS #NP #SS #GP #PF #AC #CP */
#define SEG_RSVD 0xfffe0f00u
#define V86_ATTR 0xf3u

static bool usable(const struct tm_segment *s)
{
	return !(s->attributes & SEG_UNUSABLE);
}

static const char *check_control(const struct check_state *s)
{
	bool lma = s->efer & EFER_LMA;

	if (!cr0_ok(s->cr0)) {
		return "CR0";
	}
	if (!cr4_ok(s->cr4, s->cr0, s->efer)) {
		return "CR4";
	}
	if (!efer_ok(s->efer) || lma != ((s->efer & EFER_LME) && (s->cr0 & CR0_PG))) {
		return "EFER";
	}
	if (s->cr3 & ~((1ull << s->phys_bits) - 1) & (lma ? ~0ull : 0xffffffffull)) {
		return "CR3";
	}
	if (!lma && s->cr3 >> 32) {
		return "CR3 above 4 GiB";
	}
	if (s->dr7 >> 32) {
		return "DR7";
	}
	return NULL;
}

static const char *check_flags(const struct check_state *s)
{
	bool lma = s->efer & EFER_LMA, is_64 = lma && (s->seg[TM_SEG_CS].attributes & SEG_L);

	if (!(s->rflags & RFLAGS_FIXED) || (s->rflags & ~(uint64_t)RFLAGS_VALID)) {
		return "RFLAGS";
	}
	if ((s->rflags & RFLAGS_VM) && (lma || !(s->cr0 & CR0_PE))) {
		return "RFLAGS.VM";
	}
	if (is_64 ? !is_canonical(s->rip) : s->rip >> 32 != 0) {
		return "RIP";
	}
	if (!is_canonical(s->gdtr.base) || s->gdtr.limit > 0xffff || !is_canonical(s->idtr.base) ||
	    s->idtr.limit > 0xffff) {
		return "GDTR, IDTR";
	}
	return NULL;
}

static const char *check_event(const struct check_state *s)
{
	unsigned type = EVENT_TYPE(s->event), vector = s->event & 0xff;
	bool has_error = s->event & EVENT_ERROR;

	if ((s->blocking & ~7u) || (s->blocking & 3) == 3 ||
	    ((s->blocking & TM_BLOCK_STI) && !(s->rflags & RFLAGS_IF))) {
		return "blocking";
	}
	if (s->halted && (s->blocking & (TM_BLOCK_STI | TM_BLOCK_MOV_SS))) {
		return "halted in a shadow";
	}
	if (!(s->event & EVENT_VALID)) {
		return s->event ? "event not valid" : NULL;
	}
	if ((s->event & EVENT_RSVD) || type == 1 || type == 7 ||
	    (type == EVENT_NMI && vector != VEC_NMI) ||
	    (type == EVENT_HW_EXCEPTION && (vector > 31 || vector == VEC_NMI))) {
		return "event";
	}
	if (has_error != (type == EVENT_HW_EXCEPTION && (s->cr0 & CR0_PE) &&
			  ((HAS_ERROR_VECTORS >> vector) & 1))) {
		return "event's error code";
	}
	if (type == EVENT_EXT_INT &&
	    (!(s->rflags & RFLAGS_IF) || (s->blocking & (TM_BLOCK_STI | TM_BLOCK_MOV_SS)))) {
		return "interrupt while they are blocked";
	}
	return type == EVENT_NMI && s->blocking ? "NMI while they are blocked" : NULL;
}

/* What all usable segments owe. */
static const char *check_common(const struct tm_segment *s, bool system)
{
	bool granular = s->attributes & SEG_G;

	if ((s->attributes & SEG_RSVD) || !(s->attributes & SEG_P) ||
	    !(s->attributes & SEG_S) != system) {
		return "segment attributes";
	}
	if (((s->limit & 0xfff) != 0xfff && granular) || (s->limit >> 20 && !granular)) {
		return "segment limit";
	}
	return NULL;
}

static const char *check_v86(const struct check_state *s)
{
	for (unsigned i = TM_SEG_ES; i <= TM_SEG_GS; i++) {
		const struct tm_segment *g = &s->seg[i];

		if (g->base != (uint64_t)g->selector << 4 || g->limit != 0xffff ||
		    g->attributes != V86_ATTR) {
			return "segment in virtual-8086 mode";
		}
	}
	return NULL;
}

static const char *check_code(const struct check_state *s)
{
	const struct tm_segment *cs = &s->seg[TM_SEG_CS], *ss = &s->seg[TM_SEG_SS];
	unsigned type = cs->attributes & SEG_TYPE;
	const char *bad = check_common(cs, false);

	if (bad || !usable(cs)) {
		return "CS";
	}
	/* Accessed code; also plain data: what real mode loads, and PE alone does not change it. */
	if (!(type & 1) || (!(type & 8) && type != 3)) {
		return "CS type";
	}
	if ((s->efer & EFER_LMA) && (cs->attributes & SEG_L) && (cs->attributes & SEG_DB)) {
		return "CS.L and CS.D";
	}
	if (cs->base >> 32) {
		return "CS base";
	}
	if (!(s->cr0 & CR0_PE)) {
		return NULL;
	}
	/* Conforming code may have a lower DPL than CPL. */
	if (type & 4 ? SEG_DPL(cs->attributes) > SEG_DPL(ss->attributes) :
	    SEG_DPL(cs->attributes) != SEG_DPL(ss->attributes)) {
		return "CS.DPL is not the CPL";
	}
	return NULL;
}

static const char *check_data(const struct tm_segment *g, bool stack)
{
	unsigned type = g->attributes & SEG_TYPE;
	const char *bad;

	if (!usable(g)) {
		return NULL;
	}
	bad = check_common(g, false);
	if (bad) {
		return bad;
	}
	if (stack ? type != 3 && type != 7 : !(type & 1) || ((type & 8) && !(type & 2))) {
		return "data segment type";
	}
	return NULL;
}

static const char *check_system(const struct check_state *s)
{
	const struct tm_segment *tr = &s->seg[TM_SEG_TR], *ldtr = &s->seg[TM_SEG_LDTR];
	unsigned type = tr->attributes & SEG_TYPE;
	const char *bad = check_common(tr, true);

	if (bad || !usable(tr) || (tr->selector & 4) || !is_canonical(tr->base) ||
	    (type != 11 && (type != 3 || (s->efer & EFER_LMA)))) {
		return "TR";
	}
	if (!usable(ldtr)) {
		return NULL;
	}
	bad = check_common(ldtr, true);
	return bad || (ldtr->selector & 4) || !is_canonical(ldtr->base) ||
		       (ldtr->attributes & SEG_TYPE) != 2 ? "LDTR" : NULL;
}

static const char *check_segments(const struct check_state *s)
{
	static const uint8_t data[] = {TM_SEG_ES, TM_SEG_SS, TM_SEG_DS, TM_SEG_FS, TM_SEG_GS};
	const char *bad = check_code(s);

	for (unsigned k = 0; k < sizeof(data) && !bad; k++) {
		const struct tm_segment *g = &s->seg[data[k]];

		bad = check_data(g, data[k] == TM_SEG_SS);
		if (!bad && data[k] >= TM_SEG_FS ? !is_canonical(g->base) :
		    usable(g) && g->base >> 32) {
			bad = "segment base";
		}
	}
	return bad;
}

const char *check_state(const struct check_state *s)
{
	const char *bad = check_control(s);

	bad = bad ? bad : check_flags(s);
	bad = bad ? bad : check_event(s);
	bad = bad ? bad : s->rflags & RFLAGS_VM ? check_v86(s) : check_segments(s);
	return bad ? bad : check_system(s);
}

/* A loaded segment has been accessed, whatever its descriptor says: TCG's far returns leave the bit
 * out, and hardware that checks it checks it itself. TCG's LTR takes a null selector, which is #GP: the
 * task register is then as after a reset. LTR and LLDT take any base there, where VMLOAD extends bit
 * 47 (APM volume 2, 15.5.2). */
struct tm_segment guest_segment(struct vcpu *v, unsigned i)
{
	struct tm_segment s = {
		.selector = (uint16_t)virt->read(v, XREG_SEG(i, SEG_SELECTOR)),
		.attributes = (uint32_t)virt->read(v, XREG_SEG(i, SEG_ATTRIBUTES)),
		.limit = (uint32_t)virt->read(v, XREG_SEG(i, SEG_LIMIT)),
		.base = virt->read(v, XREG_SEG(i, SEG_BASE)),
	};

	if ((s.attributes & (SEG_S | SEG_P)) == (SEG_S | SEG_P) && usable(&s)) {
		s.attributes |= 1;
	}
	if (i >= TM_SEG_LDTR) {
		s.base = (uint64_t)((int64_t)(s.base << 16) >> 16);
	}
	if (i == TM_SEG_TR && !(s.attributes & SEG_P)) {
		return (struct tm_segment){.attributes = SEG_P | 11, .limit = 0xffff};
	}
	return s;
}

uint32_t event_pack(const struct x86_event *e)
{
	return !e->valid ? 0 :
	       EVENT_VALID | (e->has_error ? EVENT_ERROR : 0) | (uint32_t)e->type << 8 | e->vector;
}

const char *guest_state_bad(struct vcpu *v)
{
	struct check_state s = {
		.rip = virt->read(v, XREG_RIP),
		.rflags = virt->read(v, XREG_RFLAGS),
		.cr0 = virt->read(v, XREG_CR0),
		.cr3 = virt->read(v, XREG_CR3),
		.cr4 = virt->read(v, XREG_CR4),
		.efer = virt->read(v, XREG_EFER),
		.dr7 = virt->read(v, XREG_DR7),
		.gdtr = {.base = virt->read(v, XREG_GDTR_BASE),
			 .limit = (uint32_t)virt->read(v, XREG_GDTR_LIMIT)},
		.idtr = {.base = virt->read(v, XREG_IDTR_BASE),
			 .limit = (uint32_t)virt->read(v, XREG_IDTR_LIMIT)},
		.event = event_pack(&v->arch.event),
		.blocking = (uint32_t)virt->read(v, XREG_BLOCKING),
		.phys_bits = cpu_features.phys_bits,
	};

	for (unsigned i = 0; i < 8; i++) {
		s.seg[i] = guest_segment(v, i);
	}
	return check_state(&s);
}
