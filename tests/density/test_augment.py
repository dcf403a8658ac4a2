"""Turns of a pair against a place known in closed form: tile and panorama are evaluated anew in the turned world."""

from __future__ import annotations

import math

import pytest
import torch

from rsnb.density.augment import Turn, draw_turns, turn_headings, turn_offsets, turn_panoramas, turn_tiles
from rsnb.errors import InputError

EXTENT = 20.0
TURNS = [Turn(quarters, mirror) for quarters in range(-1, 5) for mirror in (False, True)]


def colours(xy):
    """[..., 3] colours of the ground at metres east and north [..., 2]; no symmetry whatever."""
    x, y = xy.unbind(-1)
    return torch.stack([torch.sin(0.3 * x + 0.1 * y), torch.cos(0.2 * y - 0.05 * x * y), x * x / 99 + y / 20], dim=-1)


def before(turn, xy):
    """Where a place of the turned world was: by bearing, which a turn negates (mirror) and then adds its angle to."""
    bearing, radius = torch.atan2(xy[..., 0], xy[..., 1]), xy.norm(dim=-1)
    bearing = bearing - turn.angle
    bearing = -bearing if turn.mirror else bearing
    return torch.stack([radius * torch.sin(bearing), radius * torch.cos(bearing)], dim=-1)


def tile_of(field, size=24):
    """[3, S, S] of a field of metres; row 0 north."""
    line = ((torch.arange(size, dtype=torch.float64) + 0.5) / size - 0.5) * EXTENT
    y, x = torch.meshgrid(-line, line, indexing="ij")
    return field(torch.stack([x, y], dim=-1)).permute(2, 0, 1)


def panorama_of(field, offset, heading, height=6, width=32):
    """[3, H, W]: the ground around a camera 2 m up, below the horizon; columns clockwise from the heading."""
    bearing = heading + ((torch.arange(width, dtype=torch.float64) + 0.5) / width - 0.5) * 2 * math.pi
    radius = 2.0 / torch.tan((torch.arange(height, dtype=torch.float64) + 1) / height)
    step = torch.stack([torch.sin(bearing), torch.cos(bearing)], dim=-1)
    return field(offset + radius[:, None, None] * step[None]).permute(2, 0, 1)


def turned(turn):
    return lambda xy: colours(before(turn, xy))


@pytest.mark.parametrize("turn", TURNS, ids=lambda t: f"{t.quarters}{'m' if t.mirror else ''}")
def test_quarter_turns_and_mirror_are_exact(turn):
    offset, heading = torch.tensor([3.0, -1.5], dtype=torch.float64), torch.tensor(0.4, dtype=torch.float64)
    assert torch.allclose(turn.tile(tile_of(colours)), tile_of(turned(turn)), atol=1e-9)
    moved, facing = turn.offset(offset), turn.heading(heading)
    expected = panorama_of(turned(turn), moved, facing)
    assert torch.allclose(turn.panorama(panorama_of(colours, offset, heading)), expected, atol=1e-9)
    assert bool(turn.known(24).all())


@pytest.mark.parametrize("turn", [Turn(0, False, 3, 32), Turn(1, True, -2, 32), Turn(3, False, 4, 32),
                                  Turn(2, False, 2.7, 32), Turn(1, True, -3.3, 32)],
                         ids=["3", "1m-2", "3+4", "2+2.7", "1m-3.3"])
def test_columns_are_exact_in_the_panorama_and_interpolated_on_the_tile(turn):
    offset, heading = torch.tensor([-2.0, 4.0], dtype=torch.float64), torch.tensor(-1.0, dtype=torch.float64)
    expected = panorama_of(turned(turn), turn.offset(offset), turn.heading(heading))
    assert torch.allclose(turn.panorama(panorama_of(colours, offset, heading)), expected, atol=1e-9)
    size = 64
    known = turn.known(size)
    tile, truth = turn.tile(tile_of(colours, size)), tile_of(turned(turn), size)
    # bilinear: (0.3125 m)^2 / 8 times the second derivatives, of which the cosine has the largest, 0.5^2 and 0.7^2
    inner = known & (torch.nn.functional.avg_pool2d(known[None].double(), 3, 1, 1)[0] > 0.999)
    assert float((tile - truth).abs()[:, inner].max()) < 0.3125**2 / 8 * (0.5**2 + 0.7**2)
    # where the turned square shows ground that was on the tile
    line = ((torch.arange(size, dtype=torch.float64) + 0.5) / size - 0.5) * EXTENT
    y, x = torch.meshgrid(-line, line, indexing="ij")
    assert torch.equal(known, (before(turn, torch.stack([x, y], -1)).abs() <= EXTENT / 2).all(-1))
    assert 0.8 < float(known.double().mean()) < 1


def test_a_wrong_direction_would_be_seen():
    turn, wrong = Turn(1), Turn(-1)
    assert float((wrong.tile(tile_of(colours)) - tile_of(turned(turn))).abs().max()) > 0.5
    offset, heading = torch.tensor([3.0, -1.5], dtype=torch.float64), 0.0
    panorama = panorama_of(colours, offset, heading)
    assert float((wrong.panorama(panorama) - panorama_of(turned(turn), turn.offset(offset), 0.0)).abs().max()) > 0.5


def test_east_becomes_south():
    # by hand: a clockwise quarter turn; a mark on the eastern edge of the tile, a camera 5 m east of the centre
    tile = torch.zeros(3, 3)
    tile[1, 2] = 1.0
    assert torch.equal(Turn(1).tile(tile), torch.tensor([[0.0, 0, 0], [0, 0, 0], [0, 1, 0]]))
    assert torch.allclose(Turn(1).offset(torch.tensor([5.0, 0.0, 2.0])), torch.tensor([0.0, -5.0, 2.0]), atol=1e-6)
    # looking north, east is in the third quarter of eight columns (their middle 67.5 degrees): it goes to the south
    panorama = torch.zeros(1, 8)
    panorama[0, 5] = 1.0
    assert Turn(1).panorama(panorama).argmax() == 7
    assert Turn(0, True).panorama(panorama).argmax() == 2  # and mirrored to the west


def test_batches_turn_one_by_one_and_in_any_kind():
    turns = [Turn(1), Turn(2, True), Turn()]
    volumes, depth = torch.rand(3, 5, 8, 8), torch.rand(3, 6, 16)
    assert torch.equal(turn_tiles(turns, volumes)[1], turns[1].tile(volumes[1]))
    assert torch.equal(turn_tiles(turns, volumes)[2], volumes[2])
    sky = depth > 0.5
    assert torch.equal(turn_panoramas(turns, sky), turn_panoramas(turns, depth) > 0.5)
    assert torch.equal(turn_headings(turns, torch.tensor([0.1, 0.2, 0.3])), torch.tensor([0.1, -0.2, 0.3]))
    offsets = turn_offsets(turns, torch.tensor([[1.0, 2.0]] * 3))
    assert torch.allclose(offsets, torch.tensor([[2.0, -1.0], [1.0, -2.0], [1.0, 2.0]]), atol=1e-6)


def test_draws_take_all_turns_and_come_from_the_generator():
    draws = [draw_turns(400, torch.Generator().manual_seed(5)) for _ in range(2)]
    assert draws[0] == draws[1]
    counts = {turn: draws[0].count(turn) for turn in set(draws[0])}
    assert len(counts) == 8 and min(counts.values()) > 25  # 50 expected, standard deviation 6.6
    assert not any(turn.mirror for turn in draw_turns(50, mirror=False))
    anywhere = draw_turns(2000, torch.Generator().manual_seed(1), width=32, whole=False)
    share = torch.tensor([turn.angle % (2 * math.pi) for turn in anywhere]).histc(16, 0, 2 * math.pi) / 2000
    assert float((share - 1 / 16).abs().max()) < 0.02  # standard deviation 0.0054
    assert all(abs(turn.beyond) <= math.pi / 32 for turn in anywhere) and len({turn.beyond for turn in anywhere}) > 1900
    angles = {turn.quarters * 8 + turn.columns for turn in draw_turns(2000, torch.Generator().manual_seed(1), width=32)}
    assert {angle % 32 for angle in angles} == set(range(32))


def test_faults():
    with pytest.raises(InputError, match="unknown width"):
        Turn(0, False, 3)
    with pytest.raises(InputError, match="multiple of 4"):
        Turn(1).panorama(torch.rand(4, 6))
    assert Turn(2).panorama(torch.rand(4, 6)).shape == (4, 6)
    with pytest.raises(InputError, match="cannot be rolled"):
        Turn(0, False, 1, 32).panorama(torch.rand(4, 64))
