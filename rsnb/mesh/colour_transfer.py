"""One exposure for all pictures: a gain and a bias per picture and channel, from surfaces that several of them saw."""

from __future__ import annotations

import numpy as np
import torch

from rsnb.mesh.source_views import SourceViews


@torch.no_grad()
def fit_colour_transfer(views: SourceViews, neighbours: int = 4, points: int = 2000,
                        stiffness: tuple[float, float] = (0.005, 1.0), seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Gain and bias of each picture that make all of them agree where they see the same surface.

    For pictures i and j that saw one surface point: gain_i c_i + bias_i = gain_j c_j + bias_j, solved for all pictures
    together by least squares, one channel at a time, with outliers (moving things, mirrors) down-weighted in three
    rounds. The mean gain is held at 1 and the mean bias at 0, or all pictures fading to grey would agree best.

    Args:
        views: the pictures.
        neighbours: how many nearest pictures each is compared with.
        points: surface points taken from each picture.
        stiffness: weights of "gain 1" and of "bias 0" for each picture against its point pairs. Firmer for the bias: a
            far picture is softer, and low contrast looks like a low gain with a bias.
        seed: of the choice of points.

    Returns:
        gain [N, 3], bias [N, 3]: corrected = gain * colour + bias.
    """
    n = len(views)
    first, second, one, two = _pairs(views, neighbours, points, seed)
    gain, bias = np.ones((n, 3)), np.zeros((n, 3))
    if len(first) == 0:
        return gain, bias
    weight = np.ones(len(first))
    for _ in range(3):
        for channel in range(3):
            gain[:, channel], bias[:, channel] = _solve(
                n, first, second, one[:, channel], two[:, channel], weight, stiffness)
        away = ((gain[first] * one + bias[first] - gain[second] * two - bias[second]) ** 2).mean(1)
        weight = 1.0 / (1.0 + away / max(2.0 * float(np.median(away)), 1e-8))
    return gain, bias


def transfer_colours(views: SourceViews, **settings) -> np.ndarray:
    """The pictures [N, 3, H, W] float32 after `fit_colour_transfer`, cut to 0..1."""
    gain, bias = fit_colour_transfer(views, **settings)
    images = views.sources.images * gain[:, :, None, None] + bias[:, :, None, None]
    return np.clip(images, 0, 1).astype(np.float32)


def _pairs(views, neighbours, points, seed):
    """Colours of the same points in two pictures: indices [M] and [M], colours [M, 3] and [M, 3]."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(len(views)):
        rows = views.rows(i)
        index = np.flatnonzero(np.isfinite(rows[:, 7].numpy()) & (rows[:, 6].numpy() == 1))
        if len(index) == 0:
            continue
        pick = rows[rng.choice(index, min(points, len(index)), replace=False)]
        place = pick[:, 3:6].contiguous()
        toward = (place - views.centres[i]) / pick[:, 7:8]
        hits = views.scene.cast_local((place - 0.5 * toward).numpy(), toward.numpy())
        normal = torch.from_numpy(views.scene.normal[np.maximum(hits.prim, 0)])
        normal = normal * -torch.sign((normal * toward).sum(1, keepdim=True))
        order = torch.argsort((views.centres - views.centres[i]).norm(dim=1), stable=True)
        for j in order[1:neighbours + 1].tolist():
            look = views.at_points(j, place, normal)
            # colours at the ends of the scale are cut off and tell nothing about the gain
            inside = ((pick[:, :3] > 0.02) & (pick[:, :3] < 0.98) & (look.rgb > 0.02) & (look.rgb < 0.98)).all(1)
            ok = ((look.seen > 0.9) & inside).numpy()
            found.append((np.full(ok.sum(), i), np.full(ok.sum(), j), pick[:, :3].numpy()[ok], look.rgb.numpy()[ok]))
    if not found:
        return np.zeros(0, int), np.zeros(0, int), np.zeros((0, 3)), np.zeros((0, 3))
    return tuple(np.concatenate(part).astype(kind) for part, kind in zip(zip(*found, strict=True), (int, int, float,
                                                                                              float), strict=True))


def _solve(n, first, second, one, two, weight, stiffness):
    """Normal equations in (gain - 1, bias) of all pictures for one channel."""
    A, b = np.zeros((2 * n, 2 * n)), np.zeros(2 * n)
    columns = np.stack([first, n + first, second, n + second], axis=1)
    values = np.stack([one, np.ones_like(one), -two, -np.ones_like(two)], axis=1)
    right = two - one  # gain 1 and bias 0 leave this difference
    for p in range(4):
        np.add.at(b, columns[:, p], weight * values[:, p] * right)
        for q in range(4):
            np.add.at(A, (columns[:, p], columns[:, q]), weight * values[:, p] * values[:, q])
    mean = len(first)  # as heavy as all pairs together: holds the mean gain and the mean bias
    A[:n, :n] += mean / n
    A[n:, n:] += mean / n
    A[np.arange(2 * n), np.arange(2 * n)] += np.repeat(stiffness, n) * len(first) / n
    x = np.linalg.solve(A, b)
    return 1.0 + x[:n], x[n:]
