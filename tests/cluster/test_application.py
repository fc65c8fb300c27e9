"""Tests of the application's configuration and of the number of replicas by load."""

from types import SimpleNamespace

import pytest

from mms_engine import MmsError
from mms_engine.cluster.config import ClusterConfig
from mms_engine.serve.config import ServeConfig
from ray_cluster import require_ray


def test_configuration_of_yaml_is_that_of_the_command() -> None:
    require_ray()
    from mms_engine.cluster.application import app

    found = app(
        {
            "bundles": ["bundles/a"],
            "session_store": "/mnt/sessions",
            "limits": {"max_streams": 50, "drain_seconds": 60},
            "cluster": {"replicas": 2, "max_replicas": 8, "cpus": 4},
        }
    )
    deployment = found._bound_deployment
    config, keyring = deployment.init_args
    assert keyring.is_open
    assert isinstance(config, ServeConfig)
    assert [str(one) for one in config.bundles] == ["bundles/a"]
    assert str(config.session_store) == "/mnt/sessions"
    assert (config.limits.max_streams, config.run.threads) == (50, 4)
    options = deployment._deployment_config
    # No stream waits in a queue of Ray, and none is cut before the time of the server.
    assert options.max_ongoing_requests == config.limits.max_connections
    assert options.graceful_shutdown_timeout_s > 60
    scaling = options.autoscaling_config
    assert (scaling.min_replicas, scaling.max_replicas) == (2, 8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bundle": ["a"]}, "no option bundle; there are admission"),
        ({"bundles": ["a"], "cluster": {"nodes": 2}}, "no option cluster.nodes"),
        ({"bundles": ["a"], "limits": {"max_streams": "many"}}, "max_streams"),
        ({"bundles": ["a"], "limits": {"most_streams": 5}}, "no option limits.most_streams"),
        ({"bundles": ["a"], "limits": {"max_streams": -1}}, "must be positive"),
        ({"bundles": ["a"], "cluster": {"replicas": 0}}, "replicas is 0"),
        ({}, "bundles"),
    ],
)
def test_wrong_configuration_is_refused(arguments, message) -> None:
    require_ray()
    from mms_engine.cluster.application import app

    with pytest.raises(MmsError, match=message):
        app(arguments)


@pytest.mark.parametrize(
    ("loads", "wanted"),
    [
        ([0.0, 0.0], 1),  # any number of idle connections
        ([0.7, 0.7], 2),
        ([0.8, 0.7], 3),
        ([3.0], 4),  # the most
        ([], 2),  # nothing is known: as many as there are
    ],
)
def test_replicas_follow_the_load(loads, wanted) -> None:
    require_ray()
    from mms_engine.cluster.autoscaling import METRIC, replicas_for_load

    context = SimpleNamespace(
        aggregated_metrics={METRIC: dict(enumerate(loads))} if loads else None,
        target_num_replicas=2,
        capacity_adjusted_min_replicas=1,
        capacity_adjusted_max_replicas=4,
    )
    assert replicas_for_load(context)[0] == wanted


def test_replicas_are_positive() -> None:
    with pytest.raises(ValueError, match="max_replicas is 1"):
        ClusterConfig(replicas=2, max_replicas=1)
