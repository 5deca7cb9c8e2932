"""Synthetic faces with exact ground truth, generated on demand; image i of a split depends on no other image."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Annotated, Literal, NamedTuple

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from numpy.random import Generator
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, field_validator
from torch import Tensor

from focus_ray.data.appearance import AppearanceDistributions, paint, simulate_camera
from focus_ray.data.backgrounds import BackgroundDistributions, draw_background
from focus_ray.data.decode import decode_basis
from focus_ray.data.distribution_types import Fraction, LandmarkBias
from focus_ray.data.occluders import FAMILIES, pixels
from focus_ray.data.occluders.drawing import Colour, Image, Mask, OccluderLayer, draw_shadow, overlay
from focus_ray.data.sample import UNOCCLUDED, Batch
from focus_ray.errors import ConfigError
from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.focus.camera import REFERENCE_SIZE, Camera
from focus_ray.focus.parameters import CHANNELS, PARAMETER_GROUPS, SH_BANDS
from focus_ray.focus.render.renderer import Renderer
from focus_ray.settings import Settings

SyntheticSplit = Literal["train", "heldout", "validation"]

# First words of the seed of each image; changing them changes all faces.
_SPLITS: dict[SyntheticSplit, int] = {"train": 0, "heldout": 1, "validation": 2}
# Random generators of an image; the position of a name is a word of the seed.
_PARTS = ("face", "view", "appearance", "scenery", "occlusion", "camera", "detector")
_VISIBLE = 0.5  # share of a pixel that the face has to cover to count as visible there
_CANVAS_PIXELS = 2**18  # of the faces that are rendered in one call: more do not stay in the cache


class FaceDistributions(Settings):
    """Distributions of identity, pose and light.

    Coefficients are N(0, 1) in sigmas, by the model's own definition. Values were chosen in trials at 64 px, except
    depth: the model frame at 1000 mm is already the aligned crop.
    """

    expression: NonNegativeFloat = 0.8  # factor on expression coefficients
    yaw: NonNegativeFloat = 20.0  # degrees, standard deviation
    pitch: NonNegativeFloat = 10.0
    roll: NonNegativeFloat = 6.0
    jitter: NonNegativeFloat = 2.5  # mm = px at 224, standard deviation of an aligned crop's offset
    depth: NonNegativeFloat = 30.0  # mm, standard deviation
    light: tuple[float, float, float] = (2.5, 0.35, -0.8)  # mean of bands 0 (ambient), 1 (from above), 2 (frontal)
    ambient_spread: NonNegativeFloat = 0.3
    directional_spread: NonNegativeFloat = 0.35  # bands 1-3
    second_band_spread: NonNegativeFloat = 0.1  # bands 4-8
    light_colour: NonNegativeFloat = 0.08  # relative, each channel
    light_colour_band: NonNegativeFloat = 0.05  # each channel and band independently


class OcclusionDistributions(Settings):
    """Distributions of the occluders; share and sizes were chosen in trials at 64 px."""

    share: Fraction = 0.55  # of the images
    unseen: tuple[str, ...] = ("cup", "hand", "sunglasses", "surgical_mask")  # families of held-out images only
    unseen_share: Fraction = 0.5  # of the occluded held-out images
    hidden: tuple[float, float] = (0.06, 0.6)  # of the rendered face
    attempts: PositiveInt = 12  # drawings tried until a share is within these limits; else the nearest is used
    shadow: Fraction = 0.3  # share of the occluders that cast a shadow on the face
    shadow_strength: Fraction = 0.35  # at most

    @field_validator("unseen")
    @classmethod
    def _check_unseen(cls, unseen: tuple[str, ...]) -> tuple[str, ...]:
        unknown = sorted(set(unseen) - set(FAMILIES))
        if unknown or not set(FAMILIES) - set(unseen):
            raise ValueError(f"unseen must be some of the families {sorted(FAMILIES)}; leave at least one for training")
        return unseen


class DetectorNoise(Settings):
    """Landmark detector noise: standard deviations in px at 224, chosen to match a good detector."""

    visible: NonNegativeFloat = 1.5
    occluded: NonNegativeFloat = 3.5
    bias: LandmarkBias = LandmarkBias()


class SyntheticConfig(Settings):
    """Configuration of the synthetic world: all distributions that images are drawn from.

    The same config, seed, split and index give the same image.
    """

    seed: NonNegativeInt = 0
    image_size: Annotated[int, Field(ge=16)] = 64  # px
    supersample: PositiveInt = 2  # drawn this many times larger, then averaged
    face: FaceDistributions = FaceDistributions()
    appearance: AppearanceDistributions = AppearanceDistributions()
    scenery: BackgroundDistributions = BackgroundDistributions()
    occlusion: OcclusionDistributions = OcclusionDistributions()
    detector: DetectorNoise = DetectorNoise()

    @property
    def unseen_families(self) -> tuple[str, ...]:
        """Occluder families that occur in held-out images only."""
        return self.occlusion.unseen

    @property
    def seen_families(self) -> tuple[str, ...]:
        """Occluder families of training and validation images; held-out images have them too."""
        return tuple(name for name in FAMILIES if name not in self.occlusion.unseen)


class RandomStreams(NamedTuple):
    """Independent random generators of an image: a change to one part of the world leaves the others unchanged."""

    view: Generator
    appearance: Generator
    scenery: Generator
    occlusion: Generator
    camera: Generator
    detector: Generator


class _Person(NamedTuple):
    """All coefficients of one image, in sigmas, rad and mm, including the modes that the fitted model lacks."""

    identity: np.ndarray
    expression: np.ndarray
    albedo: np.ndarray
    light: np.ndarray
    rotation: np.ndarray
    translation: np.ndarray


class _RenderedFace(NamedTuple):
    """A rendered face on its canvas, before the camera simulation."""

    rgb: Image
    region: Mask
    landmarks: Float[np.ndarray, "68 2"]
    skin: Colour


class _Picture(NamedTuple):
    """One finished image with its ground truth."""

    rgb: UInt8[np.ndarray, "H W 3"]
    mask: Bool[np.ndarray, "H W"]
    region: Bool[np.ndarray, "H W"]
    landmarks: Float[np.ndarray, "68 2"]
    landmarks_true: Float[np.ndarray, "68 2"]
    family: str


class SyntheticFaces:
    """An unbounded set of faces of a world model, rendered with the camera of the fitted model."""

    def __init__(
        self,
        world: MorphableModel,
        config: SyntheticConfig | None = None,
        split: SyntheticSplit = "train",
        *,
        pictures_per_person: int = 1,
        families: Sequence[str] | None = None,
    ) -> None:
        """Check the arguments and build the renderer.

        pictures_per_person and families are not keys of the config: they would change the digest of every run.

        Args:
            world: face model with at least the modes of theta (80, 64, 80); the fitted model lacks any further modes.
            config: distributions to draw from; None means the defaults.
            split: different splits have different images.
            pictures_per_person: number of consecutive images of one person, who keeps identity, albedo and paint.
            families: occluder families to draw from; None means those of the split.

        Raises:
            ConfigError: the world has too few modes, families is empty or has an unknown name, or pictures_per_person
                is below 1.
        """
        modes = {"identity": world.n_identity, "expression": world.n_expression, "albedo": world.n_albedo}
        few = [group.name for group in PARAMETER_GROUPS if modes.get(group.name, group.size) < group.size]
        if few:
            raise ConfigError(
                f"the world model has too few modes of {', '.join(few)}; use one with at least 80, 64, 80"
            )
        unknown = sorted(set(families or ()) - set(FAMILIES))
        if unknown or (families is not None and not families):
            raise ConfigError(f"families are empty or unknown: {unknown}; choose from {', '.join(FAMILIES)}")
        if pictures_per_person < 1:
            raise ConfigError(f"pictures_per_person is {pictures_per_person}; give 1 or more")
        self.world = world
        self.families = None if families is None else tuple(families)
        self.pictures_per_person = pictures_per_person
        self.config = config or SyntheticConfig()
        self.split: SyntheticSplit = split
        canvas = self.config.image_size * self.config.supersample
        self._renderer = Renderer(world, Camera(image_size=canvas))
        self._unit = self.config.image_size / REFERENCE_SIZE

    @torch.no_grad()
    def batch(self, indices: Sequence[int]) -> Batch:
        """Return the images with these numbers.

        Thread-safe; the heavy work runs without the GIL.
        """
        streams = [self._streams(index) for index in indices]
        people = [self._sample_person(index, stream) for index, stream in zip(indices, streams, strict=True)]
        vertices = self._decode([np.concatenate([p.identity, p.expression]) for p in people], shape=True)
        albedo = self._decode([p.albedo for p in people], shape=False)
        faces = self._render_faces(streams, people, vertices, albedo)
        pictures = [self._make_picture(*parts) for parts in zip(streams, faces, strict=True)]
        return Batch(
            images=_stack([picture.rgb for picture in pictures]).permute(0, 3, 1, 2).float().div(255).contiguous(),
            landmarks=_stack([picture.landmarks for picture in pictures]),
            masks=_stack([picture.mask for picture in pictures]).float()[:, None],
            theta=torch.from_numpy(np.stack([_theta(person) for person in people])),
            vertices=vertices,
            families=[picture.family for picture in pictures],
            names=[f"{self.split}-{index:06d}" for index in indices],
            landmarks_true=_stack([picture.landmarks_true for picture in pictures]),
            region=_stack([picture.region for picture in pictures]).float()[:, None],
        )

    def neutral_vertices(self, indices: Sequence[int]) -> Float[Tensor, "B V 3"]:
        """Compute the faces of these images without expression and pose.

        Args:
            indices: numbers of the images.

        Returns:
            Vertices in the model frame, mm.
        """
        identities = [self._sample_coefficients(index)[0] for index in indices]
        at_rest = np.zeros(self.world.n_expression)
        return self._decode([np.concatenate([identity, at_rest]) for identity in identities], shape=True)

    def _streams(self, index: int) -> RandomStreams:
        person = self._first_image_of_person(index)
        return RandomStreams(
            *(self._stream(person if part == "appearance" else index, part) for part in RandomStreams._fields)
        )

    def _stream(self, index: int, part: str, *child: int) -> Generator:
        """Random generator of one part of an image, or its spawned child of this number."""
        words, places = (self.config.seed, _SPLITS[self.split], index), (_PARTS.index(part), *child)
        return Generator(np.random.Philox(np.random.SeedSequence(words, spawn_key=places)))

    def _first_image_of_person(self, index: int) -> int:
        """The first image that shows the same person."""
        return index - index % self.pictures_per_person

    def _sample_coefficients(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Identity, expression and albedo coefficients, N(0, 1)."""
        # A stream for each basis, leading modes first: a world with more modes shows the same people in more detail.
        person, world = self._first_image_of_person(index), self.world
        return (
            self._stream(person, "face", 0).standard_normal(world.n_identity),
            self._stream(index, "face", 1).standard_normal(world.n_expression),
            self._stream(person, "face", 2).standard_normal(world.n_albedo),
        )

    def _sample_person(self, index: int, streams: RandomStreams) -> _Person:
        laws, view = self.config.face, streams.view
        modes = self._sample_coefficients(index)
        degrees = view.standard_normal(3) * np.array([laws.pitch, laws.yaw, laws.roll])
        return _Person(
            identity=modes[0],
            expression=modes[1] * laws.expression,
            albedo=modes[2],
            light=_sample_light(view, laws),
            rotation=np.deg2rad(degrees),
            translation=view.standard_normal(3) * np.array([laws.jitter, laws.jitter, laws.depth]),
        )

    def _decode(self, coefficients: list[np.ndarray], shape: bool) -> Float[Tensor, "B V 3"]:
        world = self.world
        mean, basis = (world.mean, world.shape_basis) if shape else (world.mean_albedo, world.albedo_basis)
        return decode_basis(torch.from_numpy(np.stack(coefficients).astype(np.float32)), mean, basis)

    def _make_picture(self, streams: RandomStreams, drawn: _RenderedFace) -> _Picture:
        config = self.config
        canvas = len(drawn.rgb)
        scene = draw_background(streams.scenery, canvas, drawn.landmarks, drawn.skin, config.scenery)
        scene = overlay(scene, drawn.region, drawn.rgb)
        family, layer = self._draw_occluder(streams.occlusion, drawn)
        alpha = np.zeros_like(drawn.region)
        if layer is not None:
            scene, alpha = _composite_occluder(streams.occlusion, scene, layer, config.occlusion), layer.alpha
        landmarks_true = (drawn.landmarks + 0.5) / config.supersample - 0.5
        noise = self._detector_noise(streams.detector, alpha, drawn.landmarks)
        region = self._downsample(drawn.region) >= _VISIBLE
        visible = self._downsample(drawn.region * (1 - alpha)) >= _VISIBLE
        return _Picture(
            rgb=simulate_camera(streams.camera, self._downsample(scene), config.appearance),
            mask=visible,
            region=region,
            landmarks=(landmarks_true + noise).astype(np.float32),
            landmarks_true=landmarks_true.astype(np.float32),
            family=family,
        )

    def _render_faces(
        self, streams: list[RandomStreams], people: list[_Person], vertices: Tensor, albedo: Tensor
    ) -> Iterator[_RenderedFace]:
        """Paint and render the faces, several in one call: the renderer's bits do not depend on other images."""
        shape, landmarks = self._mean_shape
        count = max(1, _CANVAS_PIXELS // self._renderer.camera.image_size**2)
        for start in range(0, len(people), count):
            rows = slice(start, start + count)
            rngs = [stream.appearance for stream in streams[rows]]
            painted = [
                paint(rng, colours, shape, landmarks, self.config.appearance)
                for rng, colours in zip(rngs, albedo[rows].numpy(), strict=True)
            ]
            parameters = ([getattr(p, name) for p in people[rows]] for name in ("light", "rotation", "translation"))
            rendering = self._renderer.render(
                vertices[rows], _stack(painted), *(_stack(values).float() for values in parameters)
            )
            yield from map(_rendered_face, rendering.image, rendering.mask, rendering.landmarks)

    @cached_property
    def _landmark_shift(self) -> Float[np.ndarray, "68 2"]:
        return self.config.detector.bias.shift() * self._unit

    @cached_property
    def _mean_shape(self) -> tuple[np.ndarray, np.ndarray]:
        return self.world.mean.numpy(), self.world.landmarks(self.world.mean[None])[0].numpy()

    def _draw_occluder(self, rng: Generator, rendered: _RenderedFace) -> tuple[str, OccluderLayer | None]:
        """The family and drawing of an occluder that hides an allowed share of the face, or none."""
        laws = self.config.occlusion
        if rng.uniform() >= laws.share:
            return UNOCCLUDED, None
        pool = self._allowed_families(rng)
        family = pool[int(rng.integers(len(pool)))]
        low, high = laws.hidden
        face, best, miss = max(float(rendered.region.sum()), 1.0), None, np.inf
        for _ in range(laws.attempts):
            layer = FAMILIES[family](rng, len(rendered.rgb), rendered.landmarks, rendered.skin)
            hidden = pixels.count_above(rendered.region, np.ascontiguousarray(layer.alpha), _VISIBLE) / face
            distance = max(low - hidden, hidden - high, 0.0)
            if distance < miss:
                best, miss = layer, distance
            if distance == 0:
                break
        return family, best

    def _allowed_families(self, rng: Generator) -> tuple[str, ...]:
        config = self.config
        if self.families is not None:
            return self.families
        if self.split == "heldout" and config.unseen_families and rng.uniform() < config.occlusion.unseen_share:
            return config.unseen_families
        return config.seen_families

    def _downsample(self, canvas: np.ndarray) -> np.ndarray:
        size = self.config.image_size
        return cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA)

    def _detector_noise(
        self, rng: Generator, alpha: Mask, landmarks: Float[np.ndarray, "68 2"]
    ) -> Float[np.ndarray, "68 2"]:
        laws = self.config.detector
        column, row = np.clip(np.rint(landmarks), 0, len(alpha) - 1).astype(int).T
        hidden = alpha[row, column] >= _VISIBLE
        sigma = np.where(hidden, laws.occluded, laws.visible) * self._unit
        return sigma[:, None] * rng.standard_normal(landmarks.shape) + self._landmark_shift


def _rendered_face(image: Tensor, mask: Tensor, landmarks: Tensor) -> _RenderedFace:
    rgb, region = np.ascontiguousarray(image.permute(1, 2, 0).numpy()), mask[0].numpy()
    skin = np.array(cv2.mean(rgb, region.astype(np.uint8))[:3])
    return _RenderedFace(rgb, region, landmarks.numpy(), np.clip(skin, 0, 1))


def _sample_light(rng: Generator, distributions: FaceDistributions) -> Float[np.ndarray, " 27"]:
    """R9|G9|B9: a white light of random direction, tinted as a whole and a little in each band."""
    mean = np.zeros(SH_BANDS)
    mean[: len(distributions.light)] = distributions.light
    spread = np.array(
        [distributions.ambient_spread, *[distributions.directional_spread] * 3, *[distributions.second_band_spread] * 5]
    )
    white = mean + spread * rng.standard_normal(SH_BANDS)
    tint = 1 + distributions.light_colour * rng.standard_normal((CHANNELS, 1))
    return (white * tint + distributions.light_colour_band * rng.standard_normal((CHANNELS, SH_BANDS))).reshape(-1)


def _theta(person: _Person) -> Float[np.ndarray, " 257"]:
    """Parameters of the fitted model for this image: leading modes, light and camera."""
    leading = [values[: group.size] for values, group in zip(person, PARAMETER_GROUPS, strict=True)]
    return np.concatenate(leading).astype(np.float32)


def _composite_occluder(
    rng: Generator, scene: Image, layer: OccluderLayer, distributions: OcclusionDistributions
) -> Image:
    """The scene behind an occluder, sometimes with the occluder's soft shadow on it."""
    if rng.uniform() < distributions.shadow:
        shadow = draw_shadow(rng, layer.alpha, float(len(scene)), distributions.shadow_strength)
        scene = pixels.scale(scene, 1 - shadow)
    return pixels.blend_clipped(
        scene, np.ascontiguousarray(layer.alpha, np.float32), np.ascontiguousarray(layer.rgb, np.float32)
    )


def _stack(arrays: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(arrays))
