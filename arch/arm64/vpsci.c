// SPDX-License-Identifier: Apache-2.0
/*
 * What a guest calls by HVC #0 or SMC #0: PSCI 1.1 (Arm DEN 0022), SMCCC 1.2 (DEN 0028) and our
 * own ABI. A call that we do not know changes x0 only. No lock is held on the way in.
 */
#include <arch/vcpu.h>
#include <asm/guest.h>
#include <hyp/hypercall.h>
#include <hyp/vm.h>

#define SMCCC_64BIT 0x40000000u
#define SMCCC_SVE_HINT 0x00010000u
#define SMCCC_NOT_SUPPORTED (~0ull)
#define SMCCC_VERSION 0x80000000u
#define SMCCC_ARCH_FEATURES 0x80000001u
#define SMCCC_1_2 0x00010002u

#define PSCI_VERSION 0x84000000u
#define PSCI_CPU_SUSPEND 0x84000001u
#define PSCI_CPU_OFF 0x84000002u
#define PSCI_CPU_ON 0x84000003u
#define PSCI_AFFINITY_INFO 0x84000004u
#define PSCI_MIGRATE_INFO_TYPE 0x84000006u
#define PSCI_SYSTEM_OFF 0x84000008u
#define PSCI_SYSTEM_RESET 0x84000009u
#define PSCI_FEATURES 0x8400000au
#define PSCI_SYSTEM_RESET2 0x84000012u
#define PSCI_1_1 0x00010001u

#define PSCI_SUCCESS 0
#define PSCI_NOT_SUPPORTED (-1)
#define PSCI_INVALID_PARAMETERS (-2)
#define PSCI_DENIED (-3)
#define PSCI_ALREADY_ON (-4)
#define PSCI_INVALID_ADDRESS (-9)

#define ABI_BASE 0xc6000000u
#define ABI_FN 0x0000ffffu

static bool in_a_slot(struct vm *vm, uint64_t entry)
{
	bool found;

	spin_lock(&vm->slots_lock);
	found = memslot_find(&vm->slots, gpa_to_gfn(gpa(entry))) != NULL;
	spin_unlock(&vm->slots_lock);
	return found;
}

static int64_t cpu_on(struct vcpu *v, uint64_t mpidr, uint64_t entry, uint64_t context)
{
	struct vcpu *t = vcpu_by_mpidr(v->vm, mpidr);
	int err;

	if (!t) {
		return PSCI_INVALID_PARAMETERS;
	}
	/* The manager's RAM is in no slot; it may crash itself as it likes. */
	if ((entry & 3) || (!v->vm->is_manager && !in_a_slot(v->vm, entry))) {
		return PSCI_INVALID_ADDRESS;
	}
	err = vcpu_power_on(t, entry, context);
	if (err == -TM_EALREADY) {
		return PSCI_ALREADY_ON;
	}
	return err ? PSCI_DENIED : PSCI_SUCCESS;
}

/* 0 on, 1 off; the best of those that the affinity level covers. */
static int64_t affinity_info(struct vcpu *v, uint64_t mpidr, uint64_t level)
{
	uint64_t ignore = level >= 3 ? 0xffffffull : (1ull << (8 * level)) - 1;
	int64_t state = PSCI_INVALID_PARAMETERS;

	if (level > 3) {
		return PSCI_INVALID_PARAMETERS;
	}
	for (unsigned i = 0; i < v->vm->vcpus_max; i++) {
		struct vcpu *t = __atomic_load_n(&v->vm->vcpu[i], __ATOMIC_ACQUIRE);
		uint64_t aff = t ? t->arch.vmpidr & 0xff00ffffffull : 0;

		if (!t || ((aff ^ mpidr) & 0xff00ffffffull & ~ignore)) {
			continue;
		}
		if (READ_ONCE(t->powered_on)) {
			return 0;
		}
		state = 1;
	}
	return state;
}

static int64_t psci_features(uint32_t fn)
{
	switch (fn) {
	case PSCI_VERSION:
	case PSCI_CPU_SUSPEND:
	case PSCI_CPU_SUSPEND | SMCCC_64BIT:
	case PSCI_CPU_OFF:
	case PSCI_CPU_ON:
	case PSCI_CPU_ON | SMCCC_64BIT:
	case PSCI_AFFINITY_INFO:
	case PSCI_AFFINITY_INFO | SMCCC_64BIT:
	case PSCI_MIGRATE_INFO_TYPE:
	case PSCI_SYSTEM_OFF:
	case PSCI_SYSTEM_RESET:
	case PSCI_FEATURES:
	case PSCI_SYSTEM_RESET2:
	case PSCI_SYSTEM_RESET2 | SMCCC_64BIT:
	case SMCCC_VERSION:
		return PSCI_SUCCESS;
	default:
		return PSCI_NOT_SUPPORTED;
	}
}

static int64_t smccc_features(uint32_t fn)
{
	/* No firmware workaround is passed on: none is there to be asked. */
	return fn == SMCCC_VERSION || fn == SMCCC_ARCH_FEATURES ? 0 : -1;
}

static void psci_suspend(struct vcpu *v)
{
	/* Standby for every state that is asked for, which PSCI allows. */
	v->arch.x[0] = PSCI_SUCCESS;
	vcpu_wait(v);
}

static void psci_reset2(struct vcpu *v, uint64_t type)
{
	/* 0 = warm; vendor types (bit 31) are none of ours. */
	if ((uint32_t)type) {
		v->arch.x[0] = (uint64_t)(int64_t)PSCI_INVALID_PARAMETERS;
	} else {
		vcpu_stop_shutdown(v, TM_SHUTDOWN_RESET);
	}
}

static void uid(struct vcpu *v)
{
	v->arch.x[0] = TM_UID_0;
	v->arch.x[1] = TM_UID_1;
	v->arch.x[2] = TM_UID_2;
	v->arch.x[3] = TM_UID_3;
}

static __attribute__((noinline)) void standard_call(struct vcpu *v, uint32_t fn)
{
	uint64_t *x = v->arch.x;
	/* The 32-bit form has 32-bit arguments. */
	uint64_t mask = fn & SMCCC_64BIT ? ~0ull : 0xffffffffull;
	uint64_t a1 = x[1] & mask, a2 = x[2] & mask, a3 = x[3] & mask;

	switch (fn) {
	case SMCCC_VERSION:
		x[0] = SMCCC_1_2;
		break;
	case SMCCC_ARCH_FEATURES:
		x[0] = (uint64_t)smccc_features((uint32_t)a1);
		break;
	case PSCI_FEATURES:
		x[0] = (uint64_t)psci_features((uint32_t)a1);
		break;
	case PSCI_CPU_ON:
	case PSCI_CPU_ON | SMCCC_64BIT:
		x[0] = (uint64_t)cpu_on(v, a1, a2, a3);
		break;
	case PSCI_CPU_OFF:
		vcpu_power_off(v);
		break;
	case PSCI_AFFINITY_INFO:
	case PSCI_AFFINITY_INFO | SMCCC_64BIT:
		x[0] = (uint64_t)affinity_info(v, a1, a2);
		break;
	case PSCI_CPU_SUSPEND:
	case PSCI_CPU_SUSPEND | SMCCC_64BIT:
		psci_suspend(v);
		break;
	case PSCI_MIGRATE_INFO_TYPE:
		x[0] = 2;		/* no Trusted OS that would have to move */
		break;
	case PSCI_SYSTEM_OFF:
		vcpu_stop_shutdown(v, TM_SHUTDOWN_OFF);
		break;
	case PSCI_SYSTEM_RESET:
		vcpu_stop_shutdown(v, TM_SHUTDOWN_RESET);
		break;
	case PSCI_SYSTEM_RESET2:
	case PSCI_SYSTEM_RESET2 | SMCCC_64BIT:
		psci_reset2(v, a1);
		break;
	case TM_SMCCC_UID:
		uid(v);
		break;
	case TM_SMCCC_REVISION:
		x[0] = TM_VERSION_MAJOR;
		x[1] = TM_VERSION_MINOR;
		break;
	default:
		x[0] = SMCCC_NOT_SUPPORTED;
		break;
	}
}

/* No canary: nothing here is indexed, and this is the shortest way through the hypervisor. */
static __attribute__((noinline, no_stack_protector)) void abi_call(struct vcpu *v, uint32_t fn)
{
	uint64_t *x = v->arch.x;
	struct hc_call c;	/* the dispatcher clears res */

	c.vcpu = v;
	for (unsigned i = 0; i < ARRAY_SIZE(c.arg); i++) {
		c.arg[i] = x[i + 1];
	}
	x[0] = (uint64_t)hypercall_dispatch(&c, fn);
	x[1] = c.res[0];
	x[2] = c.res[1];
	x[3] = c.res[2];
}

void smccc_call(struct vcpu *v, uint32_t imm)
{
	uint32_t fn = (uint32_t)v->arch.x[0];

	if (unlikely(imm)) {
		v->arch.x[0] = SMCCC_NOT_SUPPORTED;
	} else if ((fn & ~(ABI_FN | SMCCC_SVE_HINT)) == ABI_BASE) {
		abi_call(v, fn & ABI_FN);
	} else if (fn == PSCI_VERSION) {
		v->arch.x[0] = PSCI_1_1;
	} else {
		standard_call(v, fn & ~SMCCC_SVE_HINT);
	}
}
