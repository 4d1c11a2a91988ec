// SPDX-License-Identifier: Apache-2.0
//
// Every combination of the data-abort syndrome against a model that is written as the manual's
// table, field by field, and the load and store rules against C's own integer conversions.
#include "../../arch/arm64/mmio_decode.h"
#include "check.h"

static uint64_t esr_of(unsigned isv, unsigned sas, unsigned sse, unsigned srt, unsigned sf,
		       unsigned cm, unsigned wnr)
{
	return 0x24ull << 26 | 1ull << 25 | (uint64_t)isv << 24 | (uint64_t)sas << 22 |
	       (uint64_t)sse << 21 | (uint64_t)srt << 16 | (uint64_t)sf << 15 | (uint64_t)cm << 8 |
	       (uint64_t)wnr << 6 | 0x07;
}

TEST(all_syndromes)
{
	static const unsigned lens[] = {1, 2, 4, 8};

	for (unsigned n = 0; n < 1u << 12; n++) {
		unsigned isv = n & 1, sas = (n >> 1) & 3, sse = (n >> 3) & 1, sf = (n >> 4) & 1;
		unsigned cm = (n >> 5) & 1, wnr = (n >> 6) & 1, srt = (n >> 7) & 31;
		struct mmio_insn m = mmio_decode(esr_of(isv, sas, sse, srt, sf, cm, wnr));

		CHECK_EQ(m.valid, isv);
		CHECK_EQ(m.cache_op, cm);
		CHECK_EQ(m.write, wnr && !cm);
		if (isv) {
			CHECK_EQ(m.len, lens[sas]);
			CHECK_EQ(m.sign, sse);
			CHECK_EQ(m.wide, sf);
			CHECK_EQ(m.reg, srt);
		}
	}
}

static uint64_t model_load(unsigned len, bool sign, bool wide, uint64_t data)
{
	int64_t s = len == 1 ? (int8_t)data : len == 2 ? (int16_t)data : len == 4 ? (int32_t)data :
		    (int64_t)data;
	uint64_t u = len == 1 ? (uint8_t)data : len == 2 ? (uint16_t)data :
		     len == 4 ? (uint32_t)data : data;
	uint64_t val = sign ? (uint64_t)s : u;

	return wide ? val : (uint32_t)val;
}

TEST(loads_and_stores)
{
	struct check_rng rng = {check_seed()};

	for (unsigned n = 0; n < 100000; n++) {
		unsigned len = 1u << (n & 3);
		struct mmio_insn m = {
			.valid = true,
			.len = (uint8_t)len,
			.sign = (n >> 2) & 1,
			.wide = (n >> 3) & 1,
		};
		uint64_t data = check_rand(&rng);

		CHECK_EQ(mmio_load_data(&m, data), model_load(len, m.sign, m.wide, data));
		CHECK_EQ(mmio_store_data(&m, data), model_load(len, false, true, data));
	}
}

CHECK_MAIN()
