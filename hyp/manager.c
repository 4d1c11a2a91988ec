// SPDX-License-Identifier: Apache-2.0
/*
 * The manager VM: its RAM, its start, its death and its next start. Its image is kept as a copy in
 * hypervisor memory; everything else that a new instance needs it learns from its device tree and
 * from VM_NEXT. The state here changes only at boot and on the CPU on which the manager died.
 */
#include <boot/guest_start.h>
#include <arch/cpu.h>
#include <arch/vcpu.h>
#include <hyp/boot_info.h>
#include <hyp/bootvms.h>
#include <hyp/console.h>
#include <hyp/dirty_log.h>
#include <hyp/event.h>
#include <hyp/log.h>
#include <hyp/owner.h>
#include <hyp/sched.h>
#include <hyp/string.h>
#include <hyp/vm.h>
#include <hyp/window.h>

#define MAX_RESTARTS 5u
#define IMAGE_OFFSET 0x200000ull	/* the start block (guest_start.h) lies below the image */

static struct {
	struct vm *vm;
	struct vm_config cfg;
	struct mem_range ram;		/* at the first start */
	const void *image;		/* kept copy */
	uint64_t image_size;
	struct mem_range modules;
	unsigned restarts;
	bool alive;
	bool gone;			/* for good */
} mgr;

static struct guest_fdt tree;			/* boot and restart only: one user at a time */
static struct guest_fdt_tidemark tree_tidemark;

bool manager_alive(void)
{
	return __atomic_load_n(&mgr.alive, __ATOMIC_ACQUIRE);
}

unsigned manager_restarts(void)
{
	return mgr.restarts;
}

static void add_run(uint64_t start, uint64_t end)
{
	if (end > start && tree.mem_count < GUEST_FDT_MEM_MAX) {
		tree.mem[tree.mem_count++] = (struct guest_fdt_range){start, end - start};
	} else if (end > start) {
		/* More pieces than the tree names: the smallest is left out. */
		unsigned least = 0;

		for (unsigned i = 1; i < tree.mem_count; i++) {
			if (tree.mem[i].size < tree.mem[least].size) {
				least = i;
			}
		}
		if (tree.mem[least].size < end - start) {
			tree.mem[least] = (struct guest_fdt_range){start, end - start};
		}
	}
}

/* The RAM that it owns now: runs of its pages in every RAM range. */
static void tree_memory(void)
{
	tree.mem_count = 0;
	if (mgr.restarts == 0) {
		add_run(mgr.ram.base.v, mgr.ram.base.v + mgr.ram.size);
		return;
	}
	for (unsigned i = 0; i < boot_info.ram_count; i++) {
		uint64_t at = boot_info.ram[i].base.v, end = at + boot_info.ram[i].size, run = at;

		for (; at < end; at += PAGE_SIZE) {
			if (owner_get(hpa(at)).kind != OWNER_MANAGER ||
			    (at >= mgr.modules.base.v &&
			     at < mgr.modules.base.v + mgr.modules.size)) {
				add_run(run, at);
				run = at + PAGE_SIZE;
			}
		}
		add_run(run, at);
	}
}

static void tree_vms(void)
{
	struct vm *vm;

	tree_tidemark.vm_count = 0;
	for (int h = MANAGER_HANDLE; (vm = vm_next(h)) != NULL; h = vm->handle, vm_put(vm)) {
		if (tree_tidemark.vm_count < GUEST_FDT_VM_MAX) {
			tree_tidemark.vm[tree_tidemark.vm_count++] =
				(struct guest_fdt_vm){vm->handle, vm->name};
		}
	}
}

/* What the manager has given away, even of its own image's place, is not written to. */
static bool still_ours(uint64_t at, uint64_t bytes)
{
	uint64_t first = ALIGN_DOWN(at, PAGE_SIZE);

	return owner_range_is(hpa(first), (ALIGN_UP(at + bytes, PAGE_SIZE) - first) / PAGE_SIZE,
			      owner_of(OWNER_MANAGER, MANAGER_HANDLE));
}

static void make_tree(void)
{
	memset(&tree, 0, sizeof(tree));
	tree_tidemark.window = (struct guest_fdt_range){window_base(), window_size()};
	tree_tidemark.max_vms = TM_MAX_VMS;
	tree_tidemark.max_vcpus = TM_MAX_VCPUS;
	tree_tidemark.restart_count = mgr.restarts;
	tree_memory();
	tree_vms();
	tree.rsvd[0] = (struct guest_fdt_range){mgr.ram.base.v, IMAGE_OFFSET + mgr.image_size};
	tree.rsvd_count = 1;
	/* The archive is the manager's as well, at the end of the list so that it is found as RAM. */
	if (mgr.modules.size && still_ours(mgr.modules.base.v, mgr.modules.size) &&
	    tree.mem_count < GUEST_FDT_MEM_MAX) {
		tree.mem[tree.mem_count++] = (struct guest_fdt_range){
			mgr.modules.base.v, ALIGN_UP(mgr.modules.size, PAGE_SIZE)};
		tree.rsvd[tree.rsvd_count++] = tree.mem[tree.mem_count - 1];
		tree.initrd = (struct guest_fdt_range){boot_info.modules.base.v,
						       boot_info.modules.size};
	}
	tree.cpus = mgr.cfg.vcpus;
	tree.gic_version = (uint32_t)arch_cap_gic_version();
	tree.bootargs = mgr.cfg.bootargs;
	tree.tidemark = &tree_tidemark;
}

/* Image and start block into its RAM, vCPU 0 at the entry. */
static int load(void)
{
	static struct image_plan plan;		/* one user at a time, as the tree */
	const struct guest_fdt_range ram = {mgr.ram.base.v, mgr.ram.size};
	uint64_t block, arg;
	int err = image_plan(mgr.image, mgr.image_size, ram.base + IMAGE_OFFSET,
			     ram.size - IMAGE_OFFSET, guest_start_board()->image_flags, &plan);

	if (err) {
		log_err("manager: image: %s", image_strerror(err));
		return -TM_EINVAL;
	}
	block = guest_start_place(ram, plan.low, plan.high);
	if (block == ~0ull || !still_ours(block, guest_start_size()) ||
	    !still_ours(plan.low, plan.high - plan.low)) {
		log_err("manager: it has given away the memory of its own image");
		return -TM_EACCES;
	}
	for (unsigned i = 0; i < plan.count; i++) {
		const struct image_segment *s = &plan.seg[i];
		char *to = phys_to_virt(hpa(s->gpa));

		memcpy(to, (const char *)mgr.image + s->offset, s->file_size);
		memset(to + s->file_size, 0, s->mem_size - s->file_size);
		arch_clean_to_poc(to, s->mem_size);
		arch_sync_icache(to, s->mem_size);
	}
	make_tree();
	if (guest_start_build(phys_to_virt(hpa(block)), block, &tree, &plan, mgr.image, &arg)) {
		log_err("manager: its device tree does not fit");
		return -TM_E2BIG;
	}
	arch_clean_to_poc(phys_to_virt(hpa(block)), guest_start_size());
	arch_vcpu_reset(mgr.vm->vcpu[0], plan.entry, arg);
	mgr.vm->vcpu[0]->powered_on = true;
	return 0;
}

static int keep_image(const struct vm_config *cfg)
{
	const void *data;
	uint64_t size;
	hpa_t copy;

	if (boot_module_find(cfg->image, &data, &size)) {
		return -TM_ENOENT;
	}
	copy = boot_alloc(ALIGN_UP(size, PAGE_SIZE), PAGE_SIZE);
	memcpy(phys_to_virt(copy), data, size);
	mgr.image = phys_to_virt(copy);
	mgr.image_size = size;
	return 0;
}

static int give_ram(const struct vm_config *cfg)
{
	uint64_t size = cfg->mem_size ? cfg->mem_size : boot_alloc_largest();
	int err;

	size = ALIGN_DOWN(size, LEVEL_SIZE(1));
	if (cfg->mem_size == 0 && size > LEVEL_SIZE(1)) {
		size -= LEVEL_SIZE(1);	/* the largest piece need not be 2 MiB aligned */
	}
	if (size < 2 * IMAGE_OFFSET + mgr.image_size) {
		return -TM_ENOMEM;
	}
	mgr.ram = (struct mem_range){boot_alloc(size, LEVEL_SIZE(1)), size};
	err = owner_change(mgr.ram.base, size / PAGE_SIZE, owner_of(OWNER_HYP, 0),
			   owner_of(OWNER_MANAGER, MANAGER_HANDLE));
	if (!err) {
		err = manager_map_ram(mgr.ram.base, size / PAGE_SIZE);
	}
	return err;
}

/* The module archive, whole pages around it, becomes manager RAM once static VMs are loaded. */
static int give_modules(void)
{
	uint64_t start = ALIGN_UP(boot_info.modules.base.v, PAGE_SIZE);
	uint64_t end = ALIGN_UP(boot_info.modules.base.v + boot_info.modules.size, PAGE_SIZE);
	int err;

	if (boot_info.modules.size == 0 || start != boot_info.modules.base.v) {
		return 0;	/* a shared first page stays ours: the manager has no archive then */
	}
	mgr.modules = (struct mem_range){hpa(start), end - start};
	err = owner_change(hpa(start), (end - start) / PAGE_SIZE, owner_of(OWNER_HYP, 0),
			   owner_of(OWNER_MANAGER, MANAGER_HANDLE));
	return err ? err : manager_map_ram(hpa(start), (end - start) / PAGE_SIZE);
}

/* VM 0 exists from the start: the other VMs' handles begin at 1. */
int manager_create(const struct vm_config *cfg)
{
	struct tm_vm_desc d = {.flags = TM_VM_STATIC, .vcpus = cfg->vcpus};
	int err = keep_image(cfg);

	if (err) {
		log_err("manager: no module named %s", cfg->image);
		return err;
	}
	memcpy(d.name, cfg->name, sizeof(d.name));
	mgr.cfg = *cfg;
	err = vm_alloc(&d, HPA_NONE, 0, &mgr.vm);
	for (unsigned i = 0; !err && i < cfg->vcpus; i++) {
		err = vcpu_create(mgr.vm, i);
		if (!err) {
			vcpu_configure(mgr.vm->vcpu[i], cfg);
		}
	}
	return err;
}

static void start_vcpus(void)
{
	for (unsigned i = 0; i < mgr.vm->vcpus_max; i++) {
		struct vcpu *v = mgr.vm->vcpu[i];

		spin_lock(&v->lock);
		v->state = v->powered_on ? TM_VCPU_READY : TM_VCPU_OFF;
		if (v->powered_on) {
			sched_enqueue_locked(v);
		}
		spin_unlock(&v->lock);
	}
}

int manager_start(void)
{
	int err = give_ram(&mgr.cfg);

	if (!err) {
		err = give_modules();
	}
	if (!err) {
		err = load();
	}
	if (err) {
		log_err("manager: cannot start (%d)", err);
		return err;
	}
	__atomic_store_n(&mgr.alive, true, __ATOMIC_RELEASE);
	(void)!console_focus(mgr.vm);
	start_vcpus();
	return 0;
}

/* What it held over its VMs ends with it; they run on (promise 2). */
static void release_vms(void)
{
	struct vm *vm;

	vm_destroy_dying();
	for (int h = MANAGER_HANDLE; (vm = vm_next(h)) != NULL; h = vm->handle, vm_put(vm)) {
		dirty_log_manager_gone(vm);
		vm_unpause(vm);
		for (unsigned i = 0; i < vm->vcpus_max; i++) {
			struct vcpu *v = __atomic_load_n(&vm->vcpu[i], __ATOMIC_ACQUIRE);

			if (v) {
				vcpu_run_orphan(v);
			}
		}
	}
}

static void reload(void)
{
	struct vm *vm = mgr.vm;

	event_reset();
	window_reset();
	release_vms();
	for (unsigned i = 0; i < vm->vcpus_max; i++) {
		struct vcpu *v = vm->vcpu[i];

		v->powered_on = false;
		v->stop_pending = false;
		v->wait_pending = false;
		v->mmio_pending = false;
		__atomic_store_n(&v->requests, 0, __ATOMIC_RELAXED);
	}
	/* The place that the one before had named is anything to the next. */
	__atomic_store_n(&vm->pvtime_gpa, ~0ull, __ATOMIC_RELAXED);
	arch_vm_reset(vm);
	mgr.restarts++;
	if (load()) {
		mgr.gone = true;
		log_err("manager: cannot be started again; guests run on");
	} else {
		log_info("manager: started again (%u of %u)", mgr.restarts, MAX_RESTARTS);
		__atomic_store_n(&mgr.alive, true, __ATOMIC_RELEASE);
		start_vcpus();
	}
}

/*
 * Called on a CPU that runs a vCPU of the manager. Only marks: the scheduler takes the vCPUs off
 * their CPUs first, then the last one runs manager_reap().
 */
void manager_died(const char *why)
{
	struct vcpu *self = vcpu_current();

	if (!__atomic_exchange_n(&mgr.alive, false, __ATOMIC_ACQ_REL)) {
		return;
	}
	log_err("manager: %s", why);
	for (unsigned i = 0; i < mgr.vm->vcpus_max; i++) {
		struct vcpu *v = mgr.vm->vcpu[i];

		if (v && v != self) {
			vcpu_request(v, VCPU_REQ_SHUTDOWN);
		}
	}
	if (self && self->vm == mgr.vm) {
		vcpu_stop(self, TM_EXIT_SHUTDOWN, 0);
	}
}

static bool all_stopped(void)
{
	for (unsigned i = 0; i < mgr.vm->vcpus_max; i++) {
		struct vcpu *v = mgr.vm->vcpu[i];

		if (v && (__atomic_load_n(&v->state, __ATOMIC_ACQUIRE) != TM_VCPU_STOPPED ||
			  __atomic_load_n(&v->on_cpu, __ATOMIC_ACQUIRE))) {
			return false;
		}
	}
	return true;
}

/* After each stop of a manager vCPU: when all are off their CPUs, the next instance starts. */
void manager_reap(void)
{
	if (manager_alive() || !all_stopped() ||
	    __atomic_exchange_n(&mgr.vm->destroying, true, __ATOMIC_ACQ_REL)) {
		return;		/* not yet, or another CPU is at it */
	}
	/* Another CPU may have been at it and done between our look and our turn. */
	if (manager_alive() || !all_stopped() || mgr.gone) {
		__atomic_store_n(&mgr.vm->destroying, false, __ATOMIC_RELEASE);
		return;
	}
	if (mgr.restarts < MAX_RESTARTS) {
		reload();
	} else {
		log_err("manager: died %u times, not started again; guests run on",
			MAX_RESTARTS + 1);
		mgr.gone = true;
		event_reset();
		window_reset();
		release_vms();
	}
	__atomic_store_n(&mgr.vm->destroying, false, __ATOMIC_RELEASE);
}
