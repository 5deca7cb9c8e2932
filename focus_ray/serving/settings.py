"""Settings of an endpoint, one frozen tree.

Nothing heavy is imported here: the proxies of the cluster read it too.
"""

from typing import Literal

from pydantic import Field, model_validator

from focus_ray.settings import Settings


class AdmissionSettings(Settings):
    """What a request may be, checked before anything is decoded."""

    body_megabytes: float = Field(default=12.0, gt=0)  # of a request; a batch of pictures counts as one
    megapixels: float = Field(default=16.0, gt=0)  # of a picture, by its header
    side: int = Field(default=12_000, gt=0)  # px of a picture
    scans: int = Field(default=100, gt=0)  # of a progressive JPEG: each one costs a pass over the whole picture
    decode_seconds: float = Field(default=10.0, gt=0)  # that proxies allow for it: size and scans keep it far below
    header_seconds: float = Field(default=10.0, gt=0)  # for all headers to arrive
    body_seconds: float = Field(default=20.0, gt=0)  # for the whole body to arrive, or as much as the next line says
    body_kilobytes_a_second: float = Field(default=32.0, gt=0)  # that come in such a time; a body may go on for another
    silent_seconds: float = Field(default=5.0, gt=0)  # between two pieces of a body
    unread_seconds: float = Field(default=60.0, gt=0)  # for an answer to be read
    requests_at_once: int = Field(default=8, gt=0)  # in one proxy; more are told to come again
    requests_of_a_client: int = Field(default=6, gt=0)  # at once, by key, else by address: some are left for others
    megapixels_at_once: float = Field(default=32.0, gt=0)  # in one ingress, from decoding to drawing; more wait
    pictures: int = Field(default=16, gt=0)  # of a batch request
    faces: int = Field(default=16, gt=0)  # of a picture, at most

    @property
    def min_body_bytes(self) -> float:
        """Bytes that must come within `body_seconds`, unless the body ends."""
        return 1e3 * self.body_kilobytes_a_second * self.body_seconds

    @property
    def max_body_seconds(self) -> float:
        """How long the largest body takes that comes just quickly enough, s."""
        return self.body_seconds * (1 + 1e6 * self.body_megabytes // self.min_body_bytes)


class BatchingSettings(Settings):
    """How the model's replicas answer."""

    batch: int = Field(default=8, gt=0)  # faces that are fitted together, of several requests
    batch_wait_seconds: float = Field(default=0.01, ge=0)  # that a batch waits for more
    queue: int = Field(default=32, gt=0)  # requests that wait for a replica, at most
    stuck_seconds: float = Field(default=12.0, gt=0)  # a batch that takes longer has a stuck model
    seconds: float = Field(default=60.0, gt=0)  # a request waits for its answer, at most
    threads: int | None = Field(default=None, ge=1)  # of a replica's arithmetic; None: its share of cores, 1 at least


class ScalingSettings(Settings):
    """How many replicas there are, and what each is given."""

    least: int = Field(default=1, ge=1)
    most: int = Field(default=2, ge=1)
    ongoing: float = Field(default=4.0, gt=0)  # requests that a replica is meant to have at once
    up_seconds: float = Field(default=10.0, ge=0)
    down_seconds: float = Field(default=60.0, ge=0)
    cpus: float = Field(default=1.0, ge=0)
    gpus: float = Field(default=0.0, ge=0)  # a share is bookkeeping: the replicas must fit the GPU's memory together

    @model_validator(mode="after")
    def _check_replica_counts(self) -> "ScalingSettings":
        if self.most < self.least:
            raise ValueError(f"at most {self.most} replicas, but at least {self.least}; raise most or lower least")
        return self


class HttpSettings(Settings):
    """Where the endpoint listens, and who may ask."""

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65_535)
    origins: tuple[str, ...] = ()  # other sites whose pages may ask (CORS); none by default
    keys: tuple[str, ...] = ()  # NAME:SHA256 of the keys that may ask, never the keys
    keys_required: bool = False
    retry_seconds: int = Field(default=1, ge=1)  # what Retry-After says


class ServingSettings(Settings):
    """An endpoint as a whole."""

    model: str | None = None  # folder, s3://bucket/prefix or models:/NAME@ALIAS; None: the shipped one
    prior: str | None = None  # folder, s3://..., or none; None: what comes with the shipped model
    refine: bool = True  # whether answers are refined unless the request says otherwise
    detector: Literal["fast", "thorough"] = "fast"
    http: HttpSettings = HttpSettings()
    admission: AdmissionSettings = AdmissionSettings()
    batching: BatchingSettings = BatchingSettings()
    models: ScalingSettings = ScalingSettings()
    ingress: ScalingSettings = ScalingSettings(cpus=0.5, ongoing=16.0)
    links_megabytes: float = Field(default=64.0, ge=0)  # of results that are kept for their links, in memory
    links_seconds: float = Field(default=600.0, ge=0)

    @property
    def max_link_bytes(self) -> int:
        """What is kept for links, at most."""
        return int(self.links_megabytes * 1e6)
