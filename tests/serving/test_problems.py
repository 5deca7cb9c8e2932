"""Refusals as application/problem+json."""

import json

import pytest

from focus_ray.serving.problems import TITLES, Problem


@pytest.mark.parametrize("code", sorted(TITLES))
def test_each_has_its_status_and_members(code: str):
    problem = Problem(code, "what was wrong; what to do")
    document = json.loads(problem.body("r-7"))
    assert document["status"] == problem.status == TITLES[code][0]
    assert document["type"] == f"urn:focus-ray:problem:{code}"
    assert (document["code"], document["detail"], document["request_id"]) == (code, "what was wrong; what to do", "r-7")


def test_what_goes_with_it():
    assert Problem("overloaded", "later", retry_after=2).headers() == {"retry-after": "2"}
    assert Problem("unauthorized", "who?").headers() == {"www-authenticate": "Bearer"}
    assert Problem("too_large", "less").headers() == {}


def test_metrics_count_it_under_its_reason():
    assert Problem("overloaded", "later").reason == "overloaded"
    assert Problem("overloaded", "later", reason="model_queue").reason == "model_queue"
