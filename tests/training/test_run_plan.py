"""The plan of a run: steps, shares, memory and hours follow from the configuration."""

from focus_ray import presets
from focus_ray.runtime.ray_cluster import ClusterSettings
from focus_ray.training.run_plan import plan_run

BFM_VERTICES = 53_149


def test_the_plan_of_the_paper_on_four_gpus():
    plan = plan_run(presets.paper(), ClusterSettings(workers=4, gpu=True), BFM_VERTICES)
    assert plan["batch_per_worker"] == [3, 3, 3, 3]
    assert plan["total_steps"] == sum(plan["steps"].values()) == 470_000
    assert "NCCL" in plan["how"]
    fewest, most = plan["gpu_hours"]
    assert 10 < fewest < most < 100


def test_memory_is_near_the_measured_peak():
    config = presets.paper().model_copy(update={"batch_size": 2})
    plan = plan_run(config, ClusterSettings(), BFM_VERTICES, local=True)
    assert abs(plan["memory_gb"] - 3.6) < 0.6  # 3.47 GiB, docs/performance.md
    assert plan["how"] == "one process, CPU"
    assert plan_run(presets.embedded(), ClusterSettings())["memory_gb"] < plan["memory_gb"]


def test_parts_of_a_batch_need_less_memory():
    whole, parts = presets.paper(), presets.paper().model_copy(deep=True)
    compute = parts.compute.model_copy(update={"accumulate": 6})
    cluster = ClusterSettings()
    smaller = plan_run(parts.model_copy(update={"compute": compute}), cluster)
    assert smaller["memory_gb"] < plan_run(whole, cluster)["memory_gb"]
