// SPDX-License-Identifier: Apache-2.0
//
// What the manager's own files share: the store, the command tables, the demo.

#ifndef MANAGER_MANAGER_H
#define MANAGER_MANAGER_H

#include <stdbool.h>
#include <stdint.h>

#include <tidemark/vmm.h>

#include "shell.h"
#include "snap.h"
#include "store.h"

extern struct store store;
// How often the hypervisor has started the manager again.
extern uint32_t restart_count;

extern const struct command_table command_tables[];
extern const struct command vm_commands[];
extern const size_t vm_command_count;
extern const struct command dirty_commands[];
extern const size_t dirty_command_count;
extern const struct command snap_commands[];
extern const size_t snap_command_count;
extern const struct command info_commands[];
extern const size_t info_command_count;

// The VM of that name or handle number; null and f.
struct vmm_vm *need_vm(const char *name, struct fail *f);
// Handles events for at most us; true when a key came (it is not read).
void idle(uint64_t us);
// Ends and forgets a VM.
int end_vm(struct vmm_vm *vm, struct fail *f);

// Draws progress on one line; a snap_progress_fn.
void snap_bar(void *ctx, const struct snap_stats *s);
// Prints what a finished snapshot cost.
void snap_summary(const struct snap_stats *s);

// The scripted run (demo.c). Returns 0 for PASS.
int demo_run(const char *guest, bool lose);
// Ends the manager at a seeded point of a snapshot: "full:3", "round:2", "pause:1", "last:1".
void kill_arm(const char *spec);
// To be called from every progress callback.
void kill_point(const struct snap_stats *s);

_Noreturn void shell_loop(void);

#endif
