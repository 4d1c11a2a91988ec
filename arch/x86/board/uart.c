// SPDX-License-Identifier: Apache-2.0
/*
 * The console UART of a VM: a 16550A at 0x3f8, ISA interrupt 4, that transmits at once and receives
 * into a FIFO of 16. Characters come from and go to console.c. Lock: the UART's own, taken before
 * the board's; nothing is printed under it.
 */
#include "board_priv.h"

#include <arch/vcpu.h>
#include <hyp/console.h>
#include <hyp/string.h>

#define RBR 0u
#define IER 1u
#define IIR 2u		/* FCR when written */
#define LCR 3u
#define MCR 4u
#define LSR 5u
#define MSR 6u
#define SCR 7u

#define IER_RX 1u
#define IER_THRE 2u
#define IIR_NONE 0x01u
#define IIR_THRE 0x02u
#define IIR_RX 0x04u
#define IIR_TIMEOUT 0x0cu
#define IIR_FIFO 0xc0u
#define FCR_ENABLE 0x01u
#define FCR_CLEAR_RX 0x02u
#define LCR_DLAB 0x80u
#define MCR_LOOP 0x10u
#define LSR_RX 0x01u
#define LSR_IDLE 0x60u	/* transmitter and its holding register are empty */
#define MSR_READY 0xb0u	/* CTS, DSR, DCD */

static unsigned fifo_size(const struct board_uart *u)
{
	return u->fcr & FCR_ENABLE ? BOARD_UART_FIFO : 1;
}

static uint8_t iir(const struct board_uart *u)
{
	static const uint8_t trigger[4] = {1, 4, 8, 14};
	uint8_t fifo = u->fcr & FCR_ENABLE ? IIR_FIFO : 0;

	if ((u->ier & IER_RX) && u->rx_count) {
		bool full = !fifo || u->rx_count >= trigger[u->fcr >> 6 & 3];

		/* Below its level the FIFO reports what has waited long enough: always. */
		return (uint8_t)(fifo | (full ? IIR_RX : IIR_TIMEOUT));
	}
	if ((u->ier & IER_THRE) && u->thr_empty_pending) {
		return (uint8_t)(fifo | IIR_THRE);
	}
	return (uint8_t)(fifo | IIR_NONE);
}

/* In loopback the interrupt pin is off (its driver OUT2 is). */
static void update(struct vm *vm, const struct board_uart *u)
{
	bool line = !(iir(u) & IIR_NONE) && !(u->mcr & MCR_LOOP);

	/* Nobody else drives it, so the level that stands there is ours. */
	if (line != (READ_ONCE(vm->arch.board.lines) >> BOARD_COM1_IRQ & 1)) {
		board_isa(vm, BOARD_COM1_IRQ, line);
	}
}

static void refill(struct vm *vm, struct board_uart *u)
{
	unsigned size = fifo_size(u);

	/* The manager takes its characters by CONSOLE_READ; its UART must not swallow them. */
	if (u->rx_count < size && !(u->mcr & MCR_LOOP) && !vm->is_manager) {
		u->rx_count += (uint32_t)console_vm_read(vm, (char *)u->rx + u->rx_count,
							 size - u->rx_count);
	}
}

static uint8_t receive(struct vm *vm, struct board_uart *u)
{
	uint8_t c;

	if (!u->rx_count) {
		return 0;
	}
	c = u->rx[0];
	u->rx_count--;
	memmove(u->rx, u->rx + 1, u->rx_count);
	refill(vm, u);
	return c;
}

static uint8_t modem_status(const struct board_uart *u)
{
	uint8_t m = u->mcr;

	if (!(m & MCR_LOOP)) {
		return MSR_READY;
	}
	/* DTR, RTS, OUT1, OUT2 come back as DSR, CTS, RI, DCD. */
	return (uint8_t)((m & 1) << 5 | (m & 2) << 3 | (m & 4) << 4 | (m & 8) << 4);
}

static uint8_t read_locked(struct vm *vm, struct board_uart *u, unsigned reg)
{
	uint8_t val;

	switch (reg) {
	case RBR:
		return u->lcr & LCR_DLAB ? u->dll : receive(vm, u);
	case IER:
		return u->lcr & LCR_DLAB ? u->dlm : u->ier;
	case IIR:
		val = iir(u);
		if ((val & 0xf) == IIR_THRE) {
			u->thr_empty_pending = false;
		}
		return val;
	case LCR:
		return u->lcr;
	case MCR:
		return u->mcr;
	case LSR:
		return LSR_IDLE | (u->rx_count ? LSR_RX : 0);
	case MSR:
		return modem_status(u);
	default:
		return u->scr;
	}
}

static void transmit(struct board_uart *u, uint8_t val)
{
	if ((u->mcr & MCR_LOOP) && u->rx_count < fifo_size(u)) {
		u->rx[u->rx_count++] = val;
	}
	u->thr_empty_pending = true;
}

static void fcr_write(struct board_uart *u, uint8_t val)
{
	/* FIFOs are emptied when they are switched on or off. */
	if ((val & FCR_CLEAR_RX) || ((val ^ u->fcr) & FCR_ENABLE)) {
		u->rx_count = 0;
	}
	u->fcr = val & FCR_ENABLE ? val & 0xc9 : 0;
}

static void write_locked(struct vm *vm, struct board_uart *u, unsigned reg, uint8_t val)
{
	switch (reg) {
	case RBR:
		if (u->lcr & LCR_DLAB) {
			u->dll = val;
		} else {
			transmit(u, val);
		}
		break;
	case IER:
		if (u->lcr & LCR_DLAB) {
			u->dlm = val;
			break;
		}
		/* Switched on while there is room: that is an interrupt. */
		if (val & ~u->ier & IER_THRE) {
			u->thr_empty_pending = true;
		}
		u->ier = val & 0xf;
		break;
	case IIR:
		fcr_write(u, val);
		break;
	case LCR:
		u->lcr = val;
		break;
	case MCR:
		u->mcr = val & 0x1f;
		break;
	case SCR:
		u->scr = val;
		break;
	default:
		break;
	}
	refill(vm, u);
}

uint8_t uart_read(struct vm *vm, unsigned reg)
{
	struct board_uart *u = &vm->arch.board.uart;
	uint8_t val;

	/* What a polling guest asks most changes nothing. */
	if (reg == LSR) {
		return LSR_IDLE | (READ_ONCE(u->rx_count) ? LSR_RX : 0);
	}
	spin_lock(&u->lock);
	val = read_locked(vm, u, reg);
	update(vm, u);
	spin_unlock(&u->lock);
	return val;
}

void uart_write(struct vm *vm, unsigned reg, uint8_t val)
{
	struct board_uart *u = &vm->arch.board.uart;
	char c = (char)val;

	if (reg == RBR && !(READ_ONCE(u->lcr) & LCR_DLAB) && !(READ_ONCE(u->mcr) & MCR_LOOP)) {
		console_vm_write(vm, &c, 1);
	}
	spin_lock(&u->lock);
	write_locked(vm, u, reg, val);
	update(vm, u);
	spin_unlock(&u->lock);
}

void arch_console_input(struct vm *vm)
{
	struct board_uart *u = &vm->arch.board.uart;

	spin_lock(&u->lock);
	refill(vm, u);
	update(vm, u);
	spin_unlock(&u->lock);
}

void uart_reset(struct board_uart *u)
{
	spin_lock(&u->lock);
	u->ier = u->lcr = u->mcr = u->scr = u->fcr = u->dlm = 0;
	u->dll = 12;		/* 9600, as firmware would leave it */
	u->thr_empty_pending = false;
	u->rx_count = 0;
	spin_unlock(&u->lock);
}

void uart_init(struct board_uart *u)
{
	spin_init(&u->lock, LOCK_VUART);
}

/* --- state --- */

int arch_uart_state_get(struct vm *vm, struct tm_uart_state *s)
{
	struct board_uart *u = &vm->arch.board.uart;

	spin_lock(&u->lock);
	*s = (struct tm_uart_state){
		.version = 1,
		.ier = u->ier,
		.iir = iir(u),
		.lcr = u->lcr,
		.mcr = u->mcr,
		.scr = u->scr,
		.fcr = u->fcr,
		.dll = u->dll,
		.dlm = u->dlm,
		.thr_empty_pending = u->thr_empty_pending,
		.rx_count = u->rx_count,
	};
	memcpy(s->rx, u->rx, u->rx_count);
	spin_unlock(&u->lock);
	return 0;
}

static bool all_zero(const void *p, size_t n)
{
	const uint8_t *c = p;
	uint8_t any = 0;

	for (size_t i = 0; i < n; i++) {
		any |= c[i];
	}
	return !any;
}

int arch_uart_state_set(struct vm *vm, const struct tm_uart_state *s)
{
	struct board_uart *u = &vm->arch.board.uart;
	struct board_uart n = {
		.ier = s->ier,
		.lcr = s->lcr,
		.mcr = s->mcr,
		.scr = s->scr,
		.fcr = s->fcr,
		.dll = s->dll,
		.dlm = s->dlm,
		.thr_empty_pending = s->thr_empty_pending,
		.rx_count = s->rx_count,
	};

	if (s->version != 1 || (s->ier & ~0xfu) || (s->mcr & ~0x1fu) || (s->fcr & ~0xc9u) ||
	    (s->fcr && !(s->fcr & FCR_ENABLE)) || s->thr_empty_pending > 1 ||
	    s->rx_count > fifo_size(&n) || s->iir != iir(&n) ||
	    !all_zero(s->rsvd, sizeof(s->rsvd)) || !all_zero(s->rsvd2, sizeof(s->rsvd2)) ||
	    !all_zero(s->rx + s->rx_count, sizeof(s->rx) - s->rx_count)) {
		return -TM_EINVAL;
	}
	spin_lock(&u->lock);
	u->ier = n.ier;
	u->lcr = n.lcr;
	u->mcr = n.mcr;
	u->scr = n.scr;
	u->fcr = n.fcr;
	u->dll = n.dll;
	u->dlm = n.dlm;
	u->thr_empty_pending = n.thr_empty_pending;
	u->rx_count = n.rx_count;
	memcpy(u->rx, s->rx, sizeof(u->rx));
	update(vm, u);
	spin_unlock(&u->lock);
	return 0;
}
