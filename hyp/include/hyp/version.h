// SPDX-License-Identifier: Apache-2.0
/* What the banner says of this build; hyp/objs.mk gives TM_COMMIT to main.c. */
#ifndef HYP_VERSION_H
#define HYP_VERSION_H

#define TM_VERSION_TEXT "1.0"
#ifndef TM_COMMIT
#define TM_COMMIT "unknown"
#endif

#endif
