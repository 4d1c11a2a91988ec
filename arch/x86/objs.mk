# SPDX-License-Identifier: Apache-2.0
# Wildcards: a new file here or one directory below is built without touching this list.
hyp-objs-y += $(patsubst %.c,%.o,$(wildcard arch/x86/*.c arch/x86/*/*.c))
hyp-objs-y += $(patsubst %.S,%.S.o,$(wildcard arch/x86/*.S arch/x86/*/*.S))
# mmu.c begins where no linked address is right: no library calls in disguise, no guard to read.
cflags-arch/x86/mmu.o := -fpie -mcmodel=small -fno-stack-protector -fno-builtin
# Sets up what the guard is read through.
cflags-arch/x86/boot.o := -fno-stack-protector
