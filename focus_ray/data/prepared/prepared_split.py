"""Training and held-out records of a prepared store: by the set's own splits, else by person as for a folder."""

from collections import Counter, defaultdict
from collections.abc import Sequence

from focus_ray.data.photo_split import PhotoSplit, PhotoSubset, sample_groups
from focus_ray.data.prepared.prepared_photos import PreparedPhotos
from focus_ray.data.prepared.window_order import needed_shards, step_records
from focus_ray.errors import DataError

TRAIN, HELD_OUT = ("train", ""), "val"


class PreparedSubset(PhotoSubset):
    """Records of a store, which training reads in the order of `window_order`."""

    def __init__(self, photos: PreparedPhotos, numbers: Sequence[int]):
        """Select records.

        Args:
            photos: all records of the store.
            numbers: ascending numbers of the selected records.
        """
        super().__init__(photos, numbers)
        counts = Counter(photos.rows[number].shard for number in self.numbers)
        self._records = photos
        self._shards = sorted(counts)
        self._lengths = tuple(counts[shard] for shard in self._shards)

    def step_numbers(self, seed: int, step: int, batch_size: int) -> list[int]:
        """Return the records of a global step, and start to fetch the shards that the following steps read."""
        shards = needed_shards(seed, step, batch_size, self._lengths)
        self._records.shards.prefetch(self._shards[shard] for shard in shards)
        return step_records(seed, step, batch_size, self._lengths)


class PreparedSplit(PhotoSplit):
    """Records of a store in a training part and a held-out part.

    Training takes the split `train` and records without a split; the split `val` is held out. If the set has none, at
    most the given share is held out, by person. Other splits (`test`) are not used.
    """

    def __init__(self, photos: PreparedPhotos, share: float, seed: int):
        """Split the records.

        Args:
            photos: all records of the store.
            share: largest held-out share of a set without the split `val`, in [0, 1).
            seed: seed of the draw.

        Raises:
            DataError: no record belongs to a training split.
        """
        usable = [number for number, row in enumerate(photos.rows) if row.split in TRAIN]
        if not usable:
            splits = ", ".join(sorted({row.split for row in photos.rows}))
            raise DataError(
                f"{photos.store}: the records belong to the splits {splits} of {photos.described.source}, which are "
                "for evaluation; train on another set"
            )
        heldout = [number for number, row in enumerate(photos.rows) if row.split == HELD_OUT]
        self.own_split = bool(heldout)
        self.split_by_person = False
        if not heldout:
            heldout = self._draw(photos, usable, share, seed)
        left_out = set(heldout)
        self.photos = photos
        self.heldout = PreparedSubset(photos, heldout)
        self.train = PreparedSubset(photos, [number for number in usable if number not in left_out])

    def _draw(self, photos: PreparedPhotos, usable: Sequence[int], share: float, seed: int) -> list[int]:
        room = min(int(share * len(usable) + 1e-9), len(usable) - 1)
        people: dict[str, list[int]] = defaultdict(list)
        for number in usable:
            people[photos.rows[number].person].append(number)
        heldout = sample_groups([people[person] for person in sorted(people)], room, seed)
        self.split_by_person = bool(heldout) and len(people) < len(usable)
        return heldout or sorted(sample_groups([[number] for number in usable], room, seed))

    @property
    def _scoring_note(self) -> str:
        if self.own_split:
            return f"{len(self.heldout)} records of the split {HELD_OUT} are held out for the metrics"
        return super()._scoring_note
