"""How long to measure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bench.host_scenario import HostKills, HostLag, HostRatio, HostRecycle
from bench.scenario import (
    Absolute,
    Cancel,
    Endurance,
    Fairness,
    Idle,
    Memory,
    Open,
    Overload,
    Ratio,
    Scenario,
    StartUp,
    Sweep,
)
from bench.stream_scenario import StreamFirst, StreamPushed, StreamRatio

UNBOUND_SHARE = 0.5
"""Of `Settings.round_s`, for scenarios without a target."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How long to measure."""

    rounds: int = 10
    round_s: float = 0.8
    """Of one side, where a round has requests enough."""
    calibrate_s: float = 0.3
    policy_share: float = 1.0
    """Of the time and the numbers that policies have in their files."""
    window_share: float = 1.0
    """Of the seconds of open loops and of idling."""

    @property
    def sweep_rounds(self) -> int:
        """A curve needs fewer than a verdict."""
        return max(2, self.rounds // 2)

    @property
    def memory_rounds(self) -> int:
        """Peaks differ little; six pairs are the fewest that give an interval of 95 %."""
        return min(self.rounds, 6)

    def round_seconds(self, scenario: Scenario) -> float:
        """Return how long one side runs in a round."""
        return self.round_s * (1 if scenario.targets else UNBOUND_SHARE)


QUICK = Settings(rounds=3, round_s=0.3, calibrate_s=0.0, policy_share=0.1, window_share=0.3)
"""A look, not a verdict: three rounds give a median an interval of 75 %, and nothing is calibrated."""

_LOAD_S = 1.5
"""To start and load a side."""


def estimate_s(scenario: Scenario, settings: Settings) -> float:
    """Return about how long a scenario takes, for the progress line."""
    return _ESTIMATES[type(scenario)](scenario, settings)


def _closed_s(scenario: Ratio | Absolute, settings: Settings) -> float:
    sides = 1 if isinstance(scenario, Absolute) else 2
    runs = 1.1 * sides * settings.rounds * settings.round_seconds(scenario)
    return sides * (_LOAD_S + 6 * settings.calibrate_s) + runs


def _open_s(scenario: Open, settings: Settings) -> float:
    return _LOAD_S + 4 * settings.calibrate_s + scenario.seconds * settings.window_share


def _sweep_s(scenario: Sweep, settings: Settings) -> float:
    runs = (len(scenario.in_flights) + 1) * settings.sweep_rounds
    return 2 * _LOAD_S + 8 * settings.calibrate_s + runs * settings.round_seconds(scenario)


def _start_up_s(_scenario: StartUp, settings: Settings) -> float:
    return settings.rounds * _LOAD_S / 2


def _memory_s(_scenario: Memory, settings: Settings) -> float:
    return settings.memory_rounds * 2 * _LOAD_S


def _host_ratio_s(scenario: HostRatio, settings: Settings) -> float:
    return 2 * (_LOAD_S + 1.2 * settings.rounds * settings.round_seconds(scenario))


def _stream_ratio_s(scenario: StreamRatio, settings: Settings) -> float:
    """A run of a whole 1080p clip, or of the few frames that a model is shown; `watch` starts each time."""
    sides = 1 + len(scenario.ways)
    trials = (6 if scenario.predicts else 2) * _LOAD_S * (settings.calibrate_s > 0)
    a_run = 3.0 if scenario.predicts else 1.5
    return trials + settings.rounds * (a_run * sides + _LOAD_S * (scenario.through == "watch"))


_ESTIMATES: Mapping[type[Scenario], Callable[[Any, Settings], float]] = {
    Ratio: _closed_s,
    Absolute: _closed_s,
    Open: _open_s,
    Sweep: _sweep_s,
    StartUp: _start_up_s,
    Memory: _memory_s,
    Idle: lambda it, settings: 2 * _LOAD_S + it.seconds * settings.window_share,
    Fairness: lambda it, settings: 2 * _LOAD_S + 2 * it.seconds * settings.policy_share,
    Overload: lambda it, settings: 2 * _LOAD_S + it.seconds * settings.policy_share,
    Endurance: lambda it, settings: _LOAD_S + it.late * settings.policy_share / 7000,
    Cancel: lambda it, settings: _LOAD_S + it.each * settings.policy_share * 0.015,
    HostRatio: _host_ratio_s,
    HostLag: lambda it, settings: _LOAD_S + it.seconds * settings.window_share,
    HostKills: lambda it, settings: _LOAD_S + (it.requests / 700 + it.kills) * settings.policy_share,
    StreamRatio: _stream_ratio_s,
    StreamFirst: lambda _, settings: settings.memory_rounds * (_LOAD_S + 1),
    StreamPushed: lambda it, settings: 2 * _LOAD_S + 12 + it.seconds * settings.policy_share,
    HostRecycle: lambda it, settings: _LOAD_S + (it.seconds + it.calm_seconds) * settings.policy_share,
}
