// SPDX-License-Identifier: Apache-2.0
//
// Putting a snapshot back: into a new VM, into the VM it came from, as a clone, or only the pages
// that changed since (rewind). The whole chain is verified before a VM is touched. Owns one static
// view; one operation at a time, no lock.

#include <stdio.h>
#include <string.h>

#include <abi/errno.h>

#include "snap.h"

#define TOUCHED "it is left paused and half written: restore another snapshot, or destroy it"

static struct snap_view view;

struct snap_uuid snap_uuid_make(void)
{
	static uint64_t number;
	uint64_t words[2] = {hv_ticks(), ++number};
	struct snap_uuid uuid;
	struct hash_value v;
	struct hash h;

	hash_start(&h, (uintptr_t)&number);
	hash_add(&h, words, sizeof(words));
	v = hash_end(&h);
	memcpy(uuid.b, &v, sizeof(uuid.b));
	// RFC 9562: version 8 (ours to define), variant 10.
	uuid.b[6] = (uint8_t)((uuid.b[6] & 0x0f) | 0x80);
	uuid.b[8] = (uint8_t)((uuid.b[8] & 0x3f) | 0x80);
	return uuid;
}

static bool same_shape(const struct track *t, const struct snap_image *img)
{
	if (t->slot_count != img->slot_count || t->info.vcpus_max < img->shape->vcpus) {
		return false;
	}
	for (uint32_t i = 0; i < t->slot_count; i++) {
		const struct tm_slot_desc *d = &t->slot[i].desc;
		const struct snap_slot *s = &img->slots[i];

		if (d->slot != s->slot || d->gpa != s->gpa || d->size != s->size ||
		    (d->flags & ~(uint32_t)TM_SLOT_LOG_DIRTY) != s->flags) {
			return false;
		}
	}
	return true;
}

static void put_page(uint8_t *to, const uint8_t *content)
{
	if (content != NULL) {
		memcpy(to, content, TM_PAGE_SIZE);
	} else {
		memset(to, 0, TM_PAGE_SIZE);
	}
}

static uint64_t fill_all(const struct snap_mem *m)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < m->track->slot_count; i++) {
		uint64_t pages = m->at[i] != NULL ? m->track->slot[i].pages : 0;

		for (uint64_t p = 0; p < pages; p++) {
			put_page(m->at[i] + p * TM_PAGE_SIZE, snap_view_page(&view, i, p));
		}
		if (pages != 0) {
			hv_sync_code(m->at[i], pages * TM_PAGE_SIZE);
		}
		n += pages;
	}
	return n;
}

static int check_hash(const struct snap_mem *m, struct hash_value *b, struct fail *f)
{
	const struct hash_value *a = &view.img[0].end->mem_hash;
	char text_a[33];
	char text_b[33];

	*b = snap_mem_hash(m);
	if (a->low == b->low && a->high == b->high) {
		return 0;
	}
	snap_hash_text(*a, text_a);
	snap_hash_text(*b, text_b);
	return fail_set(f, -TM_EIO, "memory", "the snapshot is not what the VM had: take it again",
			"hash B %s differs from hash A %s", text_b, text_a);
}

// Memory, state and both checks, on a VM that does not run and is not logged.
static int fill_vm(struct track *t, struct snap_restore_result *r, struct fail *f)
{
	struct snap_mem m;
	int err = snap_mem_map(&m, t, TM_PROT_READ | TM_PROT_WRITE, f);

	if (err != 0) {
		return err;
	}
	r->pages = fill_all(&m);
	err = check_hash(&m, &r->mem_hash, f);
	snap_mem_unmap(&m);
	return err == 0 ? snap_state_load(&view.img[0], t->vm, f) : err;
}

// After the VM equals the image: every later write is logged, so rewind and incrementals work.
static int log_from_here(struct track *t, struct fail *f)
{
	int err = track_log(t, true, f);

	if (err == 0) {
		// Ring entries from before the log was off say nothing about what is there now.
		err = track_collect(t, true, NULL, f);
	}
	if (err == 0) {
		track_todo_none(t);
		track_set_base(t, &view.img[0].header->uuid);
	}
	return err;
}

// A paused VM that could not be filled: it goes on only if nothing of it was changed.
static int give_up(struct track *t, bool touched, bool logging, int err, struct fail *f)
{
	if (!touched) {
		(void)track_log(t, logging, NULL);
		(void)hv_resume(t->vm);
		return err;
	}
	track_forget_base(t);
	if (f != NULL) {
		snprintf(f->todo, sizeof(f->todo), "%s", TOUCHED);
	}
	return err;
}

static int restore_existing(uint32_t vm, const struct snap_restore_opts *o,
			    struct snap_restore_result *r, struct fail *f)
{
	struct track *t = track_get(vm, f);
	bool logging;
	int err;

	if (t == NULL) {
		return f != NULL ? f->err : -TM_ENOENT;
	}
	logging = t->logging;
	if (!same_shape(t, &view.img[0])) {
		return fail_set(f, -TM_EINVAL, "VM", "destroy it, then restore creates it anew",
				"its slots or vCPUs are not those of the image");
	}
	err = hv_pause(vm);
	if (err != 0) {
		return fail_call(f, err, "VM_PAUSE");
	}
	err = track_log(t, false, f);
	if (err == 0) {
		err = fill_vm(t, r, f);
	}
	if (err == 0) {
		err = log_from_here(t, f);
	}
	if (err != 0) {
		return give_up(t, r->pages != 0, logging, err, f);
	}
	if (o->ready != NULL) {
		o->ready(o->ctx, vm);
	}
	err = hv_resume(vm);
	if (err == 0 && o->run) {
		err = hv_vm_run(vm);
	}
	return err == 0 ? 0 : fail_call(f, err, "VM_RESUME");
}

static int restore_new(const struct snap_restore_opts *o, struct snap_restore_result *r,
		       struct fail *f)
{
	const struct snap_image *img = &view.img[0];
	struct snap_uuid uuid = o->clone ? snap_uuid_make() : img->header->vm;
	struct hv_vm_spec spec = {
		.shape = img->shape,
		.slots = img->slots,
		.slot_count = img->slot_count,
		.name = o->name != NULL ? o->name : img->shape->name,
		.uuid = uuid.b,
	};
	struct track *t;
	int err = hv_vm_create(&spec, &r->vm, f);

	if (err != 0) {
		return err;
	}
	r->created = true;
	t = track_get(r->vm, f);
	err = t != NULL ? fill_vm(t, r, f) : -TM_ENOMEM;
	if (err == 0) {
		err = log_from_here(t, f);
	}
	// A clone shares the past, but has no snapshot of its own to be rewound to.
	if (err == 0 && o->clone) {
		track_forget_base(t);
		err = track_log(t, false, f);
	}
	if (err == 0 && o->ready != NULL) {
		o->ready(o->ctx, r->vm);
	}
	if (err == 0 && o->run) {
		err = hv_vm_run(r->vm);
		if (err != 0) {
			fail_call(f, err, "VCPU_RUN");
		}
	}
	if (err != 0) {
		track_drop(r->vm);
		(void)hv_vm_destroy(r->vm);
	}
	return err;
}

static int restore_target(const struct snap_restore_opts *o, struct snap_restore_result *r,
			  struct fail *f)
{
	const char *name = o->name != NULL ? o->name : view.img[0].shape->name;
	struct tm_vm_info info;
	uint32_t vm;

	if (hv_vm_find(name, &vm) != 0) {
		return restore_new(o, r, f);
	}
	if (o->clone || hv_vm_info(vm, &info) != 0 ||
	    memcmp(info.uuid, view.img[0].header->vm.b, sizeof(info.uuid)) != 0) {
		return fail_set(f, -TM_EEXIST, "VM", NULL, "%s exists and is another VM", name);
	}
	r->vm = vm;
	return restore_existing(vm, o, r, f);
}

int snap_restore(const struct store *store, uint32_t index, const struct snap_restore_opts *o,
		 struct snap_restore_result *r, struct fail *f)
{
	uint64_t from = hv_ticks();
	int err;

	memset(r, 0, sizeof(*r));
	err = snap_view_open(&view, store, index, f);
	if (err != 0) {
		return err;
	}
	err = restore_target(o, r, f);
	snap_view_close(&view);
	r->ticks = hv_ticks() - from;
	return err;
}

static bool page_differs(const uint8_t *page, const uint8_t *content)
{
	return content != NULL ? memcmp(page, content, TM_PAGE_SIZE) != 0 : !snap_page_is_zero(page);
}

static void fill_since(const struct snap_mem *m, struct snap_rewind_result *r)
{
	for (uint32_t i = 0; i < m->track->slot_count; i++) {
		const struct track_slot *s = &m->track->slot[i];

		for (uint64_t w = 0; w < s->words; w++) {
			for (uint64_t bits = s->since[w]; bits != 0; bits &= bits - 1) {
				uint64_t p = w * 64 + (uint64_t)__builtin_ctzll(bits);
				uint8_t *to = m->at[i] + p * TM_PAGE_SIZE;

				const uint8_t *content = snap_view_page(&view, i, p);

				r->differed += page_differs(to, content) ? 1 : 0;
				put_page(to, content);
				hv_sync_code(to, TM_PAGE_SIZE);
				r->pages++;
			}
		}
	}
}

// A ring-exclusive VM takes no writable window while it is logged: its log is off meanwhile.
static bool is_ring_only(const struct track *t)
{
	return (t->info.dirty_flags & (TM_DIRTY_RING | TM_DIRTY_BITMAP)) == TM_DIRTY_RING;
}

static int rewind_paused(struct track *t, bool check, struct snap_rewind_result *r, struct fail *f)
{
	const struct snap_uuid base = t->base;
	struct snap_mem m;
	struct hash_value b;
	int err = track_collect(t, true, NULL, f);

	if (err == 0 && is_ring_only(t)) {
		err = track_log(t, false, f);
	}
	if (err == 0) {
		err = snap_mem_map(&m, t, TM_PROT_READ | TM_PROT_WRITE, f);
	}
	if (err != 0) {
		return err;
	}
	fill_since(&m, r);
	if (check) {
		err = check_hash(&m, &b, f);
	}
	snap_mem_unmap(&m);
	if (err == 0) {
		err = snap_state_load(&view.img[0], t->vm, f);
	}
	if (err == 0 && !t->logging) {
		err = track_log(t, true, f);
	}
	// Our own writes came back through the tracked windows; the pages equal the base again.
	if (err == 0) {
		err = track_collect(t, true, NULL, f);
	}
	if (err == 0) {
		track_todo_none(t);
		track_set_base(t, &base);
	}
	return err;
}

static int rewind_vm(struct track *t, bool check, struct snap_rewind_result *r, struct fail *f)
{
	int err = hv_pause(t->vm);

	if (err != 0) {
		return fail_call(f, err, "VM_PAUSE");
	}
	err = rewind_paused(t, check, r, f);
	if (err != 0) {
		return give_up(t, r->pages != 0, true, err, f);
	}
	err = hv_resume(t->vm);
	// A vCPU that stopped since, by a shutdown for example, is back before that.
	if (err == 0) {
		err = hv_vm_run(t->vm);
	}
	return err == 0 ? 0 : fail_call(f, err, "VM_RESUME");
}

int snap_rewind(const struct store *store, uint32_t index, uint32_t vm, bool check,
		struct snap_rewind_result *r, struct fail *f)
{
	const struct snap_header *h = store_header(store, index);
	struct track *t = track_get(vm, f);
	int err;

	memset(r, 0, sizeof(*r));
	if (t == NULL) {
		return f != NULL ? f->err : -TM_ENOENT;
	}
	if (!t->has_base || !snap_uuid_equal(&t->base, &h->uuid)) {
		return fail_set(f, -TM_EINVAL, "snapshot", "use `snap restore`",
				"what changed since %.31s is not known for this VM", h->name);
	}
	err = snap_view_open(&view, store, index, f);
	if (err != 0) {
		return err;
	}
	if (!same_shape(t, &view.img[0])) {
		err = fail_set(f, -TM_EINVAL, "VM", "use `snap restore`",
			       "its slots are not those of the image");
	} else {
		err = rewind_vm(t, check, r, f);
	}
	snap_view_close(&view);
	return err;
}
