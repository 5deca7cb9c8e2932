"""What the presets `paper` and `release` are, number by number, and that each of their phases can be trained."""

import math

import pytest
import torch

from focus_ray import model, presets
from focus_ray.config import RunConfig
from focus_ray.focus import losses
from focus_ray.focus.camera import Camera
from focus_ray.focus.guard import Guard
from focus_ray.focus.networks.iresnet import IResNet
from focus_ray.focus.networks.perceptual import ArcFacePerceptual
from focus_ray.focus.schedule import Phase, Schedule
from focus_ray.focus.state import Targets, TrainState
from focus_ray.focus.synthesis import SamplingDistributions, make_generator, render_random
from focus_ray.model_location import find_model
from focus_ray.settings import Settings
from focus_ray.training.loop import train_steps

BOTH = ("paper", "release")


def options(settings: Settings, names: dict[str, object]) -> dict[str, object]:
    """What the settings say of these options."""
    return {name: getattr(settings, name) for name in names}


def test_the_losses_of_the_paper():
    segmentation = {
        "eta_nbr": 15.0,
        "eta_dist": 3.0,
        "eta_area": 0.5,
        "eta_presv": 2.5,
        "eta_bin": 10.0,
        "neighbor_squared": True,
        "neighbor_centre": "target",
        "neighbor_premultiplied": False,
        "neighbor_normalise": "image",
        "neighbor_border": "keep",
        "area_form": "paper",
        "binary_form": "paper",
        "binary_region_only": False,
        "width_normalised": False,
    }
    reconstruction = {
        "lambda_pixel": 0.5,
        "lambda_per": 0.25,
        "lambda_lm": 5e-4,
        "lambda_reg": 0.1,
        "lambda_area": 0.0,
        "pixel_norm": "l21",  # this and the form of L_reg are not the paper's, as the preset says
        "pixel_normalise": "mask",
        "landmark_emphasis": "paper",
        "landmark_squared_weights": False,
        "regularizer_form": "release",
        "detach_mask": True,
    }
    config = presets.load("paper")
    assert options(config.em.segmentation, segmentation) == segmentation
    assert options(config.em.reconstruction, reconstruction) == reconstruction
    assert options(config.initialise.weights, reconstruction) == reconstruction
    initialise = {"xi": 0.17, "xi_start": None, "likelihood": False}
    assert options(config.initialise, initialise) == initialise


def test_the_losses_of_the_released_code():
    segmentation = {
        "eta_nbr": 15.0,
        "eta_dist": 3.0,
        "eta_area": 0.5,
        "eta_presv": 0.25,
        "eta_bin": 10.0,
        "neighbor_window": 5,
        "neighbor_squared": False,
        "neighbor_centre": "rendering",
        "neighbor_premultiplied": True,
        "neighbor_normalise": "image",
        "neighbor_border": "drop",
        "area_form": "release",
        "binary_form": "release",
        "binary_region_only": False,
        "width_normalised": True,
    }
    reconstruction = {
        "lambda_pixel": 0.5,
        "lambda_per": 0.25,
        "lambda_lm": 5e-4,
        "lambda_reg": 0.1,
        "pixel_norm": "l21",
        "pixel_normalise": "mask",
        "landmark_emphasis": "release",
        "landmark_squared_weights": True,
        "regularizer_form": "release",
        "regularizer_coefficients": None,
    }
    config = presets.load("release")
    assert options(config.em.segmentation, segmentation) == segmentation
    in_em = reconstruction | {"lambda_area": 0.06, "detach_mask": False}
    assert options(config.em.reconstruction, in_em) == in_em
    before_em = reconstruction | {"lambda_area": 0.0}
    assert options(config.initialise.weights, before_em) == before_em
    assert config.initialise.xi == pytest.approx(0.016641)
    assert math.sqrt(config.initialise.xi) == pytest.approx(0.129)
    initialise = {"xi_start": None, "likelihood": True}
    assert options(config.initialise, initialise) == initialise


@pytest.mark.parametrize(
    ("name", "emphasised", "factor"),
    [
        ("paper", [27, 28, 29, 30, 60, 61, 62, 63, 64, 65, 66, 67], 20.0),
        ("release", [28, 29, 30, 60, 61, 62, 63, 64, 65, 66, 67], 400.0),
    ],
)
def test_the_landmarks_that_count_more(name, emphasised, factor):
    """By what the loss makes of one landmark that is 1 px off in x, among 136 coordinates."""
    weights = presets.load(name).em.reconstruction
    for point in range(68):
        off = torch.zeros(1, 68, 2)
        off[0, point, 0] = 1.0
        loss = losses.landmark(
            off,
            torch.zeros(1, 68, 2),
            losses.landmark_weights(weights.landmark_emphasis),
            squared_weights=weights.landmark_squared_weights,
        )
        assert 136 * float(loss) == pytest.approx(factor if point in emphasised else 1.0), point


@pytest.mark.parametrize("name", BOTH)
def test_neither_knows_what_only_the_embedded_preset_does(name):
    config = presets.load(name)
    assert config.em.calibration is None
    assert config.em.refined_comparison is None
    assert config.schedule.warmup_steps == 0


@pytest.mark.parametrize("name", BOTH)
def test_rates_and_their_decay(name):
    optimizers = presets.load(name).optimizers
    face = 0.1 * 0.99**60 * 0.8
    rates = {
        "init": (0.1, 0.99),
        "pretrain_seg": (0.03, 0.99),
        "em_face": (face, 0.99),
        "em_seg": (0.06 * face, 0.95),
    }
    assert optimizers.em_face.lr == pytest.approx(0.0437725, rel=1e-5)
    assert optimizers.em_seg.lr == pytest.approx(0.00262635, rel=1e-5)
    for phase, (lr, decay) in rates.items():
        optimizer = getattr(optimizers, phase)
        assert optimizer.lr == pytest.approx(lr), phase
        rule = {"rule": "adadelta", "shape": "steps", "decay": decay, "decay_every": 5000, "clip_norm": None}
        assert options(optimizer, rule) == rule, phase


@pytest.mark.parametrize("name", BOTH)
def test_sizes_networks_and_scales(name):
    config = presets.load(name)
    assert config.batch_size == 12
    networks = config.model
    camera = {"image_size": 224, "focal_at_224": 1014.72, "distance_mm": 1000.0}
    assert options(networks.camera, camera) == camera
    assert networks.encoder.kind == "resnet50"
    assert networks.perceptual.kind == "arcface"
    segmenter = {"width": 64, "levels": 5, "dropout": 0.5, "slope": 5.0, "norm": "batch"}
    assert options(networks.segmenter, segmenter) == segmenter
    scales = {
        "identity": 1.0, "expression": 1.0, "albedo": 3.0, "light": 1.0, "rotation": 0.3, "translation_xy": 1.0,
        "translation_z": 30.0,
    }  # fmt: skip
    assert options(networks.scales, scales) == scales
    ambient = (4.39823, *[0.0] * 8)
    assert networks.scales.light_offset == pytest.approx(ambient * 3, rel=1e-5)


@pytest.mark.parametrize("name", presets.PRESETS)
def test_poses_are_scaled_by_the_spread_of_those_that_are_drawn(name):
    """Within a factor of 4: one standard deviation is an answer of the head between 1/4 and 4."""
    config = presets.load(name)
    scales, face = config.model.scales, config.data.synthetic.face
    angles = (math.radians(angle) for angle in (face.pitch, face.yaw, face.roll))
    drawn = [(*angles, face.jitter, face.depth)]
    for laws in (config.warmup.laws, config.data.rendered.laws):
        drawn.append((laws.pitch, laws.yaw, laws.roll, laws.translation_xy, laws.translation_z))
    for pitch, yaw, roll, shift, depth in drawn:
        for angle in (pitch, yaw, roll):
            assert 1 / 4 <= scales.rotation / angle <= 4
        assert 1 / 4 <= scales.translation_xy / shift <= 4
        assert scales.translation_z == depth  # the world's and the head's are one number


@pytest.mark.parametrize("name", BOTH)
def test_the_schedule_alternates_every_thirty_thousand_steps_and_begins_with_the_segmenter(name):
    schedule = presets.load(name).schedule
    assert (schedule.pretrain_seg_steps, schedule.seg_steps, schedule.face_steps) == (30_000, 5_000, 25_000)
    assert schedule.at(schedule.em_start).phase is Phase.EM_SEG


def miniature(name: str) -> RunConfig:
    """The preset on small pictures with a thin UNet, one step of each phase."""
    config = presets.load(name)
    networks = config.model.model_copy(
        update={
            "camera": Camera(image_size=64),
            "segmenter": config.model.segmenter.model_copy(update={"width": 4}),
        }
    )
    once = Schedule(init_steps=1, pretrain_seg_steps=1, cycles=1, seg_steps=1, face_steps=1)
    return config.model_copy(update={"batch_size": 2, "model": networks, "schedule": once})


@pytest.fixture(scope="module")
def recogniser() -> ArcFacePerceptual:
    """A network of ArcFace's structure that has never seen a face."""
    torch.manual_seed(0)
    return ArcFacePerceptual(IResNet())


def untrained(config: RunConfig, face, recogniser: ArcFacePerceptual) -> TrainState:
    """The state a run begins with, where ArcFace's weights are given."""
    as_if_none = config.model.model_copy(update={"perceptual": model.PerceptualSettings(kind="warmup_encoder")})
    focus = model.build(as_if_none, face, perceptual=False)
    focus.perceptual = recogniser
    return TrainState(focus)


def parameters(network: torch.nn.Module) -> torch.Tensor:
    return torch.cat([tensor.detach().flatten() for tensor in network.parameters()])


@pytest.mark.parametrize(("name", "of_r"), [("paper", set()), ("release", {"area"})])
def test_every_phase_takes_a_step(name, of_r, ellipsoid_face, recogniser):
    config = miniature(name)
    state = untrained(config, ellipsoid_face, recogniser)
    images, theta = render_random(state.focus.renderer, SamplingDistributions(), config.batch_size, make_generator(7))
    targets = Targets(images, state.focus.renderer(theta).landmarks)
    networks = {"R": state.focus.encoder, "S": state.focus.segmenter, "F": recogniser}
    before = {which: parameters(network) for which, network in networks.items()}

    seen = []
    for record in train_steps(state, config, lambda step: targets, Guard(config.guard)):
        moved = {which for which, network in networks.items() if not torch.equal(parameters(network), before[which])}
        before = {which: parameters(network) for which, network in networks.items()}
        assert not record.metrics.skipped, record
        assert all(math.isfinite(value) for value in record.metrics.losses.values()), record
        seen.append((str(record.position.phase), moved, set(record.metrics.losses) - {"total"}))
    assert seen == [
        ("init", {"R"}, {"pixel", "per", "lm", "reg"}),
        ("pretrain_seg", {"S"}, {"bce"}),
        ("em_seg", {"S"}, {"nbr", "dist", "area", "presv", "bin"}),
        ("em_face", {"R"}, {"pixel", "per", "lm", "reg"} | of_r),
    ]


def test_adaptation_goes_on_with_the_default_model_and_its_losses():
    adapt = presets.load("adapt")
    assert adapt.start_from == find_model(None)
    assert adapt.model == model.load().settings
    assert adapt.em == presets.portrait().em
    assert adapt.data.planted is not None
    assert adapt.data.planted.synthetic_share == 0


def test_adaptation_keeps_the_checkpoint_that_explains_the_photographs_best():
    """Nobody knows the masks of photographs: the figure of the other presets does not exist there."""
    cadence = presets.load("adapt").cadence
    assert (cadence.best, cadence.best_is) == ("photos.rmse_255", "lowest")
    cadence = presets.load("embedded").cadence
    assert (cadence.best, cadence.best_is) == ("heldout.occluded.f1", "highest")
