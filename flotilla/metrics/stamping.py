"""What a cluster's series are called at the store: its own external labels gone, cluster, site and role stamped on.

Done on the encoded labels. How a block of labels is to be cut is worked out once and remembered; series come in the same order
beat after beat, so that most are told by one comparison with the one that is expected.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from flotilla.metrics.series import LABEL, NOTHING, Count, Datum, Label, Part, counted, data, labels, labels_end, labels_first
from flotilla.metrics.wire import read_varint, varint

REPLICA_LABELS = frozenset({"prometheus", "prometheus_replica"})  # what the Prometheus operator adds
FOREVER = 1 << 62  # ms
_EXPORTED = b"exported_"  # what Prometheus itself puts before a label that gives way: honor_labels in its scrape_config
_SAMPLE = 0x12  # the first byte of a sample: field 2, length-delimited
_USUAL = frozenset({b"\x12\x10\x09", b"\x12\x07\x10"})  # how samples begin: value and time in 16 bytes; a zero is left out: 7
_NAN, _NEGATIVE_NAN = b"\x7f\x10", b"\xff\x10"  # how the value of a sample ends that may be NaN, and what follows
_NO_SERIES = b"\x00"  # no series begins so
_OVERHEAD = 200  # bytes that a remembered block of labels takes besides its own
_TIMES = 50_000  # timestamps remembered: as many as there are targets times scrapes in an answer
Bit = slice | bytes
"""Of what a stamped series is made: a slice of the one that came, or bytes as they are."""
Recipe = tuple[Any, bytes]
"""An itemgetter of the slices of a series that are kept, and the format that they go into."""


@dataclass
class Seen:
    """What there was in series that were stamped; all of it is known once they were all taken.

    ``newest`` is the time in ms of the last sample, 0 where there is none. ``nans`` and ``histograms`` are how many of those
    there are by time in ms, stale ones left out: what some stores do not keep. ``late`` is what was dropped.
    """

    count: Count = NOTHING
    late: Count = NOTHING
    newest: int = 0
    nans: Counter[int] = field(default_factory=Counter)
    histograms: Counter[int] = field(default_factory=Counter)

    def note(self, found: Sequence[Datum]) -> None:
        """Count what a series holds that was looked at closely."""
        self.count += counted(found)
        for datum in found:
            if datum.part is not Part.EXEMPLAR:
                self.newest = max(self.newest, datum.time)
            if datum.part is Part.SAMPLE and datum.nan:
                self.nans[datum.time] += 1
            elif datum.part is Part.HISTOGRAM and not datum.stale:
                self.histograms[datum.time] += 1


class Stamper:
    """Stamps the series of one cluster.

    ``stamp`` is what is put on: name to value. ``strip`` are names that go. ``external`` are the external labels of the
    cluster's own Prometheus, which remote_read adds to every series: they go where they have just that value. Any other label
    named as one that is put on gives way as ``exported_NAME``, since it tells series apart: ``kube_node_role`` has a ``role``.
    It remembers labels of about ``remember`` bytes in all, 600 a series; one that it cannot remember costs ten times as much.
    It stamps one answer at a time: to be used by one thread, and each `stamped` to be taken to its end before the next.
    """

    def __init__(
        self,
        stamp: Mapping[str, str],
        *,
        strip: Collection[str] = REPLICA_LABELS,
        external: Mapping[str, str] | None = None,
        remember: int = 64 << 20,
    ) -> None:
        self._stamp = {name.encode(): value.encode() for name, value in stamp.items()}
        self._stamps = sorted(self._stamp)
        self._strip = frozenset(name.encode() for name in strip)
        self._external = {name.encode(): value.encode() for name, value in (external or {}).items()}
        self._watched = self._strip | self._stamp.keys() | self._external.keys()
        self._remember = remember
        self._times: dict[bytes, int] = {}  # encoded timestamp to ms: a scrape gives all of its samples one
        self._forget()

    def stamped(self, series: Iterable[bytes], seen: Seen, latest: int = FOREVER) -> Iterator[bytes]:
        """Yield series as the store is to have them, without what is later than a time in ms; empty ones are left out.

        Raises NotRemoteRead where one is no TimeSeries. This is walked for every series of every beat, hence its length: the
        usual series begins with the labels that are expected and holds samples only, the last not late, none of them NaN.
        """
        self._make_room()
        before = kept = samples = newest = 0
        blocks, sizes, recipes, following, times = self._blocks, self._sizes, self._recipes, self._following, self._times
        for one in series:
            at = following[before]
            size, (keep, form) = sizes[at], recipes[at]
            if not one.startswith(blocks[at]) or one[size : size + 1] == b"\n":
                at, size, (keep, form) = self._looked_up(one)
                following[before] = at
            before, here, last, end, found = at, size, size, len(one), 0
            while here + 1 < end and one[here] == _SAMPLE and one[here + 1] < 0x80:
                last, found = here, found + 1
                here += one[here + 1] + 2
            is_usual = here == end and one[last : last + 3] in _USUAL
            time = (times.get(one[-7:]) or self._time(one[-7:])) if is_usual else FOREVER
            if time < latest and one.find(_NAN, size) < 0 and one.find(_NEGATIVE_NAN, size) < 0:
                kept, samples = kept + 1, samples + found
                newest = time if time > newest else newest
                yield form % keep(one)
            elif whole := self._looked_through(one, latest, seen):
                kept += 1
                yield whole
        seen.count += Count(series=kept, samples=samples)
        seen.newest = max(newest, seen.newest)

    def _time(self, encoded: bytes) -> int:
        """Return the time in ms of a sample that ends with these seven bytes; FOREVER where that is for a closer look."""
        if encoded[0] != 0x10 or encoded[-1] > 0x7F:
            return FOREVER
        time, end = read_varint(encoded, 1)
        if end != len(encoded):
            return FOREVER
        self._times[encoded] = time
        return time

    def _looked_up(self, one: bytes) -> tuple[int, int, Recipe]:
        """Return the place, the size and the recipe of a series' labels; place 0 where they are not remembered."""
        block = one[: labels_end(one)]
        at, size = self._places.get(block, 0), len(block)
        if at:
            return at, size, self._recipes[at]
        recipe = self._recipe(block)
        if self._held > self._remember:
            self._missed += 1
            return 0, size, recipe
        self._places[block] = at = len(self._blocks)
        self._held += size + _OVERHEAD
        self._blocks.append(block)
        self._sizes.append(size)
        self._recipes.append(recipe)
        self._following.append(0)
        return at, size, recipe

    def _recipe(self, block: bytes) -> Recipe:
        """Return how a block of labels is to be cut and what is put in between, so that the names are sorted afterwards.

        Blocks of labels of the same lengths share one. A label that gives way makes one of its own.
        """
        cuts = self._cuts(block)
        if cuts is None:
            return _recipe_of(self._bits(block))
        if cuts not in self._shared:
            self._shared[cuts] = _recipe_of(self._bits(block))
        return self._shared[cuts]

    def _cuts(self, block: bytes) -> tuple[int, ...] | None:
        """Return where each stamped label goes, then from where to where labels go away; None where that does not say it all.

        Names are in order as a rule, and short. This is walked for each label of every series that is new.
        """
        places, gone, last, at, size = list[int](), list[int](), b"", 0, len(block)
        stamps, watched = self._stamps, self._watched
        while at < size:
            begin, length, at = at, block[at + 1], at + 2
            if length > 0x7F:
                length, at = read_varint(block, begin + 1)
            end = at + length
            name = block[at + 2 : at + 2 + block[at + 1]] if length > 1 and block[at] == LABEL and block[at + 1] < 0x80 else b""
            if name < last or not name:
                return None
            while len(places) < len(stamps) and stamps[len(places)] <= name:
                places.append(begin)
            if name in watched:
                if self._goes(next(labels(block[begin:end]))):
                    gone += (begin, end)
                elif name in self._stamp:
                    return None
            last, at = name, end
        return (*places, *[size] * (len(stamps) - len(places)), *gone)

    def _goes(self, label: Label) -> bool:
        """Tell whether a label is left out: by its name, as an external one, or since it says what is stamped anyway."""
        name, value = label.name, label.value
        return name in self._strip or self._external.get(name) == value or value in (b"", self._stamp.get(name))

    def _bits(self, block: bytes) -> list[Bit]:
        """Return what stamped series are made of that begin with these labels."""
        bits: list[tuple[bytes, Bit]] = [(name, _label(name, value)) for name, value in self._stamp.items()]
        found = list(labels(block))
        taken = {label.name for label in found}
        for label in found:
            if label.name in self._watched and self._goes(label):
                continue
            if label.name in self._stamp:
                name = _free(label.name, taken)
                bits.append((name, _label(name, label.value)))
            else:
                bits.append((label.name, slice(label.begin, label.end)))
        bits.sort(key=lambda bit: bit[0])
        return [*(bit for _, bit in bits), slice(len(block), None)]

    def _looked_through(self, one: bytes, latest: int, seen: Seen) -> bytes | None:
        """Return a series that is not of the usual kind, less what of it is late; None where nothing of it is left."""
        one = labels_first(one)
        _, size, (keep, form) = self._looked_up(one)
        found = list(data(one, size))
        late = [datum for datum in found if datum.time > latest]
        for datum in reversed(late):
            one = one[: datum.begin] + one[datum.end :]
        seen.late += counted(late)
        kept = [datum for datum in found if datum.time <= latest]
        if all(datum.part is Part.EXEMPLAR for datum in kept):
            return None
        seen.note(kept)
        return bytes(form % keep(one))

    def _make_room(self) -> None:
        """Forget everything once it is full and as many labels as it holds were not found: most of it is of the past."""
        if self._missed > len(self._blocks):
            self._forget()
        if len(self._times) > _TIMES:
            self._times.clear()

    def _forget(self) -> None:
        self._places: dict[bytes, int] = {}
        self._blocks: list[bytes] = [_NO_SERIES]
        self._sizes: list[int] = [0]
        self._recipes: list[Recipe] = [(itemgetter(slice(None)), b"%b")]
        self._following: list[int] = [0]  # which place came after which one
        self._shared: dict[tuple[int, ...], Recipe] = {}
        self._held = self._missed = 0


def _recipe_of(bits: list[Bit]) -> Recipe:
    """Return the recipe that says this; neighbours are kept as one."""
    merged: list[Bit] = []
    for bit in bits:
        before = merged[-1] if merged else None
        if isinstance(bit, slice) and isinstance(before, slice) and before.stop == bit.start:
            merged[-1] = slice(before.start, bit.stop)
        else:
            merged.append(bit)
    form = b"".join(b"%b" if isinstance(bit, slice) else bit.replace(b"%", b"%%") for bit in merged)
    return itemgetter(*(bit for bit in merged if isinstance(bit, slice))), form


def _free(name: bytes, taken: set[bytes]) -> bytes:
    """Return the name that a label takes that gives way, and take note of it."""
    while name in taken:
        name = _EXPORTED + name
    taken.add(name)
    return name


def _label(name: bytes, value: bytes) -> bytes:
    inside = b"\x0a" + varint(len(name)) + name + b"\x12" + varint(len(value)) + value
    return b"\x0a" + varint(len(inside)) + inside
