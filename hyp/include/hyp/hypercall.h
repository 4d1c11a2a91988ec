// SPDX-License-Identifier: Apache-2.0
/*
 * Hypercall dispatch: one table of number, handler and permission. arch code fills a struct hc_call
 * from registers, calls hypercall_dispatch() and writes the results back. A call never sleeps and
 * does a bounded amount of work; TM_CONTINUE with res[0] = cursor asks the caller to come back.
 */
#ifndef HYP_HYPERCALL_H
#define HYP_HYPERCALL_H

#include <abi/hypercall.h>
#include <hyp/err.h>
#include <hyp/types.h>

struct vcpu;

struct hc_call {
	struct vcpu *vcpu;
	uint64_t arg[6];
	uint64_t res[3];	/* zeroed before the handler; zeroed again on an error */
};

/* Returns the status: 0, TM_CONTINUE or a negative errno. */
int64_t hypercall_dispatch(struct hc_call *c, uint32_t fn);

/* Reads a struct of the ABI with its length rule: longer is fine if the tail is zero (-E2BIG),
 * shorter is -EINVAL, bad pointer -EFAULT. */
int must_check hc_read_struct(struct hc_call *c, uint64_t gpa, uint64_t len, void *out,
			      size_t size);
int must_check hc_write_struct(struct hc_call *c, uint64_t gpa, uint64_t len, const void *in,
			       size_t size);

/* Handlers by file. memcalls.c: */
int64_t hc_slot_set(struct hc_call *c);
int64_t hc_slot_delete_collect(struct hc_call *c);
int64_t hc_slot_query(struct hc_call *c);
int64_t hc_prefault(struct hc_call *c);
int64_t hc_mark_dirty(struct hc_call *c);
/* dirtycalls.c: */
int64_t hc_dirty_config(struct hc_call *c);
int64_t hc_ring_reset(struct hc_call *c);
int64_t hc_bitmap_get(struct hc_call *c);
int64_t hc_bitmap_clear(struct hc_call *c);
int64_t hc_bitmap_get_sparse(struct hc_call *c);
int64_t hc_bitmap_summary(struct hc_call *c);
int64_t hc_dirty_rate(struct hc_call *c);
int64_t hc_quota_set(struct hc_call *c);
/* windowcalls.c: */
int64_t hc_map_run(struct hc_call *c);
int64_t hc_map_events(struct hc_call *c);
int64_t hc_map_ring(struct hc_call *c);
int64_t hc_map_guest(struct hc_call *c);
int64_t hc_unmap(struct hc_call *c);
/* vmcalls.c: */
int64_t hc_version(struct hc_call *c);
int64_t hc_features(struct hc_call *c);
int64_t hc_cap_get(struct hc_call *c);
int64_t hc_cap_enable(struct hc_call *c);
int64_t hc_log_read(struct hc_call *c);
int64_t hc_machine(struct hc_call *c);
int64_t hc_vm_create(struct hc_call *c);
int64_t hc_vm_destroy(struct hc_call *c);
int64_t hc_vm_info(struct hc_call *c);
int64_t hc_vm_next(struct hc_call *c);
int64_t hc_vm_pause(struct hc_call *c);
int64_t hc_vm_resume(struct hc_call *c);
int64_t hc_vm_sync(struct hc_call *c);
int64_t hc_console_write(struct hc_call *c);
int64_t hc_console_read(struct hc_call *c);
int64_t hc_yield(struct hc_call *c);
int64_t hc_pvtime_set(struct hc_call *c);
int64_t hc_irq_line(struct hc_call *c);
int64_t hc_gic_state(struct hc_call *c);
int64_t hc_apic_state(struct hc_call *c);
int64_t hc_timer_state(struct hc_call *c);
int64_t hc_uart_state(struct hc_call *c);
int64_t hc_hyp_write(struct hc_call *c);
int64_t hc_counters(struct hc_call *c);
int64_t hc_fault_inject(struct hc_call *c);
int64_t hc_force_backend(struct hc_call *c);
/* vcpucalls.c: */
int64_t hc_vcpu_create(struct hc_call *c);
int64_t hc_vcpu_run(struct hc_call *c);
int64_t hc_vcpu_kick(struct hc_call *c);
int64_t hc_vcpu_regs_get(struct hc_call *c);
int64_t hc_vcpu_regs_set(struct hc_call *c);
int64_t hc_vcpu_stats(struct hc_call *c);
int64_t hc_vcpu_sched_set(struct hc_call *c);
int64_t hc_vcpu_destroy(struct hc_call *c);

#endif
