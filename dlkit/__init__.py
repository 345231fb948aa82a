"""dlkit: deep learning from the shell, and from Python.

    import dlkit

    recipe = dlkit.load("digits-mlp", "train.epochs=3", "data.validation=0.1")
    training = dlkit.train(recipe, run_dir="runs/first")
    for event in training:
        if isinstance(event, dlkit.Evaluated):
            print(event.step, event.metrics["val/accuracy"])
    run = training.result()
    evaluation = dlkit.evaluate(run, split="test")
    print(run.path, evaluation.metrics["accuracy"])

Each function here does what the command of its name does, prints nothing, and raises the errors of `dlkit.errors`. Work
that takes a while is returned as `Work`: an iterator of events with a result. Recipes that name code of your own need
`dlkit.set_trust(True)` first. Importing dlkit does not import torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dlkit.app.entropy import MeasuredEntropy
    from dlkit.app.entropy import measure_entropy as entropy
    from dlkit.app.evaluate import evaluate_run as evaluate
    from dlkit.app.evaluation import Evaluation
    from dlkit.app.events import Prepared, Remark, Work
    from dlkit.app.finished_race import FinishedRace
    from dlkit.app.generate import GeneratedText
    from dlkit.app.generate import generate_texts as generate
    from dlkit.app.import_model import import_model
    from dlkit.app.inspect import AttentionInspection, AttentionRecord, inspect_attention
    from dlkit.app.predict import predict_inputs as predict
    from dlkit.app.prediction import Prediction, PredictionSummary
    from dlkit.app.race import RaceStarted
    from dlkit.app.race import race_optimizers as compare_optimizers
    from dlkit.app.recipes import load_recipe as load
    from dlkit.app.score import ScoredToken
    from dlkit.app.score import score_text as score
    from dlkit.app.train import train_recipe as train
    from dlkit.app.trained_run import Started, TrainedRun
    from dlkit.errors import DlkitError, RecipeError, RequestError
    from dlkit.recipe import Recipe
    from dlkit.training.events import Checkpointed, Evaluated, Finished, StepDone
    from dlkit.user_code import set_trust

__version__ = "0.1.0"
__all__ = [
    "AttentionInspection", "AttentionRecord", "Checkpointed", "DlkitError", "Evaluated", "Evaluation",
    "Finished", "FinishedRace", "GeneratedText", "MeasuredEntropy", "Prediction", "PredictionSummary",
    "Prepared", "RaceStarted", "Recipe", "RecipeError", "Remark", "RequestError", "ScoredToken", "Started",
    "StepDone", "TrainedRun", "Work", "compare_optimizers", "entropy", "evaluate", "generate", "import_model",
    "inspect_attention", "load", "predict", "score", "set_trust", "train",
]  # fmt: skip

# Where each public name is defined, for `__getattr__` to import it on its first use (PEP 562).
_HOMES = {
    "AttentionInspection": "dlkit.app.inspect:AttentionInspection",
    "AttentionRecord": "dlkit.app.inspect:AttentionRecord",
    "Checkpointed": "dlkit.training.events:Checkpointed",
    "DlkitError": "dlkit.errors:DlkitError",
    "Evaluated": "dlkit.training.events:Evaluated",
    "Evaluation": "dlkit.app.evaluation:Evaluation",
    "Finished": "dlkit.training.events:Finished",
    "FinishedRace": "dlkit.app.finished_race:FinishedRace",
    "GeneratedText": "dlkit.app.generate:GeneratedText",
    "MeasuredEntropy": "dlkit.app.entropy:MeasuredEntropy",
    "Prediction": "dlkit.app.prediction:Prediction",
    "PredictionSummary": "dlkit.app.prediction:PredictionSummary",
    "Prepared": "dlkit.app.events:Prepared",
    "RaceStarted": "dlkit.app.race:RaceStarted",
    "Recipe": "dlkit.recipe:Recipe",
    "RecipeError": "dlkit.errors:RecipeError",
    "Remark": "dlkit.app.events:Remark",
    "RequestError": "dlkit.errors:RequestError",
    "ScoredToken": "dlkit.app.score:ScoredToken",
    "Started": "dlkit.app.trained_run:Started",
    "StepDone": "dlkit.training.events:StepDone",
    "TrainedRun": "dlkit.app.trained_run:TrainedRun",
    "Work": "dlkit.app.events:Work",
    "compare_optimizers": "dlkit.app.race:race_optimizers",
    "entropy": "dlkit.app.entropy:measure_entropy",
    "evaluate": "dlkit.app.evaluate:evaluate_run",
    "generate": "dlkit.app.generate:generate_texts",
    "import_model": "dlkit.app.import_model:import_model",
    "inspect_attention": "dlkit.app.inspect:inspect_attention",
    "load": "dlkit.app.recipes:load_recipe",
    "predict": "dlkit.app.predict:predict_inputs",
    "score": "dlkit.app.score:score_text",
    "set_trust": "dlkit.user_code:set_trust",
    "train": "dlkit.app.train:train_recipe",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'dlkit' has no attribute {name!r}")
    module, _, attribute = home.partition(":")
    value = getattr(import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
