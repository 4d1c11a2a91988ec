// SPDX-License-Identifier: Apache-2.0
/* Layout assertions that hold in C11 and C++17 alike. */
#ifndef TM_ABI_ASSERT_H
#define TM_ABI_ASSERT_H

#ifdef __cplusplus
#define TM_STATIC_ASSERT(cond, text) static_assert(cond, text)
#else
#define TM_STATIC_ASSERT(cond, text) _Static_assert(cond, text)
#endif

#define TM_ASSERT_SIZE(name, bytes)                                                                \
	TM_STATIC_ASSERT(sizeof(struct name) == (bytes), "size of struct " #name)
#define TM_ASSERT_OFFSET(name, field, bytes)                                                       \
	TM_STATIC_ASSERT(__builtin_offsetof(struct name, field) == (bytes),                        \
			 "offset of " #name "." #field)

#endif
