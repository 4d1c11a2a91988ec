// SPDX-License-Identifier: Apache-2.0
/*
 * The sparse dirty bitmap of one slot.
 *
 *	root ---- top node ---- .. ---- node ---- leaf: 4096 pages, 64 words
 *	(bit per   child[256]           child[256]
 *	 summary   summary[4]           summary[4]	bit set: something below may be dirty
 *	 word)                          whole[4]	leaf could not be allocated: all of it is dirty
 *
 * Nodes exist from the start (one page for 4 GiB of slot), leaves from the first bit on. Order:
 *  - a setter sets the leaf's bit, then the summary bits from the bottom up, each with release;
 *  - a collector that empties a word clears the summary bit above it and only then looks, with
 *    acquire, whether anything is left below; if so it sets the bit again.
 * Either the collector's clear reads from the setter's set, and then it sees the leaf's bit, or the
 * setter's set comes later and stays. So a set leaf bit is never left under a clear summary.
 * Collectors of one slot exclude each other. In the hypervisor setters hold the stage-2 lock as well,
 * so a collector under it sees every set that has returned.
 */
#include <arch/cpu.h>
#include <hyp/dirty_bitmap.h>
#include <hyp/string.h>
#include <hyp/test_hooks.h>

#define FANOUT_SHIFT 8u
#define FANOUT (1u << FANOUT_SHIFT)
#define NODE_WORDS (FANOUT / 64u)
#define LEAF_BYTES (BITMAP_LEAF_WORDS * 8u)
#define MAX_DEPTH 3u

struct node {
	void *child[FANOUT];
	uint64_t summary[NODE_WORDS];
	uint64_t whole[NODE_WORDS];	/* of the lowest nodes */
};
_Static_assert(sizeof(struct node) <= PAGE_SIZE, "a node is a page");

static uint64_t leaf_count(uint64_t npages)
{
	return (npages + BITMAP_LEAF_PAGES - 1) / BITMAP_LEAF_PAGES;
}

static uint8_t depth_for(uint64_t npages)
{
	uint64_t leaves = leaf_count(npages);

	return leaves <= FANOUT ? 1 : leaves <= (uint64_t)FANOUT * FANOUT ? 2 : MAX_DEPTH;
}

static uint64_t nodes_needed(uint64_t npages)
{
	uint64_t n = leaf_count(npages), total = 0;

	for (uint8_t d = depth_for(npages); d > 0; d--) {
		n = (n + FANOUT - 1) / FANOUT;
		total += n;
	}
	return total;
}

uint64_t dirty_bitmap_pages_needed(uint64_t npages)
{
	return nodes_needed(npages) + (leaf_count(npages) * LEAF_BYTES + PAGE_SIZE - 1) / PAGE_SIZE;
}

/* Out of the reservation; NULL when that is used up. */
static void *take_page(struct dirty_bitmap *b)
{
	hpa_t page;

	if (b->reserved == 0) {
		return NULL;
	}
	page = pool_alloc(b->pool, true);
	if (hpa_is_none(page)) {
		return NULL;
	}
	b->reserved--;
	return phys_to_virt(page);
}

static void give_page(struct dirty_bitmap *b, void *page)
{
	pool_free(b->pool, virt_to_phys(page), true);
	b->reserved++;
}

/* ---- life ------------------------------------------------------------------------------------- */

/* Nodes below n, whose level is d (0: children are leaves) and whose first leaf is `first`. */
static bool grow_nodes(struct dirty_bitmap *b, struct node *n, unsigned d, uint64_t first)
{
	uint64_t step = 1ull << (FANOUT_SHIFT * d);	/* leaves under one child */
	uint64_t leaves = leaf_count(b->npages);

	for (unsigned i = 0; d > 0 && i < FANOUT && first + i * step < leaves; i++) {
		n->child[i] = take_page(b);
		if (!n->child[i] || !grow_nodes(b, n->child[i], d - 1, first + i * step)) {
			return false;
		}
	}
	return true;
}

/* The depth bounds the recursion: three levels. */
static void drop_node(struct dirty_bitmap *b, struct node *n, unsigned d)
{
	for (unsigned i = 0; i < FANOUT; i++) {
		if (d > 0 && n->child[i]) {
			drop_node(b, n->child[i], d - 1);
		} else if (n->child[i] && IS_ALIGNED((uintptr_t)n->child[i], PAGE_SIZE)) {
			give_page(b, n->child[i]);	/* the first of the leaves in this page */
		}
	}
	give_page(b, n);
}

static int init_reserving(struct dirty_bitmap *b, struct mem_pool *pool, uint64_t npages,
			  uint64_t reserve)
{
	int err = pool_reserve(pool, reserve);

	if (err) {
		return err;
	}
	*b = (struct dirty_bitmap){
		.pool = pool, .npages = npages, .reserved = reserve, .depth = depth_for(npages),
	};
	spin_init(&b->lock, LOCK_BITMAP);
	b->dir = take_page(b);
	if (!b->dir || !grow_nodes(b, b->dir, b->depth - 1u, 0)) {
		b->on = true;
		dirty_bitmap_destroy(b);
		return -TM_ENOMEM;
	}
	b->on = true;
	return 0;
}

int dirty_bitmap_init(struct dirty_bitmap *b, struct mem_pool *pool, uint64_t npages)
{
	return init_reserving(b, pool, npages, dirty_bitmap_pages_needed(npages));
}

int dirty_bitmap_init_overflow(struct dirty_bitmap *b, struct mem_pool *pool, uint64_t npages)
{
	return init_reserving(b, pool, npages, nodes_needed(npages) + 1);
}

void dirty_bitmap_destroy(struct dirty_bitmap *b)
{
	if (!b->on) {
		return;
	}
	if (b->dir) {
		drop_node(b, b->dir, b->depth - 1u);
	}
	pool_unreserve(b->pool, b->reserved);
	*b = (struct dirty_bitmap){0};
}

/* ---- finding ---------------------------------------------------------------------------------- */

static uint64_t child_index(uint64_t leaf, unsigned d)
{
	return (leaf >> (FANOUT_SHIFT * d)) & (FANOUT - 1);
}

/* The node at level d on the way to the leaf; inner nodes never change after init. */
static struct node *node_at(const struct dirty_bitmap *b, uint64_t leaf, unsigned d)
{
	struct node *n = b->dir;

	for (unsigned l = b->depth - 1u; l > d; l--) {
		n = n->child[child_index(leaf, l)];
	}
	return n;
}

static bool bit_test(const uint64_t *words, uint64_t i)
{
	return __atomic_load_n(&words[i / 64], __ATOMIC_ACQUIRE) >> (i % 64) & 1;
}

/* Pages of word w that exist. */
static uint64_t valid_mask(const struct dirty_bitmap *b, uint64_t w)
{
	uint64_t left = b->npages - w * 64;

	return left >= 64 ? ~0ull : (1ull << left) - 1;
}

static bool word_ok(const struct dirty_bitmap *b, uint64_t w)
{
	return b->on && w < (b->npages + 63) / 64;
}

/* The leaf's words; NULL with *whole when it stands for "all dirty", NULL without: nothing dirty. */
static uint64_t *leaf_words(struct node *n, uint64_t i, bool *whole)
{
	uint64_t *words = __atomic_load_n(&n->child[i], __ATOMIC_ACQUIRE);

	*whole = false;
	if (words) {
		return words;
	}
	*whole = bit_test(n->whole, i);
	/* leaf_grow() publishes the words before it withdraws the flag. */
	return *whole ? NULL : __atomic_load_n(&n->child[i], __ATOMIC_ACQUIRE);
}

/* ---- setting ---------------------------------------------------------------------------------- */

/* From level d up. Always a read-modify-write: a test before it would need a full barrier. */
static void summary_set(struct dirty_bitmap *b, uint64_t leaf, unsigned d)
{
	uint64_t i;

	for (; d < b->depth; d++) {
		i = child_index(leaf, d);
		__atomic_fetch_or(&node_at(b, leaf, d)->summary[i / 64], 1ull << (i % 64),
				  __ATOMIC_ACQ_REL);
	}
	i = child_index(leaf, b->depth - 1u) / 64;
	__atomic_fetch_or(&b->root, 1ull << i, __ATOMIC_ACQ_REL);
}

static void *leaf_carve(struct dirty_bitmap *b)
{
	uint64_t pos = b->leaves % (PAGE_SIZE / LEAF_BYTES);

	if (inject_failure(INJECT_BITMAP_LEAF)) {
		return NULL;
	}
	if (pos == 0) {
		void *page = take_page(b);

		if (!page) {
			return NULL;
		}
		b->chunk = page;
	}
	b->leaves++;
	return (char *)b->chunk + pos * LEAF_BYTES;
}

/* Gives the leaf words of its own, or marks it whole and returns NULL. */
static uint64_t *leaf_grow(struct dirty_bitmap *b, uint64_t leaf)
{
	struct node *n = node_at(b, leaf, 0);
	uint64_t i = child_index(leaf, 0), bit = 1ull << (i % 64);
	uint64_t *words;

	spin_lock(&b->lock);
	words = n->child[i];
	if (!words) {
		words = leaf_carve(b);
		if (!words) {
			if (!(__atomic_fetch_or(&n->whole[i / 64], bit, __ATOMIC_ACQ_REL) & bit)) {
				b->fallbacks++;
			}
		} else {
			bool whole = bit_test(n->whole, i);

			for (uint64_t k = 0; whole && k < BITMAP_LEAF_WORDS; k++) {
				uint64_t w = leaf * BITMAP_LEAF_WORDS + k;

				words[k] = word_ok(b, w) ? valid_mask(b, w) : 0;
			}
			__atomic_store_n(&n->child[i], words, __ATOMIC_RELEASE);
			__atomic_fetch_and(&n->whole[i / 64], ~bit, __ATOMIC_ACQ_REL);
		}
	}
	spin_unlock(&b->lock);
	return words;
}

/* Sets `mask` in word w; returns the bits that were clear. */
static uint64_t set_mask(struct dirty_bitmap *b, uint64_t w, uint64_t mask)
{
	uint64_t leaf = w / BITMAP_LEAF_WORDS;
	uint64_t *words;
	uint64_t old = ~0ull;
	bool whole;

	if (mutant(MUTANT_SUMMARY_BEFORE_LEAF)) {
		summary_set(b, leaf, 0);
		test_yield();
	}
	words = leaf_words(node_at(b, leaf, 0), child_index(leaf, 0), &whole);
	if (unlikely(!words) && !whole) {
		words = leaf_grow(b, leaf);
		old = words ? old : 0;		/* marked whole just now: count it as new */
	}
	if (likely(words != NULL)) {
		old = __atomic_fetch_or(&words[w % BITMAP_LEAF_WORDS], mask, __ATOMIC_ACQ_REL);
	}
	test_yield();
	/*
	 * after the leaf. Not needed beside a bit that was there before: the collector that
	 * takes that one takes ours with it, and until then its summary stands or is being set by
	 * the setter that we have come after - the stage-2 lock has seen to that.
	 */
	if (!(old & ~mask) && !mutant(MUTANT_SUMMARY_BEFORE_LEAF)) {
		summary_set(b, leaf, 0);
	}
	return mask & ~old;
}

bool dirty_bitmap_set(struct dirty_bitmap *b, uint64_t page)
{
	if (unlikely(!b->on || page >= b->npages)) {
		return false;
	}
	return set_mask(b, page / 64, 1ull << (page % 64)) != 0;
}

void dirty_bitmap_set_range(struct dirty_bitmap *b, uint64_t page, uint64_t n)
{
	if (!b->on || page >= b->npages) {
		return;
	}
	n = MIN(n, b->npages - page);
	while (n > 0) {
		uint64_t bit = page % 64, run = MIN(64 - bit, n);
		uint64_t mask = (run == 64 ? ~0ull : (1ull << run) - 1) << bit;

		(void)set_mask(b, page / 64, mask);
		page += run;
		n -= run;
	}
}

void dirty_bitmap_set_all(struct dirty_bitmap *b)
{
	uint64_t leaves = leaf_count(b->npages);

	for (uint64_t leaf = 0; b->on && leaf < leaves; leaf++) {
		uint64_t i = child_index(leaf, 0);

		__atomic_fetch_or(&node_at(b, leaf, 0)->whole[i / 64], 1ull << (i % 64),
				  __ATOMIC_RELAXED);
		if (i == 0 || leaf == leaves - 1) {
			summary_set(b, leaf, 0);
		} else {
			__atomic_fetch_or(&node_at(b, leaf, 0)->summary[i / 64], 1ull << (i % 64),
					  __ATOMIC_RELAXED);
		}
	}
}

/* ---- collecting ------------------------------------------------------------------------------- */

bool dirty_bitmap_any(const struct dirty_bitmap *b)
{
	return b->on && __atomic_load_n(&b->root, __ATOMIC_ACQUIRE) != 0;
}

uint64_t dirty_bitmap_word(const struct dirty_bitmap *b, uint64_t w)
{
	uint64_t leaf = w / BITMAP_LEAF_WORDS;
	const uint64_t *words;
	bool whole;

	if (!word_ok(b, w)) {
		return 0;
	}
	words = leaf_words(node_at(b, leaf, 0), child_index(leaf, 0), &whole);
	if (!words) {
		return whole ? valid_mask(b, w) : 0;
	}
	return __atomic_load_n(&words[w % BITMAP_LEAF_WORDS], __ATOMIC_ACQUIRE);
}

static bool any_word(const uint64_t *words, uint64_t n, uint64_t from)
{
	for (uint64_t k = 0; k < n; k++) {
		if (__atomic_load_n(&words[(from + k) % n], __ATOMIC_ACQUIRE)) {
			return true;
		}
	}
	return false;
}

/* Word w has become 0: withdraw summary bits that stand for nothing (R-13, collector's half). */
static void summary_tidy(struct dirty_bitmap *b, uint64_t w, const uint64_t *words)
{
	uint64_t leaf = w / BITMAP_LEAF_WORDS;
	const uint64_t *below = words;
	uint64_t n = BITMAP_LEAF_WORDS, from = w + 1;
	uint64_t i;

	for (unsigned d = 0; d < b->depth; d++) {
		struct node *node = node_at(b, leaf, d);

		if (any_word(below, n, from)) {
			return;		/* the bit stays; no need to touch it */
		}
		i = child_index(leaf, d);
		__atomic_fetch_and(&node->summary[i / 64], ~(1ull << (i % 64)), __ATOMIC_ACQ_REL);
		test_yield();
		if (any_word(below, n, from)) {
			summary_set(b, leaf, d);
			return;
		}
		below = node->summary;
		n = NODE_WORDS;
		from = 0;
	}
	/* A bit of root stands for one summary word of the top node. */
	i = child_index(leaf, b->depth - 1u) / 64;
	if (__atomic_load_n(&below[i], __ATOMIC_ACQUIRE)) {
		return;
	}
	__atomic_fetch_and(&b->root, ~(1ull << i), __ATOMIC_ACQ_REL);
	test_yield();
	if (__atomic_load_n(&below[i], __ATOMIC_ACQUIRE)) {
		__atomic_fetch_or(&b->root, 1ull << i, __ATOMIC_ACQ_REL);
	}
}

uint64_t dirty_bitmap_clear_word(struct dirty_bitmap *b, uint64_t w, uint64_t mask)
{
	uint64_t leaf = w / BITMAP_LEAF_WORDS;
	uint64_t *words;
	uint64_t old;
	bool whole;

	if (!word_ok(b, w) || !mask) {
		return 0;
	}
	mask &= valid_mask(b, w);
	words = leaf_words(node_at(b, leaf, 0), child_index(leaf, 0), &whole);
	if (!words && !whole) {
		return 0;
	}
	if (!words) {
		words = leaf_grow(b, leaf);
		if (!words) {
			return mask;	/* still no memory: reported, and reported again (I-3 d) */
		}
	}
	old = __atomic_fetch_and(&words[w % BITMAP_LEAF_WORDS], ~mask, __ATOMIC_ACQ_REL);
	if ((old & mask) && !(old & ~mask)) {
		summary_tidy(b, w, words);
	}
	return old & mask;
}

/* First set bit >= from of a node's summary, or FANOUT. */
static uint64_t summary_next(const struct node *n, uint64_t from)
{
	for (uint64_t k = from / 64; k < NODE_WORDS; k++) {
		uint64_t bits = __atomic_load_n(&n->summary[k], __ATOMIC_ACQUIRE);

		if (k == from / 64) {
			bits &= ~0ull << (from % 64);
		}
		if (bits) {
			return k * 64 + (uint64_t)__builtin_ctzll(bits);
		}
	}
	return FANOUT;
}

/* First leaf >= from under a set summary, or ~0. */
static uint64_t leaf_next(const struct dirty_bitmap *b, uint64_t from)
{
	uint64_t leaves = leaf_count(b->npages);

	while (from < leaves) {
		const struct node *n = b->dir;
		unsigned d = b->depth - 1u;

		for (;;) {
			uint64_t i = child_index(from, d);
			uint64_t next = summary_next(n, i);
			unsigned up = FANOUT_SHIFT * (d + 1);

			if (next == FANOUT) {
				from = ((from >> up) + 1) << up;
				break;
			}
			if (next != i) {
				from = ((from >> up) << up) + (next << (FANOUT_SHIFT * d));
			}
			if (d == 0) {
				return from;
			}
			n = n->child[next];
			d--;
		}
	}
	return ~0ull;
}

uint64_t dirty_bitmap_next(const struct dirty_bitmap *b, uint64_t w)
{
	if (!word_ok(b, w) || !dirty_bitmap_any(b)) {
		return ~0ull;
	}
	for (uint64_t leaf = leaf_next(b, w / BITMAP_LEAF_WORDS); leaf != ~0ull;
	     leaf = leaf_next(b, leaf + 1)) {
		uint64_t first = MAX(w, leaf * BITMAP_LEAF_WORDS);

		for (uint64_t k = first; k < (leaf + 1) * BITMAP_LEAF_WORDS && word_ok(b, k); k++) {
			if (dirty_bitmap_word(b, k)) {
				return k;
			}
		}
	}
	return ~0ull;
}
