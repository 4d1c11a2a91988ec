// SPDX-License-Identifier: Apache-2.0
//
// Control and debug registers, XCR0, segments and descriptors with random values: each works or
// faults. What worked is put back by the next instruction (run.S).

#include <stdlib.h>
#include <string.h>
#include <tidemark/call.h>
#include <tidemark/guest.h>
#include <tidemark/tap.h>
#include <tidemark/x86.h>
#include "attacks.h"

typedef uint64_t try_fn(uint64_t);
try_fn cr0_try, cr3_try, cr4_try, cr8_try, dr0_try, dr1_try, dr2_try, dr3_try, dr4_try, dr5_try,
	dr6_try, dr7_try, xcr_try, seg_ds, seg_es, seg_ss, seg_fs, seg_gs, seg_ldt, seg_tr, seg_cs;

#define CR0_PG_PE 0x80000001u
#define CR0_NW 0x20000000u
#define CR0_CD 0x40000000u
#define CR4_OSXSAVE (1u << 18)
#define DR7_RESET 0x400u
#define TRIED_MAX 12

struct tried {
	const char *name;
	uint64_t ok, refused, other;
};

static uint64_t read_cr(unsigned n)
{
	uint64_t v = 0;

	if (n == 0) {
		__asm__ volatile("movq %%cr0, %0" : "=r"(v));
	} else if (n == 3) {
		__asm__ volatile("movq %%cr3, %0" : "=r"(v));
	} else if (n == 4) {
		__asm__ volatile("movq %%cr4, %0" : "=r"(v));
	}
	return v;
}

static uint64_t flip_some(struct tm_prng *rng, uint64_t v)
{
	for (uint64_t n = 1 + tm_prng_below(rng, 3); n > 0; n--) {
		v ^= (uint64_t)1 << tm_prng_below(rng, tm_prng_below(rng, 4) != 0 ? 32 : 64);
	}
	return tm_prng_below(rng, 16) == 0 ? tm_prng_next(rng) : v;
}

/* VMX asks the hypervisor. With SVM CR0 is the CPU's own to check, and QEMU's TCG does not: it loses
 * PE or PG in 64-bit mode and goes on in another (ends.c gets there the right way), takes NW without
 * CD and upper bits, and refuses to be entered like that. */
static uint64_t draw_cr0(struct tm_prng *rng, uint64_t cr0)
{
	uint64_t v = flip_some(rng, cr0);

	if (!tm_call_is_vmmcall()) {
		return v;
	}
	v = (v | CR0_PG_PE) & 0xffffffffu;
	return (v & CR0_NW) != 0 ? v | CR0_CD : v;
}

/* The bits that choose the table stay: other tables are for ends.c. */
static uint64_t draw_cr3(struct tm_prng *rng)
{
	uint64_t v = read_cr(3) | tm_prng_below(rng, 4096);

	return tm_prng_below(rng, 2) != 0 ? v : v | (uint64_t)1 << (52 + tm_prng_below(rng, 12));
}

static void note(struct hostile *h, struct tried *t, const struct tm_probe *p)
{
	h->ops++;
	t->ok += p->kind == TM_PROBE_OK;
	t->refused += p->kind == TM_PROBE_GP || p->kind == TM_PROBE_UNDEF;
	t->other += p->kind != TM_PROBE_OK && p->kind != TM_PROBE_GP && p->kind != TM_PROBE_UNDEF;
}

/* Access detection bites whoever touches debug registers next; delivery switches it off. */
static void debug_off(void)
{
	for (unsigned i = 0; i < 4; i++) {
		if (tm_probe_call(dr7_try, DR7_RESET).kind == TM_PROBE_OK) {
			break;
		}
	}
	__asm__ volatile("movq %0, %%dr7" : : "r"((uint64_t)DR7_RESET));
	__asm__ volatile("movq %0, %%dr6" : : "r"((uint64_t)0xffff0ff0u));
}

static void debug_registers(struct hostile *h, struct tried *t, struct tried *seven)
{
	static try_fn *const fn[] = {dr0_try, dr1_try, dr2_try, dr3_try, dr4_try, dr5_try, dr6_try};
	struct tm_probe p;

	p = tm_probe_call(fn[tm_prng_below(&h->rng, 7)], tm_prng_next(&h->rng) >>
			  tm_prng_below(&h->rng, 64));
	note(h, t, &p);
	p = tm_probe_call(dr7_try, tm_prng_next(&h->rng) >> 32 << (tm_prng_below(&h->rng, 16) == 0));
	note(h, seven, &p);
	debug_off();
}

struct xcr_try {
	uint64_t index, value, old;
};

static void extended(struct hostile *h, struct tried *t)
{
	struct xcr_try x = {.old = 1};
	struct tm_probe p;
	uint64_t cr4 = read_cr(4);

	if (tm_probe_call(cr4_try, cr4 | CR4_OSXSAVE).kind != TM_PROBE_OK) {
		return;
	}
	__asm__ volatile("movq %0, %%cr4" : : "r"(cr4 | CR4_OSXSAVE) : "memory");
	for (uint64_t i = 0; i < h->budget / 64; i++) {
		x.index = tm_prng_below(&h->rng, 4) != 0 ? 0 : tm_prng_below(&h->rng, 4);
		x.value = tm_prng_below(&h->rng, 2) != 0 ? tm_prng_below(&h->rng, 8) :
							   tm_prng_next(&h->rng);
		p = tm_probe_call(xcr_try, (uint64_t)(uintptr_t)&x);
		note(h, t, &p);
	}
	x = (struct xcr_try){.index = 0, .value = 1, .old = 1};
	(void)tm_probe_call(xcr_try, (uint64_t)(uintptr_t)&x);
	__asm__ volatile("movq %0, %%cr4" : : "r"(cr4) : "memory");
}

static void judge(const char *what, const struct tried *t, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		/* DR5 is DR7 while CR4.DE is clear; access detection is another exception. */
		tap_ok(t[i].other == 0 || t[i].name[0] == 'D',
		       "%s %s: %llu done, %llu refused, %llu other", what, t[i].name,
		       (unsigned long long)t[i].ok, (unsigned long long)t[i].refused,
		       (unsigned long long)t[i].other);
	}
}

void attack_control(struct hostile *h)
{
	struct tried t[] = {{.name = "CR0"}, {.name = "CR3"}, {.name = "CR4"}, {.name = "CR8"},
			    {.name = "DR"}, {.name = "DR7"}, {.name = "XCR0"}};
	uint64_t cr0 = read_cr(0);
	uint64_t cr4 = read_cr(4);
	uint64_t rounds = h->budget / 16;

	for (uint64_t i = 0; i < rounds; i++) {
		struct tm_probe p = tm_probe_call(cr0_try, draw_cr0(&h->rng, cr0));

		note(h, &t[0], &p);
		p = tm_probe_call(cr3_try, draw_cr3(&h->rng));
		note(h, &t[1], &p);
		p = tm_probe_call(cr4_try, flip_some(&h->rng, cr4));
		note(h, &t[2], &p);
		p = tm_probe_call(cr8_try, tm_prng_next(&h->rng) >> tm_prng_below(&h->rng, 64));
		note(h, &t[3], &p);
		debug_registers(h, &t[4], &t[5]);
	}
	extended(h, &t[6]);
	judge("control:", t, sizeof(t) / sizeof(t[0]));
	tap_ok(read_cr(0) == cr0 && read_cr(4) == cr4, "control: CR0 and CR4 are as they were");
}

/* --- descriptors ----------------------------------------------------------------------------------- */

/* A table of our own behind copies of the library's entries. */
#define ENTRIES 512u
static uint64_t gdt[ENTRIES] __attribute__((aligned(4096)));

struct table {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed));

static uint64_t draw_descriptor(struct tm_prng *rng)
{
	uint64_t d = tm_prng_next(rng);

	if (tm_prng_below(rng, 8) != 0) {
		d |= (uint64_t)1 << 47;		/* present */
	}
	if (tm_prng_below(rng, 2) != 0) {
		d &= ~((uint64_t)3 << 45);	/* DPL 0 */
	}
	switch (tm_prng_below(rng, 5)) {
	case 0: return (d & ~((uint64_t)0x1f << 40)) | (uint64_t)0x12 << 40;	/* data, writable */
	case 3: return (d & ~((uint64_t)0x1f << 40)) | (uint64_t)0x1a << 40;	/* code */
	case 1: return (d & ~((uint64_t)0x1f << 40)) | (uint64_t)2 << 40;	/* LDT */
	case 2: return (d & ~((uint64_t)0x1f << 40)) | (uint64_t)9 << 40;	/* TSS */
	default: return d;
	}
}

/* seg_cs runs on in what it loaded: 64-bit code or a fault. */
static void only_64bit_code(uint64_t *d)
{
	bool code = (*d >> 43 & 3) == 3;

	if (code) {
		*d = (*d | (uint64_t)1 << 53) & ~((uint64_t)1 << 54);
	}
}

void attack_descriptors(struct hostile *h)
{
	static try_fn *const fn[] = {seg_ds, seg_es, seg_ss, seg_fs, seg_gs, seg_ldt, seg_tr, seg_cs};
	struct tried t[] = {{.name = "DS"}, {.name = "ES"}, {.name = "SS"}, {.name = "FS"},
			    {.name = "GS"}, {.name = "LDTR"}, {.name = "TR"}, {.name = "CS"}};
	struct table old, own = {sizeof(gdt) - 1, (uint64_t)(uintptr_t)gdt};

	__asm__ volatile("sgdt %0" : "=m"(old));
	memcpy(gdt, (const void *)(uintptr_t)old.base, 4 * sizeof(gdt[0]));
	__asm__ volatile("lgdt %0" : : "m"(own) : "memory");
	for (uint64_t i = 0; i < h->budget / 16; i++) {
		unsigned which = (unsigned)tm_prng_below(&h->rng, 8);
		uint64_t at = 4 + tm_prng_below(&h->rng, ENTRIES - 4);
		uint64_t sel = at * 8 | (tm_prng_below(&h->rng, 8) == 0 ? tm_prng_below(&h->rng, 8) : 0);
		struct tm_probe p;

		gdt[at] = draw_descriptor(&h->rng);
		only_64bit_code(&gdt[at]);
		if (tm_prng_below(&h->rng, 2) != 0 && at + 1 < ENTRIES) {
			gdt[at + 1] = tm_prng_below(&h->rng, 2) != 0 ? 0 : tm_prng_next(&h->rng);
			only_64bit_code(&gdt[at + 1]);
		}
		if (tm_prng_below(&h->rng, 16) == 0) {
			sel = tm_prng_below(&h->rng, 0x10000) | 0x8000;	/* past the limit */
		}
		p = tm_probe_call(fn[which], sel);
		note(h, &t[which], &p);
	}
	/* No LDT, and no entry of ours in use but TR's, which nothing needs. */
	__asm__ volatile("lldt %w0" : : "r"(0));
	__asm__ volatile("lgdt %0" : : "m"(old) : "memory");
	for (unsigned i = 0; i < 8; i++) {
		tap_ok(t[i].ok + t[i].refused + t[i].other > 0,
		       "descriptors %s: %llu loaded, %llu refused, %llu other", t[i].name,
		       (unsigned long long)t[i].ok, (unsigned long long)t[i].refused,
		       (unsigned long long)t[i].other);
	}
}
