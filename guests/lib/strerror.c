// SPDX-License-Identifier: Apache-2.0
//
// Texts of the ABI's status values, from the one list in <abi/errno.h>.

#include <tidemark/call.h>

const char *tm_strerror_name(int64_t status)
{
	switch (status < 0 ? -status : status) {
	case 0:
		return "OK";
#define ROW(name, number, text) case number: return #name;
	TM_ERRNO_LIST(ROW)
#undef ROW
	default:
		return "?";
	}
}

const char *tm_strerror(int64_t status)
{
	switch (status < 0 ? -status : status) {
	case 0:
		return "done";
#define ROW(name, number, text) case number: return text;
	TM_ERRNO_LIST(ROW)
#undef ROW
	default:
		return "a status that the ABI does not have";
	}
}
