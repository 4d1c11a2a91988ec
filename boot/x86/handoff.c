// SPDX-License-Identifier: Apache-2.0
/* The 64-bit way in, entry.h: by a loader of ours. Boot CPU, boot time; read-only. */
#include <boot/x86/entry.h>
#include <boot/x86/ways.h>
#include <hyp/boot_info.h>

static void each_range(const struct boot_range *r, uint64_t count, bool ram)
{
	for (uint64_t i = 0; i < count; i++) {
		if (ram && r[i].kind == BOOT_RANGE_RAM) {
			boot_add_ram(r[i].base, r[i].size);
		} else if (!ram && r[i].kind != BOOT_RANGE_RAM) {
			boot_cut_ram(r[i].base, r[i].size);
		}
	}
}

void handoff_parse(uint64_t pa)
{
	const struct boot_handoff *h = boot_read(pa, sizeof(*h), "the hand-over");
	const struct boot_range *r;

	if (h->magic != BOOT_HANDOFF_MAGIC) {
		cannot_start("entered by a loader that is neither Multiboot's nor our own");
	}
	if (h->range_count == 0 || h->range_count > BOOT_HANDOFF_RANGES_MAX) {
		cannot_start("no memory: a map of %lu ranges", h->range_count);
	}
	r = boot_read(h->ranges, h->range_count * sizeof(*r), "the memory map");
	each_range(r, h->range_count, true);
	each_range(r, h->range_count, false);
	boot_set_module(h->module_base, h->module_size);
	if (h->cmdline) {
		boot_set_cmdline(boot_read(h->cmdline, BOOT_CMDLINE_LEN, "the command line"),
				 BOOT_CMDLINE_LEN);
	}
	boot_set_rsdp(h->rsdp);
}
