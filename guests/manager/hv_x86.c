// SPDX-License-Identifier: Apache-2.0
//
// Device state on x86: tm_regs, tm_timer_state, tm_uart_state, and as IRQCHIP the board with the
// local APICs of all vCPUs, by rising number, behind it. No state of its own.

#if defined(__x86_64__) && !defined(TM_ABI_ARM64)

#include <stdio.h>
#include <string.h>

#include <tidemark/call.h>
#include <tidemark/x86.h>

#include "hv.h"
#include "hv_arch.h"

#define PM_HZ 3579545u
#define PIT_SLACK 64u		// PM timer ticks that reading and setting may take besides
#define LVT_TIMER 1

uint32_t hv_arch(void)
{
	return SNAP_ARCH_X86;
}

// Leaves as a guest sees them: vendor, features, extended features, XSAVE, address sizes.
void hv_cpu_features(uint64_t feature[SNAP_FEATURES])
{
	static const uint32_t leaf[SNAP_FEATURES][2] = {
		{0, 0}, {1, 0}, {7, 0}, {0xd, 0}, {0xd, 1}, {0x80000001u, 0}, {0x80000008u, 0},
	};
	uint32_t r[4];

	for (unsigned i = 0; i < SNAP_FEATURES - 1; i++) {
		tm_cpuid(leaf[i][0], leaf[i][1], r);
		switch (i) {
		case 0:
			feature[i] = (uint64_t)r[1] << 32 | r[3];
			break;
		case 1:
		case 5:
			feature[i] = (uint64_t)r[2] << 32 | r[3];
			break;
		case 2:
			feature[i] = (uint64_t)r[2] << 32 | r[1];
			break;
		default:
			feature[i] = r[0];
			break;
		}
	}
	// OSXSAVE follows CR4 and is no property of the machine.
	feature[1] &= ~((uint64_t)1 << (32 + 27));
	feature[SNAP_FEATURES - 1] = 0;
}

void hv_sync_code(const void *at, size_t length)
{
	(void)at, (void)length;
}

static int irqchip_get(uint32_t vm, uint8_t *buf, size_t size, size_t *used)
{
	static struct tm_vm_info info;
	int err = tm_vm_info(vm, &info);

	*used = sizeof(struct tm_board_state);
	if (err == 0) {
		err = tm_gic_state(vm, TM_STATE_GET, (struct tm_board_state *)(uintptr_t)buf,
				   sizeof(struct tm_board_state));
	}
	for (uint32_t id = 0; err == 0 && id < TM_MAX_VCPUS; id++) {
		if ((info.vcpu_mask >> id & 1) == 0) {
			continue;
		}
		if (size - *used < sizeof(struct tm_apic_state)) {
			return -TM_E2BIG;
		}
		err = tm_apic_state(vm, id, TM_STATE_GET,
				    (struct tm_apic_state *)(uintptr_t)(buf + *used));
		*used += sizeof(struct tm_apic_state);
	}
	return err;
}

static int irqchip_set(uint32_t vm, const uint8_t *buf, size_t size)
{
	struct tm_board_state board;
	struct tm_apic_state apic;
	size_t at = sizeof(board);
	int err;

	if (size < at || (size - at) % sizeof(apic) != 0) {
		return -TM_EINVAL;
	}
	memcpy(&board, buf, sizeof(board));
	err = tm_gic_state(vm, TM_STATE_SET, &board, sizeof(board));
	for (; err == 0 && at < size; at += sizeof(apic)) {
		memcpy(&apic, buf + at, sizeof(apic));
		err = tm_apic_state(vm, apic.id, TM_STATE_SET, &apic);
	}
	return err;
}

int hv_state_get(uint32_t vm, uint32_t type, uint32_t id, void *buf, size_t size, size_t *used)
{
	memset(buf, 0, size);
	switch (type) {
	case SNAP_VCPU:
		*used = sizeof(struct tm_regs);
		return tm_vcpu_regs_get(vm, id, buf);
	case SNAP_TIMER:
		*used = sizeof(struct tm_timer_state);
		return tm_timer_state(vm, id, TM_STATE_GET, buf);
	case SNAP_UART:
		*used = sizeof(struct tm_uart_state);
		return tm_uart_state(vm, TM_STATE_GET, buf);
	case SNAP_IRQCHIP:
		return irqchip_get(vm, buf, size, used);
	default:
		return -TM_EINVAL;
	}
}

int hv_state_set(uint32_t vm, uint32_t type, uint32_t id, const void *buf, size_t size)
{
	static union {
		struct tm_regs regs;
		struct tm_timer_state timer;
		struct tm_uart_state uart;
	} state;

	if (type == SNAP_IRQCHIP) {
		return irqchip_set(vm, buf, size);
	}
	if (size > sizeof(state)) {
		return -TM_EINVAL;
	}
	memset(&state, 0, sizeof(state));
	memcpy(&state, buf, size);
	switch (type) {
	case SNAP_VCPU:
		return size == sizeof(state.regs) ? tm_vcpu_regs_set(vm, id, &state.regs) : -TM_EINVAL;
	case SNAP_TIMER:
		return size == sizeof(state.timer) ?
			       tm_timer_state(vm, id, TM_STATE_SET, &state.timer) : -TM_EINVAL;
	case SNAP_UART:
		return size == sizeof(state.uart) ? tm_uart_state(vm, TM_STATE_SET, &state.uart) :
						    -TM_EINVAL;
	default:
		return -TM_EINVAL;
	}
}

// Time goes on while the VM is paused: a deadline may have come, and is zero then.
static bool timer_equal(const struct tm_timer_state *a, const struct tm_timer_state *b,
			uint64_t elapsed, char *why, size_t why_size)
{
	bool came = b->tsc_deadline == 0 && a->tsc_deadline <= b->tsc;

	if (b->tsc < a->tsc || b->tsc - a->tsc > elapsed) {
		snprintf(why, why_size, "TSC %lx was %lx", (unsigned long)b->tsc,
			 (unsigned long)a->tsc);
		return false;
	}
	if (a->tsc_deadline != b->tsc_deadline && !came) {
		snprintf(why, why_size, "TSC deadline %lx was %lx", (unsigned long)b->tsc_deadline,
			 (unsigned long)a->tsc_deadline);
		return false;
	}
	return true;
}

// The same but for the timer: its count goes down, and at the end its vector is pending.
static bool apic_equal(const struct tm_apic_state *a, const struct tm_apic_state *b,
		       uint64_t elapsed)
{
	struct tm_apic_state t = *a;
	uint32_t vector = a->lvt[LVT_TIMER] & 0xff;
	bool came = b->timer_left == 0 || b->timer_left > a->timer_left;

	if (a->timer_left != 0 && !came && a->timer_left - b->timer_left > elapsed) {
		return false;
	}
	if (a->timer_left == 0 && b->timer_left != 0) {
		return false;
	}
	t.timer_left = b->timer_left;
	if ((b->irr[vector / 32] & ~t.irr[vector / 32]) == 1u << vector % 32) {
		t.irr[vector / 32] |= 1u << vector % 32;
	}
	return memcmp(&t, b, sizeof(t)) == 0;
}

// The counters of the 8254 and the PM timer go on; what the first one's output says follows it.
static bool board_equal(const struct tm_board_state *a, const struct tm_board_state *b,
			uint64_t elapsed)
{
	struct tm_board_state t = *a;
	uint64_t freq = hv_ticks_freq();
	uint64_t pm = elapsed / freq * PM_HZ + elapsed % freq * PM_HZ / freq + PIT_SLACK;
	// Inputs 0 and 2 of the I/O APIC, input 0 of the first 8259.
	uint32_t lines = 5;

	if (b->pm_timer < a->pm_timer || b->pm_timer - a->pm_timer > pm) {
		return false;
	}
	t.pm_timer = b->pm_timer;
	for (unsigned i = 0; i < 3; i++) {
		if (b->pit[i].start < a->pit[i].start ||
		    b->pit[i].start - a->pit[i].start > elapsed) {
			return false;
		}
		t.pit[i].start = b->pit[i].start;
	}
	t.lines = (t.lines & ~lines) | (b->lines & lines);
	t.pic[0].lines = (uint8_t)((t.pic[0].lines & ~1u) | (b->pic[0].lines & 1));
	t.pic[0].irr = (uint8_t)((t.pic[0].irr & ~1u) | (b->pic[0].irr & 1));
	return memcmp(&t, b, sizeof(t)) == 0;
}

static bool irqchip_equal(const uint8_t *a, const uint8_t *b, size_t size, uint64_t elapsed,
			  char *why, size_t why_size)
{
	struct tm_board_state board[2];
	struct tm_apic_state apic[2];
	size_t at = sizeof(board[0]);

	memcpy(&board[0], a, sizeof(board[0]));
	memcpy(&board[1], b, sizeof(board[1]));
	if (!board_equal(&board[0], &board[1], elapsed)) {
		snprintf(why, why_size, "the board's I/O APIC, 8259s, 8254 or PM timer");
		return false;
	}
	// The size is a whole number of them: hv_state_set refused anything else.
	for (; at < size; at += sizeof(apic[0])) {
		memcpy(&apic[0], a + at, sizeof(apic[0]));
		memcpy(&apic[1], b + at, sizeof(apic[1]));
		if (!apic_equal(&apic[0], &apic[1], elapsed)) {
			snprintf(why, why_size, "local APIC %u", (unsigned)apic[0].id);
			return false;
		}
	}
	return true;
}

// Only for the message: which part of the registers the first differing byte is in.
static void name_regs(size_t at, const void *saved, char *why, size_t why_size)
{
	static const char *const name[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
					     "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"};
	const struct tm_regs *r = saved;
	size_t msr = offsetof(struct tm_regs, msr);

	if (at < offsetof(struct tm_regs, rip)) {
		snprintf(why, why_size, "%s", name[at / 8]);
	} else if (at >= msr && at < msr + sizeof(r->msr)) {
		snprintf(why, why_size, "MSR %x",
			 (unsigned)r->msr[(at - msr) / sizeof(r->msr[0])].msr);
	} else {
		snprintf(why, why_size, "byte %u of the registers", (unsigned)at);
	}
}

bool hv_state_equal(uint32_t type, const void *saved, const void *now, size_t size,
		    uint64_t elapsed, char *why, size_t why_size)
{
	const uint8_t *a = saved;
	const uint8_t *b = now;

	if (type == SNAP_TIMER) {
		return timer_equal(saved, now, elapsed, why, why_size);
	}
	if (type == SNAP_IRQCHIP) {
		return irqchip_equal(a, b, size, elapsed, why, why_size);
	}
	for (size_t i = 0; i < size; i++) {
		if (a[i] == b[i]) {
			continue;
		}
		if (type == SNAP_VCPU) {
			name_regs(i, saved, why, why_size);
		} else {
			snprintf(why, why_size, "byte %u", (unsigned)i);
		}
		return false;
	}
	return true;
}

int hv_arch_show_vcpu(uint32_t vm, uint32_t id)
{
	static struct tm_regs regs;
	int err;

	memset(&regs, 0, sizeof(regs));
	err = tm_vcpu_regs_get(vm, id, &regs);
	if (err == 0) {
		printf("  vcpu %u: rip %016lx rsp %016lx cr3 %016lx rflags %08lx power %s%s\n",
		       (unsigned)id, (unsigned long)regs.rip, (unsigned long)regs.gpr[4],
		       (unsigned long)regs.cr3, (unsigned long)regs.rflags,
		       regs.powered_on != 0 ? "on" : "off",
		       regs.activity == TM_ACTIVITY_HALTED ? ", halted" : "");
	}
	return err;
}

// The TSC ticks once an instruction, under QEMU -icount shift=0 and under Bochs alike.
uint64_t hv_arch_insns(uint64_t ticks)
{
	return ticks;
}

#endif
