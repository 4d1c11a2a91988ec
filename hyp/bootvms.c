// SPDX-License-Identifier: Apache-2.0
/*
 * The VMs of the boot configuration. A static VM gets its memory, image, device tree and vCPUs
 * here and starts with no help from the manager; one that cannot be built is reported and skipped,
 * the others start. Runs once, on the boot CPU, before any guest instruction.
 */
#include <boot/guest_start.h>
#include <arch/cpu.h>
#include <arch/time.h>
#include <arch/vcpu.h>
#include <hyp/boot_info.h>
#include <hyp/bootvms.h>
#include <hyp/log.h>
#include <hyp/owner.h>
#include <hyp/sched.h>
#include <hyp/string.h>
#include <hyp/vm.h>

#define POOL_MIN (2ull << 20)

static struct guest_fdt tree;	/* too large for the stack; boot only */

/* Where the parts of a guest go, and the view of its RAM that we load through. */
struct load {
	const struct vm_config *cfg;
	hpa_t ram;
	struct image_plan plan;
	const void *image;
	uint64_t block;			/* guest_start.h */
	uint64_t arg;			/* for arch_vcpu_reset() */
	struct guest_fdt_range initrd;
};

void vcpu_configure(struct vcpu *v, const struct vm_config *cfg)
{
	v->prio = (uint8_t)cfg->prio;
	/* A CPU that did not come up runs nobody. */
	v->affinity = cfg->affinity & sched_online() ? cfg->affinity : 0;
	if (cfg->slice_us) {
		v->slice_ticks = arch_time_freq() / 1000000u * cfg->slice_us;
		v->slice_left = v->slice_ticks;
	}
}

static void *at(const struct load *l, uint64_t guest_pa)
{
	return phys_to_virt(hpa_add(l->ram, guest_pa - l->cfg->mem_base));
}

static int load_image(struct load *l)
{
	const struct vm_config *cfg = l->cfg;
	const struct guest_fdt_range ram = {cfg->mem_base, cfg->mem_size};
	const uint32_t flags = guest_start_board()->image_flags | IMAGE_ALLOW_RAW;
	uint64_t size;
	int err;

	if (boot_module_find(cfg->image, &l->image, &size)) {
		log_warn("vm %s: no module named %s", cfg->name, cfg->image);
		return -TM_ENOENT;
	}
	err = image_plan(l->image, size, ram.base, ram.size, flags, &l->plan);
	if (err) {
		log_warn("vm %s: image %s: %s", cfg->name, cfg->image, image_strerror(err));
		return -TM_EINVAL;
	}
	for (unsigned i = 0; i < l->plan.count; i++) {
		const struct image_segment *s = &l->plan.seg[i];

		memcpy(at(l, s->gpa), (const char *)l->image + s->offset, s->file_size);
	}
	l->block = guest_start_place(ram, l->plan.low, l->plan.high);
	if (l->block == ~0ull) {
		log_warn("vm %s: image %s leaves no room for its device tree", cfg->name,
			 cfg->image);
		return -TM_ENOSPC;
	}
	return 0;
}

static int load_ramdisk(struct load *l)
{
	const struct vm_config *cfg = l->cfg;
	/* The block may be there; where it is not, nothing is lost. */
	uint64_t top = cfg->mem_base + cfg->mem_size - guest_start_size();
	uint64_t limit = guest_start_board()->initrd_end, low = l->plan.high;
	const void *data;
	uint64_t size;

	top = top < limit ? top : limit;
	if (!cfg->ramdisk[0]) {
		return 0;
	}
	if (boot_module_find(cfg->ramdisk, &data, &size)) {
		log_warn("vm %s: no module named %s", cfg->name, cfg->ramdisk);
		return -TM_ENOENT;
	}
	if (size > top || ALIGN_DOWN(top - size, PAGE_SIZE) < low) {
		log_warn("vm %s: ramdisk %s: %llu bytes do not fit", cfg->name, cfg->ramdisk,
			 (unsigned long long)size);
		return -TM_ENOSPC;
	}
	l->initrd = (struct guest_fdt_range){ALIGN_DOWN(top - size, PAGE_SIZE), size};
	memcpy(at(l, l->initrd.base), data, size);
	return 0;
}

static int load_block(struct load *l)
{
	const struct vm_config *cfg = l->cfg;

	memset(&tree, 0, sizeof(tree));
	if (cfg->dtb[0] && (boot_module_find(cfg->dtb, &tree.blob, &tree.blob_size) ||
			    tree.blob_size > GUEST_FDT_SIZE)) {
		log_warn("vm %s: device tree module %s: absent, or above %u bytes", cfg->name,
			 cfg->dtb, GUEST_FDT_SIZE);
		return -TM_ENOENT;
	}
	tree.mem[0] = (struct guest_fdt_range){cfg->mem_base, cfg->mem_size};
	tree.mem_count = 1;
	tree.cpus = cfg->vcpus;
	tree.gic_version = (uint32_t)arch_cap_gic_version();
	tree.uart = 1;
	tree.bootargs = cfg->bootargs;
	tree.initrd = l->initrd;
	return guest_start_build(at(l, l->block), l->block, &tree, &l->plan, l->image, &l->arg) ?
		       -TM_E2BIG : 0;
}

static int load_all(struct load *l)
{
	uint64_t size = l->cfg->mem_size;
	int err;

	for (uint64_t off = 0; off < size; off += PAGE_SIZE) {
		arch_zero_page(phys_to_virt(hpa_add(l->ram, off)));
	}
	err = load_image(l);
	if (!err) {
		err = load_ramdisk(l);
	}
	if (!err) {
		err = load_block(l);
	}
	arch_clean_to_poc(phys_to_virt(l->ram), size);
	arch_sync_icache(phys_to_virt(l->ram), size);
	return err;
}

/* Tables and bitmaps take about 0.2 %, twice that leaves room for slots that come later. */
static uint64_t pool_bytes(const struct vm_config *cfg)
{
	uint64_t want = cfg->pool_size ? cfg->pool_size : cfg->mem_size / 256 + POOL_MIN;

	return ALIGN_UP(want, PAGE_SIZE);
}

static int build(const struct vm_config *cfg, const struct load *l, struct vm *vm)
{
	uint64_t pages = cfg->mem_size / PAGE_SIZE;
	int err = owner_change(vm->pool.base, vm->pool.pages, owner_of(OWNER_HYP, 0),
			       owner_of(OWNER_VM_POOL, vm->handle));

	if (!err) {
		err = owner_change(l->ram, pages, owner_of(OWNER_HYP, 0),
				   owner_of(OWNER_VM_SHARED, vm->handle));
	}
	if (!err) {
		err = dirty_log_config(vm, cfg->ring_entries, cfg->dirty_flags);
	}
	if (!err) {
		err = memslot_add_owned(vm, 0, gpa(cfg->mem_base), l->ram, pages, 0);
	}
	for (unsigned i = 0; !err && i < cfg->vcpus; i++) {
		err = vcpu_create(vm, i);
		if (!err) {
			vcpu_configure(vm->vcpu[i], cfg);
		}
	}
	return err;
}

static void start(const struct vm_config *cfg, const struct load *l, struct vm *vm)
{
	arch_vcpu_reset(vm->vcpu[0], l->plan.entry, l->arg);
	for (unsigned i = 0; i < cfg->vcpus; i++) {
		struct vcpu *v = vm->vcpu[i];

		v->powered_on = i == 0;
		if (cfg->autostart) {
			(void)!vcpu_run(v);
		}
	}
	log_info("vm %s: %u vCPUs, %llu MiB at 0x%llx%s", vm->name, cfg->vcpus,
		 (unsigned long long)(cfg->mem_size >> 20), (unsigned long long)cfg->mem_base,
		 cfg->autostart ? "" : ", not started");
}

static void boot_one(const struct vm_config *cfg)
{
	static struct load l;		/* large; boot only */
	struct tm_vm_desc d = {.flags = TM_VM_STATIC | TM_VM_CONSOLE, .vcpus = cfg->vcpus};
	uint64_t pool = pool_bytes(cfg);
	struct vm *vm;
	int err;

	memset(&l, 0, sizeof(l));
	l.cfg = cfg;
	if (boot_alloc_largest() < cfg->mem_size + pool + 2 * LEVEL_SIZE(1)) {
		log_warn("vm %s: memory: asked %llu KiB, there are %llu KiB", cfg->name,
			 (unsigned long long)(cfg->mem_size >> 10),
			 (unsigned long long)(boot_alloc_largest() >> 10));
		return;
	}
	memcpy(d.name, cfg->name, sizeof(d.name));
	memcpy(d.mmio, cfg->mmio, sizeof(d.mmio));
	d.mmio_count = cfg->mmio_count;
	memcpy(d.uuid, cfg->name, sizeof(d.uuid));	/* stable over restarts of the machine */
	l.ram = boot_alloc(cfg->mem_size, LEVEL_SIZE(1));
	err = load_all(&l);
	if (!err) {
		err = vm_alloc(&d, boot_alloc(pool, PAGE_SIZE), pool / PAGE_SIZE, &vm);
	}
	if (!err) {
		err = build(cfg, &l, vm);
		if (err) {
			vm_kill(vm, "it could not be built");
		}
	}
	if (err) {
		log_warn("vm %s: not started (%d)", cfg->name, err);
		return;
	}
	start(cfg, &l, vm);
}

void vm_boot_all(const struct config *cfg)
{
	const struct vm_config *manager = NULL;

	for (unsigned i = 0; i < cfg->count; i++) {
		if (cfg->vm[i].manager) {
			manager = &cfg->vm[i];
		}
	}
	if (manager && manager_create(manager)) {
		manager = NULL;
	}
	for (unsigned i = 0; i < cfg->count; i++) {
		if (!cfg->vm[i].manager) {
			boot_one(&cfg->vm[i]);
		}
	}
	if (manager) {
		(void)!manager_start();
	}
}
