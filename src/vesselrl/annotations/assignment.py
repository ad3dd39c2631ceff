"""Which split each group belongs to: decided once, kept from run to run.

No rule that looks only at the present groups can both meet the fractions and never move a group
when others come: if a group's split must be the same whatever else is there, it can only be a
function of that group alone, and then chance decides how many groups a split gets (of ten groups,
none is test in one data set of nine). So the assignment is remembered: `stored` is what a run
leaves, `remembered` what the next one takes from it.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from vesselrl.annotations.parameters import SplitFractions
from vesselrl.errors import VesselrlError

SPLITS = ("train", "val", "test")

# Groups of similar vessel fraction among which a split's members are drawn.
_BLOCK = 5


def hashed(name: str, seed: int) -> float:
    """A number in [0, 1), evenly spread, the same on every machine."""
    digest = hashlib.sha256(f"{seed}:{name}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:6]) / 2**48


def assign_groups(
    vessel_fractions: Mapping[str, float],
    fractions: SplitFractions,
    seed: int,
    earlier: Mapping[str, str],
    together: Collection[Collection[str]] = (),
) -> dict[str, str]:
    """Assign groups to splits.

    Groups with an earlier split keep it. The new ones are ordered by vessel fraction, cut into
    blocks of five alike, shuffled within each block by a hash of seed and name, and dealt along
    that order to the splits in the proportions that bring the whole nearest to the fractions.

    What is guaranteed:

    - A group that has a split keeps it, whatever groups or images come or go. (One exception, asked
      for by ``together``, below.)
    - It depends on the seed, the names, the vessel fractions of the new groups and the earlier
      splits alone, not on the order of anything. Assigning again with the result changes nothing.
    - Each split has its fraction of the groups to within one, but for two cases: the first groups
      go to training, validation and test in turn, so that from three on no split with a fraction
      above 0 is empty; and a split that has more than its fraction from earlier gets no new one
      until the others have caught up.
    - Stratified by vessel fraction, as far as that leaves the first guarantee alone: a group is
      placed by what it held when it first came, and stays when its images change.

    Args:
        vessel_fractions: group → mean vessel fraction of its images.
        fractions: the share of the groups that each split should get.
        seed: fixes the order within blocks.
        earlier: group → split, from `remembered`; groups that are gone may be among them.
        together: sets of groups that must share a split; each then counts as one group. A set with
            earlier groups in different splits goes where most of those are, or, of several such,
            to the split that lacks most, and so moves the others.

    Returns:
        Group → ``train``, ``val`` or ``test``.
    """
    sets = [sorted(group for group in one if group in vessel_fractions) for one in together]
    joined = {group for one in sets for group in one}
    units = [[group] for group in sorted(vessel_fractions) if group not in joined]
    units += sorted(one for one in sets if one)
    known = [Counter(earlier[group] for group in unit if group in earlier) for unit in units]
    counts = Counter[str]()
    placed: dict[str, str] = {}
    for unit, sides in sorted(zip(units, known, strict=True), key=lambda pair: len(pair[1])):
        if sides:
            most = [name for name in SPLITS if sides[name] == max(sides.values())]
            split = max(most, key=lambda n: getattr(fractions, n) * len(units) - counts[n])
            counts[split] += 1
            placed.update(dict.fromkeys(unit, split))
    new = [unit for unit, sides in zip(units, known, strict=True) if not sides]
    shares = _quotas(counts, len(new), fractions)
    ordered = _stratified(new, vessel_fractions, seed)
    for members, split in zip(ordered, _dealt(shares), strict=True):
        placed.update(dict.fromkeys(members, split))
    return {group: placed[group] for group in vessel_fractions}


def _quotas(counts: Mapping[str, int], new: int, fractions: SplitFractions) -> dict[str, int]:
    """How many of the new units each split gets: always the one that lacks most, empty ones first.

    Args:
        counts: how many units each split has.
        new: how many are to be placed.
        fractions: what is asked for.
    """
    total = sum(counts.values()) + new
    has = {name: counts.get(name, 0) for name in SPLITS}
    wanted = {name: getattr(fractions, name) * total for name in SPLITS}
    for _ in range(new):
        empty = [name for name in SPLITS if wanted[name] > 0 and not has[name]]
        lacking = max(SPLITS, key=lambda name: wanted[name] - has[name])
        has[empty[0] if empty else lacking] += 1
    return {name: has[name] - counts.get(name, 0) for name in SPLITS}


def _stratified(
    units: Sequence[Sequence[str]], vessel_fractions: Mapping[str, float], seed: int
) -> list[Sequence[str]]:
    """The units in blocks of similar vessel fraction, in the order of a hash within each."""

    def mean(unit: Sequence[str]) -> float:
        return sum(vessel_fractions[group] for group in unit) / len(unit)

    ranked = sorted(units, key=lambda unit: (mean(unit), unit[0]))
    block = {unit[0]: rank // _BLOCK for rank, unit in enumerate(ranked)}
    return sorted(ranked, key=lambda unit: (block[unit[0]], hashed(unit[0], seed), unit[0]))


def _dealt(shares: Mapping[str, int]) -> Iterator[str]:
    """Splits in a sequence in which every stretch holds each in about its proportion."""
    total = sum(shares.values())
    dealt = dict.fromkeys(SPLITS, 0)
    for step in range(1, total + 1):
        left = [name for name in SPLITS if dealt[name] < shares[name]]
        name = max(left, key=lambda name: shares[name] * step / total - dealt[name])
        dealt[name] += 1
        yield name


def stored(
    assigned: Mapping[str, str],
    earlier: Mapping[str, str],
    fractions: SplitFractions,
    seed: int,
    pseudonymise: bool,
) -> dict[str, Any]:
    """What a run leaves for the next.

    Returns:
        ``made_with``, the settings of which another value is another assignment from scratch, and
        ``groups``, group → split. Groups that are gone stay in it, in case they come back.
    """
    return {
        "made_with": _settings(fractions, seed, pseudonymise),
        "groups": dict(sorted({**earlier, **assigned}.items())),
    }


def remembered(
    stored_assignment: Any, fractions: SplitFractions, seed: int, pseudonymise: bool
) -> tuple[dict[str, str], list[str]]:
    """What an earlier run decided, as far as it holds for this one.

    Args:
        stored_assignment: what `stored` returned then, or None where there was no such run.
        fractions: as asked for now.
        seed: as it is now.
        pseudonymise: as it is now; names of one kind are not carried over to the other.

    Returns:
        Group → split, and warnings. With other settings than then it is empty, with a warning.

    Raises:
        VesselrlError: it is something else: going on would move groups unseen.
    """
    if stored_assignment is None:
        return {}, []
    groups = stored_assignment.get("groups") if isinstance(stored_assignment, dict) else None
    if not isinstance(groups, dict) or not set(map(str, groups.values())) <= set(SPLITS):
        raise VesselrlError(
            "split_assignments.json, which keeps each group in its split from run to run, is "
            "damaged: restore it, or delete it to assign all groups anew."
        )
    made_with, now = stored_assignment.get("made_with"), _settings(fractions, seed, pseudonymise)
    if made_with == now:
        return groups, []
    before = made_with if isinstance(made_with, dict) else {}
    changed = [name for name, value in now.items() if before.get(name) != value]
    names = " and ".join(changed)
    return {}, [f"All groups are assigned to splits anew, because {names} changed since last time."]


def _settings(fractions: SplitFractions, seed: int, pseudonymise: bool) -> dict[str, Any]:
    return {
        "seed": seed,
        "split.fractions": fractions.model_dump(mode="json"),
        "pseudonymise": pseudonymise,
    }
