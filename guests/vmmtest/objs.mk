# SPDX-License-Identifier: Apache-2.0
# Wildcards: a new file in this directory is built without touching this list.
vmmtest-objs-y += $(patsubst %.c,%.o,$(wildcard guests/vmmtest/*.c guests/vmmtest/$(ARCH)/*.c)) $(patsubst %.S,%.S.o,$(wildcard guests/vmmtest/*.S guests/vmmtest/$(ARCH)/*.S))
