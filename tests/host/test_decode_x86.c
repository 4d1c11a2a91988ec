// SPDX-License-Identifier: Apache-2.0
// ARCH: x86
// LINK: arch/x86/decode.c arch/x86/alu.c
// LIBS: -lZydis
//
// The x86 decoder against Zydis, over what its tables accept: all combinations of prefixes, all
// opcodes, all ModRM and SIB bytes; then random bytes. Same instruction, length, operand sizes,
// direction, registers, immediate, address. What it refuses it may refuse, but for the list of those
// that it must know. And its arithmetic against this machine's own.
#include "check.h"

#include <Zydis/Zydis.h>
#include <abi/x86.h>
#include <asm/decode.h>

#include "../../arch/x86/alu.h"

static ZydisDecoder decoders[9];
static uint64_t compared;

static void decoders_init(void)
{
	if (decoders[8].machine_mode == ZYDIS_MACHINE_MODE_LONG_64 && compared) {
		return;
	}
	ZydisDecoderInit(&decoders[8], ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	ZydisDecoderInit(&decoders[4], ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
	ZydisDecoderInit(&decoders[2], ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16);
	for (unsigned m = 2; m <= 8; m *= 2) {
		/* Bits that no encoding defines are ignored there as CPUs do. */
		ZydisDecoderEnableMode(&decoders[m], ZYDIS_DECODER_MODE_MINIMAL, ZYAN_FALSE);
	}
}

static const ZydisMnemonic mnemonics[X86_OP_COUNT] = {
	[X86_OP_ADD] = ZYDIS_MNEMONIC_ADD, [X86_OP_OR] = ZYDIS_MNEMONIC_OR,
	[X86_OP_ADC] = ZYDIS_MNEMONIC_ADC, [X86_OP_SBB] = ZYDIS_MNEMONIC_SBB,
	[X86_OP_AND] = ZYDIS_MNEMONIC_AND, [X86_OP_SUB] = ZYDIS_MNEMONIC_SUB,
	[X86_OP_XOR] = ZYDIS_MNEMONIC_XOR, [X86_OP_CMP] = ZYDIS_MNEMONIC_CMP,
	[X86_OP_MOV] = ZYDIS_MNEMONIC_MOV, [X86_OP_MOVZX] = ZYDIS_MNEMONIC_MOVZX,
	[X86_OP_MOVSX] = ZYDIS_MNEMONIC_MOVSX, [X86_OP_TEST] = ZYDIS_MNEMONIC_TEST,
	[X86_OP_XCHG] = ZYDIS_MNEMONIC_XCHG, [X86_OP_NOT] = ZYDIS_MNEMONIC_NOT,
	[X86_OP_NEG] = ZYDIS_MNEMONIC_NEG, [X86_OP_INC] = ZYDIS_MNEMONIC_INC,
	[X86_OP_DEC] = ZYDIS_MNEMONIC_DEC, [X86_OP_BT] = ZYDIS_MNEMONIC_BT,
	[X86_OP_BTS] = ZYDIS_MNEMONIC_BTS, [X86_OP_BTR] = ZYDIS_MNEMONIC_BTR,
	[X86_OP_BTC] = ZYDIS_MNEMONIC_BTC,
	[X86_OP_CPUID] = ZYDIS_MNEMONIC_CPUID, [X86_OP_RDMSR] = ZYDIS_MNEMONIC_RDMSR,
	[X86_OP_WRMSR] = ZYDIS_MNEMONIC_WRMSR, [X86_OP_RDTSC] = ZYDIS_MNEMONIC_RDTSC,
	[X86_OP_RDTSCP] = ZYDIS_MNEMONIC_RDTSCP, [X86_OP_RDPMC] = ZYDIS_MNEMONIC_RDPMC,
	[X86_OP_HLT] = ZYDIS_MNEMONIC_HLT, [X86_OP_PAUSE] = ZYDIS_MNEMONIC_PAUSE,
	[X86_OP_INVD] = ZYDIS_MNEMONIC_INVD, [X86_OP_WBINVD] = ZYDIS_MNEMONIC_WBINVD,
	[X86_OP_XSETBV] = ZYDIS_MNEMONIC_XSETBV, [X86_OP_CLTS] = ZYDIS_MNEMONIC_CLTS,
	[X86_OP_LMSW] = ZYDIS_MNEMONIC_LMSW, [X86_OP_SMSW] = ZYDIS_MNEMONIC_SMSW,
	[X86_OP_INVLPG] = ZYDIS_MNEMONIC_INVLPG, [X86_OP_MOV_FROM_CR] = ZYDIS_MNEMONIC_MOV,
	[X86_OP_MOV_TO_CR] = ZYDIS_MNEMONIC_MOV, [X86_OP_MOV_FROM_DR] = ZYDIS_MNEMONIC_MOV,
	[X86_OP_MOV_TO_DR] = ZYDIS_MNEMONIC_MOV, [X86_OP_VMMCALL] = ZYDIS_MNEMONIC_VMMCALL,
	[X86_OP_VMCALL] = ZYDIS_MNEMONIC_VMCALL, [X86_OP_MONITOR] = ZYDIS_MNEMONIC_MONITOR,
	[X86_OP_MWAIT] = ZYDIS_MNEMONIC_MWAIT,
};

static bool mnemonic_ok(const struct x86_insn *i, ZydisMnemonic m)
{
	static const ZydisMnemonic strings[][4] = {
		{ZYDIS_MNEMONIC_MOVSB, ZYDIS_MNEMONIC_MOVSW, ZYDIS_MNEMONIC_MOVSD, ZYDIS_MNEMONIC_MOVSQ},
		{ZYDIS_MNEMONIC_STOSB, ZYDIS_MNEMONIC_STOSW, ZYDIS_MNEMONIC_STOSD, ZYDIS_MNEMONIC_STOSQ},
		{ZYDIS_MNEMONIC_LODSB, ZYDIS_MNEMONIC_LODSW, ZYDIS_MNEMONIC_LODSD, ZYDIS_MNEMONIC_LODSQ},
	};

	switch (i->op) {
	case X86_OP_MOVS:
	case X86_OP_STOS:
	case X86_OP_LODS:
		return m == strings[i->op - X86_OP_MOVS][__builtin_ctz(i->size)];
	case X86_OP_MOVSX:
		return m == ZYDIS_MNEMONIC_MOVSX || m == ZYDIS_MNEMONIC_MOVSXD;
	case X86_OP_IRET:
		return m == ZYDIS_MNEMONIC_IRET || m == ZYDIS_MNEMONIC_IRETD ||
		       m == ZYDIS_MNEMONIC_IRETQ;
	case X86_OP_SVM:
		return m == ZYDIS_MNEMONIC_VMRUN || m == ZYDIS_MNEMONIC_VMLOAD ||
		       m == ZYDIS_MNEMONIC_VMSAVE || m == ZYDIS_MNEMONIC_STGI ||
		       m == ZYDIS_MNEMONIC_CLGI || m == ZYDIS_MNEMONIC_SKINIT ||
		       m == ZYDIS_MNEMONIC_INVLPGA;
	default:
		return m == mnemonics[i->op];
	}
}

static const char *reg_check(const struct x86_insn *i, ZydisRegister r)
{
	static const ZydisRegister high[] = {ZYDIS_REGISTER_AH, ZYDIS_REGISTER_CH, ZYDIS_REGISTER_DH,
					     ZYDIS_REGISTER_BH};
	ZydisRegister wide = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, r);

	if (i->high_byte) {
		return i->reg < 4 && r == high[i->reg] ? NULL : "high byte";
	}
	for (unsigned k = 0; k < 4; k++) {
		if (r == high[k]) {
			return "high byte missed";
		}
	}
	if (wide != ZYDIS_REGISTER_RAX + i->reg) {
		return "register";
	}
	return ZydisRegisterGetWidth(ZYDIS_MACHINE_MODE_LONG_64, r) == 8u * i->reg_size ?
		       NULL : "register's size";
}

static unsigned number_of(ZydisRegister r)
{
	ZydisRegister wide = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, r);

	if (r == ZYDIS_REGISTER_NONE) {
		return X86_NO_REG;
	}
	if (r == ZYDIS_REGISTER_RIP || r == ZYDIS_REGISTER_EIP) {
		return X86_BASE_RIP;
	}
	return (unsigned)(wide - ZYDIS_REGISTER_RAX);
}

static const char *address_check(const struct x86_insn *i, const ZydisDecodedOperandMem *m)
{
	unsigned base = number_of(m->base), index = number_of(m->index);
	unsigned scale = index == X86_NO_REG ? 0 : (unsigned)__builtin_ctz(m->scale | 256);
	uint64_t mask = i->addr_size == 8 ? ~0ull : (1ull << (8 * i->addr_size)) - 1;
	static const unsigned segments[] = {TM_SEG_ES, TM_SEG_CS, TM_SEG_SS, TM_SEG_DS, TM_SEG_FS,
					    TM_SEG_GS};

	if (segments[m->segment - ZYDIS_REGISTER_ES] != i->seg) {
		return "segment";
	}
	/* Zydis 4.0 takes REX.B for "no base" (SIB.base = 5, mod = 0) when addresses have 32 bits; SDM
	 * volume 2, table 2-5, says that the bit is not decoded, and so do binutils and LLVM. */
	if (i->base == X86_NO_REG && base == 13 && i->addr_size == 4) {
		return index == i->index ? NULL : "index";
	}
	if (base != i->base || index != i->index) {
		return "base or index";
	}
	if (index != X86_NO_REG && scale != i->scale) {
		return "scale";
	}
	return (((uint64_t)i->disp ^ (uint64_t)m->disp.value) & mask) == 0 ? NULL : "displacement";
}

/* The memory operand to look at: of MOVS, our seg and base are those of the source. */
static const ZydisDecodedOperand *find_memory(const struct x86_insn *i, const ZydisDecodedOperand *o,
					      unsigned n)
{
	const ZydisDecodedOperand *found = NULL;

	for (unsigned k = 0; k < n; k++) {
		if (o[k].type == ZYDIS_OPERAND_TYPE_MEMORY && (!found || i->op == X86_OP_MOVS)) {
			found = &o[k];
		}
	}
	return found;
}

static const char *memory_check(const struct x86_insn *i, const ZydisDecodedOperand *o, unsigned n)
{
	const ZydisDecodedOperand *m = find_memory(i, o, n);
	bool reads, writes;

	if (!m != !i->has_mem) {
		return "memory operand";
	}
	if (!m) {
		return NULL;
	}
	reads = m->actions & ZYDIS_OPERAND_ACTION_MASK_READ;
	writes = m->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
	if (i->op == X86_OP_MOVS) {
		writes = reads = true;
	}
	if (i->op == X86_OP_INVLPG) {
		return address_check(i, &m->mem);
	}
	if (i->op <= X86_OP_LODS && (reads != x86_insn_reads(i) || writes != x86_insn_writes(i))) {
		return "direction";
	}
	if (m->size != 8u * i->size) {
		return "operand size";
	}
	return address_check(i, &m->mem);
}

static const char *operands_check(const struct x86_insn *i, const ZydisDecodedOperand *o, unsigned n)
{
	const char *bad = memory_check(i, o, n);
	uint64_t mask = i->size == 8 ? ~0ull : (1ull << (8 * i->size)) - 1;
	bool has_imm = false, has_reg = false;

	if (i->op >= X86_OP_BT && i->op <= X86_OP_BTC) {
		mask = 8u * i->size - 1;	/* a bit number */
	}

	for (unsigned k = 0; k < n && !bad; k++) {
		if (o[k].visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN) {
			continue;
		}
		if (o[k].type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
			has_imm = true;
			if ((o[k].imm.value.u ^ i->imm) & mask) {
				bad = "immediate";
			}
		} else if (o[k].type == ZYDIS_OPERAND_TYPE_REGISTER && i->op <= X86_OP_BTC) {
			has_reg = true;
			bad = reg_check(i, o[k].reg.value);
		}
	}
	if (!bad && has_imm != i->has_imm) {
		bad = "immediate missed";
	}
	if (!bad && has_reg && i->has_imm) {
		bad = "both register and immediate";
	}
	return bad;
}

static const char *control_check(const struct x86_insn *i, const ZydisDecodedOperand *o)
{
	bool from = i->op == X86_OP_MOV_FROM_CR || i->op == X86_OP_MOV_FROM_DR;
	bool dr = i->op == X86_OP_MOV_FROM_DR || i->op == X86_OP_MOV_TO_DR;
	ZydisRegister system = o[from ? 1 : 0].reg.value, gpr = o[from ? 0 : 1].reg.value;

	if (system != (dr ? ZYDIS_REGISTER_DR0 : ZYDIS_REGISTER_CR0) + i->reg) {
		return "control register";
	}
	if (number_of(gpr) != i->rm) {
		return "general register";
	}
	return ZydisRegisterGetWidth(ZYDIS_MACHINE_MODE_LONG_64, gpr) == 8u * i->reg_size ?
		       NULL : "its size";
}

static const char *check_same(const struct x86_insn *i, const ZydisDecodedInstruction *z,
			      const ZydisDecodedOperand *o)
{
	bool rep = z->attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPNE |
				    ZYDIS_ATTRIB_HAS_REPE);

	if (!mnemonic_ok(i, z->mnemonic)) {
		return "instruction";
	}
	if (z->length != i->len) {
		return "length";
	}
	if (i->op >= X86_OP_MOV_FROM_CR && i->op <= X86_OP_MOV_TO_DR) {
		return control_check(i, o);
	}
	if (i->op > X86_OP_LODS && !i->has_mem) {
		return NULL;
	}
	if (z->address_width != 8u * i->addr_size) {
		return "address size";
	}
	if (!!(z->attributes & ZYDIS_ATTRIB_HAS_LOCK) != i->lock) {
		return "lock";
	}
	/* Zydis knows REPNE on string moves as nothing; CPUs repeat. */
	if (i->op >= X86_OP_MOVS && i->op <= X86_OP_LODS && rep != i->rep &&
	    !(z->raw.prefix_count && i->rep)) {
		return "rep";
	}
	return operands_check(i, o, z->operand_count);
}

static void report(const uint8_t *b, unsigned n, unsigned mode, const char *what, const char *name)
{
	fprintf(stderr, "mode %u, bytes", 8 * mode);
	for (unsigned k = 0; k < n; k++) {
		fprintf(stderr, " %02x", b[k]);
	}
	fprintf(stderr, ": %s differs (Zydis: %s)\n", what, name);
}

/* True when ours accepts. */
static bool compare(const uint8_t *bytes, unsigned n, unsigned mode)
{
	ZydisDecodedOperand o[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction z;
	struct x86_insn i;
	const char *bad;

	if (!x86_decode(bytes, n, mode, &i)) {
		return false;
	}
	compared++;
	z.length = 0;
	if (ZYAN_FAILED(ZydisDecoderDecodeFull(&decoders[mode], bytes, n, &z, o))) {
		report(bytes, n, mode, "validity", "refuses");
		CHECK(z.length == 255);	/* accepted what is no instruction */
	}
	bad = check_same(&i, &z, o);
	if (bad) {
		report(bytes, n, mode, bad, ZydisMnemonicGetString(z.mnemonic));
		CHECK(bad == NULL);
	}
	return true;
}

/* ---- all encodings --------------------------------------------------------------------------------- */

static struct check_rng rng;

struct bytes {
	uint8_t b[32];
	unsigned n;
};

static void put(struct bytes *s, unsigned byte)
{
	s->b[s->n++] = (uint8_t)byte;
}

/* Tail of random bytes, cut to the 15 that an instruction may have. */
static bool finish(struct bytes *s, unsigned mode)
{
	while (s->n < 15) {
		put(s, (unsigned)check_rand(&rng));
	}
	return compare(s->b, 15, mode);
}

/* Bits of c: 66, 67, lock/rep (2), segment (3). */
#define COMBOS (4u * 4u * 7u)
static void legacy_prefixes(struct bytes *s, unsigned c)
{
	static const uint8_t group1[] = {0, 0xf0, 0xf2, 0xf3};
	static const uint8_t segment[] = {0, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65};
	uint8_t all[4] = {c & 1 ? 0x66 : 0, c & 2 ? 0x67 : 0, group1[(c >> 2) & 3], segment[c >> 4]};
	unsigned start = (unsigned)check_below(&rng, 4);

	for (unsigned k = 0; k < 4; k++) {
		if (all[(start + k) & 3]) {
			put(s, all[(start + k) & 3]);
		}
	}
}

static struct bytes begin(unsigned combo, int rex, unsigned op)
{
	struct bytes s = {.n = 0};

	legacy_prefixes(&s, combo);
	if (rex >= 0) {
		put(&s, 0x40u | (unsigned)rex);
	}
	if (op >= 0x100) {
		put(&s, 0x0f);
	}
	put(&s, op & 0xff);
	return s;
}

static bool table_accepts(unsigned op, unsigned mode)
{
	for (unsigned modrm = 0; modrm < 256; modrm++) {
		for (unsigned rep = 0; rep < 2; rep++) {
			struct bytes s = begin(rep ? 3u << 2 : 0, -1, op);
			struct x86_insn i;

			put(&s, modrm);
			s.n = 15;
			if (x86_decode(s.b, 15, mode, &i)) {
				return true;
			}
		}
	}
	return false;
}

static void all_prefixes(unsigned mode)
{
	decoders_init();
	for (unsigned op = 0; op < 0x200; op++) {
		if (!table_accepts(op, mode)) {
			continue;
		}
		for (int rex = -1; rex < (mode == 8 ? 16 : 0); rex++) {
			for (unsigned c = 0; c < COMBOS; c++) {
				for (unsigned k = 0; k < 8; k++) {
					struct bytes s = begin(c, rex, op);

					/* each mod once with a random rest, and all of ModRM.reg */
					put(&s, (k & 3) << 6 | ((c + k) & 7) << 3 | (check_rand(&rng) & 7));
					finish(&s, mode);
				}
			}
		}
	}
}

TEST(prefixes_64)
{
	rng = check_rng_make(1);
	all_prefixes(8);
}

TEST(prefixes_32)
{
	rng = check_rng_make(2);
	all_prefixes(4);
}

TEST(prefixes_16)
{
	rng = check_rng_make(3);
	all_prefixes(2);
}

/* All ModRM and SIB bytes with the prefixes that change their meaning. */
static void all_modrm(unsigned mode)
{
	decoders_init();
	for (unsigned op = 0; op < 0x200; op++) {
		bool every_sib = op == 0x8b || op == 0x88 || op == 0x81 || op == 0x1b6;

		if (!table_accepts(op, mode)) {
			continue;
		}
		for (unsigned n = 0; n < (mode == 8 ? 16u * 4 : 4u); n++) {
			for (unsigned modrm = 0; modrm < 256; modrm++) {
				bool sib = (modrm >> 6) != 3 && (modrm & 7) == 4;

				for (unsigned k = 0; k < (sib ? every_sib ? 256u : 4u : 1u); k++) {
					struct bytes s = begin(n & 3, mode == 8 ? (int)(n >> 2) : -1, op);

					put(&s, modrm);
					put(&s, every_sib ? k : (unsigned)check_rand(&rng));
					finish(&s, mode);
				}
			}
		}
	}
}

TEST(operands_64)
{
	rng = check_rng_make(4);
	all_modrm(8);
}

TEST(operands_32)
{
	rng = check_rng_make(5);
	all_modrm(4);
}

TEST(operands_16)
{
	rng = check_rng_make(6);
	all_modrm(2);
}

TEST(random_bytes)
{
	rng = check_rng_make(7);
	decoders_init();
	for (unsigned n = 0; n < 3000000; n++) {
		uint64_t r[2] = {check_rand(&rng), check_rand(&rng)};

		compare((const uint8_t *)r, 15, n % 3 == 0 ? 8 : n % 3 == 1 ? 4 : 2);
	}
	CHECK(compared > 1000000);
}

/* Prefixes may repeat, up to what 15 bytes hold; a REX before another prefix is void. */
TEST(repeated_prefixes)
{
	static const uint8_t all[] = {0x66, 0x67, 0xf2, 0xf3, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x48,
				      0x4f, 0x40};
	static const uint8_t ops[] = {0x8b, 0x89, 0xa4, 0xaa, 0xa1, 0xc7, 0x0f};

	rng = check_rng_make(8);
	decoders_init();
	for (unsigned n = 0; n < 400000; n++) {
		struct bytes s = {.n = 0};
		unsigned mode = 2u << (n % 3);
		unsigned count = (unsigned)check_below(&rng, 14);

		for (unsigned k = 0; k < count; k++) {
			put(&s, all[check_below(&rng, mode == 8 ? 13 : 10)]);
		}
		put(&s, ops[check_below(&rng, sizeof(ops))]);
		if (s.b[s.n - 1] == 0x0f) {
			put(&s, 0xb6 + (unsigned)check_below(&rng, 2));
		}
		finish(&s, mode);
	}
}

/* Bytes that are not there: one less than it needs is refused, and nothing behind is looked at. */
TEST(truncated)
{
	rng = check_rng_make(9);
	decoders_init();
	for (unsigned n = 0; n < 300000; n++) {
		uint64_t r[2] = {check_rand(&rng), check_rand(&rng)};
		unsigned mode = 2u << (n % 3);
		struct x86_insn i, j;
		uint8_t *exact;

		if (!x86_decode((const uint8_t *)r, 15, mode, &i)) {
			continue;
		}
		exact = malloc(i.len);
		memcpy(exact, r, i.len);
		CHECK(x86_decode(exact, i.len, mode, &j));
		CHECK(memcmp(&i, &j, sizeof(i)) == 0);
		exact = realloc(exact, i.len > 1 ? i.len - 1u : 1u);
		CHECK(!x86_decode(exact, i.len - 1u, mode, &j));
		free(exact);
	}
	CHECK(!x86_decode(NULL, 0, 8, &(struct x86_insn){0}));
}

/* What Linux' accessors and the exits need: refusing these would stop a guest. */
TEST(must_know)
{
	static const struct {
		uint8_t b[12], op, size;
	} rows[] = {
		{{0x8b, 0x00}, X86_OP_MOV, 4}, {{0x89, 0x10}, X86_OP_MOV, 4},
		{{0x48, 0x8b, 0x04, 0x25, 0x80}, X86_OP_MOV, 8}, {{0x8a, 0x07}, X86_OP_MOV, 1},
		{{0x0f, 0xb6, 0x07}, X86_OP_MOVZX, 1}, {{0x0f, 0xb7, 0x07}, X86_OP_MOVZX, 2},
		{{0x0f, 0xbe, 0x07}, X86_OP_MOVSX, 1}, {{0x48, 0x63, 0x07}, X86_OP_MOVSX, 4},
		{{0xc7, 0x00, 1, 0, 0, 0}, X86_OP_MOV, 4}, {{0xf3, 0xaa}, X86_OP_STOS, 1},
		{{0xf3, 0x48, 0xa5}, X86_OP_MOVS, 8}, {{0xf0, 0x0f, 0xba, 0x28, 3}, X86_OP_BTS, 4},
		{{0x87, 0x07}, X86_OP_XCHG, 4}, {{0x83, 0x27, 1}, X86_OP_AND, 4},
		{{0xf6, 0x07, 1}, X86_OP_TEST, 1}, {{0xff, 0x07}, X86_OP_INC, 4},
		{{0x0f, 0xa2}, X86_OP_CPUID, 0}, {{0x0f, 0x01, 0xd9}, X86_OP_VMMCALL, 0},
		{{0x0f, 0x22, 0xe0}, X86_OP_MOV_TO_CR, 8}, {{0x44, 0x0f, 0x20, 0xc0}, X86_OP_MOV_FROM_CR, 8},
		{{0xf4}, X86_OP_HLT, 0}, {{0xf3, 0x90}, X86_OP_PAUSE, 0}, {{0x48, 0xcf}, X86_OP_IRET, 0},
		{{0xa1, 1, 2, 3, 4, 5, 6, 7, 8}, X86_OP_MOV, 4},
	};

	for (unsigned k = 0; k < sizeof(rows) / sizeof(rows[0]); k++) {
		struct x86_insn i;

		CHECK(x86_decode(rows[k].b, 12, 8, &i));
		CHECK_EQ(i.op, rows[k].op);
		CHECK(!rows[k].size || i.size == rows[k].size);
	}
}

/* ---- arithmetic against this CPU --------------------------------------------------------------------- */

#if defined(__x86_64__)
#define ALU2(insn, type)                                                                           \
	static uint64_t cpu_##insn##_##type(uint64_t a, uint64_t b, uint64_t *flags)               \
	{                                                                                          \
		type x = (type)a, y = (type)b;                                                     \
		uint64_t f = *flags;                                                               \
		__asm__ volatile("lea -128(%%rsp), %%rsp; pushfq; pop %%rdx; andq $-2262, %%rdx; orq %%rdx, %1; push %1; popfq; " \
				 #insn " %2, %0; pushfq; pop %1; lea 128(%%rsp), %%rsp"                                   \
				 : "+r"(x), "+r"(f) : "r"(y) : "cc", "rdx", "memory");            \
		*flags = f & ALU_FLAGS;                                                            \
		return x;                                                                          \
	}
#define ALU1(insn, type)                                                                           \
	static uint64_t cpu_##insn##_##type(uint64_t a, uint64_t b, uint64_t *flags)               \
	{                                                                                          \
		type x = (type)a;                                                                  \
		uint64_t f = *flags;                                                               \
		(void)b;                                                                           \
		__asm__ volatile("lea -128(%%rsp), %%rsp; pushfq; pop %%rdx; andq $-2262, %%rdx; orq %%rdx, %1; push %1; popfq; " \
				 #insn " %0; pushfq; pop %1; lea 128(%%rsp), %%rsp"                                       \
				 : "+r"(x), "+r"(f) : : "cc", "rdx", "memory");                   \
		*flags = f & ALU_FLAGS;                                                            \
		return x;                                                                          \
	}
#define SIZES(m, insn) m(insn, uint8_t) m(insn, uint16_t) m(insn, uint32_t) m(insn, uint64_t)
SIZES(ALU2, add) SIZES(ALU2, or) SIZES(ALU2, adc) SIZES(ALU2, sbb) SIZES(ALU2, and) SIZES(ALU2, sub)
SIZES(ALU2, xor) SIZES(ALU2, cmp) SIZES(ALU2, test)
SIZES(ALU1, not) SIZES(ALU1, neg) SIZES(ALU1, inc) SIZES(ALU1, dec)

typedef uint64_t cpu_fn(uint64_t a, uint64_t b, uint64_t *flags);
#define ROW(op, insn)                                                                              \
	{op, {cpu_##insn##_uint8_t, cpu_##insn##_uint16_t, cpu_##insn##_uint32_t, cpu_##insn##_uint64_t}}

TEST(arithmetic)
{
	static const struct {
		unsigned op;
		cpu_fn *fn[4];
	} rows[] = {
		ROW(X86_OP_ADD, add), ROW(X86_OP_OR, or), ROW(X86_OP_ADC, adc), ROW(X86_OP_SBB, sbb),
		ROW(X86_OP_AND, and), ROW(X86_OP_SUB, sub), ROW(X86_OP_XOR, xor), ROW(X86_OP_CMP, cmp),
		ROW(X86_OP_TEST, test), ROW(X86_OP_NOT, not), ROW(X86_OP_NEG, neg), ROW(X86_OP_INC, inc),
		ROW(X86_OP_DEC, dec),
	};
	static const uint64_t edge[] = {0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff,
					0x80000000, 0xffffffff, 0x7fffffffffffffff,
					0x8000000000000000, ~0ull, 0xf, 0x10};

	rng = check_rng_make(10);
	for (unsigned n = 0; n < 400000; n++) {
		unsigned k = n % (sizeof(rows) / sizeof(rows[0])), s = (n / 16) % 4;
		uint64_t a = n & 1024 ? check_rand(&rng) : edge[check_below(&rng, 16)];
		uint64_t b = n & 2048 ? check_rand(&rng) : edge[check_below(&rng, 16)];
		uint64_t start = check_rand(&rng) & ALU_FLAGS, want_f = start, got_f = start;
		uint64_t want = rows[k].fn[s](a, b, &want_f);
		uint64_t got = alu_compute(rows[k].op, a, b, 1u << s, &got_f);
		/* AF is undefined after logic. */
		uint64_t known = ALU_FLAGS & ~(uint64_t)(rows[k].op == X86_OP_AND || rows[k].op == X86_OP_OR ||
				 rows[k].op == X86_OP_XOR || rows[k].op == X86_OP_TEST ? ALU_AF : 0);

		CHECK_EQ(got, want);
		CHECK_EQ(got_f & known, want_f & known);
	}
}
#endif

CHECK_MAIN()
