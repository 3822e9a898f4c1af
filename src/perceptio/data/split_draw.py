"""The draw itself: stratified by class, repeatable, and as little disturbed by new files as can be."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from perceptio.data.names import Split, bytewise
from perceptio.data.records import Record
from perceptio.data.split_units import Unit

_ENOUGH_UNITS = 3
"""From so many units on, a class is represented in train and in both held-out splits."""


@dataclass(kw_only=True)
class _Draw:
    """Where each unit goes, and how many samples of each class that leaves in train."""

    units: Sequence[Unit]
    trained: Counter[str]
    where: dict[str, Split] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for unit in self.units:
            self.where[unit.key] = "train"
            self.trained.update(unit.labels)

    def move(self, unit: Unit, split: Split) -> None:
        if split == "train":
            self.trained.update(unit.labels)
        elif self.where[unit.key] == "train":
            self.trained.subtract(unit.labels)
        self.where[unit.key] = split

    def spares(self, unit: Unit) -> bool:
        """True if train can do without a unit: no class would lose its last training sample."""
        return all(self.trained[label] > number for label, number in unit.labels.items())


def draw(
    units: Sequence[Unit], shares: Mapping[Split, float], seed: int, trained: Iterable[Record]
) -> dict[str, Split]:
    """Returns name -> split of every sample of the units.

    Stratified by class, with several labels by the rarest. In each class the units queue by a number that comes from
    the seed and their name alone, and the head of the queue is held out: so a new file moves few others. Every class
    keeps a sample in train; one that stands in at least 3 units gets one in each held-out split too, unless that would
    cost another class its last training sample.

    Args:
        shares: of each split to draw, the share of the samples, above 0; what is left trains.
        trained: samples that are in train already and are not drawn.
    """
    state = _Draw(units=units, trained=Counter(label for record in trained for label in record.labels))
    totals = Counter(label for unit in units for label in unit.labels.elements())
    queue = sorted(units, key=lambda unit: (unit.place(seed), bytewise(unit.key)))
    strata: dict[str, list[Unit]] = defaultdict(list)
    for unit in queue:
        strata[min(unit.labels, key=lambda label: (totals[label], bytewise(label)), default="")].append(unit)
    for stratum in strata.values():
        _hold_out(stratum, shares, state)
    holders: dict[str, list[Unit]] = defaultdict(list)
    for unit in queue:
        for label in unit.labels:
            holders[label].append(unit)
    by_rarity = sorted(totals, key=lambda label: (totals[label], bytewise(label)))
    for label in by_rarity:
        if not state.trained[label]:
            _bring("train", holders[label], state)
    for split in shares:
        for label in by_rarity:
            _bring(split, holders[label], state)
    return {record.name: state.where[unit.key] for unit in units for record in unit.records}


def _hold_out(stratum: Sequence[Unit], shares: Mapping[Split, float], state: _Draw) -> None:
    """Takes the share of each held-out split from the head of one class's queue."""
    num_samples = sum(len(unit.records) for unit in stratum)
    enough = len(stratum) >= _ENOUGH_UNITS
    left = list(stratum)
    for number, (split, share) in enumerate(shares.items(), start=1):
        # One unit must remain for train, and one for each split still to come.
        spare = len(left) - 1 - (len(shares) - number if enough else 0)
        target = round(share * num_samples)
        taken = _take(left, max(1, target) if enough else target, spare, force=enough)
        for unit in taken:
            state.move(unit, split)
        held_out = {unit.key for unit in taken}
        left = [unit for unit in left if unit.key not in held_out]


def _take(queue: Sequence[Unit], target: int, spare: int, *, force: bool) -> list[Unit]:
    """Takes units from the head of the queue, passing over those that would overshoot by more than is missing.

    Args:
        target: number of samples.
        spare: at most so many units.
        force: take the smallest unit rather than none.
    """
    taken: list[Unit] = []
    missing = target
    for unit in queue:
        if missing <= 0 or len(taken) >= spare:
            break
        if len(unit.records) < 2 * missing:
            taken.append(unit)
            missing -= len(unit.records)
    if not taken and force and spare > 0:
        taken = [min(queue, key=lambda unit: len(unit.records))]
    return taken


def _bring(split: Split, holders: Sequence[Unit], state: _Draw) -> None:
    """Moves the smallest suitable unit with a label into a split that has none. Needed where units mix classes.

    Args:
        holders: the units with the label, in the queue's order.
    """
    if any(state.where[unit.key] == split for unit in holders):
        return
    if split == "train":
        movable = holders
    elif len(holders) >= _ENOUGH_UNITS:
        movable = [unit for unit in holders if state.where[unit.key] == "train" and state.spares(unit)]
    else:
        movable = []
    if movable:
        state.move(min(movable, key=lambda unit: len(unit.records)), split)
