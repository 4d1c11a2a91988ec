// SPDX-License-Identifier: Apache-2.0
//
// The benchmark's manager: makes a VM out of the module bench.bin, whose loops it orders through a
// shared page, and measures what needs a manager: dirty faults, ring resets, bitmap collection,
// an MMIO exit and its completion.
// bootargs: image=<module>, default bench.bin

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tidemark/arch.h>
#include <tidemark/bench_protocol.h>
#include <tidemark/call.h>
#include <tidemark/guest.h>
#include <tidemark/irq.h>
#include <tidemark/vmm.h>

#define SAMPLES 17
#define PAGES 64u
#define CTL_GPA 0x70000000u
#define DATA_GPA 0x60000000u
#define DATA_SLOT 2u
#define DATA_PAGES 1024u
#define MMIO_GPA 0x0b000000u
#define RING 512u			/* too small for PML: faults where else hardware would log */
#define RING_PML 8192u
#define ROUND_PML 1024u			/* stores: the log fills up twice */
#define MIB ((uint64_t)1 << 20)

static struct bench_control *ctl;
static uint64_t mmio_exits;

static void on_event(struct vmm_vm *vm, uint32_t id, struct vmm_vcpu *v, void *arg)
{
	(void)arg;
	if (!v->stopped) {
		return;
	}
	if (v->run->reason == TM_EXIT_MMIO) {
		memset(v->run->u.mmio.data, 0x5a, 8);
		mmio_exits++;
		(void)vmm_resume(vm, id);
	} else if (v->run->reason == TM_EXIT_DIRTY_RING_FULL) {
		uint64_t n;

		(void)tm_ring_reset(vm->handle, &n);
		(void)vmm_resume(vm, id);
	}
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a;
	uint64_t y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static uint64_t median(uint64_t *v, unsigned n)
{
	qsort(v, n, sizeof(v[0]), by_value);
	return v[n / 2];
}

static void report(const char *op, uint64_t value)
{
	printf("bench: op=%s how=marker unit=insns value=%llu\n", op, (unsigned long long)value);
}

static bool fail(const char *what, int status)
{
	printf("benchmgr: FAIL %s: %s: %s (%s)\n", what, vmm_last_error(), tm_strerror(status),
	       tm_strerror_name(status));
	return false;
}

/* Gives an order and waits for the answer: instructions of one operation. */
static bool order(enum bench_cmd cmd, uint64_t arg, uint64_t n, uint64_t *insns)
{
	uint64_t go = ctl->go + 1;
	uint64_t end = tm_timer_now() + 20 * tm_timer_freq();

	ctl->cmd = (uint32_t)cmd;
	ctl->arg = arg;
	ctl->n = n;
	__atomic_store_n(&ctl->go, go, __ATOMIC_RELEASE);
	while (__atomic_load_n(&ctl->done, __ATOMIC_ACQUIRE) != go) {
		(void)vmm_wait(1000, on_event, NULL);
		if (tm_timer_now() > end) {
			printf("benchmgr: FAIL order %d: no answer\n", cmd);
			return false;
		}
	}
	*insns = (ctl->insns + n / 2) / n;
	return true;
}

static bool make_vm(uint32_t dirty_flags, uint32_t ring, struct vmm_vm **vm)
{
	static struct vmm_desc d;
	struct tm_cpio_file image;
	char name[64] = "bench.bin";
	char args[64];
	int status;

	(void)tm_bootarg("image", name, sizeof(name));
	status = vmm_module(name, &image);
	if (status != 0) {
		return fail("module", status);
	}
	memset(&d, 0, sizeof(d));
	(void)snprintf(args, sizeof(args), "ctl=0x%x force", CTL_GPA);
	d.name = "bench";
	d.flags = VMM_NO_RUN;
	d.mem_size = 8 * MIB;
	d.slot_count = 2;
	d.slots[0] = (struct vmm_slot_spec){1, 0, CTL_GPA, TM_PAGE_SIZE, VMM_DONATED};
	d.slots[1] = (struct vmm_slot_spec){DATA_SLOT, 0, DATA_GPA,
					    (uint64_t)DATA_PAGES * TM_PAGE_SIZE, VMM_ANONYMOUS};
	d.dirty_flags = dirty_flags;
	d.ring_entries = ring;
	d.image = image.data;
	d.image_size = image.size;
	d.bootargs = args;
	d.mmio_count = 1;
	d.mmio[0] = (struct tm_range){MMIO_GPA, TM_PAGE_SIZE};
	status = vmm_create(&d, vm);
	if (status != 0) {
		return fail("create", status);
	}
	ctl = vmm_window_map(*vm, CTL_GPA, TM_PAGE_SIZE, TM_PROT_READ | TM_PROT_WRITE);
	if (ctl == NULL) {
		return fail("control page", vmm_last_status());
	}
	memset(ctl, 0, sizeof(*ctl));
	ctl->magic = BENCH_MAGIC;
	status = vmm_run(*vm);
	return status == 0 || fail("run", status);
}

static bool end_vm(struct vmm_vm *vm)
{
	int status;

	ctl->cmd = BENCH_END;
	__atomic_store_n(&ctl->go, ctl->go + 1, __ATOMIC_RELEASE);
	while (vm->shutdown_type == 0) {
		(void)vmm_wait(1000, on_event, NULL);
	}
	status = vmm_window_unmap(ctl, TM_PAGE_SIZE);
	status = status == 0 ? vmm_destroy(vm) : status;
	return status == 0 || fail("destroy", status);
}

static uint64_t insns_of(uint64_t ticks, uint64_t n)
{
	/* On x86 the TSC counts instructions where this is of any use. */
#if !defined(__x86_64__)
	ticks = ticks * 1000000000u / tm_timer_freq();
#endif
	return (ticks + n / 2) / n;
}

static int ignore(void *arg, uint32_t slot, uint64_t offset)
{
	(void)arg, (void)slot, (void)offset;
	return 0;
}

static bool bench_mmio(struct vmm_vm *vm)
{
	uint64_t v[SAMPLES];

	(void)vm;
	for (unsigned i = 0; i < SAMPLES; i++) {
		if (!order(BENCH_LOAD, MMIO_GPA, 16, &v[i])) {
			return false;
		}
	}
	if (mmio_exits != 16 * SAMPLES) {
		printf("benchmgr: FAIL %llu MMIO exits\n", (unsigned long long)mmio_exits);
		return false;
	}
	report("mmio_exit_manager", median(v, SAMPLES));
	return true;
}

/* Touches all of the slot, so that a dirty fault is nothing but that, and turns its log on. */
static bool log_on(struct vmm_vm *vm, uint64_t *touch)
{
	uint64_t v[DATA_PAGES / PAGES];

	for (uint32_t i = 0; i < DATA_PAGES / PAGES; i++) {
		uint64_t at = DATA_GPA + (uint64_t)i * PAGES * TM_PAGE_SIZE;

		if (!order(BENCH_TOUCH_PAGES, at, PAGES, &v[i])) {
			return false;
		}
	}
	*touch = median(v, DATA_PAGES / PAGES);
	return vmm_slot_flags(vm, DATA_SLOT, TM_SLOT_LOG_DIRTY) == 0 ||
	       fail("log on", vmm_last_status());
}

static bool bench_ring(struct vmm_vm *vm)
{
	uint64_t fault[SAMPLES];
	uint64_t reset[SAMPLES];
	uint64_t touch;

	if (!log_on(vm, &touch)) {
		return false;
	}
	report("first_touch_4k", touch);
	/* The first round splits large leaves: not counted. */
	for (int i = -1; i < SAMPLES; i++) {
		uint64_t insns;
		uint64_t before;
		uint64_t n = 0;
		int status;

		if (!order(BENCH_STORE_PAGES, DATA_GPA, PAGES, &insns)) {
			return false;
		}
		(void)tm_vm_sync(vm->handle);
		if (vmm_harvest(vm, ignore, NULL) != PAGES) {
			printf("benchmgr: FAIL ring: not %u entries\n", PAGES);
			return false;
		}
		before = tm_timer_now();
		status = tm_ring_reset(vm->handle, &n);
		before = tm_timer_now() - before;
		if (status != 0 || n != PAGES) {
			printf("benchmgr: FAIL RING_RESET %d %llu\n", status,
			       (unsigned long long)n);
			return false;
		}
		if (i >= 0) {
			fault[i] = insns;
			reset[i] = insns_of(before, PAGES);
		}
	}
	report("dirty_fault_wp", median(fault, SAMPLES));
	report("ring_reset_page", median(reset, SAMPLES));
	return true;
}

/* What hardware logs, the exits that empty its log included: stores to many pages at a time. */
static bool bench_pml(struct vmm_vm *vm)
{
	uint64_t v[SAMPLES];
	uint64_t touch;

	if (!log_on(vm, &touch)) {
		return false;
	}
	for (int i = -1; i < SAMPLES; i++) {
		uint64_t insns;
		uint64_t n = 0;

		if (!order(BENCH_STORE_PAGES, DATA_GPA, ROUND_PML, &insns)) {
			return false;
		}
		(void)tm_vm_sync(vm->handle);
		if (vmm_harvest(vm, ignore, NULL) != ROUND_PML ||
		    tm_ring_reset(vm->handle, &n) != 0 || n != ROUND_PML) {
			printf("benchmgr: FAIL ring: not %u entries\n", ROUND_PML);
			return false;
		}
		if (i >= 0) {
			v[i] = insns;
		}
	}
	report("pml_write", median(v, SAMPLES));
	return true;
}

static bool has_pml(void)
{
	uint64_t backends = 0;

	return tm_cap_get(0, TM_CAP_BACKENDS, &backends) == 0 &&
	       (backends >> TM_BACKEND_PML & 1) != 0;
}

static bool bench_bitmap(struct vmm_vm *vm)
{
	static uint64_t map[DATA_PAGES / 64];
	uint64_t v[SAMPLES];
	uint64_t touch;

	if (!log_on(vm, &touch)) {
		return false;
	}
	for (int i = -1; i < SAMPLES; i++) {
		uint64_t insns;
		uint64_t before;
		uint64_t n = 0;
		int status;

		if (!order(BENCH_STORE_PAGES, DATA_GPA, PAGES, &insns)) {
			return false;
		}
		before = tm_timer_now();
		status = tm_bitmap_get(vm->handle, DATA_SLOT, map, sizeof(map), &n);
		before = tm_timer_now() - before;
		if (status != 0 || n != PAGES || map[0] != ~(uint64_t)0) {
			printf("benchmgr: FAIL BITMAP_GET %d %llu\n", status,
			       (unsigned long long)n);
			return false;
		}
		if (i >= 0) {
			v[i] = insns_of(before, PAGES);
		}
	}
	report("bitmap_get_page", median(v, SAMPLES));
	return true;
}

static bool run(bool (*bench)(struct vmm_vm *), uint32_t flags, uint32_t ring)
{
	struct vmm_vm *vm;

	return make_vm(flags, ring, &vm) && bench(vm) && end_vm(vm);
}

int main(void)
{
	uint64_t free_bytes;
	int status = vmm_init();
	bool ok;

	if (status != 0) {
		fail("start", status);
		return 1;
	}
	free_bytes = vmm.ram.free_bytes;
	ok = run(bench_mmio, TM_DIRTY_BITMAP, 0) &&
	     run(bench_ring, TM_DIRTY_RING | TM_DIRTY_BITMAP, RING) &&
	     (!has_pml() || run(bench_pml, TM_DIRTY_RING | TM_DIRTY_BITMAP, RING_PML)) &&
	     run(bench_bitmap, TM_DIRTY_BITMAP, 0);
	if (ok && vmm.ram.free_bytes != free_bytes) {
		printf("benchmgr: FAIL %llu bytes lost\n",
		       (unsigned long long)(free_bytes - vmm.ram.free_bytes));
		ok = false;
	}
	printf("bench: manager %s\n", ok ? "done" : "FAILED");
	if (strstr(tm_boot.bootargs, "stay") == NULL) {
		(void)tm_machine(TM_MACHINE_OFF);
	}
	return ok ? 0 : 1;
}
