// SPDX-License-Identifier: Apache-2.0
/* Hypercalls of group 0x0200: vCPUs. Handles are checked first, then ids, then arguments. */
#include <abi/arch.h>
#include <arch/time.h>
#include <arch/vcpu.h>
#include <hyp/hypercall.h>
#include <hyp/page_alloc.h>
#include <hyp/sched.h>
#include <hyp/string.h>
#include <hyp/vm.h>

/* Counted VM and its vCPU; the caller calls vm_put(). The manager manages others, not itself. */
static int get_vcpu(struct hc_call *c, struct vm **vm, struct vcpu **v)
{
	uint64_t id = c->arg[1];
	int err;

	*vm = vm_get(c->arg[0]);
	if (!*vm) {
		return -TM_ENOENT;
	}
	*v = NULL;
	if (id < TM_MAX_VCPUS) {
		*v = __atomic_load_n(&(*vm)->vcpu[index_nospec(id, TM_MAX_VCPUS)],
				     __ATOMIC_ACQUIRE);
	}
	err = (*vm)->is_manager ? -TM_EACCES :
	      __atomic_load_n(&(*vm)->state, __ATOMIC_ACQUIRE) == TM_VM_STATE_DEAD ? -TM_EIO :
	      !*v ? -TM_ENOENT : 0;
	if (err) {
		vm_put(*vm);
	}
	return err;
}

int64_t hc_vcpu_create(struct hc_call *c)
{
	struct vm *vm = vm_get(c->arg[0]);
	int err;

	if (!vm) {
		return -TM_ENOENT;
	}
	err = vm->is_manager ? -TM_EACCES :
	      vm->state == TM_VM_STATE_DEAD ? -TM_EIO :
	      c->arg[1] >= TM_MAX_VCPUS ? -TM_EINVAL :
	      vcpu_create(vm, (unsigned)c->arg[1]);
	if (!err) {
		c->res[0] = vm->handle * TM_MAX_VCPUS + c->arg[1];
	}
	vm_put(vm);
	return err;
}

int64_t hc_vcpu_run(struct hc_call *c)
{
	struct vm *vm;
	struct vcpu *v;
	int err = get_vcpu(c, &vm, &v);

	if (err) {
		return err;
	}
	err = vm_paused(vm) ? -TM_EBUSY : vcpu_run(v);
	vm_put(vm);
	return err;
}

int64_t hc_vcpu_kick(struct hc_call *c)
{
	struct vm *vm;
	struct vcpu *v;
	int err = get_vcpu(c, &vm, &v);

	if (err) {
		return err;
	}
	if (c->arg[2] == TM_KICK_STOP) {
		vcpu_request(v, VCPU_REQ_STOP);
	} else if (c->arg[2] == TM_KICK_DRAIN) {
		vcpu_wait_out_of_guest(v);
	} else {
		err = -TM_EINVAL;
	}
	vm_put(vm);
	return err;
}

/* Register sets are larger than the stack should carry: a page each call. */
int64_t hc_vcpu_regs_get(struct hc_call *c)
{
	struct tm_regs *regs = page_alloc();
	struct vm *vm;
	struct vcpu *v;
	int err;

	if (!regs) {
		return -TM_ENOMEM;
	}
	err = get_vcpu(c, &vm, &v);
	if (!err) {
		err = vcpu_is_quiet(v) ? arch_vcpu_regs_get(v, regs) : -TM_EBUSY;
		if (!err) {
			err = hc_write_struct(c, c->arg[2], c->arg[3], regs, sizeof(*regs));
		}
		vm_put(vm);
	}
	page_free(regs);
	return err;
}

int64_t hc_vcpu_regs_set(struct hc_call *c)
{
	struct tm_regs *regs = page_alloc();
	struct vm *vm;
	struct vcpu *v;
	int err;

	if (!regs) {
		return -TM_ENOMEM;
	}
	err = get_vcpu(c, &vm, &v);
	if (!err) {
		err = hc_read_struct(c, c->arg[2], c->arg[3], regs, sizeof(*regs));
		if (!err && (!vcpu_is_quiet(v) || v->mmio_pending)) {
			err = -TM_EBUSY;
		}
		if (!err) {
			spin_lock(&v->lock);
			err = v->on_cpu || v->mmio_pending ? -TM_EBUSY :
			      arch_vcpu_regs_set(v, regs);
			if (!err) {
				vcpu_power_changed_locked(v);
			}
			spin_unlock(&v->lock);
		}
		vm_put(vm);
	}
	page_free(regs);
	return err;
}

/* One that is alone on its CPU may not leave it for hours: what it ran since it came counts too. */
static uint64_t running_now(const struct vcpu *v)
{
	const struct pcpu *p = &pcpus[v->cpu];
	uint64_t since = __atomic_load_n(&p->loaded_at, __ATOMIC_RELAXED), now = arch_time_now();

	return __atomic_load_n(&p->current, __ATOMIC_ACQUIRE) == v && now > since ? now - since : 0;
}

int64_t hc_vcpu_stats(struct hc_call *c)
{
	struct tm_vcpu_stats s;
	struct vm *vm;
	struct vcpu *v;
	int err = get_vcpu(c, &vm, &v);

	if (err) {
		return err;
	}
	s = v->stats;
	s.run_ticks += running_now(v);
	s.state = __atomic_load_n(&v->state, __ATOMIC_ACQUIRE);
	s.reason = v->reason;
	s.prio = v->prio;
	s.cpu = v->cpu;
	s.affinity = v->affinity;
	s.slice_us = v->slice_ticks / MAX(arch_time_freq() / 1000000u, 1u);
	s.quota_left = v->quota;
	s.ring_used = v->ring.entries ? dirty_ring_used(&v->ring) : 0;
	err = hc_write_struct(c, c->arg[2], c->arg[3], &s, sizeof(s));
	vm_put(vm);
	return err;
}

int64_t hc_vcpu_sched_set(struct hc_call *c)
{
	uint64_t prio = c->arg[2], affinity = c->arg[3], slice_us = c->arg[4];
	struct vm *vm;
	struct vcpu *v;
	int err = get_vcpu(c, &vm, &v);

	if (err) {
		return err;
	}
	/* Priority 0 stays free for what must run before the manager. */
	if (prio == 0 || prio >= SCHED_PRIOS || (affinity && !(affinity & sched_online())) ||
	    slice_us < 100 || slice_us > 1000000) {
		err = -TM_EINVAL;
	} else {
		sched_set(v, (unsigned)prio, affinity, arch_time_freq() / 1000000u * slice_us);
	}
	vm_put(vm);
	return err;
}

int64_t hc_vcpu_destroy(struct hc_call *c)
{
	struct vm *vm;
	struct vcpu *v;
	int err = get_vcpu(c, &vm, &v);

	if (err) {
		return err;
	}
	err = vm_vcpu_destroy(vm, v);
	vm_put(vm);
	return err;
}
