"""Objectives: where they stand in an evaluation, and what is none."""

from focus_ray.tuning.objectives import LABELLED, OBJECTIVES, UNLABELLED, objective_values


def test_every_objective_is_found():
    entry = {
        "step": 4,
        "heldout": {"occluded": {"f1": 0.9, "outlier_iou": 0.5}, "all": {"vertex_mm": 2.5}},
        "unlabelled": {"unlabelled": 0.1, "planted": 0.3, "unsteady": 0.02},
    }
    assert objective_values(entry) == {
        "unlabelled": 0.1,
        "planted": 0.3,
        "unsteady": 0.02,
        "f1": 0.9,
        "outlier_iou": 0.5,
        "vertex_mm": 2.5,
    }
    assert set(objective_values({})) == set(OBJECTIVES) == {*UNLABELLED, *LABELLED}
    assert set(objective_values({}).values()) == {None}


def test_the_worst_is_worse_than_anything_that_trains():
    for objective in OBJECTIVES.values():
        assert objective.worst == 0 if objective.mode == "max" else objective.worst >= 1
