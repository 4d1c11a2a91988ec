// SPDX-License-Identifier: Apache-2.0
/*
 * Debug builds: the TLB and break-before-make checker of one stage-2 (reliability G2), guarded by
 * that stage-2's lock. It is told of each store of an entry and of each flush and keeps the
 * invalidations that are owed. It shares no code with the walker: its rules stand here a second time.
 *
 * An entry that was valid may be in a TLB. Then:
 *   valid -> invalid				owed: the entry's range
 *   leaf -> same leaf with less right		owed
 *   leaf -> other address, memory type, or table <-> leaf, table -> other table
 *						with break-before-make: fatal; without: owed
 *   invalid -> valid while owed		with break-before-make: fatal (make before the flush)
 * Dropping the lock or freeing a table page with anything owed is fatal.
 */
#include <hyp/err.h>
#include <hyp/pgtable.h>
#include <hyp/tlbcheck.h>

#if DEBUG

#define RIGHTS (PT_R | PT_W | PT_X)

static void remove_range(struct tlbcheck *c, unsigned i)
{
	c->owed[i] = c->owed[--c->count];
}

/* Joins with ranges that touch it; exact as long as all parts are. */
static void owe(struct tlbcheck *c, uint64_t start, uint64_t end)
{
	struct tlbcheck_range r = {.start = start, .end = end};
	unsigned nearest = 0;
	uint64_t best = ~0ull;

	for (unsigned i = 0; i < c->count;) {
		struct tlbcheck_range *o = &c->owed[i];

		if (o->start <= r.end && r.start <= o->end) {
			r.start = MIN(r.start, o->start);
			r.end = MAX(r.end, o->end);
			r.merged = r.merged || o->merged;
			remove_range(c, i);
			i = 0;
		} else {
			i++;
		}
	}
	if (c->count < TLBCHECK_SLOTS) {
		c->owed[c->count++] = r;
		return;
	}
	for (unsigned i = 0; i < c->count; i++) {
		struct tlbcheck_range *o = &c->owed[i];
		uint64_t gap = o->start > r.end ? o->start - r.end : r.start - o->end;

		if (gap < best) {
			best = gap;
			nearest = i;
		}
	}
	c->owed[nearest].start = MIN(c->owed[nearest].start, r.start);
	c->owed[nearest].end = MAX(c->owed[nearest].end, r.end);
	c->owed[nearest].merged = true;
}

static bool owes_exactly(const struct tlbcheck *c, uint64_t start, uint64_t end)
{
	for (unsigned i = 0; i < c->count; i++) {
		if (!c->owed[i].merged && c->owed[i].start < end && start < c->owed[i].end) {
			return true;
		}
	}
	return false;
}

/* Can hardware write through it without telling anybody? */
static bool silent_write(unsigned attrs)
{
	return (attrs & PT_W) && (!(attrs & PT_CLEANABLE) || (attrs & PT_DIRTY));
}

static noreturn_fn void live_change(const struct pgtable_format *fmt, const char *what,
				    uint64_t addr, unsigned level, uint64_t old, uint64_t new_pte)
{
	panic("tlbcheck: %s: live %s without break: 0x%llx level %u: 0x%llx -> 0x%llx", fmt->name,
	      what, (unsigned long long)addr, level, (unsigned long long)old,
	      (unsigned long long)new_pte);
}

void tlbcheck_store(struct tlbcheck *c, const struct pgtable_format *fmt, uint64_t addr,
		    unsigned level, uint64_t old, uint64_t new_pte)
{
	enum pte_kind was = fmt->kind(old, level);
	enum pte_kind is = fmt->kind(new_pte, level);
	uint64_t end = addr + LEVEL_SIZE(level);
	unsigned from, to;

	c->comparisons++;
	if (was == PTE_HOLE) {
		if (is != PTE_HOLE && fmt->bbm && owes_exactly(c, addr, end)) {
			panic("tlbcheck: %s: made before the flush: 0x%llx level %u: 0x%llx",
			      fmt->name, (unsigned long long)addr, level,
			      (unsigned long long)new_pte);
		}
		return;
	}
	if (is == PTE_HOLE) {
		owe(c, addr, end);
		return;
	}
	if (was != is || fmt->addr(old, level).v != fmt->addr(new_pte, level).v) {
		if (fmt->bbm) {
			live_change(fmt, was != is ? "block<->table change" : "address change", addr,
				    level, old, new_pte);
		}
		owe(c, addr, end);
		return;
	}
	if (was == PTE_TABLE) {
		return;
	}
	from = fmt->attrs(old, level);
	to = fmt->attrs(new_pte, level);
	if ((from ^ to) & PT_DEVICE) {
		if (fmt->bbm) {
			live_change(fmt, "memory type change", addr, level, old, new_pte);
		}
		owe(c, addr, end);
	} else if ((from & ~to & RIGHTS) || (silent_write(from) && !silent_write(to))) {
		owe(c, addr, end);
	}
}

void tlbcheck_flushed(struct tlbcheck *c, uint64_t start, uint64_t end, bool all)
{
	c->comparisons++;
	if (all) {
		c->count = 0;
		return;
	}
	for (unsigned i = 0; i < c->count;) {
		struct tlbcheck_range *o = &c->owed[i];

		if (o->start >= start && o->end <= end) {
			remove_range(c, i);
			continue;
		}
		if (o->start < end && start < o->end) {
			if (o->start >= start) {
				o->start = end;
			} else if (o->end <= end) {
				o->end = start;
			} else if (c->count < TLBCHECK_SLOTS) {
				/* Out of its middle. */
				c->owed[c->count] = *o;
				c->owed[c->count++].start = end;
				o->end = start;
			} else {
				o->merged = true;
			}
		}
		i++;
	}
}

void tlbcheck_idle(struct tlbcheck *c, const char *where)
{
	if (unlikely(c->count != 0)) {
		panic("tlbcheck: %s with %u invalidations owed, first 0x%llx-0x%llx", where,
		      c->count, (unsigned long long)c->owed[0].start,
		      (unsigned long long)c->owed[0].end);
	}
}

#else

/* A translation unit may not be empty (C11 6.9). */
extern const char tlbcheck_is_off;

#endif
