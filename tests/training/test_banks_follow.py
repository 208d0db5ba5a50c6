"""Memory banks move in every step, also before the objective that reads them counts."""

from __future__ import annotations

import torch

from small_model import model, one_step

CE = {"loss": "cross_entropy", "of": "student"}
CRP = {"loss": "crp", "from": "teacher", "to": "student", "weight": {"steps": {0: 0.0, 20: 1.0}}}
NETWORKS = {"student": {"backbone": "test_resnet", "projection": 8}, "teacher": {"mean_of": "student"}}


def test_both_banks_move_before_their_objective_counts() -> None:
    built = model([CE, CRP], NETWORKS)
    before = {name: bank.rows.clone() for name, bank in built.banks.items()}
    rows = torch.arange(4)
    outputs = one_step(built)
    assert set(outputs.losses) == {"cross_entropy"}
    assert set(outputs.projections) == {"student", "teacher"}
    built.after_batch(0, rows, outputs.projections, [4], True)
    for name, bank in built.banks.items():
        assert not torch.equal(bank.rows[:4], before[name][:4])
        assert torch.equal(bank.rows[4:], before[name][4:])
