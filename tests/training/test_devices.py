import pytest
import torch

from rsnb.errors import InputError
from rsnb.training.devices import pick_device


def test_auto_is_a_device_that_works():
    assert torch.zeros(1, device=pick_device("auto")).device.type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert pick_device("cpu") == "cpu"


@pytest.mark.parametrize("name", ["gpu", "mps", "", "cpu:x"])
def test_a_name_that_is_no_device_is_refused(name):
    with pytest.raises(InputError, match="no device"):
        pick_device(name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(InputError, match="no GPU"):
        pick_device("cuda")
