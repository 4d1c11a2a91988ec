// SPDX-License-Identifier: Apache-2.0
/*
 * The calls of <abi/hypercall.h> as functions. They return 0 or a negative TM_E* and hide
 * CONTINUE, except those that end in _once: these make one call, return TM_CONTINUE as it is, and
 * take and give the cursor. Pointers are guest-physical addresses too, because a guest's map is
 * 1:1; what they point to must be 8-byte aligned.
 */
#ifndef TIDEMARK_CALL_H
#define TIDEMARK_CALL_H

#include <stddef.h>
#include <stdint.h>
#include <abi/tidemark.h>

/* "ENOSPC" and "no space left" of a status; "OK" for 0, "?" for what the ABI does not have. */
const char *tm_strerror_name(int64_t status);
const char *tm_strerror(int64_t status);

#define TM_GPA(ptr) ((uint64_t)(uintptr_t)(ptr))

struct tm_call_args {
	uint64_t a[6];
};

/* Repeats while CONTINUE, passing result 1 back in argument `cursor` (0..5). Result 2 becomes
 * the sum over all parts. */
static inline struct tm_result tm_call_loop(uint32_t fn, struct tm_call_args g, unsigned cursor)
{
	struct tm_result r;
	uint64_t sum = 0;

	for (;;) {
		r = tm_call(fn, g.a[0], g.a[1], g.a[2], g.a[3], g.a[4], g.a[5]);
		sum += r.status >= 0 ? r.val[1] : 0;
		if (r.status != TM_CONTINUE) {
			r.val[1] = sum;
			return r;
		}
		g.a[cursor] = r.val[0];
	}
}

#define TM_ARGS(...) ((struct tm_call_args){{__VA_ARGS__}})
#define TM_SIMPLE(fn, ...) ((int)tm_call_loop((fn), TM_ARGS(__VA_ARGS__), 5).status)

static inline int tm_out(struct tm_result r, uint64_t *out)
{
	if (r.status == 0 && out != NULL) {
		*out = r.val[0];
	}
	return (int)r.status;
}

static inline int tm_out_count(struct tm_result r, uint64_t *out)
{
	if (r.status >= 0 && out != NULL) {
		*out = r.val[1];
	}
	return (int)r.status;
}

/* --- discovery -------------------------------------------------------------------------------- */

static inline int tm_version(uint64_t *version)
{
	return tm_out(tm_call_loop(TM_HC_VERSION, TM_ARGS(0), 5), version);
}

static inline int tm_features(uint64_t *features)
{
	return tm_out(tm_call_loop(TM_HC_FEATURES, TM_ARGS(0), 5), features);
}

static inline int tm_cap_get(uint32_t vm, uint32_t cap, uint64_t *value)
{
	return tm_out(tm_call_loop(TM_HC_CAP_GET, TM_ARGS(vm, cap), 5), value);
}

static inline int tm_cap_enable(uint32_t vm, uint32_t cap, uint64_t flags, uint64_t arg)
{
	return TM_SIMPLE(TM_HC_CAP_ENABLE, vm, cap, flags, arg);
}

/* One piece of the log from *cursor on; *bytes 0 when there is no more. */
static inline int tm_log_read(void *buf, size_t len, uint64_t *cursor, uint64_t *bytes)
{
	struct tm_result r = tm_call(TM_HC_LOG_READ, TM_GPA(buf), len, *cursor, 0, 0, 0);

	if (r.status < 0) {
		return (int)r.status;
	}
	*cursor = r.val[0];
	*bytes = r.val[1];
	return 0;
}

static inline int tm_machine(enum tm_machine_op op)
{
	return TM_SIMPLE(TM_HC_MACHINE, (uint64_t)op);
}

/* --- VMs -------------------------------------------------------------------------------------- */

static inline int tm_vm_create(const struct tm_vm_desc *desc, uint64_t *vm)
{
	return tm_out(tm_call_loop(TM_HC_VM_CREATE, TM_ARGS(TM_GPA(desc), sizeof(*desc)), 5), vm);
}

static inline int tm_vm_destroy(uint32_t vm)
{
	return TM_SIMPLE(TM_HC_VM_DESTROY, vm);
}

static inline int tm_vm_destroy_once(uint32_t vm, uint64_t *cursor)
{
	struct tm_result r = tm_call(TM_HC_VM_DESTROY, vm, 0, 0, 0, 0, *cursor);

	*cursor = r.val[0];
	return (int)r.status;
}

static inline int tm_vm_info(uint32_t vm, struct tm_vm_info *info)
{
	return TM_SIMPLE(TM_HC_VM_INFO, vm, TM_GPA(info), sizeof(*info));
}

/* after = ~0 starts; -TM_ENOENT ends. */
static inline int tm_vm_next(uint64_t after, uint64_t *vm)
{
	return tm_out(tm_call_loop(TM_HC_VM_NEXT, TM_ARGS(after), 5), vm);
}

static inline int tm_vm_pause(uint32_t vm, uint64_t flags)
{
	return TM_SIMPLE(TM_HC_VM_PAUSE, vm, flags);
}

static inline int tm_vm_resume(uint32_t vm)
{
	return TM_SIMPLE(TM_HC_VM_RESUME, vm);
}

static inline int tm_vm_sync(uint32_t vm)
{
	return TM_SIMPLE(TM_HC_VM_SYNC, vm);
}

/* --- vCPUs ------------------------------------------------------------------------------------ */

static inline int tm_vcpu_create(uint32_t vm, uint32_t id, uint64_t *event_bit)
{
	return tm_out(tm_call_loop(TM_HC_VCPU_CREATE, TM_ARGS(vm, id), 5), event_bit);
}

static inline int tm_vcpu_destroy(uint32_t vm, uint32_t id)
{
	return TM_SIMPLE(TM_HC_VCPU_DESTROY, vm, id);
}

static inline int tm_vcpu_run(uint32_t vm, uint32_t id)
{
	return TM_SIMPLE(TM_HC_VCPU_RUN, vm, id);
}

static inline int tm_vcpu_kick(uint32_t vm, uint32_t id, uint64_t flags)
{
	return TM_SIMPLE(TM_HC_VCPU_KICK, vm, id, flags);
}

static inline int tm_vcpu_regs_get(uint32_t vm, uint32_t id, struct tm_regs *regs)
{
	return TM_SIMPLE(TM_HC_VCPU_REGS_GET, vm, id, TM_GPA(regs), sizeof(*regs));
}

static inline int tm_vcpu_regs_set(uint32_t vm, uint32_t id, const struct tm_regs *regs)
{
	return TM_SIMPLE(TM_HC_VCPU_REGS_SET, vm, id, TM_GPA(regs), sizeof(*regs));
}

static inline int tm_vcpu_stats(uint32_t vm, uint32_t id, struct tm_vcpu_stats *stats)
{
	return TM_SIMPLE(TM_HC_VCPU_STATS, vm, id, TM_GPA(stats), sizeof(*stats));
}

static inline int tm_quota_set(uint32_t vm, uint32_t id, uint64_t pages)
{
	return TM_SIMPLE(TM_HC_QUOTA_SET, vm, id, pages);
}

static inline int tm_vcpu_sched_set(uint32_t vm, uint32_t id, uint32_t prio, uint64_t affinity,
				    uint64_t slice_us)
{
	return TM_SIMPLE(TM_HC_VCPU_SCHED_SET, vm, id, prio, affinity, slice_us);
}

/* --- memory ----------------------------------------------------------------------------------- */

static inline int tm_slot_set(uint32_t vm, const struct tm_slot_desc *desc)
{
	return TM_SIMPLE(TM_HC_SLOT_SET, vm, TM_GPA(desc), sizeof(*desc));
}

/* bits: pages that were dirty at the end, collected into buf. */
static inline int tm_slot_delete_collect(uint32_t vm, uint32_t slot, void *buf, uint64_t len,
					 uint64_t *bits)
{
	return tm_out_count(tm_call_loop(TM_HC_SLOT_DELETE_COLLECT,
					 TM_ARGS(vm, slot, TM_GPA(buf), len), 5), bits);
}

static inline int tm_mem_txn(uint32_t vm, const struct tm_slot_desc *list, uint64_t n)
{
	return TM_SIMPLE(TM_HC_MEM_TXN, vm, TM_GPA(list), n);
}

static inline int tm_slot_query(uint32_t vm, uint32_t slot, struct tm_slot_info *info)
{
	return TM_SIMPLE(TM_HC_SLOT_QUERY, vm, slot, TM_GPA(info), sizeof(*info));
}

static inline int tm_populate(uint32_t vm, uint64_t gpa, const void *src, uint64_t pages)
{
	return TM_SIMPLE(TM_HC_POPULATE, vm, gpa, TM_GPA(src), pages);
}

static inline int tm_prefault(uint32_t vm, uint64_t gpa, uint64_t pages)
{
	return TM_SIMPLE(TM_HC_PREFAULT, vm, gpa, pages);
}

static inline int tm_perm_set(uint32_t vm, uint64_t gpa, uint64_t pages, uint64_t rwx,
			      uint64_t level)
{
	return TM_SIMPLE(TM_HC_PERM_SET, vm, gpa, pages, rwx, level);
}

static inline int tm_attr_set(uint32_t vm, uint64_t gpa, uint64_t pages, uint64_t attrs)
{
	return TM_SIMPLE(TM_HC_ATTR_SET, vm, gpa, pages, attrs);
}

static inline int tm_mark_dirty(uint32_t vm, uint32_t slot, uint64_t first, uint64_t pages)
{
	return TM_SIMPLE(TM_HC_MARK_DIRTY, vm, slot, first, pages);
}

/* --- dirty tracking --------------------------------------------------------------------------- */

static inline int tm_dirty_config(uint32_t vm, uint64_t ring_entries, uint64_t flags)
{
	return TM_SIMPLE(TM_HC_DIRTY_CONFIG, vm, ring_entries, flags);
}

static inline int tm_ring_reset(uint32_t vm, uint64_t *entries)
{
	return tm_out_count(tm_call_loop(TM_HC_RING_RESET, TM_ARGS(vm, 0), 1), entries);
}

static inline int tm_ring_reset_once(uint32_t vm, uint64_t *cursor, uint64_t *entries)
{
	struct tm_result r = tm_call(TM_HC_RING_RESET, vm, *cursor, 0, 0, 0, 0);

	*cursor = r.val[0];
	return tm_out_count(r, entries);
}

/* The whole slot; bit n of buf is page n. *bits sums over the parts. */
static inline int tm_bitmap_get(uint32_t vm, uint32_t slot, void *buf, uint64_t len, uint64_t *bits)
{
	return tm_out_count(tm_call_loop(TM_HC_BITMAP_GET, TM_ARGS(vm, slot, TM_GPA(buf), len, 0),
					 4), bits);
}

static inline int tm_bitmap_get_once(uint32_t vm, uint32_t slot, void *buf, uint64_t len,
				     uint64_t *cursor, uint64_t *bits)
{
	struct tm_result r = tm_call(TM_HC_BITMAP_GET, vm, slot, TM_GPA(buf), len, *cursor, 0);

	*cursor = r.val[0];
	return tm_out_count(r, bits);
}

static inline int tm_bitmap_clear(uint32_t vm, const struct tm_clear_desc *desc, uint64_t *bits)
{
	return tm_out_count(tm_call_loop(TM_HC_BITMAP_CLEAR,
					 TM_ARGS(vm, TM_GPA(desc), sizeof(*desc)), 5), bits);
}

/*
 * One bufferful of pairs: each call overwrites buf from its start, so there is no looping form.
 * TM_CONTINUE: take the pairs, call again.
 */
static inline int tm_bitmap_get_sparse_once(uint32_t vm, uint32_t slot, struct tm_sparse_pair *buf,
					    uint64_t len, uint64_t *cursor, uint64_t *pairs)
{
	struct tm_result r = tm_call(TM_HC_BITMAP_GET_SPARSE, vm, slot, TM_GPA(buf), len, *cursor,
				     0);

	*cursor = r.val[0];
	return tm_out_count(r, pairs);
}

struct tm_bitmap_summary {
	uint64_t any;
	uint64_t generation;
	uint64_t leaves;
};

static inline int tm_bitmap_summary(uint32_t vm, struct tm_bitmap_summary *s)
{
	struct tm_result r = tm_call(TM_HC_BITMAP_SUMMARY, vm, 0, 0, 0, 0, 0);

	if (r.status == 0) {
		*s = (struct tm_bitmap_summary){r.val[0], r.val[1], r.val[2]};
	}
	return (int)r.status;
}

static inline int tm_dirty_rate(uint32_t vm, struct tm_dirty_rate *rate)
{
	return TM_SIMPLE(TM_HC_DIRTY_RATE, vm, TM_GPA(rate), sizeof(*rate));
}

/* --- mappings --------------------------------------------------------------------------------- */

static inline int tm_map_run(uint32_t vm, uint32_t id, uint64_t gpa)
{
	return TM_SIMPLE(TM_HC_MAP_RUN, vm, id, gpa);
}

/* The doorbell's vector on x86; elsewhere the hypervisor names the interrupt. */
#if defined(TM_ABI_X86) || (defined(__x86_64__) && !defined(TM_ABI_ARM64))
#define TM_DOORBELL_VECTOR 0xf1u
#else
#define TM_DOORBELL_VECTOR 0u
#endif

static inline int tm_map_events(uint64_t gpa, uint32_t vcpu, uint64_t *intid)
{
	return tm_out(tm_call_loop(TM_HC_MAP_EVENTS, TM_ARGS(gpa, vcpu, TM_DOORBELL_VECTOR), 5),
		      intid);
}

static inline int tm_map_ring(uint32_t vm, uint32_t id, uint64_t page, uint64_t n, uint64_t gpa,
			      uint64_t *reset_index, uint64_t *entries)
{
	struct tm_result r = tm_call(TM_HC_MAP_RING, vm, id, page, n, gpa, 0);

	if (r.status == 0) {
		*reset_index = r.val[0];
		*entries = r.val[1];
	}
	return (int)r.status;
}

static inline int tm_map_guest(uint32_t vm, uint64_t guest_gpa, uint64_t pages, uint64_t gpa,
			       uint64_t prot)
{
	return TM_SIMPLE(TM_HC_MAP_GUEST, vm, guest_gpa, pages, gpa, prot);
}

static inline int tm_unmap(uint64_t gpa, uint64_t pages)
{
	return TM_SIMPLE(TM_HC_UNMAP, gpa, pages);
}

/* --- interrupts and device state -------------------------------------------------------------- */

static inline int tm_irq_line(uint32_t vm, uint32_t line, uint32_t level)
{
	return TM_SIMPLE(TM_HC_IRQ_LINE, vm, line, level);
}

#if defined(TM_ABI_X86) || (defined(__x86_64__) && !defined(TM_ABI_ARM64))
#define tm_gic_state_desc tm_board_state

static inline int tm_apic_state(uint32_t vm, uint32_t id, enum tm_state_op op,
				struct tm_apic_state *state)
{
	return TM_SIMPLE(TM_HC_APIC_STATE, vm, id, (uint64_t)op, TM_GPA(state), sizeof(*state));
}
#else
#define tm_gic_state_desc tm_gic_state
#endif

static inline int tm_gic_state(uint32_t vm, enum tm_state_op op, struct tm_gic_state_desc *state,
			       uint64_t len)
{
	return TM_SIMPLE(TM_HC_GIC_STATE, vm, (uint64_t)op, TM_GPA(state), len);
}

static inline int tm_timer_state(uint32_t vm, uint32_t id, enum tm_state_op op,
				 struct tm_timer_state *state)
{
	return TM_SIMPLE(TM_HC_TIMER_STATE, vm, id, (uint64_t)op, TM_GPA(state), sizeof(*state));
}

static inline int tm_uart_state(uint32_t vm, enum tm_state_op op, struct tm_uart_state *state)
{
	return TM_SIMPLE(TM_HC_UART_STATE, vm, (uint64_t)op, TM_GPA(state), sizeof(*state));
}

/* --- any VM ----------------------------------------------------------------------------------- */

/*
 * With the YIELD or PAUSE instruction besides: a vCPU that waits for one on another physical CPU
 * would hold up an emulator that runs one CPU at a time (100 ms of virtual time a turn in QEMU's
 * icount mode).
 */
static inline int tm_yield(void)
{
#if defined(__aarch64__)
	__asm__ volatile("yield" : : : "memory");
#elif defined(__x86_64__)
	__asm__ volatile("pause" : : : "memory");
#endif
	return (int)tm_call(TM_HC_YIELD, 0, 0, 0, 0, 0, 0).status;
}

/* NULL switches it off. */
static inline int tm_pvtime_set(struct tm_pvtime *area)
{
	return TM_SIMPLE(TM_HC_PVTIME_SET, area != NULL ? TM_GPA(area) : ~(uint64_t)0);
}

/* --- test builds ------------------------------------------------------------------------------ */

static inline int tm_fault_inject(uint64_t site, uint64_t nth)
{
	return TM_SIMPLE(TM_HC_FAULT_INJECT, site, nth);
}

static inline int tm_hyp_write(uint32_t vm, uint64_t gpa, uint64_t len, uint64_t value)
{
	return TM_SIMPLE(TM_HC_HYP_WRITE, vm, gpa, len, value);
}

static inline int tm_force_backend(uint32_t vm, enum tm_backend backend)
{
	return TM_SIMPLE(TM_HC_FORCE_BACKEND, vm, (uint64_t)backend);
}

static inline int tm_counters(struct tm_counters *c)
{
	return TM_SIMPLE(TM_HC_COUNTERS, TM_GPA(c), sizeof(*c));
}

#endif
