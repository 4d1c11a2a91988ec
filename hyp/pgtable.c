// SPDX-License-Identifier: Apache-2.0
/*
 * The page-table walker: one for all formats, for stage-2 and for the hypervisor's own map. It knows
 * no bit of an entry, takes no lock and issues no flush but the one between break and make; the
 * table's owner holds the table's lock (stage2.c) or is alone (boot).
 *
 *	root_ptr -> [ entry | entry | ... ]		level root_level
 *	               |        `-- leaf: LEVEL_SIZE(level) bytes
 *	               `-- table -> [ entry | ... ]	level root_level - 1, ... 0
 *
 * Invariants: a table below the root that the walker has linked holds at least one entry, or was
 * linked by the call under way; a new table is complete before the one store that links it;
 * a call that fails has linked nothing. Recursion is bounded by the level, at most four deep.
 */
#include <hyp/pgtable.h>

#define ENTRIES	 512u
#define NO_PAGE	 (~0ull)
/* End of a linked list of table pages. A link stands where the page's first entry was and hardware
 * may still look there: page-aligned or 0, it is a hole in every format. */
#define LINK_END 0ull

/* Table pages taken before anything is changed, linked through their first word. */
struct spares {
	uint64_t list;
};

/* An entry and where it stands. */
struct slot {
	uint64_t *p;
	uint64_t pte;
	uint64_t start;		/* first input address that the entry covers */
	unsigned level;
	enum pte_kind kind;
};

static inline uint64_t load_entry(const uint64_t *p)
{
	return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static inline uint64_t entry_index(const struct pgtable *pt, uint64_t addr, unsigned level)
{
	uint64_t i = addr >> LEVEL_SHIFT(level);

	/* The root may be several pages in a row; ia_bits bounds its index. */
	return level == pt->root_level ? i : i & (ENTRIES - 1);
}

static inline void count_leaves(struct pgtable *pt, unsigned level, int64_t n)
{
	if (pt->leaves != NULL) {
		pt->leaves[level] += (uint64_t)n;
	}
}

static inline bool in_range(const struct pgtable *pt, uint64_t addr)
{
	return (addr >> pt->ia_bits) == 0;
}

/* End of the range, bounded by the table; the callers' arithmetic cannot wrap after this. */
static uint64_t range_end(const struct pgtable *pt, uint64_t addr, uint64_t bytes)
{
	uint64_t limit = 1ull << pt->ia_bits;

	if (addr >= limit) {
		return addr;
	}
	return bytes > limit - addr ? limit : addr + bytes;
}

/* The walk itself: to `level`, or to where there is no further table. s->kind is left to the caller. */
static inline void walk_down(const struct pgtable *pt, uint64_t addr, unsigned level, struct slot *s)
{
	const struct pgtable_format *fmt = pt->fmt;
	uint64_t *table = pt->root_ptr;
	unsigned l = pt->root_level;

	for (;; l--) {
		s->p = &table[entry_index(pt, addr, l)];
		s->pte = load_entry(s->p);
		if (l == level || (s->pte & fmt->table_mask) != fmt->table_bits) {
			break;
		}
		table = pgtable_ptr(hpa(s->pte & fmt->table_addr));
	}
	s->level = l;
	s->start = ALIGN_DOWN(addr, LEVEL_SIZE(l));
}

static inline struct slot descend(const struct pgtable *pt, uint64_t addr, unsigned level)
{
	struct slot s;

	walk_down(pt, addr, level, &s);
	s.kind = pt->fmt->kind(s.pte, s.level);
	return s;
}

/* Down to level 0 if it goes that far, by the table walked to last when it is that one again. */
static inline struct slot descend_cached(struct pgtable *pt, uint64_t addr)
{
	struct slot s;

	if (pt->last_table != NULL && pt->last_region == addr >> LEVEL_SHIFT(1)) {
		s.p = &pt->last_table[(addr >> PAGE_SHIFT) & (ENTRIES - 1)];
		s.pte = load_entry(s.p);
		s.level = 0;
		s.start = ALIGN_DOWN(addr, PAGE_SIZE);
	} else {
		walk_down(pt, addr, 0, &s);
		if (s.level == 0) {
			pt->last_table = s.p - ((addr >> PAGE_SHIFT) & (ENTRIES - 1));
			pt->last_region = addr >> LEVEL_SHIFT(1);
		}
	}
	s.kind = pt->fmt->kind(s.pte, s.level);
	return s;
}

/* ---- stores: the only places that write an entry of a linked table ---------------------------- */

static inline void observe(struct pgtable *pt, const struct slot *s, uint64_t new_pte)
{
	if (pt->mm->observe != NULL) {
		pt->mm->observe(pt, s->start, s->level, s->pte, new_pte);
	}
}

/* A table may come or go: only above level 0, and only through these two functions. */
static inline void forget_last(struct pgtable *pt, const struct slot *s)
{
	if (s->level != 0) {
		pt->last_table = NULL;
	}
}

/* Over a hole, or where the old value does not matter to hardware. */
static void store_entry(struct pgtable *pt, struct slot *s, uint64_t new_pte)
{
	forget_last(pt, s);
	observe(pt, s, new_pte);
	__atomic_store_n(s->p, new_pte, __ATOMIC_RELEASE);
	s->pte = new_pte;
}

/* Written since it was armed, as hardware says. */
#define DIRTIED ((unsigned)(PT_W | PT_CLEANABLE | PT_DIRTY))

/* s->pte: what stood there last. Without PT_W hardware cannot mark it any more. */
static inline void tell_dirty_gone(struct pgtable *pt, const struct slot *s)
{
	if (pt->mm->dirty_gone != NULL && s->level == 0 && s->kind == PTE_LEAF &&
	    (pt->fmt->attrs(s->pte, 0) & DIRTIED) == DIRTIED) {
		pt->mm->dirty_gone(pt, s->start);
	}
}

/* Over a live entry: the exchange returns what hardware made of it in between. */
static void swap_entry(struct pgtable *pt, struct slot *s, uint64_t new_pte)
{
	forget_last(pt, s);
	observe(pt, s, new_pte);
	s->pte = __atomic_exchange_n(s->p, new_pte, __ATOMIC_ACQ_REL);
	tell_dirty_gone(pt, s);
}

static void batch_add(struct tlb_batch *b, uint64_t start, uint64_t bytes, bool all)
{
	if (unlikely(b == NULL)) {
		panic("pgtable: permission removed at 0x%llx without a batch",
		      (unsigned long long)start);
	}
	if (!b->needed) {
		b->start = start;
		b->end = start + bytes;
		b->needed = true;
	} else {
		b->start = MIN(b->start, start);
		b->end = MAX(b->end, start + bytes);
	}
	b->all = b->all || all;
}

/* What a stale translation must not give any more; writable-clean counts as less than writable. */
static bool lowers(unsigned from, unsigned to)
{
	if (from & ~to & (PT_R | PT_W | PT_X)) {
		return true;
	}
	return (from & PT_W) && (to & PT_CLEANABLE) && !(to & PT_DIRTY) &&
	       (!(from & PT_CLEANABLE) || (from & PT_DIRTY));
}

/*
 * A live entry gets another table, another address or another memory type. The one place where
 * formats differ in order: break, flush, make - or store and owe a flush.
 */
static void replace_entry(struct pgtable *pt, struct slot *s, uint64_t new_pte, bool owes_all,
			  struct tlb_batch *b)
{
	if (pt->fmt->bbm) {
		swap_entry(pt, s, 0);
		pgtable_break_flush(pt, s->start, LEVEL_SIZE(s->level));
		s->pte = 0;
		store_entry(pt, s, new_pte);
		return;
	}
	swap_entry(pt, s, new_pte);
	batch_add(b, s->start, LEVEL_SIZE(s->level), owes_all);
}

/* The entry with (attrs & ~clear) | set; *lower: a stale translation gives more than it. */
static inline uint64_t edited(const struct pgtable_format *fmt, const struct slot *s, unsigned clear,
			      unsigned set, bool *lower)
{
	uint64_t new_pte;
	unsigned from;

	if (clear == PT_W && set == 0 && fmt->revoke_bits != 0) {
		*lower = true;
		return s->pte & ~fmt->revoke_bits;
	}
	from = fmt->attrs(s->pte, s->level);
	new_pte = fmt->set_attrs(s->pte, s->level, (from & ~clear) | set);
	/* By what the format made of it: W^X takes X where W was given. */
	*lower = (clear != 0 || fmt->w_xor_x) && lowers(from, fmt->attrs(new_pte, s->level));
	return new_pte;
}

/* Edits a live leaf; does it again when hardware updates the entry meanwhile. */
static bool change_attrs(struct pgtable *pt, struct slot *s, unsigned clear, unsigned set,
			 struct tlb_batch *b)
{
	for (;;) {
		bool lower;
		uint64_t new_pte = edited(pt->fmt, s, clear, set, &lower);

		if (new_pte == s->pte) {
			return false;
		}
		observe(pt, s, new_pte);
		if (__atomic_compare_exchange_n(s->p, &s->pte, new_pte, false, __ATOMIC_ACQ_REL,
						__ATOMIC_RELAXED)) {
			if (lower) {
				batch_add(b, s->start, LEVEL_SIZE(s->level), false);
			}
			if (clear & PT_W) {
				tell_dirty_gone(pt, s);
			}
			return true;
		}
	}
}

/* ---- table pages ------------------------------------------------------------------------------ */

static void list_push(uint64_t *list, hpa_t page)
{
	__atomic_store_n(pgtable_ptr(page), *list == NO_PAGE ? LINK_END : *list, __ATOMIC_RELAXED);
	*list = page.v;
}

static hpa_t list_pop(uint64_t *list)
{
	uint64_t *first;
	hpa_t page = hpa(*list);

	first = pgtable_ptr(page);
	*list = *first == LINK_END ? NO_PAGE : *first;
	*first = 0;
	return page;
}

static void spares_drop(struct pgtable *pt, struct spares *sp, struct tlb_batch *b)
{
	while (sp->list != NO_PAGE) {
		hpa_t page = list_pop(&sp->list);

		/* With a flush owed nothing is freed, so that the checker can hold us to it. */
		if (b != NULL && b->needed) {
			list_push(&b->free_list, page);
		} else {
			pt->mm->free(pt, page);
		}
	}
}

static int spares_fill(struct pgtable *pt, struct spares *sp, unsigned n, struct tlb_batch *b)
{
	sp->list = NO_PAGE;
	for (; n > 0; n--) {
		hpa_t page = pt->mm->alloc(pt);

		if (hpa_is_none(page)) {
			spares_drop(pt, sp, b);
			return -TM_ENOMEM;
		}
		list_push(&sp->list, page);
	}
	return 0;
}

void pgtable_batch_free(struct pgtable *pt, struct tlb_batch *b)
{
	while (b->free_list != NO_PAGE) {
		pt->mm->free(pt, list_pop(&b->free_list));
	}
}

/* A table that came off, with all below it: counts what goes, hangs the pages on the batch. */
static void collect_table(struct pgtable *pt, hpa_t page, unsigned level, struct tlb_batch *b)
{
	const struct pgtable_format *fmt = pt->fmt;
	uint64_t *table = pgtable_ptr(page);

	for (unsigned i = 0; i < ENTRIES; i++) {
		uint64_t pte = load_entry(&table[i]);
		enum pte_kind kind = fmt->kind(pte, level);

		if (kind == PTE_TABLE) {
			collect_table(pt, fmt->addr(pte, level), level - 1, b);
		} else if (kind == PTE_LEAF) {
			count_leaves(pt, level, -1);
		}
	}
	pt->table_pages--;
	list_push(&b->free_list, page);
}

static bool table_empty(const struct pgtable *pt, const uint64_t *table, unsigned level)
{
	for (unsigned i = 0; i < ENTRIES; i++) {
		if (pt->fmt->kind(load_entry(&table[i]), level) != PTE_HOLE) {
			return false;
		}
	}
	return true;
}

/* All of a new table with the pieces of the larger leaf that it replaces. */
static void fill_from_leaf(struct pgtable *pt, uint64_t *table, unsigned level, hpa_t h,
			   unsigned attrs)
{
	for (unsigned i = 0; i < ENTRIES; i++) {
		table[i] = pt->fmt->make_leaf(hpa_add(h, i * LEVEL_SIZE(level)), level, attrs);
	}
}

/*
 * Tables from below s->level down to `level`, complete but not linked; returns the top one. Where
 * there was a leaf its pieces fill them. put: the entry for addr at `level` is this leaf.
 */
static hpa_t build_tables(struct pgtable *pt, const struct slot *s, uint64_t addr, unsigned level,
			  const uint64_t *put, struct spares *sp)
{
	const struct pgtable_format *fmt = pt->fmt;
	bool leaf = s->kind == PTE_LEAF;
	unsigned attrs = leaf ? fmt->attrs(s->pte, s->level) : 0;
	hpa_t old = leaf ? fmt->addr(s->pte, s->level) : HPA_NONE;
	hpa_t top = HPA_NONE;
	uint64_t *link = NULL;

	count_leaves(pt, s->level, leaf ? -1 : 0);
	for (unsigned l = s->level; l-- > level;) {
		hpa_t page = list_pop(&sp->list);
		uint64_t *table = pgtable_ptr(page);
		uint64_t start = ALIGN_DOWN(addr, LEVEL_SIZE(l + 1));

		if (leaf) {
			fill_from_leaf(pt, table, l, hpa_add(old, start - s->start), attrs);
			count_leaves(pt, l, l == level ? ENTRIES : ENTRIES - 1);
		}
		if (link == NULL) {
			top = page;
		} else {
			*link = fmt->make_table(page);
		}
		link = &table[entry_index(pt, addr, l)];
		pt->table_pages++;
	}
	if (put != NULL) {
		*link = *put;
		count_leaves(pt, level, leaf ? 0 : 1);
	}
	return top;
}

/* ---- map -------------------------------------------------------------------------------------- */

/* The entry at `level` exists: a hole, a leaf or a table of smaller ones. */
static int map_here(struct pgtable *pt, struct slot *s, hpa_t h, unsigned attrs,
		    struct tlb_batch *b)
{
	const struct pgtable_format *fmt = pt->fmt;
	uint64_t new_pte = fmt->make_leaf(h, s->level, attrs);
	unsigned old_attrs;
	hpa_t old;

	if (s->kind == PTE_HOLE) {
		store_entry(pt, s, new_pte);
		count_leaves(pt, s->level, 1);
		return 0;
	}
	old = fmt->addr(s->pte, s->level);
	if (s->kind == PTE_TABLE) {
		if (b == NULL) {
			return -TM_EINVAL;
		}
		replace_entry(pt, s, new_pte, true, b);
		collect_table(pt, old, s->level - 1, b);
		count_leaves(pt, s->level, 1);
		return 0;
	}
	old_attrs = fmt->attrs(s->pte, s->level);
	if (old.v != h.v || ((old_attrs ^ attrs) & PT_DEVICE)) {
		replace_entry(pt, s, new_pte, false, b);
		return 0;
	}
	if (new_pte != s->pte) {
		swap_entry(pt, s, new_pte);
		if (lowers(old_attrs, fmt->attrs(new_pte, s->level))) {
			batch_add(b, s->start, LEVEL_SIZE(s->level), false);
		}
	}
	return 0;
}

/* The entry stands above `level`: a hole or a larger leaf. put NULL: split only. */
static int grow_down(struct pgtable *pt, struct slot *s, uint64_t addr, unsigned level,
		     const uint64_t *put, struct spares *sp, struct tlb_batch *b)
{
	hpa_t top = build_tables(pt, s, addr, level, put, sp);
	uint64_t new_pte = pt->fmt->make_table(top);

	if (s->kind == PTE_HOLE) {
		store_entry(pt, s, new_pte);
	} else {
		replace_entry(pt, s, new_pte, false, b);
	}
	return 0;
}

int pgtable_map(struct pgtable *pt, uint64_t addr, hpa_t hpa, unsigned level, unsigned attrs,
		struct tlb_batch *b)
{
	struct spares sp;
	struct slot s;
	uint64_t leaf;
	int err;

	if (!in_range(pt, addr) || level > pt->root_level || !(pt->fmt->leaf_levels & (1u << level)) ||
	    !IS_ALIGNED(addr | hpa.v, LEVEL_SIZE(level))) {
		return -TM_EINVAL;
	}
	s = level == 0 ? descend_cached(pt, addr) : descend(pt, addr, level);
	if (s.level == level) {
		return map_here(pt, &s, hpa, attrs, b);
	}
	err = spares_fill(pt, &sp, s.level - level, b);
	if (err != 0) {
		return err;
	}
	leaf = pt->fmt->make_leaf(hpa, level, attrs);
	return grow_down(pt, &s, addr, level, &leaf, &sp, b);
}

/* ---- split, unmap ----------------------------------------------------------------------------- */

int pgtable_split(struct pgtable *pt, uint64_t addr, unsigned level, struct tlb_batch *b)
{
	struct spares sp;
	struct slot s;
	int err;

	if (!in_range(pt, addr) || level > pt->root_level) {
		return -TM_EINVAL;
	}
	s = descend(pt, addr, level);
	if (s.kind != PTE_LEAF || s.level == level) {
		return 0;
	}
	err = spares_fill(pt, &sp, s.level - level, b);
	if (err != 0) {
		return err;
	}
	return grow_down(pt, &s, addr, level, NULL, &sp, b);
}

/* Where a range's edge cuts a leaf: the largest level below the leaf's that the edge fits. */
static bool edge_cuts(const struct pgtable *pt, uint64_t edge, struct slot *s, unsigned *level)
{
	if (!in_range(pt, edge)) {
		return false;
	}
	*s = descend(pt, edge, 0);
	if (s->kind != PTE_LEAF || s->start == edge) {
		return false;
	}
	for (*level = s->level - 1; !IS_ALIGNED(edge, LEVEL_SIZE(*level)); (*level)--) {
		continue;
	}
	return true;
}

/* Both edges get their splits or none does. */
static int split_edges(struct pgtable *pt, uint64_t addr, uint64_t end, struct tlb_batch *b)
{
	const uint64_t edges[2] = {addr, end};
	struct spares sp;
	struct slot s;
	unsigned need = 0;
	unsigned level;
	int err;

	for (unsigned i = 0; i < 2; i++) {
		if (edge_cuts(pt, edges[i], &s, &level)) {
			need += s.level - level;
		}
	}
	if (need == 0) {
		return 0;
	}
	err = spares_fill(pt, &sp, need, b);
	if (err != 0) {
		return err;
	}
	for (unsigned i = 0; i < 2 && err == 0; i++) {
		if (edge_cuts(pt, edges[i], &s, &level)) {
			err = grow_down(pt, &s, edges[i], level, NULL, &sp, b);
		}
	}
	/* Both edges in one leaf share tables. */
	spares_drop(pt, &sp, b);
	return err;
}

static void unmap_level(struct pgtable *pt, uint64_t *table, unsigned level, uint64_t addr,
			uint64_t end, struct tlb_batch *b);

static void unmap_table(struct pgtable *pt, struct slot *s, uint64_t addr, uint64_t end,
			struct tlb_batch *b)
{
	hpa_t child = pt->fmt->addr(s->pte, s->level);

	if (addr == s->start && end - addr == LEVEL_SIZE(s->level)) {
		swap_entry(pt, s, 0);
		batch_add(b, s->start, LEVEL_SIZE(s->level), true);
		collect_table(pt, child, s->level - 1, b);
		return;
	}
	unmap_level(pt, pgtable_ptr(child), s->level - 1, addr, end, b);
	/* An empty table may not stay: its page is reserved by the slots that need it */
	if (table_empty(pt, pgtable_ptr(child), s->level - 1)) {
		swap_entry(pt, s, 0);
		batch_add(b, s->start, LEVEL_SIZE(s->level), false);
		pt->table_pages--;
		list_push(&b->free_list, child);
	}
}

static void unmap_level(struct pgtable *pt, uint64_t *table, unsigned level, uint64_t addr,
			uint64_t end, struct tlb_batch *b)
{
	struct slot s = {.level = level};
	uint64_t next;

	for (; addr < end; addr = next) {
		s.start = ALIGN_DOWN(addr, LEVEL_SIZE(level));
		next = MIN(s.start + LEVEL_SIZE(level), end);
		s.p = &table[entry_index(pt, addr, level)];
		s.pte = load_entry(s.p);
		s.kind = pt->fmt->kind(s.pte, level);
		if (s.kind == PTE_LEAF) {
			swap_entry(pt, &s, 0);
			count_leaves(pt, level, -1);
			batch_add(b, s.start, LEVEL_SIZE(level), false);
		} else if (s.kind == PTE_TABLE) {
			unmap_table(pt, &s, addr, next, b);
		}
	}
}

int pgtable_unmap(struct pgtable *pt, uint64_t addr, uint64_t bytes, struct tlb_batch *b)
{
	uint64_t end = range_end(pt, addr, bytes);
	int err;

	if (!IS_ALIGNED(addr | bytes, PAGE_SIZE)) {
		return -TM_EINVAL;
	}
	if (addr == end) {
		return 0;
	}
	err = split_edges(pt, addr, end, b);
	if (err != 0) {
		return err;
	}
	unmap_level(pt, pt->root_ptr, pt->root_level, addr, end, b);
	return 0;
}

/* ---- look, protect, visit --------------------------------------------------------------------- */

struct pt_leaf pgtable_lookup(struct pgtable *pt, uint64_t addr)
{
	struct slot s;
	bool leaf;

	if (!in_range(pt, addr)) {
		return (struct pt_leaf){
			.hpa = HPA_NONE,
			.start = ALIGN_DOWN(addr, LEVEL_SIZE(pt->root_level)),
			.level = pt->root_level,
			.kind = PTE_HOLE,
		};
	}
	s = descend_cached(pt, addr);
	leaf = s.kind == PTE_LEAF;
	return (struct pt_leaf){
		.pte = s.pte,
		.hpa = leaf ? pt->fmt->addr(s.pte, s.level) : HPA_NONE,
		.start = s.start,
		.level = s.level,
		.attrs = leaf ? pt->fmt->attrs(s.pte, s.level) : 0,
		.kind = s.kind,
	};
}

bool pgtable_grant(struct pgtable *pt, uint64_t addr)
{
	struct slot s;

	if (!in_range(pt, addr)) {
		return false;
	}
	s = descend_cached(pt, addr);
	if (s.level != 0 || s.kind != PTE_LEAF) {
		return false;
	}
	observe(pt, &s, s.pte | pt->fmt->grant_bits);
	/* OR, not a store: what hardware adds meanwhile stays. */
	__atomic_fetch_or(s.p, pt->fmt->grant_bits, __ATOMIC_ACQ_REL);
	return true;
}

/* One walk of all leaves in a range; what to do with each is in the struct. */
struct visit {
	struct pgtable *pt;
	struct tlb_batch *b;
	unsigned clear, set;
	bool arm;
	uint64_t changed;
	int (*fn)(void *ctx, const struct pt_leaf *leaf);	/* NULL: change attributes */
	void *ctx;
};

static int visit_leaf(struct visit *v, struct slot *s, uint64_t addr, uint64_t next)
{
	const struct pgtable_format *fmt = v->pt->fmt;

	if (v->arm) {
		bool small = s->level == 0;

		v->changed += change_attrs(v->pt, s, small ? PT_DIRTY : PT_W,
					   small ? PT_W | (unsigned)PT_CLEANABLE : 0, v->b) ? 1 : 0;
		return 0;
	}
	if (v->fn == NULL) {
		/* A grant never reaches beyond what was asked for. */
		bool whole = addr == s->start && next - addr == LEVEL_SIZE(s->level);

		if (whole || v->set == 0) {
			v->changed += change_attrs(v->pt, s, v->clear, v->set, v->b) ? 1 : 0;
		}
		return 0;
	}
	return v->fn(v->ctx, &(struct pt_leaf){
				     .pte = s->pte,
				     .hpa = fmt->addr(s->pte, s->level),
				     .start = s->start,
				     .level = s->level,
				     .attrs = fmt->attrs(s->pte, s->level),
				     .kind = PTE_LEAF,
			     });
}

static int visit_level(struct visit *v, uint64_t *table, unsigned level, uint64_t addr, uint64_t end)
{
	const struct pgtable *pt = v->pt;
	struct slot s = {.level = level};
	uint64_t next;
	int ret = 0;

	for (; addr < end && ret == 0; addr = next) {
		s.start = ALIGN_DOWN(addr, LEVEL_SIZE(level));
		next = MIN(s.start + LEVEL_SIZE(level), end);
		s.p = &table[entry_index(pt, addr, level)];
		s.pte = load_entry(s.p);
		s.kind = pt->fmt->kind(s.pte, level);
		if (s.kind == PTE_LEAF) {
			ret = visit_leaf(v, &s, addr, next);
		} else if (s.kind == PTE_TABLE) {
			ret = visit_level(v, pgtable_ptr(pt->fmt->addr(s.pte, level)), level - 1,
					  addr, next);
		}
	}
	return ret;
}

static uint64_t visit_changes(struct visit *v, uint64_t addr, uint64_t bytes)
{
	struct pgtable *pt = v->pt;
	uint64_t end = range_end(pt, addr, bytes);

	/* A few pages of one table, as a reset brings them: straight to that table. */
	if (addr < end && addr >> LEVEL_SHIFT(1) == (end - 1) >> LEVEL_SHIFT(1)) {
		struct slot s = descend_cached(pt, addr);

		if (s.level == 0) {
			(void)visit_level(v, s.p - entry_index(pt, addr, 0), 0, addr, end);
			return v->changed;
		}
	}
	(void)visit_level(v, pt->root_ptr, pt->root_level, addr, end);
	return v->changed;
}

uint64_t pgtable_protect(struct pgtable *pt, uint64_t addr, uint64_t bytes, unsigned clear,
			 unsigned set, struct tlb_batch *b)
{
	struct visit v = {.pt = pt, .b = b, .clear = clear, .set = set};

	return visit_changes(&v, addr, bytes);
}

uint64_t pgtable_arm(struct pgtable *pt, uint64_t addr, uint64_t bytes, struct tlb_batch *b)
{
	struct visit v = {.pt = pt, .b = b, .arm = true};

	return visit_changes(&v, addr, bytes);
}

int pgtable_for_each(struct pgtable *pt, uint64_t addr, uint64_t bytes,
		     int (*fn)(void *ctx, const struct pt_leaf *leaf), void *ctx)
{
	struct visit v = {.pt = pt, .fn = fn, .ctx = ctx};

	return visit_level(&v, pt->root_ptr, pt->root_level, addr, range_end(pt, addr, bytes));
}

void pgtable_destroy(struct pgtable *pt)
{
	struct tlb_batch b = TLB_BATCH_INIT;
	uint64_t entries = 1ull << (pt->ia_bits - LEVEL_SHIFT(pt->root_level));

	pt->last_table = NULL;
	for (uint64_t i = 0; i < entries; i++) {
		uint64_t pte = load_entry(&pt->root_ptr[i]);
		enum pte_kind kind = pt->fmt->kind(pte, pt->root_level);

		__atomic_store_n(&pt->root_ptr[i], 0, __ATOMIC_RELAXED);
		if (kind == PTE_TABLE) {
			collect_table(pt, pt->fmt->addr(pte, pt->root_level), pt->root_level - 1,
				      &b);
		} else if (kind == PTE_LEAF) {
			count_leaves(pt, pt->root_level, -1);
		}
	}
	pgtable_batch_free(pt, &b);
}
