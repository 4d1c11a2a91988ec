// SPDX-License-Identifier: Apache-2.0
//
// The manager: VM 0's program.

#include <stdio.h>

int main(void)
{
	printf("tidemark manager\n");
	return 0;
}
