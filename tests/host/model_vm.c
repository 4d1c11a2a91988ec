// SPDX-License-Identifier: Apache-2.0
//
// See model_vm.h. Owns model_vms.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <abi/errno.h>

#include "model_vm.h"

struct model_vm model_vms[MODEL_VMS];
unsigned model_rate;
unsigned model_fail_after;
int model_fail_status;
uint32_t model_arch = SNAP_ARCH_ARM64;
bool model_no_arm;
bool model_bad_readback;

static uint64_t rng;
static uint64_t ticks;

static uint64_t next(void)
{
	rng ^= rng >> 12;
	rng ^= rng << 25;
	rng ^= rng >> 27;
	return rng * UINT64_C(0x2545f4914f6cdd1d);
}

static struct model_vm *get(uint32_t vm)
{
	return vm < MODEL_VMS && model_vms[vm].used ? &model_vms[vm] : NULL;
}

static struct model_slot *slot_of(struct model_vm *v, uint32_t slot)
{
	for (uint32_t i = 0; i < v->slot_count; i++) {
		if (v->slot[i].desc.slot == slot) {
			return &v->slot[i];
		}
	}
	return NULL;
}

static bool ring_only(const struct model_vm *v)
{
	return (v->info.dirty_flags & 3) == TM_DIRTY_RING;
}

static void log_write(struct model_vm *v, struct model_slot *s, uint64_t page)
{
	if ((s->desc.flags & TM_SLOT_LOG_DIRTY) == 0 || !s->armed[page]) {
		return;
	}
	s->armed[page] = 0;
	if (v->ring != NULL && v->ring_used < v->info.ring_entries) {
		v->ring[v->ring_used++] = (struct tm_ring_entry){1, s->desc.slot, page};
	} else {
		s->bitmap[page / 64] |= UINT64_C(1) << page % 64;
	}
}

void model_guest_store(struct model_vm *v, uint32_t slot, uint64_t page, uint64_t value)
{
	struct model_slot *s = slot_of(v, slot);

	if (ring_only(v) && v->ring_used == v->info.ring_entries && s->armed[page] &&
	    (s->desc.flags & TM_SLOT_LOG_DIRTY) != 0) {
		return; // the vCPU stands at a full ring
	}
	log_write(v, s, page);
	memcpy(s->memory + page * TM_PAGE_SIZE + (next() % 512) * 8, &value, 8);
	s->truth[page] = 1;
	v->writes++;
}

void model_guest_writes(struct model_vm *v, unsigned n)
{
	while (n-- > 0) {
		struct model_slot *s = &v->slot[next() % 8 == 0 ? 1 : 0];
		uint64_t page = next() % s->pages;

		// Mostly a small working set, so that rounds converge.
		if (next() % 4 != 0) {
			page = page % 16 % s->pages;
		}
		if (next() % 16 == 0 && s->armed[page] == 0) {
			memset(s->memory + page * TM_PAGE_SIZE, 0, TM_PAGE_SIZE);
		}
		model_guest_store(v, s->desc.slot, page, next());
	}
}

void model_step(void)
{
	ticks += 1000;
	for (uint32_t i = 0; i < MODEL_VMS; i++) {
		struct model_vm *v = &model_vms[i];

		if (v->used && v->running && v->paused == 0 && model_rate != 0) {
			model_guest_writes(v, (unsigned)(next() % model_rate));
			v->state[SNAP_VCPU - 1][next() % 1592]++;
		}
	}
}

static int enter(void)
{
	model_step();
	if (model_fail_after > 0 && --model_fail_after == 0) {
		return model_fail_status;
	}
	return 0;
}

static void add_slot(struct model_vm *v, uint32_t slot, uint32_t flags, uint64_t gpa,
		     uint64_t pages)
{
	struct model_slot *s = &v->slot[v->slot_count++];

	s->desc.slot = slot;
	s->desc.flags = flags;
	s->desc.gpa = gpa;
	s->desc.size = pages * TM_PAGE_SIZE;
	s->pages = pages;
	s->memory = aligned_alloc(4096, pages * TM_PAGE_SIZE);
	// What a freed page was filled with: a new VM's memory is not zero by itself.
	memset(s->memory, 0xa5, pages * TM_PAGE_SIZE);
	s->armed = calloc(pages, 1);
	s->truth = calloc(pages, 1);
	s->bitmap = calloc((pages + 63) / 64, 8);
}

static struct model_vm *add_vm(const char *name, uint32_t dirty_flags, uint32_t ring_entries,
			       uint32_t *handle)
{
	for (uint32_t i = 0; i < MODEL_VMS; i++) {
		struct model_vm *v = &model_vms[i];

		if (v->used) {
			continue;
		}
		memset(v, 0, sizeof(*v));
		v->used = true;
		snprintf(v->info.name, sizeof(v->info.name), "%s", name);
		v->info.flags = TM_VM_CONSOLE;
		v->info.vcpus_max = 2;
		v->info.vcpus = 2;
		v->info.vcpu_mask = 3;
		v->info.dirty_flags = dirty_flags;
		v->info.ring_entries = ring_entries;
		memset(v->info.uuid, 0x40 + (int)i, 16);
		v->ring = ring_entries != 0 ? calloc(ring_entries, sizeof(*v->ring)) : NULL;
		*handle = i;
		return v;
	}
	abort();
}

static void free_vm(struct model_vm *v)
{
	for (uint32_t i = 0; i < v->slot_count; i++) {
		free(v->slot[i].memory);
		free(v->slot[i].armed);
		free(v->slot[i].truth);
		free(v->slot[i].bitmap);
	}
	for (uint32_t i = 0; i < MODEL_SLOTS; i++) {
		free(v->at_resume[i]);
	}
	free(v->ring);
	memset(v, 0, sizeof(*v));
}

void model_reset(uint64_t seed)
{
	for (uint32_t i = 0; i < MODEL_VMS; i++) {
		free_vm(&model_vms[i]);
	}
	rng = seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
	model_rate = 0;
	model_fail_after = 0;
	model_arch = SNAP_ARCH_ARM64;
	model_no_arm = false;
	model_bad_readback = false;
}

uint32_t model_add(const char *name, uint32_t dirty_flags, uint32_t ring_entries, uint64_t pages)
{
	uint32_t handle;
	struct model_vm *v = add_vm(name, dirty_flags, ring_entries, &handle);

	add_slot(v, 0, 0, 0x40000000, pages);
	add_slot(v, 3, 0, 0x80000000, 5);
	add_slot(v, 9, TM_SLOT_READONLY, 0x90000000, 2);
	for (uint32_t i = 0; i < v->slot_count; i++) {
		struct model_slot *s = &v->slot[i];

		for (uint64_t p = 0; p < s->pages; p++) {
			// A third of the pages is zero.
			memset(s->memory + p * TM_PAGE_SIZE, p % 3 == 0 ? 0 : (int)(p * 7 + i),
			       TM_PAGE_SIZE);
		}
	}
	for (unsigned i = 0; i < sizeof(v->state); i++) {
		((uint8_t *)v->state)[i] = (uint8_t)next();
	}
	v->running = true;
	return handle;
}

void model_mark(struct model_vm *v)
{
	for (uint32_t i = 0; i < v->slot_count; i++) {
		memset(v->slot[i].truth, 0, v->slot[i].pages);
	}
}

uint64_t model_written(const struct model_vm *v)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < v->slot_count; i++) {
		for (uint64_t p = 0; p < v->slot[i].pages; p++) {
			n += v->slot[i].truth[p];
		}
	}
	return n;
}

void model_copy_memory(const struct model_vm *v, uint8_t *copy[MODEL_SLOTS])
{
	for (uint32_t i = 0; i < v->slot_count; i++) {
		free(copy[i]);
		copy[i] = malloc(v->slot[i].desc.size);
		memcpy(copy[i], v->slot[i].memory, v->slot[i].desc.size);
	}
}

bool model_same_memory(const struct model_vm *v, uint8_t *const copy[MODEL_SLOTS])
{
	for (uint32_t i = 0; i < v->slot_count; i++) {
		if (memcmp(copy[i], v->slot[i].memory, v->slot[i].desc.size) != 0) {
			return false;
		}
	}
	return true;
}

// ---- hv.h ------------------------------------------------------------------------------------

int hv_vm_info(uint32_t vm, struct tm_vm_info *info)
{
	struct model_vm *v = get(vm);

	if (v == NULL) {
		return -TM_ENOENT;
	}
	*info = v->info;
	return 0;
}

int hv_slot_query(uint32_t vm, uint32_t slot, struct tm_slot_info *info)
{
	struct model_vm *v = get(vm);

	if (v == NULL) {
		return -TM_ENOENT;
	}
	for (uint32_t i = 0; i < v->slot_count; i++) {
		if (slot == ~0u || v->slot[i].desc.slot == slot) {
			memset(info, 0, sizeof(*info));
			info->desc = v->slot[i].desc;
			info->next = i + 1 < v->slot_count ? v->slot[i + 1].desc.slot : ~0u;
			return 0;
		}
	}
	return -TM_ENOENT;
}

int hv_slot_flags(uint32_t vm, const struct tm_slot_desc *desc, uint32_t flags)
{
	struct model_vm *v = get(vm);
	struct model_slot *s = v != NULL ? slot_of(v, desc->slot) : NULL;
	int err = enter();

	if (err != 0 || s == NULL) {
		return err != 0 ? err : -TM_ENOENT;
	}
	if ((flags & TM_SLOT_LOG_DIRTY) != 0 && (s->desc.flags & TM_SLOT_LOG_DIRTY) == 0) {
		memset(s->armed, 1, s->pages);
		if ((v->info.dirty_flags & TM_DIRTY_INITIALLY_SET) != 0) {
			for (uint64_t p = 0; p < s->pages; p++) {
				s->bitmap[p / 64] |= UINT64_C(1) << p % 64;
				s->armed[p] = 0;
			}
		}
	}
	if ((flags & TM_SLOT_LOG_DIRTY) == 0) {
		memset(s->bitmap, 0, (s->pages + 63) / 64 * 8);
	}
	s->desc.flags = flags;
	return 0;
}

int hv_sync(uint32_t vm)
{
	return get(vm) != NULL ? enter() : -TM_ENOENT;
}

int hv_pause(uint32_t vm)
{
	struct model_vm *v = get(vm);
	int err = enter();

	if (err == 0) {
		v->paused++;
	}
	return err;
}

int hv_resume(uint32_t vm)
{
	struct model_vm *v = get(vm);

	if (v == NULL || v->paused == 0) {
		return -TM_EINVAL;
	}
	model_copy_memory(v, v->at_resume);
	v->resumes++;
	v->paused--;
	if (v->paused == 0) {
		model_mark(v);
	}
	return 0;
}

int hv_ring_drain(uint32_t vm, hv_dirty_fn fn, void *ctx)
{
	struct model_vm *v = get(vm);
	int err = enter();

	if (err != 0) {
		return err;
	}
	for (int turn = 0; turn < 4 && v->ring_used > 0; turn++) {
		uint32_t n = v->ring_used;

		for (uint32_t i = 0; i < n; i++) {
			fn(ctx, v->ring[i].slot, v->ring[i].offset);
		}
		model_step();
		for (uint32_t i = 0; i < n && !model_no_arm; i++) {
			slot_of(v, v->ring[i].slot)->armed[v->ring[i].offset] = 1;
		}
		memmove(v->ring, v->ring + n, (v->ring_used - n) * sizeof(*v->ring));
		v->ring_used -= n;
	}
	return 0;
}

int hv_bitmap_get(uint32_t vm, uint32_t slot, uint64_t *bits, uint64_t bytes, uint64_t *set)
{
	struct model_vm *v = get(vm);
	struct model_slot *s = slot_of(v, slot);
	int err = enter();

	if (err != 0) {
		return err;
	}
	if (ring_only(v)) {
		return -TM_ENXIO;
	}
	if (bytes < (s->pages + 63) / 64 * 8 || (s->desc.flags & TM_SLOT_LOG_DIRTY) == 0) {
		return -TM_EINVAL;
	}
	*set = 0;
	for (uint64_t p = 0; p < s->pages; p++) {
		if ((s->bitmap[p / 64] >> p % 64 & 1) == 0) {
			continue;
		}
		bits[p / 64] |= UINT64_C(1) << p % 64;
		*set += 1;
		if ((v->info.dirty_flags & TM_DIRTY_MANUAL) == 0) {
			s->bitmap[p / 64] &= ~(UINT64_C(1) << p % 64);
			s->armed[p] = model_no_arm ? 0 : 1;
		}
	}
	return 0;
}

int hv_bitmap_clear(uint32_t vm, uint32_t slot, uint64_t first, uint64_t pages,
		    const uint64_t *bits)
{
	struct model_vm *v = get(vm);
	struct model_slot *s = slot_of(v, slot);
	int err = enter();

	if (err != 0) {
		return err;
	}
	if (first % 64 != 0 || (pages % 64 != 0 && first + pages != s->pages)) {
		return -TM_EINVAL;
	}
	for (uint64_t p = first; p < first + pages; p++) {
		uint64_t bit = UINT64_C(1) << p % 64;

		if ((bits[(p - first) / 64] & bit) != 0 && (s->bitmap[p / 64] & bit) != 0) {
			s->bitmap[p / 64] &= ~bit;
			s->armed[p] = model_no_arm ? 0 : 1;
		}
	}
	return 0;
}

int hv_bitmap_any(uint32_t vm, bool *any)
{
	struct model_vm *v = get(vm);

	*any = false;
	for (uint32_t i = 0; i < v->slot_count; i++) {
		for (uint64_t w = 0; w < (v->slot[i].pages + 63) / 64; w++) {
			*any = *any || v->slot[i].bitmap[w] != 0;
		}
	}
	return enter();
}

struct window {
	struct model_slot *slot;
	struct model_vm *vm;
	uint8_t *before;
};

static struct window windows[64];

int hv_map(uint32_t vm, uint64_t gpa, uint64_t pages, uint32_t prot, void **at)
{
	struct model_vm *v = get(vm);
	int err = enter();

	for (uint32_t i = 0; err == 0 && i < v->slot_count; i++) {
		struct model_slot *s = &v->slot[i];
		bool logged = (s->desc.flags & TM_SLOT_LOG_DIRTY) != 0;
		unsigned n = 0;

		if (s->desc.gpa != gpa || s->pages != pages) {
			continue;
		}
		if ((prot & TM_PROT_WRITE) != 0 && logged && ring_only(v)) {
			return -TM_ENXIO;
		}
		while (windows[n].slot != NULL) {
			n++;
		}
		windows[n].slot = s;
		windows[n].vm = v;
		if ((prot & TM_PROT_WRITE) != 0 && logged) {
			windows[n].before = malloc(s->desc.size);
			memcpy(windows[n].before, s->memory, s->desc.size);
		}
		*at = s->memory;
		return 0;
	}
	return err != 0 ? err : -TM_EFAULT;
}

int hv_unmap(void *at, uint64_t pages)
{
	for (unsigned n = 0; n < 64; n++) {
		struct window *w = &windows[n];

		if (w->slot == NULL || w->slot->memory != at) {
			continue;
		}
		// The manager's own writes are tracked too.
		for (uint64_t p = 0; w->before != NULL && p < pages; p++) {
			if (memcmp(w->before + p * TM_PAGE_SIZE, w->slot->memory + p * TM_PAGE_SIZE,
				   TM_PAGE_SIZE) != 0) {
				w->slot->bitmap[p / 64] |= UINT64_C(1) << p % 64;
				w->slot->armed[p] = 0;
			}
		}
		free(w->before);
		memset(w, 0, sizeof(*w));
		return 0;
	}
	return -TM_EINVAL;
}

void hv_sync_code(const void *at, size_t length)
{
	(void)at;
	(void)length;
}

static const size_t state_size[] = {0, 0, 0, 0, 1592, 700, 64, 64};

int hv_state_get(uint32_t vm, uint32_t type, uint32_t id, void *buf, size_t size, size_t *used)
{
	struct model_vm *v = get(vm);

	*used = state_size[type];
	if (size < *used || v->paused + !v->running == 0) {
		return -TM_EBUSY;
	}
	memcpy(buf, v->state[type - 1], *used);
	((uint8_t *)buf)[0] = (uint8_t)id;
	if (model_bad_readback && type == SNAP_IRQCHIP) {
		((uint8_t *)buf)[33] ^= 4;
	}
	return enter();
}

int hv_state_set(uint32_t vm, uint32_t type, uint32_t id, const void *buf, size_t size)
{
	struct model_vm *v = get(vm);

	(void)id;
	if (size != state_size[type] || v->paused + !v->running == 0) {
		return -TM_EBUSY;
	}
	memcpy(v->state[type - 1], buf, size);
	return enter();
}

bool hv_state_equal(uint32_t type, const void *saved, const void *now, size_t size,
		    uint64_t elapsed, char *why, size_t why_size)
{
	(void)elapsed;
	(void)type;
	snprintf(why, why_size, "bytes differ");
	return memcmp(saved, now, size) == 0;
}

int hv_vm_create(const struct hv_vm_spec *spec, uint32_t *vm, struct fail *f)
{
	struct model_vm *v;
	int err = enter();

	if (err != 0) {
		return fail_set(f, err, "create VM", NULL, "refused by the test");
	}
	v = add_vm(spec->name, spec->shape->dirty_flags, spec->shape->ring_entries, vm);
	memcpy(v->info.uuid, spec->uuid, 16);
	for (uint32_t i = 0; i < spec->slot_count; i++) {
		add_slot(v, spec->slots[i].slot, spec->slots[i].flags, spec->slots[i].gpa,
			 spec->slots[i].size / TM_PAGE_SIZE);
	}
	return 0;
}

int hv_vm_destroy(uint32_t vm)
{
	free_vm(get(vm));
	return 0;
}

int hv_vm_run(uint32_t vm)
{
	get(vm)->running = true;
	return 0;
}

int hv_vm_find(const char *name, uint32_t *vm)
{
	for (uint32_t i = 0; i < MODEL_VMS; i++) {
		if (model_vms[i].used && strcmp(model_vms[i].info.name, name) == 0) {
			*vm = i;
			return 0;
		}
	}
	return -TM_ENOENT;
}

uint64_t hv_ticks(void)
{
	return ticks++;
}

uint64_t hv_ticks_freq(void)
{
	return 62500000;
}

uint32_t hv_arch(void)
{
	return model_arch;
}

uint32_t hv_abi_version(void)
{
	return 0x10000;
}

void hv_cpu_features(uint64_t feature[SNAP_FEATURES])
{
	memset(feature, 0x5a, SNAP_FEATURES * 8);
}

void hv_wait(uint64_t us)
{
	(void)us;
	model_step();
}
