"""Which views are learnt from, which are tested, and whose camera the planes are parallel to.

Protocols:

    dataset       the split that comes with the data (LEVIR-NVS's view_split.txt, NeRF's train and test files)
    ten_ten       ImMPI's rule for LEVIR-NVS: 000 the reference, odd ids train, even ids test
    three_view    later papers' (TriDF, DIBR-GS): ids 001, 008, 015 train, the other 17 of 001 to 020 test
    every_8th     Mildenhall et al., LLFF (2019): of the views in their order the first, the ninth and so on are tests
    hold_out:N    every N-th is a test, beginning in the middle of the first N: tests lie between train views
    auto          the data's own split where there is one, else every_8th, else (below 9 views) the middle view alone

`test=` names views instead. Split by id, never by position: ImMPI's two loaders order the same views differently.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rsnb.errors import InputError
from rsnb.geometry.poses import camera_centre

PROTOCOLS = ("auto", "dataset", "ten_ten", "three_view", "every_8th", "hold_out:N")
THREE = (1, 8, 15)
_LAST = 20  # id of the last view of a LEVIR-NVS scene


@dataclass(frozen=True)
class Split:
    """Names of views.

    Attributes:
        reference: whose camera the planes are parallel to.
        train: views to learn from; may hold the reference.
        test: views that are only scored.
        protocol: what made it.
        notes: what was decided where the protocol leaves it open.
    """

    reference: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    protocol: str
    notes: tuple[str, ...] = ()


def choose_split(names: Sequence[str], given: Mapping[str, Sequence[str]] | None = None, protocol: str = "auto", *,
                 test: str | Sequence[str] | None = None, train: str | Sequence[str] | None = None,
                 reference: str | None = None, world_to_cam: np.ndarray | None = None) -> Split:
    """Split the views of a scene.

    Args:
        names: of all views.
        given: the data's own splits, {"train": names, "test": names, "reference": names}; "val" stands in for a
            missing "test".
        protocol: see the module; ignored where `test` is given.
        test, train: names, or one text with commas. A name may be short: the stem of a picture or the end of it, if
            only one view fits ("7104" for 100_7104.JPG). `train` alone thins out what the protocol gives.
        reference: a name, short or not; if None, the data's own, else the train view in the middle.
        world_to_cam: [N, 4, 4] poses, to find that middle (least sum of distances to the other train views); without
            them it is the middle of the list.

    Returns:
        The split; test views are never among train and never the reference.

    Raises:
        InputError: fewer than two views, an unknown or ambiguous name, a view in two lists, nothing to train on beside
            the reference, a protocol that does not fit these views.
    """
    names, given = tuple(names), dict(given or {})
    if len(names) < 2:
        raise InputError(f"there {'is one view' if names else 'are no views'} only", where="split",
                         mend="A scene needs at least two views: one picture alone says nothing about depth")
    notes: list[str] = []
    if test is not None:
        protocol, tests = "explicit", _named(names, test, "test")
        trains = _named(names, train, "train") if train is not None else tuple(n for n in names if n not in tests)
    else:
        protocol, trains, tests = _by_protocol(names, given, protocol, notes)
        if train is not None:
            trains = _named(names, train, "train")
            tests = tests if protocol in ("dataset", "ten_ten") else tuple(n for n in tests if n not in trains)
    both = [name for name in tests if name in trains]
    if both:
        raise InputError(f"view {both[0]!r} is a test view and a train view", where="split",
                         mend="Take it out of one of the two, else its score says nothing")
    chosen = _reference(names, given, protocol, trains, tests, reference, world_to_cam, notes)
    if chosen in tests:
        raise InputError(f"view {chosen!r} is the reference and a test view", where="split",
                         mend="Choose another reference, or take it out of the test views")
    if not set(trains) - {chosen}:
        raise InputError("there is no train view beside the reference, and one picture has no depth", where="split",
                         mend="Leave more views to train on: fewer test views, or another protocol")
    return Split(chosen, trains, tests, protocol, tuple(notes))


def _by_protocol(names, given, protocol: str, notes: list[str]) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """(protocol, train, test)."""
    if protocol == "auto":
        protocol = _automatic(names, given)
        notes.append(f"the split was chosen by itself: {protocol}")
    if protocol == "dataset":
        return protocol, *_of_dataset(names, given)
    if protocol == "ten_ten":
        ids = _ids(names, protocol)
        return protocol, tuple(ids[i] for i in ids if i % 2), tuple(ids[i] for i in ids if i % 2 == 0 and i)
    if protocol == "three_view":
        ids = _ids(names, protocol)
        absent = [i for i in THREE if i not in ids]
        if absent:
            raise InputError(f"view {absent[0]:03d} of the three-view protocol is not there", where="protocol",
                             mend="It is LEVIR-NVS's; take hold_out:N for other scenes")
        return protocol, tuple(ids[i] for i in THREE), tuple(ids[i] for i in ids if 1 <= i <= _LAST and i not in THREE)
    step, first = _step(protocol, len(names))
    tests = names[first::step]
    return protocol, tuple(name for name in names if name not in tests), tests


def _automatic(names, given) -> str:
    if given.get("train") and (given.get("test") or given.get("val")):
        return "dataset"
    return "every_8th" if len(names) > 8 else f"hold_out:{len(names)}"


def _of_dataset(names, given) -> tuple[tuple[str, ...], tuple[str, ...]]:
    trains, tests = (tuple(given.get(part) or ()) for part in ("train", "test"))
    tests = tests or tuple(given.get("val") or ())
    if not trains or not tests:
        raise InputError(f"the data has no split into train and test (it has: {', '.join(given) or 'none'})",
                         where="protocol", mend="Take every_8th or hold_out:N, or name the views with test=")
    for part, members in (("train", trains), ("test", tests)):
        for name in members:
            if name not in names:
                raise InputError(f"the data's {part} split names view {name!r}, which is not there", where="split",
                                 mend=f"Correct the split; views are {_some(names)}")
    return trains, tests


def _ids(names: Sequence[str], protocol: str) -> dict[int, str]:
    """{id: name} in the order of the ids; names are numbers, perhaps with a suffix."""
    ids = {}
    for name in names:
        stem = re.sub(r"\.[A-Za-z]{2,4}$", "", name)
        if not stem.isdecimal() or int(stem) in ids:
            raise InputError(f"the protocol {protocol} goes by view ids, and {name!r} is no number of its own",
                             where="protocol", mend="Take every_8th or hold_out:N for these views")
        ids[int(stem)] = name
    return dict(sorted(ids.items()))


def _step(protocol: str, count: int) -> tuple[int, int]:
    """(every how many, the first) of the protocols that count."""
    if protocol == "every_8th":
        return 8, 0
    found = re.fullmatch(r"hold_out:(\d+)", protocol)
    if not found:
        raise InputError(f"{protocol!r} is no protocol", where="protocol", mend=f"Choose one of {', '.join(PROTOCOLS)}")
    step = int(found[1])
    if not 2 <= step <= count:
        raise InputError(f"hold_out:{step} of {count} views leaves nothing to {'train on' if step < 2 else 'test'}",
                         where="protocol", mend=f"N is between 2 and {count}")
    return step, step // 2


def _named(names: Sequence[str], wanted: str | Sequence[str], where: str) -> tuple[str, ...]:
    """Full names of short ones, each once.

    Raises:
        InputError: one that no view has, that several have, or that is there twice.
    """
    words = [word.strip() for word in wanted.split(",")] if isinstance(wanted, str) else [str(word) for word in wanted]
    chosen: list[str] = []
    for word in words:
        if not word:
            continue
        name = _find(names, word, where)
        if name in chosen:
            raise InputError(f"view {name!r} is there twice", where=where, mend="Remove one of the two")
        chosen.append(name)
    if not chosen:
        raise InputError("no view is named", where=where, mend=f"Name some of {_some(names)}")
    return tuple(chosen)


def _find(names: Sequence[str], word: str, where: str) -> str:
    for fits in (lambda name: name == word, lambda name: _stem(name) == _stem(word),
                 lambda name: _stem(name).endswith(_stem(word))):
        found = [name for name in names if fits(name)]
        if len(found) == 1:
            return found[0]
        if found:
            raise InputError(f"{word!r} fits {len(found)} views ({_some(found)})", where=where,
                             mend="Write more of the name")
    raise InputError(f"there is no view {word!r}", where=where, mend=f"Choose among {_some(names)}")


def _stem(name: str) -> str:
    return re.sub(r"\.[A-Za-z]{2,4}$", "", name.rsplit("/", 1)[-1])


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (" ..." if len(names) > 6 else "")


def _reference(names, given, protocol, trains, tests, reference, world_to_cam, notes: list[str]) -> str:
    if reference is not None:
        return _find(names, reference, "reference")
    if protocol == "ten_ten":
        named = [name for name in names if name not in trains and name not in tests]
    else:
        # three views: 000 is no train view there, so its picture must not be looked at
        named = [] if protocol == "three_view" else [n for n in given.get("reference", ()) if n in names]
    if named and named[0] not in tests:
        return named[0]
    chosen = _middle(names, trains, world_to_cam)
    why = " (000 is not used in this protocol)" if protocol == "three_view" else ""
    notes.append(f"the reference is train view {chosen}, the one in the middle{why}")
    return chosen


def _middle(names: Sequence[str], trains: Sequence[str], world_to_cam: np.ndarray | None) -> str:
    """The train view with the least sum of distances to the others; of equal ones, the one nearest the middle of the
    list."""
    if not trains:
        raise InputError("there is no train view", where="split", mend="Leave at least two views to train on")
    aside = np.abs(np.arange(len(trains)) - (len(trains) - 1) / 2)
    if world_to_cam is None:
        return trains[int(np.argmin(aside))]
    poses = np.asarray(world_to_cam, np.float64)[[names.index(name) for name in trains]]
    centres = camera_centre(poses)
    total = np.linalg.norm(centres[:, None] - centres[None], axis=-1).sum(axis=1)
    return trains[int(np.argmin(total * (1 + 1e-6 * aside)))]
