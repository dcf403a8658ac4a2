"""A surface field: the implicit appearance of a mesh, learned from street views in seconds.

colour(x) = mesh colour + MLP(hash features of the surface point, mesh colour): the mesh gives geometry and a first
guess, the field learns what the pictures say beyond it. Every picture is cast through the mesh once; a training step is
then a small batch of (point, mesh colour, pixel width, pixel colour). Pixels are area averages, so points carry the
width of their pixel on the surface and fine levels fade for far ones (see `hash_grid`); without that, more training
makes new views worse.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from rsnb.errors import InputError
from rsnb.mesh.camera_rays import sample_offsets
from rsnb.mesh.hash_grid import HashGrid
from rsnb.mesh.image_based import NovelView
from rsnb.mesh.renderer import RenderOptions, checked_pose, render
from rsnb.mesh.scene import RayScene
from rsnb.mesh.source_views import SKY_VIEWS, SourceViews, local_rays, sky_from_views
from rsnb.scenes import PosedImages

MESH_OPTIONS = RenderOptions(supersample=2)  # the mesh colour must be an area average, as the pictures are


@dataclass(frozen=True)
class SurfaceFieldOptions:
    """How the field is built and trained.

    Attributes:
        levels, log2_table, features, coarsest_m, finest_m: of the hash grid.
        hidden: width of the two hidden layers.
        direction: the MLP also sees the viewing direction (reflections; needs many views, off by default).
        footprint: fade levels that are finer than a pixel; False is the plain point-sampled grid.
        steps, batch: training; `steps` is the most, see `patience`.
        learning_rate: Adam's for the tables; the MLP's is a fifth. Both fall to a twentieth along a cosine.
        huber: colour error above which a pixel pulls no harder (things that the mesh does not have).
        table_decay: pull of each grid's mean square towards 0 (as in Zip-NeRF). Rows that few rays reach, or that far
            places share by their hash, would else keep noise: a lower error on trained rays, speckles on new ones.
        held_out: share of the rays that is only used to decide when to stop.
        check_every, patience: steps between looks at the held-out rays; looks without a gain before stopping.
        seed: of start values and batches.
    """

    levels: int = 6
    log2_table: int = 17
    features: int = 2
    coarsest_m: float = 4.0
    finest_m: float = 0.12
    hidden: int = 48
    direction: bool = False
    footprint: bool = True
    steps: int = 500
    batch: int = 4096
    learning_rate: float = 2e-2
    huber: float = 0.2
    table_decay: float = 2.0
    held_out: float = 0.03
    check_every: int = 50
    patience: int = 3
    seed: int = 0

    def __post_init__(self):
        for name in ("levels", "log2_table", "features", "hidden", "steps", "batch", "check_every", "patience"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise InputError(f"{name} is {value!r}, expected a whole number above 0", where="SurfaceFieldOptions")
        if not 0 < self.held_out < 0.5 or not 0 < self.finest_m <= self.coarsest_m:
            raise InputError("held_out must be in (0, 0.5) and finest_m no larger than coarsest_m",
                             where="SurfaceFieldOptions")


@dataclass(frozen=True)
class SurfaceSamples:
    """Points of a surface as pictures saw them; all float32, N rows.

    Attributes:
        points: [N, 3] metres relative to the scene's centre.
        mesh_rgb: [N, 3] the mesh's colour there, as rendered for the same pixel.
        directions: [N, 3] unit, from the camera.
        width_m: [N] metres of surface that the pixel covers (geometric mean of along and across).
        rgb: [N, 3] the picture's colour.
    """

    points: Tensor
    mesh_rgb: Tensor
    directions: Tensor
    width_m: Tensor
    rgb: Tensor

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, index) -> SurfaceSamples:
        return SurfaceSamples(*(getattr(self, name)[index] for name in self.__dataclass_fields__))


def surface_samples(views: SourceViews, mesh_options: RenderOptions | None = None) -> SurfaceSamples:
    """Every pixel of every source that shows a surface and no silhouette."""
    options = replace(mesh_options or MESH_OPTIONS, channels=("rgb",))
    parts = []
    for index in range(len(views)):
        camera, pose, rows = views.cameras[index], views.sources.world_to_cam[index], views.rows(index)
        colours = torch.from_numpy(views.sources.images[index].reshape(3, -1).T.copy())
        mesh_rgb = torch.from_numpy(render(views.scene, camera, pose, options).rgb.reshape(3, -1).T.copy())
        surface = _surface(views.scene, camera, pose, (0.5, 0.5))
        use = rows[surface.index, 6] == 1
        keep = surface.index[use]
        parts.append(SurfaceSamples(surface.points[use], mesh_rgb[keep], surface.directions[use], surface.width_m[use],
                                    colours[keep]))
    return SurfaceSamples(*(torch.cat([getattr(p, name) for p in parts]) for name in parts[0].__dataclass_fields__))


class SurfaceField(torch.nn.Module):
    """The field; make one with `SurfaceField.train_on(scene, sources)`."""

    def __init__(self, options: SurfaceFieldOptions):
        super().__init__()
        self.options = options
        self.grid = HashGrid(options.levels, options.log2_table, options.features, options.coarsest_m, options.finest_m,
                             options.seed)
        width = self.grid.out_features + 3 + 3 * options.direction
        generator = torch.Generator().manual_seed(options.seed + 1)
        self.layers = torch.nn.ModuleList(
            [_linear(width, options.hidden, generator), _linear(options.hidden, options.hidden, generator),
             _linear(options.hidden, 3, generator, gain=0.1)])
        self.history: list[tuple[int, float]] = []  # (step, held-out mean squared error)
        self.views: SourceViews | None = None  # for the sky

    def forward(self, points: Tensor, mesh_rgb: Tensor, directions: Tensor, width_m: Tensor) -> Tensor:
        """Colours [N, 3] (not cut to 0..1); see `SurfaceSamples` for the arguments."""
        # features are of the order of 0.1 after training; the mesh colour is centred to the same order
        parts = [10.0 * self.grid(points, width_m if self.options.footprint else None), mesh_rgb - 0.5]
        if self.options.direction:
            parts.append(directions)
        x = torch.cat(parts, dim=1)
        for layer in self.layers[:-1]:
            x = torch.relu(layer(x))
        return mesh_rgb + self.layers[-1](x)

    @classmethod
    def train_on(cls, scene: RayScene, sources: PosedImages, options: SurfaceFieldOptions | None = None,
                 progress: bool = False, samples: SurfaceSamples | None = None) -> SurfaceField:
        """Learn the field of a mesh from posed pictures.

        Args:
            scene: the mesh.
            sources: the pictures to learn from, and no others.
            options: see `SurfaceFieldOptions`.
            progress: show a bar.
            samples: of these sources, where they have been made already.

        Raises:
            InputError: no picture sees the mesh.
        """
        views = SourceViews(scene, sources)
        field = cls(options or SurfaceFieldOptions())
        field.fit(surface_samples(views) if samples is None else samples, progress)
        field.views = views
        return field

    def fit(self, samples: SurfaceSamples, progress: bool = False) -> None:
        """Train on samples; keeps the weights that did best on held-out rays. `history` tells the course."""
        options = self.options
        if len(samples) < 100:
            raise InputError(f"the pictures show the mesh in {len(samples)} pixels only", where="SurfaceField",
                             mend="Check that poses and mesh share one coordinate system")
        generator = torch.Generator().manual_seed(options.seed)
        order = torch.randperm(len(samples), generator=generator)
        n_held = max(50, min(int(options.held_out * len(samples)), 20_000))
        held, train = samples[order[:n_held]], order[n_held:]
        # eps is large on purpose: Adam's step is as long for a row that one ray touched once as for any other, and a
        # gradient of such a row is of the order of 1e-5
        optimiser = torch.optim.Adam(
            [{"params": [self.grid.table], "lr": options.learning_rate},
             {"params": self.layers.parameters(), "lr": options.learning_rate / 5}], betas=(0.9, 0.99), eps=1e-5)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
            optimiser, options.steps, eta_min=options.learning_rate / 20)
        best, best_error, stale = None, float("inf"), 0
        for step in _bar(options.steps, progress):
            batch = samples[train[torch.randint(len(train), (options.batch,), generator=generator)]]
            loss = torch.nn.functional.huber_loss(self._colours(batch), batch.rgb, delta=options.huber)
            loss = loss + options.table_decay * options.levels * self.grid.table.square().mean()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
            if (step + 1) % options.check_every == 0 or step + 1 == options.steps:
                error = float(((self.evaluate(held) - held.rgb) ** 2).mean())
                self.history.append((step + 1, error))
                if not np.isfinite(error):
                    raise InputError("training did not converge", where="SurfaceField", mend="Lower learning_rate")
                stale = 0 if error < best_error else stale + 1
                if error < best_error:
                    best, best_error = copy.deepcopy(self.state_dict()), error
                if stale >= options.patience:
                    break
        self.load_state_dict(best)

    def _colours(self, samples: SurfaceSamples) -> Tensor:
        return self(samples.points, samples.mesh_rgb, samples.directions, samples.width_m)

    @torch.no_grad()
    def evaluate(self, samples: SurfaceSamples, batch: int = 1 << 15) -> Tensor:
        """Colours [N, 3] in 0..1, a batch at a time."""
        return torch.cat([self._colours(samples[slice(start, start + batch)]).clamp(0, 1)
                          for start in range(0, len(samples), batch)])

    @torch.no_grad()
    def render(self, scene: RayScene, camera, world_to_cam: np.ndarray, mesh_options: RenderOptions | None = None,
               supersample: int = 1) -> NovelView:
        """A new view: the mesh's, with the field's colours; the sky by direction from the training pictures.

        Args:
            scene: the mesh that the field was trained on.
            camera, world_to_cam: of the view.
            mesh_options: how the mesh colour is rendered; as in training (default: supersample 2).
            supersample: surface points a pixel and axis; 1 relies on the footprint alone, 2 smooths silhouettes.
        """
        pose = checked_pose(world_to_cam)
        mesh = render(scene, camera, pose, mesh_options or MESH_OPTIONS)
        mesh_rgb = torch.from_numpy(mesh.rgb.reshape(3, -1).T.copy())
        total, filled = torch.zeros_like(mesh_rgb), torch.zeros(len(mesh_rgb))
        offsets = sample_offsets(supersample) if supersample > 1 else [(0.5, 0.5)]
        for offset in offsets:
            surface = _surface(scene, camera, pose, offset)
            rgb = mesh_rgb.clone()
            if len(surface.index):
                samples = SurfaceSamples(surface.points, mesh_rgb[surface.index], surface.directions,
                                         surface.width_m / supersample, surface.points)
                rgb[surface.index] = self.evaluate(samples)
                filled[surface.index] += 1 / len(offsets)
            if self.views is not None and len(surface.sky):
                sky, seen = sky_from_views(self.views, surface.sky_directions, self.views.nearest(pose, SKY_VIEWS))
                rgb[surface.sky] = torch.where(seen[:, None] > 0, sky, rgb[surface.sky])
            total += rgb / len(offsets)
        shape = (camera.height, camera.width)
        return NovelView(total.T.reshape(3, *shape).clamp(0, 1).numpy(), mesh.rgb, filled.reshape(shape).numpy(),
                         mesh.depth)


@dataclass(frozen=True)
class _Surface:
    index: Tensor  # [M] pixels that show the mesh
    points: Tensor  # [M, 3]
    directions: Tensor  # [M, 3]
    width_m: Tensor  # [M]
    sky: Tensor  # [S] pixels that do not
    sky_directions: Tensor  # [S, 3]


def _surface(scene: RayScene, camera, pose: np.ndarray, offset: tuple[float, float]) -> _Surface:
    origins, directions, width_at_0, width_per_m = local_rays(scene, camera, pose, offset)
    hits = scene.cast_local(origins, directions)
    index, sky = np.flatnonzero(hits.prim >= 0), np.flatnonzero(hits.prim < 0)
    distance, along = hits.distance[index], directions[index]
    start = origins if len(origins) == 1 else origins[index]
    cosine = np.abs((along * scene.normal[hits.prim[index]]).sum(1)).clip(0.05)
    width = (width_at_0[index] + width_per_m[index] * distance) / np.sqrt(cosine)
    arrays = (index, start + distance[:, None] * along, along, width, sky, directions[sky])
    return _Surface(*(torch.from_numpy(np.ascontiguousarray(array)) for array in arrays))


def _linear(inputs: int, outputs: int, generator: torch.Generator, gain: float = 1.0) -> torch.nn.Linear:
    layer = torch.nn.Linear(inputs, outputs)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(outputs, inputs, generator=generator) * gain * (2 / inputs) ** 0.5)
        layer.bias.zero_()
    return layer


def _bar(steps: int, progress: bool):
    if not progress:
        return range(steps)
    from tqdm.auto import tqdm

    return tqdm(range(steps), desc="surface field", unit="step")
