// SPDX-License-Identifier: Apache-2.0
//
// The adversarial TLB and the guest's accesses; see fake.h. One lock per CPU, held from the look
// into the TLB to the end of the store: a flush takes it, so it waits for accesses under way, as
// hardware's does.

#include <arch/cpu.h>
#include <arch/tlb.h>
#include <hyp/dirty_hw.h>
#include <hyp/fault.h>
#include <hyp/sched.h>
#include <hyp/stage2.h>
#include <hyp/vm.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "fake.h"

#define FAKE __attribute__((weak))
#define SETS 512u
#define WAYS 8u
#define WALK 7u			// pseudo level: pointer to a last-level table
#define RETRIES 200u

struct tlb_entry {
	bool valid;
	uint16_t vmid;
	uint8_t level;		// of the leaf, or WALK
	uint16_t attrs;
	uint64_t start;		// input address
	hpa_t hpa;
};

struct cpu_tlb {
	pthread_mutex_t lock;
	uint64_t rng;
	struct tlb_entry e[SETS][WAYS];
};

static struct cpu_tlb cpu_tlb[FAKE_CPUS];

// By CPU: the log of the vCPU that is in guest mode there. `lock` is held during accesses and exits.
static struct cpu_log {
	pthread_mutex_t lock;
	struct vcpu *v;		// in guest mode after its access; NULL: nobody
	uint64_t gpa[DIRTY_HW_LOG_ENTRIES];
	unsigned n;
} cpu_log[FAKE_CPUS];

struct fake_tlb_stats fake_tlb;
unsigned fake_tlb_drop_one_in;
bool fake_tlb_walk_cache;

static unsigned default_cpu_of(unsigned vcpu_no)
{
	return vcpu_no % FAKE_CPUS;
}
unsigned (*fake_cpu_of)(unsigned vcpu_no) = default_cpu_of;

#define COUNT(field) __atomic_fetch_add(&fake_tlb.field, 1, __ATOMIC_RELAXED)

void fake_tlb_reset(uint64_t seed)
{
	memset(&fake_tlb, 0, sizeof(fake_tlb));
	fake_tlb_drop_one_in = 97;
	fake_tlb_walk_cache = true;
	for (unsigned i = 0; i < FAKE_CPUS; i++) {
		pthread_mutex_init(&cpu_log[i].lock, NULL);
		cpu_log[i].v = NULL;
		cpu_log[i].n = 0;
		memset(cpu_tlb[i].e, 0, sizeof(cpu_tlb[i].e));
		pthread_mutex_init(&cpu_tlb[i].lock, NULL);
		cpu_tlb[i].rng = (seed + i + 1) * 0x9e3779b97f4a7c15ull | 1;
	}
}

static uint64_t tlb_rand(struct cpu_tlb *t)
{
	t->rng ^= t->rng << 13;
	t->rng ^= t->rng >> 7;
	t->rng ^= t->rng << 17;
	return t->rng;
}

static unsigned entry_shift(unsigned level)
{
	return level == WALK ? LEVEL_SHIFT(1) : LEVEL_SHIFT(level);
}

static struct tlb_entry *set_of(struct cpu_tlb *t, uint16_t vmid, uint64_t a, unsigned level)
{
	uint64_t key = (a >> entry_shift(level)) * 31 + vmid * 7919u + level * 131u;

	return t->e[(key ^ (key >> 9)) % SETS];
}

static struct tlb_entry *find(struct cpu_tlb *t, uint16_t vmid, uint64_t a, unsigned level)
{
	struct tlb_entry *set = set_of(t, vmid, a, level);
	uint64_t start = a >> entry_shift(level) << entry_shift(level);

	for (unsigned i = 0; i < WAYS; i++) {
		if (set[i].valid && set[i].vmid == vmid && set[i].level == level &&
		    set[i].start == start) {
			return &set[i];
		}
	}
	return NULL;
}

static void insert(struct cpu_tlb *t, uint16_t vmid, uint64_t a, unsigned level, unsigned attrs,
		   hpa_t h)
{
	struct tlb_entry *set = set_of(t, vmid, a, level);
	struct tlb_entry *e = find(t, vmid, a, level);

	for (unsigned i = 0; e == NULL && i < WAYS; i++) {
		e = set[i].valid ? NULL : &set[i];
	}
	if (e == NULL) {
		e = &set[tlb_rand(t) % WAYS];
	}
	*e = (struct tlb_entry){
		.valid = true,
		.vmid = vmid,
		.level = (uint8_t)level,
		.attrs = (uint16_t)attrs,
		.start = a >> entry_shift(level) << entry_shift(level),
		.hpa = h,
	};
}

// Any entry that matches may answer, the small one or the large one.
static struct tlb_entry *lookup(struct cpu_tlb *t, uint16_t vmid, uint64_t a)
{
	unsigned first = (unsigned)(tlb_rand(t) % 3);

	for (unsigned i = 0; i < 3; i++) {
		struct tlb_entry *e = find(t, vmid, a, (first + i) % 3);

		if (e != NULL) {
			return e;
		}
	}
	return NULL;
}

// Hardware's walk of the real table, from the root or from a cached pointer to the last table.
static bool walk(struct cpu_tlb *t, struct stage2 *s2, uint64_t a, struct tlb_entry *out)
{
	const struct pgtable *pt = &s2->pt;
	const uint64_t *table = pt->root_ptr;
	unsigned level = pt->root_level;
	struct tlb_entry *cached;

	if (a >> pt->ia_bits) {
		return false;
	}
	cached = fake_tlb_walk_cache ? find(t, s2->vmid, a, WALK) : NULL;
	if (cached != NULL && (tlb_rand(t) & 1)) {
		table = pgtable_ptr(cached->hpa);
		level = 0;
		COUNT(cached_walks);
	}
	for (;; level--) {
		uint64_t index = a >> LEVEL_SHIFT(level);
		uint64_t pte;
		enum pte_kind kind;

		index = level == pt->root_level ? index : index & 511;
		pte = __atomic_load_n(&table[index], __ATOMIC_ACQUIRE);
		kind = pt->fmt->kind(pte, level);
		if (kind == PTE_HOLE) {
			return false;
		}
		if (kind == PTE_LEAF) {
			out->level = (uint8_t)level;
			out->attrs = (uint16_t)pt->fmt->attrs(pte, level);
			out->start = ALIGN_DOWN(a, LEVEL_SIZE(level));
			out->hpa = pt->fmt->addr(pte, level);
			return true;
		}
		table = pgtable_ptr(pt->fmt->addr(pte, level));
		if (level == 1) {
			insert(t, s2->vmid, a, WALK, 0, pt->fmt->addr(pte, level));
		}
	}
}

// ---- hardware that marks what is written ----

static _Thread_local bool in_access;

// The first store to a writable-clean leaf: hardware walks again and sets the dirty bit in the table.
static enum fake_hit set_dirty(struct stage2 *s2, unsigned cpu, uint64_t a, struct tlb_entry *out)
{
	const struct pgtable *pt = &s2->pt;
	struct vm *vm = container_of(s2, struct vm, s2);
	struct cpu_log *log = &cpu_log[cpu];

	for (;;) {
		uint64_t *table = pt->root_ptr, pte, new_pte;
		unsigned level = pt->root_level, attrs;
		enum pte_kind kind;
		uint64_t *p;

		for (;; level--) {
			uint64_t index = a >> LEVEL_SHIFT(level);

			p = &table[level == pt->root_level ? index : index & 511];
			pte = __atomic_load_n(p, __ATOMIC_ACQUIRE);
			kind = pt->fmt->kind(pte, level);
			if (kind != PTE_TABLE) {
				break;
			}
			table = pgtable_ptr(pt->fmt->addr(pte, level));
		}
		if (kind == PTE_HOLE) {
			return FAKE_HOLE;
		}
		attrs = pt->fmt->attrs(pte, level);
		if (!(attrs & PT_W)) {
			return FAKE_FORBIDDEN;
		}
		out->level = (uint8_t)level;
		out->start = ALIGN_DOWN(a, LEVEL_SIZE(level));
		out->hpa = pt->fmt->addr(pte, level);
		out->attrs = (uint16_t)(attrs | PT_DIRTY);
		if (!(attrs & PT_CLEANABLE) || (attrs & PT_DIRTY)) {
			return FAKE_HIT;
		}
		if (vm->dirty.backend == TM_BACKEND_PML && log->n == DIRTY_HW_LOG_ENTRIES) {
			return FAKE_LOG_FULL;
		}
		new_pte = pt->fmt->set_attrs(pte, level, attrs | PT_DIRTY);
		if (__atomic_compare_exchange_n(p, &pte, new_pte, false, __ATOMIC_ACQ_REL,
						__ATOMIC_RELAXED)) {
			if (vm->dirty.backend == TM_BACKEND_PML) {
				log->gpa[log->n++] = ALIGN_DOWN(a, PAGE_SIZE);
			}
			COUNT(dirtied);
			return FAKE_HIT;
		}
	}
}

// Out of guest mode: the log is handed over, then others may see that it is out. log->lock held.
static void exit_guest(unsigned cpu)
{
	struct cpu_log *log = &cpu_log[cpu];
	struct vcpu *v = log->v, *current;
	unsigned before = this_pcpu()->id, n = log->n;

	if (v == NULL) {
		return;
	}
	fake_set_cpu(cpu);
	current = this_pcpu()->current;
	this_pcpu()->current = v;
	log->n = 0;
	dirty_hw_logged(v, log->gpa, n);
	log->v = NULL;
	__atomic_store_n(&v->in_guest, false, __ATOMIC_RELEASE);
	__atomic_store_n(&v->stats.exits, v->stats.exits + 1, __ATOMIC_RELEASE);
	this_pcpu()->current = current;
	fake_set_cpu(before);
}

void fake_exit_guests(void)
{
	for (unsigned i = 0; i < FAKE_CPUS; i++) {
		pthread_mutex_lock(&cpu_log[i].lock);
		exit_guest(i);
		pthread_mutex_unlock(&cpu_log[i].lock);
	}
}

void fake_exit_if_idle(void)
{
	unsigned self = this_pcpu()->id + 1;

	if (in_access) {
		return;
	}
	for (unsigned i = 0; i < FAKE_CPUS; i++) {
		if (pthread_mutex_trylock(&cpu_log[i].lock) != 0) {
			continue;
		}
		// Whoever holds the stage-2 lock waits for no vCPU to leave guest mode; this thread
		// would take it twice.
		if (cpu_log[i].v != NULL && READ_ONCE(cpu_log[i].v->vm->s2.lock.cpu_plus1) != self) {
			exit_guest(i);
		}
		pthread_mutex_unlock(&cpu_log[i].lock);
	}
}

static void drop_one(struct cpu_tlb *t)
{
	struct tlb_entry *e = &t->e[tlb_rand(t) % SETS][tlb_rand(t) % WAYS];

	if (e->valid) {
		e->valid = false;
		COUNT(dropped);
	}
}

static bool allowed(unsigned attrs, unsigned access)
{
	unsigned need = access == ACCESS_WRITE ? PT_W : access == ACCESS_EXEC ? PT_X : PT_R;

	return attrs & need;
}

enum fake_hit fake_translate(struct stage2 *s2, unsigned cpu, gpa_t a, unsigned access, hpa_t *out,
			     void (*then)(void *ctx, hpa_t at), void *ctx)
{
	struct cpu_tlb *t = &cpu_tlb[cpu];
	enum fake_hit ret = FAKE_HOLE;
	struct tlb_entry *e, found;

	pthread_mutex_lock(&t->lock);
	if (fake_tlb_drop_one_in != 0 && tlb_rand(t) % fake_tlb_drop_one_in == 0) {
		for (unsigned i = 0; i < 8; i++) {
			drop_one(t);
		}
		// Among so many sets these seldom hit: the one in question goes half of the time.
		e = lookup(t, s2->vmid, a.v);
		if (e != NULL && (tlb_rand(t) & 1)) {
			e->valid = false;
			COUNT(dropped);
		}
	}
	e = lookup(t, s2->vmid, a.v);
	if (e != NULL) {
		COUNT(hits);
		found = *e;
	} else if (walk(t, s2, a.v, &found)) {
		COUNT(fills);
		if (found.level != 0) {
			COUNT(large_fills);
		}
		insert(t, s2->vmid, a.v, found.level, found.attrs, found.hpa);
	} else {
		goto out;
	}
	ret = FAKE_FORBIDDEN;
	if (allowed(found.attrs, access)) {
		ret = FAKE_HIT;
		if (access == ACCESS_WRITE && s2->hw_dirty && (found.attrs & PT_CLEANABLE) &&
		    !(found.attrs & PT_DIRTY)) {
			ret = set_dirty(s2, cpu, a.v, &found);
			if (ret != FAKE_HIT) {
				goto out;
			}
			insert(t, s2->vmid, a.v, found.level, found.attrs, found.hpa);
		}
		*out = hpa_add(found.hpa, a.v - found.start);
		if (then != NULL) {
			then(ctx, *out);
		}
	}
out:
	pthread_mutex_unlock(&t->lock);
	return ret;
}

// ---- flushes ------------------------------------------------------------------------------------

static void flush_entry(struct tlb_entry *e, uint16_t vmid, uint64_t start, uint64_t end)
{
	if (e->valid && e->vmid == vmid && e->start < end &&
	    start < e->start + (1ull << entry_shift(e->level))) {
		e->valid = false;
		COUNT(removed);
	}
}

// All entries that overlap the range, large leaves and walk cache too.
static void flush_cpu(unsigned cpu, uint16_t vmid, uint64_t start, uint64_t end)
{
	static const unsigned levels[] = {0, 1, 2, WALK};
	struct cpu_tlb *t = &cpu_tlb[cpu];

	pthread_mutex_lock(&t->lock);
	if (end - start <= 64 * PAGE_SIZE) {
		for (uint64_t a = start; a < end; a += PAGE_SIZE) {
			for (unsigned l = 0; l < ARRAY_SIZE(levels); l++) {
				struct tlb_entry *e = find(t, vmid, a, levels[l]);

				if (e != NULL) {
					flush_entry(e, vmid, start, end);
				}
			}
		}
	} else {
		for (unsigned i = 0; i < SETS * WAYS; i++) {
			flush_entry(&t->e[i / WAYS][i % WAYS], vmid, start, end);
		}
	}
	pthread_mutex_unlock(&t->lock);
}

static void flush_everywhere(uint16_t vmid, uint64_t start, uint64_t end)
{
	for (unsigned i = 0; i < FAKE_CPUS; i++) {
		flush_cpu(i, vmid, start, end);
	}
}

FAKE void arch_tlb_flush_range(struct stage2 *s2, gpa_t a, uint64_t pages)
{
	COUNT(flush_range);
	this_pcpu()->tlb_flushes++;
	flush_everywhere(s2->vmid, pages ? a.v : 0, pages ? a.v + (pages << PAGE_SHIFT) : ~0ull);
}

FAKE void arch_tlb_flush_all(struct stage2 *s2)
{
	COUNT(flush_all);
	this_pcpu()->tlb_flushes++;
	flush_everywhere(s2->vmid, 0, ~0ull);
}

FAKE void arch_tlb_flush_local(struct stage2 *s2, gpa_t a)
{
	COUNT(flush_local);
	this_pcpu()->tlb_flushes++;
	flush_cpu(this_pcpu()->id, s2->vmid, ALIGN_DOWN(a.v, PAGE_SIZE),
		  ALIGN_DOWN(a.v, PAGE_SIZE) + PAGE_SIZE);
}

// ---- guest accesses -----------------------------------------------------------------------------

struct move {
	uint64_t *value;	// NULL: nothing moves
	bool write;
};

static void move_data(void *ctx, hpa_t at)
{
	struct move *m = ctx;
	uint64_t *p = phys_to_virt(at);

	if (m->write) {
		__atomic_store_n(p, *m->value, __ATOMIC_RELAXED);
	} else {
		*m->value = __atomic_load_n(p, __ATOMIC_RELAXED);
	}
}

static struct fake_result guest_access(struct vm *vm, unsigned vcpu_no, gpa_t a, struct move *m)
{
	struct vcpu *v = __atomic_load_n(&vm->vcpu[vcpu_no], __ATOMIC_ACQUIRE);
	unsigned access = m->write ? ACCESS_WRITE : ACCESS_READ;
	unsigned cpu = fake_cpu_of(vcpu_no);
	struct fake_result r = {.hpa = HPA_NONE};
	unsigned before = this_pcpu()->id;
	struct cpu_log *log = &cpu_log[cpu];
	struct vcpu *current;

	pthread_mutex_lock(&log->lock);
	if (log->v != v) {
		exit_guest(cpu);
	}
	in_access = true;
	fake_set_cpu(cpu);
	current = this_pcpu()->current;
	this_pcpu()->current = v;
	v->cpu = (uint16_t)cpu;
	for (r.action = FAULT_RETRY; r.action == FAULT_RETRY;) {
		enum fake_hit hit;

		log->v = v;
		__atomic_store_n(&v->in_guest, true, __ATOMIC_SEQ_CST);
		hit = fake_translate(&vm->s2, cpu, a, access, &r.hpa,
				     m->value != NULL ? move_data : NULL, m);
		// Hardware's log keeps it in guest mode for a while, so that somebody has to ask.
		if (hit != FAKE_HIT || log->n == 0 || tlb_rand(&cpu_tlb[cpu]) % 16 == 0) {
			exit_guest(cpu);
		}
		if (hit == FAKE_HIT) {
			r.action = FAKE_DONE;
		} else if (r.faults++ == RETRIES) {
			r.action = FAKE_STUCK;
		} else if (hit != FAKE_LOG_FULL) {
			struct s2_fault f = {.gpa = a, .access = (uint8_t)access};

			f.permission = hit == FAKE_FORBIDDEN;
			r.action = (int)fault_handle(v, &f);
		}
	}
	this_pcpu()->current = current;
	fake_set_cpu(before);
	in_access = false;
	pthread_mutex_unlock(&log->lock);
	return r;
}

struct fake_result fake_access(struct vm *vm, unsigned vcpu_no, gpa_t a, bool write)
{
	return guest_access(vm, vcpu_no, a, &(struct move){.write = write});
}

struct fake_result fake_store64(struct vm *vm, unsigned vcpu_no, gpa_t a, uint64_t value)
{
	return guest_access(vm, vcpu_no, a, &(struct move){.value = &value, .write = true});
}

struct fake_result fake_load64(struct vm *vm, unsigned vcpu_no, gpa_t a, uint64_t *value)
{
	return guest_access(vm, vcpu_no, a, &(struct move){.value = value});
}

// Only what links hyp/fault.c has it; a test of the TLB alone does not.
FAKE enum fault_action fault_handle(struct vcpu *v, const struct s2_fault *f)
{
	(void)v, (void)f;
	fprintf(stderr, "fake: no fault_handle() linked\n");
	abort();
}

FAKE void dirty_hw_logged(struct vcpu *v, const uint64_t *gpas, unsigned n)
{
	(void)v, (void)gpas, (void)n;
}

FAKE void dirty_hw_leaf_gone(struct stage2 *s2, gpa_t a)
{
	(void)s2, (void)a;
}
