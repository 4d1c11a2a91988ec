// SPDX-License-Identifier: Apache-2.0
/*
 * Between the files of the board. Order: UART's lock, board lock, then what a local APIC takes;
 * a local APIC's end of interrupt goes up to the I/O APIC with nothing held.
 */
#ifndef BOARD_PRIV_H
#define BOARD_PRIV_H

#include <asm/board.h>
#include <asm/lapic.h>
#include <hyp/mmio.h>
#include <hyp/vm.h>

#define PIT_HZ 1193182u
#define PM_TIMER_HZ 3579545u
#define TIMER_MIN_HZ 50000u	/* no emulated timer fires more often a second */

/* Delivery modes of ICR, LVT and redirection entries (SDM volume 3, 11.6.1). */
enum apic_mode {
	APIC_FIXED, APIC_LOWEST, APIC_SMI, APIC_RESERVED, APIC_NMI, APIC_INIT, APIC_SIPI, APIC_EXTINT
};
enum apic_shorthand { APIC_DEST, APIC_SELF, APIC_ALL, APIC_OTHERS };

struct apic_msg {
	uint32_t dest;
	uint8_t vector;
	uint8_t mode;			/* enum apic_mode */
	uint8_t shorthand;		/* enum apic_shorthand */
	bool logical;
	bool wide;			/* dest has 32 bits: from a sender in x2APIC mode */
	bool level;
};

#define APIC_VECTOR_MIN 16u
#define APIC_BASE_BSP 0x100ull
#define APIC_BASE_EXTD 0x400ull
#define APIC_BASE_EN 0x800ull
#define LVT_MASKED 0x10000u
#define LVT_TIMER_PERIODIC 0x20000u
#define LVT_TIMER_DEADLINE 0x40000u
#define LVT_TIMER_MODE 0x60000u
#define SVR_ENABLE 0x100u
#define ESR_SEND_VECTOR 0x20u
#define ESR_RECV_VECTOR 0x40u
#define ESR_REGISTER 0x80u
#define ICR_VALID 0xccfffu
#define DCR_VALID 0xbu

/* n ticks of one clock in ticks of another, rounded down or up; wraps as the result would. */
static inline uint64_t clock_floor(uint64_t n, uint64_t to_hz, uint64_t from_hz)
{
	return n / from_hz * to_hz + n % from_hz * to_hz / from_hz;
}

static inline uint64_t clock_ceil(uint64_t n, uint64_t to_hz, uint64_t from_hz)
{
	return n / from_hz * to_hz + (n % from_hz * to_hz + from_hz - 1) / from_hz;
}

static inline struct vm *board_vm(struct board *b)
{
	return container_of(b, struct vm, arch.board);
}

/* NULL: no such vCPU. */
static inline struct vcpu *board_vcpu(struct vm *vm, uint64_t id)
{
	return id < TM_MAX_VCPUS ? __atomic_load_n(&vm->vcpu[index_nospec(id, TM_MAX_VCPUS)],
						   __ATOMIC_ACQUIRE) : NULL;
}

/* lapic.c */
/* Any CPU. IRR, and the vCPU notices. False: it was pending there already. */
bool lapic_post(struct vcpu *v, unsigned vector, bool level);
void lapic_error(struct vcpu *v, uint32_t esr);
bool lapic_takes_extint(const struct vcpu *v);
uint32_t lapic_ldr(const struct lapic *l);
unsigned lapic_ppr(const struct lapic *l);
/* No lock held: a level interrupt's end goes to the I/O APIC, whose line may still be up. */
void lapic_eoi(struct vcpu *v);

/* lapic_regs.c */
void lapic_mmio(struct vcpu *v, void *dev, struct mmio_access *a);
uint32_t lvt_valid(enum lapic_lvt i);

/* lapic_icr.c */
struct apic_sent {
	unsigned accepted;		/* by how many local APICs */
	unsigned fresh;			/* of these, where it was not pending already */
};
/* from: the sender, for shorthands; NULL where they cannot be. INIT and SIPI: no lock held. */
struct apic_sent apic_send(struct vm *vm, struct vcpu *from, const struct apic_msg *m);
void lapic_icr_write(struct vcpu *v);

/* lapic_timer.c */
void lapic_timer_fired(struct hyptimer *t);
/* Its vector was taken: a periodic timer goes on. */
void lapic_timer_taken(struct vcpu *v);
uint64_t lapic_timer_period(const struct lapic *l);
uint32_t lapic_timer_count(struct vcpu *v);
void lapic_timer_set_initial(struct vcpu *v, uint32_t val);
void lapic_timer_set_divide(struct vcpu *v, uint32_t val);
void lapic_timer_set_lvt(struct vcpu *v, uint32_t val);
void lapic_timer_stop(struct lapic *l);
uint64_t lapic_timer_left(struct vcpu *v);
/* State: after the registers were set. */
void lapic_timer_restore(struct vcpu *v, uint64_t left);
uint64_t lapic_deadline_read(struct vcpu *v);
void lapic_deadline_write(struct vcpu *v, uint64_t val);

/* ioapic.c; _locked: board lock held */
void ioapic_reset(struct board *b);
void ioapic_mmio(struct vcpu *v, void *dev, struct mmio_access *a);
/* Returns whether somebody got an interrupt that was not pending before. */
bool ioapic_line_locked(struct vm *vm, unsigned pin, bool level);
bool ioapic_pin_masked(const struct board *b, unsigned pin);
void ioapic_eoi(struct vm *vm, unsigned vector);

/* pic.c; board lock held */
void pic_reset(struct board *b);
bool pic_line_locked(struct board *b, unsigned irq, bool level);
int pic_peek(const struct board *b);
int pic_accept(struct board *b);
uint8_t pic_read(struct board *b, uint16_t port);
void pic_write(struct board *b, uint16_t port, uint8_t val);
/* The output anew; whoever waits for it is told. */
void pic_update(struct board *b);

/* pit.c; board lock held but for the callback */
void pit_reset(struct board *b);
void pit_fired(struct hyptimer *t);
uint8_t pit_read(struct board *b, uint16_t port);
void pit_write(struct board *b, uint16_t port, uint8_t val);
uint8_t pit_port61(struct board *b);
void pit_set_port61(struct board *b, uint8_t val);
/* Somebody may listen to channel 0 now, or no more. */
void pit_listen(struct board *b);
uint64_t pit_elapsed(const struct board_pit *p, unsigned ch);

/* board.c */
/* An ISA interrupt, to both controllers. Board lock held. Returns as ioapic_line_locked(). */
bool board_isa_locked(struct vm *vm, unsigned irq, bool level);
void board_isa(struct vm *vm, unsigned irq, bool level);
uint64_t pm_ticks(const struct board *b);

/* cmos.c */
uint8_t cmos_read(const struct board *b);

/* uart.c */
void uart_init(struct board_uart *u);
void uart_reset(struct board_uart *u);
uint8_t uart_read(struct vm *vm, unsigned reg);
void uart_write(struct vm *vm, unsigned reg, uint8_t val);

#endif
