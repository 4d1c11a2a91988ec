// SPDX-License-Identifier: Apache-2.0
/*
 * QEMU TCG plugin (plugin API 1, QEMU 7.2): lengths of EL2 traps in executed instructions, from the
 * first instruction at the vector to the eret, both included. Debian ships no qemu-plugin.h, so the
 * few prototypes that are used are declared here.
 *
 *   -plugin trapcount.so,vbar=0x..,text=0x..,end=0x..,out=FILE[,mark=0x..]...
 *
 * vbar is the address of EL2's vectors, [text, end) EL2's code. The guest names the operation that
 * is being measured by `hint #(64 + id)` before it and `hint #64` after it: unallocated hints are
 * NOPs on every arm64 CPU. At exit FILE holds rows "op ID KIND count min median max tlbi" (KIND: sync
 * or irq; tlbi: such instructions in all of these traps together), "mark ADDRESS total" for the machine's instruction count when ADDRESS was first reached,
 * and "first_eret total".
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_info_t;
typedef void (*tb_cb)(qemu_plugin_id_t, struct qemu_plugin_tb *);
typedef void (*vcpu_cb)(unsigned int, void *);
typedef void (*exit_cb)(qemu_plugin_id_t, void *);
extern void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, tb_cb);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
extern const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
extern uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);
extern void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *, vcpu_cb, int,
						   void *);
extern void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *, int, void *,
						       uint64_t);
extern void qemu_plugin_register_atexit_cb(qemu_plugin_id_t, exit_cb, void *);

#define EXPORT __attribute__((visibility("default")))
#define OPCODE_ERET 0xd69f03e0u
#define OPCODE_TLBI 0xd5088000u		/* SYS with CRn = 8: bits 31:19 and 15:12 */
#define OPCODE_HINT 0xd503201fu		/* hint #imm: imm in bits 11:5 */
#define OPS 64
#define CPUS 64
#define MARKS 16
#define SAMPLES 65536u

EXPORT int qemu_plugin_version = 1;

enum kind { SYNC, IRQ, KINDS };

static uint64_t vbar, text, end;
static const char *out_path = "trapcount.txt";
static uint64_t total;			/* all CPUs; exact with one CPU or under icount */
static uint64_t first_eret;
static struct {
	uint64_t address, total;
} marks[MARKS];
static unsigned mark_count;
static struct {
	uint32_t *sample;
	uint32_t count;
	uint64_t tlbi;
} ops[OPS][KINDS];
static struct {
	uint64_t length;	/* of the trap under way; 0: none */
	enum kind kind;
	unsigned op;
} cpu_state[CPUS];

static void on_entry(unsigned int cpu, void *kind)
{
	cpu_state[cpu % CPUS].length = 1;
	cpu_state[cpu % CPUS].kind = (enum kind)(uintptr_t)kind;
}

static void on_el2(unsigned int cpu, void *unused)
{
	(void)unused;
	if (cpu_state[cpu % CPUS].length) {
		cpu_state[cpu % CPUS].length++;
	}
}

static void on_eret(unsigned int cpu, void *unused)
{
	unsigned c = cpu % CPUS, op = cpu_state[c].op;
	enum kind k = cpu_state[c].kind;

	(void)unused;
	if (!first_eret) {
		first_eret = total;
	}
	if (cpu_state[c].length && ops[op][k].count < SAMPLES) {
		if (!ops[op][k].sample) {
			ops[op][k].sample = calloc(SAMPLES, sizeof(uint32_t));
		}
		ops[op][k].sample[ops[op][k].count++] = (uint32_t)cpu_state[c].length + 1;
	}
	cpu_state[c].length = 0;
}

static void on_tlbi(unsigned int cpu, void *unused)
{
	unsigned c = cpu % CPUS;

	on_el2(cpu, unused);
	if (cpu_state[c].length) {
		ops[cpu_state[c].op][cpu_state[c].kind].tlbi++;
	}
}

static void on_hint(unsigned int cpu, void *id)
{
	cpu_state[cpu % CPUS].op = (unsigned)(uintptr_t)id;
}

static void on_mark(unsigned int cpu, void *index)
{
	unsigned i = (unsigned)(uintptr_t)index;

	(void)cpu;
	if (!marks[i].total) {
		marks[i].total = total;
	}
}

static void translate_el2(struct qemu_plugin_insn *in, uint64_t va, uint32_t opcode)
{
	/* Lower EL using AArch64: synchronous at 0x400, IRQ at 0x480 (Arm DDI 0487, D1.10). */
	if (va == vbar + 0x400) {
		qemu_plugin_register_vcpu_insn_exec_cb(in, on_entry, 0, (void *)SYNC);
	} else if (va == vbar + 0x480) {
		qemu_plugin_register_vcpu_insn_exec_cb(in, on_entry, 0, (void *)IRQ);
	} else if (opcode == OPCODE_ERET) {
		qemu_plugin_register_vcpu_insn_exec_cb(in, on_eret, 0, NULL);
	} else if ((opcode & 0xfff8f000u) == OPCODE_TLBI) {
		qemu_plugin_register_vcpu_insn_exec_cb(in, on_tlbi, 0, NULL);
	} else {
		qemu_plugin_register_vcpu_insn_exec_cb(in, on_el2, 0, NULL);
	}
}

static void translate(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	size_t n = qemu_plugin_tb_n_insns(tb);

	(void)id;
	for (size_t i = 0; i < n; i++) {
		struct qemu_plugin_insn *in = qemu_plugin_tb_get_insn(tb, i);
		uint64_t va = qemu_plugin_insn_vaddr(in);
		uint32_t opcode, hint;

		memcpy(&opcode, qemu_plugin_insn_data(in), sizeof(opcode));
		hint = (opcode >> 5) & 0x7f;
		qemu_plugin_register_vcpu_insn_exec_inline(in, 0, &total, 1);
		for (unsigned m = 0; m < mark_count; m++) {
			if (marks[m].address == va) {
				qemu_plugin_register_vcpu_insn_exec_cb(in, on_mark, 0,
								       (void *)(uintptr_t)m);
			}
		}
		if (va >= text && va < end) {
			translate_el2(in, va, opcode);
		} else if ((opcode & 0xfffff01fu) == OPCODE_HINT && hint >= 64) {
			qemu_plugin_register_vcpu_insn_exec_cb(in, on_hint, 0,
							       (void *)(uintptr_t)(hint - 64));
		}
	}
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void report(qemu_plugin_id_t id, void *unused)
{
	FILE *f = fopen(out_path, "w");

	(void)id, (void)unused;
	if (!f) {
		perror(out_path);
		return;
	}
	for (unsigned op = 0; op < OPS; op++) {
		for (int k = 0; k < KINDS; k++) {
			uint32_t n = ops[op][k].count, *s = ops[op][k].sample;

			if (n) {
				qsort(s, n, sizeof(*s), by_value);
				fprintf(f, "op %u %s %u %u %u %u %" PRIu64 "\n", op,
					k == SYNC ? "sync" : "irq", n, s[0], s[n / 2], s[n - 1],
					ops[op][k].tlbi);
			}
		}
	}
	for (unsigned m = 0; m < mark_count; m++) {
		fprintf(f, "mark 0x%" PRIx64 " %" PRIu64 "\n", marks[m].address, marks[m].total);
	}
	fprintf(f, "first_eret %" PRIu64 "\ntotal %" PRIu64 "\n", first_eret, total);
	fclose(f);
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info_t *info, int argc,
			       char **argv)
{
	(void)info;
	for (int i = 0; i < argc; i++) {
		if (!strncmp(argv[i], "vbar=", 5)) {
			vbar = strtoull(argv[i] + 5, NULL, 0);
		} else if (!strncmp(argv[i], "text=", 5)) {
			text = strtoull(argv[i] + 5, NULL, 0);
		} else if (!strncmp(argv[i], "end=", 4)) {
			end = strtoull(argv[i] + 4, NULL, 0);
		} else if (!strncmp(argv[i], "out=", 4)) {
			out_path = strdup(argv[i] + 4);
		} else if (!strncmp(argv[i], "mark=", 5) && mark_count < MARKS) {
			marks[mark_count++].address = strtoull(argv[i] + 5, NULL, 0);
		} else {
			fprintf(stderr, "trapcount: unknown argument %s\n", argv[i]);
			return -1;
		}
	}
	qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
	qemu_plugin_register_atexit_cb(id, report, NULL);
	return 0;
}
