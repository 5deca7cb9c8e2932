"""Tests of focus_ray.data.synthetic."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from focus_ray.data.occluders import FAMILIES
from focus_ray.data.sample import UNOCCLUDED, concatenate
from focus_ray.data.synthetic import (
    DetectorNoise,
    FaceDistributions,
    OcclusionDistributions,
    SyntheticConfig,
    SyntheticFaces,
)
from focus_ray.errors import ConfigError
from focus_ray.focus.camera import Camera
from focus_ray.focus.parameters import split_theta
from focus_ray.focus.render.renderer import Renderer
from tests.ellipsoid_face import ellipsoid_face

TENSORS = ("images", "landmarks", "masks", "theta", "vertices", "landmarks_true", "region")


@pytest.fixture(scope="module")
def world():
    return ellipsoid_face(100, 70, 90)


@pytest.fixture(scope="module")
def train(world):
    return SyntheticFaces(world, SyntheticConfig(), "train")


@pytest.fixture(scope="module")
def many(train):
    return train.batch(range(120))


def _same(first, second):
    return first.families == second.families and all(
        torch.equal(getattr(first, name), getattr(second, name)) for name in TENSORS
    )


def test_shapes_types_and_ranges(many, world):
    assert many.images.shape == (120, 3, 64, 64)
    assert many.landmarks.shape == many.landmarks_true.shape == (120, 68, 2)
    assert many.masks.shape == many.region.shape == (120, 1, 64, 64)
    assert many.theta.shape == (120, 257)
    assert many.vertices.shape == (120, world.n_vertices, 3)
    assert all(getattr(many, name).dtype == torch.float32 for name in TENSORS)
    assert 0 <= many.images.min() < 0.05
    assert 0.95 < many.images.max() <= 1
    assert set(many.masks.unique().tolist()) == set(many.region.unique().tolist()) == {0.0, 1.0}
    assert many.names is not None
    assert many.names[7] == "train-000007"


def test_bits_do_not_depend_on_the_batch_or_its_order(train, many):
    for rows in ([5], [17, 5, 3], [5, 5], list(range(40, 3, -6))):
        assert _same(train.batch(rows), many.select(rows))


def test_bits_do_not_depend_on_threads_or_on_the_object(world, many):
    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            fresh = SyntheticFaces(ellipsoid_face(100, 70, 90), SyntheticConfig(), "train")
            assert _same(fresh.batch(range(8)), many.select(range(8)))
    finally:
        torch.set_num_threads(threads)


def test_bits_do_not_depend_on_the_number_of_workers(train, many):
    with ThreadPoolExecutor(4) as workers:
        parts = list(workers.map(lambda start: train.batch(range(start, start + 5)), range(0, 40, 5)))
    assert _same(concatenate(parts), many.select(range(40)))


def test_seed_split_and_index_each_change_the_face(world, many):
    def identity(seed, name, index):
        return SyntheticFaces(world, SyntheticConfig(seed=seed), name).batch([index]).theta[0, :80]

    faces = [identity(0, "train", 0), identity(1, "train", 0), identity(0, "heldout", 0), identity(0, "validation", 0)]
    faces += [identity(0, "train", 1)]
    distances = torch.cdist(torch.stack(faces), torch.stack(faces)) + 100 * torch.eye(5)
    assert distances.min() > 5
    assert torch.equal(faces[0], many.theta[0, :80])


def test_theta_follows_its_laws(many):
    theta = split_theta(many.theta)
    assert theta.identity.std() == pytest.approx(1, abs=0.05)
    assert theta.albedo.std() == pytest.approx(1, abs=0.05)
    assert theta.expression.std() == pytest.approx(0.8, abs=0.05)
    degrees = torch.rad2deg(theta.rotation).std(0)
    torch.testing.assert_close(degrees, torch.tensor([10.0, 20.0, 6.0]), rtol=0.25, atol=0)
    assert theta.translation[:, 2].std() == pytest.approx(30, rel=0.25)
    light = theta.light.view(-1, 3, 9).mean((0, 1))
    torch.testing.assert_close(light[:3], torch.tensor([2.5, 0.35, -0.8]), rtol=0, atol=0.15)


def test_a_world_with_more_modes_shows_the_same_people_in_more_detail(many):
    small = SyntheticFaces(ellipsoid_face(80, 64, 80)).batch(range(4))
    assert torch.equal(small.theta, many.theta[:4])
    assert not torch.equal(small.vertices, many.vertices[:4])


def test_the_fitted_renderer_agrees_with_the_truth(world):
    """A face of the fitted model's own modes, without paint and occluder, rendered from theta, is the image."""
    model = ellipsoid_face(80, 64, 80)
    faces = SyntheticFaces(model, SyntheticConfig(occlusion=OcclusionDistributions(share=0)))
    batch = faces.batch(range(6))
    with torch.no_grad():
        rendering = Renderer(model, Camera(image_size=64))(batch.theta)
    torch.testing.assert_close(rendering.landmarks, batch.landmarks_true, rtol=0, atol=2e-3)
    torch.testing.assert_close(rendering.vertices, batch.vertices, rtol=0, atol=1e-3)
    agreement = (rendering.mask == batch.region).float().mean()
    assert agreement > 0.985  # they differ along the silhouette only
    inside = batch.region * rendering.mask
    error = ((rendering.image.clamp(0, 1) - batch.images) * inside).abs().sum() / (3 * inside.sum())
    assert error < 0.1


def test_visible_is_part_of_the_region_and_all_of_it_without_occluder(many):
    assert (many.masks <= many.region).all()
    clear = ~many.occluded
    assert torch.equal(many.masks[clear], many.region[clear])
    hidden = 1 - many.masks.sum((1, 2, 3)) / many.region.sum((1, 2, 3))
    assert (hidden[many.occluded] > 0.02).all()
    assert (hidden[many.occluded] < 0.68).all()
    assert 0.12 < hidden[many.occluded].mean() < 0.36


def test_an_occluder_changes_nothing_but_what_it_covers(world):
    def faces(share):
        laws = OcclusionDistributions(share=share, shadow=0)
        plain = {"blur": 0.0, "sensor_noise": 0.0, "gamma": (1.0, 1.0)}
        config = SyntheticConfig(occlusion=laws)
        return SyntheticFaces(
            world, config.model_copy(update={"appearance": config.appearance.model_copy(update=plain)})
        ).batch(range(12))

    clear, covered = faces(0.0), faces(1.0)
    assert torch.equal(clear.theta, covered.theta)
    assert torch.equal(clear.region, covered.region)
    changed = (clear.images - covered.images).abs().amax(1, keepdim=True) > 0.1
    hidden = (covered.region - covered.masks).bool()
    assert changed[hidden].float().mean() > 0.6
    assert covered.families is not None
    solid = torch.tensor([family != "glasses" for family in covered.families])  # their lenses change what one sees
    assert changed[solid][covered.masks[solid].bool()].float().mean() < 0.05


def test_families_of_the_splits(world):
    occluded = SyntheticConfig(occlusion=OcclusionDistributions(share=1.0))
    unseen = set(occluded.unseen_families)
    assert len(unseen) >= 3
    assert unseen | set(occluded.seen_families) == set(FAMILIES)
    for name in ("train", "validation"):
        families = SyntheticFaces(world, occluded, name).batch(range(60)).families
        assert not set(families) & (unseen | {UNOCCLUDED})
    heldout = SyntheticFaces(world, occluded, "heldout").batch(range(80)).families
    assert 0.3 < np.mean([family in unseen for family in heldout]) < 0.7


def test_about_the_configured_share_is_occluded(many):
    assert 0.4 < many.occluded.float().mean() < 0.7


def test_landmark_noise_follows_its_law(many):
    deviation = (many.landmarks - many.landmarks_true) * 224 / 64
    clear = deviation[~many.occluded]
    assert clear.std() == pytest.approx(1.5, rel=0.05)
    covered = deviation[many.occluded]
    assert 1.6 < covered.std() < 3.0


def test_without_noise_the_landmarks_are_true(world):
    exact = SyntheticConfig(detector=DetectorNoise(visible=0, occluded=0))
    batch = SyntheticFaces(world, exact).batch(range(3))
    assert torch.equal(batch.landmarks, batch.landmarks_true)


def test_another_size_shows_the_same_people(world):
    large = SyntheticFaces(world, SyntheticConfig(image_size=128)).batch([0])
    small = SyntheticFaces(world, SyntheticConfig(image_size=64)).batch([0])
    assert large.images.shape == (1, 3, 128, 128)
    assert torch.equal(large.theta, small.theta)
    torch.testing.assert_close((small.landmarks_true + 0.5) * 2 - 0.5, large.landmarks_true, rtol=0, atol=1e-2)


def test_wrong_settings_are_refused():
    with pytest.raises(ConfigError, match="too few modes of expression"):
        SyntheticFaces(ellipsoid_face(80, 30, 80))
    with pytest.raises(ValidationError, match="unseen"):
        OcclusionDistributions(unseen=("umbrella",))
    with pytest.raises(ValidationError):
        OcclusionDistributions(unseen=tuple(FAMILIES))
    with pytest.raises(ValidationError):
        FaceDistributions(yaw=-1.0)


def test_several_pictures_of_a_person(world, many):
    config = SyntheticConfig(occlusion=OcclusionDistributions(share=1.0))
    faces = SyntheticFaces(world, config, pictures_per_person=3, families=("scarf", "hand"))
    batch = faces.batch(range(6))
    identity, expression, albedo = batch.theta[:, :80], batch.theta[:, 80:144], batch.theta[:, 144:224]
    for kept in (identity, albedo, faces.neutral_vertices(range(6))):
        assert torch.equal(kept[0], kept[1])
        assert torch.equal(kept[0], kept[2])
        assert not torch.equal(kept[2], kept[3])
    assert len(expression.unique(dim=0)) == 6
    assert len(batch.theta[:, -6:].unique(dim=0)) == 6
    assert set(batch.families) <= {"scarf", "hand"}
    assert torch.equal(identity[3], many.theta[3, :80]), "the first picture of a person is the one it always was"
    assert _same(faces.batch([4]), batch.select([4]))
    at_rest = SyntheticFaces(world, SyntheticConfig(face=FaceDistributions(expression=0)))
    assert torch.equal(at_rest.batch([7]).vertices, at_rest.neutral_vertices([7]))


@pytest.mark.parametrize("wrong", [{"families": ()}, {"families": ("umbrella",)}, {"pictures_per_person": 0}])
def test_wrong_casts_are_refused(world, wrong):
    with pytest.raises(ConfigError, match=r"choose from|give 1 or more"):
        SyntheticFaces(world, **wrong)
