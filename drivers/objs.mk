# SPDX-License-Identifier: Apache-2.0
# What an architecture's boards have; all files of a directory.
drivers-arm64 := drivers/gic drivers/uart/pl011.c
drivers-x86   := drivers/apic drivers/uart/ns16550.c
drivers-files := $(foreach d,$(drivers-$(ARCH)),$(if $(filter %.c,$d),$(wildcard $d),$(wildcard $d/*.c)))
hyp-objs-y += $(drivers-files:.c=.o)
