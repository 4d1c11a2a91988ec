// SPDX-License-Identifier: Apache-2.0
//
// The smallest guest program: says where it is, and ends its VM.

#include <stdio.h>
#include <tidemark/call.h>
#include <tidemark/guest.h>

int main(int argc, char **argv)
{
	uint64_t version = 0;

	printf("hello from a guest of %u CPU(s), GICv%u, image at 0x%llx\n", tm_boot.cpu_count,
	       tm_boot.gic_version, (unsigned long long)tm_boot.image.gpa);	/* x86: GICv0 */
	for (uint32_t i = 0; i < tm_boot.mem_count; i++) {
		printf("hello: %llu MiB of memory at 0x%llx\n",
		       (unsigned long long)(tm_boot.mem[i].size >> 20),
		       (unsigned long long)tm_boot.mem[i].gpa);
	}
	for (int i = 1; i < argc; i++) {
		printf("hello: argument %d is %s\n", i, argv[i]);
	}
	if (tm_boot.window.size != 0 && tm_version(&version) == 0) {
		printf("hello: this is the manager\n");
	}
	printf("hello: done\n");
	return 0;
}
