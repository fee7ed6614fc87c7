"""The two kinds of trouble: a sample is refused, or the world has failed.

Anything that is not a `Refusal` is a failure: the job ends with a traceback and a non-zero exit code,
and the next run takes it up again.
"""

from __future__ import annotations

MOST_CHARACTERS = 1000


def plain(text: str) -> str:
    """One line that any terminal and table shows as it is: what a deposit wrote into it commands nothing.

    Control characters, line ends and half surrogates become `?`, blanks of any kind one blank; of a text of over
    `MOST_CHARACTERS` the middle is left out, since it begins with the file and ends with the advice.
    """
    start, end = text[: 4 * MOST_CHARACTERS], text[-4 * MOST_CHARACTERS :] if len(text) > 4 * MOST_CHARACTERS else ""
    line = " ".join(f"{start}{end}".split())
    line = "".join(letter if letter.isprintable() else "?" for letter in line)
    half = MOST_CHARACTERS // 2 - 3
    return line if len(line) <= MOST_CHARACTERS else f"{line[:half]} ... {line[-half:]}"


class Refusal(Exception):
    """The data of one sample, or the weights of one encoder, are wrong or gone, and trying again would not help.

    Parameters
    ----------
    reason
        One line for the person who owns the data: which file, what is wrong, what to do; kept as `plain` makes it.
    measured, threshold
        The number that was found and the limit it was held against, where there is one.
    """

    def __init__(
        self, reason: str, *, measured: float | str | None = None, threshold: float | str | None = None
    ) -> None:
        self.reason = plain(reason)
        super().__init__(self.reason)
        self.measured = measured
        self.threshold = threshold


class TableFaults(Exception):
    """Every fault of the configuration and the tables, one `file:row:column: what, what is allowed` a line."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults
        count = (
            f"{len(faults)} fault{'s' if len(faults) != 1 else ''} in the configuration and tables; nothing was started"
        )
        super().__init__("\n  ".join([count, *faults]))
