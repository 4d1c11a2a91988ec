// SPDX-License-Identifier: Apache-2.0
//
// bootargs: scene=watch|ends|attack; ops= operations; stride= share= (watch), seeds= wait= (ends)
// and seed= (attack).

#include <stdio.h>
#include <string.h>
#include <tidemark/call.h>
#include <tidemark/guest.h>
#include <tidemark/tap.h>
#include "hostilemgr.h"

int main(void)
{
	char scene[16] = "attack";
	int status = vmm_init();

	if (status != 0) {
		printf("Bail out! %s: %s\n", vmm_last_error(), tm_strerror(status));
		return 1;
	}
	(void)tm_bootarg("scene", scene, sizeof(scene));
	if (strcmp(scene, "watch") == 0) {
		scene_watch();
	} else if (strcmp(scene, "ends") == 0) {
		scene_ends();
	} else {
		scene_attack();
	}
	status = tap_done();
	printf("hostilemgr: done\n");
	(void)fflush(stdout);
	(void)tm_machine(TM_MACHINE_OFF);
	return status;
}
