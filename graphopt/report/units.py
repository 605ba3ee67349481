"""Numbers as people read them."""

from __future__ import annotations

__all__ = ["bytes_text", "count_text", "counted", "seconds_text"]


def bytes_text(count: int) -> str:
    """A size with the largest unit that keeps it above one.

    Example:
        >>> bytes_text(512), bytes_text(20_480), bytes_text(3 * 1024**3)
        ('512 B', '20.0 KiB', '3.00 GiB')
    """
    if abs(count) < 1024:
        return f"{count} B"
    return _scaled(count, 1024, ("KiB", "MiB", "GiB", "TiB"))


def count_text(count: float) -> str:
    """A number of operations or elements, short.

    Example:
        >>> count_text(950), count_text(12_345), count_text(1_820_408), count_text(4.1e9)
        ('950', '12.3 k', '1.82 M', '4.10 G')
    """
    if abs(count) < 1000:
        return f"{count:g}"
    return _scaled(count, 1000, ("k", "M", "G", "T"))


def counted(count: int, one: str, many: str | None = None) -> str:
    """How many there are of a thing, in the singular or the plural.

    Args:
        count: how many.
        one: what one is called.
        many: what several are called, ``one`` with an ``s`` by default.

    Example:
        >>> counted(1, "node"), counted(0, "node"), counted(1234, "set of inputs", "sets of inputs")
        ('1 node', '0 nodes', '1,234 sets of inputs')
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def _scaled(count: float, base: int, units: tuple[str, ...]) -> str:
    """Three digits, with the first unit that keeps the number below ``base``."""
    power = 1
    while power < len(units) and abs(count) / base**power >= base - 0.5:
        power += 1
    return f"{_three_digits(count / base**power)} {units[power - 1]}"


def _three_digits(number: float) -> str:
    return f"{number:#.3g}".rstrip(".") if abs(number) < 999.5 else f"{number:.0f}"


def seconds_text(seconds: float) -> str:
    """A time with three digits.

    Example:
        >>> seconds_text(0.0000312), seconds_text(0.0123), seconds_text(2.5)
        ('31.2 us', '12.3 ms', '2.50 s')
    """
    if seconds < 1e-3:
        return f"{_three_digits(seconds * 1e6)} us"
    if seconds < 1:
        return f"{_three_digits(seconds * 1e3)} ms"
    return f"{_three_digits(seconds)} s"
