"""Presets of the portrait model: trained on photographs with pasted occluders, for two CPU cores, in three stages."""

from pathlib import Path

from focus_ray.config import Cadence, DataSettings, FaceSettings, HeldoutSettings, Optimizers, RunConfig
from focus_ray.data.composites.planted import PlantedConfig
from focus_ray.data.rendered import RenderedConfig
from focus_ray.focus.camera import Camera
from focus_ray.focus.em import AreaCalibration, EmSettings, TeacherSettings
from focus_ray.focus.initialise import InitialiseSettings, WarmupSettings
from focus_ray.focus.losses import ReconstructionWeights, SegmentationWeights
from focus_ray.focus.parameters import ParameterScales
from focus_ray.focus.refine import FAST_REFINE
from focus_ray.focus.schedule import OptimizerSettings, Schedule
from focus_ray.focus.synthesis import SamplingDistributions
from focus_ray.model import EncoderSettings, ModelSettings, PerceptualSettings, SegmenterSettings

IMAGE_SIZE = 112
"""px: four times the pixels of the embedded preset, enough for glasses, strands and the edges of lips."""

_AMBIENT, _FROM_ABOVE, _FRONTAL = 2.5, 0.35, -0.8  # mean light of the renders, the offset of the head

WIDE_LAWS = SamplingDistributions(yaw=0.5, pitch=0.2, directional_spread=0.6, second_band_spread=0.18, named_share=0.7)
"""Poses to profile, strong light, and expressions of which most are named shapes: wide-open mouths, closed eyes."""


PORTRAIT_WARMUP = Path(__file__).resolve().parent / "pretrained_warmup"
"""Model folder of the first stage, which the second one starts from."""

PORTRAIT_EM = PORTRAIT_WARMUP.with_name("pretrained_portrait_em")
"""Model folder of the second stage, which the third one starts from."""

_REFINEMENT = FAST_REFINE.model_copy(update={"steps": 5, "pixel": 1.0, "landmark": 1e-2})

HARD_FAMILIES = {
    "hand": 3.0,
    "hands": 3.0,
    "skin_blob": 2.0,
    "skin_piece": 2.0,
    "glasses": 2.0,
    "hair": 2.0,
    "surgical_mask": 1.5,
    "cloth_mask": 1.5,
}
"""Families that the second stage's masks find least, by how often the third stage draws them."""


def portrait() -> RunConfig:
    """Return the third stage of the portrait model: many steps of S, and more of the occluders that it misses.

    Give the photographs of the second stage. In S's one turn an image is refined once (`EmSettings.keep_fits`): a step
    with known fits costs a third.
    """
    base = portrait_em()
    return base.model_copy(
        update={
            "preset": "portrait",
            "start_from": PORTRAIT_EM,
            "schedule": Schedule(init_steps=0, pretrain_seg_steps=0, cycles=1, seg_steps=4800, face_steps=100),
            "optimizers": base.optimizers.model_copy(
                update={
                    "em_seg": OptimizerSettings(lr=1.5e-3, shape="cosine"),
                    "em_face": OptimizerSettings(lr=2e-4, shape="cosine"),
                }
            ),
            "em": base.em.model_copy(
                update={
                    "segmentation": base.em.segmentation.model_copy(update={"planted_explained": 2.5}),
                    "refined_comparison": _REFINEMENT.model_copy(update={"trusting_share": 1.0}),
                    "keep_fits": True,
                }
            ),
            "data": base.data.model_copy(update={"size": 5000, "planted": PlantedConfig(weights=HARD_FAMILIES)}),
        }
    )


def portrait_em() -> RunConfig:
    """Return the second stage of the portrait model: EM on photographs of open faces with planted occluders.

    Give the photographs, such as the training split of `data.portraits`. Beside the paper's losses:

    * S is told which pixels were pasted (`losses.planted_sum`); what the persons wear themselves is left to Eq. 1-4. At
      eta_planted 20 these called mouths and eyes outliers, which the fit explains less well than skin.
    * A fifth of the pictures are synthetic faces of the same face model.
    * The encoder learns from its own refined fits (`TeacherSettings`), which never use planted pixels.
    """
    base = portrait_warmup()
    reconstruction = ReconstructionWeights(
        lambda_lm=1e-2,
        lambda_teacher=0.5,
        pixel_norm="l21",
        landmark_emphasis="uniform",
        regularizer_form="release",
    )
    return base.model_copy(
        update={
            "preset": "portrait_em",
            "start_from": PORTRAIT_WARMUP,
            "face": FaceSettings(),
            "batch_size": 16,
            "schedule": Schedule(init_steps=200, pretrain_seg_steps=0, cycles=5, seg_steps=300, face_steps=100),
            "optimizers": Optimizers(
                warmup=OptimizerSettings(lr=1e-3),
                init=OptimizerSettings(lr=6e-4, shape="one_cycle"),
                pretrain_seg=OptimizerSettings(lr=2e-3),
                em_seg=OptimizerSettings(lr=2e-3, shape="cosine"),
                em_face=OptimizerSettings(lr=4e-4, shape="cosine"),
            ),
            "initialise": InitialiseSettings(
                xi=0.1,
                xi_start=0.3,
                weights=reconstruction.model_copy(update={"pixel_normalise": "region", "lambda_teacher": 0.0}),
            ),
            "em": EmSettings(
                segmentation=SegmentationWeights(
                    eta_presv=0.25, eta_bin=1.0, neighbor_squared=False, eta_planted=100.0
                ),
                reconstruction=reconstruction,
                calibration=AreaCalibration(),
                refined_comparison=_REFINEMENT,
                teacher=TeacherSettings(refine=_REFINEMENT),
            ),
            "data": DataSettings(size=6000, heldout_share=0.05, planted=PlantedConfig()),
            "heldout": HeldoutSettings(size=0, unlabelled=True),
            "cadence": Cadence(
                log=10, checkpoint=250, evaluate=800, sheet=400, best="unlabelled.planted", best_is="highest"
            ),
        }
    )


def portrait_warmup() -> RunConfig:
    """Return the first stage of the portrait model: the encoder learns the parameters of renders of the ICT face.

    S stays untrained. The second stage, `portrait_em`, starts from the result.
    """
    rendered = RenderedConfig(laws=WIDE_LAWS)
    settled = OptimizerSettings(lr=1e-3)
    return RunConfig(
        preset="portrait_warmup",
        batch_size=32,
        face=FaceSettings(file="ict"),
        model=ModelSettings(
            camera=Camera(image_size=IMAGE_SIZE),
            scales=ParameterScales(
                albedo=1.0,
                translation_xy=10.0,
                translation_z=30.0,
                light_offset=(_AMBIENT, _FROM_ABOVE, _FRONTAL, *[0.0] * 6) * 3,
            ),
            encoder=EncoderSettings(kind="small"),
            segmenter=SegmenterSettings(width=8, levels=5, dropout=0.0, norm="group"),
            perceptual=PerceptualSettings(kind="warmup_encoder"),
        ),
        schedule=Schedule(warmup_steps=3600, init_steps=0, pretrain_seg_steps=0, cycles=0, seg_steps=0, face_steps=0),
        optimizers=Optimizers(
            warmup=OptimizerSettings(lr=2e-3, shape="one_cycle"),
            init=settled,
            pretrain_seg=settled,
            em_seg=settled,
            em_face=settled,
        ),
        warmup=WarmupSettings(laws=WIDE_LAWS),
        data=DataSettings(source="rendered", rendered=rendered),
        heldout=HeldoutSettings(size=200, refine=False),
        cadence=Cadence(
            log=10, checkpoint=300, evaluate=1200, sheet=1200, best="heldout.all.vertex_mm", best_is="lowest"
        ),
    )
