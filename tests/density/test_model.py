"""The model: one volume under every sky, saved and read again, and refused where it does not fit."""

from dataclasses import replace

import pytest
import torch

from rsnb.density.illumination import IlluminationOptions
from rsnb.density.model import ModelOptions, SatDensity, load_model, save_model
from rsnb.density.net import DensityNet, DensityNetOptions
from rsnb.density.refine import RefineNetOptions
from rsnb.density.render import render_panorama
from rsnb.density.sky import preset_sky
from rsnb.density.volume import RenderOptions, TileFrame
from rsnb.errors import InputError
from rsnb.geometry.cameras import PanoramaCamera
from rsnb.training import save_checkpoint

FRAME = TileFrame(30.0, 8.0)
CAMERA = PanoramaCamera(32, 16)
EYE = [1.0, -2.0, 2.5]


def tiny(**changes) -> SatDensity:
    torch.manual_seed(3)
    return SatDensity(replace(ModelOptions.of_size("tiny", FRAME, samples=12), **changes)).eval()


def tiles(count: int = 2) -> torch.Tensor:
    return torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def test_the_sky_changes_the_picture_and_never_the_geometry():
    model = tiny()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(5)))
        volume = model.volume(tiles())
        clear, dusk = (model.view(volume, CAMERA, EYE, histogram=preset_sky(name)[None].expand(2, -1))
                       for name in ("clear", "dusk"))
        again = model.view(volume, CAMERA, EYE, histogram=preset_sky("clear")[None].expand(2, -1))
        none = model.view(volume, CAMERA, EYE)
    for part in ("rgb", "opacity", "distance"):
        assert torch.equal(getattr(clear.rendered, part), getattr(dusk.rendered, part))
    assert (clear.rgb - dusk.rgb).abs().max() > 1e-3 and (clear.rgb - none.rgb).abs().max() > 1e-3
    assert torch.equal(clear.rgb, again.rgb)
    style = clear.illumination.style
    assert torch.equal(model.view(volume, CAMERA, EYE, style=style).rgb, clear.rgb)


def test_parts_can_be_left_out():
    volume = tiny(refine=None).volume(tiles())
    assert tiny(refine=None).view(volume, CAMERA, EYE).rgb is None
    plain = tiny(illumination=None)
    assert plain.illumination is None
    histogram = preset_sky("clear")[None].expand(2, -1)
    assert torch.equal(plain.view(volume, CAMERA, EYE, histogram=histogram).rgb, plain.view(volume, CAMERA, EYE).rgb)
    with pytest.raises(InputError, match="equal style_width"):
        tiny(illumination=IlluminationOptions.of_size("tiny", style_width=7))


def test_the_refinement_net_may_be_told_where_rays_end():
    """Over an empty volume every ray below the horizon meets the ground plane at z = 0, the others nothing."""
    model = tiny(density=None, refine=RefineNetOptions.of_size("tiny", octaves=1))
    seen = {}
    model.refine.trunk.register_forward_hook(lambda module, args, out: seen.update(features=args[0]))
    place, heading = torch.tensor([[1.0, -2.0, 2.5], [4.0, 3.0, 1.5]]), [0.3, 2.0]
    with torch.no_grad():
        picture = model.view(model.volume(tiles()), CAMERA, place, heading).rgb
    sine, cosine = seen["features"][:, 5:8], seen["features"][:, 8:]
    assert picture.shape == (2, 3, 16, 32) and float(seen["features"][:, 5:, :8].abs().max()) == 0
    assert float(sine[:, 0].abs().max()) < 1e-4 and torch.allclose(cosine[:, 0, 8:], torch.ones(2, 8, 32), atol=1e-5)
    # straight down but for half a row of 11.25 degrees: the camera's own place, to 2.5 m x tan 5.625 = 0.25 m
    for k in (0, 1):
        angle = torch.pi * place[k, :2] / 15
        assert torch.allclose(sine[k, 1:, -1].mean(-1), angle.sin(), atol=0.01)
        assert torch.allclose(cosine[k, 1:, -1].mean(-1), angle.cos(), atol=0.01)


def test_the_full_model_is_the_published_one_in_its_own_units():
    options = ModelOptions.of_size("full", FRAME)
    assert (options.ground, options.edges, options.render.placement) == ("slab", "fade", "end")
    assert options.density.unit_m == 15.0 and options.density.kind == options.refine.kind == "published"


def test_a_saved_model_gives_the_same_volume_and_fits_its_own_tiles_alone(tmp_path):
    model = tiny()
    save_model(tmp_path / "m.pt", model)
    read = load_model(tmp_path / "m.pt", frame=FRAME)
    assert read.options == model.options and not read.training
    assert torch.equal(read.volume(tiles()).sigma, model.volume(tiles()).sigma)
    with pytest.raises(InputError, match="30.0 m under 8.0 m, these have 55.0 m"):
        load_model(tmp_path / "m.pt", frame=TileFrame(55.0, 8.0))
    save_checkpoint(tmp_path / "other.pt", {"format": "something else"})
    with pytest.raises(InputError, match="no density model"):
        load_model(tmp_path / "other.pt")


def test_a_model_of_another_profile_is_refused_by_what_differs(tmp_path):
    frame = TileFrame(30.0, 8.0)
    options = ModelOptions.of_size("tiny", frame)
    path = tmp_path / "model.pt"
    save_model(path, SatDensity(options))
    assert load_model(path, like=replace(options, render=RenderOptions(7))).options == options
    wider = replace(options, density=replace(options.density, width=12))
    for like, message in ((wider, "density width 8, not 12"), (replace(options, ground="none"), "'plane', not 'none'"),
                          (replace(options, illumination=None), "illumination one, not none")):
        with pytest.raises(InputError, match=f"another profile.*{message}"):
            load_model(path, like=like)


def test_falling_density_never_grows_upwards():
    torch.manual_seed(0)
    net = DensityNet(DensityNetOptions(width=8, slices=6, depth=1, profile="falling", most_density=2.0))
    with torch.no_grad():
        net.trunk.last.weight.mul_(30)
        sigma = net(tiles())
    assert (sigma[:, 1:] <= sigma[:, :-1]).all() and sigma.min() >= 0 and 1.9 < sigma.max() <= 2.0
    assert sigma[:, 0].std() > 0.05
    with pytest.raises(InputError, match="falling"):
        DensityNetOptions(profile="rising")


def test_some_rows_are_those_rows_of_the_whole():
    volume = tiny().volume(tiles()).to(torch.float64)
    whole = render_panorama(volume, CAMERA, EYE, 0.3)
    part = render_panorama(volume, CAMERA, EYE, 0.3, rows=(3, 9))
    assert torch.allclose(part.opacity, whole.opacity[:, 3:9], atol=1e-9)
    assert torch.allclose(part.rgb, whole.rgb[:, :, 3:9], atol=1e-9)
    for rows in ((9, 3), (0, 17), (-1, 4)):
        with pytest.raises(InputError, match="of a panorama of 16"):
            render_panorama(volume, CAMERA, EYE, rows=rows)
