// SPDX-License-Identifier: Apache-2.0
/*
 * Hypercalls of groups 0x0000 (discovery), 0x0100 (VMs), 0x0700 (device state), 0x0800 (any VM)
 * and the counters of test builds. Thin: read, check, call the owner of the thing.
 */
#include <abi/arch.h>
#include <arch/cpu.h>
#include <arch/tlb.h>
#include <arch/vcpu.h>
#include <hyp/console.h>
#include <hyp/guest_copy.h>
#include <hyp/hypercall.h>
#include <hyp/log.h>
#include <hyp/page_alloc.h>
#include <hyp/sched.h>
#include <hyp/string.h>
#include <hyp/vm.h>

#define CONSOLE_MAX_BYTES 512u

/* Counted, alive and not the manager itself unless `self_ok`. */
static int get_vm(struct hc_call *c, bool self_ok, struct vm **out)
{
	struct vm *vm = vm_get(c->arg[0]);
	int err = 0;

	if (!vm) {
		return -TM_ENOENT;
	}
	if (vm->state == TM_VM_STATE_DEAD) {
		err = -TM_EIO;
	} else if (vm->is_manager && !self_ok) {
		err = -TM_EACCES;
	}
	if (err) {
		vm_put(vm);
		return err;
	}
	*out = vm;
	return 0;
}

/* --- 0x0000 --- */

int64_t hc_version(struct hc_call *c)
{
	c->res[0] = TM_VERSION_MAJOR << 16 | TM_VERSION_MINOR;
	return 0;
}

int64_t hc_features(struct hc_call *c)
{
	c->res[0] = (c->vcpu->vm->is_manager ? TM_FEATURE_MANAGER : 0u) |
		    (TM_TEST_BUILD ? TM_FEATURE_TEST_BUILD : 0u) |
		    (DEBUG ? TM_FEATURE_DEBUG : 0u);
	return 0;
}

/* A configured out-of-vCPU writer makes the bitmap a precondition of a ring. */
static uint64_t cap_ring_with_bitmap(const struct vm *vm)
{
	return 1u | (vm->pvtime_gpa != ~0ull ? 2u : 0u);
}

static uint64_t cap_value(const struct vm *vm, uint64_t cap)
{
	switch (cap) {
	case TM_CAP_MAX_SLOTS: return MEMSLOT_MAX;
	case TM_CAP_NR_AS: return 1;
	case TM_CAP_GPA_BITS: return arch_stage2_ia_bits();
	case TM_CAP_DIRTY_RING: return TM_RING_MAX_ENTRIES;
	case TM_CAP_RING_WITH_BITMAP: return cap_ring_with_bitmap(vm);
	case TM_CAP_MANUAL_PROTECT: return TM_DIRTY_MANUAL | TM_DIRTY_INITIALLY_SET;
	case TM_CAP_SPILL:
	case TM_CAP_RING_GEN:
	case TM_CAP_READONLY_SLOT:
	case TM_CAP_DELETE_COLLECT:
	case TM_CAP_PAUSE_QUIESCE:
	case TM_CAP_PVTIME:
	case TM_CAP_QUOTA:
	case TM_CAP_CONSOLE_FOCUS: return 1;
	case TM_CAP_BACKENDS: return arch_dirty_backends();
	case TM_CAP_GIC_VERSION: return arch_cap_gic_version();
	case TM_CAP_PHYS_CPUS: return pcpu_count;
	default: return 0;
	}
}

int64_t hc_cap_get(struct hc_call *c)
{
	struct vm *vm;
	int err = get_vm(c, true, &vm);

	if (err) {
		return err;
	}
	c->res[0] = cap_value(vm, c->arg[1]);
	vm_put(vm);
	return 0;
}

/* Of the capabilities only the console focus is something to enable; the ring is DIRTY_CONFIG's. */
int64_t hc_cap_enable(struct hc_call *c)
{
	struct vm *vm;
	int err = get_vm(c, true, &vm);

	if (err) {
		return err;
	}
	if (c->arg[1] != TM_CAP_CONSOLE_FOCUS || c->arg[2] || c->arg[3]) {
		err = -TM_EINVAL;
	} else {
		err = console_focus(vm);
	}
	vm_put(vm);
	return err;
}

int64_t hc_log_read(struct hc_call *c)
{
	char buf[CONSOLE_MAX_BYTES];
	uint64_t cursor = c->arg[2];
	size_t n;
	int err;

	if (c->arg[0] & 7) {
		return -TM_EFAULT;
	}
	n = log_read(&cursor, buf, MIN(c->arg[1], sizeof(buf)));
	err = guest_write(c->vcpu->vm, c->vcpu, gpa(c->arg[0]), buf, n, NULL);
	if (err) {
		return err;
	}
	c->res[0] = cursor;
	c->res[1] = n;
	return 0;
}

int64_t hc_machine(struct hc_call *c)
{
	switch (c->arg[0]) {
	case TM_MACHINE_OFF:
		log_info("machine off, by the manager");
		arch_machine_off();
	case TM_MACHINE_RESET:
		log_info("machine reset, by the manager");
		arch_machine_reset();
	default:
		return -TM_EINVAL;
	}
}

/* --- 0x0100 --- */

int64_t hc_vm_create(struct hc_call *c)
{
	struct tm_vm_desc d;
	struct vm *vm;
	int err = hc_read_struct(c, c->arg[0], c->arg[1], &d, sizeof(d));

	if (err) {
		return err;
	}
	err = vm_create(&d, &vm);
	if (err) {
		return err;
	}
	c->res[0] = vm->handle;
	vm_put(vm);
	return 0;
}

int64_t hc_vm_destroy(struct hc_call *c)
{
	return vm_destroy(c->arg[0]);
}

int64_t hc_vm_info(struct hc_call *c)
{
	struct tm_vm_info info;
	struct vm *vm = vm_get(c->arg[0]);
	int err;

	if (!vm) {
		return -TM_ENOENT;
	}
	vm_info(vm, &info);
	err = hc_write_struct(c, c->arg[1], c->arg[2], &info, sizeof(info));
	vm_put(vm);
	return err;
}

int64_t hc_vm_next(struct hc_call *c)
{
	uint64_t after = c->arg[0];
	struct vm *vm;

	if (after != ~0ull && after >= TM_MAX_VMS) {
		return -TM_EINVAL;
	}
	vm = vm_next(after == ~0ull ? -1 : (int)after);
	if (!vm) {
		return -TM_ENOENT;
	}
	c->res[0] = vm->handle;
	vm_put(vm);
	return 0;
}

int64_t hc_vm_pause(struct hc_call *c)
{
	struct vm *vm;
	int err = get_vm(c, true, &vm);

	if (err) {
		return err;
	}
	err = vm_pause(vm, c->arg[1], c->vcpu);
	vm_put(vm);
	return err;
}

int64_t hc_vm_resume(struct hc_call *c)
{
	struct vm *vm;
	int err = get_vm(c, false, &vm);

	if (err) {
		return err;
	}
	err = vm_resume(vm);
	vm_put(vm);
	return err;
}

int64_t hc_vm_sync(struct hc_call *c)
{
	struct vm *vm;
	int err = get_vm(c, false, &vm);

	if (err) {
		return err;
	}
	vm_sync(vm);
	vm_put(vm);
	return 0;
}

/* --- 0x0700 --- */

int64_t hc_irq_line(struct hc_call *c)
{
	struct vm *vm;
	int err = get_vm(c, false, &vm);

	if (err) {
		return err;
	}
	err = c->arg[2] > 1 ? -TM_EINVAL : arch_irq_line(vm, c->arg[1], c->arg[2] == 1);
	vm_put(vm);
	return err;
}

static bool vm_quiet(struct vm *vm)
{
	for (unsigned i = 0; i < vm->vcpus_max; i++) {
		struct vcpu *v = __atomic_load_n(&vm->vcpu[i], __ATOMIC_ACQUIRE);

		if (v && !vcpu_is_quiet(v)) {
			return false;
		}
	}
	return true;
}

/* State of the largest VM fits here; the contents are checked by the architecture. */
#define IRQCHIP_STATE_PAGES 16u
#define IRQCHIP_STATE_MAX (IRQCHIP_STATE_PAGES * PAGE_SIZE)

/* v: that vCPU's own part; NULL: what the VM's vCPUs share. */
static int irqchip_state(struct hc_call *c, struct vm *vm, struct vcpu *v, const uint64_t *arg)
{
	uint64_t op = arg[0], at = arg[1], len = arg[2], used = 0;
	void *buf;
	int err;

	if (op > TM_STATE_SET) {
		return -TM_EINVAL;
	}
	if (at & 7) {
		return -TM_EFAULT;
	}
	if (v ? !vcpu_is_quiet(v) : !vm_quiet(vm)) {
		return -TM_EBUSY;
	}
	if (op == TM_STATE_SET && len > IRQCHIP_STATE_MAX) {
		return -TM_E2BIG;
	}
	buf = page_alloc_contig(IRQCHIP_STATE_PAGES);
	if (!buf) {
		return -TM_ENOMEM;
	}
	if (op == TM_STATE_GET) {
		len = MIN(len, IRQCHIP_STATE_MAX);
		err = v ? arch_vcpu_irqchip_state_get(v, buf, len, &used) :
			  arch_irqchip_state_get(vm, buf, len, &used);
		if (!err) {
			err = guest_write(c->vcpu->vm, c->vcpu, gpa(at), buf, used, NULL);
		}
		c->res[0] = used;
	} else {
		err = guest_read(c->vcpu->vm, gpa(at), buf, len);
		if (!err) {
			err = v ? arch_vcpu_irqchip_state_set(v, buf, len) :
				  arch_irqchip_state_set(vm, buf, len);
		}
	}
	page_free_contig(buf, IRQCHIP_STATE_PAGES);
	return err;
}

int64_t hc_gic_state(struct hc_call *c)
{
	struct vm *vm;
	int err = get_vm(c, false, &vm);

	if (err) {
		return err;
	}
	err = irqchip_state(c, vm, NULL, &c->arg[1]);
	vm_put(vm);
	return err;
}

int64_t hc_apic_state(struct hc_call *c)
{
	uint64_t id = c->arg[1];
	struct vcpu *v = NULL;
	struct vm *vm;
	int err = get_vm(c, false, &vm);

	if (err) {
		return err;
	}
	if (id < TM_MAX_VCPUS) {
		v = __atomic_load_n(&vm->vcpu[index_nospec(id, TM_MAX_VCPUS)], __ATOMIC_ACQUIRE);
	}
	err = v ? irqchip_state(c, vm, v, &c->arg[2]) : -TM_ENOENT;
	vm_put(vm);
	return err;
}

int64_t hc_timer_state(struct hc_call *c)
{
	uint64_t id = c->arg[1], op = c->arg[2];
	struct tm_timer_state s;
	struct vcpu *v = NULL;
	struct vm *vm;
	int err = get_vm(c, false, &vm);

	if (err) {
		return err;
	}
	if (id < TM_MAX_VCPUS) {
		v = __atomic_load_n(&vm->vcpu[index_nospec(id, TM_MAX_VCPUS)], __ATOMIC_ACQUIRE);
	}
	if (!v) {
		err = -TM_ENOENT;
	} else if (op > TM_STATE_SET) {
		err = -TM_EINVAL;
	} else if (!vcpu_is_quiet(v)) {
		err = -TM_EBUSY;
	} else if (op == TM_STATE_GET) {
		memset(&s, 0, sizeof(s));
		err = arch_timer_state_get(v, &s);
		if (!err) {
			err = hc_write_struct(c, c->arg[3], c->arg[4], &s, sizeof(s));
		}
	} else {
		err = hc_read_struct(c, c->arg[3], c->arg[4], &s, sizeof(s));
		if (!err) {
			err = arch_timer_state_set(v, &s);
		}
	}
	vm_put(vm);
	return err;
}

int64_t hc_uart_state(struct hc_call *c)
{
	struct tm_uart_state s;
	struct vm *vm;
	int err = get_vm(c, false, &vm);

	if (err) {
		return err;
	}
	if (c->arg[1] > TM_STATE_SET) {
		err = -TM_EINVAL;
	} else if (!vm_quiet(vm)) {
		err = -TM_EBUSY;
	} else if (c->arg[1] == TM_STATE_GET) {
		memset(&s, 0, sizeof(s));
		err = arch_uart_state_get(vm, &s);
		if (!err) {
			err = hc_write_struct(c, c->arg[2], c->arg[3], &s, sizeof(s));
		}
	} else {
		err = hc_read_struct(c, c->arg[2], c->arg[3], &s, sizeof(s));
		if (!err) {
			err = arch_uart_state_set(vm, &s);
		}
	}
	vm_put(vm);
	return err;
}

/* --- 0x0800: any VM; gpas are the caller's own --- */

int64_t hc_console_write(struct hc_call *c)
{
	char buf[CONSOLE_MAX_BYTES];
	size_t n = MIN(c->arg[1], sizeof(buf));
	int err = guest_read(c->vcpu->vm, gpa(c->arg[0]), buf, n);

	if (err) {
		return err;
	}
	console_vm_write(c->vcpu->vm, buf, n);
	c->res[0] = n;
	return 0;
}

int64_t hc_console_read(struct hc_call *c)
{
	char buf[64];
	size_t n;
	int err = guest_check_writable(c->vcpu->vm, gpa(c->arg[0]),
				       MIN(c->arg[1], sizeof(buf)));

	if (err) {
		return err;	/* before characters are consumed */
	}
	n = console_vm_read(c->vcpu->vm, buf, MIN(c->arg[1], sizeof(buf)));
	err = guest_write(c->vcpu->vm, c->vcpu, gpa(c->arg[0]), buf, n, NULL);
	c->res[0] = n;
	return err;
}

int64_t hc_yield(struct hc_call *c)
{
	(void)c;
	sched_give_way();
	return 0;
}

int64_t hc_pvtime_set(struct hc_call *c)
{
	struct vm *vm = c->vcpu->vm;
	uint64_t at = c->arg[0], len = vm->vcpus_max * sizeof(struct tm_pvtime);
	int err;

	if (at == ~0ull) {
		__atomic_store_n(&vm->pvtime_gpa, at, __ATOMIC_RELAXED);
		return 0;
	}
	if (at & 63) {
		return -TM_EINVAL;
	}
	/* refused here rather than lost at each update. */
	if (dirty_log_ring_exclusive(vm)) {
		return -TM_ENXIO;
	}
	err = guest_check_writable(vm, gpa(at), len);
	if (!err) {
		__atomic_store_n(&vm->pvtime_gpa, at, __ATOMIC_RELAXED);
	}
	return err;
}
