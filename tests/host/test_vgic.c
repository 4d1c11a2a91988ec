// SPDX-License-Identifier: Apache-2.0
// FLAGS: -I arch/arm64/include
//
// The virtual interrupt controller's state machine and registers against a model of the list
// registers and of a guest that takes and ends interrupts. One thread plays all CPUs: vCPU i, when
// live, is on CPU i. An edge that was latched while enabled must be taken once it can be; a level
// must be taken as long as it is high; nothing may be taken that is not pending.
#include "../../arch/arm64/include/asm/vcpu.h"
#include "../../arch/arm64/include/asm/vm.h"
#include "check.h"

#include <hyp/sched.h>
#include <hyp/vm.h>

#include "../../arch/arm64/vgic/regs.c"
#include "../../arch/arm64/vgic/v3.c"
#undef GICD_CTLR
#undef GICD_TYPER
#undef GICD_IIDR
#undef IIDR_ARM
#include "../../arch/arm64/vgic/v2.c"
#include "../../arch/arm64/vgic/vgic.c"

#define VCPUS 3u
#define SPIS 12u	/* used ones: INTIDs 32.. */

static struct vm vm;
static struct vcpu vcpus[VCPUS];
static struct vcpu *current;
static unsigned lrs = 4, version = 3;

/* The hardware of each CPU. */
static struct hw {
	uint64_t lr[VGIC_MAX_LR];
	uint32_t hcr;
	struct vgic_cpu cpuif;
	unsigned active[32], depth;	/* what the guest runs, innermost last */
} hws[VCPUS];

static struct hw *hw(void)
{
	return &hws[current->id];
}

unsigned lr_count(void) { return lrs; }
uint64_t lr_read(unsigned i) { return hw()->lr[i]; }
void lr_write(unsigned i, uint64_t val) { hw()->lr[i] = val; }
void lr_hcr_write(uint32_t val) { hw()->hcr = val; }
uint32_t lr_hcr_read(void) { return hw()->hcr; }
uint64_t lr_vmcr_read(void) { return 0xf0000003u; }
uint32_t lr_empty(void)
{
	uint32_t empty = 0;

	for (unsigned i = 0; i < lrs; i++) {
		empty |= hw()->lr[i] & (LR_PENDING | LR_ACTIVE) ? 0 : 1u << i;
	}
	return empty;
}

void spin_lock(struct spinlock *l) { CHECK(!l->owner); l->owner = 1; }
void spin_unlock(struct spinlock *l) { l->owner = 0; }
struct vcpu *vcpu_current(void) { return current; }
void vcpu_irq_kick(struct vcpu *v) { v->requests |= VCPU_REQ_IRQ; }
unsigned gic_version(void) { return version; }
hpa_t gic_gicv(void) { return hpa(0); }
void gic_deactivate(uint32_t iar) { (void)iar; }
void gic_ppi_set_active(uint32_t intid, bool active) { (void)intid, (void)active; }
bool vtimer_output(const struct vcpu *v) { (void)v; return false; }
uint64_t vcpu_mpidr(unsigned gic, unsigned id) { (void)gic; return id; }
struct vcpu *vcpu_by_mpidr(struct vm *m, uint64_t mpidr)
{
	(void)m;
	return mpidr < VCPUS ? &vcpus[mpidr] : NULL;
}
int pool_reserve(struct mem_pool *p, uint64_t n) { (void)p, (void)n; return 0; }
uint64_t stage2_tables_needed(gpa_t a, uint64_t pages) { (void)a, (void)pages; return 0; }
void stage2_lock(struct stage2 *s2) { (void)s2; }
void stage2_unlock(struct stage2 *s2) { (void)s2; }
void stage2_flush(struct stage2 *s2, struct tlb_batch *b) { (void)s2, (void)b; }
int stage2_map(struct stage2 *s2, gpa_t a, hpa_t h, unsigned level, unsigned attrs,
	       struct tlb_batch *b)
{
	(void)s2, (void)a, (void)h, (void)level, (void)attrs, (void)b;
	return 0;
}

static void load(struct vcpu *v)
{
	current = v;
	v->arch.vgic.live = true;
	v->arch.vgic.hcr = 0;
	vgic_flush(v);
}

static void put(struct vcpu *v)
{
	current = v;
	vgic_fold_all(v);
	v->arch.vgic.live = false;
}

static void dist(struct vcpu *v, uint64_t off, unsigned len, bool write, uint64_t *data)
{
	struct mmio_access a = {.offset = off, .len = len, .write = write, .data = write ? *data : 0};

	current = v->arch.vgic.live ? v : NULL;
	(version == 3 ? vgic_v3_dist : vgic_v2_dist)(v, &vm, &a);
	*data = a.data;
}

static void dist_write(struct vcpu *v, uint64_t off, unsigned len, uint64_t data)
{
	dist(v, off, len, true, &data);
}

static void redist_write(struct vcpu *v, unsigned id, uint64_t off, unsigned len, uint64_t data)
{
	struct mmio_access a = {
		.offset = id * GUEST_GICR_STRIDE + off, .len = len, .write = true, .data = data,
	};

	current = v->arch.vgic.live ? v : NULL;
	vgic_v3_redist(v, &vm, &a);
}

/* Powers the board on: groups enabled, all of SPIS and the SGIs enabled, in group 1. */
static void reset(unsigned gic, unsigned count)
{
	version = gic;
	lrs = count;
	memset(&vm, 0, sizeof(vm));
	memset(vcpus, 0, sizeof(vcpus));
	memset(hws, 0, sizeof(hws));
	vm.vcpus_max = VCPUS;
	vm.arch.gic_version = (uint8_t)gic;
	for (unsigned i = 0; i < VCPUS; i++) {
		struct vcpu *v = &vcpus[i];

		vm.vcpu[i] = v;
		v->vm = &vm;
		v->id = (uint16_t)i;
		for (unsigned s = 0; s < VGIC_PRIVATE; s++) {
			v->arch.vgic.priv[s].flags = s < 16 ? TM_GIC_EDGE | TM_GIC_ENABLED : 0;
			v->arch.vgic.priv[s].holder = (uint8_t)i;
		}
		load(v);
	}
	dist_write(&vcpus[0], 0, 4, 3);
	dist_write(&vcpus[0], 0x104, 4, 0xffffffff);
	dist_write(&vcpus[0], 0xc08, 4, 0xaaa);	/* INTIDs 32..37 edges */
	for (unsigned i = 0; i < SPIS; i++) {
		dist_write(&vcpus[0], 0x420 + i, 1, 0x80 + 8 * (i & 3));
		if (gic == 3) {
			dist_write(&vcpus[0], 0x6100 + 8 * i, 8, i % VCPUS);
		} else {
			dist_write(&vcpus[0], 0x820 + i, 1, 1u << (i % VCPUS));
		}
	}
}

static void serve(struct vcpu *v)
{
	current = v;
	if (v->arch.vgic.live && (v->requests & VCPU_REQ_IRQ)) {
		v->requests = 0;
		arch_vcpu_irq_sync(v);
	}
}

/* Does the interface of v ask for maintenance? A level: it goes on until its reason is gone. */
static bool wants_maintenance(struct vcpu *v)
{
	struct hw *h = &hws[v->id];
	unsigned valid = 0, pending = 0;
	bool raise = false;

	for (unsigned i = 0; i < lrs; i++) {
		uint64_t state = h->lr[i] & (LR_PENDING | LR_ACTIVE);

		valid += state != 0;
		pending += state == LR_PENDING;
		raise = raise || (!state && (h->lr[i] & LR_EOI) && !(h->lr[i] & LR_HW));
	}
	return raise || ((h->hcr & VHCR_UIE) && valid <= 1) || ((h->hcr & VHCR_NPIE) && !pending) ||
	       ((h->hcr & VHCR_LRENPIE) && VHCR_EOICOUNT(h->hcr));
}

static void maintenance(struct vcpu *v)
{
	current = v;
	if (wants_maintenance(v)) {
		(void)vgic_maintenance_irq(25);
		CHECK(!wants_maintenance(v));
	}
}

static unsigned prio_of(struct vcpu *v, unsigned intid)
{
	return vgic_irq(&vm, v, intid)->priority;
}

static unsigned taken_from;	/* sender of the GICv2 SGI that was taken last */

/* The guest acknowledges the best pending one that may preempt; -1: none. */
static int take(struct vcpu *v)
{
	struct hw *h = &hws[v->id];
	int best = -1;
	unsigned best_prio = h->depth ? prio_of(v, h->active[h->depth - 1]) : 0x100;

	CHECK(v->arch.vgic.live);
	for (unsigned i = 0; i < lrs; i++) {
		unsigned prio = (unsigned)(h->lr[i] >> LR_PRIORITY_SHIFT) & 0xff;

		if ((h->lr[i] & (LR_PENDING | LR_ACTIVE)) == LR_PENDING && prio < best_prio) {
			best_prio = prio;
			best = (int)i;
		}
	}
	if (best >= 0) {
		unsigned intid = (unsigned)h->lr[best] & 0x3ff;

		h->lr[best] = (h->lr[best] & ~LR_PENDING) | LR_ACTIVE;
		h->active[h->depth++] = intid;
		taken_from = (unsigned)(h->lr[best] >> LR_PINTID_SHIFT) & 7;
		maintenance(v);
		return (int)intid;
	}
	return -1;
}

static void end(struct vcpu *v)
{
	struct hw *h = &hws[v->id];
	unsigned intid = h->active[--h->depth];

	for (unsigned i = 0; i < lrs; i++) {
		if ((h->lr[i] & LR_ACTIVE) && (h->lr[i] & 0x3ff) == intid) {
			h->lr[i] &= ~LR_ACTIVE;
			maintenance(v);
			return;
		}
	}
	h->hcr += 1u << 27;
	maintenance(v);
}

/* What was latched and not yet taken, by vCPU for SGIs; GICv2 SGIs: the mask of senders. */
static unsigned owed[VCPUS][VGIC_IRQS];

static void took(struct vcpu *v, int intid)
{
	if (intid >= 32 + 6) {
		return;		/* a level: checked by the caller */
	}
	if (intid < 16 && version == 2) {
		CHECK(owed[v->id][intid] & (1u << taken_from));
		owed[v->id][intid] &= ~(1u << taken_from);
		return;
	}
	CHECK(owed[intid < 32 ? v->id : 0][intid] > 0);
	owed[intid < 32 ? v->id : 0][intid] = 0;
}

static void sgi(struct vcpu *from, unsigned list, unsigned intid)
{
	current = from->arch.vgic.live ? from : NULL;
	if (version == 3) {
		vgic_v3_sgi(from, list | (uint64_t)intid << 24, false);
	} else {
		dist_write(from, 0xf00, 4, list << 16 | intid);
	}
	for (unsigned i = 0; i < VCPUS; i++) {
		if ((list >> i) & 1) {
			owed[i][intid] |= version == 3 ? 1u : 1u << from->id;
		}
	}
}

static void random_step(struct check_rng *rng, bool *level)
{
	struct vcpu *v = &vcpus[check_rand(rng) % VCPUS];
	unsigned i = (unsigned)(check_rand(rng) % SPIS), intid;
	int got;

	serve(v);
	current = v->arch.vgic.live ? v : NULL;
	switch (check_rand(rng) % 8) {
	case 0:
		if (i < 6) {
			owed[0][32 + i]++;
			vgic_pulse(&vm, 32 + i);
		}
		break;
	case 1:
		level[i] = i >= 6 && !level[i];
		if (i >= 6) {
			CHECK_EQ(arch_irq_line(&vm, 32 + i, level[i]), 0);
		}
		break;
	case 2:
		sgi(v, (unsigned)check_rand(rng) & 7, i & 3);
		break;
	case 3:
		if (v->arch.vgic.live && hws[v->id].depth == 0) {
			put(v);
		} else if (!v->arch.vgic.live) {
			load(v);
		}
		break;
	case 4:
		/* Off and on again: nothing is lost. */
		dist_write(v, 0x184, 4, 1u << i);
		serve(v);
		dist_write(v, 0x104, 4, 1u << i);
		break;
	case 5:
		if (version == 3) {
			dist_write(v, 0x6100 + 8 * i, 8, check_rand(rng) % VCPUS);
		} else {
			dist_write(v, 0x820 + i, 1, 1u << (check_rand(rng) % VCPUS));
		}
		break;
	default:
		if (!v->arch.vgic.live) {
			break;
		}
		if (hws[v->id].depth && (check_rand(rng) & 1)) {
			intid = hws[v->id].active[hws[v->id].depth - 1];
			if (intid >= 38 && (check_rand(rng) & 3)) {
				level[intid - 32] = false;
				(void)!arch_irq_line(&vm, intid, false);
			}
			end(v);
			break;
		}
		got = take(v);
		if (got >= 0) {
			took(v, got);
		}
		break;
	}
}

static void drain(bool *level)
{
	for (unsigned round = 0; round < 200; round++) {
		for (unsigned i = 0; i < VCPUS; i++) {
			struct vcpu *v = &vcpus[i];
			int got;

			if (!v->arch.vgic.live) {
				load(v);
			}
			serve(v);
			maintenance(v);
			got = take(v);
			if (got >= 0) {
				took(v, got);
			}
			if (got >= 38) {
				level[got - 32] = false;
				(void)!arch_irq_line(&vm, (unsigned)got, false);
			}
			if (hws[i].depth) {
				end(v);
			}
		}
	}
}

static void storm(unsigned gic, unsigned count, uint64_t seed)
{
	struct check_rng rng = {seed};
	bool level[SPIS] = {false};

	memset(owed, 0, sizeof(owed));
	reset(gic, count);
	for (unsigned n = 0; n < 3000; n++) {
		random_step(&rng, level);
	}
	drain(level);
	for (unsigned i = 0; i < VCPUS; i++) {
		CHECK_EQ(hws[i].depth, 0);
		for (unsigned q = 0; q < VGIC_IRQS; q++) {
			CHECK_EQ(owed[i][q], 0);
		}
		CHECK_EQ(vcpus[i].arch.vgic.cand_words, 0);
	}
	for (unsigned i = 0; i < SPIS; i++) {
		CHECK(!level[i]);
	}
}

TEST(storm_v3)
{
	for (unsigned n = 0; n < 100; n++) {
		storm(3, 2 + n % 4, check_seed() * 1000 + n + 1);
	}
}

TEST(storm_v2)
{
	for (unsigned n = 0; n < 100; n++) {
		storm(2, 2 + n % 4, check_seed() * 2000 + n + 1);
	}
}

TEST(byte_accesses_are_words)
{
	uint64_t word, byte;

	reset(3, 4);
	dist_write(&vcpus[0], 0x424, 4, 0x18202830);
	for (unsigned i = 0; i < 4; i++) {
		dist(&vcpus[0], 0x424 + i, 1, false, &byte);
		CHECK_EQ(byte, (0x18202830u >> (8 * i)) & 0xff);
	}
	dist_write(&vcpus[0], 0x425, 1, 0xff);
	dist(&vcpus[0], 0x424, 4, false, &word);
	CHECK_EQ(word, 0x1820f830);
	reset(2, 4);
	dist_write(&vcpus[0], 0x822, 1, 0xff);
	dist(&vcpus[0], 0x820, 4, false, &word);
	CHECK_EQ((word >> 16) & 0xff, 7);	/* only CPUs that there are */
	dist(&vcpus[1], 0x800, 4, false, &word);
	CHECK_EQ(word, 0x02020202);
}

/* Every offset and size, read and written: nothing but the registers reacts, nothing crashes. */
TEST(every_register)
{
	struct check_rng rng = {check_seed()};

	for (unsigned gic = 2; gic <= 3; gic++) {
		reset(gic, 4);
		for (uint64_t off = 0; off < (gic == 3 ? 0x10000u : 0x1000u); off++) {
			for (unsigned len = 1; len <= 8; len *= 2) {
				uint64_t data = check_rand(&rng);

				dist(&vcpus[off % VCPUS], off, len, false, &data);
				dist_write(&vcpus[off % VCPUS], off, len, check_rand(&rng));
				if (gic == 3) {
					redist_write(&vcpus[0], (unsigned)(off % 5),
						     off * 2, len, check_rand(&rng));
				}
			}
		}
	}
}

TEST(level_retracted)
{
	reset(3, 4);
	current = NULL;
	CHECK_EQ(arch_irq_line(&vm, 39, true), 0);	/* goes to vCPU 1 */
	serve(&vcpus[1]);
	CHECK(arch_vcpu_irq_pending(&vcpus[1]));
	current = NULL;
	CHECK_EQ(arch_irq_line(&vm, 39, false), 0);
	serve(&vcpus[1]);
	CHECK_EQ(take(&vcpus[1]), -1);
	CHECK_EQ(arch_irq_line(&vm, 31, true), -TM_EINVAL);
	CHECK_EQ(arch_irq_line(&vm, 256, true), -TM_EINVAL);
}

CHECK_MAIN()
