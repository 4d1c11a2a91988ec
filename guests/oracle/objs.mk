# SPDX-License-Identifier: Apache-2.0
# Wildcards: a new file in this directory is built without touching this list.
oracle-objs-y += $(patsubst %.c,%.o,$(wildcard guests/oracle/*.c guests/oracle/$(ARCH)/*.c)) $(patsubst %.S,%.S.o,$(wildcard guests/oracle/*.S guests/oracle/$(ARCH)/*.S))
