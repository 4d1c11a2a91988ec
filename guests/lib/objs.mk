# SPDX-License-Identifier: Apache-2.0
# Wildcards: a new file in this directory is built without touching this list.
lib-objs-y += $(patsubst %.c,%.o,$(wildcard guests/lib/*.c)) $(patsubst %.S,%.S.o,$(wildcard guests/lib/*.S))
lib-objs-y += $(patsubst %.c,%.o,$(wildcard guests/lib/$(ARCH)/*.c)) $(patsubst %.S,%.S.o,$(wildcard guests/lib/$(ARCH)/*.S))
# Pure code that the hypervisor compiles too.
lib-objs-y += boot/guest_fdt.o boot/image_load.o
cflags-guests/lib/vmm_load.o := -I boot
