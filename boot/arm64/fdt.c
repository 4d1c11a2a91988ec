// SPDX-License-Identifier: Apache-2.0
/*
 * Device tree to boot_info, in one walk over the tree: memory, reservations, CPUs, /chosen. What is
 * wanted is copied: the tree may be gone afterwards. Firmware is trusted not to lie but not to be
 * free of mistakes: libfdt checks the structure first, sizes are checked here, and what cannot work
 * is refused by cannot_start(). The walk goes by tags, each property once: looking properties up by
 * name costs a scan each, a million instructions on an ordinary tree.
 */
#include <arch/boot.h>
#include <boot/arm64/fdt.h>
#include <hyp/boot_info.h>
#include <hyp/string.h>

#include <libfdt.h>

#define DEPTH_MAX 8

static const char *const prop_name[FDT_PROP_COUNT] = {
	[FDT_ADDRESS_CELLS] = "#address-cells",
	[FDT_SIZE_CELLS] = "#size-cells",
	[FDT_BOOTARGS] = "bootargs",
	[FDT_COMPATIBLE] = "compatible",
	[FDT_DEVICE_TYPE] = "device_type",
	[FDT_INITRD_END] = "linux,initrd-end",
	[FDT_INITRD_START] = "linux,initrd-start",
	[FDT_INTERRUPTS] = "interrupts",
	[FDT_METHOD] = "method",
	[FDT_NO_MAP] = "no-map",
	[FDT_REDIST_REGIONS] = "#redistributor-regions",
	[FDT_REG] = "reg",
	[FDT_RNG_SEED] = "rng-seed",
	[FDT_STATUS] = "status",
	[FDT_STDOUT_PATH] = "stdout-path",
};

/* Of /chosen, until the walk is over. */
static const char *stdout_path;
static uint64_t seed;

/* By bytes: only 4-byte alignment is promised, and not by everybody. */
static uint32_t cell(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint64_t cells(const uint8_t *p, unsigned n)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < n; i++) {
		v = v << 32 | cell(p + 4 * i);
	}
	return v;
}

/* Text of a property, or NULL when it is absent or not ended. */
static const char *text_of(const struct fdt_node *n, enum fdt_prop_id id)
{
	const uint8_t *p = n->prop[id];

	return p && n->len[id] && p[n->len[id] - 1] == '\0' ? (const char *)p : NULL;
}

bool fdt_is_compatible(const struct fdt_node *n, const char *what)
{
	const char *list = text_of(n, FDT_COMPATIBLE);
	const char *end = list ? list + n->len[FDT_COMPATIBLE] : NULL;

	/* Most nodes are something else from the first letter on. */
	while (list && list < end) {
		if (list[0] == what[0] && strcmp(list, what) == 0) {
			return true;
		}
		list += strlen(list) + 1;
	}
	return false;
}

bool fdt_node_reg(const struct fdt_node *n, unsigned index, uint64_t *base, uint64_t *size)
{
	unsigned entry = 4 * (n->address_cells + n->size_cells);
	const uint8_t *reg = n->prop[FDT_REG];

	if (n->address_cells > 2 || n->size_cells > 2) {
		return false;		/* PCI and the like: not an address of ours */
	}
	if (!reg || n->len[FDT_REG] < ((uint64_t)index + 1) * entry) {
		return false;
	}
	reg += index * entry;
	*base = cells(reg, n->address_cells);
	*size = cells(reg + 4 * n->address_cells, n->size_cells);
	return *base + *size >= *base;
}

bool fdt_node_cell(const struct fdt_node *n, enum fdt_prop_id id, unsigned index, uint32_t *value)
{
	if (!n->prop[id] || n->len[id] < 4 * (index + 1)) {
		return false;
	}
	*value = cell(n->prop[id] + 4 * index);
	return true;
}

/* --- ranges ------------------------------------------------------------------------------------- */
static void add_range(struct mem_range *list, unsigned *count, uint64_t base, uint64_t size,
		      const char *what)
{
	if (size == 0) {
		return;
	}
	if (*count == BOOT_MAX_RANGES) {
		cannot_start("more than %u %s ranges in the device tree", BOOT_MAX_RANGES, what);
	}
	list[*count] = (struct mem_range){hpa(base), size};
	(*count)++;
}

/* Cuts [start, end) out of all RAM ranges. */
static void remove_ram(uint64_t start, uint64_t end)
{
	for (unsigned i = 0; i < boot_info.ram_count; i++) {
		struct mem_range *r = &boot_info.ram[i];
		uint64_t base = r->base.v, top = base + r->size;

		if (end <= base || start >= top) {
			continue;
		}
		r->size = start > base ? start - base : 0;
		if (end < top) {
			add_range(boot_info.ram, &boot_info.ram_count, end, top - end, "memory");
		}
	}
}

/* Whole pages, sorted, merged, below what the direct map has room for. */
static void tidy_ram(void)
{
	struct mem_range *r = boot_info.ram;
	unsigned n = 0;

	remove_ram(1ull << 47, ~0ull);
	for (unsigned i = 0; i < boot_info.ram_count; i++) {
		uint64_t base = ALIGN_UP(r[i].base.v, PAGE_SIZE);
		uint64_t top = ALIGN_DOWN(r[i].base.v + r[i].size, PAGE_SIZE);
		unsigned j = n;

		if (base >= top) {
			continue;
		}
		for (; j > 0 && r[j - 1].base.v > base; j--) {
			r[j] = r[j - 1];
		}
		r[j] = (struct mem_range){hpa(base), top - base};
		n++;
	}
	boot_info.ram_count = n ? 1 : 0;
	for (unsigned i = 1; i < n; i++) {
		struct mem_range *last = &r[boot_info.ram_count - 1];
		uint64_t top = last->base.v + last->size;

		if (r[i].base.v <= top) {
			last->size = MAX(top, r[i].base.v + r[i].size) - last->base.v;
		} else {
			r[boot_info.ram_count++] = r[i];
		}
	}
	if (!n) {
		cannot_start("no memory in the device tree");
	}
}

/* --- nodes -------------------------------------------------------------------------------------- */
static void memory_node(const struct fdt_node *n)
{
	uint64_t base, size;

	for (unsigned i = 0; fdt_node_reg(n, i, &base, &size); i++) {
		add_range(boot_info.ram, &boot_info.ram_count, base, size, "memory");
	}
}

/* Reserved areas that must not even be mapped are taken out of RAM once all of it is known. */
static struct mem_range unmapped[BOOT_MAX_RANGES];
static unsigned unmapped_count;

static void reserved_node(const struct fdt_node *n)
{
	bool no_map = n->prop[FDT_NO_MAP] != NULL;
	uint64_t base, size;

	for (unsigned i = 0; fdt_node_reg(n, i, &base, &size); i++) {
		if (no_map) {
			add_range(unmapped, &unmapped_count, base, size, "no-map");
		} else {
			add_range(boot_info.reserved, &boot_info.reserved_count, base, size,
				  "reserved");
		}
	}
}

static void cpu_node(const struct fdt_node *n)
{
	const uint8_t *reg = n->prop[FDT_REG];
	unsigned len = n->len[FDT_REG];

	/* More than we have room for stay off. */
	if (reg && len >= 4 && boot_info.cpu_count < BOOT_MAX_CPUS) {
		boot_info.cpus[boot_info.cpu_count++].hwid = cells(reg, len >= 8 ? 2 : 1);
	}
}

/* An address in one or two cells, whatever #address-cells says. */
static uint64_t address_of(const struct fdt_node *n, enum fdt_prop_id id)
{
	return n->len[id] >= 8 ? cells(n->prop[id], 2) : n->len[id] >= 4 ? cells(n->prop[id], 1) : 0;
}

static void chosen_node(const struct fdt_node *n)
{
	uint64_t first = address_of(n, FDT_INITRD_START);
	uint64_t last = address_of(n, FDT_INITRD_END);
	size_t len = n->len[FDT_BOOTARGS];

	if (last > first) {
		boot_info.modules = (struct mem_range){hpa(first), last - first};
	}
	if (len) {
		len = MIN(len, sizeof(boot_info.cmdline) - 1);
		memcpy(boot_info.cmdline, n->prop[FDT_BOOTARGS], len);
		boot_info.cmdline[len] = '\0';
	}
	stdout_path = text_of(n, FDT_STDOUT_PATH);
	for (unsigned i = 0; i < n->len[FDT_RNG_SEED]; i++) {
		seed = seed * 0x100000001b3 + n->prop[FDT_RNG_SEED][i];
	}
}

/* All properties of the node are known; its parent is `parent`, "" for children of the root. */
static void visit(const struct fdt_node *n, const char *parent)
{
	const char *status = text_of(n, FDT_STATUS);
	const char *type = text_of(n, FDT_DEVICE_TYPE);

	if (n->depth == 0 || (status && strncmp(status, "ok", 2) != 0)) {
		return;
	}
	if (n->depth == 1 && strcmp(n->name, "chosen") == 0) {
		chosen_node(n);
	} else if (n->depth == 2 && strcmp(parent, "reserved-memory") == 0) {
		reserved_node(n);
	} else if (n->depth == 2 && strcmp(parent, "cpus") == 0) {
		if (type && strcmp(type, "cpu") == 0) {
			cpu_node(n);
		}
	} else if (n->depth == 1 && type && strcmp(type, "memory") == 0) {
		memory_node(n);
	} else if (n->prop[FDT_COMPATIBLE]) {
		machine_node(n);
	}
}

/* p: the property behind its tag: length, offset of its name, value. */
static void take_property(struct fdt_node *n, const uint8_t *p)
{
	const char *name = (const char *)n->fdt + fdt_off_dt_strings(n->fdt) + cell(p + 4);

	for (unsigned i = 0; i < FDT_PROP_COUNT; i++) {
		if (name[0] == prop_name[i][0] && strcmp(name, prop_name[i]) == 0) {
			n->prop[i] = p + 8;
			n->len[i] = cell(p);
			return;
		}
	}
}

/* A node begins: nothing is known of it but its name and its parent's cells. */
static void begin_node(struct fdt_node *n, const uint8_t *name, const unsigned (*up)[2])
{
	const uint8_t *block = (const uint8_t *)n->fdt + fdt_off_dt_struct(n->fdt);

	n->offset = (int)(name - FDT_TAGSIZE - block);
	n->name = (const char *)name;
	n->address_cells = n->depth ? up[n->depth - 1][0] : 2;
	n->size_cells = n->depth ? up[n->depth - 1][1] : 1;
	memset(n->prop, 0, sizeof(n->prop));
	memset(n->len, 0, sizeof(n->len));
}

/* All properties of n have been taken: its children's cells, then what it means. */
static void end_properties(const struct fdt_node *n, unsigned (*level_cells)[2], const char *parent)
{
	uint32_t value = 2;

	(void)fdt_node_cell(n, FDT_ADDRESS_CELLS, 0, &value);
	level_cells[n->depth][0] = value;
	value = 1;
	(void)fdt_node_cell(n, FDT_SIZE_CELLS, 0, &value);
	level_cells[n->depth][1] = value;
	visit(n, parent);
}

/* fdt_check_full() has been through all of it: tags, names and lengths are inside the tree. */
static void walk(const void *fdt)
{
	const uint8_t *p = (const uint8_t *)fdt + fdt_off_dt_struct(fdt);
	unsigned level_cells[DEPTH_MAX + 1][2] = {{0}};
	const char *parent = "";	/* at depth 1 */
	struct fdt_node n = {.fdt = fdt, .depth = -1};
	bool open = false;		/* n has not been visited yet */
	uint32_t tag;

	do {
		tag = cell(p);
		p += FDT_TAGSIZE;
		if (open && tag != FDT_PROP && tag != FDT_NOP) {
			end_properties(&n, level_cells, parent);
			open = false;
		}
		if (tag == FDT_BEGIN_NODE) {
			n.depth++;
			open = n.depth < DEPTH_MAX;
			if (open) {
				begin_node(&n, p, level_cells);
				parent = n.depth == 1 ? n.name : parent;
			}
			p += ALIGN_UP(strlen((const char *)p) + 1, (size_t)FDT_TAGSIZE);
		} else if (tag == FDT_END_NODE) {
			n.depth--;
		} else if (tag == FDT_PROP) {
			if (open) {
				take_property(&n, p);
			}
			p += 8 + ALIGN_UP((size_t)cell(p), (size_t)FDT_TAGSIZE);
		}
	} while (tag != FDT_END);
}

/*
 * The memory reservation block. U-Boot puts the archive there too; its pages are not firmware's for
 * ever, they become the manager's.
 */
static void reserve_map(const void *fdt)
{
	uint64_t base, size;

	for (int i = 0; i < fdt_num_mem_rsv(fdt); i++) {
		if (fdt_get_mem_rsv(fdt, i, &base, &size) != 0 || base + size < base ||
		    (base == boot_info.modules.base.v && size == boot_info.modules.size)) {
			continue;
		}
		add_range(boot_info.reserved, &boot_info.reserved_count, base, size, "reserved");
	}
}

void fdt_parse(const void *fdt)
{
	int err = fdt_check_full(fdt, fdt_totalsize(fdt));

	if (err) {
		cannot_start("bad device tree: %s", fdt_strerror(err));
	}
	boot_info.fdt = HPA_NONE;
	unmapped_count = 0;
	stdout_path = NULL;
	seed = 0;
	walk(fdt);
	reserve_map(fdt);
	machine_chosen(fdt, stdout_path, seed);
	tidy_ram();
	for (unsigned i = 0; i < unmapped_count; i++) {
		remove_ram(ALIGN_DOWN(unmapped[i].base.v, PAGE_SIZE),
			   ALIGN_UP(unmapped[i].base.v + unmapped[i].size, PAGE_SIZE));
	}
	tidy_ram();
	if (!boot_info.cpu_count) {
		cannot_start("no CPUs in the device tree");
	}
}
