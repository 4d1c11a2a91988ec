#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Budget: a function has at most 80 lines, a file at most 800 (aims: 40 and 400), a line 110
# columns with tabs of 8 (aim: 100). A function is what stands between `{` and `}` in the first column.
set -u
cd "$(dirname "$0")/../.."
find hyp arch boot drivers guests -name '*.[chS]' -type f 2>/dev/null | sort | xargs -r awk '
	function flush_file() {
		if (lines > 800) { printf "size: %s: %d lines (at most 800)\n", file, lines; bad = 1 }
	}
	FNR == 1 { flush_file(); file = FILENAME; start = 0 }
	{ lines = FNR }
	{
		width = 0
		if (length($0) > 50) {
			n = length($0)
			for (i = 1; i <= n; i++) {
				width = substr($0, i, 1) == "\t" ? width + 8 - width % 8 : width + 1
			}
			if (width > 110) { printf "size: %s:%d: %d columns (at most 110)\n", file, FNR, width; bad = 1 }
		}
	}
	FILENAME ~ /\.c$/ && /^\{/ { start = FNR; next }
	FILENAME ~ /\.c$/ && /^\}/ && start {
		if (FNR - start - 1 > 80) {
			printf "size: %s:%d: function of %d lines (at most 80)\n", file, start, FNR - start - 1
			bad = 1
		}
		start = 0
	}
	END { flush_file(); exit bad }'
