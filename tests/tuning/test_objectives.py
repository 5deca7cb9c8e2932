"""Objectives: where they stand in an evaluation, and what is none."""

from focus_ray.tuning.objectives import (
    LABELLED,
    OBJECTIVES,
    PHOTOGRAPHS,
    UNLABELLED,
    objective_values,
    photograph_objective_values,
)


def test_every_objective_is_found():
    entry = {
        "step": 4,
        "heldout": {"occluded": {"f1": 0.9, "outlier_iou": 0.5}, "all": {"vertex_mm": 2.5}},
        "unlabelled": {"unlabelled": 0.1, "planted": 0.3, "unsteady": 0.02},
        "planted_photos": {"score": 0.4, "outlier_iou": 0.5, "false_alarms": 0.1, "landmark_px": 3.5},
    }
    assert objective_values(entry) == {
        "unlabelled": 0.1,
        "planted": 0.3,
        "unsteady": 0.02,
        "f1": 0.9,
        "outlier_iou": 0.5,
        "vertex_mm": 2.5,
        "planted_photos": 0.4,
        "planted_iou": 0.5,
        "false_alarms": 0.1,
        "planted_landmark_px": 3.5,
    }
    assert set(objective_values({})) == set(OBJECTIVES) == {*UNLABELLED, *LABELLED, *PHOTOGRAPHS}
    assert set(objective_values({}).values()) == {None}


def test_the_worst_is_worse_than_anything_that_trains():
    for objective in OBJECTIVES.values():
        assert objective.worst <= 0 if objective.mode == "max" else objective.worst >= 1


def test_refined_fits_of_photographs_have_their_own_figures():
    entry = {"planted_photos": {"score": 0.4}, "unlabelled": {"planted": 0.3}}
    one_pass = photograph_objective_values(entry)
    assert (one_pass["planted_photos"], one_pass["planted"], one_pass["false_alarms"]) == (0.4, 0.3, None)
    assert set(one_pass) == {*PHOTOGRAPHS, *UNLABELLED}
    refined = photograph_objective_values(entry | {"refined_planted_photos": {"score": 0.5, "landmark_px": 2.0}})
    assert (refined["refined_planted_photos"], refined["refined_planted_landmark_px"]) == (0.5, 2.0)
    assert one_pass.items() <= refined.items()
