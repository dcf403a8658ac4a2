"""The facade designs: what each looks like and how large its bays and storeys are."""

from __future__ import annotations

from dataclasses import dataclass

BAYS, STOREYS = 5, 3  # per texture
GROUND_STOREY_M = 4.0


@dataclass(frozen=True)
class Facade:
    """A design. Lengths in metres, colours 0..255.

    Attributes:
        wall: "plaster", "brick", "stone", "panel", "timber", "metal", "glass".
        rgb: wall colour (the material may tint it).
        bay_m, storey_m: size of one bay.
        window: (width, height, sill above the floor).
        frame, trim: colours of window frames and of surrounds and bands.
        panes: (columns, rows) of a window.
        features: any of "surround", "band", "arch", "shutters", "balcony", "french", "pilaster", "grid", "lintel".
        tints: material factors that give colour variants.
    """

    wall: str
    rgb: tuple[int, int, int]
    bay_m: float
    storey_m: float
    window: tuple[float, float, float]
    frame: tuple[int, int, int] = (240, 238, 232)
    trim: tuple[int, int, int] = (232, 226, 214)
    panes: tuple[int, int] = (2, 2)
    features: tuple[str, ...] = ()
    tints: tuple[tuple[float, float, float], ...] = ((1, 1, 1),)


_WARM = ((1, 1, 1), (1.0, 0.95, 0.86), (0.94, 0.97, 1.0), (1.0, 0.9, 0.84))
FACADES = {
    "stucco": Facade("plaster", (226, 208, 176), 3.0, 3.4, (1.25, 1.95, 0.75), panes=(2, 3),
                     features=("surround", "band", "lintel"), tints=_WARM),
    "ochre": Facade("plaster", (214, 180, 128), 2.9, 3.3, (1.15, 1.8, 0.8), panes=(2, 2),
                    features=("surround", "band"), tints=((1, 1, 1), (0.98, 0.88, 0.82), (1.02, 1.04, 1.0))),
    "brick_red": Facade("brick", (158, 88, 68), 3.0, 3.2, (1.3, 1.7, 0.85), panes=(2, 2), trim=(214, 204, 190),
                        features=("lintel",), tints=((1, 1, 1), (0.9, 0.86, 0.86), (1.1, 1.12, 1.1))),
    "brick_dark": Facade("brick", (112, 78, 68), 3.2, 3.3, (1.5, 1.9, 0.7), frame=(60, 62, 66), trim=(176, 166, 154),
                         panes=(3, 2), features=("lintel", "band"), tints=((1, 1, 1), (1.15, 1.05, 0.98))),
    "stone": Facade("stone", (198, 190, 176), 3.1, 3.6, (1.3, 2.2, 0.65), frame=(96, 82, 68), panes=(2, 3),
                    features=("surround", "pilaster", "lintel"), tints=((1, 1, 1), (0.92, 0.93, 0.96))),
    "art_nouveau": Facade("plaster", (188, 196, 178), 3.2, 3.5, (1.4, 2.1, 0.7), frame=(250, 248, 240), panes=(3, 3),
                          features=("surround", "arch", "band"),
                          tints=((1, 1, 1), (1.1, 0.99, 0.95), (1.08, 1.03, 0.93))),
    "mint": Facade("plaster", (184, 196, 186), 2.8, 3.1, (1.2, 1.6, 0.85), panes=(2, 1), features=("shutters",),
                   tints=((1, 1, 1), (1.08, 0.97, 0.92), (1.12, 1.06, 0.95))),
    "plaster_white": Facade("plaster", (232, 230, 224), 3.3, 3.0, (1.7, 1.45, 0.9), frame=(84, 88, 92), panes=(2, 1),
                            features=(), tints=((1, 1, 1), (0.98, 0.94, 0.86), (0.86, 0.9, 0.94))),
    "timber": Facade("timber", (190, 122, 86), 2.9, 2.9, (1.2, 1.35, 0.85), panes=(2, 2), trim=(244, 242, 236),
                     features=("surround",), tints=((1, 1, 1), (0.86, 0.98, 1.1), (1.2, 1.3, 1.1), (0.84, 1.1, 0.96))),
    "panel": Facade("panel", (200, 196, 188), 3.4, 2.9, (1.9, 1.4, 0.85), frame=(236, 236, 232), panes=(3, 1),
                    features=("grid",), tints=((1, 1, 1), (0.93, 0.97, 1.02), (1.03, 0.96, 0.86))),
    "balcony": Facade("plaster", (222, 220, 214), 3.6, 3.0, (1.5, 1.5, 0.85), frame=(70, 74, 80), panes=(2, 1),
                      trim=(200, 112, 72), features=("balcony",), tints=((1, 1, 1), (0.98, 0.93, 0.84))),
    "loft": Facade("brick", (140, 82, 64), 4.0, 3.8, (2.9, 2.6, 0.7), frame=(52, 58, 62), panes=(5, 4),
                   features=("pilaster",), tints=((1, 1, 1), (1.22, 1.18, 1.1))),
    "office_stone": Facade("stone", (210, 204, 194), 2.6, 3.5, (1.5, 2.5, 0.5), frame=(58, 60, 64), panes=(1, 2),
                           features=("pilaster", "band"), tints=((1, 1, 1), (0.9, 0.86, 0.82))),
    "cladding": Facade("metal", (168, 176, 180), 5.0, 6.5, (3.4, 1.1, 4.4), frame=(70, 76, 82), panes=(4, 1),
                       trim=(120, 126, 130),
                       tints=((1, 1, 1), (0.72, 0.84, 0.96), (1.04, 0.8, 0.66), (0.8, 0.96, 0.84))),
    "church": Facade("stone", (206, 198, 182), 4.6, 9.0, (1.7, 5.6, 1.8), frame=(92, 88, 84), trim=(228, 222, 208),
                     panes=(3, 8), features=("surround", "arch", "pilaster")),
    "curtain": Facade("glass", (120, 146, 166), 1.6, 3.6, (1.5, 2.5, 0.9), frame=(198, 204, 208), panes=(1, 1),
                      features=(), tints=((1, 1, 1), (0.92, 0.98, 1.06))),
    "curtain_green": Facade("glass", (106, 140, 136), 3.0, 3.5, (2.8, 2.2, 1.0), frame=(62, 68, 72), panes=(2, 1),
                            features=("fins",), tints=((1, 1, 1), (1.1, 1.04, 0.96))),
}
