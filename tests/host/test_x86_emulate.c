// SPDX-License-Identifier: Apache-2.0
// ARCH: x86
// LINK: arch/x86/emulate.c arch/x86/io.c arch/x86/decode.c arch/x86/alu.c arch/x86/mode.c
// LINK: arch/x86/guest_walk.c
//
// Instructions on device memory, and string forms of IN and OUT, in 32-bit code without paging: what
// the device sees, what the registers become, when RIP moves; the manager's two halves of a
// read-modify-write; accesses that cross; code that has changed meanwhile; everything random.
#include "check.h"

#include <arch/vcpu.h>
#include <asm/board.h>
#include <asm/decode.h>
#include <asm/guest.h>
#include <hyp/guest_copy.h>
#include <hyp/mmio.h>
#include <hyp/vm.h>

#define DEVICE 0xfec00000u
#define CODE 0x1000u
#define MEMORY 0x10000u

static struct vm vm;
static struct vcpu vcpu;
static struct check_rng rng;
static uint64_t regs[XREG_COUNT];
static uint8_t memory[MEMORY];

// ---- what the files need of the rest -----------------------------------------------------------

static uint64_t fake_read(struct vcpu *v, enum x86_reg r)
{
	(void)v;
	return regs[r];
}

static void fake_write(struct vcpu *v, enum x86_reg r, uint64_t val)
{
	(void)v;
	regs[r] = val;
}

struct virt_ops vmx_ops = {.read = fake_read, .write = fake_write};
struct virt_ops svm_ops;
const struct virt_ops *virt = &vmx_ops;
struct cpu_features cpu_features = {.phys_bits = 40};

uint64_t vcpu_gpr(struct vcpu *v, unsigned n)
{
	CHECK(n < 16);
	return n == GPR_RSP ? regs[XREG_RSP] : v->arch.gpr[n];
}

void vcpu_set_gpr(struct vcpu *v, unsigned n, uint64_t val)
{
	CHECK(n < 16);
	*(n == GPR_RSP ? &regs[XREG_RSP] : &v->arch.gpr[n]) = val;
}

static unsigned faults;

void inject_exception(struct vcpu *v, unsigned vector, bool has_error, uint32_t error)
{
	(void)v, (void)vector, (void)has_error, (void)error;
	faults++;
}

void inject_pf(struct vcpu *v, uint64_t gva, uint32_t error)
{
	(void)v, (void)gva, (void)error;
	faults++;
}

int guest_read(struct vm *m, gpa_t a, void *buf, uint64_t len)
{
	(void)m;
	if (a.v > MEMORY || len > MEMORY - a.v) {
		return -TM_EFAULT;
	}
	memcpy(buf, memory + a.v, len);
	return 0;
}

int guest_write(struct vm *m, struct vcpu *by, gpa_t a, const void *buf, uint64_t len, uint64_t *at)
{
	(void)m, (void)by, (void)at;
	if (a.v > MEMORY || len > MEMORY - a.v) {
		return -TM_EFAULT;
	}
	memcpy(memory + a.v, buf, len);
	return 0;
}

static unsigned undecodable, mmio_stops;
static struct {
	uint64_t gpa, data;
	unsigned len;
	bool write;
} asked;

void vcpu_stop_memory_fault(struct vcpu *v, uint64_t flags, gpa_t a, uint64_t size)
{
	(void)v, (void)flags, (void)a, (void)size;
	undecodable++;
}

void vcpu_stop_mmio(struct vcpu *v, gpa_t a, unsigned len, bool write, uint64_t data)
{
	asked.gpa = a.v;
	asked.len = len;
	asked.write = write;
	asked.data = data;
	v->mmio_is_write = write;
	mmio_stops++;
}

/* The device: 4 KiB of memory that counts. */
static uint8_t device[PAGE_SIZE];
static unsigned device_reads, device_writes;

static void device_access(struct vcpu *v, void *dev, struct mmio_access *a)
{
	(void)v, (void)dev;
	CHECK(a->len == 1 || a->len == 2 || a->len == 4 || a->len == 8);
	CHECK(a->offset + a->len <= PAGE_SIZE);
	if (a->write) {
		device_writes++;
		memcpy(device + a->offset, &a->data, a->len);
	} else {
		device_reads++;
		a->data = 0;
		memcpy(&a->data, device + a->offset, a->len);
	}
}

static const struct mmio_region region = {
	.base = {DEVICE}, .size = PAGE_SIZE, .access = device_access,
};

static uint32_t port_seen[256];
static unsigned port_count;

void board_port(struct vcpu *v, uint16_t port, unsigned size, bool write, uint32_t *val)
{
	(void)v;
	CHECK(port == 0x70 && (size == 1 || size == 2 || size == 4));
	if (write) {
		port_seen[port_count++ & 255] = *val;
	} else {
		*val = 0x01020304u + port_count++;
	}
}

// ---- set-up ------------------------------------------------------------------------------------

static void set_up(void)
{
	memset(&vcpu, 0, sizeof(vcpu));
	memset(regs, 0, sizeof(regs));
	memset(memory, 0, sizeof(memory));
	memset(device, 0, sizeof(device));
	vcpu.vm = &vm;
	regs[XREG_CR0] = CR0_PE;
	regs[XREG_RFLAGS] = RFLAGS_FIXED;
	regs[XREG_RIP] = CODE;
	for (unsigned i = TM_SEG_ES; i <= TM_SEG_GS; i++) {
		regs[XREG_SEG(i, SEG_ATTRIBUTES)] = (i == TM_SEG_CS ? 0x9bu : 0x93u) | SEG_P | SEG_DB;
		regs[XREG_SEG(i, SEG_LIMIT)] = 0xffffffff;
	}
	faults = undecodable = mmio_stops = device_reads = device_writes = port_count = 0;
}

static void run_as(const uint8_t *code, unsigned n, uint64_t a, bool write, enum mmio_target t)
{
	struct exit_npf f = {.gpa = a, .write = write, .read = !write};

	memcpy(memory + CODE, code, n);
	emulate_mmio(&vcpu, &f, t, t == MMIO_DEVICE ? &region : NULL);
}

#define RUN(gpa, write, ...)                                                                       \
	do {                                                                                       \
		static const uint8_t code_[] = {__VA_ARGS__};                                      \
		regs[XREG_RIP] = CODE;                                                             \
		run_as(code_, sizeof(code_), gpa, write, MMIO_DEVICE);                             \
	} while (0)
#define RETIRED(n) CHECK_EQ(regs[XREG_RIP], CODE + (n))

static uint32_t dev32(unsigned at)
{
	uint32_t val;

	memcpy(&val, device + at, 4);
	return val;
}

static void dev_put(unsigned at, uint64_t val)
{
	memcpy(device + at, &val, 8);
}

// ---- one by one --------------------------------------------------------------------------------

TEST(moves)
{
	set_up();
	vcpu.arch.gpr[GPR_RBX] = DEVICE;
	vcpu.arch.gpr[GPR_RAX] = 0x1122334455667788ull;
	RUN(DEVICE + 16, true, 0x89, 0x43, 0x10);		/* mov [ebx + 16], eax */
	RETIRED(3);
	CHECK(dev32(16) == 0x55667788 && device_writes == 1 && !device_reads);
	RUN(DEVICE + 16, true, 0x88, 0x63, 0x10);		/* mov [ebx + 16], ah */
	CHECK_EQ(dev32(16), 0x55667777);
	RUN(DEVICE + 20, true, 0x66, 0xc7, 0x43, 0x14, 0x34, 0x12);
	CHECK_EQ(dev32(20), 0x1234);
	RETIRED(6);
	dev_put(16, 0xfffffffff0f1f2f3ull);
	RUN(DEVICE + 16, false, 0x8b, 0x4b, 0x10);
	CHECK_EQ(vcpu.arch.gpr[GPR_RCX], 0xf0f1f2f3);
	vcpu.arch.gpr[GPR_RCX] = ~0ull;
	RUN(DEVICE + 16, false, 0x0f, 0xb6, 0x4b, 0x10);	/* movzx ecx, byte */
	CHECK_EQ(vcpu.arch.gpr[GPR_RCX], 0xf3);
	RUN(DEVICE + 16, false, 0x0f, 0xbf, 0x4b, 0x10);	/* movsx ecx, word */
	CHECK_EQ(vcpu.arch.gpr[GPR_RCX], 0xfffff2f3);
	vcpu.arch.gpr[GPR_RCX] = 0x1111;
	RUN(DEVICE + 16, false, 0x8a, 0x6b, 0x10);		/* mov ch, byte */
	CHECK_EQ(vcpu.arch.gpr[GPR_RCX], 0xf311);
	RUN(DEVICE + 16, false, 0x66, 0x8b, 0x4b, 0x10);
	CHECK_EQ(vcpu.arch.gpr[GPR_RCX], 0xf2f3);
	RUN(DEVICE + 16, false, 0xa1, 0x10, 0x00, 0xc0, 0xfe);	/* mov eax, moffs */
	CHECK_EQ(vcpu.arch.gpr[GPR_RAX], 0xf0f1f2f3);
	RETIRED(5);
	CHECK(!faults && !undecodable);
}

TEST(read_modify_write)
{
	set_up();
	vcpu.arch.gpr[GPR_RBX] = DEVICE;
	dev_put(0, 0xf0);
	RUN(DEVICE, true, 0x83, 0x0b, 0x0f);			/* or dword [ebx], 15 */
	CHECK(dev32(0) == 0xff && device_reads == 1 && device_writes == 1);
	RUN(DEVICE, true, 0x80, 0x23, 0x81);			/* and byte [ebx], 0x81 */
	CHECK_EQ(dev32(0), 0x81);
	CHECK((regs[XREG_RFLAGS] & RFLAGS_SF) && !(regs[XREG_RFLAGS] & RFLAGS_ZF));
	vcpu.arch.gpr[GPR_RDX] = 0xabcd;
	RUN(DEVICE, true, 0x87, 0x13);				/* xchg [ebx], edx */
	CHECK(dev32(0) == 0xabcd && vcpu.arch.gpr[GPR_RDX] == 0x81);
	RUN(DEVICE, true, 0xf0, 0x0f, 0xba, 0x2b, 0x1f);	/* lock bts [ebx], 31 */
	CHECK(dev32(0) == 0x8000abcd && !(regs[XREG_RFLAGS] & RFLAGS_CF));
	RUN(DEVICE, true, 0xff, 0x0b);				/* dec dword [ebx] */
	CHECK_EQ(dev32(0), 0x8000abcc);
	device_writes = 0;
	RUN(DEVICE, false, 0x81, 0x3b, 0xcc, 0xab, 0x00, 0x80);	/* cmp */
	CHECK((regs[XREG_RFLAGS] & RFLAGS_ZF) && !device_writes);
	RUN(DEVICE, false, 0x03, 0x13);				/* add edx, [ebx] */
	CHECK_EQ(vcpu.arch.gpr[GPR_RDX], 0x8000ac4d);
	/* the first half of a RMW may show as a read */
	RUN(DEVICE, false, 0xff, 0x03);
	CHECK(dev32(0) == 0x8000abcd && device_writes == 1);
}

TEST(strings)
{
	set_up();
	vcpu.arch.gpr[GPR_RDI] = DEVICE;
	vcpu.arch.gpr[GPR_RCX] = 3;
	vcpu.arch.gpr[GPR_RAX] = 0x77777777;
	for (unsigned i = 0; i < 3; i++) {
		CHECK_EQ(regs[XREG_RIP], CODE);
		RUN(DEVICE + 4 * i, true, 0xf3, 0xab);		/* rep stosd */
	}
	RETIRED(2);
	CHECK(dev32(8) == 0x77777777 && vcpu.arch.gpr[GPR_RCX] == 0);
	CHECK_EQ(vcpu.arch.gpr[GPR_RDI], DEVICE + 12);
	/* from the device to memory, downwards */
	regs[XREG_RFLAGS] |= RFLAGS_DF;
	vcpu.arch.gpr[GPR_RSI] = DEVICE + 4;
	vcpu.arch.gpr[GPR_RDI] = 0x8000;
	dev_put(4, 0x12345678);
	RUN(DEVICE + 4, false, 0xa5);
	RETIRED(1);
	CHECK(memory[0x8000] == 0x78 && vcpu.arch.gpr[GPR_RSI] == DEVICE &&
	      vcpu.arch.gpr[GPR_RDI] == 0x7ffc);
	/* from memory to the device */
	regs[XREG_RFLAGS] &= ~(uint64_t)RFLAGS_DF;
	vcpu.arch.gpr[GPR_RSI] = 0x8000;
	vcpu.arch.gpr[GPR_RDI] = DEVICE + 32;
	RUN(DEVICE + 32, true, 0xa4);
	CHECK(device[32] == 0x78 && vcpu.arch.gpr[GPR_RSI] == 0x8001);
	/* the other side is no memory either: nobody finishes that */
	vcpu.arch.gpr[GPR_RSI] = 0x20000;
	RUN(DEVICE + 33, true, 0xa4);
	CHECK(undecodable == 1 && regs[XREG_RIP] == CODE);
	vcpu.arch.gpr[GPR_RSI] = DEVICE + 32;
	RUN(DEVICE + 32, false, 0xac);
	CHECK_EQ(vcpu.arch.gpr[GPR_RAX] & 0xff, 0x78);
}

TEST(nobody_answers_all_ones)
{
	static const uint8_t load[] = {0x8b, 0x03}, store[] = {0x89, 0x03};

	set_up();
	vcpu.arch.gpr[GPR_RBX] = 0xd0000000;
	run_as(load, 2, 0xd0000000, false, MMIO_NOBODY);
	CHECK_EQ(vcpu.arch.gpr[GPR_RAX], 0xffffffff);
	RETIRED(2);
	regs[XREG_RIP] = CODE;
	run_as(store, 2, 0xd0000000, true, MMIO_NOBODY);
	RETIRED(2);
	/* out of the device's end, and across pages from either side */
	vcpu.arch.gpr[GPR_RBX] = DEVICE + PAGE_SIZE - 2;
	RUN(DEVICE + PAGE_SIZE - 2, true, 0x89, 0x03);
	RETIRED(2);
	RUN(DEVICE + PAGE_SIZE, true, 0x89, 0x03);
	RETIRED(2);
	CHECK(!device_writes && !device_reads);
}

/* The instruction is not what has faulted: the guest is to run it again. */
TEST(changed_code)
{
	set_up();
	vcpu.arch.gpr[GPR_RBX] = DEVICE;
	RUN(DEVICE, true, 0x8b, 0x03);			/* a load does not write */
	RUN(DEVICE, false, 0x89, 0x03);			/* nor a store read */
	RUN(DEVICE + 8, true, 0x89, 0x03);		/* another address */
	RETIRED(0);
	CHECK(!device_reads && !device_writes && !undecodable);
	RUN(DEVICE, true, 0x0f, 0x29, 0x03);		/* movaps: not ours */
	RUN(DEVICE, true, 0xf4);			/* no memory at all */
	CHECK(undecodable == 2 && !device_writes);
	regs[XREG_RIP] = MEMORY + 0x1000;		/* code is where nothing is */
	run_as((const uint8_t *)"", 0, DEVICE, true, MMIO_DEVICE);
	CHECK_EQ(undecodable, 2);
}

TEST(the_manager_answers)
{
	static const uint8_t load[] = {0x0f, 0xbe, 0x03}, rmw[] = {0x0f, 0xba, 0x33, 0x04};
	static const uint8_t store[] = {0x66, 0x89, 0x0b}, movs[] = {0xa4};

	set_up();
	vcpu.arch.gpr[GPR_RBX] = 0xd0000000;
	vcpu.arch.gpr[GPR_RCX] = 0x123456;
	run_as(load, 3, 0xd0000000, false, MMIO_MANAGER);
	CHECK(mmio_stops == 1 && asked.len == 1 && !asked.write);
	RETIRED(0);
	arch_vcpu_complete_mmio(&vcpu, 0x80);
	CHECK_EQ(vcpu.arch.gpr[GPR_RAX], 0xffffff80);
	RETIRED(3);
	regs[XREG_RIP] = CODE;
	run_as(store, 3, 0xd0000000, true, MMIO_MANAGER);
	CHECK(mmio_stops == 2 && asked.write && asked.data == 0x3456 && asked.len == 2);
	RETIRED(0);
	arch_vcpu_complete_mmio(&vcpu, 0);
	RETIRED(3);
	/* btr: read, then write, then retire */
	regs[XREG_RIP] = CODE;
	run_as(rmw, 4, 0xd0000000, true, MMIO_MANAGER);
	CHECK(mmio_stops == 3 && !asked.write);
	arch_vcpu_complete_mmio(&vcpu, 0x1f);
	CHECK(vcpu.arch.mmio_write_back && regs[XREG_RIP] == CODE);
	CHECK(emulate_write_back(&vcpu) && mmio_stops == 4 && asked.write && asked.data == 0x0f);
	arch_vcpu_complete_mmio(&vcpu, 0);
	RETIRED(4);
	CHECK(!emulate_write_back(&vcpu) && (regs[XREG_RFLAGS] & RFLAGS_CF));
	/* into memory: when it is loaded again */
	regs[XREG_RIP] = CODE;
	vcpu.arch.gpr[GPR_RSI] = 0xd0000000;
	vcpu.arch.gpr[GPR_RDI] = 0x9000;
	run_as(movs, 1, 0xd0000000, false, MMIO_MANAGER);
	arch_vcpu_complete_mmio(&vcpu, 0x5a);
	CHECK(memory[0x9000] == 0 && vcpu.arch.mmio_write_back);
	CHECK(emulate_write_back(&vcpu));	/* it has stored: requests are looked at again */
	CHECK_EQ(memory[0x9000], 0x5a);
	RETIRED(1);
	/* a write-protected slot: what is read is the memory */
	regs[XREG_RIP] = CODE;
	vcpu.arch.gpr[GPR_RBX] = 0xa000;
	memory[0xa000] = 0x30;
	run_as(rmw, 4, 0xa000, true, MMIO_MANAGER);
	CHECK(asked.write && asked.data == 0x20);
	arch_vcpu_complete_mmio(&vcpu, 0);
	RETIRED(4);
}

// ---- ports -------------------------------------------------------------------------------------

TEST(ports)
{
	struct exit_io out = {.port = 0x70, .size = 2, .write = true, .string = true, .rep = true,
			      .segment = TM_SEG_DS, .addr_size = 4};
	struct exit_io in = {.port = 0x70, .size = 4, .string = true, .addr_size = 4};
	struct exit_io one = {.port = 0x70, .size = 1};

	set_up();
	vcpu.arch.gpr[GPR_RAX] = 0x99887766;
	exit_io(&vcpu, &one, 2);
	CHECK_EQ(vcpu.arch.gpr[GPR_RAX], 0x99887704);
	RETIRED(2);
	/* more than fits into one exit: RIP stays until the last one */
	for (unsigned i = 0; i < 100; i++) {
		memory[0x2ff0 + 2 * i] = (uint8_t)i;
	}
	port_count = 0;
	vcpu.arch.gpr[GPR_RSI] = 0x2ff0;
	vcpu.arch.gpr[GPR_RCX] = 100;
	exit_io(&vcpu, &out, 3);
	CHECK(port_count == 64 && vcpu.arch.gpr[GPR_RCX] == 36);
	RETIRED(2);
	exit_io(&vcpu, &out, 3);
	RETIRED(5);
	CHECK(port_count == 100 && port_seen[99] == 99 && vcpu.arch.gpr[GPR_RSI] == 0x2ff0 + 200);
	exit_io(&vcpu, &out, 3);			/* count 0: nothing but the end */
	CHECK(port_count == 100);
	RETIRED(8);
	port_count = 0;
	vcpu.arch.gpr[GPR_RDI] = 0x3ffe;		/* across a page */
	exit_io(&vcpu, &in, 1);
	CHECK(memory[0x3ffe] == 4 && memory[0x4001] == 1);
	/* beyond the limit: a fault, and no port was touched */
	regs[XREG_SEG(TM_SEG_ES, SEG_LIMIT)] = 0x4000;
	port_count = 0;
	exit_io(&vcpu, &in, 1);
	CHECK(port_count == 0 && faults == 1);
}

// ---- anything ----------------------------------------------------------------------------------

TEST(random_code)
{
	rng = check_rng_make(1);
	for (unsigned n = 0; n < 600000; n++) {
		uint8_t code[16];
		uint64_t r = check_rand(&rng);

		if (n % 64 == 0) {
			set_up();
		}
		for (unsigned i = 0; i < 16; i++) {
			code[i] = (uint8_t)check_rand(&rng);
		}
		for (unsigned i = 0; i < 16; i++) {
			vcpu.arch.gpr[i] = (r >> i) & 1 ? DEVICE + check_below(&rng, 4096) : check_rand(&rng);
		}
		/* Half of them where the operand is, so that they are carried out. */
		if (r & (1u << 20)) {
			struct x86_insn i;

			if (x86_decode(code, 15, 4, &i) && i.has_mem && i.base < 8 && i.index == X86_NO_REG) {
				vcpu_set_gpr(&vcpu, i.base, DEVICE + check_below(&rng, 4000) -
					     (uint64_t)i.disp);
			}
		}
		regs[XREG_RIP] = CODE;
		run_as(code, 15, DEVICE + check_below(&rng, 4096), r & (1u << 21),
		       (r >> 22) & 1 ? MMIO_DEVICE : (r >> 23) & 1 ? MMIO_MANAGER : MMIO_NOBODY);
		if (mmio_stops) {
			mmio_stops = 0;
			arch_vcpu_complete_mmio(&vcpu, check_rand(&rng));
			(void)emulate_write_back(&vcpu);
		}
		CHECK(regs[XREG_RIP] - CODE <= 15);
	}
}

CHECK_MAIN()
