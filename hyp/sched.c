// SPDX-License-Identifier: Apache-2.0
/*
 * Who runs where. Each physical CPU has a run queue under its rq_lock: one list per priority, round
 * robin inside it. A queue entry is a hint: whoever pops one takes v->lock and looks at the state,
 * so a vCPU that was stopped or paused meanwhile is simply dropped. State changes under v->lock.
 * No vCPU alone at its priority gets a tick: slice_end stays 0 until somebody queues behind it.
 */
#include <arch/cpu.h>
#include <arch/time.h>
#include <arch/vcpu.h>
#include <hyp/boot_info.h>
#include <hyp/bootvms.h>
#include <hyp/dirty_log.h>
#include <hyp/event.h>
#include <hyp/guest_copy.h>
#include <hyp/hyptimer.h>
#include <hyp/sched.h>
#include <hyp/vm.h>

struct pcpu pcpus[BOOT_MAX_CPUS];
unsigned pcpu_count;

void sched_init_cpu(struct pcpu *c)
{
	spin_init(&c->rq_lock, LOCK_SCHED);
}

static void cpu_look(struct pcpu *c)
{
	__atomic_store_n(&c->resched, 1, __ATOMIC_SEQ_CST);
	if (c != this_pcpu()) {
		arch_cpu_kick(c);
	}
}

static bool cpu_allowed(const struct vcpu *v, unsigned cpu)
{
	return pcpus[cpu].online && (v->affinity == 0 || ((v->affinity >> cpu) & 1));
}

/* Load as a wake-up sees it: what runs or waits there at this priority or a better one. */
static unsigned cpu_load(const struct pcpu *c, const struct vcpu *v)
{
	const struct vcpu *cur = __atomic_load_n(&c->current, __ATOMIC_RELAXED);
	unsigned load = __atomic_load_n(&c->queued, __ATOMIC_RELAXED) * 2;

	if (cur && cur != v) {
		load += 1 + (cur->prio <= v->prio);
	}
	return load;
}

static struct pcpu *choose_cpu(const struct vcpu *v)
{
	struct pcpu *best = NULL;
	unsigned best_load = ~0u;

	if (v->cpu < pcpu_count && cpu_allowed(v, v->cpu)) {
		best = &pcpus[v->cpu];
		best_load = cpu_load(best, v);
	}
	for (unsigned i = 0; i < pcpu_count && best_load; i++) {
		if (cpu_allowed(v, i) && cpu_load(&pcpus[i], v) < best_load) {
			best = &pcpus[i];
			best_load = cpu_load(best, v);
		}
	}
	/* An affinity without an online CPU was refused when it was set; CPU 0 never goes away. */
	return best ? best : &pcpus[0];
}

void sched_enqueue_locked(struct vcpu *v)
{
	struct pcpu *c;
	struct vcpu *cur;

	if (__atomic_load_n(&v->rq_queued, __ATOMIC_ACQUIRE)) {
		return;
	}
	c = choose_cpu(v);
	spin_lock(&c->rq_lock);
	__atomic_store_n(&v->rq_queued, true, __ATOMIC_RELAXED);
	v->rq_next = NULL;
	if (c->tail[v->prio]) {
		c->tail[v->prio]->rq_next = v;
	} else {
		c->head[v->prio] = v;
	}
	c->tail[v->prio] = v;
	c->queued++;
	v->ready_since = arch_time_now();
	spin_unlock(&c->rq_lock);
	cur = __atomic_load_n(&c->current, __ATOMIC_RELAXED);
	if (!cur || cur->prio >= v->prio) {
		cpu_look(c);
	}
}

static void unlink_vcpu(struct pcpu *c, struct vcpu *v, struct vcpu *prev)
{
	if (prev) {
		prev->rq_next = v->rq_next;
	} else {
		c->head[v->prio] = v->rq_next;
	}
	if (c->tail[v->prio] == v) {
		c->tail[v->prio] = prev;
	}
	c->queued--;
	__atomic_store_n(&v->rq_queued, false, __ATOMIC_RELEASE);
}

/* Removes the first vCPU that `cpu` may run, of priority < limit. */
static struct vcpu *pop(struct pcpu *c, unsigned cpu, unsigned limit)
{
	struct vcpu *v = NULL;

	spin_lock(&c->rq_lock);
	for (unsigned p = 0; p < limit && !v; p++) {
		struct vcpu *prev = NULL;

		for (v = c->head[p]; v && !cpu_allowed(v, cpu); v = v->rq_next) {
			prev = v;
		}
		if (v) {
			unlink_vcpu(c, v, prev);
		}
	}
	spin_unlock(&c->rq_lock);
	return v;
}

void sched_forget(struct vcpu *v)
{
	for (unsigned i = 0; i < pcpu_count; i++) {
		struct pcpu *c = &pcpus[i];
		struct vcpu *prev = NULL;

		spin_lock(&c->rq_lock);
		for (struct vcpu *q = c->head[v->prio]; q; prev = q, q = q->rq_next) {
			if (q != v) {
				continue;
			}
			unlink_vcpu(c, v, prev);
			break;
		}
		spin_unlock(&c->rq_lock);
	}
}

static struct vcpu *steal(struct pcpu *c)
{
	struct vcpu *v = NULL;

	for (unsigned i = 0; i < pcpu_count && !v; i++) {
		if (i != c->id && __atomic_load_n(&pcpus[i].queued, __ATOMIC_RELAXED)) {
			v = pop(&pcpus[i], c->id, SCHED_PRIOS);
		}
	}
	return v;
}

static bool queue_wants(const struct pcpu *c, unsigned below)
{
	for (unsigned p = 0; p < below; p++) {
		if (__atomic_load_n(&c->head[p], __ATOMIC_RELAXED)) {
			return true;
		}
	}
	return false;
}

void sched_publish_stop_locked(struct vcpu *v, uint32_t reason, int32_t status)
{
	struct tm_run_page *run = v->run;

	if (reason == TM_EXIT_SHUTDOWN) {
		WRITE_ONCE(run->u.shutdown.type, v->vm->shutdown_type);
		WRITE_ONCE(run->u.shutdown.rsvd, 0);
	}
	WRITE_ONCE(run->status, status);
	if (v->overflow) {
		__atomic_fetch_or(&run->flags, TM_RUN_OVERFLOW, __ATOMIC_RELAXED);
	}
	v->reason = reason;
	v->stats.reason = reason;
	WRITE_ONCE(run->reason, reason);
	v->exit_seq++;
	__atomic_store_n(&run->exit_seq, v->exit_seq, __ATOMIC_RELEASE);
	v->stop_pending = false;
	v->wait_pending = false;
	__atomic_fetch_and(&v->requests, ~(uint32_t)(VCPU_REQ_STOP | VCPU_REQ_SHUTDOWN),
			   __ATOMIC_RELAXED);
	__atomic_store_n(&v->state, (uint32_t)TM_VCPU_STOPPED, __ATOMIC_RELEASE);
}

/* Takes the current vCPU off this CPU and gives it its next state. */
static void put_away(struct pcpu *c, struct vcpu *v)
{
	bool stopped = false, waiting = false;

	v->stats.run_ticks += arch_time_now() - c->loaded_at;
	arch_vcpu_put(v);
	__atomic_store_n(&c->current, NULL, __ATOMIC_RELEASE);
	c->slice_end = 0;
	spin_lock(&v->lock);
	if (v->stop_pending) {
		sched_publish_stop_locked(v, v->reason, v->stop_status);
		stopped = true;
	} else if (!v->powered_on) {
		v->state = TM_VCPU_OFF;
	} else if (v->wait_pending) {
		v->state = TM_VCPU_WAITING;
		waiting = true;
	} else {
		v->state = TM_VCPU_READY;
	}
	v->wait_pending = false;
	__atomic_store_n(&v->on_cpu, false, __ATOMIC_RELEASE);
	if (v->state == TM_VCPU_READY && !vm_paused(v->vm)) {
		sched_enqueue_locked(v);
	}
	spin_unlock(&v->lock);
	if (stopped && v->vm->is_manager) {
		manager_reap();
	} else if (stopped) {
		event_set(v);
	}
	/* An interrupt that came between the wait and WAITING must not be slept through. */
	if (waiting && arch_vcpu_irq_pending(v)) {
		vcpu_irq_kick(v);
	}
}

/* Stolen time is shown to the guest when it changed; a refused write is tried at the next turn. */
static void pvtime_update(struct vcpu *v)
{
	uint64_t at = __atomic_load_n(&v->vm->pvtime_gpa, __ATOMIC_RELAXED);
	uint64_t stolen = v->pv_stolen;

	if (at == ~0ull || stolen == v->pv_shown) {
		return;
	}
	at += v->id * sizeof(struct tm_pvtime) + offsetof(struct tm_pvtime, stolen_ticks);
	if (guest_write(v->vm, NULL, gpa(at), &stolen, sizeof(stolen), NULL) == 0) {
		v->pv_shown = stolen;
	}
}

/* READY -> RUNNING here; false when it may not run after all. */
static bool take(struct pcpu *c, struct vcpu *v)
{
	bool ok;

	spin_lock(&v->lock);
	ok = v->state == TM_VCPU_READY && v->powered_on && !vm_paused(v->vm);
	if (ok) {
		v->state = TM_VCPU_RUNNING;
		v->cpu = (uint16_t)c->id;
		v->on_cpu = true;
	}
	spin_unlock(&v->lock);
	if (!ok) {
		return false;
	}
	c->loaded_at = arch_time_now();
	v->pv_stolen += c->loaded_at - v->ready_since;
	__atomic_store_n(&c->current, v, __ATOMIC_RELEASE);
	arch_vcpu_load(v);
	pvtime_update(v);
	return true;
}

/* Requests of the vCPU that is loaded here. False: it has to leave the CPU. */
static bool serve_requests(struct vcpu *v)
{
	uint32_t req = __atomic_exchange_n(&v->requests, 0, __ATOMIC_ACQ_REL);
	uint32_t blocked;

	if (v->stop_pending) {
		return false;
	}
	if (req & VCPU_REQ_SHUTDOWN) {
		vcpu_stop(v, TM_EXIT_SHUTDOWN, 0);
		return false;
	}
	if (req & VCPU_REQ_STOP) {
		vcpu_stop(v, TM_EXIT_KICKED, 0);
		return false;
	}
	if (!v->powered_on || v->wait_pending || vm_paused(v->vm)) {
		return false;
	}
	blocked = dirty_log_entry_blocked(v);
	if (blocked) {
		vcpu_stop(v, blocked, 0);
		return false;
	}
	if (req & VCPU_REQ_IRQ) {
		arch_vcpu_irq_sync(v);
	}
	return true;
}

/* May the loaded vCPU go on? Starts its slice when somebody of its priority waits behind it. */
static bool keeps_cpu(struct pcpu *c, const struct vcpu *v)
{
	if (queue_wants(c, v->prio)) {
		return false;
	}
	if (!queue_wants(c, v->prio + 1u)) {
		if (c->slice_end) {
			c->slice_end = 0;
			hyptimer_program();
		}
		return true;
	}
	if (!c->slice_end) {
		c->slice_end = arch_time_now() + v->slice_ticks;
		hyptimer_program();
		return true;
	}
	return arch_time_now() < c->slice_end;
}

struct vcpu *sched_switch(void)
{
	struct pcpu *c = this_pcpu();

	for (;;) {
		struct vcpu *v = c->current;

		/* Cleared before looking: what is set afterwards makes entry come back here. */
		__atomic_store_n(&c->resched, 0, __ATOMIC_SEQ_CST);
		if (v) {
			if (serve_requests(v) && keeps_cpu(c, v)) {
				return v;
			}
			put_away(c, v);
		}
		v = pop(c, c->id, SCHED_PRIOS);
		if (!v) {
			v = steal(c);
		}
		if (v) {
			(void)take(c, v);
		} else if (!__atomic_load_n(&c->resched, __ATOMIC_SEQ_CST)) {
			uint64_t t = arch_time_now();

			hyptimer_program();
			arch_cpu_idle();
			c->idle_ticks += arch_time_now() - t;
		}
	}
}

void sched_timer(void)
{
	struct pcpu *c = this_pcpu();

	if (c->slice_end && arch_time_now() >= c->slice_end) {
		__atomic_store_n(&c->resched, 1, __ATOMIC_RELAXED);
	}
}

void sched_requeue_vm(struct vm *vm)
{
	for (unsigned i = 0; i < vm->vcpus_max; i++) {
		struct vcpu *v = __atomic_load_n(&vm->vcpu[i], __ATOMIC_ACQUIRE);

		if (!v) {
			continue;
		}
		spin_lock(&v->lock);
		if (v->state == TM_VCPU_READY) {
			sched_enqueue_locked(v);
		}
		spin_unlock(&v->lock);
	}
}

void sched_start(void)
{
	arch_enter_guest(sched_switch());
}
