import pytest
import torch

from rsnb.errors import InputError
from rsnb.training.devices import pick_device
from rsnb.training.memory import free_bytes


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


def test_what_torch_keeps_of_a_gpu_for_itself_is_free(monkeypatch):
    # 24 in all, 20 once reserved by an earlier run, 3 of them still in use
    for name, answer in (("mem_get_info", (4, 24)), ("memory_reserved", 20), ("memory_allocated", 3)):
        monkeypatch.setattr(torch.cuda, name, lambda device, answer=answer: answer)
    assert free_bytes("cuda") == 21
