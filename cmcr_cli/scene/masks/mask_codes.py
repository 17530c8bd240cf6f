"""Meaning of the values of cloud masks: cmcr's own classes, the codes of other tools, and `--mask-codes`.

Sources of the codes: ESA's guides to Level-2A (SCL, MSK_CLDPRB) and Level-1C (MSK_CLASSI, QA60); READMEs of
OmniCloudMask, CloudSEN12, KappaMask and python-fmask; Qiu et al. 2019 (Fmask 4); the user guide of HLS 2.0;
Theia's description of its L2A format (MAJA); the Sentinel Hub manual (CLM, CLP).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from cmcr_cli.errors import OptionError


class CloudClass(IntEnum):
    """Class of a pixel: the same numbers in memory and in the files that `cmcr mask` writes."""

    CLEAR = 0
    THICK = 1
    THIN = 2  # thin cloud or cirrus: the ground still shows
    SHADOW = 3


CLEAR, THICK, THIN, SHADOW = CloudClass

LIKELY = 40
"""Per cent from which a probability is cloud: the threshold that s2cloudless itself uses."""

LARGEST = 65535
"""Of the values in a list of codes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """The codes of one kind of mask.

    Nodata is CLEAR here: nothing is removed where the mask knows nothing. Three bands of 0 and 1 are read as
    the bits of one code.

    Attributes:
        name: The word that `--mask-codes` takes.
        title: The same for people.
        meaning: What the codes mean, for messages.
        codes: Class of each value.
        other: Class of all other values; None: they are refused.
        bands: Bands that a mask of this kind has.
        scale: Factor on the values; only one above 1 admits fractions.
    """

    name: str
    title: str
    meaning: str
    codes: Mapping[int, CloudClass]
    other: CloudClass | None = None
    bands: int = 1
    scale: int = 1


def _bits(*classes: tuple[int, CloudClass]) -> dict[int, CloudClass]:
    """Codes of a byte of flags: the class of the first bit listed that is set, CLEAR without any."""
    return {value: next((found for bit, found in classes if value >> bit & 1), CLEAR) for value in range(256)}


def _likely(largest: int) -> dict[int, CloudClass]:
    """Codes of a probability of 0 to `largest`."""
    return {value: THICK if value * 100 >= LIKELY * largest else CLEAR for value in range(largest + 1)}


_CLASSES = {0: CLEAR, 1: THICK, 2: THIN, 3: SHADOW}

_TABLE = (
    Scheme(
        name="cmcr",
        title="cmcr",
        meaning="0 clear, 1 thick cloud, 2 thin cloud, 3 shadow, 255 nodata",
        codes={**_CLASSES, 255: CLEAR},
    ),
    Scheme(name="binary", title="0/1", meaning="0 clear, 1 covered", codes={0: CLEAR, 1: THICK}),
    Scheme(
        name="scl",
        title="SCL",
        meaning="3 shadow, 8 and 9 thick cloud, 10 thin cloud, else clear",
        codes={**dict.fromkeys(range(12), CLEAR), 3: SHADOW, 8: THICK, 9: THICK, 10: THIN},
    ),
    Scheme(
        name="omnicloudmask",
        title="OmniCloudMask",
        meaning="0 clear, 1 thick cloud, 2 thin cloud, 3 shadow",
        codes=_CLASSES,
    ),
    Scheme(
        name="fmask",
        title="Fmask 4",
        meaning="0 land, 1 water, 2 shadow, 3 snow, 4 cloud, 255 nodata",
        codes={0: CLEAR, 1: CLEAR, 2: SHADOW, 3: CLEAR, 4: THICK, 255: CLEAR},
    ),
    Scheme(
        name="python-fmask",
        title="python-fmask",
        meaning="0 nodata, 1 clear, 2 cloud, 3 shadow, 4 snow, 5 water",
        codes={0: CLEAR, 1: CLEAR, 2: THICK, 3: SHADOW, 4: CLEAR, 5: CLEAR},
    ),
    Scheme(
        name="hls",
        title="HLS Fmask",
        meaning="bit 1 cloud, bit 3 shadow, 255 nodata",
        codes={**_bits((1, THICK), (3, SHADOW)), 255: CLEAR},
    ),
    Scheme(
        name="maja",
        title="MAJA CLM",
        meaning="bit 1 cloud, bits 4 and 7 thin cloud, bits 5 and 6 shadow",
        # Bit 0 sums up the others, so alone it says that something is there, but not what.
        codes=_bits((1, THICK), (4, THIN), (7, THIN), (5, SHADOW), (6, SHADOW), (0, THICK)),
    ),
    Scheme(
        name="kappamask",
        title="KappaMask",
        meaning="1 clear, 2 shadow, 3 thin cloud, 4 cloud, 0 and 5 nodata",
        codes={0: CLEAR, 1: CLEAR, 2: SHADOW, 3: THIN, 4: THICK, 5: CLEAR},
    ),
    Scheme(
        name="qa60",
        title="QA60",
        meaning="1024 thick cloud, 2048 cirrus, 3072 both",
        codes={0: CLEAR, 1024: THICK, 2048: THIN, 3072: THICK},
    ),
    Scheme(
        name="msk_classi",
        title="MSK_CLASSI",
        meaning="three bands of 0 and 1: thick cloud, cirrus, snow",
        codes={value: THICK if value & 1 else THIN if value & 2 else CLEAR for value in range(8)},
        bands=3,
    ),
    Scheme(
        name="s2cloudless",
        title="s2cloudless (CLM)",
        meaning="0 clear, 1 cloud, 255 nodata",
        codes={0: CLEAR, 1: THICK, 255: CLEAR},
    ),
    Scheme(
        name="probability",
        title="probability",
        meaning=f"0 to 1, cloud from {LIKELY / 100:g}",
        codes=_likely(100),
        scale=100,
    ),
    Scheme(
        name="percent",
        title="per cent",
        meaning=f"probability of 0 to 100, cloud from {LIKELY}",
        codes=_likely(100),
    ),
    Scheme(
        name="clp",
        title="CLP",
        meaning=f"probability of 0 to 255, cloud from {LIKELY * 255 // 100}",
        codes=_likely(255),
    ),
)

SCHEMES: Mapping[str, Scheme] = {scheme.name: scheme for scheme in _TABLE}

ALIASES: Mapping[str, str] = {"cloudsen12": "omnicloudmask"}

WORDS: Mapping[str, CloudClass] = {
    "clear": CLEAR,
    "cloud": THICK,
    "thin": THIN,
    "shadow": SHADOW,
    "nodata": CLEAR,
}

_ENTRY = re.compile(r"(?:(\d+)(?:-(\d+))?|(else))=(\w+)")


def parse_codes(text: str) -> Scheme:
    """The scheme that `--mask-codes` names or spells out.

    Args:
        text: A name of SCHEMES or ALIASES, or a list such as "1=cloud,2=thin,3=shadow,8-10=cloud,else=clear".
            0 is clear unless it is listed or `else` is.

    Returns:
        The scheme.

    Raises:
        OptionError: The name is not known, or the list cannot be understood or covers nothing.
    """
    name = text.strip().lower()
    if "=" in name:
        return _spelled_out("".join(name.split()))
    if (name := ALIASES.get(name, name)) not in SCHEMES:
        raise OptionError(
            f"--mask-codes {text}: expected one of {', '.join([*SCHEMES, *ALIASES])}, or a list such as "
            "1=cloud,2=thin,3=shadow"
        )
    return SCHEMES[name]


def _spelled_out(text: str) -> Scheme:
    codes: dict[int, CloudClass] = {}
    other: CloudClass | None = None
    for entry in text.split(","):
        match = _ENTRY.fullmatch(entry)
        if match is None or match[4] not in WORDS:
            raise OptionError(
                f"--mask-codes {text}: {entry!r} is not understood; expected VALUE=CLASS, as in 1=cloud, "
                f"8-10=cloud or else=clear, where CLASS is one of {', '.join(WORDS)}"
            )
        found = WORDS[match[4]]
        if match[3]:
            if other is not None:
                raise OptionError(f"--mask-codes {text}: else is listed twice; expected it once")
            other = found
            continue
        first, last = int(match[1]), int(match[2] or match[1])
        if not first <= last <= LARGEST:
            raise OptionError(
                f"--mask-codes {text}: {entry!r} is not a range; expected values of 0 to {LARGEST}, the "
                "smaller one first"
            )
        if twice := codes.keys() & range(first, last + 1):
            raise OptionError(f"--mask-codes {text}: {min(twice)} is listed twice; expected it once")
        codes |= dict.fromkeys(range(first, last + 1), found)
    if not any((*codes.values(), other or CLEAR)):
        raise OptionError(f"--mask-codes {text}: no value means cloud, thin or shadow; expected at least one")
    if other is None:
        codes.setdefault(0, CLEAR)
    return Scheme(name=text, title="given", meaning=text, codes=codes, other=other)


def help_text() -> str:
    """List the schemes for the help of `--mask-codes`.

    Returns:
        Their names and values.
    """
    names = {target: f"{target} or {alias}" for alias, target in ALIASES.items()}
    return "; ".join(f"{names.get(name, name)} ({scheme.meaning})" for name, scheme in SCHEMES.items())
