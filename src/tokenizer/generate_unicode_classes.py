#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints unicode_classes.inc: pip install unicodedata2==16.0.0, then run and redirect."""
import unicodedata2 as unicodedata

WHITE_SPACE = {*range(0x09, 0x0E), 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F,
               0x205F, 0x3000}
OTHER, LETTER, NUMBER, SPACE = range(4)


def char_class(code_point):
    if code_point in WHITE_SPACE:
        return SPACE
    return {"L": LETTER, "N": NUMBER}.get(unicodedata.category(chr(code_point))[0], OTHER)


entries, last = [], None
for code_point in range(0x110000):
    if (now := char_class(code_point)) != last:
        entries.append(f"0x{code_point << 2 | now:06X}")
        last = now
print("// SPDX-License-Identifier: Apache-2.0")
print(f"// Unicode {unicodedata.unidata_version}, written by generate_unicode_classes.py: do not edit.")
for i in range(0, len(entries), 10):
    print(", ".join(entries[i:i + 10]) + ",")
