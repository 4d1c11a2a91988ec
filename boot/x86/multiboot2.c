// SPDX-License-Identifier: Apache-2.0
/* Multiboot 2.0, "Boot information": a list of tags. Boot CPU, boot time; read-only. */
#include <boot/x86/ways.h>
#include <hyp/boot_info.h>

#define INFO_BYTES_MAX (1u << 20)
#define TAG_END 0u
#define TAG_CMDLINE 1u
#define TAG_MODULE 3u
#define TAG_MAP 6u
#define TAG_RSDP_OLD 14u
#define TAG_RSDP_NEW 15u
#define TYPE_RAM 1u

struct mb2_tag {
	uint32_t type, size;		/* header included */
};

struct mb2_module {
	struct mb2_tag tag;
	uint32_t start, end;
};

struct mb2_map {
	struct mb2_tag tag;
	uint32_t entry_size, entry_version;
};

struct mb2_map_entry {
	uint64_t base, length;
	uint32_t type, reserved;
};

static void each_range(const struct mb2_map *map, bool ram)
{
	if (map->tag.size < sizeof(*map) || map->entry_size < sizeof(struct mb2_map_entry)) {
		return;
	}
	for (uint64_t at = sizeof(*map); at + map->entry_size <= map->tag.size;
	     at += map->entry_size) {
		const struct mb2_map_entry *e =
			(const struct mb2_map_entry *)((const char *)map + at);

		if (ram && e->type == TYPE_RAM) {
			boot_add_ram(e->base, e->length);
		} else if (!ram && e->type != TYPE_RAM) {
			boot_cut_ram(e->base, e->length);
		}
	}
}

static void one_tag(const struct mb2_tag *t, uint64_t pa)
{
	const struct mb2_module *m = (const struct mb2_module *)t;

	switch (t->type) {
	case TAG_CMDLINE:
		boot_set_cmdline((const char *)(t + 1), t->size - sizeof(*t));
		break;
	case TAG_MODULE:
		if (t->size >= sizeof(*m)) {
			boot_set_module(m->start, m->end - MIN(m->start, m->end));
		}
		break;
	case TAG_MAP:
		each_range((const struct mb2_map *)t, true);
		each_range((const struct mb2_map *)t, false);
		break;
	case TAG_RSDP_OLD:
		if (boot_rsdp() == 0) {
			boot_set_rsdp(pa + sizeof(*t));
		}
		break;
	case TAG_RSDP_NEW:
		boot_set_rsdp(pa + sizeof(*t));
		break;
	default:
		break;
	}
}

void multiboot2_parse(uint64_t pa)
{
	uint32_t total = *(const uint32_t *)boot_read(pa, 8, "Multiboot's information");
	const char *info;

	if (total < 16 || total > INFO_BYTES_MAX) {
		cannot_start("Multiboot 2: information of %u bytes", total);
	}
	info = boot_read(pa, total, "Multiboot's information");
	for (uint32_t at = 8; at + sizeof(struct mb2_tag) <= total;) {
		const struct mb2_tag *t = (const struct mb2_tag *)(info + at);

		if (t->type == TAG_END || t->size < sizeof(*t) || t->size > total - at) {
			break;
		}
		one_tag(t, pa + at);
		at += ALIGN_UP(t->size, 8u);
	}
}
