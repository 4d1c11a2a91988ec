// SPDX-License-Identifier: Apache-2.0
/*
 * The console UART of a VM: a PL011 r1p4 (Arm DDI 0183) that transmits at once and receives into a
 * FIFO of 16. Good for the pl011 and sbsa-uart drivers, polled or by interrupt (SPI 1). Characters
 * come from and go to console.c. Lock: the UART's own, taken before the vgic's.
 */
#include <arch/vcpu.h>
#include <asm/guest.h>
#include <boot/guest_fdt.h>
#include <hyp/console.h>
#include <hyp/mmio.h>
#include <hyp/string.h>
#include <hyp/vm.h>

#define UART_INTID (32u + GUEST_UART_SPI)

#define UARTDR 0x00u
#define UARTRSR 0x04u
#define UARTFR 0x18u
#define UARTILPR 0x20u
#define UARTIBRD 0x24u
#define UARTFBRD 0x28u
#define UARTLCR_H 0x2cu
#define UARTCR 0x30u
#define UARTIFLS 0x34u
#define UARTIMSC 0x38u
#define UARTRIS 0x3cu
#define UARTMIS 0x40u
#define UARTICR 0x44u
#define UARTDMACR 0x48u
#define UART_ID 0xfe0u

#define FR_CTS 0x01u
#define FR_RXFE 0x10u
#define FR_RXFF 0x40u
#define FR_TXFE 0x80u
#define INT_RX 0x10u
#define INT_TX 0x20u
#define INT_RT 0x40u
#define INT_ALL 0x7ffu
#define CR_RESET 0x300u
#define IFLS_RESET 0x12u

static const uint8_t uart_id[8] = {0x11, 0x10, 0x14, 0x00, 0x0d, 0xf0, 0x05, 0xb1};

/* Received characters stay asserted until they are read, whatever was cleared: none is forgotten
 * in the FIFO because a driver cleared the interrupt first. */
static void update(struct vm *vm, struct vuart *u)
{
	bool line;

	u->ris = (u->ris & ~(INT_RX | INT_RT)) | (u->rx_count ? INT_RX | INT_RT : 0);
	line = u->ris & u->imsc;
	if (line != u->line) {
		u->line = line;
		/* The line exists: its number is a constant below VGIC_IRQS. */
		(void)!arch_irq_line(vm, UART_INTID, line);
	}
}

static void refill(struct vm *vm, struct vuart *u)
{
	if (u->rx_count < VUART_FIFO) {
		u->rx_count += (uint32_t)console_vm_read(vm, (char *)u->rx + u->rx_count,
							 VUART_FIFO - u->rx_count);
	}
}

static uint32_t receive(struct vm *vm, struct vuart *u)
{
	uint32_t c;

	if (!u->rx_count) {
		return 0;
	}
	c = u->rx[0];
	u->rx_count--;
	memmove(u->rx, u->rx + 1, u->rx_count);
	refill(vm, u);
	return c;
}

static uint32_t reg_read(struct vm *vm, struct vuart *u, uint32_t off)
{
	switch (off) {
	case UARTDR:
		return receive(vm, u);
	case UARTFR:
		return FR_CTS | FR_TXFE | (u->rx_count ? 0 : FR_RXFE) |
		       (u->rx_count == VUART_FIFO ? FR_RXFF : 0);
	case UARTILPR:
		return u->ilpr;
	case UARTIBRD:
		return u->ibrd;
	case UARTFBRD:
		return u->fbrd;
	case UARTLCR_H:
		return u->lcr_h;
	case UARTCR:
		return u->cr;
	case UARTIFLS:
		return u->ifls;
	case UARTIMSC:
		return u->imsc;
	case UARTRIS:
		return u->ris;
	case UARTMIS:
		return u->ris & u->imsc;
	case UARTDMACR:
		return u->dmacr;
	default:
		return off >= UART_ID ? uart_id[((off - UART_ID) / 4) & 7] : 0;
	}
}

static void reg_write(struct vuart *u, uint32_t off, uint32_t val)
{
	switch (off) {
	case UARTDR:
		u->ris |= INT_TX;	/* gone already, so there is room again */
		break;
	case UARTILPR:
		u->ilpr = val & 0xff;
		break;
	case UARTIBRD:
		u->ibrd = val & 0xffff;
		break;
	case UARTFBRD:
		u->fbrd = val & 0x3f;
		break;
	case UARTLCR_H:
		u->lcr_h = val & 0xff;
		break;
	case UARTCR:
		u->cr = val & 0xff87;
		break;
	case UARTIFLS:
		u->ifls = val & 0x3f;
		break;
	case UARTIMSC:
		u->imsc = val & INT_ALL;
		break;
	case UARTICR:
		u->ris &= ~(val & INT_ALL);
		break;
	case UARTDMACR:
		u->dmacr = val & 7;
		break;
	default:
		break;
	}
}

static void uart_access(struct vcpu *v, void *dev, struct mmio_access *a)
{
	struct vm *vm = v->vm;
	struct vuart *u = dev;
	uint32_t off = (uint32_t)a->offset & ~3u;
	char c = (char)a->data;

	if (a->write && off == UARTDR) {
		console_vm_write(vm, &c, 1);
	}
	/* Nothing to receive is what a polling or printing guest asks most: no lock, no change. */
	if (!a->write && off == UARTFR) {
		a->data = reg_read(vm, u, UARTFR);
		return;
	}
	spin_lock(&u->lock);
	if (a->write) {
		reg_write(u, off, (uint32_t)a->data);
	} else {
		a->data = (uint64_t)reg_read(vm, u, off) >> (8 * (a->offset & 3));
	}
	update(vm, u);
	spin_unlock(&u->lock);
}

void arch_console_input(struct vm *vm)
{
	struct vuart *u = &vm->arch.uart;

	/* The manager takes its characters by CONSOLE_READ; its UART must not swallow them. */
	if (vm->is_manager) {
		return;
	}
	spin_lock(&u->lock);
	refill(vm, u);
	update(vm, u);
	spin_unlock(&u->lock);
}

void vuart_reset(struct vm *vm)
{
	struct vuart *u = &vm->arch.uart;

	u->cr = CR_RESET;
	u->ifls = IFLS_RESET;
	u->imsc = u->ris = u->lcr_h = u->ibrd = u->fbrd = u->ilpr = u->dmacr = 0;
	u->rx_count = 0;
	u->line = false;
}

int vuart_init(struct vm *vm)
{
	struct vuart *u = &vm->arch.uart;
	struct mmio_region r = {
		.base = gpa(GUEST_UART_BASE),
		.size = GUEST_UART_SIZE,
		.name = "uart",
		.access = uart_access,
		.dev = u,
	};

	spin_init(&u->lock, LOCK_VUART);
	vuart_reset(vm);
	return mmio_add(vm, &r);
}

int arch_uart_state_get(struct vm *vm, struct tm_uart_state *s)
{
	struct vuart *u = &vm->arch.uart;

	spin_lock(&u->lock);
	*s = (struct tm_uart_state){
		.version = 1,
		.cr = u->cr,
		.imsc = u->imsc,
		.ris = u->ris,
		.lcr_h = u->lcr_h,
		.ibrd = u->ibrd,
		.fbrd = u->fbrd,
		.ifls = u->ifls,
		.rx_count = u->rx_count,
	};
	memcpy(s->rx, u->rx, u->rx_count);
	spin_unlock(&u->lock);
	return 0;
}

int arch_uart_state_set(struct vm *vm, const struct tm_uart_state *s)
{
	struct vuart *u = &vm->arch.uart;

	if (s->version != 1 || s->rx_count > VUART_FIFO || s->rsvd[0] || s->rsvd[1] || s->rsvd[2]) {
		return -TM_EINVAL;
	}
	spin_lock(&u->lock);
	reg_write(u, UARTCR, s->cr);
	reg_write(u, UARTIMSC, s->imsc);
	reg_write(u, UARTLCR_H, s->lcr_h);
	reg_write(u, UARTIBRD, s->ibrd);
	reg_write(u, UARTFBRD, s->fbrd);
	reg_write(u, UARTIFLS, s->ifls);
	u->ris = s->ris & INT_ALL;
	u->rx_count = s->rx_count;
	memcpy(u->rx, s->rx, s->rx_count);
	update(vm, u);
	spin_unlock(&u->lock);
	return 0;
}
