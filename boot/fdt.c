// SPDX-License-Identifier: Apache-2.0
/*
 * Device tree to boot_info, in one walk over the tree: memory, reservations, CPUs, /chosen. What is
 * wanted is copied: the tree may be gone afterwards. Firmware is trusted not to lie but not to be
 * free of mistakes: sizes are checked, and what cannot work is refused by cannot_start().
 */
#include <arch/boot.h>
#include <boot/fdt.h>
#include <hyp/boot_info.h>
#include <hyp/string.h>

#include <libfdt.h>

#define DEPTH_MAX 8

static uint32_t cell(const void *p)
{
	uint32_t v;

	memcpy(&v, p, 4);	/* only 4-byte alignment is promised, and not by everybody */
	return fdt32_to_cpu(v);
}

static uint64_t cells(const uint8_t *p, unsigned n)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < n; i++) {
		v = v << 32 | cell(p + 4 * i);
	}
	return v;
}

bool fdt_is_compatible(const char *list, int len, const char *what)
{
	return list && fdt_stringlist_contains(list, len, what);
}

bool fdt_node_reg(const struct fdt_node *n, unsigned index, uint64_t *base, uint64_t *size)
{
	unsigned entry = 4 * (n->address_cells + n->size_cells);
	const uint8_t *reg;
	int len;

	if (n->address_cells > 2 || n->size_cells > 2) {
		return false;		/* PCI and the like: not an address of ours */
	}
	reg = fdt_getprop(n->fdt, n->offset, "reg", &len);
	if (!reg || len < 0 || (uint64_t)len < ((uint64_t)index + 1) * entry) {
		return false;
	}
	reg += index * entry;
	*base = cells(reg, n->address_cells);
	*size = cells(reg + 4 * n->address_cells, n->size_cells);
	return *base + *size >= *base;
}

bool fdt_node_cell(const struct fdt_node *n, const char *name, unsigned index, uint32_t *value)
{
	int len;
	const uint8_t *p = fdt_getprop(n->fdt, n->offset, name, &len);

	if (!p || len < 0 || (unsigned)len < 4 * (index + 1)) {
		return false;
	}
	*value = cell(p + 4 * index);
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
	bool no_map = fdt_getprop(n->fdt, n->offset, "no-map", NULL) != NULL;
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
	int len;
	const uint8_t *reg = fdt_getprop(n->fdt, n->offset, "reg", &len);

	/* More than we have room for stay off. */
	if (reg && len >= 4 && boot_info.cpu_count < BOOT_MAX_CPUS) {
		boot_info.cpus[boot_info.cpu_count++].hwid = cells(reg, len >= 8 ? 2 : 1);
	}
}

static void chosen_node(const struct fdt_node *n)
{
	int start_len, end_len, len;
	const uint8_t *start = fdt_getprop(n->fdt, n->offset, "linux,initrd-start", &start_len);
	const uint8_t *end = fdt_getprop(n->fdt, n->offset, "linux,initrd-end", &end_len);
	const char *args = fdt_getprop(n->fdt, n->offset, "bootargs", &len);

	if (start && end && start_len >= 4 && end_len >= 4) {
		uint64_t first = cells(start, start_len >= 8 ? 2 : 1);
		uint64_t last = cells(end, end_len >= 8 ? 2 : 1);

		if (last > first) {
			boot_info.modules = (struct mem_range){hpa(first), last - first};
		}
	}
	if (args && len > 0) {
		size_t bytes = MIN((size_t)len, sizeof(boot_info.cmdline) - 1);

		memcpy(boot_info.cmdline, args, bytes);
		boot_info.cmdline[bytes] = '\0';
	}
}

static bool enabled(const struct fdt_node *n)
{
	int len;
	const char *status = fdt_getprop(n->fdt, n->offset, "status", &len);

	return !status || strncmp(status, "ok", 2) == 0;
}

static void visit(const struct fdt_node *n)
{
	int len;
	const char *type = fdt_getprop(n->fdt, n->offset, "device_type", &len);
	const char *compatible;

	if (!enabled(n)) {
		return;
	}
	if (n->in_reserved_memory) {
		reserved_node(n);
	} else if (n->in_cpus) {
		if (type && strcmp(type, "cpu") == 0) {
			cpu_node(n);
		}
	} else if (type && n->depth == 1 && strcmp(type, "memory") == 0) {
		memory_node(n);
	} else {
		compatible = fdt_getprop(n->fdt, n->offset, "compatible", &len);
		if (compatible) {
			machine_node(n, compatible, len);
		}
	}
}

static unsigned cell_count(const void *fdt, int offset, const char *name, unsigned otherwise)
{
	int len;
	const void *p = fdt_getprop(fdt, offset, name, &len);

	return p && len == 4 ? cell(p) : otherwise;
}

static void walk(const void *fdt)
{
	unsigned address_cells[DEPTH_MAX + 1], size_cells[DEPTH_MAX + 1];
	struct fdt_node n = {.fdt = fdt};
	int offset = 0, depth = 0;

	for (; offset >= 0 && depth >= 0; offset = fdt_next_node(fdt, offset, &depth)) {
		const char *name = fdt_get_name(fdt, offset, NULL);

		if (depth >= DEPTH_MAX) {
			continue;
		}
		n.offset = offset;
		n.depth = depth;
		if (depth == 1) {
			n.in_reserved_memory = n.in_cpus = false;
		}
		if (depth > 0) {
			n.address_cells = address_cells[depth - 1];
			n.size_cells = size_cells[depth - 1];
			visit(&n);
		}
		if (depth == 1) {
			n.in_reserved_memory = strcmp(name, "reserved-memory") == 0;
			n.in_cpus = strcmp(name, "cpus") == 0;
			if (strcmp(name, "chosen") == 0) {
				chosen_node(&n);
			}
		}
		address_cells[depth] = cell_count(fdt, offset, "#address-cells", 2);
		size_cells[depth] = cell_count(fdt, offset, "#size-cells", 1);
	}
}

int fdt_stdout(const void *fdt)
{
	int len;
	int chosen = fdt_path_offset(fdt, "/chosen");
	const char *path = chosen < 0 ? NULL : fdt_getprop(fdt, chosen, "stdout-path", &len);
	const char *end;

	if (!path) {
		return -FDT_ERR_NOTFOUND;
	}
	end = strchr(path, ':');
	return fdt_path_offset_namelen(fdt, path, end ? (int)(end - path) : (int)strlen(path));
}

void fdt_parse(const void *fdt)
{
	int err = fdt_check_full(fdt, fdt_totalsize(fdt));
	uint64_t base, size;

	if (err) {
		cannot_start("bad device tree: %s", fdt_strerror(err));
	}
	for (int i = 0; i < fdt_num_mem_rsv(fdt); i++) {
		if (fdt_get_mem_rsv(fdt, i, &base, &size) == 0 && base + size >= base) {
			add_range(boot_info.reserved, &boot_info.reserved_count, base, size,
				  "reserved");
		}
	}
	boot_info.fdt = HPA_NONE;
	walk(fdt);
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
