# SPDX-License-Identifier: Apache-2.0
# Wildcards: a new file in this directory is built without touching this list.
benchmgr-objs-y += $(patsubst %.c,%.o,$(wildcard guests/benchmgr/*.c guests/benchmgr/$(ARCH)/*.c)) $(patsubst %.S,%.S.o,$(wildcard guests/benchmgr/*.S guests/benchmgr/$(ARCH)/*.S))
