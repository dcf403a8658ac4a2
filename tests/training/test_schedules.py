from __future__ import annotations

import pytest
import torch

from rsnb.errors import InputError
from rsnb.training.schedules import decay_schedule, milestone_schedule, one_cycle_schedule, parse_milestones


def test_the_published_schedule_ends_at_a_thirty_second():
    """Per-scene optimisation: 1e-3 halved at epochs 50, 100, 200, 300, 400 of ten steps each ends at 3.1e-5."""
    optimiser = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], 1e-3)
    schedule = milestone_schedule(optimiser, "50,100,200,300,400:2", steps_per_unit=10)
    rates = []
    for _ in range(5000):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        schedule.step()
    assert rates[499] == 1e-3 and rates[500] == pytest.approx(5e-4) and rates[-1] == pytest.approx(1e-3 / 32)
    assert len(set(rates)) == 6


def test_an_empty_text_has_no_milestones():
    assert parse_milestones(" ") == ([], 1.0)
    assert parse_milestones("5, 7 : 2.5") == ([5, 7], 2.5)


@pytest.mark.parametrize("text", ["100", "100:", "a:2", "100,50:2", "50,50:2", "0,5:2", "5:1", "5:0.5", "5;6:2"])
def test_other_texts_are_refused(text):
    with pytest.raises(InputError, match="milestones: "):
        parse_milestones(text)


def test_one_cycle_rises_for_a_fifth_and_falls_to_nothing():
    optimiser = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], 1e-2)
    schedule = one_cycle_schedule(optimiser, 100)
    rates = []
    for _ in range(100):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        schedule.step()
    assert rates[0] == pytest.approx(4e-4) and rates[20] == pytest.approx(1e-2) == max(rates)
    # half-way up and half-way down the cosines: (0.04 + 1) / 2 and 1 / 2 of the highest
    assert rates[10] == pytest.approx(0.52e-2) and rates[60] == pytest.approx(0.5e-2, rel=1e-4)
    assert rates[99] < 1e-5 and all(a < b for a, b in zip(rates[:20], rates[1:21], strict=True))
    for steps in (1, 2, 4, 5):  # torch's OneCycleLR cannot do 5
        assert one_cycle_schedule(optimiser, steps).get_last_lr()[0] > 0


def test_decay_divides_again_and_again_also_where_it_joins_late():
    weight = torch.nn.Parameter(torch.zeros(1))
    for begun in (0, 2):
        optimiser = torch.optim.SGD([weight], 8.0)
        schedule = decay_schedule(optimiser, 3, 2.0, begun)
        rates = []
        for _ in range(8):
            rates.append(optimiser.param_groups[0]["lr"])
            optimiser.step()
            schedule.step()
        assert rates == [8.0, 8.0, 8.0, 4.0, 4.0, 4.0, 2.0, 2.0, 2.0, 1.0][begun:begun + 8]
