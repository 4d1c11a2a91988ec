// SPDX-License-Identifier: Apache-2.0
//
// A guest in thirty lines: says where it runs, asks the hypervisor who it is, counts, ends.

#include <stdio.h>
#include <tidemark/call.h>
#include <tidemark/guest.h>

int main(void)
{
	struct tm_result version = tm_call(TM_HC_VERSION, 0, 0, 0, 0, 0, 0);

	printf("hello: %u CPUs, %u memory ranges, bootargs \"%s\"\n", (unsigned)tm_boot.cpu_count,
	       (unsigned)tm_boot.mem_count, tm_boot.bootargs);
	if (version.status == 0) {
		printf("hello: Tidemark ABI %u.%u\n", (unsigned)(version.val[0] >> 16),
		       (unsigned)(version.val[0] & 0xffff));
	} else {
		printf("hello: no Tidemark here: %s\n", tm_strerror(version.status));
	}
	for (int i = 1; i <= 5; i++) {
		printf("hello: %d\n", i);
	}
	return 0;
}
