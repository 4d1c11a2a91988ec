// SPDX-License-Identifier: Apache-2.0
//
// tm_boot: what a guest program learns from its device tree before main. Written once by the boot
// CPU. The tree is the hypervisor's (or QEMU's) and trusted as far as libfdt checks it.

#include <libfdt.h>
#include <stdlib.h>
#include <string.h>
#include <tidemark/arch.h>
#include <tidemark/call.h>
#include <tidemark/guest.h>
#include "percpu.h"

#define HEAP_MAX (16u << 20)
#define UART_DEFAULT 0x09000000u	/* QEMU virt's, and our board's */

extern char __guest_start[], _end[];

struct tm_boot tm_boot = {.bootargs = "", .uart = UART_DEFAULT, .cpu_count = 1};

static uint64_t cells(const fdt32_t *p, int n)
{
	uint64_t v = 0;

	for (int i = 0; i < n; i++) {
		v = v << 32 | fdt32_to_cpu(p[i]);
	}
	return v;
}

/* Entry `index` of node's reg, in the parent's cells. */
static bool get_reg(const void *fdt, int node, int ac, int sc, int index, struct tm_range *r)
{
	int len = 0;
	const fdt32_t *p = fdt_getprop(fdt, node, "reg", &len);
	int stride = ac + sc;

	if (p == NULL || ac < 1 || ac > 2 || sc < 0 || sc > 2 || len / 4 < stride * (index + 1)) {
		return false;
	}
	p += stride * index;
	r->gpa = cells(p, ac);
	r->size = cells(p + ac, sc);
	return true;
}

static void parse_memory(const void *fdt, int node, int ac, int sc)
{
	struct tm_range r;

	for (int i = 0; tm_boot.mem_count < TM_GUEST_RANGES && get_reg(fdt, node, ac, sc, i, &r);
	     i++) {
		if (r.size != 0) {
			tm_boot.mem[tm_boot.mem_count++] = r;
		}
	}
}

static void add_reserved(uint64_t gpa, uint64_t size)
{
	if (size != 0 && tm_boot.rsvd_count < TM_GUEST_RANGES) {
		tm_boot.rsvd[tm_boot.rsvd_count++] = (struct tm_range){gpa, size};
	}
}

static void parse_reserved(const void *fdt)
{
	int node = fdt_path_offset(fdt, "/reserved-memory");
	int child;
	struct tm_range r;

	for (int i = 0; i < fdt_num_mem_rsv(fdt); i++) {
		uint64_t gpa = 0;
		uint64_t size = 0;

		if (fdt_get_mem_rsv(fdt, i, &gpa, &size) == 0) {
			add_reserved(gpa, size);
		}
	}
	if (node < 0) {
		return;
	}
	fdt_for_each_subnode(child, fdt, node) {
		for (int i = 0; get_reg(fdt, child, fdt_address_cells(fdt, node),
					fdt_size_cells(fdt, node), i, &r); i++) {
			add_reserved(r.gpa, r.size);
		}
	}
}

static void parse_chosen(const void *fdt)
{
	int node = fdt_path_offset(fdt, "/chosen");
	int len = 0;
	const char *args;
	const fdt32_t *start;
	const fdt32_t *end;

	if (node < 0) {
		return;
	}
	args = fdt_getprop(fdt, node, "bootargs", &len);
	if (args != NULL && len > 0 && args[len - 1] == '\0') {
		tm_boot.bootargs = args;
	}
	start = fdt_getprop(fdt, node, "linux,initrd-start", &len);
	if (start == NULL || (len != 4 && len != 8)) {
		return;
	}
	tm_boot.initrd.gpa = cells(start, len / 4);
	end = fdt_getprop(fdt, node, "linux,initrd-end", &len);
	if (end != NULL && (len == 4 || len == 8) && cells(end, len / 4) > tm_boot.initrd.gpa) {
		tm_boot.initrd.size = cells(end, len / 4) - tm_boot.initrd.gpa;
	}
}

/* Index 0 is the CPU that runs this, whatever its place in the tree. */
static void parse_cpus(const void *fdt)
{
	int node = fdt_path_offset(fdt, "/cpus");
	int child;
	uint32_t count = 0;
	uint64_t mine = tm_cpu_id();
	struct tm_range r;

	if (node >= 0) {
		fdt_for_each_subnode(child, fdt, node) {
			int len = 0;
			const char *type = fdt_getprop(fdt, child, "device_type", &len);

			if (type == NULL || strcmp(type, "cpu") != 0 || count == TM_GUEST_CPUS ||
			    !get_reg(fdt, child, fdt_address_cells(fdt, node), 0, 0, &r)) {
				continue;
			}
			tm_boot.mpidr[count++] = r.gpa;
		}
	}
	tm_boot.cpu_count = count != 0 ? count : 1;
	for (uint32_t i = 1; i < count; i++) {
		if (tm_boot.mpidr[i] == mine) {
			tm_boot.mpidr[i] = tm_boot.mpidr[0];
		}
	}
	tm_boot.mpidr[0] = mine;
}

static void parse_device(const void *fdt, int node, int ac, int sc)
{
	struct tm_range r;

	if (fdt_node_check_compatible(fdt, node, "arm,gic-v3") == 0) {
		if (get_reg(fdt, node, ac, sc, 0, &tm_boot.gicd) &&
		    get_reg(fdt, node, ac, sc, 1, &tm_boot.gicr)) {
			tm_boot.gic_version = 3;
		}
	} else if (fdt_node_check_compatible(fdt, node, "arm,cortex-a15-gic") == 0 ||
		   fdt_node_check_compatible(fdt, node, "arm,gic-400") == 0) {
		if (get_reg(fdt, node, ac, sc, 0, &tm_boot.gicd) &&
		    get_reg(fdt, node, ac, sc, 1, &tm_boot.gicc)) {
			tm_boot.gic_version = 2;
		}
	} else if (fdt_node_check_compatible(fdt, node, "arm,pl011") == 0 &&
		   get_reg(fdt, node, ac, sc, 0, &r) && tm_boot.uart == 0) {
		tm_boot.uart = r.gpa;
	}
}

static uint32_t prop_u32(const void *fdt, int node, const char *name)
{
	int len = 0;
	const fdt32_t *p = fdt_getprop(fdt, node, name, &len);

	return p != NULL && len == 4 ? fdt32_to_cpu(*p) : 0;
}

static void parse_tidemark(const void *fdt)
{
	int node = fdt_path_offset(fdt, "/tidemark");
	int len = 0;
	const fdt32_t *p;

	if (node < 0) {
		return;
	}
	p = fdt_getprop(fdt, node, "window", &len);
	if (p != NULL && len == 16) {
		tm_boot.window = (struct tm_range){cells(p, 2), cells(p + 2, 2)};
	}
	tm_boot.max_vms = prop_u32(fdt, node, "max-vms");
	tm_boot.max_vcpus = prop_u32(fdt, node, "max-vcpus");
	tm_boot.restart_count = prop_u32(fdt, node, "restart-count");
}

/* The heap ends at the first thing above the image that is not ours to use. */
static void clip(uint64_t *end, uint64_t start, struct tm_range r)
{
	if (r.size != 0 && r.gpa >= start && r.gpa < *end) {
		*end = r.gpa;
	}
}

static void place_heap(void)
{
	uint64_t image = (uint64_t)(uintptr_t)__guest_start;
	uint64_t start = (uint64_t)(uintptr_t)_end;
	uint64_t end = start;

	for (uint32_t i = 0; i < tm_boot.mem_count; i++) {
		struct tm_range m = tm_boot.mem[i];

		if (image >= m.gpa && image - m.gpa < m.size) {
			end = m.gpa + m.size;
		}
	}
	if (end > start + HEAP_MAX) {
		end = start + HEAP_MAX;
	}
	clip(&end, start, (struct tm_range){TM_GPA(tm_boot.dtb), tm_boot.dtb_size});
	clip(&end, start, tm_boot.initrd);
	for (uint32_t i = 0; i < tm_boot.rsvd_count; i++) {
		clip(&end, start, tm_boot.rsvd[i]);
	}
	end &= ~(uint64_t)(TM_PAGE_SIZE - 1);
	tm_boot.image = (struct tm_range){image, (end > start ? end : start) - image};
}

void tm_boot_parse(const void *dtb)
{
	int node;
	int ac;
	int sc;

	if (dtb == NULL || fdt_check_header(dtb) != 0) {
		tm_crash("no device tree at 0x%llx", (unsigned long long)TM_GPA(dtb));
	}
	tm_boot.dtb = dtb;
	tm_boot.dtb_size = fdt_totalsize(dtb);
	tm_boot.uart = 0;
	ac = fdt_address_cells(dtb, 0);
	sc = fdt_size_cells(dtb, 0);
	fdt_for_each_subnode(node, dtb, 0) {
		int len = 0;
		const char *type = fdt_getprop(dtb, node, "device_type", &len);

		if (type != NULL && strcmp(type, "memory") == 0) {
			parse_memory(dtb, node, ac, sc);
		} else {
			parse_device(dtb, node, ac, sc);
		}
	}
	parse_reserved(dtb);
	parse_chosen(dtb);
	parse_cpus(dtb);
	parse_tidemark(dtb);
	place_heap();
}

bool tm_bootarg(const char *key, char *value, size_t size)
{
	size_t n = strlen(key);

	for (const char *p = tm_boot.bootargs; *p != '\0';) {
		size_t len = strcspn(p, " ");

		if (len > n && strncmp(p, key, n) == 0 && p[n] == '=') {
			size_t v = len - n - 1;

			if (v >= size) {
				return false;
			}
			memcpy(value, p + n + 1, v);
			value[v] = '\0';
			return true;
		}
		p += len;
		p += strspn(p, " ");
	}
	return false;
}

uint64_t tm_bootarg_u64(const char *key, uint64_t otherwise)
{
	char text[32];
	char *end = text;
	uint64_t v;

	if (!tm_bootarg(key, text, sizeof(text))) {
		return otherwise;
	}
	v = strtoull(text, &end, 0);
	switch (*end) {
	case 'K':
		return v << 10;
	case 'M':
		return v << 20;
	case 'G':
		return v << 30;
	default:
		return v;
	}
}
