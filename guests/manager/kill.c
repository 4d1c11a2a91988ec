// SPDX-License-Identifier: Apache-2.0
//
// Test aid: the manager ends itself at a chosen point of a snapshot, to show that guests go on and
// that the next instance finds everything. Owns the one armed point.

#include <stdio.h>
#include <string.h>

#include <tidemark/guest.h>

#include "manager.h"

static enum snap_phase armed_phase;
static uint64_t armed_count;

static bool phase_by_name(const char *name, size_t n, enum snap_phase *phase)
{
	static const struct {
		const char *name;
		enum snap_phase phase;
	} names[] = {
		{"full", SNAP_PHASE_FULL},
		{"round", SNAP_PHASE_ROUND},
		{"pause", SNAP_PHASE_PAUSED},
		{"last", SNAP_PHASE_LAST},
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strlen(names[i].name) == n && strncmp(names[i].name, name, n) == 0) {
			*phase = names[i].phase;
			return true;
		}
	}
	return false;
}

// One "<phase>:<n>" per life of the manager, separated by commas; this life's is armed.
void kill_arm(const char *spec)
{
	char number[16];
	const char *colon;
	size_t n;

	for (uint32_t life = 0; life < restart_count && spec != NULL; life++) {
		spec = strchr(spec, ',');
		spec += spec != NULL ? 1 : 0;
	}
	if (spec == NULL || *spec == '\0') {
		return;
	}
	colon = strchr(spec, ':');
	if (colon == NULL || !phase_by_name(spec, (size_t)(colon - spec), &armed_phase)) {
		printf("killat: want full|round|pause|last:<n>, not %s\n", spec);
		return;
	}
	n = strcspn(colon + 1, ",");
	snprintf(number, sizeof(number), "%.*s", (int)(n < 15 ? n : 15), colon + 1);
	if (!shell_number(number, &armed_count)) {
		armed_count = 1;
	}
}

void kill_point(const struct snap_stats *s)
{
	if (armed_count != 0 && s->phase == armed_phase && --armed_count == 0) {
		tm_crash("manager: killed as asked, phase %d round %u", (int)s->phase,
			 (unsigned)s->rounds);
	}
}
