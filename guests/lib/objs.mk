# SPDX-License-Identifier: Apache-2.0
# Wildcards: a new file in this directory is built without touching this list.
lib-objs-y += $(patsubst %.c,%.o,$(wildcard guests/lib/*.c)) $(patsubst %.S,%.S.o,$(wildcard guests/lib/*.S))
lib-objs-y += $(patsubst %.c,%.o,$(wildcard guests/lib/$(ARCH)/*.c)) $(patsubst %.S,%.S.o,$(wildcard guests/lib/$(ARCH)/*.S))
# Pure code that the hypervisor compiles too.
lib-objs-y += boot/guest_fdt.o boot/guest_board.o boot/image_load.o boot/image_x86.o
lib-objs-y += $(patsubst %.c,%.o,$(wildcard boot/$(ARCH)/guest_*.c))
cflags-boot/$(ARCH)/guest_start.o += -I .
cflags-guests/lib/vmm_load.o := -I boot -I .
cflags-guests/lib/x86/vmm_arch.o := -I boot -I .
# percpu.h is each architecture's own.
cflags-guests/lib/boot.o := -I guests/lib/$(ARCH)
cflags-guests/lib/console.o := -I guests/lib/$(ARCH)
