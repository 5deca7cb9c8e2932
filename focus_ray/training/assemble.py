"""Assembles a run from its configuration: face model, networks with initial weights, training data."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from focus_ray import model
from focus_ray.config import RunConfig
from focus_ray.data.cache import CachedFaces
from focus_ray.data.cutout import cut_out
from focus_ray.data.photo_split import PhotoSplit
from focus_ray.data.photos import PhotoFolder
from focus_ray.data.rendered import RenderedFaces
from focus_ray.data.sample import Batch, FaceDataset
from focus_ray.data.sampler import batch_indices, epoch_of
from focus_ray.data.synthetic import SyntheticFaces
from focus_ray.errors import ConfigError
from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.focus.autoencoder import Focus
from focus_ray.focus.networks.encoder import ResNet50Encoder
from focus_ray.focus.networks.iresnet import load_arcface
from focus_ray.focus.networks.perceptual import ArcFacePerceptual
from focus_ray.focus.parameters import THETA_MODES
from focus_ray.focus.replica_group import SINGLE_PROCESS, ReplicaGroup
from focus_ray.storage.weights import read_weights

WORKING_FOLDER = Path()  # the working folder


@dataclass(frozen=True)
class TrainingData:
    """Batches by step, and the held-out faces of which everything is known or the photographs, where there are any."""

    batch_of: Callable[[int], Batch]
    heldout: FaceDataset | None
    unseen_families: frozenset[str]
    photos: PhotoSplit | None = None

    @property
    def digest(self) -> str | None:
        """sha256 of the photographs; None for synthetic faces, which the configuration describes."""
        return None if self.photos is None else self.photos.photos.digest

    @property
    def left_out(self) -> str | None:
        """Which photographs cannot be used and why, in a line; None where there are none such."""
        return None if self.photos is None else self.photos.photos.left_out


def world_face(config: RunConfig) -> MorphableModel:
    """The face that synthetic pictures are made of: more modes than are fitted."""
    from focus_ray.face_models.parametric import parametric_face  # scipy and matplotlib, which workers do without

    return parametric_face(config.face.resolution, *config.face.world_modes)


def resolve_start_model(path: Path, run_dir: Path) -> Path:
    """The model folder that the run in `run_dir` starts from; sweep, benchmark or runs may have been moved.

    Sweeps and benchmarks give the models of their own folder relative to the run: such a path begins with "..". Other
    relative paths are of the working folder. An absolute path that leads nowhere, as earlier versions gave them, is
    looked for one and two folders above the run, by its last two parts.
    """
    run_dir = run_dir.absolute()
    if path.parts[:1] == ("..",):
        beside = Path(os.path.normpath(run_dir / path))
        return beside if beside.is_dir() else path
    if not path.is_absolute() or path.exists():
        return path
    moved = (above / Path(*path.parts[-2:]) for above in run_dir.parents[:2])
    return next((folder for folder in moved if folder.is_dir()), path)


def fitted_face(config: RunConfig, run_dir: Path = WORKING_FOLDER) -> MorphableModel:
    """The face that is fitted: the leading modes of the world's, or the face of the model that training starts from.

    `run_dir` is the run's folder, as in `build_focus`.
    """
    if config.start_from is not None:
        return model.load(resolve_start_model(config.start_from, run_dir)).focus.face_model
    return world_face(config).truncate(*THETA_MODES)


def build_focus(config: RunConfig, face: MorphableModel, run_dir: Path = WORKING_FOLDER) -> Focus:
    """The networks with their initial weights. `run_dir` is the run's folder, see `resolve_start_model`.

    Raises ConfigError where weights are needed and not given, CheckpointError where a file does not fit.
    """
    if config.start_from is not None:
        started = model.load(resolve_start_model(config.start_from, run_dir))
        if started.settings != config.model:
            raise ConfigError(
                f"{config.start_from} has other networks than preset {config.preset!r}; "
                "set `model` as that model has it"
            )
        for network in (started.focus.encoder, started.focus.segmenter):
            network.requires_grad_(True)
        return started.focus
    focus = model.build(config.model, face, perceptual=False)
    if config.model.perceptual.kind == "arcface":
        if config.model.perceptual.weights is None:
            raise ConfigError(
                f"preset {config.preset!r} looks through ArcFace; give arcface_torch's backbone.pth as "
                "model.perceptual.weights=FILE, or use preset embedded"
            )
        focus.perceptual = ArcFacePerceptual(load_arcface(read_weights(config.model.perceptual.weights)))
    if config.model.encoder.weights is not None and isinstance(focus.encoder, ResNet50Encoder):
        focus.encoder.load_imagenet(read_weights(config.model.encoder.weights))
    return focus


def training_data(
    config: RunConfig, replicas: ReplicaGroup = SINGLE_PROCESS, run_dir: Path = WORKING_FOLDER
) -> TrainingData:
    """What this replica trains on: its part of each global batch, and the faces that are scored.

    `run_dir` is the run's folder, as in `build_focus`.

    Raises DataError where photographs cannot be used.
    """
    if config.photos is not None:
        return photo_data(config, config.photos, config.landmarks, replicas)
    if config.data.source == "rendered":
        train, heldout, unseen = *rendered_faces(config, fitted_face(config, run_dir)), ()
    else:
        train, heldout = synthetic_faces(config, world_face(config))
        unseen = config.data.synthetic.unseen_families
    kept = CachedFaces(train)
    supervised = config.initialise.mask == "true"

    def batch_of(step: int) -> Batch:
        numbers = shard_indices(config, step, config.data.size, replicas)
        batch = kept.batch(numbers)
        if config.data.cut is not None:
            batch = cut_out(batch, config.data.cut, kept, config.data.size, config.seed, step, numbers)
        return batch if supervised else replace(batch, masks=None)  # nothing else learns from them

    return TrainingData(batch_of, CachedFaces(heldout, vertices=True), frozenset(unseen))


def synthetic_faces(config: RunConfig, world: MorphableModel) -> tuple[FaceDataset, FaceDataset]:
    """Faces of the synthetic world for training and, by another seed and split, held out."""
    laws = config.data.synthetic.model_copy(update={"image_size": config.model.camera.image_size})
    return (
        SyntheticFaces(world, laws.model_copy(update={"seed": config.seed}), "train"),
        SyntheticFaces(world, laws.model_copy(update={"seed": config.heldout.seed}), "heldout"),
    )


def rendered_faces(config: RunConfig, face: MorphableModel) -> tuple[FaceDataset, FaceDataset]:
    """Renders of the fitted face for training and, by another seed and split, held out."""
    camera, laws = config.model.camera, config.data.rendered
    return (
        RenderedFaces(face, camera, laws, config.seed, "train"),
        RenderedFaces(face, camera, laws, config.heldout.seed, "heldout"),
    )


def photo_data(
    config: RunConfig, folder: str | Path, landmarks: str | Path | None, replicas: ReplicaGroup = SINGLE_PROCESS
) -> TrainingData:
    """The user's photographs, augmented anew in each pass, a share of them held out.

    Raises ConfigError where masks are to be learned from.
    """
    if config.initialise.mask == "true" or config.data.cut is not None:
        raise ConfigError(
            f"preset {config.preset!r} learns from true masks, which photographs lack; train it on synthetic faces"
        )
    image_size = config.model.camera.image_size
    photos = PhotoFolder(folder, landmarks, image_size=image_size, memory_mb=config.data.cache_mb)
    split = PhotoSplit(photos, config.data.heldout_share, config.heldout.seed)
    train = split.train
    augmentation = config.seed if config.data.augment else None

    def batch_of(step: int) -> Batch:
        epoch = epoch_of(step, config.batch_size, len(train))
        return train.batch(shard_indices(config, step, len(train), replicas), seed=augmentation, epoch=epoch)

    return TrainingData(batch_of, None, frozenset(), split)


def shard_indices(config: RunConfig, step: int, size: int, replicas: ReplicaGroup) -> list[int]:
    """Which of the `size` faces are this replica's at a global step: the sequence does not depend on their number."""
    everyone = batch_indices(config.seed, step, config.batch_size, size)
    mine = replicas.shard(config.batch_size)
    return everyone[mine.start : mine.stop]
