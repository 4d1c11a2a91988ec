// SPDX-License-Identifier: Apache-2.0
/*
 * The devices that the hypervisor emulates for a VM, by address. Built before the first vCPU runs
 * and constant from then on, so a lookup takes no lock; a device locks itself.
 */
#include <hyp/mmio.h>
#include <hyp/vm.h>

int mmio_add(struct vm *vm, const struct mmio_region *r)
{
	struct mmio_map *map = &vm->mmio;

	if (r->size == 0 || r->base.v + (r->size - 1) < r->base.v || !r->access) {
		return -TM_EINVAL;
	}
	for (unsigned i = 0; i < map->count; i++) {
		const struct mmio_region *o = &map->region[i];

		if (r->base.v - o->base.v < o->size || o->base.v - r->base.v < r->size) {
			return -TM_EEXIST;
		}
	}
	if (map->count == MMIO_MAX_REGIONS) {
		return -TM_ENOSPC;
	}
	map->region[map->count++] = *r;
	return 0;
}

const struct mmio_region *mmio_find(const struct vm *vm, gpa_t a)
{
	const struct mmio_map *map = &vm->mmio;

	for (unsigned i = 0; i < map->count; i++) {
		if (a.v - map->region[i].base.v < map->region[i].size) {
			return &map->region[i];
		}
	}
	return NULL;
}
