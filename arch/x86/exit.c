// SPDX-License-Identifier: Apache-2.0
/*
 * What exits mean. Runs on the exiting vCPU's CPU, no lock held. In progress: what stands here as
 * todo() ends its VM with a line.
 */
#include <arch/cpu.h>
#include <arch/vcpu.h>
#include <asm/guest.h>
#include <hyp/log.h>
#include <hyp/vm.h>

void exit_unknown(struct vcpu *v, const char *what, uint64_t reason)
{
	log_warn_limited("vm %s vcpu %u: exit %s 0x%llx at 0x%llx is not known", v->vm->name, v->id, what,
			 (unsigned long long)reason,
			 (unsigned long long)virt->read(v, XREG_RIP));
	vm_kill(v->vm, "unknown exit");
}

static void todo(struct vcpu *v, const char *what)
{
	exit_unknown(v, what, 0);
}

#define TODO1(name) void name(struct vcpu *v, unsigned len) { (void)len; todo(v, #name); }
TODO1(exit_hypercall)
TODO1(exit_cpuid)
TODO1(exit_rdmsr)
TODO1(exit_wrmsr)
TODO1(exit_hlt)
TODO1(exit_pause)
TODO1(exit_xsetbv)
TODO1(exit_invd)
TODO1(exit_rdtscp)
void exit_cr_read(struct vcpu *v, unsigned cr, unsigned gpr, unsigned len) { (void)cr, (void)gpr, (void)len; todo(v, "cr"); }
void exit_cr_write(struct vcpu *v, unsigned cr, uint64_t val, unsigned len) { (void)cr, (void)val, (void)len; todo(v, "cr"); }
void exit_dr(struct vcpu *v, unsigned dr, bool write, unsigned gpr, unsigned len) { (void)dr, (void)write, (void)gpr, (void)len; todo(v, "dr"); }
void exit_io(struct vcpu *v, const struct exit_io *io, unsigned len) { (void)io, (void)len; todo(v, "io"); }
void exit_npf(struct vcpu *v, const struct exit_npf *f) { (void)f; todo(v, "npf"); }
void exit_exception(struct vcpu *v, unsigned vector, bool has_error, uint32_t error) { (void)vector, (void)has_error, (void)error; todo(v, "exception"); }
void exit_triple_fault(struct vcpu *v) { todo(v, "triple fault"); }
void exit_external_interrupt(struct vcpu *v) { v->stats.irqs++; arch_irq_handle(); }
void exit_undefined(struct vcpu *v) { todo(v, "undefined"); }
void exit_invalid_state(struct vcpu *v, const char *why) { todo(v, why); }
void inject_exception(struct vcpu *v, unsigned vector, bool has_error, uint32_t error) { (void)vector, (void)has_error, (void)error; todo(v, "inject"); }
void inject_gp(struct vcpu *v) { todo(v, "inject"); }
void inject_ud(struct vcpu *v) { todo(v, "inject"); }
void inject_pf(struct vcpu *v, uint64_t gva, uint32_t error) { (void)gva, (void)error; todo(v, "inject"); }
void inject_prepare(struct vcpu *v) { (void)v; }
const char *guest_state_bad(struct vcpu *v) { (void)v; return NULL; }
void policy_init(void) { }
void policy_cpuid(struct vcpu *v, uint32_t leaf, uint32_t sub, struct cpuid_regs *out) { (void)v, (void)leaf, (void)sub; *out = (struct cpuid_regs){0}; }
bool policy_msr_passthrough(uint32_t msr, bool write) { (void)msr, (void)write; return false; }
uint64_t policy_cr4_allowed(void) { return 0; }
uint64_t policy_xcr0_allowed(void) { return 0; }
uint64_t policy_efer_allowed(void) { return 0; }
bool guest_load_pdptes(struct vcpu *v) { (void)v; return false; }
bool emulate_write_back(struct vcpu *v) { (void)v; return false; }
size_t arch_regs_size(void) { return sizeof(struct tm_regs); }
int arch_vcpu_regs_get(struct vcpu *v, struct tm_regs *out) { (void)v, (void)out; return -TM_EOPNOTSUPP; }
int arch_vcpu_regs_set(struct vcpu *v, const struct tm_regs *in) { (void)v, (void)in; return -TM_EOPNOTSUPP; }
int arch_timer_state_get(struct vcpu *v, struct tm_timer_state *s) { (void)v, (void)s; return -TM_EOPNOTSUPP; }
int arch_timer_state_set(struct vcpu *v, const struct tm_timer_state *s) { (void)v, (void)s; return -TM_EOPNOTSUPP; }
void arch_vcpu_complete_mmio(struct vcpu *v, uint64_t data) { (void)v, (void)data; }
void arch_vcpu_inject_abort(struct vcpu *v, bool w, bool x, uint64_t gva) { (void)v, (void)w, (void)x, (void)gva; }
uint64_t arch_cap_gic_version(void) { return 0; }
