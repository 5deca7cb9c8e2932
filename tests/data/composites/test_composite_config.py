"""The plan of the composites."""

from collections import Counter

from focus_ray.data.composites.composite_config import CompositeConfig, plan_composites

NAMES = [f"{person}_{number}.jpg" for person in "abcde" for number in range(2)]
FAMILIES = ["hand", "cup", "cap"]


def test_a_composite_depends_on_the_seed_and_its_number_and_the_sorted_names():
    plan = plan_composites(NAMES, FAMILIES, CompositeConfig(n=40, seed=3))
    assert plan_composites(NAMES[::-1], FAMILIES, CompositeConfig(n=25, seed=3)) == plan[:25]
    assert plan_composites(NAMES, FAMILIES, CompositeConfig(n=40, seed=4)) != plan


def test_photographs_families_and_open_ones_are_evenly_used():
    plan = plan_composites(NAMES, FAMILIES, CompositeConfig(n=40, open_share=0.25))
    for start in range(0, 40, 10):
        assert {one.source for one in plan[start : start + 10]} == set(NAMES)
    occluded = [one.family for one in plan if one.family != "none"]
    assert len(occluded) == 30
    assert Counter(occluded) == {"hand": 10, "cup": 10, "cap": 10}
    assert [one.family for one in plan[:8]].count("none") == 2


def test_all_or_none_can_stay_open():
    assert {one.family for one in plan_composites(NAMES, FAMILIES, CompositeConfig(n=9, open_share=1))} == {"none"}
    assert "none" not in {one.family for one in plan_composites(NAMES, FAMILIES, CompositeConfig(n=9, open_share=0))}


def test_persons_are_told_by_names_or_are_the_photographs():
    by_name = plan_composites(NAMES, FAMILIES, CompositeConfig(n=10))
    assert {one.person for one in by_name} == {f"{person}_0.jpg" for person in "abcde"}
    assert all(one.person[0] == one.source[0] for one in by_name)
    by_picture = plan_composites(NAMES, FAMILIES, CompositeConfig(n=10, persons="pictures"))
    assert all(one.person == one.source for one in by_picture)
