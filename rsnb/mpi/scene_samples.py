"""What a training across scenes is given: samples that know how to read their scene, and the scenes that were read."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from rsnb.errors import InputError
from rsnb.mpi.views import check_views, depth_range
from rsnb.scenes import PosedImages


@dataclass(frozen=True)
class SceneSample:
    """A reference picture and the views that its planes are to show.

    Attributes:
        name: of the scene, for messages.
        reference: name of the view that the network is given.
        neighbours: names of the views to be rendered; 19 or 4 in WHU MVS.
        load: gives the scene's pictures, reference and neighbours among them, with near_far of the reference. Samples
            that share one `load` share what it has read.
    """

    name: str
    reference: str
    neighbours: tuple[str, ...]
    load: Callable[[], PosedImages]


class LoadedScenes:
    """The scenes that were read last.

    Args:
        most: how many are kept.
    """

    def __init__(self, most: int):
        self.most = most
        self.read: OrderedDict[Callable[[], PosedImages], tuple[PosedImages, set[str]]] = OrderedDict()

    def views(self, sample: SceneSample) -> PosedImages:
        """Pictures of the sample's scene, read if they are not there.

        Raises:
            InputError: views of the sample that are not among them, bad poses or depth range; the scene is named.
        """
        if sample.load not in self.read:
            while len(self.read) >= self.most:
                self.read.popitem(last=False)
            self.read[sample.load] = (sample.load(), set())
        self.read.move_to_end(sample.load)
        views, checked = self.read[sample.load]
        told = " ".join((sample.reference, *sample.neighbours))
        if told not in checked:
            _check_sample(sample, views)
            checked.add(told)
        return views


def _check_sample(sample: SceneSample, views: PosedImages) -> None:
    if sample.reference in sample.neighbours:
        raise InputError(f"the reference {sample.reference!r} is among its own neighbours",
                         where=f"sample of {sample.name}", mend="Take it out of `neighbours`")
    try:
        check_views(views, sample.reference, sample.neighbours)
        depth_range(views, sample.reference)
    except InputError as error:
        raise InputError(error.what, where=f"scene {sample.name}, {error.where}", mend=error.mend) from error
