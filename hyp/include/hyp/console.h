// SPDX-License-Identifier: Apache-2.0
/*
 * One physical console for everybody: whole lines, each with its VM's name in front; input goes to
 * the VM in focus. Ctrl-T then a digit or n moves the focus (Ctrl-T twice sends one). Output of a
 * partial line is shown at once for the VM in focus, buffered for the others.
 */
#ifndef HYP_CONSOLE_H
#define HYP_CONSOLE_H

#include <hyp/types.h>

struct vm;

#define CONSOLE_LINE 192

/* A VM's share of the console, in struct vm; guarded by the console's lock, zero at the start. */
struct console_vm {
	char line[CONSOLE_LINE];	/* what it has written of its present line */
	uint16_t len;
	bool cr;			/* a carriage return whose meaning the next character tells */
	uint64_t window;		/* throttle: start of the present second, in counter ticks */
	uint32_t written;		/* bytes in it */
	uint64_t dropped;
};

/* A physical UART; drivers/uart registers one. */
struct uart_ops {
	const char *name;
	void (*init)(uint64_t base);
	void (*putc)(char c);
	int (*getc)(void);		/* -1: none */
	void (*irq_enable)(void);	/* receive interrupt */
};
void console_register(const struct uart_ops *ops, uint64_t base);
/* Early and panic output: no lock, straight to the UART. */
void console_emergency(const char *s, size_t len);
/* The hypervisor's own lines (log.c). */
void console_hyp_write(const char *s, size_t len);
/* A VM's output; never blocks, throttled per VM. */
void console_vm_write(struct vm *vm, const char *s, size_t len);
/* Characters typed for this VM. */
size_t console_vm_read(struct vm *vm, char *s, size_t len);
int must_check console_focus(struct vm *vm);
void console_vm_gone(struct vm *vm);
/* From the UART's interrupt or a poll: moves characters to the VM in focus and tells its UART. */
void console_input_poll(void);

#endif
