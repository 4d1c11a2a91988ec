// SPDX-License-Identifier: Apache-2.0
//
// Tests the manager-side library in the manager's place: memory comes back whatever happened,
// windows show what the guest sees, errors name their step. Modules: hello.bin, dirty.bin.

#include <stdio.h>
#include <string.h>
#include <tidemark/arch.h>
#include <tidemark/call.h>
#include <tidemark/dirty_protocol.h>
#include <tidemark/guest.h>
#include <tidemark/irq.h>
#include <tidemark/prng.h>
#include <tidemark/tap.h>
#include <tidemark/vmm.h>

#define MIB ((uint64_t)1 << 20)
#define PAGE ((uint64_t)TM_PAGE_SIZE)
#define CONTROL_GPA 0x50000000u
#define LEDGER_GPA 0x51000000u
#define LEDGER_STRIDE 0x10000u
#define DATA_GPA 0x60000000u
#define DATA_PAGES 67u
#define DATA_SLOT 5u

static uint64_t ram_free;
static uint64_t window_free;

static void all_back(const char *after)
{
	tap_ok(vmm.ram.free_bytes == ram_free && vmm.window.free_bytes == window_free,
	       "all memory and windows are back after %s", after);
}

static struct vmm_desc base(const char *module)
{
	struct vmm_desc d;
	struct tm_cpio_file file = {0};

	memset(&d, 0, sizeof(d));
	if (module != NULL) {
		(void)vmm_module(module, &file);
	}
	d.name = "one";
	d.mem_size = 16 * MIB;
	d.image = file.data;
	d.image_size = file.size;
	return d;
}

static bool wait_shutdown(struct vmm_vm *vm)
{
	uint64_t end = tm_timer_now() + 10 * tm_timer_freq();

	while (vm->shutdown_type == 0 && tm_timer_now() < end) {
		(void)vmm_wait(10000, NULL, NULL);
	}
	return vm->shutdown_type == TM_SHUTDOWN_OFF;
}

static void test_life(void)
{
	struct vmm_vm *vm = NULL;
	struct vmm_desc d = base("hello.bin");

	d.bootargs = "from vmmtest";
	for (unsigned i = 0; i < 3; i++) {
		d.vcpus = 1 + i;
		d.mem_backing = i == 1 ? VMM_ANONYMOUS : VMM_DONATED;
		tap_eq((uint64_t)vmm_create(&d, &vm), 0, "create");
		tap_ok(vm != NULL && wait_shutdown(vm), "it runs and ends");
		tap_ok(vmm_find(vm->handle) == vm && vmm_find_name("one") == vm, "it is found");
		tap_eq((uint64_t)vmm_destroy(vm), 0, "destroy");
		all_back("a life");
	}
	tap_ok(vmm.doorbells > 0, "the doorbell rang");
}

static void expect_error(struct vmm_desc *d, int want, const char *step)
{
	struct vmm_vm *vm = NULL;
	int status = vmm_create(d, &vm);

	tap_ok(status == want && strstr(vmm_last_error(), step) != NULL && vm == NULL,
	       "%s: %s (%s)", step, vmm_last_error(), tm_strerror_name(status));
	all_back(step);
}

static void test_errors(void)
{
	struct vmm_desc d = base("hello.bin");
	static const char gzip[64] = {0x1f, (char)0x8b};

	d.pool_size = PAGE;
	expect_error(&d, -TM_ENOMEM, "one");
	d = base("hello.bin");
	d.mem_size = 64 * 1024 * MIB;
	expect_error(&d, -TM_ENOMEM, "manager memory");
	d = base("hello.bin");
	d.name = "Bad Name";
	expect_error(&d, -TM_EINVAL, "VM_CREATE");
	d = base("hello.bin");
	d.slot_count = 1;
	d.slots[0] = (struct vmm_slot_spec){1, 0, VMM_RAM_BASE + MIB, MIB, VMM_DONATED};
	expect_error(&d, -TM_EEXIST, "SLOT_SET");
	d = base("hello.bin");
	d.dirty_flags = TM_DIRTY_RING;
	d.ring_entries = 1000;
	expect_error(&d, -TM_EINVAL, "DIRTY_CONFIG");
	d = base(NULL);
	d.image = gzip;
	d.image_size = sizeof(gzip);
	expect_error(&d, -TM_EINVAL, "gzip");
	d = base("hello.bin");
	d.mem_size = 2 * PAGE;
	expect_error(&d, -TM_EINVAL, "image");
	d = base("hello.bin");
	d.initrd = tm_boot.dtb;
	d.initrd_size = 17 * MIB;
	expect_error(&d, -TM_ENOSPC, "image, tree and initrd");
	tap_eq((uint64_t)vmm_module("nothing", &(struct tm_cpio_file){0}), (uint64_t)-TM_ENOENT,
	       "no such module");
}

/* Random pieces through windows against a copy; the guest does not run. */
static void test_windows(void)
{
	static uint8_t copy[8 * TM_PAGE_SIZE];
	static uint8_t piece[3 * TM_PAGE_SIZE];
	struct vmm_desc d = base(NULL);
	struct vmm_vm *vm = NULL;
	struct tm_prng rng;
	unsigned wrong = 0;
	uint8_t *w;

	d.flags = VMM_NO_IMAGE | VMM_NO_RUN;
	tap_eq((uint64_t)vmm_create(&d, &vm), 0, "create without an image");
	tm_prng_seed(&rng, 1);
	for (unsigned i = 0; i < 200; i++) {
		uint64_t size = 1 + tm_prng_below(&rng, sizeof(piece));
		uint64_t at = tm_prng_below(&rng, sizeof(copy) - size);

		memset(piece, (int)i, size);
		memcpy(copy + at, piece, size);
		wrong += vmm_guest_write(vm, VMM_RAM_BASE + MIB + at, piece, size) != 0;
		size = 1 + tm_prng_below(&rng, sizeof(piece));
		at = tm_prng_below(&rng, sizeof(copy) - size);
		wrong += vmm_guest_read(vm, VMM_RAM_BASE + MIB + at, piece, size) != 0;
		wrong += memcmp(piece, copy + at, size) != 0;
	}
	tap_eq(wrong, 0, "200 writes and reads of odd pieces");
	tap_eq((uint64_t)vmm_guest_zero(vm, VMM_RAM_BASE + MIB + 5, sizeof(copy) - 5), 0, "zero");
	(void)vmm_guest_read(vm, VMM_RAM_BASE + MIB, piece, 8);
	tap_ok(piece[4] == copy[4] && piece[5] == 0 && piece[7] == 0, "zero from byte 5 on");
	w = vmm_window_map(vm, VMM_RAM_BASE, 16 * MIB, TM_PROT_READ);
	tap_ok(w != NULL && memcmp(w + MIB, piece, 4) == 0, "a window of all 16 MiB");
	tap_ok(vmm_window_map(vm, VMM_RAM_BASE + 16 * MIB, PAGE, TM_PROT_READ) == NULL &&
	       vmm_last_status() < 0, "no window beyond (%s)", tm_strerror_name(vmm_last_status()));
	tap_eq((uint64_t)vmm_window_unmap(w, 16 * MIB), 0, "unmap");
	tap_eq((uint64_t)vmm_destroy(vm), 0, "destroy");
	all_back("windows");
}

/* --- a logged slot and the dirty guest -------------------------------------------------------- */

static struct dirty_control *ctl;
static uint64_t seen[2];

static int see(void *arg, uint32_t slot, uint64_t offset)
{
	(void)arg;
	if (slot == DATA_SLOT && offset < DATA_PAGES) {
		seen[offset / 64] |= (uint64_t)1 << (offset % 64);
	}
	return 0;
}

static void on_event(struct vmm_vm *vm, uint32_t id, struct vmm_vcpu *v, void *arg)
{
	(void)arg;
	if (v->stopped && v->run->reason == TM_EXIT_DIRTY_RING_FULL) {
		(void)vmm_harvest(vm, see, NULL);
		(void)tm_ring_reset(vm->handle, NULL);
		(void)vmm_resume(vm, id);
	}
}

static bool wait_round(uint32_t vcpus, uint64_t round)
{
	uint64_t end = tm_timer_now() + 10 * tm_timer_freq();

	for (uint32_t v = 0; v < vcpus;) {
		if (__atomic_load_n(&ctl->done_round[v], __ATOMIC_ACQUIRE) == round) {
			v++;
			continue;
		}
		(void)vmm_wait(500, on_event, NULL);
		if (tm_timer_now() > end) {
			return false;
		}
	}
	return true;
}

static struct vmm_desc dirty_vm(uint32_t vcpus)
{
	struct vmm_desc d = base("dirty.bin");

	d.vcpus = vcpus;
	d.flags = VMM_NO_RUN;
	d.bootargs = "control=0x50000000";
	d.dirty_flags = TM_DIRTY_RING | TM_DIRTY_BITMAP;
	d.ring_entries = 1024;
	d.slot_count = 3;
	d.slots[0] = (struct vmm_slot_spec){1, 0, CONTROL_GPA, PAGE, VMM_DONATED};
	d.slots[1] = (struct vmm_slot_spec){2, 0, LEDGER_GPA, vcpus * LEDGER_STRIDE, VMM_DONATED};
	d.slots[2] = (struct vmm_slot_spec){DATA_SLOT, 0, DATA_GPA, DATA_PAGES * PAGE, VMM_DONATED};
	return d;
}

static void fill_control(void)
{
	memset(ctl, 0, sizeof(*ctl));
	ctl->magic = DIRTY_MAGIC;
	ctl->version = DIRTY_VERSION;
	ctl->ledger_gpa = LEDGER_GPA;
	ctl->ledger_stride = LEDGER_STRIDE;
	ctl->n_slots = 1;
	ctl->slots[0] = (struct dirty_slot){DATA_GPA, DATA_PAGES};
	ctl->vcpu_mask = 0xff;
	ctl->n_writes = 100;
}

/* Pages of the ledger's rows of this round must all have been in the rings. */
static unsigned missing(struct vmm_vm *vm, uint32_t vcpus, uint32_t round)
{
	unsigned n = 0;

	for (uint32_t v = 0; v < vcpus; v++) {
		struct dirty_ledger *l = vmm_window_map(vm, LEDGER_GPA + v * LEDGER_STRIDE,
							LEDGER_STRIDE, TM_PROT_READ);

		for (uint64_t i = 0; l != NULL && i < l->head && i < l->capacity; i++) {
			uint64_t page = (l->rows[i].gpa - DATA_GPA) / PAGE;

			n += l->rows[i].round == round && (seen[page / 64] >> (page % 64) & 1) == 0;
		}
		n += l == NULL || vmm_window_unmap(l, LEDGER_STRIDE) != 0;
	}
	return n;
}

static void test_rings(uint32_t vcpus)
{
	struct vmm_desc d = dirty_vm(vcpus);
	struct vmm_vm *vm = NULL;
	unsigned lost = 0;
	bool good = true;
	uint64_t start;

	tap_eq((uint64_t)vmm_create(&d, &vm), 0, "create the dirty guest");
	ctl = vmm_window_map(vm, CONTROL_GPA, PAGE, TM_PROT_READ | TM_PROT_WRITE);
	fill_control();
	tap_eq((uint64_t)vmm_run(vm), 0, "run");
	tap_eq((uint64_t)vmm_log_all(vm, true, (uint64_t)1 << DATA_SLOT), 0, "log on");
	start = tm_timer_now();
	for (uint32_t round = 1; round <= 20 && good; round++) {
		memset(seen, 0, sizeof(seen));
		ctl->seed = round;
		__atomic_store_n(&ctl->go_round, round, __ATOMIC_RELEASE);
		good = wait_round(vcpus, round);
		(void)tm_vm_sync(vm->handle);
		good = good && vmm_harvest(vm, see, NULL) >= 0 &&
		       tm_ring_reset(vm->handle, NULL) == 0;
		lost += missing(vm, vcpus, round);
	}
	tap_ok(good, "20 rounds with %u vCPUs", vcpus);
	tap_diag("%llu us a round",
		 (unsigned long long)(tm_ticks_to_us(tm_timer_now() - start) / 20));
	tap_eq(lost, 0, "no page of the ledger is missing in the rings");
	tap_eq((uint64_t)vmm_slot_delete(vm, DATA_SLOT), 0, "slot delete");
	ctl->quit = 1;
	tap_ok(wait_shutdown(vm), "the guest ends");
	tap_eq((uint64_t)vmm_window_unmap(ctl, PAGE), 0, "unmap");
	tap_eq((uint64_t)vmm_destroy(vm), 0, "destroy");
	all_back("rings");
}

static bool wait_stopped(struct vmm_vm *vm, uint32_t id)
{
	uint64_t end = tm_timer_now() + 2 * tm_timer_freq();

	while (!vm->vcpu[id].stopped && tm_timer_now() < end) {
		(void)vmm_wait(1000, on_event, NULL);
	}
	return vm->vcpu[id].stopped && vm->vcpu[id].run->reason == TM_EXIT_KICKED;
}

static void tell(struct vmm_vm *vm, uint32_t vcpus)
{
	for (uint32_t v = 0; v < vcpus; v++) {
		struct tm_vcpu_stats s;

		if (tm_vcpu_stats(vm->handle, v, &s) == 0) {
			tap_diag("vCPU %u: state %u reason %u exits %llu wfi %llu irqs %llu done %llu",
				 v, s.state, s.reason, (unsigned long long)s.exits,
				 (unsigned long long)s.wfi, (unsigned long long)s.irqs,
				 (unsigned long long)ctl->done_round[v]);
		}
	}
}

/* A vCPU that is stopped while it sleeps, runs or is woken goes on afterwards. */
static void test_kicks(uint32_t vcpus)
{
	struct vmm_desc d = dirty_vm(vcpus);
	struct vmm_vm *vm = NULL;
	unsigned stops = 0;
	struct tm_prng rng;
	bool good = true;

	tap_eq((uint64_t)vmm_create(&d, &vm), 0, "create the dirty guest");
	ctl = vmm_window_map(vm, CONTROL_GPA, PAGE, TM_PROT_READ | TM_PROT_WRITE);
	fill_control();
	tm_prng_seed(&rng, 9);
	tap_eq((uint64_t)vmm_run(vm), 0, "run");
	for (uint32_t round = 1; round <= 100 && good; round++) {
		uint32_t id = (uint32_t)tm_prng_below(&rng, vcpus);

		__atomic_store_n(&ctl->go_round, round, __ATOMIC_RELEASE);
		(void)vmm_wait(tm_prng_below(&rng, 500), on_event, NULL);
		good = tm_vcpu_kick(vm->handle, id, TM_KICK_STOP) == 0 && wait_stopped(vm, id);
		(void)vmm_wait(tm_prng_below(&rng, 500), on_event, NULL);
		good = good && vmm_resume(vm, id) == 0 && wait_round(vcpus, round);
		stops += good;
	}
	tap_eq(stops, 100, "a vCPU was stopped and went on, times");
	if (!good) {
		tell(vm, vcpus);
	}
	__atomic_store_n(&ctl->quit, 1, __ATOMIC_RELEASE);
	tap_ok(wait_shutdown(vm), "the guest ends");
	tap_eq((uint64_t)vmm_window_unmap(ctl, PAGE), 0, "unmap");
	tap_eq((uint64_t)vmm_destroy(vm), 0, "destroy");
	all_back("kicks");
}

int main(void)
{
	int status = vmm_init();
	int code;

	tap_eq((uint64_t)status, 0, "vmm_init");
	if (status != 0) {
		tap_bail(vmm_last_error());
		return 1;
	}
	ram_free = vmm.ram.free_bytes;
	window_free = vmm.window.free_bytes;
	test_life();
	test_errors();
	test_windows();
	test_rings(1);
	test_rings(3);
	test_kicks(1);
	test_kicks(3);
	code = tap_done();
	(void)tm_machine(TM_MACHINE_OFF);
	return code;
}
