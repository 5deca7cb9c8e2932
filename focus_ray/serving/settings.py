"""Settings of an endpoint, one frozen tree.

Imports nothing heavy, because the proxies of the cluster import it too.
"""

from typing import Literal

from pydantic import Field, model_validator

from focus_ray.settings import Settings


class AdmissionSettings(Settings):
    """Limits of requests, checked before decoding."""

    body_megabytes: float = Field(default=12.0, gt=0)  # of a request body; a batch of pictures is one body
    megapixels: float = Field(default=16.0, gt=0)  # of a picture, from its header
    side: int = Field(default=12_000, gt=0)  # px of a picture
    scans: int = Field(default=100, gt=0)  # of a progressive JPEG; each costs a pass over the whole picture
    decode_seconds: float = Field(default=10.0, gt=0)  # part of the proxies' time limit; decoding takes far less
    header_seconds: float = Field(default=10.0, gt=0)  # time for all headers to arrive
    body_seconds: float = Field(default=20.0, gt=0)  # time for the body, or for the amount that the next line gives
    body_kilobytes_a_second: float = Field(default=32.0, gt=0)  # minimum rate; extends the time by body_seconds each
    silent_seconds: float = Field(default=5.0, gt=0)  # longest gap between two pieces of a body
    unread_seconds: float = Field(default=60.0, gt=0)  # time for the client to read the response
    requests_at_once: int = Field(default=8, gt=0)  # in one proxy; more are refused with Retry-After
    requests_of_a_client: int = Field(default=6, gt=0)  # at once, by key, else by address; leaves some for others
    megapixels_at_once: float = Field(default=32.0, gt=0)  # in one ingress, from decoding to rendering; more wait
    pictures: int = Field(default=16, gt=0)  # of a batch request
    faces: int = Field(default=16, gt=0)  # of a picture, at most

    @property
    def min_body_bytes(self) -> float:
        """Bytes that must arrive within `body_seconds`, unless the body ends."""
        return 1e3 * self.body_kilobytes_a_second * self.body_seconds

    @property
    def max_body_seconds(self) -> float:
        """Time of the largest body at the minimum rate, s."""
        return self.body_seconds * (1 + 1e6 * self.body_megabytes // self.min_body_bytes)


class BatchingSettings(Settings):
    """Batches and queue of the model's replicas."""

    batch: int = Field(default=8, gt=0)  # faces in a batch, from several requests
    batch_wait_seconds: float = Field(default=0.01, ge=0)  # time that an incomplete batch waits for more requests
    queue: int = Field(default=32, gt=0)  # maximum number of requests that wait for a replica
    stuck_seconds: float = Field(default=12.0, gt=0)  # least time limit of a batch, then the model is stuck
    seconds: float = Field(default=60.0, gt=0)  # maximum time that a request waits for its result
    threads: int | None = Field(default=None, ge=1)  # compute threads of a replica; None: its `cpus`, at least 1


class ScalingSettings(Settings):
    """Number of replicas and resources of each."""

    least: int = Field(default=1, ge=1)
    most: int = Field(default=2, ge=1)
    ongoing: float = Field(default=4.0, gt=0)  # target of requests in progress for each replica
    up_seconds: float = Field(default=10.0, ge=0)
    down_seconds: float = Field(default=60.0, ge=0)
    cpus: float = Field(default=1.0, ge=0)
    gpus: float = Field(default=0.0, ge=0)  # shares are not enforced: the replicas must fit into the GPU's memory

    @model_validator(mode="after")
    def _check_replica_counts(self) -> "ScalingSettings":
        if self.most < self.least:
            raise ValueError(f"most={self.most} replicas is below least={self.least}; raise most or lower least")
        return self


class HttpSettings(Settings):
    """Address and access control of the endpoint."""

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65_535)
    origins: tuple[str, ...] = ()  # other sites whose pages have access (CORS)
    keys: tuple[str, ...] = ()  # NAME:SHA256 of the accepted keys
    keys_required: bool = False
    retry_seconds: int = Field(default=1, ge=1)  # value of Retry-After


class ServingSettings(Settings):
    """All settings of an endpoint."""

    model: str | None = None  # folder, name, s3://, hf:// or models:/NAME@ALIAS; None: the default model
    prior: str | None = None  # folder, s3://..., or none; None: the default of the model
    refine: bool = True  # default of the option `refine` of requests
    # haar, thorough and fast are OpenCV's cascades; auto is mesh, or fast if the weights of mesh are not installed.
    detector: Literal[
        "auto",
        "mesh",
        "haar",
        "yunet",
        "face-alignment",
        "insightface",
        "insightface-2d106",
        "insightface-3d68",
        "fast",
        "thorough",
    ] = "auto"
    detector_weights: str | None = None  # folder of the weights of yunet, face-alignment or an insightface one
    http: HttpSettings = HttpSettings()
    admission: AdmissionSettings = AdmissionSettings()
    batching: BatchingSettings = BatchingSettings()
    models: ScalingSettings = ScalingSettings()
    ingress: ScalingSettings = ScalingSettings(cpus=0.5, ongoing=16.0)
    links_megabytes: float = Field(default=256.0, ge=0)  # of outputs requested as links, in memory; a GLB has up to 4
    links_seconds: float = Field(default=600.0, ge=0)  # lifetime of a link

    @property
    def max_link_bytes(self) -> int:
        """Maximum size of all outputs requested as links, bytes."""
        return int(self.links_megabytes * 1e6)
