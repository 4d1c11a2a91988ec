// SPDX-License-Identifier: Apache-2.0
/*
 * A guest's own page tables, read as its MMU does (SDM volume 3, 4.3 to 4.6), to fetch instructions
 * and string operands. Read-only: accessed and dirty bits are left to hardware. At most four reads a
 * walk; what they return is the guest's business and only ever becomes an address that guest_read()
 * checks. No lock.
 */
#include <asm/guest.h>
#include <hyp/guest_copy.h>
#include <hyp/vm.h>

#define PTE_P 1ull
#define PTE_W 2ull
#define PTE_U 4ull
#define PTE_LARGE 0x80ull
#define PTE_NX (1ull << 63)
#define PTE_ADDR 0x000ffffffffff000ull

struct walker {
	struct vcpu *v;
	uint64_t cr0, cr4, efer;
	unsigned access;
	uint32_t error;		/* the access's bits of an error code */
	uint64_t allow;		/* W and U of all levels, NX inverted */
	bool nx;
};

static uint32_t error_bits(const struct walker *w)
{
	uint32_t e = 0;

	e |= w->access & WALK_WRITE ? PF_WRITE : 0;
	e |= w->access & WALK_USER ? PF_USER : 0;
	if ((w->access & WALK_EXEC) && ((w->efer & EFER_NXE) || (w->cr4 & CR4_SMEP))) {
		e |= PF_FETCH;
	}
	return e;
}

/* One entry. False: not present, or a bit that must not be set. */
static bool step(struct walker *w, uint64_t table, unsigned index, unsigned bytes, uint64_t *pte,
		 uint64_t reserved, struct walk *out)
{
	*pte = 0;
	/* Tables in no memory read as all-ones, which sets reserved bits. */
	if (guest_read(w->v->vm, gpa(table + (uint64_t)index * bytes), pte, bytes)) {
		*pte = ~0ull;
	}
	if (!(*pte & PTE_P)) {
		out->error = w->error;
		return false;
	}
	if (*pte & reserved) {
		out->error = w->error | PF_PRESENT | PF_RSVD;
		return false;
	}
	return true;
}

/* Rights of the whole way (SDM volume 3, 4.6). */
static bool permitted(const struct walker *w, bool writable, bool user)
{
	bool is_user = w->access & WALK_USER;

	if (is_user && !user) {
		return false;
	}
	if (w->access & WALK_EXEC) {
		return !w->nx && (is_user || !user || !(w->cr4 & CR4_SMEP));
	}
	if (!is_user && user && (w->cr4 & CR4_SMAP) &&
	    !(virt->read(w->v, XREG_RFLAGS) & RFLAGS_AC)) {
		return false;
	}
	return !(w->access & WALK_WRITE) || writable || (!is_user && !(w->cr0 & CR0_WP));
}

static bool finish(const struct walker *w, bool writable, bool user, uint64_t a, struct walk *out)
{
	if (!permitted(w, writable, user)) {
		out->error = w->error | PF_PRESENT;
		return false;
	}
	out->gpa = a;
	return true;
}

static bool walk_32(struct walker *w, uint32_t linear, struct walk *out)
{
	bool pse = w->cr4 & CR4_PSE, writable, user;
	uint64_t pde, pte;

	if (!step(w, virt->read(w->v, XREG_CR3) & 0xfffff000u, linear >> 22, 4, &pde, 0, out)) {
		return false;
	}
	pde = (uint32_t)pde;
	writable = pde & PTE_W;
	user = pde & PTE_U;
	if (pse && (pde & PTE_LARGE)) {
		/* PSE-36: bits 20:13 are address bits 39:32 */
		return finish(w, writable, user,
			      (pde & 0xffc00000u) | ((pde >> 13) & 0xff) << 32 | (linear & 0x3fffff), out);
	}
	if (!step(w, pde & 0xfffff000u, (linear >> 12) & 0x3ff, 4, &pte, 0, out)) {
		return false;
	}
	pte = (uint32_t)pte;
	return finish(w, writable && (pte & PTE_W), user && (pte & PTE_U),
		      (pte & 0xfffff000u) | (linear & 0xfff), out);
}

/* Levels of 512 entries: 2 = page directory pointers (a table of four in PAE), 3 = PML4. */
static bool walk_64(struct walker *w, uint64_t table, unsigned level, uint64_t linear, struct walk *out)
{
	uint64_t reserved = PTE_ADDR & ~((1ull << cpu_features.phys_bits) - 1);
	bool writable = true, user = true;
	uint64_t pte;

	reserved |= w->efer & EFER_NXE ? 0 : PTE_NX;
	for (;;) {
		unsigned shift = 12 + 9 * level;
		uint64_t offset = (1ull << shift) - 1;

		if (!step(w, table, (unsigned)(linear >> shift) & 511, 8, &pte,
			  reserved | (level == 3 ? PTE_LARGE : 0), out)) {
			return false;
		}
		writable = writable && (pte & PTE_W);
		user = user && (pte & PTE_U);
		w->nx = w->nx || (pte & PTE_NX);
		if (level == 0 || (pte & PTE_LARGE)) {
			return finish(w, writable, user, (pte & PTE_ADDR & ~offset) | (linear & offset), out);
		}
		table = pte & PTE_ADDR;
		level--;
	}
}

static bool walk_pae(struct walker *w, uint32_t linear, struct walk *out)
{
	uint64_t pdpte = virt->read(w->v, (enum x86_reg)(XREG_PDPTE0 + (linear >> 30)));

	if (virt == &svm_ops &&
	    guest_read(w->v->vm, gpa((virt->read(w->v, XREG_CR3) & 0xffffffe0u) + (linear >> 30) * 8ull),
		       &pdpte, sizeof(pdpte))) {
		pdpte = 0;
	}
	if (!(pdpte & PTE_P)) {
		out->error = w->error;
		return false;
	}
	return walk_64(w, pdpte & PTE_ADDR, 1, linear, out);
}

bool guest_walk(struct vcpu *v, uint64_t linear, unsigned access, struct walk *out)
{
	struct walker w = {
		.v = v,
		.cr0 = virt->read(v, XREG_CR0),
		.cr4 = virt->read(v, XREG_CR4),
		.efer = virt->read(v, XREG_EFER),
		.access = access,
	};

	*out = (struct walk){.gpa = linear};
	if (!(w.cr0 & CR0_PG)) {
		out->gpa = (uint32_t)linear;
		return true;
	}
	w.error = error_bits(&w);
	if (w.efer & EFER_LMA) {
		return walk_64(&w, virt->read(v, XREG_CR3) & PTE_ADDR, 3, linear, out);
	}
	return w.cr4 & CR4_PAE ? walk_pae(&w, (uint32_t)linear, out) :
				 walk_32(&w, (uint32_t)linear, out);
}

/* ---- instruction bytes ----------------------------------------------------------------------- */

unsigned guest_fetch(struct vcpu *v, uint8_t *buf)
{
	unsigned access = WALK_EXEC | (guest_cpl(v) == 3 ? WALK_USER : 0u), n = 0;
	uint64_t linear = guest_ip(v);
	bool wide = guest_mode(v) == MODE_64;
	struct walk w;

	if (!wide) {
		linear = (uint32_t)(linear + virt->read(v, XREG_SEG(TM_SEG_CS, SEG_BASE)));
	}
	while (n < 15) {
		uint64_t at = wide ? linear + n : (uint32_t)(linear + n);
		unsigned part = MIN(15u - n, (unsigned)(PAGE_SIZE - (at & PAGE_MASK)));

		if (!guest_walk(v, at, access, &w) || guest_read(v->vm, gpa(w.gpa), buf + n, part)) {
			break;		/* the instruction may be shorter */
		}
		n += part;
	}
	return n;
}
