// SPDX-License-Identifier: Apache-2.0
/*
 * The handle table and the life of a VM. The table is guarded by table_lock and hands out counted
 * references; a VM in DYING is invisible to all but the VM_DESTROY that is taking it down. The
 * struct itself is freed, and its handle reused, when the last reference and the last mapping of
 * its rings and run pages in the manager are gone.
 */
#include <arch/cpu.h>
#include <arch/tlb.h>
#include <arch/vcpu.h>
#include <hyp/console.h>
#include <hyp/dirty_hw.h>
#include <hyp/log.h>
#include <hyp/owner.h>
#include <hyp/sched.h>
#include <hyp/string.h>
#include <hyp/vm.h>
#include <hyp/window.h>

static struct spinlock table_lock = SPINLOCK_INIT(LOCK_VM_TABLE);
static struct vm *table[TM_MAX_VMS];

#define SCRUB_PAGES_PER_CALL 512u

/* What VM_DESTROY has still to do, in order. */
enum destroy_step { DESTROY_STOP, DESTROY_SLOTS, DESTROY_TABLES, DESTROY_POOL, DESTROY_DONE };

static uint64_t vm_struct_pages(void)
{
	return ALIGN_UP(sizeof(struct vm), PAGE_SIZE) / PAGE_SIZE;
}

struct vm *vm_manager(void)
{
	return table[MANAGER_HANDLE];
}

struct vm *vm_get(uint64_t handle)
{
	struct vm *vm = NULL;

	if (handle >= TM_MAX_VMS) {
		return NULL;
	}
	handle = index_nospec(handle, TM_MAX_VMS);
	spin_lock(&table_lock);
	if (table[handle] && table[handle]->state != TM_VM_STATE_DYING) {
		vm = table[handle];
		vm->refs++;
	}
	spin_unlock(&table_lock);
	return vm;
}

struct vm *vm_next(int after)
{
	struct vm *vm = NULL;

	spin_lock(&table_lock);
	for (unsigned h = (unsigned)(after + 1); h < TM_MAX_VMS && !vm; h++) {
		if (table[h] && table[h]->state != TM_VM_STATE_DYING) {
			vm = table[h];
			vm->refs++;
		}
	}
	spin_unlock(&table_lock);
	return vm;
}

static void vm_free(struct vm *vm)
{
	for (unsigned i = 0; i < TM_MAX_VCPUS; i++) {
		if (vm->vcpu_dead[i]) {
			vcpu_free(vm->vcpu_dead[i]);
		}
	}
	page_free_contig(vm, vm_struct_pages());
}

/* With table_lock held: the struct goes when nothing refers to it any more. */
static bool vm_unused_locked(struct vm *vm)
{
	if (vm->refs || vm->windows || vm->destroy_step != DESTROY_DONE) {
		return false;
	}
	table[vm->handle] = NULL;
	return true;
}

void vm_put(struct vm *vm)
{
	bool gone;

	spin_lock(&table_lock);
	vm->refs--;
	gone = vm_unused_locked(vm);
	spin_unlock(&table_lock);
	if (gone) {
		vm_free(vm);
	}
}

void vm_window_get(struct vm *vm)
{
	spin_lock(&table_lock);
	vm->windows++;
	spin_unlock(&table_lock);
}

void vm_window_put(struct vm *vm)
{
	bool gone;

	spin_lock(&table_lock);
	vm->windows--;
	gone = vm_unused_locked(vm);
	spin_unlock(&table_lock);
	if (gone) {
		vm_free(vm);
	}
}

static int table_insert(struct vm *vm)
{
	unsigned h = vm->is_manager ? MANAGER_HANDLE : MANAGER_HANDLE + 1;
	int err = -TM_ENOSPC;

	/* VMIDs are handle + 1: 0 stays unused, and 8-bit VMIDs bound the number of VMs. */
	spin_lock(&table_lock);
	for (; h < TM_MAX_VMS && h + 1 < arch_vmid_count(); h++) {
		if (!table[h]) {
			vm->handle = (uint16_t)h;
			table[h] = vm;
			err = 0;
			break;
		}
	}
	spin_unlock(&table_lock);
	return err;
}

static void vm_unbuild(struct vm *vm)
{
	spin_lock(&table_lock);
	table[vm->handle] = NULL;
	spin_unlock(&table_lock);
	page_free_contig(vm, vm_struct_pages());
}

/* In the table, with a handle, and found by nobody: DYING to those who look for a VM, busy to those
 * who look for one to destroy. */
static int vm_build(const struct tm_vm_desc *d, hpa_t pool, uint64_t pool_pages, struct vm **out)
{
	struct vm *vm = page_alloc_contig(vm_struct_pages());
	int err;

	if (!vm) {
		return -TM_ENOMEM;
	}
	spin_init(&vm->lock, LOCK_VM);
	spin_init(&vm->slots_lock, LOCK_SLOTS);
	spin_init(&vm->dirty.reset_lock, LOCK_RING_RESET);
	vm->is_manager = pool_pages == 0;
	vm->flags = d->flags;
	vm->vcpus_max = d->vcpus;
	vm->pvtime_gpa = ~0ull;
	memcpy(vm->name, d->name, sizeof(vm->name));
	memcpy(vm->uuid, d->uuid, sizeof(vm->uuid));
	vm->mmio_window_count = d->mmio_count;
	memcpy(vm->mmio_window, d->mmio, sizeof(vm->mmio_window));
	vm->state = TM_VM_STATE_DYING;
	vm->destroying = true;
	vm->refs = 1;
	err = table_insert(vm);
	if (err) {
		page_free_contig(vm, vm_struct_pages());
		return err;
	}
	if (vm->is_manager) {
		pool_init_hyp(&vm->pool);
	} else {
		pool_init(&vm->pool, pool, pool_pages);
	}
	err = stage2_init(&vm->s2, &vm->pool, (uint16_t)(vm->handle + 1),
			  vm->is_manager ? LOCK_STAGE2_MANAGER : LOCK_STAGE2);
	if (!err) {
		dirty_hw_choose(vm);
		err = arch_vm_init(vm);
		if (err) {
			stage2_destroy(&vm->s2);
		}
	}
	if (err) {
		vm_unbuild(vm);
		return err;
	}
	*out = vm;
	return 0;
}

static void vm_publish(struct vm *vm)
{
	spin_lock(&table_lock);
	__atomic_store_n(&vm->state, (uint32_t)TM_VM_STATE_ALIVE, __ATOMIC_RELEASE);
	vm->destroying = false;
	spin_unlock(&table_lock);
}

int vm_alloc(const struct tm_vm_desc *d, hpa_t pool, uint64_t pool_pages, struct vm **out)
{
	int err = vm_build(d, pool, pool_pages, out);

	if (!err) {
		vm_publish(*out);
	}
	return err;
}

static bool name_ok(const char *name)
{
	size_t n = strnlen(name, TM_VM_NAME_LEN);

	if (n == 0 || n == TM_VM_NAME_LEN) {
		return false;
	}
	for (size_t i = 0; i < n; i++) {
		char c = name[i];

		if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.' ||
		      c == '-')) {
			return false;
		}
	}
	return true;
}

static int desc_check(const struct tm_vm_desc *d)
{
	uint64_t top = 1ull << arch_stage2_ia_bits();

	if ((d->flags & ~(uint32_t)(TM_VM_EXIT_ON_UNBACKED | TM_VM_CONSOLE)) || d->rsvd ||
	    d->vcpus == 0 || d->vcpus > TM_MAX_VCPUS || !name_ok(d->name) ||
	    d->mmio_count > TM_VM_MMIO_WINDOWS) {
		return -TM_EINVAL;
	}
	for (unsigned i = 0; i < ARRAY_SIZE(d->rsvd2); i++) {
		if (d->rsvd2[i]) {
			return -TM_EINVAL;
		}
	}
	if (d->pool_size == 0 || ((d->pool_gpa | d->pool_size) & PAGE_MASK) ||
	    d->pool_gpa + d->pool_size < d->pool_gpa || d->pool_gpa + d->pool_size > top) {
		return -TM_EINVAL;
	}
	for (unsigned i = 0; i < TM_VM_MMIO_WINDOWS; i++) {
		const struct tm_range *r = &d->mmio[i];

		if (i >= d->mmio_count ? (r->gpa || r->size) :
		    (r->size == 0 || ((r->gpa | r->size) & PAGE_MASK) ||
		     r->gpa + r->size < r->gpa || r->gpa + r->size > top)) {
			return -TM_EINVAL;
		}
	}
	return 0;
}

/*
 * The pool is claimed before anything else and handed back if a later step fails (I-7). It leaves
 * the manager's map, flush complete, before its first page is used.
 */
int vm_create(const struct tm_vm_desc *d, struct vm **out)
{
	const struct owner manager = owner_of(OWNER_MANAGER, MANAGER_HANDLE);
	const struct owner limbo = owner_of(OWNER_HYP, 0);
	uint64_t pages = d->pool_size / PAGE_SIZE;
	hpa_t base = hpa(d->pool_gpa);
	int err = desc_check(d);

	if (!err) {
		err = owner_change(base, pages, manager, limbo);
	}
	if (err) {
		return err;
	}
	err = manager_unmap_ram(base, pages);
	if (err) {
		(void)!owner_change(base, pages, limbo, manager);
		return err;
	}
	err = vm_build(d, base, pages, out);
	if (!err) {
		/* Ours since above, so this cannot fail. Nobody finds the VM before it is done. */
		(void)!owner_change(base, pages, limbo, owner_of(OWNER_VM_POOL, (*out)->handle));
		(*out)->refs++;
		vm_publish(*out);
		return 0;
	}
	if (owner_change(base, pages, limbo, manager) || manager_map_ram(base, pages)) {
		log_err("vm create: %llu pages of a failed pool stay unmapped",
			(unsigned long long)pages);
	}
	return err;
}

void vm_kill(struct vm *vm, const char *why)
{
	uint32_t alive = TM_VM_STATE_ALIVE;

	/* Never from DYING: a VM that is being taken down stays unfindable. */
	if (__atomic_compare_exchange_n(&vm->state, &alive, (uint32_t)TM_VM_STATE_DEAD, false,
					__ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) {
		log_err("vm %s: killed: %s", vm->name, why);
	}
	for (unsigned i = 0; i < vm->vcpus_max; i++) {
		struct vcpu *v = __atomic_load_n(&vm->vcpu[i], __ATOMIC_ACQUIRE);

		if (v && v == vcpu_current()) {
			vcpu_stop(v, TM_EXIT_INTERNAL, -TM_EIO);
		} else if (v) {
			vcpu_request(v, VCPU_REQ_STOP);
		}
	}
}

/* --- pause, resume, sync --- */

static void wait_all_put(struct vm *vm)
{
	for (unsigned i = 0; i < vm->vcpus_max; i++) {
		struct vcpu *v = __atomic_load_n(&vm->vcpu[i], __ATOMIC_ACQUIRE);

		if (v) {
			vcpu_request(v, VCPU_REQ_PAUSE);
		}
	}
	/* Each CPU needs only to finish its present exit, which waits for nobody (no lock is held
	 * here), so this ends. */
	for (unsigned i = 0; i < vm->vcpus_max; i++) {
		struct vcpu *v = __atomic_load_n(&vm->vcpu[i], __ATOMIC_ACQUIRE);

		while (v && __atomic_load_n(&v->on_cpu, __ATOMIC_ACQUIRE)) {
			arch_cpu_relax();
		}
	}
}

int vm_pause(struct vm *vm, uint64_t flags, struct vcpu *caller)
{
	int err = 0;

	if (flags & ~(uint64_t)TM_PAUSE_QUIESCE) {
		return -TM_EINVAL;
	}
	if (caller && caller->vm == vm) {
		return -TM_EDEADLK;
	}
	spin_lock(&vm->lock);
	if (vm->pause_count == UINT32_MAX || vm->quiesce_count == UINT32_MAX) {
		err = -TM_EOVERFLOW;
	} else {
		__atomic_fetch_add(&vm->pause_count, 1, __ATOMIC_SEQ_CST);
		/* Counted with the pauses: all are lifted together by the last resume. */
		if (flags & TM_PAUSE_QUIESCE) {
			__atomic_fetch_add(&vm->quiesce_count, 1, __ATOMIC_SEQ_CST);
		}
	}
	spin_unlock(&vm->lock);
	if (!err) {
		wait_all_put(vm);
		dirty_hw_drain(vm);
		if (flags & TM_PAUSE_QUIESCE) {
			dirty_log_writers_wait(vm);
		}
	}
	return err;
}

int vm_resume(struct vm *vm)
{
	bool last;

	spin_lock(&vm->lock);
	if (vm->pause_count == 0) {
		spin_unlock(&vm->lock);
		return -TM_EINVAL;
	}
	last = __atomic_sub_fetch(&vm->pause_count, 1, __ATOMIC_SEQ_CST) == 0;
	if (last) {
		__atomic_store_n(&vm->quiesce_count, 0, __ATOMIC_SEQ_CST);
	}
	spin_unlock(&vm->lock);
	if (last) {
		sched_requeue_vm(vm);
	}
	return 0;
}

void vm_unpause(struct vm *vm)
{
	bool was_paused;

	spin_lock(&vm->lock);
	was_paused = vm->pause_count != 0;
	__atomic_store_n(&vm->pause_count, 0, __ATOMIC_SEQ_CST);
	__atomic_store_n(&vm->quiesce_count, 0, __ATOMIC_SEQ_CST);
	spin_unlock(&vm->lock);
	if (was_paused) {
		sched_requeue_vm(vm);
	}
}

int vm_pause_preset(struct vm *vm, uint64_t count)
{
	int err = 0;

	if (count == 0 || count > UINT32_MAX) {
		return -TM_EINVAL;
	}
	spin_lock(&vm->lock);
	if (vm->pause_count == 0) {
		err = -TM_EBUSY;	/* its vCPUs run */
	} else {
		__atomic_store_n(&vm->pause_count, (uint32_t)count, __ATOMIC_SEQ_CST);
	}
	spin_unlock(&vm->lock);
	return err;
}

/*
 * With the write-protect back end a vCPU hides nothing: its record is published, under the stage-2
 * lock, before the store can retire. So there is only what hardware knows to fetch, and the
 * hypervisor's own writers between their store and their mark to wait for.
 */
void vm_sync(struct vm *vm)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	dirty_hw_drain(vm);
	dirty_log_writers_wait(vm);
}

/* --- destruction --- */

int vm_vcpu_destroy(struct vm *vm, struct vcpu *v)
{
	int err = 0;

	spin_lock(&v->lock);
	if (!v->created) {
		err = -TM_ENOENT;
	} else if (v->state != TM_VCPU_STOPPED) {
		err = -TM_EBUSY;
	} else {
		v->created = false;	/* nobody runs it from here on, nobody else destroys it */
		v->powered_on = false;
	}
	spin_unlock(&v->lock);
	if (err) {
		return err;
	}
	spin_lock(&vm->lock);
	vm->vcpu_busy |= 1ull << v->id;
	__atomic_store_n(&vm->vcpu[v->id], NULL, __ATOMIC_RELEASE);
	vm->vcpu_dead[v->id] = v;
	spin_unlock(&vm->lock);
	sched_forget(v);
	arch_vcpu_destroy(v);
	spin_lock(&vm->lock);
	vm->vcpu_busy &= ~(1ull << v->id);
	vm->vcpus_count--;
	spin_unlock(&vm->lock);
	return 0;
}

static void destroy_vcpus(struct vm *vm)
{
	/* Not one more: it may stand at its limit already. Nobody resumes a VM that is dying. */
	__atomic_store_n(&vm->pause_count, UINT32_MAX, __ATOMIC_SEQ_CST);
	wait_all_put(vm);
	for (unsigned i = 0; i < vm->vcpus_max; i++) {
		struct vcpu *v = vm->vcpu[i];

		if (v) {
			spin_lock(&v->lock);
			v->state = TM_VCPU_STOPPED;
			spin_unlock(&v->lock);
			(void)!vm_vcpu_destroy(vm, v);
		}
	}
	window_revoke_all(vm);
	dirty_log_writers_wait(vm);
	console_vm_gone(vm);
}

/* Pool pages go back zeroed; a bounded number a call. */
static int destroy_pool_step(struct vm *vm)
{
	uint64_t left = vm->pool.pages - vm->destroy_cursor;
	uint64_t n = MIN(left, SCRUB_PAGES_PER_CALL);
	hpa_t at = hpa_add(vm->pool.base, vm->destroy_cursor * PAGE_SIZE);
	int err;

	for (uint64_t i = 0; i < n; i++) {
		arch_zero_page(phys_to_virt(hpa_add(at, i * PAGE_SIZE)));
	}
	arch_clean_to_poc(phys_to_virt(at), n * PAGE_SIZE);
	err = manager_return(at, n, owner_of(OWNER_VM_POOL, vm->handle));
	if (err) {
		return err;	/* no page for a table of the manager's map: later, from here */
	}
	vm->destroy_cursor += n;
	return vm->destroy_cursor == vm->pool.pages ? 0 : TM_CONTINUE;
}

static int destroy_one_step(struct vm *vm)
{
	int err = 0;

	switch ((enum destroy_step)vm->destroy_step) {
	case DESTROY_STOP:
		destroy_vcpus(vm);
		break;
	case DESTROY_SLOTS:
		err = memslot_destroy_step(vm);
		break;
	case DESTROY_TABLES:
		arch_vm_destroy(vm);
		stage2_destroy(&vm->s2);
		break;
	case DESTROY_POOL:
		err = destroy_pool_step(vm);
		break;
	case DESTROY_DONE:
		return 0;
	}
	if (err < 0) {
		return err;
	}
	if (err == 0) {
		vm->destroy_step++;
	}
	return vm->destroy_step == DESTROY_DONE ? 0 : TM_CONTINUE;
}

/* The one that takes a VM down finds it dying; everybody else no longer finds it. */
static struct vm *get_for_destroy(uint64_t handle)
{
	struct vm *vm = NULL;

	if (handle >= TM_MAX_VMS) {
		return NULL;
	}
	handle = index_nospec(handle, TM_MAX_VMS);
	spin_lock(&table_lock);
	vm = table[handle];
	if (vm && (vm->destroying || vm->destroy_step == DESTROY_DONE)) {
		vm = NULL;
	}
	if (vm) {
		vm->destroying = true;
		__atomic_store_n(&vm->state, (uint32_t)TM_VM_STATE_DYING, __ATOMIC_SEQ_CST);
	}
	spin_unlock(&table_lock);
	return vm;
}

int vm_destroy(uint64_t handle)
{
	struct vm *vm = handle == MANAGER_HANDLE ? NULL : get_for_destroy(handle);
	int err = TM_CONTINUE;

	if (handle == MANAGER_HANDLE) {
		return -TM_EACCES;
	}
	if (!vm) {
		return -TM_ENOENT;
	}
	/* Calls that found it before it began to die hold a reference: they finish first. */
	if (__atomic_load_n(&vm->refs, __ATOMIC_ACQUIRE) <= 1) {
		err = destroy_one_step(vm);
	}
	spin_lock(&table_lock);
	vm->destroying = false;
	spin_unlock(&table_lock);
	if (err == 0) {
		vm_put(vm);	/* the table's own reference */
	}
	return err;
}

static bool is_dying(unsigned h)
{
	bool dying;

	spin_lock(&table_lock);
	dying = table[h] && table[h]->state == TM_VM_STATE_DYING && !table[h]->destroying;
	spin_unlock(&table_lock);
	return dying;
}

void vm_destroy_dying(void)
{
	for (unsigned h = MANAGER_HANDLE + 1; h < TM_MAX_VMS; h++) {
		/* Its rings and run pages are unmapped, and no call holds it: this ends. */
		while (is_dying(h) && vm_destroy(h) == TM_CONTINUE) {
			arch_cpu_relax();
		}
	}
}

void vm_info(struct vm *vm, struct tm_vm_info *out)
{
	memset(out, 0, sizeof(*out));
	out->flags = vm->flags;
	out->vcpus_max = vm->vcpus_max;
	out->pool_gpa = vm->pool.base.v;
	out->pool_pages = vm->pool.pages;
	out->pool_free = vm->pool.free - vm->pool.reserved;
	out->dirty_flags = vm->dirty.flags;
	out->ring_entries = vm->dirty.ring_entries;
	out->dirty_generation = vm->dirty.generation;
	memcpy(out->uuid, vm->uuid, sizeof(out->uuid));
	memcpy(out->name, vm->name, sizeof(out->name));
	out->mmio_count = vm->mmio_window_count;
	memcpy(out->mmio, vm->mmio_window, sizeof(out->mmio));
	spin_lock(&vm->lock);
	out->state = vm->state;
	out->vcpus = vm->vcpus_count;
	out->pause_count = vm->pause_count;
	out->shutdown_type = vm->shutdown_type;
	for (unsigned i = 0; i < vm->vcpus_max; i++) {
		if (vm->vcpu[i]) {
			out->vcpu_mask |= 1ull << i;
			out->exits += vm->vcpu[i]->stats.exits;
		}
	}
	spin_unlock(&vm->lock);
	spin_lock(&vm->slots_lock);
	out->slot_count = vm->slots.count;
	for (unsigned i = 0; i < MEMSLOT_MAX; i++) {
		if (vm->slots.slot[i].used) {
			out->slot_pages += vm->slots.slot[i].npages;
		}
	}
	spin_unlock(&vm->slots_lock);
}
