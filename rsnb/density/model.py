"""The whole method in one module: tile to volume, volume to rendering, rendering and sky to a street panorama."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, is_dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from rsnb.density.illumination import Illumination, IlluminationEncoder, IlluminationOptions
from rsnb.density.net import DensityNet, DensityNetOptions
from rsnb.density.refine import RefineNet, RefineNetOptions
from rsnb.density.render import render_panorama
from rsnb.density.sky import sky_histogram
from rsnb.density.volume import DensityVolume, Edges, Ground, Rendered, RenderOptions, TileFrame
from rsnb.errors import InputError
from rsnb.geometry.cameras import PanoramaCamera, as_tensor, world_rays
from rsnb.geometry.poses import pose_from_heading
from rsnb.training import load_checkpoint, pick_device, save_checkpoint

_FORMAT = "rsnb density model 1"


@dataclass(frozen=True)
class ModelOptions:
    """What a model is made of.

    Attributes:
        frame: extent and ceiling of its tiles, metres.
        density: of the density net; None = no volume: the refinement net sees the bare ground plane and invents the
            rest, a direct image-to-image generator (a baseline).
        refine: of the refinement net; None = geometry alone, no pictures.
        illumination: of the encoder; None = no injection of the sky's light (an ablation).
        ground, edges: as in `DensityVolume`; the ground prior is ground="plane" (ours) or "slab" (published), and
            "none" its ablation.
        render: how rays are sampled.
    """

    frame: TileFrame
    density: DensityNetOptions | None = field(default_factory=DensityNetOptions)
    refine: RefineNetOptions | None = field(default_factory=RefineNetOptions)
    illumination: IlluminationOptions | None = field(default_factory=IlluminationOptions)
    ground: Ground = "plane"
    edges: Edges = "hold"
    render: RenderOptions = field(default_factory=RenderOptions)

    def __post_init__(self):
        if self.refine and self.illumination and self.refine.style_width != self.illumination.style_width:
            raise InputError(f"the refinement net takes styles of {self.refine.style_width} numbers, the encoder gives "
                             f"{self.illumination.style_width}", where="ModelOptions", mend="Use equal style_width")

    @classmethod
    def of_size(cls, size: str, frame: TileFrame, samples: int = 100) -> ModelOptions:
        """The options of "tiny", "smoke", "small" (ours) or "full" (as published) for tiles of this frame."""
        density = DensityNetOptions.of_size(size)
        if size == "full":
            density = replace(density, unit_m=frame.half_m)
            return cls(frame, density, RefineNetOptions.of_size(size), IlluminationOptions.of_size(size), "slab",
                       "fade", RenderOptions(samples, placement="end"))
        return cls(frame, density, RefineNetOptions.of_size(size), IlluminationOptions.of_size(size),
                   render=RenderOptions(samples))


@dataclass(frozen=True)
class StreetView:
    """A panorama of the model.

    Attributes:
        rendered: what the volume gives along the rays.
        rgb: [B, 3, H, W] refined picture 0..1, or None of a model without refinement.
        illumination: what the encoder made of the sky, or None where no sky or style of one was given.
    """

    rendered: Rendered
    rgb: Tensor | None = None
    illumination: Illumination | None = None


class SatDensity(nn.Module):
    """Density net, illumination encoder and refinement net.

    The density net sees the tile alone, never the sky: the same tile has the same volume under every sky.
    """

    def __init__(self, options: ModelOptions):
        super().__init__()
        self.options = options
        self.density = None if options.density is None else DensityNet(options.density)
        self.refine = None if options.refine is None else RefineNet(options.refine)
        self.illumination = None if options.refine is None or options.illumination is None else \
            IlluminationEncoder(options.illumination)
        if self.density is None and self.refine is None:
            raise InputError("the model has neither a density net nor a refinement net", where="ModelOptions",
                             mend="Give one of them")
        self.eval()  # `train_pairs` turns training mode on and off

    def volume(self, tile: Tensor) -> DensityVolume:
        """The volumes over tiles [B, 3, S, S] in 0..1."""
        options = self.options
        sigma = tile.new_zeros(len(tile), 1, *tile.shape[-2:]) if self.density is None else self.density(tile)
        return DensityVolume(sigma, tile, options.frame, options.ground, options.edges)

    def histogram(self, panorama: Tensor, sky: Tensor) -> Tensor:
        """[B, L] what the encoder takes, of panoramas [B, 3, H, W] and sky masks [B, H, W]."""
        illumination = self.options.illumination
        return sky_histogram(panorama, sky, illumination.histogram if illumination else "fixed")

    def view(self, volume: DensityVolume, camera: PanoramaCamera, position, heading=0.0,
             histogram: Tensor | None = None, style: Tensor | None = None, *,
             generator: torch.Generator | None = None, render: RenderOptions | None = None) -> StreetView:
        """The panorama at a place.

        Args:
            volume: by `volume`.
            camera, position, heading: as in `render_panorama`.
            histogram: [B, L] of the sky that shall light it, by `histogram` or `preset_sky`; or
            style: [B, W] itself, by `interpolate_styles` say; neither = no modulation.
            generator: on the CPU, of an encoder that draws its code; None = the global one.
            render: how rays are sampled; None = as the model's options say.
        """
        rendered = render_panorama(volume, camera, position, heading, render or self.options.render)
        if self.refine is None:
            return StreetView(rendered)
        light = None
        if style is None and histogram is not None and self.illumination is not None:
            light = self.illumination.illumination(histogram, generator)
            style = light.style
        return StreetView(rendered, self.refined(rendered, camera, position, heading, style), light)

    def refined(self, rendered: Rendered, camera: PanoramaCamera, position, heading=0.0,
                style: Tensor | None = None) -> Tensor:
        """[B, 3, H, W] the picture that the refinement net makes of a panorama's rays; arguments as for `view`."""
        rays = None
        if self.refine.options.octaves:
            position, heading = (as_tensor(x).detach().double().cpu().numpy() for x in (position, heading))
            origins, directions = world_rays(camera, pose_from_heading(position, heading))
            rays = tuple(x.reshape(-1, camera.height, camera.width, 3).to(rendered.distance)
                         for x in torch.broadcast_tensors(origins, directions))
        return self.refine(self.refine.features(rendered, self.options.frame.half_m, rays), style)


def save_model(path: str | Path, model: SatDensity) -> None:
    """Weights and options of a model, in a file that `load_model` reads."""
    save_checkpoint(path, {"format": _FORMAT, "options": asdict(model.options), "model": model.state_dict()})


def load_model(path: str | Path, device: str = "cpu", frame: TileFrame | None = None,
               like: ModelOptions | None = None) -> SatDensity:
    """A model as it was saved, in eval mode.

    Args:
        path: of the file.
        device: where to put it.
        frame: of the tiles it shall serve; None = whatever it was trained for.
        like: nets and ground that it is expected to have (how rays are sampled is the model's own); None = any.

    Raises:
        InputError: no such file, a file of something else, a model for tiles of another frame, or of another profile.
    """
    state = load_checkpoint(path)
    if state.get("format") != _FORMAT:
        raise InputError("this is no density model", where=path, mend="Give a file that save_model wrote; a checkpoint "
                         "of a training goes on by giving it to that training")
    plain = dict(state["options"])
    kinds = {"frame": TileFrame, "density": DensityNetOptions, "refine": RefineNetOptions,
             "illumination": IlluminationOptions, "render": RenderOptions}
    try:
        options = ModelOptions(**{name: kinds[name](**value) if name in kinds and value is not None else value
                                  for name, value in plain.items()})
        model = SatDensity(options)
        model.load_state_dict(state["model"])
    except (TypeError, RuntimeError) as error:
        raise InputError(f"the model is of another version ({' '.join(str(error).split())[:120]})", where=path,
                         mend="Train it again, or use the version of rsnb that wrote it") from error
    if frame is not None and frame != options.frame:
        raise InputError(f"the model is for tiles of {options.frame.extent_m} m under {options.frame.ceiling_m} m, "
                         f"these have {frame.extent_m} m and {frame.ceiling_m} m", where=path,
                         mend="Use the model of the same profile, or set extent and ceiling as it was trained")
    if like is not None:
        _require_like(options, like, path)
    return model.to(torch.device(pick_device(device)))


def _require_like(options: ModelOptions, like: ModelOptions, path: str | Path) -> None:
    for part in ("density", "refine", "illumination", "ground", "edges"):
        has, wanted = (getattr(one, part) for one in (options, like))
        if has == wanted:
            continue
        if is_dataclass(has) and is_dataclass(wanted):
            pairs = ((name, value, getattr(wanted, name)) for name, value in asdict(has).items())
            what = ", ".join(f"{part} {name} {a!r}, not {b!r}" for name, a, b in pairs if a != b)
        else:
            what = f"{part} {_in_a_word(has)}, not {_in_a_word(wanted)}"
        raise InputError(f"the model is of another profile: it has {what}", where=path,
                         mend="Use the parameters that it was trained with, or another model")


def _in_a_word(part) -> str:
    return "none" if part is None else "one" if is_dataclass(part) else repr(part)
