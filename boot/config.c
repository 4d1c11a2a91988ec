// SPDX-License-Identifier: Apache-2.0
/*
 * The VM configuration: device tree in, plain structs out. Pure C over libfdt with no state of its
 * own, so the same code runs at boot, in `make config-check` and in the host tests. The blob is
 * hostile: libfdt has checked its structure before anything is read, and every value is checked
 * here. A VM with a problem is left out; each of its problems is one reported line
 *     path: property: asked X, there is Y
 * boot/config.md says what every property means; the table below is its index.
 */
#include <abi/hypercall.h>
#include <abi/memory.h>
#include <boot/guest_fdt.h>
#include <hyp/config.h>
#include <hyp/err.h>
#include <hyp/log.h>

#include <libfdt.h>
#include <string.h>

#define MEM_MIN (1ull << 20)
#define RING_MIN 256u			/* one page of entries */
#define PRIO_MANAGER 1u
#define PRIO_GUEST 2u
#define PRIO_MAX 7u
#define SLICE_MIN_US 100u
#define SLICE_MAX_US 1000000u
#define DIRTY_KNOWN                                                                                \
	(TM_DIRTY_RING | TM_DIRTY_BITMAP | TM_DIRTY_MANUAL | TM_DIRTY_INITIALLY_SET |              \
	 TM_DIRTY_SPILL | TM_DIRTY_RING_GEN | TM_DIRTY_EAGER_SPLIT)

struct reader {
	const void *fdt;
	int node;
	const char *name;		/* of the node */
	const struct config_machine *machine;
	struct config *out;
	struct vm_config *vm;
	uint64_t ram_left;
	bool bad;
	uint32_t seen;			/* bit i: properties[i] is there */
	const char *property;
	const uint8_t *data;
	int len;
};

static void report(struct reader *r, const char *property, const char *asked, const char *there)
{
	char text[256];

	hyp_snprintf(text, sizeof(text), "/tidemark/%s: %s: asked %s, there is %s", r->name, property,
		     asked, there);
	r->machine->report(text);
	r->bad = true;
}

static void report_number(struct reader *r, uint64_t asked, const char *there)
{
	char text[32];

	hyp_snprintf(text, sizeof(text), "%#lx", asked);
	report(r, r->property, text, there);
}

/* asked: a count, shown in decimal; there: low..high */
static void report_range(struct reader *r, uint64_t asked, uint64_t low, uint64_t high)
{
	char text[32], there[64];

	hyp_snprintf(text, sizeof(text), "%lu", asked);
	hyp_snprintf(there, sizeof(there), "%lu to %lu", low, high);
	report(r, r->property, text, there);
}

static void report_length(struct reader *r, const char *want)
{
	char text[32];

	hyp_snprintf(text, sizeof(text), "%d bytes", r->len);
	report(r, r->property, text, want);
}

static uint64_t cells(const uint8_t *p, unsigned n)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < 4 * n; i++) {
		v = v << 8 | p[i];
	}
	return v;
}

/* --- values ------------------------------------------------------------------------------------- */

/* A number of one or two cells. */
static bool take_number(struct reader *r, uint64_t *value)
{
	if (r->len != 4 && r->len != 8) {
		report_length(r, "a number of 1 or 2 cells");
		return false;
	}
	*value = cells(r->data, (unsigned)r->len / 4);
	return true;
}

static bool take_range(struct reader *r, uint64_t low, uint64_t high, uint64_t *value)
{
	if (!take_number(r, value)) {
		return false;
	}
	if (*value < low || *value > high) {
		report_range(r, *value, low, high);
		return false;
	}
	return true;
}

static bool take_flag(struct reader *r)
{
	if (r->len != 0) {
		report_length(r, "a flag without a value");
		return false;
	}
	return true;
}

/* One or more strings, joined by spaces. */
static bool take_string(struct reader *r, char *to, size_t size)
{
	if (r->len <= 0 || r->data[r->len - 1] != '\0') {
		report_length(r, "a string");
		return false;
	}
	if ((size_t)r->len > size) {
		char there[32];

		hyp_snprintf(there, sizeof(there), "room for %lu", (uint64_t)size - 1);
		report_length(r, there);
		return false;
	}
	for (int i = 0; i < r->len - 1; i++) {
		to[i] = r->data[i] ? (char)r->data[i] : ' ';
	}
	to[r->len - 1] = '\0';
	return true;
}

static void take_module(struct reader *r, char *to)
{
	if (!take_string(r, to, CONFIG_STR)) {
		return;
	}
	if (!r->machine->has_module(to)) {
		report(r, r->property, to, "no such module in the archive");
	}
}

static void take_pages(struct reader *r, uint64_t *to)
{
	uint64_t v;

	if (!take_number(r, &v)) {
		return;
	}
	if (!IS_ALIGNED(v, PAGE_SIZE)) {
		report_number(r, v, "a multiple of 0x1000 only");
		return;
	}
	*to = v;
}

/* --- properties --------------------------------------------------------------------------------- */
static void p_manager(struct reader *r)
{
	r->vm->manager = take_flag(r);
}

static void p_autostart(struct reader *r)
{
	r->vm->autostart = take_flag(r);
}

static void p_image(struct reader *r)
{
	take_module(r, r->vm->image);
}

static void p_ramdisk(struct reader *r)
{
	take_module(r, r->vm->ramdisk);
}

static void p_dtb(struct reader *r)
{
	take_module(r, r->vm->dtb);
}

static void p_bootargs(struct reader *r)
{
	take_string(r, r->vm->bootargs, CONFIG_BOOTARGS);
}

static void p_memory_base(struct reader *r)
{
	uint64_t v;

	if (!take_number(r, &v)) {
		return;
	}
	if (v < r->machine->board->ram_base || !IS_ALIGNED(v, LEVEL_SIZE(1))) {
		char there[64];

		hyp_snprintf(there, sizeof(there), "RAM from %#lx on, in steps of 0x200000",
			     r->machine->board->ram_base);
		report_number(r, v, there);
		return;
	}
	r->vm->mem_base = v;
}

static void p_memory_size(struct reader *r)
{
	take_pages(r, &r->vm->mem_size);
	if (r->vm->mem_size < MEM_MIN && !r->bad) {
		report_number(r, r->vm->mem_size, "0x100000 at least");
	}
}

static void p_pool_size(struct reader *r)
{
	take_pages(r, &r->vm->pool_size);
}

static void p_vcpus(struct reader *r)
{
	uint64_t v;

	if (take_range(r, 1, TM_MAX_VCPUS, &v)) {
		r->vm->vcpus = (unsigned)v;
	}
}

static void p_priority(struct reader *r)
{
	uint64_t v;

	if (take_range(r, 0, PRIO_MAX, &v)) {
		r->vm->prio = (unsigned)v;
	}
}

static void p_affinity(struct reader *r)
{
	unsigned cpus = r->machine->cpus;
	uint64_t all = cpus >= 64 ? ~0ull : (1ull << cpus) - 1;
	uint64_t v;
	char there[48];

	if (!take_number(r, &v)) {
		return;
	}
	if ((v & all) == 0) {
		hyp_snprintf(there, sizeof(there), "CPUs %#lx", all);
		report_number(r, v, there);
		return;
	}
	r->vm->affinity = v;
}

static void p_slice(struct reader *r)
{
	take_range(r, SLICE_MIN_US, SLICE_MAX_US, &r->vm->slice_us);
}

static void p_dirty_flags(struct reader *r)
{
	uint64_t v;

	if (!take_number(r, &v)) {
		return;
	}
	if (v & ~(uint64_t)DIRTY_KNOWN) {
		report_number(r, v, "flags 0x7f only");
		return;
	}
	r->vm->dirty_flags = (uint32_t)v;
}

static void p_ring_entries(struct reader *r)
{
	uint64_t v;

	if (!take_number(r, &v)) {
		return;
	}
	if (v < RING_MIN || v > TM_RING_MAX_ENTRIES || (v & (v - 1))) {
		report_number(r, v, "a power of two from 0x100 to 0x10000");
		return;
	}
	r->vm->ring_entries = (uint32_t)v;
}

static bool overlap(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
	return a < b + b_size && b < a + a_size;
}

static void mmio_window(struct reader *r, uint64_t base, uint64_t size)
{
	const struct guest_board *board = r->machine->board;
	struct vm_config *vm = r->vm;

	if (!IS_ALIGNED(base | size, PAGE_SIZE) || size == 0) {
		report_number(r, IS_ALIGNED(base, PAGE_SIZE) ? size : base, "whole pages only");
		return;
	}
	if (base + size < base || (base + size) >> r->machine->gpa_bits) {
		report_number(r, base, "nothing above the end of guest-physical memory");
		return;
	}
	for (unsigned i = 0; i < board->device_count; i++) {
		if (overlap(base, size, board->device[i].base, board->device[i].size)) {
			report_number(r, base, "a device of the board");
			return;
		}
	}
	for (unsigned i = 0; i < vm->mmio_count; i++) {
		if (overlap(base, size, vm->mmio[i].gpa, vm->mmio[i].size)) {
			report_number(r, base, "another window");
			return;
		}
	}
	vm->mmio[vm->mmio_count++] = (struct tm_range){base, size};
}

static void p_mmio(struct reader *r)
{
	if (r->len <= 0 || r->len % 16) {
		report_length(r, "pairs of base and size, 2 cells each");
		return;
	}
	if ((unsigned)r->len / 16 > TM_VM_MMIO_WINDOWS) {
		report_range(r, (unsigned)r->len / 16, 1, TM_VM_MMIO_WINDOWS);
		return;
	}
	for (int i = 0; i < r->len; i += 16) {
		mmio_window(r, cells(r->data + i, 2), cells(r->data + i + 8, 2));
	}
}

static const struct property {
	const char *name;
	void (*take)(struct reader *r);
	bool guest_only;
} properties[] = {
	{"manager", p_manager, false},
	{"image", p_image, false},
	{"bootargs", p_bootargs, false},
	{"vcpus", p_vcpus, false},
	{"priority", p_priority, false},
	{"affinity", p_affinity, false},
	{"slice-us", p_slice, false},
	{"memory-size", p_memory_size, false},
	{"memory-base", p_memory_base, true},
	{"pool-size", p_pool_size, true},
	{"ramdisk", p_ramdisk, true},
	{"dtb", p_dtb, true},
	{"dirty-flags", p_dirty_flags, true},
	{"ring-entries", p_ring_entries, true},
	{"mmio", p_mmio, true},
	{"autostart", p_autostart, true},
};

static bool has(const struct reader *r, const char *name)
{
	for (unsigned i = 0; i < ARRAY_SIZE(properties); i++) {
		if (strcmp(properties[i].name, name) == 0) {
			return (r->seen >> i) & 1;
		}
	}
	return false;
}

static void read_properties(struct reader *r)
{
	int at;

	fdt_for_each_property_offset(at, r->fdt, r->node) {
		unsigned i = 0;

		r->data = fdt_getprop_by_offset(r->fdt, at, &r->property, &r->len);
		if (!r->data || !r->property) {
			report(r, "?", "a property", "a damaged tree");
			return;
		}
		while (i < ARRAY_SIZE(properties) && strcmp(properties[i].name, r->property) != 0) {
			i++;
		}
		if (i == ARRAY_SIZE(properties)) {
			report(r, r->property, "for it", "no such property");
			continue;
		}
		r->seen |= 1u << i;
		properties[i].take(r);
	}
}

/* --- rules between properties ------------------------------------------------------------------- */
static void check_dirty(struct reader *r)
{
	uint32_t f = r->vm->dirty_flags;
	const char *need = NULL;

	r->property = "dirty-flags";
	if (!(f & (TM_DIRTY_RING | TM_DIRTY_BITMAP))) {
		need = "RING (1), BITMAP (2) or both to choose from";
	} else if ((f & TM_DIRTY_MANUAL) && !(f & TM_DIRTY_BITMAP)) {
		need = "MANUAL (4) with BITMAP (2) only";
	} else if ((f & TM_DIRTY_INITIALLY_SET) &&
		   (!(f & TM_DIRTY_MANUAL) || (f & TM_DIRTY_RING))) {
		need = "INITIALLY_SET (8) with MANUAL (4) and without RING (1) only";
	} else if ((f & TM_DIRTY_SPILL) && (f & 3) != 3) {
		need = "SPILL (16) with RING (1) and BITMAP (2) only";
	} else if ((f & TM_DIRTY_RING_GEN) && !(f & TM_DIRTY_RING)) {
		need = "RING_GEN (32) with RING (1) only";
	}
	if (need) {
		report_number(r, f, need);
		return;
	}
	if ((f & TM_DIRTY_RING) && !r->vm->ring_entries) {
		report(r, "ring-entries", "nothing", "a ring in dirty-flags that needs it");
	}
	if (!(f & TM_DIRTY_RING) && r->vm->ring_entries) {
		r->property = "ring-entries";
		report_number(r, r->vm->ring_entries, "no RING (1) in dirty-flags");
	}
}

static void check_guest_memory(struct reader *r)
{
	struct vm_config *vm = r->vm;
	uint64_t limit = 1ull << r->machine->gpa_bits;
	char there[64];

	if (!has(r, "memory-size")) {
		report(r, "memory-size", "nothing", "no default for a guest");
		return;
	}
	r->property = "memory-size";
	hyp_snprintf(there, sizeof(there), "%#lx left", r->ram_left);
	if (vm->mem_size > r->ram_left) {
		report_number(r, vm->mem_size, there);
		return;
	}
	if (vm->mem_base >= limit || vm->mem_size > limit - vm->mem_base) {
		hyp_snprintf(there, sizeof(there), "%u bits of guest-physical memory",
			     r->machine->gpa_bits);
		report_number(r, vm->mem_size, there);
		return;
	}
	if (overlap(vm->mem_base, vm->mem_size, r->machine->board->hole.base,
		    r->machine->board->hole.size)) {
		hyp_snprintf(there, sizeof(there), "no RAM from %#lx to %#lx",
			     r->machine->board->hole.base,
			     r->machine->board->hole.base + r->machine->board->hole.size);
		report_number(r, vm->mem_size, there);
		return;
	}
	if (vm->pool_size > r->ram_left - vm->mem_size) {
		r->property = "pool-size";
		hyp_snprintf(there, sizeof(there), "%#lx left", r->ram_left - vm->mem_size);
		report_number(r, vm->pool_size, there);
	}
	for (unsigned i = 0; i < vm->mmio_count; i++) {
		if (overlap(vm->mmio[i].gpa, vm->mmio[i].size, vm->mem_base, vm->mem_size)) {
			r->property = "mmio";
			report_number(r, vm->mmio[i].gpa, "RAM of this VM");
		}
	}
}

static void check_manager(struct reader *r)
{
	char there[32];

	for (unsigned i = 0; i < ARRAY_SIZE(properties); i++) {
		if (properties[i].guest_only && (r->seen >> i) & 1) {
			report(r, properties[i].name, "for the manager", "it for guests only");
		}
	}
	for (unsigned i = 0; i < r->out->count; i++) {
		if (r->out->vm[i].manager) {
			report(r, "manager", "a second one", "one already");
		}
	}
	if (r->vm->mem_size > r->ram_left) {
		r->property = "memory-size";
		hyp_snprintf(there, sizeof(there), "%#lx left", r->ram_left);
		report_number(r, r->vm->mem_size, there);
	}
}

static void check_name(struct reader *r)
{
	const char *there = NULL;
	size_t len = strlen(r->name);

	if (len == 0 || len >= TM_VM_NAME_LEN) {
		there = "1 to 31 characters";
	}
	for (size_t i = 0; i < len && !there; i++) {
		char c = r->name[i];

		if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.' ||
		      c == '-')) {
			there = "a-z 0-9 _ . - only";
		}
	}
	for (unsigned i = 0; i < r->out->count && !there; i++) {
		if (strcmp(r->out->vm[i].name, r->name) == 0) {
			there = "a VM of that name already";
		}
	}
	if (there) {
		report(r, "name", r->name, there);
	} else {
		memcpy(r->vm->name, r->name, len + 1);
	}
}

static void check_vm(struct reader *r)
{
	int child = fdt_first_subnode(r->fdt, r->node);

	if (child >= 0) {
		report(r, fdt_get_name(r->fdt, child, NULL), "a node", "no node inside a VM");
	}
	if (!has(r, "image")) {
		report(r, "image", "nothing", "no default");
	}
	if (r->vm->manager) {
		check_manager(r);
	} else {
		check_dirty(r);
		check_guest_memory(r);
	}
}

static void read_vm(struct reader *r, int node)
{
	struct vm_config *vm;

	r->node = node;
	r->name = fdt_get_name(r->fdt, node, NULL);
	r->bad = false;
	r->seen = 0;
	if (r->out->count == CONFIG_MAX_VMS) {
		report(r, "vm", "one more", "room for 16");
		r->out->skipped++;
		return;
	}
	vm = r->vm = &r->out->vm[r->out->count];
	memset(vm, 0, sizeof(*vm));
	vm->mem_base = r->machine->board->ram_base;
	vm->vcpus = 1;
	vm->dirty_flags = TM_DIRTY_BITMAP | TM_DIRTY_MANUAL;
	vm->prio = PRIO_MAX + 1;
	check_name(r);
	read_properties(r);
	check_vm(r);
	if (vm->prio > PRIO_MAX) {
		vm->prio = vm->manager ? PRIO_MANAGER : PRIO_GUEST;
	}
	if (r->bad) {
		r->out->skipped++;
		r->out->manager_bad |= vm->manager;
		return;
	}
	r->ram_left -= vm->mem_size + vm->pool_size;
	r->out->count++;
}

int config_parse(const void *dtb, uint64_t size, const struct config_machine *m, struct config *out)
{
	struct reader r = {.fdt = dtb, .machine = m, .out = out, .ram_left = m->ram_free};
	int err = size > INT32_MAX ? -FDT_ERR_BADSTRUCTURE : fdt_check_full(dtb, size);
	char text[128];
	int top, node;

	out->count = 0;
	out->skipped = 0;
	out->manager_bad = false;
	if (err) {
		hyp_snprintf(text, sizeof(text), "/: tree: asked %lu bytes, there is %s", size,
			     fdt_strerror(err));
		m->report(text);
		return -TM_EINVAL;
	}
	top = fdt_path_offset(dtb, "/tidemark");
	if (top < 0 || fdt_node_check_compatible(dtb, top, "tidemark,config") != 0) {
		m->report("/tidemark: compatible: asked \"tidemark,config\", there is no such node");
		return -TM_ENOENT;
	}
	fdt_for_each_subnode(node, dtb, top) {
		read_vm(&r, node);
	}
	return 0;
}
