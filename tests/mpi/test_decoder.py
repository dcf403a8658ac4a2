"""The decoder against the published network, written out in `published_network` under the published keys."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from rsnb.data.weights.immpi import convert_decoder, convert_immpi
from rsnb.data.weights.trunks import resnet_table
from rsnb.errors import InputError
from rsnb.mpi.decoder import Decoder
from rsnb.mpi.encoder import Encoder
from rsnb.mpi.layers import convolve_doubled
from rsnb.mpi.model import ImMPI

sys.path.insert(0, str(Path(__file__).parent))
from published_network import published_network, published_state

WIDTHS = (64, 64, 128, 256, 512)


def random_maps(height, width, seed=3):
    g = torch.Generator().manual_seed(seed)
    return [torch.rand((1, c, height >> i, width >> i), generator=g, dtype=torch.float64)
            for i, c in enumerate(WIDTHS, start=1)]


def converted(state, **options):
    decoder = Decoder(**options).double()
    decoder.load_state_dict(convert_decoder(state), strict=True)
    return decoder


@pytest.mark.parametrize(("training", "plane_code"), [(True, "published"), (False, "mended")])
@pytest.mark.parametrize("naive", [True, False])
def test_both_forms_are_the_published_network(naive, training, plane_code):
    state, features = published_state(), random_maps(128, 256)
    decoder = converted(state, naive=naive, statistics="mended", plane_code=plane_code).train(training)
    codes = decoder.codes(3)
    with torch.no_grad():
        ours, expected = decoder(features, codes), published_network(state, features, codes, training)
    for s, (a, b) in enumerate(zip(ours, expected, strict=True)):
        assert a.shape == (3, 4, 128 >> s, 256 >> s)
        assert b.std() > 1e-3  # there is something to be equal to
        assert (a - b).abs().max() < 1e-10


@pytest.mark.parametrize("training", [True, False])
def test_both_forms_have_the_same_gradients_and_running_statistics(training):
    features, results = random_maps(128, 256), []
    weights = [torch.randn((2, 4, 128 >> s, 256 >> s), generator=torch.Generator().manual_seed(s), dtype=torch.float64)
               for s in range(4)]
    for naive in (True, False):
        decoder = converted(published_state(), naive=naive, statistics="mended").train(training)
        inputs = [f.clone().requires_grad_() for f in features]  # the encoder's maps are trained too
        sum((w * mpi).sum() for w, mpi in zip(weights, decoder(inputs, decoder.codes(2)), strict=True)).backward()
        gradients = {key: p.grad for key, p in decoder.named_parameters()}
        gradients |= {f"map {i}": f.grad for i, f in enumerate(inputs)}
        results.append((gradients, dict(decoder.named_buffers())))
    (naive_gradients, naive_buffers), (ours, buffers) = results
    for key, expected in naive_gradients.items():
        # a bias before a normalisation over the batch has no gradient but rounding, hence the floor
        assert (ours[key] - expected).abs().max() < 1e-10 * (expected.abs().max() + 1), key
    for key, expected in naive_buffers.items():
        assert torch.allclose(buffers[key], expected, atol=1e-10), key


def test_a_convolution_of_a_doubled_map_by_hand():
    """One row 1, 2 with taps 1, 10, 100: doubled and mirrored it is 1 1 1 2 2 2."""
    kernel = torch.zeros(1, 1, 3, 3)
    kernel[0, 0, 1] = torch.tensor([1.0, 10.0, 100.0])
    row = convolve_doubled(torch.tensor([[[[1.0, 2.0]]]]), kernel, torch.tensor([0.5]))
    assert row.tolist() == [[[[111.5, 211.5, 221.5, 222.5]] * 2]]


def test_the_published_count_of_parameters():
    decoder = Decoder()
    assert sum(p.numel() for p in decoder.parameters()) == 5_466_064


@pytest.mark.parametrize("statistics", ["published", "mended"])
def test_what_eval_mode_means_is_a_switch(statistics):
    state, features = published_state(), random_maps(128, 256)
    decoder = converted(state, statistics=statistics).eval()
    codes = decoder.codes(2)
    with torch.no_grad():
        expected = published_network(state, features, codes, training=statistics == "published")
        assert (decoder(features, codes)[0] - expected[0]).abs().max() < 1e-10
    assert torch.equal(decoder.level3["after"].norm.running_mean,
                       state["convs.(-'-u-p-c-o-n-v-'-,- -3-,- -1-).bn.running_mean"])


@pytest.mark.parametrize(("plane_code", "free"), [("mended", True), ("published", False)])
def test_the_plane_count_is_free_after_training(plane_code, free):
    """Of five planes every second one lies where one of three lay, and is the same."""
    features = random_maps(128, 128)
    decoder = converted(published_state(), statistics="mended", plane_code=plane_code).eval()
    with torch.no_grad():
        three, five = (decoder(features, decoder.codes(n))[1] for n in (3, 5))
    assert torch.allclose(five[::2], three, atol=1e-10) is free
    assert (three[0] - three[1]).abs().max() > 1e-3  # planes do differ


def test_a_whole_published_checkpoint_loads_strictly():
    rng = np.random.default_rng(5)
    encoder = {key: rng.normal(0, 0.1, row.shape).astype(np.float32)
               for key, row in resnet_table("resnet18", "encoder.").items()}
    checkpoint = {"epoch": 499, "feature_generator": {k: torch.from_numpy(v) for k, v in encoder.items()},
                  "mpi_generator": {f"module.{k}": v.float() for k, v in published_state().items()}, "optimizer": {}}
    state = convert_immpi(checkpoint)
    model = ImMPI(decoder=Decoder(plane_code="published"))
    model.load_state_dict(state, strict=True)
    assert torch.equal(model.load(state).decoder.head2.weight, state["decoder.head2.weight"])
    assert np.array_equal(model.encoder.layer4[1].conv2.weight.detach().numpy(),
                          encoder["encoder.layer4.1.conv2.weight"])
    with pytest.raises(InputError, match="missing, first 'decoder.head0.weight'"):
        model.load({key: value for key, value in state.items() if key != "decoder.head0.weight"})


def test_a_picture_of_128_needs_the_bottleneck_norm_replaced():
    features = [f.float() for f in random_maps(128, 128)]
    decoder = Decoder()
    with pytest.raises(InputError, match="bottleneck_norm='group'"):
        decoder(features, decoder.codes(2))
    grouped = Decoder(bottleneck_norm="group")
    ours = grouped(features, grouped.codes(2))
    assert [tuple(mpi.shape) for mpi in ours] == [(2, 4, 128 >> s, 128 >> s) for s in range(4)]
    assert sum(p.numel() for p in grouped.parameters()) == 5_466_064
    # running statistics, once there are any, are enough for one pixel
    assert Decoder(statistics="mended").eval()(features, decoder.codes(1))[0].isfinite().all()
    # published weights fit; the running statistics that the groups do not have are left out
    model = ImMPI(decoder=grouped)
    model.load(ImMPI().state_dict())


def test_colour_and_density_have_their_ranges_and_learn():
    torch.manual_seed(0)
    model, image = ImMPI(decoder=Decoder(bottleneck_norm="group")), torch.rand(3, 128, 128)
    optimiser = torch.optim.Adam(model.decoder.parameters(), 3e-3)
    with torch.no_grad():
        features = model.encoder(image)
    losses = []
    for _ in range(8):
        mpi = model.decoder(features, model.decoder.codes(2))[0]
        assert mpi[:, :3].min() >= 0 and mpi[:, :3].max() <= 1 and mpi[:, 3].min() >= 1e-4
        loss = (mpi[:, :3] - image).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.cuda
def test_a_gpu_draws_the_same_planes():
    features = random_maps(128, 256)
    decoder = converted(published_state())
    with torch.no_grad():
        expected = decoder(features, decoder.codes(3))[0]
        decoder.cuda()
        ours = decoder([f.cuda() for f in features], decoder.codes(3))[0].cpu()
    assert (ours - expected).abs().max() < 1e-9


def test_another_trunk_fits():
    encoder = Encoder("resnet50")
    model = ImMPI(encoder, Decoder(bottleneck_norm="group", widths=encoder.widths))
    with torch.no_grad():
        assert model(torch.rand(3, 128, 128), 2)[3].shape == (2, 4, 16, 16)


@pytest.mark.parametrize(("options", "words"), [
    ({"recipe": "ours"}, "no recipe 'ours'"), ({"plane_code": "x"}, "no plane_code 'x'"),
    ({"bottleneck_norm": "layer"}, "no bottleneck_norm 'layer'"), ({"statistics": "x"}, "no statistics 'x'"),
])
def test_unknown_switches_are_refused(options, words):
    with pytest.raises(InputError, match=words):
        Decoder(**options)


def test_wrong_inputs_are_refused():
    decoder = Decoder()
    with pytest.raises(InputError, match="multiples of 128"):
        decoder(random_maps(192, 128), decoder.codes(2))
    with pytest.raises(InputError, match="five feature maps"):
        decoder(random_maps(256, 128)[:4], decoder.codes(2))
    with pytest.raises(InputError, match=r"decoder.codes\(planes\)"):
        decoder(random_maps(256, 128), torch.zeros(21, 2))
