# SPDX-License-Identifier: Apache-2.0
# Wildcards: a new file in this directory is built without touching this list.
selftest-objs-y += $(patsubst %.c,%.o,$(wildcard guests/selftest/*.c guests/selftest/$(ARCH)/*.c)) $(patsubst %.S,%.S.o,$(wildcard guests/selftest/*.S guests/selftest/$(ARCH)/*.S))
