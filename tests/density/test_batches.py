"""Batches: epochs are whole, and rays whose ground a turned tile does not show are known in closed form."""

import math
import warnings

import numpy as np
import pytest
import torch

from rsnb.density.augment import draw_turns
from rsnb.density.batches import Batches, PairFaultWarning
from rsnb.density.training_options import TrainingOptions
from rsnb.density.volume import TileFrame
from rsnb.errors import InputError
from rsnb.scenes import TilePanoramaPairs
from rsnb.training.parallel import Team, in_team

FRAME = TileFrame(16.0, 8.0)
CPU = torch.device("cpu")


def pairs_of(count: int, **changes) -> TilePanoramaPairs:
    """Grey pairs of 8 and 16 x 32 pixels, cameras 2 m up in the middle unless said otherwise."""
    plain = {"tiles": np.full((count, 3, 8, 8), 0.5, np.float32), "heading": np.zeros(count), "vertical_fov": math.pi,
             "panoramas": np.full((count, 3, 16, 32), 0.5, np.float32), "sky": np.zeros((count, 16, 32), bool),
             "ids": tuple(str(i) for i in range(count)), "camera_height_m": 2.0}
    return TilePanoramaPairs(**(plain | changes))


def test_epochs_bring_every_pair_once_and_leave_the_rest_out():
    pairs = pairs_of(11)
    batches = Batches(pairs, TrainingOptions(batch=3, order="epochs"), FRAME, CPU)
    seen = [batches.index(number).tolist() for number in range(9)]
    epochs = [[i for batch in seen[k:k + 3] for i in batch] for k in (0, 3, 6)]
    assert all(len(set(epoch)) == 9 for epoch in epochs) and len({tuple(epoch) for epoch in epochs}) == 3
    assert len({i for epoch in epochs for i in epoch}) == 11  # whoever is left out changes
    again = Batches(pairs, TrainingOptions(batch=3, order="epochs"), FRAME, CPU)
    assert again.index(5).tolist() == seen[5]  # whatever came before
    with pytest.raises(InputError, match=r"2 pairs are too few.*at least 3, or use order=\"drawn\""):
        Batches(pairs_of(2), TrainingOptions(batch=3, order="epochs"), FRAME, CPU)


def test_turns_by_any_angle_leave_out_what_the_tile_did_not_show():
    pairs = pairs_of(8, heading=np.linspace(-1, 1, 8), offset_m=np.linspace([-3, 2], [3, 1], 8))
    batches = Batches(pairs, TrainingOptions(turns="any", order="epochs"), FRAME, CPU)
    turns = draw_turns(8, torch.Generator().manual_seed(0), width=32, whole=False)
    batch, index = batches.draw(0), batches.index(0)
    dip, apart = (np.arange(16) + 0.5 - 8) / 16 * np.pi, 0
    for i, turn in enumerate(turns):
        now = float(batch.heading[i]) + ((np.arange(32) + 0.5) / 32 - 0.5) * 2 * np.pi
        then = -(now - turn.angle) if turn.mirror else now - turn.angle  # bearings in the world as it was
        reach = 2 / np.tan(np.where(dip > 0, dip, 1.0))[:, None]
        inside = []
        for bearing, offset in ((then, pairs.offset_m[index[i]]), (now, batch.position[i].numpy())):
            east, north = (offset[k] + reach * f(bearing) for k, f in ((0, np.sin), (1, np.cos)))
            inside.append((dip < 0)[:, None] | (np.maximum(np.abs(east), np.abs(north)) <= 8))
        assert np.array_equal(batch.known[i].numpy(), inside[0]), turn
        assert np.array_equal(batch.ground_inside(FRAME)[i].numpy(), inside[0] & inside[1]), turn
        apart += int((inside[0] != inside[1]).sum())
    assert 0.02 < float((~batch.known).float().mean()) < 0.2 and apart > 0


def test_turns_by_any_angle_ask_only_what_both_tiles_can_answer():
    # a ray that rises by e leaves the tile at 2 m + d tan e, d its way to the border, and is asked where that is at
    # most 0 or at least 4 m, on the tile as it was and as it is turned
    draw = np.random.default_rng(0)
    pairs = pairs_of(8, offset_m=draw.uniform(-4, 4, (8, 2)), sky=draw.random((8, 16, 32)) < 0.1)
    batches = Batches(pairs, TrainingOptions(turns="any", order="epochs", beyond_m=4.0), FRAME, CPU)
    turns = draw_turns(8, torch.Generator().manual_seed(0), width=32, whole=False)
    batch, index = batches.draw(0), batches.index(0)
    rise, lost = (8 - np.arange(16) - 0.5) / 16 * np.pi, 0
    for i, turn in enumerate(turns):
        now = float(batch.heading[i]) + ((np.arange(32) + 0.5) / 32 - 0.5) * 2 * np.pi
        then = -(now - turn.angle) if turn.mirror else now - turn.angle
        asked = []
        for bearing, offset in ((then, pairs.offset_m[index[i]]), (now, batch.position[i].numpy())):
            to_border = np.min([(8 - offset[k] * np.sign(way)) / np.abs(way)
                                for k, way in enumerate((np.sin(bearing), np.cos(bearing)))], axis=0)
            height = 2 + np.tan(rise)[:, None] * to_border
            asked.append((height <= 0) | (height >= 4))
        assert np.array_equal(batch.answerable(FRAME, 4.0)[i].numpy(), batch.sky[i].numpy() | (asked[0] & asked[1]))
        lost += (asked[1] & ~asked[0]).sum()
    assert lost > 10


class Source:
    """Pairs of which some cannot teach, and a list of what it was asked for."""

    def __init__(self, count, covered=(), broken=(), torn=()):
        self.pairs = pairs_of(count)
        self.pairs.sky[list(covered)] = True
        self.pairs.tiles[list(broken), 0, 0, 0] = np.nan
        self.torn, self.ahead, self.asked = set(torn), [], []

    def __len__(self):
        return len(self.pairs)

    def load(self, index):
        self.asked.append(index.tolist())
        if torn := self.torn & set(index.tolist()):
            raise InputError(f"picture {min(torn)} is cut short", where="file")
        return self.pairs.subset(index)

    def prefetch(self, index):
        self.ahead.append(index.tolist())


@pytest.mark.parametrize("order", ["drawn", "epochs"])
def test_pairs_of_a_source_that_can_teach_nothing_are_left_out_and_others_stand_in(order):
    bad = {"covered": [2], "broken": [5, 6], "torn": [9]}
    options = TrainingOptions(batch=4, order=order, steps=12, seed=3)
    plain, spoilt = Batches(Source(12), options, FRAME, CPU), Batches(Source(12, **bad), options, FRAME, CPU)
    resumed = Batches(Source(12, **bad), options, FRAME, CPU)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        seen = []
        for number in range(12):
            expected = plain.index(number)
            spoilt.draw(number)
            found = spoilt.source.asked[-1]
            seen += found
            assert all(a == b or a in (2, 5, 6, 9) for a, b in zip(expected, found, strict=True))
            if number == 7 or order == "epochs":  # whatever it has come across before
                resumed.order.bit_generator.state = spoilt.order.bit_generator.state
                if order == "epochs":
                    resumed.draw(number)
                    assert resumed.source.asked[-1] == found
    assert not {2, 5, 6, 9} & set(seen) and {0, 1, 3, 4, 7, 8, 10, 11} == set(seen)
    words = [str(w.message) for w in said if w.category is PairFaultWarning]
    assert words[0].startswith("1 of 12 pairs can teach nothing and are left out so far") or words[0].startswith("2 of")
    assert len(words) <= 6 and any("picture 9 is cut short" in w or "sky all over: pair 2" in w
                                   or "not finite: pair" in w for w in words)


def test_what_stands_in_is_the_same_whichever_process_looks():
    options = TrainingOptions(batch=4, steps=6)
    whole, shares = (Source(9, covered=[1, 3, 7])), [Source(9, covered=[1, 3, 7]) for _ in range(2)]
    all_of = [Batches(source, options, FRAME, CPU) for source in (whole, *shares)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number in range(6):
            all_of[0].draw(number)
            for rank in range(2):
                with in_team(Team(rank, 2)):
                    all_of[1 + rank].draw(number)
            for rank in range(2):
                assert shares[rank].asked[-1] == whole.asked[-1][rank::2]


def test_a_source_of_nothing_is_refused_and_one_that_does_not_fit_at_once():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nothing = Batches(Source(5, covered=[0, 1, 2], torn=[3, 4]), TrainingOptions(batch=2), FRAME, CPU)
        with pytest.raises(InputError, match="sky all over|cut short"):
            nothing.draw(0)
        assert len(nothing._left_out) == 5
    wide = Source(5)
    wide.pairs = pairs_of(5, tile_extent_m=30.0)
    with pytest.raises(InputError, match="30.0 m wide, the model's 16.0 m"):
        Batches(wide, TrainingOptions(batch=2), FRAME, CPU).draw(0)
    together = Source(5)
    together.load = lambda index: (_ for _ in ()).throw(InputError("they do not fit")) if len(index) > 1 else \
        together.pairs.subset(index)
    with pytest.raises(InputError, match="they do not fit"):
        Batches(together, TrainingOptions(batch=2), FRAME, CPU).draw(0)


def test_pairs_in_memory_are_all_looked_at_before_the_first_step():
    sky = np.zeros((70, 16, 32), bool)
    sky[69] = True
    with pytest.raises(InputError, match="1 of 6 masks are sky all over: pair 69"):
        Batches(pairs_of(70, sky=sky), TrainingOptions(batch=2), FRAME, CPU)
    with pytest.raises(InputError, match="a heading holds numbers that are not finite: pair 3"):
        Batches(pairs_of(5, heading=np.array([0, 0, 0, np.nan, 0])), TrainingOptions(batch=2), FRAME, CPU)


@pytest.mark.parametrize("order", ["drawn", "epochs"])
def test_a_source_is_told_what_it_will_be_asked_for_and_nothing_else_changes(order):
    options = TrainingOptions(batch=3, order=order, steps=7)
    told, untold = Source(7), Source(7)
    untold.prefetch = None
    one, other = (Batches(source, options, FRAME, CPU) for source in (told, untold))
    for number in range(7):
        assert torch.equal(one.draw(number).tile, other.draw(number).tile)
    assert told.asked == untold.asked and told.ahead == told.asked[1:]
    assert one.order.bit_generator.state == other.order.bit_generator.state
