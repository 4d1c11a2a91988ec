// SPDX-License-Identifier: Apache-2.0
/* I/O APIC (Intel 82093AA) and the two 8259 that it replaces. */
#include <asm/io.h>
#include <hyp/types.h>

#include "apic.h"

#define IOREGSEL 0x00u
#define IOWIN 0x10u
#define IOAPIC_VERSION 1u
#define IOAPIC_REDIRECTION 0x10u	/* two words an input */

#define INPUTS_MAX 240u
#define REDIR_ACTIVE_LOW (1u << 13)
#define REDIR_LEVEL (1u << 15)
#define REDIR_MASKED (1u << 16)

#define PIC1 0x20u
#define PIC2 0xa0u
#define ICW1_INIT_ICW4 0x11u
#define ICW4_8086 0x01u

static uint64_t regs;

static void reg_write(unsigned reg, uint32_t val)
{
	io_write32(regs + IOREGSEL, reg);
	io_write32(regs + IOWIN, val);
}

unsigned host_ioapic_inputs(void)
{
	io_write32(regs + IOREGSEL, IOAPIC_VERSION);
	return ((io_read32(regs + IOWIN) >> 16) & 0xff) + 1;
}

bool host_ioapic_init(uint64_t at)
{
	unsigned inputs;

	regs = at;
	inputs = host_ioapic_inputs();
	if (inputs == 1 || inputs > INPUTS_MAX) {	/* reads as zeros or all-ones */
		return false;
	}
	for (unsigned i = 0; i < inputs; i++) {
		reg_write(IOAPIC_REDIRECTION + 2 * i, REDIR_MASKED);
	}
	return true;
}

void host_ioapic_route(unsigned input, unsigned vector, uint32_t id, bool level, bool active_low)
{
	reg_write(IOAPIC_REDIRECTION + 2 * input + 1, id << 24);
	reg_write(IOAPIC_REDIRECTION + 2 * input, vector | (level ? REDIR_LEVEL : 0) |
						  (active_low ? REDIR_ACTIVE_LOW : 0));
}

void host_pic_disable(unsigned first_vector)
{
	static const uint16_t base[2] = {PIC1, PIC2};

	for (unsigned i = 0; i < 2; i++) {
		port_out8(base[i], ICW1_INIT_ICW4);
		port_out8(base[i] + 1, (uint8_t)(first_vector + 8 * i));
		port_out8(base[i] + 1, i == 0 ? 1u << 2 : 2);	/* the second hangs on input 2 */
		port_out8(base[i] + 1, ICW4_8086);
		port_out8(base[i] + 1, 0xff);
	}
}
