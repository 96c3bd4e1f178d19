"""Solver statistics by hand; repeats of a sample count once."""

import torch

from lightning_modules.ldeq.solvers import Solution
from lightning_modules.ldeq.statistics import SolverStatistics


def solution(residual, iterations):
    nothing = torch.zeros(len(residual), 1)
    return Solution(nothing, nothing, torch.tensor(residual), torch.tensor(iterations))


def test_repeats_count_once():
    statistics = SolverStatistics(tolerance=0.1)
    statistics.update(solution([0.5, 0.05], [8, 3]), torch.tensor([7, 2]))
    statistics.update(solution([0.05, 0.02, 0.5], [3, 1, 8]), torch.tensor([2, 9, 7]))
    values = {key: round(value.item(), 6) for key, value in statistics.compute().items()}
    assert values == {"residual": 0.19, "worst_residual": 0.5, "iterations": 4.0, "unconverged": 0.333333}


def test_they_travel_in_no_checkpoint():
    statistics = SolverStatistics(tolerance=0.1)
    statistics.update(solution([0.5], [8]), torch.tensor([7]))
    assert statistics.state_dict() == {}
