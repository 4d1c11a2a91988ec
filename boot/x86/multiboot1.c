// SPDX-License-Identifier: Apache-2.0
/* Multiboot 0.6.96, "Boot information format". Boot CPU, boot time; read-only. */
#include <boot/x86/ways.h>
#include <hyp/boot_info.h>

#define FLAG_MEMORY (1u << 0)
#define FLAG_CMDLINE (1u << 2)
#define FLAG_MODULES (1u << 3)
#define FLAG_MAP (1u << 6)

#define MAP_BYTES_MAX 65536u
#define TYPE_RAM 1u

struct mb1_info {
	uint32_t flags;
	uint32_t mem_lower, mem_upper;		/* KiB */
	uint32_t boot_device;
	uint32_t cmdline;
	uint32_t mods_count, mods_addr;
	uint32_t syms[4];
	uint32_t map_length, map_addr;
};

struct mb1_module {
	uint32_t start, end, string, reserved;
};

struct mb1_map {
	uint32_t size;				/* of what follows */
	uint64_t base, length;
	uint32_t type;
} __attribute__((packed));

static void each_range(const char *map, uint32_t bytes, bool ram)
{
	for (uint32_t at = 0; at + sizeof(struct mb1_map) <= bytes;) {
		const struct mb1_map *e = (const struct mb1_map *)(map + at);

		if (ram && e->type == TYPE_RAM) {
			boot_add_ram(e->base, e->length);
		} else if (!ram && e->type != TYPE_RAM) {
			boot_cut_ram(e->base, e->length);
		}
		if (e->size > bytes - at - 4) {
			return;
		}
		at += 4 + e->size;
	}
}

static void memory(const struct mb1_info *info)
{
	if (info->flags & FLAG_MAP) {
		uint32_t bytes = MIN(info->map_length, MAP_BYTES_MAX);
		const char *map = boot_read(info->map_addr, bytes, "the memory map");

		each_range(map, bytes, true);
		each_range(map, bytes, false);
	} else if (info->flags & FLAG_MEMORY) {
		boot_add_ram(0, info->mem_lower * 1024ull);
		boot_add_ram(1ull << 20, info->mem_upper * 1024ull);
	}
}

void multiboot1_parse(uint64_t pa)
{
	const struct mb1_info *info = boot_read(pa, sizeof(*info), "Multiboot's information");

	memory(info);
	if ((info->flags & FLAG_MODULES) && info->mods_count) {
		const struct mb1_module *m = boot_read(info->mods_addr, sizeof(*m), "the module list");

		boot_set_module(m->start, m->end - MIN(m->start, m->end));
	}
	if (info->flags & FLAG_CMDLINE) {
		boot_set_cmdline(boot_read(info->cmdline, BOOT_CMDLINE_LEN, "the command line"),
				 BOOT_CMDLINE_LEN);
	}
}
