// SPDX-License-Identifier: Apache-2.0
/*
 * Which of VMX and SVM this machine has, decided once on the boot CPU. `virt` is constant afterwards,
 * so no lock.
 */
#include <asm/guest.h>
#include <hyp/boot_info.h>
#include <hyp/string.h>
#include <hyp/vcpu.h>

const struct virt_ops *virt;

const char *virt_init(void)
{
	const char *why = "the CPU has neither VMX with EPT nor SVM with nested paging";
	struct virt_ops *first = &vmx_ops, *second = &svm_ops;
	char want[8] = "";

	fpu_cpu_init();
	if (boot_option("virt", want, sizeof(want))) {
		if (strcmp(want, "vmx") != 0 && strcmp(want, "svm") != 0) {
			return "virt= is neither vmx nor svm";
		}
		first = strcmp(want, "svm") == 0 ? &svm_ops : &vmx_ops;
		second = NULL;
	} else if (cpu_features.vendor == CPU_AMD) {
		first = &svm_ops;	/* so that the reason given is the one of this CPU */
		second = &vmx_ops;
	}
	why = first->probe();
	if (!why) {
		virt = first;
	} else if (second && !second->probe()) {
		virt = second;
	} else {
		return why;
	}
	policy_init();
	return NULL;
}

bool virt_cpu_init(struct pcpu *c)
{
	fpu_cpu_init();
	return virt->cpu_init(c);
}

/* RSP is where the other registers of hardware are; entry code saves the rest. */
uint64_t vcpu_gpr(struct vcpu *v, unsigned n)
{
	n &= 15;
	return n == GPR_RSP ? virt->read(v, XREG_RSP) : v->arch.gpr[n];
}

void vcpu_set_gpr(struct vcpu *v, unsigned n, uint64_t val)
{
	n &= 15;
	if (n == GPR_RSP) {
		virt->write(v, XREG_RSP, val);
	} else {
		v->arch.gpr[n] = val;
	}
}
