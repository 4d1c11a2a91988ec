# SPDX-License-Identifier: Apache-2.0
# Wildcards: a new file in this directory is built without touching this list.
hostilemgr-objs-y += $(patsubst %.c,%.o,$(wildcard guests/hostilemgr/*.c guests/hostilemgr/$(ARCH)/*.c)) $(patsubst %.S,%.S.o,$(wildcard guests/hostilemgr/*.S guests/hostilemgr/$(ARCH)/*.S))
GUEST_INC_hostilemgr := -I guests/hostilemgr/$(ARCH)
$(foreach o,$(hostilemgr-objs-y),$(eval cflags-$(o) += $(GUEST_INC_hostilemgr)))
