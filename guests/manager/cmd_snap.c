// SPDX-License-Identifier: Apache-2.0
//
// Commands on snapshots, and the progress bar. Owns nothing but the bar's last state.

#include <stdio.h>
#include <string.h>

#include <tidemark/irq.h>
#include <tidemark/prng.h>

#include "hv_arch.h"
#include "manager.h"
#include "track.h"

void snap_bar(void *ctx, const struct snap_stats *s)
{
	static const char *const names[] = {
		[SNAP_PHASE_FULL] = "full pass", [SNAP_PHASE_ROUND] = "round",
		[SNAP_PHASE_WAIT] = "waiting",	 [SNAP_PHASE_PAUSED] = "paused",
		[SNAP_PHASE_LAST] = "last sync", [SNAP_PHASE_SEAL] = "checksums",
		[SNAP_PHASE_DONE] = "done",
	};
	static uint64_t shown;
	uint64_t tenth = s->total != 0 ? s->done * 10 / s->total : 10;
	uint64_t us = tm_ticks_to_us(tm_timer_now() - s->start);
	char bar[11];

	(void)ctx;
	kill_point(s);
	// A line for each tenth of the full pass, and for each round; lines survive a console log.
	if (s->phase == SNAP_PHASE_FULL && tenth == shown) {
		return;
	}
	// Nothing in the pause: printing would be downtime.
	if (s->phase == SNAP_PHASE_WAIT || s->phase == SNAP_PHASE_PAUSED ||
	    s->phase == SNAP_PHASE_LAST || (s->phase == SNAP_PHASE_ROUND && s->done != s->total)) {
		return;
	}
	shown = tenth;
	memset(bar, '.', 10);
	memset(bar, '#', tenth);
	bar[10] = '\0';
	printf("  [%s] %-9s %5lu/%lu pages  round %u  dirtied %lu  %lu pages/s\n", bar,
	       names[s->phase], (unsigned long)s->done, (unsigned long)s->total,
	       (unsigned)s->rounds, (unsigned long)s->dirtied,
	       (unsigned long)(us == 0 ? 0 : s->copied * 1000000 / us));
}

void snap_summary(const struct snap_stats *s)
{
	char hash[33];

	snap_hash_text(s->mem_hash, hash);
	printf("  %lu of %lu pages copied in the full pass and %u rounds; %lu dirtied meanwhile, %lu "
	       "in the pause\n",
	       (unsigned long)s->copied, (unsigned long)s->pages, (unsigned)s->rounds,
	       (unsigned long)s->dirtied, (unsigned long)s->last_pages);
	printf("  downtime %lu insns (%lu ticks), of them %lu for hash A; image %lu KiB; hash %s\n",
	       (unsigned long)hv_arch_insns(s->downtime), (unsigned long)s->downtime,
	       (unsigned long)hv_arch_insns(s->hash_ticks),
	       (unsigned long)(s->image_bytes >> 10), hash);
}

static int need_snap(const char *name, struct fail *f)
{
	int index = store_find(&store, name);

	if (index < 0) {
		fail_set(f, -TM_ENOENT, "snapshot", "see `snap list`", "there is none called %.32s",
			 name);
	}
	return index;
}

static int check_name(const char *name, struct fail *f)
{
	size_t n = strlen(name);

	if (n == 0 || n >= SNAP_NAME_LEN || strchr(name, '=') != NULL) {
		return fail_set(f, -TM_EINVAL, "name", "choose 1 to 31 characters without =",
				"\"%.40s\" will not do", name);
	}
	if (store_find(&store, name) >= 0) {
		return fail_set(f, -TM_EEXIST, "name", NULL, "there is a snapshot %s", name);
	}
	return 0;
}

static int take_options(int argc, char **argv, struct snap_take_opts *o,
			struct snap_uuid *parent_uuid, struct fail *f)
{
	const char *parent = shell_option(argc, argv, "parent");
	uint64_t rounds = o->min_rounds;
	uint64_t max = o->max_rounds;
	uint64_t lose = 0;
	int err = shell_check_options(argc, argv, "parent limit rounds max lose", f);

	err = err != 0 ? err : shell_option_u64(argc, argv, "limit", &o->limit, f);
	err = err != 0 ? err : shell_option_u64(argc, argv, "rounds", &rounds, f);
	err = err != 0 ? err : shell_option_u64(argc, argv, "max", &max, f);
	err = err != 0 ? err : shell_option_u64(argc, argv, "lose", &lose, f);
	if (err == 0 && (rounds > 1000000 || max > 1000000)) {
		err = fail_set(f, -TM_EINVAL, "rounds", NULL, "more than 1000000");
	}
	if (err != 0) {
		return err;
	}
	o->min_rounds = (uint32_t)rounds;
	o->max_rounds = (uint32_t)(max > rounds ? max : rounds);
	o->lose = lose != 0;
	if (parent != NULL) {
		int index = need_snap(parent, f);

		if (index < 0) {
			return index;
		}
		*parent_uuid = store_header(&store, (uint32_t)index)->uuid;
		o->parent = parent_uuid;
	}
	return 0;
}

static int snap_cmd_take(int argc, char **argv, struct fail *f)
{
	struct vmm_vm *vm = need_vm(argv[0], f);
	struct snap_take_opts o;
	struct snap_uuid parent;
	struct snap_stats s;
	int err;

	if (vm == NULL) {
		return -TM_ENOENT;
	}
	snap_take_defaults(&o);
	o.vm = vm->handle;
	o.name = argv[1];
	o.progress = snap_bar;
	err = check_name(argv[1], f);
	if (err == 0) {
		err = take_options(argc - 2, argv + 2, &o, &parent, f);
	}
	if (err == 0) {
		err = snap_take(&store, &o, &s, f);
	}
	if (err == 0) {
		snap_summary(&s);
	}
	return err;
}

static int put_back(const char *snap, const char *name, bool clone, struct fail *f)
{
	struct snap_restore_opts o = {.name = name, .clone = clone, .run = true};
	struct snap_restore_result r;
	int index = need_snap(snap, f);
	char hash[33];
	int err;

	if (index < 0) {
		return index;
	}
	err = snap_restore(&store, (uint32_t)index, &o, &r, f);
	if (err != 0) {
		return err;
	}
	snap_hash_text(r.mem_hash, hash);
	printf("  vm %u %s: %lu pages, memory and device state verified, hash %s, %lu us\n",
	       (unsigned)r.vm, r.created ? "made" : "put back", (unsigned long)r.pages, hash,
	       (unsigned long)tm_ticks_to_us(r.ticks));
	return 0;
}

static int snap_cmd_restore(int argc, char **argv, struct fail *f)
{
	return put_back(argv[0], argc > 1 ? argv[1] : NULL, false, f);
}

static int snap_cmd_clone(int argc, char **argv, struct fail *f)
{
	(void)argc;
	if (strlen(argv[1]) >= VMM_NAME) {
		return fail_set(f, -TM_EINVAL, "name", NULL, "longer than %u characters",
				VMM_NAME - 1);
	}
	return put_back(argv[0], argv[1], true, f);
}

static int snap_cmd_rewind(int argc, char **argv, struct fail *f)
{
	struct vmm_vm *vm = need_vm(argv[0], f);
	uint64_t from = tm_timer_now();
	struct snap_rewind_result r;
	bool check = argc > 2 && strcmp(argv[2], "check") == 0;
	int index;
	int err;

	if (vm == NULL) {
		return -TM_ENOENT;
	}
	if (argc > 2 && !check) {
		return fail_set(f, -TM_EINVAL, "argument", "leave it out, or say check",
				"%.32s is not known", argv[2]);
	}
	index = need_snap(argv[1], f);
	if (index < 0) {
		return index;
	}
	err = snap_rewind(&store, (uint32_t)index, vm->handle, check, &r, f);
	if (err == 0) {
		printf("  %lu pages copied back, %lu of them differed%s, %lu us\n",
		       (unsigned long)r.pages, (unsigned long)r.differed,
		       check ? ", no other page did" : "",
		       (unsigned long)tm_ticks_to_us(tm_timer_now() - from));
	}
	return err;
}

static int snap_cmd_list(int argc, char **argv, struct fail *f)
{
	(void)argc, (void)argv, (void)f;
	printf("  name             vm               parent               KiB  uuid\n");
	for (uint32_t i = 0; i < store.count; i++) {
		const struct snap_header *h = store_header(&store, i);
		const struct snap_shape *shape =
			(const struct snap_shape *)((const uint8_t *)(h + 1) +
						    sizeof(struct snap_record));
		int parent = store_find_uuid(&store, &h->parent);
		size_t length;

		(void)store_data(&store, i, &length);
		printf("  %-16.31s %-16.31s %-16.31s %8lu  ", h->name, shape->name,
		       snap_uuid_is_zero(&h->parent) ? "-" :
		       parent >= 0 ? store_header(&store, (uint32_t)parent)->name : "(missing)",
		       (unsigned long)(length >> 10));
		for (int b = 0; b < 16; b++) {
			printf("%02x", h->uuid.b[b]);
		}
		printf("\n");
	}
	printf("  %lu of %lu KiB used\n", (unsigned long)(store.used >> 10),
	       (unsigned long)(store.size >> 10));
	return 0;
}

static int snap_cmd_verify(int argc, char **argv, struct fail *f)
{
	static struct snap_view view;
	char hash[33];
	int index = need_snap(argv[0], f);
	int err;

	(void)argc;
	if (index < 0) {
		return index;
	}
	err = snap_view_open(&view, &store, (uint32_t)index, f);
	if (err != 0) {
		return err;
	}
	snap_hash_text(view.img[0].end->end_hash, hash);
	printf("  sound: %u images, %u records in this one, %lu pages stored, end hash %s\n",
	       (unsigned)view.count, (unsigned)view.img[0].end->records,
	       (unsigned long)view.img[0].end->pages_stored, hash);
	snap_view_close(&view);
	return 0;
}

// Test aid: flips one bit at a time, anywhere in the image, and expects a refusal each time.
static int snap_cmd_damage(int argc, char **argv, struct fail *f)
{
	static struct snap_view view;
	struct tm_prng rng;
	uint64_t flips = 0;
	uint64_t refused = 0;
	int index = need_snap(argv[0], f);
	uint8_t *data;
	size_t length;

	(void)argc;
	if (index < 0) {
		return index;
	}
	if (!shell_number(argv[1], &flips)) {
		return fail_set(f, -TM_EINVAL, "flips", "give a number", "\"%.20s\" is none", argv[1]);
	}
	data = store.base + store.entry[index].at;
	length = store.entry[index].length;
	tm_prng_seed(&rng, flips);
	for (uint64_t n = 0; n < flips; n++) {
		uint64_t at = tm_prng_below(&rng, length);
		uint8_t bit = (uint8_t)(1u << tm_prng_below(&rng, 8));
		struct fail why = {0};

		data[at] ^= bit;
		if (snap_view_open(&view, &store, (uint32_t)index, &why) == 0) {
			printf("  byte %lu changed and not noticed\n", (unsigned long)at);
			snap_view_close(&view);
		} else if (strstr(why.why, "record ") != NULL || strstr(why.why, "header: ") != NULL) {
			refused++;
		}
		data[at] ^= bit;
	}
	printf("  %lu of %lu changes refused with the record named\n", (unsigned long)refused,
	       (unsigned long)flips);
	return 0;
}

static int snap_cmd_delete(int argc, char **argv, struct fail *f)
{
	int index = need_snap(argv[0], f);

	(void)argc;
	return index < 0 ? index : store_delete(&store, (uint32_t)index, f);
}

const struct command snap_commands[] = {
	{"snap take", "<vm> <name> [parent=<snap>] [limit=<pages>] [rounds=<n>] [max=<n>]",
	 "while it runs; with parent= only what changed", 2, 7, snap_cmd_take},
	{"snap restore", "<snap> [vm]", "put it back into its VM, or make the VM anew", 1, 2,
	 snap_cmd_restore},
	{"snap rewind", "<vm> <snap> [check]", "copy back only what was dirtied since", 2, 3,
	 snap_cmd_rewind},
	{"snap clone", "<snap> <new vm>", "a second VM from it", 2, 2, snap_cmd_clone},
	{"snap list", "", "what is in the store", 0, 0, snap_cmd_list},
	{"snap verify", "<snap>", "check every byte of it and its parents", 1, 1, snap_cmd_verify},
	{"snap delete", "<snap>", "remove it", 1, 1, snap_cmd_delete},
	{"snap damage", "<snap> <n>", "test aid: n single bits changed, all must be refused", 2, 2,
	 snap_cmd_damage},
};
const size_t snap_command_count = sizeof(snap_commands) / sizeof(snap_commands[0]);
