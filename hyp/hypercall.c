// SPDX-License-Identifier: Apache-2.0
/*
 * Hypercall dispatch: the one table of number, handler and permission, and the two helpers that
 * carry ABI structs across with their length rule. A management call from a VM that is not the
 * manager is answered like an unknown one: existence is not revealed.
 */
#include <hyp/guest_copy.h>
#include <hyp/hypercall.h>
#include <hyp/string.h>
#include <hyp/vm.h>

typedef int64_t (*hc_handler)(struct hc_call *c);

struct hc_row {
	hc_handler fn;
	bool any_vm;
};

#define MANAGER(handler) {.fn = (handler)}
#define ANY(handler) {.fn = (handler), .any_vm = true}
#define POS(nr) [(nr) & 0xff]

static const struct hc_row group_discovery[] = {
	POS(TM_HC_VERSION) = ANY(hc_version),
	POS(TM_HC_FEATURES) = ANY(hc_features),
	POS(TM_HC_CAP_GET) = MANAGER(hc_cap_get),
	POS(TM_HC_CAP_ENABLE) = MANAGER(hc_cap_enable),
	POS(TM_HC_LOG_READ) = MANAGER(hc_log_read),
	POS(TM_HC_MACHINE) = MANAGER(hc_machine),
};
static const struct hc_row group_vm[] = {
	POS(TM_HC_VM_CREATE) = MANAGER(hc_vm_create),
	POS(TM_HC_VM_DESTROY) = MANAGER(hc_vm_destroy),
	POS(TM_HC_VM_INFO) = MANAGER(hc_vm_info),
	POS(TM_HC_VM_NEXT) = MANAGER(hc_vm_next),
	POS(TM_HC_VM_PAUSE) = MANAGER(hc_vm_pause),
	POS(TM_HC_VM_RESUME) = MANAGER(hc_vm_resume),
	POS(TM_HC_VM_SYNC) = MANAGER(hc_vm_sync),
};
static const struct hc_row group_vcpu[] = {
	POS(TM_HC_VCPU_CREATE) = MANAGER(hc_vcpu_create),
	POS(TM_HC_VCPU_RUN) = MANAGER(hc_vcpu_run),
	POS(TM_HC_VCPU_KICK) = MANAGER(hc_vcpu_kick),
	POS(TM_HC_VCPU_REGS_GET) = MANAGER(hc_vcpu_regs_get),
	POS(TM_HC_VCPU_REGS_SET) = MANAGER(hc_vcpu_regs_set),
	POS(TM_HC_VCPU_STATS) = MANAGER(hc_vcpu_stats),
	POS(TM_HC_QUOTA_SET) = MANAGER(hc_quota_set),
	POS(TM_HC_VCPU_SCHED_SET) = MANAGER(hc_vcpu_sched_set),
	POS(TM_HC_VCPU_DESTROY) = MANAGER(hc_vcpu_destroy),
};
static const struct hc_row group_memory[] = {
	POS(TM_HC_SLOT_SET) = MANAGER(hc_slot_set),
	POS(TM_HC_SLOT_DELETE_COLLECT) = MANAGER(hc_slot_delete_collect),
	POS(TM_HC_SLOT_QUERY) = MANAGER(hc_slot_query),
	POS(TM_HC_PREFAULT) = MANAGER(hc_prefault),
	POS(TM_HC_MARK_DIRTY) = MANAGER(hc_mark_dirty),
};
static const struct hc_row group_dirty[] = {
	POS(TM_HC_DIRTY_CONFIG) = MANAGER(hc_dirty_config),
	POS(TM_HC_RING_RESET) = MANAGER(hc_ring_reset),
	POS(TM_HC_BITMAP_GET) = MANAGER(hc_bitmap_get),
	POS(TM_HC_BITMAP_CLEAR) = MANAGER(hc_bitmap_clear),
	POS(TM_HC_BITMAP_GET_SPARSE) = MANAGER(hc_bitmap_get_sparse),
	POS(TM_HC_BITMAP_SUMMARY) = MANAGER(hc_bitmap_summary),
	POS(TM_HC_DIRTY_RATE) = MANAGER(hc_dirty_rate),
};
static const struct hc_row group_map[] = {
	POS(TM_HC_MAP_RUN) = MANAGER(hc_map_run),
	POS(TM_HC_MAP_EVENTS) = MANAGER(hc_map_events),
	POS(TM_HC_MAP_RING) = MANAGER(hc_map_ring),
	POS(TM_HC_MAP_GUEST) = MANAGER(hc_map_guest),
	POS(TM_HC_UNMAP) = MANAGER(hc_unmap),
};
static const struct hc_row group_device[] = {
	POS(TM_HC_IRQ_LINE) = MANAGER(hc_irq_line),
	POS(TM_HC_GIC_STATE) = MANAGER(hc_gic_state),
	POS(TM_HC_APIC_STATE) = MANAGER(hc_apic_state),
	POS(TM_HC_TIMER_STATE) = MANAGER(hc_timer_state),
	POS(TM_HC_UART_STATE) = MANAGER(hc_uart_state),
};
static const struct hc_row group_guest[] = {
	POS(TM_HC_CONSOLE_WRITE) = ANY(hc_console_write),
	POS(TM_HC_CONSOLE_READ) = ANY(hc_console_read),
	POS(TM_HC_YIELD) = ANY(hc_yield),
	POS(TM_HC_PVTIME_SET) = ANY(hc_pvtime_set),
};
static const struct hc_row group_test[] = {
	POS(TM_HC_FAULT_INJECT) = MANAGER(hc_fault_inject),
	POS(TM_HC_HYP_WRITE) = MANAGER(hc_hyp_write),
	POS(TM_HC_FORCE_BACKEND) = MANAGER(hc_force_backend),
	POS(TM_HC_COUNTERS) = MANAGER(hc_counters),
};

static const struct {
	const struct hc_row *row;
	uint32_t count;
} groups[] = {
#define GROUP(nr, rows) [(nr) >> 8] = {(rows), ARRAY_SIZE(rows)}
	GROUP(0x0000, group_discovery),
	GROUP(0x0100, group_vm),
	GROUP(0x0200, group_vcpu),
	GROUP(0x0300, group_memory),
	GROUP(0x0400, group_dirty),
	GROUP(0x0500, group_map),
	GROUP(0x0700, group_device),
	GROUP(0x0800, group_guest),
#undef GROUP
};

static const struct hc_row *find_row(uint32_t fn)
{
	uint32_t g = fn >> 8, pos = fn & 0xff;

	if (g == 0x7e && TM_TEST_BUILD) {
		return pos < ARRAY_SIZE(group_test) ? &group_test[pos] : NULL;
	}
	if (g >= ARRAY_SIZE(groups)) {
		return NULL;
	}
	g = (uint32_t)index_nospec(g, ARRAY_SIZE(groups));
	if (pos >= groups[g].count) {
		return NULL;
	}
	return &groups[g].row[index_nospec(pos, groups[g].count)];
}

int64_t hypercall_dispatch(struct hc_call *c, uint32_t fn)
{
	const struct hc_row *row = find_row(fn);
	int64_t status;

	c->res[0] = c->res[1] = c->res[2] = 0;
	c->vcpu->stats.hypercalls++;
	if (!row || !row->fn || !(row->any_vm || c->vcpu->vm->is_manager)) {
		return -TM_EPERM;
	}
	status = row->fn(c);
	if (status < 0) {
		c->res[0] = c->res[1] = c->res[2] = 0;
	}
	return status;
}

int hc_read_struct(struct hc_call *c, uint64_t at, uint64_t len, void *out, size_t size)
{
	uint64_t word;
	int err;

	if (len < size) {
		return -TM_EINVAL;
	}
	if (len > PAGE_SIZE) {
		return -TM_E2BIG;
	}
	if (at & 7) {
		return -TM_EFAULT;
	}
	err = guest_read(c->vcpu->vm, gpa(at), out, size);
	/* A caller built against a later minor version may pass more, if it means nothing. */
	for (uint64_t off = size; !err && off < len; off += sizeof(word)) {
		word = 0;
		err = guest_read(c->vcpu->vm, gpa(at + off), &word, MIN(sizeof(word), len - off));
		if (!err && word) {
			err = -TM_E2BIG;
		}
	}
	return err;
}

int hc_write_struct(struct hc_call *c, uint64_t at, uint64_t len, const void *in, size_t size)
{
	if (len < size) {
		return -TM_EINVAL;
	}
	if (at & 7) {
		return -TM_EFAULT;
	}
	return guest_write(c->vcpu->vm, c->vcpu, gpa(at), in, size, NULL);
}
