"""Assembly of a run from its configuration: face model, networks with initial weights, training data."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from focus_ray import model
from focus_ray.config import RunConfig
from focus_ray.data.augment import AugmentSettings
from focus_ray.data.cache import CachedFaces
from focus_ray.data.composites.planted import PlantedConfig, PlantedMixture, PlantedPhotos
from focus_ray.data.cutout import cut_out
from focus_ray.data.occluders import FAMILIES
from focus_ray.data.photo_split import PhotoSplit, PhotoSubset
from focus_ray.data.photos import PhotoFolder
from focus_ray.data.prepared.prepared_photos import PreparedPhotos
from focus_ray.data.prepared.prepared_split import PreparedSplit
from focus_ray.data.prepared.store_files import is_prepared
from focus_ray.data.rendered import RenderedFaces
from focus_ray.data.sample import Batch, FaceDataset
from focus_ray.data.sampler import batch_indices, epoch_of
from focus_ray.data.synthetic import SyntheticFaces
from focus_ray.errors import ConfigError
from focus_ray.face_models.by_name import load_face
from focus_ray.face_models.morphable_model import MorphableModel
from focus_ray.focus.autoencoder import Focus
from focus_ray.focus.networks.encoder import ResNetEncoder
from focus_ray.focus.networks.perceptual import ArcFacePerceptual
from focus_ray.focus.parameters import THETA_MODES
from focus_ray.focus.replica_group import SINGLE_PROCESS, ReplicaGroup
from focus_ray.licences.lineage import NEW, DataKind, Lineage
from focus_ray.recognisers.load import FILES, load_recogniser
from focus_ray.storage.weights import read_weights

WORKING_FOLDER = Path()


@dataclass(frozen=True)
class TrainingData:
    """Training batches by step, and the faces or photographs that are scored.

    Attributes:
        batch_of: returns this replica's part of the batch of a step.
        heldout: held-out faces with ground truth; None for photographs.
        unseen_families: occluder families that are not in the training data.
        photos: photographs, split into training and held-out ones; None for synthetic faces.
    """

    batch_of: Callable[[int], Batch]
    heldout: FaceDataset | None
    unseen_families: frozenset[str]
    photos: PhotoSplit | None = None

    @property
    def digest(self) -> str | None:
        """sha256 of the photographs; None for synthetic faces, which the configuration determines."""
        return None if self.photos is None else self.photos.photos.digest

    @property
    def left_out(self) -> str | None:
        """One line on the photographs that cannot be used and why; None if all can be used."""
        return None if self.photos is None else self.photos.photos.left_out


def world_face(config: RunConfig) -> MorphableModel:
    """Return the face model of the synthetic images, which has more modes than are fitted."""
    from focus_ray.face_models.parametric import (
        parametric_face,
    )  # imports scipy and matplotlib, which workers do not need

    return parametric_face(config.face.resolution, *config.face.world_modes)


def resolve_start_model(path: Path, run_dir: Path) -> Path:
    """Return the model folder that a run starts from, also if the sweep, benchmark or run was moved.

    Sweeps and benchmarks record the models of their own folder relative to the run: such a path begins with "..". Other
    relative paths are relative to the working folder. An absolute path that does not exist (written by earlier
    versions) is searched for by its last two parts, one and two folders above the run.

    Args:
        path: `start_from` of the configuration.
        run_dir: folder of the run.

    Returns:
        The folder that was found, else `path` unchanged.
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
    """Return the face model that is fitted: an imported one, that of the start model, or the modes of `world_face`.

    Args:
        config: the run's configuration.
        run_dir: folder of the run, see `resolve_start_model`.

    Raises:
        CheckpointError: the start model cannot be loaded.
        ConfigError: both a start model and a face model are given.
        FaceModelError: the imported face model cannot be loaded.
    """
    if config.start_from is not None and config.face.file is not None:
        raise ConfigError(f"the start model {config.start_from} has its own face model; leave face.file out")
    if config.face.file is not None:
        return load_face(config.face.file)
    if config.start_from is not None:
        return model.load(resolve_start_model(config.start_from, run_dir)).focus.face_model
    return world_face(config).truncate(*THETA_MODES)


def build_focus(config: RunConfig, face: MorphableModel, run_dir: Path = WORKING_FOLDER) -> Focus:
    """Build the networks with their initial weights.

    Args:
        config: the run's configuration.
        face: face model that is fitted; unused with a start model, which has its own.
        run_dir: folder of the run, see `resolve_start_model`.

    Raises:
        ConfigError: weights are needed and not given, or the start model has other networks than the configuration.
        CheckpointError: a file of weights does not fit.
    """
    if config.start_from is not None:
        started = model.load(resolve_start_model(config.start_from, run_dir))
        if started.settings != config.model:
            raise ConfigError(
                f"{config.start_from} has other networks than preset {config.preset!r}; "
                "set `model` to that model's values"
            )
        for network in (started.focus.encoder, started.focus.segmenter):
            network.requires_grad_(True)
        return started.focus
    focus = model.build(config.model, face, perceptual=False)
    kind = config.model.perceptual.kind
    if kind != "warmup_encoder":
        weights = config.model.perceptual.weights
        if weights is None and kind != "face_mesh":
            raise ConfigError(
                f"preset {config.preset!r} uses the recogniser {kind} as perceptual network; give {FILES[kind]} as "
                "model.perceptual.weights=FILE, or use preset embedded"
            )
        focus.perceptual = ArcFacePerceptual(load_recogniser(kind, weights))
    if config.model.encoder.weights is not None and isinstance(focus.encoder, ResNetEncoder):
        focus.encoder.load_imagenet(read_weights(config.model.encoder.weights))
    return focus


def training_data(
    config: RunConfig,
    replicas: ReplicaGroup = SINGLE_PROCESS,
    run_dir: Path = WORKING_FOLDER,
    face: MorphableModel | None = None,
) -> TrainingData:
    """Return this replica's part of each global batch, and the faces that are scored.

    Args:
        config: the run's configuration.
        replicas: rank and number of the replicas.
        run_dir: folder of the run, see `resolve_start_model`.
        face: face model that is fitted; None: that of the configuration.

    Raises:
        ConfigError: the configuration needs true masks, and the data are photographs.
        DataError: the photographs cannot be used.
    """
    if config.photos is not None:
        return photo_data(config, config.photos, config.landmarks, replicas, face or fitted_face(config, run_dir))
    if config.data.source == "rendered":
        train, heldout, unseen = *rendered_faces(config, face or fitted_face(config, run_dir)), ()
    else:
        imported = None if config.face.file is None else face or fitted_face(config)
        train, heldout = synthetic_faces(config, imported or world_face(config))
        unseen = config.data.synthetic.unseen_families
    kept = CachedFaces(train)
    supervised = config.initialise.mask == "true"

    def batch_of(step: int) -> Batch:
        numbers = shard_indices(config, step, config.data.size, replicas)
        batch = kept.batch(numbers)
        if config.data.cut is not None:
            batch = cut_out(batch, config.data.cut, kept, config.data.size, config.seed, step, numbers)
        return batch if supervised else replace(batch, masks=None)  # only this initialisation uses them

    return TrainingData(batch_of, CachedFaces(heldout, vertices=True), frozenset(unseen))


def training_lineage(config: RunConfig, data: TrainingData, run_dir: Path = WORKING_FOLDER) -> Lineage:
    """Return the lineage of the model that a run makes: that of its start model, and its own pictures.

    Args:
        config: the run's configuration.
        data: the run's training data.
        run_dir: folder of the run, see `resolve_start_model`.

    Raises:
        CheckpointError: the start model cannot be loaded.
    """
    kind: DataKind = config.data.source
    if data.photos is not None:
        kind = "portraits" if data.photos.photos.portraits else "photographs"
    lineage = NEW if config.start_from is None else model.load(resolve_start_model(config.start_from, run_dir)).lineage
    if config.data.planted is not None and config.data.planted.synthetic_share:
        lineage = lineage.train_on("synthetic")
    return lineage.train_on(kind)


def synthetic_faces(config: RunConfig, world: MorphableModel) -> tuple[FaceDataset, FaceDataset]:
    """Return synthetic faces for training, and held-out ones with another seed and split."""
    laws = config.data.synthetic.model_copy(update={"image_size": config.model.camera.image_size})
    return (
        SyntheticFaces(world, laws.model_copy(update={"seed": config.seed}), "train"),
        SyntheticFaces(world, laws.model_copy(update={"seed": config.heldout.seed}), "heldout"),
    )


def rendered_faces(config: RunConfig, face: MorphableModel) -> tuple[FaceDataset, FaceDataset]:
    """Return renders of the fitted face for training, and held-out ones with another seed and split."""
    camera, laws = config.model.camera, config.data.rendered
    return (
        RenderedFaces(face, camera, laws, config.seed, "train"),
        RenderedFaces(face, camera, laws, config.heldout.seed, "heldout"),
    )


def check_photo_config(config: RunConfig) -> None:
    """Check that a configuration can be trained on photographs.

    Raises:
        ConfigError: the configuration needs true masks.
    """
    if config.initialise.mask == "true" or config.data.cut is not None:
        raise ConfigError(
            f"preset {config.preset!r} needs true masks, which photographs do not have; train it on synthetic faces"
        )


def photo_data(
    config: RunConfig,
    folder: str | Path,
    landmarks: str | Path | None,
    replicas: ReplicaGroup = SINGLE_PROCESS,
    face: MorphableModel | None = None,
) -> TrainingData:
    """Return the user's photographs, augmented differently in each epoch, with a held-out share.

    Args:
        config: the run's configuration.
        folder: folder of the photographs, or a prepared store.
        landmarks: CSV file of landmarks; None: `landmarks.csv` in the folder.
        replicas: rank and number of the replicas.
        face: face model of the synthetic faces that planted pictures are mixed with; None: that of the configuration.

    Raises:
        ConfigError: the configuration needs true masks.
        DataError: the photographs cannot be used.
    """
    check_photo_config(config)
    image_size = config.model.camera.image_size
    if is_prepared(str(folder)):
        split = _split_store(config, str(folder), landmarks)
    else:
        photos = PhotoFolder(folder, landmarks, image_size=image_size, memory_mb=config.data.cache_mb)
        split = PhotoSplit(photos, config.data.heldout_share, config.heldout.seed)
    train = split.train
    if config.data.planted is not None:
        pictures = CachedFaces(planted_pictures(config, config.data.planted, train, face or fitted_face(config)))

        def planted_batch(step: int) -> Batch:
            numbers = shard_indices(config, step, config.data.size, replicas)
            return replace(pictures.batch(numbers), numbers=numbers)

        return TrainingData(planted_batch, None, frozenset(), split)
    augmentation = config.seed if config.data.augment else None

    def batch_of(step: int) -> Batch:
        epoch = epoch_of(step, config.batch_size, len(train))
        numbers = train.step_numbers(config.seed, step, config.batch_size)
        return train.batch(replica_part(config, numbers, replicas), seed=augmentation, epoch=epoch)

    return TrainingData(batch_of, None, frozenset(), split)


def _split_store(config: RunConfig, store: str, landmarks: str | Path | None) -> PreparedSplit:
    if landmarks is not None:
        raise ConfigError(f"{store} is a prepared store, which has its own landmarks; leave the landmark file out")
    photos = PreparedPhotos(
        store,
        image_size=config.model.camera.image_size,
        memory_mb=config.data.cache_mb,
        disk_mb=config.data.shard_cache_mb,
    )
    return PreparedSplit(photos, config.data.heldout_share, config.heldout.seed)


def planted_pictures(
    config: RunConfig, planted: PlantedConfig, photos: PhotoSubset, face: MorphableModel
) -> FaceDataset:
    """Return photographs with planted occluders, mixed with synthetic faces.

    Args:
        config: the run's configuration.
        planted: its `data.planted`.
        photos: photographs to train on.
        face: face model of the synthetic faces.
    """
    augment = AugmentSettings() if config.data.augment else AugmentSettings(flip=0, shift=0, scale=0, rotation=0)
    pasted = PlantedPhotos(photos, planted, augment, config.seed)
    if not planted.synthetic_share:
        return pasted
    synthetic, _ = synthetic_faces(without_families(config, planted.left_out), face)
    return PlantedMixture(pasted, synthetic, planted.synthetic_share, config.seed)


def without_families(config: RunConfig, left_out: tuple[str, ...]) -> RunConfig:
    """Return the configuration with more occluder families that no synthetic training face has."""
    world = config.data.synthetic
    unseen = {*world.occlusion.unseen, *(name for name in left_out if name in FAMILIES)}
    occlusion = world.occlusion.model_copy(update={"unseen": tuple(sorted(unseen))})
    synthetic = world.model_copy(update={"occlusion": occlusion})
    return config.model_copy(update={"data": config.data.model_copy(update={"synthetic": synthetic})})


def shard_indices(config: RunConfig, step: int, size: int, replicas: ReplicaGroup) -> list[int]:
    """Return the faces of this replica's part of a global batch.

    The global sequence of faces does not depend on the number of replicas.

    Args:
        config: the run's configuration.
        step: global step.
        size: number of faces in the data set.
        replicas: rank and number of the replicas.

    Returns:
        Numbers of faces in [0, size).
    """
    return replica_part(config, batch_indices(config.seed, step, config.batch_size, size), replicas)


def replica_part(config: RunConfig, indices: list[int], replicas: ReplicaGroup) -> list[int]:
    """Return this replica's part of the faces of a global batch.

    Args:
        config: the run's configuration.
        indices: numbers of the faces of the global batch.
        replicas: rank and number of the replicas.
    """
    shard = replicas.shard(config.batch_size)
    return indices[shard.start : shard.stop]
