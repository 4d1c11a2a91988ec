// SPDX-License-Identifier: Apache-2.0
// LINK: boot/guest_board.c boot/config.c hyp/print.c
// LIBS: -lfdt
//
// `make config-check CONFIG=x.dts`: the hypervisor's own configuration checker as a host program.
// Usage: config_check FILE.dtb [cpus=N] [ram=MiB] [gpa=BITS] [module=NAME]...
// Without any module= every module is taken to exist. Prints each problem and what is left of the
// configuration; ends with 1 when a VM would be skipped, 2 when nothing can be read.

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <boot/guest_fdt.h>
#include <hyp/config.h>

#define MAX_MODULES 64
#define MIB 1048576u

static const char *modules[MAX_MODULES];
static unsigned module_count;

static bool has_module(const char *name)
{
	for (unsigned i = 0; i < module_count; i++) {
		if (strcmp(modules[i], name) == 0) {
			return true;
		}
	}
	return module_count == 0;
}

static void report(const char *text)
{
	printf("%s\n", text);
}

static void *read_file(const char *path, size_t *size)
{
	FILE *file = fopen(path, "rb");
	size_t room = 1u << 22;
	void *data = malloc(room);

	if (file == NULL || data == NULL) {
		perror(path);
		exit(2);
	}
	*size = fread(data, 1, room, file);
	fclose(file);
	return data;
}

static void take_option(struct config_machine *machine, const char *text)
{
	const char *value = strchr(text, '=');

	if (value == NULL) {
		fprintf(stderr, "config_check: %s: want name=value\n", text);
		exit(2);
	}
	value++;
	if (strncmp(text, "cpus=", 5) == 0) {
		machine->cpus = (unsigned)strtoul(value, NULL, 0);
	} else if (strncmp(text, "ram=", 4) == 0) {
		machine->ram_free = strtoull(value, NULL, 0) * MIB;
	} else if (strncmp(text, "gpa=", 4) == 0) {
		machine->gpa_bits = (unsigned)strtoul(value, NULL, 0);
	} else if (strcmp(text, "machine=x86") == 0) {
		machine->board = &guest_board_x86;
	} else if (strncmp(text, "module=", 7) == 0 && module_count < MAX_MODULES) {
		modules[module_count++] = value;
	} else {
		fprintf(stderr, "config_check: %s: unknown option\n", text);
		exit(2);
	}
}

int main(int argc, char **argv)
{
	static struct config config;
	struct config_machine machine = {
		.board = &guest_board_arm64,
		.cpus = 2,
		.ram_free = UINT64_C(2048) * MIB,
		.gpa_bits = 40,
		.has_module = has_module,
		.report = report,
	};
	size_t size;
	void *dtb;
	int status;

	if (argc < 2) {
		fprintf(stderr, "usage: config_check FILE.dtb [cpus=N] [ram=MiB] [gpa=BITS] "
				"[machine=x86] [module=NAME]...\n");
		return 2;
	}
	for (int i = 2; i < argc; i++) {
		take_option(&machine, argv[i]);
	}
	dtb = read_file(argv[1], &size);
	status = config_parse(dtb, size, &machine, &config);
	free(dtb);
	if (status < 0) {
		printf("config: cannot be read (%d)\n", status);
		return 2;
	}
	for (unsigned i = 0; i < config.count; i++) {
		const struct vm_config *vm = &config.vm[i];

		printf("config: %-12s %s%u vCPUs, %" PRIu64 " MiB, image %s\n", vm->name,
		       vm->manager ? "manager, " : "", vm->vcpus, vm->mem_size / MIB, vm->image);
	}
	printf("config: %u good, %u skipped\n", config.count, config.skipped);
	return config.skipped == 0 ? 0 : 1;
}
