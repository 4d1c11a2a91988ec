// SPDX-License-Identifier: Apache-2.0
/*
 * The decoder's tables (Intel SDM volume 2, 2.1 and appendix A) and its walk over at most 15 bytes.
 * No state, no lock, no hardware.
 */
#include <abi/x86.h>
#include <asm/decode.h>

/* How the operands of an opcode lie. */
enum form {
	BAD,
	E_G,		/* ModRM memory, register */
	G_E,		/* register, ModRM memory */
	E_I,		/* memory, immediate of the operand's size, at most 4 */
	E_I8,		/* memory, signed 8-bit immediate */
	E_ONLY,		/* memory alone */
	MOFFS_LOAD,	/* accumulator, address in the instruction */
	MOFFS_STORE,
	STRING,
	PLAIN,		/* no operand */
	GROUP,		/* ModRM.reg chooses: `op` is a group number */
	R_CR,		/* general register in ModRM.rm, CR or DR in ModRM.reg */
	TWO_BYTE,
};

enum group { GROUP_1, GROUP_3, GROUP_4, GROUP_8, GROUP_11, GROUP_0F01 };

#define BYTE 1u			/* operand of one byte */
#define WORD_SRC 2u		/* memory operand of two bytes */
#define NEED_64 4u		/* 64-bit code only */
#define IMM8 8u			/* of a group: its immediate is one byte, signed */
#define IMMZ 16u

struct row {
	uint8_t op;
	uint8_t form;
	uint8_t flags;
};

#define ALU(code, alu)                                                                             \
	[(code)] = {alu, E_G, BYTE}, [(code) + 1] = {alu, E_G, 0},                                 \
	[(code) + 2] = {alu, G_E, BYTE}, [(code) + 3] = {alu, G_E, 0}

static const struct row one_byte[256] = {
	ALU(0x00, X86_OP_ADD), ALU(0x08, X86_OP_OR), ALU(0x10, X86_OP_ADC), ALU(0x18, X86_OP_SBB),
	ALU(0x20, X86_OP_AND), ALU(0x28, X86_OP_SUB), ALU(0x30, X86_OP_XOR), ALU(0x38, X86_OP_CMP),
	[0x0f] = {0, TWO_BYTE, 0},
	[0x63] = {X86_OP_MOVSX, G_E, NEED_64},
	[0x80] = {GROUP_1, GROUP, BYTE | IMM8},
	[0x81] = {GROUP_1, GROUP, IMMZ},
	[0x83] = {GROUP_1, GROUP, IMM8},
	[0x84] = {X86_OP_TEST, E_G, BYTE}, [0x85] = {X86_OP_TEST, E_G, 0},
	[0x86] = {X86_OP_XCHG, E_G, BYTE}, [0x87] = {X86_OP_XCHG, E_G, 0},
	[0x88] = {X86_OP_MOV, E_G, BYTE}, [0x89] = {X86_OP_MOV, E_G, 0},
	[0x8a] = {X86_OP_MOV, G_E, BYTE}, [0x8b] = {X86_OP_MOV, G_E, 0},
	[0x90] = {X86_OP_PAUSE, PLAIN, 0},	/* with F3 */
	[0xa0] = {X86_OP_MOV, MOFFS_LOAD, BYTE}, [0xa1] = {X86_OP_MOV, MOFFS_LOAD, 0},
	[0xa2] = {X86_OP_MOV, MOFFS_STORE, BYTE}, [0xa3] = {X86_OP_MOV, MOFFS_STORE, 0},
	[0xa4] = {X86_OP_MOVS, STRING, BYTE}, [0xa5] = {X86_OP_MOVS, STRING, 0},
	[0xaa] = {X86_OP_STOS, STRING, BYTE}, [0xab] = {X86_OP_STOS, STRING, 0},
	[0xac] = {X86_OP_LODS, STRING, BYTE}, [0xad] = {X86_OP_LODS, STRING, 0},
	[0xc6] = {GROUP_11, GROUP, BYTE | IMM8}, [0xc7] = {GROUP_11, GROUP, IMMZ},
	[0xcf] = {X86_OP_IRET, PLAIN, 0},
	[0xf4] = {X86_OP_HLT, PLAIN, 0},
	[0xf6] = {GROUP_3, GROUP, BYTE}, [0xf7] = {GROUP_3, GROUP, 0},
	[0xfe] = {GROUP_4, GROUP, BYTE}, [0xff] = {GROUP_4, GROUP, 0},
};

static const struct row two_byte[256] = {
	[0x01] = {GROUP_0F01, GROUP, 0},
	[0x06] = {X86_OP_CLTS, PLAIN, 0},
	[0x08] = {X86_OP_INVD, PLAIN, 0},
	[0x09] = {X86_OP_WBINVD, PLAIN, 0},
	[0x20] = {X86_OP_MOV_FROM_CR, R_CR, 0}, [0x21] = {X86_OP_MOV_FROM_DR, R_CR, 0},
	[0x22] = {X86_OP_MOV_TO_CR, R_CR, 0}, [0x23] = {X86_OP_MOV_TO_DR, R_CR, 0},
	[0x30] = {X86_OP_WRMSR, PLAIN, 0},
	[0x31] = {X86_OP_RDTSC, PLAIN, 0},
	[0x32] = {X86_OP_RDMSR, PLAIN, 0},
	[0x33] = {X86_OP_RDPMC, PLAIN, 0},
	[0xa2] = {X86_OP_CPUID, PLAIN, 0},
	[0xa3] = {BAD, BAD, 0},			/* BT with a register reaches beyond its operand */
	[0xb6] = {X86_OP_MOVZX, G_E, BYTE}, [0xb7] = {X86_OP_MOVZX, G_E, WORD_SRC},
	[0xba] = {GROUP_8, GROUP, IMM8},
	[0xbe] = {X86_OP_MOVSX, G_E, BYTE}, [0xbf] = {X86_OP_MOVSX, G_E, WORD_SRC},
};

/* ModRM.reg of the groups with a memory operand. */
static const uint8_t group_8_op[8] = {0, 0, 0, 0, X86_OP_BT, X86_OP_BTS, X86_OP_BTR, X86_OP_BTC};

/* 0F 01 with ModRM.mod = 3: the whole byte names the instruction. */
static const struct {
	uint8_t modrm, op;
} table_0f01[] = {
	{0xc1, X86_OP_VMCALL}, {0xc8, X86_OP_MONITOR}, {0xc9, X86_OP_MWAIT}, {0xd1, X86_OP_XSETBV},
	{0xd8, X86_OP_SVM}, {0xd9, X86_OP_VMMCALL}, {0xda, X86_OP_SVM}, {0xdb, X86_OP_SVM},
	{0xdc, X86_OP_SVM}, {0xdd, X86_OP_SVM}, {0xde, X86_OP_SVM}, {0xdf, X86_OP_SVM},
	{0xf9, X86_OP_RDTSCP},
};

struct decoder {
	const uint8_t *bytes;
	unsigned n, pos, code_bytes;
	unsigned op_size;
	uint8_t rex, modrm;
	bool has_66, has_f2, has_f3, failed;
};

#define REX_W(d) ((d)->rex & 8u)
#define REX_R(d) ((uint8_t)(((d)->rex & 4u) << 1))
#define REX_X(d) ((uint8_t)(((d)->rex & 2u) << 2))
#define REX_B(d) ((uint8_t)(((d)->rex & 1u) << 3))
#define MOD(m) ((m) >> 6)
#define REG(m) (((m) >> 3) & 7u)
#define RM(m) ((m) & 7u)

static uint8_t next(struct decoder *d)
{
	if (d->pos >= d->n) {
		d->failed = true;
		return 0;
	}
	return d->bytes[d->pos++];
}

/* Little-endian, sign-extended; 1, 2, 4 or 8 bytes. */
static int64_t next_signed(struct decoder *d, unsigned bytes)
{
	uint64_t val = 0;

	for (unsigned i = 0; i < bytes; i++) {
		val |= (uint64_t)next(d) << (8 * i);
	}
	switch (bytes) {
	case 1:
		return (int8_t)val;
	case 2:
		return (int16_t)val;
	case 4:
		return (int32_t)val;
	default:
		return (int64_t)val;
	}
}

/* ---- prefixes -------------------------------------------------------------------------------- */

static int segment_of(uint8_t prefix)
{
	switch (prefix) {
	case 0x26:
		return TM_SEG_ES;
	case 0x2e:
		return TM_SEG_CS;
	case 0x36:
		return TM_SEG_SS;
	case 0x3e:
		return TM_SEG_DS;
	case 0x64:
		return TM_SEG_FS;
	case 0x65:
		return TM_SEG_GS;
	default:
		return -1;
	}
}

/* Returns the opcode byte. *seg: the override, or -1. */
static uint8_t prefixes(struct decoder *d, struct x86_insn *i, int *seg)
{
	bool has_67 = false;
	uint8_t b;

	for (;;) {
		int s;

		b = next(d);
		s = segment_of(b);
		if (d->failed) {
			return 0;
		}
		if (d->code_bytes == 8 && (b & 0xf0) == 0x40) {
			d->rex = b;
			continue;
		}
		if (s >= 0) {
			/* ES, CS, SS, DS mean nothing to 64-bit code, not even "no FS any more". */
			if (d->code_bytes != 8 || s == TM_SEG_FS || s == TM_SEG_GS) {
				*seg = s;
			}
		} else if (b == 0x66) {
			d->has_66 = true;
		} else if (b == 0x67) {
			has_67 = true;
		} else if (b == 0xf0) {
			i->lock = true;
		} else if (b == 0xf2 || b == 0xf3) {
			/* the last one counts */
			d->has_f2 = b == 0xf2;
			d->has_f3 = b == 0xf3;
		} else {
			break;
		}
		d->rex = 0;		/* REX counts only right before the opcode */
	}
	i->addr_size = (uint8_t)d->code_bytes;
	d->op_size = d->code_bytes == 2 ? 2 : 4;
	if (has_67) {
		i->addr_size = d->code_bytes == 4 ? 2 : 4;
	}
	if (REX_W(d)) {
		d->op_size = 8;
	} else if (d->has_66) {
		d->op_size = d->code_bytes == 2 ? 4 : 2;
	}
	return b;
}

/* ---- memory operands ------------------------------------------------------------------------- */

static void address_16(struct decoder *d, struct x86_insn *i)
{
	static const uint8_t base[8] = {3, 3, 5, 5, 6, 7, 5, 3};
	static const uint8_t index[8] = {6, 7, 6, 7, X86_NO_REG, X86_NO_REG, X86_NO_REG, X86_NO_REG};
	unsigned mod = MOD(d->modrm), rm = RM(d->modrm);

	if (mod == 0 && rm == 6) {
		i->disp = next_signed(d, 2);
		return;
	}
	i->base = base[rm];
	i->index = index[rm];
	i->disp = mod == 1 ? next_signed(d, 1) : mod == 2 ? next_signed(d, 2) : 0;
}

static void address_sib(struct decoder *d, struct x86_insn *i)
{
	uint8_t sib = next(d);
	uint8_t index = (uint8_t)(REG(sib) | REX_X(d));

	i->scale = (uint8_t)(sib >> 6);
	i->index = index == 4 ? (uint8_t)X86_NO_REG : index;
	i->base = (uint8_t)(RM(sib) | REX_B(d));
	if (RM(sib) == 5 && MOD(d->modrm) == 0) {
		i->base = X86_NO_REG;
		i->disp = next_signed(d, 4);
	}
}

static void address_32(struct decoder *d, struct x86_insn *i)
{
	unsigned mod = MOD(d->modrm), rm = RM(d->modrm);

	if (rm == 4) {
		address_sib(d, i);
	} else if (mod == 0 && rm == 5) {
		i->base = d->code_bytes == 8 ? X86_BASE_RIP : (uint8_t)X86_NO_REG;
		i->disp = next_signed(d, 4);
	} else {
		i->base = (uint8_t)(rm | REX_B(d));
	}
	if (mod == 1) {
		i->disp = next_signed(d, 1);
	} else if (mod == 2) {
		i->disp = next_signed(d, 4);
	}
}

static bool memory_operand(struct decoder *d, struct x86_insn *i, int seg)
{
	if (MOD(d->modrm) == 3) {
		return false;		/* registers need no help */
	}
	i->has_mem = true;
	i->base = i->index = X86_NO_REG;
	if (i->addr_size == 2) {
		address_16(d, i);
	} else {
		address_32(d, i);
	}
	i->seg = i->base == 4 || i->base == 5 ? TM_SEG_SS : TM_SEG_DS;
	if (seg >= 0) {
		i->seg = (uint8_t)seg;
	}
	return true;
}

/* ---- operands -------------------------------------------------------------------------------- */

static void register_operand(struct decoder *d, struct x86_insn *i, uint8_t reg)
{
	i->reg = reg;
	if (i->reg_size == 1 && !d->rex && reg >= 4) {
		i->reg = reg & 3;
		i->high_byte = true;
	}
}

static void immediate(struct decoder *d, struct x86_insn *i, unsigned bytes)
{
	i->has_imm = true;
	i->imm = (uint64_t)next_signed(d, bytes);
}

/* LOCK is for a memory destination that is read as well; elsewhere #UD, so no exit came from it. */
static bool lock_ok(const struct x86_insn *i)
{
	return !i->lock || (i->op <= X86_OP_BTC && i->has_mem && i->mem_dest && x86_insn_reads(i) &&
			    x86_insn_writes(i));
}

static bool group_with_memory(struct decoder *d, struct x86_insn *i, const struct row *r, int seg)
{
	unsigned reg = REG(d->modrm), imm = 0;

	switch (r->op) {
	case GROUP_1:
		i->op = (uint8_t)(X86_OP_ADD + reg);
		break;
	case GROUP_3:
		/* TEST (twice), NOT, NEG; multiplications are not for devices */
		i->op = reg < 2 ? X86_OP_TEST : reg == 2 ? X86_OP_NOT : reg == 3 ? X86_OP_NEG : 0;
		imm = reg < 2 ? (r->flags & BYTE ? IMM8 : IMMZ) : 0;
		break;
	case GROUP_4:
		i->op = reg == 0 ? X86_OP_INC : reg == 1 ? X86_OP_DEC : 0;
		break;
	case GROUP_8:
		i->op = group_8_op[reg];
		break;
	case GROUP_11:
		i->op = reg == 0 ? X86_OP_MOV : 0;
		break;
	default:
		return false;
	}
	imm |= r->flags & (IMM8 | IMMZ);
	if (!i->op || !memory_operand(d, i, seg)) {
		return false;
	}
	i->mem_dest = true;
	i->size = i->reg_size = (uint8_t)(r->flags & BYTE ? 1u : d->op_size);
	if (imm & IMM8) {
		immediate(d, i, 1);
	} else if (imm & IMMZ) {
		immediate(d, i, i->size < 4 ? i->size : 4);
	}
	return true;
}

static bool group_0f01(struct decoder *d, struct x86_insn *i, int seg)
{
	unsigned reg = REG(d->modrm);

	if (reg == 4 || reg == 6) {
		i->op = reg == 4 ? X86_OP_SMSW : X86_OP_LMSW;
		i->size = i->reg_size = 2;
		i->mem_dest = reg == 4;
		if (!memory_operand(d, i, seg)) {
			i->rm = (uint8_t)(RM(d->modrm) | REX_B(d));
			i->reg_size = (uint8_t)(reg == 4 ? d->op_size : 2);
		}
		return true;
	}
	if (reg == 7 && memory_operand(d, i, seg)) {
		i->op = X86_OP_INVLPG;
		i->size = 1;
		return true;
	}
	for (unsigned k = 0; MOD(d->modrm) == 3 && k < sizeof(table_0f01) / sizeof(table_0f01[0]); k++) {
		if (table_0f01[k].modrm == d->modrm) {
			i->op = table_0f01[k].op;
		}
	}
	/* With a mandatory prefix these codes are others: SAVEPREVSSP, MCOMMIT ... */
	return i->op && !d->has_66 && !d->has_f2 && !d->has_f3;
}

static bool plain(struct decoder *d, struct x86_insn *i)
{
	if (i->op == X86_OP_PAUSE) {
		return d->has_f3 && !REX_B(d);	/* else NOP or XCHG */
	}
	/* F3: WBNOINVD, the same exit and the same to us. */
	i->reg_size = (uint8_t)d->op_size;	/* IRET */
	return true;
}

/* Control and debug registers: ModRM.mod is ignored, the operand is as wide as the mode. */
static bool control_register(struct decoder *d, struct x86_insn *i)
{
	i->reg = (uint8_t)(REG(d->modrm) | REX_R(d));
	i->rm = (uint8_t)(RM(d->modrm) | REX_B(d));
	i->size = i->reg_size = d->code_bytes == 8 ? 8 : 4;
	if (i->op == X86_OP_MOV_FROM_DR || i->op == X86_OP_MOV_TO_DR) {
		return i->reg < 8;
	}
	/* AMD's other way to name CR8 has LOCK: it is not shown to guests, so not taken here. */
	return i->reg == 0 || (i->reg >= 2 && i->reg <= 4) || i->reg == 8;
}

static bool string(struct decoder *d, struct x86_insn *i, int seg)
{
	i->has_mem = true;
	i->mem_dest = i->op != X86_OP_LODS;
	i->rep = d->has_f2 || d->has_f3;
	i->seg = (uint8_t)(seg >= 0 ? seg : TM_SEG_DS);	/* of SI; DI is in ES always */
	if (i->op == X86_OP_STOS) {
		i->seg = TM_SEG_ES;
	}
	i->base = i->op == X86_OP_STOS ? 7 : 6;
	i->index = X86_NO_REG;
	i->reg = 0;
	return true;
}

static bool operands(struct decoder *d, struct x86_insn *i, const struct row *r, int seg)
{
	if (r->form != PLAIN && r->form != STRING && r->form != MOFFS_LOAD && r->form != MOFFS_STORE) {
		d->modrm = next(d);
	}
	/* MOVSXD into 16 bits: the manuals of the two vendors differ in what it reads. */
	if ((r->flags & NEED_64) && (d->code_bytes != 8 || d->op_size == 2)) {
		return false;
	}
	if (r->form == GROUP) {
		return r->op == GROUP_0F01 ? group_0f01(d, i, seg) : group_with_memory(d, i, r, seg);
	}
	i->op = r->op;
	i->size = i->reg_size = (uint8_t)(r->flags & BYTE ? 1u : d->op_size);
	switch (r->form) {
	case E_G:
	case G_E:
		i->mem_dest = r->form == E_G;
		if (i->op == X86_OP_MOVZX || i->op == X86_OP_MOVSX) {
			i->reg_size = (uint8_t)d->op_size;
			i->size = r->flags & BYTE ? 1 : r->flags & WORD_SRC ? 2 : 4;
		}
		register_operand(d, i, (uint8_t)(REG(d->modrm) | REX_R(d)));
		return memory_operand(d, i, seg);
	case MOFFS_LOAD:
	case MOFFS_STORE:
		i->has_mem = true;
		i->mem_dest = r->form == MOFFS_STORE;
		i->base = i->index = X86_NO_REG;
		i->seg = (uint8_t)(seg >= 0 ? seg : TM_SEG_DS);
		i->disp = next_signed(d, i->addr_size);
		return true;
	case STRING:
		return string(d, i, seg);
	case PLAIN:
		return plain(d, i);
	case R_CR:
		return control_register(d, i);
	default:
		return false;
	}
}

bool x86_decode(const uint8_t *bytes, unsigned n, unsigned code_bytes, struct x86_insn *out)
{
	struct decoder d = {.bytes = bytes, .n = n, .code_bytes = code_bytes};
	struct x86_insn i = {.rm = X86_NO_REG, .base = X86_NO_REG, .index = X86_NO_REG};
	const struct row *r;
	int seg = -1;
	uint8_t code;

	if (d.n > X86_INSN_MAX) {
		d.n = X86_INSN_MAX;
	}
	code = prefixes(&d, &i, &seg);
	r = &one_byte[code];
	if (r->form == TWO_BYTE) {
		code = next(&d);
		r = &two_byte[code];
	}
	if (d.failed || r->form == BAD || !operands(&d, &i, r, seg) || d.failed || !lock_ok(&i)) {
		return false;
	}
	i.len = (uint8_t)d.pos;
	*out = i;
	return true;
}

bool x86_insn_reads(const struct x86_insn *i)
{
	return !(i->op == X86_OP_STOS || (i->op == X86_OP_MOV && i->mem_dest));
}

bool x86_insn_writes(const struct x86_insn *i)
{
	switch (i->op) {
	case X86_OP_CMP:
	case X86_OP_TEST:
	case X86_OP_BT:
	case X86_OP_LODS:
		return false;
	case X86_OP_XCHG:
	case X86_OP_MOVS:
	case X86_OP_STOS:
		return true;
	default:
		return i->op <= X86_OP_BTC && i->mem_dest;
	}
}
