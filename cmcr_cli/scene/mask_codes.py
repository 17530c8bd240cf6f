"""Temporary."""

from enum import IntEnum


class CloudClass(IntEnum):
    """What lies over a pixel: the same numbers in memory and in the files that `cmcr mask` writes."""

    CLEAR = 0
    THICK = 1
    THIN = 2
    SHADOW = 3


CLEAR, THICK, THIN, SHADOW = CloudClass
