# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A lead score you can check
#
# Load a history, look at the training set, train, read the honest report, score a lead, and
# retrain with a feature of your own. Everything here is the public API that `leadcast` itself uses.
#
# The history is simulated, so that for once the truth is known. To use your own data, declare it in
# a TOML file (`examples/bpic2012.toml` is one) and replace the next cell by
# `source = Source.from_toml("my.toml"); history = source.load()`.

# %%
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from features.language import events
from features.outcomes import observed_until
from features.simulate import simulate
from features.source import Evaluation, Population, Source
from features.times import duration
from serving.listing import score_table
from training import experiment, judge, report

funnel = simulate(leads=4_000, seed=11)
source = Source.from_frames(
    "notebook",
    history=funnel.history,
    population=Population(at="weekly", after=None, horizon=duration("28d"), grace=0, target="won"),
    evaluation=Evaluation(("2026-01-05",), None),
)
history = source.load()
history.events.head()

# %% [markdown]
# ## What will be trained on, and what it will be judged on
#
# Rows are open leads on Mondays. A row is trained on only when its outcome was known at the origin:
# its horizon was over or, where there are dots, its lead was settled already.

# %%
planned = experiment.plan(history, source)
print(planned.picture)

# %%
data = experiment.training_set(history, source, planned)
data.columns.describe().T.head(10)

# %% [markdown]
# Each column is one declaration; its name, unit and meaning derive from it.

# %%
pd.DataFrame(
    {"name": f.name, "unit": f.unit, "when missing": f.null, "meaning": f.sentence}
    for f in planned.features.features
).head(12)

# %% [markdown]
# ## Train, and read the honest report
#
# Beside the honest figures stands what a random split of the same rows would have claimed, and,
# because this funnel is simulated, what its true probabilities score.

# %%
result = experiment.run(history, source, ceiling=funnel.truth.at)
print(report.text(result.report))

# %%
from IPython.display import SVG

page = report.html(result.report)
SVG(page[page.index("<svg") : page.index("</svg>") + len("</svg>")])

# %% [markdown]
# ## Score the leads that are open today

# %%
with TemporaryDirectory() as scratch:
    bundle = result.write_bundle(Path(scratch) / "bundle")
worklist = score_table(bundle, history, observed_until(history))
worklist.head()

# %% [markdown]
# ## Retrain with a feature of your own
#
# Declare it, add it, run again. The paired interval says whether it helped.

# %%
mine = planned.features + [events("webinar").count("60d"), events("call").ratio("7d", "30d")]
again = experiment.run(history, source, features=mine, ceiling=funnel.truth.at)
pd.DataFrame(
    {
        name: {
            measure: one.report.evaluation.measures[judge.MAIN][measure].value
            for measure in ("auc", "log_loss", "calibration_error")
        }
        for name, one in {"default": result, "with mine": again}.items()
    }
).round(4)
