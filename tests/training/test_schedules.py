from __future__ import annotations

import pytest
import torch

from rsnb.errors import InputError
from rsnb.training.schedules import milestone_schedule, parse_milestones


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
