"""Values that programs stumble over, as a person could write them in a recipe or on a command line."""

from __future__ import annotations

from random import Random

NUMBERS = (
    "0", "-1", "1", "2", "-0.0", "0.5", "1e-320", "1e-45", "1e30", "1e38", "1e300", "1e308", "-1e308", "1e400", ".nan",
    ".inf", "-.inf", "nan", "inf", "2147483647", "2147483648", "-2147483649", "4294967296", "9007199254740993",
    "9223372036854775807", "9223372036854775808", "18446744073709551616", "1" + "0" * 40, "1" + "0" * 310, "9" * 5000,
    "0x10", "0o17", "1_000", "1:30", "1.0", "1,5", "٣", "1e", "--1", "+1",
)  # fmt: skip
WORDS = (
    "", " ", "~", "null", "true", "no", "auto", "full", "none", "all", "-", "--", "=", ":", "#", "%s", "{}", "{x}",
    "$x^$", "$\\frac{$", "a\tb", "a\nb", "a\x1b[31mb", "é", "e\u0301", "\u202eabc", "\ufeffabc", "\U0001f600", "\u2028",
    "x" * 300, "x" * 5000, "'", '"', "\\", "&a", "*a", "!tag x", "@x", "`x`", "CON", "[UNK]", "1 epoch", "0 epochs",
    "999999999999 steps", "noise", "images:", "2001-01-01",
)  # fmt: skip
BROKEN = ("a\udcffb", "\udcff", '"\\uD800"', '"a\\0b"', '"\\x00"')
COLLECTIONS = (
    "[]", "{}", "[1]", "[[1]]", "[null]", "[.nan]", "{name: x}", "{name: []}", "{name: {name: x}}", "{1: 2}", "[1, a]",
    "[" * 40 + "]" * 40, "[" * 3000, "{a: " * 60, "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]", "{a: 1, a: 2}", "&a [*a]",
)  # fmt: skip
PATHS = (
    ".", "..", "/", "/dev/null", "/dev/full", "/proc/self/mem", "nothing", "nothing/below",
    "loop", "loop/below", "empty", "empty-folder", "a" * 300, "~", "~nobody/x", "./", "rows.csv/below", "\udcff",
    "//", "run/", "run/../run", "/root/.x",
)  # fmt: skip
EVERYTHING = (*NUMBERS, *WORDS, *BROKEN, *COLLECTIONS, *PATHS)


def pick(random: Random, *kinds: tuple[str, ...]) -> str:
    """One of them, of some kinds or of any."""
    return random.choice(random.choice(kinds)) if kinds else random.choice(EVERYTHING)
