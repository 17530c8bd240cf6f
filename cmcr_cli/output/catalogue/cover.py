"""What covers a scene, and how much is reconstructed: one set of shares for all that is printed or stored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace

COVER_TAG = "CMCR_COVER"

KINDS = (("thick_cloud", "thick cloud"), ("thin_cloud", "thin cloud"), ("shadow", "shadow"))
"""Fields of what the mask finds, and their names for people."""

ROWS = (
    ("valid", "valid, of all pixels"),
    *KINDS,
    ("dilated", "added by --dilate"),
    ("covered", "covered: the sum of these"),
    ("edge", "edge: clear, and replaced too"),
    ("reconstructed", "reconstructed: covered and edge"),
    ("with_reference", "of these with a reference"),
    ("observed", "observed"),
)
"""All fields, and their names for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cover:
    """Shares, 0 to 1, of the scene or of the area of interest.

    `valid` is a part of all pixels, and all others are parts of the valid ones. `covered` is the sum of
    `thick_cloud`, `thin_cloud`, `shadow` and `dilated`; `reconstructed` that of `covered` and `edge`; and
    `reconstructed` and `observed` are 1 together.

    Attributes:
        valid: Pixels that hold a measurement.
        thick_cloud: Pixels that the mask calls thick cloud. None, as of the next two: it does not tell what
            covers the ground.
        thin_cloud: Pixels that it calls thin cloud or cirrus.
        shadow: Pixels that it calls shadow.
        dilated: Pixels that `--dilate` adds to the mask.
        covered: Pixels that are replaced because of the mask.
        edge: Clear pixels that are replaced in part, in the feathered edge; with `--no-keep-clear`, all clear
            pixels.
        reconstructed: Pixels that are replaced, fully or in part: 2 or 3 in the provenance.
        observed: Pixels that are copied: 1 in the provenance.
        with_reference: Those of `reconstructed` for which a reference counts: 3 in the provenance. None: they
            are not reconstructed yet.
    """

    valid: float
    thick_cloud: float | None
    thin_cloud: float | None
    shadow: float | None
    dilated: float
    covered: float
    edge: float
    reconstructed: float
    observed: float
    with_reference: float | None = None

    @classmethod
    def of(
        cls, pixels: int, valid: int, found: Sequence[int], dilated: int, edge: int, *, kinds: bool
    ) -> Cover:
        """Make shares of numbers of pixels.

        Args:
            pixels: All.
            valid: Those that hold a measurement. All others are among these.
            found: Of thick cloud, thin cloud and shadow in the mask.
            dilated: Those that were added to it.
            edge: Clear ones that are replaced.
            kinds: Whether the mask tells what covers the ground.

        Returns:
            The shares.
        """
        whole = max(valid, 1)
        each: list[float | None] = [count / whole if kinds else None for count in found]
        covered = sum(found) + dilated
        return cls(
            valid=valid / max(pixels, 1),
            thick_cloud=each[0],
            thin_cloud=each[1],
            shadow=each[2],
            dilated=dilated / whole,
            covered=covered / whole,
            edge=edge / whole,
            reconstructed=(covered + edge) / whole,
            observed=(valid - covered - edge) / whole,
        )

    def restored(self, sources: Sequence[int]) -> Cover:
        """Add what is known when the scene is restored.

        Args:
            sources: Reconstructed pixels by the number of the reference that counts most, 0 for none; empty
                where there are no references.

        Returns:
            The shares, with that of the references.
        """
        helped = sum(sources[1:])
        valid = round(sum(sources) / self.reconstructed) if helped else 1  # pixels
        return replace(self, with_reference=helped / valid)

    def masked_text(self) -> str:
        """Say for people what is covered, and by what.

        Returns:
            A phrase, such as `31.0% covered (20.1% thick cloud, 10.9% shadow)`.
        """
        parts = [f"{per_cent(value)} {name}" for field, name in KINDS if (value := getattr(self, field))]
        if self.dilated:
            parts.append(f"{per_cent(self.dilated)} added by --dilate")
        return f"{per_cent(self.covered)} covered" + (f" ({', '.join(parts)})" if parts else "")

    def text(self) -> str:
        """Say for people what is covered and what is reconstructed.

        Returns:
            A phrase.
        """
        parts = [f"{per_cent(self.edge)} edge"] if self.edge else []
        if self.with_reference:
            parts.append(f"{per_cent(self.with_reference)} with a reference")
        beside = f" ({', '.join(parts)})" if parts else ""
        return f"{self.masked_text()}, {per_cent(self.reconstructed)} reconstructed{beside}"

    def tag(self) -> str:
        """Say in one line what is valid, covered and reconstructed, for the tags of an output.

        Returns:
            A phrase.
        """
        return f"{per_cent(self.valid)} of all pixels valid; of these {self.text()}"

    def rows(self) -> Iterator[tuple[str, str]]:
        """List for people all that is known.

        Returns:
            Pairs of a name and a percentage.
        """
        shares = self.shares()
        return ((name, per_cent(shares[field])) for field, name in ROWS if field in shares)

    def shares(self) -> dict[str, float]:
        """List all that is known.

        Returns:
            Shares, 0 to 1, by the names of the fields.
        """
        return {name: share for name, share in asdict(self).items() if share is not None}


def per_cent(share: float) -> str:
    """Write a share for people: every one is rounded in the same way.

    Args:
        share: 0 to 1.

    Returns:
        A percentage with one decimal.
    """
    return f"{share:.1%}"
