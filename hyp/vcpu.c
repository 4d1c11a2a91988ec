// SPDX-License-Identifier: Apache-2.0
/*
 * The life of a vCPU: creation, stops, requests, waiting, power. State and powered_on are guarded
 * by v->lock; a vCPU's registers belong to the CPU that has it loaded (v->on_cpu) and otherwise to
 * whoever holds it STOPPED or paused. The run page is shared with the manager: written here, and
 * read only in vcpu_run(), each field once.
 */
#include <arch/cpu.h>
#include <arch/time.h>
#include <arch/vcpu.h>
#include <hyp/boot_info.h>
#include <hyp/dirty_log.h>
#include <hyp/event.h>
#include <hyp/log.h>
#include <hyp/page_alloc.h>
#include <hyp/sched.h>
#include <hyp/string.h>
#include <hyp/vm.h>

#define DEFAULT_SLICE_US 10000u
#define PRIO_MANAGER 1
#define PRIO_GUEST 2

struct vcpu *vcpu_current(void)
{
	return this_pcpu()->current;
}

static uint64_t vcpu_pages(void)
{
	return ALIGN_UP(sizeof(struct vcpu), PAGE_SIZE) / PAGE_SIZE;
}

/*
 * Power-on state, of a new one and of one that was destroyed and comes back alike. Identity, lock,
 * run page and ring stay what they are: a call that found the vCPU before it was destroyed may
 * still hold it. v->created is false meanwhile, so it can neither run nor be destroyed.
 */
static void vcpu_defaults(struct vcpu *v)
{
	struct vm *vm = v->vm;

	spin_lock(&v->lock);
	v->requests = 0;
	v->state = TM_VCPU_STOPPED;
	v->stop_pending = v->wait_pending = false;
	v->powered_on = v->id == 0;
	v->exit_seq = 0;
	v->reason = TM_EXIT_NONE;
	v->mmio_pending = false;
	v->quota = ~0ull;
	v->ring_full_sticky = false;
	v->overflow = false;
	v->prio = vm->is_manager ? PRIO_MANAGER : PRIO_GUEST;
	v->cpu = (uint16_t)((vm->handle + v->id) % pcpu_count);
	v->affinity = 0;
	v->slice_ticks = arch_time_freq() / 1000000u * DEFAULT_SLICE_US;
	v->slice_left = v->slice_ticks;
	v->pv_stolen = v->pv_shown = 0;
	memset(&v->stats, 0, sizeof(v->stats));
	memset(v->run, 0, sizeof(*v->run));
	v->run->abi = TM_VERSION_MAJOR << 16 | TM_VERSION_MINOR;
	spin_unlock(&v->lock);
}

/* The ring of one that comes back: what is pending in it is recorded elsewhere. */
static void ring_renew(struct vcpu *v)
{
	struct dirty_ring ring;

	dirty_log_ring_detach(v->vm, v, &ring);
	if (ring.entries) {
		memset(ring.entries, 0, ring.size * sizeof(*ring.entries));
		dirty_ring_init(&v->ring, ring.entries, ring.size, 0);
	}
}

static struct vcpu *vcpu_alloc(struct vm *vm, unsigned id)
{
	struct vcpu *v = page_alloc_contig(vcpu_pages());

	if (!v) {
		return NULL;
	}
	spin_init(&v->lock, LOCK_VCPU);
	v->vm = vm;
	v->id = (uint16_t)id;
	v->run = page_alloc();
	if (!v->run) {
		page_free_contig(v, vcpu_pages());
		return NULL;
	}
	return v;
}

/* from here on the VM has this vCPU for whoever asks whether it has any; and nobody else
 * creates or destroys one of this number. *dead: one that was destroyed, to be used again. */
static int reserve(struct vm *vm, unsigned id, struct vcpu **dead)
{
	int err = 0;

	spin_lock(&vm->lock);
	if (vm->vcpu[id] || (vm->vcpu_busy >> id & 1)) {
		err = -TM_EEXIST;
	} else {
		vm->vcpu_busy |= 1ull << id;
		vm->vcpus_count++;
		*dead = vm->vcpu_dead[id];
		vm->vcpu_dead[id] = NULL;	/* no RESET looks at its ring now */
	}
	spin_unlock(&vm->lock);
	return err;
}

/* v: the finished one, or NULL, and then `dead` stays dead. */
static void settle_reservation(struct vm *vm, unsigned id, struct vcpu *v, struct vcpu *dead)
{
	if (v) {
		spin_lock(&v->lock);
		v->created = true;
		spin_unlock(&v->lock);
	}
	spin_lock(&vm->lock);
	vm->vcpu_busy &= ~(1ull << id);
	if (v) {
		__atomic_store_n(&vm->vcpu[id], v, __ATOMIC_RELEASE);
	} else {
		vm->vcpu_dead[id] = dead;
		vm->vcpus_count--;
	}
	spin_unlock(&vm->lock);
}

static int build(struct vcpu *v)
{
	int err;

	vcpu_defaults(v);
	err = v->ring.entries ? 0 : dirty_log_ring_alloc(v);
	if (!err) {
		memset(&v->arch, 0, sizeof(v->arch));
		err = arch_vcpu_init(v);
	}
	if (!err) {
		arch_vcpu_reset(v, 0, 0);
	}
	return err;
}

int vcpu_create(struct vm *vm, unsigned id)
{
	struct vcpu *dead, *v;
	int err;

	if (id >= vm->vcpus_max || id >= TM_MAX_VCPUS) {
		return -TM_EINVAL;
	}
	err = reserve(vm, id, &dead);
	if (err) {
		return err;
	}
	err = dirty_log_vcpu_create_check(vm);
	/* The manager may still map run page and ring of the one that was destroyed. */
	v = err ? NULL : dead ? dead : vcpu_alloc(vm, id);
	if (!err && !v) {
		err = -TM_ENOMEM;
	}
	if (!err) {
		if (dead) {
			ring_renew(dead);
		}
		err = build(v);
	}
	if (err && v && !dead) {
		vcpu_free(v);
	}
	settle_reservation(vm, id, err ? NULL : v, dead);
	return err;
}

void vcpu_free(struct vcpu *v)
{
	if (v->vm) {
		dirty_log_ring_free(v);
	}
	if (v->run) {
		page_free(v->run);
	}
	page_free_contig(v, vcpu_pages());
}

bool vcpu_is_quiet(const struct vcpu *v)
{
	if (__atomic_load_n(&v->on_cpu, __ATOMIC_ACQUIRE)) {
		return false;
	}
	return __atomic_load_n(&v->state, __ATOMIC_ACQUIRE) == TM_VCPU_STOPPED || vm_paused(v->vm);
}

/* --- stops: called on the vCPU's own CPU, published by the scheduler after the put --- */

void vcpu_stop(struct vcpu *v, uint32_t reason, int32_t status)
{
	if (v->stop_pending) {
		return;		/* one stop, one cause: the first */
	}
	v->reason = reason;
	v->stop_status = status;
	v->stop_pending = true;
	__atomic_store_n(&this_pcpu()->resched, 1, __ATOMIC_RELAXED);
}

void vcpu_stop_memory_fault(struct vcpu *v, uint64_t flags, gpa_t a, uint64_t size)
{
	struct tm_exit_memory_fault *f = &v->run->u.memory_fault;

	WRITE_ONCE(f->flags, flags);
	WRITE_ONCE(f->gpa, a.v & ~PAGE_MASK);
	WRITE_ONCE(f->size, size);
	vcpu_stop(v, TM_EXIT_MEMORY_FAULT, -TM_EFAULT);
}

void vcpu_stop_mmio(struct vcpu *v, gpa_t a, unsigned len, bool write, uint64_t data)
{
	struct tm_exit_mmio *m = &v->run->u.mmio;

	memset(m, 0, sizeof(*m));
	m->gpa = a.v;
	m->len = len;
	m->is_write = write;
	if (write) {
		memcpy(m->data, &data, MIN(len, sizeof(data)));
	}
	v->mmio_pending = true;
	v->mmio_is_write = write;
	v->mmio_len = (uint8_t)len;
	v->stats.mmio_exits++;
	vcpu_stop(v, TM_EXIT_MMIO, 0);
}

void vm_shutdown(struct vm *vm, uint32_t type)
{
	struct vcpu *self = vcpu_current();

	if (vm->is_manager) {
		manager_died(type == TM_SHUTDOWN_CRASH ? "it crashed" : "it shut itself down");
		return;
	}
	log_info("vm %s: shutdown type %u", vm->name, type);
	vm->shutdown_type = type;
	for (unsigned i = 0; i < vm->vcpus_max; i++) {
		struct vcpu *v = __atomic_load_n(&vm->vcpu[i], __ATOMIC_ACQUIRE);

		if (v && v != self) {
			vcpu_request(v, VCPU_REQ_SHUTDOWN);
		}
	}
	if (self && self->vm == vm) {
		vcpu_stop(self, TM_EXIT_SHUTDOWN, 0);
	}
}

void vcpu_stop_shutdown(struct vcpu *v, uint32_t type)
{
	vm_shutdown(v->vm, type);
}

void vcpu_wait(struct vcpu *v)
{
	v->stats.wfi++;
	if (arch_vcpu_irq_pending(v)) {
		return;
	}
	v->wait_pending = true;
	__atomic_store_n(&this_pcpu()->resched, 1, __ATOMIC_RELAXED);
}

/* --- requests from anywhere --- */

/* The loaded vCPU's CPU must look at `requests` before it enters the guest again. */
static void poke_locked(struct vcpu *v)
{
	struct pcpu *c = &pcpus[v->cpu];

	if (c != this_pcpu() && __atomic_load_n(&v->in_guest, __ATOMIC_SEQ_CST)) {
		arch_cpu_kick(c);
	}
}

void vcpu_request(struct vcpu *v, uint32_t bits)
{
	bool is_manager = v->vm->is_manager, stopped = false;
	uint32_t state;

	spin_lock(&v->lock);
	state = v->state;
	if (state == TM_VCPU_RUNNING) {
		__atomic_fetch_or(&v->requests, bits, __ATOMIC_SEQ_CST);
		poke_locked(v);
	} else if (state != TM_VCPU_STOPPED && (bits & (VCPU_REQ_STOP | VCPU_REQ_SHUTDOWN))) {
		/* On no CPU: it stops here and now; a queue entry left behind is dropped. */
		sched_publish_stop_locked(v, bits & VCPU_REQ_SHUTDOWN ? TM_EXIT_SHUTDOWN :
					  TM_EXIT_KICKED, 0);
		stopped = true;
	}
	spin_unlock(&v->lock);
	if (stopped && !is_manager) {
		event_set(v);
	}
}

void vcpu_irq_kick(struct vcpu *v)
{
	spin_lock(&v->lock);
	if (v->state == TM_VCPU_WAITING) {
		v->state = TM_VCPU_READY;
		sched_enqueue_locked(v);
	} else if (v->state == TM_VCPU_RUNNING) {
		__atomic_fetch_or(&v->requests, (uint32_t)VCPU_REQ_IRQ, __ATOMIC_SEQ_CST);
		poke_locked(v);
	}
	spin_unlock(&v->lock);
}

void vcpu_wait_out_of_guest(struct vcpu *v)
{
	uint64_t exits = __atomic_load_n(&v->stats.exits, __ATOMIC_ACQUIRE);

	vcpu_request(v, VCPU_REQ_RESCHED);
	while (v != vcpu_current() && __atomic_load_n(&v->in_guest, __ATOMIC_SEQ_CST) &&
	       __atomic_load_n(&v->stats.exits, __ATOMIC_ACQUIRE) == exits) {
		arch_cpu_relax();
	}
}

void vcpu_event(struct vcpu *v)
{
	event_set(v);
}

/* --- running --- */

int vcpu_run(struct vcpu *v)
{
	struct tm_run_page *run = v->run;
	bool kicked = false;

	spin_lock(&v->lock);
	if (!v->created || v->state != TM_VCPU_STOPPED) {
		int err = v->created ? -TM_EALREADY : -TM_ENOENT;

		spin_unlock(&v->lock);
		return err;
	}
	WRITE_ONCE(run->reason, TM_EXIT_NONE);
	WRITE_ONCE(run->status, 0);
	v->reason = TM_EXIT_NONE;
	v->stats.reason = TM_EXIT_NONE;
	if (v->mmio_pending) {
		uint64_t data = 0;

		memcpy(&data, run->u.mmio.data, MIN(v->mmio_len, sizeof(data)));
		v->mmio_pending = false;
		arch_vcpu_complete_mmio(v, data);
	}
	if (READ_ONCE(run->immediate_exit) == 1) {
		sched_publish_stop_locked(v, TM_EXIT_KICKED, 0);
		kicked = true;
	} else if (!v->powered_on) {
		v->state = TM_VCPU_OFF;
	} else {
		v->state = TM_VCPU_READY;
		sched_enqueue_locked(v);
	}
	spin_unlock(&v->lock);
	if (kicked) {
		event_set(v);
	}
	return 0;
}

void vcpu_run_orphan(struct vcpu *v)
{
	spin_lock(&v->lock);
	if (v->created && v->state == TM_VCPU_STOPPED && v->reason == TM_EXIT_DIRTY_RING_FULL) {
		WRITE_ONCE(v->run->reason, TM_EXIT_NONE);
		v->reason = TM_EXIT_NONE;
		v->stats.reason = TM_EXIT_NONE;
		v->state = v->powered_on ? TM_VCPU_READY : TM_VCPU_OFF;
		if (v->powered_on) {
			sched_enqueue_locked(v);
		}
	}
	spin_unlock(&v->lock);
}

/* After registers were written from outside: a vCPU that is not stopped follows powered_on, and one
 * that waited may be told to run; if not, it waits again. */
void vcpu_power_changed_locked(struct vcpu *v)
{
	if (v->powered_on && (v->state == TM_VCPU_OFF || v->state == TM_VCPU_WAITING)) {
		v->state = TM_VCPU_READY;
		sched_enqueue_locked(v);
	} else if (!v->powered_on && (v->state == TM_VCPU_READY || v->state == TM_VCPU_WAITING)) {
		v->state = TM_VCPU_OFF;
	}
}

int vcpu_power_on(struct vcpu *v, uint64_t entry, uint64_t arg)
{
	int err = 0;

	/* It says OFF, but its CPU is still putting it away, which waits for nobody. */
	spin_lock(&v->lock);
	while (!v->powered_on && v->on_cpu && v != vcpu_current()) {
		spin_unlock(&v->lock);
		arch_cpu_relax();
		spin_lock(&v->lock);
	}
	if (v->powered_on || v->on_cpu) {
		err = -TM_EALREADY;
	} else if (!v->created) {
		err = -TM_ENOENT;
	} else {
		arch_vcpu_reset(v, entry, arg);
		v->powered_on = true;
		if (v->state == TM_VCPU_OFF) {
			v->state = TM_VCPU_READY;
			sched_enqueue_locked(v);
		}
	}
	spin_unlock(&v->lock);
	return err;
}

void vcpu_power_off(struct vcpu *v)
{
	struct vm *vm = v->vm;
	bool last = true;

	spin_lock(&v->lock);
	v->powered_on = false;
	spin_unlock(&v->lock);
	/* Of two last CPUs that go at once, at least one must see the other's store. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	for (unsigned i = 0; i < vm->vcpus_max; i++) {
		struct vcpu *o = __atomic_load_n(&vm->vcpu[i], __ATOMIC_ACQUIRE);

		last = last && !(o && o->powered_on);
	}
	if (last && vm->is_manager) {
		manager_died("its last CPU is off");
	} else if (last) {
		vcpu_stop(v, TM_EXIT_HALTED, 0);
	}
	__atomic_store_n(&this_pcpu()->resched, 1, __ATOMIC_RELAXED);
}
