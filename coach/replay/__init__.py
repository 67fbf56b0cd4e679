"""BuildKit's cache, replayed over a repository's history: no checkout, no engine."""

from __future__ import annotations

from coach.replay.cache import Outcome, Policy
from coach.replay.report import Patched, Replay, StepReplay, replay, reruns, sentence, summary

__all__ = ["Outcome", "Patched", "Policy", "Replay", "StepReplay", "replay", "reruns", "sentence", "summary"]
