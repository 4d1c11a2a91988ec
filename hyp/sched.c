// SPDX-License-Identifier: Apache-2.0
/*
 * Who runs where. Each physical CPU has a run queue under its rq_lock: one list per priority, round
 * robin inside it. A queue entry is a hint: whoever pops one takes v->lock and looks at the state,
 * so a vCPU that was stopped or paused meanwhile is simply dropped. State changes under v->lock.
 * No vCPU alone at its priority gets a tick: slice_end stays 0 until somebody queues behind it.
 * An entry stands in a queue whose CPU may run it, under the vCPU's present priority: both change
 * only under v->lock and with the vCPU on no queue (sched_set). A vCPU that is neither queued nor
 * on a CPU, but in somebody's hands, is named by that CPU's `handling`, which keeps it from being
 * freed.
 */
#include <arch/cpu.h>
#include <arch/time.h>
#include <arch/vcpu.h>
#include <hyp/boot_info.h>
#include <hyp/bootvms.h>
#include <hyp/dirty_log.h>
#include <hyp/entry.h>
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

/* Load as a wake-up sees it. Behind a better priority one may wait for ever, behind an equal one
 * for a slice, behind a worse one not at all. */
static unsigned cpu_load(const struct pcpu *c, const struct vcpu *v)
{
	const struct vcpu *cur = __atomic_load_n(&c->current, __ATOMIC_RELAXED);
	unsigned load = __atomic_load_n(&c->queued, __ATOMIC_RELAXED) * 2;

	if (cur && cur != v) {
		load += cur->prio < v->prio ? 3 : cur->prio == v->prio ? 2 : 1;
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

/*
 * Everybody was busy when a queue was chosen. A CPU that went idle meanwhile looked at the queues
 * before v stood in one, or sees it: we have queued and look at `current`, it has cleared `current`
 * and looks at the queues, each with a full barrier (spin_unlock) in between.
 */
static void wake_idle(const struct vcpu *v, const struct pcpu *chosen)
{
	for (unsigned i = 0; i < pcpu_count; i++) {
		if (&pcpus[i] != chosen && cpu_allowed(v, i) &&
		    !__atomic_load_n(&pcpus[i].current, __ATOMIC_RELAXED)) {
			cpu_look(&pcpus[i]);
			return;
		}
	}
}

static void push(struct pcpu *c, struct vcpu *v, bool first)
{
	spin_lock(&c->rq_lock);
	__atomic_store_n(&v->rq_queued, true, __ATOMIC_RELAXED);
	v->rq_next = first ? c->head[v->prio] : NULL;
	if (!c->tail[v->prio]) {
		c->tail[v->prio] = v;
		c->head[v->prio] = v;
	} else if (first) {
		c->head[v->prio] = v;
	} else {
		c->tail[v->prio]->rq_next = v;
		c->tail[v->prio] = v;
	}
	c->queued++;
	spin_unlock(&c->rq_lock);
}

static void enqueue(struct vcpu *v, bool first)
{
	struct pcpu *c;
	struct vcpu *cur;

	/* Also for an entry that a stop or a pause left behind: it was not stealing time. */
	v->ready_since = arch_time_now();
	if (__atomic_load_n(&v->rq_queued, __ATOMIC_ACQUIRE)) {
		return;
	}
	c = choose_cpu(v);
	push(c, v, first && c == this_pcpu());
	cur = __atomic_load_n(&c->current, __ATOMIC_RELAXED);
	if (!cur || cur->prio >= v->prio) {
		cpu_look(c);
	}
	if (cur) {
		wake_idle(v, c);
	}
}

void sched_enqueue_locked(struct vcpu *v)
{
	enqueue(v, false);
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

/* Removes the first vCPU that `cpu` may run, of a priority from `from` on. */
static struct vcpu *pop(struct pcpu *c, unsigned cpu, unsigned from)
{
	struct vcpu *v = NULL;

	spin_lock(&c->rq_lock);
	for (unsigned p = from; p < SCHED_PRIOS && !v; p++) {
		struct vcpu *prev = NULL;

		for (v = c->head[p]; v && !cpu_allowed(v, cpu); v = v->rq_next) {
			prev = v;
		}
		if (v) {
			unlink_vcpu(c, v, prev);
			/* Under the queue's lock: sched_forget() finds it queued or here. */
			__atomic_store_n(&pcpus[cpu].handling, v, __ATOMIC_RELAXED);
		}
	}
	spin_unlock(&c->rq_lock);
	return v;
}

static void remove_queued(struct vcpu *v)
{
	for (unsigned i = 0; i < pcpu_count; i++) {
		struct pcpu *c = &pcpus[i];
		struct vcpu *prev = NULL;

		spin_lock(&c->rq_lock);
		for (struct vcpu *q = c->head[v->prio]; q; prev = q, q = q->rq_next) {
			if (q == v) {
				unlink_vcpu(c, v, prev);
				break;
			}
		}
		spin_unlock(&c->rq_lock);
	}
}

void sched_forget(struct vcpu *v)
{
	remove_queued(v);
	/* Whoever has it in hand only finds out that there is nothing to do, and waits for nobody. */
	for (unsigned i = 0; i < pcpu_count; i++) {
		while (__atomic_load_n(&pcpus[i].handling, __ATOMIC_ACQUIRE) == v) {
			arch_cpu_relax();
		}
	}
}

void sched_set(struct vcpu *v, unsigned prio, uint64_t affinity, uint64_t slice_ticks)
{
	spin_lock(&v->lock);
	/* A queue is keyed by priority and holds only what its CPU may run. */
	remove_queued(v);
	v->prio = (uint8_t)prio;
	v->affinity = affinity;
	v->slice_ticks = slice_ticks;
	v->slice_left = MIN(v->slice_left, slice_ticks);
	if (v->state == TM_VCPU_READY && !vm_paused(v->vm)) {
		enqueue(v, false);
	}
	spin_unlock(&v->lock);
	vcpu_request(v, VCPU_REQ_RESCHED);	/* where it runs it may have to give way */
}

uint64_t sched_online(void)
{
	uint64_t mask = 0;

	for (unsigned i = 0; i < pcpu_count && i < 64; i++) {
		mask |= __atomic_load_n(&pcpus[i].online, __ATOMIC_ACQUIRE) ? 1ull << i : 0;
	}
	return mask;
}

static struct vcpu *steal(struct pcpu *c)
{
	struct vcpu *v = NULL;

	for (unsigned i = 0; i < pcpu_count && !v; i++) {
		if (i != c->id && __atomic_load_n(&pcpus[i].queued, __ATOMIC_RELAXED)) {
			v = pop(&pcpus[i], c->id, 0);
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

/* A stop that somebody asked for while it was on its way out. v->lock held. */
static bool stop_due(struct vcpu *v)
{
	uint32_t req = __atomic_load_n(&v->requests, __ATOMIC_RELAXED);

	/* The manager that would have made room died meanwhile: STOP behaves as SPILL. */
	if (v->stop_pending && v->reason == TM_EXIT_DIRTY_RING_FULL &&
	    !dirty_log_stops_at_full(v->vm)) {
		v->stop_pending = false;
	}
	if (!v->stop_pending && (req & (VCPU_REQ_STOP | VCPU_REQ_SHUTDOWN))) {
		v->reason = req & VCPU_REQ_SHUTDOWN ? TM_EXIT_SHUTDOWN : TM_EXIT_KICKED;
		v->stop_status = 0;
		v->stop_pending = true;
	}
	return v->stop_pending;
}

/* Its next state, after which any CPU may have it. v->lock held. */
static void settle(struct vcpu *v)
{
	bool first = v->slice_left != 0;

	if (stop_due(v)) {
		sched_publish_stop_locked(v, v->reason, v->stop_status);
	} else if (!v->powered_on) {
		v->state = TM_VCPU_OFF;
	} else if (v->wait_pending) {
		v->state = TM_VCPU_WAITING;
	} else {
		v->state = TM_VCPU_READY;
	}
	v->wait_pending = false;
	/* Who has to give way to a higher priority goes on where it was; a slice that is used up,
	 * or that its owner did not want, is followed by a whole one, after everybody else's. */
	if (!first || v->state != TM_VCPU_READY) {
		v->slice_left = v->slice_ticks;
	}
	__atomic_store_n(&v->on_cpu, false, __ATOMIC_RELEASE);
	if (v->state == TM_VCPU_READY && !vm_paused(v->vm)) {
		enqueue(v, first);
	}
}

/* Takes the current vCPU off this CPU and gives it its next state. */
static void put_away(struct pcpu *c, struct vcpu *v)
{
	uint64_t now = arch_time_now();
	bool is_manager = v->vm->is_manager;
	uint32_t state;

	v->stats.run_ticks += now - c->loaded_at;
	if (c->slice_end) {
		v->slice_left = c->slice_end > now ? c->slice_end - now : 0;
	}
	c->slice_end = 0;
	arch_vcpu_put(v);
	/* Once it is STOPPED its VM may be destroyed, but not before we let go of it. */
	__atomic_store_n(&c->handling, v, __ATOMIC_RELAXED);
	__atomic_store_n(&c->current, NULL, __ATOMIC_RELEASE);
	spin_lock(&v->lock);
	settle(v);
	state = v->state;
	spin_unlock(&v->lock);
	if (state == TM_VCPU_STOPPED && !is_manager) {
		event_set(v);
	} else if (state == TM_VCPU_WAITING && arch_vcpu_irq_pending(v)) {
		/* An interrupt that came between the wait and WAITING must not be slept through. */
		vcpu_irq_kick(v);
	}
	__atomic_store_n(&c->handling, NULL, __ATOMIC_RELEASE);
	if (state == TM_VCPU_STOPPED && is_manager) {
		manager_reap();
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
	if (ok && !cpu_allowed(v, c->id)) {
		enqueue(v, false);	/* its affinity changed on the way here */
		ok = false;
	} else if (ok) {
		v->state = TM_VCPU_RUNNING;
		v->cpu = (uint16_t)c->id;
		v->on_cpu = true;
	}
	spin_unlock(&v->lock);
	/* From here on on_cpu keeps it alive. */
	__atomic_store_n(&c->handling, NULL, __ATOMIC_RELEASE);
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
	uint32_t req, blocked;

	if (v->stop_pending) {
		return false;
	}
	req = __atomic_exchange_n(&v->requests, 0, __ATOMIC_ACQ_REL);
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

/* Those who wait here behind a better priority look for a place anew: another CPU may run others of
 * their own priority, or worse. Once each. */
static void spread(struct pcpu *c, unsigned above)
{
	for (unsigned n = __atomic_load_n(&c->queued, __ATOMIC_RELAXED); n > 0; n--) {
		struct vcpu *w = pop(c, c->id, above + 1);

		if (!w) {
			break;
		}
		spin_lock(&w->lock);
		if (w->state == TM_VCPU_READY && !vm_paused(w->vm)) {
			uint64_t since = w->ready_since;

			enqueue(w, false);
			w->ready_since = since;
		}
		spin_unlock(&w->lock);
		__atomic_store_n(&c->handling, NULL, __ATOMIC_RELEASE);
	}
}

/* Nobody of its priority waits. Those of a worse one are spread once they waited for a slice. */
static void tick_for_worse(struct pcpu *c, const struct vcpu *v)
{
	uint64_t old = c->slice_end, now = arch_time_now();

	if (old && now >= old) {
		spread(c, v->prio);
		c->slice_end = 0;
	}
	if (pcpu_count == 1 || !__atomic_load_n(&c->queued, __ATOMIC_RELAXED)) {
		c->slice_end = 0;
	} else if (!c->slice_end) {
		c->slice_end = now + v->slice_ticks;
	}
	if (c->slice_end != old) {
		hyptimer_program();
	}
}

/* May the loaded vCPU go on? Starts its slice when somebody of its priority waits behind it. */
static bool keeps_cpu(struct pcpu *c, const struct vcpu *v)
{
	if (queue_wants(c, v->prio) || !cpu_allowed(v, c->id)) {
		return false;
	}
	if (!queue_wants(c, v->prio + 1u)) {
		tick_for_worse(c, v);
		return true;
	}
	if (!c->slice_end) {
		c->slice_end = arch_time_now() + MAX(v->slice_left, 1u);
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
		v = pop(c, c->id, 0);
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

struct vcpu *sched_finish_exit(struct pcpu *c, struct vcpu *v)
{
	do {
		uint32_t irq = VCPU_REQ_IRQ;

		__atomic_store_n(&v->in_guest, false, __ATOMIC_RELEASE);
		/* Only VCPU_REQ_IRQ, nothing else to do: no need for the scheduler. */
		if (!READ_ONCE(c->resched) &&
		    __atomic_compare_exchange_n(&v->requests, &irq, 0u, false, __ATOMIC_SEQ_CST,
						__ATOMIC_RELAXED)) {
			arch_vcpu_irq_sync(v);
		} else {
			v = sched_switch();
		}
	} while (!guest_entry_is_free(c, v));
	return v;
}

void sched_give_way(void)
{
	struct pcpu *c = this_pcpu();

	/* Only to its own priority: a better one does not wait, a worse one gets nothing this way. */
	if (queue_wants(c, c->current->prio + 1u)) {
		c->slice_end = 1;	/* over */
		__atomic_store_n(&c->resched, 1, __ATOMIC_RELAXED);
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
