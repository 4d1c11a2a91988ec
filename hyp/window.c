// SPDX-License-Identifier: Apache-2.0
/*
 * The manager's stage-2: its own RAM 1:1, and windows. A window shows hypervisor pages (run pages,
 * rings, the event page), mapped at once, or guest pages, mapped at first touch through the VM's
 * slots so that MAP_GUEST costs the same for any size.
 *
 * Locks: window_lock guards the list and everything that adds or removes leaves in the window
 * range; under it the manager's stage-2 lock guards the leaves; under that the VM's stage-2 lock is
 * taken to look at slots and to mark.
 *
 * Why no page is lost through a window (I-1): a store through a window needs a writable leaf, and
 * window_fault() makes one only after it has set the bitmap bit, holding the VM's stage-2 lock for
 * the bit and the manager's for both. GET or CLEAR on another CPU consumes the bit under the VM's
 * lock and then, before it returns, write-protects the window leaf and flushes under the manager's
 * lock (window_arm). Suppose it consumes the bit of a fault that has granted or is about to grant:
 * the grant is done under the manager's lock, so window_arm comes either after it, and takes the
 * permission away again - stores in between are in memory before GET returns, and the caller reads
 * content after that (I-2) - or before the fault took that lock; then the fault's bit was set later
 * than the consumption, since the fault holds the manager's lock while it sets the bit, and stands
 * for the next round. A second GET that finds the bit gone while the first is still arming may
 * return early; the page is then in the answer of the first, which returns only after arming.
 */
#include <arch/cpu.h>
#include <arch/tlb.h>
#include <hyp/boot_info.h>
#include <hyp/dirty_log.h>
#include <hyp/fault.h>
#include <hyp/log.h>
#include <hyp/string.h>
#include <hyp/vm.h>
#include <hyp/window.h>

#define WINDOW_MAX 1024u
#define UNMAP_PAGES 32768u		/* per UNMAP call (I-6) */
#define WINDOW_MIN_BASE (64ull << 30)
#define WINDOW_MAX_SIZE (64ull << 30)

struct window {
	uint64_t start, pages;		/* manager gpa, page aligned */
	struct vm *vm;			/* NULL: the event page */
	gpa_t guest;			/* WINDOW_GUEST: first page shown */
	enum window_kind kind;
	bool write;
};

static struct spinlock window_lock = SPINLOCK_INIT(LOCK_WINDOW);
static struct window list[WINDOW_MAX];	/* by ascending start */
static unsigned count;

/* Above all RAM, so that no window hides something that could be given to the manager. */
uint64_t window_base(void)
{
	uint64_t end = WINDOW_MIN_BASE;

	for (unsigned i = 0; i < boot_info.ram_count; i++) {
		end = MAX(end, boot_info.ram[i].base.v + boot_info.ram[i].size);
	}
	return ALIGN_UP(end, LEVEL_SIZE(2));
}

uint64_t window_size(void)
{
	uint64_t top = 1ull << arch_stage2_ia_bits(), base = window_base();

	return base >= top ? 0 : MIN(top - base, WINDOW_MAX_SIZE);
}

/* ---- the manager's RAM ------------------------------------------------------------------------ */

static unsigned level_for(uint64_t a, uint64_t h, uint64_t first, uint64_t end)
{
	unsigned level = arch_stage2_max_leaf();

	for (; level > 0; level--) {
		uint64_t block = ALIGN_DOWN(a, LEVEL_SIZE(level));

		if (IS_ALIGNED(a ^ h, LEVEL_SIZE(level)) && block >= first &&
		    block + LEVEL_SIZE(level) <= end) {
			break;
		}
	}
	return level;
}

int manager_map_ram(hpa_t base, uint64_t pages)
{
	struct stage2 *s2 = &vm_manager()->s2;
	uint64_t end = base.v + (pages << PAGE_SHIFT), a = base.v;
	struct tlb_batch b = TLB_BATCH_INIT;
	int err = 0;

	stage2_lock(s2);
	while (a < end && !err) {
		unsigned level = level_for(a, a, a, end);

		err = stage2_map(s2, gpa(a), hpa(a), level, PT_R | PT_W | PT_X, &b);
		a += err ? 0 : LEVEL_SIZE(level);
	}
	if (err) {
		(void)!stage2_unmap(s2, gpa(base.v), (a - base.v) >> PAGE_SHIFT, &b);
	}
	stage2_flush(s2, &b);
	stage2_unlock(s2);
	return err;
}

int manager_unmap_ram(hpa_t base, uint64_t pages)
{
	struct stage2 *s2 = &vm_manager()->s2;
	struct tlb_batch b = TLB_BATCH_INIT;
	int err;

	stage2_lock(s2);
	err = stage2_unmap(s2, gpa(base.v), pages, &b);
	stage2_flush(s2, &b);
	stage2_unlock(s2);
	return err;
}

int manager_donate(hpa_t base, uint64_t pages, struct owner to)
{
	const struct owner manager = owner_of(OWNER_MANAGER, MANAGER_HANDLE);
	int err = owner_change(base, pages, manager, to);

	if (err) {
		return err;
	}
	err = manager_unmap_ram(base, pages);
	if (err && owner_change(base, pages, to, manager)) {
		log_err("window: %llu pages changed hands half-way", (unsigned long long)pages);
	}
	return err;
}

int manager_return(hpa_t base, uint64_t pages, struct owner from)
{
	const struct owner manager = owner_of(OWNER_MANAGER, MANAGER_HANDLE);
	int err = owner_change(base, pages, from, manager);

	if (err) {
		return err;
	}
	err = manager_map_ram(base, pages);
	if (err && owner_change(base, pages, manager, from)) {
		log_err("window: %llu pages changed hands half-way", (unsigned long long)pages);
	}
	return err;
}

/* ---- the list; window_lock held --------------------------------------------------------------- */

static uint64_t window_end(const struct window *w)
{
	return w->start + (w->pages << PAGE_SHIFT);
}

/* Index of the first window that ends above a. */
static unsigned first_above(uint64_t a)
{
	unsigned lo = 0, hi = count;

	while (lo < hi) {
		unsigned mid = (lo + hi) / 2;

		if (window_end(&list[mid]) > a) {
			hi = mid;
		} else {
			lo = mid + 1;
		}
	}
	return lo;
}

static int insert(const struct window *w)
{
	uint64_t base = window_base(), size = window_size(), bytes = w->pages << PAGE_SHIFT;
	unsigned i;

	if ((w->start & PAGE_MASK) || w->pages == 0 || w->pages > size >> PAGE_SHIFT ||
	    w->start < base || w->start - base > size - bytes) {
		return -TM_EINVAL;
	}
	i = first_above(w->start);
	if (i < count && list[i].start < w->start + bytes) {
		return -TM_EEXIST;
	}
	if (count == WINDOW_MAX) {
		return -TM_ENOSPC;
	}
	memmove(&list[i + 1], &list[i], (count - i) * sizeof(list[0]));
	list[i] = *w;
	count++;
	if (w->kind == WINDOW_GUEST) {
		__atomic_fetch_add(&w->vm->windows_guest, 1, __ATOMIC_SEQ_CST);
		__atomic_fetch_add(&w->vm->windows_rw, w->write ? 1 : 0, __ATOMIC_SEQ_CST);
	}
	return 0;
}

static void drop_leaves(uint64_t start, uint64_t pages)
{
	struct stage2 *s2 = &vm_manager()->s2;
	struct tlb_batch b = TLB_BATCH_INIT;

	stage2_lock(s2);
	/* Window leaves never reach over their window's edge: no split, no failure. */
	if (stage2_unmap(s2, gpa(start), pages, &b)) {
		log_err("window: a leaf sticks out at 0x%llx", (unsigned long long)start);
	}
	stage2_flush(s2, &b);
	stage2_unlock(s2);
}

static void remove_at(unsigned i)
{
	struct window w = list[i];

	drop_leaves(w.start, w.pages);
	count--;
	memmove(&list[i], &list[i + 1], (count - i) * sizeof(list[0]));
	if (w.kind == WINDOW_GUEST) {
		__atomic_fetch_sub(&w.vm->windows_guest, 1, __ATOMIC_SEQ_CST);
		__atomic_fetch_sub(&w.vm->windows_rw, w.write ? 1 : 0, __ATOMIC_SEQ_CST);
	}
}

static bool shows(const struct window *w, const struct vm *vm, gpa_t first, uint64_t pages)
{
	return w->kind == WINDOW_GUEST && w->vm == vm &&
	       w->guest.v < first.v + (pages << PAGE_SHIFT) &&
	       first.v < w->guest.v + (w->pages << PAGE_SHIFT);
}

/* ---- mapping ---------------------------------------------------------------------------------- */

int window_map_pages(enum window_kind kind, struct vm *vm, hpa_t pages_base, uint64_t pages,
		     gpa_t at)
{
	const struct window w = {.start = at.v, .pages = pages, .vm = vm, .kind = kind, .write = true};
	struct stage2 *s2 = &vm_manager()->s2;
	unsigned i;
	int err;

	spin_lock(&window_lock);
	err = insert(&w);
	if (!err) {
		stage2_lock(s2);
		for (uint64_t n = 0; n < pages && !err; n++) {
			/* shared RW, never executable. */
			err = stage2_map(s2, gpa_add(at, n << PAGE_SHIFT),
					 hpa_add(pages_base, n << PAGE_SHIFT), 0, PT_R | PT_W, NULL);
		}
		stage2_unlock(s2);
		if (err) {
			i = first_above(at.v);
			remove_at(i);
		}
	}
	spin_unlock(&window_lock);
	return err;
}

/* Each page in a slot that stays; no writer that could not be recorded. VM's stage-2 lock held. */
static int guest_range_check(struct vm *vm, gpa_t guest, uint64_t pages, bool write)
{
	gfn_t gfn = gpa_to_gfn(guest);

	while (pages > 0) {
		struct memslot *m = memslot_find(&vm->slots, gfn);
		uint64_t n;

		if (!m || m->invalid) {
			return -TM_EFAULT;
		}
		if (write && memslot_logging(m) && dirty_log_ring_exclusive(vm)) {
			return -TM_ENXIO;
		}
		n = MIN(pages, m->npages - (gfn.v - m->base.v));
		gfn.v += n;
		pages -= n;
	}
	return 0;
}

int window_map_guest(struct vm *vm, gpa_t guest, uint64_t pages, gpa_t at, bool write)
{
	const struct window w = {.start = at.v, .pages = pages, .vm = vm, .guest = guest,
				 .kind = WINDOW_GUEST, .write = write};
	int err;

	spin_lock(&window_lock);
	stage2_lock(&vm->s2);
	err = guest_range_check(vm, guest, pages, write);
	stage2_unlock(&vm->s2);
	/* VM_DESTROY says DYING before it revokes under this lock: either it sees us or we see it. */
	if (!err && __atomic_load_n(&vm->state, __ATOMIC_SEQ_CST) == TM_VM_STATE_DYING) {
		err = -TM_ENOENT;
	}
	if (!err) {
		err = insert(&w);
	}
	spin_unlock(&window_lock);
	return err;
}

/* One window inside [at, end), or part of a large one. *put: whose count to lower, unlocked. */
static int unmap_one(uint64_t at, uint64_t end, uint64_t budget, uint64_t *done, struct vm **put)
{
	struct window *w;
	unsigned i = first_above(at);

	*put = NULL;
	*done = 0;
	if (i == count || list[i].start >= end) {
		return -TM_ENOENT;
	}
	w = &list[i];
	if (w->start < at || window_end(w) > end) {
		return -TM_EINVAL;
	}
	if (w->pages > budget) {
		/* Cut where no leaf (2 MiB at most) is cut with it. */
		uint64_t cut = ALIGN_DOWN(w->start + (budget << PAGE_SHIFT), LEVEL_SIZE(1));

		if (cut <= w->start) {
			return TM_CONTINUE;
		}
		budget = (cut - w->start) >> PAGE_SHIFT;
		drop_leaves(w->start, budget);
		w->start += budget << PAGE_SHIFT;
		w->guest = gpa_add(w->guest, budget << PAGE_SHIFT);
		w->pages -= budget;
		*done = budget;
		return TM_CONTINUE;
	}
	*done = w->pages;
	*put = w->kind == WINDOW_RUN || w->kind == WINDOW_RING ? w->vm : NULL;
	remove_at(i);
	return 0;
}

int window_unmap(gpa_t at, uint64_t pages, uint64_t *removed)
{
	uint64_t end = at.v + (pages << PAGE_SHIFT), n;
	struct vm *put;
	int err;

	*removed = 0;
	for (;;) {
		spin_lock(&window_lock);
		err = unmap_one(at.v, end, UNMAP_PAGES - *removed, &n, &put);
		spin_unlock(&window_lock);
		*removed += n;
		if (put) {
			vm_window_put(put);
		}
		if (err == -TM_ENOENT && *removed) {
			return 0;
		}
		if (err) {
			/* A window that sticks out, found after others are gone: say what was done. */
			return err == -TM_EINVAL && *removed ? TM_CONTINUE : err;
		}
		if (*removed == UNMAP_PAGES) {
			return TM_CONTINUE;
		}
	}
}

void window_revoke(struct vm *vm, gpa_t first, uint64_t pages)
{
	if (!window_any(vm)) {
		return;
	}
	spin_lock(&window_lock);
	for (unsigned i = count; i-- > 0;) {
		if (shows(&list[i], vm, first, pages)) {
			remove_at(i);
		}
	}
	spin_unlock(&window_lock);
}

void window_revoke_all(struct vm *vm)
{
	spin_lock(&window_lock);
	for (unsigned i = count; i-- > 0;) {
		if (list[i].kind == WINDOW_GUEST && list[i].vm == vm) {
			remove_at(i);
		}
	}
	spin_unlock(&window_lock);
}

void window_reset(void)
{
	for (;;) {
		struct vm *put = NULL;

		spin_lock(&window_lock);
		if (count == 0) {
			spin_unlock(&window_lock);
			return;
		}
		if (list[count - 1].kind == WINDOW_RUN || list[count - 1].kind == WINDOW_RING) {
			put = list[count - 1].vm;
		}
		remove_at(count - 1);
		spin_unlock(&window_lock);
		if (put) {
			vm_window_put(put);
		}
	}
}

/* ---- arming ----------------------------------------------------------------------------------- */

bool window_any(const struct vm *vm)
{
	return __atomic_load_n(&vm->windows_guest, __ATOMIC_SEQ_CST) != 0;
}

bool window_any_writable_on(const struct vm *vm, gpa_t first, uint64_t pages)
{
	bool found = false;

	spin_lock(&window_lock);
	for (unsigned i = 0; i < count && !found; i++) {
		found = list[i].write && shows(&list[i], vm, first, pages);
	}
	spin_unlock(&window_lock);
	return found;
}

/* The part of [first, + 64 pages) & mask that the window shows, shifted to its own pages. */
static void arm_mask(struct stage2 *s2, const struct window *w, gpa_t first, uint64_t mask,
		     struct tlb_batch *b)
{
	uint64_t at = w->start, left = w->pages;

	if (first.v >= w->guest.v) {
		uint64_t skip = (first.v - w->guest.v) >> PAGE_SHIFT;

		at += skip << PAGE_SHIFT;
		left -= skip;
	} else {
		mask >>= (w->guest.v - first.v) >> PAGE_SHIFT;	/* < 64: the two overlap */
	}
	mask &= left >= 64 ? ~0ull : (1ull << left) - 1;
	(void)stage2_wrprotect_mask(s2, gpa(at), mask, b);
}

/*
 * The filter is exact enough: a window whose fault set a bit that we have consumed existed before
 * that fault, and the VM's stage-2 lock, held by the fault and then by us, orders its counter.
 */
void window_arm(struct vm *vm, gpa_t first, uint64_t mask)
{
	struct stage2 *s2 = &vm_manager()->s2;
	struct tlb_batch b = TLB_BATCH_INIT;

	if (likely(__atomic_load_n(&vm->windows_rw, __ATOMIC_SEQ_CST) == 0) || mask == 0) {
		return;
	}
	spin_lock(&window_lock);
	stage2_lock(s2);
	for (unsigned i = 0; i < count; i++) {
		if (list[i].write && shows(&list[i], vm, first, 64)) {
			arm_mask(s2, &list[i], first, mask, &b);
		}
	}
	stage2_flush(s2, &b);
	stage2_unlock(s2);
	spin_unlock(&window_lock);
}

void window_arm_range(struct vm *vm, gpa_t first, uint64_t pages)
{
	struct stage2 *s2 = &vm_manager()->s2;
	struct tlb_batch b = TLB_BATCH_INIT;

	if (likely(__atomic_load_n(&vm->windows_rw, __ATOMIC_SEQ_CST) == 0)) {
		return;
	}
	spin_lock(&window_lock);
	stage2_lock(s2);
	for (unsigned i = 0; i < count; i++) {
		const struct window *w = &list[i];
		uint64_t from, to;

		if (!w->write || !shows(w, vm, first, pages)) {
			continue;
		}
		from = MAX(first.v, w->guest.v) - w->guest.v;
		to = MIN(first.v + (pages << PAGE_SHIFT), w->guest.v + (w->pages << PAGE_SHIFT)) -
		     w->guest.v;
		(void)stage2_wrprotect(s2, gpa(w->start + from), (to - from) >> PAGE_SHIFT, &b);
	}
	stage2_flush(s2, &b);
	stage2_unlock(s2);
	spin_unlock(&window_lock);
}

/* ---- faults ----------------------------------------------------------------------------------- */

struct window_page {
	gpa_t at;		/* manager's */
	gpa_t guest;
	uint64_t first, end;	/* guest bytes that one leaf may cover: window and slot */
};

/* Largest leaf up to 2 MiB that fits window and slot; 4 KiB for logged stores. */
static int map_guest_page(struct stage2 *s2, const struct window_page *p, hpa_t h, bool write,
			  bool small, struct tlb_batch *b)
{
	unsigned level = 0;

	if (!small && IS_ALIGNED(p->at.v ^ p->guest.v, LEVEL_SIZE(1))) {
		level = MIN(level_for(p->guest.v, h.v, p->first, p->end), 1u);
	}
	return stage2_map(s2, gpa(ALIGN_DOWN(p->at.v, LEVEL_SIZE(level))),
			  hpa(ALIGN_DOWN(h.v, LEVEL_SIZE(level))), level,
			  PT_R | (write ? (unsigned)PT_W : 0u), b);
}

/* A valid leaf becomes writable; a large one of a logging slot is split first. */
static int upgrade(struct stage2 *s2, const struct pt_leaf *leaf, gpa_t at, bool small,
		   struct tlb_batch *b)
{
	int err = 0;

	if (leaf->level > 0 && small) {
		err = stage2_split(s2, at, b);
	} else if (leaf->level > 0) {
		return stage2_map(s2, gpa(leaf->start), leaf->hpa, leaf->level, leaf->attrs | PT_W, b);
	}
	if (!err) {
		stage2_make_writable(s2, at);
	}
	return err;
}

/* window_lock, the manager's and the VM's stage-2 lock held. */
static int guest_fault(struct stage2 *s2, const struct window *w, const struct s2_fault *f,
		       struct tlb_batch *b)
{
	uint64_t off = ALIGN_DOWN(f->gpa.v, PAGE_SIZE) - w->start;
	struct window_page p = {.at = gpa(w->start + off), .guest = gpa_add(w->guest, off)};
	bool write = f->access == ACCESS_WRITE, logging;
	struct memslot *m = memslot_find(&w->vm->slots, gpa_to_gfn(p.guest));
	struct pt_leaf leaf;
	hpa_t page;
	int err;

	if (!m || m->invalid || f->access == ACCESS_EXEC || (write && !w->write)) {
		return FAULT_ABORT;
	}
	leaf = stage2_lookup(s2, p.at);
	if (leaf.kind == PTE_LEAF && (!write || (leaf.attrs & PT_W))) {
		if (write) {
			stage2_make_writable(s2, p.at);	/* drops this CPU's stale entry */
		}
		return FAULT_RETRY;
	}
	logging = memslot_logging(m);
	page = memslot_page_alloc(w->vm, m, gpa_to_gfn(p.guest).v - m->base.v);
	if (hpa_is_none(page)) {
		return FAULT_ABORT;
	}
	if (write && logging) {
		/* The bit first, then the right to store. */
		dirty_log_mark(w->vm, m, gpa_to_gfn(p.guest).v - m->base.v, NULL);
	}
	p.first = MAX(w->guest.v, gfn_to_gpa(m->base).v);
	p.end = MIN(w->guest.v + (w->pages << PAGE_SHIFT),
		    gfn_to_gpa(m->base).v + (m->npages << PAGE_SHIFT));
	if (leaf.kind == PTE_LEAF) {
		err = upgrade(s2, &leaf, p.at, logging, b);
	} else {
		err = map_guest_page(s2, &p, page, w->write && (write || !logging),
				     (write && logging) || hpa_is_none(m->backing), b);
	}
	return err ? FAULT_ABORT : FAULT_RETRY;
}

int window_fault(const struct s2_fault *f)
{
	struct stage2 *s2 = &vm_manager()->s2;
	struct tlb_batch b = TLB_BATCH_INIT;
	int action = FAULT_ABORT;
	unsigned i;

	spin_lock(&window_lock);
	i = first_above(f->gpa.v);
	if (i < count && list[i].start <= f->gpa.v) {
		const struct window *w = &list[i];

		stage2_lock(s2);
		if (w->kind == WINDOW_GUEST) {
			stage2_lock(&w->vm->s2);
			action = guest_fault(s2, w, f, &b);
			stage2_unlock(&w->vm->s2);
		} else if (f->access != ACCESS_EXEC && !f->permission &&
			   stage2_lookup(s2, f->gpa).kind == PTE_LEAF) {
			action = FAULT_RETRY;	/* mapped while we were on the way */
		}
		stage2_flush(s2, &b);
		stage2_unlock(s2);
	}
	spin_unlock(&window_lock);
	return action;
}
