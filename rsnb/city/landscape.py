"""The country around the city in closed form: fields, forest, water, roads and a belt of houses at any point.

Every point (x, y) has a key that names the thing it lies on (a parcel, a forest stand, one roof), a height above the
ground and a small variation of brightness. Nothing is stored: the same point gives the same answer at any resolution.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rsnb.city.seasons import SPECTRA, SurfaceTable, between, days_since_epoch

KINDS = ("cereal", "meadow", "late_crop", "rape", "fallow", "conifer", "deciduous", "water", "road", "track", "roof",
         "lawn", "garden_tree", "yard", "reeds")
(CEREAL, MEADOW, LATE_CROP, RAPE, FALLOW, CONIFER, DECIDUOUS, WATER, ROAD, TRACK, ROOF, LAWN, GARDEN_TREE, YARD,
 REEDS) = range(len(KINDS))
_KIND_BITS = 4
_ESTATE_M = (640.0, 560.0)
_LOT_M = (26.0, 36.0)
_STREET_M = (4 * _LOT_M[0], 2 * _LOT_M[1] + 7.0)  # a street every four lots one way, every two the other
_LAKE = 0.75
_CHANGES_FROM, _CHANGES_TO = days_since_epoch("2021-10-01"), days_since_epoch("2022-10-01")


@dataclass(frozen=True)
class Landscape:
    """The surroundings of a place.

    Attributes:
        seed: of all random numbers.
        tile: (x_min, y_min, x_max, y_max) of the district in the middle, model metres: roads run along its sides and
            outward, houses stand around it. None: open country.
        suburb_m: how far the houses reach from the tile.
    """

    seed: int
    tile: tuple[float, float, float, float] | None = None
    suburb_m: float = 300.0

    def __call__(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What lies at x, y [...] model metres: key int64, height above the ground float32, brightness float32."""
        x, y = np.asarray(x, float), np.asarray(y, float)
        key, height, brightness = self._fields(x, y)
        for cover in (self._forest, self._suburb, self._water, self._roads):
            where, new_key, new_height, new_brightness = cover(x, y)
            key[where], height[where], brightness[where] = new_key, new_height, new_brightness
        return key, height, brightness

    def _distance(self, x, y) -> np.ndarray:
        """Distance to the tile (max norm), metres; far everywhere in open country."""
        if self.tile is None:
            return np.full(np.shape(x), 1e6)
        x0, y0, x1, y1 = self.tile
        return np.maximum(np.maximum(x0 - x, x - x1), np.maximum(y0 - y, y - y1))

    def _fields(self, x, y):
        u, v = x + self._waves(x, y, 1, (900, 1700), 70.0), y + self._waves(x, y, 2, (900, 1700), 70.0)
        column, row = np.floor(u / _ESTATE_M[0]).astype(np.int64), np.floor(v / _ESTATE_M[1]).astype(np.int64)
        inside_u, inside_v = u - column * _ESTATE_M[0], v - row * _ESTATE_M[1]
        rim = np.minimum(np.minimum(inside_u, _ESTATE_M[0] - inside_u), np.minimum(inside_v, _ESTATE_M[1] - inside_v))
        turn = np.pi * self._random(3, column, row)
        along, across = np.cos(turn) * u + np.sin(turn) * v, np.cos(turn) * v - np.sin(turn) * u
        strip = np.floor(along / (60.0 + 110.0 * self._random(4, column, row))).astype(np.int64)
        length = 190.0 + 180.0 * self._random(5, column, row)
        part = np.floor(across / length + self._random(6, column, row, strip)).astype(np.int64)
        choice = self._random(7, column, row, strip, part)
        kind = np.searchsorted((0.36, 0.62, 0.77, 0.86), choice)  # cereal, meadow, late crop, rape, fallow
        key = self._key(kind, column, row, strip, part)
        tramline = np.where(np.abs(along % 18.0 - 9.0) < 1.0, -0.05, 0.0) * (kind != MEADOW)
        brightness = 1.0 + tramline + self._waves(x, y, 8, (45, 240), 0.05)
        track, hedge = rim < 2.5, (rim >= 2.5) & (rim < 7.0) & (self._random(9, column, row) < 0.6)
        key = np.where(track, self._key(TRACK, column, row), np.where(hedge, self._key(DECIDUOUS, column, row), key))
        height = np.where(hedge, 5.0 * self._crown(x, y)[0], 0.0)
        return key, height.astype(np.float32), brightness.astype(np.float32)

    def _forest(self, x, y):
        noise = self._waves(x, y, 11, (420, 2100), 1.0)
        where = (noise > 0.34) & (self._distance(x, y) > 40.0)
        x, y, noise = x[where], y[where], noise[where]
        stand = np.floor(x / 210.0 + 0.3 * np.sin(y / 90.0)).astype(np.int64), np.floor(
            y / 170.0 + 0.3 * np.sin(x / 110.0)).astype(np.int64)
        conifer = self._random(12, *stand) < 0.62
        crown, tree = self._crown(x, y)
        brightness = (0.62 + 0.38 * crown) * (0.88 + 0.24 * tree) / 0.86
        edge = np.clip((noise - 0.34) / 0.05, 0.3, 1.0)
        height = 16.0 * edge * (0.6 + 0.4 * crown)
        return where, self._key(np.where(conifer, CONIFER, DECIDUOUS), *stand), height, brightness

    def _crown(self, x, y) -> tuple[np.ndarray, np.ndarray]:
        """Shape 0..1 of the crown over a point and a random number of its tree; crowns stand in a jittered grid."""
        step = 6.4
        x, y = x + self._waves(x, y, 15, (26, 80), 2.6), y + self._waves(x, y, 16, (26, 80), 2.6)  # no straight rows
        row = np.floor(y / step).astype(np.int64)
        column = np.floor(x / step + 0.5 * (row % 2)).astype(np.int64)
        tree = self._random(13, column, row)
        dx = x - (column - 0.5 * (row % 2) + 0.5) * step - 1.1 * (tree - 0.5) * 2
        dy = y - (row + 0.5) * step - 1.1 * (self._random(14, column, row) - 0.5) * 2
        reach = np.where(tree < 0.05, 1.0, 2.4 + 1.4 * tree)
        return np.clip(1.0 - 0.75 * (dx * dx + dy * dy) / reach**2, 0.12, 1.0), tree

    def _water(self, x, y):
        lake = self._waves(x, y, 21, (520, 3600), 1.0) - 3.0 * np.exp(-np.maximum(self._distance(x, y), 0) / 250.0)
        middle = 0.0 if self.tile is None else self.tile[1] - 480.0
        bend = 150.0 * np.sin(x / 470.0 + self.seed) + 45.0 * np.sin(x / 137.0 + 2.0 * self.seed)
        river = np.abs(y - middle - bend) - 12.0 - 4.0 * np.sin(x / 210.0)
        # metres inside the shore, about
        depth = np.maximum(np.where(lake > _LAKE, 30.0, (lake - _LAKE) * 400.0), -river)
        where = depth > -5.0
        wet = depth[where] > 0
        ripple = 1.0 + self._waves(x, y, 22, (60, 900), 0.015)[where]
        key = np.where(wet, self._key(WATER, np.zeros(wet.shape, np.int64)), self._key(REEDS, np.zeros_like(wet, int)))
        return where, key, np.where(wet, 0.0, 1.0), np.where(wet, ripple, 1.0)

    def _suburb(self, x, y):
        distance = self._distance(x, y)
        where = distance < self.suburb_m + np.clip(self._waves(x, y, 31, (350, 900), 70.0), -150.0, 60.0)
        if not where.any():
            return where, 0, 0.0, 1.0
        x, y = x[where], y[where]
        loose = np.clip(distance[where] / 150.0, 0.0, 1.0)  # streets bend, but not where they meet the boulevards
        bend = loose * self._waves(x, y, 37, (260, 700), 16.0), loose * self._waves(x, y, 38, (260, 700), 16.0)
        x, y = x + bend[0] - self.tile[0], y + bend[1] - self.tile[1]
        column, row = np.floor(x / _STREET_M[0]).astype(np.int64), np.floor(y / _STREET_M[1]).astype(np.int64)
        in_x, in_y = x - column * _STREET_M[0] - 3.5, y - row * _STREET_M[1] - 3.5
        street = (in_x < 0) | (in_x > _STREET_M[0] - 7.0) | (in_y < 0) | (in_y > 2 * _LOT_M[1])
        wide = (_STREET_M[0] - 7.0) / 4
        lot = (np.clip(in_x // wide, 0, 3).astype(np.int64), np.clip(in_y // _LOT_M[1], 0, 1).astype(np.int64))
        name = (column, row, *lot)
        a, b = in_x - lot[0] * wide - wide / 2, in_y - lot[1] * _LOT_M[1] - _LOT_M[1] / 2
        b = np.where(lot[1] == 0, -b, b)  # the street lies at b = +half, the garden at -half
        draw = [self._random(32 + k, *name) for k in range(5)]
        a_house, b_house = a - 4.0 * (draw[0] - 0.5), b - 5.0 - 3.0 * (draw[1] - 0.5)
        house = (np.abs(a_house) < 4.5 + 2.5 * draw[2]) & (np.abs(b_house) < 4.2 + 1.6 * draw[3]) & (draw[4] < 0.93)
        ridge = 7.2 - 0.62 * np.abs(b_house)
        tree_a, tree_b = a - 16.0 * (draw[1] - 0.5), b + 9.0 + 8.0 * (draw[2] - 0.5)
        tree_r2 = (tree_a**2 + tree_b**2) / (2.2 + 2.2 * draw[3]) ** 2
        old_a, old_b = np.abs(a) - 9.5, b - 14.0 + 4.0 * draw[4]  # two more at the street
        old_r2 = (old_a**2 + old_b**2) / (1.6 + 2.0 * draw[0]) ** 2
        tree_r2 = np.where(draw[0] < 0.85, tree_r2, 9.0)
        tree_r2 = np.minimum(tree_r2, np.where(draw[3] < 0.6, old_r2, 9.0))
        tree = tree_r2 < 1.0
        drive = (np.abs(a_house - 6.5 - 2.5 * draw[2]) < 1.5) & (b > 0)
        kind = np.select([street, house, tree, drive], [ROAD, ROOF, GARDEN_TREE, YARD], LAWN)
        zero = np.zeros_like(column)
        key = np.where(street, self._key(ROAD, zero), self._key(kind, *name))
        height = np.select([street, house, tree], [0.0, ridge, 7.0 * np.sqrt(np.maximum(1.0 - tree_r2, 0))], 0.0)
        slope_light = np.where(house, 1.0 + 0.10 * np.sign(b_house) * np.where(lot[1] == 0, 1, -1), 1.0)
        return where, key, height, slope_light

    def _roads(self, x, y):
        if self.tile is None:
            bend = 260.0 * np.sin(y / 900.0 + self.seed)
            off = np.abs((x - bend) % 1500.0 - 750.0)
            where = off < 4.0
            return where, self._key(ROAD, np.ones(int(where.sum()), np.int64)), 0.0, 1.0
        x0, y0, x1, y1 = self.tile
        away_x = np.maximum(np.maximum(x0 - x, x - x1), 0.0)
        away_y = np.maximum(np.maximum(y0 - y, y - y1), 0.0)
        bend_y = 90.0 * np.sin(away_y / 420.0) * np.minimum(away_y / 900.0, 1.0)
        bend_x = 90.0 * np.sin(away_x / 380.0) * np.minimum(away_x / 900.0, 1.0)
        upright = np.minimum(np.abs(x - x0 + bend_y), np.abs(x - x1 - bend_y))
        level = np.minimum(np.abs(y - y0 + bend_x), np.abs(y - y1 - bend_x))
        off = np.minimum(upright, level)
        where = off < 6.5
        return where, self._key(ROAD, np.ones(int(where.sum()), np.int64)), 0.0, 1.0

    def _waves(self, x, y, salt: int, lengths: tuple[float, float], size: float) -> np.ndarray:
        """A smooth random field of unit spread times `size`: seven plane waves with lengths in a range, metres."""
        rng = np.random.default_rng([self.seed, salt])
        count = 7
        length = np.exp(np.linspace(*np.log(lengths), count)) * rng.uniform(0.9, 1.1, count)
        angle, phase = rng.uniform(0, 2 * np.pi, count), rng.uniform(0, 2 * np.pi, count)
        weight = length**0.7
        weight *= size * np.sqrt(2 / (weight**2).sum())
        x, y = (np.asarray(v - c, np.float32) for v, c in ((x, 6250.0), (y, 4750.0)))
        total = np.zeros(x.shape, np.float32)
        for k in range(count):
            wave = 2 * np.pi / length[k]
            total += np.float32(weight[k]) * np.cos(
                np.float32(wave * np.cos(angle[k])) * x + np.float32(wave * np.sin(angle[k])) * y
                + np.float32(phase[k]))
        return total

    def _random(self, salt: int, *numbers) -> np.ndarray:
        """Uniform 0..1 of whole numbers, the same for the same numbers."""
        return (self._hash(salt, *numbers) >> np.uint64(11)).astype(np.float64) / 2.0**53

    def _key(self, kind, *numbers) -> np.ndarray:
        """[...] int64 key: kind in the low bits, a hash of the numbers above."""
        high = self._hash(0, *numbers) >> np.uint64(2 + _KIND_BITS)
        return (high << np.uint64(_KIND_BITS)).astype(np.int64) + np.asarray(kind, np.int64)

    def _hash(self, salt: int, *numbers) -> np.ndarray:
        """[...] uint64, by the finaliser of splitmix64 (Steele, Lea, Flood 2014) over the numbers in turn."""
        mask = (1 << 64) - 1
        state = np.uint64((self.seed * 0x9E3779B97F4A7C15 + salt * 0xD1342543DE82EF95) & mask)
        for number in numbers:
            state = (np.asarray(number, np.int64).astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)) ^ state
            state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            state = state ^ (state >> np.uint64(31))
        return state


def landscape_table(keys: np.ndarray) -> SurfaceTable:
    """One row for each key [N] that `Landscape` gave, by its kind and the random bits in it."""
    kind = keys & ((1 << _KIND_BITS) - 1)
    bits = (keys >> _KIND_BITS).astype(np.uint64)
    draw = [((bits >> np.uint64(shift)) & np.uint64(0x1FFF)).astype(float) / 0x2000 for shift in (0, 13, 26, 39)]
    s = SPECTRA
    looks = {  # kind: (winter, summer, peak day, its spread)
        CEREAL: ("soil", "crop", 184, 14), MEADOW: ("dry_grass", "grass", 176, 24),
        LATE_CROP: ("dark_soil", "crop", 214, 14), RAPE: ("soil", "flowering_crop", 172, 10),
        FALLOW: ("soil", "stubble", 190, 40), CONIFER: ("cold_needles", "needles", 196, 10),
        DECIDUOUS: ("bare_twigs", "leaves", 194, 16), WATER: ("water", "green_water", 215, 0),
        ROAD: ("asphalt", "asphalt", 180, 0), TRACK: ("gravel", "gravel", 180, 0),
        ROOF: ("dark_roof", "dark_roof", 0, 0),
        LAWN: ("dry_grass", "grass", 182, 24), GARDEN_TREE: ("bare_twigs", "leaves", 194, 20),
        YARD: ("gravel", "gravel", 180, 0), REEDS: ("dry_grass", "grass", 205, 6)}
    winter = np.stack([s[looks[k][0]] for k in range(len(KINDS))])[kind]
    summer = np.stack([s[looks[k][1]] for k in range(len(KINDS))])[kind]
    roof = np.stack([s["dark_roof"], s["clay_roof"], 0.62 * s["metal_roof"], 0.8 * s["clay_roof"],
                     1.5 * s["dark_roof"]])
    winter = np.where((kind == ROOF)[:, None], roof[(draw[3] * 5).astype(int)], winter)
    summer = np.where((kind == ROOF)[:, None], winter, summer)
    peak = np.array([looks[k][2] for k in range(len(KINDS))])[kind]
    spread = np.array([looks[k][3] for k in range(len(KINDS))])[kind]
    still = np.isin(kind, (WATER, ROAD, REEDS))
    gain = np.where(still, 1.0, 0.86 + 0.28 * draw[1])
    # the soil of a region varies less than its crops: gain acts on both, which is near enough
    cover = np.select([kind == WATER, np.isin(kind, (ROAD, TRACK, ROOF, YARD, FALLOW))], [6, 5], 4).astype(np.uint8)
    table = between(winter, summer, peak_day=peak + spread * (2 * draw[0] - 1), gain=gain,
                    trend=np.where(still, 0.0, 0.03 * (draw[2] - 0.5)))
    table.cover[:] = cover
    harvested = np.isin(kind, (CEREAL, LATE_CROP, RAPE))
    ripe = np.select([kind == CEREAL, kind == LATE_CROP], [228.0, 262.0], 222.0) + 20 * (draw[3] - 0.5)
    table.harvest[:] = np.where(harvested, ripe, np.nan)
    table.sowing[:] = np.where(harvested, 96.0 + 14 * draw[2], np.nan)
    table.stubble[:] = (s["stubble"] * np.where(draw[2] < 0.6, 1.0, 0.72)[:, None]) * gain[:, None]
    built_on = np.isin(kind, (CEREAL, MEADOW, LATE_CROP, FALLOW, ROOF)) & (draw[2] > 0.95)
    table.change_day[:] = np.where(built_on, np.floor(_CHANGES_FROM + draw[1] * (_CHANGES_TO - _CHANGES_FROM)), np.inf)
    table.changed[:] = np.where((kind == ROOF)[:, None], s["metal_roof"], s["gravel"])
    return table
