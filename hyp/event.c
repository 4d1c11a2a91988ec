// SPDX-License-Identifier: Apache-2.0
/*
 * The manager's event page and doorbell. The page belongs to the hypervisor and is shared with the
 * manager, who exchanges its words; we only OR into it. Bit = vm * 64 + vCPU.
 */
#include <abi/vm.h>
#include <arch/vcpu.h>
#include <hyp/event.h>
#include <hyp/page_alloc.h>
#include <hyp/vm.h>

static struct tm_event_page *page;	/* NULL until a manager maps it; then it stays ours */
static bool attached;

/* The page that MAP_EVENTS shows; NULL when there is no memory for it. */
struct tm_event_page *event_page(void)
{
	struct tm_event_page *fresh, *none = NULL;

	if (__atomic_load_n(&page, __ATOMIC_ACQUIRE)) {
		return page;
	}
	fresh = page_alloc();
	if (fresh && !__atomic_compare_exchange_n(&page, &none, fresh, false, __ATOMIC_ACQ_REL,
						  __ATOMIC_ACQUIRE)) {
		page_free(fresh);	/* another CPU of the manager was faster */
	}
	return __atomic_load_n(&page, __ATOMIC_ACQUIRE);
}

void event_set(struct vcpu *v)
{
	uint64_t bit = 1ull << (v->id & 63u);
	uint64_t old;

	if (!__atomic_load_n(&attached, __ATOMIC_ACQUIRE)) {
		return;
	}
	old = __atomic_fetch_or(&page->word[v->vm->handle % TM_MAX_VMS], bit, __ATOMIC_RELEASE);
	if (!(old & bit)) {
		arch_doorbell_ring(vm_manager());
	}
}

void event_attach(void)
{
	struct vm *vm;
	bool any = false;

	__atomic_store_n(&attached, true, __ATOMIC_RELEASE);
	/* Against "store STOPPED, then look at attached": one of the two sees the other. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	/* A new manager learns of everything that waits for it. */
	for (int h = -1; (vm = vm_next(h)) != NULL; h = vm->handle, vm_put(vm)) {
		for (unsigned i = 0; !vm->is_manager && i < vm->vcpus_max; i++) {
			struct vcpu *v = __atomic_load_n(&vm->vcpu[i], __ATOMIC_ACQUIRE);

			if (v && (__atomic_load_n(&v->state, __ATOMIC_ACQUIRE) == TM_VCPU_STOPPED ||
				  (v->ring.entries && dirty_ring_soft_full(&v->ring)))) {
				event_set(v);
			}
		}
	}
	/* A bit that was set already rang no bell, or that of the manager before. */
	for (unsigned i = 0; i < TM_MAX_VMS; i++) {
		any = any || __atomic_load_n(&page->word[i], __ATOMIC_RELAXED);
	}
	if (any) {
		arch_doorbell_ring(vm_manager());
	}
}

void event_reset(void)
{
	__atomic_store_n(&attached, false, __ATOMIC_RELEASE);
	for (unsigned i = 0; page && i < TM_MAX_VMS; i++) {
		__atomic_store_n(&page->word[i], 0, __ATOMIC_RELAXED);
	}
}
