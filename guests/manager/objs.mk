# SPDX-License-Identifier: Apache-2.0
# Wildcards: a new file in this directory is built without touching this list.
manager-objs-y += $(patsubst %.c,%.o,$(wildcard guests/manager/*.c guests/manager/$(ARCH)/*.c)) $(patsubst %.S,%.S.o,$(wildcard guests/manager/*.S guests/manager/$(ARCH)/*.S))
