# SPDX-License-Identifier: Apache-2.0
# Wildcards: a new file here or one directory below is built without touching this list.
hyp-objs-y += $(patsubst %.c,%.o,$(wildcard arch/arm64/*.c arch/arm64/*/*.c))
hyp-objs-y += $(patsubst %.S,%.S.o,$(wildcard arch/arm64/*.S arch/arm64/*/*.S))
# mmu.c begins with the MMU off: no library calls in disguise, no guard to read. boot.c sets the guard.
cflags-arch/arm64/mmu.o := -fno-stack-protector -fno-builtin
cflags-arch/arm64/boot.o := -fno-stack-protector
