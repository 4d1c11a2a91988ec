// SPDX-License-Identifier: Apache-2.0
// LINK: tests/host/model_vm.c guests/manager/snap_take.c guests/manager/snap_mem.c
// LINK: guests/manager/snap_state.c guests/manager/snap_view.c guests/manager/snap_restore.c
// LINK: guests/manager/track.c guests/manager/snapfmt.c guests/manager/snapwrite.c
// LINK: guests/manager/store.c guests/manager/crc32c.c guests/manager/hash.c guests/manager/fail.c
//
// The snapshot engine on model VMs that write all the time. Memory content decides: what is
// restored must be, byte for byte, what the VM had when it was resumed.

#include <abi/errno.h>

#include "check.h"
#include "guests/manager/snap.h"
#include "tests/host/model_vm.h"

#define STORE_SIZE (24u << 20)
#define PAGES 600u

static uint64_t store_memory[STORE_SIZE / 8];
static struct store store;
static struct fail why;

static const struct mode {
	const char *name;
	uint32_t flags;
	uint32_t ring;
} modes[] = {
	{"bitmap manual", TM_DIRTY_BITMAP | TM_DIRTY_MANUAL, 0},
	{"bitmap auto", TM_DIRTY_BITMAP, 0},
	{"by default", 0, 0},
	{"initially set", TM_DIRTY_BITMAP | TM_DIRTY_MANUAL | TM_DIRTY_INITIALLY_SET, 0},
	{"ring spill", TM_DIRTY_RING | TM_DIRTY_BITMAP | TM_DIRTY_SPILL, 128},
	{"ring spill manual", TM_DIRTY_RING | TM_DIRTY_BITMAP | TM_DIRTY_SPILL | TM_DIRTY_MANUAL, 64},
	{"ring only", TM_DIRTY_RING, 256},
};
#define MODES (sizeof(modes) / sizeof(modes[0]))

static void progress(void *ctx, const struct snap_stats *s)
{
	(void)ctx;
	(void)s;
	model_step();
}

static void start(uint64_t seed)
{
	for (uint32_t vm = 0; vm < MODEL_VMS; vm++) {
		track_drop(vm);
	}
	model_reset(check_seed() * 1000 + seed);
	store_init(&store, store_memory, sizeof(store_memory));
}

static int take(uint32_t vm, const char *name, const char *parent, struct snap_stats *s)
{
	struct snap_take_opts o;
	struct snap_uuid uuid;
	int err;

	snap_take_defaults(&o);
	o.vm = vm;
	o.name = name;
	o.limit = 20;
	o.min_rounds = model_rate != 0 ? 2 : 0;
	o.progress = progress;
	if (parent != NULL) {
		uuid = store_header(&store, (uint32_t)store_find(&store, parent))->uuid;
		o.parent = &uuid;
	}
	err = snap_take(&store, &o, s, &why);
	if (err != 0 && getenv("TM_VERBOSE") != NULL) {
		fprintf(stderr, "%s: %s (%d)\n", why.what, why.why, err);
	}
	return err;
}

static int restore(const char *snap, const char *as, bool clone, bool run,
		   struct snap_restore_result *r)
{
	struct snap_restore_opts o = {.name = as, .clone = clone, .run = run};
	int err = snap_restore(&store, (uint32_t)store_find(&store, snap), &o, r, &why);

	if (err != 0 && getenv("TM_VERBOSE") != NULL) {
		fprintf(stderr, "%s: %s (%d)\n", why.what, why.why, err);
	}
	return err;
}

static void destroy(uint32_t vm)
{
	track_drop(vm);
	CHECK_EQ(hv_vm_destroy(vm), 0);
}

TEST(live_take_destroy_restore)
{
	for (unsigned m = 0; m < MODES; m++) {
		for (uint64_t seed = 0; seed < 6; seed++) {
			uint8_t *truth[MODEL_SLOTS] = {NULL};
			struct snap_restore_result r;
			struct snap_stats s;
			uint32_t vm;

			start(m * 100 + seed);
			vm = model_add("linux", modes[m].flags, modes[m].ring, PAGES + seed);
			model_rate = seed == 0 ? 0 : 12;
			CHECK_EQ(take(vm, "one", NULL, &s), 0);
			CHECK_EQ(model_vms[vm].resumes, 1);
			CHECK(model_rate == 0 || s.rounds >= 2);
			memcpy(truth, model_vms[vm].at_resume, sizeof(truth));
			memset(model_vms[vm].at_resume, 0, sizeof(truth));
			model_guest_writes(&model_vms[vm], 500);
			destroy(vm);
			model_rate = 0;
			CHECK_EQ(restore("one", NULL, false, false, &r), 0);
			CHECK(r.created);
			CHECK(!model_vms[r.vm].running);
			CHECK(model_same_memory(&model_vms[r.vm], truth));
			CHECK(r.mem_hash.low == s.mem_hash.low && r.mem_hash.high == s.mem_hash.high);
			for (unsigned i = 0; i < MODEL_SLOTS; i++) {
				free(truth[i]);
			}
		}
	}
}

TEST(zero_pages_are_elided)
{
	struct snap_stats s;
	uint32_t vm;

	start(1);
	vm = model_add("linux", 6, 0, 600);
	CHECK_EQ(take(vm, "one", NULL, &s), 0);
	CHECK_EQ(s.pages, 607);
	// 200 + 2 + 1 of them are zero.
	CHECK(s.image_bytes > 404 * 4096u && s.image_bytes < 420 * 4096u);
}

TEST(chain_of_three_incrementals)
{
	static const char *const names[] = {"zero", "one", "two", "three"};

	for (unsigned m = 0; m < MODES; m++) {
		uint8_t *truth[4][MODEL_SLOTS] = {{NULL}};
		struct snap_restore_result r;
		struct snap_stats s;
		uint32_t vm;

		start(m + 50);
		vm = model_add("linux", modes[m].flags, modes[m].ring, PAGES);
		model_rate = 6;
		for (unsigned i = 0; i < 4; i++) {
			CHECK_EQ(take(vm, names[i], i == 0 ? NULL : names[i - 1], &s), 0);
			CHECK(i == 0 || s.copied < PAGES / 2);
			memcpy(truth[i], model_vms[vm].at_resume, sizeof(truth[i]));
			memset(model_vms[vm].at_resume, 0, sizeof(truth[i]));
			// Something becomes zero again.
			memset(model_vms[vm].slot[0].memory, 0, TM_PAGE_SIZE);
			model_guest_store(&model_vms[vm], 0, 0, 0);
		}
		CHECK_EQ(store_delete(&store, 1, &why), -TM_EBUSY);
		model_rate = 0;
		// Into the VM that exists, in both directions.
		for (unsigned k = 0; k < 8; k++) {
			unsigned i = k < 4 ? k : 7 - k;

			CHECK_EQ(restore(names[i], NULL, false, true, &r), 0);
			CHECK(!r.created && r.vm == vm);
			CHECK(model_same_memory(&model_vms[vm], truth[i]));
			CHECK_EQ(model_vms[vm].paused, 0);
		}
		// Anew.
		destroy(vm);
		for (unsigned i = 0; i < 4; i++) {
			CHECK_EQ(restore(names[i], NULL, false, false, &r), 0);
			CHECK(model_same_memory(&model_vms[r.vm], truth[i]));
			destroy(r.vm);
			for (unsigned k = 0; k < MODEL_SLOTS; k++) {
				free(truth[i][k]);
			}
		}
	}
}

TEST(rewind_copies_what_was_dirtied)
{
	for (unsigned m = 0; m < MODES; m++) {
		uint8_t *truth[MODEL_SLOTS] = {NULL};
		struct snap_stats s;
		struct snap_rewind_result r;
		uint64_t written;
		uint32_t vm;

		start(m + 80);
		vm = model_add("linux", modes[m].flags, modes[m].ring, PAGES);
		model_rate = 8;
		CHECK_EQ(take(vm, "one", NULL, &s), 0);
		memcpy(truth, model_vms[vm].at_resume, sizeof(truth));
		memset(model_vms[vm].at_resume, 0, sizeof(truth));
		for (int round = 0; round < 4; round++) {
			model_rate = 0;
			model_guest_writes(&model_vms[vm], round == 2 ? 0 : 60);
			written = model_written(&model_vms[vm]);
			CHECK_EQ(snap_rewind(&store, 0, vm, true, &r, &why), 0);
			CHECK_EQ(r.pages, written);
			CHECK_EQ(r.differed, written);
			CHECK(model_same_memory(&model_vms[vm], truth));
			CHECK_EQ(model_vms[vm].paused, 0);
		}
		// The base still holds: an incremental after a rewind is complete.
		model_rate = 8;
		CHECK_EQ(take(vm, "two", "one", &s), 0);
		CHECK_EQ(snap_rewind(&store, 0, vm, true, &r, &why), -TM_EINVAL);
		for (unsigned k = 0; k < MODEL_SLOTS; k++) {
			free(truth[k]);
		}
	}
}

TEST(clone_diverges)
{
	struct snap_restore_result r;
	struct snap_stats s;
	uint8_t *truth[MODEL_SLOTS] = {NULL};
	uint32_t vm;

	start(7);
	vm = model_add("linux", 6, 0, PAGES);
	CHECK_EQ(take(vm, "one", NULL, &s), 0);
	model_copy_memory(&model_vms[vm], truth);
	CHECK_EQ(restore("one", "linux", true, true, &r), -TM_EEXIST);
	CHECK_EQ(restore("one", "twin", true, true, &r), 0);
	CHECK(r.vm != vm && model_vms[r.vm].running);
	CHECK(memcmp(model_vms[r.vm].info.uuid, model_vms[vm].info.uuid, 16) != 0);
	CHECK(model_same_memory(&model_vms[r.vm], truth));
	model_guest_writes(&model_vms[r.vm], 300);
	CHECK(!model_same_memory(&model_vms[r.vm], truth));
	CHECK(model_same_memory(&model_vms[vm], truth));
	// The clone can be snapshotted in its turn; its name may not be used for the first VM's.
	CHECK_EQ(take(r.vm, "clone1", NULL, &s), 0);
	CHECK_EQ(restore("one", "twin", false, true, &r), -TM_EEXIST);
	for (unsigned k = 0; k < MODEL_SLOTS; k++) {
		free(truth[k]);
	}
}

TEST(lost_page_is_found)
{
	for (uint64_t seed = 0; seed < 20; seed++) {
		struct snap_restore_result r;
		struct snap_take_opts o;
		struct snap_stats s;
		uint32_t vm;

		start(200 + seed);
		vm = model_add("linux", modes[seed % MODES].flags, modes[seed % MODES].ring, PAGES);
		model_rate = 12;
		snap_take_defaults(&o);
		o.vm = vm;
		o.name = "lossy";
		o.min_rounds = 2;
		o.lose = true;
		o.progress = progress;
		CHECK_EQ(snap_take(&store, &o, &s, &why), 0);
		CHECK(s.lost);
		destroy(vm);
		model_rate = 0;
		CHECK_EQ(restore("lossy", NULL, false, true, &r), -TM_EIO);
		CHECK(strstr(why.why, "differs from hash A") != NULL);
		// Nothing half made is left.
		CHECK_EQ(hv_vm_find("linux", &vm), -TM_ENOENT);
	}
}

// A hypervisor that forgets to arm: the hash must tell.
TEST(unarmed_page_is_found)
{
	unsigned caught = 0;

	for (uint64_t seed = 0; seed < 20; seed++) {
		struct snap_restore_result r;
		struct snap_stats s;
		uint32_t vm;

		start(300 + seed);
		vm = model_add("linux", modes[seed % 3].flags, 0, PAGES);
		model_rate = 12;
		model_no_arm = true;
		CHECK_EQ(take(vm, "one", NULL, &s), 0);
		destroy(vm);
		model_rate = 0;
		caught += restore("one", NULL, false, true, &r) == -TM_EIO ? 1 : 0;
	}
	CHECK_EQ(caught, 20);
}

TEST(store_full)
{
	struct snap_restore_result r;
	uint8_t *truth[MODEL_SLOTS] = {NULL};
	struct snap_stats s;
	uint32_t vm;
	unsigned full = 0;

	start(8);
	vm = model_add("linux", 6, 0, PAGES);
	model_rate = 8;
	CHECK_EQ(take(vm, "one", NULL, &s), 0);
	for (size_t room = 0; room < (1u << 19); room += 1 << 14) {
		size_t used = store.used;
		uint64_t writes = model_vms[vm].writes;
		int err;

		store.size = store.used + room;
		model_guest_writes(&model_vms[vm], 100);
		err = take(vm, "two", "one", &s);
		if (err == 0) {
			break;
		}
		CHECK_EQ(err, -TM_ENOSPC);
		CHECK(strstr(why.why, "full") != NULL);
		full++;
		CHECK_EQ(store.used, used);
		CHECK_EQ(store.count, 1);
		CHECK_EQ(model_vms[vm].paused, 0);
		model_step();
		CHECK(model_vms[vm].writes > writes);
	}
	CHECK(full > 3);
	store.size = STORE_SIZE;
	// What was dirtied since the parent is still known.
	if (store.count == 1) {
		CHECK_EQ(take(vm, "two", "one", &s), 0);
	}
	memcpy(truth, model_vms[vm].at_resume, sizeof(truth));
	memset(model_vms[vm].at_resume, 0, sizeof(truth));
	destroy(vm);
	model_rate = 0;
	CHECK_EQ(restore("two", NULL, false, false, &r), 0);
	CHECK(model_same_memory(&model_vms[r.vm], truth));
	for (unsigned k = 0; k < MODEL_SLOTS; k++) {
		free(truth[k]);
	}
}

// Each call of the engine fails once: no VM stays paused, no image stays open, no mapping leaks,
// and the next snapshot is right.
TEST(every_call_may_fail)
{
	for (unsigned m = 0; m < MODES; m++) {
		unsigned nth = 1;
		int err;

		do {
			struct snap_restore_result r;
			struct snap_stats s;
			uint32_t vm;

			start(m);
			vm = model_add("linux", modes[m].flags, modes[m].ring, 40);
			model_rate = 4;
			model_fail_status = -TM_ENOMEM;
			model_fail_after = nth;
			err = take(vm, "one", NULL, &s);
			CHECK(err == 0 || err == -TM_ENOMEM);
			model_fail_after = 0;
			CHECK_EQ(model_vms[vm].paused, 0);
			CHECK_EQ(store.count, err == 0 ? 1 : 0);
			CHECK(!store.writing);
			CHECK_EQ(take(vm, "two", NULL, &s), 0);
			model_rate = 0;
			CHECK_EQ(restore("two", "linux", false, true, &r), 0);
			nth++;
		} while (err != 0);
		CHECK(nth > 15);
	}
}

// A restore that fails leaves a VM that runs as it ran, or says that it is half written.
TEST(restore_may_fail)
{
	for (unsigned m = 0; m < MODES; m++) {
		unsigned nth = 1;
		unsigned half = 0;
		unsigned before = 0;
		int err;

		do {
			uint8_t *truth[MODEL_SLOTS] = {NULL};
			struct snap_restore_result r;
			struct snap_stats s;
			uint32_t vm;

			start(m);
			vm = model_add("linux", modes[m].flags, modes[m].ring, 40);
			CHECK_EQ(take(vm, "one", NULL, &s), 0);
			model_guest_writes(&model_vms[vm], 50);
			model_copy_memory(&model_vms[vm], truth);
			model_fail_status = -TM_ENOMEM;
			model_fail_after = nth++;
			err = restore("one", "linux", false, true, &r);
			CHECK(err == 0 || err == -TM_ENOMEM);
			model_fail_after = 0;
			if (err != 0 && model_vms[vm].paused == 0) {
				before++;
				CHECK(model_same_memory(&model_vms[vm], truth));
			} else if (err != 0) {
				half++;
				CHECK(strstr(why.todo, "half written") != NULL);
			}
			for (unsigned k = 0; k < MODEL_SLOTS; k++) {
				free(truth[k]);
			}
		} while (err != 0);
		CHECK(before >= 3 && half >= 3);
	}
}

TEST(damaged_image_leaves_the_vm)
{
	struct check_rng rng = check_rng_make(9);
	uint8_t *truth[MODEL_SLOTS] = {NULL};
	struct snap_restore_result r;
	struct snap_rewind_result rewound;
	struct snap_stats s;
	uint32_t vm;

	start(9);
	vm = model_add("linux", 6, 0, 60);
	CHECK_EQ(take(vm, "one", NULL, &s), 0);
	model_guest_writes(&model_vms[vm], 100);
	CHECK_EQ(take(vm, "two", "one", &s), 0);
	model_copy_memory(&model_vms[vm], truth);
	for (int i = 0; i < 200; i++) {
		size_t at = check_below(&rng, store.used);
		uint8_t flip = (uint8_t)(1 + check_below(&rng, 255));
		// A parent's uuid in a header may be the damage; then the name is asked by index.
		struct snap_restore_opts o = {.run = true};

		store.base[at] ^= flip;
		CHECK(snap_restore(&store, 1, &o, &r, &why) != 0);
		CHECK(strstr(why.why, "record ") != NULL || strstr(why.why, "header: ") != NULL);
		CHECK(snap_rewind(&store, 1, vm, false, &rewound, &why) != 0);
		store.base[at] ^= flip;
		CHECK(model_same_memory(&model_vms[vm], truth));
		CHECK_EQ(model_vms[vm].paused, 0);
	}
	for (unsigned k = 0; k < MODEL_SLOTS; k++) {
		free(truth[k]);
	}
}

TEST(refusals)
{
	struct snap_restore_result r;
	struct snap_stats s;
	uint32_t vm;
	uint32_t other;

	start(10);
	vm = model_add("linux", 6, 0, 60);
	other = model_add("other", 6, 0, 60);
	CHECK_EQ(take(vm, "one", NULL, &s), 0);
	// A parent of another VM.
	CHECK_EQ(take(other, "two", "one", &s), -TM_EINVAL);
	model_arch = SNAP_ARCH_X86;
	CHECK_EQ(restore("one", NULL, false, true, &r), -TM_EOPNOTSUPP);
	model_arch = SNAP_ARCH_ARM64;
	CHECK_EQ(restore("one", "other", false, true, &r), -TM_EEXIST);
	model_vms[vm].slot[1].desc.gpa += 0x1000;
	CHECK_EQ(restore("one", NULL, false, true, &r), -TM_EINVAL);
	model_vms[vm].slot[1].desc.gpa -= 0x1000;
	CHECK_EQ(restore("one", NULL, false, true, &r), 0);
	model_bad_readback = true;
	CHECK_EQ(restore("one", NULL, false, true, &r), -TM_EIO);
	CHECK(strstr(why.why, "IRQCHIP 0 reads back changed") != NULL);
	CHECK_EQ(model_vms[vm].paused, 1);
	model_bad_readback = false;
	CHECK_EQ(take(99, "none", NULL, &s), -TM_ENOENT);
}

CHECK_MAIN()
