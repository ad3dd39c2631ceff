"""How far drawn angiograms differ from one another."""

from dataclasses import dataclass

Range = tuple[float, float]


@dataclass(frozen=True)
class Variation:
    """Ranges from which each patient's numbers are drawn evenly.

    Attributes:
        coils: how much more than usual the vessels wind.
        contrast: absorption in the middle of the first vessel.
        area: share of the image that labelled vessels cover, as in real data sets.
        finest: least radius that is labelled, in pixels of an image of 256 × 256.
        faint: concentration of the agent in trees behind the first, which are not labelled.
        faint_trees: how many of them there are, rounded.
        tissue: how much stronger than usual bones, lungs and diaphragm show.
        photons: per pixel where nothing absorbs.
        blur: of focus and motion, standard deviation in pixels of an image of 256 × 256.
        brightness: grey level of that many photons.
        grain: of the noise, standard deviation of the detector's blur in pixels.
        profile: exponent of the thickness of contrast agent that a ray crosses; below 1 vessels
            look flat, and thin ones darker, as after a display's contrast correction.
        drawn: share of a vessel's radius that annotators draw.
    """

    coils: Range = (1.0, 1.0)
    contrast: Range = (0.27, 0.75)
    area: Range = (0.042, 0.09)
    finest: Range = (0.9, 1.5)
    faint: Range = (0.15, 0.5)
    faint_trees: Range = (1, 1)
    tissue: Range = (1.0, 1.0)
    photons: Range = (200, 550)
    blur: Range = (0.7, 1.1)
    brightness: Range = (125, 175)
    grain: Range = (1.0, 1.0)
    profile: Range = (1.0, 1.0)
    drawn: Range = (1.0, 1.0)


TYPICAL = Variation()
"""Angiograms such as clinics make."""
WIDE = Variation(
    coils=(0.5, 4.0),
    contrast=(0.25, 1.3),
    area=(0.025, 0.12),
    finest=(0.8, 1.6),
    faint=(0.1, 0.5),
    faint_trees=(-0.5, 3.5),
    tissue=(0.5, 2.0),
    photons=(120, 1500),
    blur=(0.5, 1.3),
    brightness=(90, 200),
    grain=(0.6, 2.0),
    profile=(0.35, 1.0),
    drawn=(0.7, 1.0),
)
"""More than any clinic's differ, for a network that should meet nothing new."""
